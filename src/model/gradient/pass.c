/* pass: a batch forward, keeping what the way back needs; the loss; and back. What is kept of a layer and token: its input, the
 * residual after attention, rotated q, k, v, attention's output and log-sum-exp, gate and up: norms and activations are computed
 * again. With `recompute` (activation checkpointing, Chen et al. 2016) only the input is kept.
 * A batch may be walked in parts of some windows, every layer seeing all parts before the next: only inputs of layers are kept then. */
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

static bool pass_plan(pare_pass *pass, const pare_model *model, const pare_distillation *distillation, size_t parts, size_t windows,
                      size_t length, bool recompute, const pare_context *context, pare_error *error) {
    *pass = (pare_pass){.recompute = recompute, .n_parts = parts, .part_windows = windows};
    if (distillation)
        pass->distillation = *distillation;
    size_t floats = pare_kernels_best()->attention_backward_scratch(1, model->config.head_dim, length);
    pass->attention_floats = (floats + 15) / 16 * 16;
    return workspace_plan(&pass->work, model, windows * length, length, context, error);
}

static size_t pass_bytes(const pare_pass *pass) {
    sizes s = plan(pass);
    size_t layers = pass->work.model->config.n_layers, kept = kept_layers(pass);
    size_t floats = (pass->n_parts * (layers + 2) + 1) * s.x + kept * (s.x + 2 * s.q + 2 * s.kv + s.lse + 2 * s.ffn) + 2 * s.ffn + 2 * s.q +
                    2 * s.heads + 2 * s.kv + s.table + s.norm_parts + s.low + s.attention;
    return sizeof(float) * floats + workspace_bytes(&pass->work) + loss_bytes(pass);
}

size_t pare_pass_bytes(const pare_model *model, const pare_distillation *distillation, size_t windows, size_t length, bool recompute,
                       const pare_context *context) {
    pare_pass pass;
    return pass_plan(&pass, model, distillation, 1, windows, length, recompute, context, NULL) ? pass_bytes(&pass) : 0;
}

static bool allocate_layer(layer_state *s, const pare_pass *pass, const sizes *n, pare_error *error) {
    pare_arena *a = pass->arena;
    return (s->middle = PARE_PUSH(a, float, n->x, error)) && (s->q = PARE_PUSH(a, float, n->q, error)) &&
           (s->keys = PARE_PUSH(a, float, n->kv, error)) && (s->values = PARE_PUSH(a, float, n->kv, error)) &&
           (s->attended = PARE_PUSH(a, float, n->q, error)) && (s->lse = PARE_PUSH(a, float, n->lse, error)) &&
           (s->gate = PARE_PUSH(a, float, n->ffn, error)) && (s->up = PARE_PUSH(a, float, n->ffn, error));
}

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
    }
    return (pass->inputs = PARE_PUSH(pass->arena, float, pass->n_parts *(n_layers + 1) * n->x, error)) != NULL;
}

static bool allocate(pare_pass *pass, pare_error *error) {
    sizes n = plan(pass);
    pare_arena *a = pass->arena;
    for (size_t i = 0; i < 2; i++)
        if (!(pass->d_heads[i] = PARE_PUSH(a, float, n.heads, error)) || !(pass->d_kv[i] = PARE_PUSH(a, float, n.kv, error)))
            return false;
    bool done = (pass->d_parts = PARE_PUSH(a, float, pass->n_parts *n.x, error)) && (pass->d_hidden = PARE_PUSH(a, float, n.x, error)) &&
                (pass->d_ffn = PARE_PUSH(a, float, n.ffn, error)) && (pass->d_q = PARE_PUSH(a, float, n.q, error)) &&
                (pass->d_attended = PARE_PUSH(a, float, n.q, error)) && (pass->minus_sine = PARE_PUSH(a, float, n.table, error)) &&
                (pass->norm_parts = PARE_PUSH(a, float, n.norm_parts, error)) && (pass->low = PARE_PUSH(a, float, n.low, error)) &&
                (pass->attention = PARE_PUSH(a, float, n.attention, error)) && workspace_allocate(&pass->work, a, error) &&
                allocate_layers(pass, &n, error) && loss_open(pass, error);
    for (size_t i = 0; done && i < n.table; i++)
        pass->minus_sine[i] = -pass->work.sine[i];
    return done;
}

