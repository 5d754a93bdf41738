/* bpe: a word to ids by byte pair encoding (Sennrich et al. 2016): the adjacent pair with the lowest rank is merged first,
 * the leftmost of equals, until no pair has a rank. Short words scan for that pair, long ones keep a heap of pairs, so that
 * a row of a million letters costs n log n. Answers for short words are remembered, one cache line each, the newest in its
 * slot. */
#include <string.h>

#include "tokenizer.h"

enum { SCAN_LONGEST = 48 };

static size_t slot_of(const pare_merge_table *table, uint64_t pair) {
    uint64_t hash = (pair ^ pair >> 29) * 0xBF58476D1CE4E5B9U;
    return (size_t)(hash >> 24) & table->mask;
}

bool pare_tokenizer_size_merges(pare_tokenizer *tokenizer, size_t n, pare_error *error) {
    size_t size = 16;
    while (size < n + n / 2)
        size *= 2;
    tokenizer->merges.mask = size - 1;
    tokenizer->merges.slots = PARE_PUSH(tokenizer->arena, pare_merge, size, error);
    if (!tokenizer->merges.slots)
        return false;
    for (size_t i = 0; i < size; i++)
        tokenizer->merges.slots[i].rank = UINT32_MAX;
    return true;
}

/* The id of left and right as one piece. */
static bool find_joined(uint32_t *id, const pare_piece_map *map, pare_piece left, pare_piece right, pare_error *error) {
    char small[512], *joined = small;
    size_t n = left.length + right.length;
    if (n > sizeof small && !(joined = pare_allocate(n, 1, error)))
        return false;
    memcpy(joined, left.bytes, left.length);
    memcpy(joined + left.length, right.bytes, right.length);
    *id = pare_piece_map_find(map, joined, n);
    if (joined != small)
        pare_free(joined);
    return true;
}

static int shown(pare_piece piece) {
    return (int)(piece.length < 100 ? piece.length : 100);
}

bool pare_tokenizer_add_merge(pare_tokenizer *tokenizer, uint32_t rank, pare_piece left, pare_piece right, pare_error *error) {
    pare_merge_table *table = &tokenizer->merges;
    const pare_piece_map *map = &tokenizer->by_spelling;
    uint32_t left_id = pare_piece_map_find(map, left.bytes, left.length), right_id = pare_piece_map_find(map, right.bytes, right.length),
             id;
    if (!find_joined(&id, map, left, right, error))
        return false;
    if (left_id == PARE_NO_ID || right_id == PARE_NO_ID || id == PARE_NO_ID)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: merge %u (\"%.*s\" \"%.*s\"): %s is not in the vocabulary", tokenizer->what, rank,
                         shown(left), left.bytes, shown(right), right.bytes,
                         left_id == PARE_NO_ID    ? "the left part"
                         : right_id == PARE_NO_ID ? "the right part"
                                                  : "the result");
    uint64_t pair = (uint64_t)left_id << 32 | right_id;
    size_t slot = slot_of(table, pair);
    while (table->slots[slot].rank != UINT32_MAX && table->slots[slot].pair != pair)
        slot = (slot + 1) & table->mask;
    table->n += table->slots[slot].rank == UINT32_MAX;
    table->slots[slot] = (pare_merge){pair, rank, id}; /* of two equal merges the later counts */
    return true;
}

static const pare_merge *find(const pare_merge_table *table, uint32_t left, uint32_t right) {
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t slot = slot_of(table, pair);
    for (; table->slots[slot].rank != UINT32_MAX; slot = (slot + 1) & table->mask)
        if (table->slots[slot].pair == pair)
            return &table->slots[slot];
    return NULL;
}

/* ---- short words ------------------------------------------------------------------------------- */

