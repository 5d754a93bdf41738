/* weights: sums over a matrix's rows or columns, streamed a few rows at a time: what weight-based scores are made of. */
#ifndef PARE_COMPRESS_WEIGHTS_H
#define PARE_COMPRESS_WEIGHTS_H

#include "pare/compress.h"

typedef enum { WEIGHTS_ABSOLUTE, WEIGHTS_SQUARES } weights_power;

/* sums[i / per] += sum over j of |w_ij| or w_ij^2 (rows), or sums[j / per] += sum over i (columns), of a layer's matrix ("mlp.up_proj").
 * per: rows or columns that belong to one unit. */
bool weights_add_rows(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power, uint32_t per,
                      pare_error *error) PARE_MUST_CHECK;
bool weights_add_columns(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power,
                         uint32_t per, pare_error *error) PARE_MUST_CHECK;
/* sums[i / per] += sum over j of |w_ij g_ij|, or by columns: g (out, in) is the gradient of the matrix. */
bool weights_add_products(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, const float *gradient,
                          bool by_rows, uint32_t per, pare_error *error) PARE_MUST_CHECK;
/* The columns of the tensor of this name. */
bool weights_add_table(double *sums, const pare_checkpoint *checkpoint, const char *name, weights_power power,
                       pare_error *error) PARE_MUST_CHECK;

#endif
