/* template: texts with fields of a document in them, a small part of Jinja's language.
 *
 *   text {{expression}} text
 *   expression = part ~ part ~ …              texts put together
 *   part       = value | filter | filter(…)   filters bind closer than ~, as in Jinja
 *   value      = name, name.key, name[0], 'text', "text", 0, [expression, …], (expression)
 *
 * Inside quotes \n, \t, \\, \' and \" mean what they mean in C. Filters are in filter.c. What is not known is refused when the task is
 * opened, with file and line.
 */
#ifndef PARE_TEMPLATE_H
#define PARE_TEMPLATE_H

#include "pare/json.h"

typedef struct pare_template pare_template;

/* Everything lies in the arena. path, line: where the template stands, for messages. NULL on failure. */
const pare_template *pare_template_parse(const char *text, const char *path, size_t line, pare_arena *arena, pare_error *error);

/* What a template is read against. */
typedef struct {
    const json_t *document;
    const char *place; /* of the document, for messages: "piqa.jsonl: line 7" */
    const char *task;  /* its name */
} pare_template_source;

/* The value, the caller's: of a template that is one {{expression}} that expression's, a text, number or list; else a text. NULL on
 * failure: FORMAT naming the document's place, the field and the template's line. */
json_t *pare_template_value(const pare_template *template, const pare_template_source *source, pare_error *error);
/* The same as text: numbers in decimals; lists are refused. Appends. */
bool pare_template_text(pare_string *out, const pare_template *template, const pare_template_source *source, pare_error *error);

/* Calls back with each field that the template reads, by its whole path ("choices.text"). */
void pare_template_fields(const pare_template *template, void (*visit)(void *user, const char *field), void *user);

/* ---- filters ------------------------------------------------------------------------------------ */

enum { PARE_FILTER_ARGUMENTS = 2 };

typedef struct {
    const char *name, *about;
    int n_arguments;
    bool takes_list; /* otherwise a list's elements go through one by one */
    /* value, arguments: borrowed; the result is the caller's. place: for messages. */
    json_t *(*apply)(const json_t *value, json_t *const *arguments, const char *place, pare_error *error);
} pare_filter;
extern const pare_filter pare_filters[]; /* ends with name NULL */

/* Code points of well-formed UTF-8, as Python counts them. */
size_t pare_code_points(const char *text, size_t n);
/* Bytes without the white space at the end, and at the start: of Python's str.rstrip() and str.lstrip(). */
size_t pare_rstrip(const char *text, size_t n);
size_t pare_lstrip(const char *text, size_t n); /* how many bytes to pass over */

#endif
