/* yaml: libyaml's events -> a tree with line numbers. https://yaml.org/spec/1.1
 *
 * What pare reads as YAML (specs of studies, tasks) is small and plain, so everything that lets YAML grow or surprise is refused: anchors
 * and aliases (a few of them expand to gigabytes, or into themselves), tags, a second document, keys that are not words or come twice.
 * Size, depth and count are bounded, so that no input takes long.
 */
#include "pare/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { BYTES_MAX = 1 << 20, DEPTH_MAX = 8, NODES_MAX = 20000, KEYS_MAX = 64 };

typedef struct {
    yaml_parser_t parser;
    const char *bytes, *path;
    pare_arena *arena;
    size_t n_bytes, n_nodes;
} reader;

const char *pare_yaml_show(char out[PARE_YAML_SHOW_BYTES], const char *text) {
    size_t n = 0;
    for (; text[n] && n < PARE_YAML_SHOW_BYTES - 4; n++)
        out[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f ? '?' : text[n];
    snprintf(out + n, PARE_YAML_SHOW_BYTES - n, "%s", text[n] ? "..." : "");
    return out;
}

/* Reader errors (bad UTF-8, control bytes) come with an offset instead of a line. */
static bool fail_parser(const reader *r, pare_error *error) {
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory", r->path);
    size_t line = p->problem_mark.line + 1;
    if (p->error == YAML_READER_ERROR) {
        line = 1;
        for (size_t i = 0; i < p->problem_offset && i < r->n_bytes; i++)
            line += r->bytes[i] == '\n';
    }
    return pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: not valid YAML: %s", r->path, line, p->problem ? p->problem : "unknown problem");
}

static bool next_event(reader *r, yaml_event_t *event, pare_error *error) {
    return yaml_parser_parse(&r->parser, event) == 1 || fail_parser(r, error);
}

static size_t line_of(const yaml_event_t *event) {
    return event->start_mark.line + 1;
}

/* Anchor and tag of whatever kind of event carries them. */
static bool check_plain_event(const reader *r, const yaml_event_t *event, pare_error *error) {
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT)
        anchor = event->data.scalar.anchor, tag = event->data.scalar.tag;
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        anchor = event->data.sequence_start.anchor, tag = event->data.sequence_start.tag;
    else if (event->type == YAML_MAPPING_START_EVENT)
        anchor = event->data.mapping_start.anchor, tag = event->data.mapping_start.tag;
    if (anchor || event->type == YAML_ALIAS_EVENT)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: anchors and aliases (& and *) are not taken; quote the text if it is text",
                         r->path, line_of(event));
    if (tag)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: tags (!) are not taken; quote the text if it is text", r->path, line_of(event));
    return true;
}

static const char *copy_scalar(reader *r, const yaml_event_t *event, pare_error *error) {
    const char *value = (const char *)event->data.scalar.value;
    size_t n = event->data.scalar.length;
    if (memchr(value, '\0', n)) {
        pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: a NUL byte in a text", r->path, line_of(event));
        return NULL;
    }
    return pare_arena_copy(r->arena, value, n, error);
}

static pare_yaml *read_node(reader *r, const yaml_event_t *event, int depth, pare_error *error);

/* A map's key: a scalar, new among its siblings. */
static const char *read_key(reader *r, const pare_yaml *map, const yaml_event_t *event, pare_error *error) {
    char shown[PARE_YAML_SHOW_BYTES];
    if (!check_plain_event(r, event, error))
        return NULL;
    if (event->type != YAML_SCALAR_EVENT) {
        pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: a key must be a word", r->path, line_of(event));
        return NULL;
    }
    const char *key = copy_scalar(r, event, error);
    const pare_yaml *twin = key ? pare_yaml_find(map, key) : NULL;
    if (twin)
        pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: \"%s\" is given twice, first on line %zu", r->path, line_of(event),
                  pare_yaml_show(shown, key), twin->line);
    else if (key && map->n == KEYS_MAX)
        pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: more than %d keys", r->path, line_of(event), KEYS_MAX);
    else
        return key;
    return NULL;
}

