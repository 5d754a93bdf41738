/* gemm: OpenBLAS on the calling thread; parallelism is ours, above. Its serial build gives wrong results when two threads call it
 * at once, so that flavour is refused; the pthread build at one thread is safe. */
#include <cblas.h>
#include <stdio.h>

#include "pare/tensor.h"

int openblas_get_parallel(void); /* 0 serial, 1 pthread, 2 OpenMP */
void openblas_set_num_threads(int n);
char *openblas_get_config(void);

bool pare_gemm_prepare(pare_error *error) {
    if (openblas_get_parallel() == 0)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "the serial build of OpenBLAS is loaded, which is wrong under several callers; install libopenblas0-pthread");
    openblas_set_num_threads(1);
    return true;
}

const char *pare_gemm_name(void) {
    return openblas_get_config();
}

static void gemm(CBLAS_TRANSPOSE transpose_a, CBLAS_TRANSPOSE transpose_b, float *c, const float *a, const float *b, size_t m, size_t n,
                 size_t k, size_t lda, size_t ldb, size_t ldc, bool accumulate) {
    cblas_sgemm(CblasRowMajor, transpose_a, transpose_b, (int)m, (int)n, (int)k, 1.0f, a, (int)lda, b, (int)ldb, accumulate ? 1.0f : 0.0f,
                c, (int)ldc);
}

void pare_gemm_nt(float *c, const float *a, const float *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                  bool accumulate) {
    gemm(CblasNoTrans, CblasTrans, c, a, b, m, n, k, lda, ldb, ldc, accumulate);
}

void pare_gemm_nn(float *c, const float *a, const float *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                  bool accumulate) {
    gemm(CblasNoTrans, CblasNoTrans, c, a, b, m, n, k, lda, ldb, ldc, accumulate);
}

void pare_gemm_tn(float *c, const float *a, const float *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                  bool accumulate) {
    gemm(CblasTrans, CblasNoTrans, c, a, b, m, n, k, lda, ldb, ldc, accumulate);
}
