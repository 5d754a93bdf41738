/* rank: see rank.h. */
#include "rank.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void rank_best(uint32_t *best, uint32_t n_best, ranked *list, uint32_t n) {
    qsort(list, n, sizeof *list, by_value);
    for (uint32_t i = 0; i < n_best; i++)
        best[i] = list[i].index;
    qsort(best, n_best, sizeof *best, by_index);
}