/* Children until the list or map ends. A map's events alternate between key and value. */
static bool read_children(reader *r, pare_yaml *parent, int depth, pare_error *error) {
    yaml_event_type_t end = parent->kind == PARE_YAML_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    pare_yaml **link = &parent->first;
    for (;;) {
        yaml_event_t event;
        const char *key = NULL;
        size_t line;
        if (!next_event(r, &event, error))
            return false;
        bool ended = event.type == end, done = true;
        line = line_of(&event);
        if (!ended && parent->kind == PARE_YAML_MAP) {
            key = read_key(r, parent, &event, error);
            yaml_event_delete(&event);
            if (!key || !next_event(r, &event, error))
                return false;
        }
        pare_yaml *child = ended ? NULL : read_node(r, &event, depth, error);
        done = ended || child;
        yaml_event_delete(&event);
        if (ended || !done)
            return done;
        child->key = key;
        child->line = key ? line : child->line;
        *link = child;
        link = &child->next;
        parent->n++;
    }
}

static pare_yaml *read_node(reader *r, const yaml_event_t *event, int depth, pare_error *error) {
    if (!check_plain_event(r, event, error))
        return NULL;
    if (depth == DEPTH_MAX || r->n_nodes++ == NODES_MAX) {
        pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: %s", r->path, line_of(event),
                  depth == DEPTH_MAX ? "nested too deeply" : "too many values");
        return NULL;
    }
    pare_yaml *node = PARE_PUSH(r->arena, pare_yaml, 1, error);
    if (!node)
        return NULL;
    node->line = line_of(event);
    if (event->type == YAML_SCALAR_EVENT) {
        node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        node->text = copy_scalar(r, event, error);
        return node->text ? node : NULL;
    }
    node->kind = event->type == YAML_MAPPING_START_EVENT ? PARE_YAML_MAP : PARE_YAML_LIST;
    return read_children(r, node, depth + 1, error) ? node : NULL;
}

/* Stream start, document start, the root, document end, stream end; NULL also for an empty stream. */
static pare_yaml *read_stream(reader *r, pare_error *error) {
    pare_yaml *root = NULL;
    for (;;) {
        yaml_event_t event;
        if (!next_event(r, &event, error))
            return NULL;
        yaml_event_type_t type = event.type;
        size_t line = line_of(&event);
        bool frame = type == YAML_STREAM_START_EVENT || type == YAML_DOCUMENT_END_EVENT;
        bool again = type == YAML_DOCUMENT_START_EVENT && root;
        pare_yaml *node = NULL;
        if (!frame && type != YAML_DOCUMENT_START_EVENT && type != YAML_STREAM_END_EVENT)
            root = node = read_node(r, &event, 0, error);
        yaml_event_delete(&event);
        if (again)
            pare_fail(error, PARE_ERROR_FORMAT, "%s:%zu: a second document begins here; the file must hold one", r->path, line);
        else if (type == YAML_STREAM_END_EVENT && !root)
            pare_fail(error, PARE_ERROR_FORMAT, "%s: the file is empty", r->path);
        else if (type == YAML_STREAM_END_EVENT)
            return root;
        else if (node || frame || type == YAML_DOCUMENT_START_EVENT)
            continue;
        return NULL;
    }
}

pare_yaml *pare_yaml_read(const char *bytes, size_t n, const char *path, pare_arena *arena, pare_error *error) {
    reader r = {.bytes = bytes, .n_bytes = n, .path = path, .arena = arena};
    if (n > BYTES_MAX) {
        pare_fail(error, PARE_ERROR_FORMAT, "%s: %zu bytes; a YAML file may have at most %d", path, n, BYTES_MAX);
        return NULL;
    }
    if (yaml_parser_initialize(&r.parser) != 1) {
        pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory", path);
        return NULL;
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)bytes, n);
    pare_yaml *root = read_stream(&r, error);
    yaml_parser_delete(&r.parser);
    return root;
}

const pare_yaml *pare_yaml_find(const pare_yaml *map, const char *key) {
    for (const pare_yaml *child = map->first; child; child = child->next)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}
