/* json_read: text -> jansson's values, by recursive descent. Two ways of reading: strict (RFC 8259, each key once, whole numbers within
 * 64 bits), and as Python's json module reads, which takes more and so what many files on the hub hold. Jansson's own reader is not
 * used: it knows only the first way, and drops bytes of a string when memory runs out. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pare/json.h"

enum { DEPTH_MAX = 1000 };

typedef struct {
    const char *start, *at, *end;
    const char *what;
    pare_json_odd *odd;
    pare_string text; /* the string or number being read */
    int depth;
    bool lenient, mend_bytes;
    pare_error *error;
} reader;

static bool refuse(const reader *r, const char *reason) {
    size_t line = 1, column = 1;
    for (const char *at = r->start; at < r->at; at++) {
        column = *at == '\n' ? 1 : column + (((unsigned char)*at & 0xC0) != 0x80);
        line += *at == '\n';
    }
    pare_fail(r->error, PARE_ERROR_FORMAT, "%s: not valid JSON at line %zu, column %zu (byte %zu): %s", r->what, line, column,
              (size_t)(r->at - r->start), reason);
    return false;
}

static bool no_memory(const reader *r) {
    pare_fail(r->error, PARE_ERROR_MEMORY, "%s: out of memory while its JSON was read", r->what);
    return false;
}

static json_t *kept(const reader *r, json_t *value) {
    if (!value)
        no_memory(r);
    return value;
}

/* For a value that cannot be: NULL. */
static json_t *refused(const reader *r, const char *reason) {
    refuse(r, reason);
    return NULL;
}

static void pass_blanks(reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

/* Passes over `word` if it is next. */
static bool take(reader *r, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0)
        return false;
    r->at += n;
    return true;
}

/* ---- strings ---- */

static void push_character(reader *r, uint32_t c) {
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3F));
    bytes[0] = (char)(n == 1 ? c : (0xF00U >> n & 0xF0U) | c);
    pare_string_push(&r->text, bytes, n);
}

