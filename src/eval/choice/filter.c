/* filter: what templates may do to a field. White space and letters' cases are Unicode's, as Python's methods of the same names take them
 * (but for the few letters whose other case is two letters). */
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "pare/text.h"
#include "template.h"

/* ---- white space ---- */

/* Python's str.isspace: White_Space and the four separators of ASCII. */
static bool is_space(utf8proc_int32_t c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* The code point at `at`, and its bytes; a byte that begins none counts as one. */
static size_t point_at(utf8proc_int32_t *point, const char *at, size_t n) {
    utf8proc_ssize_t bytes = utf8proc_iterate((const utf8proc_uint8_t *)at, (utf8proc_ssize_t)n, point);
    return bytes > 0 ? (size_t)bytes : 1;
}

size_t pare_rstrip(const char *text, size_t n) {
    while (n > 0) {
        size_t at = n - 1;
        while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80)
            at--;
        utf8proc_int32_t point = -1;
        point_at(&point, text + at, n - at);
        if (!is_space(point))
            break;
        n = at;
    }
    return n;
}

size_t pare_lstrip(const char *text, size_t n) {
    size_t at = 0;
    while (at < n) {
        utf8proc_int32_t point = -1;
        size_t bytes = point_at(&point, text + at, n - at);
        if (!is_space(point))
            break;
        at += bytes;
    }
    return at;
}

size_t pare_code_points(const char *text, size_t n) {
    size_t points = 0;
    for (size_t i = 0; i < n; i++)
        points += ((unsigned char)text[i] & 0xC0) != 0x80;
    return points;
}

/* ---- helpers ---- */

static json_t *text_of(const char *bytes, size_t n, pare_error *error) {
    pare_json_doc doc = {0};
    json_t *text = pare_json_text(&doc, bytes, n);
    return pare_json_check(&doc, error) ? text : NULL;
}

static json_t *finish(pare_string *out, pare_error *error) {
    json_t *text = pare_string_check(out, error) ? text_of(out->data ? out->data : "", out->length, error) : NULL;
    pare_string_free(out);
    return text;
}

static pare_piece view(const json_t *value) {
    return (pare_piece){json_string_value(value), json_string_length(value)};
}

/* Where `needle` begins in `text`, the first place or the last; NULL: nowhere. An empty one is nowhere. */
static const char *find(pare_piece text, pare_piece needle, bool last) {
    const char *found = NULL;
    if (needle.length == 0 || needle.length > text.length)
        return NULL;
    for (const char *at = text.bytes, *stop = text.bytes + (text.length - needle.length); at <= stop && (last || !found); at++)
        if (*at == *needle.bytes && memcmp(at, needle.bytes, needle.length) == 0)
            found = at;
    return found;
}

static pare_piece from(pare_piece text, const char *at) {
    return (pare_piece){at, text.length - (size_t)(at - text.bytes)};
}

static json_t *not_found(pare_piece needle, const char *place, pare_error *error) {
    pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%.*s\" is not in the text, which the task cuts there", place, (int)needle.length,
              needle.bytes);
    return NULL;
}

static void push_replaced(pare_string *out, pare_piece text, pare_piece old, pare_piece with) {
    for (const char *at; (at = find(text, old, false)); text = from(text, at + old.length)) {
        pare_string_push(out, text.bytes, (size_t)(at - text.bytes));
        pare_string_push(out, with.bytes, with.length);
    }
    pare_string_push(out, text.bytes, text.length);
}

/* ---- the filters ---- */

static json_t *trim(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)arguments, (void)place;
    pare_piece text = view(value);
    size_t n = pare_rstrip(text.bytes, text.length), begin = pare_lstrip(text.bytes, n);
    return text_of(text.bytes + begin, n - begin, error);
}

static json_t *ltrim(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)arguments, (void)place;
    pare_piece text = view(value);
    size_t begin = pare_lstrip(text.bytes, text.length);
    return text_of(text.bytes + begin, text.length - begin, error);
}

static json_t *rtrim(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)arguments, (void)place;
    return text_of(json_string_value(value), pare_rstrip(json_string_value(value), json_string_length(value)), error);
}

typedef utf8proc_int32_t letter(utf8proc_int32_t point);

/* The first letter by `first`, the others by `rest`. */
static json_t *with_letters(const json_t *value, letter *first, letter *rest, pare_error *error) {
    pare_piece text = view(value);
    pare_string out = {0};
    for (size_t at = 0; at < text.length;) {
        utf8proc_int32_t point = -1;
        utf8proc_uint8_t bytes[4];
        size_t n = point_at(&point, text.bytes + at, text.length - at);
        utf8proc_ssize_t written = point < 0 ? 0 : utf8proc_encode_char((at == 0 ? first : rest)(point), bytes);
        pare_string_push(&out, written > 0 ? (const char *)bytes : text.bytes + at, written > 0 ? (size_t)written : n);
        at += n;
    }
    return finish(&out, error);
}

static json_t *capitalize(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)arguments, (void)place;
    return with_letters(value, utf8proc_totitle, utf8proc_tolower, error);
}

static json_t *lower(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)arguments, (void)place;
    return with_letters(value, utf8proc_tolower, utf8proc_tolower, error);
}

static json_t *upper(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)arguments, (void)place;
    return with_letters(value, utf8proc_toupper, utf8proc_toupper, error);
}

