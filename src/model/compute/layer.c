/* layer: one decoder layer, for several independent windows at once, into buffers that the pass chooses:
 *
 *   middle = S x + o(attention(rotary(q(h)), rotary(k(h)), v(h))), h = norm(x);   out = S' middle + down(silu(gate(h)) * up(h)), h =
 * norm(middle)
 *
 * S, S': the identity, but in models whose residual stream is in other coordinates at every norm (Ashkboos et al. 2024).
 * Architecture: Touvron et al. 2023 (Llama); grouped heads: Ainslie et al. 2023. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "compute.h"

/* ---- workspace ---- */

static bool check_length(const pare_model *model, size_t length, pare_error *error) {
    const pare_config *c = &model->config;
    if (length > c->max_positions)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: windows of %zu tokens, but the model knows %u positions: ask for shorter ones",
                         model->checkpoint->path, length, c->max_positions);
    if (c->sliding_window && length > c->sliding_window)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: windows of %zu tokens, but attention slides over %u; pare computes full attention only",
                         model->checkpoint->path, length, c->sliding_window);
    return true;
}

bool workspace_plan(workspace *w, const pare_model *model, size_t tokens, size_t length, const pare_context *context, pare_error *error) {
    const pare_config *c = &model->config;
    size_t floats = 0;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        pare_layer_shape shape = pare_config_layer(c, i);
        size_t needed = pare_kernels_best()->attention_scratch(shape.n_heads / shape.n_kv_heads, c->head_dim, length);
        floats = needed > floats ? needed : floats;
    }
    *w = (workspace){.model = model,
                     .context = context,
                     .tokens_max = tokens,
                     .length_max = length,
                     .attention_floats = (floats + 15) / 16 * 16}; /* every thread's part starts on a cache line */
    linear_scratch_plan(&w->scratch, model, tokens, pare_context_threads(context));
    return check_length(model, length, error);
}

/* Sizes in floats. */
static size_t h_floats(const workspace *w) {
    return w->tokens_max * w->model->config.width;
}
static size_t kv_floats(const workspace *w) {
    return w->tokens_max * w->model->config.n_kv_heads * w->model->config.head_dim;
}
static size_t table_floats(const workspace *w) {
    return w->length_max * w->model->config.head_dim / 2;
}
static size_t attention_floats(const workspace *w) {
    return (size_t)w->scratch.n_threads * w->attention_floats;
}

size_t workspace_bytes(const workspace *w) {
    return sizeof(float) * (h_floats(w) + 2 * kv_floats(w) + 2 * table_floats(w) + attention_floats(w)) +
           (sizeof *w->segments + sizeof *w->segment_of) * w->tokens_max + linear_scratch_bytes(&w->scratch);
}

/* angle (t, i) = t * frequency i, rounded to f32 as in transformers */
static void fill_rotary(workspace *w) {
    size_t half = w->model->config.head_dim / 2;
    for (size_t t = 0; t < w->length_max; t++)
        for (size_t i = 0; i < half; i++) {
            float angle = (float)t * w->model->inverse_frequency[i];
            w->cosine[t * half + i] = (float)cos((double)angle);
            w->sine[t * half + i] = (float)sin((double)angle);
        }
}

bool workspace_allocate(workspace *w, pare_arena *arena, pare_error *error) {
    bool done = (w->h = PARE_PUSH(arena, float, h_floats(w), error)) && (w->k = PARE_PUSH(arena, float, kv_floats(w), error)) &&
                (w->v = PARE_PUSH(arena, float, kv_floats(w), error)) && (w->cosine = PARE_PUSH(arena, float, table_floats(w), error)) &&
                (w->sine = PARE_PUSH(arena, float, table_floats(w), error)) &&
                (w->attention = PARE_PUSH(arena, float, attention_floats(w), error)) &&
                (w->segments = PARE_PUSH(arena, segment, w->tokens_max, error)) &&
                (w->segment_of = PARE_PUSH(arena, uint32_t, w->tokens_max, error)) && linear_scratch_allocate(&w->scratch, arena, error);
    if (done)
        fill_rotary(w);
    return done;
}

void workspace_segments(workspace *w, size_t n_segments) {
    w->n_segments = n_segments;
    w->tokens = 0;
    for (size_t i = 0; i < n_segments; i++)
        for (size_t t = 0; t < w->segments[i].n; t++)
            w->segment_of[w->tokens++] = (uint32_t)i;
}

void workspace_windows(workspace *w, size_t windows, size_t length) {
    w->windows = windows;
    w->length = length;
    for (size_t i = 0; i < windows; i++)
        w->segments[i] = (segment){.first = i * length, .n = length, .room = i * length, .capacity = length, .parent = NO_PARENT};
    workspace_segments(w, windows);
}

/* ---- steps ---- */

