/* fuzz_tokenizer: input = tokenizer.json, a zero byte, text. With no JSON the text goes through a small tokenizer of each
 * kind that is known by name. */
#include <stdlib.h>
#include <string.h>

#include "pare/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_BYTES = 256, N_WORDS = 6, N_TOKENS = N_BYTES + N_WORDS + 1, N_KINDS = 4 };

static bool is_printable(unsigned c) {
    return (c >= '!' && c <= '~') || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

/* The byte-level alphabet, here once more so that the target stands on the public face alone. */
static size_t spell(char out[3], unsigned byte) {
    unsigned point = is_printable(byte) ? byte : 0x100;
    for (unsigned c = 0; c < byte && !is_printable(byte); c++)
        point += !is_printable(c);
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    out[0] = (char)(0xC0 | point >> 6);
    out[1] = (char)(0x80 | (point & 0x3F));
    return 2;
}

static pare_tokenizer *open_kind(const char *pre) {
    static char spellings[N_BYTES][3];
    static const char *const words[N_WORDS] = {"th", "the", "\xC4\xA0the", "\xC4\xA0\xC4\xA0", "12", "\xC3\x8C\xC4\xA3"};
    static const char *const lines[] = {"t h", "th e", "\xC4\xA0 the", "\xC4\xA0 \xC4\xA0", "1 2", "\xC3\x8C \xC4\xA3"};
    pare_piece tokens[N_TOKENS], merges[N_WORDS];
    int32_t types[N_TOKENS] = {0};
    for (unsigned byte = 0; byte < N_BYTES; byte++)
        tokens[byte] = (pare_piece){spellings[byte], spell(spellings[byte], byte)};
    for (size_t i = 0; i < N_WORDS; i++) {
        tokens[N_BYTES + i] = (pare_piece){words[i], strlen(words[i])};
        merges[i] = (pare_piece){lines[i], strlen(lines[i])};
    }
    tokens[N_TOKENS - 1] = (pare_piece){"<|end|>", 7};
    types[N_TOKENS - 1] = PARE_TOKEN_CONTROL;
    const pare_tokenizer_parts parts = {
        .pre = pre, .tokens = tokens, .types = types, .n_tokens = N_TOKENS, .merges = merges, .n_merges = N_WORDS, .bos = -1, .eos = -1};
    return pare_tokenizer_open_parts(&parts, pre, NULL);
}

/* Encodes; all ids must be in range. again: where every byte has a token the pieces are the text, made valid, and so have
 * the same ids. */
static void encode(const pare_tokenizer *tokenizer, const char *text, size_t n, bool again) {
    pare_tokens tokens = {0}, second = {0};
    pare_string back = {0};
    pare_error error = {0};
    bool done = pare_tokenizer_encode(&tokens, tokenizer, text, n, true, &error);
    if (done == (error.code != PARE_OK))
        abort();
    for (size_t i = 0; i < tokens.n; i++) {
        if (tokens.ids[i] >= pare_tokenizer_size(tokenizer))
            abort();
        pare_piece piece = pare_tokenizer_piece(tokenizer, tokens.ids[i]);
        pare_string_push(&back, piece.bytes, piece.length);
    }
    if (again) {
        if (!done || back.length < n || !pare_tokenizer_encode(&second, tokenizer, back.data ? back.data : "", back.length, true, &error))
            abort();
        if (second.n != tokens.n || (tokens.n && memcmp(second.ids, tokens.ids, tokens.n * sizeof *tokens.ids) != 0))
            abort();
    }
    pare_string_free(&back);
    pare_tokens_free(&tokens);
    pare_tokens_free(&second);
}

static void encode_by_json(const char *json, size_t n_json, const char *text, size_t n) {
    pare_error error = {0};
    pare_tokenizer *tokenizer = pare_tokenizer_open_json(json, n_json, "input", &error);
    if (!tokenizer) {
        if (error.code == PARE_OK || !*error.message)
            abort();
        return;
    }
    encode(tokenizer, text, n, false);
    pare_tokenizer_close(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[N_KINDS] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};
    static pare_tokenizer *kinds[N_KINDS];
    const char *bytes = (const char *)data, *zero = size ? memchr(bytes, 0, size) : NULL;
    size_t n_json = zero ? (size_t)(zero - bytes) : size;
    const char *text = zero ? zero + 1 : "the  don't 12345\r\n\xC3\xA9\xFF<|end|>";
    size_t n = zero ? size - n_json - 1 : strlen(text);
    if (n_json > 0) {
        encode_by_json(bytes, n_json, text, n);
        return 0;
    }
    for (size_t i = 0; i < N_KINDS; i++) {
        if (!kinds[i] && !(kinds[i] = open_kind(names[i])))
            abort();
        encode(kinds[i], text, n, i < 3); /* qwen2 normalises */
    }
    return 0;
}
