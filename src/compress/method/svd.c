/* svd: each of the seven projections by its truncated singular value decomposition (Eckart & Young 1936): of all matrices of its rank the
 * nearest to the weights. It looks at no activations, and so spends its rank on directions that inputs may never take: the baseline that
 * svd-llm is measured against. */
#include "../low_rank.h"
#include "method.h"

static bool fill_all(const low_rank_pair *pairs, const pare_cut *cut, const pare_checkpoint *checkpoint, const pare_context *context,
                     pare_error *error) {
    const double *const none[PARE_PROJECTIONS] = {NULL};
    pare_model *model = pare_model_open(checkpoint, NULL, error);
    bool done = model != NULL;
    for (uint32_t i = 0; done && i < checkpoint->config.n_layers; i++) {
        pare_context_progress(context, "decompose the matrices", i, checkpoint->config.n_layers);
        done = low_rank_fill(pairs + (size_t)i * PARE_PROJECTIONS, model, i, cut, none, context, error);
    }
    pare_model_close(model);
    return done;
}

static pare_cut *build(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                       const pare_context *context, pare_error *error) {
    (void)calibration;
    pare_cut *cut = pare_cut_open(&checkpoint->config, error);
    low_rank_pair *pairs = pare_allocate((size_t)checkpoint->config.n_layers * PARE_PROJECTIONS, sizeof *pairs, error);
    bool done = cut && pairs && low_rank_place(pairs, cut, plan, error) && fill_all(pairs, cut, checkpoint, context, error);
    pare_free(pairs);
    if (done)
        return cut;
    pare_cut_close(cut);
    return NULL;
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    (void)method, (void)windows;
    return low_rank_bytes(&model->config, false, pare_context_threads(context));
}

const pare_method pare_method_svd = {
    .name = "svd",
    .summary = "replaces each projection matrix by two factors: its truncated singular value decomposition",
    .source = "Eckart & Young 1936",
    .unit = PARE_UNIT_DIRECTIONS,
    .build = build,
    .memory = memory,
};
