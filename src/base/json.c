/* json: what is looked up in a JSON object, by its type, and in words what lenient reading took. */
#include <math.h>

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
