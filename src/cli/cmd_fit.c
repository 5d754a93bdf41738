/* pare fit: the laws that a ledger's runs, or anybody's CSV, follow. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "pare/law.h"
#include "pare/report.h"

typedef struct {
    const char *form, *method, *ratio_kind, *out;
    double threshold, level, tolerance;
    uint32_t view;
    bool include_broken;
} fit_options;

/* ---- points ---- */

static bool is_ledger(const char *path) {
    static const char magic[16] = "SQLite format 3";
    char head[sizeof magic] = {0};
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    return n == sizeof head && memcmp(head, magic, sizeof magic) == 0;
}

static bool read_ledger(pare_law_points *points, const char *path, size_t view, pare_arena *arena, pare_error *error) {
    pare_store *store = pare_store_open(path, PARE_STORE_READ, error);
    bool done = store && pare_report_points(points, store, view, arena, error);
    pare_store_close(store);
    return done;
}

/* ---- output for people ---- */

static void print_coefficients(const pare_law_fit *fit) {
    for (size_t i = 0; i < fit->law.n_terms; i++) {
        const pare_law_coefficient *c = &fit->law.coefficients[i];
        printf("  %-9s %10.5f +/- %-9.5f p = %.2g", c->name, c->value, c->standard_error, c->p);
        if (isfinite(c->standard_error_clustered))
            printf("   (clustered by model +/- %.5f)", c->standard_error_clustered);
        printf("\n");
    }
}

static void print_fit(const pare_law_fit *fit) {
    printf("%s, %s: n = %zu", fit->law.method ? fit->law.method : "pooled", pare_law_form_equation(fit->law.form), fit->law.n);
    if (fit->n_excluded)
        printf(" (%zu excluded:", fit->n_excluded);
    for (int use = 0; use < PARE_LAW_N_USES && fit->n_excluded; use++)
        if (fit->excluded[use])
            printf(" %zu %s", fit->excluded[use], pare_law_use_reason((pare_law_use)use));
    printf("%s\n", fit->n_excluded ? ")" : "");
    print_coefficients(fit);
    printf("  R2 %.5f (%s), adjusted %.5f; F = %.4g, p = %.2g; leave-one-out error of L %.2f %%\n", fit->r2, fit->r2_kind, fit->r2_adjusted,
           fit->f, fit->f_p, 100 * fit->loo_error);
    if (isfinite(fit->critical.value))
        printf("  critical ratio for L = %g L0: %.4f (%g %% interval %.4f to %.4f)%s\n", fit->critical.threshold, fit->critical.value,
               100 * fit->critical.level, fit->critical.low, fit->critical.high, fit->critical.outside ? ", outside of the data" : "");
    else
        printf("  critical ratio for L = %g L0: none: %s\n", fit->critical.threshold, fit->critical.note);
    if (isfinite(fit->r_carried))
        printf("  carries r up to %g within %g %%\n", fit->r_carried, 100 * fit->tolerance);
    else
        printf("  carries no range of r within %g %%\n", 100 * fit->tolerance);
    for (size_t i = 0; i < fit->n_notes; i++)
        printf("  note: %s\n", fit->notes[i]);
    printf("\n");
}

static void print_groups(const pare_law_groups *groups) {
    for (size_t i = 0; i < groups->n; i++)
        if (groups->items[i].done)
            print_fit(&groups->items[i].fit);
        else
            printf("%s: not fitted: %s\n\n", groups->items[i].method ? groups->items[i].method : "pooled",
                   groups->items[i].failure.message);
    if (isfinite(groups->pooling_p))
        printf("one law for all methods against a law per method: F = %.4g, p = %.2g\n\n", groups->pooling_f, groups->pooling_p);
}

static void print_comparison(const pare_law_candidate candidates[PARE_LAW_N_FORMS], const char *what) {
    printf("forms on %s, best leave-one-out error of L first:\n", what);
    for (int i = 0; i < PARE_LAW_N_FORMS; i++)
        if (candidates[i].done) {
            const pare_law_fit *fit = &candidates[i].fit;
            printf("  %-10s %7.2f %%   R2 of L %.4f   ", pare_law_form_name(candidates[i].form), 100 * fit->loo_error, fit->r2_loss);
            if (isfinite(fit->r_carried))
                printf("carries r up to %.3g\n", fit->r_carried);
            else
                printf("carries no range of r\n");
        } else
            printf("  %-10s not fitted: %s\n", pare_law_form_name(candidates[i].form), candidates[i].failure.message);
}

/* ---- output for programs ---- */

/* The pooled fit, or the only one, on top; every method's own below. */
static json_t *fit_json(const pare_law_groups *groups, const pare_law_points *points, const pare_law_candidate *candidates) {
    const pare_law_group *last = &groups->items[groups->n - 1];
    json_t *json = last->done ? pare_law_fit_json(&last->fit, points) : json_pack("{s:s}", "failure", last->failure.message);
    json_t *by_method = json_array();
    for (size_t i = 0; groups->n > 1 && i + 1 < groups->n; i++) {
        const pare_law_group *group = &groups->items[i];
        json_array_append_new(by_method, group->done
                                             ? pare_law_fit_json(&group->fit, points)
                                             : json_pack("{s:s?, s:s}", "method", group->method, "failure", group->failure.message));
    }
    json_object_set_new(json, "by_method", by_method);
    if (isfinite(groups->pooling_p))
        json_object_set_new(json, "pooling", json_pack("{s:f, s:f}", "f", groups->pooling_f, "f_p", groups->pooling_p));
    json_t *forms = json_array();
    for (int i = 0; i < PARE_LAW_N_FORMS; i++)
        if (candidates[i].done)
            json_array_append_new(forms, json_pack("{s:s, s:o, s:o}", "form", pare_law_form_name(candidates[i].form), "loo_error",
                                                   pare_json_number(candidates[i].fit.loo_error), "r2_adjusted",
                                                   pare_json_number(candidates[i].fit.r2_adjusted)));
    json_object_set_new(json, "forms", forms);
    return json;
}

