/* fit_json: a fit and a prediction as JSON objects, for --json and for the report. Numbers that do not exist are null. */
#include <string.h>

#include "forms.h"
#include "lsq.h"

static void put(pare_json_doc *doc, json_t *object, const char *key, double value) {
    pare_json_set(doc, object, key, pare_json_number(doc, value));
}

static void put_pair(pare_json_doc *doc, json_t *object, const char *key, double low, double high) {
    pare_json_set(doc, object, key, pare_json_pack(doc, "[o, o]", pare_json_number(doc, low), pare_json_number(doc, high)));
}

json_t *pare_law_critical_json(pare_json_doc *doc, const pare_law_critical *critical) {
    json_t *object = pare_json_object(doc);
    put(doc, object, "threshold", critical->threshold);
    put(doc, object, "l0", critical->l0);
    put(doc, object, "d", critical->d);
    put(doc, object, "value", critical->value);
    put(doc, object, "low", critical->low);
    put(doc, object, "high", critical->high);
    put(doc, object, "level", critical->level);
    pare_json_set(doc, object, "one_piece", json_boolean(critical->one_piece));
    pare_json_set(doc, object, "outside", json_boolean(critical->outside));
    pare_json_set(doc, object, "note", pare_json_string(doc, critical->note));
    return object;
}

static json_t *rolling_json(pare_json_doc *doc, const pare_law_fit *fit) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < fit->n_rolling; i++) {
        const pare_law_rolling *rolling = &fit->rolling[i];
        json_t *object = pare_json_object(doc);
        put(doc, object, "r_cut", rolling->r_cut);
        pare_json_set(doc, object, "n_fit", pare_json_integer(doc, (json_int_t)rolling->n_fit));
        pare_json_set(doc, object, "n_test", pare_json_integer(doc, (json_int_t)rolling->n_test));
        put(doc, object, "error_inside", rolling->error_inside);
        put(doc, object, "worst_inside", rolling->worst_inside);
        put(doc, object, "error_beyond", rolling->error_beyond);
        put(doc, object, "lost_beyond", rolling->lost_beyond);
        pare_json_append(doc, list, object);
    }
    return list;
}

static json_t *residuals_json(pare_json_doc *doc, const pare_law_fit *fit, const pare_law_points *points) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < fit->n_residuals; i++) {
        const pare_law_residual *entry = &fit->residuals[i];
        const pare_law_point *point = &points->items[entry->point];
        json_t *object =
            pare_json_pack(doc, "{s:s?, s:s?, s:s}", "model", point->model, "method", point->method, "use", pare_law_use_name(entry->use));
        put(doc, object, "l0", point->l0);
        put(doc, object, "r", entry->r);
        put(doc, object, "d", isnan(point->d) ? 0 : point->d);
        put(doc, object, "l", point->l);
        put(doc, object, "fitted", entry->fitted);
        put(doc, object, "residual", entry->residual);
        put(doc, object, "relative_error", entry->relative_error);
        put(doc, object, "leverage", entry->leverage);
        put(doc, object, "studentized", entry->studentized);
        put(doc, object, "loo", entry->loo);
        put(doc, object, "loo_model", entry->loo_model);
        pare_json_append(doc, list, object);
    }
    return list;
}

static json_t *excluded_json(pare_json_doc *doc, const pare_law_fit *fit) {
    json_t *object = pare_json_object(doc);
    for (size_t i = 0; i < PARE_LAW_N_USES; i++)
        if (fit->excluded[i])
            pare_json_set(doc, object, pare_law_use_name((pare_law_use)i), pare_json_integer(doc, (json_int_t)fit->excluded[i]));
    return object;
}

