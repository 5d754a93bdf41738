/* fit: points -> rows that take part -> least squares -> a law with its diagnostics. Conventions as in statsmodels' OLS. */
#include "fit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double alias_tolerance = 1e-9; /* share of a column that earlier ones must not express */

static const struct {
    const char *name, *reason;
} uses[PARE_LAW_N_USES] = {
    [PARE_LAW_USED] = {"used", "takes part"},
    [PARE_LAW_BROKEN] = {"broken", "the loss is above that of a uniform guess"},
    [PARE_LAW_IDENTITY] = {"identity", "the dense model itself: r = 0, D = 0, l = l0"},
    [PARE_LAW_BAD_L] = {"bad_l", "l is missing, not finite or not above 0"},
    [PARE_LAW_BAD_L0] = {"bad_l0", "l0 is missing, not finite or not above 0"},
    [PARE_LAW_BAD_R] = {"bad_r", "r is outside [0, 1)"},
    [PARE_LAW_NO_R] = {"no_r", "this kind of ratio was not recorded"},
    [PARE_LAW_BAD_D] = {"bad_d", "d is negative or not finite"},
};

const char *pare_law_use_name(pare_law_use use) {
    return uses[use].name;
}

const char *pare_law_use_reason(pare_law_use use) {
    return uses[use].reason;
}

pare_law_point pare_law_point_blank(void) {
    pare_law_point point = {.model = "", .method = "", .l0 = PARE_NONE, .l = PARE_NONE, .ceiling = PARE_NONE};
    for (size_t i = 0; i < PARE_LAW_N_RATIOS; i++)
        point.ratio[i] = PARE_NONE;
    return point;
}

static const char *named(const char *text) {
    return text ? text : "";
}

static double recovery(const pare_law_point *point) {
    return isnan(point->d) ? 0 : point->d;
}

static bool positive(double value) {
    return isfinite(value) && value > 0;
}

static pare_law_use judge(const pare_law_point *point, const pare_law_options *options) {
    double r = point->ratio[options->ratio], d = recovery(point);
    if (!positive(point->l))
        return PARE_LAW_BAD_L;
    if (!positive(point->l0))
        return PARE_LAW_BAD_L0;
    if (isnan(r))
        return PARE_LAW_NO_R;
    if (!(r >= 0 && r < 1))
        return PARE_LAW_BAD_R;
    if (!isfinite(d) || d < 0)
        return PARE_LAW_BAD_D;
    if (!options->include_broken && positive(point->ceiling) && point->l > point->ceiling)
        return PARE_LAW_BROKEN;
    if (!options->include_identity && r == 0 && d == 0 && fabs(point->l / point->l0 - 1) <= 1e-12)
        return PARE_LAW_IDENTITY;
    return PARE_LAW_USED;
}

static int compare_numbers(double a, double b) {
    return (a > b) - (a < b);
}

static int compare_rows(const void *left, const void *right) {
    const pare_row *a = left, *b = right;
    int order = compare_numbers(a->r, b->r);
    order = order ? order : compare_numbers(a->l0, b->l0);
    order = order ? order : compare_numbers(a->d, b->d);
    order = order ? order : compare_numbers(a->l, b->l);
    return order ? order : strcmp(a->model, b->model);
}

typedef struct {
    const char *name;
    size_t row;
} name_of_row;

static int compare_names(const void *left, const void *right) {
    const name_of_row *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->row > b->row) - (a->row < b->row);
}

/* Sorts and counts the different names. */
static size_t group_names(name_of_row *names, size_t n) {
    size_t n_groups = 0;
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++)
        n_groups += i == 0 || strcmp(names[i].name, names[i - 1].name) != 0;
    return n_groups;
}

