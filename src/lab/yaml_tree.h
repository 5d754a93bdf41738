/* yaml_tree: a small YAML file as a tree that knows its lines; private to lab. */
#ifndef LAB_YAML_TREE_H
#define LAB_YAML_TREE_H

#include "pare/base.h"

typedef enum { YAML_TREE_SCALAR, YAML_TREE_LIST, YAML_TREE_MAP } yaml_tree_kind;

/* Everything lies in the arena. */
typedef struct yaml_tree {
    yaml_tree_kind kind;
    bool plain;                     /* a scalar without quotes: it may mean a number */
    size_t line;                    /* from 1; of a map's member: the line of its key */
    const char *key;                /* of a map's member */
    const char *text;               /* of a scalar; no NUL inside */
    struct yaml_tree *first, *next; /* children in order; siblings */
    size_t n;                       /* children */
} yaml_tree;

enum { YAML_SHOW_BYTES = 64 };

/* The one document in `bytes`; path: for messages, which begin with "path:line:". */
yaml_tree *yaml_tree_read(const char *bytes, size_t n, const char *path, pare_arena *arena, pare_error *error);
/* The member `key` of a map, or NULL. */
const yaml_tree *yaml_tree_find(const yaml_tree *map, const char *key);
/* `text` fit for a one-line message: control bytes as '?', cut off when long. */
const char *yaml_show(char out[YAML_SHOW_BYTES], const char *text);

#endif
