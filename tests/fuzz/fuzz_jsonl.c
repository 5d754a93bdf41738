/* fuzz_jsonl: input = a byte that chooses, then a training text. Even: JSONL; odd: plain text, cut into documents by its second
 * bit. Its documents must lie in order, and what is stored of them must have pieces as whole texts have. */
#include <stdlib.h>
#include <string.h>

#include "dataset_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All bytes, a few merges, an end. */
static pare_tokenizer *open_tokenizer(void) {
    enum { N_BYTES = 256, N_WORDS = 4 };
    static char spellings[N_BYTES][4];
    static const char *const words[N_WORDS] = {"th", "the", "\xC4\xA0the", "\xC4\xA0\xC4\xA0"};
    static const char *const lines[N_WORDS] = {"t h", "th e", "\xC4\xA0 the", "\xC4\xA0 \xC4\xA0"};
    pare_piece tokens[N_BYTES + N_WORDS + 1], merges[N_WORDS];
    int32_t types[N_BYTES + N_WORDS + 1] = {0};
    for (unsigned byte = 0; byte < N_BYTES; byte++)
        tokens[byte] = (pare_piece){spellings[byte], pare_utf8_encode(spellings[byte], pare_byte_character((uint8_t)byte))};
    for (size_t i = 0; i < N_WORDS; i++) {
        tokens[N_BYTES + i] = (pare_piece){words[i], strlen(words[i])};
        merges[i] = (pare_piece){lines[i], strlen(lines[i])};
    }
    tokens[N_BYTES + N_WORDS] = (pare_piece){"<|end|>", 7};
    types[N_BYTES + N_WORDS] = PARE_TOKEN_CONTROL;
    const pare_tokenizer_parts parts = {.pre = "llama-bpe",
                                        .tokens = tokens,
                                        .types = types,
                                        .n_tokens = N_BYTES + N_WORDS + 1,
                                        .merges = merges,
                                        .n_merges = N_WORDS,
                                        .bos = N_BYTES + N_WORDS,
                                        .eos = -1,
                                        .unknown = -1,
                                        .padding = -1,
                                        .add_bos = true};
    return pare_tokenizer_open_parts(&parts, "fuzz", NULL);
}

static bool check_document(void *user, const pare_document *document, size_t done, pare_error *error) {
    (void)error;
    size_t *before = user;
    if (done <= *before || document->text.length + document->prompt.length == 0)
        abort();
    *before = done;
    return true;
}

static void check_stored(const pare_stored *stored, size_t vocabulary) {
    uint64_t start = 0;
    for (uint64_t i = 0; i < stored->n_documents; i++) {
        const pare_stored_document *d = &stored->documents[i];
        if (d->end <= start || d->masked > d->end - start || d->flags > PARE_STORED_FLAGS)
            abort();
        start = d->end;
    }
    if (start != stored->n_tokens)
        abort();
    for (uint64_t i = 0; i < stored->n_tokens; i++)
        if (pare_stored_id(stored, i) >= vocabulary)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static pare_tokenizer *tokenizer;
    if (!tokenizer && !(tokenizer = open_tokenizer()))
        abort();
    if (size == 0)
        return 0;
    const pare_text_file file = {.path = "t", .bytes = (const char *)data + 1, .length = size - 1, .rows = !(data[0] & 1)};
    const pare_source source = {.file = &file, .split = data[0] & 2};
    pare_error error = {0};
    size_t done = 0;
    bool read = pare_source_read(&source, check_document, &done, NULL, &error);
    if (read == (error.code != PARE_OK))
        abort();
    pare_stored whole, pieces;
    pare_recipe recipe = {&source, 1, PARE_PIECE_BYTES, tokenizer, 7, NULL, {{0}}};
    bool made = pare_stored_make(&whole, &recipe, NULL, &error);
    if (!made) {
        if (read && done > 0)
            abort();
        return 0;
    }
    check_stored(&whole, pare_tokenizer_size(tokenizer));
    recipe.piece_bytes = 24;
    if (!pare_stored_make(&pieces, &recipe, NULL, &error))
        abort();
    check_stored(&pieces, pare_tokenizer_size(tokenizer));
    if (pieces.forced_cuts == 0 && (pieces.n_tokens != whole.n_tokens || memcmp(pieces.ids, whole.ids, whole.n_tokens * whole.width) != 0))
        abort();
    pare_stored_close(&whole);
    pare_stored_close(&pieces);
    return 0;
}
