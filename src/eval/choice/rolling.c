/* rolling: the likelihood of whole pages, as lm-evaluation-harness's `wikitext` (0.4.13): each page is written as people write, every token
 * is predicted once, and the sums are shared out over the words and bytes of the page as it was. Protocol `words`. */
#include <math.h>
#include <string.h>

#include "pare/corpus.h"
#include "pare/rolling.h"
#include "template.h"

/* ---- pages ---- */

/* A line "= Title =", but not "= = Section = =": a page begins. */
static bool is_title(const char *line, size_t n) {
    size_t skip = pare_lstrip(line, n), end = pare_rstrip(line, n);
    if (end < skip + 4 || memcmp(line + skip, "= ", 2) != 0 || memcmp(line + end - 2, " =", 2) != 0)
        return false;
    return line[skip + 2] != '=' && line[end - 3] != '=';
}

/* Bytes of the page that begins at `at`; without the line end before the next title. */
static size_t page_length(size_t *passed, const char *at, const char *end) {
    for (const char *line = at; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line)), *stop = newline ? newline : end;
        if (line > at && is_title(line, (size_t)(stop - line))) {
            *passed = (size_t)(line - at);
            return *passed - 1;
        }
        line = newline ? newline + 1 : end;
    }
    *passed = (size_t)(end - at);
    return *passed;
}

/* ---- as people write ---- */

/* The data set's marks undone, in this order: plain replacements, then what stands within brackets and quotes, then the rest. */
typedef struct {
    const char *from, *to;
} replacement;
static const replacement before[] = {{"s '", "s'"}, {" @-@ ", "-"}, {" @,@ ", ","}, {" @.@ ", "."}, {" : ", ": "},
                                     {" ; ", "; "}, {" . ", ". "},  {" ! ", "! "},  {" ? ", "? "},  {" , ", ", "}};
static const char brackets[][2] = {{'(', ')'}, {'[', ']'}, {'{', '}'}, {'"', '"'}, {'\'', '\''}};
static const replacement after[] = {{"= = = =", "===="}, {"= = =", "==="}, {"= =", "=="},  {" \302\260 ", "\302\260"},
                                    {" \n", "\n"},       {"\n ", "\n"},    {" N ", " 1 "}, {" 's", "'s"}};

static void replace(pare_string *text, const replacement *r) {
    pare_string out = {0};
    size_t n = strlen(r->from);
    for (size_t i = 0; i < text->length;) {
        bool found = text->length - i >= n && memcmp(text->data + i, r->from, n) == 0;
        pare_string_push(&out, found ? r->to : text->data + i, found ? strlen(r->to) : 1);
        i += found ? n : 1;
    }
    out.failed |= text->failed;
    pare_string_free(text);
    *text = out;
}

/* White space at both ends of what stands within a pair goes. */
static void tighten(pare_string *text, const char pair[2]) {
    pare_string out = {0};
    for (size_t i = 0; i < text->length;) {
        const char *open = text->data + i, *close = *open == pair[0] ? memchr(open + 1, pair[1], text->length - i - 1) : NULL;
        if (!close) {
            pare_string_push(&out, open, 1);
            i++;
            continue;
        }
        size_t n = pare_rstrip(open + 1, (size_t)(close - open - 1)), skip = pare_lstrip(open + 1, n);
        pare_string_push(&out, &pair[0], 1);
        pare_string_push(&out, open + 1 + skip, n - skip);
        pare_string_push(&out, &pair[1], 1);
        i += (size_t)(close - open) + 1;
    }
    out.failed |= text->failed;
    pare_string_free(text);
    *text = out;
}

/* "/' 5/" becomes "/'[0-9]/": the harness's own slip, kept so that numbers agree. */
static void slip(pare_string *text) {
    for (char digit = '0'; digit <= '9'; digit++)
        replace(text, &(replacement){(char[]){'/', '\'', ' ', digit, '/', '\0'}, "/'[0-9]/"});
}

void pare_rolling_detokenise(pare_string *text) {
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        replace(text, &before[i]);
        if (i == 0)
            slip(text);
    }
    for (size_t i = 0; i < sizeof brackets / sizeof *brackets; i++)
        tighten(text, brackets[i]);
    for (size_t i = 0; i < sizeof after / sizeof *after; i++)
        replace(text, &after[i]);
}

/* Pieces between runs of white space, empty ones at the ends too: Python's re.split(r"\s+", page). */
static uint64_t count_words(const char *text, size_t n) {
    uint64_t words = 1;
    for (size_t i = 0; i < n;) {
        size_t spaces = pare_lstrip(text + i, n - i);
        words += spaces > 0;
        i += spaces > 0 ? spaces : 1;
    }
    return words;
}

