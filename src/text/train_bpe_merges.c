/* train_bpe_merges: byte pair encoding as it is learnt (Sennrich et al. 2016): the pair of neighbours that occurs most often
 * becomes a token, again and again. Of equals the pair with the smallest ids goes first, as in the `tokenizers` package.
 *
 * All different words lie in one row of symbols, an END between them. A token stands on the first and on the last of the bytes
 * that it covers, so that both neighbours are found by token lengths alone; what lies between is DEAD. Each pair in the heap
 * brings a list of the places where it occurred when it came up, in ascending order. One merge takes one symbol away, so all
 * lists together hold at most three places a byte, whatever the text: a word of a gigabyte costs no more than a gigabyte of words.
 *
 * Counts are those of the `tokenizers` package in two places where one could count otherwise: in a run of equal symbols
 * overlapping pairs count each, and the count of a pair is not taken down by its own merge. That shows when a token comes up
 * once more, from other parts ("a" "bc" after "ab" "c"): pairs with it may then be in the heap twice, and be merged twice. Its
 * counts are 32 bits wide and wrap; these do not. */
#include <string.h>

#include "train_bpe.h"

#define END UINT32_MAX
#define DEAD (UINT32_MAX - 1)

/* ---- counts of pairs --------------------------------------------------------------------------- */

typedef struct {
    uint64_t key; /* (left << 32 | right) + 1; 0: free */
    int64_t count;
    bool again; /* it has come up more than once: its lists may overlap */
} pair_slot;
typedef struct {
    pair_slot *slots;
    size_t n, mask;
} pair_table;

static uint64_t pair_of(uint32_t left, uint32_t right) {
    return (uint64_t)left << 32 | right;
}

static pair_slot *find_slot(const pair_table *table, uint64_t pair) {
    uint64_t hash = (pair ^ pair >> 29) * 0xBF58476D1CE4E5B9U;
    size_t at = (size_t)(hash >> 24) & table->mask;
    while (table->slots[at].key && table->slots[at].key != pair + 1)
        at = (at + 1) & table->mask;
    return &table->slots[at];
}

/* Room for one more, at most half full. */
static bool reserve_slot(pair_table *table, pare_error *error) {
    if (table->slots && 2 * (table->n + 1) <= table->mask + 1)
        return true;
    pair_table larger = {.n = table->n, .mask = table->slots ? 2 * table->mask + 1 : (1 << 16) - 1};
    if (!(larger.slots = pare_allocate(larger.mask + 1, sizeof *larger.slots, error)))
        return false;
    for (size_t i = 0; table->slots && i <= table->mask; i++)
        if (table->slots[i].key)
            *find_slot(&larger, table->slots[i].key - 1) = table->slots[i];
    pare_free(table->slots);
    *table = larger;
    return true;
}

static bool add_count(pair_table *table, uint64_t pair, int64_t count, pare_error *error) {
    if (!reserve_slot(table, error))
        return false;
    pair_slot *slot = find_slot(table, pair);
    if (slot->key) {
        slot->again = slot->again || count > 0;
    } else {
        slot->key = pair + 1;
        table->n++;
    }
    slot->count += count;
    return true;
}

/* ---- the heap: the largest count first, then the smallest pair ---------------------------------- */

typedef struct {
    int64_t count; /* when it was put here: pairs may have become fewer since */
    uint64_t pair;
    const uint32_t *places;
    size_t n_places;
} candidate;
typedef struct {
    candidate *items;
    size_t n, capacity;
} candidate_heap;

static bool before(const candidate *a, const candidate *b) {
    return a->count != b->count ? a->count > b->count : a->pair < b->pair;
}

static bool heap_push(candidate_heap *heap, candidate item, pare_error *error) {
    if (!pare_grow((void **)&heap->items, &heap->capacity, heap->n + 1, sizeof *heap->items, error))
        return false;
    size_t at = heap->n++;
    for (; at > 0 && before(&item, &heap->items[(at - 1) / 2]); at = (at - 1) / 2)
        heap->items[at] = heap->items[(at - 1) / 2];
    heap->items[at] = item;
    return true;
}

/* Puts `item` where the top was. */
static void heap_replace_top(candidate_heap *heap, candidate item) {
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < heap->n; at = child) {
        if (child + 1 < heap->n && before(&heap->items[child + 1], &heap->items[child]))
            child++;
        if (!before(&heap->items[child], &item))
            break;
        heap->items[at] = heap->items[child];
    }
    heap->items[at] = item;
}

