/* cut: scores -> which units survive. Shared by all methods: rounding, ties, the accounting of what was removed. */
#include <math.h>

#include "pare/compress.h"
#include "rank.h"

static bool check_ratio(double ratio, pare_error *error) {
    return (ratio >= 0 && ratio < 1) || pare_fail(error, PARE_ERROR_USAGE, "ratio %g: it must be at least 0 and below 1", ratio);
}

bool pare_cut_count(uint32_t *n_kept, pare_unit unit, const pare_config *config, double ratio, uint32_t multiple, pare_error *error) {
    pare_scores shape;
    bool aligned = unit == PARE_UNIT_FFN || unit == PARE_UNIT_CHANNELS;
    if (!check_ratio(ratio, error) || !pare_scores_shape(&shape, unit, config, error))
        return false;
    uint32_t n = shape.n_units, step = aligned ? multiple : 1;
    if (step == 0 || step > n)
        return pare_fail(error, PARE_ERROR_USAGE, "multiple %u: it must lie between 1 and the %u %s", step, n, pare_unit_name(unit));
    uint32_t rounded = (uint32_t)floor((1 - ratio) * n / step + 0.5) * step;
    rounded = rounded < step ? step : rounded;
    *n_kept = ratio == 0 || rounded > n ? n : rounded;
    return true;
}

/* kept (n_kept) = the best units of one row, ascending. */
static bool choose(uint32_t *kept, ranked *order, const pare_scores *scores, uint32_t row, uint32_t n_kept, pare_error *error) {
    for (uint32_t j = 0; j < scores->n_units; j++) {
        order[j] = (ranked){scores->values[(size_t)row * scores->n_units + j], j};
        if (isnan(order[j].value))
            return pare_fail(error, PARE_ERROR_NUMERIC, "the score of %s %u in row %u is not a number", pare_unit_name(scores->unit), j,
                             row);
    }
    rank_best(kept, n_kept, order, scores->n_units);
    return true;
}

/* chosen: (n_rows, n_kept), ascending in each row. */
static bool keep_chosen(pare_cut *cut, pare_unit unit, uint32_t *chosen, uint32_t n_rows, uint32_t n_units, uint32_t n_kept,
                        pare_error *error) {
    bool done = true;
    uint32_t per_layer = n_rows / cut->source.n_layers;
    switch (unit) {
    case PARE_UNIT_FFN:
        for (uint32_t i = 0; done && i < n_rows; i++)
            done = pare_cut_keep_ffn(cut, i, chosen + (size_t)i * n_kept, n_kept, error);
        return done;
    case PARE_UNIT_GROUPS:
        for (uint32_t i = 0; done && i < n_rows; i++)
            done = pare_cut_keep_groups(cut, i, chosen + (size_t)i * n_kept, n_kept, error);
        return done;
    case PARE_UNIT_HEADS: /* a row is one key-value head: its queries are numbered from n_units times its own number on */
        for (uint32_t i = 0; i < n_rows * n_kept; i++)
            chosen[i] += i / n_kept % per_layer * n_units;
        for (uint32_t i = 0; done && i < cut->source.n_layers; i++)
            done = pare_cut_keep_heads(cut, i, chosen + (size_t)i * per_layer * n_kept, per_layer * n_kept, error);
        return done;
    case PARE_UNIT_CHANNELS: return pare_cut_keep_channels(cut, chosen, n_kept, error);
    case PARE_UNIT_LAYERS: return pare_cut_keep_layers(cut, chosen, n_kept, error);
    case PARE_UNITS: break;
    }
    return false;
}

pare_cut *pare_cut_make(const pare_config *config, const pare_scores *scores, uint32_t n_kept, pare_error *error) {
    pare_cut *cut = pare_cut_open(config, error);
    uint32_t *chosen = pare_allocate((size_t)scores->n_rows * n_kept, sizeof *chosen, error);
    ranked *order = pare_allocate(scores->n_units, sizeof *order, error);
    bool done = cut && chosen && order;
    for (uint32_t i = 0; done && i < scores->n_rows; i++)
        done = choose(chosen + (size_t)i * n_kept, order, scores, i, n_kept, error);
    done = done && keep_chosen(cut, scores->unit, chosen, scores->n_rows, scores->n_units, n_kept, error);
    pare_free(order);
    pare_free(chosen);
    if (done)
        return cut;
    pare_cut_close(cut);
    return NULL;
}

pare_cut *pare_method_cut(const pare_method *method, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                          const pare_scores *scores, uint32_t n_kept, const pare_context *context, pare_error *error) {
    if (method->build)
        return n_kept == scores->n_units ? pare_cut_open(&checkpoint->config, error)
                                         : method->build(checkpoint, calibration, n_kept, context, error);
    pare_cut *cut = pare_cut_make(&checkpoint->config, scores, n_kept, error);
    if (!cut || !method->compensate || n_kept == scores->n_units || method->compensate(cut, checkpoint, calibration, context, error))
        return cut;
    pare_cut_close(cut);
    return NULL;
}

bool pare_cut_forecast(pare_size *size, pare_unit unit, const pare_config *config, uint32_t n_kept, pare_error *error) {
    pare_scores even;
    if (!pare_scores_shape(&even, unit, config, error))
        return false;
    even.values = pare_allocate((size_t)even.n_rows * even.n_units, sizeof(double), error);
    pare_cut *cut = even.values ? pare_cut_make(config, &even, n_kept, error) : NULL;
    if (cut)
        *size = pare_config_size(&cut->config);
    bool done = cut != NULL;
    pare_cut_close(cut);
    pare_scores_free(&even);
    return done;
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
