/* rank: the best of a list, the same for everyone who cuts, draws or eliminates. */
#ifndef PARE_COMPRESS_RANK_H
#define PARE_COMPRESS_RANK_H

#include <stdint.h>

typedef struct {
    double value; /* no NaN */
    uint32_t index;
} ranked;

/* best (n_best) = the indices of the largest values of list (n), ascending; equal values go by the lower index, so that the result is
 * unique. The list is put into the order of its values. */
void rank_best(uint32_t *best, uint32_t n_best, ranked *list, uint32_t n);

#endif
