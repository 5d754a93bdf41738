/* Least squares against NIST's certified problems (fixtures/nist.json, made by tools/fixtures/law_nist.py) and on degenerate designs. */
#include <math.h>

#include "test.h"

#include "lsq.h"
#include "pare/json.h"

static pare_arena *arena;
static pare_error error;

/* The number of digits two numbers share, NIST's LRE; 15 at most. */
static double digits(double ours, double wanted) {
    double off = wanted == 0 ? fabs(ours) : fabs(ours / wanted - 1);
    return off == 0 ? 15 : fmin(15, -log10(off));
}

static void at_least(double wanted, double ours, double certified, const char *name, const char *what, size_t j) {
    double d = digits(ours, certified);
    if (!(d >= wanted))
        fail_msg("%s: %s %zu = %.17g, certified %.17g: %.1f digits", name, what, j, ours, certified, d);
}

static double cell(const json_t *object, const char *key, size_t i) {
    return json_number_value(json_array_get(json_object_get(object, key), i));
}

/* Digits that Householder QR with refinement must keep; the condition of the Wampler problems is about 1e7. */
static void check_problem(const json_t *problem) {
    const char *name = json_string_value(json_object_get(problem, "name"));
    const json_t *rows = json_object_get(problem, "x");
    size_t n = json_array_size(rows), p = json_array_size(json_array_get(rows, 0));
    double *x = PARE_PUSH(arena, double, n *p, &error), *y = PARE_PUSH(arena, double, n, &error);
    assert_true(x && y);
    for (size_t i = 0; i < n; i++) {
        y[i] = cell(problem, "y", i);
        for (size_t j = 0; j < p; j++)
            x[i + j * n] = json_number_value(json_array_get(json_array_get(rows, i), j));
    }
    pare_lsq lsq;
    assert_done(pare_lsq_solve(&lsq, x, y, n, p, 1e-13, arena, &error), error);
    assert_int_equal(lsq.p, p);
    double sigma = json_number_value(json_object_get(problem, "sigma"));
    assert_int_equal(lsq.centred, json_is_true(json_object_get(problem, "centred")));
    for (size_t j = 0; j < p; j++) {
        at_least(10, lsq.beta[j], cell(problem, "beta", j), name, "beta", j);
        if (sigma > 0)
            at_least(10, sqrt(lsq.inverse[j][j]) * lsq.sigma, cell(problem, "sd", j), name, "sd", j);
    }
    if (sigma == 0) {
        assert_true(lsq.sigma < 1e-8);
        return;
    }
    at_least(12, lsq.sigma, sigma, name, "sigma", 0);
    at_least(12, lsq.r2, json_number_value(json_object_get(problem, "r2")), name, "r2", 0);
    at_least(11, lsq.f, json_number_value(json_object_get(problem, "f")), name, "f", 0);
    double trace = 0;
    for (size_t i = 0; i < n; i++)
        trace += lsq.leverage[i];
    assert_float_equal(trace, (double)p, 1e-10);
}

static void certified_problems(void **state) {
    (void)state;
    json_t *nist = pare_json_read(PARE_FIXTURES "/nist.json", &error);
    assert_done(nist, error);
    size_t i;
    json_t *problem;
    assert_int_equal(json_array_size(json_object_get(nist, "problems")), 10);
    json_array_foreach(json_object_get(nist, "problems"), i, problem) check_problem(problem);
    json_decref(nist);
}

static void drops_what_earlier_columns_express(void **state) {
    (void)state;
    enum { N = 6 };
    double x[4 * N], y[N];
    for (size_t i = 0; i < N; i++) {
        double v = (double)i;
        x[i] = 1, x[i + N] = v, x[i + 2 * N] = 3 - 2 * v, x[i + 3 * N] = v * v;
        y[i] = 2 + v + 0.5 * v * v;
    }
    pare_lsq lsq;
    assert_done(pare_lsq_solve(&lsq, x, y, N, 4, 1e-10, arena, &error), error);
    assert_int_equal(lsq.p, 3);
    assert_int_equal(lsq.kept[0], 0);
    assert_int_equal(lsq.kept[1], 1);
    assert_int_equal(lsq.kept[2], 3);
    assert_float_equal(lsq.beta[2], 0.5, 1e-12);
}

