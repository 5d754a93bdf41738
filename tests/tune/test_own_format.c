/* Training what pare's own format alone holds, factored matrices and shortcuts: gradients of these, of what lies before them and of
 * adapters on top against central differences; the same bits with and without activation checkpointing, for every number of threads. */
#include "pare/cut.h"
#include "tune_test.h"

/* Every second projection of the model becomes a product of odd rank, of numbers as large as the weights of a matrix. */
static pare_cut *factored(const pare_checkpoint *checkpoint) {
    pare_error error = {0};
    pare_cut *cut = pare_cut_open(&checkpoint->config, &error);
    assert_done(cut, error);
    for (uint32_t i = 0; i < checkpoint->config.n_layers; i++)
        for (uint32_t p = 0; p < PARE_PROJECTIONS; p++) {
            pare_linear_shape s = pare_config_linear(&checkpoint->config, i, (pare_projection)p);
            uint32_t rank = 5 + 2 * p;
            float *u, *v;
            if ((i + p) % 2)
                continue;
            assert_done(pare_cut_factor(cut, i, (pare_projection)p, rank, &u, &v, &error), error);
            for (size_t j = 0; j < s.out * rank; j++)
                u[j] = (float)(0.3 * sin(1.0 + (double)(j * (p + 2) + i)));
            for (size_t j = 0; j < s.in * rank; j++)
                v[j] = (float)(0.3 * cos(2.0 + (double)(j * (p + 3) + i)));
        }
    return cut;
}

/* Every layer gets two shortcuts, no turns but full matrices of a turn's size: what passes by grows no larger. */
static pare_cut *with_shortcuts(const pare_checkpoint *checkpoint) {
    pare_error error = {0};
    size_t width = checkpoint->config.width;
    pare_cut *cut = pare_cut_open(&checkpoint->config, &error);
    assert_done(cut, error);
    pare_cut_add_shortcuts(cut);
    for (uint32_t i = 0; i < 2 * checkpoint->config.n_layers; i++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.%u.%s.shortcut.weight", i / 2, i % 2 ? "mlp" : "self_attn");
        float *shortcut = pare_cut_replace(cut, name, &error);
        assert_done(shortcut, error);
        for (size_t j = 0; j < width * width; j++)
            shortcut[j] = (float)(sin(1.0 + (double)(j * (i + 2))) / sqrt((double)width) + (j % (width + 1) == 0 ? 0.5 : 0));
    }
    return cut;
}

typedef pare_cut *make_cut(const pare_checkpoint *checkpoint);

typedef struct {
    bench bench;
    pare_cut *cut;
} subject;

static void start(subject *s, const char *name, make_cut *make, const pare_tune_options *options, int threads) {
    pare_error error = {0};
    s->bench = (bench){.context = {.n_threads = threads}};
    assert_done(s->bench.checkpoint = pare_checkpoint_open(model_path(name), &error), error);
    s->cut = make(s->bench.checkpoint);
    assert_done(s->bench.tuner = pare_tuner_open(options, s->bench.checkpoint, s->cut, NULL, &s->bench.context, &error), error);
    start_adapters(s->bench.tuner);
}

static void stop(subject *s) {
    pare_tuner_close(s->bench.tuner);
    pare_cut_close(s->cut);
    pare_checkpoint_close(s->bench.checkpoint);
}

/* Gradients of the reference's first step into the tuner's; returns the mean loss. */
static double run_pass(pare_tuner *t, const json_t *reference) {
    uint32_t ids[BATCH * LENGTH];
    uint8_t learn[BATCH * LENGTH];
    pare_error error = {0};
    pare_pass_loss loss;
    fill_windows(ids, learn, json_object_get(reference, "ids"), 0);
    pare_batch all = {ids, learn, BATCH, LENGTH};
    size_t targets = pare_batch_targets(&all);
    memset(t->gradient, 0, t->n_values * sizeof(float));
    assert_done(pare_pass_run(&loss, t->pass, &all, 1.0 / (double)targets, &error), error);
    return loss.cross_entropy / (double)targets;
}

