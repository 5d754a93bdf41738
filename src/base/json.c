/* json: what is looked up in a JSON object, by its type, and in words what lenient reading took. */
#include <math.h>
#include <string.h>

#include "pare/json.h"

void pare_json_odd_print(pare_string *out, const pare_json_odd *odd) {
    const struct {
        size_t n;
        const char *one, *many, *done;
    } found[] = {
        {odd->not_finite, "number that is not finite", "numbers that are not finite", "taken for null"},
        {odd->large_integers, "whole number beyond 64 bits", "whole numbers beyond 64 bits", "rounded"},
        {odd->repeated_keys, "repeated key", "repeated keys", "the last value counts"},
        {odd->half_surrogates, "half surrogate pair", "half surrogate pairs", "read as U+FFFD"},
        {odd->zero_keys, "zero in a key", "zeros in keys", "read as U+FFFD"},
        {odd->bad_bytes, "byte that is not UTF-8", "bytes that are not UTF-8", "read as U+FFFD"},
    };
    const char *comma = "";
    for (size_t i = 0; i < sizeof found / sizeof *found; i++) {
        if (found[i].n == 0)
            continue;
        pare_string_print(out, "%s%zu %s (%s)", comma, found[i].n, found[i].n == 1 ? found[i].one : found[i].many, found[i].done);
        comma = ", ";
    }
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

/* NULL when absent or null, which what is not finite is not. */
static const json_t *present(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return value == json_null() ? NULL : value;
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
