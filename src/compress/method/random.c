/* random: neurons drawn uniformly without replacement, independently per layer: the calibration-free baseline of the Compression
 * Laws paper ("random-PruneNet": PruneNet's FFN slicing, Sengupta et al. 2025, with the learned policy replaced by chance).
 * A score is a random number, so that the cuts of one seed at growing ratios are nested. */
#include "method.h"

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)checkpoint, (void)calibration, (void)context, (void)error;
    for (uint32_t i = 0; i < scores->n_layers; i++) {
        pare_random random;
        pare_random_init(&random, seed, "random method", i);
        for (uint32_t j = 0; j < scores->ffn_width; j++)
            scores->values[(size_t)i * scores->ffn_width + j] = pare_random_unit(&random);
    }
    return true;
}

const pare_method pare_method_random = {
    .name = "random",
    .summary = "neurons drawn by chance, the paper's calibration-free baseline",
    .source = "Compression Laws (arXiv 2504.04342), random-PruneNet",
    .stochastic = true,
    .score = score,
};
