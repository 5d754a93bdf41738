/* spectrum: what the methods that look at singular values share. */
#ifndef PARE_COMPRESS_SPECTRUM_H
#define PARE_COMPRESS_SPECTRUM_H

#include "pare/compress.h"

/* The two-sample Kolmogorov-Smirnov statistic: the largest distance between the empirical distribution functions of a (n) and b (m), both
 * descending and without NaN, as pare_singular_values gives them. */
double pare_kolmogorov_smirnov(const double *a, size_t n, const double *b, size_t m);

/* A layer's matrix ("mlp.gate_proj"), to be read by rows; let its mapped pages go when it has been. */
bool spectrum_view(pare_view *view, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, pare_error *error) PARE_MUST_CHECK;
void spectrum_let_go(const pare_view *view, const pare_checkpoint *checkpoint);

/* The whole matrix of a layer ("mlp.gate_proj") as f32, out (rows, columns), or turned, out (columns, rows); its mapped pages are let go.
 */
bool spectrum_read(float *out, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, pare_error *error) PARE_MUST_CHECK;
bool spectrum_read_turned(float *out, const pare_checkpoint *checkpoint, uint32_t layer, const char *part,
                          pare_error *error) PARE_MUST_CHECK;

/* How many tasks that take so much memory each should run at once: as many as there are threads, large ones one after another. */
int spectrum_at_once(size_t bytes_each, int n_threads);

/* Calls run(user, i, &error) for i below n, several at a time: each i's work must depend on i alone. False when one failed (the error of
 * the lowest i that did) or the user cancelled. Progress: `before` of `total` is done when it starts. */
typedef bool spectrum_task(void *user, uint32_t i, pare_error *error);
bool spectrum_each(spectrum_task *run, void *user, uint32_t n, const char *stage, double before, double total, const pare_context *context,
                   pare_error *error) PARE_MUST_CHECK;

#endif