static void put_quality(pare_json_doc *doc, json_t *object, const pare_law_fit *fit) {
    put(doc, object, "r2", fit->r2);
    pare_json_set(doc, object, "r2_kind", pare_json_string(doc, fit->r2_kind));
    put(doc, object, "r2_adjusted", fit->r2_adjusted);
    put(doc, object, "r2_loss", fit->r2_loss);
    put(doc, object, "f", fit->f);
    put_pair(doc, object, "f_degrees", fit->f_degrees, fit->law.degrees);
    put(doc, object, "f_p", fit->f_p);
    put(doc, object, "loo_error", fit->loo_error);
    put(doc, object, "loo_error_absolute", fit->loo_error_absolute);
    put(doc, object, "loo_model_error", fit->loo_model_error);
    put(doc, object, "lost_model_error", fit->lost_model_error);
    put(doc, object, "lost_rolling_error", fit->lost_rolling_error);
    put(doc, object, "lost_point_error", fit->lost_point_error);
    put(doc, object, "baseline_lost_error", fit->baseline_lost_error);
    put(doc, object, "baseline_l_error", fit->baseline_l_error);
    put(doc, object, "identity_error", fit->identity_error);
    put(doc, object, "critical_ratio", fit->critical.value);
    put_pair(doc, object, "critical_ratio_interval", fit->critical.low, fit->critical.high);
    pare_json_set(doc, object, "critical", pare_law_critical_json(doc, &fit->critical));
    put(doc, object, "r_carried", fit->r_carried);
    put(doc, object, "r_carried_tolerance", fit->tolerance);
    put(doc, object, "rolling_error", fit->rolling_error);
    pare_json_set(doc, object, "rolling", rolling_json(doc, fit));
}

json_t *pare_law_fit_json(pare_json_doc *doc, const pare_law_fit *fit, const pare_law_points *points) {
    json_t *laws = pare_law_to_json(doc, &fit->law, 1);
    json_t *object = pare_json_copy(doc, json_array_get(json_object_get(laws, "laws"), 0)); /* all of the law, then what the fit adds */
    json_decref(laws);
    if (fit->law.form == PARE_LAW_V2) {
        double log_p0 = 0; /* dropped: 1 */
        for (size_t j = 0; j < fit->law.n_terms; j++)
            if (strcmp(fit->law.coefficients[j].name, "ln_p0") == 0)
                log_p0 = fit->law.coefficients[j].value;
        put(doc, object, "p0", exp(log_p0));
    }
    put_quality(doc, object, fit);
    pare_json_set(doc, object, "n_methods", pare_json_integer(doc, (json_int_t)fit->n_methods));
    pare_json_set(doc, object, "n_excluded", pare_json_integer(doc, (json_int_t)fit->n_excluded));
    pare_json_set(doc, object, "excluded", excluded_json(doc, fit));
    json_t *dropped = pare_json_array(doc), *notes = pare_json_array(doc);
    for (size_t i = 0; i < fit->n_dropped; i++)
        pare_json_append(doc, dropped, pare_json_pack(doc, "{s:s, s:s}", "name", fit->dropped[i].name, "reason", fit->dropped[i].reason));
    for (size_t i = 0; i < fit->n_notes; i++)
        pare_json_append(doc, notes, pare_json_string(doc, fit->notes[i]));
    pare_json_set(doc, object, "dropped", dropped);
    pare_json_set(doc, object, "notes", notes);
    if (points)
        pare_json_set(doc, object, "points", residuals_json(doc, fit, points));
    return object;
}

json_t *pare_law_prediction_json(pare_json_doc *doc, const pare_law_prediction *prediction) {
    json_t *object = pare_json_object(doc);
    put(doc, object, "l", prediction->l);
    put(doc, object, "factor", prediction->factor);
    put(doc, object, "at_zero", prediction->at_zero);
    put(doc, object, "level", prediction->level);
    put_pair(doc, object, "mean_interval", prediction->mean_low, prediction->mean_high);
    put_pair(doc, object, "prediction_interval", prediction->prediction_low, prediction->prediction_high);
    pare_json_set(doc, object, "outside_r", json_boolean(prediction->outside_r));
    pare_json_set(doc, object, "outside_l0", json_boolean(prediction->outside_l0));
    pare_json_set(doc, object, "outside_d", json_boolean(prediction->outside_d));
    pare_json_set(doc, object, "warning", pare_json_string(doc, prediction->warning));
    return object;
}
