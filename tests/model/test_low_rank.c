/* Matrices that are products of two factors: a model of them computes what the product does, also under a cut and with adapters; what is
 * written of it is the product, or factors that took the adapters up; what is out of range is refused by name. */
#include <math.h>

#include "fixtures.h"
#include "format/format.h"
#include "pare/cut.h"
#include "pare/json.h"
#include "pare/trainable.h"

enum { TOKENS = 24 };

static char *work;

static int make_work(void **state) {
    (void)state;
    work = test_folder();
    return work ? 0 : -1;
}

static int remove_work(void **state) {
    (void)state;
    remove_all(work);
    return 0;
}

static const char *fresh(void) {
    static char path[8][512];
    static unsigned n;
    char *to = path[n % 8];
    snprintf(to, sizeof path[0], "%s/out-%u", work, n++);
    return to;
}

static float *replace(pare_cut *cut, uint32_t layer, int p, const char *end) {
    char name[96];
    pare_error error = {0};
    snprintf(name, sizeof name, "model.layers.%u.%s.%s", layer, pare_projection_path((pare_projection)p), end);
    float *values = pare_cut_replace(cut, name, &error);
    assert_done(values, error);
    return values;
}

/* Two cuts of one model: its projections (but each third) as factors, and as their products. */
typedef struct {
    pare_checkpoint *checkpoint;
    pare_cut *factors, *product;
} pair;

static pair open_pair(const char *name) {
    pare_error error = {0};
    pair two = {.checkpoint = open_fixture(name)};
    const pare_config *c = &two.checkpoint->config;
    assert_done((two.factors = pare_cut_open(c, &error)) && (two.product = pare_cut_open(c, &error)), error);
    for (uint32_t i = 0; i < c->n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            pare_linear_shape s = pare_config_linear(c, i, (pare_projection)p);
            uint32_t rank = 3 + (uint32_t)p;
            float *u, *v;
            if (((int)i + p) % 3 == 0)
                continue;
            assert_done(pare_cut_factor(two.factors, i, (pare_projection)p, rank, &u, &v, &error), error);
            float *w = replace(two.product, i, p, "weight");
            for (size_t j = 0; j < s.out * rank; j++)
                u[j] = (float)(0.3 * sin(1.0 + (double)j * (p + 2)));
            for (size_t j = 0; j < s.in * rank; j++)
                v[j] = (float)(0.3 * cos(2.0 + (double)j * (p + 3) + i));
            for (size_t o = 0; o < s.out; o++)
                for (size_t j = 0; j < s.in; j++) {
                    double sum = 0;
                    for (size_t k = 0; k < rank; k++)
                        sum += (double)u[o * rank + k] * (double)v[k * s.in + j];
                    w[o * s.in + j] = (float)sum;
                }
        }
    return two;
}

static void close_pair(pair *two) {
    pare_cut_close(two->factors);
    pare_cut_close(two->product);
    pare_checkpoint_close(two->checkpoint);
}

static float *logits_of(const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_adapters *adapters, int threads) {
    pare_error error = {0};
    pare_context context = {.n_threads = threads};
    uint32_t ids[TOKENS], vocabulary = checkpoint->config.vocabulary;
    for (uint32_t i = 0; i < TOKENS; i++)
        ids[i] = (7 * i * i + 3) % vocabulary;
    pare_model *model = pare_model_open(checkpoint, cut, &error);
    assert_done(model, error);
    if (adapters)
        pare_model_adapt(model, adapters);
    pare_forward *forward = pare_forward_open(model, 1, TOKENS, &context, &error);
    assert_done(forward, error);
    float *logits = pare_allocate((size_t)TOKENS * vocabulary, sizeof *logits, &error);
    assert_done(logits && pare_forward_run(forward, ids, 1, TOKENS, NULL, &error) &&
                    pare_forward_logits(logits, forward, 0, TOKENS, &error),
                error);
    pare_forward_close(forward);
    pare_model_close(model);
    return logits;
}

/* Frees both. */
static void assert_close(float *one, float *two, uint32_t vocabulary, double tolerance) {
    for (size_t i = 0; i < (size_t)TOKENS * vocabulary; i++)
        if (!(fabs((double)one[i] - (double)two[i]) < tolerance))
            fail_msg("logit %zu: %.8g and %.8g", i, (double)one[i], (double)two[i]);
    pare_free(one);
    pare_free(two);
}

static const char *const names[] = {"qwen2", "llama3", "mistral", "llama3.gguf"};

