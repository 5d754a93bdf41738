/* cholesky: symmetric positive definite systems in double, by LAPACK (inside OpenBLAS) on the calling thread. LAPACK's columns are our
 * rows: for a symmetric matrix that is the same, and right-hand sides then lie one a row. */
#include <cblas.h>
#include <limits.h>

#include "pare/tensor.h"

void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a, const int *lda, double *b, const int *ldb, int *info,
             size_t);

bool pare_cholesky(double *a, size_t n, pare_error *error) {
    int size = (int)n, info = 0;
    if (n == 0 || n > INT_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "a system of %zu equations", n);
    dpotrf_("U", &size, a, &size, &info, 1);
    return info == 0 || pare_fail(error, PARE_ERROR_NUMERIC, "a matrix of %zu rows is not positive definite (row %d)", n, info - 1);
}

bool pare_cholesky_inverse(double *factor, size_t n, pare_error *error) {
    int size = (int)n, info = 0;
    dpotri_("U", &size, factor, &size, &info, 1);
    if (info != 0)
        return pare_fail(error, PARE_ERROR_NUMERIC, "a matrix of %zu rows is singular (row %d)", n, info - 1);
    for (size_t i = 0; i < n; i++) /* its upper triangle by columns is our lower one */
        for (size_t j = 0; j < i; j++)
            factor[j * n + i] = factor[i * n + j];
    return true;
}

void pare_cholesky_solve(double *b, const double *factor, size_t n, size_t n_rows) {
    int size = (int)n, columns = (int)n_rows, info = 0;
    dpotrs_("U", &size, &columns, factor, &size, b, &size, &info, 1); /* fails on wrong arguments alone */
}

void pare_gemm_nt_f64(double *c, const double *a, const double *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                      double factor) {
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, factor, a, (int)lda, b, (int)ldb, 1.0, c, (int)ldc);
}
