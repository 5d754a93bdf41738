/* surgeon: pare's own. Layer by layer, on the activations of the already cut model, whole units are taken out in the order of optimal
 * brain surgery, and the projection that reads them (down_proj of FFN neurons, o_proj of key-value heads with their query heads) is fitted
 * anew, in closed form, to what it should give:
 *
 *   y = W h + PULL (x_dense - x)        h: what the units give, x: the residual stream behind the projection as it would be now,
 *                                       x_dense: the same in the dense model
 *
 * so that a layer also makes up for a part of what earlier layers have lost. Tokens count by their error relative to the residual stream,
 * which is what the next norm makes of it. The ridge, towards the old weights, is a share of each neuron's own mean square: it says that
 * neurons are less alike than the calibration text makes them look, it leaves a neuron of huge activations as well damped as a silent one,
 * and on SmolLM2-135M at r = 0.3 it is worth 0.13 nats against a share of the median of all (docs/measurements.md).
 * Sources of its parts: Hassibi & Stork 1993; Kurtic et al. 2023 (ZipLM); Frantar & Alistarh 2022 (OBC). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../gram.h"
#include "../refit.h"
#include "method.h"
#include "pare/stream.h"

static const double PULL = 0.5, RIDGE = 0.25;

/* Where it operates. */
typedef struct {
    pare_unit unit;
    pare_tap_place reads, gives; /* h, and the residual stream behind */
    pare_projection projection;
} site;

static const site ffn_site = {PARE_UNIT_FFN, PARE_TAP_FFN, PARE_TAP_OUT, PARE_DOWN};
static const site attention_site = {PARE_UNIT_GROUPS, PARE_TAP_ATTENDED, PARE_TAP_MIDDLE, PARE_O};

typedef struct {
    const site *site;
    const pare_checkpoint *checkpoint;
    const pare_context *context;
    pare_cut *cut;
    pare_model *dense, *model; /* model: under the cut as it stands */
    pare_stream *dense_stream, *stream;
    size_t per;                                /* inputs of a unit */
    refit_problem first, problem;              /* first: kept for the last solution, problem: spent by the selection */
    float *wanted;                             /* (all tokens, C): the dense residual stream behind the projection */
    float *scratch, *activations, *difference; /* of one batch: (rows, n), (rows, C) */
    size_t seen;                               /* rows of the pass at hand */
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
    size_t n = s->first.n;
    (void)layer;
    if (place == s->site->reads) {
        memcpy(s->activations, activations, rows * columns * sizeof *activations);
        return;
    }
    const float *wanted = s->wanted + s->seen * columns;
    for (size_t t = 0; t < rows; t++) {
        float scale = measure_of(wanted + t * columns, columns);
        for (size_t j = t * columns; j < (t + 1) * columns; j++)
            s->difference[j] = scale * (wanted[j] - activations[j]);
        for (size_t j = t * n; j < (t + 1) * n; j++)
            s->activations[j] *= scale;
    }
    gram_add(s->first.gram, s->activations, s->activations, rows, n, n, s->scratch, threads);
    gram_add(s->first.cross, s->difference, s->activations, rows, columns, n, s->scratch, threads);
    s->seen += rows;
}

/* One pass of each model through the layer: the dense one goes on, the cut one stays where it is. */
static bool look(surgery *s, uint32_t layer, pare_error *error) {
    size_t n = s->first.n, out = s->first.out;
    pare_tap dense = {1u << s->site->gives, remember, s}, tap = {1u << s->site->reads | 1u << s->site->gives, observe, s};
    memset(s->first.gram, 0, n * n * sizeof *s->first.gram);
    memset(s->first.cross, 0, out * n * sizeof *s->first.cross);
    s->seen = 0;
    if (!pare_stream_layer(s->dense_stream, s->dense, layer, &dense, true, error))
        return false;
    s->seen = 0;
    return pare_stream_layer(s->stream, s->model, layer, &tap, false, error);
}

/* Sums become means; the ridge; cross = W gram + PULL mean difference h^T, which with the ridge in gram holds its pull to W as well. */
static bool pose(surgery *s, uint32_t layer, pare_error *error) {
    size_t n = s->first.n, out = s->first.out;
    double tokens = (double)pare_stream_tokens(s->stream), *weights = pare_allocate(out * n, sizeof *weights, error), loudest = 0;
    float *row = pare_allocate(n, sizeof *row, error);
    bool done = weights && row;
    if (done) {
        gram_mirror(s->first.gram, n);
        for (size_t i = 0; i < n * n; i++)
            s->first.gram[i] /= tokens;
        for (size_t i = 0; i < out * n; i++)
            s->first.cross[i] *= PULL / tokens;
        for (size_t i = 0; i < n; i++)
            loudest = fmax(loudest, s->first.gram[i * n + i]);
        for (size_t i = 0; i < n; i++) /* one that never fires must not make it singular */
            s->first.gram[i * n + i] += RIDGE * s->first.gram[i * n + i] + 1e-9 * loudest + 1e-30;
        const pare_view *weight = &s->dense->layers[layer].linears[s->site->projection].weight;
        for (uint32_t o = 0; o < out; o++) {
            pare_view_read(row, weight, o, 1, NULL);
            for (size_t j = 0; j < n; j++)
                weights[o * n + j] = (double)row[j];
        }
        pare_gemm_nt_f64(s->first.cross, weights, s->first.gram, out, n, n, n, n, n, 1);
    }
    pare_free(row);
    pare_free(weights);
    return done;
}

