/* Scores against PyTorch (fixtures by tools/fixtures/compress_reference.py), the rules of a cut, and the properties that every
 * method must have. */
#include <math.h>

#include "pare/compress.h"
#include "pare/trainable.h"
#include "reorder.h"
#include "test.h"

#define MODELS PARE_SOURCE_DIR "/tests/model/fixtures/"

static pare_checkpoint *open_fixture(const char *name) {
    pare_error error = {0};
    char path[512];
    snprintf(path, sizeof path, MODELS "%s", name);
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    return checkpoint;
}

/* The ids of the fixture as one window. */
static pare_windows window_of(const char *name) {
    char path[512], text[1024] = {0};
    snprintf(path, sizeof path, MODELS "%s/ids.txt", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    pare_windows windows = {.ids = pare_allocate(256, sizeof(uint32_t), NULL), .n = 1};
    for (char *at = text, *end; windows.length < 256; at = end) {
        unsigned long id = strtoul(at, &end, 10);
        if (at == end)
            break;
        windows.ids[windows.length++] = (uint32_t)id;
    }
    return windows;
}

static pare_scores scores_of(const pare_checkpoint *checkpoint, const char *method, const char *name, uint64_t seed) {
    pare_error error = {0};
    pare_scores scores;
    pare_calibration calibration;
    pare_windows windows = window_of(name);
    const pare_method *m = pare_method_find(method, &error);
    assert_done(m, error);
    assert_done(pare_calibrate(&calibration, checkpoint, &windows, true, NULL, &error), error);
    assert_int_equal(calibration.tokens, windows.length);
    assert_done(pare_score(&scores, m, checkpoint, &calibration, seed, NULL, &error), error);
    pare_calibration_free(&calibration);
    pare_windows_free(&windows);
    return scores;
}

/* The bias that takes the place of half of the units, in a layer. */
static void check_bias(const pare_checkpoint *checkpoint, const char *method, const char *name, unsigned layer, char *rest) {
    pare_error error = {0};
    char base[32], tensor[96];
    snprintf(base, sizeof base, "%.*s", (int)(strlen(method) - strlen("-bias")), method);
    const pare_method *m = pare_method_find(base, &error);
    pare_windows windows = window_of(name);
    pare_calibration calibration;
    pare_scores scores;
    assert_done(pare_calibrate(&calibration, checkpoint, &windows, true, NULL, &error) &&
                    pare_score(&scores, m, checkpoint, &calibration, 0, NULL, &error),
                error);
    pare_plan plan;
    assert_done(pare_plan_make(&plan, m->unit, &checkpoint->config, 0, 1, &error), error);
    plan.n_kept = scores.n_units > 1 ? scores.n_units / 2 : 1;
    pare_cut *cut = pare_method_cut(m, checkpoint, &calibration, &scores, &plan, NULL, &error);
    assert_done(cut, error);
    pare_view view;
    snprintf(tensor, sizeof tensor, "model.layers.%u.%s.bias", layer, m->unit == PARE_UNIT_FFN ? "mlp.down_proj" : "self_attn.o_proj");
    bool found = pare_cut_find(&view, cut, checkpoint, tensor);
    assert_int_equal(found, plan.n_kept < scores.n_units);
    for (uint32_t j = 0; found && j < view.n_rows; j++) {
        double wanted = strtod(rest, &rest), got = (double)pare_view_direct(&view)[j];
        if (!(fabs(got - wanted) < 1e-5 * (1 + fabs(wanted))))
            fail_msg("%s %s layer %u, %u: %.9g, PyTorch says %.9g", name, method, layer, j, got, wanted);
    }
    pare_cut_close(cut);
    pare_scores_free(&scores);
    pare_calibration_free(&calibration);
    pare_windows_free(&windows);
}

static void scores_as_pytorch(void **state) {
    (void)state;
    FILE *file = fopen(PARE_FIXTURES "/scores.txt", "r");
    assert_non_null(file);
    static char line[1 << 16];
    int n = 0;
    while (fgets(line, sizeof line, file)) {
        char name[32], method[32];
        unsigned layer;
        int at = 0;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%31s %31s %u%n", name, method, &layer, &at), 3);
        pare_checkpoint *checkpoint = open_fixture(name);
        char *rest = line + at;
        n++;
        if (strstr(method, "-bias")) {
            check_bias(checkpoint, method, name, layer, rest);
            pare_checkpoint_close(checkpoint);
            continue;
        }
        pare_scores scores = scores_of(checkpoint, method, name, 0);
        for (uint32_t j = 0; j < scores.n_units; j++) {
            double wanted = strtod(rest, &rest), got = scores.values[layer * scores.n_units + j];
            if (!(fabs(got - wanted) < 1e-5 * (1 + fabs(wanted))))
                fail_msg("%s %s layer %u neuron %u: %.9g, PyTorch says %.9g", name, method, layer, j, got, wanted);
        }
        pare_scores_free(&scores);
        pare_checkpoint_close(checkpoint);
    }
    fclose(file);
    assert_true(n >= 60);
}

static void widths(void **state) {
    (void)state;
    static const struct {
        uint32_t width, multiple;
        double ratio;
        uint32_t kept;
    } cases[] = {
        {1536, 32, 0, 1536},    {1536, 32, 0.1, 1376}, {1536, 32, 0.5, 768},   {1536, 1, 0.1, 1382},    {1536, 256, 0.9, 256},
        {1536, 32, 0.9999, 32}, {1000, 32, 0, 1000},   {1000, 32, 0.001, 992}, {11008, 256, 0.3, 7680}, {96, 96, 0.5, 96},
    };
    pare_error error = {0};
    pare_plan plan;
    pare_config c = {.n_layers = 10, .n_heads = 8, .n_kv_heads = 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        c.ffn_width = cases[i].width;
        assert_done(pare_plan_make(&plan, PARE_UNIT_FFN, &c, cases[i].ratio, cases[i].multiple, &error), error);
        assert_int_equal(plan.n_kept, cases[i].kept);
    }
    c.ffn_width = 1536;
    static const struct {
        pare_unit unit;
        double ratio;
        uint32_t kept;
    } others[] = {{PARE_UNIT_GROUPS, 0.5, 1}, {PARE_UNIT_GROUPS, 0.9, 1}, {PARE_UNIT_HEADS, 0.5, 2}, {PARE_UNIT_LAYERS, 0.25, 8}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) { /* no multiple here */
        assert_done(pare_plan_make(&plan, others[i].unit, &c, others[i].ratio, 32, &error), error);
        assert_int_equal(plan.n_kept, others[i].kept);
    }
    static const double bad[] = {1, -0.1, 1.5, (double)NAN, (double)INFINITY};
    for (int i = 0; i < 5; i++)
        assert_fails(pare_plan_make(&plan, PARE_UNIT_FFN, &c, bad[i], 32, &error), error, PARE_ERROR_USAGE, "at least 0 and below 1");
    assert_fails(pare_plan_make(&plan, PARE_UNIT_FFN, &c, 0.1, 0, &error), error, PARE_ERROR_USAGE, "multiple");
    assert_fails(pare_plan_make(&plan, PARE_UNIT_FFN, &c, 0.1, 1537, &error), error, PARE_ERROR_USAGE, "multiple");
}

/* The largest cut within a budget: one multiple more would be too large; what cannot be met names what can. */
static void budgets(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    const pare_config *c = &checkpoint->config;
    pare_size dense = pare_config_size(c);
    static const pare_unit units[] = {PARE_UNIT_FFN, PARE_UNIT_CHANNELS, PARE_UNIT_DIRECTIONS, PARE_UNIT_GROUPS};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        for (int b = 0; b < 2; b++) {
            pare_budget budget = b ? PARE_BUDGET_MACS : PARE_BUDGET_PARAMETERS;
            uint64_t all = b ? dense.macs : dense.parameters, most = all - all / 9;
            const pare_limit limit = {.budget = budget, .most = most}, whole = {.budget = budget, .most = all},
                             none = {.budget = budget, .most = all / 100};
            pare_error error = {0};
            pare_plan plan, more;
            pare_size size, larger;
            assert_done(pare_plan_fit(&plan, units[i], c, &limit, 1, &error) && pare_plan_forecast(&size, &plan, c, &error), error);
            assert_true((b ? size.macs : size.parameters) <= most);
            assert_true(plan.ratio > 0);
            assert_done(pare_plan_make(&more, units[i], c, plan.ratio - 1e-6, 1, &error) && pare_plan_forecast(&larger, &more, c, &error),
                        error);
            assert_true((b ? larger.macs : larger.parameters) > most);
            assert_done(pare_plan_fit(&plan, units[i], c, &whole, 1, &error), error);
            assert_true(pare_plan_keeps_all(&plan));
            assert_fails(pare_plan_fit(&plan, units[i], c, &none, 1, &error), error, PARE_ERROR_RANGE, "the smallest sizes are");
        }
    pare_checkpoint_close(checkpoint);
}

/* Best first, ties keep the lower index, result ascending; a NaN score is an error. */
static void cuts(void **state) {
    (void)state;
    double values[] = {3, 1, 3, 2, 3, /* layer 1: */ 0, 0, 0, 0, 0};
    pare_scores scores = {.unit = PARE_UNIT_FFN, .n_rows = 2, .n_units = 5, .values = values};
    pare_config c = {.n_layers = 2, .ffn_width = 5, .n_heads = 1, .n_kv_heads = 1, .head_dim = 2, .width = 2};
    pare_plan plan = {.unit = PARE_UNIT_FFN, .n_rows = 2, .n_units = 5, .n_kept = 2};
    pare_error error = {0};
    pare_cut *cut = pare_cut_make(&c, &scores, &plan, &error);
    assert_done(cut, error);
    static const uint32_t wanted[] = {0, 2, 0, 1};
    assert_memory_equal(cut->each[0].ffn.index, wanted, 2 * sizeof *wanted);
    assert_memory_equal(cut->each[1].ffn.index, wanted + 2, 2 * sizeof *wanted);
    pare_cut_close(cut);
    values[7] = (double)NAN;
    assert_fails(pare_cut_make(&c, &scores, &plan, &error) != NULL, error, PARE_ERROR_NUMERIC, "FFN neurons 2 in row 1");
}

/* The same seed gives the same draw, another seed another, layers differ, and every neuron is kept about equally often. */
static void random_draws(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("llama3");
    pare_error error = {0};
    uint32_t width = checkpoint->config.ffn_width, layers = checkpoint->config.n_layers, kept = width / 4;
    unsigned *counts = pare_allocate(width, sizeof *counts, &error);
    pare_plan plan = {.unit = PARE_UNIT_FFN, .n_rows = layers, .n_units = width, .n_kept = kept};
    enum { SEEDS = 2000 };
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        pare_scores scores;
        assert_done(pare_score(&scores, pare_methods[0], checkpoint, NULL, seed, NULL, &error), error);
        pare_cut *cut = pare_cut_make(&checkpoint->config, &scores, &plan, &error);
        assert_done(cut, error);
        for (uint32_t j = 0; j < kept; j++)
            counts[cut->each[0].ffn.index[j]]++;
        assert_memory_not_equal(cut->each[0].ffn.index, cut->each[1].ffn.index, kept * sizeof(uint32_t));
        pare_cut_close(cut);
        pare_scores_free(&scores);
    }
    double chi = 0, expected = (double)SEEDS * kept / width;
    for (uint32_t j = 0; j < width; j++)
        chi += (counts[j] - expected) * (counts[j] - expected) / expected;
    assert_true(layers >= 2);
    assert_true(chi < width + 5 * sqrt(2.0 * width)); /* five standard deviations of chi-square with width - 1 degrees */
    pare_free(counts);
    pare_checkpoint_close(checkpoint);
}

