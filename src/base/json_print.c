/* json_print: JSON as text, with numbers that read back equal: jansson prints a real with a fixed count of digits, this keeps 1e-05 one.
 * Nothing is allocated but the text, whose failure is sticky. */
#include <string.h>

#include "pare/json.h"

typedef struct {
    pare_string *out;
    bool line, script; /* on one line; for a page's script element */
} printer;

static bool plain(const printer *p, char c) {
    return (unsigned char)c >= ' ' && c != '"' && c != '\\' && (c != '<' || !p->script);
}

static void print_escaped(const printer *p, char c) {
    static const char letters[] = "\"\\\b\t\n\f\r", names[] = "\"\\btnfr";
    const char *letter = c ? strchr(letters, c) : NULL;
    if (letter)
        pare_string_print(p->out, "\\%c", names[letter - letters]);
    else
        pare_string_print(p->out, "\\u%04X", (unsigned char)c);
}

static void print_text(const printer *p, const char *bytes, size_t n) {
    pare_string_push(p->out, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        size_t start = i;
        while (i < n && plain(p, bytes[i]))
            i++;
        pare_string_push(p->out, bytes + start, i - start);
        if (i < n)
            print_escaped(p, bytes[i]);
    }
    pare_string_push(p->out, "\"", 1);
}

static void print_real(const printer *p, double value) {
    size_t before = p->out->length;
    if (p->script)
        pare_string_print(p->out, "%.12g", value);
    else
        pare_string_number(p->out, value);
    if (!p->out->failed && !strpbrk(p->out->data + before, ".e")) /* a real stays one */
        pare_string_push(p->out, ".0", 2);
}

static void print_scalar(const printer *p, const json_t *json) {
    if (json_is_string(json))
        print_text(p, json_string_value(json), json_string_length(json));
    else if (json_is_real(json))
        print_real(p, json_real_value(json));
    else if (json_is_integer(json))
        pare_string_print(p->out, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
    else
        pare_string_print(p->out, "%s", json_is_true(json) ? "true" : json_is_false(json) ? "false" : "null");
}

static void new_line(const printer *p, int depth) {
    if (!p->line)
        pare_string_print(p->out, "\n%*s", 2 * depth, "");
}

static void print_value(const printer *p, const json_t *json, int depth);

static void print_object(const printer *p, const json_t *json, int depth) {
    json_t *object = (json_t *)(uintptr_t)json;
    for (void *at = json_object_iter(object), *next; at; at = next) {
        const char *key = json_object_iter_key(at);
        new_line(p, depth + 1);
        print_text(p, key, strlen(key));
        pare_string_push(p->out, ": ", p->line ? 1 : 2);
        print_value(p, json_object_iter_value(at), depth + 1);
        next = json_object_iter_next(object, at);
        pare_string_push(p->out, ",", next ? 1 : 0);
    }
}

static void print_array(const printer *p, const json_t *json, int depth) {
    size_t n = json_array_size(json);
    for (size_t i = 0; i < n; i++) {
        new_line(p, depth + 1);
        print_value(p, json_array_get(json, i), depth + 1);
        pare_string_push(p->out, ",", i + 1 < n ? 1 : 0);
    }
}

static void print_value(const printer *p, const json_t *json, int depth) {
    bool object = json_is_object(json);
    if (!object && !json_is_array(json)) {
        print_scalar(p, json);
        return;
    }
    pare_string_push(p->out, object ? "{" : "[", 1);
    (object ? print_object : print_array)(p, json, depth);
    if (object ? json_object_size(json) : json_array_size(json))
        new_line(p, depth);
    pare_string_push(p->out, object ? "}" : "]", 1);
}

static bool print(const printer *p, const json_t *json, const pare_json_doc *doc, pare_error *error) {
    if (doc && !pare_json_check(doc, error))
        return false;
    if (!json)
        return pare_fail(error, PARE_ERROR_MEMORY, "out of memory while JSON was put together");
    print_value(p, json, 0);
    pare_string_push(p->out, "\n", p->line ? 0 : 1);
    return pare_string_check(p->out, error);
}

bool pare_json_print(pare_string *out, const json_t *json, const pare_json_doc *doc, pare_error *error) {
    return print(&(printer){.out = out}, json, doc, error);
}

bool pare_json_print_script(pare_string *out, const json_t *json, const pare_json_doc *doc, pare_error *error) {
    return print(&(printer){.out = out, .line = true, .script = true}, json, doc, error);
}

bool pare_json_print_line(pare_string *out, const json_t *json, const pare_json_doc *doc, pare_error *error) {
    return print(&(printer){.out = out, .line = true}, json, doc, error);
}
