/* allocate: least sums against trying everything, the global ranking against one sorted list, totals; and which method is recommended. */
#include <math.h>
#include <string.h>

#include "allocate.h"
#include "reference.h"

enum { ROWS = 4, BLOCKS = 5 };

static void random_costs(double cost[ROWS][BLOCKS + 1], uint64_t seed) {
    pare_random random;
    pare_random_init(&random, seed, "costs", 0);
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k <= BLOCKS; k++)
            cost[i][k] = pare_random_unit(&random);
}

/* Every way to keep 1 to BLOCKS of each row. */
static double least_of_all(double cost[ROWS][BLOCKS + 1], const bool *fixed, uint64_t total) {
    double least = (double)INFINITY;
    int ways = 1;
    for (int i = 0; i < ROWS; i++)
        ways *= BLOCKS;
    for (int w = 0; w < ways; w++) {
        uint64_t sum = 0;
        double price = 0;
        bool possible = true;
        for (int i = 0, rest = w; i < ROWS; i++, rest /= BLOCKS) {
            int k = rest % BLOCKS + 1;
            possible = possible && (!fixed[i] || k == BLOCKS);
            sum += fixed[i] ? 0 : (uint64_t)k;
            price += fixed[i] ? 0 : cost[i][k];
        }
        if (possible && sum == total && price < least)
            least = price;
    }
    return least;
}

static void least_sums(void **state) {
    (void)state;
    pare_error error = {0};
    for (uint64_t seed = 0; seed < 20; seed++) {
        double cost[ROWS][BLOCKS + 1];
        const bool fixed[ROWS] = {false, seed % 3 == 1, false, seed % 5 == 2};
        uint32_t kept[ROWS];
        random_costs(cost, seed);
        for (uint64_t total = ROWS; total <= ROWS * BLOCKS + 2; total++) {
            assert_done(allocate_least(kept, &cost[0][0], fixed, ROWS, BLOCKS, total, &error), error);
            double price = 0;
            uint64_t sum = 0;
            for (int i = 0; i < ROWS; i++) {
                assert_true(fixed[i] ? kept[i] == BLOCKS : kept[i] >= 1 && kept[i] <= BLOCKS);
                price += fixed[i] ? 0 : cost[i][kept[i]];
                sum += fixed[i] ? 0 : kept[i];
            }
            uint64_t most = 0;
            for (int i = 0; i < ROWS; i++)
                most += fixed[i] ? 0 : BLOCKS;
            uint64_t wanted = total < most ? total : most;
            assert_int_equal(sum, wanted);
            assert_true(fabs(price - least_of_all(cost, fixed, wanted)) < 1e-12);
        }
        assert_fails(allocate_least(kept, &cost[0][0], NULL, ROWS, BLOCKS, ROWS - 1, &error), error, PARE_ERROR_RANGE, "at least one");
    }
}

/* Nothing may lie idle because more units measured no better: noise would then decide how much goes. Where all costs are alike, all keep as
 * many. A cost that is none is an error and no count of 0. */
static void flat_and_rising(void **state) {
    (void)state;
    pare_error error = {0};
    double cost[ROWS][BLOCKS + 1] = {{0}};
    uint32_t kept[ROWS];
    assert_done(allocate_least(kept, &cost[0][0], NULL, ROWS, BLOCKS, ROWS * 3, &error), error);
    for (int i = 0; i < ROWS; i++)
        assert_int_equal(kept[i], 3);
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k <= BLOCKS; k++)
            cost[i][k] = (i + 1) * k; /* the more stays, the worse: the dearest rows keep least */
    assert_done(allocate_least(kept, &cost[0][0], NULL, ROWS, BLOCKS, BLOCKS * 2 + 2, &error), error);
    assert_true(kept[0] == BLOCKS && kept[1] == BLOCKS && kept[2] == 1 && kept[3] == 1);
    for (int k = 0; k <= BLOCKS; k++)
        cost[1][k] = (double)NAN;
    assert_fails(allocate_least(kept, &cost[0][0], NULL, ROWS, BLOCKS, ROWS * 3, &error), error, PARE_ERROR_NUMERIC, "not a number");
}

