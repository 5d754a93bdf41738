/* svd-llm: SVD-LLM (Wang et al. 2024), truncation-aware whitening: with S S^T the mean of x x^T over a projection's inputs x on the
 * calibration text, the singular value decomposition of W S is truncated, so that what a dropped direction costs in the output is its
 * singular value. W' = U_k Sigma_k V_k^T S^-1 is kept as two factors.
 *
 * The inputs are the dense model's, as in the authors' code. Taken from the model compressed so far, layer by layer, they do not help:
 * pare-llama-1.31M has losses of 3.293, 3.588, 4.042, 4.652, 5.404 at r = 0.1 ... 0.5 with the dense model's inputs and of 3.295, 3.629,
 * 4.094, 4.688, 5.401 with those; pare-qwen2-1.31M 3.331, 3.612, 4.076, 4.649, 5.336 and 3.340, 3.641, 4.134, 4.698, 5.485; and with new
 * inputs within a layer too, after each matrix, no better (up to 0.4; gguf256, 32 windows; 64 windows of calibration). The training of
 * the factors that the paper goes on with is pare finetune. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../gram.h"
#include "../low_rank.h"
#include "method.h"
#include "pare/stream.h"

/* Of each variance: on the models above it changes no loss by 0.001 nats; with fewer tokens than columns the directions that
 * were never seen are then ranked by the weights, and not by rounding (1e-6 of a variance). */
static const double RIDGE = 1e-3;

/* Projections that read the same inputs. */
typedef struct {
    pare_tap_place place;
    uint32_t n;
    pare_projection which[3];
} site;

enum { SITES = 4 };

static const site sites[SITES] = {
    {PARE_TAP_ATTENTION_IN, 3, {PARE_Q, PARE_K, PARE_V}},
    {PARE_TAP_ATTENDED, 1, {PARE_O}},
    {PARE_TAP_FFN_IN, 2, {PARE_GATE, PARE_UP}},
    {PARE_TAP_FFN, 1, {PARE_DOWN}},
};

typedef struct {
    const pare_checkpoint *checkpoint;
    const pare_context *context;
    pare_cut *cut;
    pare_model *dense;
    pare_stream *stream;
    low_rank_pair *pairs; /* (n_layers, PARE_PROJECTIONS) */
    size_t n[SITES];
    double *gram[SITES]; /* (n, n): sums of x x^T, then S^T */
    float *scratch;
    pare_arena *arena;
} state;

static void observe(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    state *s = user;
    (void)layer;
    for (int i = 0; i < SITES; i++)
        if (sites[i].place == place)
            gram_add(s->gram[i], activations, activations, rows, columns, columns, s->scratch, pare_context_threads(s->context));
}

/* Sums of x x^T -> S^T, zeros below the diagonal. The ridge: a share of each column's own variance, so that the unit a column is measured
 * in does not matter; and 1e-9 of the largest as in surgeon, for neurons that never fire. */
static bool whiten(double *gram, size_t n, double tokens, pare_error *error) {
    double loudest = 0;
    gram_mirror(gram, n);
    for (size_t i = 0; i < n * n; i++)
        gram[i] /= tokens;
    for (size_t i = 0; i < n; i++)
        loudest = fmax(loudest, gram[i * n + i]);
    for (size_t i = 0; i < n; i++)
        gram[i * n + i] += RIDGE * gram[i * n + i] + 1e-9 * loudest + 1e-30;
    const pare_symmetric lower = {gram, PARE_LOWER, n, n};
    if (!pare_cholesky(&lower, error))
        return false;
    for (size_t i = 0; i < n; i++) /* LAPACK leaves S below the diagonal */
        for (size_t j = 0; j < i; j++) {
            gram[j * n + i] = gram[i * n + j];
            gram[i * n + j] = 0;
        }
    return true;
}

