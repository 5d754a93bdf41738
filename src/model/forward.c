/* forward: ids -> hidden states after the final norm, for several independent windows at once.
 *
 *   x = embedding[id]
 *   per layer: x += o(attention(rotary(q(h)), rotary(k(h)), v(h))), h = norm(x);  x += down(silu(gate(h)) * up(h)), h = norm(x)
 *   hidden = norm(x)
 *
 * Letters: N tokens of all windows, T tokens of a window, C width, D head size. All buffers are allocated once, by
 * pare_forward_open. Architecture: Touvron et al. 2023 (Llama); grouped heads: Ainslie et al. 2023. */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "model_impl.h"

/* Widest stored row among the matrices that are read with a column gather. */
static size_t gather_floats(const pare_model *model) {
    size_t widest = 1;
    for (uint32_t i = 0; i < model->config.n_layers; i++) {
        size_t n = pare_view_scratch(&model->layers[i].down.weight);
        widest = n > widest ? n : widest;
    }
    return widest;
}

/* Sizes in floats of every buffer; the one list that open and bytes share. */
typedef struct {
    size_t x, q, kv, ffn, table, attention, logits, panel, rows, tokens;
} sizes;

static sizes plan(const pare_model *model, size_t windows, size_t length, int n_threads) {
    const pare_config *c = &model->config;
    size_t n = windows * length, threads = (size_t)n_threads, panel = PANEL_BYTES / sizeof(float), widest = c->width;
    widest = c->ffn_width > widest ? c->ffn_width : widest;
    widest = (size_t)c->n_heads * c->head_dim > widest ? (size_t)c->n_heads * c->head_dim : widest;
    return (sizes){
        .x = n * c->width,
        .q = n * c->n_heads * c->head_dim,
        .kv = n * c->n_kv_heads * c->head_dim,
        .ffn = n * c->ffn_width,
        .table = length * c->head_dim / 2,
        .attention = pare_kernels_best()->attention_scratch(c->n_heads / c->n_kv_heads, c->head_dim, length) + 16,
        .logits = threads * TOKEN_BLOCK * ROW_BLOCK,
        .panel = panel > 64 * widest ? panel : 64 * widest, /* at least 64 rows of the widest matrix */
        .rows = gather_floats(model),
        .tokens = n,
    };
}

size_t pare_forward_bytes(const pare_model *model, size_t windows, size_t length, const pare_context *context) {
    int threads = pare_context_threads(context);
    sizes s = plan(model, windows, length, threads);
    return sizeof(float) * (2 * s.x + s.q + 4 * s.kv + 2 * s.ffn + 2 * s.table + s.logits + s.panel + 4 * s.tokens +
                            (size_t)threads * (s.attention + s.rows));
}

static bool allocate(pare_forward *f, pare_error *error) {
    int threads = pare_context_threads(f->context);
    sizes s = plan(f->model, f->windows_max, f->length_max, threads);
    f->attention_floats = s.attention / 16 * 16; /* every thread's part starts on a cache line */
    f->scratch = (linear_scratch){.panel_floats = s.panel, .row_floats = s.rows, .n_threads = threads};
    pare_arena *a = f->arena;
    return (f->x = PARE_PUSH(a, float, s.x, error)) && (f->h = PARE_PUSH(a, float, s.x, error)) &&
           (f->q = PARE_PUSH(a, float, s.q, error)) && (f->k = PARE_PUSH(a, float, s.kv, error)) &&
           (f->v = PARE_PUSH(a, float, s.kv, error)) && (f->keys = PARE_PUSH(a, float, s.kv, error)) &&
           (f->values = PARE_PUSH(a, float, s.kv, error)) && (f->gate = PARE_PUSH(a, float, s.ffn, error)) &&
           (f->up = PARE_PUSH(a, float, s.ffn, error)) && (f->cosine = PARE_PUSH(a, float, s.table, error)) &&
           (f->sine = PARE_PUSH(a, float, s.table, error)) && (f->attention = PARE_PUSH(a, float, (size_t)threads *s.attention, error)) &&
           (f->logits = PARE_PUSH(a, float, s.logits, error)) && (f->maximum = PARE_PUSH(a, float, s.tokens, error)) &&
           (f->target = PARE_PUSH(a, float, s.tokens, error)) && (f->sum = PARE_PUSH(a, double, s.tokens, error)) &&
           (f->scratch.panel = PARE_PUSH(a, float, s.panel, error)) &&
           (f->scratch.rows = PARE_PUSH(a, float, (size_t)threads *s.rows, error));
}