bool embed(float *x, workspace *w, const uint32_t *ids, size_t n, pare_error *error) {
    const pare_view *embedding = &w->model->embedding;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= embedding->n_rows)
            return pare_fail(error, PARE_ERROR_RANGE, "%s: token id %u, but the vocabulary has %u", w->model->checkpoint->path, ids[i],
                             embedding->n_rows);
        pare_view_read(x + i * embedding->n_columns, embedding, ids[i], 1, w->scratch.rows);
    }
    return true;
}

void normalise(float *out, const float *x, const float *weight, const workspace *w, size_t n) {
    enum { CHUNK = 64 };
    size_t width = w->model->config.width;
    float eps = (float)w->model->config.rms_eps;
#pragma omp parallel for num_threads(w->scratch.n_threads) schedule(static)
    for (size_t t = 0; t < n; t += CHUNK)
        pare_kernels_best()->rms_norm(out + t * width, x + t * width, weight, n - t < CHUNK ? n - t : CHUNK, width, eps);
}

/* Where position t of K/V head h of a segment lies in the layer's keys or values. */
static size_t place(const segment *of, pare_layer_shape shape, size_t h, size_t t, size_t d) {
    return (of->room * shape.n_kv_heads + h * of->capacity + t) * d;
}

/* Rotates q in place and k, and lays k and v out by segment and K/V head for the attention kernel. */
static void arrange(const layer_state *s, workspace *w, pare_layer_shape shape) {
    const pare_kernels *kernels = pare_kernels_best();
    size_t d = w->model->config.head_dim, q_width = shape.n_heads * d, kv_width = shape.n_kv_heads * d;
#pragma omp parallel for num_threads(w->scratch.n_threads) schedule(static) if (w->tokens > 1)
    for (size_t row = 0; row < w->tokens; row++) {
        const segment *of = &w->segments[w->segment_of[row]];
        size_t t = of->past + row - of->first;
        const float *cosine = w->cosine + t * d / 2, *sine = w->sine + t * d / 2;
        kernels->rotary(s->q + row * q_width, cosine, sine, 1, q_width, shape.n_heads, d);
        kernels->rotary(w->k + row * kv_width, cosine, sine, 1, kv_width, shape.n_kv_heads, d);
        for (size_t h = 0; h < shape.n_kv_heads; h++) {
            size_t to = place(of, shape, h, t, d);
            memcpy(s->keys + to, w->k + row * kv_width + h * d, d * sizeof(float));
            memcpy(s->values + to, w->v + row * kv_width + h * d, d * sizeof(float));
        }
    }
}

/* Segments that follow another get its keys and values in front of their own; a parent comes before its children. */
static void inherit(const layer_state *s, const workspace *w, pare_layer_shape shape) {
    size_t d = w->model->config.head_dim;
    for (size_t i = 0; i < w->n_segments; i++) {
        const segment *of = &w->segments[i], *parent = of->parent == NO_PARENT ? NULL : &w->segments[of->parent];
        for (size_t h = 0; parent && h < shape.n_kv_heads; h++) {
            size_t to = place(of, shape, h, 0, d), from = place(parent, shape, h, 0, d);
            memcpy(s->keys + to, s->keys + from, of->past * d * sizeof(float));
            memcpy(s->values + to, s->values + from, of->past * d * sizeof(float));
        }
    }
}

static size_t most_blocks(const workspace *w) {
    size_t longest = 0;
    for (size_t i = 0; i < w->n_segments; i++)
        longest = w->segments[i].n > longest ? w->segments[i].n : longest;
    return (longest + PARE_ATTENTION_QUERIES - 1) / PARE_ATTENTION_QUERIES;
}

/* The longest query blocks go first, so that no thread waits at the end. */
static void attend(const layer_state *s, workspace *w, pare_layer_shape shape) {
    const pare_kernels *kernels = pare_kernels_best();
    size_t d = w->model->config.head_dim, q_width = shape.n_heads * d, group = shape.n_heads / shape.n_kv_heads, blocks = most_blocks(w);
    float scale = (float)(1.0 / sqrt((double)d));
#pragma omp parallel for collapse(3) num_threads(w->scratch.n_threads) schedule(dynamic)
    for (size_t b = 0; b < blocks; b++)
        for (size_t i = 0; i < w->n_segments; i++)
            for (size_t h = 0; h < shape.n_kv_heads; h++) {
                const segment *of = &w->segments[i];
                size_t own_blocks = (of->n + PARE_ATTENTION_QUERIES - 1) / PARE_ATTENTION_QUERIES;
                if (b >= own_blocks)
                    continue;
                size_t at = (own_blocks - 1 - b) * PARE_ATTENTION_QUERIES, rest = of->n - at, kv = place(of, shape, h, 0, d);
                size_t q = (of->first + at) * q_width + h * group * d;
                float *lse = s->lse ? s->lse + of->room * shape.n_heads + h * group * of->capacity + at : NULL;
                kernels->attention(s->attended + q, lse, s->q + q, s->keys + kv, s->values + kv, of->past + at,
                                   rest < PARE_ATTENTION_QUERIES ? rest : PARE_ATTENTION_QUERIES, group, d, q_width, d, of->capacity, scale,
                                   w->attention + (size_t)omp_get_thread_num() * w->attention_floats);
            }
}

