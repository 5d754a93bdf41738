/* The methods that look at spectra: against NumPy, SciPy and PyTorch (fixtures by tools/fixtures/compress_spectral.py), what must not
 * change a score, and policy files that are not what they should be. */
#include <math.h>

#include "method/method.h"
#include "policy.h"
#include "spectrum.h"
#include "test.h"

#define MODELS PARE_SOURCE_DIR "/tests/model/fixtures/"

enum { MOST = 512 };

/* The fixture's line that begins with `what`, its `skip`-th. Returns how many numbers it has. */
static size_t numbers(double values[MOST], const char *what, int skip) {
    static char line[1 << 15];
    FILE *file = fopen(PARE_FIXTURES "/spectral.txt", "r");
    size_t n = 0, length = strlen(what);
    assert_non_null(file);
    while (n == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, what, length) == 0 && line[length] == ' ' && skip-- == 0)
            for (char *at = line + length, *end; n < MOST; at = end) {
                values[n] = strtod(at, &end);
                if (at == end)
                    break;
                n++;
            }
    fclose(file);
    return n;
}

static void floats(float *out, const char *what) {
    double values[MOST];
    size_t n = numbers(values, what, 0);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)values[i];
}

static void near(const char *what, const float *got, size_t n, double tolerance) {
    double wanted[MOST];
    assert_int_equal(numbers(wanted, what, 0), n);
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - wanted[i]) < tolerance * (1 + fabs(wanted[i]))))
            fail_msg("%s %zu: %.9g, wanted %.9g", what, i, (double)got[i], wanted[i]);
}

static pare_checkpoint *open_fixture(const char *name) {
    pare_error error = {0};
    char path[512];
    snprintf(path, sizeof path, MODELS "%s", name);
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    return checkpoint;
}

static float *gate_of(const pare_checkpoint *checkpoint, uint32_t layer) {
    pare_error error = {0};
    float *w = pare_allocate((size_t)checkpoint->config.ffn_width * checkpoint->config.width, sizeof *w, &error);
    assert_done(w && spectrum_read(w, checkpoint, layer, "mlp.gate_proj", &error), error);
    return w;
}

static void as_numpy_and_scipy(void **state) {
    (void)state;
    double v[MOST], got[5];
    float matrix[45];
    pare_error error = {0};
    floats(matrix, "matrix");
    assert_done(pare_singular_values(got, matrix, 5, 9, &error), error);
    assert_int_equal(numbers(v, "singular", 0), 5);
    for (int i = 0; i < 5; i++)
        assert_true(fabs(got[i] - v[i]) < 1e-6);
    int cases = 0;
    for (size_t length; (length = numbers(v, "ks", cases)) > 0; cases++) {
        size_t n = (size_t)v[0], m = (size_t)v[1];
        assert_int_equal(length, n + m + 3);
        assert_true(fabs(pare_kolmogorov_smirnov(v + 2, n, v + 2 + n, m) - v[length - 1]) < 1e-8);
        assert_true(fabs(pare_kolmogorov_smirnov(v + 2 + n, m, v + 2, n) - v[length - 1]) < 1e-8);
        assert_true(pare_kolmogorov_smirnov(v + 2, n, v + 2, n) == 0);
    }
    assert_int_equal(cases, 4);
}

/* The policy that never forms H, against autograd on the one that does. */
static void policy_as_pytorch(void **state) {
    (void)state;
    enum { N = 6, WIDTH = 4, VALUES = N * (WIDTH + 2) };
    static const uint32_t kept[] = {0, 2, 3, 5};
    float w[N * WIDTH], logits[N], log_keep[N], gradient[VALUES], direction[WIDTH], first[VALUES] = {0}, second[VALUES] = {0};
    policy_slope slope = {direction, gradient + N * WIDTH, gradient + N * (WIDTH + 1)};
    const pare_tensor tensor = {.name = "gate", .n_dims = 2, .dims = {N, WIDTH}, .data = (const uint8_t *)w, .n_bytes = sizeof w};
    const pare_view gate = pare_view_all(&tensor);
    double noise[MOST];
    pare_policy policy;
    pare_error error = {0};
    assert_done(policy_open(&policy, WIDTH, N, &error), error);
    assert_int_equal(policy.n_values, VALUES);
    floats(policy.values, "policy");
    floats(w, "weight");
    assert_int_equal(numbers(noise, "noise", 0), N);
    float *scratch = pare_allocate(policy_scratch(&policy), sizeof *scratch, &error);
    policy_forward(logits, &policy, &gate, scratch);
    near("logits", logits, N, 1e-6);
    for (int i = 0; i < N; i++)
        log_keep[i] = (float)policy_log_keep(noise[i], logits[i]);
    near("log_keep", log_keep, N, 1e-6);
    policy_gradient(&slope, &policy, &gate, logits, noise, kept, 4, 3.5, scratch);
    for (int i = 0; i < N * WIDTH; i++)
        gradient[i] = policy_rows(&policy)[i / WIDTH] * direction[i % WIDTH];
    near("gradient", gradient, VALUES, 1e-5);
    policy_step(&policy, first, second, &slope, 1, 1e-3, scratch);
    pare_free(scratch);
    near("stepped", policy.values, VALUES, 1e-6);
    pare_policy_free(&policy);
}

