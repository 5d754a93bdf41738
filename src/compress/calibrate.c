/* calibrate: one streaming pass of the dense model; moments of the activations that scores are made of, in double. */
#include <math.h>
#include <string.h>

#include "pare/compress.h"
#include "pare/stream.h"

typedef struct {
    pare_calibration *calibration;
    float *entered; /* (rows, width): what entered the layer at hand */
} collector;

/* Which activations have moments. */
static const pare_tap_place measured[] = {PARE_TAP_ATTENTION_IN, PARE_TAP_ATTENDED, PARE_TAP_FFN_IN, PARE_TAP_FFN};
enum { N_MEASURED = sizeof measured / sizeof *measured };

/* Sum over rows of the cosine between x and y. */
static double cosines(const float *x, const float *y, size_t rows, size_t width) {
    double sum = 0;
    for (size_t r = 0; r < rows; r++, x += width, y += width) {
        double xy = 0, xx = 0, yy = 0;
        for (size_t j = 0; j < width; j++) {
            xy += (double)x[j] * (double)y[j];
            xx += (double)x[j] * (double)x[j];
            yy += (double)y[j] * (double)y[j];
        }
        sum += xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : xx + yy; /* NaN stays NaN */
    }
    return sum;
}

static void collect(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    const collector *c = user;
    if (place == PARE_TAP_IN) {
        memcpy(c->entered, activations, rows * columns * sizeof *activations);
        return;
    }
    if (place == PARE_TAP_OUT) {
        c->calibration->similarity[layer] += cosines(c->entered, activations, rows, columns);
        return;
    }
    const pare_moments *m = &c->calibration->places[place]; /* one of `measured` */
    size_t at = (size_t)layer * columns;
    pare_kernels_best()->add_moments(m->mean + at, m->mean_square + at, activations, rows, columns);
}

/* One layer after another: the pages of a layer are let go when all windows are through it. */
static bool pass(pare_calibration *calibration, const pare_model *model, pare_stream *stream, const pare_context *context,
                 pare_error *error) {
    collector user = {calibration, pare_allocate(pare_stream_batch(stream) * model->config.width, sizeof(float), error)};
    pare_tap tap = {1u << PARE_TAP_IN | 1u << PARE_TAP_OUT, collect, &user};
    for (size_t p = 0; p < N_MEASURED; p++)
        tap.places |= 1u << measured[p];
    bool done = user.entered != NULL;
    for (uint32_t i = 0; done && i < model->config.n_layers; i++) {
        pare_context_progress(context, "calibrate", i, model->config.n_layers);
        done = pare_stream_layer(stream, model, i, &tap, true, error);
        pare_model_leave_layer(model, i);
    }
    if (done)
        pare_context_progress(context, "calibrate", model->config.n_layers, model->config.n_layers);
    pare_free(user.entered);
    return done;
}

static bool average(pare_calibration *calibration, pare_error *error) {
    double tokens = (double)calibration->tokens;
    for (size_t p = 0; p < N_MEASURED; p++) {
        const pare_moments *m = &calibration->places[measured[p]];
        for (size_t i = 0; i < (size_t)calibration->n_layers * m->columns; i++) {
            m->mean_square[i] /= tokens;
            m->mean[i] /= tokens;
            if (!isfinite(m->mean_square[i]))
                return pare_fail(error, PARE_ERROR_NUMERIC, "calibration: the activations of layer %zu, %s %zu are not finite",
                                 i / m->columns, measured[p] == PARE_TAP_FFN ? "neuron" : "column", i % m->columns);
        }
    }
    for (uint32_t i = 0; i < calibration->n_layers; i++) {
        calibration->similarity[i] /= tokens;
        if (!isfinite(calibration->similarity[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "calibration: what leaves layer %u is not finite", i);
    }
    return true;
}

static bool allocate(pare_calibration *calibration, const pare_config *c, pare_error *error) {
    const uint32_t columns[N_MEASURED] = {c->width, c->n_heads * c->head_dim, c->width, c->ffn_width};
    for (size_t p = 0; p < N_MEASURED; p++) {
        pare_moments *m = &calibration->places[measured[p]];
        m->columns = columns[p];
        if (!(m->mean = pare_allocate((size_t)c->n_layers * columns[p], sizeof(double), error)) ||
            !(m->mean_square = pare_allocate((size_t)c->n_layers * columns[p], sizeof(double), error)))
            return false;
    }
    return (calibration->similarity = pare_allocate(c->n_layers, sizeof(double), error)) != NULL;
}

static bool copy_windows(pare_windows *copy, const pare_windows *windows, pare_error *error) {
    size_t n = windows->n * windows->length;
    *copy = *windows;
    if ((copy->ids = pare_allocate(n, sizeof *copy->ids, error)))
        memcpy(copy->ids, windows->ids, n * sizeof *copy->ids);
    return copy->ids != NULL;
}

static bool look(pare_calibration *calibration, const pare_checkpoint *checkpoint, const pare_context *context, pare_error *error) {
    pare_model *model = allocate(calibration, &checkpoint->config, error) ? pare_model_open(checkpoint, NULL, error) : NULL;
    pare_stream *stream = model ? pare_stream_open(model, &calibration->windows, context, error) : NULL;
    bool done = stream && pass(calibration, model, stream, context, error) && average(calibration, error);
    pare_stream_close(stream);
    pare_model_close(model);
    return done;
}

bool pare_calibrate(pare_calibration *calibration, const pare_checkpoint *checkpoint, const pare_windows *windows, bool activations,
                    const pare_context *context, pare_error *error) {
    *calibration = (pare_calibration){.n_layers = checkpoint->config.n_layers, .tokens = windows->n * windows->length};
    pare_scores alike; /* refuses layers that differ, as every method does */
    if (pare_scores_shape(&alike, PARE_UNIT_FFN, &checkpoint->config, error) && copy_windows(&calibration->windows, windows, error) &&
        (!activations || look(calibration, checkpoint, context, error)))
        return true;
    pare_calibration_free(calibration);
    return false;
}

void pare_calibration_free(pare_calibration *calibration) {
    for (size_t p = 0; p < PARE_TAP_PLACES; p++) {
        pare_free(calibration->places[p].mean);
        pare_free(calibration->places[p].mean_square);
    }
    pare_free(calibration->similarity);
    pare_windows_free(&calibration->windows);
    *calibration = (pare_calibration){0};
}
