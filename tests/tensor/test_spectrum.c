/* Singular values, vectors and eigenvectors by their definitions: A = U S V', orthonormal vectors, G v = l v. */
#include <math.h>

#include "pare/tensor.h"
#include "test.h"

static void fill(float *a, size_t n, uint64_t seed) {
    pare_random random;
    pare_random_init(&random, seed, "spectrum", 0);
    for (size_t i = 0; i < n; i++)
        a[i] = (float)(2 * pare_random_unit(&random) - 1);
}

static double product(const double *a, const double *b, size_t n, size_t stride) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i * stride] * b[i * stride];
    return sum;
}

/* Wide, tall, square, more rows than a block, one row. */
static const size_t shapes[][2] = {{5, 9}, {9, 5}, {16, 16}, {600, 33}, {1, 4}};

static void decompositions(void **state) {
    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        size_t m = shapes[s][0], n = shapes[s][1], k = m < n ? m : n;
        pare_error error = {0};
        float *a = pare_allocate(m * n, sizeof *a, &error);
        double *values = pare_allocate(2 * k, sizeof *values, &error), *left = pare_allocate(k * m, sizeof *left, &error);
        double *right = pare_allocate(k * n, sizeof *right, &error);
        fill(a, m * n, s);
        assert_done(pare_svd(values, left, right, a, m, n, &error), error);
        assert_done(pare_singular_values(values + k, a, m, n, &error), error);
        for (size_t i = 0; i < k; i++) {
            assert_true(fabs(values[k + i] - values[i]) < 1e-7 * values[0]);
            assert_true(i == 0 || values[i] <= values[i - 1]);
            for (size_t j = 0; j < k; j++) {
                assert_true(fabs(product(left + i * m, left + j * m, m, 1) - (i == j)) < 1e-12);
                assert_true(fabs(product(right + i * n, right + j * n, n, 1) - (i == j)) < 1e-12);
            }
        }
        for (size_t i = 0; i < m * n; i++) {
            double sum = 0;
            for (size_t j = 0; j < k; j++)
                sum += left[j * m + i / n] * values[j] * right[j * n + i % n];
            assert_true(fabs(sum - (double)a[i]) < 1e-12);
        }
        pare_free(right);
        pare_free(left);
        pare_free(values);
        pare_free(a);
    }
}

static void eigenvectors(void **state) {
    (void)state;
    enum { M = 300, N = 20 };
    static float a[M * N];
    static double gram[N * N], vectors[N * N], lost[N * N], values[N], again[N];
    pare_error error = {0};
    fill(a, M * N, 9);
    assert_done(pare_gram(gram, a, M, N, &error), error);
    memcpy(vectors, gram, sizeof gram);
    memcpy(lost, gram, sizeof gram);
    assert_done(pare_symmetric_eigen(values, vectors, N, true, &error) && pare_symmetric_eigen(again, lost, N, false, &error), error);
    for (size_t k = 0; k < N; k++) {
        assert_true(k == 0 || values[k] >= values[k - 1]);
        assert_true(fabs(values[k] - again[k]) < 1e-11 * values[N - 1]);
        for (size_t i = 0; i < N; i++)
            assert_true(fabs(product(gram + i * N, vectors + k * N, N, 1) - values[k] * vectors[k * N + i]) < 1e-11 * values[N - 1]);
    }
}

static void bad_input(void **state) {
    (void)state;
    float a[6] = {1, 2, 3, 4, (float)NAN, 6};
    double values[3], left[9], right[9], matrix[4] = {1, 0, 0, (double)INFINITY};
    pare_error error = {0};
    assert_fails(pare_singular_values(values, a, 3, 2, &error), error, PARE_ERROR_NUMERIC, "[2, 0]");
    assert_fails(pare_svd(values, left, right, a, 2, 3, &error), error, PARE_ERROR_NUMERIC, "[1, 1]");
    assert_fails(pare_symmetric_eigen(values, matrix, 2, false, &error), error, PARE_ERROR_NUMERIC, "[1, 1]");
    assert_fails(pare_singular_values(values, a, 0, 2, &error), error, PARE_ERROR_RANGE, "[0, 2]");
}

int main(void) {
    pare_error error = {0};
    const struct CMUnitTest tests[] = {cmocka_unit_test(decompositions), cmocka_unit_test(eigenvectors), cmocka_unit_test(bad_input)};
    if (!pare_gemm_prepare(&error))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