static void achieved_ratios(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    const pare_config *c = &checkpoint->config;
    pare_scores scores;
    pare_error error = {0};
    assert_done(pare_score(&scores, pare_methods[0], checkpoint, NULL, 1, NULL, &error), error);
    pare_plan plan;
    assert_done(pare_plan_make(&plan, PARE_UNIT_FFN, c, 0.5, 1, &error), error);
    pare_cut *cut = pare_cut_make(c, &scores, &plan, &error);
    assert_done(cut, error);
    pare_achieved a = pare_cut_achieved(cut, checkpoint);
    uint64_t gone = 3ull * c->width * (c->ffn_width / 2) * c->n_layers;
    assert_int_equal(a.before.parameters - a.after.parameters, gone);
    assert_int_equal(a.before.macs - a.after.macs, gone);
    assert_true(fabs(a.parameters - (double)gone / (double)a.before.parameters) < 1e-15);
    assert_true(fabs(a.non_embedding - (double)gone / (double)a.before.non_embedding) < 1e-15);
    assert_true(a.bytes > 0 && a.bytes < a.non_embedding);
    pare_cut_close(cut);
    pare_scores_free(&scores);
    pare_checkpoint_close(checkpoint);
}

/* Of every method: the same inputs give the same bits; what stays is as many as asked for; keeping all is no cut at all. */
static void every_method(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    pare_windows windows = window_of("qwen2");
    pare_calibration calibration;
    pare_error error = {0};
    pare_sha256 whole, hash;
    pare_cut *nothing = pare_cut_open(&checkpoint->config, &error);
    assert_done(pare_calibrate(&calibration, checkpoint, &windows, true, NULL, &error) && pare_cut_hash(&whole, nothing, &error), error);
    for (const pare_method *const *m = pare_methods; *m; m++) {
        pare_scores once, again;
        pare_plan half, whole_plan;
        assert_done(pare_score(&once, *m, checkpoint, &calibration, 5, NULL, &error), error);
        assert_done(pare_score(&again, *m, checkpoint, &calibration, 5, NULL, &error), error);
        assert_true((once.values != NULL) == ((*m)->score != NULL));
        if (once.values)
            assert_memory_equal(once.values, again.values, (size_t)once.n_rows * once.n_units * sizeof(double));
        assert_done(pare_plan_make(&half, (*m)->unit, &checkpoint->config, 0.5, 8, &error), error);
        pare_cut *cut = pare_method_cut(*m, checkpoint, &calibration, &once, &half, NULL, &error);
        assert_done(cut && pare_cut_hash(&hash, cut, &error), error);
        assert_string_not_equal(hash.hex, whole.hex);
        pare_achieved a = pare_cut_achieved(cut, checkpoint);
        pare_size forecast;
        assert_done(pare_plan_forecast(&forecast, &half, &checkpoint->config, &error), error);
        assert_true((*m)->compensate || (*m)->unit == PARE_UNIT_SEVERAL || forecast.parameters == a.after.parameters);
        double off = fabs((double)forecast.macs / (double)a.after.macs - 1); /* one shape of several serves as well as another */
        assert_true(off <= ((*m)->unit == PARE_UNIT_SEVERAL ? 0.05 : 0) && a.after.macs < a.before.macs);
        pare_cut *twice = pare_method_cut(*m, checkpoint, &calibration, &again, &half, NULL, &error);
        pare_sha256 second;
        assert_done(twice && pare_cut_hash(&second, twice, &error), error);
        assert_string_equal(second.hex, hash.hex);
        pare_cut_close(twice);
        assert_done(pare_plan_make(&whole_plan, (*m)->unit, &checkpoint->config, 0, 8, &error), error);
        pare_cut *all = pare_method_cut(*m, checkpoint, &calibration, &once, &whole_plan, NULL, &error);
        assert_done(all && pare_cut_hash(&hash, all, &error), error);
        assert_string_equal(hash.hex, whole.hex);
        pare_cut_close(cut);
        pare_cut_close(all);
        pare_scores_free(&once);
        pare_scores_free(&again);
    }
    pare_cut_close(nothing);
    pare_calibration_free(&calibration);
    pare_windows_free(&windows);
    pare_checkpoint_close(checkpoint);
}

