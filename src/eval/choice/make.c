/* make: a multiple-choice task out of any text: a passage, its true continuation, and continuations of other passages. */
#include <string.h>

#include "task_impl.h"

/* A word with the white space before it, as bytes of the text. */
typedef struct {
    size_t begin, end;
} word;

typedef struct {
    const char *text;
    word *words;
    size_t n_words, capacity;
    const pare_task_make_options *options;
    uint32_t *order; /* of all passages, shuffled; the first n are asked about */
    size_t n;
} maker;

static bool split(maker *m, size_t n, pare_error *error) {
    for (size_t at = 0; at < n;) {
        size_t blank = pare_lstrip(m->text + at, n - at), begin = at;
        at += blank;
        while (at < n && pare_lstrip(m->text + at, n - at) == 0)
            at++;
        if (begin + blank == at)
            break;
        if (!pare_grow((void **)&m->words, &m->capacity, m->n_words + 1, sizeof *m->words, error))
            return false;
        m->words[m->n_words++] = (word){begin, at};
    }
    return true;
}

/* The text is cut into stretches of a context and a choice; the first `items` of a seeded shuffle of them are the passages. */
static bool choose(maker *m, const char *what, pare_arena *arena, pare_error *error) {
    const pare_task_make_options *o = m->options;
    size_t stretch = (size_t)o->context_words + o->choice_words, n = m->n_words / stretch;
    m->n = o->items < n ? o->items : n;
    if (n < o->n_choices || n > UINT32_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: %zu words make %zu passages of %zu words; %u are the least", what, m->n_words, n,
                         stretch, o->n_choices);
    if (!(m->order = PARE_PUSH(arena, uint32_t, n, error)))
        return false;
    pare_random random;
    pare_random_init(&random, o->seed, "task passages", 0);
    for (size_t i = 0; i < n; i++)
        m->order[i] = (uint32_t)i;
    for (size_t i = 0; i + 1 < n; i++) {
        size_t j = i + pare_random_below(&random, (uint32_t)(n - i));
        uint32_t taken = m->order[i];
        m->order[i] = m->order[j];
        m->order[j] = taken;
    }
    return true;
}

/* `n` words from `first` on, without the white space before them where it is the start of a context. */
static pare_piece words_at(const maker *m, size_t first, size_t n, bool with_blank) {
    size_t begin = m->words[first].begin, end = m->words[first + n - 1].end;
    begin += with_blank ? 0 : pare_lstrip(m->text + begin, end - begin);
    return (pare_piece){m->text + begin, end - begin};
}

static pare_piece continuation(const maker *m, size_t passage) {
    const pare_task_make_options *o = m->options;
    size_t stretch = (size_t)o->context_words + o->choice_words;
    return words_at(m, m->order[passage] * stretch + o->context_words, o->choice_words, true);
}

static bool same(pare_piece a, pare_piece b) {
    return a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

/* Another passage whose continuation is none of those that are there already; a text that repeats itself may have none. */
static bool draw(pare_piece *out, const maker *m, const pare_piece *taken, uint32_t n_taken, size_t n_passages, pare_random *random) {
    enum { ATTEMPTS = 1000 };
    for (int i = 0; i < ATTEMPTS; i++) {
        bool found = true;
        *out = continuation(m, pare_random_below(random, (uint32_t)n_passages));
        for (uint32_t k = 0; k < n_taken; k++)
            found = found && !same(*out, taken[k]);
        if (found)
            return true;
    }
    return false;
}

static bool push_line(pare_string *out, pare_piece context, const pare_piece *choices, uint32_t n, uint32_t gold, pare_error *error) {
    pare_json_doc doc = {0};
    json_t *list = pare_json_array(&doc);
    for (uint32_t k = 0; k < n; k++)
        pare_json_append(&doc, list, pare_json_mended(&doc, choices[k].bytes, choices[k].length));
    json_t *item = pare_json_pack(&doc, "{s:o, s:o, s:i}", "context", pare_json_mended(&doc, context.bytes, context.length), "choices",
                                  list, "gold", (int)gold);
    bool done = pare_json_print_line(out, item, &doc, error);
    pare_string_push(out, "\n", 1);
    json_decref(item);
    return done;
}

static bool push_item(pare_string *out, const maker *m, size_t i, size_t n_passages, const char *what, pare_error *error) {
    enum { CHOICES_MAX = 64 };
    const pare_task_make_options *o = m->options;
    pare_piece choices[CHOICES_MAX] = {continuation(m, i)};
    size_t stretch = (size_t)o->context_words + o->choice_words;
    pare_random random;
    pare_random_init(&random, o->seed, "task choices", i);
    for (uint32_t k = 1; k < o->n_choices; k++)
        if (!draw(&choices[k], m, choices, k, n_passages, &random))
            return pare_fail(error, PARE_ERROR_RANGE, "%s: it repeats itself: there are not %u different continuations", what,
                             o->n_choices);
    uint32_t gold = pare_random_below(&random, o->n_choices);
    pare_piece right = choices[0];
    choices[0] = choices[gold];
    choices[gold] = right;
    return push_line(out, words_at(m, m->order[i] * stretch, o->context_words, false), choices, o->n_choices, gold, error);
}

static bool check(const pare_task_make_options *o, pare_error *error) {
    if (o->n_choices < 2 || o->n_choices > 64)
        return pare_fail(error, PARE_ERROR_RANGE, "%u choices: 2 to 64 are possible", o->n_choices);
    if (o->items == 0 || o->context_words == 0 || o->choice_words == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "items, words of a context and words of a choice are at least 1");
    return true;
}

bool pare_task_make(pare_string *out, const char *text, size_t n, const char *what, const pare_task_make_options *options,
                    pare_error *error) {
    pare_arena *arena = check(options, error) ? pare_arena_open(error) : NULL;
    maker m = {.text = text, .options = options};
    bool done = arena && split(&m, n, error) && choose(&m, what, arena, error);
    size_t n_passages = done ? m.n_words / ((size_t)options->context_words + options->choice_words) : 0;
    for (size_t i = 0; done && i < m.n; i++)
        done = push_item(out, &m, i, n_passages, what, error);
    done = done && pare_string_check(out, error);
    pare_free(m.words);
    pare_arena_close(arena);
    return done;
}