static candidate heap_pop(candidate_heap *heap) {
    candidate top = heap->items[0];
    candidate last = heap->items[--heap->n];
    if (heap->n > 0)
        heap_replace_top(heap, last);
    return top;
}

/* ---- the row of symbols ------------------------------------------------------------------------ */

/* What one merge does to the pairs with one neighbour: it takes `sum` from the old pair and gives it to the new one. */
typedef struct {
    int64_t sum;
    size_t n_places, next;
    bool touched;
} neighbour;
typedef struct {
    uint32_t group, place; /* group: 2 * neighbour's id + (it is on the right) */
} event;

typedef struct {
    pare_train_tokens *tokens;
    const pare_train_words *words;
    uint32_t *symbols, *word_of; /* by place: place 0 is an END, then the words, an END after each */
    size_t n;
    pair_table pairs;
    candidate_heap heap;
    pare_arena *lists;
    uint32_t *block; /* the rest of the arena's piece in use */
    size_t block_left;

    uint32_t a, b, c; /* the merge in hand: a b becomes c */
    neighbour *neighbours;
    size_t neighbours_capacity;
    uint32_t *touched;
    size_t n_touched, touched_capacity;
    event *events;
    size_t n_events, events_capacity;
} merger;

/* A list of places; small ones share a piece of the arena, which rounds up. */
static uint32_t *take_list(merger *m, size_t n, pare_error *error) {
    enum { BLOCK = 1 << 16 };
    if (n > m->block_left) {
        if (n > BLOCK / 4)
            return PARE_PUSH(m->lists, uint32_t, n, error);
        m->block = PARE_PUSH(m->lists, uint32_t, BLOCK, error);
        m->block_left = m->block ? BLOCK : 0;
        if (!m->block)
            return NULL;
    }
    uint32_t *list = m->block;
    m->block += n;
    m->block_left -= n;
    return list;
}

/* Every word as its bytes, before any merge. */
static bool lay_out(merger *m, pare_error *error) {
    const pare_train_words *words = m->words;
    m->n = words->pool_length + words->n + 1;
    m->symbols = pare_allocate(m->n, sizeof *m->symbols, error);
    m->word_of = m->symbols ? pare_allocate(m->n, sizeof *m->word_of, error) : NULL;
    if (!m->word_of)
        return false;
    size_t at = 0;
    m->symbols[at++] = END;
    for (size_t w = 0; w < words->n; w++) {
        const char *bytes = words->pool + words->words[w].offset;
        for (size_t i = 0; i < words->words[w].length; i++, at++) {
            m->symbols[at] = (uint8_t)bytes[i];
            m->word_of[at] = (uint32_t)w;
        }
        m->symbols[at++] = END;
    }
    return true;
}

static int64_t count_at(const merger *m, size_t place) {
    return (int64_t)m->words->words[m->word_of[place]].count;
}

/* One pair of bytes. */
typedef struct {
    int64_t count;
    size_t n, next;
} byte_pair;

static byte_pair *byte_pair_at(const merger *m, byte_pair *pairs, size_t place) {
    uint32_t left = m->symbols[place], right = m->symbols[place + 1];
    return left == END || right == END ? NULL : &pairs[left << 8 | right];
}

/* Pairs of bytes: counted in a square table, their places laid out by a counting sort. */
static bool count_bytes(merger *m, byte_pair *pairs, const uint32_t byte_ids[256], pare_error *error) {
    size_t total = 0;
    for (size_t i = 1; i + 1 < m->n; i++) {
        byte_pair *pair = byte_pair_at(m, pairs, i);
        if (pair) {
            pair->count += count_at(m, i);
            pair->n++;
            total++;
        }
    }
    uint32_t *places = PARE_PUSH(m->lists, uint32_t, total, error);
    if (!places)
        return false;
    for (size_t i = 1; i < 1 << 16; i++)
        pairs[i].next = pairs[i - 1].next + pairs[i - 1].n;
    for (size_t i = 1; i + 1 < m->n; i++) {
        byte_pair *pair = byte_pair_at(m, pairs, i);
        if (pair)
            places[pair->next++] = (uint32_t)i;
    }
    for (size_t i = 0; i < 1 << 16; i++) {
        const byte_pair *from = &pairs[i];
        uint64_t pair = pair_of(byte_ids[i >> 8], byte_ids[i & 0xFF]);
        if (from->n > 0 && (!add_count(&m->pairs, pair, from->count, error) ||
                            !heap_push(&m->heap, (candidate){from->count, pair, places + from->next - from->n, from->n}, error)))
            return false;
    }
    return true;
}