/* A token of each sequence: one query row a K/V head. */
static void attend_one(const layer_state *s, workspace *w, pare_layer_shape shape) {
    size_t d = w->model->config.head_dim, q_width = shape.n_heads * d, group = shape.n_heads / shape.n_kv_heads;
    float scale = (float)(1.0 / sqrt((double)d));
#pragma omp parallel for collapse(2) num_threads(w->scratch.n_threads) schedule(dynamic)
    for (size_t i = 0; i < w->n_segments; i++)
        for (size_t h = 0; h < shape.n_kv_heads; h++) {
            const segment *of = &w->segments[i];
            size_t q = of->first * q_width + h * group * d, kv = place(of, shape, h, 0, d);
            pare_kernels_best()->attention_one(s->attended + q, s->q + q, s->keys + kv, s->values + kv, of->past + 1, group, d, d, scale,
                                               w->attention + (size_t)omp_get_thread_num() * w->attention_floats);
        }
}

static void activate(const layer_state *s, const workspace *w, size_t n, size_t width) {
#pragma omp parallel for num_threads(w->scratch.n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        pare_kernels_best()->swiglu(s->act + t * width, s->gate + t * width, s->up + t * width, width);
}

/* to (n, width) = S from; to may be from. What was normed has been read by now: its place is free. */
static void pass_by(float *to, const float *from, const pare_linear *shortcut, workspace *w, size_t n) {
    size_t bytes = n * w->model->config.width * sizeof *to;
    float *into = to != from ? to : w->h;
    if (shortcut->weight.tensor) {
        linear_run(into, shortcut, from, n, false, &w->scratch);
        from = into;
    }
    if (to != from)
        memcpy(to, from, bytes);
}

static void touch(const pare_tap *tap, pare_tap_place place, uint32_t layer, float *x, size_t rows, size_t columns) {
    if (tap && tap->places >> place & 1)
        tap->at(tap->user, place, layer, x, rows, columns);
}

static void attention_run(const layer_state *s, workspace *w, uint32_t index, const pare_tap *tap) {
    const pare_layer *layer = &w->model->layers[index];
    const pare_config *c = &w->model->config;
    pare_layer_shape shape = pare_config_layer(c, index);
    size_t n = w->tokens;
    normalise(w->h, s->x, layer->attention_norm, w, n);
    touch(tap, PARE_TAP_ATTENTION_IN, index, w->h, n, c->width);
    const linear_job qkv[] = {{&layer->linears[PARE_Q], s->q}, {&layer->linears[PARE_K], w->k}, {&layer->linears[PARE_V], w->v}};
    linear_run_jobs(qkv, 3, w->h, n, false, &w->scratch);
    arrange(s, w, shape);
    inherit(s, w, shape);
    (w->scratch.decode ? attend_one : attend)(s, w, shape);
    touch(tap, PARE_TAP_ATTENDED, index, s->attended, n, (size_t)shape.n_heads * c->head_dim);
    pass_by(s->middle, s->x, &layer->attention_shortcut, w, n);
    linear_run(s->middle, &layer->linears[PARE_O], s->attended, n, true, &w->scratch);
    touch(tap, PARE_TAP_MIDDLE, index, s->middle, n, c->width);
}

static void ffn_run(const layer_state *s, workspace *w, uint32_t index, const pare_tap *tap) {
    const pare_layer *layer = &w->model->layers[index];
    size_t n = w->tokens, width = w->model->config.width, ffn = pare_config_layer(&w->model->config, index).ffn_width;
    normalise(w->h, s->middle, layer->ffn_norm, w, n);
    touch(tap, PARE_TAP_FFN_IN, index, w->h, n, width);
    const linear_job gate_up[] = {{&layer->linears[PARE_GATE], s->gate}, {&layer->linears[PARE_UP], s->up}};
    linear_run_jobs(gate_up, 2, w->h, n, false, &w->scratch);
    if (!s->out)
        return;
    activate(s, w, n, ffn);
    touch(tap, PARE_TAP_FFN, index, s->act, n, ffn);
    pass_by(s->out, s->middle, &layer->ffn_shortcut, w, n);
    linear_run(s->out, &layer->linears[PARE_DOWN], s->act, n, true, &w->scratch);
    touch(tap, PARE_TAP_OUT, index, s->out, n, width);
}

void layer_run(const layer_state *s, workspace *w, uint32_t index, const pare_tap *tap) {
    touch(tap, PARE_TAP_IN, index, s->x, w->tokens, w->model->config.width);
    attention_run(s, w, index, tap);
    ffn_run(s, w, index, tap);
}