/* How many of the best `total` of all standardised scores lie in each row. */
static void global_is_one_list(void **state) {
    (void)state;
    enum { N = 12, KEPT = 7 };
    pare_error error = {0};
    pare_random random;
    double values[ROWS * N], z[ROWS * N], threshold = 0;
    uint32_t count[ROWS] = {0}, sum = 0;
    pare_random_init(&random, 3, "scores", 0);
    for (int i = 0; i < ROWS; i++) {
        double mean = 0, variance = 0;
        for (int j = 0; j < N; j++) {
            double u = pare_random_unit(&random);
            values[i * N + j] = pow(u, 1 + 3 * i) * pow(10, i);
            mean += values[i * N + j] / N;
        }
        for (int j = 0; j < N; j++)
            variance += pow(values[i * N + j] - mean, 2) / N;
        for (int j = 0; j < N; j++)
            z[i * N + j] = (values[i * N + j] - mean) / sqrt(variance);
    }
    for (int i = 0; i < ROWS * N; i++) {
        int larger = 0;
        for (int j = 0; j < ROWS * N; j++)
            larger += z[j] > z[i];
        count[i / N] += larger < ROWS * KEPT;
        threshold += larger < ROWS * KEPT;
    }
    assert_int_equal((int)threshold, ROWS * KEPT);
    pare_scores scores = {.unit = PARE_UNIT_FFN, .n_rows = ROWS, .n_units = N, .values = values};
    pare_plan plan = {.unit = PARE_UNIT_FFN, .multiple = 1, .n_rows = ROWS, .n_units = N, .n_kept = KEPT};
    assert_done(pare_plan_allocate_global(&plan, &scores, &error), error);
    bool differ = false;
    for (int i = 0; i < ROWS; i++) {
        assert_int_equal(plan.each[i], count[i]);
        differ = differ || plan.each[i] != KEPT;
        sum += plan.each[i];
    }
    assert_true(differ && sum == ROWS * KEPT);
    pare_plan_free(&plan);
    plan = (pare_plan){.unit = PARE_UNIT_FFN, .multiple = 1, .n_rows = ROWS, .n_units = N, .n_kept = KEPT};
    values[N + 2] = (double)NAN;
    assert_fails(pare_plan_allocate_global(&plan, &scores, &error), error, PARE_ERROR_NUMERIC, "unit 2 in layer 1");
    plan = (pare_plan){.unit = PARE_UNIT_LAYERS, .multiple = 1, .n_rows = 1, .n_units = 4, .n_kept = 2};
    assert_fails(pare_plan_allocate_global(&plan, &scores, &error), error, PARE_ERROR_USAGE, "not shared out over layers");
}

/* Whatever the width, multiple and ratio, and whichever layers stay whole: as many units as the uniform plan, or fewer by less than a
 * multiple; every count a multiple, or all. */
static void totals(void **state) {
    (void)state;
    enum { LAYERS = 7, WIDTH_MOST = 1000 };
    static const uint32_t widths[] = {63, 65, 100, 129, 130, 191, 192, 257, 389, 640, 999, WIDTH_MOST}, multiples[] = {1, 3, 8, 32};
    pare_error error = {0};
    double *values = pare_allocate((size_t)LAYERS * WIDTH_MOST, sizeof *values, &error);
    uint64_t seed = 0;
    assert_non_null(values);
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t m = 0; m < sizeof multiples / sizeof *multiples; m++)
            for (double ratio = 0.1; ratio < 0.9; ratio += 0.2) {
                pare_random random;
                pare_config config = {.n_layers = LAYERS,
                                      .width = 64,
                                      .ffn_width = widths[w],
                                      .n_heads = 4,
                                      .n_kv_heads = 2,
                                      .head_dim = 16,
                                      .vocabulary = 256,
                                      .max_positions = 64};
                const bool whole[LAYERS] = {seed % 3 == 1, false, seed % 4 == 2};
                pare_random_init(&random, seed++, "totals", 0);
                for (size_t i = 0; i < (size_t)LAYERS * widths[w]; i++) /* layers of very different spreads: some keep all */
                    values[i] = pow(pare_random_unit(&random), 1 + 5 * (double)(i / widths[w]));
                pare_scores scores = {.unit = PARE_UNIT_FFN, .n_rows = LAYERS, .n_units = widths[w], .values = values};
                pare_plan plan;
                assert_done(pare_plan_make(&plan, PARE_UNIT_FFN, &config, ratio, multiples[m], &error) &&
                                pare_plan_protect(&plan, whole, &config, &error),
                            error);
                uint64_t wanted = 0, sum = 0;
                for (uint32_t i = 0; i < LAYERS; i++)
                    wanted += plan.each[i];
                assert_done(pare_plan_allocate_global(&plan, &scores, &error), error);
                for (uint32_t i = 0; i < LAYERS; i++) {
                    sum += plan.each[i];
                    assert_true(plan.each[i] % multiples[m] == 0 || plan.each[i] == widths[w]);
                }
                if (sum > wanted || wanted - sum >= multiples[m])
                    fail_msg("width %u, multiple %u, ratio %g: %llu units, %llu in the uniform plan", widths[w], multiples[m], ratio,
                             (unsigned long long)sum, (unsigned long long)wanted);
                pare_plan_free(&plan);
            }
    pare_free(values);
}

