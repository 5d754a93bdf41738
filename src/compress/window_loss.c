/* window_loss: see window_loss.h. */
#include "window_loss.h"

#include <math.h>

enum { TOKENS_MOST = 4096, BATCH_TOKENS = 2048 };

static size_t windows_in(size_t tokens, size_t length, size_t most) {
    size_t n = tokens / length > 0 ? tokens / length : 1;
    return n < most ? n : most;
}

/* A layer's mapped pages go behind the windows: the next batch finds them in the system's cache. */
static void let_go(void *user, pare_tap_place place, uint32_t layer, float *x, size_t rows, size_t columns) {
    (void)place, (void)x, (void)rows, (void)columns;
    pare_model_leave_layer(user, layer);
}

/* Sum over one batch of windows; rows, targets and nll have room for it. */
static bool add_batch(double *sum, pare_model *model, pare_forward *forward, const uint32_t *ids, size_t n, size_t length, uint32_t *rows,
                      uint32_t *targets, double *nll, pare_error *error) {
    pare_tap tap = {.places = 1u << PARE_TAP_OUT, .at = let_go, .user = model};
    size_t at = 0;
    for (size_t i = 0; i < n * length; i++)
        if (i % length + 1 < length) {
            rows[at] = (uint32_t)i;
            targets[at++] = ids[i + 1];
        }
    if (!pare_forward_run(forward, ids, n, length, &tap, error) || !pare_forward_nll(nll, forward, rows, targets, at, error))
        return false;
    for (size_t i = 0; i < at; i++)
        *sum += nll[i];
    return true;
}

bool window_loss(double *loss, const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_windows *windows,
                 const pare_context *context, pare_error *error) {
    size_t length = windows->length;
    if (length < 2)
        return pare_fail(error, PARE_ERROR_RANGE, "calibration windows of one token have no loss: use longer ones");
    size_t n = windows_in(TOKENS_MOST, length, windows->n), batch = windows_in(BATCH_TOKENS, length, n);
    pare_arena *arena = pare_arena_open(error);
    uint32_t *rows = arena ? PARE_PUSH(arena, uint32_t, batch * length, error) : NULL;
    uint32_t *targets = rows ? PARE_PUSH(arena, uint32_t, batch * length, error) : NULL;
    double *nll = targets ? PARE_PUSH(arena, double, batch *length, error) : NULL, sum = 0;
    pare_model *model = nll ? pare_model_open(checkpoint, cut, error) : NULL;
    pare_forward *forward = model ? pare_forward_open(model, batch, length, context, error) : NULL;
    bool done = forward != NULL;
    for (size_t first = 0; done && first < n; first += batch)
        done = add_batch(&sum, model, forward, windows->ids + first * length, n - first < batch ? n - first : batch, length, rows, targets,
                         nll, error);
    pare_forward_close(forward);
    pare_model_close(model);
    pare_arena_close(arena);
    *loss = sum / (double)(n * (length - 1));
    return done && (isfinite(*loss) || pare_fail(error, PARE_ERROR_NUMERIC, "the loss on the calibration text is not finite"));
}

size_t window_loss_bytes(const pare_model *model, const pare_windows *windows, const pare_context *context) {
    size_t batch = windows_in(BATCH_TOKENS, windows->length, windows->n);
    return pare_forward_bytes(model, batch, windows->length, context) + batch * windows->length * 16 + model->head.tensor->n_bytes;
}
