/* encode: runs a text through the stages of a tokenizer; each stage hands stretches of text to the next. */
#include <string.h>

#include "tokenizer.h"

typedef struct {
    const pare_tokenizer *tokenizer;
    pare_scratch *scratch;
    pare_tokens *tokens;
    bool llama_cpp; /* PARE_ENCODE_LLAMA_CPP */
    pare_error *error;
} encoder;

static bool run_step(encoder *e, size_t step, const char *text, size_t n);

static bool run_scanner(encoder *e, size_t step, const char *text, size_t n) {
    const pare_step *s = &e->tokenizer->steps[step];
    bool last = step + 1 == e->tokenizer->n_steps;
    const uint8_t *at = (const uint8_t *)text, *end = at + n;
    while (at < end) {
        size_t length = s->kind == PARE_STEP_GPT2 ? pare_scan_gpt2(at, end) : pare_scan_cl100k(at, end, s->digits);
        if (last ? !pare_bpe_push(e->tokens, &e->scratch->bpe, e->tokenizer, (const char *)at, length, e->error)
                 : !run_step(e, step + 1, (const char *)at, length))
            return false;
        at += length;
    }
    return true;
}

/* The next match of a step's pattern: start == n when there is none. */
static bool find_match(encoder *e, const pare_step *step, const char *text, size_t n, size_t from, size_t *start, size_t *end) {
    if (step->kind == PARE_STEP_PATTERN) {
        bool found;
        if (!pare_pattern_find(&found, start, end, e->scratch->match, step->pattern, text, n, from, e->error))
            return false;
        if (!found)
            *start = *end = n;
        return true;
    }
    size_t at = from;
    while (at < n && !(pare_unicode_class(pare_utf8_decode((const uint8_t *)text + at)) & PARE_CHAR_NUMERIC))
        at += pare_utf8_length((uint8_t)text[at]);
    *start = at;
    *end = at < n ? at + pare_utf8_length((uint8_t)text[at]) : n;
    return true;
}

/* Pieces of a split come in order, matched or not; the behaviour says which of them are joined before they go on. */
typedef struct {
    size_t start, end; /* the open piece, not yet handed on */
    bool open, matched;
} joiner;

static bool take_piece(encoder *e, size_t step, const char *text, joiner *j, size_t start, size_t end, bool matched) {
    const pare_step *s = &e->tokenizer->steps[step];
    matched ^= s->invert;
    if (matched && s->behaviour == PARE_SPLIT_REMOVED)
        return true;
    bool join = j->open && ((s->behaviour == PARE_SPLIT_CONTIGUOUS && matched == j->matched) ||
                            (s->behaviour == PARE_SPLIT_MERGED_WITH_PREVIOUS && matched && !j->matched) ||
                            (s->behaviour == PARE_SPLIT_MERGED_WITH_NEXT && !matched && j->matched));
    if (join) {
        j->end = end;
        j->matched = matched;
        return true;
    }
    if (j->open && j->end > j->start && !run_step(e, step + 1, text + j->start, j->end - j->start))
        return false;
    *j = (joiner){start, end, true, matched};
    return true;
}

static bool run_split(encoder *e, size_t step, const char *text, size_t n) {
    const pare_step *s = &e->tokenizer->steps[step];
    joiner j = {0};
    size_t piece = 0, from = 0; /* where the text that no match has taken begins; where to look */
    size_t last_match = SIZE_MAX;
    while (from <= n) {
        size_t start, end;
        if (!find_match(e, s, text, n, from, &start, &end))
            return false;
        if (start == end && start == n)
            break;
        if (start == end && end == last_match) { /* no empty match right after a match */
            from += pare_utf8_length((uint8_t)text[from]);
            continue;
        }
        if ((start > piece && !take_piece(e, step, text, &j, piece, start, false)) || !take_piece(e, step, text, &j, start, end, true))
            return false;
        piece = from = last_match = end;
    }
    if (piece < n && !take_piece(e, step, text, &j, piece, n, false))
        return false;
    return !j.open || j.end == j.start || run_step(e, step + 1, text + j.start, j.end - j.start);
}

static bool run_prefix(encoder *e, size_t step, const char *text, size_t n) {
    if (n > 0 && text[0] == ' ')
        return run_step(e, step + 1, text, n);
    pare_bytes *prefixed = &e->scratch->prefixed[step];
    prefixed->length = 0;
    return pare_bytes_push(prefixed, " ", 1, e->error) && pare_bytes_push(prefixed, text, n, e->error) &&
           run_step(e, step + 1, prefixed->data, prefixed->length);
}

static bool run_step(encoder *e, size_t step, const char *text, size_t n) {
    if (step == e->tokenizer->n_steps)
        return pare_bpe_push(e->tokens, &e->scratch->bpe, e->tokenizer, text, n, e->error);
    switch (e->tokenizer->steps[step].kind) {
    case PARE_STEP_GPT2:
    case PARE_STEP_CL100K: return run_scanner(e, step, text, n);
    case PARE_STEP_PREFIX: return run_prefix(e, step, text, n);
    default: return run_split(e, step, text, n);
    }
}

bool pare_tokens_push(pare_tokens *tokens, const uint32_t *ids, size_t n, pare_error *error) {
    if (n == 0)
        return true;
    if (!pare_grow((void **)&tokens->ids, &tokens->capacity, tokens->n + n, sizeof *ids, error))
        return false;
    memcpy(tokens->ids + tokens->n, ids, n * sizeof *ids);
    tokens->n += n;
    return true;
}

