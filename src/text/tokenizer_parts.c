/* tokenizer_parts: a tokenizer from what GGUF metadata carries, and the same back: tokens, types, merges, and the name of a pre-tokeniser,
 * which stands for a normaliser and regexes that are known here by that name. */
#include <string.h>

#include "tokenizer.h"

typedef struct {
    const char *name;
    pare_step steps[2];
    size_t n_steps;
    bool nfc, ignore_merges;
} pre_tokeniser;

#define GPT2                                                                                                                               \
    { .kind = PARE_STEP_GPT2 }
#define DIGITS                                                                                                                             \
    { .kind = PARE_STEP_DIGITS, .behaviour = PARE_SPLIT_ISOLATED }
#define CL100K(n)                                                                                                                          \
    { .kind = PARE_STEP_CL100K, .digits = (n) }
static const pre_tokeniser known[] = {
    {"gpt-2", {GPT2}, 1, false, false},
    {"smollm", {DIGITS, GPT2}, 2, false, false},
    {"llama-bpe", {CL100K(3)}, 1, false, true},
    {"llama3", {CL100K(3)}, 1, false, true},
    {"llama-v3", {CL100K(3)}, 1, false, true},
    {"qwen2", {CL100K(1)}, 1, true, false},
    {"deepseek-r1-qwen", {CL100K(1)}, 1, true, false},
};

static const char default_name[] = "default";

/* It fits no published model exactly, and stands where a converter did not know the model: llama.cpp warns, and so does this. */
static bool set_default_pre(pare_tokenizer *tokenizer, bool named, pare_error *error) {
    for (size_t i = 0; i < PARE_DEFAULT_REGEXES; i++, tokenizer->n_steps++)
        if (!pare_step_from_regex(&tokenizer->steps[i], pare_default_regexes[i], PARE_SPLIT_ISOLATED, false, tokenizer->what, error))
            return false;
    tokenizer->note = pare_arena_format(tokenizer->arena, error,
                                        "%s: tokenizer.ggml.pre is %s. Words are split as llama.cpp does by default, which is wrong for "
                                        "Llama-3, Qwen2 and most other models; convert the model again to get its own pre-tokeniser",
                                        tokenizer->what, named ? "\"default\"" : "missing");
    return tokenizer->note != NULL;
}

static bool set_pre(pare_tokenizer *tokenizer, const char *name, pare_error *error) {
    if (!name || strcmp(name, default_name) == 0)
        return set_default_pre(tokenizer, name != NULL, error);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name) != 0)
            continue;
        memcpy(tokenizer->steps, known[i].steps, sizeof known[i].steps);
        tokenizer->n_steps = known[i].n_steps;
        tokenizer->nfc = known[i].nfc;
        tokenizer->ignore_merges = known[i].ignore_merges;
        return true;
    }
    return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                     "%s: the pre-tokeniser \"%.80s\" is not known (known: gpt-2, smollm, llama-bpe, qwen2, default)", tokenizer->what,
                     name);
}

static bool set_merges(pare_tokenizer *tokenizer, const pare_tokenizer_parts *parts, pare_error *error) {
    if (!pare_tokenizer_size_merges(tokenizer, parts->n_merges, error))
        return false;
    for (size_t i = 0; i < parts->n_merges; i++) {
        pare_piece line = parts->merges[i];
        const char *space = line.length > 1 ? memchr(line.bytes + 1, ' ', line.length - 1) : NULL;
        if (!space)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: merge %zu is not a pair of tokens", tokenizer->what, i);
        size_t left = (size_t)(space - line.bytes);
        if (!pare_tokenizer_add_merge(tokenizer, (uint32_t)i, (pare_piece){line.bytes, left},
                                      (pare_piece){space + 1, line.length - left - 1}, error))
            return false;
    }
    return true;
}

/* Control, unknown and user-defined tokens are looked for as written, before anything else. */
static bool set_added(pare_tokenizer *tokenizer, const pare_tokenizer_parts *parts, pare_error *error) {
    size_t n = 0;
    pare_added *added = pare_allocate(parts->n_tokens, sizeof *added, error);
    if (!added)
        return false;
    for (size_t id = 0; id < parts->n_tokens && parts->types; id++) {
        int32_t type = parts->types[id];
        bool special = type == PARE_TOKEN_CONTROL || type == PARE_TOKEN_UNKNOWN;
        if ((special || type == PARE_TOKEN_USER_DEFINED) && parts->tokens[id].length > 0)
            added[n++] = (pare_added){.content = parts->tokens[id], .id = (uint32_t)id, .special = special};
    }
    bool done = pare_tokenizer_set_added(tokenizer, added, n, error);
    pare_free(added);
    return done;
}

static bool set_template(uint32_t **list, size_t *n, pare_tokenizer *tokenizer, bool wanted, int64_t id, const char *name,
                         pare_error *error) {
    if (!wanted)
        return true;
    if (id < 0 || (uint64_t)id >= tokenizer->n_ids)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %s is to be added, but its id %lld is outside the vocabulary", tokenizer->what,
                         name, (long long)id);
    *list = PARE_PUSH(tokenizer->arena, uint32_t, 1, error);
    if (!*list)
        return false;
    **list = (uint32_t)id;
    *n = 1;
    return true;
}

