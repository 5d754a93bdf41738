/* surgery: see surgery.h. Layer by layer and site by site, on the activations of what is cut already:
 *
 *   y = W h + PULL (x_dense - x)        h: what the units give, x: the residual stream behind the projection as it would be now,
 *                                       x_dense: the same in the dense model
 *
 * so that a layer also makes up for a part of what earlier layers have lost. Tokens count by their error relative to the residual stream,
 * which is what the next norm makes of it. The ridge, towards the old weights, is a share of each neuron's own mean square: it says that
 * neurons are less alike than the calibration text makes them look, it leaves a neuron of huge activations as well damped as a silent one,
 * and on SmolLM2-135M at r = 0.3 it is worth 0.13 nats against a share of the median of all (docs/measurements.md). */
#include "surgery.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gram.h"
#include "pare/stream.h"
#include "refit.h"

static const double PULL = 0.5, RIDGE = 0.25;
enum { PANEL = 64 };

/* Where it operates. */
typedef struct {
    pare_tap_place reads, gives; /* h, and the residual stream behind */
    pare_projection projection;
} site;

static const site sites[SURGERY_SITES] = {{PARE_TAP_ATTENDED, PARE_TAP_MIDDLE, PARE_O}, {PARE_TAP_FFN, PARE_TAP_OUT, PARE_DOWN}};

typedef struct {
    surgery_site at;
    const pare_checkpoint *checkpoint;
    const pare_context *context;
    pare_cut *cut;
    pare_model *dense, *model; /* model: under the cut as it stands */
    pare_stream *dense_stream, *stream;
    size_t per; /* inputs of a unit */
    refit_problem problem;
    float *wanted; /* (all tokens, C): the dense residual stream behind the projection; NULL: the stream is the dense one */
    float *scratch, *activations, *difference; /* of one batch: (rows, n), (rows, C) */
    size_t seen;                               /* rows of the pass at hand */
    uint32_t *kept;
    pare_arena *arena;
} surgery;

static void remember(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    surgery *s = user;
    (void)place, (void)layer;
    memcpy(s->wanted + s->seen * columns, activations, rows * columns * sizeof *activations);
    s->seen += rows;
}

/* What a token's error is measured in: the root mean square of the dense residual stream, by which the next norm divides. Without it a few
 * tokens of huge activations would be all that counts. */
static float measure_of(const float *row, size_t n) {
    double sum = 0;
    for (size_t j = 0; j < n; j++)
        sum += (double)row[j] * (double)row[j];
    return (float)(1 / sqrt(sum / (double)n + 1e-12));
}

static void observe(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    surgery *s = user;
    int threads = pare_context_threads(s->context);
    size_t n = s->problem.n;
    (void)layer;
    if (place == sites[s->at].reads) {
        memcpy(s->activations, activations, rows * columns * sizeof *activations);
        return;
    }
    const float *wanted = s->wanted ? s->wanted + s->seen * columns : activations;
    for (size_t t = 0; t < rows; t++) {
        float scale = measure_of(wanted + t * columns, columns);
        for (size_t j = t * columns; j < (t + 1) * columns; j++)
            s->difference[j] = scale * (wanted[j] - activations[j]);
        for (size_t j = t * n; j < (t + 1) * n; j++)
            s->activations[j] *= scale;
    }
    gram_add(refit_gram(&s->problem).values, s->activations, s->activations, rows, n, n, s->scratch, threads);
    if (s->wanted)
        gram_add(s->problem.cross, s->difference, s->activations, rows, columns, n, s->scratch, threads);
    s->seen += rows;
}

/* One pass of each model through the layer: the cut one stays where it is, the dense one goes on after the layer's last site. */
static bool look(surgery *s, uint32_t layer, bool last, pare_error *error) {
    size_t n = s->problem.n, out = s->problem.out;
    pare_tap dense = {1u << sites[s->at].gives, remember, s}, tap = {1u << sites[s->at].reads | 1u << sites[s->at].gives, observe, s};
    memset(s->problem.gram, 0, (n + 1) * n * sizeof *s->problem.gram);
    memset(s->problem.cross, 0, out * n * sizeof *s->problem.cross);
    s->seen = 0;
    if (s->wanted && !pare_stream_layer(s->dense_stream, s->dense, layer, &dense, last, error))
        return false;
    s->seen = 0;
    return pare_stream_layer(s->stream, s->model, layer, &tap, !s->wanted && last, error);
}