/* angle (t, i) = t * frequency i, rounded to f32 as in transformers */
static void fill_rotary(pare_forward *f) {
    size_t half = f->model->config.head_dim / 2;
    for (size_t t = 0; t < f->length_max; t++)
        for (size_t i = 0; i < half; i++) {
            float angle = (float)t * f->model->inverse_frequency[i];
            f->cosine[t * half + i] = (float)cos((double)angle);
            f->sine[t * half + i] = (float)sin((double)angle);
        }
}

pare_forward *pare_forward_open(const pare_model *model, size_t windows, size_t length, const pare_context *context, pare_error *error) {
    const pare_config *c = &model->config;
    if (length > c->max_positions) {
        pare_fail(error, PARE_ERROR_RANGE, "%s: windows of %zu tokens, but the model knows %u positions", model->checkpoint->path, length,
                  c->max_positions);
        return NULL;
    }
    if (c->sliding_window && length > c->sliding_window) {
        pare_fail(error, PARE_ERROR_UNSUPPORTED,
                  "%s: windows of %zu tokens, but attention slides over %u; pare computes full attention only", model->checkpoint->path,
                  length, c->sliding_window);
        return NULL;
    }
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_forward *f = PARE_PUSH(arena, pare_forward, 1, error);
    if (f) {
        *f = (pare_forward){.model = model,
                            .context = context,
                            .arena = arena,
                            .windows_max = windows,
                            .length_max = length,
                            .tokens_max = windows * length};
        if (allocate(f, error)) {
            fill_rotary(f);
            return f;
        }
    }
    pare_arena_close(arena);
    return NULL;
}

void pare_forward_close(pare_forward *forward) {
    if (forward)
        pare_arena_close(forward->arena);
}

static bool embed(pare_forward *f, const uint32_t *ids, size_t n, pare_error *error) {
    const pare_view *embedding = &f->model->embedding;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] >= embedding->n_rows)
            return pare_fail(error, PARE_ERROR_RANGE, "%s: token id %u, but the vocabulary has %u", f->model->checkpoint->path, ids[i],
                             embedding->n_rows);
        pare_view_read(f->x + i * embedding->n_columns, embedding, ids[i], 1, f->scratch.rows);
    }
    return true;
}

/* out (N, C) = norm(x) */
static void normalise(pare_forward *f, float *out, const float *weight, size_t n) {
    enum { CHUNK = 64 };
    size_t width = f->model->config.width;
    float eps = (float)f->model->config.rms_eps;
#pragma omp parallel for num_threads(f->scratch.n_threads) schedule(static)
    for (size_t t = 0; t < n; t += CHUNK)
        pare_kernels_best()->rms_norm(out + t * width, f->x + t * width, weight, n - t < CHUNK ? n - t : CHUNK, width, eps);
}

/* Rotates q in place and k, and lays k and v out as (window, kv head, T, D) for the attention kernel. */
static void arrange(pare_forward *f, size_t windows, size_t length) {
    const pare_config *c = &f->model->config;
    const pare_kernels *kernels = pare_kernels_best();
    size_t d = c->head_dim, q_width = c->n_heads * d, kv_width = c->n_kv_heads * d;
#pragma omp parallel for num_threads(f->scratch.n_threads) schedule(static)
    for (size_t row = 0; row < windows * length; row++) {
        size_t w = row / length, t = row % length;
        const float *cosine = f->cosine + t * d / 2, *sine = f->sine + t * d / 2;
        kernels->rotary(f->q + row * q_width, cosine, sine, 1, q_width, c->n_heads, d);
        kernels->rotary(f->k + row * kv_width, cosine, sine, 1, kv_width, c->n_kv_heads, d);
        for (size_t h = 0; h < c->n_kv_heads; h++) {
            size_t to = ((w * c->n_kv_heads + h) * length + t) * d;
            memcpy(f->keys + to, f->k + row * kv_width + h * d, d * sizeof(float));
            memcpy(f->values + to, f->v + row * kv_width + h * d, d * sizeof(float));
        }
    }
}

