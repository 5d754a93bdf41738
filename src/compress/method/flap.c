/* flap: fluctuation-based adaptive structured pruning (An et al. 2024): a unit whose activation hardly fluctuates can be replaced by its
 * mean. The score of input column j of down_proj (neurons) or o_proj (heads, summed over the columns of the unit) is
 *
 *   variance over tokens of x_j  *  sum over outputs of w_ij^2                                      ("WIFV" in the authors' code)
 *
 * and what the removed columns give on average, sum over removed j of w_ij mean(x_j), becomes the bias of the projection. The paper then
 * spreads the ratio over layers by standardised scores; here every layer keeps the same count, so that stock programs load the result. */
#include <math.h>
#include <stdio.h>

#include "../weights.h"
#include "method.h"

static bool score_layer(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_moments *m, uint32_t i, double *columns,
                        pare_error *error) {
    uint32_t n = m->columns, units = scores->n_rows / checkpoint->config.n_layers * scores->n_units;
    const char *part = scores->unit == PARE_UNIT_FFN ? "mlp.down_proj" : "self_attn.o_proj";
    for (uint32_t j = 0; j < n; j++)
        columns[j] = 0;
    if (!weights_add_columns(columns, checkpoint, i, part, WEIGHTS_SQUARES, 1, error))
        return false;
    for (uint32_t j = 0; j < n; j++) {
        double mean = m->mean[(size_t)i * n + j], variance = m->mean_square[(size_t)i * n + j] - mean * mean;
        scores->values[(size_t)i * units + j / (n / units)] += columns[j] * fmax(variance, 0);
    }
    return true;
}

static const pare_moments *moments_of(const pare_calibration *calibration, pare_unit unit) {
    return &calibration->places[unit == PARE_UNIT_FFN ? PARE_TAP_FFN : PARE_TAP_ATTENDED];
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed;
    const pare_moments *m = moments_of(calibration, scores->unit);
    double *columns = pare_allocate(m->columns, sizeof *columns, error);
    bool done = columns != NULL;
    for (uint32_t i = 0; done && i < checkpoint->config.n_layers; i++) {
        pare_context_progress(context, "score the units", i, checkpoint->config.n_layers);
        done = pare_context_check(context, error) && score_layer(scores, checkpoint, m, i, columns, error);
    }
    pare_free(columns);
    return done;
}

/* bias (out) = the stored bias + sum over removed j of w_ij mean(x_j) */
static bool fill_bias(float *bias, const pare_checkpoint *checkpoint, const char *part, uint32_t layer, const pare_kept *kept,
                      const double *mean, pare_error *error) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, part);
    pare_view weight, stored;
    if (!pare_cut_find(&weight, NULL, checkpoint, name))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s is missing", checkpoint->path, name);
    float *row = pare_allocate(weight.n_columns, sizeof *row, error);
    for (uint32_t i = 0; row && i < weight.n_rows; i++) {
        double sum = 0;
        pare_view_read(row, &weight, i, 1, NULL);
        for (uint32_t j = 0, k = 0; j < weight.n_columns; j++)
            if (k < kept->n && kept->index[k] == j)
                k++;
            else
                sum += (double)row[j] * mean[j];
        bias[i] = (float)sum;
    }
    snprintf(name, sizeof name, "model.layers.%u.%s.bias", layer, part);
    if (row && pare_cut_find(&stored, NULL, checkpoint, name))
        for (uint32_t i = 0; i < stored.n_rows; i++) {
            pare_view_read(row, &stored, i, 1, NULL);
            bias[i] += row[0];
        }
    pare_free(row);
    return row != NULL;
}

static bool compensate_by(pare_cut *cut, const pare_checkpoint *checkpoint, const pare_calibration *calibration, pare_unit unit,
                          const pare_context *context, pare_error *error) {
    const pare_moments *m = moments_of(calibration, unit);
    const char *part = unit == PARE_UNIT_FFN ? "mlp.down_proj" : "self_attn.o_proj";
    for (uint32_t i = 0; i < cut->source.n_layers; i++) {
        char name[96];
        const pare_kept *kept = unit == PARE_UNIT_FFN ? &cut->each[i].ffn : &cut->each[i].q_rows;
        if (!kept->index) /* a layer that stays whole has nothing to make up for */
            continue;
        snprintf(name, sizeof name, "model.layers.%u.%s.bias", i, part);
        float *bias = pare_cut_replace(cut, name, error);
        if (!bias || !pare_context_check(context, error) ||
            !fill_bias(bias, checkpoint, part, i, kept, m->mean + (size_t)i * m->columns, error))
            return false;
        snprintf(name, sizeof name, "model.layers.%u.", i);
        pare_checkpoint_drop(checkpoint, name);
    }
    return true;
}

static bool compensate_ffn(pare_cut *cut, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                           const pare_context *context, pare_error *error) {
    return compensate_by(cut, checkpoint, calibration, PARE_UNIT_FFN, context, error);
}

static bool compensate_heads(pare_cut *cut, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                             const pare_context *context, pare_error *error) {
    return compensate_by(cut, checkpoint, calibration, PARE_UNIT_HEADS, context, error);
}

#define SOURCE .source = "An et al. 2024 (FLAP)", .calibrated = true, .score = score

const pare_method pare_method_flap = {
    .name = "flap",
    .summary = "scores each FFN neuron by its variance over tokens times the squared norm of its down_proj column; the removed mean "
               "becomes a bias",
    .unit = PARE_UNIT_FFN,
    .compensate = compensate_ffn,
    SOURCE,
};

const pare_method pare_method_flap_groups = {
    .name = "flap-groups",
    .summary = "scores each key-value head by the variance of its query heads' outputs times the squared o_proj columns; the removed mean "
               "becomes a bias",
    .unit = PARE_UNIT_GROUPS,
    .compensate = compensate_heads,
    SOURCE,
};

const pare_method pare_method_flap_heads = {
    .name = "flap-heads",
    .summary = "scores each query head by the variance of its output times the squared o_proj columns, within each group; the removed mean "
               "becomes a bias",
    .unit = PARE_UNIT_HEADS,
    .compensate = compensate_heads,
    SOURCE,
};
