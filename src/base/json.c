/* json: jansson with pare's errors and with numbers that read back equal. */
#include "pare/json.h"

#include <math.h>
#include <string.h>

static json_t *parse(const char *bytes, size_t n, size_t more, const char *what, pare_error *error) {
    json_error_t problem;
    json_t *json = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | more, &problem);
    if (!json)
        pare_fail(error, PARE_ERROR_FORMAT, "%s: not valid JSON at line %d, column %d (byte %d): %s", what, problem.line, problem.column,
                  problem.position, problem.text);
    return json;
}

static json_t *read_file(const char *path, size_t more, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return NULL;
    json_t *json = parse((const char *)map.data, map.size, more, path, error);
    pare_map_close(&map);
    return json;
}

json_t *pare_json_parse(const char *bytes, size_t n, const char *what, pare_error *error) {
    return parse(bytes, n, 0, what, error);
}

json_t *pare_json_read(const char *path, pare_error *error) {
    return read_file(path, 0, error);
}

json_t *pare_json_read_real(const char *path, pare_error *error) {
    return read_file(path, JSON_DECODE_INT_AS_REAL, error);
}

static int push_bytes(const char *bytes, size_t n, void *string) {
    pare_string_push(string, bytes, n);
    return 0;
}

/* Jansson prints a real with a fixed count of digits; this walks the tree so that 1e-05 stays 1e-05. */
static void print_number(pare_string *out, double value) {
    size_t before = out->length;
    pare_string_number(out, value);
    if (!out->failed && !strpbrk(out->data + before, ".e")) /* a real stays one */
        pare_string_push(out, ".0", 2);
}

static void print_scalar(pare_string *out, const json_t *json) {
    if (json_is_real(json))
        print_number(out, json_real_value(json));
    else
        json_dump_callback(json, push_bytes, out, JSON_ENCODE_ANY);
}

static void print_value(pare_string *out, const json_t *json, int depth) {
    size_t n = json_is_object(json) ? json_object_size(json) : json_array_size(json);
    bool object = json_is_object(json);
    if ((!object && !json_is_array(json)) || n == 0) {
        if (n == 0 && (object || json_is_array(json)))
            pare_string_print(out, "%s", object ? "{}" : "[]");
        else
            print_scalar(out, json);
        return;
    }
    pare_string_print(out, "%c\n", object ? '{' : '[');
    void *iterator = NULL;
    if (object)
        iterator = json_object_iter((json_t *)(uintptr_t)json);
    for (size_t i = 0; i < n; i++) {
        pare_string_print(out, "%*s", 2 * depth + 2, "");
        const json_t *value;
        if (object) {
            json_t *key = json_string(json_object_iter_key(iterator));
            json_dump_callback(key, push_bytes, out, JSON_ENCODE_ANY);
            json_decref(key);
            pare_string_print(out, ": ");
            value = json_object_iter_value(iterator);
            iterator = json_object_iter_next((json_t *)(uintptr_t)json, iterator);
        } else {
            value = json_array_get(json, i);
        }
        print_value(out, value, depth + 1);
        pare_string_print(out, "%s\n", i + 1 < n ? "," : "");
    }
    pare_string_print(out, "%*s%c", 2 * depth, "", object ? '}' : ']');
}

bool pare_json_print(pare_string *out, const json_t *json, pare_error *error) {
    print_value(out, json, 0);
    pare_string_print(out, "\n");
    return pare_string_check(out, error);
}

json_t *pare_json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

/* NULL when absent or null. */
static const json_t *present(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

bool pare_json_get_u64(uint64_t *value, const json_t *object, const char *key, const char *what, pare_error *error) {
    const json_t *found = present(object, key);
    if (!found)
        return true;
    double real = json_number_value(found);
    if (json_is_integer(found) ? json_integer_value(found) < 0
                               : !json_is_real(found) || real < 0 || real > 9007199254740992.0 || real != floor(real))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is not a non-negative whole number", what, key);
    *value = json_is_integer(found) ? (uint64_t)json_integer_value(found) : (uint64_t)real;
    return true;
}

bool pare_json_get_double(double *value, const json_t *object, const char *key, const char *what, pare_error *error) {
    const json_t *found = present(object, key);
    if (!found)
        return true;
    if (!json_is_number(found))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is not a number", what, key);
    *value = json_number_value(found);
    return true;
}

bool pare_json_get_bool(bool *value, const json_t *object, const char *key, const char *what, pare_error *error) {
    const json_t *found = present(object, key);
    if (!found)
        return true;
    if (!json_is_boolean(found))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is neither true nor false", what, key);
    *value = json_is_true(found);
    return true;
}

bool pare_json_get_string(const char **value, const json_t *object, const char *key, const char *what, pare_error *error) {
    const json_t *found = present(object, key);
    if (!found)
        return true;
    if (!json_is_string(found))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is not a string", what, key);
    *value = json_string_value(found);
    return true;
}
