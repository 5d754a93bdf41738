/* rotate: see rotate.h. In f32, some rows of a matrix at a time. */
#include "rotate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gram.h"
#include "pare/stream.h"
#include "pare/tensor.h"
#include "spectrum.h"

enum { PANEL = 256 };

/* ---- finding one ---- */

bool reading_sum_open(reading_sum *sum, uint32_t width, size_t rows, int n_threads, pare_arena *arena, pare_error *error) {
    *sum = (reading_sum){.width = width, .n_threads = n_threads};
    return (sum->gram = PARE_PUSH(arena, double, (size_t)width *width, error)) &&
           (sum->readings = PARE_PUSH(arena, float, rows *width, error)) &&
           (sum->scratch = PARE_PUSH(arena, float, gram_scratch(n_threads), error));
}

void reading_sum_add(reading_sum *sum, const float *x, size_t n) {
    size_t width = sum->width;
    for (size_t t = 0; t < n; t++) {
        double squares = 0;
        for (size_t j = 0; j < width; j++)
            squares += (double)x[t * width + j] * (double)x[t * width + j];
        float scale = (float)(1 / sqrt(squares + 1e-30));
        for (size_t j = 0; j < width; j++)
            sum->readings[t * width + j] = scale * x[t * width + j];
    }
    gram_add(sum->gram, sum->readings, sum->readings, n, width, width, sum->scratch, sum->n_threads);
}

bool reading_sum_find(rotation *r, reading_sum *sum, const char *method, pare_error *error) {
    size_t width = sum->width, square = width * width;
    double *values = pare_allocate(width, sizeof *values, error);
    bool done = values != NULL;
    gram_mirror(sum->gram, width);
    for (size_t i = 0; done && i < square; i++)
        done = isfinite(sum->gram[i]) || pare_fail(error, PARE_ERROR_NUMERIC, "%s: the residual stream is not finite", method);
    done = done && pare_symmetric_eigen(values, sum->gram, width, true, error);
    for (size_t i = 0; done && i < r->kept; i++)
        for (size_t j = 0; j < width; j++)
            r->rows[i * width + j] = (float)sum->gram[(width - 1 - i) * width + j];
    memset(sum->gram, 0, square * sizeof *sum->gram);
    pare_free(values);
    return done;
}

/* ---- matrices ---- */

typedef struct {
    float *rows, *scratch;
} panel;

static bool open_panel(panel *p, const pare_view *w, pare_error *error) {
    *p = (panel){pare_allocate((size_t)PANEL * w->n_columns, sizeof(float), error), NULL};
    return p->rows && (p->scratch = pare_allocate(pare_view_scratch(w) + 1, sizeof(float), error));
}

static void close_panel(panel *p) {
    pare_free(p->rows);
    pare_free(p->scratch);
}

/* to (w's rows, kept) = W diag(norm) Q; norm (width), or NULL: all ones. */
static bool rotate_reader(float *to, const pare_view *w, const float *norm, const rotation *r, pare_error *error) {
    panel p;
    bool done = open_panel(&p, w, error);
    for (uint32_t first = 0; done && first < w->n_rows; first += PANEL) {
        uint32_t n = w->n_rows - first < PANEL ? w->n_rows - first : PANEL;
        pare_view_read(p.rows, w, first, n, p.scratch);
        for (size_t i = 0; norm && i < n; i++)
            for (size_t j = 0; j < r->width; j++)
                p.rows[i * r->width + j] *= norm[j];
        pare_gemm_nt(to + (size_t)first * r->kept, p.rows, r->rows, n, r->kept, r->width, r->width, r->width, r->kept, false);
    }
    close_panel(&p);
    return done;
}

/* to (kept, w's columns) = Q^T W. */
static bool rotate_writer(float *to, const pare_view *w, const rotation *r, pare_error *error) {
    panel p;
    bool done = open_panel(&p, w, error);
    for (uint32_t first = 0; done && first < w->n_rows; first += PANEL) {
        uint32_t n = w->n_rows - first < PANEL ? w->n_rows - first : PANEL;
        pare_view_read(p.rows, w, first, n, p.scratch);
        pare_gemm_nn(to, r->rows + first, p.rows, r->kept, w->n_columns, n, r->width, w->n_columns, w->n_columns, first > 0);
    }
    close_panel(&p);
    return done;
}

/* to (kept) = Q^T bias. */
static void rotate_bias(float *to, const float *bias, const rotation *r) {
    for (size_t i = 0; i < r->kept; i++) {
        double sum = 0;
        for (size_t j = 0; j < r->width; j++)
            sum += (double)r->rows[i * r->width + j] * (double)bias[j];
        to[i] = (float)sum;
    }
}

/* ---- norms, embedding, head ---- */

/* RMSNorm without a weight in `kept` of `width` coordinates that divides by all of them, as before the cut: x / sqrt(|x|^2 / width + eps)
 * is what a stock RMSNorm gives with the weight sqrt(width / kept) in every place and with eps width / kept. */
static bool replace_norm(pare_cut *cut, const char *name, const rotation *r, pare_error *error) {
    float *norm = pare_cut_replace(cut, name, error), all = (float)sqrt((double)r->width / (double)r->kept);
    for (uint32_t i = 0; norm && i < r->kept; i++)
        norm[i] = all;
    return norm != NULL;
}

