/* json: jansson's values, read and written by pare. Reading names the file in its messages; whatever is built is checked for memory and
 * UTF-8 once, when it is printed. */
#ifndef PARE_JSON_H
#define PARE_JSON_H

#include <jansson.h>

#include "pare/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reading ------------------------------------------------------------------------------ */

/* Parses `n` bytes, an object or an array; `what` names the source in messages ("config.json"). A byte order mark at the start is passed
 * over. Strict, for what pare itself wrote: a key twice in an object, NaN, a number beyond its type and half a surrogate pair are refused.
 * The caller owns the result. Errors: FORMAT, MEMORY. */
json_t *pare_json_parse(const char *bytes, size_t n, const char *what, pare_error *error) PARE_MUST_CHECK;
json_t *pare_json_read(const char *path, pare_error *error) PARE_MUST_CHECK;

/* How often lenient reading found what is no strict JSON; counts add up over several texts. */
typedef struct {
    size_t not_finite;      /* NaN, Infinity, -Infinity, 1e999: a null in the result, which the look-ups of numbers refuse */
    size_t large_integers;  /* beyond 64 bits with a sign: the nearest real */
    size_t repeated_keys;   /* in one object: the last value counts */
    size_t half_surrogates; /* \ud83d without its other half: U+FFFD */
    size_t zero_keys;       /* \u0000 in a key: U+FFFD */
    size_t bad_bytes;       /* not UTF-8: U+FFFD for each, where bytes are mended */
} pare_json_odd;

/* What Python's json module reads, and so every peer. *odd is added to; NULL: not counted. mend_bytes: bytes that are no UTF-8 become
 * U+FFFD, for rows of text; otherwise they are refused. */
json_t *pare_json_parse_lenient(const char *bytes, size_t n, const char *what, bool mend_bytes, pare_json_odd *odd,
                                pare_error *error) PARE_MUST_CHECK;
json_t *pare_json_read_lenient(const char *path, pare_json_odd *odd, pare_error *error) PARE_MUST_CHECK;

/* "2 numbers that are not finite (read as null), 1 key given twice (the last one counts)"; nothing where all counts are 0. */
void pare_json_odd_print(pare_string *out, const pare_json_odd *odd);

/* Typed look-ups of `key` in `object`: absent or null leaves *value alone and returns true; a wrong type or range is an error. */
bool pare_json_get_u64(uint64_t *value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;
bool pare_json_get_double(double *value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;
bool pare_json_get_bool(bool *value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;
/* The string lives as long as `object`. */
bool pare_json_get_string(const char **value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;

/* ---- printing ----------------------------------------------------------------------------- */

/* Pretty text (two-space indent, keys in order of insertion, numbers that read back equal). Free with pare_string_free. */
bool pare_json_print(pare_string *out, const json_t *json, pare_error *error) PARE_MUST_CHECK;

/* Numbers by the shortest text that reads back equal; NaN and infinities become null. */
json_t *pare_json_number(double value);

#ifdef __cplusplus
}
#endif
#endif
