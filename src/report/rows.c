/* rows: the runs of a ledger, sorted into views: a view holds the results that were measured in one way. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_impl.h"

double report_ceiling(const pare_run_record *record) {
    return record->model.n_vocabulary ? log((double)record->model.n_vocabulary) : PARE_UNKNOWN;
}

bool report_is_broken(const pare_run_record *record) {
    return record->status == PARE_RUN_DONE && record->cross_entropy > report_ceiling(record);
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Cross-entropies under different evaluations are different quantities. The weights' type does not matter: it is the model's own, and
 * L0 was measured in it too. */
static bool measured_alike(const pare_run_record *a, const pare_run_record *b) {
    return same_text(a->evaluation.protocol, b->evaluation.protocol) && same_text(a->evaluation.data_sha256, b->evaluation.data_sha256) &&
           a->evaluation.context == b->evaluation.context && a->evaluation.n_windows == b->evaluation.n_windows;
}

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts `texts` and drops what is there twice; the number left. */
static size_t distinct(const char **texts, size_t n) {
    size_t kept = 0;
    qsort(texts, n, sizeof *texts, compare_texts);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || strcmp(texts[kept - 1], texts[i]) != 0)
            texts[kept++] = texts[i];
    return kept;
}

static pare_law_point point_of(const pare_run_record *record) {
    pare_law_point point = pare_law_point_blank();
    point.model = record->model.name;
    point.method = record->method;
    point.l0 = record->dense_cross_entropy;
    point.l = record->cross_entropy;
    point.d = record->recovery_tokens / 1e6;
    point.ratio[PARE_LAW_RATIO_NOMINAL] = record->ratio;
    point.ratio[PARE_LAW_RATIO_NON_EMBEDDING] = record->removed.non_embedding;
    point.ratio[PARE_LAW_RATIO_PARAMETERS] = record->removed.parameters;
    point.ratio[PARE_LAW_RATIO_BYTES] = record->removed.bytes;
    point.ratio[PARE_LAW_RATIO_MACS] = record->removed.macs;
    point.ceiling = report_ceiling(record);
    return point;
}

/* The view of all done runs that are measured as `first` is; `n` of them. */
static bool fill_view(report_view *view, const report_data *data, const pare_run_record *first, size_t n, pare_arena *arena,
                      pare_error *error) {
    view->first = first;
    view->runs = PARE_PUSH(arena, size_t, n, error);
    view->points.items = PARE_PUSH(arena, pare_law_point, n, error);
    view->methods = PARE_PUSH(arena, const char *, n, error);
    view->models = PARE_PUSH(arena, const char *, n, error);
    if (!view->runs || !view->points.items || !view->methods || !view->models)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < data->n_runs && at < n; i++) {
        const pare_run_record *record = &data->runs[i];
        if (record->status != PARE_RUN_DONE || !measured_alike(record, first))
            continue;
        view->runs[at] = i;
        view->points.items[at] = point_of(record);
        if (record->ratio != 0) /* what was never compressed is L0, or the control of recovery, and no method */
            view->methods[view->n_methods++] = record->method;
        view->models[at] = record->model.name;
        view->n_broken += report_is_broken(record);
        at++;
    }
    view->points.n = at;
    view->n_methods = distinct(view->methods, view->n_methods);
    view->n_models = distinct(view->models, at);
    return true;
}

enum { VIEWS_MAX = 16 }; /* every view costs some twenty fits per method */

static int compare_views(const void *a, const void *b) {
    const report_view *first = a, *second = b;
    if (first->points.n != second->points.n)
        return first->points.n > second->points.n ? -1 : 1;
    return (first->first > second->first) - (first->first < second->first); /* both point into data->runs */
}

/* Names become JSON strings and keys of the page, which take UTF-8 only: what is none shows as '?'. */
static bool make_utf8(const char **text, pare_arena *arena, pare_error *error) {
    size_t n = strlen(*text);
    if (pare_json_is_text(*text, n))
        return true;
    char *copy = pare_arena_copy(arena, *text, n, error);
    for (size_t i = 0; copy && i < n; i++)
        if ((unsigned char)copy[i] >= 0x80)
            copy[i] = '?';
    *text = copy;
    return copy != NULL;
}

static bool load(report_data *data, pare_store *store, pare_arena *arena, pare_error *error) {
    *data = (report_data){0};
    bool done = pare_store_load(&data->runs, &data->n_runs, store, arena, error);
    for (size_t i = 0; i < data->n_runs && done; i++)
        done = make_utf8(&data->runs[i].model.name, arena, error) && make_utf8(&data->runs[i].method, arena, error);
    return done;
}

bool report_data_read(report_data *data, pare_store *store, pare_arena *arena, pare_error *error) {
    if (!load(data, store, arena, error) || !(data->views = PARE_PUSH(arena, report_view, VIEWS_MAX, error)))
        return false;
    const pare_run_record *firsts[VIEWS_MAX];
    size_t counts[VIEWS_MAX] = {0};
    for (size_t i = 0; i < data->n_runs; i++) {
        const pare_run_record *record = &data->runs[i];
        data->n_failed += record->status == PARE_RUN_FAILED;
        data->n_broken += report_is_broken(record);
        if (record->status != PARE_RUN_DONE)
            continue;
        data->n_done++;
        size_t view = 0;
        while (view < data->n_views && !measured_alike(firsts[view], record))
            view++;
        if (view == VIEWS_MAX)
            return pare_fail(error, PARE_ERROR_RANGE,
                             "the results were measured in more than %d ways (protocol, data, context, windows): too many for one report",
                             VIEWS_MAX);
        if (view == data->n_views)
            firsts[data->n_views++] = record;
        counts[view]++;
    }
    for (size_t i = 0; i < data->n_views; i++)
        if (!fill_view(&data->views[i], data, firsts[i], counts[i], arena, error))
            return false;
    qsort(data->views, data->n_views, sizeof *data->views, compare_views);
    return true;
}

/* "1: joined2048 on test.txt, 8 windows (19 results)" */
static void describe(pare_string *out, size_t number, const report_view *view) {
    const pare_run_record *r = view->first;
    pare_string_print(out, "%s%zu: %s on %s, %llu windows (%zu results)", number > 1 ? "; " : "", number, r->evaluation.protocol,
                      r->evaluation.data ? r->evaluation.data : "a text", (unsigned long long)r->evaluation.n_windows, view->points.n);
}

bool pare_report_points(pare_law_points *points, pare_store *store, size_t view, pare_arena *arena, pare_error *error) {
    report_data data;
    if (!report_data_read(&data, store, arena, error))
        return false;
    if (data.n_views == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "the ledger holds no result yet");
    if (view > data.n_views || (view == 0 && data.n_views > 1)) {
        pare_string list = {0};
        for (size_t i = 0; i < data.n_views; i++)
            describe(&list, i + 1, &data.views[i]);
        pare_fail(error, PARE_ERROR_RANGE, "the results were measured in %zu ways that no law may mix; choose one: %s", data.n_views,
                  list.data ? list.data : "");
        pare_string_free(&list);
        return false;
    }
    *points = data.views[view ? view - 1 : 0].points;
    return true;
}
