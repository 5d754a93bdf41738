/* pare fit: the laws that a ledger's runs, or anybody's CSV, follow. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "destination.h"
#include "pare/law.h"
#include "pare/report.h"

typedef struct {
    const char *form, *method, *ratio_kind, *out, *tokens;
    double threshold, level, tolerance, l0;
    uint32_t view;
    bool include_broken, force;
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

/* Below this the tail is that of the form, not of the data. */
static void print_p(double p) {
    if (p < 1e-15)
        printf("p < 1e-15");
    else
        printf("p = %.2g", p);
}

static void print_coefficients(const pare_law *law) {
    for (size_t i = 0; i < law->n_terms; i++) {
        const pare_law_coefficient *c = &law->coefficients[i];
        bool clustered = law->errors != PARE_LAW_ERRORS_CLASSICAL;
        printf("  %-9s %10.5f +/- %-9.5f ", c->name, c->value, clustered ? c->standard_error_clustered : c->standard_error);
        print_p(c->p);
        printf("\n");
    }
    if (law->errors == PARE_LAW_ERRORS_CLASSICAL)
        printf("  errors are classical, because there is one model\n");
    else
        printf("  errors are clustered by model (%s, %zu models)\n", pare_law_errors_name(law->errors), law->n_models);
}

static void print_share(double share) {
    if (isfinite(share))
        printf("%.3g %%", 100 * share);
    else
        printf("(not known)");
}

/* What to expect of a model or a ratio that was not measured: the lost loss L - L0, because L itself is mostly L0, which is given. */
static void print_errors(const pare_law_fit *fit) {
    if (fit->n_models > 1) {
        printf("  on a model left out, the law misses L - L0 by ");
        print_share(fit->lost_model_error);
        printf(" (median of %zu results)", fit->n_lost_model);
        if (fit->n_baseline) {
            printf(", and the mean of the other models misses it by ");
            print_share(fit->baseline_lost_error);
            if (fit->n_baseline != fit->n_lost_model)
                printf(" (of %zu)", fit->n_baseline);
        }
        printf("\n");
    }
    printf("  at larger ratios than fitted, the law misses L - L0 by ");
    print_share(fit->lost_rolling_error);
    printf(", and on a result left out by ");
    print_share(fit->lost_point_error);
    printf("\n  the law misses L itself by ");
    if (isfinite(fit->loo_model_error))
        printf("%.2f %% on a model left out and by ", 100 * fit->loo_model_error);
    printf("%.2f %% on a result left out (root mean square)\n", 100 * fit->loo_error);
}

static void print_critical(const pare_law_fit *fit) {
    const pare_law_critical *critical = &fit->critical;
    printf("  critical ratio for L = %g L0 (at L0 = %.4g, ", critical->threshold, critical->l0);
    if (critical->d > 0)
        printf("D = %g million tokens", critical->d);
    else
        printf("without recovery");
    printf(", %s ratio): ", pare_law_ratio_name(fit->law.ratio));
    if (!isfinite(critical->value)) {
        printf("none: %s\n", critical->note);
        return;
    }
    printf("%.4f (%g %% interval %.4f to %.4f%s, if the form is right)%s\n", critical->value, 100 * critical->level, critical->low,
           critical->high, critical->one_piece ? "" : ", with gaps", critical->outside ? ", outside of the data" : "");
}

static void print_fit(const pare_law_fit *fit) {
    char excluded[1024];
    pare_law_tell_excluded(excluded, sizeof excluded, fit);
    printf("%s, %s: n = %zu", fit->law.method ? fit->law.method : "pooled", pare_law_form_equation(fit->law.form), fit->law.n);
    if (fit->n_excluded)
        printf(" (%zu excluded: %s)", fit->n_excluded, excluded);
    printf("\n");
    print_coefficients(&fit->law);
    print_errors(fit);
    print_critical(fit);
    if (fabs(fit->identity_error) > 0.0005)
        printf("  at r = 0 the law gives %.3f times L0, where 1 is true\n", 1 + fit->identity_error);
    if (isfinite(fit->r_carried))
        printf("  in these data, the law is within %g %% of L at every ratio up to r = %g\n", 100 * fit->tolerance, fit->r_carried);
    else
        printf("  in these data, the law is not within %g %% of L over any range of r\n", 100 * fit->tolerance);
    printf("  R2 %.5f (%s), adjusted %.5f; R2 of L %.4f; F = %.4g", fit->r2, fit->r2_kind, fit->r2_adjusted, fit->r2_loss, fit->f);
    if (isfinite(fit->f_p)) {
        printf(", ");
        print_p(fit->f_p);
    }
    printf("\n");
    for (size_t i = 0; i < fit->n_notes; i++)
        printf("  note: %s\n", fit->notes[i]);
    printf("\n");
}

