/* task_impl: what a task file says, once it is read. */
#ifndef PARE_TASK_IMPL_H
#define PARE_TASK_IMPL_H

#include "pare/task.h"
#include "template.h"

typedef struct {
    const char *name;
    const pare_template *template;
} task_field;

/* One file that may hold the documents, and how its rows become fields. */
typedef struct {
    const char *path, *fewshot, *labels; /* fewshot, labels: NULL, none */
    size_t line;                         /* in the task file */
    const char *const *rows;             /* names of the rows of an item in a file of text; NULL: JSON */
    size_t n_rows;
    const task_field *fields; /* made of a document's own */
    size_t n_fields;
} task_file;

typedef struct {
    const char *name;
    const char *const *subsets;
    size_t n_subsets;
} task_group;

struct pare_task_inner {
    pare_arena *arena;
    const task_file *files;
    size_t n_files;
    bool likelihood; /* a target alone, no choices */
    bool choices_are_contexts;
    const pare_template *description, *text, *continuation, *target, *subset; /* NULL: none */
    const pare_template *const *choices;                                      /* one that gives a list, or each its own */
    size_t n_choices;
    const char *delimiter, *fewshot_delimiter;
    const task_group *groups;
    size_t n_groups;
};

/* A task file inside the library. */
typedef struct {
    const char *bytes;
    size_t n;
} task_shipped;
task_shipped pare_task_shipped(size_t i); /* of pare_task_names[i]; made by cmake/tasks.cmake */

#endif