/* Numbers the models, lists the rows model after model, counts the methods. */
static bool group_rows(pare_rows *rows, pare_row *items, const pare_law_points *points, pare_law_fit *fit, pare_arena *arena,
                       pare_error *error) {
    name_of_row *names = PARE_PUSH(arena, name_of_row, rows->n, error);
    size_t *by_model = PARE_PUSH(arena, size_t, rows->n, error);
    if (!names || !by_model)
        return false;
    for (size_t i = 0; i < rows->n; i++)
        names[i] = (name_of_row){named(points->items[fit->residuals[items[i].entry].point].method), i};
    fit->n_methods = group_names(names, rows->n);
    for (size_t i = 0; i < rows->n; i++)
        names[i] = (name_of_row){items[i].model, i};
    rows->n_models = group_names(names, rows->n);
    for (size_t i = 0, model = 0; i < rows->n; i++) {
        model += i > 0 && strcmp(names[i].name, names[i - 1].name) != 0;
        by_model[i] = names[i].row;
        items[names[i].row].model_id = model;
    }
    rows->by_model = by_model;
    return true;
}

static bool belongs(const pare_law_point *point, const char *method) {
    return !method || strcmp(named(point->method), method) == 0;
}

/* Judges the group's points; rows in the order of the fit, fit->residuals in the caller's order. */
static bool select_rows(pare_rows *rows, pare_law_fit *fit, const pare_law_points *points, const char *method,
                        const pare_law_options *options, pare_arena *arena, pare_error *error) {
    size_t n = 0;
    for (size_t i = 0; i < points->n; i++)
        n += belongs(&points->items[i], method);
    pare_row *items = PARE_PUSH(arena, pare_row, n, error);
    fit->residuals = PARE_PUSH(arena, pare_law_residual, n, error);
    if (!items || !fit->residuals)
        return false;
    for (size_t i = 0; i < points->n; i++) {
        const pare_law_point *point = &points->items[i];
        if (!belongs(point, method))
            continue;
        pare_law_use use = judge(point, options);
        double r = point->ratio[options->ratio];
        fit->residuals[fit->n_residuals++] = (pare_law_residual){.point = i,
                                                                 .use = use,
                                                                 .r = r,
                                                                 .fitted = PARE_NONE,
                                                                 .residual = PARE_NONE,
                                                                 .relative_error = PARE_NONE,
                                                                 .leverage = PARE_NONE,
                                                                 .studentized = PARE_NONE,
                                                                 .loo = PARE_NONE};
        fit->excluded[use] += use != PARE_LAW_USED;
        if (use == PARE_LAW_USED)
            items[rows->n++] = (pare_row){.r = r + 0.0,
                                          .l0 = point->l0,
                                          .d = recovery(point) + 0.0,
                                          .l = point->l,
                                          .model = named(point->model),
                                          .entry = fit->n_residuals - 1};
    }
    fit->n_excluded = n - rows->n;
    qsort(items, rows->n, sizeof *items, compare_rows);
    rows->rows = items;
    return group_rows(rows, items, points, fit, arena, error);
}

static bool recovery_varies(const pare_rows *rows) {
    for (size_t i = 1; i < rows->n; i++)
        if (rows->rows[i].d != rows->rows[0].d)
            return true;
    return false;
}

static void offer_terms(pare_rows *rows) {
    bool varies = recovery_varies(rows);
    for (size_t j = 0; j < rows->form->n_terms; j++)
        if (j != rows->form->recovery_term || varies)
            rows->terms[rows->n_terms++] = j;
}

bool pare_rows_solve(pare_lsq *lsq, double **x, const pare_rows *rows, size_t n, pare_arena *arena, pare_error *error) {
    double *matrix = PARE_PUSH(arena, double, n * rows->n_terms, error), *y = PARE_PUSH(arena, double, n, error);
    if (!matrix || !y)
        return false;
    for (size_t i = 0; i < n; i++) {
        const pare_row *row = &rows->rows[i];
        y[i] = rows->form->response(row->l, row->l0);
        for (size_t j = 0; j < rows->n_terms; j++)
            matrix[i + j * n] = rows->form->terms[rows->terms[j]].value(row->l0, row->r, row->d);
    }
    if (x)
        *x = matrix;
    return pare_lsq_solve(lsq, matrix, y, n, rows->n_terms, alias_tolerance, arena, error);
}

