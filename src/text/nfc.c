/* nfc: Unicode normalisation form C (UAX 15). Text is copied as it is except around characters that may compose or move:
 * those stretches, from the starter before to the next starter that never composes, are decomposed by utf8proc, put into
 * canonical order by a counting sort (linear for any hostile row of marks), and composed by utf8proc. */
#include <string.h>

#include <utf8proc.h>

#include "tokenizer.h"

static unsigned class_at(const char *text) {
    return pare_unicode_class(pare_utf8_decode((const uint8_t *)text));
}

static size_t length_at(const char *text) {
    return pare_utf8_length((uint8_t)*text);
}

/* Bytes from the start that NFC leaves alone for sure, up to the first character that may compose. */
static size_t quiet(const char *text, size_t n) {
    size_t at = 0;
    while (at < n && (!(text[at] & 0x80) || !(class_at(text + at) & PARE_CHAR_COMPOSES)))
        at += length_at(text + at);
    return at;
}

bool pare_nfc_needed(const char *text, size_t n) {
    return quiet(text, n) < n;
}

/* Combining class, 0 for marks that stay where they are (unicode.c). */
static unsigned order(int32_t point) {
    return pare_unicode_class((uint32_t)point) & PARE_CHAR_COMPOSES ? (unsigned)utf8proc_get_property(point)->combining_class : 0;
}

/* Canonical order: within each run of characters with a combining class, stable by class. */
static bool sort_marks(pare_nfc *nfc, pare_error *error) {
    for (size_t i = 0; i < nfc->n; i++) {
        size_t end = i, starts[256] = {0};
        while (end < nfc->n && order(nfc->points[end]) != 0)
            starts[order(nfc->points[end++])]++;
        if (end - i < 2) {
            i = end;
            continue;
        }
        if (!pare_grow((void **)&nfc->sorted, &nfc->sorted_capacity, end - i, sizeof *nfc->sorted, error))
            return false;
        for (size_t class = 0, sum = 0; class < 256; class ++) {
            size_t count = starts[class];
            starts[class] = sum;
            sum += count;
        }
        for (size_t k = i; k < end; k++)
            nfc->sorted[starts[order(nfc->points[k])]++] = nfc->points[k];
        memcpy(nfc->points + i, nfc->sorted, (end - i) * sizeof *nfc->sorted);
        i = end;
    }
    return true;
}

static bool compose(pare_bytes *out, pare_nfc *nfc, const char *text, size_t n, pare_error *error) {
    enum { LONGEST = 32 }; /* a canonical decomposition has at most four characters */
    nfc->n = 0;
    for (size_t at = 0; at < n; at += length_at(text + at)) {
        if (!pare_grow((void **)&nfc->points, &nfc->capacity, nfc->n + LONGEST, sizeof *nfc->points, error))
            return false;
        int boundary = 0;
        int32_t point = (int32_t)pare_utf8_decode((const uint8_t *)text + at);
        utf8proc_ssize_t more =
            utf8proc_decompose_char(point, nfc->points + nfc->n, LONGEST, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
        if (more < 0 || more > LONGEST)
            return pare_fail(error, PARE_ERROR_UNSUPPORTED, "U+%04X cannot be normalised", (unsigned)point);
        nfc->n += (size_t)more;
    }
    if (!sort_marks(nfc, error))
        return false;
    utf8proc_ssize_t left = utf8proc_normalize_utf32(nfc->points, (utf8proc_ssize_t)nfc->n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    for (utf8proc_ssize_t i = 0; i < left; i++) {
        char character[4];
        if (!pare_bytes_push(out, character, pare_utf8_encode(character, (uint32_t)nfc->points[i]), error))
            return false;
    }
    return true;
}

bool pare_nfc_push(pare_bytes *out, pare_nfc *nfc, const char *text, size_t n, pare_error *error) {
    for (size_t at = 0; at < n;) {
        size_t end = at + quiet(text + at, n - at), start = end;
        if (end < n && start > at) /* the starter that the marks belong to */
            do
                start--;
            while ((text[start] & 0xC0) == 0x80);
        if (!pare_bytes_push(out, text + at, start - at, error))
            return false;
        while (end < n && (class_at(text + end) & PARE_CHAR_COMPOSES))
            end += length_at(text + end);
        if (!compose(out, nfc, text + start, end - start, error))
            return false;
        at = end;
    }
    return true;
}

void pare_nfc_free(pare_nfc *nfc) {
    pare_free(nfc->points);
    pare_free(nfc->sorted);
}
