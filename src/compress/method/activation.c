/* activation: how much a unit has to say on a calibration text: Minitron (Muralidharan et al. 2024), whose scores are sums of activations
 * over tokens; here the root mean square over all tokens (its paper's L2 over the batch).
 *
 *   neuron      of silu(gate) * up                      heads    of the norm of attention's output, over the columns of the unit
 *   channel     of what the norms give out, summed over both norms of every layer */
#include <math.h>

#include "method.h"

static void add_units(double *values, const pare_moments *m, uint32_t layer, uint32_t units) {
    for (uint32_t j = 0; j < m->columns; j++)
        values[j / (m->columns / units)] += m->mean_square[(size_t)layer * m->columns + j];
    for (uint32_t j = 0; j < units; j++)
        values[j] = sqrt(values[j]);
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed, (void)context, (void)error;
    uint32_t layers = checkpoint->config.n_layers, units = scores->n_rows / layers * scores->n_units;
    const pare_moments *m = &calibration->places[scores->unit == PARE_UNIT_FFN ? PARE_TAP_FFN : PARE_TAP_ATTENDED];
    for (uint32_t i = 0; i < layers; i++)
        add_units(scores->values + (size_t)i * units, m, i, units);
    return true;
}

static bool score_channels(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                           const pare_context *context, pare_error *error) {
    (void)seed, (void)context, (void)error;
    const pare_moments *attention = &calibration->places[PARE_TAP_ATTENTION_IN], *ffn = &calibration->places[PARE_TAP_FFN_IN];
    uint32_t width = scores->n_units;
    for (size_t i = 0; i < (size_t)checkpoint->config.n_layers * width; i++)
        scores->values[i % width] += sqrt(attention->mean_square[i]) + sqrt(ffn->mean_square[i]);
    return true;
}

#define SOURCE .source = "Muralidharan et al. 2024 (Minitron)", .calibrated = true

const pare_method pare_method_activation = {
    .name = "activation",
    .summary = "scores each FFN neuron by the root mean square of its activation",
    .unit = PARE_UNIT_FFN,
    .score = score,
    SOURCE,
};

const pare_method pare_method_activation_groups = {
    .name = "activation-groups",
    .summary = "scores each key-value head by the root mean square of the outputs of its query heads",
    .unit = PARE_UNIT_GROUPS,
    .score = score,
    SOURCE,
};

const pare_method pare_method_activation_heads = {
    .name = "activation-heads",
    .summary = "scores each query head by the root mean square of its output; compared within each group",
    .unit = PARE_UNIT_HEADS,
    .score = score,
    SOURCE,
};

const pare_method pare_method_activation_channels = {
    .name = "activation-channels",
    .summary = "scores each channel of the residual stream by its root mean square after the norms, summed over layers",
    .unit = PARE_UNIT_CHANNELS,
    .score = score_channels,
    SOURCE,
};