double pare_rows_predict(const pare_rows *rows, const pare_lsq *lsq, const pare_row *row) {
    double y = 0;
    for (size_t j = 0; j < lsq->p; j++)
        y += lsq->beta[j] * rows->form->terms[rows->terms[lsq->kept[j]]].value(row->l0, row->r, row->d);
    return rows->form->loss(y, row->l0);
}

static bool add_note(pare_law_fit *fit, pare_arena *arena, pare_error *error, const char *format, ...) PARE_PRINTF(4, 5);
static bool add_note(pare_law_fit *fit, pare_arena *arena, pare_error *error, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (fit->n_notes == sizeof fit->notes / sizeof fit->notes[0])
        return true;
    fit->notes[fit->n_notes] = pare_arena_copy(arena, text, strlen(text), error);
    return fit->notes[fit->n_notes] ? (fit->n_notes++, true) : false;
}

/* Terms offered and not kept, with the reason; the law needs its term in r. */
static bool list_dropped(pare_law_fit *fit, const pare_rows *rows, const pare_lsq *lsq, pare_arena *arena, pare_error *error) {
    bool has_ratio = false;
    for (size_t j = 0, k = 0; j < rows->n_terms; j++) {
        if (k < lsq->p && lsq->kept[k] == j) {
            has_ratio = has_ratio || rows->terms[j] == rows->form->ratio_term;
            k++;
            continue;
        }
        const char *name = rows->form->terms[rows->terms[j]].name, *regressor = rows->form->terms[rows->terms[j]].regressor;
        char *reason =
            pare_arena_format(arena, error, "over these points its regressor %s is zero or a combination of those before it", regressor);
        if (!reason)
            return false;
        fit->dropped[fit->n_dropped].name = name;
        fit->dropped[fit->n_dropped++].reason = reason;
    }
    if (!has_ratio)
        return pare_fail(error, PARE_ERROR_NUMERIC,
                         "form %s: the ratio does not vary over the %zu usable points, so that no law in r follows", rows->form->name,
                         rows->n);
    return true;
}

static bool fill_coefficients(pare_law *law, const pare_rows *rows, const pare_lsq *lsq, const double *x, pare_arena *arena,
                              pare_error *error) {
    double clustered[PARE_LSQ_MAX_TERMS];
    for (size_t j = 0; j < lsq->p; j++)
        clustered[j] = PARE_NONE;
    if (rows->n_models >= 3) {
        size_t *cluster = PARE_PUSH(arena, size_t, rows->n, error);
        if (!cluster)
            return false;
        for (size_t i = 0; i < rows->n; i++)
            cluster[i] = rows->rows[i].model_id;
        if (!pare_lsq_clustered(clustered, lsq, x, cluster, rows->n_models, arena, error))
            return false;
    }
    for (size_t j = 0; j < lsq->p; j++) {
        for (size_t k = 0; k < lsq->p; k++)
            law->covariance[j][k] = lsq->inverse[j][k] * lsq->sigma * lsq->sigma;
        double standard_error = sqrt(law->covariance[j][j]);
        double t = lsq->beta[j] / standard_error; /* infinite for an exact fit */
        law->coefficients[j] = (pare_law_coefficient){
            .name = rows->form->terms[rows->terms[lsq->kept[j]]].name,
            .value = lsq->beta[j],
            .standard_error = standard_error,
            .standard_error_clustered = clustered[j],
            .t = t,
            .p = pare_student_p(t, law->degrees),
        };
    }
    return true;
}

static void fill_ranges(pare_law *law, const pare_rows *rows) {
    const pare_row *first = &rows->rows[0];
    law->r_min = law->r_max = first->r;
    law->l0_min = law->l0_max = first->l0;
    law->d_min = law->d_max = first->d;
    long double logs = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const pare_row *row = &rows->rows[i];
        law->r_max = fmax(law->r_max, row->r);
        law->l0_min = fmin(law->l0_min, row->l0);
        law->l0_max = fmax(law->l0_max, row->l0);
        law->d_min = fmin(law->d_min, row->d);
        law->d_max = fmax(law->d_max, row->d);
        logs += (long double)log(row->l0);
    }
    law->l0_mean = exp((double)(logs / (long double)rows->n));
    if (law->l0_min == law->l0_max)
        law->l0_mean = law->l0_min;
}