/* Bytes of the UTF-8 character at `at`: 1 to 4; 0: there is none (overlong forms and surrogates are none). */
static size_t character_bytes(const char *at, const char *end) {
    const unsigned char *b = (const unsigned char *)at;
    size_t n = b[0] < 0x80 ? 1 : b[0] < 0xC2 ? 0 : b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : b[0] < 0xF5 ? 4 : 0;
    if ((size_t)(end - at) < n || (b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] > 0x9F) || (b[0] == 0xF0 && b[1] < 0x90) ||
        (b[0] == 0xF4 && b[1] > 0x8F))
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((b[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

bool pare_json_is_text(const char *bytes, size_t n) {
    const char *end = bytes + n;
    for (size_t length = 0; bytes < end; bytes += length)
        if ((length = character_bytes(bytes, end)) == 0)
            return false;
    return true;
}

/* The four digits of \uXXXX; -1: there are none. */
static int32_t hex4(const char *at, const char *end) {
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at + i < end ? at[i] : '\0';
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool read_code_point(reader *r) {
    int32_t c = hex4(r->at, r->end);
    if (c < 0)
        return refuse(r, "\\u without four hexadecimal digits");
    r->at += 4;
    if (c >= 0xD800 && c <= 0xDBFF && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
        int32_t low = hex4(r->at + 2, r->end);
        if (low >= 0xDC00 && low <= 0xDFFF) {
            r->at += 6;
            push_character(r, 0x10000 + ((uint32_t)(c - 0xD800) << 10) + (uint32_t)(low - 0xDC00));
            return true;
        }
    }
    bool half = c >= 0xD800 && c <= 0xDFFF;
    if (half && !r->lenient)
        return refuse(r, "half of a surrogate pair");
    r->odd->half_surrogates += half;
    push_character(r, half ? 0xFFFD : (uint32_t)c);
    return true;
}

static bool read_escape(reader *r) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char c = r->at < r->end ? *r->at++ : '\0';
    const char *name = c ? strchr(names, c) : NULL;
    if (c == 'u')
        return read_code_point(r);
    if (!name)
        return refuse(r, "an unknown escape in a string");
    pare_string_push(&r->text, &meant[name - names], 1);
    return true;
}

/* What is neither an escape nor the end: as many characters as there are. */
static bool read_run(reader *r) {
    const char *start = r->at;
    size_t n = 0;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= ' ' && (n = character_bytes(r->at, r->end)))
        r->at += n;
    pare_string_push(&r->text, start, (size_t)(r->at - start));
    if (r->at == r->end)
        return refuse(r, "a string does not end");
    if (*r->at == '"' || *r->at == '\\')
        return true;
    if ((unsigned char)*r->at < ' ')
        return refuse(r, "a control character in a string");
    if (!r->mend_bytes)
        return refuse(r, "a byte that is not UTF-8");
    r->odd->bad_bytes++;
    r->at++;
    push_character(r, 0xFFFD);
    return true;
}

/* The string after its first quote, into r->text. */
static bool read_text(reader *r) {
    r->text.length = 0;
    pare_string_push(&r->text, "", 0);
    for (;;) {
        if (!read_run(r))
            return false;
        if (r->at == r->end) /* behind a byte that was mended: the next look refuses it */
            continue;
        if (*r->at == '\\') {
            r->at++;
            if (!read_escape(r))
                return false;
        } else if (*r->at == '"') {
            r->at++;
            return !r->text.failed || no_memory(r);
        }
    }
}

/* ---- numbers ---- */

/* NaN and both infinities: nulls to whoever asks for a type, but not jansson's null, so that a look-up of a number can refuse them. */
static json_t *not_finite(reader *r) {
    static json_t value = {JSON_NULL, (size_t)-1}; /* this count of references is jansson's for what is never freed */
    if (!r->lenient)
        return refused(r, "a number that is not finite");
    r->odd->not_finite++;
    return &value;
}

static const char *digits(const char *at, const char *end) {
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

/* The end of the number at `at`, or NULL; *whole: it has neither fraction nor exponent. */
static const char *number_end(bool *whole, const char *at, const char *end) {
    const char *first = at + (*at == '-'), *stop = digits(first, end), *start;
    *whole = true;
    if (stop == first || (*first == '0' && stop > first + 1))
        return NULL;
    if (stop < end && *stop == '.') {
        start = stop + 1;
        stop = digits(start, end);
        *whole = false;
        if (stop == start)
            return NULL;
    }
    if (stop < end && (*stop | 32) == 'e') {
        start = stop + 1;
        start += start < end && (*start == '+' || *start == '-');
        stop = digits(start, end);
        *whole = false;
        if (stop == start)
            return NULL;
    }
    return stop;
}

static json_t *read_number(reader *r) {
    bool whole;
    const char *stop = number_end(&whole, r->at, r->end);
    if (!stop)
        return refused(r, "a number is malformed");
    r->text.length = 0;
    pare_string_push(&r->text, r->at, (size_t)(stop - r->at));
    if (r->text.failed)
        return kept(r, NULL);
    errno = 0;
    long long integer = whole ? strtoll(r->text.data, NULL, 10) : 0;
    if (whole && errno == 0) {
        r->at = stop;
        return kept(r, json_integer(integer));
    }
    if (whole && !r->lenient)
        return refused(r, "a whole number beyond 64 bits");
    double real = strtod(r->text.data, NULL);
    json_t *value = isfinite(real) ? kept(r, json_real(real)) : not_finite(r);
    r->odd->large_integers += whole && isfinite(real);
    r->at = stop;
    return value;
}

/* ---- values ---- */

static json_t *read_value(reader *r);

/* A key and its colon, as a copy that pare_string_free frees; jansson's keys end at a zero. */
static bool read_key(pare_string *key, reader *r) {
    if (!take(r, "\""))
        return refuse(r, "a key in quotes is expected");
    if (!read_text(r))
        return false;
    const char *at = r->text.data, *end = at + r->text.length;
    for (const char *zero; (zero = memchr(at, '\0', (size_t)(end - at))); at = zero + 1) {
        if (!r->lenient)
            return refuse(r, "a zero in a key");
        r->odd->zero_keys++;
        pare_string_push(key, at, (size_t)(zero - at));
        pare_string_push(key, "\xEF\xBF\xBD", 3);
    }
    pare_string_push(key, at, (size_t)(end - at));
    pass_blanks(r);
    return key->failed ? no_memory(r) : take(r, ":") || refuse(r, "':' is expected");
}

static bool read_member(json_t *object, reader *r) {
    pare_string key = {0};
    pass_blanks(r);
    const char *start = r->at;
    json_t *value = read_key(&key, r) ? read_value(r) : NULL;
    size_t before = json_object_size(object);
    bool done = value && (json_object_set_new_nocheck(object, key.data, value) == 0 || no_memory(r));
    pare_string_free(&key);
    if (!done || json_object_size(object) > before)
        return done;
    r->odd->repeated_keys++;
    r->at = r->lenient ? r->at : start;
    return r->lenient || refuse(r, "a duplicate key in this object");
}

static bool read_item(json_t *array, reader *r) {
    json_t *value = read_value(r);
    return value && (json_array_append_new(array, value) == 0 || no_memory(r));
}

static json_t *read_container(reader *r, json_t *container, bool (*read_part)(json_t *, reader *), const char *close) {
    bool done = container && (++r->depth <= DEPTH_MAX || refuse(r, "nested too deeply"));
    pass_blanks(r);
    if (done && !take(r, close)) {
        for (bool more = true; done && more;) {
            done = read_part(container, r);
            pass_blanks(r);
            more = done && take(r, ",");
        }
        done = done && (take(r, close) || refuse(r, *close == '}' ? "',' or '}' is expected" : "',' or ']' is expected"));
    }
    r->depth--;
    if (done)
        return container;
    json_decref(container);
    return NULL;
}

static json_t *read_value(reader *r) {
    pass_blanks(r);
    if (take(r, "{"))
        return read_container(r, kept(r, json_object()), read_member, "}");
    if (take(r, "["))
        return read_container(r, kept(r, json_array()), read_item, "]");
    if (take(r, "\""))
        return read_text(r) ? kept(r, json_stringn_nocheck(r->text.data, r->text.length)) : NULL;
    if (take(r, "true"))
        return json_true();
    if (take(r, "false"))
        return json_false();
    if (take(r, "null"))
        return json_null();
    if (take(r, "NaN") || take(r, "Infinity") || take(r, "-Infinity"))
        return not_finite(r);
    if (r->at < r->end && (*r->at == '-' || (*r->at >= '0' && *r->at <= '9')))
        return read_number(r);
    return refused(r, r->at == r->end ? "it ends where a value is expected" : "a value is expected");
}

static json_t *parse(reader *r) {
    pare_json_odd unseen = {0};
    r->odd = r->odd ? r->odd : &unseen;
    (void)take(r, "\xEF\xBB\xBF");
    pass_blanks(r);
    bool opens = r->at < r->end && (*r->at == '{' || *r->at == '[');
    json_t *json = opens ? read_value(r) : refused(r, "'[' or '{' is expected");
    pare_string_free(&r->text);
    pass_blanks(r);
    if (json && r->at < r->end) {
        refuse(r, "something follows after its end");
        json_decref(json);
        return NULL;
    }
    return json;
}

json_t *pare_json_parse(const char *bytes, size_t n, const char *what, pare_error *error) {
    return parse(&(reader){.start = bytes, .at = bytes, .end = bytes + n, .what = what, .error = error});
}

json_t *pare_json_parse_lenient(const char *bytes, size_t n, const char *what, bool mend_bytes, pare_json_odd *odd, pare_error *error) {
    reader r = {.start = bytes, .at = bytes, .end = bytes + n, .what = what, .odd = odd, .error = error};
    r.lenient = true;
    r.mend_bytes = mend_bytes;
    return parse(&r);
}

static json_t *read_file(const char *path, bool lenient, pare_json_odd *odd, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return NULL;
    const char *bytes = (const char *)map.data;
    json_t *json = parse(
        &(reader){.start = bytes, .at = bytes, .end = bytes + map.size, .what = path, .odd = odd, .lenient = lenient, .error = error});
    pare_map_close(&map);
    return json;
}

json_t *pare_json_read(const char *path, pare_error *error) {
    return read_file(path, false, NULL, error);
}

json_t *pare_json_read_lenient(const char *path, pare_json_odd *odd, pare_error *error) {
    return read_file(path, true, odd, error);
}