static bool first_pairs(merger *m, const uint32_t byte_ids[256], pare_error *error) {
    byte_pair *pairs = pare_allocate(1 << 16, sizeof *pairs, error);
    bool done = pairs && count_bytes(m, pairs, byte_ids, error);
    pare_free(pairs);
    for (size_t i = 0; done && i < m->n; i++)
        if (m->symbols[i] != END)
            m->symbols[i] = byte_ids[m->symbols[i]];
    return done;
}

/* ---- one merge --------------------------------------------------------------------------------- */

static bool touch(merger *m, uint32_t group, pare_error *error) {
    if (m->neighbours[group].touched)
        return true;
    if (!pare_grow((void **)&m->touched, &m->touched_capacity, m->n_touched + 1, sizeof *m->touched, error))
        return false;
    m->neighbours[group].touched = true;
    m->touched[m->n_touched++] = group;
    return true;
}

static bool note(merger *m, uint32_t id, bool right, int64_t count, size_t place, pare_error *error) {
    uint32_t group = 2 * id + right;
    uint32_t list = right && id == m->c ? 2 * id : group; /* c c, when c is an old token: one pair, so one list for both sides */
    if (!touch(m, group, error) || !touch(m, list, error))
        return false;
    m->neighbours[group].sum += count;
    m->neighbours[list].n_places++;
    if (!pare_grow((void **)&m->events, &m->events_capacity, m->n_events + 1, sizeof *m->events, error))
        return false;
    m->events[m->n_events++] = (event){list, (uint32_t)place};
    return true;
}

/* a b at `place` becomes c, if it is still there. */
static bool merge_at(merger *m, size_t place, pare_error *error) {
    size_t middle = place + m->tokens->lengths[m->a];
    if (m->symbols[place] != m->a || m->symbols[middle] != m->b)
        return true;
    size_t after = middle + m->tokens->lengths[m->b];
    uint32_t left = m->symbols[place - 1], right = m->symbols[after];
    int64_t count = count_at(m, place);
    if (left != END && !note(m, left, false, count, place - m->tokens->lengths[left], error))
        return false;
    if (right != END && !note(m, right, true, count, place, error))
        return false;
    m->symbols[middle - 1] = m->symbols[middle] = DEAD;
    m->symbols[place] = m->symbols[after - 1] = m->c;
    return true;
}

static bool merge_in_word(merger *m, size_t word, pare_error *error) {
    for (size_t at = m->words->words[word].offset + word + 1; m->symbols[at] != END; at += m->tokens->lengths[m->symbols[at]])
        if (m->symbols[at] == m->a && !merge_at(m, at, error))
            return false;
    return true;
}

/* A pair with several lists: as in the package, all that is in the words of this list. */
static bool merge_in_words(merger *m, const candidate *top, pare_error *error) {
    for (size_t i = 0; i < top->n_places; i++) {
        size_t word = m->word_of[top->places[i]];
        if ((i == 0 || word != m->word_of[top->places[i - 1]]) && !merge_in_word(m, word, error))
            return false;
    }
    return true;
}

static uint64_t old_pair(const merger *m, uint32_t group) {
    return group & 1 ? pair_of(m->b, group >> 1) : pair_of(group >> 1, m->a);
}

static uint64_t new_pair(const merger *m, uint32_t group) {
    return group & 1 ? pair_of(m->c, group >> 1) : pair_of(group >> 1, m->c);
}

/* The places of new pairs as one list each, and the pairs into the heap. */
static bool push_new_pairs(merger *m, pare_error *error) {
    uint32_t *list = take_list(m, m->n_events, error);
    if (!list)
        return false;
    size_t sum = 0;
    for (size_t i = 0; i < m->n_touched; i++) {
        m->neighbours[m->touched[i]].next = sum;
        sum += m->neighbours[m->touched[i]].n_places;
    }
    for (size_t i = 0; i < m->n_events; i++)
        list[m->neighbours[m->events[i].group].next++] = m->events[i].place;
    for (size_t i = 0; i < m->n_touched; i++) {
        const neighbour *from = &m->neighbours[m->touched[i]];
        uint64_t pair = new_pair(m, m->touched[i]);
        int64_t count = find_slot(&m->pairs, pair)->count;
        if (from->n_places > 0 && count > 0 &&
            !heap_push(&m->heap, (candidate){count, pair, list + from->next - from->n_places, from->n_places}, error))
            return false;
    }
    return true;
}

