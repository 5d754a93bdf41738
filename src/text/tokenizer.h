/* tokenizer: what a tokenizer is once it is open, and the face of each stage that a text runs through.
 *
 *   text -> valid UTF-8 -> added tokens as written -> normaliser -> normalised added tokens -> pre-tokeniser -> words -> ids
 *           utf8.c         added.c                    nfc.c         added.c                    pretokenize.c    bpe.c
 *
 * encode.c runs the stages; tokenizer_json.c and tokenizer_parts.c fill the struct through the builders in vocabulary.c and bpe.c.
 * Nothing changes after open except the pool of scratches, which a mutex guards.
 */
#ifndef PARE_TEXT_TOKENIZER_H
#define PARE_TEXT_TOKENIZER_H

#include <pthread.h>

#include "pare/text.h"

/* ---- text -------------------------------------------------------------------------------------- */

/* Bytes that grow and are used again from call to call. */
typedef struct {
    char *data;
    size_t length, capacity;
} pare_bytes;
bool pare_bytes_push(pare_bytes *bytes, const void *data, size_t n, pare_error *error) PARE_MUST_CHECK;

/* Length of the well-formed UTF-8 prefix of `n` bytes. */
size_t pare_utf8_valid(const uint8_t *text, size_t n);
/* Length of the ill-formed stretch at `text`, which is not well-formed there: what one U+FFFD stands for. */
size_t pare_utf8_ill_formed(const uint8_t *text, size_t n);
/* Appends the text with U+FFFD for each maximal ill-formed subpart. */
bool pare_utf8_replace(pare_bytes *out, const uint8_t *text, size_t n, pare_error *error) PARE_MUST_CHECK;
/* Bytes of the character that starts with `lead` (well-formed text only). */
static inline size_t pare_utf8_length(uint8_t lead) {
    return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}
/* The code point at `text`, well-formed. */
static inline uint32_t pare_utf8_decode(const uint8_t *text) {
    uint32_t a = text[0];
    if (a < 0x80)
        return a;
    if (a < 0xE0)
        return (a & 0x1F) << 6 | (text[1] & 0x3FU);
    if (a < 0xF0)
        return (a & 0x0F) << 12 | (text[1] & 0x3FU) << 6 | (text[2] & 0x3FU);
    return (a & 0x07) << 18 | (text[1] & 0x3FU) << 12 | (text[2] & 0x3FU) << 6 | (text[3] & 0x3FU);
}
/* Writes the character; returns its length. */
size_t pare_utf8_encode(char out[4], uint32_t point);

/* What pre-tokenisers ask of a character. At most one of letter, number, space is set. */
enum {
    PARE_CHAR_LETTER = 1,    /* \p{L} */
    PARE_CHAR_NUMBER = 2,    /* \p{N} */
    PARE_CHAR_SPACE = 4,     /* White_Space */
    PARE_CHAR_NEWLINE = 8,   /* \r or \n */
    PARE_CHAR_WORD = 16,     /* \w of the added tokens' single_word */
    PARE_CHAR_NUMERIC = 32,  /* the Digits step's idea of a number */
    PARE_CHAR_COMPOSES = 64, /* NFC may change it or reorder it: anything but NFC_Quick_Check = Yes with class 0 */
};
/* Fills the table below; any number of times, from any thread. */
void pare_unicode_init(void);
extern uint8_t pare_unicode_bits[0x110000];
static inline unsigned pare_unicode_class(uint32_t point) {
    return pare_unicode_bits[point];
}

/* Working memory of NFC. */
typedef struct {
    int32_t *points;
    size_t n, capacity;
    int32_t *sorted;
    size_t sorted_capacity;
} pare_nfc;
bool pare_nfc_needed(const char *text, size_t n);
bool pare_nfc_push(pare_bytes *out, pare_nfc *nfc, const char *text, size_t n, pare_error *error) PARE_MUST_CHECK;
void pare_nfc_free(pare_nfc *nfc);

/* ---- vocabulary -------------------------------------------------------------------------------- */

