/* template: parsing by recursive descent into nodes of an arena, and evaluating against a document. */
#include "template.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 16, STEPS_MAX = 8, PATH_BYTES = 128 };

typedef enum { NODE_TEXT, NODE_INTEGER, NODE_FIELD, NODE_LIST, NODE_JOIN, NODE_FILTER } node_kind;

typedef struct {
    const char *key; /* NULL: an index */
    size_t index;
} step;

typedef struct node {
    node_kind kind;
    const char *text; /* TEXT: its bytes; FIELD: its whole path */
    size_t length;
    json_int_t integer;
    step steps[STEPS_MAX]; /* FIELD: the first is its name */
    size_t n_steps;
    const pare_filter *filter;
    struct node *first, *next; /* LIST, JOIN: children; FILTER: the value, then the arguments */
} node;

struct pare_template {
    const char *path;
    size_t line;
    node *root;
};

/* ---- parsing ---- */

typedef struct {
    const char *at, *end, *path;
    size_t line;
    int depth;
    pare_arena *arena;
    pare_error *error;
} parser;

static node *refuse(const parser *p, const char *problem) {
    int n = (int)(p->end - p->at < 24 ? p->end - p->at : 24);
    pare_fail(p->error, PARE_ERROR_FORMAT, "%s:%zu: %s at \"%.*s\"", p->path, p->line, problem, n, p->at);
    return NULL;
}

static node *new_node(parser *p, node_kind kind) {
    node *made = PARE_PUSH(p->arena, node, 1, p->error);
    if (made)
        made->kind = kind;
    return made;
}

static void skip_blanks(parser *p) {
    while (p->at < p->end && strchr(" \t\r\n", *p->at))
        p->at++;
}

/* The next character but blanks is `c`: it is passed over. */
static bool take(parser *p, char c) {
    skip_blanks(p);
    bool there = p->at < p->end && *p->at == c;
    p->at += there;
    return there;
}

static bool name_character(const parser *p) {
    return p->at < p->end && (isalnum((unsigned char)*p->at) || *p->at == '_');
}

static const char *parse_name(parser *p) {
    const char *begin = p->at;
    while (name_character(p))
        p->at++;
    return p->at > begin ? pare_arena_copy(p->arena, begin, (size_t)(p->at - begin), p->error) : (refuse(p, "a name is missing"), NULL);
}

static bool parse_integer(json_int_t *value, parser *p) {
    const char *begin = p->at;
    *value = 0;
    while (p->at < p->end && isdigit((unsigned char)*p->at) && p->at - begin < 9)
        *value = *value * 10 + (*p->at++ - '0');
    return p->at > begin || (refuse(p, "a whole number is missing"), false);
}

