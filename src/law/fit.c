/* fit: points -> rows that take part -> least squares -> a law with its diagnostics. Conventions as in statsmodels' OLS. */
#include "fit.h"

#include <stdio.h>
#include <string.h>

static const double alias_tolerance = 1e-9; /* share of a column that earlier ones must not express */

static bool recovery_varies(const pare_rows *rows) {
    for (size_t i = 1; i < rows->n; i++)
        if (rows->rows[i].d != rows->rows[0].d)
            return true;
    return false;
}

/* Three models at least, and a spread of ln L0 that is more than rounding or two ways of measuring. */
static bool l0_tells(const pare_rows *rows) {
    if (rows->n_models < 3)
        return false;
    double sum = 0, squares = 0, n = (double)rows->n_models;
    for (size_t i = 0; i < rows->n; i++) { /* the first row of each model */
        const pare_row *row = &rows->rows[rows->by_model[i]];
        if (i > 0 && rows->rows[rows->by_model[i - 1]].model_id == row->model_id)
            continue;
        double log_l0 = log(row->l0) - log(rows->rows[0].l0);
        sum += log_l0;
        squares += log_l0 * log_l0;
    }
    return (squares - sum * sum / n) / (n - 1) > 1e-6;
}

static void offer_terms(pare_rows *rows) {
    bool varies = recovery_varies(rows);
    rows->fits_l0 = l0_tells(rows);
    for (size_t j = 0; j < rows->form->n_terms; j++)
        if ((j != rows->form->recovery_term || varies) && (j != rows->form->l0_term || rows->fits_l0))
            rows->terms[rows->n_terms++] = j;
}

double pare_rows_response(const pare_rows *rows, const pare_row *row) {
    return rows->form->response(row->l, row->l0) - pare_form_offset(rows->form, rows->fits_l0, row->l0);
}

double pare_rows_loss(const pare_rows *rows, double response, const pare_row *row) {
    return rows->form->loss(response + pare_form_offset(rows->form, rows->fits_l0, row->l0), row->l0);
}

bool pare_rows_one_ratio(const pare_rows *rows, size_t n) {
    return n == 0 || rows->rows[n - 1].r - rows->rows[0].r <= 0.05 * rows->rows[n - 1].r;
}

