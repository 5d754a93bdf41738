/* page: puts the report together: the template's markers are replaced by style, sentences, data, chart library and script.
 *
 * Data goes in as JSON in which every '<' is written \u003c, so that no name in a ledger can end the script element;
 * sentences go in as escaped HTML. The page forbids itself any network access (Content-Security-Policy).
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "report_impl.h"

/* ---- data --------------------------------------------------------------------------------- */

static json_t *texts_json(pare_json_doc *doc, const char *const *texts, size_t n) {
    json_t *array = pare_json_array(doc);
    for (size_t i = 0; i < n; i++)
        pare_json_append(doc, array, pare_json_string(doc, texts[i]));
    return array;
}

static json_t *view_json(pare_json_doc *doc, const report_view *view, pare_arena *arena) {
    json_t *runs = pare_json_array(doc);
    for (size_t i = 0; i < view->points.n; i++)
        pare_json_append(doc, runs, pare_json_integer(doc, (json_int_t)view->runs[i]));
    return pare_json_pack(doc, "{s:o, s:o, s:o, s:o}", "runs", runs, "methods", texts_json(doc, view->methods, view->n_methods), "models",
                          texts_json(doc, view->models, view->n_models), "fits", report_fits_json(doc, view, arena));
}

static json_t *run_json(pare_json_doc *doc, const pare_run_record *record) {
    json_t *run = pare_run_record_json(doc, record);
    pare_json_set(doc, run, "ceiling", pare_json_number(doc, report_ceiling(record)));
    pare_json_set(doc, run, "broken", json_boolean(report_is_broken(record)));
    return run;
}

static void time_now(char text[32]) {
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static json_t *data_json(pare_json_doc *doc, const report_data *data, const char *source, pare_arena *arena) {
    char now[32];
    time_now(now);
    json_t *runs = pare_json_array(doc), *views = pare_json_array(doc);
    for (size_t i = 0; i < data->n_runs; i++)
        pare_json_append(doc, runs, run_json(doc, &data->runs[i]));
    for (size_t i = 0; i < data->n_views; i++)
        pare_json_append(doc, views, view_json(doc, &data->views[i], arena));
    return pare_json_pack(doc, "{s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o}", "version", PARE_VERSION, "created", now, "source", source,
                          "n_done", (json_int_t)data->n_done, "n_failed", (json_int_t)data->n_failed, "n_broken",
                          (json_int_t)data->n_broken, "runs", runs, "views", views);
}

/* ---- page --------------------------------------------------------------------------------- */

typedef struct {
    const report_data *data;
    const char *source;
    pare_arena *arena;
    pare_error *error;
} report_page;

static bool print_asset(pare_string *html, report_asset asset) {
    pare_string_push(html, asset.bytes, asset.n);
    return true;
}

static bool print_data(pare_string *html, const report_page *page) {
    pare_json_doc doc = {0};
    json_t *json = data_json(&doc, page->data, page->source, page->arena);
    bool done = pare_json_print_script(html, json, &doc, page->error);
    json_decref(json);
    return done;
}

static bool print_findings(pare_string *html, const report_page *page) {
    if (page->data->n_views == 0)
        pare_string_print(html, "<p>No result yet: every run failed (%zu). The reasons stand below.</p>\n", page->data->n_failed);
    for (size_t i = 0; i < page->data->n_views; i++)
        if (!report_findings_print(html, &page->data->views[i], page->data, page->arena, page->error))
            return false;
    return true;
}

static bool is_in_earlier_view(const report_data *data, size_t view, const char *model) {
    for (size_t i = 0; i < view; i++)
        for (size_t k = 0; k < data->views[i].n_models; k++)
            if (strcmp(data->views[i].models[k], model) == 0)
                return true;
    return false;
}

/* The models of all views by name, when they are few, else how many they are. */
static bool print_title(pare_string *html, const report_page *page) {
    enum { NAMED_MAX = 3 };
    const report_data *data = page->data;
    const char *names[NAMED_MAX];
    size_t n = 0;
    for (size_t i = 0; i < data->n_views; i++)
        for (size_t k = 0; k < data->views[i].n_models; k++)
            if (!is_in_earlier_view(data, i, data->views[i].models[k]) && n++ < NAMED_MAX)
                names[n - 1] = data->views[i].models[k];
    pare_string_print(html, "What compression costs");
    if (n > NAMED_MAX)
        pare_string_print(html, ": %zu models", n);
    for (size_t i = 0; n <= NAMED_MAX && i < n; i++) {
        pare_string_print(html, i ? ", " : ": ");
        report_escape(html, names[i]);
    }
    return true;
}

/* `name` is what stands between {{ and }} in page.html. */
static bool print_marker(pare_string *html, const report_page *page, const char *name, size_t n) {
#define IS(text) (n == sizeof(text) - 1 && memcmp(name, text, n) == 0)
    if (IS("title"))
        return print_title(html, page);
    if (IS("style"))
        return print_asset(html, report_asset_page_css());
    if (IS("findings"))
        return print_findings(html, page);
    if (IS("data"))
        return print_data(html, page);
    if (IS("chart_licence"))
        return print_asset(html, report_asset_chart_licence());
    if (IS("chart_library"))
        return print_asset(html, report_asset_chart_library());
    if (IS("script"))
        return print_asset(html, report_asset_page_js());
#undef IS
    return pare_fail(page->error, PARE_ERROR_FORMAT, "page.html: unknown marker {{%.*s}}", (int)n, name);
}

static bool print_page(pare_string *html, const report_page *page) {
    report_asset template = report_asset_page_html();
    const char *at = template.bytes, *end = template.bytes + template.n; /* a NUL stands at end */
    for (const char *open, *close; (open = strstr(at, "{{")) && (close = strstr(open, "}}"));) {
        pare_string_push(html, at, (size_t)(open - at));
        if (!print_marker(html, page, open + 2, (size_t)(close - open) - 2))
            return false;
        at = close + 2;
    }
    pare_string_push(html, at, (size_t)(end - at));
    return pare_string_check(html, page->error);
}

bool pare_report_print(pare_string *html, pare_report_summary *summary, pare_store *store, const char *source, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return false;
    report_data data;
    bool done = report_data_read(&data, store, arena, error);
    if (done && data.n_runs == 0)
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: holds no run yet: nothing to report", source);
    size_t before = html->length;
    done = done && print_page(html, &(report_page){&data, source, arena, error});
    if (done && summary)
        *summary = (pare_report_summary){data.n_done, data.n_failed, data.n_broken, data.n_views, html->length - before};
    pare_arena_close(arena);
    return done;
}

bool pare_report_write(pare_report_summary *summary, const char *ledger, const char *path, pare_error *error) {
    pare_store *store = pare_store_open(ledger, PARE_STORE_READ, error);
    if (!store)
        return false;
    const char *slash = strrchr(ledger, '/');
    pare_string html = {0};
    bool done = pare_report_print(&html, summary, store, slash ? slash + 1 : ledger, error) &&
                pare_file_write(path, html.data, html.length, true, error);
    pare_string_free(&html);
    pare_store_close(store);
    return done;
}
