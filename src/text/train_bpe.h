/* train_bpe: what the parts of the trainer share: train_bpe_words.c counts words, train_bpe_merges.c finds merges,
 * train_bpe.c makes a tokenizer of them. */
#ifndef PARE_TEXT_TRAIN_BPE_H
#define PARE_TEXT_TRAIN_BPE_H

#include "tokenizer.h"

/* A different word of the text: its bytes are pool[offset, offset + length). */
typedef struct {
    uint32_t offset, length;
    uint64_t count;
} pare_train_word;

/* Words in the order in which they were first seen, and a hash map to them. */
typedef struct {
    pare_train_word *words;
    size_t n, capacity;
    char *pool;
    size_t pool_length, pool_capacity;
    uint64_t *slots; /* upper half: of the hash; lower half: index + 1, 0: free */
    size_t mask;
    uint64_t n_seen; /* words with repeats */
} pare_train_words;
bool pare_train_words_add(pare_train_words *words, const char *word, size_t length, pare_error *error) PARE_MUST_CHECK;
void pare_train_words_free(pare_train_words *words);

/* What a text goes through before its words are counted. */
typedef struct {
    bool digits_apart, nfc;
    pare_step_kind kind; /* GPT2 or CL100K */
    unsigned digits;     /* CL100K: numbers per word */
    pare_bytes valid, normal;
    pare_nfc scratch;
} pare_train_splitter;
bool pare_train_split(pare_train_words *words, pare_train_splitter *splitter, const char *text, size_t n, const pare_context *context,
                      pare_error *error) PARE_MUST_CHECK;
void pare_train_splitter_free(pare_train_splitter *splitter);

/* Tokens by id: byte-level spelling, and how many bytes of text each stands for. */
typedef struct {
    pare_piece *spelled;
    uint32_t *lengths;
    size_t n, capacity; /* capacity: ids that there may be */
    pare_piece_map ids;
    uint64_t *merges; /* left << 32 | right, in the order in which they were found; a pair may come twice: the later counts */
    size_t n_merges, merges_capacity;
    uint64_t spelled_bytes;
    pare_arena *arena;
} pare_train_tokens;
/* The id of a spelling, which is made when it is new. */
bool pare_train_token(uint32_t *id, pare_train_tokens *tokens, const char *spelled, size_t spelled_length, uint32_t length,
                      pare_error *error) PARE_MUST_CHECK;

/* Adds merges until there are tokens->capacity ids or no pair occurs min_frequency times. byte_ids: the first symbols. */
bool pare_train_merges(pare_train_tokens *tokens, const pare_train_words *words, const uint32_t byte_ids[256], uint64_t min_frequency,
                       const pare_context *context, pare_error *error) PARE_MUST_CHECK;

#endif
