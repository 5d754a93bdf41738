/* forward: ids -> hidden states after the final norm, for several independent windows at once, keeping nothing on the way.
 * All buffers are allocated once, by pare_forward_open. */
#include "compute.h"

/* Sizes in floats of what the forward pass owns beside its workspace; the one list that open and bytes share. */
typedef struct {
    size_t x, q, kv, ffn, logits, tokens;
} sizes;

static sizes plan(const workspace *w) {
    const pare_config *c = &w->model->config;
    size_t n = w->tokens_max;
    return (sizes){.x = n * c->width,
                   .q = n * c->n_heads * c->head_dim,
                   .kv = n * c->n_kv_heads * c->head_dim,
                   .ffn = n * c->ffn_width,
                   .logits = (size_t)w->scratch.n_threads * TOKEN_BLOCK * ROW_BLOCK,
                   .tokens = n};
}

size_t pare_forward_bytes(const pare_model *model, size_t windows, size_t length, const pare_context *context) {
    workspace w;
    if (!workspace_plan(&w, model, windows, length, context, NULL))
        return 0;
    sizes s = plan(&w);
    return workspace_bytes(&w) + sizeof(float) * (s.x + s.q + 2 * s.kv + 2 * s.ffn + s.logits + 4 * s.tokens);
}

static bool allocate(pare_forward *f, pare_error *error) {
    sizes n = plan(&f->work);
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

pare_forward *pare_forward_open(const pare_model *model, size_t windows, size_t length, const pare_context *context, pare_error *error) {
    workspace w;
    if (!workspace_plan(&w, model, windows, length, context, error))
        return NULL;
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_forward *f = PARE_PUSH(arena, pare_forward, 1, error);
    if (f) {
        *f = (pare_forward){.work = w, .arena = arena};
        if (allocate(f, error))
            return f;
    }
    pare_arena_close(arena);
    return NULL;
}

void pare_forward_close(pare_forward *forward) {
    if (forward)
        pare_arena_close(forward->arena);
}

const float *pare_forward_run(pare_forward *f, const uint32_t *ids, size_t windows, size_t length, const pare_tap *tap, pare_error *error) {
    workspace *w = &f->work;
    size_t n = windows * length;
    if (n > w->tokens_max || length > w->length_max) {
        pare_fail(error, PARE_ERROR_RANGE, "%zu windows of %zu tokens do not fit the buffers of this forward pass", windows, length);
        return NULL;
    }
    w->windows = windows;
    w->length = length;
    if (!embed(f->state.x, w, ids, n, error))
        return NULL;
    for (uint32_t i = 0; i < w->model->config.n_layers; i++) {
        if (!pare_context_check(w->context, error))
            return NULL;
        layer_run(&f->state, w, i, tap);
    }
    normalise(w->h, f->state.x, w->model->norm, w, n);
    f->tokens = n;
    return w->h;
}