static void rewards_as_scipy(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "qwen2"};
    for (int i = 0; i < 2; i++) {
        pare_checkpoint *checkpoint = open_fixture(names[i]);
        uint32_t n = checkpoint->config.ffn_width, width = checkpoint->config.width, kept[MOST];
        double values[MOST], v[MOST], reward;
        float *w = gate_of(checkpoint, 1);
        pare_view gate;
        pare_error error = {0};
        assert_done(spectrum_view(&gate, checkpoint, 1, "mlp.gate_proj", &error), error);
        char what[32];
        snprintf(what, sizeof what, "reward %s", names[i]);
        assert_true(n <= MOST && width <= n);
        assert_done(pare_singular_values(values, w, n, width, &error), error);
        for (int mask = 0; mask < 3; mask++) {
            size_t length = numbers(v, what, mask);
            uint32_t n_kept = (uint32_t)v[0];
            assert_int_equal(length, n_kept + 2);
            for (uint32_t j = 0; j < n_kept; j++)
                kept[j] = (uint32_t)v[1 + j];
            assert_done(policy_reward(&reward, values, width, &gate, kept, n_kept, &error), error);
            assert_true(fabs(reward - v[length - 1]) < 1e-6);
        }
        for (uint32_t j = 0; j < n; j++)
            kept[j] = j;
        assert_done(policy_reward(&reward, values, width, &gate, kept, n, &error), error);
        assert_true(reward == 99999); /* nothing removed: KS is 0 */
        pare_free(w);
        pare_checkpoint_close(checkpoint);
    }
}

static pare_scores scores_of(const pare_checkpoint *checkpoint, const pare_method *method, uint64_t seed, int n_threads) {
    pare_error error = {0};
    pare_context context = {.n_threads = n_threads};
    pare_scores scores;
    assert_done(pare_score(&scores, method, checkpoint, NULL, seed, &context, &error), error);
    return scores;
}

/* Against NumPy: the first order of all three matrices, the exact distance's beginning, and whole ablation, of one. */
static void lila_scores(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "qwen2"};
    for (int i = 0; i < 2; i++) {
        pare_checkpoint *checkpoint = open_fixture(names[i]);
        uint32_t n = checkpoint->config.ffn_width, width = checkpoint->config.width;
        double wanted[MOST], exact[MOST], rate[MOST], gate[MOST] = {0}, turned[MOST] = {0};
        char what[32];
        pare_error error = {0};
        pare_scores scores = scores_of(checkpoint, &pare_method_lila, 0, 1);
        snprintf(what, sizeof what, "lila %s", names[i]);
        assert_int_equal(numbers(wanted, what, 0), n);
        for (uint32_t j = 0; j < n; j++)
            assert_true(fabs(scores.values[n + j] - wanted[j]) < 1e-5 * wanted[j]);
        float *w = gate_of(checkpoint, 1);
        assert_done(lila_add_shifts(gate, w, n, width, &error), error);
        snprintf(what, sizeof what, "ablated %s", names[i]);
        assert_int_equal(numbers(exact, what, 0), n);
        snprintf(what, sizeof what, "rate %s", names[i]);
        assert_int_equal(numbers(rate, what, 0), n);
        double total = 0;
        for (size_t j = 0; j < (size_t)n * width; j++)
            total += (double)w[j] * (double)w[j];
        for (uint32_t j = 0; j < n; j++) {
            double energy = 0;
            for (uint32_t k = 0; k < width; k++)
                energy += (double)w[(size_t)j * width + k] * (double)w[(size_t)j * width + k];
            /* the score's p / (1 - p) begins as p; whole ablation is of the same size, no more (lila.c) */
            assert_true(fabs(gate[j] * (1 - energy / total) - rate[j]) < 0.01 * rate[j]);
            assert_true(gate[j] < 6 * exact[j] && exact[j] < 6 * gate[j]);
        }
        for (uint32_t j = 0; j < n / 2; j++) /* neurons in another order: the same scores in that order */
            for (uint32_t k = 0; k < width; k++) {
                float t = w[j * width + k];
                w[j * width + k] = w[(n - 1 - j) * width + k];
                w[(n - 1 - j) * width + k] = t;
            }
        assert_done(lila_add_shifts(turned, w, n, width, &error), error);
        for (uint32_t j = 0; j < n; j++)
            assert_true(fabs(turned[n - 1 - j] - gate[j]) < 1e-5 * gate[j]);
        pare_free(w);
        pare_scores_free(&scores);
        pare_checkpoint_close(checkpoint);
    }
}

