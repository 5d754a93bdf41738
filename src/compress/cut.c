/* cut: scores -> which neurons survive. Shared by all methods: rounding, ties, the accounting of what was removed. */
#include <math.h>
#include <stdlib.h>

#include "pare/compress.h"

bool pare_cut_width(uint32_t *n_kept, uint32_t ffn_width, double ratio, uint32_t multiple, pare_error *error) {
    if (!(ratio >= 0 && ratio < 1))
        return pare_fail(error, PARE_ERROR_USAGE, "ratio %g: it must be at least 0 and below 1", ratio);
    if (multiple == 0 || multiple > ffn_width)
        return pare_fail(error, PARE_ERROR_USAGE, "multiple %u: it must lie between 1 and the FFN width, %u", multiple, ffn_width);
    if (ratio == 0) {
        *n_kept = ffn_width;
        return true;
    }
    double exact = (1 - ratio) * ffn_width;
    uint32_t rounded = (uint32_t)floor(exact / multiple + 0.5) * multiple;
    rounded = rounded < multiple ? multiple : rounded;
    *n_kept = rounded < ffn_width ? rounded : ffn_width;
    return true;
}

typedef struct {
    double value;
    uint32_t index;
} ranked;

/* Larger first; equal scores by index, so that the order is total and qsort's result unique. */
static int by_score(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_index(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

bool pare_cut_make(pare_cut *cut, const pare_scores *scores, uint32_t n_kept, pare_error *error) {
    *cut = (pare_cut){.n_layers = scores->n_layers, .ffn_width = scores->ffn_width, .n_kept = n_kept};
    cut->kept = pare_allocate((size_t)cut->n_layers * n_kept, sizeof *cut->kept, error);
    ranked *order = pare_allocate(scores->ffn_width, sizeof *order, error);
    bool done = cut->kept && order;
    for (uint32_t i = 0; done && i < cut->n_layers; i++) {
        for (uint32_t j = 0; j < scores->ffn_width; j++) {
            order[j] = (ranked){scores->values[(size_t)i * scores->ffn_width + j], j};
            if (isnan(order[j].value)) {
                done = pare_fail(error, PARE_ERROR_NUMERIC, "the score of layer %u, neuron %u is not a number", i, j);
                break;
            }
        }
        if (!done)
            break;
        qsort(order, scores->ffn_width, sizeof *order, by_score);
        uint32_t *kept = cut->kept + (size_t)i * n_kept;
        for (uint32_t j = 0; j < n_kept; j++)
            kept[j] = order[j].index;
        qsort(kept, n_kept, sizeof *kept, by_index);
    }
    pare_free(order);
    if (!done)
        pare_cut_free(cut);
    return done;
}

void pare_cut_free(pare_cut *cut) {
    pare_free(cut->kept);
    *cut = (pare_cut){0};
}

static double removed(uint64_t before, uint64_t after) {
    return before ? 1 - (double)after / (double)before : 0;
}

pare_achieved pare_cut_achieved(const pare_cut *cut, const pare_checkpoint *checkpoint) {
    pare_achieved a = {.before = pare_checkpoint_size(checkpoint, NULL), .after = pare_checkpoint_size(checkpoint, cut)};
    a.parameters = removed(a.before.parameters, a.after.parameters);
    a.non_embedding = removed(a.before.non_embedding, a.after.non_embedding);
    a.bytes = removed(a.before.bytes, a.after.bytes);
    a.macs = removed(a.before.macs, a.after.macs);
    return a;
}