static pare_pass *open_planned(const pare_pass *planned, const pare_gradients *gradients, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_pass *pass = PARE_PUSH(arena, pare_pass, 1, error);
    if (pass) {
        *pass = *planned;
        pass->arena = arena;
        pass->gradients = gradients;
        if (allocate(pass, error))
            return pass;
        loss_close(pass);
    }
    pare_arena_close(arena);
    return NULL;
}

pare_pass *pare_pass_open(const pare_model *model, const pare_gradients *gradients, const pare_distillation *distillation, size_t windows,
                          size_t length, bool recompute, const pare_context *context, pare_error *error) {
    pare_pass planned;
    return pass_plan(&planned, model, distillation, 1, windows, length, recompute, context, error)
               ? open_planned(&planned, gradients, error)
               : NULL;
}

void pare_pass_close(pare_pass *pass) {
    if (!pass)
        return;
    loss_close(pass);
    pare_arena_close(pass->arena);
}

/* ---- a run ---- */

/* One part is whatever fits, of any number of windows. */
static size_t part_windows(const pare_pass *pass, const pare_batch *batch) {
    return pass->n_parts == 1 ? batch->windows : pass->part_windows;
}

static size_t parts_of(const pare_pass *pass, const pare_batch *batch) {
    size_t windows = part_windows(pass, batch);
    return (batch->windows + windows - 1) / windows;
}

/* Part p of a batch becomes the one at hand. Every layer's x is its own; a layer's out is the next one's x. */
static pare_batch turn_to(pare_pass *pass, const pare_batch *batch, size_t p) {
    workspace *w = &pass->work;
    uint32_t n_layers = w->model->config.n_layers;
    size_t windows = part_windows(pass, batch), first = p * windows, left = batch->windows - first,
           x = w->tokens_max * w->model->config.width;
    float *inputs = pass->inputs + p * (n_layers + 1) * x;
    workspace_windows(w, left < windows ? left : windows, batch->length);
    for (uint32_t i = 0; i < n_layers; i++) {
        pass->layers[i].x = inputs + i * x;
        pass->layers[i].out = inputs + (i + 1) * x;
    }
    pass->x = inputs + n_layers * x;
    pass->d = pass->d_parts + p * x;
    return (pare_batch){.ids = batch->ids + first * batch->length,
                        .learn = batch->learn ? batch->learn + first * batch->length : NULL,
                        .windows = w->windows,
                        .length = batch->length};
}

/* In a run by layers a layer's mapped pages are let go behind it. Progress counts one step a layer on the way there, two on the way back.
 */
static void leave_layer(const pare_pass *pass, uint32_t index, uint32_t steps) {
    const workspace *w = &pass->work;
    if (pass->ready)
        pare_model_leave_layer(w->model, index);
    pare_context_progress(w->context, "compute gradients", steps, 3.0 * w->model->config.n_layers);
}

/* The embedding's rows gather what reached them, token by token in order. */
static void embedding_backward(const pare_pass *pass, const pare_batch *part) {
    size_t width = pass->work.model->config.width, n = part->windows * part->length;
    float *gradient = pass->gradients->embedding;
    for (size_t i = 0; gradient && i < n; i++)
        pare_kernels_best()->add(gradient + part->ids[i] * width, pass->d + i * width, width);
}

static bool forward(pare_pass *pass, const pare_batch *batch, pare_error *error) {
    workspace *w = &pass->work;
    size_t n_parts = parts_of(pass, batch);
    for (size_t p = 0; p < n_parts; p++) {
        pare_batch part = turn_to(pass, batch, p);
        if (!embed(pass->layers[0].x, w, part.ids, part.windows * part.length, error))
            return false;
    }
    for (uint32_t i = 0; i < w->model->config.n_layers; i++) {
        for (size_t p = 0; p < n_parts; p++) {
            if (!pare_context_check(w->context, error))
                return false;
            turn_to(pass, batch, p);
            layer_run(&pass->layers[i], w, i, NULL);
        }
        leave_layer(pass, i, i + 1);
    }
    return true;
}