static void refuses_what_cannot_be_fitted(void **state) {
    (void)state;
    double x[3] = {1, 1, 1}, y[3] = {1, 2, 4}, zero[3] = {0}, broken[3] = {1, (double)NAN, 1};
    pare_lsq lsq;
    assert_fails(pare_lsq_solve(&lsq, zero, y, 3, 1, 1e-10, arena, &error), error, PARE_ERROR_NUMERIC, "every regressor is zero");
    assert_fails(pare_lsq_solve(&lsq, x, zero, 3, 1, 1e-10, arena, &error), error, PARE_ERROR_NUMERIC, "zero in all 3 points");
    assert_fails(pare_lsq_solve(&lsq, x, y, 1, 1, 1e-10, arena, &error), error, PARE_ERROR_NUMERIC, "at least 2 points");
    assert_fails(pare_lsq_solve(&lsq, x, y, 0, 1, 1e-10, arena, &error), error, PARE_ERROR_NUMERIC, "no point");
    assert_fails(pare_lsq_solve(&lsq, broken, y, 3, 1, 1e-10, arena, &error), error, PARE_ERROR_NUMERIC, "not finite");
    assert_fails(pare_lsq_solve(&lsq, x, broken, 3, 1, 1e-10, arena, &error), error, PARE_ERROR_NUMERIC, "not finite");
}

/* The second column is there in one cluster alone, so that nothing determines it when that is left out: no jackknife, and CR1 by its
 * formula. */
static void clusters_that_cannot_be_left_out(void **state) {
    (void)state;
    enum { N = 9 };
    double x[2 * N], y[N];
    size_t cluster[N], order[N];
    for (size_t i = 0; i < N; i++) {
        cluster[i] = i / 3;
        order[i] = i;
        x[i] = 1, x[i + N] = i < 3 ? (double)i + 1 : 0;
        y[i] = 1 + 0.5 * x[i + N] + 0.1 * sin(7 * (double)i);
    }
    pare_lsq lsq;
    bool cr3;
    double got[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS];
    assert_done(pare_lsq_solve(&lsq, x, y, N, 2, 1e-10, arena, &error), error);
    pare_lsq_clustered(got, &cr3, &lsq, x, order, cluster, 3);
    assert_false(cr3);
    for (size_t j = 0; j < 2; j++)
        for (size_t k = 0; k < 2; k++) {
            double wanted = 0;
            for (size_t g = 0; g < 3; g++) {
                double moved[2] = {0};
                for (size_t i = 3 * g; i < 3 * g + 3; i++)
                    for (size_t m = 0; m < 2; m++)
                        moved[0] += lsq.inverse[j][m] * x[i + m * N] * lsq.residual[i],
                            moved[1] += lsq.inverse[k][m] * x[i + m * N] * lsq.residual[i];
                wanted += moved[0] * moved[1];
            }
            assert_true(fabs(got[j][k] - wanted * 3.0 / 2 * 8 / 7) < 1e-12);
        }
    for (size_t i = 0; i < N; i++)
        x[i + N] = (double)(i % 3); /* every cluster determines both */
    assert_done(pare_lsq_solve(&lsq, x, y, N, 2, 1e-10, arena, &error), error);
    pare_lsq_clustered(got, &cr3, &lsq, x, order, cluster, 3);
    assert_true(cr3);
}

static int open_arena(void **state) {
    (void)state;
    arena = pare_arena_open(&error);
    return arena ? 0 : -1;
}

static int close_arena(void **state) {
    (void)state;
    pare_arena_close(arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(certified_problems), cmocka_unit_test(drops_what_earlier_columns_express),
                                       cmocka_unit_test(refuses_what_cannot_be_fitted), cmocka_unit_test(clusters_that_cannot_be_left_out)};
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
