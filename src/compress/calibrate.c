/* calibrate: one streaming pass of the dense model; per FFN neuron the sum of squared activations, in double. */
#include <math.h>
#include <stdio.h>

#include "pare/compress.h"

enum { BATCH_TOKENS = 2048 };

typedef struct {
    pare_calibration *calibration;
    const pare_checkpoint *checkpoint;
} collector;

static void collect(void *user, uint32_t layer, float *activations, size_t rows, size_t ffn_width) {
    const collector *c = user;
    pare_kernels_best()->add_squares(c->calibration->mean_square + (size_t)layer * ffn_width, activations, rows, ffn_width);
    char name[64]; /* what has been used of this layer, and the rest of the one before: two layers are in memory at most */
    snprintf(name, sizeof name, "model.layers.%u.", layer);
    pare_checkpoint_drop(c->checkpoint, name);
    snprintf(name, sizeof name, "model.layers.%u.mlp.down_proj.", layer - 1);
    if (layer > 0)
        pare_checkpoint_drop(c->checkpoint, name);
}

static bool stream(pare_calibration *calibration, const pare_model *model, const pare_windows *windows, const pare_context *context,
                   pare_error *error) {
    size_t batch = BATCH_TOKENS / windows->length > 0 ? BATCH_TOKENS / windows->length : 1;
    batch = batch < windows->n ? batch : windows->n;
    pare_forward *forward = pare_forward_open(model, batch, windows->length, context, error);
    if (!forward)
        return false;
    collector user = {calibration, model->checkpoint};
    pare_tap tap = {collect, &user};
    bool done = true;
    for (size_t first = 0; done && first < windows->n; first += batch) {
        pare_context_progress(context, "calibrate", (double)first, (double)windows->n);
        size_t n = windows->n - first < batch ? windows->n - first : batch;
        done = pare_forward_run(forward, windows->ids + first * windows->length, n, windows->length, &tap, error) != NULL;
        calibration->tokens += n * windows->length;
    }
    if (done)
        pare_context_progress(context, "calibrate", (double)windows->n, (double)windows->n);
    pare_forward_close(forward);
    return done;
}

static bool average(pare_calibration *calibration, pare_error *error) {
    for (uint32_t i = 0; i < calibration->n_layers; i++)
        for (uint32_t j = 0; j < calibration->ffn_width; j++) {
            double *value = &calibration->mean_square[(size_t)i * calibration->ffn_width + j];
            *value /= (double)calibration->tokens;
            if (!isfinite(*value))
                return pare_fail(error, PARE_ERROR_NUMERIC, "calibration: the activations of layer %u, neuron %u are not finite", i, j);
        }
    return true;
}

bool pare_calibrate(pare_calibration *calibration, const pare_checkpoint *checkpoint, const pare_windows *windows,
                    const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    *calibration = (pare_calibration){.n_layers = c->n_layers, .ffn_width = c->ffn_width};
    calibration->mean_square = pare_allocate((size_t)c->n_layers * c->ffn_width, sizeof(double), error);
    if (!calibration->mean_square)
        return false;
    pare_model *model = pare_model_open(checkpoint, NULL, error);
    bool done = model && stream(calibration, model, windows, context, error) && average(calibration, error);
    pare_model_close(model);
    if (!done)
        pare_calibration_free(calibration);
    return done;
}

void pare_calibration_free(pare_calibration *calibration) {
    pare_free(calibration->mean_square);
    *calibration = (pare_calibration){0};
}
