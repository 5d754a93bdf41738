/* yaml: a small YAML file as a tree that knows its lines. */
#ifndef PARE_YAML_H
#define PARE_YAML_H

#include "pare/base.h"

typedef enum { PARE_YAML_SCALAR, PARE_YAML_LIST, PARE_YAML_MAP } pare_yaml_kind;

/* Everything lies in the arena. */
typedef struct pare_yaml {
    pare_yaml_kind kind;
    bool plain;                     /* a scalar without quotes: it may mean a number */
    size_t line;                    /* from 1; of a map's member: the line of its key */
    const char *key;                /* of a map's member */
    const char *text;               /* of a scalar; no NUL inside */
    struct pare_yaml *first, *next; /* children in order; siblings */
    size_t n;                       /* children */
} pare_yaml;

enum { PARE_YAML_SHOW_BYTES = 64 };

/* The one document in `bytes`; path: for messages, which begin with "path:line:". */
pare_yaml *pare_yaml_read(const char *bytes, size_t n, const char *path, pare_arena *arena, pare_error *error);
/* The member `key` of a map, or NULL. */
const pare_yaml *pare_yaml_find(const pare_yaml *map, const char *key);
/* `text` fit for a one-line message: control bytes as '?', cut off when long. */
const char *pare_yaml_show(char out[PARE_YAML_SHOW_BYTES], const char *text);

#endif
