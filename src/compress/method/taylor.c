/* taylor: how much the loss would change, to first order, without a unit: LLM-Pruner (Ma et al. 2023), its element-wise first-order
 * importance summed over the coupled structure,
 *
 *   sum over the unit's weights of |w dL/dw|,   L the mean cross-entropy of the calibration text
 *
 *   neuron          its gate row, up row and down column
 *   key-value head  its k and v rows, the q rows and o columns of its query heads
 *   query head      its q rows and o columns
 *
 * Of several kinds at once the same, which is comparable between them; a whole layer's is the sum over its units.
 * The paper takes ten samples of 64 tokens; here it is the first windows, at most 4,096 tokens. Gradients of the matrices that count are
 * kept for all layers at once, 4 bytes a weight: it is the one method whose memory grows with the model. */
#include <math.h>
#include <string.h>

#include "../weights.h"
#include "method.h"
#include "pare/gradient.h"

enum { TOKENS_MOST = 4096, BATCH_TOKENS = 2048 };

/* The matrices that a kind of unit owns parts of. */
static bool counts(pare_unit unit, pare_projection p) {
    if (unit == PARE_UNIT_SEVERAL)
        return true;
    if (unit == PARE_UNIT_FFN)
        return p == PARE_GATE || p == PARE_UP || p == PARE_DOWN;
    return p == PARE_Q || p == PARE_O || (unit == PARE_UNIT_GROUPS && (p == PARE_K || p == PARE_V));
}

static bool place_gradients(pare_gradients *g, const pare_model *model, pare_unit unit, pare_arena *arena, pare_error *error) {
    *g = (pare_gradients){.layers = PARE_PUSH(arena, pare_layer_gradient, model->config.n_layers, error)};
    for (uint32_t i = 0; g->layers && i < model->config.n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const pare_view *w = &model->layers[i].linears[p].weight;
            if (counts(unit, (pare_projection)p) &&
                !(g->layers[i].linears[p].weight = PARE_PUSH(arena, float, (size_t)w->n_rows * w->n_columns, error)))
                return false;
        }
    return g->layers != NULL;
}

/* Windows that are looked at, and how many at a time. */
static size_t batches(size_t *batch, const pare_windows *windows) {
    size_t length = windows->length, most = TOKENS_MOST / length > 0 ? TOKENS_MOST / length : 1;
    size_t n = windows->n < most ? windows->n : most;
    *batch = BATCH_TOKENS / length > 0 ? BATCH_TOKENS / length : 1;
    *batch = *batch < n ? *batch : n;
    return n;
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    size_t batch, bytes = 0;
    batches(&batch, windows);
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        pare_linear_shape s = pare_config_linear(&model->config, 0, (pare_projection)p);
        bytes += counts(method->unit, (pare_projection)p) ? s.out * s.in * sizeof(float) : 0;
    }
    bytes += (size_t)(pare_checkpoint_size(model->checkpoint, NULL).bytes / model->config.n_layers); /* mapped: all layers stay in use */
    return bytes * model->config.n_layers + pare_pass_bytes(model, NULL, batch, windows->length, true, context);
}

/* Gradients of the mean loss over the windows' targets. */
static bool differentiate(const pare_gradients *g, const pare_model *model, const pare_windows *windows, const pare_context *context,
                          pare_error *error) {
    size_t batch, length = windows->length, n = batches(&batch, windows);
    pare_pass *pass = pare_pass_open(model, g, NULL, batch, length, true, context, error);
    bool done = pass != NULL;
    for (size_t first = 0; done && first < n; first += batch) {
        pare_batch at = {.ids = windows->ids + first * length, .windows = n - first < batch ? n - first : batch, .length = length};
        pare_pass_loss loss;
        pare_context_progress(context, "gradients", (double)first, (double)n);
        done = pare_pass_run(&loss, pass, &at, 1.0 / (double)(n * (length - 1)), error);
    }
    pare_pass_close(pass);
    return done;
}

static bool score_layer(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_gradients *g, uint32_t i, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    double *values = scores->values + (size_t)i * (scores->n_rows / c->n_layers) * scores->n_units;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        bool ffn = p == PARE_GATE || p == PARE_UP || p == PARE_DOWN, several = scores->unit == PARE_UNIT_SEVERAL;
        bool by_rows = p != PARE_O && p != PARE_DOWN, grouped = scores->unit != PARE_UNIT_HEADS && (p == PARE_Q || p == PARE_O);
        uint32_t per = ffn ? 1 : grouped ? c->n_heads / c->n_kv_heads * c->head_dim : c->head_dim;
        if (counts(scores->unit, (pare_projection)p) &&
            !weights_add_products(values + (several && !ffn ? c->ffn_width : 0), checkpoint, i, pare_projection_path((pare_projection)p),
                                  g->layers[i].linears[p].weight, by_rows, per, error))
            return false;
    }
    return true;
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed;
    pare_gradients gradients;
    if (calibration->windows.length < 2)
        return pare_fail(error, PARE_ERROR_RANGE, "windows of one token have no loss: taylor needs longer ones");
    pare_arena *arena = pare_arena_open(error);
    pare_model *model = arena ? pare_model_open(checkpoint, NULL, error) : NULL;
    bool done = model && place_gradients(&gradients, model, scores->unit, arena, error) &&
                differentiate(&gradients, model, &calibration->windows, context, error);
    for (uint32_t i = 0; done && i < checkpoint->config.n_layers; i++)
        done = pare_context_check(context, error) && score_layer(scores, checkpoint, &gradients, i, error);
    pare_model_close(model);
    pare_arena_close(arena);
    return done;
}

#define SOURCE                                                                                                                             \
    .source = "Ma et al. 2023 (LLM-Pruner), first order", .calibrated = true, .text_only = true, .gradients = true, .score = score,        \
    .memory = memory

const pare_method pare_method_taylor = {
    .name = "taylor",
    .summary = "weights times gradients of each neuron: what the loss would change to first order",
    .unit = PARE_UNIT_FFN,
    SOURCE,
};

const pare_method pare_method_taylor_groups = {
    .name = "taylor-groups",
    .summary = "the same over a key-value head and its query heads",
    .unit = PARE_UNIT_GROUPS,
    SOURCE,
};

const pare_method pare_method_taylor_all = {
    .name = "taylor-all",
    .summary = "the same over neurons, key-value heads and whole layers at once, in the shape that loses least",
    .unit = PARE_UNIT_SEVERAL,
    SOURCE,
};

const pare_method pare_method_taylor_heads = {
    .name = "taylor-heads",
    .summary = "the same over a query head, within each group",
    .unit = PARE_UNIT_HEADS,
    SOURCE,
};