/* cross += W gram, some rows of W at a time. */
static bool add_product(surgery *s, uint32_t layer, pare_error *error) {
    size_t n = s->problem.n, out = s->problem.out;
    float *row = pare_allocate(n, sizeof *row, error);
    double *rows = pare_allocate(PANEL * n, sizeof *rows, error);
    const pare_view *weight = &s->dense->layers[layer].linears[sites[s->at].projection].weight;
    const pare_symmetric gram = refit_gram(&s->problem);
    bool done = row && rows;
    for (size_t at = 0; done && at < out; at += PANEL) {
        size_t m = out - at < PANEL ? out - at : PANEL;
        for (size_t o = 0; o < m; o++) {
            pare_view_read(row, weight, (uint32_t)(at + o), 1, NULL);
            for (size_t j = 0; j < n; j++)
                rows[o * n + j] = (double)row[j];
        }
        pare_symm(s->problem.cross + at * n, rows, &gram, m, n, n);
    }
    pare_free(row);
    pare_free(rows);
    return done;
}

/* Sums become means; the ridge; cross = W gram + PULL mean difference h^T, which with the ridge in gram holds its pull to W as well. */
static bool pose(surgery *s, uint32_t layer, pare_error *error) {
    size_t n = s->problem.n, out = s->problem.out;
    double tokens = (double)pare_stream_tokens(s->stream), loudest = 0, *gram = refit_gram(&s->problem).values;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++)
            gram[i * n + j] /= tokens;
    for (size_t i = 0; i < out * n; i++)
        s->problem.cross[i] *= PULL / tokens;
    for (size_t i = 0; i < n; i++)
        loudest = fmax(loudest, gram[i * n + i]);
    for (size_t i = 0; i < n; i++) /* one that never fires must not make it singular */
        gram[i * n + i] += RIDGE * gram[i * n + i] + 1e-9 * loudest + 1e-30;
    return add_product(s, layer, error);
}

static bool reopen(surgery *s, pare_error *error) {
    pare_model_close(s->model);
    return (s->model = pare_model_open(s->checkpoint, s->cut, error)) != NULL;
}

static bool keep(surgery *s, uint32_t layer, const uint32_t *kept, uint32_t n_kept, pare_error *error) {
    return s->at == SURGERY_FFN ? pare_cut_keep_ffn(s->cut, layer, kept, n_kept, error)
                                : pare_cut_keep_groups(s->cut, layer, kept, n_kept, error);
}

static void enter(surgery *s, surgery_site at) {
    const pare_config *c = &s->checkpoint->config;
    s->at = at;
    s->problem.n = at == SURGERY_FFN ? c->ffn_width : c->n_heads * c->head_dim;
    s->problem.out = c->width;
    s->per = at == SURGERY_FFN ? 1 : s->problem.n / c->n_kv_heads;
}

static bool operate(surgery *s, uint32_t layer, uint32_t n_kept, bool last, pare_error *error) {
    char name[96];
    if (!look(s, layer, last, error) || !pose(s, layer, error))
        return false;
    if (!refit_select(s->kept, &s->problem, s->per, n_kept, s->context, error) || !keep(s, layer, s->kept, n_kept, error))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, pare_projection_path(sites[s->at].projection));
    float *weights = pare_cut_replace(s->cut, name, error);
    return weights && refit_solve(weights, &s->problem, s->per, s->kept, n_kept, error) && reopen(s, error);
}

static bool allocate(surgery *s, pare_error *error) {
    const pare_config *c = &s->checkpoint->config;
    size_t n = c->n_heads * c->head_dim > c->ffn_width ? c->n_heads * c->head_dim : c->ffn_width, out = c->width,
           rows = pare_stream_batch(s->stream);
    pare_arena *a = s->arena;
    return (s->problem.gram = PARE_PUSH(a, double, (n + 1) * n, error)) && (s->problem.cross = PARE_PUSH(a, double, out *n, error)) &&
           (s->problem.work = PARE_PUSH(a, double, out *n, error)) &&
           (s->scratch = PARE_PUSH(a, float, gram_scratch(pare_context_threads(s->context)), error)) &&
           (s->activations = PARE_PUSH(a, float, rows *n, error)) && (s->difference = PARE_PUSH(a, float, rows *out, error)) &&
           (s->kept = PARE_PUSH(a, uint32_t, n, error));
}