static bool look(state *s, uint32_t layer, pare_error *error) {
    pare_tap tap = {.at = observe, .user = s};
    for (int i = 0; i < SITES; i++) {
        tap.places |= 1u << sites[i].place;
        memset(s->gram[i], 0, s->n[i] * s->n[i] * sizeof *s->gram[i]);
    }
    if (!pare_stream_layer(s->stream, s->dense, layer, &tap, true, error))
        return false;
    for (int i = 0; i < SITES; i++)
        if (!whiten(s->gram[i], s->n[i], (double)pare_stream_tokens(s->stream), error))
            return false;
    return true;
}

static bool split_layer(state *s, uint32_t layer, pare_error *error) {
    const double *whitening[PARE_PROJECTIONS];
    char what[48];
    pare_error problem = {0};
    for (int i = 0; i < SITES; i++)
        for (uint32_t j = 0; j < sites[i].n; j++)
            whitening[sites[i].which[j]] = s->gram[i];
    snprintf(what, sizeof what, "model.layers.%u.", layer);
    bool done = look(s, layer, &problem) &&
                low_rank_fill(s->pairs + (size_t)layer * PARE_PROJECTIONS, s->dense, layer, s->cut, whitening, s->context, &problem);
    pare_checkpoint_drop(s->checkpoint, what);
    pare_cut_let_go(s->cut);
    if (!done && problem.code == PARE_ERROR_NUMERIC)
        return pare_fail(error, problem.code, "svd-llm, layer %u: %.900s", layer, problem.message);
    if (!done && error)
        *error = problem;
    return done;
}

static bool open_state(state *s, pare_cut *cut, const pare_windows *windows, const pare_plan *plan, pare_error *error) {
    const pare_config *c = &s->checkpoint->config;
    if (!(s->arena = pare_arena_open(error)) ||
        !(s->pairs = PARE_PUSH(s->arena, low_rank_pair, (size_t)c->n_layers * PARE_PROJECTIONS, error)) ||
        !low_rank_place(s->pairs, cut, plan, error) || !(s->dense = pare_model_open(s->checkpoint, NULL, error)) ||
        !(s->stream = pare_stream_open(s->dense, windows, s->context, error)) ||
        !(s->scratch = PARE_PUSH(s->arena, float, gram_scratch(pare_context_threads(s->context)), error)))
        return false;
    for (int i = 0; i < SITES; i++) {
        s->n[i] = (size_t)pare_config_linear(c, 0, sites[i].which[0]).in;
        if (!(s->gram[i] = PARE_PUSH(s->arena, double, s->n[i] * s->n[i], error)))
            return false;
    }
    return true;
}

static pare_cut *build(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                       const pare_context *context, pare_error *error) {
    state s = {.checkpoint = checkpoint, .context = context};
    pare_cut *cut = s.cut = pare_cut_open(&checkpoint->config, error);
    bool done = cut && open_state(&s, cut, &calibration->windows, plan, error);
    for (uint32_t i = 0; done && i < checkpoint->config.n_layers; i++) {
        pare_context_progress(context, "decompose the matrices", i, checkpoint->config.n_layers);
        done = split_layer(&s, i, error);
    }
    pare_stream_close(s.stream);
    pare_model_close(s.dense);
    pare_arena_close(s.arena);
    if (done)
        return cut;
    pare_cut_close(cut);
    return NULL;
}

/* Grams of the four inputs of a layer, and its matrices. */
static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    int threads = pare_context_threads(context);
    size_t doubles = 0;
    (void)method;
    for (int i = 0; i < SITES; i++) {
        pare_linear_shape s = pare_config_linear(&model->config, 0, sites[i].which[0]);
        doubles += (size_t)(s.in * s.in);
    }
    return pare_stream_bytes(model, windows, context) + low_rank_bytes(&model->config, true, threads) + doubles * sizeof(double) +
           gram_scratch(threads) * sizeof(float);
}

const pare_method pare_method_svd_llm = {
    .name = "svd-llm",
    .summary = "replaces each projection matrix by two factors from the singular value decomposition of W S, with S the Cholesky factor of "
               "the inputs' covariance",
    .source = "Wang et al. 2024 (SVD-LLM)",
    .unit = PARE_UNIT_DIRECTIONS,
    .calibrated = true,
    .text_only = true,
    .build = build,
    .memory = memory,
};
