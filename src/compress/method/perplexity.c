/* perplexity: Shortened LLaMA (Kim et al. 2024), "PPL": a layer counts by the loss of the model without it, alone, on the calibration text
 * (the first windows, at most 4,096 tokens). One pass of the model for each layer; the layers are scored once and not one after another's
 * removal, as the paper does. The paper always keeps the first four and the last two layers of its models; here nothing is kept by rule. */
#include <math.h>

#include "method.h"

enum { TOKENS_MOST = 4096, BATCH_TOKENS = 2048 };

/* Mean cross-entropy of n windows; rows, targets and nll have room for a batch. */
static bool loss_of(double *loss, const pare_model *model, const pare_windows *windows, size_t n, size_t batch, uint32_t *rows,
                    uint32_t *targets, double *nll, const pare_context *context, pare_error *error) {
    size_t length = windows->length;
    pare_forward *forward = pare_forward_open(model, batch, length, context, error);
    bool done = forward != NULL;
    double sum = 0;
    for (size_t first = 0; done && first < n; first += batch) {
        size_t m = n - first < batch ? n - first : batch, at = 0;
        const uint32_t *ids = windows->ids + first * length;
        for (size_t i = 0; i < m * length; i++)
            if (i % length + 1 < length) {
                rows[at] = (uint32_t)i;
                targets[at++] = ids[i + 1];
            }
        done = pare_forward_run(forward, ids, m, length, NULL, error) && pare_forward_nll(nll, forward, rows, targets, at, error);
        for (size_t i = 0; done && i < at; i++)
            sum += nll[i];
    }
    pare_forward_close(forward);
    *loss = sum / (double)(n * (length - 1));
    return done && (isfinite(*loss) || pare_fail(error, PARE_ERROR_NUMERIC, "the loss on the calibration text is not finite"));
}

static bool without_layer(double *loss, const pare_checkpoint *checkpoint, uint32_t layer, const pare_windows *windows, size_t n,
                          size_t batch, pare_arena *arena, const pare_context *context, pare_error *error) {
    uint32_t n_layers = checkpoint->config.n_layers, *kept = PARE_PUSH(arena, uint32_t, n_layers, error);
    size_t most = batch * windows->length;
    uint32_t *rows = PARE_PUSH(arena, uint32_t, most, error), *targets = PARE_PUSH(arena, uint32_t, most, error);
    double *nll = PARE_PUSH(arena, double, most, error);
    pare_cut *cut = kept && rows && targets && nll ? pare_cut_open(&checkpoint->config, error) : NULL;
    for (uint32_t i = 0; cut && i + 1 < n_layers; i++)
        kept[i] = i < layer ? i : i + 1;
    pare_model *model = cut && pare_cut_keep_layers(cut, kept, n_layers - 1, error) ? pare_model_open(checkpoint, cut, error) : NULL;
    bool done = model && loss_of(loss, model, windows, n, batch, rows, targets, nll, context, error);
    pare_model_close(model);
    pare_cut_close(cut);
    return done;
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed;
    const pare_windows *windows = &calibration->windows;
    size_t most = TOKENS_MOST / windows->length > 0 ? TOKENS_MOST / windows->length : 1, n = windows->n < most ? windows->n : most;
    size_t batch = BATCH_TOKENS / windows->length > 0 ? BATCH_TOKENS / windows->length : 1;
    batch = batch < n ? batch : n;
    if (windows->length < 2)
        return pare_fail(error, PARE_ERROR_RANGE, "windows of one token have no loss: perplexity-layers needs longer ones");
    bool done = scores->n_units > 1 || pare_fail(error, PARE_ERROR_RANGE, "a model of one layer has none to spare");
    for (uint32_t i = 0; done && i < scores->n_units; i++) {
        pare_context_progress(context, "score", i, scores->n_units);
        pare_arena *arena = pare_arena_open(error);
        done = arena && without_layer(&scores->values[i], checkpoint, i, windows, n, batch, arena, context, error);
        pare_arena_close(arena);
    }
    return done;
}

const pare_method pare_method_perplexity_layers = {
    .name = "perplexity-layers",
    .summary = "the loss of the model without a layer, alone",
    .source = "Kim et al. 2024 (Shortened LLaMA), PPL",
    .unit = PARE_UNIT_LAYERS,
    .calibrated = true,
    .text_only = true,
    .score = score,
};
