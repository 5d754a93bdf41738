/* law_file: laws <-> JSON. A file is a hostile thing: whatever prediction relies on is checked, and what follows from something else
 * (standard errors from the covariance, t and p) is computed again, not believed. */
#include <stdio.h>
#include <string.h>

#include "forms.h"
#include "lsq.h"

static const char schema[] = "pare-law", d_unit[] = "million tokens";
enum { VERSION = 2, MAX_LAWS = 1024, MAX_FILE_BYTES = 16 << 20 };

/* ---- writing ------------------------------------------------------------------------------ */

static json_t *covariance_json(pare_json_doc *doc, const pare_law *law) {
    json_t *matrix = pare_json_array(doc);
    for (size_t j = 0; j < law->n_terms; j++) {
        json_t *row = pare_json_array(doc);
        for (size_t k = 0; k < law->n_terms; k++)
            pare_json_append(doc, row, pare_json_number(doc, law->covariance[j][k]));
        pare_json_append(doc, matrix, row);
    }
    return matrix;
}

static json_t *coefficients_json(pare_json_doc *doc, const pare_law *law) {
    json_t *list = pare_json_array(doc);
    for (size_t j = 0; j < law->n_terms; j++) {
        const pare_law_coefficient *c = &law->coefficients[j];
        pare_json_append(doc, list,
                         pare_json_pack(doc, "{s:s, s:o, s:o, s:o, s:o, s:o}", "name", c->name, "value", pare_json_number(doc, c->value),
                                        "standard_error", pare_json_number(doc, c->standard_error), "standard_error_clustered",
                                        pare_json_number(doc, c->standard_error_clustered), "t", pare_json_number(doc, c->t), "p",
                                        pare_json_number(doc, c->p)));
    }
    return list;
}

static json_t *pair_json(pare_json_doc *doc, double low, double high) {
    return pare_json_pack(doc, "[o, o]", pare_json_number(doc, low), pare_json_number(doc, high));
}

static json_t *one_json(pare_json_doc *doc, const pare_law *law) {
    return pare_json_pack(doc, "{s:s, s:s, s:s?, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:s}", "form",
                          pare_law_form_name(law->form), "equation", pare_law_form_equation(law->form), "method", law->method, "ratio_kind",
                          pare_law_ratio_name(law->ratio), "d_unit", d_unit, "n", (json_int_t)law->n, "degrees",
                          pare_json_number(doc, law->degrees), "coefficients", coefficients_json(doc, law), "covariance",
                          covariance_json(doc, law), "sigma", pare_json_number(doc, law->sigma), "r_range",
                          pair_json(doc, law->r_min, law->r_max), "l0_range", pair_json(doc, law->l0_min, law->l0_max), "d_range",
                          pair_json(doc, law->d_min, law->d_max), "l0_mean", pare_json_number(doc, law->l0_mean), "provenance",
                          law->provenance, "n_models", (json_int_t)law->n_models, "errors", pare_law_errors_name(law->errors));
}

json_t *pare_law_to_json(pare_json_doc *doc, const pare_law *laws, size_t n) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < n; i++)
        pare_json_append(doc, list, one_json(doc, &laws[i]));
    return pare_json_pack(doc, "{s:s, s:i, s:o}", "schema", schema, "version", VERSION, "laws", list);
}

bool pare_law_write(const char *path, const pare_law *laws, size_t n, bool replace, pare_error *error) {
    pare_json_doc doc = {0};
    pare_string text = {0};
    json_t *json = pare_law_to_json(&doc, laws, n);
    bool done = pare_json_print(&text, json, &doc, error) && pare_file_write(path, text.data, text.length, replace, error);
    pare_string_free(&text);
    json_decref(json);
    return done;
}

/* ---- reading ------------------------------------------------------------------------------ */

static bool finite_number(double *value, const json_t *json, const char *key, const char *what, pare_error *error) {
    if (!json_is_number(json))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is absent or not a number", what, key);
    *value = json_number_value(json);
    if (!isfinite(*value))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is not finite", what, key);
    return true;
}

static bool get_number(double *value, const json_t *object, const char *key, const char *what, pare_error *error) {
    return finite_number(value, json_object_get(object, key), key, what, error);
}

static bool get_text(const char **value, const json_t *object, const char *key, const char *what, pare_error *error) {
    *value = NULL;
    if (!pare_json_get_string(value, object, key, what, error))
        return false;
    return *value || pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is absent", what, key);
}

static bool get_pair(double *low, double *high, const json_t *object, const char *key, const char *what, pare_error *error) {
    const json_t *pair = json_object_get(object, key);
    if (!json_is_array(pair) || json_array_size(pair) != 2)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is not a pair of numbers", what, key);
    if (!finite_number(low, json_array_get(pair, 0), key, what, error) || !finite_number(high, json_array_get(pair, 1), key, what, error))
        return false;
    return (*low >= 0 && *low <= *high) || pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is no range: %g to %g", what, key, *low, *high);
}

