/* pretokenize: text to words. The regexes of GPT-2 and of the cl100k family (Llama-3, Qwen2) are run by hand here, because
 * nearly all text goes through them; each scanner returns the length of the word that the regex would match at the same
 * place. The regexes match every character, so words follow each other without gaps. */
#include <string.h>

#include "tokenizer.h"

static unsigned class_of(const uint8_t *text) {
    return pare_unicode_class(pare_utf8_decode(text));
}

static const uint8_t *after(const uint8_t *text) {
    return text + pare_utf8_length(*text);
}

enum { OTHER_NOT = PARE_CHAR_LETTER | PARE_CHAR_NUMBER | PARE_CHAR_SPACE };

static const uint8_t *skip_letters(const uint8_t *text, const uint8_t *end) {
    while (text < end && (class_of(text) & PARE_CHAR_LETTER))
        text = after(text);
    return text;
}

static const uint8_t *skip_others(const uint8_t *text, const uint8_t *end) {
    while (text < end && !(class_of(text) & OTHER_NOT))
        text = after(text);
    return text;
}

/* \s+(?!\S)|\s+ : a run of white space leaves its last character to the word that follows, if it has another. */
static size_t white_space(const uint8_t *text, const uint8_t *end) {
    const uint8_t *at = text, *last = text;
    while (at < end && (class_of(at) & PARE_CHAR_SPACE)) {
        last = at;
        at = after(at);
    }
    return (size_t)((at == end || last == text ? at : last) - text);
}

/* 's 't 'm 'd 're 've 'll ; 0 when there is none. With any_case, U+017F is an s as well (Unicode simple case folding). */
static size_t contraction(const uint8_t *text, const uint8_t *end, bool any_case) {
    size_t n = (size_t)(end - text);
    if (n < 2 || *text != '\'')
        return 0;
    unsigned fold = any_case ? 0x20 : 0;
    unsigned a = text[1] < 0x80 ? text[1] | fold : text[1];
    if (a == 's' || a == 't' || a == 'm' || a == 'd')
        return 2;
    if (n >= 3) {
        if (any_case && text[1] == 0xC5 && text[2] == 0xBF)
            return 3;
        unsigned b = text[2] < 0x80 ? text[2] | fold : text[2];
        if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l'))
            return 3;
    }
    return 0;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
size_t pare_scan_gpt2(const uint8_t *text, const uint8_t *end) {
    size_t length = contraction(text, end, false);
    if (length)
        return length;
    const uint8_t *at = text;
    if (*at == ' ' && at + 1 < end && !(class_of(at + 1) & PARE_CHAR_SPACE))
        at++;
    unsigned class = class_of(at);
    if (class & PARE_CHAR_SPACE)
        return white_space(text, end);
    if (class & PARE_CHAR_LETTER)
        at = skip_letters(at, end);
    else if (class & PARE_CHAR_NUMBER)
        while (at < end && (class_of(at) & PARE_CHAR_NUMBER))
            at = after(at);
    else
        at = skip_others(at, end);
    return (size_t)(at - text);
}

/* \s*[\r\n]+ up to the last line end of a run of white space, else as `white_space`. */
static size_t lines_or_space(const uint8_t *text, const uint8_t *end) {
    const uint8_t *line = NULL;
    for (const uint8_t *at = text; at < end; at = after(at)) {
        unsigned class = class_of(at);
        if (!(class & PARE_CHAR_SPACE))
            break;
        if (class & PARE_CHAR_NEWLINE)
            line = at + 1;
    }
    return line ? (size_t)(line - text) : white_space(text, end);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
size_t pare_scan_cl100k(const uint8_t *text, const uint8_t *end, unsigned digits) {
    size_t length = contraction(text, end, true);
    if (length)
        return length;
    unsigned class = class_of(text);
    const uint8_t *at = text;
    if (class & PARE_CHAR_NUMBER) {
        for (unsigned n = 0; n < digits && at < end && (class_of(at) & PARE_CHAR_NUMBER); n++)
            at = after(at);
        return (size_t)(at - text);
    }
    if (!(class & (PARE_CHAR_LETTER | PARE_CHAR_NEWLINE)))
        at = after(at);
    if (at < end && (class_of(at) & PARE_CHAR_LETTER))
        return (size_t)(skip_letters(at, end) - text);
    at = text;
    if (*at == ' ' && at + 1 < end && !(class_of(at + 1) & OTHER_NOT))
        at++;
    if (class_of(at) & PARE_CHAR_SPACE)
        return lines_or_space(text, end);
    at = skip_others(at, end);
    while (at < end && (*at == '\r' || *at == '\n'))
        at++;
    return (size_t)(at - text);
}

static const struct {
    const char *regex;
    pare_step_kind kind;
    unsigned digits;
} known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", PARE_STEP_GPT2, 0},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     PARE_STEP_CL100K, 3},
    {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
     PARE_STEP_CL100K, 1},
};

const char *const pare_default_regexes[PARE_DEFAULT_REGEXES] = {
    "[\\p{P}\\$\\+<=>\\^~\\|]+",
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)",
    "\\p{N}+",
    "[0-9][0-9][0-9]",
};

const char *pare_step_regex(const pare_step *step) {
    if (step->kind == PARE_STEP_PATTERN)
        return step->regex;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].kind == step->kind && known[i].digits == step->digits)
            return known[i].regex;
    return NULL;
}

bool pare_step_from_regex(pare_step *step, const char *regex, pare_split behaviour, bool invert, const char *what, pare_error *error) {
    *step = (pare_step){.kind = PARE_STEP_PATTERN, .behaviour = behaviour, .invert = invert};
    /* These match everything: words are what is matched, whether it is isolated or all that is not matched is removed. */
    if ((behaviour == PARE_SPLIT_ISOLATED && !invert) || (behaviour == PARE_SPLIT_REMOVED && invert))
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (strcmp(regex, known[i].regex) == 0) {
                step->kind = known[i].kind;
                step->digits = known[i].digits;
                return true;
            }
    for (size_t i = 0; i < PARE_DEFAULT_REGEXES && behaviour == PARE_SPLIT_ISOLATED && !invert; i++)
        if (strcmp(regex, pare_default_regexes[i]) == 0)
            step->regex = pare_default_regexes[i];
    step->pattern = pare_pattern_open(regex, strlen(regex), false, what, error);
    return step->pattern != NULL;
}
