/* against: a model beside the dense one on the same scored tokens: how far the distributions lie apart, and the difference of losses token
 * by token, whose error is far smaller than that of either loss. KL(dense || model) = sum_j p_j (z_j - z'_j) - (lse - lse'), p = exp(z -
 * lse): z, z' logits of the dense model and of the other */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pare/eval.h"

enum { BATCH_TOKENS = 2048, ROWS = 64 };

typedef struct {
    const pare_model *model;
    pare_forward *forward;
    float *logits; /* (ROWS, vocabulary) */
} side;

typedef struct {
    side dense, other;
    float *probabilities; /* (ROWS, vocabulary) of the dense model */
    size_t vocabulary, n; /* tokens compared so far */
    double *divergence;   /* (tokens) */
    double sum, squares, base_sum, window_squares, agreed;
    size_t windows;
    pare_arena *arena;
} comparison;

static bool side_open(side *s, comparison *c, const pare_model *model, size_t batch, size_t length, const pare_context *context,
                      pare_error *error) {
    s->model = model;
    return (s->forward = pare_forward_open(model, batch, length, context, error)) &&
           (s->logits = PARE_PUSH(c->arena, float, ROWS * c->vocabulary, error));
}

static bool same_vocabulary(const pare_model *model, const pare_model *dense, pare_error *error) {
    if (model->head.n_rows == dense->head.n_rows)
        return true;
    return pare_fail(error, PARE_ERROR_SHAPE, "%s has %u tokens in its vocabulary and %s has %u: their predictions cannot be compared",
                     model->checkpoint->path, model->head.n_rows, dense->checkpoint->path, dense->head.n_rows);
}

static size_t largest(const float *logits, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = logits[i] > logits[best] ? i : best;
    return best;
}

static double log_sum_exp(const float *logits, size_t n) {
    float maximum = -INFINITY;
    double sum = 0;
    pare_kernels_best()->log_sum_exp(&maximum, &sum, logits, n);
    return (double)maximum + log(sum);
}

/* One token: dense logits z, the other's y. */
typedef struct {
    double divergence, dense_nll, nll;
    bool agreed;
} outcome;

static outcome compare(float *p, const float *z, const float *y, size_t n, uint32_t target) {
    double lse = log_sum_exp(z, n), other = log_sum_exp(y, n), sums[4] = {0};
    pare_kernels_best()->exp_scaled(p, z, n, 1, (float)lse, 1);
    for (size_t i = 0; i < n; i++)
        sums[i % 4] += (double)p[i] * ((double)z[i] - (double)y[i]);
    return (outcome){.divergence = sums[0] + sums[1] + sums[2] + sums[3] - (lse - other),
                     .dense_nll = lse - (double)z[target],
                     .nll = other - (double)y[target],
                     .agreed = largest(z, n) == largest(y, n)};
}

static bool add(comparison *c, const outcome *o, double *window, size_t index, pare_error *error) {
    double difference = o->nll - o->dense_nll;
    if (!isfinite(o->divergence) || !isfinite(difference))
        return pare_fail(error, PARE_ERROR_NUMERIC, "the loss of window %zu is not finite in one of the two models", index);
    c->divergence[c->n++] = o->divergence;
    c->sum += difference;
    c->squares += difference * difference;
    c->base_sum += o->dense_nll;
    c->agreed += o->agreed;
    *window += difference;
    return true;
}

/* The scored tokens of window w of the batch that both passes have run. */
static bool compare_window(comparison *c, const pare_eval_text *text, size_t w, size_t index, const pare_context *context,
                           pare_error *error) {
    size_t length = text->windows.length, end = length - 1;
    const uint32_t *ids = text->windows.ids + index * length;
    double window = 0;
    for (size_t t = text->first_scored; t < end; t += ROWS) {
        size_t n = end - t < ROWS ? end - t : ROWS;
        outcome found[ROWS];
        if (!pare_forward_logits(c->dense.logits, c->dense.forward, w * length + t, n, error) ||
            !pare_forward_logits(c->other.logits, c->other.forward, w * length + t, n, error))
            return false;
#pragma omp parallel for num_threads(pare_context_threads(context)) schedule(static)
        for (size_t i = 0; i < n; i++)
            found[i] = compare(c->probabilities + i * c->vocabulary, c->dense.logits + i * c->vocabulary,
                               c->other.logits + i * c->vocabulary, c->vocabulary, ids[t + i + 1]);
        for (size_t i = 0; i < n; i++)
            if (!add(c, &found[i], &window, index, error))
                return false;
    }
    window /= (double)(end - text->first_scored);
    c->window_squares += window * window;
    c->windows++;
    return true;
}