/* Regexes need working memory and a budget of time. */
static bool prepare_match(encoder *e, size_t n) {
    bool needed = false;
    for (size_t i = 0; i < e->tokenizer->n_steps; i++)
        needed |= e->tokenizer->steps[i].kind == PARE_STEP_PATTERN;
    if (needed && !e->scratch->match && !(e->scratch->match = pare_match_open(e->error)))
        return false;
    if (needed)
        pare_match_begin(e->scratch->match, n);
    return true;
}

/* A stretch without added tokens as written: normalise it, look for the normalised ones, pre-tokenise the rest. */
static bool run_normalised(encoder *e, pare_piece stretch) {
    pare_scratch *scratch = e->scratch;
    if (e->tokenizer->nfc && !e->llama_cpp && pare_nfc_needed(stretch.bytes, stretch.length)) {
        scratch->normal.length = 0;
        if (!pare_nfc_push(&scratch->normal, &scratch->nfc, stretch.bytes, stretch.length, e->error))
            return false;
        stretch = (pare_piece){scratch->normal.data, scratch->normal.length};
    }
    pare_added_walk walk = {.set = &e->tokenizer->normalized, .no_special = e->llama_cpp, .text = stretch.bytes, .n = stretch.length};
    pare_piece between;
    const pare_added *token;
    while (pare_added_next(&between, &token, &walk)) {
        if ((between.length > 0 && !run_step(e, 0, between.bytes, between.length)) ||
            (token && !pare_tokens_push(e->tokens, &token->id, 1, e->error)))
            return false;
    }
    return true;
}

static bool run_text(encoder *e, const char *text, size_t n) {
    pare_added_walk walk = {.set = &e->tokenizer->as_written, .no_special = e->llama_cpp, .text = text, .n = n};
    pare_piece between;
    const pare_added *token;
    while (pare_added_next(&between, &token, &walk)) {
        if ((between.length > 0 && !run_normalised(e, between)) || (token && !pare_tokens_push(e->tokens, &token->id, 1, e->error)))
            return false;
    }
    return true;
}

/* ---- scratches: taken from the pool or made, and put back for the next call ------------------------ */

static pare_scratch *take_scratch(pare_scratch_pool *pool, pare_error *error) {
    pthread_mutex_lock(&pool->lock);
    pare_scratch *scratch = pool->free;
    if (scratch)
        pool->free = scratch->next;
    pthread_mutex_unlock(&pool->lock);
    return scratch ? scratch : pare_allocate(1, sizeof *scratch, error);
}

static void give_scratch(pare_scratch_pool *pool, pare_scratch *scratch) {
    pthread_mutex_lock(&pool->lock);
    scratch->next = pool->free;
    pool->free = scratch;
    pthread_mutex_unlock(&pool->lock);
}

static void free_scratch(pare_scratch *scratch) {
    pare_free(scratch->valid.data);
    pare_free(scratch->normal.data);
    for (size_t i = 0; i < PARE_STEPS; i++)
        pare_free(scratch->prefixed[i].data);
    pare_nfc_free(&scratch->nfc);
    pare_bpe_free(&scratch->bpe);
    pare_match_close(scratch->match);
    pare_free(scratch);
}

bool pare_tokenizer_encode(pare_tokens *tokens, const pare_tokenizer *tokenizer, const char *text, size_t n, unsigned flags,
                           pare_error *error) {
    bool template = flags & PARE_ENCODE_TEMPLATE;
    encoder e = {tokenizer, take_scratch(tokenizer->pool, error), tokens, flags & PARE_ENCODE_LLAMA_CPP, error};
    if (!e.scratch)
        return false;
    size_t n_before = tokens->n;
    bool done = true;
    if (pare_utf8_valid((const uint8_t *)text, n) < n) {
        e.scratch->valid.length = 0;
        done = pare_utf8_replace(&e.scratch->valid, (const uint8_t *)text, n, error);
        text = e.scratch->valid.data;
        n = e.scratch->valid.length;
    }
    done = done && prepare_match(&e, n) && (!template || pare_tokens_push(tokens, tokenizer->prefix, tokenizer->n_prefix, error)) &&
           run_text(&e, text, n) && (!template || pare_tokens_push(tokens, tokenizer->suffix, tokenizer->n_suffix, error));
    if (!done)
        tokens->n = n_before;
    give_scratch(tokenizer->pool, e.scratch);
    return done;
}

void pare_tokens_free(pare_tokens *tokens) {
    pare_free(tokens->ids);
    *tokens = (pare_tokens){0};
}

void pare_tokenizer_close(pare_tokenizer *tokenizer) {
    if (!tokenizer)
        return;
    if (tokenizer->pool) {
        for (pare_scratch *scratch = tokenizer->pool->free, *next; scratch; scratch = next) {
            next = scratch->next;
            free_scratch(scratch);
        }
        pthread_mutex_destroy(&tokenizer->pool->lock);
        pare_free(tokenizer->pool);
    }
    for (size_t i = 0; i < tokenizer->n_steps; i++)
        pare_pattern_close(tokenizer->steps[i].pattern);
    pare_arena_close(tokenizer->arena);
}