/* New counts first: in a run of equal symbols a pair comes and goes within one merge. */
static bool settle(merger *m, pare_error *error) {
    bool done = true;
    for (size_t i = 0; done && i < m->n_touched; i++) {
        int64_t sum = m->neighbours[m->touched[i]].sum;
        done = sum == 0 || add_count(&m->pairs, new_pair(m, m->touched[i]), sum, error);
    }
    for (size_t i = 0; done && i < m->n_touched; i++) {
        int64_t sum = m->neighbours[m->touched[i]].sum;
        done = sum == 0 || add_count(&m->pairs, old_pair(m, m->touched[i]), -sum, error);
    }
    done = done && (m->n_events == 0 || push_new_pairs(m, error));
    for (size_t i = 0; i < m->n_touched; i++)
        m->neighbours[m->touched[i]] = (neighbour){0};
    m->n_touched = m->n_events = 0;
    return done;
}

/* The token that left and right make together. */
static bool join(merger *m, pare_error *error) {
    pare_piece left = m->tokens->spelled[m->a], right = m->tokens->spelled[m->b];
    size_t n = left.length + right.length;
    char small[512], *joined = small;
    if (n > sizeof small && !(joined = pare_allocate(n, 1, error)))
        return false;
    memcpy(joined, left.bytes, left.length);
    memcpy(joined + left.length, right.bytes, right.length);
    bool done = pare_train_token(&m->c, m->tokens, joined, n, m->tokens->lengths[m->a] + m->tokens->lengths[m->b], error);
    if (joined != small)
        pare_free(joined);
    return done && pare_grow((void **)&m->neighbours, &m->neighbours_capacity, 2 * m->tokens->n, sizeof *m->neighbours, error);
}

static bool merge(merger *m, const candidate *top, pare_error *error) {
    pare_train_tokens *tokens = m->tokens;
    m->a = (uint32_t)(top->pair >> 32);
    m->b = (uint32_t)(top->pair & UINT32_MAX);
    if (!join(m, error) ||
        !pare_grow((void **)&tokens->merges, &tokens->merges_capacity, tokens->n_merges + 1, sizeof *tokens->merges, error))
        return false;
    tokens->merges[tokens->n_merges++] = top->pair;
    bool done = true;
    if (find_slot(&m->pairs, top->pair)->again)
        done = merge_in_words(m, top, error);
    else
        for (size_t i = 0; done && i < top->n_places; i++)
            done = merge_at(m, top->places[i], error);
    return done && settle(m, error);
}

static bool merge_all(merger *m, uint64_t min_frequency, const pare_context *context, pare_error *error) {
    size_t first = m->tokens->n, wanted = m->tokens->capacity;
    while (m->tokens->n < wanted && m->heap.n > 0) {
        int64_t count = find_slot(&m->pairs, m->heap.items[0].pair)->count;
        if (m->heap.items[0].count != count) {
            candidate again = m->heap.items[0];
            again.count = count;
            heap_replace_top(&m->heap, again);
            continue;
        }
        if (count < 1 || (uint64_t)count < min_frequency)
            break;
        candidate top = heap_pop(&m->heap);
        if (!pare_context_check(context, error) || !merge(m, &top, error))
            return false;
        if (m->tokens->n_merges % 32 == 0)
            pare_context_progress(context, "learn merges", (double)(m->tokens->n - first), (double)(wanted - first));
    }
    return true;
}

bool pare_train_merges(pare_train_tokens *tokens, const pare_train_words *words, const uint32_t byte_ids[256], uint64_t min_frequency,
                       const pare_context *context, pare_error *error) {
    merger m = {.tokens = tokens, .words = words, .lists = pare_arena_open(error)};
    bool done = m.lists && lay_out(&m, error) && reserve_slot(&m.pairs, error) && first_pairs(&m, byte_ids, error) &&
                merge_all(&m, min_frequency, context, error);
    pare_free(m.symbols);
    pare_free(m.word_of);
    pare_free(m.pairs.slots);
    pare_free(m.heap.items);
    pare_free(m.neighbours);
    pare_free(m.touched);
    pare_free(m.events);
    pare_arena_close(m.lists);
    return done;
}
