/* pass: a batch forward, keeping what the way back needs; the loss; and back. What is kept of a layer and token: its input, the
 * residual after attention, rotated q, k, v, attention's output and log-sum-exp, gate and up: norms and activations are computed
 * again. With `recompute` (activation checkpointing, Chen et al. 2016) only the input is kept. */
#include <string.h>

#include "gradient_impl.h"

/* Sizes in floats. */
typedef struct {
    size_t x, q, kv, heads, lse, ffn, table, norm_parts, low, attention;
} sizes;

static sizes plan(const pare_pass *pass) {
    const workspace *w = &pass->work;
    const pare_config *c = &w->model->config;
    size_t n = w->tokens_max, chunk = 64;
    return (sizes){.x = n * c->width,
                   .q = n * c->n_heads * c->head_dim,
                   .kv = n * c->n_kv_heads * c->head_dim,
                   .heads = n * c->n_heads * c->head_dim,
                   .lse = n * c->n_heads,
                   .ffn = n * c->ffn_width,
                   .table = w->length_max * c->head_dim / 2,
                   .norm_parts = (n + chunk - 1) / chunk * c->width,
                   .low = w->scratch.low_floats,
                   .attention = (size_t)w->scratch.n_threads * pass->attention_floats};
}

static size_t kept_layers(const pare_pass *pass) {
    return pass->recompute ? 1 : pass->work.model->config.n_layers;
}

static bool pass_plan(pare_pass *pass, const pare_model *model, const pare_distillation *distillation, size_t windows, size_t length,
                      bool recompute, const pare_context *context, pare_error *error) {
    *pass = (pare_pass){.recompute = recompute};
    if (distillation)
        pass->distillation = *distillation;
    size_t floats = pare_kernels_best()->attention_backward_scratch(1, model->config.head_dim, length);
    pass->attention_floats = (floats + 15) / 16 * 16;
    return workspace_plan(&pass->work, model, windows, length, context, error);
}

size_t pare_pass_bytes(const pare_model *model, const pare_distillation *distillation, size_t windows, size_t length, bool recompute,
                       const pare_context *context) {
    pare_pass pass;
    if (!pass_plan(&pass, model, distillation, windows, length, recompute, context, NULL))
        return 0;
    sizes s = plan(&pass);
    size_t layers = model->config.n_layers, kept = kept_layers(&pass);
    size_t floats = (layers + 3) * s.x + kept * (s.x + 2 * s.q + 2 * s.kv + s.lse + 2 * s.ffn) + 2 * s.ffn + 2 * s.q + 2 * s.heads +
                    2 * s.kv + s.table + s.norm_parts + s.low + s.attention;
    return sizeof(float) * floats + workspace_bytes(&pass.work) + loss_bytes(&pass);
}

static bool allocate_layer(layer_state *s, const pare_pass *pass, const sizes *n, pare_error *error) {
    pare_arena *a = pass->arena;
    return (s->middle = PARE_PUSH(a, float, n->x, error)) && (s->q = PARE_PUSH(a, float, n->q, error)) &&
           (s->keys = PARE_PUSH(a, float, n->kv, error)) && (s->values = PARE_PUSH(a, float, n->kv, error)) &&
           (s->attended = PARE_PUSH(a, float, n->q, error)) && (s->lse = PARE_PUSH(a, float, n->lse, error)) &&
           (s->gate = PARE_PUSH(a, float, n->ffn, error)) && (s->up = PARE_PUSH(a, float, n->ffn, error));
}

/* Every layer's x is its own; a layer's out is the next one's x. */
static bool allocate_layers(pare_pass *pass, const sizes *n, pare_error *error) {
    uint32_t n_layers = pass->work.model->config.n_layers;
    float *act = PARE_PUSH(pass->arena, float, n->ffn, error);
    if (!act || !(pass->layers = PARE_PUSH(pass->arena, layer_state, n_layers, error)))
        return false;
    for (uint32_t i = 0; i < n_layers; i++) {
        layer_state *s = &pass->layers[i];
        if (i > 0 && pass->recompute)
            *s = pass->layers[0];
        else if (!allocate_layer(s, pass, n, error))
            return false;
        s->act = act;
        if (!(s->x = PARE_PUSH(pass->arena, float, n->x, error)))
            return false;
        if (i > 0)
            pass->layers[i - 1].out = s->x;
    }
    return (pass->x = pass->layers[n_layers - 1].out = PARE_PUSH(pass->arena, float, n->x, error)) != NULL;
}

