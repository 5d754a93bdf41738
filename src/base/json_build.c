/* json_build: JSON values put together, with one check at the end. Jansson answers a failed allocation with NULL and a value that could
 * not be added with -1; both mark the document here, so that what lacks a part is never printed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pare/json.h"

/* True for the first failure, the one that is told. */
static bool first(pare_json_doc *doc) {
    bool was_whole = !doc->failed;
    doc->failed = true;
    return was_whole;
}

static json_t *no_memory(pare_json_doc *doc) {
    if (first(doc))
        pare_error_set(&doc->error, PARE_ERROR_MEMORY, "out of memory while JSON was put together");
    return NULL;
}

static json_t *kept(pare_json_doc *doc, json_t *value) {
    return value ? value : no_memory(doc);
}

/* The bytes as something that a message can show. */
static void show(char shown[160], const char *bytes, size_t n) {
    size_t length = 0;
    for (size_t i = 0; i < n && length + 5 < 160; i++) {
        unsigned char c = (unsigned char)bytes[i];
        length += (size_t)snprintf(shown + length, 160 - length, c >= ' ' && c < 0x7f ? "%c" : "\\x%02x", c);
    }
    shown[length] = '\0';
}

static json_t *not_utf8(pare_json_doc *doc, const char *bytes, size_t n) {
    char shown[160];
    show(shown, bytes, n);
    if (first(doc)) {
        pare_error_set(&doc->error, PARE_ERROR_FORMAT, "JSON cannot hold this text, since it is not UTF-8: %s", shown);
        doc->unnamed = true;
    }
    return NULL;
}

/* The key under which the text stands that could not be kept, or something that has it inside. */
static void name(pare_json_doc *doc, const char *key) {
    if (doc->unnamed) {
        pare_error found = doc->error;
        pare_error_set(&doc->error, found.code, "\"%.200s\": %.400s", key, found.message);
    }
    doc->unnamed = false;
}

json_t *pare_json_object(pare_json_doc *doc) {
    return kept(doc, json_object());
}

json_t *pare_json_array(pare_json_doc *doc) {
    return kept(doc, json_array());
}

json_t *pare_json_text(pare_json_doc *doc, const char *bytes, size_t n) {
    return pare_json_is_text(bytes, n) ? kept(doc, json_stringn_nocheck(n ? bytes : "", n)) : not_utf8(doc, bytes, n);
}

json_t *pare_json_mended(pare_json_doc *doc, const char *bytes, size_t n) {
    pare_string text = {0};
    for (size_t i = 0, length; i < n; i += length) {
        for (length = 1; length < 4 && i + length < n && !pare_json_is_text(bytes + i, length); length++)
            ;
        bool good = pare_json_is_text(bytes + i, length);
        length = good ? length : 1;
        pare_string_push(&text, good ? bytes + i : "\xEF\xBF\xBD", good ? length : 3);
    }
    json_t *json = text.failed ? no_memory(doc) : pare_json_text(doc, text.data, text.length);
    pare_string_free(&text);
    return json;
}

json_t *pare_json_string(pare_json_doc *doc, const char *text) {
    return pare_json_text(doc, text, strlen(text));
}

json_t *pare_json_integer(pare_json_doc *doc, int64_t value) {
    return kept(doc, json_integer(value));
}

json_t *pare_json_number(pare_json_doc *doc, double value) {
    return kept(doc, isfinite(value) ? json_real(value) : json_null());
}

json_t *pare_json_copy(pare_json_doc *doc, const json_t *json) {
    return kept(doc, json_deep_copy(json));
}

void pare_json_set(pare_json_doc *doc, json_t *object, const char *key, json_t *value) {
    name(doc, key);
    if (json_object_set_new(object, key, value) == 0)
        return;
    json_decref(pare_json_string(doc, key)); /* says so where the key itself is the reason */
    no_memory(doc);
}

void pare_json_append(pare_json_doc *doc, json_t *array, json_t *value) {
    if (json_array_append_new(array, value) != 0)
        no_memory(doc);
}

void pare_json_extend(pare_json_doc *doc, json_t *array, const json_t *more) {
    if (json_array_extend(array, (json_t *)(uintptr_t)more) != 0)
        no_memory(doc);
}

void pare_json_update(pare_json_doc *doc, json_t *object, const json_t *more) {
    if (json_object_update(object, (json_t *)(uintptr_t)more) != 0)
        no_memory(doc);
}

/* ---- patterns ---- */

typedef struct {
    pare_json_doc *doc;
    const char *at;
    va_list list;
} pattern;

static char next(pattern *p) {
    while (*p->at == ' ' || *p->at == ',' || *p->at == ':')
        p->at++;
    return *p->at ? *p->at++ : '\0';
}

static json_t *value_of(pattern *p, char kind, bool *left_out);

static json_t *object_of(pattern *p) {
    json_t *object = pare_json_object(p->doc);
    for (char kind; (kind = next(p)) != '}' && kind != '\0';) {
        const char *key = va_arg(p->list, const char *);
        bool left_out = false;
        json_t *value = value_of(p, next(p), &left_out);
        if (!left_out)
            pare_json_set(p->doc, object, key, value);
    }
    return object;
}

static json_t *array_of(pattern *p) {
    json_t *array = pare_json_array(p->doc);
    for (char kind; (kind = next(p)) != ']' && kind != '\0';) {
        bool left_out = false;
        json_t *value = value_of(p, kind, &left_out);
        if (!left_out)
            pare_json_append(p->doc, array, value);
    }
    return array;
}

/* '?': what is NULL becomes null; '*': it is left out; else it has failed. */
static json_t *absent(pattern *p, bool *left_out) {
    char mark = *p->at;
    *left_out = mark == '*';
    return mark == '?' ? json_null() : mark == '*' ? NULL : no_memory(p->doc);
}

static json_t *value_of(pattern *p, char kind, bool *left_out) {
    json_t *value = NULL;
    const char *text;
    switch (kind) {
    case '{': return object_of(p);
    case '[': return array_of(p);
    case 'n': return json_null();
    case 'b': return json_boolean(va_arg(p->list, int));
    case 'i': return pare_json_integer(p->doc, va_arg(p->list, int));
    case 'I': return pare_json_integer(p->doc, va_arg(p->list, json_int_t));
    case 'f': return pare_json_number(p->doc, va_arg(p->list, double));
    case 's':
        text = va_arg(p->list, const char *);
        value = text ? pare_json_string(p->doc, text) : absent(p, left_out);
        break;
    case 'o': value = va_arg(p->list, json_t *); break;
    case 'O': value = json_incref(va_arg(p->list, json_t *)); break;
    default: return no_memory(p->doc); /* a pattern that this file does not know: never printed */
    }
    if (!value && kind != 's')
        value = absent(p, left_out);
    if (*p->at == '?' || *p->at == '*')
        p->at++;
    return value;
}

json_t *pare_json_pack(pare_json_doc *doc, const char *format, ...) {
    pattern p = {.doc = doc, .at = format};
    bool left_out = false;
    va_start(p.list, format);
    json_t *value = value_of(&p, next(&p), &left_out);
    va_end(p.list);
    return value;
}

void pare_json_fail(pare_json_doc *doc, const pare_error *error) {
    if (first(doc))
        doc->error = *error;
}

bool pare_json_check(const pare_json_doc *doc, pare_error *error) {
    return !doc->failed || pare_fail(error, doc->error.code, "%s", doc->error.message);
}
