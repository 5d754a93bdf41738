/* weights: see weights.h. */
#include "weights.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    double *sums;
    weights_power power;
    uint32_t per;
    const float *gradient; /* (rows, columns), or NULL */
} sink;

static double raised(float w, weights_power power) {
    return power == WEIGHTS_ABSOLUTE ? fabs((double)w) : (double)w * (double)w;
}

static void add_row(const sink *s, const float *row, uint32_t i, uint32_t n) {
    for (uint32_t j = 0; j < n; j++)
        s->sums[i / s->per] += raised(row[j], s->power);
}

static void add_columns(const sink *s, const float *row, uint32_t i, uint32_t n) {
    (void)i;
    for (uint32_t j = 0; j < n; j++)
        s->sums[j / s->per] += raised(row[j], s->power);
}

static void add_row_products(const sink *s, const float *row, uint32_t i, uint32_t n) {
    for (uint32_t j = 0; j < n; j++)
        s->sums[i / s->per] += fabs((double)row[j] * (double)s->gradient[(size_t)i * n + j]);
}

static void add_column_products(const sink *s, const float *row, uint32_t i, uint32_t n) {
    for (uint32_t j = 0; j < n; j++)
        s->sums[j / s->per] += fabs((double)row[j] * (double)s->gradient[(size_t)i * n + j]);
}

/* Calls add(s, row, i, n) for every row i of n weights. */
static bool each_row(const sink *s, const pare_checkpoint *checkpoint, const char *name,
                     void (*add)(const sink *, const float *, uint32_t, uint32_t), pare_error *error) {
    const pare_tensor *tensor = pare_checkpoint_find(checkpoint, name);
    if (!tensor)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s is missing", checkpoint->path, name);
    pare_view view = pare_view_all(tensor);
    float *row = pare_allocate(view.n_columns, sizeof *row, error);
    if (!row)
        return false;
    for (uint32_t i = 0; i < view.n_rows; i++) {
        pare_view_read(row, &view, i, 1, NULL);
        add(s, row, i, view.n_columns);
    }
    pare_free(row);
    pare_checkpoint_drop(checkpoint, name);
    return true;
}

static const char *weight_name(char name[96], uint32_t layer, const char *part) {
    snprintf(name, 96, "model.layers.%u.%s.weight", layer, part);
    return name;
}

bool weights_add_rows(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power, uint32_t per,
                      pare_error *error) {
    char name[96];
    return each_row(&(sink){sums, power, per, NULL}, checkpoint, weight_name(name, layer, part), add_row, error);
}

bool weights_add_columns(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, weights_power power,
                         uint32_t per, pare_error *error) {
    char name[96];
    return each_row(&(sink){sums, power, per, NULL}, checkpoint, weight_name(name, layer, part), add_columns, error);
}

bool weights_add_table(double *sums, const pare_checkpoint *checkpoint, const char *name, weights_power power, pare_error *error) {
    return each_row(&(sink){sums, power, 1, NULL}, checkpoint, name, add_columns, error);
}

bool weights_add_products(double *sums, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, const float *gradient,
                          bool by_rows, uint32_t per, pare_error *error) {
    char name[96];
    return each_row(&(sink){sums, WEIGHTS_ABSOLUTE, per, gradient}, checkpoint, weight_name(name, layer, part),
                    by_rows ? add_row_products : add_column_products, error);
}