static bool read_names(pare_law *law, const json_t *object, const char *what, pare_arena *arena, pare_error *error) {
    const char *form, *ratio, *unit, *method = NULL, *provenance;
    pare_error reason;
    if (!get_text(&form, object, "form", what, error) || !get_text(&ratio, object, "ratio_kind", what, error) ||
        !get_text(&unit, object, "d_unit", what, error) || !get_text(&provenance, object, "provenance", what, error) ||
        !pare_json_get_string(&method, object, "method", what, error))
        return false;
    if (!pare_law_form_parse(&law->form, form, &reason) || !pare_law_ratio_parse(&law->ratio, ratio, &reason))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %s", what, reason.message);
    if (strcmp(unit, d_unit) != 0)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: D is in \"%.40s\"; pare knows \"%s\"", what, unit, d_unit);
    law->provenance = pare_arena_copy(arena, provenance, strlen(provenance), error);
    law->method = method ? pare_arena_copy(arena, method, strlen(method), error) : NULL;
    return law->provenance && (!method || law->method);
}

static bool read_coefficients(pare_law *law, const json_t *object, const char *what, pare_error *error) {
    const pare_form *form = pare_form_of(law->form);
    const json_t *list = json_object_get(object, "coefficients");
    bool seen[PARE_LAW_MAX_TERMS] = {false};
    law->n_terms = json_array_size(list);
    if (!json_is_array(list) || law->n_terms == 0 || law->n_terms > form->n_terms)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"coefficients\" is no list of 1 to %zu terms", what, form->n_terms);
    for (size_t j = 0; j < law->n_terms; j++) {
        const json_t *item = json_array_get(list, j);
        const char *name;
        pare_law_coefficient *c = &law->coefficients[j];
        if (!get_text(&name, item, "name", what, error) || !get_number(&c->value, item, "value", what, error))
            return false;
        size_t term = pare_form_term(form, name);
        if (term == PARE_LAW_MAX_TERMS || seen[term])
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: form %s has no %s term \"%.40s\"", what, form->name,
                             term == PARE_LAW_MAX_TERMS ? "such" : "second", name);
        seen[term] = true;
        c->name = form->terms[term].name;
        c->standard_error = c->standard_error_clustered = PARE_NONE;
        if (!pare_json_get_double(&c->standard_error_clustered, item, "standard_error_clustered", what, error) ||
            !pare_json_get_double(&c->standard_error, item, "standard_error", what, error))
            return false;
    }
    return seen[form->ratio_term] || pare_fail(error, PARE_ERROR_FORMAT, "%s: form %s without its term \"%s\" says nothing about r", what,
                                               form->name, form->terms[form->ratio_term].name);
}

/* Symmetric, and every correlation within -1 and 1. */
static bool read_covariance(pare_law *law, const json_t *object, const char *what, pare_error *error) {
    const json_t *matrix = json_object_get(object, "covariance");
    size_t p = law->n_terms;
    if (!json_is_array(matrix) || json_array_size(matrix) != p)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"covariance\" is not %zu x %zu", what, p, p);
    for (size_t j = 0; j < p; j++) {
        const json_t *row = json_array_get(matrix, j);
        if (!json_is_array(row) || json_array_size(row) != p)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"covariance\" is not %zu x %zu", what, p, p);
        for (size_t k = 0; k < p; k++)
            if (!finite_number(&law->covariance[j][k], json_array_get(row, k), "covariance", what, error))
                return false;
    }
    for (size_t j = 0; j < p; j++) {
        for (size_t k = 0; k <= j; k++) {
            double a = law->covariance[j][k], b = law->covariance[k][j], bound = sqrt(law->covariance[j][j]) * sqrt(law->covariance[k][k]);
            if (!(fabs(a) <= bound * (1 + 1e-9)) || !(fabs(a - b) <= 1e-9 * bound))
                return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"covariance\" is not that of anything at row %zu, column %zu", what, j + 1,
                                 k + 1);
        }
    }
    return true;
}

static bool read_numbers(pare_law *law, const json_t *object, const char *what, pare_error *error) {
    uint64_t n = 0;
    if (!pare_json_get_u64(&n, object, "n", what, error) || !get_number(&law->degrees, object, "degrees", what, error) ||
        !get_number(&law->sigma, object, "sigma", what, error) || !get_number(&law->l0_mean, object, "l0_mean", what, error) ||
        !get_pair(&law->r_min, &law->r_max, object, "r_range", what, error) ||
        !get_pair(&law->l0_min, &law->l0_max, object, "l0_range", what, error) ||
        !get_pair(&law->d_min, &law->d_max, object, "d_range", what, error))
        return false;
    law->n = (size_t)n;
    if (n <= law->n_terms || n > (1ULL << 53) || law->degrees != (double)(n - law->n_terms))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"degrees\" %g does not follow from n = %llu and %zu terms", what, law->degrees,
                         (unsigned long long)n, law->n_terms);
    if (law->sigma < 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"sigma\" is below 0", what);
    if (law->r_max >= 1)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"r_range\" reaches 1", what);
    if (law->l0_min <= 0 || law->l0_mean < law->l0_min || law->l0_mean > law->l0_max)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"l0_mean\" %g lies outside of \"l0_range\" %g to %g, or that is not above 0", what,
                         law->l0_mean, law->l0_min, law->l0_max);
    return true;
}