/* Rows of nothing score 0; a row that is all there is 1. */
static void lila_extremes(void **state) {
    (void)state;
    float w[12] = {0}, wide[8] = {1, 2, 3, 4, 4, -3, 2, -1};
    double scores[4] = {0}, few[2] = {0};
    pare_error error = {0};
    assert_done(lila_add_shifts(scores, w, 4, 3, &error), error);
    w[4] = 2;
    assert_true(scores[0] == 0 && scores[1] == 0);
    assert_done(lila_add_shifts(scores, w, 4, 3, &error), error);
    assert_true(scores[0] == 0 && scores[1] == 1);
    assert_done(lila_add_shifts(few, wide, 2, 4, &error), error); /* more columns than rows */
    assert_true(isfinite(few[0]) && isfinite(few[1]));
    w[7] = (float)NAN;
    assert_fails(lila_add_shifts(scores, w, 4, 3, &error), error, PARE_ERROR_NUMERIC, "[2, 1]");
}

/* Ratio 0 keeps all; a seed gives one answer whatever the threads; cuts of one seed are nested. */
static void invariants(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("llama3");
    const pare_config *c = &checkpoint->config;
    static const pare_method *const all[] = {&pare_method_prunenet, &pare_method_lila};
    pare_error error = {0};
    for (int i = 0; i < 2; i++) {
        pare_scores one = scores_of(checkpoint, all[i], 5, 1), two = scores_of(checkpoint, all[i], 5, 3),
                    other = scores_of(checkpoint, all[i], 6, 2);
        size_t bytes = (size_t)one.n_rows * one.n_units * sizeof *one.values;
        assert_memory_equal(one.values, two.values, bytes);
        assert_int_equal(memcmp(one.values, other.values, bytes) != 0, all[i]->stochastic);
        pare_plan plan;
        assert_done(pare_plan_make(&plan, PARE_UNIT_FFN, c, 0, 1, &error), error);
        pare_cut *whole = pare_cut_open(c, &error), *cut = pare_cut_make(c, &one, &plan, &error);
        pare_sha256 a, b;
        assert_done(whole && cut && pare_cut_hash(&a, whole, &error) && pare_cut_hash(&b, cut, &error), error);
        assert_string_equal(a.hex, b.hex);
        pare_cut_close(whole);
        pare_cut_close(cut);
        pare_scores_free(&one);
        pare_scores_free(&two);
        pare_scores_free(&other);
    }
    pare_checkpoint_close(checkpoint);
}

/* The n best of ln k + Gumbel noise are a draw by k: a neuron of weight k is the first of two with probability k / (k + k'). */
static void draws(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    double noise[2], gumbel[2];
    const double k[2] = {0.9, 0.3};
    int first = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        policy_noise(noise, gumbel, 2, 3, "test", i);
        first += log(k[0]) + gumbel[0] > log(k[1]) + gumbel[1];
    }
    assert_true(fabs(first / (double)DRAWS - 0.75) < 5 * sqrt(0.75 * 0.25 / DRAWS));
}

static void write_part(const char *path, const uint8_t *bytes, size_t n) {
    pare_error error = {0};
    assert_done(pare_file_write(path, bytes, n, true, &error), error);
}

