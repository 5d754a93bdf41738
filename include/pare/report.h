/* report: a ledger and the laws fitted to it as one HTML file that needs no network: what was found in words, loss against
 * ratio with curves and bands, residuals, coefficients, all runs, and how each was measured.
 *
 * Every fit is made here (all forms, all kinds of ratio) and embedded as JSON; the page only draws. Results measured in
 * different ways (protocol, data, context, windows) are never pooled: each way is a view of its own.
 */
#ifndef PARE_REPORT_H
#define PARE_REPORT_H

#include "pare/base.h"
#include "pare/law.h"
#include "pare/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    size_t n_done, n_failed; /* runs in the ledger */
    size_t n_broken;         /* done, but worse than a uniform guess (cross-entropy above ln V) */
    size_t n_views;          /* ways of measuring */
    size_t bytes;            /* of the page */
} pare_report_summary;

/* Appends the page to *html. `source` is the ledger's name as the page shows it. A ledger without a run is an error (RANGE). */
bool pare_report_print(pare_string *html, pare_report_summary *summary, pare_store *store, const char *source,
                       pare_error *error) PARE_MUST_CHECK;

/* The points of one way of measuring, for a fit: view counts from 1, the way with most results first. view 0 takes the only one, and
 * is refused with a list of them (RANGE) when there are several. Strings live in the arena. */
bool pare_report_points(pare_law_points *points, pare_store *store, size_t view, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* Reads `ledger` and writes the page to `path` whole or not at all, in place of a file that is there. `summary` may be NULL. */
bool pare_report_write(pare_report_summary *summary, const char *ledger, const char *path, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
