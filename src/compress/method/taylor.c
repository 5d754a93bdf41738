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
 * The paper takes ten samples of 64 tokens; here it is the first windows, at most 4,096 tokens. Absolute values need a gradient that is
 * whole: it is summed over all windows layer by layer, so that one layer's is kept at a time, 4 bytes a weight. */
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

typedef struct {
    pare_scores *scores;
    const pare_model *model;
    pare_layer_gradient gradient; /* every layer's in turn */
} subject;

static size_t gradient_floats(const pare_model *model, uint32_t layer, pare_projection p) {
    const pare_view *w = &model->layers[layer].linears[p].weight;
    return (size_t)w->n_rows * w->n_columns;
}

/* Of the layer where it is largest. */
static size_t most_floats(const pare_model *model, pare_projection p) {
    size_t most = 0;
    for (uint32_t i = 0; i < model->config.n_layers; i++) {
        size_t floats = gradient_floats(model, i, p);
        most = floats > most ? floats : most;
    }
    return most;
}

/* Room for the largest layer, which all of them share. */
static bool place_gradients(pare_gradients *g, subject *s, pare_arena *arena, pare_error *error) {
    uint32_t n_layers = s->model->config.n_layers;
    *g = (pare_gradients){.layers = PARE_PUSH(arena, pare_layer_gradient, n_layers, error)};
    for (int p = 0; g->layers && p < PARE_PROJECTIONS; p++)
        if (counts(s->scores->unit, (pare_projection)p) &&
            !(s->gradient.linears[p].weight = PARE_PUSH(arena, float, most_floats(s->model, (pare_projection)p), error)))
            return false;
    for (uint32_t i = 0; g->layers && i < n_layers; i++)
        g->layers[i] = s->gradient;
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
    size_t batch, bytes = 0, n = batches(&batch, windows);
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        bytes += counts(method->unit, (pare_projection)p) ? most_floats(model, (pare_projection)p) * sizeof(float) : 0;
    return bytes + pare_pass_by_layer_bytes(model, n, windows->length, batch, context);
}

static bool score_layer(void *user, uint32_t i, pare_error *error) {
    subject *s = user;
    const pare_checkpoint *checkpoint = s->model->checkpoint;
    const pare_config *c = &checkpoint->config;
    pare_unit unit = s->scores->unit;
    double *values = s->scores->values + (size_t)i * (s->scores->n_rows / c->n_layers) * s->scores->n_units;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        bool ffn = p == PARE_GATE || p == PARE_UP || p == PARE_DOWN, several = unit == PARE_UNIT_SEVERAL;
        bool by_rows = p != PARE_O && p != PARE_DOWN, grouped = unit != PARE_UNIT_HEADS && (p == PARE_Q || p == PARE_O);
        uint32_t per = ffn ? 1 : grouped ? c->n_heads / c->n_kv_heads * c->head_dim : c->head_dim;
        float *gradient = s->gradient.linears[p].weight;
        if (!gradient)
            continue;
        if (!weights_add_products(values + (several && !ffn ? c->ffn_width : 0), checkpoint, i, pare_projection_path((pare_projection)p),
                                  gradient, by_rows, per, error))
            return false;
        memset(gradient, 0, gradient_floats(s->model, i, (pare_projection)p) * sizeof *gradient);
    }
    return true;
}

/* Gradients of the mean loss over the windows' targets. */
static bool differentiate(const pare_gradients *g, subject *s, const pare_windows *windows, const pare_context *context,
                          pare_error *error) {
    size_t at_once, length = windows->length, n = batches(&at_once, windows);
    pare_batch batch = {.ids = windows->ids, .windows = n, .length = length};
    pare_pass_loss loss;
    return pare_pass_by_layer(&loss, s->model, g, &batch, at_once, 1.0 / (double)(n * (length - 1)), score_layer, s, context, error);
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)seed;
    pare_gradients gradients;
    if (calibration->windows.length < 2)
        return pare_fail(error, PARE_ERROR_RANGE, "windows of one token have no loss: taylor needs longer ones");
    pare_arena *arena = pare_arena_open(error);
    pare_model *model = arena ? pare_model_open(checkpoint, NULL, error) : NULL;
    subject s = {.scores = scores, .model = model};
    bool done =
        model && place_gradients(&gradients, &s, arena, error) && differentiate(&gradients, &s, &calibration->windows, context, error);
    pare_model_close(model);
    pare_arena_close(arena);
    return done;
}

#define SOURCE                                                                                                                             \
    .source = "Ma et al. 2023 (LLM-Pruner), first order", .calibrated = true, .text_only = true, .gradients = true, .score = score,        \
    .memory = memory

const pare_method pare_method_taylor = {
    .name = "taylor",
    .summary = "scores each FFN neuron by its weights times their gradients: the first-order change of the loss",
    .unit = PARE_UNIT_FFN,
    SOURCE,
};

const pare_method pare_method_taylor_groups = {
    .name = "taylor-groups",
    .summary = "scores each key-value head with its query heads by weights times gradients: the first-order change of the loss",
    .unit = PARE_UNIT_GROUPS,
    SOURCE,
};

const pare_method pare_method_taylor_all = {
    .name = "taylor-all",
    .summary = "scores FFN neurons, key-value heads and whole layers by weights times gradients, and removes them in the shape with the "
               "lowest sum",
    .unit = PARE_UNIT_SEVERAL,
    SOURCE,
};

const pare_method pare_method_taylor_heads = {
    .name = "taylor-heads",
    .summary = "scores each query head by weights times gradients: the first-order change of the loss; compared within each group",
    .unit = PARE_UNIT_HEADS,
    SOURCE,
};
