/* unicode: a table of what pre-tokenisers and NFC ask of a character, made once per process from utf8proc.
 * utf8proc 2.8 knows Unicode 15; `tokenizers` 0.23 matches letters and numbers by Unicode 16, digits by 17, and normalises by a
 * version before 10. unicode_later.h lists the differences over all code points. */
#include <utf8proc.h>

#include "tokenizer.h"
#include "unicode_later.h"

enum { POINTS = 0x110000 };

uint8_t pare_unicode_bits[POINTS]; /* flat: only what texts use is ever in the caches */
static pthread_once_t once = PTHREAD_ONCE_INIT;

#define LETTER (PARE_CHAR_LETTER | PARE_CHAR_WORD)
#define NUMBER (PARE_CHAR_NUMBER | PARE_CHAR_NUMERIC)

static bool is_space(uint32_t c) { /* White_Space */
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* \w: Alphabetic, marks, decimal numbers, connectors, joiners. Letters with circles and squares are Alphabetic symbols. */
static bool is_other_word(uint32_t c) {
    return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
           (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C || c == 0x200D;
}

static unsigned category_bits(uint32_t c) {
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL: return NUMBER | PARE_CHAR_WORD;
    case UTF8PROC_CATEGORY_NO: return NUMBER;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_PC: return PARE_CHAR_WORD;
    default: return is_other_word(c) ? PARE_CHAR_WORD : 0;
    }
}

static unsigned bits_of(uint32_t c) {
    unsigned bits = category_bits(c);
    if (is_space(c))
        bits |= PARE_CHAR_SPACE;
    if (c == '\r' || c == '\n')
        bits |= PARE_CHAR_NEWLINE;
    if (utf8proc_get_property((utf8proc_int32_t)c)->combining_class != 0 || (c >= 0x1161 && c <= 0x1175) || (c >= 0x11A8 && c <= 0x11C2))
        bits |= PARE_CHAR_COMPOSES; /* marks, and the vowels and finals of Hangul */
    return bits;
}

static void add_bits(uint32_t c, unsigned more) {
    pare_unicode_bits[c] |= (uint8_t)more;
}

/* A canonical decomposition tells which characters compose: all but its first, and the whole if NFC does not give it back. */
static void add_decomposition(uint32_t c) {
    const utf8proc_property_t *property = utf8proc_get_property((utf8proc_int32_t)c);
    if (property->decomp_seqindex == UINT16_MAX || property->decomp_type != 0)
        return;
    utf8proc_int32_t points[32];
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, points, 32, UTF8PROC_DECOMPOSE | UTF8PROC_STABLE, &boundary);
    for (utf8proc_ssize_t i = 1; i < n && i < 32; i++)
        add_bits((uint32_t)points[i], PARE_CHAR_COMPOSES);
    if (n > 0 && n <= 32 &&
        (utf8proc_normalize_utf32(points, n, UTF8PROC_COMPOSE | UTF8PROC_STABLE) != 1 || points[0] != (utf8proc_int32_t)c))
        add_bits(c, PARE_CHAR_COMPOSES);
}

static unsigned later_bits(const char *category) {
    if (*category == 'N')
        return NUMBER | (category[1] == 'o' ? 0 : PARE_CHAR_WORD);
    return *category == 'L' ? LETTER : *category == 'M' ? PARE_CHAR_WORD : 0;
}

#define EACH(c, i, list)                                                                                                                   \
    for (size_t i = 0; i < sizeof(list) / sizeof *(list); i++)                                                                             \
        for (uint32_t c = (list)[i].first; c <= (list)[i].last; c++)

static void fill(void) {
    for (uint32_t c = 0; c < POINTS; c++)
        pare_unicode_bits[c] = (uint8_t)bits_of(c);
    for (uint32_t c = 0; c < POINTS; c++)
        add_decomposition(c);
    EACH(c, i, later_characters) add_bits(c, later_bits(later_characters[i].category));
    EACH(c, i, later_digits) add_bits(c, PARE_CHAR_NUMERIC);
    EACH(c, i, later_marks) pare_unicode_bits[c] &= (uint8_t)~PARE_CHAR_COMPOSES;
}

void pare_unicode_init(void) {
    pthread_once(&once, fill);
}
