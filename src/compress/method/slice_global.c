/* slice-global: SliceGPT (Ashkboos et al. 2024) with one rotation for the whole residual stream, so that what is left is a plain Llama,
 * which stock programs load; slice.c has the published form.
 *
 * The rotation is the principal components of what all norms give, before their weights, by the dense model. */
#include <stdio.h>

#include "../rotate.h"
#include "method.h"
#include "pare/stream.h"

static void observe(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    (void)layer, (void)place, (void)columns;
    reading_sum_add(user, activations, rows);
}

/* One pass: what attention and FFN read in every layer, and what the head reads behind the last. */
static bool look(reading_sum *sum, pare_stream *stream, const pare_model *dense, const pare_context *context, pare_error *error) {
    uint32_t n = dense->config.n_layers;
    for (uint32_t i = 0; i < n; i++) {
        char name[64];
        unsigned places = 1u << PARE_TAP_IN | 1u << PARE_TAP_MIDDLE | (i + 1 == n ? 1u << PARE_TAP_OUT : 0);
        pare_tap tap = {places, observe, sum};
        pare_context_progress(context, "rotate the residual stream", i, 2.0 * n);
        if (!pare_stream_layer(stream, dense, i, &tap, true, error))
            return false;
        snprintf(name, sizeof name, "model.layers.%u.", i);
        pare_checkpoint_drop(dense->checkpoint, name);
    }
    return true;
}

static bool find(rotation *r, const pare_model *dense, const pare_windows *windows, const pare_context *context, pare_arena *arena,
                 pare_error *error) {
    reading_sum sum;
    pare_stream *stream = pare_stream_open(dense, windows, context, error);
    bool done = stream && reading_sum_open(&sum, r->width, pare_stream_batch(stream), pare_context_threads(context), arena, error) &&
                look(&sum, stream, dense, context, error);
    pare_stream_close(stream);
    return done && reading_sum_find(r, &sum, "slice-global", error);
}

static bool slice(pare_cut *cut, const pare_model *dense, const rotation *r, const pare_context *context, pare_error *error) {
    uint32_t n = dense->config.n_layers;
    bool done = rotate_embedding(cut, dense, r, error);
    for (uint32_t i = 0; done && i < n; i++) {
        pare_context_progress(context, "rotate the residual stream", n + i, 2.0 * n);
        done = rotate_layer(cut, dense, i, r, r, r, context, error);
    }
    return done && rotate_head(cut, dense, r, error);
}

static pare_cut *build(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                       const pare_context *context, pare_error *error) {
    rotation r = {.width = checkpoint->config.width, .kept = pare_plan_kept(plan, 0)};
    pare_arena *arena = pare_arena_open(error);
    pare_cut *cut = pare_cut_open(&checkpoint->config, error);
    pare_model *dense = pare_model_open(checkpoint, NULL, error);
    bool done = arena && cut && dense && (r.rows = PARE_PUSH(arena, float, (size_t)r.kept *r.width, error)) &&
                find(&r, dense, &calibration->windows, context, arena, error) && slice(cut, dense, &r, context, error);
    pare_model_close(dense);
    pare_arena_close(arena);
    if (done)
        return cut;
    pare_cut_close(cut);
    return NULL;
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    (void)method;
    return rotate_bytes(model, windows, 1, context);
}

const pare_method pare_method_slice_global = {
    .name = "slice-global",
    .summary = "keeps the principal components of the residual stream after one rotation for the whole model; a tied head becomes a "
               "separate matrix",
    .source = "Ashkboos et al. 2024 (SliceGPT), in a form of our own that stock programs load",
    .unit = PARE_UNIT_COORDINATES,
    .calibrated = true,
    .text_only = true,
    .build = build,
    .memory = memory,
};
