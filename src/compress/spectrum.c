/* spectrum: see spectrum.h. */
#include "spectrum.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>

double pare_kolmogorov_smirnov(const double *a, size_t n, const double *b, size_t m) {
    double largest = 0;
    for (size_t i = 0, j = 0; i < n && j < m;) { /* both past the next threshold: equal values step together */
        double at = fmax(a[i], b[j]);
        while (i < n && a[i] >= at)
            i++;
        while (j < m && b[j] >= at)
            j++;
        largest = fmax(largest, fabs((double)i / (double)n - (double)j / (double)m));
    }
    return largest;
}

bool spectrum_view(pare_view *view, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, pare_error *error) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, part);
    const pare_tensor *tensor = pare_checkpoint_find(checkpoint, name);
    if (tensor)
        *view = pare_view_all(tensor);
    return tensor || pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s is missing", checkpoint->path, name);
}

void spectrum_let_go(const pare_view *view, const pare_checkpoint *checkpoint) {
    pare_checkpoint_drop(checkpoint, view->tensor->name);
}

bool spectrum_read(float *out, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, pare_error *error) {
    pare_view view;
    if (!spectrum_view(&view, checkpoint, layer, part, error))
        return false;
    float *scratch = pare_allocate(pare_view_scratch(&view) + 1, sizeof *scratch, error);
    if (scratch)
        pare_view_read(out, &view, 0, view.n_rows, scratch);
    pare_free(scratch);
    spectrum_let_go(&view, checkpoint);
    return scratch != NULL;
}

bool spectrum_read_turned(float *out, const pare_checkpoint *checkpoint, uint32_t layer, const char *part, pare_error *error) {
    pare_view view;
    if (!spectrum_view(&view, checkpoint, layer, part, error))
        return false;
    size_t n = view.n_columns;
    float *row = pare_allocate(n + pare_view_scratch(&view), sizeof *row, error);
    for (uint32_t i = 0; row && i < view.n_rows; i++) {
        pare_view_read(row, &view, i, 1, row + n);
        for (size_t j = 0; j < n; j++)
            out[j * view.n_rows + i] = row[j];
    }
    pare_free(row);
    spectrum_let_go(&view, checkpoint);
    return row != NULL;
}

typedef struct {
    uint32_t n_done, failed; /* failed: the lowest that did, or UINT32_MAX */
    pare_error error;
} outcome;

/* Keeps the error of the lowest index, so that what is said does not depend on who came first. */
static void settle(outcome *o, uint32_t i, bool done, const pare_error *mine) {
#pragma omp critical(spectrum_settle)
    {
        o->n_done++;
        if (!done && i < o->failed) {
            o->failed = i;
            o->error = *mine;
        }
    }
}

int spectrum_at_once(size_t bytes_each, int n_threads) {
    static const size_t large = (size_t)384 << 20;
    return bytes_each < large ? n_threads : 1;
}

bool spectrum_each(spectrum_task *run, void *user, uint32_t n, const char *stage, double before, double total, const pare_context *context,
                   pare_error *error) {
    outcome o = {.failed = UINT32_MAX};
    pare_context_progress(context, stage, before, total);
#pragma omp parallel for num_threads(pare_context_threads(context)) schedule(dynamic)
    for (uint32_t i = 0; i < n; i++) {
        pare_error mine = {0};
        uint32_t failed, n_done;
#pragma omp critical(spectrum_settle)
        {
            failed = o.failed;
            n_done = o.n_done;
        }
        if (i > failed) /* a lower one failed already: its error will be told */
            continue;
        bool done = pare_context_check(context, &mine) && run(user, i, &mine);
        settle(&o, i, done, &mine);
        if (omp_get_thread_num() == 0)
            pare_context_progress(context, stage, before + n_done + 1, total);
    }
    if (o.failed == UINT32_MAX)
        return true;
    if (error)
        *error = o.error;
    return false;
}
