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

/* ---- building ----------------------------------------------------------------------------- */

/* A document that is being built; start from {0}. The first failure (no memory, a text that is not UTF-8) is kept in it, with the key it
 * happened at; from then on values may be NULL and every call is harmless, so that a long sequence needs one check, which printing does.
 * A value belongs to whatever it is put into, also when that fails. */
typedef struct {
    bool failed, unnamed; /* unnamed: the key that the failure happened at is the next one */
    pare_error error;
} pare_json_doc;

json_t *pare_json_object(pare_json_doc *doc);
json_t *pare_json_array(pare_json_doc *doc);
json_t *pare_json_string(pare_json_doc *doc, const char *text);
json_t *pare_json_text(pare_json_doc *doc, const char *bytes, size_t n);
json_t *pare_json_mended(pare_json_doc *doc, const char *bytes, size_t n); /* each byte that is not UTF-8 as U+FFFD */
json_t *pare_json_integer(pare_json_doc *doc, int64_t value);
json_t *pare_json_number(pare_json_doc *doc, double value);     /* NaN and infinities become null */
json_t *pare_json_copy(pare_json_doc *doc, const json_t *json); /* of all that is in it */
void pare_json_set(pare_json_doc *doc, json_t *object, const char *key, json_t *value);
void pare_json_append(pare_json_doc *doc, json_t *array, json_t *value);
void pare_json_extend(pare_json_doc *doc, json_t *array, const json_t *more);  /* all items of more; it stays the caller's */
void pare_json_update(pare_json_doc *doc, json_t *object, const json_t *more); /* all members of more; it stays the caller's */

/* A value by its pattern, as jansson's json_pack has it: {} and [] around keys and values, "{s:s, s:[I, I]}". A key is s. A value is
 *   s const char *    s? the same, NULL becomes null    s* the same, NULL leaves the key out
 *   b int             i int            I int64_t as json_int_t            f double (not finite: null)            n null
 *   o json_t *, which now belongs to the document      o? and o* as for s      O json_t *, which stays the caller's too */
json_t *pare_json_pack(pare_json_doc *doc, const char *pattern, ...);

/* For what failed elsewhere while the document was being built. */
void pare_json_fail(pare_json_doc *doc, const pare_error *error);
/* Whether JSON can hold the text: it is UTF-8. */
bool pare_json_is_text(const char *bytes, size_t n);
/* The document's first failure as the caller's; true: there was none, and every value is there. */
bool pare_json_check(const pare_json_doc *doc, pare_error *error) PARE_MUST_CHECK;

/* ---- printing ----------------------------------------------------------------------------- */

/* Pretty text (two-space indent, keys in order of insertion, numbers that read back equal) of what was built in doc; doc NULL: of what
 * was read. Free with pare_string_free. */
bool pare_json_print(pare_string *out, const json_t *json, const pare_json_doc *doc, pare_error *error) PARE_MUST_CHECK;
/* On one line. */
bool pare_json_print_line(pare_string *out, const json_t *json, const pare_json_doc *doc, pare_error *error) PARE_MUST_CHECK;
/* On one line, for a script element of a page: every '<' is \u003c, numbers have at most 12 digits. */
bool pare_json_print_script(pare_string *out, const json_t *json, const pare_json_doc *doc, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
