/* reference: losses of cut models against those of an independent implementation: a file of lines `ids model id…` and
 * `loss model method windows length ratio loss`, by tools/fixtures/…_reference.py. */
#ifndef TESTS_COMPRESS_REFERENCE_H
#define TESTS_COMPRESS_REFERENCE_H

#include <math.h>
#include <string.h>

#include "pare/compress.h"
#include "test.h"

enum { IDS_MAX = 1024, EVALUATED = 128 };

typedef struct {
    uint32_t ids[IDS_MAX];
    size_t n;
} text;

static inline pare_checkpoint *open_model(const char *name) {
    pare_error error = {0};
    char path[512];
    snprintf(path, sizeof path, PARE_SOURCE_DIR "/models/%s", name);
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    return checkpoint;
}

static inline FILE *open_reference(const char *path) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

static inline text text_of(const char *path, const char *name) {
    text t = {.n = 0};
    static char line[1 << 15];
    char model[32];
    int at = 0;
    FILE *file = open_reference(path);
    while (t.n == 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "ids %31s%n", model, &at) == 1 && strcmp(model, name) == 0)
            for (char *from = line + at, *end; t.n < IDS_MAX; from = end) {
                unsigned long id = strtoul(from, &end, 10);
                if (end == from)
                    break;
                t.ids[t.n++] = (uint32_t)id;
            }
    fclose(file);
    assert_true(t.n > EVALUATED);
    return t;
}

/* Of the last ids, as one window. */
static inline double loss_of(const pare_checkpoint *checkpoint, const pare_cut *cut, const text *t, int threads) {
    pare_error error = {0};
    pare_context context = {.n_threads = threads};
    uint32_t rows[EVALUATED];
    double nll[EVALUATED], sum = 0;
    const uint32_t *ids = t->ids + t->n - EVALUATED;
    pare_model *model = pare_model_open(checkpoint, cut, &error);
    assert_done(model, error);
    pare_forward *forward = pare_forward_open(model, 1, EVALUATED, &context, &error);
    assert_done(forward, error);
    for (uint32_t i = 0; i < EVALUATED; i++)
        rows[i] = i;
    assert_done(pare_forward_run(forward, ids, 1, EVALUATED, NULL, &error) &&
                    pare_forward_nll(nll, forward, rows, ids + 1, EVALUATED - 1, &error),
                error);
    for (size_t i = 0; i < EVALUATED - 1; i++)
        sum += nll[i];
    pare_forward_close(forward);
    pare_model_close(model);
    return sum / (EVALUATED - 1);
}

static inline pare_cut *cut_by(const char *method, const pare_checkpoint *checkpoint, const text *t, size_t windows, size_t length,
                               double ratio, uint32_t multiple, int threads) {
    pare_error error = {0};
    pare_context context = {.n_threads = threads};
    pare_windows all = {.ids = (uint32_t *)(uintptr_t)t->ids, .n = windows, .length = length};
    pare_calibration calibration = {0};
    pare_scores scores;
    pare_plan plan;
    const pare_method *m = pare_method_find(method, &error);
    assert_done(m, error);
    if (m->calibrated)
        assert_done(pare_calibrate(&calibration, checkpoint, &all, false, &context, &error), error);
    assert_done(pare_plan_make(&plan, m->unit, &checkpoint->config, ratio, multiple, &error), error);
    assert_done(pare_score(&scores, m, checkpoint, m->calibrated ? &calibration : NULL, 0, &context, &error), error);
    pare_cut *cut = pare_method_cut(m, checkpoint, m->calibrated ? &calibration : NULL, &scores, &plan, &context, &error);
    assert_done(cut, error);
    pare_scores_free(&scores);
    pare_plan_free(&plan);
    pare_calibration_free(&calibration);
    return cut;
}

/* Every loss of the file; n of them there are. tolerance: of a loss whose statistics are of so many tokens. */
static inline void losses_as_referenced(const char *path, uint32_t multiple, double (*tolerance)(size_t tokens), int n_wanted) {
    static char line[1 << 15];
    int n = 0;
    FILE *file = open_reference(path);
    while (fgets(line, sizeof line, file)) {
        char name[32], method[32];
        size_t windows, length;
        double ratio, wanted;
        if (sscanf(line, "loss %31s %31s %zu %zu %lf %lf", name, method, &windows, &length, &ratio, &wanted) != 6)
            continue;
        pare_checkpoint *checkpoint = open_model(name);
        text t = text_of(path, name);
        pare_cut *cut = strcmp(method, "dense") == 0 ? NULL : cut_by(method, checkpoint, &t, windows, length, ratio, multiple, 2);
        double got = loss_of(checkpoint, cut, &t, 2);
        if (!(fabs(got - wanted) < tolerance(windows * length)))
            fail_msg("%s %s %zu x %zu at %g: %.9g, the reference says %.9g (%.2g off)", name, method, windows, length, ratio, got, wanted,
                     got - wanted);
        pare_cut_close(cut);
        pare_checkpoint_close(checkpoint);
        n++;
    }
    fclose(file);
    assert_int_equal(n, n_wanted);
}

#endif
