/* fuzz_text: input = a byte that chooses, then a file, rows, or a chat template. 0: a file as every command opens it; 1: rows, whose
 * documents must lie in order; 2: a template, which messages are rendered by; 3: compressed bytes, which must not expand beyond a bound. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dataset_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition) {
    if (!condition)
        abort();
}

static void open_as_file(const uint8_t *data, size_t n) {
    char path[64];
    int fd = memfd_create("text", 0);
    must(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    pare_corpus corpus;
    pare_error error = {0};
    pare_string joined = {0};
    bool done = pare_corpus_open(&corpus, path, NULL, NULL, &error);
    must(done == (error.code == PARE_OK) && (!done || corpus.length > 0));
    if (done) {
        must(pare_corpus_join(&joined, &corpus, &error));
        must(joined.length == 0 || !memchr(joined.data, '\r', joined.length) || corpus.file.rows);
        pare_corpus_close(&corpus);
    }
    pare_string_free(&joined);
    close(fd);
}

typedef struct {
    size_t done;
    bool more;
} progress;

static bool check_document(void *user, const pare_document *document, size_t done, pare_error *error) {
    (void)error;
    progress *p = user;
    must(done >= p->done && document->continues == p->more && (document->continues || done > p->done));
    *p = (progress){done, document->more};
    return true;
}

static void read_rows(const uint8_t *data, size_t n) {
    const pare_text_file file = {.path = "t", .bytes = (const char *)data, .length = n, .rows = true};
    const pare_source source = {.file = &file};
    progress p = {0};
    pare_error error = {0};
    bool done = pare_source_read(&source, check_document, &p, NULL, &error);
    must(done == (error.code == PARE_OK) && !(done && p.more));
}

static void render(const uint8_t *data, size_t n) {
    static const pare_piece tokens[] = {{"a", 1}, {"b", 1}};
    const pare_tokenizer_parts parts = {.pre = "gpt-2", .tokens = tokens, .n_tokens = 2, .bos = -1, .eos = -1};
    pare_error error = {0};
    pare_tokenizer *tokenizer = pare_tokenizer_open_parts(&parts, "fuzz", &error);
    const pare_chat_template chat = {.text = (const char *)data, .length = n, .bos = "<s>", .eos = "</s>"};
    must(tokenizer && pare_tokenizer_set_chat(tokenizer, &chat, &error));
    json_t *messages = json_loads("[{\"role\": \"user\", \"content\": \" a \"}, {\"role\": \"assistant\", \"content\": \"b\"}]", 0, NULL);
    pare_chat_text text = {0};
    if (pare_chat_render(&text, tokenizer, messages, "t", &error)) {
        size_t length = 0;
        for (size_t i = 0; i < text.n; i++)
            length += text.stretches[i].length;
        must(length == text.text.length && strchr(text.text.data, 'a') && text.stretches[text.n - 1].learned);
    }
    pare_chat_text_free(&text);
    json_decref(messages);
    pare_tokenizer_close(tokenizer);
}

static void expand(const uint8_t *data, size_t n) {
    enum { MOST = 100000 };
    pare_bytes out = {0};
    pare_error error = {0};
    pare_kind kind = pare_kind_of(data, n).kind;
    bool done = pare_expand(&out, kind == PARE_KIND_BZIP2 ? kind : PARE_KIND_GZIP, data, n, MOST, "t", &error);
    must(done == (error.code == PARE_OK) && out.length <= MOST + 1 && (!done || out.length <= MOST));
    pare_free(out.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const ways[])(const uint8_t *, size_t) = {open_as_file, read_rows, render, expand};
    if (size > 0)
        ways[data[0] % 4](data + 1, size - 1);
    return 0;
}
