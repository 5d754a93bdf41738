/* What the files of the report share: the runs sorted into views, and the bytes of the page. */
#ifndef PARE_REPORT_IMPL_H
#define PARE_REPORT_IMPL_H

#include "pare/law.h"
#include "pare/report.h"
#include "pare/store.h"

/* ---- rows.c: records -> views ---- */

/* Results that were measured alike and may share a law. runs[i] is the index of the record behind points.items[i]. */
typedef struct {
    const pare_run_record *first; /* says how all of them were measured */
    size_t *runs;
    pare_law_points points;
    const char **methods; /* distinct, in alphabetical order */
    const char **models;
    size_t n_methods, n_models, n_broken;
} report_view;

typedef struct {
    pare_run_record *runs;
    size_t n_runs;
    report_view *views; /* the one with most results first */
    size_t n_views;
    size_t n_done, n_failed, n_broken;
} report_data;

bool report_data_read(report_data *data, pare_store *store, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
double report_ceiling(const pare_run_record *record); /* ln V, NaN when V is not known */
bool report_is_broken(const pare_run_record *record);

/* ---- fits.c: a view -> JSON ---- */

/* {"<ratio kind>": {"<form>": {"groups": […], "pooling_f", "pooling_p"} or {"failure"}}}. */
json_t *report_fits_json(pare_json_doc *doc, const report_view *view, pare_arena *arena);

/* ---- findings.c: a view -> sentences, as HTML ---- */

bool report_findings_print(pare_string *html, const report_view *view, const report_data *data, pare_arena *arena,
                           pare_error *error) PARE_MUST_CHECK;
/* recovery.c: what training won back; nothing when there was none. */
bool report_recovery_print(pare_string *html, const report_view *view, const report_data *data, pare_arena *arena,
                           pare_error *error) PARE_MUST_CHECK;

/* ---- pieces of sentences ---- */

void report_strong(pare_string *html, const char *text); /* bold, escaped */
void report_count(pare_string *html, uint64_t n);        /* "1,234,567" */
void report_percent(pare_string *html, double fraction); /* 0.079: "7.9 %" */
void report_change(pare_string *html, double fraction);  /* 0.079: "+7.9 %" */
/* Text for a place between tags or in a quoted attribute. */
void report_escape(pare_string *html, const char *text);

/* ---- costs.c: what was measured without recovery ---- */

/* All results of a method at one nominal ratio above 0. */
typedef struct {
    double r, share; /* nominal; removed of the weights outside of embeddings, mean, NAN when not known */
    double factor;   /* mean of l / l0 */
    size_t n, n_broken;
} report_cost;

/* By ratio, of one model or (NULL) of all; how many. `costs` has place for the points of the view. */
size_t report_costs(report_cost *costs, const report_view *view, const char *method, const char *model);
/* l / l0 at a share of the weights, on a straight line between measured ones; NAN where it lies between no two, or by a broken one. */
double report_factor_at(const report_cost *costs, size_t n, double share);
/* equal.c: a paragraph on which methods cost how much at the same share; `costs` as above, to work in. */
bool report_equal_print(pare_string *html, const report_view *view, report_cost *costs, pare_arena *arena,
                        pare_error *error) PARE_MUST_CHECK;

/* ---- cmake/report.cmake: files that are part of the program ---- */

typedef struct {
    const char *bytes;
    size_t n;
} report_asset;
report_asset report_asset_page_html(void);
report_asset report_asset_page_css(void);
report_asset report_asset_page_js(void);
report_asset report_asset_chart_library(void);
report_asset report_asset_chart_licence(void);

#endif
