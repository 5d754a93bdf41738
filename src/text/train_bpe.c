/* train_bpe: a byte-level BPE tokenizer learnt from texts: special tokens, the byte alphabet of GPT-2, then merges; put
 * together by the same reader that takes a tokenizer from a GGUF file. */
#include <string.h>

#include "train_bpe.h"

/* The most bytes that all tokens together may take: periodic texts can ask for tokens as long as themselves. */
static const uint64_t SPELLED_MOST = (uint64_t)1 << 30;
enum { VOCABULARY_MOST = 1 << 24 };

struct pare_bpe_trainer {
    pare_arena *arena;
    const char *pre;
    size_t n_special, vocabulary;
    pare_piece *special;
    uint64_t min_frequency, n_bytes;
    pare_train_splitter splitter;
    pare_train_words words;
};

/* ---- open -------------------------------------------------------------------------------------- */

/* The stages before the words, read off a tokenizer with this pre-tokeniser: one table says what a name means. */
static bool set_splitter(pare_train_splitter *splitter, const char *pre, pare_error *error) {
    const pare_piece byte = {"a", 1};
    const pare_tokenizer_parts parts = {.pre = pre, .tokens = &byte, .n_tokens = 1, .bos = -1, .eos = -1, .unknown = -1, .padding = -1};
    pare_tokenizer *like = pare_tokenizer_open_parts(&parts, "BPE training", error);
    if (!like)
        return false;
    const pare_step *last = &like->steps[like->n_steps - 1];
    splitter->kind = last->kind;
    splitter->digits = last->digits;
    splitter->digits_apart = like->n_steps == 2;
    splitter->nfc = like->nfc;
    bool known = (like->n_steps == 1 || (like->n_steps == 2 && like->steps[0].kind == PARE_STEP_DIGITS)) &&
                 (last->kind == PARE_STEP_GPT2 || last->kind == PARE_STEP_CL100K);
    pare_tokenizer_close(like);
    return known || pare_fail(error, PARE_ERROR_UNSUPPORTED, "BPE training: the pre-tokeniser \"%s\" cannot be trained for", pre);
}

static bool copy_special(pare_bpe_trainer *trainer, const pare_bpe_options *options, pare_error *error) {
    trainer->n_special = options->n_special;
    trainer->special = PARE_PUSH(trainer->arena, pare_piece, options->n_special, error);
    if (!trainer->special)
        return false;
    for (size_t i = 0; i < options->n_special; i++) {
        pare_piece token = options->special[i];
        if (token.length == 0)
            return pare_fail(error, PARE_ERROR_RANGE, "special token %zu is empty", i);
        if (pare_utf8_valid((const uint8_t *)token.bytes, token.length) < token.length || memchr(token.bytes, '\0', token.length))
            return pare_fail(error, PARE_ERROR_RANGE, "special token %zu is not UTF-8 text without zero bytes", i);
        for (size_t j = 0; j < i; j++)
            if (trainer->special[j].length == token.length && memcmp(trainer->special[j].bytes, token.bytes, token.length) == 0)
                return pare_fail(error, PARE_ERROR_RANGE, "the special token \"%.*s\" is there twice",
                                 (int)(token.length < 100 ? token.length : 100), token.bytes);
        char *copy = pare_arena_copy(trainer->arena, token.bytes, token.length, error);
        if (!copy)
            return false;
        trainer->special[i] = (pare_piece){copy, token.length};
    }
    return true;
}

/* Special tokens that are spelled like a byte are that byte. */
static size_t least_vocabulary(const pare_bpe_trainer *trainer) {
    size_t least = 256 + trainer->n_special;
    for (size_t i = 0; i < trainer->n_special; i++) {
        const uint8_t *bytes = (const uint8_t *)trainer->special[i].bytes;
        bool one = trainer->special[i].length == pare_utf8_length(bytes[0]);
        least -= one && pare_byte_of_character(pare_utf8_decode(bytes)) >= 0;
    }
    return least;
}

