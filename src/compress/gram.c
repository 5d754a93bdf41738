/* gram: see gram.h. */
#include "gram.h"

#include <omp.h>

enum { BLOCK = 256 };

size_t gram_scratch(int n_threads) {
    return (size_t)n_threads * BLOCK * BLOCK;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

void gram_add(double *sum, const float *x, const float *y, size_t rows, size_t m, size_t n, float *scratch, int n_threads) {
    bool symmetric = x == y;
#pragma omp parallel for collapse(2) num_threads(n_threads) schedule(dynamic)
    for (size_t i = 0; i < m; i += BLOCK)
        for (size_t j = 0; j < n; j += BLOCK) {
            if (symmetric && j > i)
                continue;
            float *part = scratch + (size_t)omp_get_thread_num() * BLOCK * BLOCK;
            size_t height = least(m - i, BLOCK), width = least(n - j, BLOCK);
            pare_gemm_tn(part, x + i, y + j, height, width, rows, m, n, width, false);
            for (size_t r = 0; r < height; r++)
                for (size_t c = 0; c < width; c++)
                    sum[(i + r) * n + j + c] += (double)part[r * width + c];
        }
}

void gram_mirror(double *sum, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            sum[j * n + i] = sum[i * n + j];
}