static bool allocate(pare_pass *pass, pare_error *error) {
    sizes n = plan(pass);
    pare_arena *a = pass->arena;
    for (size_t i = 0; i < 2; i++)
        if (!(pass->d_heads[i] = PARE_PUSH(a, float, n.heads, error)) || !(pass->d_kv[i] = PARE_PUSH(a, float, n.kv, error)))
            return false;
    bool done = (pass->d = PARE_PUSH(a, float, n.x, error)) && (pass->d_hidden = PARE_PUSH(a, float, n.x, error)) &&
                (pass->d_ffn = PARE_PUSH(a, float, n.ffn, error)) && (pass->d_q = PARE_PUSH(a, float, n.q, error)) &&
                (pass->d_attended = PARE_PUSH(a, float, n.q, error)) && (pass->minus_sine = PARE_PUSH(a, float, n.table, error)) &&
                (pass->norm_parts = PARE_PUSH(a, float, n.norm_parts, error)) && (pass->low = PARE_PUSH(a, float, n.low, error)) &&
                (pass->attention = PARE_PUSH(a, float, n.attention, error)) && workspace_allocate(&pass->work, a, error) &&
                allocate_layers(pass, &n, error) && loss_open(pass, error);
    for (size_t i = 0; done && i < n.table; i++)
        pass->minus_sine[i] = -pass->work.sine[i];
    return done;
}

pare_pass *pare_pass_open(const pare_model *model, const pare_gradients *gradients, const pare_distillation *distillation, size_t windows,
                          size_t length, bool recompute, const pare_context *context, pare_error *error) {
    pare_pass planned;
    if (!pass_plan(&planned, model, distillation, windows, length, recompute, context, error))
        return NULL;
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_pass *pass = PARE_PUSH(arena, pare_pass, 1, error);
    if (pass) {
        *pass = planned;
        pass->arena = arena;
        pass->gradients = gradients;
        if (allocate(pass, error))
            return pass;
        loss_close(pass);
    }
    pare_arena_close(arena);
    return NULL;
}

void pare_pass_close(pare_pass *pass) {
    if (!pass)
        return;
    loss_close(pass);
    pare_arena_close(pass->arena);
}

/* The embedding's rows gather what reached them, token by token in order. */
static void embedding_backward(const pare_pass *pass, const pare_batch *batch) {
    size_t width = pass->work.model->config.width, n = batch->windows * batch->length;
    float *gradient = pass->gradients->embedding;
    for (size_t i = 0; gradient && i < n; i++)
        pare_kernels_best()->add(gradient + batch->ids[i] * width, pass->d + i * width, width);
}

static bool forward(pare_pass *pass, const pare_batch *batch, pare_error *error) {
    workspace *w = &pass->work;
    if (!embed(pass->layers[0].x, w, batch->ids, batch->windows * batch->length, error))
        return false;
    for (uint32_t i = 0; i < w->model->config.n_layers; i++) {
        if (!pare_context_check(w->context, error))
            return false;
        layer_run(&pass->layers[i], w, i, NULL);
    }
    return true;
}

static bool backward(pare_pass *pass, const pare_batch *batch, pare_error *error) {
    workspace *w = &pass->work;
    size_t n = batch->windows * batch->length;
    memset(pass->d, 0, n * w->model->config.width * sizeof *pass->d);
    norm_backward(pass, pass->gradients->norm, pass->d_hidden, pass->x, w->model->norm, n);
    for (uint32_t i = w->model->config.n_layers; i-- > 0;) {
        if (!pare_context_check(w->context, error))
            return false;
        if (pass->recompute && i + 1 < w->model->config.n_layers) { /* what is kept is the last layer's still */
            layer_state again = pass->layers[i];
            again.out = NULL;
            layer_run(&again, w, i, NULL);
        }
        layer_backward(pass, i);
    }
    embedding_backward(pass, batch);
    return true;
}

bool pare_pass_run(pare_pass_loss *loss, pare_pass *pass, const pare_batch *batch, double scale, pare_error *error) {
    workspace *w = &pass->work;
    size_t n = batch->windows * batch->length;
    if (n == 0 || n > w->tokens_max || batch->length > w->length_max)
        return pare_fail(error, PARE_ERROR_RANGE, "%zu windows of %zu tokens do not fit the buffers of this pass", batch->windows,
                         batch->length);
    w->windows = batch->windows;
    w->length = batch->length;
    if (!forward(pass, batch, error))
        return false;
    normalise(w->h, pass->x, w->model->norm, w, n);
    return loss_run(loss, pass, batch, w->h, scale, error) && backward(pass, batch, error);
}
