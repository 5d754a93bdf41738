/* wanda-sp: sum over outputs of |w_down[., j]| times the root mean square of neuron j's activation: Wanda (Sun et al. 2024) on whole
 * neurons, as FLAP (An et al. 2024) defines it for comparison. Activations are the dense model's, h = silu(gate) * up. */
#include <math.h>

#include "../weights.h"
#include "method.h"

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed;
    for (uint32_t i = 0; i < scores->n_layers; i++) {
        double *sums = scores->values + (size_t)i * scores->ffn_width;
        const double *mean_square = calibration->mean_square + (size_t)i * scores->ffn_width;
        pare_context_progress(context, "score", i, scores->n_layers);
        if (!pare_context_check(context, error) || !weights_add_columns(sums, checkpoint, i, "down_proj", WEIGHTS_ABSOLUTE, error))
            return false;
        for (uint32_t j = 0; j < scores->ffn_width; j++)
            sums[j] *= sqrt(mean_square[j]);
    }
    return true;
}

const pare_method pare_method_wanda_sp = {
    .name = "wanda-sp",
    .summary = "weight of each neuron's down column times its root mean square activation",
    .source = "Sun et al. 2024 (Wanda), structured as in An et al. 2024 (FLAP)",
    .calibrated = true,
    .score = score,
};
