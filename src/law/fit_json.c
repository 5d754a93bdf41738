/* fit_json: a fit and a prediction as JSON objects, for --json and for the report. Numbers that do not exist are null. */
#include <string.h>

#include "forms.h"
#include "lsq.h"

static void put(json_t *object, const char *key, double value) {
    json_object_set_new(object, key, pare_json_number(value));
}

static void put_pair(json_t *object, const char *key, double low, double high) {
    json_object_set_new(object, key, json_pack("[o, o]", pare_json_number(low), pare_json_number(high)));
}

json_t *pare_law_critical_json(const pare_law_critical *critical) {
    json_t *object = json_object();
    put(object, "threshold", critical->threshold);
    put(object, "l0", critical->l0);
    put(object, "d", critical->d);
    put(object, "value", critical->value);
    put(object, "low", critical->low);
    put(object, "high", critical->high);
    put(object, "level", critical->level);
    json_object_set_new(object, "one_piece", json_boolean(critical->one_piece));
    json_object_set_new(object, "outside", json_boolean(critical->outside));
    json_object_set_new(object, "note", json_string(critical->note));
    return object;
}

static json_t *rolling_json(const pare_law_fit *fit) {
    json_t *list = json_array();
    for (size_t i = 0; i < fit->n_rolling; i++) {
        const pare_law_rolling *rolling = &fit->rolling[i];
        json_t *object = json_object();
        put(object, "r_cut", rolling->r_cut);
        json_object_set_new(object, "n_fit", json_integer((json_int_t)rolling->n_fit));
        json_object_set_new(object, "n_test", json_integer((json_int_t)rolling->n_test));
        put(object, "error_inside", rolling->error_inside);
        put(object, "worst_inside", rolling->worst_inside);
        put(object, "error_beyond", rolling->error_beyond);
        put(object, "lost_beyond", rolling->lost_beyond);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *residuals_json(const pare_law_fit *fit, const pare_law_points *points) {
    json_t *list = json_array();
    for (size_t i = 0; i < fit->n_residuals; i++) {
        const pare_law_residual *entry = &fit->residuals[i];
        const pare_law_point *point = &points->items[entry->point];
        json_t *object =
            json_pack("{s:s?, s:s?, s:s}", "model", point->model, "method", point->method, "use", pare_law_use_name(entry->use));
        if (!object) /* a name that is not UTF-8 */
            object = json_pack("{s:s}", "use", pare_law_use_name(entry->use));
        put(object, "l0", point->l0);
        put(object, "r", entry->r);
        put(object, "d", isnan(point->d) ? 0 : point->d);
        put(object, "l", point->l);
        put(object, "fitted", entry->fitted);
        put(object, "residual", entry->residual);
        put(object, "relative_error", entry->relative_error);
        put(object, "leverage", entry->leverage);
        put(object, "studentized", entry->studentized);
        put(object, "loo", entry->loo);
        put(object, "loo_model", entry->loo_model);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *excluded_json(const pare_law_fit *fit) {
    json_t *object = json_object();
    for (size_t i = 0; i < PARE_LAW_N_USES; i++)
        if (fit->excluded[i])
            json_object_set_new(object, pare_law_use_name((pare_law_use)i), json_integer((json_int_t)fit->excluded[i]));
    return object;
}

static void put_quality(json_t *object, const pare_law_fit *fit) {
    put(object, "r2", fit->r2);
    json_object_set_new(object, "r2_kind", json_string(fit->r2_kind));
    put(object, "r2_adjusted", fit->r2_adjusted);
    put(object, "r2_loss", fit->r2_loss);
    put(object, "f", fit->f);
    put_pair(object, "f_degrees", fit->f_degrees, fit->law.degrees);
    put(object, "f_p", fit->f_p);
    put(object, "loo_error", fit->loo_error);
    put(object, "loo_error_absolute", fit->loo_error_absolute);
    put(object, "loo_model_error", fit->loo_model_error);
    put(object, "lost_model_error", fit->lost_model_error);
    put(object, "lost_rolling_error", fit->lost_rolling_error);
    put(object, "lost_point_error", fit->lost_point_error);
    put(object, "baseline_lost_error", fit->baseline_lost_error);
    put(object, "baseline_l_error", fit->baseline_l_error);
    put(object, "identity_error", fit->identity_error);
    put(object, "critical_ratio", fit->critical.value);
    put_pair(object, "critical_ratio_interval", fit->critical.low, fit->critical.high);
    json_object_set_new(object, "critical", pare_law_critical_json(&fit->critical));
    put(object, "r_carried", fit->r_carried);
    put(object, "r_carried_tolerance", fit->tolerance);
    put(object, "rolling_error", fit->rolling_error);
    json_object_set_new(object, "rolling", rolling_json(fit));
}

json_t *pare_law_fit_json(const pare_law_fit *fit, const pare_law_points *points) {
    json_t *laws = pare_law_to_json(&fit->law, 1);
    json_t *object = json_deep_copy(json_array_get(json_object_get(laws, "laws"), 0)); /* all of the law, then what the fit adds */
    json_decref(laws);
    if (!object)
        return NULL;
    if (fit->law.form == PARE_LAW_V2) {
        double log_p0 = 0; /* dropped: 1 */
        for (size_t j = 0; j < fit->law.n_terms; j++)
            if (strcmp(fit->law.coefficients[j].name, "ln_p0") == 0)
                log_p0 = fit->law.coefficients[j].value;
        put(object, "p0", exp(log_p0));
    }
    put_quality(object, fit);
    json_object_set_new(object, "n_methods", json_integer((json_int_t)fit->n_methods));
    json_object_set_new(object, "n_excluded", json_integer((json_int_t)fit->n_excluded));
    json_object_set_new(object, "excluded", excluded_json(fit));
    json_t *dropped = json_array(), *notes = json_array();
    for (size_t i = 0; i < fit->n_dropped; i++)
        json_array_append_new(dropped, json_pack("{s:s, s:s}", "name", fit->dropped[i].name, "reason", fit->dropped[i].reason));
    for (size_t i = 0; i < fit->n_notes; i++)
        json_array_append_new(notes, json_string(fit->notes[i]));
    json_object_set_new(object, "dropped", dropped);
    json_object_set_new(object, "notes", notes);
    if (points)
        json_object_set_new(object, "points", residuals_json(fit, points));
    return object;
}

json_t *pare_law_prediction_json(const pare_law_prediction *prediction) {
    json_t *object = json_object();
    put(object, "l", prediction->l);
    put(object, "factor", prediction->factor);
    put(object, "at_zero", prediction->at_zero);
    put(object, "level", prediction->level);
    put_pair(object, "mean_interval", prediction->mean_low, prediction->mean_high);
    put_pair(object, "prediction_interval", prediction->prediction_low, prediction->prediction_high);
    json_object_set_new(object, "outside_r", json_boolean(prediction->outside_r));
    json_object_set_new(object, "outside_l0", json_boolean(prediction->outside_l0));
    json_object_set_new(object, "outside_d", json_boolean(prediction->outside_d));
    json_object_set_new(object, "warning", json_string(prediction->warning));
    return object;
}