static bool fill_law(pare_law *law, const pare_rows *rows, const pare_lsq *lsq, const double *x, const char *method,
                     const pare_law_options *options, pare_arena *arena, pare_error *error) {
    const char *provenance = named(options->provenance);
    law->ratio = options->ratio;
    law->provenance = pare_arena_copy(arena, provenance, strlen(provenance), error);
    law->method = method ? pare_arena_copy(arena, method, strlen(method), error) : NULL;
    if (!law->provenance || (method && !law->method))
        return false;
    law->n = rows->n;
    law->n_terms = lsq->p;
    law->degrees = (double)(rows->n - lsq->p);
    law->sigma = lsq->sigma;
    fill_ranges(law, rows);
    return fill_coefficients(law, rows, lsq, x, arena, error);
}

/* What the law says of every point of the group, of excluded ones too. */
static void fill_residuals(pare_law_fit *fit, const pare_law_points *points, const pare_rows *rows, const pare_lsq *lsq) {
    const pare_form *form = rows->form;
    for (size_t i = 0; i < fit->n_residuals; i++) {
        pare_law_residual *entry = &fit->residuals[i];
        const pare_law_point *point = &points->items[entry->point];
        double d = recovery(point);
        if (!positive(point->l0) || !(entry->r >= 0 && entry->r < 1) || !isfinite(d) || d < 0)
            continue;
        double y = pare_law_response(&fit->law, point->l0, entry->r, d, NULL);
        entry->fitted = form->loss(y, point->l0);
        if (positive(point->l)) {
            entry->residual = form->response(point->l, point->l0) - y;
            entry->relative_error = entry->fitted / point->l - 1;
        }
    }
    for (size_t i = 0; i < rows->n; i++) {
        const pare_row *row = &rows->rows[i];
        pare_law_residual *entry = &fit->residuals[row->entry];
        double e = lsq->residual[i], left = 1 - lsq->leverage[i];
        entry->residual = e;
        entry->leverage = lsq->leverage[i];
        if (lsq->leverage[i] > PARE_LEVERAGE_LIMIT)
            continue;
        entry->loo = form->loss(form->response(row->l, row->l0) - e / left, row->l0);
        double rest = lsq->rss - e * e / left; /* rss of the fit without the point */
        if (fit->law.degrees > 1 && rest > 0)
            entry->studentized = e / sqrt(rest / (fit->law.degrees - 1) * left);
    }
}

static void fill_quality(pare_law_fit *fit, const pare_rows *rows, const pare_lsq *lsq) {
    fit->r2_kind = lsq->centred ? "centred" : "uncentred";
    fit->r2 = lsq->r2;
    fit->r2_adjusted = lsq->r2_adjusted;
    fit->f = lsq->f;
    fit->f_degrees = lsq->f_degrees;
    fit->f_p = lsq->f_p;
    long double sum = 0, rss = 0, tss = 0;
    for (size_t i = 0; i < rows->n; i++)
        sum += (long double)rows->rows[i].l;
    long double mean = sum / (long double)rows->n;
    for (size_t i = 0; i < rows->n; i++) {
        long double missed = (long double)(rows->rows[i].l - pare_rows_predict(rows, lsq, &rows->rows[i]));
        long double spread = (long double)rows->rows[i].l - mean;
        rss += missed * missed;
        tss += spread * spread;
    }
    fit->r2_loss = tss > 0 ? (double)(1 - rss / tss) : PARE_NONE;
    const pare_law *law = &fit->law;
    fit->identity_error = rows->form->loss(pare_law_response(law, law->l0_mean, 0, 0, NULL), law->l0_mean) / law->l0_mean - 1;
}

