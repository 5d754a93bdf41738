/* cross_entropy: windows through the model, negative log-probabilities of the scored tokens, their mean and its errors. */
#include <math.h>
#include <stdio.h>

#include "pare/eval.h"

enum { BATCH_TOKENS = 2048 }; /* short windows go through together, so that the matrix products stay large */

/* Sums over the scored tokens, and over windows of their means. */
typedef struct {
    double sum, squares, window_sum, window_squares;
    uint64_t tokens;
    size_t windows;
} totals;

/* Buffers of one batch: which hidden rows predict which targets. */
typedef struct {
    uint32_t *rows, *targets;
    double *nll;
    size_t per_window;
} batch_buffers;

static void list_targets(batch_buffers *b, const pare_eval_text *text, const uint32_t *ids, size_t n_windows) {
    size_t length = text->windows.length, at = 0;
    for (size_t w = 0; w < n_windows; w++)
        for (size_t t = text->first_scored; t + 1 < length; t++, at++) {
            b->rows[at] = (uint32_t)(w * length + t);
            b->targets[at] = ids[w * length + t + 1];
        }
}

static bool add_window(totals *sums, const double *nll, size_t n, size_t window, const pare_eval_text *text, pare_error *error) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        sum += nll[i];
        squares += nll[i] * nll[i];
    }
    if (!isfinite(sum))
        return pare_fail(error, PARE_ERROR_NUMERIC, "the loss of window %zu (%s) is not finite", window, text->protocol.name);
    double mean = sum / (double)n;
    sums->sum += sum;
    sums->squares += squares;
    sums->window_sum += mean;
    sums->window_squares += mean * mean;
    sums->tokens += n;
    sums->windows++;
    return true;
}

/* Progress within a batch: whoever calls for a tap is called too. */
typedef struct {
    const pare_tap *other; /* NULL: nobody */
    const pare_context *context;
    size_t first, n, n_windows; /* windows before the batch, in it, and in all */
    double layers;              /* what the batch costs, counted in layers: the head's products too */
} layer_progress;

static void on_layer(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    const layer_progress *p = user;
    if (place == PARE_TAP_IN)
        pare_context_progress(p->context, "evaluate", (double)p->first + (double)p->n * layer / p->layers, (double)p->n_windows);
    if (p->other && p->other->places >> place & 1)
        p->other->at(p->other->user, place, layer, activations, rows, columns);
}

static double cost_in_layers(const pare_config *config) {
    double head = (double)config->vocabulary * config->width, all = (double)pare_config_size(config).macs;
    return config->n_layers * all / (all - head);
}

static bool score_batch(totals *sums, pare_forward *forward, batch_buffers *b, const pare_eval_text *text, size_t first, size_t n,
                        const pare_tap *tap, pare_error *error) {
    const uint32_t *ids = text->windows.ids + first * text->windows.length;
    list_targets(b, text, ids, n);
    if (!pare_forward_run(forward, ids, n, text->windows.length, tap, error) ||
        !pare_forward_nll(b->nll, forward, b->rows, b->targets, n * b->per_window, error))
        return false;
    for (size_t w = 0; w < n; w++)
        if (!add_window(sums, b->nll + w * b->per_window, b->per_window, first + w, text, error))
            return false;
    return true;
}

static void summarise(pare_eval_result *result, const totals *sums) {
    double n = (double)sums->tokens, w = (double)sums->windows, mean = sums->sum / n;
    double variance = fmax(0, sums->squares / n - mean * mean), window_mean = sums->window_sum / w;
    double window_variance = fmax(0, sums->window_squares / w - window_mean * window_mean);
    result->tokens_scored = sums->tokens;
    result->windows = sums->windows;
    result->cross_entropy = mean;
    result->cross_entropy_error = n > 1 ? sqrt(variance / (n - 1)) : (double)NAN;
    result->window_error = w > 1 ? sqrt(window_variance / (w - 1)) : (double)NAN;
    result->perplexity = exp(mean);
    result->perplexity_error = result->perplexity * result->cross_entropy_error;
}

static bool score_all(totals *sums, const pare_model *model, const pare_eval_text *text, size_t n_windows, const pare_tap *tap,
                      const pare_context *context, pare_error *error) {
    size_t length = text->windows.length, batch = BATCH_TOKENS / length > 0 ? BATCH_TOKENS / length : 1;
    batch = batch < n_windows ? batch : n_windows;
    batch_buffers b = {.per_window = length - 1 - text->first_scored};
    size_t n = batch * b.per_window;
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return false;
    b.rows = PARE_PUSH(arena, uint32_t, n, error);
    b.targets = PARE_PUSH(arena, uint32_t, n, error);
    b.nll = PARE_PUSH(arena, double, n, error);
    pare_forward *forward = b.rows && b.targets && b.nll ? pare_forward_open(model, batch, length, context, error) : NULL;
    bool done = forward != NULL;
    layer_progress p = {.other = tap, .context = context, .n_windows = n_windows, .layers = cost_in_layers(&model->config)};
    const pare_tap both = {(tap ? tap->places : 0) | 1U << PARE_TAP_IN, on_layer, &p};
    for (; done && p.first < n_windows; p.first += p.n) {
        p.n = n_windows - p.first < batch ? n_windows - p.first : batch;
        done = score_batch(sums, forward, &b, text, p.first, p.n, &both, error);
    }
    if (done)
        pare_context_progress(context, "evaluate", (double)n_windows, (double)n_windows);
    pare_forward_close(forward);
    pare_arena_close(arena);
    return done;
}

bool pare_eval_run(pare_eval_result *result, const pare_model *model, const pare_eval_text *text, size_t limit, const pare_tap *tap,
                   const pare_context *context, pare_error *error) {
    *result = (pare_eval_result){0};
    size_t n_windows = limit && limit < text->windows.n ? limit : text->windows.n;
    double begin = pare_clock_s();
    totals sums = {0};
    if (!score_all(&sums, model, text, n_windows, tap, context, error))
        return false;
    summarise(result, &sums);
    result->seconds = pare_clock_s() - begin;
    result->tokens_per_s = (double)(n_windows * text->windows.length) / result->seconds;
    return true;
}
