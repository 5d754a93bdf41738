/* corpus: texts on disk, and windows of tokens cut from them. */
#ifndef PARE_CORPUS_H
#define PARE_CORPUS_H

#include "pare/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A text with its identity. */
typedef struct {
    const char *bytes;
    size_t length;
    pare_sha256 sha256; /* of the file's bytes */
    pare_map map;
    pare_string joined; /* JSONL: the "text" fields, joined by blank lines */
} pare_corpus;

/* path: a text file, or JSONL (by its ending) with a "text" string per line. Empty files are refused. */
bool pare_corpus_open(pare_corpus *corpus, const char *path, pare_error *error) PARE_MUST_CHECK;
void pare_corpus_close(pare_corpus *corpus);

/* Windows of ids, (n, length), owned by the struct. */
typedef struct {
    uint32_t *ids;
    size_t n, length;
    uint64_t tokens_in_text;
} pare_windows;
void pare_windows_free(pare_windows *windows);

/* `n` windows of `length` tokens at seeded random places of the text (without BOS, overlaps possible): calibration.
 * The text must hold at least one window. */
bool pare_windows_sample(pare_windows *windows, const pare_corpus *corpus, const char *path, const pare_tokenizer *tokenizer, size_t n,
                         size_t length, uint64_t seed, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
