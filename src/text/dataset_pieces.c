/* dataset_pieces: where a long text may be cut so that its pieces, encoded one by one, give the ids of the whole.
 *
 * A pre-tokeniser ends a word where letters end, whatever follows, and what follows a space begins anew; that holds for the
 * regexes of GPT-2 and of the cl100k family by their construction, but a tokenizer may have any regex, and added tokens that
 * reach over the place. So a likely place is only a candidate: it is taken when the text around it, further than any added
 * token is long, has the same ids in one and in two. */
#include <string.h>

#include "dataset_impl.h"

enum { AROUND_BYTES = 8192, TRIES = 64 };

static bool is_continuation(char byte) {
    return ((uint8_t)byte & 0xC0) == 0x80;
}

/* Class of the well-formed character that starts at `at`; 0 when it is ill-formed. */
static unsigned class_at(const char *text, size_t n, size_t at) {
    size_t length = pare_utf8_length((uint8_t)text[at]);
    if (length > n - at || pare_utf8_valid((const uint8_t *)text + at, length) < length)
        return 0;
    return pare_unicode_class(pare_utf8_decode((const uint8_t *)text + at));
}

static unsigned class_before(const char *text, size_t n, size_t at) {
    size_t start = at - 1;
    while (start > 0 && at - start < 4 && is_continuation(text[start]))
        start--;
    return class_at(text, n, start);
}

/* best: a letter, then one space before a letter. Otherwise any change from letters to what is none and joins none, or back. */
static bool is_candidate(const char *text, size_t n, size_t at, bool best) {
    if (is_continuation(text[at]) || (best && (text[at] != ' ' || at + 1 == n)))
        return false;
    unsigned before = class_before(text, n, at), here = class_at(text, n, at);
    if (best)
        return before & class_at(text, n, at + 1) & PARE_CHAR_LETTER;
    return (before ^ here) & PARE_CHAR_LETTER && !((here & PARE_CHAR_LETTER ? before : here) & PARE_CHAR_WORD) &&
           !(here & PARE_CHAR_COMPOSES);
}

/* The text around `at` has the same ids in one and in two. */
static bool is_safe(bool *safe, pare_tokens *one, pare_tokens *two, const pare_tokenizer *tokenizer, const char *text, size_t n, size_t at,
                    pare_error *error) {
    size_t before = at < AROUND_BYTES ? at : AROUND_BYTES, after = n - at < AROUND_BYTES ? n - at : AROUND_BYTES;
    one->n = two->n = 0;
    if (!pare_tokenizer_encode(one, tokenizer, text + at - before, before + after, 0, error) ||
        !pare_tokenizer_encode(two, tokenizer, text + at - before, before, 0, error) ||
        !pare_tokenizer_encode(two, tokenizer, text + at, after, 0, error))
        return false;
    *safe = one->n == two->n && (one->n == 0 || memcmp(one->ids, two->ids, one->n * sizeof *one->ids) == 0);
    return true;
}

/* The last safe place of a kind in (0, limit]; 0: none among the first tries. */
static bool find_place(size_t *place, const pare_tokenizer *tokenizer, const char *text, size_t n, size_t limit, bool best,
                       pare_error *error) {
    pare_tokens one = {0}, two = {0};
    bool done = true, safe = false;
    *place = 0;
    int tries = TRIES;
    for (size_t at = limit; done && !safe && tries > 0 && at > 0; at--) {
        if (!is_candidate(text, n, at, best))
            continue;
        tries--;
        done = is_safe(&safe, &one, &two, tokenizer, text, n, at, error);
        if (safe)
            *place = at;
    }
    pare_tokens_free(&one);
    pare_tokens_free(&two);
    return done;
}

/* A place that at least cuts no character, and no ill-formed sequence that one U+FFFD stands for. */
static size_t force_place(const char *text, size_t limit) {
    for (size_t back = 0; back < 4 && back < limit; back++)
        if (!is_continuation(text[limit - back]))
            return limit - back;
    return limit;
}

bool pare_piece_measure(size_t *length, bool *forced, const pare_tokenizer *tokenizer, const char *text, size_t n, size_t limit,
                        pare_error *error) {
    *length = n;
    *forced = false;
    if (n <= limit)
        return true;
    if (!find_place(length, tokenizer, text, n, limit, true, error) ||
        (*length == 0 && !find_place(length, tokenizer, text, n, limit, 0, error)))
        return false;
    *forced = *length == 0;
    if (*forced)
        *length = force_place(text, limit);
    return true;
}
