/* forward: ids -> hidden states after the final norm, for several windows or sequences at once, keeping nothing on the way but, where a
 * cache is given, keys and values. All buffers are allocated once, when it is opened. */
#include "compute.h"
#include "pare/sequence.h"

/* Sizes in floats of what the forward pass owns beside its workspace; the one list that open and bytes share. */
typedef struct {
    size_t x, q, kv, ffn, logits, tokens;
} sizes;

static sizes plan(const workspace *w, size_t keys) {
    const pare_config *c = &w->model->config;
    size_t n = w->tokens_max;
    return (sizes){.x = n * c->width,
                   .q = n * c->n_heads * c->head_dim,
                   .kv = keys * c->n_kv_heads * c->head_dim,
                   .ffn = n * c->ffn_width,
                   .logits = (size_t)w->scratch.n_threads * TOKEN_BLOCK * ROW_BLOCK,
                   .tokens = n};
}

static size_t bytes(const workspace *w, size_t keys) {
    sizes s = plan(w, keys);
    return workspace_bytes(w) + sizeof(float) * (s.x + s.q + 2 * s.kv + 2 * s.ffn + s.logits + 4 * s.tokens);
}

size_t pare_forward_bytes(const pare_model *model, size_t windows, size_t length, const pare_context *context) {
    workspace w;
    return workspace_plan(&w, model, windows * length, length, context, NULL) ? bytes(&w, windows * length) : 0;
}

size_t pare_forward_bytes_spans(const pare_model *model, const pare_span_limits *limits, const pare_context *context) {
    workspace w;
    return workspace_plan(&w, model, limits->tokens, limits->length, context, NULL) ? bytes(&w, limits->keys) : 0;
}

static bool allocate(pare_forward *f, pare_error *error) {
    sizes n = plan(&f->work, f->keys_max);
    layer_state *s = &f->state;
    pare_arena *a = f->arena;
    bool done = (s->x = PARE_PUSH(a, float, n.x, error)) && (s->q = PARE_PUSH(a, float, n.q, error)) &&
                (s->keys = PARE_PUSH(a, float, n.kv, error)) && (s->values = PARE_PUSH(a, float, n.kv, error)) &&
                (s->gate = PARE_PUSH(a, float, n.ffn, error)) && (s->up = PARE_PUSH(a, float, n.ffn, error)) &&
                (f->logits = PARE_PUSH(a, float, n.logits, error)) && (f->maximum = PARE_PUSH(a, float, n.tokens, error)) &&
                (f->target = PARE_PUSH(a, float, n.tokens, error)) && (f->sum = PARE_PUSH(a, double, n.tokens, error)) &&
                workspace_allocate(&f->work, a, error);
    s->middle = s->out = s->x;
    s->attended = s->q;
    s->act = s->gate;
    return done;
}

static pare_forward *open_planned(const workspace *planned, size_t keys, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_forward *f = PARE_PUSH(arena, pare_forward, 1, error);
    if (f) {
        *f = (pare_forward){.work = *planned, .keys_max = keys, .arena = arena};
        if (allocate(f, error))
            return f;
    }
    pare_arena_close(arena);
    return NULL;
}

pare_forward *pare_forward_open(const pare_model *model, size_t windows, size_t length, const pare_context *context, pare_error *error) {
    workspace w;
    return workspace_plan(&w, model, windows * length, length, context, error) ? open_planned(&w, windows * length, error) : NULL;
}

pare_forward *pare_forward_open_spans(const pare_model *model, const pare_span_limits *limits, const pare_context *context,
                                      pare_error *error) {
    workspace w;
    return workspace_plan(&w, model, limits->tokens, limits->length, context, error) ? open_planned(&w, limits->keys, error) : NULL;
}

void pare_forward_close(pare_forward *forward) {
    if (forward)
        pare_arena_close(forward->arena);
}

/* The layers, from x on; keys and values go where the segments say, of a cache each layer's own. */
static const float *run(pare_forward *f, pare_cache *cache, const pare_tap *tap, pare_error *error) {
    workspace *w = &f->work;
    layer_state state = f->state;
    for (uint32_t i = 0; i < w->model->config.n_layers; i++) {
        if (!pare_context_check(w->context, error))
            return NULL;
        if (cache)
            state.keys = cache->keys[i], state.values = cache->values[i];
        layer_run(&state, w, i, tap);
    }
    normalise(w->h, f->state.x, w->model->norm, w, w->tokens);
    f->tokens = w->tokens;
    return w->h;
}

