/* cholesky: symmetric systems in double, one triangle of each, by LAPACK and BLAS (both inside OpenBLAS) on the calling thread. LAPACK's
 * columns are our rows: our lower triangle is its upper one, and right-hand sides lie one a row. */
#include <cblas.h>
#include <limits.h>

#include "pare/tensor.h"

void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a, const int *lda, double *b, const int *ldb, int *info,
             size_t);

static const char *lapack(pare_triangle triangle) {
    return triangle == PARE_LOWER ? "U" : "L";
}

static CBLAS_UPLO blas(pare_triangle triangle) {
    return triangle == PARE_LOWER ? CblasLower : CblasUpper;
}

bool pare_cholesky(const pare_symmetric *a, pare_error *error) {
    int size = (int)a->n, stride = (int)a->stride, info = 0;
    if (a->n == 0 || a->stride > INT_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "a system of %zu equations", a->n);
    dpotrf_(lapack(a->triangle), &size, a->values, &stride, &info, 1);
    return info == 0 || pare_fail(error, PARE_ERROR_NUMERIC, "a matrix of %zu rows is not positive definite (row %d)", a->n, info - 1);
}

bool pare_cholesky_inverse(const pare_symmetric *factor, pare_error *error) {
    int size = (int)factor->n, stride = (int)factor->stride, info = 0;
    dpotri_(lapack(factor->triangle), &size, factor->values, &stride, &info, 1);
    return info == 0 || pare_fail(error, PARE_ERROR_NUMERIC, "a matrix of %zu rows is singular (row %d)", factor->n, info - 1);
}

void pare_cholesky_solve(double *b, size_t stride, size_t n_rows, const pare_symmetric *factor) {
    int size = (int)factor->n, columns = (int)n_rows, a_stride = (int)factor->stride, b_stride = (int)stride, info = 0;
    dpotrs_(lapack(factor->triangle), &size, &columns, factor->values, &a_stride, b, &b_stride, &info,
            1); /* fails on wrong arguments alone */
}

void pare_cholesky_half_solve(double *b, size_t stride, size_t n_rows, const pare_symmetric *factor) {
    cblas_dtrsm(CblasRowMajor, CblasRight, blas(factor->triangle), factor->triangle == PARE_LOWER ? CblasTrans : CblasNoTrans, CblasNonUnit,
                (int)n_rows, (int)factor->n, 1.0, factor->values, (int)factor->stride, b, (int)stride);
}

void pare_syrk(const pare_symmetric *a, const double *y, size_t stride, size_t k, double factor) {
    cblas_dsyrk(CblasRowMajor, blas(a->triangle), CblasNoTrans, (int)a->n, (int)k, factor, y, (int)stride, 1.0, a->values, (int)a->stride);
}

void pare_symm(double *c, const double *b, const pare_symmetric *a, size_t m, size_t stride_c, size_t stride_b) {
    cblas_dsymm(CblasRowMajor, CblasRight, blas(a->triangle), (int)m, (int)a->n, 1.0, a->values, (int)a->stride, b, (int)stride_b, 1.0, c,
                (int)stride_c);
}

void pare_gemm_nt_f64(double *c, const double *a, const double *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                      double factor) {
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, factor, a, (int)lda, b, (int)ldb, 1.0, c, (int)ldc);
}
