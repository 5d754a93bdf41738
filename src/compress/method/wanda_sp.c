/* wanda-sp: sum over outputs of |w[., j]| times the root mean square of what column j is multiplied with: Wanda (Sun et al. 2024) on whole
 * units, as FLAP (An et al. 2024) defines it for comparison. A neuron owns one column of down_proj, whose activation is silu(gate) * up;
 * a head owns head_dim columns of o_proj, summed. Activations are the dense model's. */
#include <math.h>

#include "../weights.h"
#include "method.h"

/* values of layer `i`'s rows += over the columns that each unit owns */
static bool score_layer(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_moments *activations, uint32_t i,
                        double *columns, pare_error *error) {
    uint32_t n = activations->columns, units = scores->n_rows / checkpoint->config.n_layers * scores->n_units;
    const char *part = scores->unit == PARE_UNIT_FFN ? "mlp.down_proj" : "self_attn.o_proj";
    for (uint32_t j = 0; j < n; j++)
        columns[j] = 0;
    if (!weights_add_columns(columns, checkpoint, i, part, WEIGHTS_ABSOLUTE, 1, error))
        return false;
    double *values = scores->values + (size_t)i * units;
    for (uint32_t j = 0; j < n; j++)
        values[j / (n / units)] += columns[j] * sqrt(activations->mean_square[(size_t)i * n + j]);
    return true;
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed;
    const pare_moments *activations = &calibration->places[scores->unit == PARE_UNIT_FFN ? PARE_TAP_FFN : PARE_TAP_ATTENDED];
    double *columns = pare_allocate(activations->columns, sizeof *columns, error);
    bool done = columns != NULL;
    for (uint32_t i = 0; done && i < checkpoint->config.n_layers; i++) {
        pare_context_progress(context, "score the units", i, checkpoint->config.n_layers);
        done = pare_context_check(context, error) && score_layer(scores, checkpoint, activations, i, columns, error);
    }
    pare_free(columns);
    return done;
}

#define SOURCE .source = "Sun et al. 2024 (Wanda), structured as in An et al. 2024 (FLAP)", .calibrated = true, .score = score

const pare_method pare_method_wanda_sp = {
    .name = "wanda-sp",
    .summary = "scores each FFN neuron by the norm of its down_proj column times the root mean square of its activation",
    .unit = PARE_UNIT_FFN,
    SOURCE,
};

const pare_method pare_method_wanda_sp_groups = {
    .name = "wanda-sp-groups",
    .summary = "scores each key-value head by the norm of its query heads' o_proj columns times the root mean square of their inputs",
    .unit = PARE_UNIT_GROUPS,
    SOURCE,
};

const pare_method pare_method_wanda_sp_heads = {
    .name = "wanda-sp-heads",
    .summary =
        "scores each query head by the norm of its o_proj columns times the root mean square of their inputs; compared within each group",
    .unit = PARE_UNIT_HEADS,
    SOURCE,
};