static bool compare_all(comparison *c, const pare_eval_text *text, size_t n_windows, size_t batch, const pare_context *context,
                        pare_error *error) {
    for (size_t first = 0; first < n_windows; first += batch) {
        size_t n = n_windows - first < batch ? n_windows - first : batch;
        const uint32_t *ids = text->windows.ids + first * text->windows.length;
        pare_context_progress(context, "evaluate both models", (double)first, (double)n_windows);
        if (!pare_forward_run(c->dense.forward, ids, n, text->windows.length, NULL, error) ||
            !pare_forward_run(c->other.forward, ids, n, text->windows.length, NULL, error))
            return false;
        for (size_t w = 0; w < n; w++)
            if (!compare_window(c, text, w, first + w, context, error))
                return false;
    }
    pare_context_progress(context, "evaluate both models", (double)n_windows, (double)n_windows);
    return true;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, linear between neighbours. */
static double percentile(const double *sorted, size_t n, double share) {
    double at = share * (double)(n - 1), below = floor(at);
    size_t i = (size_t)below;
    return i + 1 < n ? sorted[i] + (at - below) * (sorted[i + 1] - sorted[i]) : sorted[i];
}

/* Standard error of a mean of n values, by their sum of squares. */
static double error_of(double mean, double squares, double n) {
    return n > 1 ? sqrt(fmax(0, squares / n - mean * mean) / (n - 1)) : (double)NAN;
}

static void summarise(pare_eval_comparison *result, comparison *c) {
    double n = (double)c->n, sum = 0, squares = 0;
    for (size_t i = 0; i < c->n; i++) {
        sum += c->divergence[i];
        squares += c->divergence[i] * c->divergence[i];
    }
    qsort(c->divergence, c->n, sizeof *c->divergence, ascending);
    for (size_t i = 0; i < PARE_DIVERGENCE_SHARES; i++)
        result->divergence_at[i] = percentile(c->divergence, c->n, pare_divergence_shares[i]);
    result->tokens = c->n;
    result->divergence = sum / n;
    result->divergence_error = error_of(result->divergence, squares, n);
    result->agreement = c->agreed / n;
    result->agreement_error = error_of(result->agreement, c->agreed, n);
    result->dense_cross_entropy = c->base_sum / n;
    result->difference = c->sum / n;
    result->difference_error = error_of(result->difference, c->squares, n);
    result->difference_window_error = error_of(result->difference, c->window_squares, (double)c->windows);
}

const double pare_divergence_shares[PARE_DIVERGENCE_SHARES] = {0, 0.01, 0.05, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1};

bool pare_eval_against(pare_eval_comparison *result, const pare_model *model, const pare_model *dense, const pare_eval_text *text,
                       size_t limit, const pare_context *context, pare_error *error) {
    *result = (pare_eval_comparison){0};
    size_t n_windows = limit && limit < text->windows.n ? limit : text->windows.n, length = text->windows.length;
    size_t batch = BATCH_TOKENS / length > 0 ? BATCH_TOKENS / length : 1, per_window = length - 1 - text->first_scored;
    batch = batch < n_windows ? batch : n_windows;
    comparison c = {.vocabulary = model->head.n_rows};
    if (!same_vocabulary(model, dense, error) || !(c.arena = pare_arena_open(error)))
        return false;
    bool done = (c.divergence = PARE_PUSH(c.arena, double, n_windows *per_window, error)) &&
                (c.probabilities = PARE_PUSH(c.arena, float, ROWS *c.vocabulary, error)) &&
                side_open(&c.dense, &c, dense, batch, length, context, error) &&
                side_open(&c.other, &c, model, batch, length, context, error) && compare_all(&c, text, n_windows, batch, context, error);
    if (done)
        summarise(result, &c);
    pare_forward_close(c.dense.forward);
    pare_forward_close(c.other.forward);
    pare_arena_close(c.arena);
    return done;
}