/* The loss, and the gradient of what leaves the last layer. */
static bool learn(pare_pass_loss *loss, pare_pass *pass, const pare_batch *batch, double scale, pare_error *error) {
    workspace *w = &pass->work;
    *loss = (pare_pass_loss){0};
    for (size_t p = 0; p < parts_of(pass, batch); p++) {
        pare_batch part = turn_to(pass, batch, p);
        size_t n = part.windows * part.length;
        pare_pass_loss of_part;
        normalise(w->h, pass->x, w->model->norm, w, n);
        if (!loss_run(&of_part, pass, &part, w->h, scale, error))
            return false;
        loss->cross_entropy += of_part.cross_entropy;
        loss->divergence += of_part.divergence;
        loss->targets += of_part.targets;
        memset(pass->d, 0, n * w->model->config.width * sizeof *pass->d);
        norm_backward(pass, pass->gradients->norm, pass->d_hidden, pass->x, w->model->norm, n);
    }
    if (pass->ready)
        pare_checkpoint_drop(w->model->checkpoint, "lm_head.");
    return true;
}

static bool backward(pare_pass *pass, const pare_batch *batch, pare_error *error) {
    workspace *w = &pass->work;
    size_t n_parts = parts_of(pass, batch);
    uint32_t n_layers = w->model->config.n_layers;
    for (uint32_t i = n_layers; i-- > 0;) {
        for (size_t p = 0; p < n_parts; p++) {
            if (!pare_context_check(w->context, error))
                return false;
            turn_to(pass, batch, p);
            if (pass->recompute && (n_parts > 1 || i + 1 < n_layers)) { /* else what is kept is the last layer's still */
                layer_state again = pass->layers[i];
                again.out = NULL;
                layer_run(&again, w, i, NULL);
            }
            layer_backward(pass, i);
        }
        leave_layer(pass, i, n_layers + 2 * (n_layers - i));
        if (pass->ready && !pass->ready(pass->user, i, error))
            return false;
    }
    for (size_t p = 0; p < n_parts; p++) {
        pare_batch part = turn_to(pass, batch, p);
        embedding_backward(pass, &part);
    }
    return true;
}

bool pare_pass_run(pare_pass_loss *loss, pare_pass *pass, const pare_batch *batch, double scale, pare_error *error) {
    size_t n = batch->windows * batch->length;
    if (n == 0 || n > pass->n_parts * pass->work.tokens_max || batch->length > pass->work.length_max)
        return pare_fail(error, PARE_ERROR_RANGE, "%zu windows of %zu tokens do not fit the buffers of this pass", batch->windows,
                         batch->length);
    return forward(pass, batch, error) && learn(loss, pass, batch, scale, error) && backward(pass, batch, error);
}

/* ---- by layers ---- */

static bool plan_by_layer(pare_pass *pass, const pare_model *model, size_t windows, size_t length, size_t at_once,
                          const pare_context *context, pare_error *error) {
    return pass_plan(pass, model, NULL, (windows + at_once - 1) / at_once, at_once, length, true, context, error);
}

size_t pare_pass_by_layer_bytes(const pare_model *model, size_t windows, size_t length, size_t at_once, const pare_context *context) {
    pare_pass pass;
    return plan_by_layer(&pass, model, windows, length, at_once, context, NULL) ? pass_bytes(&pass) : 0;
}

bool pare_pass_by_layer(pare_pass_loss *loss, const pare_model *model, const pare_gradients *gradients, const pare_batch *batch,
                        size_t at_once, double scale, pare_layer_ready *ready, void *user, const pare_context *context, pare_error *error) {
    pare_pass planned, *pass;
    if (!plan_by_layer(&planned, model, batch->windows, batch->length, at_once, context, error))
        return false;
    planned.ready = ready;
    planned.user = user;
    if (!(pass = open_planned(&planned, gradients, error)))
        return false;
    bool done = pare_pass_run(loss, pass, batch, scale, error);
    pare_pass_close(pass);
    return done;
}