static void computes_what_the_product_does(void **state) {
    (void)state;
    for (size_t m = 0; m < 4; m++) {
        pair two = open_pair(names[m]);
        uint32_t vocabulary = two.checkpoint->config.vocabulary;
        float *one_thread = logits_of(two.checkpoint, two.factors, NULL, 1), *factors = logits_of(two.checkpoint, two.factors, NULL, 2);
        assert_memory_equal(one_thread, factors, (size_t)TOKENS * vocabulary * sizeof *factors);
        pare_free(one_thread);
        assert_close(factors, logits_of(two.checkpoint, two.product, NULL, 2), vocabulary, 2e-5);
        close_pair(&two);
    }
}

static void cuts_of_factors(void **state) {
    (void)state;
    static const uint32_t neurons[] = {0, 2, 3, 7, 11, 12, 20}, channels[] = {0, 1, 4, 5, 9, 10, 13, 14}, layers[] = {1};
    pare_error error = {0};
    pair two = open_pair("qwen2");
    float *logits[2];
    for (int i = 0; i < 2; i++) {
        pare_thawed thawed;
        assert_done(pare_thaw(&thawed, two.checkpoint, i ? two.product : two.factors, NULL, &error), error);
        pare_cut *cut = pare_cut_open(&thawed.checkpoint->config, &error);
        assert_done(cut, error);
        assert_done(pare_cut_keep_ffn(cut, 1, neurons, 7, &error) && pare_cut_keep_channels(cut, channels, 8, &error) &&
                        pare_cut_keep_layers(cut, layers, 1, &error),
                    error);
        assert_true((cut->config.ranks == NULL) == (i == 1));
        logits[i] = logits_of(thawed.checkpoint, cut, NULL, 2);
        pare_cut_close(cut);
        pare_thawed_close(&thawed);
    }
    assert_close(logits[0], logits[1], two.checkpoint->config.vocabulary, 2e-5);
    close_pair(&two);
}

/* Adapters of a cut model, B not zero. */
static pare_adapters *adapters_for(const pare_config *config, uint32_t rank) {
    pare_error error = {0};
    const bool all[PARE_PROJECTIONS] = {true, true, true, true, true, true, true};
    pare_adapters *adapters = pare_adapters_open(config, rank, 8, all, 3, &error);
    assert_done(adapters, error);
    for (size_t i = 0; i < adapters->n_values; i++)
        adapters->values[i] = (float)(0.05 * sin(1.0 + (double)i));
    return adapters;
}

static void adapters_on_factors(void **state) {
    (void)state;
    pair two = open_pair("llama3");
    pare_adapters *adapters = adapters_for(&two.factors->config, 2);
    assert_close(logits_of(two.checkpoint, two.factors, adapters, 2), logits_of(two.checkpoint, two.product, adapters, 1),
                 two.checkpoint->config.vocabulary, 2e-5);
    pare_adapters_close(adapters);
    close_pair(&two);
}

/* For programs that know no factors the product is written, with what adapters add. */
static void multiplied_out(void **state) {
    (void)state;
    pare_error error = {0};
    pare_context context = {.n_threads = 2};
    for (size_t m = 0; m < 3; m++)
        for (int adapted = 0; adapted < 2; adapted++) {
            const char *path = fresh();
            pair two = open_pair(names[m]);
            pare_adapters *adapters = adapted ? adapters_for(&two.factors->config, 2) : NULL;
            assert_done(pare_checkpoint_write_whole(path, two.checkpoint, two.factors, adapters, PARE_DTYPE_F32, 0, NULL, &context, &error),
                        error);
            pare_checkpoint *back = pare_checkpoint_open(path, &error);
            assert_done(back, error);
            assert_null(back->config.ranks);
            assert_int_equal(pare_config_size(&back->config).parameters, pare_config_size(&two.checkpoint->config).parameters);
            assert_close(logits_of(back, NULL, NULL, 2), logits_of(two.checkpoint, two.factors, adapters, 2), back->config.vocabulary,
                         2e-5);
            pare_checkpoint_close(back);
            pare_adapters_close(adapters);
            close_pair(&two);
        }
}

static pare_checkpoint *opened(const char *path) {
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    return checkpoint;
}

