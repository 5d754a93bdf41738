/* magnitude: the L2 norm of everything a neuron owns, sqrt(|gate row|^2 + |up row|^2 + |down column|^2): structured magnitude pruning
 * (Li et al. 2017, "Pruning filters for efficient ConvNets", on the coupled group of a gated FFN). On modern pretrained models a
 * few neurons of small weight carry huge activations, and this score cuts them first: worse than chance. It is here to compare with. */
#include <math.h>

#include "../weights.h"
#include "method.h"

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)calibration, (void)seed;
    for (uint32_t i = 0; i < scores->n_layers; i++) {
        double *sums = scores->values + (size_t)i * scores->ffn_width;
        pare_context_progress(context, "score", i, scores->n_layers);
        if (!pare_context_check(context, error) || !weights_add_rows(sums, checkpoint, i, "gate_proj", WEIGHTS_SQUARES, error) ||
            !weights_add_rows(sums, checkpoint, i, "up_proj", WEIGHTS_SQUARES, error) ||
            !weights_add_columns(sums, checkpoint, i, "down_proj", WEIGHTS_SQUARES, error))
            return false;
        for (uint32_t j = 0; j < scores->ffn_width; j++)
            sums[j] = sqrt(sums[j]);
    }
    return true;
}

const pare_method pare_method_magnitude = {
    .name = "magnitude",
    .summary = "L2 norm of each neuron's gate row, up row and down column",
    .source = "Li et al. 2017, on coupled groups",
    .warning = "magnitude fails on modern pretrained models: a few neurons of small weight carry huge activations and are cut first, "
               "which is worse than chance; prefer wanda-sp",
    .score = score,
};