static bool save(const char *path, const pare_law_groups *groups, pare_arena *arena, pare_error *error) {
    pare_law *laws = PARE_PUSH(arena, pare_law, groups->n, error);
    size_t n = 0;
    if (!laws)
        return false;
    for (size_t i = 0; i < groups->n; i++)
        if (groups->items[i].done)
            laws[n++] = groups->items[i].fit.law;
    return pare_law_write(path, laws, n, true, error);
}

/* ---- the command ---- */

/* Only the points of one method, when one was asked for. */
static bool keep_method(pare_law_points *points, const char *method, const char *path, pare_error *error) {
    if (!method)
        return true;
    size_t n = 0;
    for (size_t i = 0; i < points->n; i++)
        if (strcmp(points->items[i].method, method) == 0)
            points->items[n++] = points->items[i];
    points->n = n;
    return n > 0 || pare_fail(error, PARE_ERROR_USAGE, "%s: no point of method %s", path, method);
}

static bool fit_points(const char *path, const fit_options *given, const common *shared, pare_arena *arena, pare_error *error) {
    pare_law_form form;
    pare_law_options options = {.include_broken = given->include_broken,
                                .threshold = given->threshold,
                                .level = given->level,
                                .tolerance = given->tolerance,
                                .provenance = path};
    pare_law_points points;
    pare_law_groups groups;
    pare_law_candidate candidates[PARE_LAW_N_FORMS];
    if (!pare_law_form_parse(&form, given->form, error) || !pare_law_ratio_parse(&options.ratio, given->ratio_kind, error))
        return false;
    bool done = is_ledger(path) ? read_ledger(&points, path, given->view, arena, error) : pare_law_points_read(&points, path, arena, error);
    done = done && keep_method(&points, given->method, path, error) &&
           pare_law_fit_groups(&groups, form, &points, &options, arena, error) &&
           pare_law_compare(candidates, &points, NULL, &options, arena, error) && (!given->out || save(given->out, &groups, arena, error));
    if (!done)
        return false;
    if (shared->json)
        return print_json(fit_json(&groups, &points, candidates), error);
    print_groups(&groups);
    print_comparison(candidates, given->method ? given->method : "all points");
    return true;
}

bool cmd_fit(int argc, char **argv, pare_error *error) {
    fit_options given = {.form = "v1", .ratio_kind = "nominal"};
    const option options[] = {
        {"form", 'f', OPTION_STRING, "F", "v1 (default), v1i, v2 or quadratic", &given.form},
        {"method", 'm', OPTION_STRING, "M", "this method's points only", &given.method},
        {"ratio-kind", 0, OPTION_STRING, "K", "nominal (default), non_embedding, parameters, bytes or macs", &given.ratio_kind},
        {"threshold", 0, OPTION_NUMBER, "X", "the critical ratio is where L reaches X times L0 (1.1)", &given.threshold},
        {"level", 0, OPTION_NUMBER, "P", "of intervals (0.95)", &given.level},
        {"tolerance", 0, OPTION_NUMBER, "X", "of the range that a form carries, relative (0.05)", &given.tolerance},
        {"view", 0, OPTION_COUNT, "N", "of a ledger whose results were measured in several ways", &given.view},
        {"include-broken", 0, OPTION_FLAG, NULL, "also points worse than a uniform guess", &given.include_broken},
        {"output", 'o', OPTION_STRING, "LAW", "write the laws as JSON, for pare predict", &given.out},
        {0},
    };
    const command_face face = {
        .name = "fit",
        .usage = "LEDGER|FILE.csv [--form v1|v1i|v2|quadratic] [-o LAW]",
        .about = "Fits the law of loss against ratio, per method and pooled, with standard errors, leave-one-out error and the critical\n"
                 "ratio; compares all forms.\n\n"
                 "  v1         ln L = a ln L0 + b ln(1+r) [+ c ln(1 + 1/(D+1))]\n"
                 "  v1i        the same with a constant\n"
                 "  v2         ln L = ln L0 + ln P0 + a ln(1-r)\n"
                 "  quadratic  L/L0 = 1 + a r + b r^2\n\n"
                 "A CSV has the columns model,method,l0,r,d,l (d in million recovery tokens, may be missing).",
        .example = "  pare fit demo/demo.ledger --form v2\n  pare study export demo/demo.ledger > runs.csv\n  pare fit runs.csv --form v1 "
                   "--ratio-kind parameters -o law.json",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    pare_arena *arena = pare_arena_open(error);
    bool done = arena && fit_points(arguments[0], &given, &shared, arena, error);
    pare_arena_close(arena);
    return done;
}
