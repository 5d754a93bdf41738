/* slice-global: SliceGPT (Ashkboos et al. 2024) with one rotation for the whole residual stream, so that what is left is a plain Llama,
 * which stock programs load. In the published form every norm reads through a rotation of its own, and matrices on the residual branches
 * take one into the next.
 *
 * The rotation is the principal components of what all norms give, before their weights, by the dense model: each of a token's readings has
 * length one, and all readings count alike. The authors take them norm by norm, on the already sliced layers. The embedding and the head
 * rotate differently, by the head's norm weight: a tied model becomes one with a head of its own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../gram.h"
#include "../rotate.h"
#include "../spectrum.h"
#include "method.h"
#include "pare/stream.h"

typedef struct {
    const pare_checkpoint *checkpoint;
    const pare_context *context;
    pare_model *dense;
    pare_cut *cut;
    pare_arena *arena;
    double *gram;
    float *readings, *scratch; /* (rows, width) of one batch; gram_add's */
    rotation rotation;
} slicer;

/* ---- what the norms give ---- */

static void observe(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    slicer *s = user;
    (void)layer, (void)place;
    for (size_t t = 0; t < rows; t++) {
        const float *x = activations + t * columns;
        double squares = 0;
        for (size_t j = 0; j < columns; j++)
            squares += (double)x[j] * (double)x[j];
        float scale = (float)(1 / sqrt(squares + 1e-30));
        for (size_t j = 0; j < columns; j++)
            s->readings[t * columns + j] = scale * x[j];
    }
    gram_add(s->gram, s->readings, s->readings, rows, columns, columns, s->scratch, pare_context_threads(s->context));
}

/* One pass: what attention and FFN read in every layer, and what the head reads behind the last. */
static bool look(slicer *s, pare_stream *stream, pare_error *error) {
    uint32_t n = s->dense->config.n_layers;
    for (uint32_t i = 0; i < n; i++) {
        char name[64];
        unsigned places = 1u << PARE_TAP_IN | 1u << PARE_TAP_MIDDLE | (i + 1 == n ? 1u << PARE_TAP_OUT : 0);
        pare_tap tap = {places, observe, s};
        pare_context_progress(s->context, "slice", i, 2.0 * n);
        if (!pare_stream_layer(stream, s->dense, i, &tap, true, error))
            return false;
        snprintf(name, sizeof name, "model.layers.%u.", i);
        pare_checkpoint_drop(s->checkpoint, name);
    }
    gram_mirror(s->gram, s->dense->config.width);
    return true;
}

static bool find(slicer *s, const pare_windows *windows, uint32_t kept, pare_error *error) {
    uint32_t width = s->dense->config.width;
    pare_stream *stream = pare_stream_open(s->dense, windows, s->context, error);
    if (!stream)
        return false;
    float *rows = PARE_PUSH(s->arena, float, (size_t)kept *width, error);
    bool done = rows && (s->gram = PARE_PUSH(s->arena, double, (size_t)width *width, error)) &&
                (s->readings = PARE_PUSH(s->arena, float, pare_stream_batch(stream) * width, error)) &&
                (s->scratch = PARE_PUSH(s->arena, float, gram_scratch(pare_context_threads(s->context)), error)) && look(s, stream, error);
    pare_stream_close(stream);
    for (size_t i = 0; done && i < (size_t)width * width; i++)
        done = isfinite(s->gram[i]) || pare_fail(error, PARE_ERROR_NUMERIC, "slice-global: the residual stream is not finite");
    return done && rotation_find(&s->rotation, rows, s->gram, width, kept, error);
}

/* ---- the model in those coordinates ---- */

typedef struct {
    const slicer *slicer;
    uint32_t layer;
    float *weight[PARE_PROJECTIONS], *bias[PARE_PROJECTIONS]; /* bias: of o and down alone, the others' stay as they are */
} slicing;

static bool fill_one(void *user, uint32_t p, pare_error *error) {
    const slicing *s = user;
    const pare_layer *layer = &s->slicer->dense->layers[s->layer];
    const pare_linear *linear = &layer->linears[p];
    const rotation *r = &s->slicer->rotation;
    if (s->bias[p])
        rotate_bias(s->bias[p], linear->bias, r);
    if (p == PARE_O || p == PARE_DOWN)
        return rotate_writer(s->weight[p], &linear->weight, r, error);
    return rotate_reader(s->weight[p], &linear->weight, p < PARE_O ? layer->attention_norm : layer->ffn_norm, r, error);
}

