/* fits: every form on every kind of ratio for one view, with curves and bands ready to draw. The page chooses, it does not compute. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report_impl.h"

enum { CURVE_STEPS = 60, CURVES_MAX = 24 };

/* Six digits are plenty for a pixel and keep the page small. */
static json_t *drawn(double value) {
    char text[40];
    snprintf(text, sizeof text, "%.6g", value);
    return pare_json_number(isfinite(value) ? strtod(text, NULL) : value);
}

static bool set(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0;
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
static json_t *curve_json(const pare_law *law, const pare_law_point *at, double r_end) {
    static const char *const keys[] = {"r", "l", "mean_low", "mean_high", "prediction_low", "prediction_high"};
    enum { N_KEYS = sizeof keys / sizeof keys[0] };
    json_t *curve = json_object(), *arrays[N_KEYS];
    double d = at->d > 0 ? at->d : 0;
    bool done =
        set(curve, "model", json_string(at->model)) && set(curve, "l0", pare_json_number(at->l0)) && set(curve, "d", pare_json_number(d));
    for (size_t k = 0; k < N_KEYS; k++) {
        arrays[k] = json_array();
        done = set(curve, keys[k], arrays[k]) && done;
    }
    for (size_t i = 0; i <= CURVE_STEPS && done; i++) {
        double r = r_end * (double)i / CURVE_STEPS;
        pare_law_prediction p;
        if (!pare_law_predict(&p, law, at->l0, r, d, 0, NULL))
            continue;
        const double values[N_KEYS] = {r, p.l, p.mean_low, p.mean_high, p.prediction_low, p.prediction_high};
        for (size_t k = 0; k < N_KEYS; k++)
            done = json_array_append_new(arrays[k], drawn(values[k])) == 0 && done;
    }
    if (done)
        return curve;
    json_decref(curve);
    return NULL;
}

static bool same_place(const pare_law_point *a, const pare_law_point *b) {
    return strcmp(a->model, b->model) == 0 && fabs(a->l0 - b->l0) <= 1e-3 * b->l0 && (a->d == b->d || (isnan(a->d) && isnan(b->d)));
}

/* One curve for each dense model and recovery that the fit used; two L0 of one model that differ in their last digits draw one. */
static json_t *curves_json(const pare_law_fit *fit, const pare_law_points *points) {
    json_t *curves = json_array();
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
        if (json_array_append_new(curves, curve_json(&fit->law, point, r_end)) != 0) {
            json_decref(curves);
            return NULL;
        }
    }
    return curves;
}

/* [{"run": index into the page's runs, "r", "fitted", "relative_error", "use"}] */
static json_t *residuals_json(const pare_law_fit *fit, const report_view *view) {
    json_t *residuals = json_array();
    for (size_t i = 0; i < fit->n_residuals; i++) {
        const pare_law_residual *residual = &fit->residuals[i];
        json_t *item = json_object();
        bool done = set(item, "run", json_integer((json_int_t)view->runs[residual->point])) && set(item, "r", drawn(residual->r)) &&
                    set(item, "fitted", drawn(residual->fitted)) && set(item, "relative_error", drawn(residual->relative_error)) &&
                    set(item, "use", json_string(pare_law_use_name(residual->use)));
        if (json_array_append_new(residuals, item) != 0 || !done) {
            json_decref(residuals);
            return NULL;
        }
    }
    return residuals;
}

static json_t *group_json(const pare_law_group *group, const report_view *view) {
    json_t *object = json_object();
    bool done = set(object, "method", group->method ? json_string(group->method) : json_null());
    if (!group->done) {
        done = set(object, "failure", json_string(group->failure.message)) && done;
    } else {
        const pare_law *law = &group->fit.law;
        done = done && set(object, "fit", pare_law_fit_json(&group->fit, NULL)) && set(object, "r_min", pare_json_number(law->r_min)) &&
               set(object, "r_max", pare_json_number(law->r_max)) && set(object, "curves", curves_json(&group->fit, &view->points)) &&
               set(object, "residuals", residuals_json(&group->fit, view));
    }
    if (done)
        return object;
    json_decref(object);
    return NULL;
}

/* One form on one kind of ratio. That nothing could be fitted (no run has recorded this ratio, too few points) is told, no error. */
static json_t *form_json(const report_view *view, pare_law_form form, pare_law_ratio kind, pare_arena *arena) {
    pare_law_options options = {.ratio = kind};
    pare_law_groups groups;
    pare_error failure = {0};
    json_t *object = json_object();
    bool done = set(object, "equation", json_string(pare_law_form_equation(form)));
    if (!pare_law_fit_groups(&groups, form, &view->points, &options, arena, &failure)) {
        done = set(object, "failure", json_string(failure.message)) && done;
    } else {
        json_t *array = json_array();
        done = set(object, "groups", array) && done && set(object, "pooling_f", pare_json_number(groups.pooling_f)) &&
               set(object, "pooling_p", pare_json_number(groups.pooling_p)) &&
               set(object, "pooled_lost_error", pare_json_number(groups.pooled_lost_error)) &&
               set(object, "apart_lost_error", pare_json_number(groups.apart_lost_error));
        for (size_t i = 0; i < groups.n && done; i++)
            done = json_array_append_new(array, group_json(&groups.items[i], view)) == 0;
    }
    if (done && failure.code != PARE_ERROR_MEMORY)
        return object;
    json_decref(object);
    return NULL;
}

json_t *report_fits_json(const report_view *view, pare_arena *arena, pare_error *error) {
    json_t *fits = json_object();
    bool done = fits != NULL;
    for (int kind = 0; kind < PARE_LAW_N_RATIOS && done; kind++) {
        json_t *forms = json_object();
        done = set(fits, pare_law_ratio_name((pare_law_ratio)kind), forms);
        for (int form = 0; form < PARE_LAW_N_FORMS && done; form++)
            done = set(forms, pare_law_form_name((pare_law_form)form), form_json(view, (pare_law_form)form, (pare_law_ratio)kind, arena));
    }
    if (done)
        return fits;
    json_decref(fits);
    pare_fail(error, PARE_ERROR_MEMORY, "out of memory while the laws were fitted for the report");
    return NULL;
}
