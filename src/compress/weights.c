/* weights: see weights.h. */
#include "weights.h"

#include <math.h>
#include <stdio.h>

/* Calls add(sums, row, i, n) for every row i of n weights. */
static bool each_row(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power,
                     void (*add)(double *, const float *, uint32_t, uint32_t, weights_power), pare_error *error) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.mlp.%s.weight", layer, part);
    const pare_tensor *tensor = pare_checkpoint_find(checkpoint, name);
    if (!tensor)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s is missing", checkpoint->path, name);
    pare_view view = pare_view_all(tensor);
    float *row = pare_allocate(view.n_columns, sizeof *row, error);
    if (!row)
        return false;
    for (uint32_t i = 0; i < view.n_rows; i++) {
        pare_view_read(row, &view, i, 1, NULL);
        add(sums, row, i, view.n_columns, power);
    }
    pare_free(row);
    pare_checkpoint_drop(checkpoint, name);
    return true;
}

static double raised(float w, weights_power power) {
    return power == WEIGHTS_ABSOLUTE ? fabs((double)w) : (double)w * (double)w;
}

static void add_row(double *sums, const float *row, uint32_t i, uint32_t n, weights_power power) {
    for (uint32_t j = 0; j < n; j++)
        sums[i] += raised(row[j], power);
}

static void add_columns(double *sums, const float *row, uint32_t i, uint32_t n, weights_power power) {
    (void)i;
    for (uint32_t j = 0; j < n; j++)
        sums[j] += raised(row[j], power);
}

bool weights_add_rows(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power,
                      pare_error *error) {
    return each_row(sums, checkpoint, layer, part, power, add_row, error);
}

bool weights_add_columns(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power,
                         pare_error *error) {
    return each_row(sums, checkpoint, layer, part, power, add_columns, error);
}