bool pare_rows_solve(pare_lsq *lsq, double **x, const pare_rows *rows, size_t n, pare_arena *arena, pare_error *error) {
    double *matrix = PARE_PUSH(arena, double, n * rows->n_terms, error), *y = PARE_PUSH(arena, double, n, error);
    if (!matrix || !y)
        return false;
    for (size_t i = 0; i < n; i++) {
        const pare_row *row = &rows->rows[i];
        y[i] = pare_rows_response(rows, row);
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
    return pare_rows_loss(rows, y, row);
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

/* The covariance that everything is judged by: clustered by model where there are several. */
static bool fill_covariance(pare_law *law, const pare_rows *rows, const pare_lsq *lsq, const double *x, pare_arena *arena,
                            pare_error *error) {
    double covariance[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS];
    law->errors = PARE_LAW_ERRORS_CLASSICAL;
    if (rows->n_models > 1) {
        size_t *cluster = PARE_PUSH(arena, size_t, rows->n, error);
        if (!cluster)
            return false;
        for (size_t i = 0; i < rows->n; i++)
            cluster[i] = rows->rows[i].model_id;
        bool cr3;
        pare_lsq_clustered(covariance, &cr3, lsq, x, rows->by_model, cluster, rows->n_models);
        law->errors = cr3 ? PARE_LAW_ERRORS_CR3 : PARE_LAW_ERRORS_CR1;
    }
    for (size_t j = 0; j < lsq->p; j++)
        for (size_t k = 0; k < lsq->p; k++)
            law->covariance[j][k] =
                law->errors == PARE_LAW_ERRORS_CLASSICAL ? lsq->inverse[j][k] * lsq->sigma * lsq->sigma : covariance[j][k];
    return true;
}

static bool fill_coefficients(pare_law *law, const pare_rows *rows, const pare_lsq *lsq, const double *x, pare_arena *arena,
                              pare_error *error) {
    if (!fill_covariance(law, rows, lsq, x, arena, error))
        return false;
    bool clustered = law->errors != PARE_LAW_ERRORS_CLASSICAL;
    for (size_t j = 0; j < lsq->p; j++) {
        pare_law_coefficient *c = &law->coefficients[j];
        *c = (pare_law_coefficient){
            .name = rows->form->terms[rows->terms[lsq->kept[j]]].name,
            .value = lsq->beta[j],
            .standard_error = sqrt(lsq->inverse[j][j]) * lsq->sigma,
            .standard_error_clustered = clustered ? sqrt(law->covariance[j][j]) : PARE_NONE,
            .t = lsq->beta[j] / sqrt(law->covariance[j][j]), /* infinite for an exact fit */
        };
        c->p = pare_student_p(c->t, pare_law_degrees_of(law, j));
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
    const char *provenance = options->provenance ? options->provenance : "";
    law->ratio = options->ratio;
    law->provenance = pare_arena_copy(arena, provenance, strlen(provenance), error);
    law->method = method ? pare_arena_copy(arena, method, strlen(method), error) : NULL;
    if (!law->provenance || (method && !law->method))
        return false;
    law->n = rows->n;
    law->n_models = rows->n_models;
    law->n_terms = lsq->p;
    law->degrees = (double)(rows->n - lsq->p);
    law->sigma = lsq->sigma;
    fill_ranges(law, rows);
    return fill_coefficients(law, rows, lsq, x, arena, error);
}

static bool positive(double value) {
    return isfinite(value) && value > 0;
}

/* What the law says of every point of the group, of excluded ones too. */
static void fill_residuals(pare_law_fit *fit, const pare_law_points *points, const pare_rows *rows, const pare_lsq *lsq) {
    const pare_form *form = rows->form;
    for (size_t i = 0; i < fit->n_residuals; i++) {
        pare_law_residual *entry = &fit->residuals[i];
        const pare_law_point *point = &points->items[entry->point];
        double d = isnan(point->d) ? 0 : point->d;
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
        if (lsq->leverage[i] > PARE_LSQ_LEVERAGE_LIMIT)
            continue;
        entry->loo = pare_rows_loss(rows, pare_rows_response(rows, row) - e / left, row);
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
    fit->f_p = rows->n_models > 1 ? PARE_NONE : lsq->f_p; /* its table takes results as independent */
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

/* Why nothing could be fitted: what was left out, and that ratios may be in percent. */
static bool fail_to_fit(const pare_law_fit *fit, const pare_rows *rows, const char *method, const pare_error *reason, pare_error *error) {
    char excluded[1024];
    pare_law_tell_excluded(excluded, sizeof excluded, fit);
    return pare_fail(error, reason->code, "form %s, %s%s: %s (%zu of %zu points usable%s%s)%s", rows->form->name,
                     method ? "method " : "pooled", method ? method : "", reason->message, rows->n, fit->n_residuals,
                     excluded[0] ? "; left out: " : "", excluded,
                     2 * fit->excluded[PARE_LAW_BAD_R] > fit->n_residuals ? ". Ratios are fractions: 10 % is 0.1" : "");
}

static bool solve(pare_lsq *lsq, double **x, const pare_rows *rows, pare_arena *arena, pare_error *reason) {
    if (rows->n > 0 && pare_rows_one_ratio(rows, rows->n))
        return pare_fail(reason, PARE_ERROR_NUMERIC, "all points have one ratio, r = %g; a law in r needs two at least",
                         rows->rows[rows->n - 1].r);
    return pare_rows_solve(lsq, x, rows, rows->n, arena, reason);
}

/* Without recovery, unless something else is asked for or all points have one other D. */
static bool find_critical(pare_law_fit *fit, const pare_law_options *options, pare_error *error) {
    const pare_law *law = &fit->law;
    double d = options->critical_d == 0 && law->d_min == law->d_max ? law->d_min : options->critical_d;
    return pare_law_critical_find(&fit->critical, law, options->threshold, options->critical_l0, d, options->level, error);
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
    if (!pare_rows_select(&rows, fit, points, method, options, arena, error))
        return false;
    offer_terms(&rows);
    if (!solve(&lsq, &x, &rows, arena, &reason))
        return fail_to_fit(fit, &rows, method, &reason, error);
    if (!list_dropped(fit, &rows, &lsq, arena, error) || !fill_law(&fit->law, &rows, &lsq, x, method, options, arena, error))
        return false;
    fill_residuals(fit, points, &rows, &lsq);
    fill_quality(fit, &rows, &lsq);
    return pare_fit_leave_out(fit, &rows, &lsq, arena, error) && pare_fit_roll(fit, &rows, arena, error) &&
           find_critical(fit, options, error) && pare_fit_write_notes(fit, &rows, points, arena, error);
}
