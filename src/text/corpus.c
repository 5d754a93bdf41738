/* corpus: a text file, or the "text" fields of JSONL, with its hash; and seeded calibration windows cut from its tokens. */
#include "pare/corpus.h"

#include <string.h>

#include "jsonl.h"

/* One blank line between documents. */
static bool join_lines(pare_corpus *corpus, const char *path, pare_error *error) {
    pare_jsonl lines = {.path = path, .at = (const char *)corpus->map.data, .longest_line = SIZE_MAX};
    lines.end = lines.at + corpus->map.size;
    json_t *line;
    bool done;
    while ((done = pare_jsonl_next(&line, &lines, error)) && line) {
        const json_t *text = json_object_get(line, "text");
        bool found = json_is_string(text);
        if (found) {
            pare_string_print(&corpus->joined, "%s", corpus->joined.length ? "\n\n" : "");
            pare_string_push(&corpus->joined, json_string_value(text), json_string_length(text));
        }
        json_decref(line);
        if (!found) {
            done = pare_fail(error, PARE_ERROR_FORMAT, "%s has no \"text\" string", lines.what);
            break;
        }
    }
    pare_jsonl_free(&lines);
    corpus->bytes = corpus->joined.data;
    corpus->length = corpus->joined.length;
    return done && pare_string_check(&corpus->joined, error);
}

bool pare_corpus_open(pare_corpus *corpus, const char *path, pare_error *error) {
    *corpus = (pare_corpus){0};
    if (!pare_map_open(&corpus->map, path, error))
        return false;
    corpus->bytes = (const char *)corpus->map.data;
    corpus->length = corpus->map.size;
    bool done = pare_sha256_bytes(&corpus->sha256, corpus->map.data, corpus->map.size, error) &&
                (!pare_path_is_jsonl(path) || join_lines(corpus, path, error));
    if (done && corpus->length == 0)
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: the text is empty", path);
    if (!done)
        pare_corpus_close(corpus);
    return done;
}

void pare_corpus_close(pare_corpus *corpus) {
    pare_map_close(&corpus->map);
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
    bool done = pare_tokenizer_encode(&tokens, tokenizer, corpus->bytes, corpus->length, false, error);
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