/* paired: a dense model beside the one that is cut. */
static bool begin(surgery *s, const pare_windows *windows, bool paired, pare_error *error) {
    return (s->arena = pare_arena_open(error)) && (s->cut = pare_cut_open(&s->checkpoint->config, error)) &&
           (s->dense = pare_model_open(s->checkpoint, NULL, error)) && reopen(s, error) &&
           (s->stream = pare_stream_open(s->model, windows, s->context, error)) && allocate(s, error) &&
           (!paired || ((s->dense_stream = pare_stream_open(s->dense, windows, s->context, error)) &&
                        (s->wanted = PARE_PUSH(s->arena, float, pare_stream_tokens(s->stream) * s->checkpoint->config.width, error))));
}

static void end(surgery *s) {
    pare_stream_close(s->stream);
    pare_stream_close(s->dense_stream);
    pare_model_close(s->model);
    pare_model_close(s->dense);
    pare_arena_close(s->arena);
}

static void let_go(const surgery *s, uint32_t layer) {
    char name[64];
    snprintf(name, sizeof name, "model.layers.%u.", layer);
    pare_checkpoint_drop(s->checkpoint, name);
    pare_cut_let_go(s->cut);
}

static bool operate_on_layer(surgery *s, uint32_t layer, const surgery_counts *counts, pare_error *error) {
    bool attention = counts->kept[SURGERY_ATTENTION] != NULL, ffn = counts->kept[SURGERY_FFN] != NULL;
    if (attention) {
        enter(s, SURGERY_ATTENTION);
        if (!operate(s, layer, counts->kept[SURGERY_ATTENTION][layer], !ffn, error))
            return false;
    }
    if (ffn) {
        enter(s, SURGERY_FFN);
        if (!operate(s, layer, counts->kept[SURGERY_FFN][layer], true, error))
            return false;
    }
    bool done = pare_stream_layer(s->stream, s->model, layer, NULL, true, error);
    let_go(s, layer);
    return done;
}

pare_cut *surgery_cut(const pare_checkpoint *checkpoint, const pare_windows *windows, const surgery_counts *counts,
                      const pare_context *context, pare_error *error) {
    surgery s = {.checkpoint = checkpoint, .context = context};
    uint32_t layers = checkpoint->config.n_layers;
    bool done = begin(&s, windows, true, error);
    for (uint32_t i = 0; done && i < layers; i++) {
        pare_context_progress(context, "remove units and refit", i, layers);
        done = operate_on_layer(&s, i, counts, error);
    }
    end(&s);
    if (done)
        return s.cut;
    pare_cut_close(s.cut);
    return NULL;
}

bool surgery_costs(double *costs[SURGERY_SITES], const uint32_t least[SURGERY_SITES], const pare_checkpoint *checkpoint,
                   const pare_windows *windows, const pare_context *context, pare_error *error) {
    surgery s = {.checkpoint = checkpoint, .context = context};
    uint32_t layers = checkpoint->config.n_layers;
    bool done = begin(&s, windows, false, error);
    for (uint32_t i = 0; done && i < layers; i++) {
        pare_context_progress(context, "measure what each width would lose", i, layers);
        for (int at = 0; done && at < SURGERY_SITES; at++) {
            enter(&s, (surgery_site)at);
            done = look(&s, i, at == SURGERY_FFN, error) && pose(&s, i, error);
            if (done)
                done = refit_costs(costs[at] + i * (s.problem.n / s.per + 1), &s.problem, s.per, least[at], context, error);
        }
        let_go(&s, i);
    }
    end(&s);
    pare_cut_close(s.cut);
    return done;
}

size_t surgery_bytes(const pare_model *model, const pare_windows *windows, const pare_context *context) {
    const pare_config *c = &model->config;
    size_t n = c->n_heads * c->head_dim > c->ffn_width ? c->n_heads * c->head_dim : c->ffn_width, out = c->width;
    size_t tokens = windows->n * windows->length, rows = pare_stream_batch_of(model, windows);
    size_t doubles = (n + 1) * n + 2 * out * n + PANEL * n;
    doubles += n / 16 * (n + n / 16 + out); /* a round of the elimination at most */
    size_t floats = gram_scratch(pare_context_threads(context)) + rows * (n + out) + tokens * out + out * n;
    return 2 * pare_stream_bytes(model, windows, context) + doubles * sizeof(double) + floats * sizeof(float);
}
