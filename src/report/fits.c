/* fits: every form on every kind of ratio for one view, with curves and bands ready to draw. The page chooses, it does not compute. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_impl.h"

enum { CURVE_STEPS = 60, CURVES_MAX = 24 };

/* Six digits are plenty for a pixel and keep the page small. */
static json_t *drawn(pare_json_doc *doc, double value) {
    char text[40];
    snprintf(text, sizeof text, "%.6g", value);
    return pare_json_number(doc, isfinite(value) ? strtod(text, NULL) : value);
}

/* Curves end where the points of any method end, so that the forms can be compared beyond what was fitted. */
static double largest_ratio(const pare_law_points *points, pare_law_ratio kind) {
    double largest = 0;
    for (size_t i = 0; i < points->n; i++) {
        double r = points->items[i].ratio[kind];
        if (isfinite(r) && r > largest && r < 1)
            largest = r;
    }
    return largest < 0.99 ? largest : 0.99;
}

/* One law at one L0 and D: {"model", "l0", "d", "r": […], "l": […], "mean_low": […], …}. */
static json_t *curve_json(pare_json_doc *doc, const pare_law *law, const pare_law_point *at, double r_end) {
    static const char *const keys[] = {"r", "l", "mean_low", "mean_high", "prediction_low", "prediction_high"};
    enum { N_KEYS = sizeof keys / sizeof keys[0] };
    json_t *curve = pare_json_object(doc), *arrays[N_KEYS];
    double d = at->d > 0 ? at->d : 0;
    pare_json_set(doc, curve, "model", pare_json_string(doc, at->model));
    pare_json_set(doc, curve, "l0", pare_json_number(doc, at->l0));
    pare_json_set(doc, curve, "d", pare_json_number(doc, d));
    for (size_t k = 0; k < N_KEYS; k++)
        arrays[k] = pare_json_array(doc);
    for (size_t i = 0; i <= CURVE_STEPS; i++) {
        double r = r_end * (double)i / CURVE_STEPS;
        pare_law_prediction p;
        if (!pare_law_predict(&p, law, at->l0, r, d, 0, NULL))
            continue;
        const double values[N_KEYS] = {r, p.l, p.mean_low, p.mean_high, p.prediction_low, p.prediction_high};
        for (size_t k = 0; k < N_KEYS; k++)
            pare_json_append(doc, arrays[k], drawn(doc, values[k]));
    }
    for (size_t k = 0; k < N_KEYS; k++)
        pare_json_set(doc, curve, keys[k], arrays[k]);
    return curve;
}

static bool same_place(const pare_law_point *a, const pare_law_point *b) {
    return strcmp(a->model, b->model) == 0 && fabs(a->l0 - b->l0) <= 1e-3 * b->l0 && (a->d == b->d || (isnan(a->d) && isnan(b->d)));
}

/* One curve for each dense model and recovery that the fit used; two L0 of one model that differ in their last digits draw one. */
static json_t *curves_json(pare_json_doc *doc, const pare_law_fit *fit, const pare_law_points *points) {
    json_t *curves = pare_json_array(doc);
    const pare_law_point *seen[CURVES_MAX];
    size_t n_seen = 0;
    double r_end = largest_ratio(points, fit->law.ratio);
    for (size_t i = 0; i < fit->n_residuals && n_seen < CURVES_MAX; i++) {
        const pare_law_point *point = &points->items[fit->residuals[i].point];
        bool known = fit->residuals[i].use != PARE_LAW_USED;
        for (size_t j = 0; j < n_seen && !known; j++)
            known = same_place(seen[j], point);
        if (known)
            continue;
        seen[n_seen++] = point;
        pare_json_append(doc, curves, curve_json(doc, &fit->law, point, r_end));
    }
    return curves;
}

/* [{"run": index into the page's runs, "r", "fitted", "relative_error", "use"}] */
static json_t *residuals_json(pare_json_doc *doc, const pare_law_fit *fit, const report_view *view) {
    json_t *residuals = pare_json_array(doc);
    for (size_t i = 0; i < fit->n_residuals; i++) {
        const pare_law_residual *residual = &fit->residuals[i];
        json_t *item = pare_json_pack(doc, "{s:I, s:o, s:o, s:o, s:s}", "run", (json_int_t)view->runs[residual->point], "r",
                                      drawn(doc, residual->r), "fitted", drawn(doc, residual->fitted), "relative_error",
                                      drawn(doc, residual->relative_error), "use", pare_law_use_name(residual->use));
        pare_json_append(doc, residuals, item);
    }
    return residuals;
}

/* That nothing could be fitted is told, unless memory was the reason. */
static json_t *failure_json(pare_json_doc *doc, const pare_error *failure) {
    if (failure->code == PARE_ERROR_MEMORY)
        pare_json_fail(doc, failure);
    return pare_json_string(doc, failure->message);
}

static json_t *group_json(pare_json_doc *doc, const pare_law_group *group, const report_view *view) {
    const pare_law *law = &group->fit.law;
    if (!group->done)
        return pare_json_pack(doc, "{s:s?, s:o}", "method", group->method, "failure", failure_json(doc, &group->failure));
    return pare_json_pack(doc, "{s:s?, s:o, s:f, s:f, s:o, s:o}", "method", group->method, "fit", pare_law_fit_json(doc, &group->fit, NULL),
                          "r_min", law->r_min, "r_max", law->r_max, "curves", curves_json(doc, &group->fit, &view->points), "residuals",
                          residuals_json(doc, &group->fit, view));
}

/* One form on one kind of ratio; no run may have recorded this ratio, or there are too few points. */
static json_t *form_json(pare_json_doc *doc, const report_view *view, pare_law_form form, pare_law_ratio kind, pare_arena *arena) {
    pare_law_options options = {.ratio = kind};
    pare_law_groups groups;
    pare_error failure = {0};
    const char *equation = pare_law_form_equation(form);
    if (!pare_law_fit_groups(&groups, form, &view->points, &options, arena, &failure))
        return pare_json_pack(doc, "{s:s, s:o}", "equation", equation, "failure", failure_json(doc, &failure));
    json_t *array = pare_json_array(doc);
    for (size_t i = 0; i < groups.n; i++)
        pare_json_append(doc, array, group_json(doc, &groups.items[i], view));
    return pare_json_pack(doc, "{s:s, s:o, s:f, s:f, s:f, s:f}", "equation", equation, "groups", array, "pooling_f", groups.pooling_f,
                          "pooling_p", groups.pooling_p, "pooled_lost_error", groups.pooled_lost_error, "apart_lost_error",
                          groups.apart_lost_error);
}

json_t *report_fits_json(pare_json_doc *doc, const report_view *view, pare_arena *arena) {
    json_t *fits = pare_json_object(doc);
    for (int kind = 0; kind < PARE_LAW_N_RATIOS; kind++) {
        json_t *forms = pare_json_object(doc);
        for (int form = 0; form < PARE_LAW_N_FORMS; form++)
            pare_json_set(doc, forms, pare_law_form_name((pare_law_form)form),
                          form_json(doc, view, (pare_law_form)form, (pare_law_ratio)kind, arena));
        pare_json_set(doc, fits, pare_law_ratio_name((pare_law_ratio)kind), forms);
    }
    return fits;
}
