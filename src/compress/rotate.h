/* rotate: a model in other coordinates of its residual stream, the first `kept` of them.
 *
 * What reads the stream gets x / rms(x) times its norm's weight; with that weight g folded into the matrix, W diag(g), the norm commutes
 * with every orthogonal Q: a reader becomes W diag(g) Q, a writer Q^T W, and nothing that is computed changes until columns of Q go
 * (Ashkboos et al. 2024, SliceGPT). */
#ifndef PARE_COMPRESS_ROTATE_H
#define PARE_COMPRESS_ROTATE_H

#include "pare/compress.h"

/* rows (kept, width): orthonormal directions, Q's first columns. */
typedef struct {
    uint32_t width, kept;
    const float *rows;
} rotation;

/* The principal directions of gram (width, width; spent), largest eigenvalue first, into rows (kept, width). */
bool rotation_find(rotation *r, float *rows, double *gram, uint32_t width, uint32_t kept, pare_error *error) PARE_MUST_CHECK;

/* to (w's rows, kept) = W diag(norm) Q; norm (width), or NULL: all ones. */
bool rotate_reader(float *to, const pare_view *w, const float *norm, const rotation *r, pare_error *error) PARE_MUST_CHECK;
/* to (kept, w's columns) = Q^T W. */
bool rotate_writer(float *to, const pare_view *w, const rotation *r, pare_error *error) PARE_MUST_CHECK;
/* to (kept) = Q^T bias. */
void rotate_bias(float *to, const float *bias, const rotation *r);

/* RMSNorm without a weight in `kept` of `width` coordinates that divides by all of them, as before the slice: x / sqrt(|x|^2 / width + eps)
 * is what a stock RMSNorm gives with this weight in every place and with eps width / kept. */
float rotated_norm(const rotation *r);

#endif
