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
json_t *report_fits_json(const report_view *view, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* ---- findings.c: a view -> sentences, as HTML ---- */

bool report_findings_print(pare_string *html, const report_view *view, const report_data *data, pare_arena *arena,
                           pare_error *error) PARE_MUST_CHECK;
/* recovery.c: what training won back; nothing when there was none. */
bool report_recovery_print(pare_string *html, const report_view *view, const report_data *data, pare_arena *arena,
                           pare_error *error) PARE_MUST_CHECK;
/* Text for a place between tags or in a quoted attribute. */
void report_escape(pare_string *html, const char *text);

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