static void print_pooling(const pare_law_groups *groups) {
    if (isfinite(groups->pooled_lost_error) && isfinite(groups->apart_lost_error)) {
        printf("on a model left out, one law for all %zu methods misses L - L0 by ", groups->n_pooled);
        print_share(groups->pooled_lost_error);
        printf(", and a law for each method by ");
        print_share(groups->apart_lost_error);
        printf("\n\n");
    } else if (isfinite(groups->pooling_p)) {
        printf("one law for all %zu methods, compared with a law for each (Chow's test, one model): F = %.4g, ", groups->n_pooled,
               groups->pooling_f);
        print_p(groups->pooling_p);
        printf("\n\n");
    }
}

static void print_groups(const pare_law_groups *groups) {
    for (size_t i = 0; i < groups->n; i++)
        if (groups->items[i].done)
            print_fit(&groups->items[i].fit);
        else
            printf("%s: not fitted: %s\n\n", groups->items[i].method ? groups->items[i].method : "pooled",
                   groups->items[i].failure.message);
    print_pooling(groups);
}

static void print_cell(double share) {
    if (isfinite(share))
        printf("  %9.3g %%", 100 * share);
    else
        printf("  %11s", "-");
}

static void print_comparison(const pare_law_candidate candidates[PARE_LAW_N_FORMS], const char *what) {
    printf("forms on %s without recovery: by how much each misses L - L0 (median), the smallest first\n", what);
    printf("  %-24s  %11s  %11s %12s\n", "", "other model", "larger r", "other result");
    for (int i = 0; i < PARE_LAW_N_FORMS; i++) {
        const pare_law_fit *fit = &candidates[i].fit;
        if (!candidates[i].done) {
            printf("  %-24s  not fitted: %s\n", pare_law_form_name(candidates[i].form), candidates[i].failure.message);
            continue;
        }
        printf("  %-24s", pare_law_form_name(candidates[i].form));
        print_cell(fit->lost_model_error);
        print_cell(fit->lost_rolling_error);
        print_cell(fit->lost_point_error);
        printf("   R2 of L %.4f\n", fit->r2_loss);
    }
    if (candidates[0].done && candidates[0].fit.n_baseline) {
        printf("  %-24s", "mean of the other models");
        print_cell(candidates[0].fit.baseline_lost_error);
        printf("\n");
    }
}

/* ---- output for programs ---- */

/* r2_adjusted is of each form's own response, and of the kind r2_kind: it compares nothing between forms; r2_loss and the errors do. */
static json_t *candidate_json(pare_json_doc *doc, const pare_law_fit *fit) {
    return pare_json_pack(doc, "{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "form", pare_law_form_name(fit->law.form), "n",
                          (json_int_t)fit->law.n, "lost_model_error", pare_json_number(doc, fit->lost_model_error), "lost_rolling_error",
                          pare_json_number(doc, fit->lost_rolling_error), "lost_point_error", pare_json_number(doc, fit->lost_point_error),
                          "loo_error", pare_json_number(doc, fit->loo_error), "r2_loss", pare_json_number(doc, fit->r2_loss), "r2_adjusted",
                          pare_json_number(doc, fit->r2_adjusted), "r2_kind", fit->r2_kind, "baseline_lost_error",
                          pare_json_number(doc, fit->baseline_lost_error));
}

/* The pooled fit, or the only one, on top; every method's own below. */
static json_t *fit_json(pare_json_doc *doc, const pare_law_groups *groups, const pare_law_points *points,
                        const pare_law_candidate *candidates) {
    const pare_law_group *last = &groups->items[groups->n - 1];
    json_t *json = last->done ? pare_law_fit_json(doc, &last->fit, points) : pare_json_pack(doc, "{s:s}", "failure", last->failure.message);
    json_t *by_method = pare_json_array(doc);
    for (size_t i = 0; groups->n > 1 && i + 1 < groups->n; i++) {
        const pare_law_group *group = &groups->items[i];
        pare_json_append(doc, by_method,
                         group->done ? pare_law_fit_json(doc, &group->fit, points)
                                     : pare_json_pack(doc, "{s:s?, s:s}", "method", group->method, "failure", group->failure.message));
    }
    pare_json_set(doc, json, "by_method", by_method);
    pare_json_set(doc, json, "pooling",
                  pare_json_pack(doc, "{s:I, s:o, s:o, s:o, s:o}", "methods", (json_int_t)groups->n_pooled, "f",
                                 pare_json_number(doc, groups->pooling_f), "f_p", pare_json_number(doc, groups->pooling_p),
                                 "pooled_lost_error", pare_json_number(doc, groups->pooled_lost_error), "apart_lost_error",
                                 pare_json_number(doc, groups->apart_lost_error)));
    json_t *forms = pare_json_array(doc);
    for (int i = 0; i < PARE_LAW_N_FORMS; i++)
        if (candidates[i].done)
            pare_json_append(doc, forms, candidate_json(doc, &candidates[i].fit));
    pare_json_set(doc, json, "forms", forms);
    return json;
}

