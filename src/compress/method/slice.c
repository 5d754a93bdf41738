/* slice: SliceGPT as published (Ashkboos et al. 2024): every norm reads the residual stream in coordinates of its own, and a shortcut
 * beside attention and one beside the FFN takes the stream from one norm's into the next one's.
 *
 * Norm by norm, on what the layers before have become: the principal components of what the norm gives, before its weight, as the paper has
 * it. The authors' code takes those of what the norm reads, where tokens of great length count for more, and adds a hundredth of the mean
 * of the diagonal to it, which turns nothing. Like the paper's models, all places keep equally many coordinates.
 *
 * Until a layer is through, the stream stays in the dense model's coordinates: keeping the first columns of Q is there projecting with
 * P = Q Q^T, and the norms go on dividing by the whole width. */
#include <stdio.h>

#include "../rotate.h"
#include "method.h"
#include "pare/stream.h"
#include "pare/tensor.h"

typedef struct {
    const pare_context *context;
    pare_model *dense;
    pare_cut *cut;
    reading_sum sum;
    rotation in, middle, out; /* of the layer at hand */
    float *low;               /* (most rows at a time, kept) */
    bool found;               /* middle: else it is looked for */
} slicer;

/* x (n, width) = P x */
static void project(float *x, size_t n, const rotation *r, float *low, int n_threads) {
    enum { BLOCK = 64 };
    size_t width = r->width, kept = r->kept;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t t = 0; t < n; t += BLOCK) {
        size_t m = n - t < BLOCK ? n - t : BLOCK;
        pare_gemm_nt(low + t * kept, x + t * width, r->rows, m, kept, width, width, width, kept, false);
        pare_gemm_nn(x + t * width, low + t * kept, r->rows, m, width, kept, kept, width, width, false);
    }
}

static void at(void *user, pare_tap_place place, uint32_t layer, float *x, size_t rows, size_t columns) {
    slicer *s = user;
    (void)layer, (void)columns;
    if (place == PARE_TAP_IN)
        project(x, rows, &s->in, s->low, s->sum.n_threads);
    else if (place == PARE_TAP_MIDDLE && s->found)
        project(x, rows, &s->middle, s->low, s->sum.n_threads);
    else
        reading_sum_add(&s->sum, x, rows);
}

/* Two passes: one up to what the FFN's norm reads, one through. */
static bool slice_layer(slicer *s, pare_stream *stream, uint32_t i, pare_error *error) {
    const pare_tap to_middle = {1u << PARE_TAP_IN | 1u << PARE_TAP_MIDDLE, at, s};
    const pare_tap through = {1u << PARE_TAP_IN | 1u << PARE_TAP_MIDDLE | 1u << PARE_TAP_OUT, at, s};
    pare_context_progress(s->context, "rotate the residual stream", i, s->dense->config.n_layers);
    s->found = false;
    if (!pare_stream_layer(stream, s->dense, i, &to_middle, false, error) || !reading_sum_find(&s->middle, &s->sum, "slice", error))
        return false;
    s->found = true;
    return pare_stream_layer(stream, s->dense, i, &through, true, error) && reading_sum_find(&s->out, &s->sum, "slice", error) &&
           rotate_layer(s->cut, s->dense, i, &s->in, &s->middle, &s->out, s->context, error);
}

/* What the first norm reads are the embeddings of the text. */
static bool begin(slicer *s, const pare_stream *stream, pare_error *error) {
    size_t n = pare_stream_tokens(stream), step = pare_stream_batch(stream), width = s->dense->config.width;
    for (size_t first = 0; first < n; first += step)
        reading_sum_add(&s->sum, pare_stream_rows(stream) + first * width, n - first < step ? n - first : step);
    pare_cut_add_shortcuts(s->cut);
    return reading_sum_find(&s->in, &s->sum, "slice", error) && rotate_embedding(s->cut, s->dense, &s->in, error);
}

static bool slice_all(slicer *s, pare_stream *stream, pare_error *error) {
    bool done = begin(s, stream, error);
    for (uint32_t i = 0; done && i < s->dense->config.n_layers; i++) {
        done = slice_layer(s, stream, i, error);
        rotation next = s->out;
        s->out = s->in;
        s->in = next;
    }
    return done && rotate_head(s->cut, s->dense, &s->in, error);
}

static bool open_rotation(rotation *r, uint32_t width, uint32_t kept, pare_arena *arena, pare_error *error) {
    *r = (rotation){width, kept, PARE_PUSH(arena, float, (size_t)kept *width, error)};
    return r->rows != NULL;
}

static bool allocate(slicer *s, const pare_stream *stream, uint32_t kept, pare_arena *arena, pare_error *error) {
    uint32_t width = s->dense->config.width;
    size_t rows = pare_stream_batch(stream);
    return open_rotation(&s->in, width, kept, arena, error) && open_rotation(&s->middle, width, kept, arena, error) &&
           open_rotation(&s->out, width, kept, arena, error) && (s->low = PARE_PUSH(arena, float, rows *kept, error)) &&
           reading_sum_open(&s->sum, width, rows, pare_context_threads(s->context), arena, error);
}

static pare_cut *build(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                       const pare_context *context, pare_error *error) {
    slicer s = {.context = context};
    pare_arena *arena = pare_arena_open(error);
    pare_stream *stream = NULL;
    bool done = arena && (s.cut = pare_cut_open(&checkpoint->config, error)) && (s.dense = pare_model_open(checkpoint, NULL, error)) &&
                (stream = pare_stream_open(s.dense, &calibration->windows, context, error)) &&
                allocate(&s, stream, pare_plan_kept(plan, 0), arena, error) && slice_all(&s, stream, error);
    pare_stream_close(stream);
    pare_model_close(s.dense);
    pare_arena_close(arena);
    if (done)
        return s.cut;
    pare_cut_close(s.cut);
    return NULL;
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    (void)method;
    size_t low = pare_stream_batch_of(model, windows) * model->config.width * sizeof(float);
    return rotate_bytes(model, windows, 3, context) + low;
}

const pare_method pare_method_slice = {
    .name = "slice",
    .summary = "keeps the principal components of the residual stream at each norm, with one rotation for each norm and matrices between "
               "two of them",
    .source = "Ashkboos et al. 2024 (SliceGPT)",
    .unit = PARE_UNIT_BLOCK_COORDINATES,
    .calibrated = true,
    .text_only = true,
    .build = build,
    .memory = memory,
};
