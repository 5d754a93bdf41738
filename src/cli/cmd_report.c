/* pare report: a ledger as one self-contained HTML page. */
#include <stdio.h>

#include "destination.h"
#include "pare/report.h"

bool cmd_report(int argc, char **argv, pare_error *error) {
    pare_json_doc doc = {0};
    const char *out = NULL;
    bool force = false, replace;
    const option options[] = {
        {"output", 'o', OPTION_STRING, "FILE", "the page to write; an older page of pare is replaced without --force", &out},
        OPTION_FORCE('f', &force),
        {0}};
    const command_face face = {
        .name = "report",
        .usage = "LEDGER -o report.html",
        .about =
            "Writes one HTML file that works offline. It shows the loss against the ratio for each method with the fitted laws and their\n"
            "bands, the residuals, the coefficients, the table of runs, and how each run was measured.",
        .example = "  pare report demo/demo.ledger -o report.html",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    if (!out)
        return pare_fail(error, PARE_ERROR_USAGE, "-o FILE is missing");
    reads(arguments[0]);
    if (!destination_check(&replace, out, &destination_page, force, error))
        return false;
    pare_report_summary s;
    if (!pare_report_write(&s, arguments[0], out, error))
        return false;
    if (shared.json)
        return print_json(pare_json_pack(&doc, "{s:s, s:I, s:I, s:I, s:I, s:I}", "output", out, "done", (json_int_t)s.n_done, "failed",
                                         (json_int_t)s.n_failed, "broken", (json_int_t)s.n_broken, "views", (json_int_t)s.n_views, "bytes",
                                         (json_int_t)s.bytes),
                          &doc, error);
    printf("%s: %zu runs, %zu failed, %zu worse than a uniform guess; %s\n", out, s.n_done, s.n_failed, s.n_broken,
           human_bytes((double)s.bytes));
    return true;
}
