/* refit: what it keeps, what that costs and what it puts there, against greedy elimination that solves every system from scratch by plain
 * Gaussian elimination. */
#include <math.h>
#include <string.h>

#include "refit.h"
#include "test.h"

enum { N = 18, OUT = 4 };

typedef struct {
    double gram[N][N], cross[OUT][N];
} example;

/* Tokens that are far from independent, so that order and refit matter. */
static example make_example(uint64_t seed) {
    example e;
    memset(&e, 0, sizeof e);
    pare_random random;
    pare_random_init(&random, seed, "example", 0);
    for (int t = 0; t < 64; t++) {
        double h[N], y[OUT], common = pare_random_unit(&random) - 0.5;
        for (int i = 0; i < N; i++)
            h[i] = (1 + i % 5) * (pare_random_unit(&random) - 0.5 + common);
        for (int o = 0; o < OUT; o++) {
            y[o] = pare_random_unit(&random) - 0.5;
            for (int i = 0; i < N; i++)
                y[o] += h[i] * sin(1 + o + 3 * i);
        }
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                e.gram[i][j] += h[i] * h[j] / 64;
        for (int o = 0; o < OUT; o++)
            for (int j = 0; j < N; j++)
                e.cross[o][j] += y[o] * h[j] / 64;
    }
    for (int i = 0; i < N; i++)
        e.gram[i][i] += 0.05;
    return e;
}

/* w (OUT, n) with w G_SS = C_S, by Gaussian elimination with pivots; what that explains: sum of w C_S. */
static double explained(double w[OUT][N], const example *e, const uint32_t *s, size_t n) {
    double sum = 0;
    for (int o = 0; o < OUT; o++) {
        double a[N][N + 1];
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n; j++)
                a[i][j] = e->gram[s[i]][s[j]];
            a[i][n] = e->cross[o][s[i]];
        }
        for (size_t c = 0; c < n; c++) {
            size_t best = c;
            for (size_t r = c; r < n; r++)
                if (fabs(a[r][c]) > fabs(a[best][c]))
                    best = r;
            for (size_t j = c; j <= n; j++) {
                double swap = a[c][j];
                a[c][j] = a[best][j];
                a[best][j] = swap;
            }
            for (size_t r = 0; r < n; r++) {
                double factor = r == c ? 0 : a[r][c] / a[c][c];
                for (size_t j = c; j <= n; j++)
                    a[r][j] -= factor * a[c][j];
            }
        }
        for (size_t i = 0; i < n; i++) {
            w[o][i] = a[i][n] / a[i][i];
            sum += w[o][i] * e->cross[o][s[i]];
        }
    }
    return sum;
}

static size_t inputs_of(uint32_t inputs[N], const bool *gone, size_t per) {
    size_t n = 0;
    for (uint32_t i = 0; i < N; i++)
        if (!gone[i / per])
            inputs[n++] = i;
    return n;
}

/* One unit after another, always the one whose loss raises the error least; costs by units left. */
static void greedy(bool *gone, double *cost, const example *e, size_t per, size_t n_kept) {
    double w[OUT][N], all;
    uint32_t inputs[N];
    size_t units = N / per;
    all = explained(w, e, inputs, inputs_of(inputs, gone, per));
    cost[units] = 0;
    for (size_t left = units; left > n_kept; left--) {
        size_t best = units;
        double least = (double)INFINITY;
        for (size_t u = 0; u < units; u++) {
            if (gone[u])
                continue;
            gone[u] = true;
            double lost = all - explained(w, e, inputs, inputs_of(inputs, gone, per));
            gone[u] = false;
            if (lost < least) {
                least = lost;
                best = u;
            }
        }
        gone[best] = true;
        cost[left - 1] = least;
    }
}

static refit_problem pose(double *storage, const example *e) {
    refit_problem p = {.n = N, .out = OUT, .gram = storage, .cross = storage + (N + 1) * N, .work = storage + (N + 1 + OUT) * N};
    double *gram = refit_gram(&p).values;
    for (int i = 0; i < N; i++)
        for (int j = 0; j <= i; j++)
            gram[i * N + j] = e->gram[i][j];
    memcpy(p.cross, e->cross, sizeof e->cross);
    return p;
}

static void compare(uint64_t seed, size_t per, uint32_t n_kept, int threads) {
    pare_error error = {0};
    pare_context context = {.n_threads = threads};
    const example e = make_example(seed);
    size_t units = N / per;
    bool gone[N] = {false};
    double wanted[N + 1], cost[N + 1], storage[(N + 1 + 2 * OUT) * N], w[OUT][N];
    uint32_t kept[N], inputs[N];
    float weights[OUT * N];
    greedy(gone, wanted, &e, per, n_kept);
    size_t n = inputs_of(inputs, gone, per);
    explained(w, &e, inputs, n);

    refit_problem p = pose(storage, &e);
    assert_done(refit_costs(cost, &p, per, n_kept, &context, &error), error);
    for (size_t i = 0; i <= units; i++)
        assert_true(i < n_kept ? isinf(cost[i]) : fabs(cost[i] - wanted[i]) < 1e-9 * (1 + wanted[i]));
    p = pose(storage, &e);
    assert_done(refit_select(kept, &p, per, n_kept, &context, &error), error);
    for (size_t i = 0; i < n_kept; i++)
        assert_false(gone[kept[i]]);
    assert_done(refit_solve(weights, &p, per, kept, n_kept, &error), error);
    for (size_t o = 0; o < OUT; o++)
        for (size_t i = 0; i < n; i++)
            assert_true(fabs((double)weights[o * n + i] - w[o][i]) < 1e-5);
}

static void single_inputs(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        compare(seed, 1, 9, 1);
}

static void groups_of_three(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++)
        compare(seed, 3, 2, 2);
}

static void nothing_goes(void **state) {
    (void)state;
    compare(7, 1, N, 1);
    compare(7, 2, N / 2, 2);
}

static void not_positive(void **state) {
    (void)state;
    pare_error error = {0};
    example e = make_example(1);
    uint32_t kept[N];
    double storage[(N + 1 + 2 * OUT) * N];
    e.gram[3][3] = -1;
    refit_problem p = pose(storage, &e);
    assert_false(refit_select(kept, &p, 1, 4, NULL, &error));
    assert_int_equal(error.code, PARE_ERROR_NUMERIC);
}

int main(void) {
    pare_error error = {0};
    const struct CMUnitTest tests[] = {cmocka_unit_test(single_inputs), cmocka_unit_test(groups_of_three), cmocka_unit_test(nothing_goes),
                                       cmocka_unit_test(not_positive)};
    if (!pare_gemm_prepare(&error))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
