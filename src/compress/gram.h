/* gram: sums of products of activations over tokens, in double. */
#ifndef PARE_COMPRESS_GRAM_H
#define PARE_COMPRESS_GRAM_H

#include "pare/compress.h"

/* sum (m, n) += X^T Y of x (rows, m) and y (rows, n): f32 products of at most 256 x 256 entries over the rows of one call, added up in
 * double. x == y: only blocks on and below the diagonal, gram_mirror fills the rest. The same bits for every number of threads.
 * scratch: gram_scratch(n_threads) floats. */
void gram_add(double *sum, const float *x, const float *y, size_t rows, size_t m, size_t n, float *scratch, int n_threads);
void gram_mirror(double *sum, size_t n);
size_t gram_scratch(int n_threads);

#endif