static bool set_options(pare_bpe_trainer *trainer, const pare_bpe_options *options, pare_error *error) {
    trainer->vocabulary = options->vocabulary;
    trainer->min_frequency = options->min_frequency;
    if (options->n_special > VOCABULARY_MOST || options->vocabulary > VOCABULARY_MOST)
        return pare_fail(error, PARE_ERROR_RANGE, "a vocabulary of %zu is too large: at most %d", options->vocabulary, VOCABULARY_MOST);
    if (!set_splitter(&trainer->splitter, options->pre, error) || !copy_special(trainer, options, error))
        return false;
    size_t least = least_vocabulary(trainer);
    if (options->vocabulary < least)
        return pare_fail(error, PARE_ERROR_RANGE, "a vocabulary of %zu is too small: 256 bytes and %zu special token%s take %zu",
                         options->vocabulary, options->n_special, options->n_special == 1 ? "" : "s", least);
    trainer->pre = pare_arena_copy(trainer->arena, options->pre, strlen(options->pre), error);
    return trainer->pre != NULL;
}

pare_bpe_trainer *pare_bpe_trainer_open(const pare_bpe_options *options, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_bpe_trainer *trainer = arena ? PARE_PUSH(arena, pare_bpe_trainer, 1, error) : NULL;
    if (!trainer) {
        pare_arena_close(arena);
        return NULL;
    }
    trainer->arena = arena;
    if (set_options(trainer, options, error))
        return trainer;
    pare_bpe_trainer_close(trainer);
    return NULL;
}

void pare_bpe_trainer_close(pare_bpe_trainer *trainer) {
    if (!trainer)
        return;
    pare_train_words_free(&trainer->words);
    pare_train_splitter_free(&trainer->splitter);
    pare_arena_close(trainer->arena);
}

bool pare_bpe_trainer_feed(pare_bpe_trainer *trainer, const char *text, size_t n, const pare_context *context, pare_error *error) {
    trainer->n_bytes += n;
    return pare_train_split(&trainer->words, &trainer->splitter, text, n, context, error);
}

/* ---- tokens ------------------------------------------------------------------------------------ */

bool pare_train_token(uint32_t *id, pare_train_tokens *tokens, const char *spelled, size_t spelled_length, uint32_t length,
                      pare_error *error) {
    *id = pare_piece_map_find(&tokens->ids, spelled, spelled_length);
    if (*id != PARE_NO_ID) {
        tokens->lengths[*id] = length; /* a special token may be spelled like bytes of text */
        return true;
    }
    tokens->spelled_bytes += spelled_length;
    if (tokens->spelled_bytes > SPELLED_MOST)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "the tokens grow without end (%zu take more than 1 GiB): the text has long stretches without a boundary that "
                         "repeat; ask for a smaller vocabulary or leave such stretches out",
                         tokens->n);
    char *copy = pare_arena_copy(tokens->arena, spelled, spelled_length, error);
    if (!copy)
        return false;
    *id = (uint32_t)tokens->n;
    tokens->spelled[tokens->n] = (pare_piece){copy, spelled_length};
    tokens->lengths[tokens->n++] = length;
    pare_piece_map_add(&tokens->ids, *id);
    return true;
}

/* Special tokens, then the alphabet by its characters' code points. */
static bool first_tokens(pare_train_tokens *tokens, uint32_t byte_ids[256], const pare_bpe_trainer *trainer, pare_error *error) {
    /* every merge takes at least one symbol away, so there cannot be more of them than bytes */
    tokens->capacity = trainer->n_special + 256 + trainer->words.pool_length;
    if (tokens->capacity > trainer->vocabulary)
        tokens->capacity = trainer->vocabulary;
    tokens->spelled = PARE_PUSH(tokens->arena, pare_piece, tokens->capacity, error);
    tokens->lengths = PARE_PUSH(tokens->arena, uint32_t, tokens->capacity, error);
    if (!tokens->spelled || !tokens->lengths || !pare_piece_map_init(&tokens->ids, tokens->spelled, tokens->capacity, tokens->arena, error))
        return false;
    uint32_t id;
    for (size_t i = 0; i < trainer->n_special; i++)
        if (!pare_train_token(&id, tokens, trainer->special[i].bytes, trainer->special[i].length, 0, error))
            return false;
    for (uint32_t point = 0; point < 0x144; point++) {
        int byte = pare_byte_of_character(point);
        char character[4];
        if (byte >= 0 && !pare_train_token(&byte_ids[byte], tokens, character, pare_utf8_encode(character, point), 1, error))
            return false;
    }
    return true;
}

