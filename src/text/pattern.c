/* pattern: a Split's regex by PCRE2, with the meaning that it has in `tokenizers`, where Oniguruma's Ruby syntax reads it.
 * A pattern is translated piece by piece; what the two read differently is either spelled out (\s, \p{L} with the characters
 * that PCRE2's Unicode lacks, \v) or refused by name. Matching is bounded: each attempt by PCRE2's limits, all attempts of a text by a
 * budget of processor time.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <string.h>
#include <time.h>

#include "tokenizer.h"
#include "unicode_later.h"

enum { LONGEST_PATTERN = 1 << 14, MATCH_LIMIT = 1000000, DEPTH_LIMIT = 1000000, HEAP_LIMIT_KIB = 1 << 16, ATTEMPTS_PER_LOOK = 32 };

struct pare_pattern {
    pcre2_general_context *memory;
    pcre2_code *code;
    const char *what;
};

struct pare_match {
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_match_data *data;
    double end_s; /* processor time of this thread when the budget is spent */
    unsigned attempts;
};

static void *take(size_t size, void *user) {
    (void)user;
    return pare_allocate(size, 1, NULL);
}

static void give(void *memory, void *user) {
    (void)user;
    pare_free(memory);
}

/* ---- translation ----------------------------------------------------------------------------------- */

typedef struct {
    const char *from, *end, *what;
    pare_string out;
    pare_error *error;
    bool in_class, after_dash; /* after_dash: a range waits for its upper end */
} translator;

static bool refuse(const translator *t, const char *construct, size_t length) {
    return pare_fail(t->error, PARE_ERROR_UNSUPPORTED, "%s: the pre-tokenizer's regex uses \"%.*s\", which is not supported", t->what,
                     (int)length, construct);
}

#define SPACES "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACES                                                                                                                          \
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}"         \
    "\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

/* A set of characters, inside or outside of brackets. It cannot be an end of a range. */
static bool put_set(translator *t, const char *set, bool negated) {
    if (t->in_class && (t->after_dash || (t->from + 1 < t->end && t->from[0] == '-' && t->from[1] != ']')))
        return refuse(t, "a range with a set at its end", 29);
    pare_string_print(&t->out, t->in_class ? "%s%s" : "[%s%s]", negated ? "^" : "", set);
    return true;
}

/* A general category gets the characters that came after PCRE2's Unicode; a longer name is a script. */
static bool put_category(translator *t, const char *name, size_t length, bool negated) {
    pare_string set = {0};
    pare_string_print(&set, length <= 2 ? "\\p{%.*s}" : "\\p{sc:%.*s}", (int)length, name);
    for (size_t i = 0; i < sizeof later_characters / sizeof *later_characters && length <= 2; i++)
        if (strncmp(later_characters[i].category, name, length) == 0)
            pare_string_print(&set, "\\x{%x}-\\x{%x}", later_characters[i].first, later_characters[i].last);
    bool done = pare_string_check(&set, t->error) && put_set(t, set.data, negated);
    pare_string_free(&set);
    return done;
}

/* \p{X} or \P{X}; t->from is behind the p. */
static bool put_property(translator *t, bool negated) {
    const char *name = t->from + 1;
    const char *close = t->from < t->end && *t->from == '{' ? memchr(t->from, '}', (size_t)(t->end - t->from)) : NULL;
    bool letters = close && close > name && close - name < 32;
    for (const char *c = name; letters && c < close; c++)
        letters = isalpha((unsigned char)*c) || *c == '_';
    if (!letters || (t->in_class && negated))
        return refuse(t, t->from - 2, close && close - name < 32 ? (size_t)(close - name) + 4 : 2);
    t->from = close + 1;
    return put_category(t, name, (size_t)(close - name), negated);
}