/* ids[n] become the merged ones; returns how many are left. */
static size_t merge_by_scan(uint32_t *ids, size_t n, const pare_merge_table *table) {
    const pare_merge *pairs[SCAN_LONGEST];
    for (size_t i = 0; i + 1 < n; i++)
        pairs[i] = find(table, ids[i], ids[i + 1]);
    for (;;) {
        size_t best = n;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++)
            if (pairs[i] && pairs[i]->rank < rank) {
                rank = pairs[i]->rank;
                best = i;
            }
        if (best == n)
            return n;
        ids[best] = pairs[best]->id;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        if (best + 1 < n) {
            memmove(pairs + best + 1, pairs + best + 2, (n - best - 2) * sizeof *pairs);
            pairs[best] = find(table, ids[best], ids[best + 1]);
        }
        if (best > 0)
            pairs[best - 1] = find(table, ids[best - 1], ids[best]);
    }
}

/* ---- long words: symbols in a linked list, candidate pairs in a heap ----------------------------- */

/* In the heap, `pair` is the position of the left symbol. */
static bool before(const pare_merge *a, const pare_merge *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->pair < b->pair;
}

static bool heap_push(pare_bpe *bpe, pare_merge entry, pare_error *error) {
    if (!pare_grow((void **)&bpe->heap, &bpe->heap_capacity, bpe->n_heap + 1, sizeof *bpe->heap, error))
        return false;
    size_t at = bpe->n_heap++;
    for (; at > 0 && before(&entry, &bpe->heap[(at - 1) / 2]); at = (at - 1) / 2)
        bpe->heap[at] = bpe->heap[(at - 1) / 2];
    bpe->heap[at] = entry;
    return true;
}

static pare_merge heap_pop(pare_bpe *bpe) {
    pare_merge top = bpe->heap[0], last = bpe->heap[--bpe->n_heap];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < bpe->n_heap; at = child) {
        if (child + 1 < bpe->n_heap && before(&bpe->heap[child + 1], &bpe->heap[child]))
            child++;
        if (!before(&bpe->heap[child], &last))
            break;
        bpe->heap[at] = bpe->heap[child];
    }
    bpe->heap[at] = last;
    return top;
}

static bool push_pair(pare_bpe *bpe, const pare_merge_table *table, uint32_t at, uint32_t n, pare_error *error) {
    if (bpe->next[at] >= n)
        return true;
    const pare_merge *merge = find(table, bpe->symbols[at], bpe->symbols[bpe->next[at]]);
    return !merge || heap_push(bpe, (pare_merge){at, merge->rank, merge->id}, error);
}

static bool merge_by_heap(size_t *left, pare_bpe *bpe, size_t count, const pare_merge_table *table, pare_error *error) {
    uint32_t n = (uint32_t)count;
    if (!pare_grow((void **)&bpe->next, &bpe->next_capacity, n, sizeof *bpe->next, error) ||
        !pare_grow((void **)&bpe->previous, &bpe->previous_capacity, n, sizeof *bpe->previous, error))
        return false;
    bpe->n_heap = 0;
    for (uint32_t i = 0; i < n; i++) {
        bpe->next[i] = i + 1;
        bpe->previous[i] = i - 1; /* UINT32_MAX before the first */
    }
    for (uint32_t i = 0; i < n; i++)
        if (!push_pair(bpe, table, i, n, error))
            return false;
    while (bpe->n_heap > 0) {
        pare_merge top = heap_pop(bpe);
        uint32_t at = (uint32_t)top.pair, right = bpe->next[at];
        if (bpe->symbols[at] == PARE_NO_ID || right >= n)
            continue;
        const pare_merge *now = find(table, bpe->symbols[at], bpe->symbols[right]);
        if (!now || now->id != top.id)
            continue; /* the pair was merged away since it was put here */
        bpe->symbols[at] = top.id;
        bpe->symbols[right] = PARE_NO_ID;
        bpe->next[at] = bpe->next[right];
        if (bpe->next[at] < n)
            bpe->previous[bpe->next[at]] = at;
        if ((bpe->previous[at] != UINT32_MAX && !push_pair(bpe, table, bpe->previous[at], n, error)) ||
            !push_pair(bpe, table, at, n, error))
            return false;
    }
    *left = 0;
    for (uint32_t i = 0; i < n; i++)
        if (bpe->symbols[i] != PARE_NO_ID)
            bpe->symbols[(*left)++] = bpe->symbols[i];
    return true;
}

