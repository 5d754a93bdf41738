/* added: finds added tokens in text, leftmost first and the longest at that place, with the rules of `tokenizers` for
 * single_word (not between word characters), lstrip and rstrip (swallow the white space beside them). */
#include <stdlib.h>
#include <string.h>

#include "tokenizer.h"

/* A longer token is no token; the bound keeps the walk's worst case near linear. */
enum { LONGEST = 4096 };

static int by_pattern(const void *a, const void *b) {
    const pare_added *x = *(const pare_added *const *)a, *y = *(const pare_added *const *)b;
    size_t n = x->pattern.length < y->pattern.length ? x->pattern.length : y->pattern.length;
    int difference = memcmp(x->pattern.bytes, y->pattern.bytes, n);
    return difference ? difference : (x->pattern.length > y->pattern.length) - (x->pattern.length < y->pattern.length);
}

bool pare_added_set_init(pare_added_set *set, const pare_added *tokens, size_t n, bool normalized, const char *what, pare_arena *arena,
                         pare_error *error) {
    set->tokens = PARE_PUSH(arena, const pare_added *, n, error);
    if (!set->tokens)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i].normalized != normalized)
            continue;
        if (tokens[i].pattern.length == 0 || tokens[i].pattern.length > LONGEST)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: added token %u is %zu bytes long; 1 to %d are allowed", what, tokens[i].id,
                             tokens[i].pattern.length, LONGEST);
        set->tokens[set->n++] = &tokens[i];
        set->first[(uint8_t)tokens[i].pattern.bytes[0]] = true;
    }
    qsort(set->tokens, set->n, sizeof(const pare_added *), by_pattern);
    for (size_t i = 1; i < set->n; i++)
        if (by_pattern(&set->tokens[i - 1], &set->tokens[i]) == 0)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: added tokens %u and %u are looked for by the same text", what,
                             set->tokens[i - 1]->id, set->tokens[i]->id);
    return true;
}

/* First index in [low, high) whose byte at `depth` is at least (above: more than) `byte`; all are longer than depth. */
static size_t bound(const pare_added_set *set, size_t low, size_t high, size_t depth, uint8_t byte, bool above) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        uint8_t here = (uint8_t)set->tokens[middle]->pattern.bytes[depth];
        if (above ? here <= byte : here < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest token that begins at `text`. */
static const pare_added *longest(const pare_added_set *set, bool no_special, const char *text, size_t n) {
    const pare_added *best = NULL;
    size_t low = 0, high = set->n;
    for (size_t depth = 0; low < high; depth++) {
        if (set->tokens[low]->pattern.length == depth) {
            if (!no_special || !set->tokens[low]->special)
                best = set->tokens[low];
            low++;
        }
        if (depth == n)
            break;
        low = bound(set, low, high, depth, (uint8_t)text[depth], false);
        high = bound(set, low, high, depth, (uint8_t)text[depth], true);
    }
    return best;
}

static unsigned class_before(const char *text, size_t at) {
    do
        at--;
    while ((text[at] & 0xC0) == 0x80);
    return pare_unicode_class(pare_utf8_decode((const uint8_t *)text + at));
}

static unsigned class_after(const char *text, size_t at) {
    return pare_unicode_class(pare_utf8_decode((const uint8_t *)text + at));
}

static size_t skip_space_back(const char *text, size_t at, size_t least) {
    while (at > least && (class_before(text, at) & PARE_CHAR_SPACE))
        do
            at--;
        while ((text[at] & 0xC0) == 0x80);
    return at > least ? at : least;
}

static size_t skip_space(const char *text, size_t at, size_t n) {
    while (at < n && (class_after(text, at) & PARE_CHAR_SPACE))
        at += pare_utf8_length((uint8_t)text[at]);
    return at;
}

bool pare_added_next(pare_piece *between, const pare_added **token, pare_added_walk *walk) {
    const char *text = walk->text;
    while (walk->search < walk->n) {
        const pare_added *found = NULL;
        size_t start = walk->search;
        while (start < walk->n &&
               (!walk->set->first[(uint8_t)text[start]] || !(found = longest(walk->set, walk->no_special, text + start, walk->n - start))))
            start++;
        if (!found)
            break;
        size_t stop = start + found->pattern.length;
        walk->search = stop;
        if (found->single_word &&
            ((start > 0 && (class_before(text, start) & PARE_CHAR_WORD)) || (stop < walk->n && (class_after(text, stop) & PARE_CHAR_WORD))))
            continue; /* what it covers is not looked at again */
        if (found->lstrip)
            start = skip_space_back(text, start, walk->start);
        if (found->rstrip)
            stop = skip_space(text, stop > walk->start ? stop : walk->start, walk->n); /* up to start all is space already */
        *between = (pare_piece){text + walk->start, start > walk->start ? start - walk->start : 0};
        *token = found;
        walk->start = stop;
        return true;
    }
    walk->search = walk->n;
    if (walk->start >= walk->n)
        return false;
    *between = (pare_piece){text + walk->start, walk->n - walk->start};
    *token = NULL;
    walk->start = walk->n;
    return true;
}
