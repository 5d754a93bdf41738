/* json: jansson with pare's errors. Every function names the file in its message. */
#ifndef PARE_JSON_H
#define PARE_JSON_H

#include <jansson.h>

#include "pare/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Parses `n` bytes; `what` names the source in messages ("config.json"). Duplicate keys are refused. The caller owns the result. */
json_t *pare_json_parse(const char *bytes, size_t n, const char *what, pare_error *error) PARE_MUST_CHECK;
json_t *pare_json_read(const char *path, pare_error *error) PARE_MUST_CHECK;
/* The same with all numbers as reals, for files with whole numbers beyond 64 bits: tokenizer_config.json's model_max_length. */
json_t *pare_json_read_real(const char *path, pare_error *error) PARE_MUST_CHECK;

/* Pretty text (two-space indent, keys in order of insertion, numbers that read back equal). Free with pare_string_free. */
bool pare_json_print(pare_string *out, const json_t *json, pare_error *error) PARE_MUST_CHECK;

/* Numbers by the shortest text that reads back equal; NaN and infinities become null. */
json_t *pare_json_number(double value);

/* Typed look-ups of `key` in `object`: absent or null leaves *value alone and returns true; a wrong type or range is an error. */
bool pare_json_get_u64(uint64_t *value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;
bool pare_json_get_double(double *value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;
bool pare_json_get_bool(bool *value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;
/* The string lives as long as `object`. */
bool pare_json_get_string(const char **value, const json_t *object, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
