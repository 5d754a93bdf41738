/* corpus: texts on disk, and windows of tokens cut from them. */
#ifndef PARE_CORPUS_H
#define PARE_CORPUS_H

#include "pare/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A text file, as every command reads it.
 *
 * gzip and bzip2 are expanded, up to 64 MiB and 256 times the file's size. What is no UTF-8 text is refused with a name and a way to make
 * text of it: other compressed files, archives, tables, models, UTF-16 and UTF-32, and whatever has more than one ill-formed or control
 * character in a hundred (or one in a thousand, when hardly any character beyond ASCII is well-formed: another encoding). Fewer of them
 * are a note, and ill-formed ones are read as U+FFFD.
 *
 * A file is rows of JSON when its name ends in .jsonl, .ndjson, .jsonlines or .json (in any case, .gz or .bz2 behind it), or when its first
 * rows are of a shape below (a note says so). Rows are JSON lines, the items of one array, or objects one behind the other; an item is at
 * most 64 MiB long. Each is a document, the first of these that the object has:
 *   {"prompt": …, "response": …}                 the two as they are, one behind the other; "completion" is "response". Both may be lists
 *                                                of messages
 *   {"instruction": …, "input": …, "output": …}  the Alpaca fields; input may be absent or empty. The prompt is instruction,
 *                                                blank line, input, blank line (without the input: instruction, blank line)
 *   {"messages": [{"role": …, "content": …}, …]} by the model's chat template: ChatML, Llama-3, Gemma, Zephyr or Mistral; another one is
 *                                                refused. "conversations" with "from" and "value" is the same
 *   {"text": …}
 * A row whose text is null is skipped, and counted in a note. */
typedef struct {
    const char *path;
    const char *bytes; /* UTF-8, but for what a note told */
    size_t length;
    bool rows;   /* of JSON */
    bool mapped; /* bytes are pages of the file, which the system can read again */
    pare_map map;
    void *own; /* bytes that were expanded */
} pare_text_file;
/* path must live as long. context: for notes; may be NULL. Empty files are refused. */
bool pare_text_file_open(pare_text_file *file, const char *path, const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_text_file_close(pare_text_file *file);

/* A text with its identity. */
typedef struct {
    const char *bytes; /* the text; of rows the documents, a blank line between them */
    size_t length;
    pare_sha256 sha256; /* of the file's bytes; of a compressed file, of what it expands to */
    pare_text_file file;
    pare_string joined;
} pare_corpus;

/* tokenizer: whose chat template renders messages; what it has to say (pare_tokenizer_note) becomes a note of `context`. */
bool pare_corpus_open(pare_corpus *corpus, const char *path, const pare_tokenizer *tokenizer, const pare_context *context,
                      pare_error *error) PARE_MUST_CHECK;
/* The text as the data sets of the field have it: its lines are rows, each with its line end, blank ones empty; joined by two newlines.
 * As Python reads a text file, \r\n and \r end a line and become \n, and a line is blank when str.strip() leaves nothing of it. Rows of
 * JSON are the rows themselves. */
bool pare_corpus_join(pare_string *joined, const pare_corpus *corpus, pare_error *error) PARE_MUST_CHECK;
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
