/* train_bpe_words: a text to its different words with their counts. The words are those that the tokenizer will see: the same
 * replacement of ill-formed UTF-8, the same NFC, the same pre-tokeniser. A text is taken in stretches of about a mebibyte, so
 * that neither replacement nor NFC needs memory for more; it is cut between an ASCII letter or digit and a blank, where no
 * pre-tokeniser here has a word across, where none looks across, and where no character composes. */
#include <string.h>

#include "train_bpe.h"

enum { STRETCH_BYTES = 1 << 20, SLOTS_FIRST = 1 << 14 };

/* ---- the map ----------------------------------------------------------------------------------- */

static uint64_t *slot_for(uint64_t *slots, size_t mask, uint64_t hash) {
    size_t at = (size_t)(hash >> 8) & mask;
    while (slots[at])
        at = (at + 1) & mask;
    return &slots[at];
}

/* At most half full. */
static bool grow_slots(pare_train_words *words, pare_error *error) {
    size_t size = words->slots ? 2 * (words->mask + 1) : SLOTS_FIRST;
    uint64_t *slots = pare_allocate(size, sizeof *slots, error);
    if (!slots)
        return false;
    for (size_t i = 0; i < words->n; i++) {
        uint64_t hash = pare_text_hash(words->pool + words->words[i].offset, words->words[i].length);
        *slot_for(slots, size - 1, hash) = (hash & ~(uint64_t)UINT32_MAX) | (i + 1);
    }
    pare_free(words->slots);
    words->slots = slots;
    words->mask = size - 1;
    return true;
}

static bool add_new(pare_train_words *words, uint64_t hash, const char *word, size_t length, pare_error *error) {
    /* the merges number every byte and one separator a word with 32 bits, two numbers apart */
    if (length > UINT32_MAX - 4 || words->pool_length + length + words->n > UINT32_MAX - 4)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "the different words of the text take more than 4 GiB (now one of %zu bytes): train on a part of it", length);
    if (!pare_grow((void **)&words->words, &words->capacity, words->n + 1, sizeof *words->words, error) ||
        !pare_grow((void **)&words->pool, &words->pool_capacity, words->pool_length + length, 1, error))
        return false;
    if (2 * (words->n + 1) > words->mask + 1 && !grow_slots(words, error))
        return false;
    memcpy(words->pool + words->pool_length, word, length);
    words->words[words->n] = (pare_train_word){(uint32_t)words->pool_length, (uint32_t)length, 1};
    words->pool_length += length;
    words->n++;
    *slot_for(words->slots, words->mask, hash) = (hash & ~(uint64_t)UINT32_MAX) | words->n;
    return true;
}

bool pare_train_words_add(pare_train_words *words, const char *word, size_t length, pare_error *error) {
    if (!words->slots && !grow_slots(words, error))
        return false;
    uint64_t hash = pare_text_hash(word, length), *slots = words->slots;
    words->n_seen++;
    for (size_t at = (size_t)(hash >> 8) & words->mask; slots[at]; at = (at + 1) & words->mask) {
        if ((slots[at] ^ hash) >> 32)
            continue;
        pare_train_word *found = &words->words[(slots[at] & UINT32_MAX) - 1];
        if (found->length == length && memcmp(words->pool + found->offset, word, length) == 0) {
            found->count++;
            return true;
        }
    }
    return add_new(words, hash, word, length, error);
}

void pare_train_words_free(pare_train_words *words) {
    pare_free(words->words);
    pare_free(words->pool);
    pare_free(words->slots);
    *words = (pare_train_words){0};
}

/* ---- words of a text --------------------------------------------------------------------------- */

static bool add_words(pare_train_words *words, const pare_train_splitter *splitter, const char *text, size_t n, pare_error *error) {
    const uint8_t *at = (const uint8_t *)text, *end = at + n;
    while (at < end) {
        size_t length = splitter->kind == PARE_STEP_GPT2 ? pare_scan_gpt2(at, end) : pare_scan_cl100k(at, end, splitter->digits);
        if (!pare_train_words_add(words, (const char *)at, length, error))
            return false;
        at += length;
    }
    return true;
}

/* Each number is a stretch of its own for the scanner: "a1 2" is "a", "1", " ", "2". */
static bool add_digits_apart(pare_train_words *words, const pare_train_splitter *splitter, const char *text, size_t n, pare_error *error) {
    size_t from = 0;
    for (size_t at = 0, length; at < n; at += length) {
        const uint8_t *character = (const uint8_t *)text + at;
        length = pare_utf8_length(*character);
        if (!(pare_unicode_class(pare_utf8_decode(character)) & PARE_CHAR_NUMERIC))
            continue;
        if (!add_words(words, splitter, text + from, at - from, error) || !add_words(words, splitter, text + at, length, error))
            return false;
        from = at + length;
    }
    return add_words(words, splitter, text + from, n - from, error);
}

static bool add_stretch(pare_train_words *words, pare_train_splitter *splitter, const char *text, size_t n, pare_error *error) {
    if (pare_utf8_valid((const uint8_t *)text, n) < n) {
        splitter->valid.length = 0;
        if (!pare_utf8_replace(&splitter->valid, (const uint8_t *)text, n, error))
            return false;
        text = splitter->valid.data;
        n = splitter->valid.length;
    }
    if (splitter->nfc && pare_nfc_needed(text, n)) {
        splitter->normal.length = 0;
        if (!pare_nfc_push(&splitter->normal, &splitter->scratch, text, n, error))
            return false;
        text = splitter->normal.data;
        n = splitter->normal.length;
    }
    return splitter->digits_apart ? add_digits_apart(words, splitter, text, n, error) : add_words(words, splitter, text, n, error);
}

static bool is_ascii_alphanumeric(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Where the stretch that begins at `from` ends. */
static size_t stretch_end(const char *text, size_t n, size_t from) {
    if (n - from <= STRETCH_BYTES)
        return n;
    for (size_t at = from + STRETCH_BYTES; at < n; at++)
        if ((text[at] == ' ' || text[at] == '\n') && is_ascii_alphanumeric(text[at - 1]))
            return at;
    return n;
}

bool pare_train_split(pare_train_words *words, pare_train_splitter *splitter, const char *text, size_t n, const pare_context *context,
                      pare_error *error) {
    for (size_t from = 0, end; from < n; from = end) {
        end = stretch_end(text, n, from);
        if (!pare_context_check(context, error) || !add_stretch(words, splitter, text + from, end - from, error))
            return false;
        pare_context_progress(context, "count words", (double)end, (double)n);
    }
    return true;
}

void pare_train_splitter_free(pare_train_splitter *splitter) {
    pare_free(splitter->valid.data);
    pare_free(splitter->normal.data);
    pare_nfc_free(&splitter->scratch);
    *splitter = (pare_train_splitter){0};
}
