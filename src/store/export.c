/* export: all runs as CSV (RFC 4180) and as JSON, for other programs and for `pare fit`.
 *
 * The CSV begins with the columns of a law's data, model,method,l0,r,d,l and the ceiling ln V above which a model is worse than
 * a uniform guess; then every other column of the ledger under its own name, except the spec, which the key stands for.
 */
#include <math.h>
#include <string.h>

#include "pare/json.h"
#include "store_impl.h"

static const void *member_of(const pare_run_record *record, size_t field) {
    return (const char *)record + store_fields[field].offset;
}

/* ---- CSV ---- */

/* Leads the line under a law's name, or stands behind the key. */
static bool is_told_elsewhere(const char *column) {
    static const char *const columns[] = {"model", "method", "l0", "ratio", "recovery_tokens", "cross_entropy", "spec"};
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++)
        if (strcmp(column, columns[i]) == 0)
            return true;
    return false;
}

/* Nothing for NaN. */
static void push_number(pare_string *out, double value) {
    if (!isnan(value))
        pare_string_number(out, value);
}

/* Quoted when it must be: a comma, quote, line break or outer blank. */
static void push_text(pare_string *out, const char *text) {
    if (!text)
        return;
    size_t length = strlen(text);
    if (!strpbrk(text, ",\"\r\n") && (length == 0 || (text[0] != ' ' && text[length - 1] != ' '))) {
        pare_string_push(out, text, length);
        return;
    }
    pare_string_push(out, "\"", 1);
    for (; *text; text++)
        pare_string_push(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    pare_string_push(out, "\"", 1);
}

static void push_field(pare_string *out, const pare_run_record *record, size_t field) {
    const void *member = member_of(record, field);
    switch (store_fields[field].kind) {
    case FIELD_TEXT: push_text(out, *(const char *const *)member); break;
    case FIELD_DOUBLE: push_number(out, *(const double *)member); break;
    case FIELD_U64: pare_string_print(out, "%llu", (unsigned long long)*(const uint64_t *)member); break;
    case FIELD_U32: pare_string_print(out, "%u", *(const uint32_t *)member); break;
    case FIELD_STATUS: pare_string_print(out, "%s", pare_run_status_name(*(const pare_run_status *)member)); break;
    }
}

static bool push_line(void *user, const pare_run_record *record, pare_error *error) {
    pare_string *out = user;
    const double numbers[] = {record->dense_cross_entropy, record->ratio, record->recovery_tokens / 1e6,
                              record->status == PARE_RUN_DONE ? record->cross_entropy : PARE_UNKNOWN,
                              record->model.n_vocabulary ? log((double)record->model.n_vocabulary) : PARE_UNKNOWN};
    push_text(out, record->model.name);
    pare_string_push(out, ",", 1);
    push_text(out, record->method);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        pare_string_push(out, ",", 1);
        push_number(out, numbers[i]);
    }
    for (size_t i = 0; i < store_n_fields; i++) {
        if (is_told_elsewhere(store_fields[i].column))
            continue;
        pare_string_push(out, ",", 1);
        push_field(out, record, i);
    }
    pare_string_push(out, "\r\n", 2);
    return pare_string_check(out, error);
}

bool pare_store_export_csv(pare_string *out, pare_store *store, pare_error *error) {
    pare_string_print(out, "model,method,l0,r,d,l,ceiling");
    for (size_t i = 0; i < store_n_fields; i++)
        if (!is_told_elsewhere(store_fields[i].column))
            pare_string_print(out, ",%s", store_fields[i].column);
    pare_string_push(out, "\r\n", 2);
    return pare_store_each(store, push_line, out, error);
}

/* ---- JSON ---- */

/* A path may hold any bytes; JSON takes UTF-8 only, so what is none shows as '?'. */
static json_t *json_text(pare_json_doc *doc, const char *text) {
    if (pare_json_is_text(text, strlen(text)))
        return pare_json_string(doc, text);
    pare_string safe = {0};
    pare_error error = {0};
    for (; *text; text++)
        pare_string_push(&safe, (unsigned char)*text < 0x80 ? text : "?", 1);
    json_t *json = pare_string_check(&safe, &error) ? pare_json_string(doc, safe.data) : NULL;
    if (!json)
        pare_json_fail(doc, &error);
    pare_string_free(&safe);
    return json;
}

/* The run's spec as what it says; a text that is no JSON stays one. */
static json_t *json_spec(pare_json_doc *doc, const char *spec) {
    pare_error error = {0};
    json_t *json = pare_json_parse(spec, strlen(spec), "spec", &error);
    if (!json && error.code == PARE_ERROR_MEMORY)
        pare_json_fail(doc, &error);
    return json ? json : json_text(doc, spec);
}

static json_t *json_field(pare_json_doc *doc, const pare_run_record *record, size_t field) {
    const void *member = member_of(record, field);
    const char *text;
    switch (store_fields[field].kind) {
    case FIELD_TEXT: text = *(const char *const *)member; return text ? json_text(doc, text) : json_null();
    case FIELD_U64: return pare_json_integer(doc, (json_int_t) * (const uint64_t *)member);
    case FIELD_U32: return pare_json_integer(doc, *(const uint32_t *)member);
    case FIELD_STATUS: return pare_json_string(doc, pare_run_status_name(*(const pare_run_status *)member));
    case FIELD_DOUBLE: break;
    }
    return pare_json_number(doc, *(const double *)member);
}

json_t *pare_run_record_json(pare_json_doc *doc, const pare_run_record *record) {
    json_t *object = pare_json_object(doc);
    for (size_t i = 0; i < store_n_fields; i++) {
        bool spec = strcmp(store_fields[i].column, "spec") == 0 && record->spec;
        pare_json_set(doc, object, store_fields[i].column, spec ? json_spec(doc, record->spec) : json_field(doc, record, i));
    }
    return object;
}

typedef struct {
    pare_json_doc doc;
    json_t *array;
} run_list;

static bool push_object(void *user, const pare_run_record *record, pare_error *error) {
    run_list *list = user;
    pare_json_append(&list->doc, list->array, pare_run_record_json(&list->doc, record));
    return pare_json_check(&list->doc, error);
}

bool pare_store_export_json(pare_string *out, pare_store *store, pare_error *error) {
    run_list list = {0};
    list.array = pare_json_array(&list.doc);
    bool done = pare_store_each(store, push_object, &list, error);
    json_t *object = pare_json_pack(&list.doc, "{s:o}", "runs", list.array);
    done = done && pare_json_print(out, object, &list.doc, error);
    json_decref(object);
    return done;
}