static bool reopen(surgery *s, pare_error *error) {
    pare_model_close(s->model);
    return (s->model = pare_model_open(s->checkpoint, s->cut, error)) != NULL;
}

static bool keep(surgery *s, uint32_t layer, const uint32_t *kept, uint32_t n_kept, pare_error *error) {
    return s->site->unit == PARE_UNIT_FFN ? pare_cut_keep_ffn(s->cut, layer, kept, n_kept, error)
                                          : pare_cut_keep_groups(s->cut, layer, kept, n_kept, error);
}

static bool operate(surgery *s, uint32_t layer, uint32_t n_kept, uint32_t *kept, pare_error *error) {
    size_t n = s->first.n, out = s->first.out;
    char name[96];
    if (!look(s, layer, error) || !pose(s, layer, error))
        return false;
    memcpy(s->problem.gram, s->first.gram, n * n * sizeof *s->first.gram);
    memcpy(s->problem.cross, s->first.cross, out * n * sizeof *s->first.cross);
    if (!refit_select(kept, &s->problem, s->per, n_kept, s->context, error) || !keep(s, layer, kept, n_kept, error))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, pare_projection_path(s->site->projection));
    float *weights = pare_cut_replace(s->cut, name, error);
    if (!weights || !refit_solve(weights, &s->first, s->per, kept, n_kept, error) || !reopen(s, error) ||
        !pare_stream_layer(s->stream, s->model, layer, NULL, true, error))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.", layer);
    pare_checkpoint_drop(s->checkpoint, name);
    return true;
}

static bool open_streams(surgery *s, const pare_windows *windows, pare_error *error) {
    return (s->dense = pare_model_open(s->checkpoint, NULL, error)) && reopen(s, error) &&
           (s->dense_stream = pare_stream_open(s->dense, windows, s->context, error)) &&
           (s->stream = pare_stream_open(s->model, windows, s->context, error));
}

static bool allocate(surgery *s, pare_error *error) {
    const pare_config *c = &s->checkpoint->config;
    size_t n = s->site->unit == PARE_UNIT_FFN ? c->ffn_width : c->n_heads * c->head_dim, out = c->width,
           rows = pare_stream_batch(s->stream);
    s->per = s->site->unit == PARE_UNIT_FFN ? 1 : n / c->n_kv_heads;
    s->first = s->problem = (refit_problem){.n = n, .out = out};
    return (s->arena = pare_arena_open(error)) && (s->first.gram = PARE_PUSH(s->arena, double, n *n, error)) &&
           (s->problem.gram = PARE_PUSH(s->arena, double, n *n, error)) && (s->first.cross = PARE_PUSH(s->arena, double, out *n, error)) &&
           (s->problem.cross = PARE_PUSH(s->arena, double, out *n, error)) &&
           (s->wanted = PARE_PUSH(s->arena, float, pare_stream_tokens(s->stream) * out, error)) &&
           (s->scratch = PARE_PUSH(s->arena, float, gram_scratch(pare_context_threads(s->context)), error)) &&
           (s->activations = PARE_PUSH(s->arena, float, rows *n, error)) && (s->difference = PARE_PUSH(s->arena, float, rows *out, error));
}

static pare_cut *build_at(const site *at, const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                          const pare_context *context, pare_error *error) {
    surgery s = {.site = at, .checkpoint = checkpoint, .context = context, .cut = pare_cut_open(&checkpoint->config, error)};
    bool done = s.cut && open_streams(&s, &calibration->windows, error) && allocate(&s, error);
    uint32_t *kept = done ? PARE_PUSH(s.arena, uint32_t, plan->n_units, error) : NULL;
    done = kept != NULL;
    for (uint32_t i = 0; done && i < checkpoint->config.n_layers; i++) {
        pare_context_progress(context, "operate", i, checkpoint->config.n_layers);
        done = operate(&s, i, pare_plan_kept(plan, i), kept, error);
    }
    pare_stream_close(s.stream);
    pare_stream_close(s.dense_stream);
    pare_model_close(s.model);
    pare_model_close(s.dense);
    pare_arena_close(s.arena);
    if (done)
        return s.cut;
    pare_cut_close(s.cut);
    return NULL;
}

static pare_cut *build_ffn(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                           const pare_context *context, pare_error *error) {
    return build_at(&ffn_site, checkpoint, calibration, plan, context, error);
}

static pare_cut *build_groups(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                              const pare_context *context, pare_error *error) {
    return build_at(&attention_site, checkpoint, calibration, plan, context, error);
}

#define SOURCE .source = "Hassibi & Stork 1993, Kurtic et al. 2023 (ZipLM), and pare", .calibrated = true, .text_only = true

const pare_method pare_method_surgeon = {
    .name = "surgeon",
    .summary = "pare's own: optimal brain surgery on whole neurons, down_proj fitted anew, layer by layer on the cut model",
    .unit = PARE_UNIT_FFN,
    .build = build_ffn,
    SOURCE,
};

const pare_method pare_method_surgeon_groups = {
    .name = "surgeon-groups",
    .summary = "the same on key-value heads with their query heads, o_proj fitted anew",
    .unit = PARE_UNIT_GROUPS,
    .build = build_groups,
    SOURCE,
};
