/* corpus: a text file as one text, with its hash; and seeded calibration windows cut from its tokens. */
#include "pare/corpus.h"

#include <string.h>

#include "text_file.h"

typedef struct {
    pare_string *out;
    bool first;
} joiner;

static bool join_document(void *user, const pare_document *document, size_t done, pare_error *error) {
    (void)done;
    joiner *j = user;
    if (!document->continues && !j->first)
        pare_string_push(j->out, "\n\n", 2);
    j->first = false;
    pare_string_push(j->out, document->prompt.bytes, document->prompt.length);
    pare_string_push(j->out, document->text.bytes, document->text.length);
    return pare_string_check(j->out, error);
}

/* One blank line between documents. */
static bool join_rows(pare_corpus *corpus, const pare_tokenizer *tokenizer, const pare_context *context, pare_error *error) {
    joiner j = {&corpus->joined, true};
    const pare_source source = {.file = &corpus->file, .tokenizer = tokenizer, .empty = true};
    bool done = pare_source_read(&source, join_document, &j, context, error);
    corpus->bytes = corpus->joined.data ? corpus->joined.data : "";
    corpus->length = corpus->joined.length;
    return done;
}

bool pare_corpus_open(pare_corpus *corpus, const char *path, const pare_tokenizer *tokenizer, const pare_context *context,
                      pare_error *error) {
    *corpus = (pare_corpus){0};
    if (!pare_text_file_open(&corpus->file, path, context, error))
        return false;
    corpus->bytes = corpus->file.bytes;
    corpus->length = corpus->file.length;
    if (pare_tokenizer_note(tokenizer))
        pare_context_note(context, "%s", pare_tokenizer_note(tokenizer));
    bool done = pare_sha256_bytes(&corpus->sha256, corpus->bytes, corpus->length, error) &&
                (!corpus->file.rows || join_rows(corpus, tokenizer, context, error));
    if (done && corpus->length == 0)
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: the text is empty", path);
    if (!done)
        pare_corpus_close(corpus);
    return done;
}

/* str.strip() of Python leaves nothing: White_Space, and the four separators that ASCII has. */
static bool blank(const char *line, size_t n) {
    const uint8_t *at = (const uint8_t *)line, *end = at + n;
    if (pare_utf8_valid(at, n) < n)
        return false;
    for (; at < end; at += pare_utf8_length(*at))
        if (!(pare_unicode_class(pare_utf8_decode(at)) & PARE_CHAR_SPACE) && (*at < 0x1C || *at > 0x1F))
            return false;
    return true;
}

/* The end of the line at `at`, before its line end. */
static const char *end_of_line(const char *at, const char *end) {
    while (at < end && *at != '\n' && *at != '\r')
        at++;
    return at;
}

bool pare_corpus_join(pare_string *joined, const pare_corpus *corpus, pare_error *error) {
    const char *at = corpus->bytes, *end = at + corpus->length;
    pare_unicode_init();
    if (corpus->file.rows)
        pare_string_push(joined, at, corpus->length);
    while (at < end && !corpus->file.rows) {
        const char *stop = end_of_line(at, end);
        if (at != corpus->bytes)
            pare_string_push(joined, "\n\n", 2);
        if (!blank(at, (size_t)(stop - at))) {
            pare_string_push(joined, at, (size_t)(stop - at));
            pare_string_push(joined, "\n", stop < end);
        }
        at = stop + (stop < end) + (end - stop > 1 && stop[0] == '\r' && stop[1] == '\n');
    }
    return pare_string_check(joined, error);
}

void pare_corpus_close(pare_corpus *corpus) {
    pare_text_file_close(&corpus->file);
    pare_string_free(&corpus->joined);
    *corpus = (pare_corpus){0};
}

void pare_windows_free(pare_windows *windows) {
    pare_free(windows->ids);
    *windows = (pare_windows){0};
}

bool pare_windows_sample(pare_windows *windows, const pare_corpus *corpus, const char *path, const pare_tokenizer *tokenizer, size_t n,
                         size_t length, uint64_t seed, pare_error *error) {
    *windows = (pare_windows){.n = n, .length = length};
    if (n == 0 || length == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "%zu calibration windows of %zu tokens look at nothing", n, length);
    pare_tokens tokens = {0};
    bool done = pare_tokenizer_encode(&tokens, tokenizer, corpus->bytes, corpus->length, 0, error);
    if (done && (tokens.n < length || tokens.n - length >= UINT32_MAX))
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: %zu tokens, but a calibration window takes %zu", path, tokens.n, length);
    size_t total = 0;
    if (done && !pare_size_multiply(&total, n, length))
        done = pare_fail(error, PARE_ERROR_RANGE, "%zu windows of %zu tokens are too many", n, length);
    if (done)
        done = (windows->ids = pare_allocate(total, sizeof *windows->ids, error)) != NULL;
    if (done) {
        pare_random random;
        pare_random_init(&random, seed, "calibration windows", 0);
        for (size_t i = 0; i < n; i++) {
            size_t start = pare_random_below(&random, (uint32_t)(tokens.n - length + 1));
            memcpy(windows->ids + i * length, tokens.ids + start, length * sizeof *tokens.ids);
        }
        windows->tokens_in_text = tokens.n;
    }
    pare_tokens_free(&tokens);
    return done;
}