/* pare's own format: the factors come back, bit for bit; also written again, from weights in memory. */
static void written_as_factors(void **state) {
    (void)state;
    pare_error error = {0};
    for (size_t m = 0; m < 4; m++) {
        const char *path = fresh(), *again = fresh();
        pair two = open_pair(names[m]);
        assert_done(pare_checkpoint_write(path, two.checkpoint, two.factors, NULL, PARE_DTYPE_F32, 0, NULL, NULL, &error), error);
        pare_checkpoint *back = opened(path);
        assert_int_equal(pare_config_size(&back->config).parameters, pare_config_size(&two.factors->config).parameters);
        assert_null(back->config.shapes);
        pare_thawed thawed;
        assert_done(pare_thaw(&thawed, back, NULL, NULL, &error), error);
        assert_done(pare_checkpoint_write(again, thawed.checkpoint, NULL, NULL, PARE_DTYPE_F32, 0, NULL, NULL, &error), error);
        pare_checkpoint *twice = opened(again);
        uint32_t vocabulary = back->config.vocabulary;
        float *got = logits_of(back, NULL, NULL, 1), *later = logits_of(twice, NULL, NULL, 2);
        assert_memory_equal(got, later, (size_t)TOKENS * vocabulary * sizeof *got);
        pare_free(later);
        /* a GGUF stores frequencies, config.json what they are made of */
        assert_close(got, logits_of(two.checkpoint, two.factors, NULL, 2), vocabulary, strstr(names[m], "gguf") ? 2e-5 : 1e-30);
        pare_thawed_close(&thawed);
        pare_checkpoint_close(twice);
        pare_checkpoint_close(back);
        close_pair(&two);
    }
}

/* Factors take an adapter up; where the product would be as large as the matrix it becomes one. */
static void factors_grow(void **state) {
    (void)state;
    pare_error error = {0};
    for (uint32_t rank = 2; rank <= 26; rank += 24) {
        const char *path = fresh();
        pair two = open_pair("qwen2");
        pare_adapters *adapters = adapters_for(&two.factors->config, rank);
        assert_done(pare_checkpoint_write(path, two.checkpoint, two.factors, adapters, PARE_DTYPE_F32, 0, NULL, NULL, &error), error);
        pare_checkpoint *back = opened(path);
        int grown = 0, whole = 0;
        for (uint32_t i = 0; i < back->config.n_layers; i++)
            for (int p = 0; p < PARE_PROJECTIONS; p++) {
                pare_linear_shape s = pare_config_linear(&back->config, i, (pare_projection)p);
                uint32_t before = pare_config_rank(&two.factors->config, i, (pare_projection)p),
                         after = pare_config_rank(&back->config, i, (pare_projection)p);
                bool saves = before && (before + rank) * (s.out + s.in) < s.out * s.in;
                assert_int_equal(after, saves ? before + rank : 0);
                grown += saves;
                whole += before && !saves;
            }
        assert_true(grown > 0 && (rank == 2 || whole > 0));
        assert_close(logits_of(back, NULL, NULL, 2), logits_of(two.checkpoint, two.factors, adapters, 2), back->config.vocabulary, 2e-5);
        pare_checkpoint_close(back);
        pare_adapters_close(adapters);
        close_pair(&two);
    }
}

/* The config.json of a folder with one layer's "ranks" replaced. */
static void edit_ranks(const char *folder, const char *ranks) {
    char path[600];
    pare_error error = {0};
    snprintf(path, sizeof path, "%s/config.json", folder);
    json_t *json = pare_json_read(path, &error), *value = json_loads(ranks, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    assert_done(json, error);
    json_t *layer = json_array_get(json_object_get(json_object_get(json, "pare"), "layers"), 0);
    assert_int_equal(json_object_set_new(layer, "ranks", value), 0);
    assert_int_equal(json_dump_file(json, path, 0), 0);
    json_decref(json);
}

static void hostile_ranks(void **state) {
    (void)state;
    static const struct {
        const char *ranks, *part;
        pare_code code;
    } cases[] = {
        {"{\"k_proj\": 0}", "layer 0: the rank of k_proj is no number above 0", PARE_ERROR_RANGE},
        {"{\"k_proj\": -3}", "layer 0: the rank of k_proj", PARE_ERROR_RANGE},
        {"{\"k_proj\": 4.5}", "layer 0: the rank of k_proj", PARE_ERROR_RANGE},
        {"{\"k_proj\": \"4\"}", "layer 0: the rank of k_proj", PARE_ERROR_RANGE},
        {"{\"k_proj\": 4294967297}", "layer 0: the rank of k_proj", PARE_ERROR_RANGE},
        {"{\"k_proj\": 4000}", "layer 0, k_proj: a rank of 4000", PARE_ERROR_RANGE},
        {"{\"x_proj\": 4}", "\"x_proj\", which is none of the seven", PARE_ERROR_FORMAT},
        {"[4]", "\"ranks\" is not an object", PARE_ERROR_FORMAT},
        {"{\"k_proj\": 5}", "self_attn.k_proj.u.weight", PARE_ERROR_SHAPE},                /* 4 is stored */
        {"{\"q_proj\": 3, \"k_proj\": 4}", "self_attn.q_proj.u.weight", PARE_ERROR_SHAPE}, /* stored as a whole */
        {"{}", "weight", PARE_ERROR_SHAPE},
    };
    pare_error error = {0};
    const char *path = fresh();
    pair two = open_pair("qwen2");
    assert_done(pare_checkpoint_write(path, two.checkpoint, two.factors, NULL, PARE_DTYPE_F32, 0, NULL, NULL, &error), error);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        edit_ranks(path, cases[i].ranks);
        assert_fails(pare_checkpoint_open(path, &error), error, cases[i].code, cases[i].part);
    }
    close_pair(&two);
}