static json_t *replace(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)place;
    pare_string out = {0};
    push_replaced(&out, view(value), view(arguments[0]), view(arguments[1]));
    return finish(&out, error);
}

static json_t *before(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    pare_piece text = view(value), needle = view(arguments[0]);
    const char *at = find(text, needle, false);
    return at ? text_of(text.bytes, (size_t)(at - text.bytes), error) : not_found(needle, place, error);
}

static json_t *after(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    pare_piece text = view(value), needle = view(arguments[0]);
    const char *at = find(text, needle, false);
    pare_piece rest = at ? from(text, at + needle.length) : text;
    return at ? text_of(rest.bytes, rest.length, error) : not_found(needle, place, error);
}

static json_t *before_last(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)place;
    pare_piece text = view(value);
    const char *at = find(text, view(arguments[0]), true);
    return text_of(text.bytes, at ? (size_t)(at - text.bytes) : 0, error);
}

static json_t *after_last(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    (void)place;
    pare_piece text = view(value), needle = view(arguments[0]);
    const char *at = find(text, needle, true);
    pare_piece rest = at ? from(text, at + needle.length) : text;
    return text_of(rest.bytes, rest.length, error);
}

static json_t *between(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    pare_piece text = view(value), open = view(arguments[0]), close = view(arguments[1]);
    const char *at = find(text, open, false);
    if (!at)
        return not_found(open, place, error);
    pare_piece rest = from(text, at + open.length);
    const char *end = find(rest, close, false);
    return end ? text_of(rest.bytes, (size_t)(end - rest.bytes), error) : not_found(close, place, error);
}

/* Shortest spans in brackets go, but none that a line ends in. */
static void push_without_brackets(pare_string *out, pare_piece text) {
    const char *end = text.bytes + text.length;
    for (const char *at = text.bytes; at < end; at++) {
        const char *close = *at == '[' ? memchr(at, ']', (size_t)(end - at)) : NULL;
        if (close && !memchr(at, '\n', (size_t)(close - at)))
            at = close;
        else
            pare_string_push(out, at, 1);
    }
}

/* HellaSwag's preparation of texts from WikiHow (Zellers et al. 2019), in the order of lm-evaluation-harness: trimmed, " [title]" is
 * ". ", what else stands in brackets goes, pairs of spaces are one, in one pass. */
static json_t *wikihow(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    json_t *trimmed = trim(value, arguments, place, error);
    pare_string titled = {0}, plain = {0}, out = {0};
    if (!trimmed)
        return NULL;
    push_replaced(&titled, view(trimmed), (pare_piece){" [title]", 8}, (pare_piece){". ", 2});
    if (!titled.failed)
        push_without_brackets(&plain, (pare_piece){titled.data, titled.length});
    if (!plain.failed)
        push_replaced(&out, (pare_piece){plain.data ? plain.data : "", plain.length}, (pare_piece){"  ", 2}, (pare_piece){" ", 1});
    out.failed |= titled.failed || plain.failed;
    pare_string_free(&titled);
    pare_string_free(&plain);
    json_decref(trimmed);
    return finish(&out, error);
}

static bool same_text(const json_t *item, pare_piece text) {
    char digits[32];
    if (json_is_integer(item)) {
        int n = snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(item));
        return (size_t)n == text.length && memcmp(digits, text.bytes, text.length) == 0;
    }
    return json_is_string(item) && json_string_length(item) == text.length && memcmp(json_string_value(item), text.bytes, text.length) == 0;
}

static json_t *position(const json_t *value, json_t *const *arguments, const char *place, pare_error *error) {
    const json_t *item;
    size_t i;
    pare_piece wanted = view(arguments[0]);
    if (!json_is_array(value)) {
        pare_fail(error, PARE_ERROR_FORMAT, "%s: the filter index needs a list", place);
        return NULL;
    }
    pare_json_doc doc = {0};
    json_array_foreach(value, i, item) if (same_text(item, wanted)) {
        json_t *place_of = pare_json_integer(&doc, (int64_t)i);
        return pare_json_check(&doc, error) ? place_of : NULL;
    }
    pare_fail(error, PARE_ERROR_FORMAT, "%s: the answer \"%.*s\" is none of the %zu labels", place, (int)wanted.length, wanted.bytes,
              json_array_size(value));
    return NULL;
}

const pare_filter pare_filters[] = {
    {"trim", "without white space at both ends", 0, false, trim},
    {"ltrim", "without white space at the start", 0, false, ltrim},
    {"rtrim", "without white space at the end", 0, false, rtrim},
    {"capitalize", "the first letter upper case, all others lower case", 0, false, capitalize},
    {"lower", "lower case", 0, false, lower},
    {"upper", "upper case", 0, false, upper},
    {"replace", "replace('a', 'b'): b wherever a stands", 2, false, replace},
    {"before", "before('a'): what stands before the first a; a text without a is refused", 1, false, before},
    {"after", "after('a'): what stands after the first a; a text without a is refused", 1, false, after},
    {"before_last", "before_last('a'): what stands before the last a; nothing where there is none", 1, false, before_last},
    {"after_last", "after_last('a'): what stands after the last a; all where there is none", 1, false, after_last},
    {"between", "between('a', 'b'): from the first a to the next b; a text without them is refused", 2, false, between},
    {"wikihow", "HellaSwag's cleaning of WikiHow's brackets and spaces", 0, false, wikihow},
    {"index", "index(x): the place of x in a list, from 0; a list without x is refused", 1, true, position},
    {0},
};
