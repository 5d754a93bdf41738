/* lapack: the few Fortran routines of LAPACK (inside OpenBLAS) that least squares needs. Matrices lie column by column; every argument is a
 * pointer; the lengths of the character arguments come last, as gfortran passes them. */
#ifndef PARE_LAW_LAPACK_H
#define PARE_LAW_LAPACK_H

#include <stddef.h>

/* QR by Householder reflections: R in the upper triangle, reflectors below it. */
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork, int *info);
/* C := Q C or Q' C with the reflectors of dgeqrf. */
void dormqr_(const char *side, const char *trans, const int *m, const int *n, const int *k, const double *a, const int *lda,
             const double *tau, double *c, const int *ldc, double *work, const int *lwork, int *info, size_t, size_t);
/* The first n columns of Q, in place of the reflectors. */
void dorgqr_(const int *m, const int *n, const int *k, double *a, const int *lda, const double *tau, double *work, const int *lwork,
             int *info);
/* The inverse of a triangular matrix, in place. */
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info, size_t, size_t);
/* Solves A X = B for a symmetric positive definite A by Cholesky; info > 0: it is not positive definite. */
void dposv_(const char *uplo, const int *n, const int *nrhs, double *a, const int *lda, double *b, const int *ldb, int *info, size_t);

/* Systems this small gain nothing from threads, and one thread keeps the order of sums. The whole program runs OpenBLAS so. */
void openblas_set_num_threads(int n);

#endif
