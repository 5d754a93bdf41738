/* documents: the files of a task as JSON objects, one at a time. */
#ifndef PARE_DOCUMENTS_H
#define PARE_DOCUMENTS_H

#include "pare/corpus.h"
#include "task_impl.h"

typedef struct {
    const task_file *file;
    pare_arena *arena; /* for paths */
    const char *path;
    pare_text_file text, labels;
    const char *at, *end; /* what is not read yet */
    const char *label_at, *label_end;
    const char *label_path;
    json_t *array;              /* of a JSON array: all of it */
    size_t n, line, label_line; /* documents given; lines read */
    char place[600];            /* of the document just given: "path: line 7" */
    size_t begin;               /* the line it begins on, of an array its number, from 1 */
} documents;

/* name: the file in `folder` (of file->path or file->fewshot). labels: a label file goes with it. */
bool pare_documents_open(documents *of, const task_file *file, const char *folder, const char *name, bool labels, pare_arena *arena,
                         pare_error *error) PARE_MUST_CHECK;
/* *document, with the fields that the task file makes: the caller's; NULL at the end. task: its name. */
bool pare_documents_next(json_t **document, documents *of, const char *task, pare_error *error) PARE_MUST_CHECK;
/* Adds the bytes of all files to a hash of hashes. */
bool pare_documents_hash(pare_sha256 *hash, const documents *of, pare_error *error) PARE_MUST_CHECK;
void pare_documents_close(documents *of);

/* "FOLDER/NAME", or with .bz2 behind it, or for a .jsonl its .json: the first that is there; NULL: none (no error). */
const char *pare_documents_find(const char *folder, const char *name, pare_arena *arena, pare_error *error);

#endif