/* ---- windows ---- */

/* Requests of all pages, their tokens in the arena. */
typedef struct {
    pare_request *requests;
    size_t *ends;
    size_t n, requests_capacity, ends_capacity;
    pare_arena *arena;
} windows;

static bool add_window(windows *w, const uint32_t *ids, size_t n, size_t n_context, pare_error *error) {
    if (!pare_grow((void **)&w->requests, &w->requests_capacity, w->n + 1, sizeof *w->requests, error) ||
        !pare_grow((void **)&w->ends, &w->ends_capacity, w->n + 1, sizeof *w->ends, error))
        return false;
    w->requests[w->n] = (pare_request){ids, (uint32_t)n, (uint32_t)n_context};
    w->ends[w->n] = w->n + 1;
    w->n++;
    return true;
}

/* The first window begins with the prefix token; a later one has one token of context, the last as many as fit. */
static bool add_page(windows *w, const pare_tokens *tokens, uint32_t prefix, size_t most, pare_error *error) {
    if (tokens->n == 0)
        return true;
    uint32_t *ids = PARE_PUSH(w->arena, uint32_t, tokens->n + 1, error);
    if (!ids)
        return false;
    ids[0] = prefix;
    memcpy(ids + 1, tokens->ids, tokens->n * sizeof *ids);
    size_t done = tokens->n < most ? tokens->n : most;
    if (!add_window(w, ids, done + 1, 1, error))
        return false;
    while (done < tokens->n) {
        size_t n = tokens->n - done < most ? tokens->n - done : most, end = done + n;
        if (!add_window(w, ids + 1 + end - most - 1, most + 1, most + 1 - n, error))
            return false;
        done = end;
    }
    return true;
}

static bool add_pages(pare_rolling_result *r, windows *w, const pare_corpus *corpus, const pare_request_rule *rule, size_t limit,
                      pare_error *error) {
    const char *at = corpus->bytes, *end = at + corpus->length;
    bool done = true;
    for (size_t passed; done && at < end && (limit == 0 || r->pages < limit); at += passed) {
        size_t n = page_length(&passed, at, end);
        if (pare_lstrip(at, n) == n)
            continue;
        pare_string text = {0};
        pare_tokens tokens = {0};
        pare_string_push(&text, at, n);
        pare_rolling_detokenise(&text);
        done = pare_string_check(&text, error) && pare_request_encode_text(&tokens, rule, (pare_piece){text.data, text.length}, error) &&
               add_page(w, &tokens, (uint32_t)rule->prefix, rule->max_positions, error);
        r->pages++;
        r->words += count_words(at, n);
        r->bytes += n;
        r->tokens += tokens.n;
        pare_tokens_free(&tokens);
        pare_string_free(&text);
    }
    return done;
}

static bool score(pare_rolling_result *r, const windows *w, const pare_model *model, const pare_context *context, pare_error *error) {
    pare_score *scores = pare_allocate(w->n, sizeof *scores, error);
    bool done = scores && pare_score_run(scores, model, w->requests, w->ends, w->n, NULL, NULL, context, error);
    for (size_t i = 0; done && i < w->n; i++)
        r->log_likelihood += scores[i].log_likelihood;
    pare_free(scores);
    return done;
}

bool pare_rolling_run(pare_rolling_result *result, const pare_model *model, const pare_request_rule *rule, const char *path, size_t limit,
                      const pare_context *context, pare_error *error) {
    double begin = pare_clock_s();
    pare_corpus corpus;
    *result = (pare_rolling_result){0};
    if (rule->prefix < 0)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: the protocol words needs a BOS or an EOS token to begin a page with",
                         model->checkpoint->path);
    if (!pare_corpus_open(&corpus, path, rule->tokenizer, context, error))
        return false;
    windows w = {.arena = pare_arena_open(error)};
    result->data_sha256 = corpus.sha256;
    bool done = w.arena && add_pages(result, &w, &corpus, rule, limit, error) &&
                (w.n > 0 || pare_fail(error, PARE_ERROR_RANGE, "%s: there is no page with text in it", path)) &&
                score(result, &w, model, context, error);
    result->windows = w.n;
    result->word_perplexity = exp(-result->log_likelihood / (double)result->words);
    result->byte_perplexity = exp(-result->log_likelihood / (double)result->bytes);
    result->bits_per_byte = -result->log_likelihood / ((double)result->bytes * log(2));
    result->seconds = pare_clock_s() - begin;
    pare_free(w.requests);
    pare_free(w.ends);
    pare_arena_close(w.arena);
    pare_corpus_close(&corpus);
    return done;
}