static bool save(const char *path, bool replace, const pare_law_groups *groups, pare_arena *arena, pare_error *error) {
    pare_law *laws = PARE_PUSH(arena, pare_law, groups->n, error);
    size_t n = 0;
    if (!laws)
        return false;
    for (size_t i = 0; i < groups->n; i++)
        if (groups->items[i].done)
            laws[n++] = groups->items[i].fit.law;
    return pare_law_write(path, laws, n, replace, error);
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
    pare_json_doc doc = {0};
    pare_law_form form;
    pare_law_options options = {.include_broken = given->include_broken,
                                .threshold = given->threshold,
                                .level = given->level,
                                .tolerance = given->tolerance,
                                .critical_l0 = given->l0,
                                .provenance = path};
    pare_law_points points;
    pare_law_groups groups;
    pare_law_candidate candidates[PARE_LAW_N_FORMS];
    if (!tokens_parse(&options.critical_d, given->tokens, error) || !pare_law_form_parse(&form, given->form, error) ||
        !pare_law_ratio_parse(&options.ratio, given->ratio_kind, error))
        return false;
    bool replace;
    reads(path);
    if (given->out && !destination_check(&replace, given->out, &destination_law, given->force, error))
        return false;
    bool done = is_ledger(path) ? read_ledger(&points, path, given->view, arena, error) : pare_law_points_read(&points, path, arena, error);
    done = done && keep_method(&points, given->method, path, error) &&
           pare_law_fit_groups(&groups, form, &points, &options, arena, error) &&
           pare_law_compare(candidates, &points, NULL, &options, arena, error) &&
           (!given->out || save(given->out, replace, &groups, arena, error));
    if (!done)
        return false;
    if (shared->json)
        return print_json(fit_json(&doc, &groups, &points, candidates), &doc, error);
    print_groups(&groups);
    print_comparison(candidates, given->method ? given->method : "all points");
    return true;
}

bool cmd_fit(int argc, char **argv, pare_error *error) {
    fit_options given = {.form = "v1", .ratio_kind = "nominal"};
    const option options[] = {
        {"form", 'f', OPTION_STRING, "F", "form of the curve: v1 (default), v1i, v2 or quadratic", &given.form},
        {"method", 'm', OPTION_STRING, "M", "fit the results of this method only", &given.method},
        {"ratio-kind", 0, OPTION_STRING, "K", "kind of the ratio: nominal (default), non_embedding, parameters, bytes or macs",
         &given.ratio_kind},
        {"threshold", 0, OPTION_NUMBER, "X", "the critical ratio is where L reaches X times L0 (1.1)", &given.threshold},
        {"l0", 0, OPTION_NUMBER, "X", "L0 at which the critical ratio is computed (default: the geometric mean of the models' L0)",
         &given.l0},
        {"tokens", 0, OPTION_STRING, "D", "number of recovery tokens at which the critical ratio is computed: 50k, 0.5M (0)",
         &given.tokens},
        {"level", 0, OPTION_NUMBER, "P", "level of the intervals (0.95)", &given.level},
        {"tolerance", 0, OPTION_NUMBER, "X", "largest relative error of L in the range of r that a form is said to describe (0.05)",
         &given.tolerance},
        {"view", 0, OPTION_COUNT, "N", "which view to fit, of a ledger whose results were measured in several ways", &given.view},
        {"include-broken", 0, OPTION_FLAG, NULL,
         "also fit the results that are worse than a uniform guess, and those that are left out because of them", &given.include_broken},
        {"output", 'o', OPTION_STRING, "LAW", "write the laws as JSON, for pare predict", &given.out},
        OPTION_FORCE(0, &given.force),
        {0},
    };
    const command_face face = {
        .name = "fit",
        .usage = "LEDGER|FILE.csv [--form v1|v1i|v2|quadratic] [-o LAW]",
        .about =
            "Fits a curve of loss against ratio for each method and for all methods together. It prints by how much the curve\n"
            "misses the lost loss (L - L0) on a model or at a ratio that was left out of the fit, and compares all forms with the mean of\n"
            "the other models.\n"
            "With several models, errors and intervals are clustered by model.\n\n"
            "  v1         ln L = a ln L0 + b ln(1+r) [+ c ln(1 + 1/(D+1))]   (a is 1 below three models)\n"
            "  v1i        the same with a constant\n"
            "  v2         ln L = ln L0 + ln P0 + a ln(1-r)\n"
            "  quadratic  L/L0 = 1 + a r + b r^2\n\n"
            "A CSV file has the columns model,method,l0,r,d,l. r is a fraction. d counts million recovery tokens and may be missing.\n"
            "Exact copies of a row count once. Where a method breaks a model (L above ln V), its results from that ratio on are left out.",
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
    if (given.l0 < 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--l0 %g: the loss of a dense model is above 0", given.l0);
    pare_arena *arena = pare_arena_open(error);
    bool done = arena && fit_points(arguments[0], &given, &shared, arena, error);
    pare_arena_close(arena);
    return done;
}
