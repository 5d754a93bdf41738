/* spectrum: singular values and eigenvectors by LAPACK (inside OpenBLAS), on the calling thread like gemm.c. LAPACK reads matrices column
 * by column: a row-major matrix is its transpose there, which for a symmetric one changes nothing and for an SVD swaps left and right. */
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "pare/tensor.h"

/* Arguments are pointers; lengths of character arguments come last, as gfortran passes them. */
void dsyevd_(const char *job, const char *triangle, const int *n, double *a, const int *lda, double *values, double *work, const int *lwork,
             int *iwork, const int *liwork, int *info, size_t, size_t);
void dgesdd_(const char *job, const int *m, const int *n, double *a, const int *lda, double *values, double *u, const int *ldu, double *vt,
             const int *ldvt, double *work, const int *lwork, int *iwork, int *info, size_t);

enum { BLOCK = 256 }; /* rows that are widened to double at a time */

static bool check_size(size_t m, size_t n, pare_error *error) {
    if (m == 0 || n == 0 || m > INT_MAX || n > INT_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "no spectrum of a matrix of shape [%zu, %zu]", m, n);
    return true;
}

/* LAPACK's iterations need not end on NaN: it never sees one. */
static bool widen(double *out, const float *a, size_t rows, size_t columns, size_t first_row, pare_error *error) {
    for (size_t i = 0; i < rows * columns; i++) {
        if (!isfinite(a[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "no spectrum: element [%zu, %zu] of the matrix is not finite",
                             first_row + i / columns, i % columns);
        out[i] = (double)a[i];
    }
    return true;
}

/* A matrix in memory as one that is read. */
typedef struct {
    const float *a;
    size_t n;
} whole;

static void read_whole(void *user, float *out, size_t first, size_t count) {
    const whole *w = user;
    memcpy(out, w->a + first * w->n, count * w->n * sizeof *out);
}

static bool gram_by_rows(double *gram, pare_row_reader *read, void *user, size_t m, size_t n, pare_error *error) {
    double *rows = check_size(m, n, error) ? pare_allocate(BLOCK * n, sizeof *rows, error) : NULL;
    float *block = rows ? pare_allocate(BLOCK * n, sizeof *block, error) : NULL;
    bool done = block != NULL;
    for (size_t first = 0; done && first < m; first += BLOCK) {
        size_t count = m - first < BLOCK ? m - first : BLOCK;
        read(user, block, first, count);
        done = widen(rows, block, count, n, first, error);
        if (done)
            cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)n, (int)count, 1.0, rows, (int)n, first ? 1.0 : 0.0, gram, (int)n);
    }
    pare_free(block);
    pare_free(rows);
    for (size_t i = 0; done && i < n; i++)
        for (size_t j = 0; j < i; j++)
            gram[i * n + j] = gram[j * n + i];
    return done;
}

bool pare_gram(double *gram, const float *a, size_t m, size_t n, pare_error *error) {
    return gram_by_rows(gram, read_whole, &(whole){a, n}, m, n, error);
}

bool pare_symmetric_eigen(double *values, double *matrix, size_t n, bool vectors, pare_error *error) {
    if (!check_size(n, n, error))
        return false;
    for (size_t i = 0; i < n * n; i++)
        if (!isfinite(matrix[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "no eigenvalues: element [%zu, %zu] of the matrix is not finite", i / n, i % n);
    const char *job = vectors ? "V" : "N";
    int order = (int)n, info, best_index, query = -1;
    double best;
    dsyevd_(job, "U", &order, matrix, &order, values, &best, &query, &best_index, &query, &info, 1, 1);
    int n_work = (int)best;
    double *work = pare_allocate((size_t)n_work, sizeof *work, error);
    int *index = work ? pare_allocate((size_t)best_index, sizeof *index, error) : NULL;
    bool done = index != NULL;
    if (done) {
        dsyevd_(job, "U", &order, matrix, &order, values, work, &n_work, index, &best_index, &info, 1, 1);
        done = info == 0 || pare_fail(error, PARE_ERROR_NUMERIC, "the eigenvalues of a matrix of order %zu did not converge", n);
    }
    pare_free(index);
    pare_free(work);
    return done;
}

/* (n, m) of a matrix (m, n) that is read. */
static float *transposed(pare_row_reader *read, void *user, size_t m, size_t n, pare_error *error) {
    float *row = pare_allocate(n, sizeof *row, error), *t = row ? pare_allocate(m * n, sizeof *t, error) : NULL;
    for (size_t i = 0; t && i < m; i++) {
        read(user, row, i, 1);
        for (size_t j = 0; j < n; j++)
            t[j * m + i] = row[j];
    }
    pare_free(row);
    return t;
}

bool pare_singular_values_by_rows(double *values, pare_row_reader *read, void *user, size_t m, size_t n, pare_error *error) {
    if (!check_size(m, n, error))
        return false;
    if (m < n) {
        float *t = transposed(read, user, m, n, error);
        bool done = t && pare_singular_values(values, t, n, m, error);
        pare_free(t);
        return done;
    }
    double *gram = pare_allocate(n * n, sizeof *gram, error);
    bool done = gram && gram_by_rows(gram, read, user, m, n, error) && pare_symmetric_eigen(values, gram, n, false, error);
    pare_free(gram);
    for (size_t i = 0, j = n - 1; done && i <= j && j < n; i++, j--) { /* ascending squares to descending values */
        double low = values[i], high = values[j];
        values[i] = high > 0 ? sqrt(high) : 0;
        values[j] = low > 0 ? sqrt(low) : 0;
    }
    return done;
}

bool pare_singular_values(double *values, const float *a, size_t m, size_t n, pare_error *error) {
    return pare_singular_values_by_rows(values, read_whole, &(whole){a, n}, m, n, error);
}

bool pare_svd(double *values, double *left, double *right, const float *a, size_t m, size_t n, pare_error *error) {
    if (!check_size(m, n, error))
        return false;
    /* LAPACK sees A^T (n, m) = right^T diag left: its U (n, k) by columns is our right by rows, its V^T (k, m) by columns our left^T */
    int rows = (int)n, columns = (int)m, k = rows < columns ? rows : columns, info, query = -1;
    double best, *copy = pare_allocate(m * n, sizeof *copy, error), *turned = pare_allocate((size_t)k * m, sizeof *turned, error);
    int *index = pare_allocate(8 * (size_t)k, sizeof *index, error);
    bool done = copy && turned && index && widen(copy, a, m, n, 0, error);
    double *work = NULL;
    if (done) {
        dgesdd_("S", &rows, &columns, copy, &rows, values, right, &rows, turned, &k, &best, &query, index, &info, 1);
        int n_work = (int)best;
        if ((done = (work = pare_allocate((size_t)n_work, sizeof *work, error)) != NULL))
            dgesdd_("S", &rows, &columns, copy, &rows, values, right, &rows, turned, &k, work, &n_work, index, &info, 1);
        if (done && info != 0)
            done = pare_fail(error, PARE_ERROR_NUMERIC, "the singular values of a matrix of shape [%zu, %zu] did not converge", m, n);
    }
    for (size_t i = 0; done && i < m; i++)
        for (size_t j = 0; j < (size_t)k; j++)
            left[j * m + i] = turned[i * (size_t)k + j];
    pare_free(work);
    pare_free(index);
    pare_free(turned);
    pare_free(copy);
    return done;
}
