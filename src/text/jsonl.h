/* jsonl: the lines of a JSONL text, parsed one at a time. */
#ifndef PARE_TEXT_JSONL_H
#define PARE_TEXT_JSONL_H

#include "pare/json.h"
#include "tokenizer.h"

/* Set path, at, end and longest_line; the rest zeroed. */
typedef struct {
    const char *path;
    const char *at, *end;
    size_t longest_line; /* bytes */
    bool mend;           /* bytes that are not UTF-8 become U+FFFD; otherwise they are refused */
    size_t number;       /* of the line just read, from 1 */
    char what[600];      /* "path: line 7", for messages */
    pare_bytes mended;
} pare_jsonl;

bool pare_path_is_jsonl(const char *path); /* by its ending */
/* The next line that is not blank; *line is NULL at the end, else the caller's. */
bool pare_jsonl_next(json_t **line, pare_jsonl *lines, pare_error *error) PARE_MUST_CHECK;
void pare_jsonl_free(pare_jsonl *lines);

#endif
