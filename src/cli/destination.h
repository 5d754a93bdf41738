/* destination: what a command reads and where it writes; see destination.c for the rule. */
#ifndef PARE_CLI_DESTINATION_H
#define PARE_CLI_DESTINATION_H

#include "cli.h"

/* What a command writes, and how to know something of the same kind. */
typedef struct {
    const char *name; /* "a model folder" */
    bool folder;
    const char *begins;  /* of a file: how it begins; NULL: nothing tells, so that an existing file always needs --force */
    const char *holds;   /* what stands in a file's first bytes, or in a folder as a file */
    const char *earlier; /* or that, in files of earlier versions */
    const char *never;   /* a file that a folder of this kind does not have */
} destination_kind;

extern const destination_kind destination_page, destination_law, destination_csv, destination_json, destination_items, destination_task,
    destination_file, destination_model, destination_adapter, destination_tokenizer;

/* The option row of every command that writes; letter: 'f', or 0 where that is taken. */
#define OPTION_FORCE(letter, target)                                                                                                       \
    { "force", letter, OPTION_FLAG, NULL, "replace what is at the output (a file that the command reads is never replaced)", target }

/* Registers a file or folder that the command reads; NULL is fine. */
void reads(const char *path);
void reads_all(const option_list *list);

/* Whether two names mean one file, or one place for a file. */
bool is_same_place(const char *a, const char *b);

/* False with CONFLICT when writing there would replace something that the command reads. */
bool destination_spares_inputs(const char *path, pare_error *error) PARE_MUST_CHECK;

/* Before the work, and after the inputs are registered: whether the output may be written there. *replace: something is there that it
 * replaces. */
bool destination_check(bool *replace, const char *path, const destination_kind *kind, bool force, pare_error *error) PARE_MUST_CHECK;

#endif
