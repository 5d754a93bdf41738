/* protocol: a text becomes windows of tokens and the positions that are scored. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pare/eval.h"

bool pare_protocol_parse(pare_protocol *protocol, const char *name, pare_error *error) {
    bool gguf = strncmp(name, "gguf", 4) == 0, joined = strncmp(name, "joined", 6) == 0;
    const char *digits = name + (gguf ? 4 : 6);
    size_t n = gguf || joined ? strlen(digits) : 0;
    if (n == 0 || n > 7 || strspn(digits, "0123456789") != n || digits[0] == '0')
        return pare_fail(error, PARE_ERROR_USAGE,
                         "unknown protocol \"%s\"; there are joined2048 (what papers report for the data set wikitext2), gguf512 (as "
                         "llama.cpp's llama-perplexity), both with other window lengths too, like joined512, and words (pare eval "
                         "alone)",
                         name);
    unsigned long length = strtoul(digits, NULL, 10);
    if (length < (gguf ? 4u : 2u))
        return pare_fail(error, PARE_ERROR_USAGE, "protocol \"%s\": windows of %lu tokens score nothing", name, length);
    *protocol = (pare_protocol){.kind = gguf ? PARE_PROTOCOL_GGUF : PARE_PROTOCOL_JOINED, .length = (uint32_t)length};
    snprintf(protocol->name, sizeof protocol->name, "%s%lu", gguf ? "gguf" : "joined", length);
    return true;
}

/* Whole windows of the tokens; the tail is dropped. */
static bool cut_windows(pare_eval_text *text, const pare_tokens *tokens, const char *path, pare_error *error) {
    size_t length = text->protocol.length, n = tokens->n / length, least = text->protocol.kind == PARE_PROTOCOL_GGUF ? 2 : 1;
    if (n < least)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: %zu tokens; %s needs at least %zu", path, tokens->n, text->protocol.name,
                         least * length);
    text->windows = (pare_windows){.n = n, .length = length, .tokens_in_text = tokens->n};
    text->windows.ids = pare_allocate(n * length, sizeof *tokens->ids, error);
    if (!text->windows.ids)
        return false;
    memcpy(text->windows.ids, tokens->ids, n * length * sizeof *tokens->ids);
    return true;
}

bool pare_eval_text_open(pare_eval_text *text, const pare_protocol *protocol, const char *path, const pare_tokenizer *tokenizer,
                         const pare_context *context, pare_error *error) {
    *text = (pare_eval_text){.protocol = *protocol, .bos = pare_tokenizer_bos(tokenizer)};
    bool joined = protocol->kind == PARE_PROTOCOL_JOINED;
    text->first_scored = joined ? 0 : protocol->length / 2;
    text->special_rule = joined ? "token" : "text";
    text->bos_rule = text->bos < 0 ? "none" : joined ? "start of text" : "first token of every window";
    pare_corpus corpus;
    if (!pare_corpus_open(&corpus, path, tokenizer, context, error))
        return false;
    text->data_sha256 = corpus.sha256;
    pare_string rows = {0};
    pare_tokens tokens = {0};
    bool done = (!joined || pare_corpus_join(&rows, &corpus, error)) &&
                pare_tokenizer_encode(&tokens, tokenizer, joined ? rows.data : corpus.bytes, joined ? rows.length : corpus.length,
                                      joined ? PARE_ENCODE_TEMPLATE : PARE_ENCODE_TEMPLATE | PARE_ENCODE_LLAMA_CPP, error) &&
                cut_windows(text, &tokens, path, error);
    if (done && text->bos >= 0 && !joined)
        for (size_t i = 0; i < text->windows.n; i++)
            text->windows.ids[i * protocol->length] = (uint32_t)text->bos;
    pare_tokens_free(&tokens);
    pare_string_free(&rows);
    pare_corpus_close(&corpus);
    return done;
}

void pare_eval_text_close(pare_eval_text *text) {
    pare_windows_free(&text->windows);
    *text = (pare_eval_text){0};
}