pare_tokenizer *pare_tokenizer_open_parts(const pare_tokenizer_parts *parts, const char *what, pare_error *error) {
    pare_tokenizer *tokenizer = pare_tokenizer_begin(what, error);
    if (!tokenizer)
        return NULL;
    bool done = false;
    if (parts->n_tokens == 0 || parts->n_tokens >= INT32_MAX || parts->n_merges >= INT32_MAX)
        pare_fail(error, PARE_ERROR_FORMAT, "%s: a vocabulary of %zu tokens and %zu merges", what, parts->n_tokens, parts->n_merges);
    else
        done = set_pre(tokenizer, parts->pre, error) && pare_tokenizer_set_vocabulary(tokenizer, parts->tokens, parts->n_tokens, error) &&
               set_merges(tokenizer, parts, error) && set_added(tokenizer, parts, error) &&
               set_template(&tokenizer->prefix, &tokenizer->n_prefix, tokenizer, parts->add_bos, parts->bos, "BOS", error) &&
               set_template(&tokenizer->suffix, &tokenizer->n_suffix, tokenizer, parts->add_eos, parts->eos, "EOS", error) &&
               pare_tokenizer_finish(tokenizer, error);
    if (!done) {
        pare_tokenizer_close(tokenizer);
        return NULL;
    }
    return tokenizer;
}

/* ---- the way back ---- */

static bool same_step(const pare_step *a, const pare_step *b) {
    return a->kind == b->kind && (a->kind != PARE_STEP_CL100K || a->digits == b->digits) &&
           (a->kind != PARE_STEP_DIGITS || a->behaviour == b->behaviour);
}

static bool is_default_pre(const pare_tokenizer *tokenizer) {
    bool same = tokenizer->n_steps == PARE_DEFAULT_REGEXES && !tokenizer->nfc && !tokenizer->ignore_merges;
    for (size_t i = 0; same && i < PARE_DEFAULT_REGEXES; i++)
        same = tokenizer->steps[i].kind == PARE_STEP_PATTERN && tokenizer->steps[i].regex == pare_default_regexes[i];
    return same;
}

/* Steps of the kinds PREFIX and PATTERN are in no row of the table. */
static const char *find_pre(const pare_tokenizer *tokenizer) {
    if (is_default_pre(tokenizer))
        return default_name;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const pre_tokeniser *k = &known[i];
        bool same = k->n_steps == tokenizer->n_steps && k->nfc == tokenizer->nfc && k->ignore_merges == tokenizer->ignore_merges;
        for (size_t s = 0; same && s < k->n_steps; s++)
            same = same_step(&k->steps[s], &tokenizer->steps[s]);
        if (same)
            return k->name;
    }
    return NULL;
}

static bool write_tokens(pare_tokenizer_parts *parts, const pare_tokenizer *tokenizer, pare_arena *arena, pare_error *error) {
    size_t n = tokenizer->n_ids;
    pare_piece *tokens = PARE_PUSH(arena, pare_piece, n, error);
    int32_t *types = PARE_PUSH(arena, int32_t, n, error);
    if (!tokens || !types)
        return false;
    for (size_t id = 0; id < n; id++) {
        tokens[id] = tokenizer->spelled[id];
        types[id] = tokens[id].bytes ? PARE_TOKEN_NORMAL : PARE_TOKEN_UNUSED;
    }
    for (size_t i = 0; i < tokenizer->n_added; i++)
        types[tokenizer->added[i].id] = tokenizer->added[i].special ? PARE_TOKEN_CONTROL : PARE_TOKEN_USER_DEFINED;
    *parts = (pare_tokenizer_parts){.tokens = tokens, .types = types, .n_tokens = n, .bos = -1, .eos = -1, .unknown = -1, .padding = -1};
    return true;
}

/* "left right" for each merge, all texts in one piece of memory. */
static bool write_merges(pare_tokenizer_parts *parts, const pare_tokenizer *tokenizer, pare_arena *arena, pare_error *error) {
    size_t n = tokenizer->merges.n, total = 1;
    pare_merge *merges = pare_tokenizer_merges(tokenizer, error);
    for (size_t i = 0; merges && i < n; i++)
        total += tokenizer->spelled[merges[i].pair >> 32].length + 1 + tokenizer->spelled[merges[i].pair & UINT32_MAX].length;
    char *text = merges ? PARE_PUSH(arena, char, total, error) : NULL;
    pare_piece *lines = text ? PARE_PUSH(arena, pare_piece, n, error) : NULL;
    for (size_t i = 0; lines && i < n; i++) {
        pare_piece left = tokenizer->spelled[merges[i].pair >> 32], right = tokenizer->spelled[merges[i].pair & UINT32_MAX];
        lines[i] = (pare_piece){text, left.length + 1 + right.length};
        memcpy(text, left.bytes, left.length);
        text[left.length] = ' ';
        memcpy(text + left.length + 1, right.bytes, right.length);
        text += lines[i].length;
    }
    pare_free(merges);
    parts->merges = lines;
    parts->n_merges = n;
    return lines != NULL;
}

bool pare_tokenizer_write_parts(pare_tokenizer_parts *parts, const pare_tokenizer *tokenizer, pare_arena *arena, pare_error *error) {
    const char *pre = find_pre(tokenizer);
    if (!pre)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: its pre-tokeniser is none that GGUF has a name for here (gpt-2, smollm, llama-bpe, qwen2)", tokenizer->what);
    if (tokenizer->n_prefix > 1 || tokenizer->n_suffix > 1)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: it adds %zu tokens before a text and %zu behind; GGUF can say one of each",
                         tokenizer->what, tokenizer->n_prefix, tokenizer->n_suffix);
    if (!write_tokens(parts, tokenizer, arena, error) || !write_merges(parts, tokenizer, arena, error))
        return false;
    parts->pre = pre;
    parts->add_bos = tokenizer->n_prefix > 0;
    parts->add_eos = tokenizer->n_suffix > 0;
    parts->bos = parts->add_bos ? (int64_t)tokenizer->prefix[0] : -1;
    parts->eos = parts->add_eos ? (int64_t)tokenizer->suffix[0] : -1;
    return true;
}
