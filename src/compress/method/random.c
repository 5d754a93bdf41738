/* random: units drawn uniformly without replacement, independently per row: the calibration-free baseline of the Compression Laws paper
 * ("random-PruneNet": PruneNet's FFN slicing, Sengupta et al. 2025, with the learned policy replaced by chance), and the same for heads.
 * A score is a random number, so that the cuts of one seed at growing ratios are nested. */
#include "method.h"

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    static const char *const purposes[PARE_UNITS] = {"random method", "random groups", "random heads", "", ""};
    (void)checkpoint, (void)calibration, (void)context, (void)error;
    for (uint32_t i = 0; i < scores->n_rows; i++) {
        pare_random random;
        pare_random_init(&random, seed, purposes[scores->unit], i);
        for (uint32_t j = 0; j < scores->n_units; j++)
            scores->values[(size_t)i * scores->n_units + j] = pare_random_unit(&random);
    }
    return true;
}

#define SOURCE .source = "Compression Laws (arXiv 2504.04342), random-PruneNet", .stochastic = true, .score = score

const pare_method pare_method_random = {
    .name = "random",
    .summary = "removes random FFN neurons: the calibration-free baseline of the Compression Laws paper",
    .unit = PARE_UNIT_FFN,
    SOURCE,
};

const pare_method pare_method_random_groups = {
    .name = "random-groups",
    .summary = "removes random key-value heads with their query heads",
    .unit = PARE_UNIT_GROUPS,
    SOURCE,
};

const pare_method pare_method_random_heads = {
    .name = "random-heads",
    .summary = "removes random query heads within each group",
    .unit = PARE_UNIT_HEADS,
    SOURCE,
};