/* Neurons 3 and 17 and key-value heads 0 and 1 of layer 0 change places: so do their scores, and no other score changes. */
static void order_of_units(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    const pare_config *c = &checkpoint->config;
    pare_windows windows = window_of("qwen2");
    pare_thawed turned;
    pare_calibration before, after;
    pare_error error = {0};
    uint32_t group = c->n_heads / c->n_kv_heads;
    assert_done(pare_thaw(&turned, checkpoint, NULL, NULL, &error), error);
    swap_neurons(turned.checkpoint, 0, 3, 17);
    swap_groups(turned.checkpoint, 0, 0, 1);
    assert_done(pare_calibrate(&before, checkpoint, &windows, true, NULL, &error) &&
                    pare_calibrate(&after, turned.checkpoint, &windows, true, NULL, &error),
                error);
    for (const pare_method *const *m = pare_methods; *m; m++) {
        pare_scores one, two;
        if ((*m)->stochastic || !(*m)->score)
            continue;
        assert_done(pare_score(&one, *m, checkpoint, &before, 0, NULL, &error) &&
                        pare_score(&two, *m, turned.checkpoint, &after, 0, NULL, &error),
                    error);
        for (uint32_t j = 0; j < one.n_rows * one.n_units; j++) {
            uint32_t from = j;
            if (((*m)->unit == PARE_UNIT_FFN || (*m)->unit == PARE_UNIT_SEVERAL) && (j == 3 || j == 17))
                from = 20 - j;
            if ((*m)->unit == PARE_UNIT_SEVERAL && (j == c->ffn_width || j == c->ffn_width + 1))
                from = 2 * c->ffn_width + 1 - j;
            if ((*m)->unit == PARE_UNIT_GROUPS && j < 2)
                from = 1 - j;
            if ((*m)->unit == PARE_UNIT_HEADS && j < 2 * group)
                from = (j + group) % (2 * group);
            if (!(fabs(two.values[j] - one.values[from]) <= 1e-4 * (1e-3 + fabs(one.values[from]))))
                fail_msg("%s: unit %u scores %.9g, it was %.9g at %u", (*m)->name, j, two.values[j], one.values[from], from);
        }
        pare_scores_free(&one);
        pare_scores_free(&two);
    }
    pare_calibration_free(&before);
    pare_calibration_free(&after);
    pare_thawed_close(&turned);
    pare_windows_free(&windows);
    pare_checkpoint_close(checkpoint);
}

static void methods(void **state) {
    (void)state;
    pare_error error = {0};
    assert_fails(pare_method_find("tailor", &error), error, PARE_ERROR_USAGE, "random, magnitude, wanda-sp");
    const pare_method *magnitude = pare_method_find("magnitude", &error);
    assert_non_null(magnitude->warning);
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    pare_scores scores;
    assert_fails(pare_score(&scores, pare_method_find("wanda-sp", &error), checkpoint, NULL, 0, NULL, &error), error, PARE_ERROR_USAGE,
                 "calibration");
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_as_pytorch), cmocka_unit_test(widths),          cmocka_unit_test(budgets), cmocka_unit_test(cuts),
        cmocka_unit_test(random_draws),      cmocka_unit_test(achieved_ratios), cmocka_unit_test(methods), cmocka_unit_test(every_method),
        cmocka_unit_test(order_of_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
