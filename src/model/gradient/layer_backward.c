/* layer_backward: one decoder layer, from the gradient of what leaves it to that of what enters it; see layer.c for the forward. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "gradient_impl.h"

enum { NORM_CHUNK = 64 };

void norm_backward(pare_pass *pass, float *d_weight, const float *dy, const float *x, const float *weight, size_t n) {
    const workspace *w = &pass->work;
    size_t width = w->model->config.width, chunks = (n + NORM_CHUNK - 1) / NORM_CHUNK;
    float eps = (float)w->model->config.rms_eps;
    if (d_weight)
        memset(pass->norm_parts, 0, chunks * width * sizeof(float));
#pragma omp parallel for num_threads(w->scratch.n_threads) schedule(static)
    for (size_t i = 0; i < chunks; i++) {
        size_t t = i * NORM_CHUNK, at = t * width;
        pare_kernels_best()->rms_norm_backward(pass->d + at, d_weight ? pass->norm_parts + i * width : NULL, dy + at, x + at, weight,
                                               n - t < NORM_CHUNK ? n - t : NORM_CHUNK, width, eps);
    }
    if (d_weight)
        pare_kernels_best()->add_rows(d_weight, pass->norm_parts, chunks, width, width);
}

static const pare_linear_gradient *gradient_of(const pare_pass *pass, uint32_t index, pare_projection projection) {
    return &pass->gradients->layers[index].linears[projection];
}

/* Through one linear of layer `index`, into dx (added to it when `accumulate`). */
static void back(pare_pass *pass, uint32_t index, pare_projection projection, float *dx, const float *dy, const float *x, bool accumulate) {
    workspace *w = &pass->work;
    linear_backward(dx, gradient_of(pass, index, projection), &w->model->layers[index].linears[projection], dy, x, w->windows * w->length,
                    accumulate, &w->scratch, pass->low);
}

/* pass->d becomes the gradient of what passes by, x, instead of what came out. What was normed has been used: its place is free. */
static void shortcut_backward(pare_pass *pass, float *d_weight, const pare_linear *shortcut, const float *x, size_t n) {
    workspace *w = &pass->work;
    size_t width = w->model->config.width;
    if (!shortcut->weight.tensor)
        return;
    const pare_linear_gradient gradient = {.weight = d_weight};
    linear_backward(w->h, &gradient, shortcut, pass->d, x, n, false, &w->scratch, pass->low);
    memcpy(pass->d, w->h, n * width * sizeof *pass->d);
}

/* ---- feed-forward ---- */

static void swiglu_backward(const layer_state *s, const pare_pass *pass, size_t n, size_t width) {
#pragma omp parallel for num_threads(pass->work.scratch.n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        pare_kernels_best()->swiglu_backward(s->gate + t * width, s->up + t * width, pass->d_ffn + t * width, width);
}

static void activate_again(const layer_state *s, const pare_pass *pass, size_t n, size_t width) {
#pragma omp parallel for num_threads(pass->work.scratch.n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        pare_kernels_best()->swiglu(s->act + t * width, s->gate + t * width, s->up + t * width, width);
}

static void ffn_backward(pare_pass *pass, const layer_state *s, uint32_t index, size_t n) {
    const pare_layer *layer = &pass->work.model->layers[index];
    const pare_linear_gradient *down = gradient_of(pass, index, PARE_DOWN);
    size_t width = pare_config_layer(&pass->work.model->config, index).ffn_width;
    if (down->weight || down->a || down->b)
        activate_again(s, pass, n, width);
    back(pass, index, PARE_DOWN, pass->d_ffn, pass->d, s->act, false);
    swiglu_backward(s, pass, n, width);
    normalise(pass->work.h, s->middle, layer->ffn_norm, &pass->work, n);
    back(pass, index, PARE_GATE, pass->d_hidden, s->gate, pass->work.h, false);
    back(pass, index, PARE_UP, pass->d_hidden, s->up, pass->work.h, true);
    shortcut_backward(pass, pass->gradients->layers[index].ffn_shortcut, &layer->ffn_shortcut, s->middle, n);
    norm_backward(pass, pass->gradients->layers[index].ffn_norm, pass->d_hidden, s->middle, layer->ffn_norm, n);
}

