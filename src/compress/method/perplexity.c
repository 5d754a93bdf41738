/* perplexity: Shortened LLaMA (Kim et al. 2024), "PPL": a layer counts by the loss of the model without it, alone, on the calibration text
 * (the first windows, at most 4,096 tokens). One pass of the model for each layer; the layers are scored once and not one after another's
 * removal, as the paper does. The paper always keeps the first four and the last two layers of its models; here nothing is kept by rule. */
#include "../window_loss.h"
#include "method.h"

static bool without_layer(double *loss, const pare_checkpoint *checkpoint, uint32_t layer, const pare_windows *windows,
                          const pare_context *context, pare_error *error) {
    uint32_t n = checkpoint->config.n_layers, *kept = pare_allocate(n, sizeof *kept, error);
    pare_cut *cut = kept ? pare_cut_open(&checkpoint->config, error) : NULL;
    for (uint32_t i = 0; cut && i + 1 < n; i++)
        kept[i] = i < layer ? i : i + 1;
    bool done = cut && pare_cut_keep_layers(cut, kept, n - 1, error) && window_loss(loss, checkpoint, cut, windows, context, error);
    pare_cut_close(cut);
    pare_free(kept);
    return done;
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed;
    bool done = scores->n_units > 1 || pare_fail(error, PARE_ERROR_RANGE, "a model of one layer has none to spare");
    for (uint32_t i = 0; done && i < scores->n_units; i++) {
        pare_context_progress(context, "measure the loss without each layer", i, scores->n_units);
        done = without_layer(&scores->values[i], checkpoint, i, &calibration->windows, context, error);
    }
    return done;
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    (void)method;
    return window_loss_bytes(model, windows, context);
}

const pare_method pare_method_perplexity_layers = {
    .name = "perplexity-layers",
    .summary = "scores each layer by the loss of the model without that layer",
    .source = "Kim et al. 2024 (Shortened LLaMA), PPL",
    .unit = PARE_UNIT_LAYERS,
    .calibrated = true,
    .text_only = true,
    .score = score,
    .memory = memory,
};