/* What the covariance allows for; a file of version 1 says nothing, and its covariance is the classical one. */
static bool read_errors(pare_law *law, const json_t *object, const char *what, pare_error *error) {
    const char *errors = NULL;
    uint64_t n_models = 0;
    pare_error reason;
    law->errors = PARE_LAW_ERRORS_CLASSICAL;
    if (!pare_json_get_string(&errors, object, "errors", what, error) || !pare_json_get_u64(&n_models, object, "n_models", what, error))
        return false;
    if (errors && !pare_law_errors_parse(&law->errors, errors, &reason))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %s", what, reason.message);
    law->n_models = (size_t)n_models;
    if (n_models > law->n || (law->errors != PARE_LAW_ERRORS_CLASSICAL && pare_law_interval_degrees(law) < 1))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"n_models\" %llu does not go with %zu points and errors %s", what,
                         (unsigned long long)n_models, law->n, pare_law_errors_name(law->errors));
    return true;
}

static bool read_one(pare_law *law, const json_t *object, const char *what, pare_arena *arena, pare_error *error) {
    if (!json_is_object(object))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not an object", what);
    if (!read_names(law, object, what, arena, error) || !read_coefficients(law, object, what, error) ||
        !read_covariance(law, object, what, error) || !read_numbers(law, object, what, error) || !read_errors(law, object, what, error))
        return false;
    for (size_t j = 0; j < law->n_terms; j++) {
        pare_law_coefficient *c = &law->coefficients[j];
        double used = sqrt(law->covariance[j][j]);
        *(law->errors == PARE_LAW_ERRORS_CLASSICAL ? &c->standard_error : &c->standard_error_clustered) = used;
        c->t = c->value / used;
        c->p = pare_student_p(c->t, pare_law_degrees_of(law, j));
    }
    return true;
}

static bool refuse_kind(const char *what, pare_error *error) {
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a law file (no \"schema\": \"%s\"); pare fit LEDGER -o FILE writes one", what,
                     schema);
}

bool pare_law_from_json(pare_law **laws, size_t *n, const json_t *json, const char *what, pare_arena *arena, pare_error *error) {
    const char *name = NULL;
    uint64_t version = 0;
    if (!json_is_object(json) || !pare_json_get_string(&name, json, "schema", what, NULL) || !name || strcmp(name, schema) != 0)
        return refuse_kind(what, error);
    if (!pare_json_get_u64(&version, json, "version", what, error))
        return false;
    if (version < 1 || version > VERSION)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: version %llu of the law file; this pare reads 1 to %d", what,
                         (unsigned long long)version, VERSION);
    const json_t *list = json_object_get(json, "laws");
    *n = json_array_size(list);
    if (!json_is_array(list) || *n == 0 || *n > MAX_LAWS)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"laws\" is no list of 1 to %d laws", what, MAX_LAWS);
    *laws = PARE_PUSH(arena, pare_law, *n, error);
    if (!*laws)
        return false;
    for (size_t i = 0; i < *n; i++) {
        char where[512];
        snprintf(where, sizeof where, "%.480s: law %zu", what, i + 1);
        if (!read_one(&(*laws)[i], json_array_get(list, i), where, arena, error))
            return false;
    }
    return true;
}

/* A ledger or a CSV is told from JSON by its first byte. */
static bool begins_as_object(const pare_map *map) {
    const char *bytes = (const char *)map->data;
    size_t at = 0;
    while (at < map->size && bytes[at] && strchr(" \t\r\n\xef\xbb\xbf", bytes[at]))
        at++;
    return at < map->size && bytes[at] == '{';
}

bool pare_law_read(pare_law **laws, size_t *n, const char *path, pare_arena *arena, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return false;
    json_t *json = NULL;
    if (map.size > MAX_FILE_BYTES)
        pare_fail(error, PARE_ERROR_RANGE, "%s: %zu bytes; a law file has at most %d", path, map.size, MAX_FILE_BYTES);
    else if (!begins_as_object(&map))
        refuse_kind(path, error);
    else
        json = pare_json_parse((const char *)map.data, map.size, path, error);
    pare_map_close(&map);
    bool done = json && pare_law_from_json(laws, n, json, path, arena, error);
    json_decref(json);
    return done;
}