static node *parse_quoted(parser *p) {
    char quote = *p->at++;
    node *made = new_node(p, NODE_TEXT);
    char *out = made ? PARE_PUSH(p->arena, char, (size_t)(p->end - p->at) + 1, p->error) : NULL;
    if (!out)
        return NULL;
    made->text = out;
    for (; p->at < p->end && *p->at != quote; p->at++) {
        char c = *p->at;
        if (c == '\\' && p->at + 1 < p->end) {
            c = *++p->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        out[made->length++] = c;
    }
    return take(p, quote) ? made : refuse(p, "a closing quote is missing");
}

/* name, name.key, name[0] */
static node *parse_field(parser *p) {
    const char *begin = p->at;
    node *made = new_node(p, NODE_FIELD);
    if (!made || !(made->steps[made->n_steps++].key = parse_name(p)))
        return NULL;
    while (p->at < p->end && (*p->at == '.' || *p->at == '[')) {
        if (made->n_steps == STEPS_MAX)
            return refuse(p, "a field too deep");
        step *next = &made->steps[made->n_steps++];
        json_int_t index = 0;
        if (*p->at++ == '.') {
            if (!(next->key = parse_name(p)))
                return NULL;
        } else if (!parse_integer(&index, p) || !take(p, ']')) {
            return refuse(p, "an index in brackets is missing");
        }
        next->index = (size_t)index;
    }
    made->text = pare_arena_copy(p->arena, begin, (size_t)(p->at - begin), p->error);
    return made->text ? made : NULL;
}

static node *parse_expression(parser *p);

/* Expressions with commas between them, up to `close`; appended to the parent's children. */
static bool parse_children(parser *p, node *parent, node **link, char close) {
    if (take(p, close))
        return true;
    do {
        if (!(*link = parse_expression(p)))
            return false;
        parent->length++;
        link = &(*link)->next;
    } while (take(p, ','));
    return take(p, close) || (refuse(p, "a comma or a closing bracket is missing"), false);
}

static node *parse_value(parser *p) {
    skip_blanks(p);
    char c = p->at < p->end ? *p->at : '\0';
    if (c == '\'' || c == '"')
        return parse_quoted(p);
    if (c == '(' && take(p, '(')) {
        node *inner = parse_expression(p);
        return !inner || take(p, ')') ? inner : refuse(p, "a closing bracket is missing");
    }
    if (c == '[' && take(p, '[')) {
        node *list = new_node(p, NODE_LIST);
        return list && parse_children(p, list, &list->first, ']') ? list : NULL;
    }
    if (isdigit((unsigned char)c)) {
        node *number = new_node(p, NODE_INTEGER);
        return number && parse_integer(&number->integer, p) ? number : NULL;
    }
    return name_character(p) ? parse_field(p) : refuse(p, "a field, a text or a number is missing");
}

static const pare_filter *find_filter(const parser *p, const char *name) {
    const char *names[64];
    size_t n = 0;
    for (const pare_filter *filter = pare_filters; filter->name; filter++) {
        if (strcmp(filter->name, name) == 0)
            return filter;
        names[n++] = filter->name;
    }
    const char *near = pare_nearest(name, names, n);
    pare_fail(p->error, PARE_ERROR_FORMAT, "%s:%zu: unknown filter \"%s\"%s%s%s (pare tasks --filters lists them)", p->path, p->line, name,
              near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    return NULL;
}

static node *parse_filter(parser *p, node *value) {
    skip_blanks(p);
    const char *name = parse_name(p);
    node *made = name ? new_node(p, NODE_FILTER) : NULL;
    if (!made || !(made->filter = find_filter(p, name)))
        return NULL;
    made->first = value;
    if (take(p, '(') && !parse_children(p, made, &value->next, ')'))
        return NULL;
    if (made->length != (size_t)made->filter->n_arguments) {
        pare_fail(p->error, PARE_ERROR_FORMAT, "%s:%zu: the filter %s takes %d arguments, here are %zu", p->path, p->line, name,
                  made->filter->n_arguments, made->length);
        return NULL;
    }
    return made;
}

static node *parse_part(parser *p) {
    node *value = parse_value(p);
    while (value && take(p, '|'))
        value = parse_filter(p, value);
    return value;
}

static node *parse_join(parser *p) {
    node *first = parse_part(p);
    if (!first || !take(p, '~'))
        return first;
    node *join = new_node(p, NODE_JOIN), **link = &first->next;
    if (!join)
        return NULL;
    join->first = first;
    do {
        if (!(*link = parse_part(p)))
            return NULL;
        link = &(*link)->next;
    } while (take(p, '~'));
    return join;
}

static node *parse_expression(parser *p) {
    if (p->depth == DEPTH_MAX)
        return refuse(p, "an expression nested too deeply");
    p->depth++;
    node *made = parse_join(p);
    p->depth--;
    return made;
}

/* Text up to the next {{, or to the end. */
static node *parse_plain(parser *p) {
    const char *begin = p->at, *open = strstr(p->at, "{{");
    node *made = new_node(p, NODE_TEXT);
    if (!made)
        return NULL;
    p->at = open ? open : p->end;
    made->length = (size_t)(p->at - begin);
    made->text = pare_arena_copy(p->arena, begin, made->length, p->error);
    return made->text ? made : NULL;
}

static node *parse_braces(parser *p) {
    p->at += 2;
    node *made = parse_expression(p);
    skip_blanks(p);
    if (made && (p->end - p->at < 2 || strncmp(p->at, "}}", 2) != 0))
        return refuse(p, "}} is missing");
    p->at += 2;
    return made;
}

const pare_template *pare_template_parse(const char *text, const char *path, size_t line, pare_arena *arena, pare_error *error) {
    parser p = {text, text + strlen(text), path, line, 0, arena, error};
    pare_template *made = PARE_PUSH(arena, pare_template, 1, error);
    node *join = made ? new_node(&p, NODE_JOIN) : NULL;
    if (!join)
        return NULL;
    size_t n = 0;
    for (node **link = &join->first; p.at < p.end; link = &(*link)->next, n++)
        if (!(*link = strncmp(p.at, "{{", 2) == 0 ? parse_braces(&p) : parse_plain(&p)))
            return NULL;
    *made = (pare_template){path, line, n == 1 ? join->first : join};
    return made;
}

/* ---- evaluating ---- */

typedef struct {
    const pare_template *template;
    const pare_template_source *source;
    pare_error *error;
} evaluation;

static json_t *evaluate(const evaluation *e, const node *of);

/* A value that was built in doc, or NULL with the error. */
static json_t *checked(const evaluation *e, const pare_json_doc *doc, json_t *json) {
    if (pare_json_check(doc, e->error))
        return json;
    json_decref(json);
    return NULL;
}

static json_t *text(const evaluation *e, const char *bytes, size_t n) {
    pare_json_doc doc = {0};
    json_t *json = pare_json_text(&doc, bytes, n);
    return checked(e, &doc, json);
}

static json_t *missing(const evaluation *e, const node *of) {
    pare_fail(e->error, PARE_ERROR_FORMAT, "%s: no field \"%s\", which the task %s reads (%s:%zu); is it another task's file?",
              e->source->place, of->text, e->source->task, e->template->path, e->template->line);
    return NULL;
}

/* A key may be spelled with its points, as tables that were flattened have it. */
static json_t *field(const evaluation *e, const node *of) {
    const json_t *at = json_object_get(e->source->document, of->text);
    if (!at) {
        at = e->source->document;
        for (size_t i = 0; at && i < of->n_steps; i++)
            at = of->steps[i].key ? json_object_get(at, of->steps[i].key) : json_array_get(at, of->steps[i].index);
    }
    if (!at || json_is_null(at))
        return missing(e, of);
    json_t *found;
    memcpy(&found, &at, sizeof found); /* a reference is counted in the value itself */
    return json_incref(found);
}

static json_t *list(const evaluation *e, const node *of) {
    pare_json_doc doc = {0};
    json_t *out = pare_json_array(&doc);
    for (const node *child = of->first; child; child = child->next) {
        json_t *value = evaluate(e, child);
        if (!value) {
            json_decref(out);
            return NULL;
        }
        pare_json_append(&doc, out, value);
    }
    return checked(e, &doc, out);
}

static bool push_text(pare_string *out, const evaluation *e, const json_t *value) {
    if (json_is_string(value))
        pare_string_push(out, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        pare_string_print(out, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        pare_string_number(out, json_real_value(value));
    else
        return pare_fail(e->error, PARE_ERROR_FORMAT, "%s: a text is needed, but the field is %s (%s:%zu)", e->source->place,
                         json_is_array(value)    ? "a list"
                         : json_is_object(value) ? "an object"
                                                 : "true or false",
                         e->template->path, e->template->line);
    return true;
}

static bool join_text(pare_string *out, const evaluation *e, const node *of) {
    if (of->kind == NODE_TEXT) {
        pare_string_push(out, of->text, of->length);
        return true;
    }
    bool done = true;
    if (of->kind == NODE_JOIN) {
        for (const node *child = of->first; done && child; child = child->next)
            done = join_text(out, e, child);
        return done;
    }
    json_t *value = evaluate(e, of);
    done = value && push_text(out, e, value);
    json_decref(value);
    return done;
}

static json_t *join(const evaluation *e, const node *of) {
    pare_string joined = {0};
    pare_string_push(&joined, "", 0);
    bool done = join_text(&joined, e, of) && pare_string_check(&joined, e->error);
    json_t *value = done ? text(e, joined.data, joined.length) : NULL;
    pare_string_free(&joined);
    return value;
}

/* A value as a text; releases it. */
static json_t *as_text(const evaluation *e, json_t *value) {
    pare_string printed = {0};
    if (!value || json_is_string(value))
        return value;
    bool done = push_text(&printed, e, value) && pare_string_check(&printed, e->error);
    json_t *out = done ? text(e, printed.data, printed.length) : NULL;
    pare_string_free(&printed);
    json_decref(value);
    return out;
}

/* One value through a filter; numbers go as texts, but where the filter takes a list. */
static json_t *filter_one(const evaluation *e, const pare_filter *filter, json_t *value, json_t **arguments) {
    json_t *given = filter->takes_list ? json_incref(value) : as_text(e, json_incref(value));
    json_t *out = given ? filter->apply(given, arguments, e->source->place, e->error) : NULL;
    json_decref(given);
    return out;
}

static json_t *filter_each(const evaluation *e, const pare_filter *filter, json_t *values, json_t **arguments) {
    pare_json_doc doc = {0};
    json_t *out = pare_json_array(&doc), *value;
    size_t i;
    json_array_foreach(values, i, value) {
        json_t *one = filter_one(e, filter, value, arguments);
        if (!one) {
            json_decref(out);
            return NULL;
        }
        pare_json_append(&doc, out, one);
    }
    return checked(e, &doc, out);
}

static json_t *filter_value(const evaluation *e, const node *of) {
    json_t *value = evaluate(e, of->first), *arguments[PARE_FILTER_ARGUMENTS] = {0}, *out = NULL;
    bool done = value != NULL;
    int n = 0;
    for (const node *argument = of->first->next; done && argument; argument = argument->next)
        done = (arguments[n++] = as_text(e, evaluate(e, argument))) != NULL;
    if (done)
        out = json_is_array(value) && !of->filter->takes_list ? filter_each(e, of->filter, value, arguments)
                                                              : filter_one(e, of->filter, value, arguments);
    json_decref(value);
    for (int i = 0; i < n; i++)
        json_decref(arguments[i]);
    return out;
}

static json_t *integer(const evaluation *e, json_int_t value) {
    pare_json_doc doc = {0};
    json_t *json = pare_json_integer(&doc, value);
    return checked(e, &doc, json);
}

static json_t *evaluate(const evaluation *e, const node *of) {
    switch (of->kind) {
    case NODE_TEXT: return text(e, of->text, of->length);
    case NODE_INTEGER: return integer(e, of->integer);
    case NODE_FIELD: return field(e, of);
    case NODE_LIST: return list(e, of);
    case NODE_JOIN: return join(e, of);
    case NODE_FILTER: return filter_value(e, of);
    }
    return NULL;
}

json_t *pare_template_value(const pare_template *template, const pare_template_source *source, pare_error *error) {
    const evaluation e = {template, source, error};
    return evaluate(&e, template->root);
}

bool pare_template_text(pare_string *out, const pare_template *template, const pare_template_source *source, pare_error *error) {
    const evaluation e = {template, source, error};
    return join_text(out, &e, template->root);
}

static void visit_fields(const node *of, void (*visit)(void *user, const char *field), void *user) {
    if (of->kind == NODE_FIELD)
        visit(user, of->text);
    for (const node *child = of->first; child; child = child->next)
        visit_fields(child, visit, user);
}

void pare_template_fields(const pare_template *template, void (*visit)(void *user, const char *field), void *user) {
    visit_fields(template->root, visit, user);
}