/* The directions are not the channels' own, but as many. */
static bool keep_first(pare_cut *cut, uint32_t n, pare_error *error) {
    uint32_t *kept = pare_allocate(n, sizeof *kept, error);
    for (uint32_t i = 0; kept && i < n; i++)
        kept[i] = i;
    bool done = kept && pare_cut_keep_channels(cut, kept, n, error);
    pare_free(kept);
    return done;
}

bool rotate_embedding(pare_cut *cut, const pare_model *dense, const rotation *first, pare_error *error) {
    pare_cut_untie(cut);
    pare_cut_set_rms_eps(cut, dense->config.rms_eps * (double)first->width / (double)first->kept);
    float *embedding = keep_first(cut, first->kept, error) ? pare_cut_replace(cut, "model.embed_tokens.weight", error) : NULL;
    bool done = embedding && rotate_reader(embedding, &dense->embedding, NULL, first, error);
    pare_cut_let_go(cut);
    return done;
}

bool rotate_head(pare_cut *cut, const pare_model *dense, const rotation *last, pare_error *error) {
    float *head = pare_cut_replace(cut, "lm_head.weight", error);
    bool done = head && replace_norm(cut, "model.norm.weight", last, error) && rotate_reader(head, &dense->head, dense->norm, last, error);
    pare_cut_let_go(cut);
    return done;
}

/* ---- a layer ---- */

typedef struct {
    const pare_layer *layer;
    const rotation *in, *middle, *out;
    float *weight[PARE_PROJECTIONS], *bias[PARE_PROJECTIONS]; /* bias: of o and down alone, the others' stay as they are */
} turn;

static bool turn_one(void *user, uint32_t p, pare_error *error) {
    const turn *t = user;
    const pare_linear *linear = &t->layer->linears[p];
    const rotation *written = p == PARE_O ? t->middle : t->out;
    if (t->bias[p])
        rotate_bias(t->bias[p], linear->bias, written);
    if (p == PARE_O || p == PARE_DOWN)
        return rotate_writer(t->weight[p], &linear->weight, written, error);
    return p < PARE_O ? rotate_reader(t->weight[p], &linear->weight, t->layer->attention_norm, t->in, error)
                      : rotate_reader(t->weight[p], &linear->weight, t->layer->ffn_norm, t->middle, error);
}

static bool replace_projections(turn *t, pare_cut *cut, uint32_t layer, pare_error *error) {
    char name[96];
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        const char *path = pare_projection_path((pare_projection)p);
        snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, path);
        if (!(t->weight[p] = pare_cut_replace(cut, name, error)))
            return false;
        snprintf(name, sizeof name, "model.layers.%u.%s.bias", layer, path);
        if ((p == PARE_O || p == PARE_DOWN) && t->layer->linears[p].bias && !(t->bias[p] = pare_cut_replace(cut, name, error)))
            return false;
    }
    return true;
}

/* Q_after^T Q_before, as what passes by is multiplied with it from the left. */
static bool replace_shortcut(pare_cut *cut, uint32_t layer, const char *path, const rotation *before, const rotation *after,
                             pare_error *error) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.%s.shortcut.weight", layer, path);
    float *shortcut = pare_cut_replace(cut, name, error);
    size_t kept = before->kept, width = before->width;
    if (shortcut)
        pare_gemm_nt(shortcut, after->rows, before->rows, kept, kept, width, width, width, kept, false);
    return shortcut != NULL;
}

bool rotate_layer(pare_cut *cut, const pare_model *dense, uint32_t layer, const rotation *in, const rotation *middle, const rotation *out,
                  const pare_context *context, pare_error *error) {
    char norms[2][96], prefix[64];
    turn work = {.layer = &dense->layers[layer], .in = in, .middle = middle, .out = out};
    snprintf(prefix, sizeof prefix, "model.layers.%u.", layer);
    snprintf(norms[0], sizeof norms[0], "%sinput_layernorm.weight", prefix);
    snprintf(norms[1], sizeof norms[1], "%spost_attention_layernorm.weight", prefix);
    pare_context within = {.n_threads = pare_context_threads(context), .cancel = context ? context->cancel : NULL};
    bool done = replace_projections(&work, cut, layer, error) && replace_norm(cut, norms[0], in, error) &&
                replace_norm(cut, norms[1], middle, error) &&
                (!cut->config.shortcuts || (replace_shortcut(cut, layer, "self_attn", in, middle, error) &&
                                            replace_shortcut(cut, layer, "mlp", middle, out, error))) &&
                spectrum_each(turn_one, &work, PARE_PROJECTIONS, "", 0, PARE_PROJECTIONS, &within, error);
    pare_checkpoint_drop(dense->checkpoint, prefix);
    pare_cut_let_go(cut);
    return done;
}

size_t rotate_bytes(const pare_model *model, const pare_windows *windows, size_t n_rotations, const pare_context *context) {
    size_t width = model->config.width, square = width * width, rows = pare_stream_batch_of(model, windows);
    size_t doubles = 3 * square; /* the sum, and the eigensolver's workspace */
    size_t floats = n_rotations * square + rows * width + gram_scratch(pare_context_threads(context)) + model->config.vocabulary * width;
    return pare_stream_bytes(model, windows, context) + doubles * sizeof(double) + floats * sizeof(float);
}