/* \x{H…} or \uHHHH; t->from is behind the letter. */
static bool put_point(translator *t, char letter) {
    const char *start = t->from - 2;
    bool braces = letter == 'x' && t->from < t->end && *t->from == '{';
    t->from += braces;
    size_t most = braces ? 6 : letter == 'u' ? 4 : 2, n = 0;
    uint32_t point = 0;
    for (; n < most && t->from < t->end && isxdigit((unsigned char)*t->from); n++, t->from++) {
        int digit = tolower((unsigned char)*t->from);
        point = point * 16 + (uint32_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    if (n == 0 || (!braces && n != most) || (braces && (t->from == t->end || *t->from++ != '}')) ||
        (letter == 'x' && !braces && point > 0x7F))
        return refuse(t, start, (size_t)(t->from - start));
    pare_string_print(&t->out, "\\x{%x}", point);
    return true;
}

static bool put_escape(translator *t) {
    if (t->from + 1 >= t->end)
        return refuse(t, "\\ at its end", 11);
    char c = t->from[1];
    t->from += 2;
    switch (c) {
    case 's':
    case 'S': return t->in_class ? put_set(t, c == 's' ? SPACES : NO_SPACES, false) : put_set(t, SPACES, c == 'S');
    case 'd':
    case 'D':
        if (t->in_class && c == 'D')
            return refuse(t, "\\D in brackets", 14);
        return put_category(t, "Nd", 2, c == 'D');
    case 'p':
    case 'P': return put_property(t, c == 'P');
    case 'x':
    case 'u': return put_point(t, c);
    case 'v': pare_string_print(&t->out, "\\x0b"); return true;
    default:
        if (!strchr("rntf", c) && !ispunct((unsigned char)c) && c != ' ')
            return refuse(t, t->from - 2, 2);
        pare_string_print(&t->out, "\\%c", c);
        return true;
    }
}

/* ( with its option; only what both read alike. An option for the rest of the pattern may stand at its very start. */
static bool put_group(translator *t, bool first) {
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    size_t left = (size_t)(t->end - t->from);
    if (left >= 4 && first && memcmp(t->from, "(?i)", 4) == 0) {
        pare_string_push(&t->out, t->from, 4);
        t->from += 4;
        return true;
    }
    if (left < 2 || (t->from[1] != '?' && t->from[1] != '*')) {
        pare_string_push(&t->out, t->from++, 1);
        return true;
    }
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t length = strlen(known[i]);
        if (left >= length && memcmp(t->from, known[i], length) == 0) {
            pare_string_push(&t->out, t->from, length);
            t->from += length;
            return true;
        }
    }
    return refuse(t, t->from, left < 4 ? left : 4);
}

/* {n,m}: a + behind it would repeat in Ruby and be possessive in PCRE2; {,m} is a quantifier in Ruby alone. */
static bool put_brace(translator *t) {
    const char *close = memchr(t->from, '}', (size_t)(t->end - t->from));
    size_t length = close ? (size_t)(close - t->from) + 1 : 1;
    bool counted = close && length > 2 && isdigit((unsigned char)t->from[1]);
    for (size_t i = 1; counted && i + 1 < length; i++)
        counted = isdigit((unsigned char)t->from[i]) || t->from[i] == ',';
    if (!counted || (close + 1 < t->end && close[1] == '+'))
        return refuse(t, t->from, length < 20 ? length + (counted ? 1 : 0) : 20);
    pare_string_push(&t->out, t->from, length);
    t->from = close + 1;
    return true;
}

/* Inside brackets: no sets within sets, no intersection. */
static bool put_class(translator *t) {
    pare_string_push(&t->out, t->from++, 1);
    if (t->from < t->end && *t->from == '^')
        pare_string_push(&t->out, t->from++, 1);
    if (t->from < t->end && *t->from == ']')
        return refuse(t, "[]", 2);
    t->in_class = true;
    for (bool first = true; t->from < t->end && *t->from != ']'; first = false) {
        char c = *t->from;
        if (c == '[' || (c == '&' && t->from + 1 < t->end && t->from[1] == '&'))
            return refuse(t, t->from, c == '[' ? 1 : 2);
        bool dash = c == '-' && !first && t->from + 1 < t->end && t->from[1] != ']';
        if (c == '\\') {
            if (!put_escape(t))
                return false;
        } else {
            pare_string_push(&t->out, t->from++, 1);
        }
        t->after_dash = dash && !t->after_dash;
    }
    if (t->from == t->end)
        return refuse(t, "[ without ]", 11);
    pare_string_push(&t->out, t->from++, 1);
    t->in_class = t->after_dash = false;
    return true;
}

static bool translate(translator *t) {
    const char *start = t->from;
    while (t->from < t->end) {
        bool done = true;
        switch (*t->from) {
        case '\\': done = put_escape(t); break;
        case '[': done = put_class(t); break;
        case '(': done = put_group(t, t->from == start); break;
        case '{': done = put_brace(t); break;
        default: pare_string_push(&t->out, t->from++, 1);
        }
        if (!done)
            return false;
    }
    return pare_string_check(&t->out, t->error);
}

/* ---- compiling and matching ------------------------------------------------------------------------- */

static bool compile(pare_pattern *pattern, const char *regex, size_t n, bool literal, pare_error *error) {
    int code;
    PCRE2_SIZE at;
    pcre2_compile_context *context = pcre2_compile_context_create(pattern->memory);
    if (!context)
        return pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory for a regex", pattern->what);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C);
    pattern->code = pcre2_compile((PCRE2_SPTR)regex, n, options, &code, &at, context);
    pcre2_compile_context_free(context);
    if (!pattern->code) {
        char text[200] = "";
        if (code == PCRE2_ERROR_HEAP_FAILED)
            return pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory for a regex", pattern->what);
        pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the pre-tokenizer's regex is wrong: %s", pattern->what, text);
    }
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* where there is no JIT the interpreter does it */
    return true;
}

pare_pattern *pare_pattern_open(const char *regex, size_t n, bool literal, const char *what, pare_error *error) {
    if (n > LONGEST_PATTERN) {
        pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: a pre-tokenizer's regex of %zu bytes; at most %d are allowed", what, n,
                  LONGEST_PATTERN);
        return NULL;
    }
    pare_pattern *pattern = pare_allocate(1, sizeof *pattern, error);
    if (!pattern)
        return NULL;
    translator t = {.from = regex, .end = regex + n, .what = what, .error = error};
    pattern->what = what;
    pattern->memory = pcre2_general_context_create(take, give, NULL);
    bool done = pattern->memory != NULL || pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory for a regex", what);
    if (done && literal) {
        done = compile(pattern, regex, n, true, error);
    } else if (done) {
        pare_string_print(&t.out, "(?C1)(?:"); /* each attempt calls `look` */
        done = translate(&t);
        pare_string_print(&t.out, ")");
        done = done && pare_string_check(&t.out, error) && compile(pattern, t.out.data, t.out.length, false, error);
    }
    pare_string_free(&t.out);
    if (!done) {
        pare_pattern_close(pattern);
        return NULL;
    }
    return pattern;
}

