/* dropout: of what an adapter reads, in training (Srivastava et al. 2014; for adapters Hu et al. 2021): an element stays with probability
 * 1 - rate and is then divided by it. Whether it stays is drawn from the key, the adapter's number, row and column alone: the way back and
 * a second computation of a layer see the same elements, whatever the number of threads. */
#include "compute.h"

/* Steele, Lea & Flood 2014 (SplitMix64's mixer). */
static uint64_t mix64(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Two rounds of multiply and shift: each input bit moves each output bit about every other time. */
static uint32_t mix32(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

bool dropout_on(const pare_adapter *adapter) {
    return adapter->dropout && adapter->dropout->rate > 0;
}

void dropout_apply(float *out, size_t out_row, const float *x, size_t x_row, const pare_adapter *adapter, size_t first_row, size_t rows,
                   size_t first_column, size_t columns) {
    const pare_dropout *d = adapter->dropout;
    uint32_t limit = (uint32_t)((double)d->rate * 4294967296.0);
    float scale = 1 / (1 - d->rate);
    for (size_t r = 0; r < rows; r++) {
        uint64_t key = mix64(mix64(d->key + 0x9e3779b97f4a7c15u * (adapter->number + 1u)) + first_row + r);
        uint32_t low = (uint32_t)key, high = (uint32_t)(key >> 32);
        for (size_t c = 0; c < columns; c++) {
            uint32_t draw = mix32(low + (uint32_t)(first_column + c) * 0x9e3779b1u) ^ high;
            out[r * out_row + c] = draw < limit ? 0.0f : scale * x[r * x_row + c];
        }
    }
}