/* From piece to id: open addressing over an array of pieces that lives elsewhere. */
typedef struct {
    uint32_t *slots; /* id + 1; 0: free */
    size_t mask;
    const pare_piece *pieces;
} pare_piece_map;
#define PARE_NO_ID UINT32_MAX
bool pare_piece_map_init(pare_piece_map *map, const pare_piece *pieces, size_t n, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
uint32_t pare_piece_map_find(const pare_piece_map *map, const char *bytes, size_t length); /* PARE_NO_ID: absent */
uint32_t pare_piece_map_add(pare_piece_map *map, uint32_t id);                             /* the id that is there already, or PARE_NO_ID */
uint64_t pare_text_hash(const char *bytes, size_t length);

/* The byte-level alphabet of GPT-2: each byte as one printable character. */
uint32_t pare_byte_character(uint8_t byte);
int pare_byte_of_character(uint32_t point); /* -1: not in the alphabet */

/* ---- merges ------------------------------------------------------------------------------------ */

typedef struct {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank, id;
} pare_merge;
typedef struct {
    pare_merge *slots; /* rank UINT32_MAX: free */
    size_t mask, n;
} pare_merge_table;

/* A word and its ids on one cache line; longer words and longer answers are computed each time. */
enum { PARE_WORD_BYTES = 25, PARE_WORD_IDS = 8, PARE_WORD_SLOTS = 1 << 15 };
typedef struct {
    uint32_t ids[PARE_WORD_IDS];
    uint32_t hash;
    uint8_t used, length, n;
    char bytes[PARE_WORD_BYTES];
} pare_word;

typedef struct {
    uint32_t *symbols, *next, *previous;
    pare_merge *heap;
    size_t symbols_capacity, next_capacity, previous_capacity, heap_capacity, n_heap;
    pare_word *words;
} pare_bpe;
bool pare_bpe_push(pare_tokens *tokens, pare_bpe *bpe, const pare_tokenizer *tokenizer, const char *word, size_t length,
                   pare_error *error) PARE_MUST_CHECK;
void pare_bpe_free(pare_bpe *bpe);

/* ---- added tokens ------------------------------------------------------------------------------ */

typedef struct {
    pare_piece content, pattern; /* pattern: what is looked for, normalised where the token says so */
    uint32_t id;
    bool special, single_word, lstrip, rstrip, normalized;
} pare_added;

/* Patterns in byte order, all different, so that a walk through the text narrows a range. */
typedef struct {
    const pare_added **tokens;
    size_t n;
    bool first[256];
} pare_added_set;
bool pare_added_set_init(pare_added_set *set, const pare_added *tokens, size_t n, bool normalized, const char *what, pare_arena *arena,
                         pare_error *error) PARE_MUST_CHECK;

/* Walks over text; each step gives a stretch of text and the token after it (NULL at the end). */
typedef struct {
    const pare_added_set *set;
    bool no_special; /* special tokens are passed over */
    const char *text;
    size_t n, search, start; /* search: where the next match may begin; start: where the next stretch begins */
} pare_added_walk;
bool pare_added_next(pare_piece *between, const pare_added **token, pare_added_walk *walk); /* false: nothing is left */

/* ---- pre-tokeniser ----------------------------------------------------------------------------- */

typedef enum {
    PARE_STEP_GPT2,    /* the regex inside ByteLevel */
    PARE_STEP_CL100K,  /* the regex of Llama-3 (digits by three) and Qwen2 (digits one by one) */
    PARE_STEP_DIGITS,  /* numbers apart from the rest */
    PARE_STEP_PREFIX,  /* a space in front */
    PARE_STEP_PATTERN, /* any other regex or literal */
} pare_step_kind;
typedef enum {
    PARE_SPLIT_ISOLATED,
    PARE_SPLIT_REMOVED,
    PARE_SPLIT_CONTIGUOUS,
    PARE_SPLIT_MERGED_WITH_PREVIOUS,
    PARE_SPLIT_MERGED_WITH_NEXT,
} pare_split;
typedef struct pare_pattern pare_pattern;
typedef struct {
    pare_step_kind kind;
    const char *regex; /* PATTERN: when it is one that a GGUF's pre-tokeniser is made of, else NULL */
    unsigned digits;   /* CL100K: numbers per word */
    pare_split behaviour;
    bool invert;
    pare_pattern *pattern;
} pare_step;

/* Length of the first word of [text, end), which is not empty. */
size_t pare_scan_gpt2(const uint8_t *text, const uint8_t *end);
size_t pare_scan_cl100k(const uint8_t *text, const uint8_t *end, unsigned digits);

/* llama.cpp's pre-tokeniser "default": each of its regexes splits what the one before left whole. */
enum { PARE_DEFAULT_REGEXES = 4 };
extern const char *const pare_default_regexes[PARE_DEFAULT_REGEXES];
/* The regex of a CL100K step, or of a PATTERN that is known. */
const char *pare_step_regex(const pare_step *step);
/* A step for a Split's regex: a known one by its own scanner, else PCRE2. */
bool pare_step_from_regex(pare_step *step, const char *regex, pare_split behaviour, bool invert, const char *what,
                          pare_error *error) PARE_MUST_CHECK;

/* A regex by PCRE2, with the meaning it has in `tokenizers` (Oniguruma). literal: the text itself. */
pare_pattern *pare_pattern_open(const char *regex, size_t n, bool literal, const char *what, pare_error *error) PARE_MUST_CHECK;
void pare_pattern_close(pare_pattern *pattern);
/* Working memory of matching. */
typedef struct pare_match pare_match;
pare_match *pare_match_open(pare_error *error) PARE_MUST_CHECK;
void pare_match_close(pare_match *match);
void pare_match_begin(pare_match *match, size_t n_bytes); /* a new budget of time, for a text of n_bytes */
/* The first match at or after `from`, if there is one. */
bool pare_pattern_find(bool *found, size_t *start, size_t *end, pare_match *match, const pare_pattern *pattern, const char *text, size_t n,
                       size_t from, pare_error *error) PARE_MUST_CHECK;

/* ---- the tokenizer ----------------------------------------------------------------------------- */

enum { PARE_STEPS = 8 };

/* What one call of encode works with; pooled in the tokenizer. */
typedef struct pare_scratch {
    struct pare_scratch *next;
    pare_bytes valid, normal, prefixed[PARE_STEPS];
    pare_nfc nfc;
    pare_bpe bpe;
    pare_match *match;
} pare_scratch;

typedef struct {
    pthread_mutex_t lock;
    pare_scratch *free;
} pare_scratch_pool;

struct pare_tokenizer {
    pare_arena *arena;
    const char *what;
    const char *note; /* what its user should know, or NULL */

    pare_piece *spelled, *bytes; /* by id: as the file spells it; the bytes it stands for */
    bool *is_added;
    size_t n_ids;
    pare_piece_map by_spelling; /* model vocabulary */
    pare_piece_map by_bytes;    /* only with ignore_merges */
    pare_merge_table merges;
    uint32_t byte_ids[256]; /* PARE_NO_ID: the vocabulary lacks it */
    uint32_t unknown;       /* for such bytes; PARE_NO_ID: they vanish */
    bool fuse_unknown, ignore_merges, nfc;

    pare_added *added;
    size_t n_added;
    pare_added_set as_written, normalized;

    pare_step steps[PARE_STEPS];
    size_t n_steps;

    uint32_t *prefix, *suffix; /* the post-processor's template around the text */
    size_t n_prefix, n_suffix;

    const struct pare_chat *chat; /* the model's chat template, or NULL (chat.c) */
    pare_piece json;              /* the tokenizer.json it was opened from, if it was */
    const char *remark;           /* pare_tokenizer_remark */
    pare_scratch_pool *pool;
};

/* Appends ids. */
bool pare_tokens_push(pare_tokens *tokens, const uint32_t *ids, size_t n, pare_error *error) PARE_MUST_CHECK;

/* Builders, in the order of use: begin, vocabulary, merges, added tokens, steps and template by hand, finish. */
pare_tokenizer *pare_tokenizer_begin(const char *what, pare_error *error) PARE_MUST_CHECK;
/* pieces[id], NULL bytes where the id is a hole; bytes are copied. n_ids covers the added tokens as well. */
bool pare_tokenizer_set_vocabulary(pare_tokenizer *tokenizer, const pare_piece *pieces, size_t n_ids, pare_error *error) PARE_MUST_CHECK;
bool pare_tokenizer_size_merges(pare_tokenizer *tokenizer, size_t n, pare_error *error) PARE_MUST_CHECK;
bool pare_tokenizer_add_merge(pare_tokenizer *tokenizer, uint32_t rank, pare_piece left, pare_piece right,
                              pare_error *error) PARE_MUST_CHECK;
/* added: contents are copied, patterns are made here. */
bool pare_tokenizer_set_added(pare_tokenizer *tokenizer, const pare_added *added, size_t n, pare_error *error) PARE_MUST_CHECK;
bool pare_tokenizer_finish(pare_tokenizer *tokenizer, pare_error *error) PARE_MUST_CHECK;

/* The merges by rank, merges.n of them; free with pare_free. */
pare_merge *pare_tokenizer_merges(const pare_tokenizer *tokenizer, pare_error *error) PARE_MUST_CHECK;

#endif