static bool write_notes(pare_law_fit *fit, const pare_rows *rows, pare_arena *arena, pare_error *error) {
    const pare_law *law = &fit->law;
    bool done = true, about_l0 = law->form == PARE_LAW_V1 || law->form == PARE_LAW_V1I;
    if (about_l0 && law->l0_min == law->l0_max)
        done = add_note(fit, arena, error, "l0 is %.6g in every point: a stands for a constant, and the law says nothing about another l0",
                        law->l0_min);
    if (done && rows->form->recovery_term == PARE_LAW_MAX_TERMS && law->d_min < law->d_max)
        done = add_note(fit, arena, error, "D goes from %.6g to %.6g million tokens, but form %s has no recovery term: it is ignored",
                        law->d_min, law->d_max, rows->form->name);
    if (done && law->d_min == law->d_max && law->d_min > 0)
        done = add_note(fit, arena, error, "D is %.6g million tokens in every point: the law holds at that D alone", law->d_min);
    for (size_t i = 0; done && i < law->n_terms; i++)
        if (strcmp(law->coefficients[i].name, "c") == 0 && law->coefficients[i].value < 0)
            done =
                add_note(fit, arena, error,
                         "c is below 0, as if recovery raised the loss: D up to %.6g million tokens moves ln(1 + 1/(D+1)) by %.2g alone, "
                         "little beside a constant",
                         law->d_max, log(2) - log1p(1 / (law->d_max + 1)));
    if (done && fit->excluded[PARE_LAW_BROKEN])
        done = add_note(fit, arena, error, "%zu point%s excluded: %s", fit->excluded[PARE_LAW_BROKEN],
                        fit->excluded[PARE_LAW_BROKEN] > 1 ? "s" : "", uses[PARE_LAW_BROKEN].reason);
    if (done && fit->n_methods > 1 && law->ratio == PARE_LAW_RATIO_NOMINAL)
        done = add_note(fit, arena, error, "%zu methods pooled on their nominal ratios, which may count different units", fit->n_methods);
    if (done && rows->n_models < 3)
        done = add_note(fit, arena, error, "%zu model%s: too few for standard errors clustered by model", rows->n_models,
                        rows->n_models > 1 ? "s" : "");
    if (done && isnan(fit->r2))
        done = add_note(fit, arena, error, "the response does not vary: R2 and F are not defined");
    if (done && law->degrees < 3)
        done = add_note(fit, arena, error, "only %g degree%s of freedom: the errors told are themselves rough", law->degrees,
                        law->degrees > 1 ? "s" : "");
    return done;
}

bool pare_law_fit_points(pare_law_fit *fit, pare_law_form form, const pare_law_points *points, const char *method,
                         const pare_law_options *options, pare_arena *arena, pare_error *error) {
    static const pare_law_options none;
    if (!options)
        options = &none;
    *fit = (pare_law_fit){.law.form = form, .tolerance = options->tolerance > 0 ? options->tolerance : 0.05};
    pare_rows rows = {.form = pare_form_of(form)};
    pare_lsq lsq;
    double *x;
    pare_error reason;
    if (!select_rows(&rows, fit, points, method, options, arena, error))
        return false;
    offer_terms(&rows);
    if (!pare_rows_solve(&lsq, &x, &rows, rows.n, arena, &reason))
        return pare_fail(error, reason.code, "form %s, %s%s: %s (%zu of %zu points usable)", rows.form->name, method ? "method " : "pooled",
                         named(method), reason.message, rows.n, fit->n_residuals);
    fit->n_models = rows.n_models;
    if (!list_dropped(fit, &rows, &lsq, arena, error) || !fill_law(&fit->law, &rows, &lsq, x, method, options, arena, error))
        return false;
    fill_residuals(fit, points, &rows, &lsq);
    fill_quality(fit, &rows, &lsq);
    pare_fit_leave_out(fit, &rows, &lsq);
    return pare_fit_roll(fit, &rows, arena, error) &&
           pare_law_critical_find(&fit->critical, &fit->law, options->threshold, options->critical_l0, options->critical_d, options->level,
                                  error) &&
           write_notes(fit, &rows, arena, error);
}