static void exported_multiplied_out(void **state) {
    (void)state;
    pare_error error = {0};
    for (size_t m = 0; m < 3; m++) {
        char path[600];
        snprintf(path, sizeof path, "%s.gguf", fresh());
        pair two = open_pair(names[m]);
        assert_done(pare_checkpoint_export(NULL, path, false, two.checkpoint, two.factors, PARE_DTYPE_F32, NULL, &error), error);
        pare_checkpoint *back = pare_checkpoint_open(path, &error);
        assert_done(back, error);
        assert_close(logits_of(back, NULL, NULL, 2), logits_of(two.checkpoint, two.factors, NULL, 2), back->config.vocabulary, 2e-5);
        pare_checkpoint_close(back);
        close_pair(&two);
    }
}

static void out_of_range(void **state) {
    (void)state;
    float *u, *v;
    pare_error error = {0};
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    pare_cut *cut = pare_cut_open(&checkpoint->config, &error), *other = pare_cut_open(&checkpoint->config, &error);
    pare_sha256 before, after, larger;
    assert_done(cut && other && pare_cut_hash(&before, cut, &error), error);
    pare_linear_shape k = pare_config_linear(&checkpoint->config, 0, PARE_K);
    uint32_t most = (uint32_t)(k.out < k.in ? k.out : k.in);
    assert_fails(pare_cut_factor(cut, 0, PARE_K, 0, &u, &v, &error), error, PARE_ERROR_RANGE, "layer 0, self_attn.k_proj: a rank of 0");
    assert_fails(pare_cut_factor(cut, 0, PARE_K, most + 1, &u, &v, &error), error, PARE_ERROR_RANGE, "not possible for a matrix");
    assert_fails(pare_cut_factor(cut, 99, PARE_K, 1, &u, &v, &error), error, PARE_ERROR_RANGE, "layer 99 of a cut");
    assert_null(cut->config.ranks);
    assert_done(pare_cut_factor(cut, 0, PARE_K, most, &u, &v, &error) && pare_cut_hash(&after, cut, &error), error);
    assert_done(pare_cut_factor(other, 0, PARE_K, most - 1, &u, &v, &error) && pare_cut_hash(&larger, other, &error), error);
    assert_string_not_equal(before.hex, after.hex);
    assert_string_not_equal(larger.hex, after.hex);
    pare_cut_close(cut);
    pare_cut_close(other);
    pare_checkpoint_close(checkpoint);
}

/* Every allocation of a write fails once: an error, and nothing is left behind. */
static void out_of_memory(void **state) {
    (void)state;
    pair two = open_pair("llama3");
    bool done = false;
    size_t n = 1;
    for (; !done && n < 4000; n++) {
        pare_error error = {0};
        const char *path = fresh();
        pare_allocate_fail_at(n);
        done = pare_checkpoint_write_whole(path, two.checkpoint, two.factors, NULL, PARE_DTYPE_BF16, 0, NULL, NULL, &error);
        pare_allocate_fail_at(0);
        if (!done) {
            assert_int_equal(error.code, PARE_ERROR_MEMORY);
            assert_false(pare_path_exists(path));
        }
    }
    assert_true(done && n > 20);
    close_pair(&two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computes_what_the_product_does),
        cmocka_unit_test(cuts_of_factors),
        cmocka_unit_test(adapters_on_factors),
        cmocka_unit_test(multiplied_out),
        cmocka_unit_test(exported_multiplied_out),
        cmocka_unit_test(out_of_range),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(written_as_factors),
        cmocka_unit_test(factors_grow),
        cmocka_unit_test(hostile_ranks),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
