/* recovery: what training after the cut won back, per method, kind of recovery and tokens, summed over all models, ratios and seeds that
 * were measured with and without it: (loss of the cut - loss recovered) / (loss of the cut - dense loss).
 *
 * The dense model gains from the same training too, where its text is nearer to the test text than what the model had seen. Where the
 * ledger has the dense model trained on as many tokens (ratio 0, D > 0), that gain is taken off: the share is then 1 - (recovered - dense
 * trained) / lost. Where it has not, the sentence says so. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_impl.h"

typedef struct {
    const char *method, *recovery;
    double tokens, lost, won; /* nats, over all cuts */
    double low, high;         /* of won / lost */
    bool controlled;          /* what the dense model gained is off */
    size_t n;
} gain;

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_cut(const pare_run_record *a, const pare_run_record *b) {
    return same_text(a->model.sha256, b->model.sha256) && same_text(a->calibration.sha256, b->calibration.sha256) &&
           a->calibration.n_windows == b->calibration.n_windows && a->calibration.length == b->calibration.length && a->ratio == b->ratio &&
           a->seed == b->seed && a->kept_width == b->kept_width && strcmp(a->method, b->method) == 0 &&
           strcmp(a->model.name, b->model.name) == 0;
}

/* The same cut without recovery, or NULL. */
static const pare_run_record *find_cut(const report_view *view, const report_data *data, const pare_run_record *recovered) {
    for (size_t i = 0; i < view->points.n; i++) {
        const pare_run_record *record = &data->runs[view->runs[i]];
        if (record->recovery_tokens == 0 && record->ratio > 0 && same_cut(record, recovered))
            return record;
    }
    return NULL;
}

/* The dense model after the same training, or NULL. */
static const pare_run_record *find_control(const report_view *view, const report_data *data, const pare_run_record *recovered) {
    for (size_t i = 0; i < view->points.n; i++) {
        const pare_run_record *record = &data->runs[view->runs[i]];
        if (record->ratio == 0 && record->recovery_tokens == recovered->recovery_tokens &&
            strcmp(record->model.name, recovered->model.name) == 0 && same_text(record->model.sha256, recovered->model.sha256) &&
            same_text(record->recovery.method, recovered->recovery.method) &&
            same_text(record->recovery.sha256, recovered->recovery.sha256))
            return record;
    }
    return NULL;
}

static int compare_gains(const void *a, const void *b) {
    const gain *x = a, *y = b;
    int order = strcmp(x->method, y->method);
    order = order ? order : strcmp(x->recovery, y->recovery);
    order = order ? order : (x->tokens > y->tokens) - (x->tokens < y->tokens);
    return order ? order : y->controlled - x->controlled;
}

/* What one recovered run won; false where there was nothing to win back. */
static bool find_gain(gain *found, const report_view *view, const report_data *data, const pare_run_record *record) {
    const pare_run_record *cut = find_cut(view, data, record), *control = find_control(view, data, record);
    if (!cut)
        return false;
    double lost = cut->cross_entropy - record->dense_cross_entropy;
    double dense_gain = control ? record->dense_cross_entropy - control->cross_entropy : 0;
    double share = (cut->cross_entropy - record->cross_entropy - dense_gain) / lost;
    if (!(lost > record->cross_entropy_error) || !isfinite(share))
        return false;
    *found = (gain){.method = record->method,
                    .recovery = record->recovery.method ? record->recovery.method : "training",
                    .tokens = record->recovery_tokens,
                    .lost = lost,
                    .won = share * lost,
                    .low = share,
                    .high = share,
                    .controlled = control != NULL,
                    .n = 1};
    return true;
}

static size_t list_gains(gain *gains, const report_view *view, const report_data *data) {
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < view->points.n; i++) {
        const pare_run_record *record = &data->runs[view->runs[i]];
        if (record->recovery_tokens > 0 && record->ratio > 0)
            n += find_gain(&gains[n], view, data, record);
    }
    qsort(gains, n, sizeof *gains, compare_gains);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || compare_gains(&gains[kept - 1], &gains[i]) != 0) {
            gains[kept++] = gains[i];
            continue;
        }
        gain *last = &gains[kept - 1];
        last->lost += gains[i].lost;
        last->won += gains[i].won;
        last->low = fmin(last->low, gains[i].low);
        last->high = fmax(last->high, gains[i].high);
        last->n++;
    }
    return kept;
}

bool report_recovery_print(pare_string *html, const report_view *view, const report_data *data, pare_arena *arena, pare_error *error) {
    gain *gains = PARE_PUSH(arena, gain, view->points.n, error);
    if (!gains)
        return false;
    size_t n = list_gains(gains, view, data);
    if (n == 0)
        return true;
    size_t n_controlled = 0;
    for (size_t i = 0; i < n; i++)
        n_controlled += gains[i].controlled;
    pare_string_print(html, "<p>Training after the cut won back this share of the lost loss. %s</p>\n<ul>\n",
                      n_controlled == n ? "What the dense model gains from the same training is subtracted."
                      : n_controlled
                          ? "What the dense model gains from the same training is subtracted, except at the entries marked “no control”."
                          : "There is no control: the ledger has no dense model that was trained on the same tokens. What such training "
                            "gains on any model is therefore counted as won back.");
    for (size_t i = 0; i < n; i++) {
        const gain *g = &gains[i];
        if (i == 0 || strcmp(g->method, gains[i - 1].method) != 0 || strcmp(g->recovery, gains[i - 1].recovery) != 0) {
            pare_string_print(html, "%s<li><b>", i ? ".</li>\n" : "");
            report_escape(html, g->method);
            pare_string_print(html, "</b>, ");
            report_escape(html, g->recovery);
            pare_string_print(html, ":");
        } else {
            pare_string_print(html, ",");
        }
        pare_string_print(html, " <b>%.0f\u00a0%%</b> by ", 100 * g->won / g->lost);
        report_count(html, (uint64_t)g->tokens);
        pare_string_print(html, " tokens");
        bool uncontrolled = n_controlled && !g->controlled;
        if (g->n > 1)
            pare_string_print(html, " (%.0f to %.0f, %zu cuts%s)", 100 * g->low, 100 * g->high, g->n, uncontrolled ? "; no control" : "");
        else if (uncontrolled)
            pare_string_print(html, " (no control)");
    }
    pare_string_print(html, ".</li>\n</ul>\n");
    return true;
}