/* (loss(w + e d) - loss(w - e d)) / 2e against the dot product of gradient and d, for d a random direction of signs in one segment. */
static void check_direction(pare_tuner *t, const json_t *r, const segment *seg, const float *gradient) {
    float *values = t->values + seg->at, *before = pare_allocate(seg->n, sizeof *before, NULL);
    double wanted = 0, size = 0, loss[2], e = 0.01;
    memcpy(before, values, seg->n * sizeof *before);
    for (int side = 0; side < 2; side++) {
        pare_random random;
        pare_random_init(&random, 11, seg->name, 0);
        for (size_t i = 0; i < seg->n; i++) {
            double d = (pare_random_unit(&random) < 0.5 ? -1 : 1) / sqrt((double)seg->n), g = (double)gradient[seg->at + i];
            values[i] = before[i] + (float)(side ? -e * d : e * d);
            wanted += side ? 0 : d * g;
            size += side ? 0 : g * g;
        }
        loss[side] = run_pass(t, r);
        memcpy(values, before, seg->n * sizeof *before);
    }
    double found = (loss[0] - loss[1]) / (2 * e);
    if (fabs(found - wanted) > 0.02 * sqrt(size) + 2e-4)
        fail_msg("%s: the slope along a direction is %.6g, the gradient says %.6g (norm %.3g)", seg->name, found, wanted, sqrt(size));
    pare_free(before);
}

static void check_all_directions(const char *name, make_cut *make, bool full, size_t wanted) {
    json_t *reference = read_reference();
    const json_t *r = json_object_get(reference, name);
    pare_tune_options o = reference_options(full);
    subject s;
    start(&s, name, make, &o, 2);
    pare_tuner *t = s.bench.tuner;
    size_t found = 0;
    for (size_t i = 0; i < t->n_segments; i++) {
        const segment *seg = &t->segments[i];
        found += strstr(seg->name, ".u.weight") || strstr(seg->name, ".v.weight") || strstr(seg->name, ".shortcut.weight");
        for (size_t j = 0; strstr(seg->name, "lora_B") && j < seg->n; j++) /* zero at the start, and A would have no gradient */
            t->values[seg->at + j] = (float)(0.1 * cos((double)j));
    }
    assert_int_equal(found, wanted);
    run_pass(t, r);
    float *gradient = pare_allocate(t->n_values, sizeof *gradient, NULL);
    memcpy(gradient, t->gradient, t->n_values * sizeof *gradient);
    for (size_t i = 0; i < t->n_segments; i++) {
        double squares = 0;
        for (size_t j = 0; j < t->segments[i].n; j++)
            squares += fabs((double)gradient[t->segments[i].at + j]);
        if (!strstr(t->segments[i].name, "k_proj.bias")) /* which softmax does not see */
            assert_true(squares > 1e-6);
        check_direction(t, r, &t->segments[i], gradient);
    }
    pare_free(gradient);
    stop(&s);
    json_decref(reference);
}

static void every_weight(void **state) {
    (void)state;
    check_all_directions("qwen2", factored, true, 2 * 7);
    check_all_directions("llama3", with_shortcuts, true, 2 * 2);
}

static void adapters_on_top(void **state) {
    (void)state;
    check_all_directions("qwen2", factored, false, 0);
    check_all_directions("mistral", factored, false, 0);
    check_all_directions("mistral", with_shortcuts, false, 0);
}

static void same_bits(void **state) {
    (void)state;
    json_t *reference = read_reference();
    const json_t *r = json_object_get(reference, "llama3");
    for (int kind = 0; kind < 4; kind++) {
        bool full = kind % 2;
        float *first = NULL;
        for (int way = 0; way < 4; way++) {
            pare_tune_options o = reference_options(full);
            o.recompute = way & 1;
            subject s;
            start(&s, "llama3", kind < 2 ? factored : with_shortcuts, &o, way & 2 ? 2 : 1);
            pare_tuner *t = s.bench.tuner;
            run_pass(t, r);
            if (!first) {
                first = pare_allocate(t->n_values, sizeof *first, NULL);
                memcpy(first, t->gradient, t->n_values * sizeof *first);
            }
            assert_memory_equal(first, t->gradient, t->n_values * sizeof *first);
            stop(&s);
        }
        pare_free(first);
    }
    json_decref(reference);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_weight), cmocka_unit_test(adapters_on_top), cmocka_unit_test(same_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