static void policy_files(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("llama3");
    pare_error error = {0};
    char *folder = test_folder(), path[512], bad[512];
    pare_policy policy, again;
    pare_scores one, two;
    snprintf(path, sizeof path, "%s/policy.safetensors", folder);
    snprintf(bad, sizeof bad, "%s/bad.safetensors", folder);
    const pare_policy_options options = {.ratio = 0.4, .episodes = 3, .seed = 11};
    assert_done(pare_policy_train(&policy, checkpoint, &options, NULL, &error), error);
    assert_true(policy.reward > 1);
    assert_done(pare_policy_write(&policy, path, false, &error), error);
    assert_fails(pare_policy_write(&policy, path, false, &error), error, PARE_ERROR_CONFLICT, "exists");
    assert_done(pare_policy_read(&again, path, &error), error);
    assert_memory_equal(policy.values, again.values, policy.n_values * sizeof(float));
    assert_true(again.ratio == 0.4 && again.episodes == 3 && again.seed == 11 && again.reward == policy.reward);
    assert_done(pare_policy_score(&one, &policy, checkpoint, 1, NULL, &error), error);
    assert_done(pare_policy_score(&two, &again, checkpoint, 1, NULL, &error), error);
    assert_memory_equal(one.values, two.values, (size_t)one.n_rows * one.n_units * sizeof(double));
    pare_scores_free(&one);
    pare_scores_free(&two);
    again.width++; /* as if for another model */
    assert_fails(pare_policy_score(&two, &again, checkpoint, 1, NULL, &error), error, PARE_ERROR_SHAPE,
                 "the policy is for models of width");
    again.width--;
    pare_policy_free(&again);

    pare_map map;
    assert_done(pare_map_open(&map, path, &error), error);
    uint8_t *bytes = pare_allocate(map.size + 1, 1, &error);
    for (size_t cut = 0; cut < map.size; cut += cut < 700 ? 1 : 997) { /* cut short anywhere */
        write_part(bad, map.data, cut);
        assert_false(pare_policy_read(&again, bad, &error));
        assert_null(again.values);
    }
    assert_fails(pare_policy_read(&again, bad, &error), error, PARE_ERROR_FORMAT, "cut short");
    memcpy(bytes, map.data, map.size);
    write_part(bad, bytes, map.size + 1);
    assert_fails(pare_policy_read(&again, bad, &error), error, PARE_ERROR_FORMAT, "too long");
    bytes[map.size - 2] ^= 1;
    write_part(bad, bytes, map.size);
    assert_fails(pare_policy_read(&again, bad, &error), error, PARE_ERROR_FORMAT, "damaged");
    float nan = (float)NAN;
    memcpy(bytes + map.size - sizeof nan, &nan, sizeof nan);
    write_part(bad, bytes, map.size);
    assert_fails(pare_policy_read(&again, bad, &error), error, PARE_ERROR_NUMERIC, "not finite");
    write_part(bad, (const uint8_t *)"\2\0\0\0\0\0\0\0{}", 10);
    assert_fails(pare_policy_read(&again, bad, &error), error, PARE_ERROR_FORMAT, "not a policy");
    pare_map_close(&map);
    pare_free(bytes);
    unlink(path);
    unlink(bad);
    rmdir(folder);
    pare_policy_free(&policy);
    pare_checkpoint_close(checkpoint);
}

static void stopped(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    volatile sig_atomic_t cancel = 1;
    pare_context context = {.n_threads = 2, .cancel = &cancel};
    pare_error error = {0};
    pare_policy policy;
    pare_scores scores;
    assert_fails(pare_policy_train(&policy, checkpoint, NULL, &context, &error), error, PARE_ERROR_CANCELLED, "");
    assert_null(policy.values);
    assert_fails(pare_score(&scores, &pare_method_lila, checkpoint, NULL, 0, &context, &error), error, PARE_ERROR_CANCELLED, "");
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    pare_error error = {0};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_numpy_and_scipy),
        cmocka_unit_test(policy_as_pytorch),
        cmocka_unit_test(rewards_as_scipy),
        cmocka_unit_test(lila_scores),
        cmocka_unit_test(lila_extremes),
        cmocka_unit_test(invariants),
        cmocka_unit_test(draws),
        cmocka_unit_test(policy_files),
        cmocka_unit_test(stopped),
    };
    if (!pare_gemm_prepare(&error))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