void pare_pattern_close(pare_pattern *pattern) {
    if (!pattern)
        return;
    pcre2_code_free(pattern->code);
    pcre2_general_context_free(pattern->memory);
    pare_free(pattern);
}

static double thread_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Called by PCRE2 at each place where it tries the pattern; non-zero ends the match with an error. */
static int look(pcre2_callout_block *block, void *user) {
    (void)block;
    pare_match *match = user;
    return ++match->attempts % ATTEMPTS_PER_LOOK == 0 && thread_seconds() > match->end_s ? PCRE2_ERROR_CALLOUT : 0;
}

/* A hundred times what an ordinary regex takes, and some seconds. */
void pare_match_begin(pare_match *match, size_t n_bytes) {
    match->end_s = thread_seconds() + 5 + (double)n_bytes * 5e-6;
}

pare_match *pare_match_open(pare_error *error) {
    pare_match *match = pare_allocate(1, sizeof *match, error);
    if (!match)
        return NULL;
    match->memory = pcre2_general_context_create(take, give, NULL);
    match->data = match->memory ? pcre2_match_data_create(1, match->memory) : NULL;
    match->limits = match->data ? pcre2_match_context_create(match->memory) : NULL;
    if (!match->limits) {
        pare_fail(error, PARE_ERROR_MEMORY, "out of memory for a regex");
        pare_match_close(match);
        return NULL;
    }
    pcre2_set_match_limit(match->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(match->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(match->limits, HEAP_LIMIT_KIB);
    pcre2_set_callout(match->limits, look, match);
    pare_match_begin(match, 0);
    return match;
}

void pare_match_close(pare_match *match) {
    if (!match)
        return;
    pcre2_match_context_free(match->limits);
    pcre2_match_data_free(match->data);
    pcre2_general_context_free(match->memory);
    pare_free(match);
}

bool pare_pattern_find(bool *found, size_t *start, size_t *end, pare_match *match, const pare_pattern *pattern, const char *text, size_t n,
                       size_t from, pare_error *error) {
    PCRE2_SPTR subject = (PCRE2_SPTR)text;
    int code = pcre2_match(pattern->code, subject, n, from, PCRE2_NO_UTF_CHECK, match->data, match->limits);
    if (code == PCRE2_ERROR_JIT_STACKLIMIT) /* the interpreter keeps its frames on the heap */
        code = pcre2_match(pattern->code, subject, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match->data, match->limits);
    *found = code >= 0;
    if (code >= 0) {
        const PCRE2_SIZE *places = pcre2_get_ovector_pointer(match->data);
        *start = places[0];
        *end = places[1];
    } else if (code == PCRE2_ERROR_NOMEMORY) {
        return pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory for a regex", pattern->what);
    } else if (code == PCRE2_ERROR_CALLOUT) {
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: the pre-tokenizer's regex gives up at byte %zu of a stretch of %zu: it takes too long", pattern->what, from,
                         n);
    } else if (code != PCRE2_ERROR_NOMATCH) {
        char reason[200] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: the pre-tokenizer's regex gives up at byte %zu of a stretch of %zu: %s",
                         pattern->what, from, n, reason);
    }
    return true;
}