/* As many units as the uniform plan; protected layers whole; the same at one thread and two; no worse on the text it was measured on. */
static void sensitivity(void **state) {
    (void)state;
    static const char *const methods[] = {"magnitude", "flap", "surgeon", "wanda-sp-groups"};
    pare_error error = {0};
    pare_checkpoint *checkpoint = open_model("pare-llama-139k");
    text t = text_of(PARE_FIXTURES "/slice.txt", "pare-llama-40k"); /* the family shares one tokenizer */
    pare_windows windows = {.ids = t.ids, .n = 2, .length = 128};
    pare_calibration calibration;
    assert_done(pare_calibrate(&calibration, checkpoint, &windows, true, NULL, &error), error);
    for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
        const pare_method *method = pare_method_find(methods[m], &error);
        pare_scores scores;
        pare_plan plans[2];
        bool flags[64] = {true};
        assert_done(pare_score(&scores, method, checkpoint, &calibration, 0, NULL, &error), error);
        for (int i = 0; i < 2; i++) {
            pare_context context = {.n_threads = i + 1};
            pare_sensitivity costs;
            assert_done(pare_plan_make(&plans[i], method->unit, &checkpoint->config, 0.5, 4, &error) &&
                            pare_plan_protect(&plans[i], flags, &checkpoint->config, &error) &&
                            pare_sensitivity_measure(&costs, &plans[i], method, &scores, checkpoint, &calibration, &context, &error) &&
                            pare_plan_allocate_sensitivity(&plans[i], &costs, &error),
                        error);
            pare_sensitivity_free(&costs);
        }
        uint32_t sum = 0, n = plans[0].n_rows;
        assert_memory_equal(plans[0].each, plans[1].each, n * sizeof(uint32_t));
        assert_int_equal(plans[0].each[0], plans[0].n_units);
        for (uint32_t i = 1; i < n; i++)
            sum += plans[0].each[i];
        assert_true(sum <= (n - 1) * plans[0].n_kept && sum + 4 > (n - 1) * plans[0].n_kept);
        pare_cut *cut = pare_method_cut(method, checkpoint, &calibration, &scores, &plans[0], NULL, &error);
        assert_done(cut, error);
        assert_true(isfinite(loss_of(checkpoint, cut, &t, 1)));
        pare_cut_close(cut);
        pare_plan_free(&plans[0]);
        pare_plan_free(&plans[1]);
        pare_scores_free(&scores);
    }
    pare_calibration_free(&calibration);
    pare_checkpoint_close(checkpoint);
}

static void recommended(void **state) {
    (void)state;
    pare_error error = {0};
    pare_recommendation with, without, few;
    pare_checkpoint *checkpoint = open_model("pare-llama-139k");
    const pare_config *c = &checkpoint->config;
    assert_done(pare_recommend(&with, c, 0.3, 1, 100000, &error) && pare_recommend(&without, c, 0.3, 1, 0, &error) &&
                    pare_recommend(&few, c, 0.3, 1, 64, &error),
                error);
    assert_string_equal(with.method->name, "surgeon-all");
    assert_true(with.next && with.next != with.method && with.excess < with.next_excess);
    assert_true(!without.method->calibrated && without.excess > with.excess && without.n_methods < with.n_methods);
    assert_true(few.method->calibrated && !few.method->build);
    assert_true(with.n_methods >= 2 && without.n_methods >= 2);
    assert_fails(pare_recommend(&few, c, 0.7, 1, 0, &error), error, PARE_ERROR_RANGE, "nothing to compare it with");
    assert_fails(pare_recommend(&few, c, 1.2, 1, 64, &error), error, PARE_ERROR_USAGE, "not in [0, 1)");
    assert_fails(pare_recommend(&few, c, 0.999, 1, 0, &error), error, PARE_ERROR_RANGE, "no method without a calibration text");
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    pare_error error = {0};
    const struct CMUnitTest tests[] = {cmocka_unit_test(least_sums),         cmocka_unit_test(flat_and_rising),
                                       cmocka_unit_test(global_is_one_list), cmocka_unit_test(totals),
                                       cmocka_unit_test(sensitivity),        cmocka_unit_test(recommended)};
    if (!pare_gemm_prepare(&error))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
