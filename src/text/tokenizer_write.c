/* tokenizer_write: a tokenizer.json that the `tokenizers` package loads and that gives the same ids. One that was opened from
 * a tokenizer.json is given back byte for byte; one from parts is put together here. */
#include <stdlib.h>
#include <string.h>

#include "pare/json.h"
#include "tokenizer.h"

static json_t *text_of(pare_json_doc *doc, pare_piece piece) {
    return pare_json_text(doc, piece.bytes, piece.length);
}

static json_t *byte_level(pare_json_doc *doc, bool regex) {
    return pare_json_pack(doc, "{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
                          (int)regex);
}

/* ByteLevel's own regex serves for GPT-2's step; a Split before a bare ByteLevel for the others. */
static json_t *step_json(pare_json_doc *doc, const pare_step *step) {
    if (step->kind == PARE_STEP_GPT2)
        return byte_level(doc, true);
    if (step->kind == PARE_STEP_DIGITS)
        return pare_json_pack(doc, "{s:s, s:b}", "type", "Digits", "individual_digits", step->behaviour == PARE_SPLIT_ISOLATED);
    return pare_json_pack(doc, "{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", pare_step_regex(step), "behavior",
                          "Isolated", "invert", 0);
}

static json_t *pre_tokeniser_json(pare_json_doc *doc, const pare_tokenizer *tokenizer) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < tokenizer->n_steps; i++)
        pare_json_append(doc, list, step_json(doc, &tokenizer->steps[i]));
    if (tokenizer->steps[tokenizer->n_steps - 1].kind != PARE_STEP_GPT2)
        pare_json_append(doc, list, byte_level(doc, false));
    return pare_json_pack(doc, "{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
}

static json_t *added_json(pare_json_doc *doc, const pare_tokenizer *tokenizer) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < tokenizer->n_added; i++) {
        const pare_added *added = &tokenizer->added[i];
        pare_json_append(doc, list,
                         pare_json_pack(doc, "{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (int)added->id, "content",
                                        text_of(doc, added->content), "single_word", added->single_word, "lstrip", added->lstrip, "rstrip",
                                        added->rstrip, "normalized", added->normalized, "special", added->special));
    }
    return list;
}

/* The template around the text: what encode adds, each id under its token's name. */
static void put_special(pare_json_doc *doc, json_t *single, json_t *specials, const pare_tokenizer *tokenizer, uint32_t id) {
    json_t *name = text_of(doc, tokenizer->spelled[id]);
    if (!name)
        return;
    pare_json_append(doc, single, pare_json_pack(doc, "{s:{s:O, s:i}}", "SpecialToken", "id", name, "type_id", 0));
    pare_json_set(doc, specials, json_string_value(name),
                  pare_json_pack(doc, "{s:O, s:[i], s:[O]}", "id", name, "ids", (int)id, "tokens", name));
    json_decref(name);
}

static json_t *template_json(pare_json_doc *doc, const pare_tokenizer *tokenizer) {
    if (tokenizer->n_prefix + tokenizer->n_suffix == 0)
        return json_null();
    json_t *single = pare_json_array(doc), *specials = pare_json_object(doc);
    for (size_t i = 0; i < tokenizer->n_prefix; i++)
        put_special(doc, single, specials, tokenizer, tokenizer->prefix[i]);
    pare_json_append(doc, single, pare_json_pack(doc, "{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
    for (size_t i = 0; i < tokenizer->n_suffix; i++)
        put_special(doc, single, specials, tokenizer, tokenizer->suffix[i]);
    /* a pair of texts is the two of them one after the other, framed alike */
    json_t *pair = pare_json_copy(doc, single);
    pare_json_append(doc, pair, pare_json_pack(doc, "{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 1));
    return pare_json_pack(doc, "{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", pair, "special_tokens",
                          specials);
}

/* A token's spelling as a key, NUL-terminated: in `key` where it fits, else in memory of its own. NULL: it cannot be one. */
static char *key_of(char *key, size_t key_bytes, const pare_tokenizer *tokenizer, size_t id, pare_error *error) {
    pare_piece token = tokenizer->spelled[id];
    if (memchr(token.bytes, '\0', token.length)) {
        pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: token %zu has a zero byte, which a tokenizer.json cannot hold here", tokenizer->what,
                  id);
        return NULL;
    }
    char *name = token.length < key_bytes ? key : pare_allocate(token.length + 1, 1, error);
    if (name) {
        memcpy(name, token.bytes, token.length);
        name[token.length] = '\0';
    }
    return name;
}

static bool put_vocabulary(pare_json_doc *doc, json_t *model, const pare_tokenizer *tokenizer, pare_error *error) {
    json_t *vocabulary = pare_json_object(doc);
    bool done = true;
    for (size_t id = 0; done && id < tokenizer->n_ids; id++) {
        char key[1024], *name = NULL;
        if (!tokenizer->spelled[id].bytes)
            continue;
        done = (name = key_of(key, sizeof key, tokenizer, id, error)) != NULL;
        if (name)
            pare_json_set(doc, vocabulary, name, pare_json_integer(doc, (int64_t)id));
        if (name != key)
            pare_free(name);
    }
    pare_json_set(doc, model, "vocab", vocabulary);
    return done;
}

static int by_rank(const void *a, const void *b) {
    const pare_merge *x = a, *y = b;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

pare_merge *pare_tokenizer_merges(const pare_tokenizer *tokenizer, pare_error *error) {
    pare_merge *merges = pare_allocate(tokenizer->merges.n, sizeof *merges, error);
    size_t n = 0;
    for (size_t slot = 0; merges && slot <= tokenizer->merges.mask; slot++)
        if (tokenizer->merges.slots[slot].rank != UINT32_MAX)
            merges[n++] = tokenizer->merges.slots[slot];
    if (merges)
        qsort(merges, n, sizeof *merges, by_rank);
    return merges;
}

static bool put_merges(pare_json_doc *doc, json_t *model, const pare_tokenizer *tokenizer, pare_error *error) {
    pare_merge *merges = pare_tokenizer_merges(tokenizer, error);
    if (!merges)
        return false;
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < tokenizer->merges.n; i++)
        pare_json_append(doc, list,
                         pare_json_pack(doc, "[o, o]", text_of(doc, tokenizer->spelled[merges[i].pair >> 32]),
                                        text_of(doc, tokenizer->spelled[merges[i].pair & UINT32_MAX])));
    pare_free(merges);
    pare_json_set(doc, model, "merges", list);
    return true;
}

bool pare_tokenizer_print_json(pare_string *out, const pare_tokenizer *tokenizer, pare_error *error) {
    if (tokenizer->json.bytes) {
        pare_string_push(out, tokenizer->json.bytes, tokenizer->json.length);
        return pare_string_check(out, error);
    }
    pare_json_doc doc = {0};
    json_t *model =
        pare_json_pack(&doc, "{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                       "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", tokenizer->ignore_merges);
    bool done = put_vocabulary(&doc, model, tokenizer, error) && put_merges(&doc, model, tokenizer, error);
    json_t *root = pare_json_pack(&doc, "{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding",
                                  "added_tokens", added_json(&doc, tokenizer), "normalizer",
                                  tokenizer->nfc ? pare_json_pack(&doc, "{s:s}", "type", "NFC") : json_null(), "pre_tokenizer",
                                  pre_tokeniser_json(&doc, tokenizer), "post_processor", template_json(&doc, tokenizer), "decoder",
                                  byte_level(&doc, true), "model", model);
    done = done && pare_json_print(out, root, &doc, error);
    json_decref(root);
    return done;
}