const float *pare_forward_run(pare_forward *f, const uint32_t *ids, size_t windows, size_t length, const pare_tap *tap, pare_error *error) {
    workspace *w = &f->work;
    size_t n = windows * length;
    if (n > w->tokens_max || n > f->keys_max || length > w->length_max) {
        pare_fail(error, PARE_ERROR_RANGE, "%zu windows of %zu tokens do not fit the buffers of this forward pass", windows, length);
        return NULL;
    }
    workspace_windows(w, windows, length);
    w->scratch.decode = false;
    return embed(f->state.x, w, ids, n, error) ? run(f, NULL, tap, error) : NULL;
}

/* ---- spans ---- */

static bool too_much(const char *what, size_t n, size_t most, pare_error *error) {
    return pare_fail(error, PARE_ERROR_RANGE, "%zu %s do not fit the %zu that this forward pass was opened for", n, what, most);
}

/* A span's place among keys and values: behind its parent in room of its own, or in its slot of the cache. */
static bool settle(segment *of, const workspace *w, size_t *keys, const pare_span *span, const pare_cache *cache, pare_error *error) {
    if (cache && (span->slot >= cache->slots || span->parent != PARE_SPAN_ALONE))
        return pare_fail(error, PARE_ERROR_RANGE, "a span in slot %u, but the cache has %u, and its spans have no parents", span->slot,
                         cache->slots);
    const segment *parent = span->parent == PARE_SPAN_ALONE ? NULL : &w->segments[span->parent];
    of->n = span->n;
    of->past = cache ? cache->lengths[span->slot] : parent ? parent->past + parent->n : 0;
    of->parent = parent ? span->parent : NO_PARENT;
    of->capacity = cache ? cache->capacity : of->past + of->n;
    of->room = cache ? (size_t)span->slot * cache->capacity : *keys;
    if (of->past + of->n > of->capacity || of->past + of->n > w->length_max)
        return too_much("tokens of one sequence", of->past + of->n, of->capacity < w->length_max ? of->capacity : w->length_max, error);
    *keys += cache ? 0 : of->capacity;
    return true;
}

static bool plan_spans(pare_forward *f, const pare_cache *cache, const pare_span *spans, size_t n_spans, pare_error *error) {
    workspace *w = &f->work;
    size_t tokens = 0, keys = 0, longest = 0;
    for (size_t i = 0; i < n_spans; i++) {
        if (spans[i].n == 0 || (spans[i].parent != PARE_SPAN_ALONE && spans[i].parent >= i))
            return pare_fail(error, PARE_ERROR_RANGE, "span %zu has %u tokens and follows span %u", i, spans[i].n, spans[i].parent);
        if (tokens + spans[i].n > w->tokens_max)
            return too_much("tokens", tokens + spans[i].n, w->tokens_max, error);
        w->segments[i].first = tokens;
        if (!settle(&w->segments[i], w, &keys, &spans[i], cache, error))
            return false;
        tokens += spans[i].n;
        longest = spans[i].n > longest ? spans[i].n : longest;
    }
    if (keys > f->keys_max)
        return too_much("keys", keys, f->keys_max, error);
    workspace_segments(w, n_spans);
    w->scratch.decode = cache && longest == 1;
    return true;
}

const float *pare_forward_run_spans(pare_forward *f, pare_cache *cache, const pare_span *spans, size_t n_spans, pare_error *error) {
    if (!plan_spans(f, cache, spans, n_spans, error))
        return NULL;
    size_t width = f->work.model->config.width;
    for (size_t i = 0; i < n_spans; i++)
        if (!embed(f->state.x + f->work.segments[i].first * width, &f->work, spans[i].ids, spans[i].n, error))
            return NULL;
    const float *hidden = run(f, cache, NULL, error);
    for (size_t i = 0; hidden && cache && i < n_spans; i++)
        cache->lengths[spans[i].slot] += spans[i].n;
    return hidden;
}