/* ---- the tokenizer ----------------------------------------------------------------------------- */

/* "left right" for each merge: byte-level spelling has no space in it. */
static bool spell_merges(pare_piece *lines, pare_string *text, const pare_train_tokens *tokens, pare_error *error) {
    for (size_t i = 0; i < tokens->n_merges; i++) {
        pare_piece left = tokens->spelled[tokens->merges[i] >> 32], right = tokens->spelled[tokens->merges[i] & UINT32_MAX];
        pare_string_push(text, left.bytes, left.length);
        pare_string_push(text, " ", 1);
        pare_string_push(text, right.bytes, right.length);
        lines[i].length = left.length + right.length + 1;
    }
    if (!pare_string_check(text, error))
        return false;
    const char *at = text->data;
    for (size_t i = 0; i < tokens->n_merges; i++, at += lines[i - 1].length)
        lines[i].bytes = at;
    return true;
}

static pare_tokenizer *build(const pare_train_tokens *tokens, const pare_bpe_trainer *trainer, pare_error *error) {
    pare_piece *lines = PARE_PUSH(tokens->arena, pare_piece, tokens->n_merges, error);
    int32_t *types = PARE_PUSH(tokens->arena, int32_t, tokens->n, error);
    pare_string text = {0};
    pare_tokenizer *tokenizer = NULL;
    if (lines && types && spell_merges(lines, &text, tokens, error)) {
        for (size_t i = 0; i < tokens->n; i++)
            types[i] = i < trainer->n_special ? PARE_TOKEN_CONTROL : PARE_TOKEN_NORMAL;
        const pare_tokenizer_parts parts = {.pre = trainer->pre,
                                            .tokens = tokens->spelled,
                                            .types = types,
                                            .n_tokens = tokens->n,
                                            .merges = lines,
                                            .n_merges = tokens->n_merges,
                                            .bos = -1,
                                            .eos = -1,
                                            .unknown = -1,
                                            .padding = -1};
        tokenizer = pare_tokenizer_open_parts(&parts, "the trained tokenizer", error);
    }
    pare_string_free(&text);
    return tokenizer;
}

/* Each different word is encoded once. */
static bool count_tokens(uint64_t *n, const pare_train_words *words, const pare_tokenizer *tokenizer, pare_error *error) {
    pare_bpe bpe = {0};
    pare_tokens ids = {0};
    bool done = true;
    *n = 0;
    for (size_t i = 0; done && i < words->n; i++) {
        const pare_train_word *word = &words->words[i];
        ids.n = 0;
        done = pare_bpe_push(&ids, &bpe, tokenizer, words->pool + word->offset, word->length, error);
        *n += ids.n * word->count;
    }
    pare_tokens_free(&ids);
    pare_bpe_free(&bpe);
    return done;
}

pare_tokenizer *pare_bpe_trainer_finish(pare_bpe_summary *summary, pare_bpe_trainer *trainer, const pare_context *context,
                                        pare_error *error) {
    if (trainer->words.n == 0) {
        pare_fail(error, PARE_ERROR_RANGE, "there is no text to train a tokenizer on");
        return NULL;
    }
    pare_train_tokens tokens = {.arena = pare_arena_open(error)};
    uint32_t byte_ids[256] = {0};
    pare_tokenizer *tokenizer = NULL;
    pare_bpe_summary found = {.bytes = trainer->n_bytes, .words = trainer->words.n_seen, .different_words = trainer->words.n};
    if (tokens.arena && first_tokens(&tokens, byte_ids, trainer, error) &&
        pare_train_merges(&tokens, &trainer->words, byte_ids, trainer->min_frequency, context, error))
        tokenizer = build(&tokens, trainer, error);
    pare_free(tokens.merges);
    pare_arena_close(tokens.arena);
    if (tokenizer && !count_tokens(&found.tokens, &trainer->words, tokenizer, error)) {
        pare_tokenizer_close(tokenizer);
        return NULL;
    }
    if (tokenizer) {
        found.vocabulary = tokenizer->n_ids;
        found.merges = tokenizer->merges.n;
    }
    if (summary)
        *summary = found;
    return tokenizer;
}
