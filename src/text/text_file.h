/* text_file: a file of text as every command reads it.
 *
 *   text_kind.c   what a file is by its first bytes, and what to do with one that is no text
 *   expand.c      gzip and bzip2 to bytes
 *   text_file.c   a path to bytes that are text: opened, expanded, looked through
 *   rows.c        JSON rows, one at a time
 *   chat.c        messages by a chat template
 *   documents.c   rows and plain text to documents
 */
#ifndef PARE_TEXT_TEXT_FILE_H
#define PARE_TEXT_TEXT_FILE_H

#include "pare/corpus.h"
#include "pare/json.h"
#include "tokenizer.h"

/* ---- kinds ------------------------------------------------------------------------------------- */

typedef enum {
    PARE_KIND_TEXT,
    PARE_KIND_GZIP,
    PARE_KIND_BZIP2,
    PARE_KIND_OTHER, /* no text: name and way say more */
} pare_kind;
typedef struct {
    pare_kind kind;
    const char *name; /* "a Parquet table" */
    const char *way;  /* what its user can do, a command or a sentence; NULL: nothing is known */
} pare_kind_found;
pare_kind_found pare_kind_of(const uint8_t *bytes, size_t n);

/* Appends what the compressed bytes expand to. RANGE when that is more than `most` bytes, FORMAT when they are cut short or damaged. */
bool pare_expand(pare_bytes *out, pare_kind kind, const uint8_t *bytes, size_t n, size_t most, const char *path,
                 pare_error *error) PARE_MUST_CHECK;

/* ---- rows -------------------------------------------------------------------------------------- */

/* Longest row, in bytes: 64 MiB (PARE_DATASET_LINE_BYTES). */
#define PARE_ROW_BYTES ((size_t)64 << 20)

/* The rows of a text: JSON lines, the items of one array, or values one behind the other. */
typedef struct {
    const char *path, *start, *at, *end;
    enum { PARE_ROWS_LINES, PARE_ROWS_VALUES, PARE_ROWS_ARRAY, PARE_ROWS_ENDED } mode;
    size_t number;     /* of the row just read: its line, or its place in the array, from 1 */
    char what[600];    /* "path: line 7", for messages */
    pare_json_odd odd; /* what is no strict JSON in the rows so far */
    pare_bytes mended; /* a row whose bytes are not all UTF-8 */
} pare_rows;
void pare_rows_begin(pare_rows *rows, const char *path, const char *bytes, size_t n);
/* The next row, an object; *row is NULL at the end, else the caller's. */
bool pare_rows_next(json_t **row, pare_rows *rows, pare_error *error) PARE_MUST_CHECK;
void pare_rows_end(pare_rows *rows);

/* ---- chat -------------------------------------------------------------------------------------- */

/* A text in which some stretches are to be learned and others only read. */
typedef struct {
    size_t length;
    bool learned;
} pare_stretch;
typedef struct {
    pare_string text;
    pare_stretch *stretches;
    size_t n, capacity;
} pare_chat_text;
/* Messages (a list of objects with role and content, or from and value) by the tokenizer's chat template; what an assistant says is
 * learned. tokenizer NULL: the contents alone, each a stretch. what: the row, for messages. */
bool pare_chat_render(pare_chat_text *out, const pare_tokenizer *tokenizer, const json_t *messages, const char *what,
                      pare_error *error) PARE_MUST_CHECK;
void pare_chat_text_free(pare_chat_text *out);
/* What the rendering depends on besides the messages; false when there is no known template. */
bool pare_chat_identity(pare_string *out, const pare_tokenizer *tokenizer);

/* ---- documents --------------------------------------------------------------------------------- */

/* A document, or a part of one: a conversation comes in parts, each with what is read before what is learned. */
typedef struct {
    pare_piece prompt, text;
    bool answered;  /* text is a response to prompt, which may be empty */
    bool continues; /* the part before belongs to the same document */
    bool more;      /* and so does the one behind */
} pare_document;

typedef struct {
    const pare_text_file *file;
    const pare_tokenizer *tokenizer; /* for messages; may be NULL */
    bool split;                      /* a plain text is cut into documents */
    bool empty;                      /* documents without a character are handed on as well */
} pare_source;

/* done: bytes of the source up to the document's end. */
typedef bool (*pare_take_document)(void *user, const pare_document *document, size_t done, pare_error *error);
/* context: for notes about what was skipped. */
bool pare_source_read(const pare_source *source, pare_take_document take, void *user, const pare_context *context,
                      pare_error *error) PARE_MUST_CHECK;
/* Whether rows is at least one object of a shape that documents are made of, and the first few all are. *json: it is an object at least. */
bool pare_source_is_rows(bool *json, const char *path, const char *bytes, size_t n);

#endif
