/* low_rank: a layer's matrices as products of two, each the best of its rank over inputs of a given covariance. */
#ifndef PARE_COMPRESS_LOW_RANK_H
#define PARE_COMPRESS_LOW_RANK_H

#include "pare/compress.h"

/* The rank at which a product holds the share 1 - ratio of a matrix's weights, rounded down: (1 - ratio) out in / (out + in), at least 1.
 */
uint32_t low_rank_at(pare_linear_shape shape, double ratio);

/* u (out, rank) and v (rank, in) so that u v is what is left of w (out, in), read some rows at a time, when of the singular value
 * decomposition of w S the largest `rank` values stay. whitening (in, in): S^T, zeros below the diagonal, of the inputs' covariance S S^T;
 * NULL: the identity. Column i of u is as long as row i of v. NUMERIC when an element is not finite. */
bool low_rank_split(float *u, float *v, const pare_view *w, const double *whitening, uint32_t rank, pare_error *error) PARE_MUST_CHECK;

/* Where the factors of one matrix go. */
typedef struct {
    float *u, *v;
    uint32_t rank;
} low_rank_pair;

/* Makes every matrix of the cut a product at the plan's ratio; pairs (n_layers, PARE_PROJECTIONS): zeros, to be filled. */
bool low_rank_place(low_rank_pair *pairs, pare_cut *cut, const pare_plan *plan, pare_error *error) PARE_MUST_CHECK;

/* Fills the pairs of a layer's seven matrices; whitening: of each. Several at once, the largest alone; the same bits for every number of
 * threads. Lets go of what was read and written. */
bool low_rank_fill(const low_rank_pair pairs[PARE_PROJECTIONS], const pare_model *model, uint32_t layer, const pare_cut *cut,
                   const double *const whitening[PARE_PROJECTIONS], const pare_context *context, pare_error *error) PARE_MUST_CHECK;
/* What it allocates at most. */
size_t low_rank_bytes(const pare_config *config, bool whitened, int n_threads);

#endif