/* ---- words --------------------------------------------------------------------------------------- */

/* Bytes to first symbols. A byte that the vocabulary lacks becomes the unknown token or nothing. */
static size_t first_symbols(uint32_t *symbols, const pare_tokenizer *tokenizer, const char *word, size_t length) {
    size_t n = 0;
    bool after_unknown = false;
    for (size_t i = 0; i < length; i++) {
        uint32_t id = tokenizer->byte_ids[(uint8_t)word[i]];
        bool unknown = id == PARE_NO_ID;
        if (!unknown)
            symbols[n++] = id;
        else if (tokenizer->unknown != PARE_NO_ID && !(after_unknown && tokenizer->fuse_unknown))
            symbols[n++] = tokenizer->unknown;
        after_unknown = unknown;
    }
    return n;
}

static bool encode_word(pare_tokens *tokens, pare_bpe *bpe, const pare_tokenizer *tokenizer, const char *word, size_t length,
                        pare_error *error) {
    if (tokenizer->ignore_merges) {
        uint32_t id = pare_piece_map_find(&tokenizer->by_bytes, word, length);
        if (id != PARE_NO_ID)
            return pare_tokens_push(tokens, &id, 1, error);
    }
    if (length <= SCAN_LONGEST) {
        uint32_t ids[SCAN_LONGEST];
        size_t n = first_symbols(ids, tokenizer, word, length);
        return pare_tokens_push(tokens, ids, merge_by_scan(ids, n, &tokenizer->merges), error);
    }
    if (length >= UINT32_MAX / 2)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: a word of %zu bytes is too long", tokenizer->what, length);
    if (!pare_grow((void **)&bpe->symbols, &bpe->symbols_capacity, length, sizeof *bpe->symbols, error))
        return false;
    size_t n = first_symbols(bpe->symbols, tokenizer, word, length);
    return merge_by_heap(&n, bpe, n, &tokenizer->merges, error) && pare_tokens_push(tokens, bpe->symbols, n, error);
}

bool pare_bpe_push(pare_tokens *tokens, pare_bpe *bpe, const pare_tokenizer *tokenizer, const char *word, size_t length,
                   pare_error *error) {
    if (length > PARE_WORD_BYTES)
        return encode_word(tokens, bpe, tokenizer, word, length, error);
    if (!bpe->words && !(bpe->words = pare_allocate(PARE_WORD_SLOTS, sizeof *bpe->words, error)))
        return false;
    uint32_t hash = (uint32_t)(pare_text_hash(word, length) >> 32);
    pare_word *slot = &bpe->words[hash & (PARE_WORD_SLOTS - 1)];
    if (slot->hash == hash && slot->used && slot->length == length && memcmp(slot->bytes, word, length) == 0)
        return pare_tokens_push(tokens, slot->ids, slot->n, error);
    size_t from = tokens->n;
    if (!encode_word(tokens, bpe, tokenizer, word, length, error))
        return false;
    size_t n = tokens->n - from;
    if (n <= PARE_WORD_IDS) {
        *slot = (pare_word){.hash = hash, .used = 1, .length = (uint8_t)length, .n = (uint8_t)n};
        memcpy(slot->bytes, word, length);
        if (n > 0) /* nothing may have been pushed yet */
            memcpy(slot->ids, tokens->ids + from, n * sizeof *slot->ids);
    }
    return true;
}

void pare_bpe_free(pare_bpe *bpe) {
    pare_free(bpe->symbols);
    pare_free(bpe->next);
    pare_free(bpe->previous);
    pare_free(bpe->heap);
    pare_free(bpe->words);
}
