/* weights: sums over a matrix's rows or columns, streamed a few rows at a time: what weight-based scores are made of. */
#ifndef PARE_COMPRESS_WEIGHTS_H
#define PARE_COMPRESS_WEIGHTS_H

#include "pare/compress.h"

typedef enum { WEIGHTS_ABSOLUTE, WEIGHTS_SQUARES } weights_power;

/* sums[i] += sum over j of |w_ij| or w_ij^2 (rows), or over i into sums[j] (columns), of layer's mlp.<part> matrix. */
bool weights_add_rows(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power,
                      pare_error *error) PARE_MUST_CHECK;
bool weights_add_columns(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power,
                         pare_error *error) PARE_MUST_CHECK;

#endif