static bool replace_norm(slicer *s, const char *name, pare_error *error) {
    float *norm = pare_cut_replace(s->cut, name, error);
    for (uint32_t i = 0; norm && i < s->rotation.kept; i++)
        norm[i] = rotated_norm(&s->rotation);
    return norm != NULL;
}

static bool slice_layer(slicer *s, uint32_t layer, pare_error *error) {
    char name[96];
    slicing work = {.slicer = s, .layer = layer};
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        const char *path = pare_projection_path((pare_projection)p);
        snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, path);
        if (!(work.weight[p] = pare_cut_replace(s->cut, name, error)))
            return false;
        snprintf(name, sizeof name, "model.layers.%u.%s.bias", layer, path);
        if ((p == PARE_O || p == PARE_DOWN) && s->dense->layers[layer].linears[p].bias &&
            !(work.bias[p] = pare_cut_replace(s->cut, name, error)))
            return false;
    }
    snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", layer);
    if (!replace_norm(s, name, error))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.post_attention_layernorm.weight", layer);
    pare_context within = {.n_threads = pare_context_threads(s->context), .cancel = s->context ? s->context->cancel : NULL};
    bool done = replace_norm(s, name, error) && spectrum_each(fill_one, &work, PARE_PROJECTIONS, "", 0, PARE_PROJECTIONS, &within, error);
    snprintf(name, sizeof name, "model.layers.%u.", layer);
    pare_checkpoint_drop(s->checkpoint, name);
    pare_cut_let_go(s->cut);
    return done;
}

static bool slice_tables(slicer *s, pare_error *error) {
    pare_cut_untie(s->cut);
    pare_cut_set_rms_eps(s->cut, s->dense->config.rms_eps * (double)s->rotation.width / (double)s->rotation.kept);
    float *embedding = pare_cut_replace(s->cut, "model.embed_tokens.weight", error);
    float *head = embedding ? pare_cut_replace(s->cut, "lm_head.weight", error) : NULL;
    return head && replace_norm(s, "model.norm.weight", error) &&
           rotate_reader(embedding, &s->dense->embedding, NULL, &s->rotation, error) &&
           rotate_reader(head, &s->dense->head, s->dense->norm, &s->rotation, error);
}

static bool slice_all(slicer *s, pare_error *error) {
    uint32_t n = s->dense->config.n_layers, *kept = PARE_PUSH(s->arena, uint32_t, s->rotation.kept, error);
    for (uint32_t i = 0; kept && i < s->rotation.kept; i++)
        kept[i] = i; /* the directions are not the channels' own, but as many */
    bool done = kept && pare_cut_keep_channels(s->cut, kept, s->rotation.kept, error) && slice_tables(s, error);
    for (uint32_t i = 0; done && i < n; i++) {
        pare_context_progress(s->context, "slice", n + i, 2.0 * n);
        done = slice_layer(s, i, error);
    }
    return done;
}

static pare_cut *build(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                       const pare_context *context, pare_error *error) {
    slicer s = {.checkpoint = checkpoint, .context = context};
    bool done = (s.cut = pare_cut_open(&checkpoint->config, error)) && (s.arena = pare_arena_open(error)) &&
                (s.dense = pare_model_open(checkpoint, NULL, error)) &&
                (pare_plan_keeps_all(plan) || (find(&s, &calibration->windows, pare_plan_kept(plan, 0), error) && slice_all(&s, error)));
    pare_model_close(s.dense);
    pare_arena_close(s.arena);
    if (done)
        return s.cut;
    pare_cut_close(s.cut);
    return NULL;
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    const pare_config *c = &model->config;
    size_t width = c->width, tokens = windows->n * windows->length, rows = tokens < 2048 ? tokens : 2048;
    (void)method;
    size_t floats = width * width + rows * width + gram_scratch(pare_context_threads(context)) + c->vocabulary * width * 2;
    return pare_stream_bytes(model, windows, context) + 3 * width * width * sizeof(double) + floats * sizeof(float);
}

const pare_method pare_method_slice_global = {
    .name = "slice-global",
    .summary = "principal components of the residual stream, one rotation for all of it; a tied head becomes one of its own",
    .source = "Ashkboos et al. 2024 (SliceGPT), in a form of our own that stock programs load",
    .unit = PARE_UNIT_COORDINATES,
    .calibrated = true,
    .text_only = true,
    .build = build,
    .memory = memory,
};
