/* rotate: a model in other coordinates of its residual stream, the first `kept` of them.
 *
 * What reads the stream gets x / rms(x) times its norm's weight; with that weight g folded into the matrix, W diag(g), the norm commutes
 * with every orthogonal Q: a reader becomes W diag(g) Q, a writer Q^T W, and nothing that is computed changes until columns of Q go. Where
 * the stream has other coordinates before and behind a branch, what passes by it goes through Q_before^T Q_behind, the shortcut
 * (Ashkboos et al. 2024, SliceGPT). */
#ifndef PARE_COMPRESS_ROTATE_H
#define PARE_COMPRESS_ROTATE_H

#include "pare/compress.h"

/* rows (kept, width): orthonormal directions, Q's first columns. */
typedef struct {
    uint32_t width, kept;
    float *rows;
} rotation;

/* ---- finding one ---- */

/* What norms give, before their weights: each token's reading has length one, and all count alike. */
typedef struct {
    uint32_t width;
    double *gram;    /* (width, width): sum over readings */
    float *readings; /* (most rows at a time, width) */
    float *scratch;  /* gram_add's */
    int n_threads;
} reading_sum;

bool reading_sum_open(reading_sum *sum, uint32_t width, size_t rows, int n_threads, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
/* x (n, width): what norms read. */
void reading_sum_add(reading_sum *sum, const float *x, size_t n);
/* r->rows = the principal directions of all readings, largest eigenvalue first; the sum begins anew. NUMERIC, naming the method, when a
 * reading was not finite. */
bool reading_sum_find(rotation *r, reading_sum *sum, const char *method, pare_error *error) PARE_MUST_CHECK;

/* ---- a model in other coordinates ---- */

/* In this order: the cut's channels and epsilon, and the embedding in `first`'s coordinates; layer by layer what attention reads in `in`'s,
 * what the FFN reads in `middle`'s and what leaves in `out`'s, with shortcuts where the cut has them; the head in `last`'s, with its norm's
 * weight folded in: a tied model gets a head of its own. Memory of what is filled is let go of. */
bool rotate_embedding(pare_cut *cut, const pare_model *dense, const rotation *first, pare_error *error) PARE_MUST_CHECK;
bool rotate_layer(pare_cut *cut, const pare_model *dense, uint32_t layer, const rotation *in, const rotation *middle, const rotation *out,
                  const pare_context *context, pare_error *error) PARE_MUST_CHECK;
bool rotate_head(pare_cut *cut, const pare_model *dense, const rotation *last, pare_error *error) PARE_MUST_CHECK;

/* What a method takes that holds so many rotations at once, the stream that finds them and the larger table among it. */
size_t rotate_bytes(const pare_model *model, const pare_windows *windows, size_t n_rotations, const pare_context *context);

#endif