/* ---- attention ---- */

/* One query head a task: keys' and values' gradients of each are summed over its group afterwards. */
static void attention_backward(pare_pass *pass, const layer_state *s, pare_layer_shape shape) {
    const workspace *w = &pass->work;
    size_t length = w->length, d = w->model->config.head_dim, width = shape.n_heads * d, group = shape.n_heads / shape.n_kv_heads;
    float scale = (float)(1.0 / sqrt((double)d));
#pragma omp parallel for collapse(2) num_threads(w->scratch.n_threads) schedule(dynamic)
    for (size_t window = 0; window < w->windows; window++)
        for (size_t h = 0; h < shape.n_heads; h++) {
            size_t q = window * length * width + h * d, kv = (window * shape.n_kv_heads + h / group) * length * d;
            size_t own = (window * shape.n_heads + h) * length * d;
            memset(pass->d_heads[0] + own, 0, length * d * sizeof(float));
            memset(pass->d_heads[1] + own, 0, length * d * sizeof(float));
            pare_kernels_best()->attention_backward(pass->d_q + q, pass->d_heads[0] + own, pass->d_heads[1] + own, s->q + q, s->keys + kv,
                                                    s->values + kv, s->attended + q, pass->d_attended + q,
                                                    s->lse + (window * shape.n_heads + h) * length, length, 1, d, width, d, length, scale,
                                                    pass->attention + (size_t)omp_get_thread_num() * pass->attention_floats);
        }
}

/* Head gradients (windows, n_heads, T, D) -> (N, n_kv_heads * D), summed over each group; keys and queries turned back. */
static void gather_heads(pare_pass *pass, pare_layer_shape shape) {
    const workspace *w = &pass->work;
    const pare_kernels *kernels = pare_kernels_best();
    size_t length = w->length, d = w->model->config.head_dim, kv_width = shape.n_kv_heads * d, group = shape.n_heads / shape.n_kv_heads;
#pragma omp parallel for num_threads(w->scratch.n_threads) schedule(static)
    for (size_t row = 0; row < w->windows * length; row++) {
        size_t window = row / length, t = row % length;
        for (size_t part = 0; part < 2; part++)
            for (size_t h = 0; h < shape.n_heads; h++) {
                const float *from = pass->d_heads[part] + ((window * shape.n_heads + h) * length + t) * d;
                float *to = pass->d_kv[part] + row * kv_width + h / group * d;
                if (h % group == 0)
                    memcpy(to, from, d * sizeof(float));
                else
                    kernels->add(to, from, d);
            }
        const float *cosine = w->cosine + t * d / 2, *sine = pass->minus_sine + t * d / 2;
        kernels->rotary(pass->d_q + row * shape.n_heads * d, cosine, sine, 1, shape.n_heads * d, shape.n_heads, d);
        kernels->rotary(pass->d_kv[0] + row * kv_width, cosine, sine, 1, kv_width, shape.n_kv_heads, d);
    }
}

void layer_backward(pare_pass *pass, uint32_t index) {
    workspace *w = &pass->work;
    const pare_layer *layer = &w->model->layers[index];
    const layer_state *s = &pass->layers[index];
    pare_layer_shape shape = pare_config_layer(&w->model->config, index);
    size_t n = w->windows * w->length;
    ffn_backward(pass, s, index, n);
    back(pass, index, PARE_O, pass->d_attended, pass->d, s->attended, false);
    attention_backward(pass, s, shape);
    gather_heads(pass, shape);
    normalise(w->h, s->x, layer->attention_norm, w, n);
    back(pass, index, PARE_Q, pass->d_hidden, pass->d_q, w->h, false);
    back(pass, index, PARE_K, pass->d_hidden, pass->d_kv[0], w->h, true);
    back(pass, index, PARE_V, pass->d_hidden, pass->d_kv[1], w->h, true);
    shortcut_backward(pass, pass->gradients->layers[index].attention_shortcut, &layer->attention_shortcut, s->x, n);
    norm_backward(pass, pass->gradients->layers[index].attention_norm, pass->d_hidden, s->x, layer->attention_norm, n);
}
