/* stream: layer at a time; see stream.h. */
#include "pare/stream.h"

#include <string.h>

#include "compute.h"

enum { BATCH_TOKENS = 2048, FFN_BYTES_MOST = 128 << 20 }; /* fewer tokens at a time where the FFN is very wide */

struct pare_stream {
    workspace work;
    layer_state state; /* of one batch; its x points into the rows, or is `aside` */
    const pare_windows *windows;
    size_t batch; /* windows at a time */
    float *x;     /* (all tokens, C) */
    float *aside; /* (batch tokens, C): what a pass that must not change anything works on */
    pare_arena *arena;
};

/* Sizes in floats; the one list that open and bytes share. */
typedef struct {
    size_t x, aside, q, kv, ffn;
} sizes;

static size_t batch_windows(const pare_model *model, const pare_windows *windows) {
    size_t tokens = BATCH_TOKENS;
    while (tokens > windows->length && tokens * model->config.ffn_width * sizeof(float) > FFN_BYTES_MOST)
        tokens /= 2;
    size_t n = tokens / windows->length > 0 ? tokens / windows->length : 1;
    return n < windows->n ? n : windows->n;
}

size_t pare_stream_batch_of(const pare_model *model, const pare_windows *windows) {
    return batch_windows(model, windows) * windows->length;
}

static sizes plan(const pare_model *model, const pare_windows *windows) {
    const pare_config *c = &model->config;
    size_t n = batch_windows(model, windows) * windows->length;
    return (sizes){.x = windows->n * windows->length * c->width,
                   .aside = n * c->width,
                   .q = n * c->n_heads * c->head_dim,
                   .kv = n * c->n_kv_heads * c->head_dim,
                   .ffn = n * c->ffn_width};
}

size_t pare_stream_bytes(const pare_model *model, const pare_windows *windows, const pare_context *context) {
    workspace w;
    if (!workspace_plan(&w, model, pare_stream_batch_of(model, windows), windows->length, context, NULL))
        return 0;
    sizes s = plan(model, windows);
    return workspace_bytes(&w) + sizeof(float) * (s.x + s.aside + s.q + 2 * s.kv + 2 * s.ffn);
}

static bool allocate(pare_stream *s, pare_error *error) {
    sizes n = plan(s->work.model, s->windows);
    layer_state *l = &s->state;
    pare_arena *a = s->arena;
    bool done = (s->x = PARE_PUSH(a, float, n.x, error)) && (s->aside = PARE_PUSH(a, float, n.aside, error)) &&
                (l->q = PARE_PUSH(a, float, n.q, error)) && (l->keys = PARE_PUSH(a, float, n.kv, error)) &&
                (l->values = PARE_PUSH(a, float, n.kv, error)) && (l->gate = PARE_PUSH(a, float, n.ffn, error)) &&
                (l->up = PARE_PUSH(a, float, n.ffn, error)) && workspace_allocate(&s->work, a, error);
    l->attended = l->q;
    l->act = l->gate;
    return done;
}

pare_stream *pare_stream_open(const pare_model *model, const pare_windows *windows, const pare_context *context, pare_error *error) {
    workspace w;
    if (!workspace_plan(&w, model, pare_stream_batch_of(model, windows), windows->length, context, error))
        return NULL;
    pare_arena *arena = pare_arena_open(error);
    pare_stream *s = arena ? PARE_PUSH(arena, pare_stream, 1, error) : NULL;
    if (s) {
        *s = (pare_stream){.work = w, .windows = windows, .batch = batch_windows(model, windows), .arena = arena};
        if (allocate(s, error) && embed(s->x, &s->work, windows->ids, windows->n * windows->length, error))
            return s;
    }
    pare_arena_close(arena);
    return NULL;
}

void pare_stream_close(pare_stream *stream) {
    if (stream)
        pare_arena_close(stream->arena);
}

bool pare_stream_layer(pare_stream *s, const pare_model *model, uint32_t index, const pare_tap *tap, bool advance, pare_error *error) {
    size_t length = s->windows->length, width = model->config.width;
    linear_scratch needed;
    linear_scratch_plan(&needed, model, s->batch * length, s->work.scratch.n_threads);
    if (needed.inner_floats > s->work.scratch.inner_floats || needed.low_floats > s->work.scratch.low_floats)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "layer %u: factors or adapters that the stream was not opened for", index);
    s->work.model = model;
    for (size_t first = 0; first < s->windows->n; first += s->batch) {
        if (!pare_context_check(s->work.context, error))
            return false;
        float *x = s->x + first * length * width;
        workspace_windows(&s->work, s->windows->n - first < s->batch ? s->windows->n - first : s->batch, length);
        if (!advance)
            memcpy(s->aside, x, s->work.tokens * width * sizeof *x);
        s->state.x = s->state.middle = s->state.out = advance ? x : s->aside;
        layer_run(&s->state, &s->work, index, tap);
    }
    return true;
}

const float *pare_stream_rows(const pare_stream *stream) {
    return stream->x;
}

size_t pare_stream_tokens(const pare_stream *stream) {
    return stream->windows->n * stream->windows->length;
}

size_t pare_stream_batch(const pare_stream *stream) {
    return stream->batch * stream->windows->length;
}
