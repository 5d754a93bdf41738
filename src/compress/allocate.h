/* allocate: how many units each layer keeps. */
#ifndef PARE_COMPRESS_ALLOCATE_H
#define PARE_COMPRESS_ALLOCATE_H

#include "pare/compress.h"

/* kept (n_rows) blocks of each row, at least one, with sum kept = total (or all, when total is more) and the least sum of
 * cost[row * (n_blocks + 1) + kept[row]]; exact, by dynamic programming. Ties go to shares that are alike. fixed (n_rows): rows that keep
 * n_blocks and whose blocks do not count, or NULL. RANGE when total is less than one each, NUMERIC when no sum is finite. */
bool allocate_least(uint32_t *kept, const double *cost, const bool *fixed, uint32_t n_rows, uint32_t n_blocks, uint64_t total,
                    pare_error *error) PARE_MUST_CHECK;

#endif