/* q (N, heads, D) becomes the attention's output. The longest query blocks go first, so that no thread waits at the end. */
static void attend(pare_forward *f, size_t windows, size_t length) {
    const pare_config *c = &f->model->config;
    const pare_kernels *kernels = pare_kernels_best();
    size_t d = c->head_dim, q_width = c->n_heads * d, group = c->n_heads / c->n_kv_heads;
    size_t blocks = (length + PARE_ATTENTION_QUERIES - 1) / PARE_ATTENTION_QUERIES;
    float scale = (float)(1.0 / sqrt((double)d));
#pragma omp parallel for collapse(3) num_threads(f->scratch.n_threads) schedule(dynamic)
    for (size_t b = 0; b < blocks; b++)
        for (size_t w = 0; w < windows; w++)
            for (size_t h = 0; h < c->n_kv_heads; h++) {
                size_t first = (blocks - 1 - b) * PARE_ATTENTION_QUERIES, rest = length - first;
                size_t kv = (w * c->n_kv_heads + h) * length * d;
                float *q = f->q + w * length * q_width + h * group * d;
                kernels->attention(q, NULL, q, f->keys + kv, f->values + kv, first,
                                   rest < PARE_ATTENTION_QUERIES ? rest : PARE_ATTENTION_QUERIES, group, d, q_width, d, 0, scale,
                                   f->attention + (size_t)omp_get_thread_num() * f->attention_floats);
            }
}

static void activate(pare_forward *f, size_t n) {
    size_t width = f->model->config.ffn_width;
#pragma omp parallel for num_threads(f->scratch.n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        pare_kernels_best()->swiglu(f->gate + t * width, f->gate + t * width, f->up + t * width, width);
}

const float *pare_forward_run(pare_forward *f, const uint32_t *ids, size_t windows, size_t length, const pare_tap *tap, pare_error *error) {
    if (windows * length > f->tokens_max || length > f->length_max) {
        pare_fail(error, PARE_ERROR_RANGE, "%zu windows of %zu tokens do not fit the buffers of this forward pass", windows, length);
        return NULL;
    }
    size_t n = windows * length;
    if (!embed(f, ids, n, error))
        return NULL;
    for (uint32_t i = 0; i < f->model->config.n_layers; i++) {
        const pare_layer *layer = &f->model->layers[i];
        if (!pare_context_check(f->context, error))
            return NULL;
        normalise(f, f->h, layer->attention_norm, n);
        linear_run(f->q, &layer->q, f->h, n, false, &f->scratch);
        linear_run(f->k, &layer->k, f->h, n, false, &f->scratch);
        linear_run(f->v, &layer->v, f->h, n, false, &f->scratch);
        arrange(f, windows, length);
        attend(f, windows, length);
        linear_run(f->x, &layer->o, f->q, n, true, &f->scratch);
        normalise(f, f->h, layer->ffn_norm, n);
        linear_run(f->gate, &layer->gate, f->h, n, false, &f->scratch);
        linear_run(f->up, &layer->up, f->h, n, false, &f->scratch);
        activate(f, n);
        if (tap)
            tap->ffn(tap->user, i, f->gate, n, f->model->config.ffn_width);
        linear_run(f->x, &layer->down, f->gate, n, true, &f->scratch);
    }
    normalise(f, f->h, f->model->norm, n);
    f->tokens = n;
    return f->h;
}
