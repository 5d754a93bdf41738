/* layers: whole decoder layers.
 *
 *   last-layers   by position: the deepest go first, but the very last stays (Gromov et al. 2024, "The unreasonable ineffectiveness of the
 *                 deeper layers", its simple heuristic)
 *   shortgpt      block influence, 1 - mean over tokens of the cosine between what enters and what leaves a layer (Men et al. 2024) */
#include "method.h"

static bool by_position(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                        const pare_context *context, pare_error *error) {
    (void)checkpoint, (void)calibration, (void)seed, (void)context, (void)error;
    for (uint32_t i = 0; i < scores->n_units; i++)
        scores->values[i] = i + 1 == scores->n_units ? scores->n_units : scores->n_units - 1 - i;
    return true;
}

static bool by_influence(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                         const pare_context *context, pare_error *error) {
    (void)checkpoint, (void)seed, (void)context, (void)error;
    for (uint32_t i = 0; i < scores->n_units; i++)
        scores->values[i] = 1 - calibration->similarity[i];
    return true;
}

const pare_method pare_method_last_layers = {
    .name = "last-layers",
    .summary = "removes the deepest layers first and keeps the very last",
    .source = "Gromov et al. 2024, simple heuristic",
    .unit = PARE_UNIT_LAYERS,
    .score = by_position,
};

const pare_method pare_method_shortgpt = {
    .name = "shortgpt",
    .summary = "removes the layers whose output is most similar to their input (block influence, cosine)",
    .source = "Men et al. 2024 (ShortGPT)",
    .unit = PARE_UNIT_LAYERS,
    .calibrated = true,
    .score = by_influence,
};
