/* tokenizer_write: a tokenizer.json that the `tokenizers` package loads and that gives the same ids. One that was opened from
 * a tokenizer.json is given back byte for byte; one from parts is put together here. Jansson's values are checked where they
 * are joined: adding NULL fails. */
#include <stdlib.h>
#include <string.h>

#include "pare/json.h"
#include "tokenizer.h"

/* Adds `value` under `key` and takes it; false when either is missing. */
static bool put(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) == 0;
}

static bool append(json_t *list, json_t *value) {
    return json_array_append_new(list, value) == 0;
}

static json_t *text_of(pare_piece piece) {
    return json_stringn(piece.bytes, piece.length);
}

static json_t *byte_level(bool regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", (int)regex);
}

/* ByteLevel's own regex serves for GPT-2's step; a Split before a bare ByteLevel for the others. */
static json_t *step_json(const pare_step *step) {
    if (step->kind == PARE_STEP_GPT2)
        return byte_level(true);
    if (step->kind == PARE_STEP_DIGITS)
        return json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", step->behaviour == PARE_SPLIT_ISOLATED);
    return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", pare_step_regex(step), "behavior", "Isolated",
                     "invert", 0);
}

static json_t *pre_tokeniser_json(const pare_tokenizer *tokenizer) {
    json_t *list = json_array();
    bool done = list != NULL;
    for (size_t i = 0; done && i < tokenizer->n_steps; i++)
        done = append(list, step_json(&tokenizer->steps[i]));
    if (done && tokenizer->steps[tokenizer->n_steps - 1].kind != PARE_STEP_GPT2)
        done = append(list, byte_level(false));
    json_t *sequence = done ? json_pack("{s:s, s:O}", "type", "Sequence", "pretokenizers", list) : NULL;
    json_decref(list);
    return sequence;
}

static json_t *added_json(const pare_tokenizer *tokenizer) {
    json_t *list = json_array();
    bool done = list != NULL;
    for (size_t i = 0; done && i < tokenizer->n_added; i++) {
        const pare_added *added = &tokenizer->added[i];
        json_t *content = text_of(added->content);
        done = content && append(list, json_pack("{s:i, s:O, s:b, s:b, s:b, s:b, s:b}", "id", (int)added->id, "content", content,
                                                 "single_word", added->single_word, "lstrip", added->lstrip, "rstrip", added->rstrip,
                                                 "normalized", added->normalized, "special", added->special));
        json_decref(content);
    }
    if (done)
        return list;
    json_decref(list);
    return NULL;
}

/* The template around the text: what encode adds, each id under its token's name. */
static bool put_special(json_t *single, json_t *specials, const pare_tokenizer *tokenizer, uint32_t id) {
    json_t *name = text_of(tokenizer->spelled[id]);
    bool done = name && append(single, json_pack("{s:{s:O, s:i}}", "SpecialToken", "id", name, "type_id", 0)) &&
                put(specials, json_string_value(name), json_pack("{s:O, s:[i], s:[O]}", "id", name, "ids", (int)id, "tokens", name));
    json_decref(name);
    return done;
}

static json_t *template_json(const pare_tokenizer *tokenizer) {
    if (tokenizer->n_prefix + tokenizer->n_suffix == 0)
        return json_null();
    json_t *single = json_array(), *specials = json_object();
    bool done = single && specials;
    for (size_t i = 0; done && i < tokenizer->n_prefix; i++)
        done = put_special(single, specials, tokenizer, tokenizer->prefix[i]);
    done = done && append(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
    for (size_t i = 0; done && i < tokenizer->n_suffix; i++)
        done = put_special(single, specials, tokenizer, tokenizer->suffix[i]);
    /* a pair of texts is the two of them one after the other, framed alike */
    json_t *pair = done ? json_deep_copy(single) : NULL;
    done = pair && append(pair, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 1));
    json_t *whole =
        done ? json_pack("{s:s, s:O, s:O, s:O}", "type", "TemplateProcessing", "single", single, "pair", pair, "special_tokens", specials)
             : NULL;
    json_decref(single);
    json_decref(specials);
    json_decref(pair);
    return whole;
}

static json_t *vocabulary_json(const pare_tokenizer *tokenizer, pare_error *error) {
    json_t *vocabulary = json_object();
    bool done = vocabulary != NULL;
    for (size_t id = 0; done && id < tokenizer->n_ids; id++) {
        pare_piece token = tokenizer->spelled[id];
        if (!token.bytes)
            continue;
        if (memchr(token.bytes, '\0', token.length)) {
            json_decref(vocabulary);
            pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: token %zu has a zero byte, which a tokenizer.json cannot hold here",
                      tokenizer->what, id);
            return NULL;
        }
        char key[1024], *name = key;
        if (token.length >= sizeof key && !(name = pare_allocate(token.length + 1, 1, error)))
            done = false;
        if (done) {
            memcpy(name, token.bytes, token.length);
            name[token.length] = '\0';
            done = put(vocabulary, name, json_integer((json_int_t)id));
        }
        if (name != key)
            pare_free(name);
    }
    if (done)
        return vocabulary;
    json_decref(vocabulary);
    return NULL;
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

static json_t *merges_json(const pare_tokenizer *tokenizer, pare_error *error) {
    pare_merge *merges = pare_tokenizer_merges(tokenizer, error);
    json_t *list = merges ? json_array() : NULL;
    bool done = list != NULL;
    for (size_t i = 0; done && i < tokenizer->merges.n; i++) {
        json_t *pair = json_array();
        done = append(list, pair) && append(pair, text_of(tokenizer->spelled[merges[i].pair >> 32])) &&
               append(pair, text_of(tokenizer->spelled[merges[i].pair & UINT32_MAX]));
    }
    pare_free(merges);
    if (done)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *model_json(const pare_tokenizer *tokenizer, pare_error *error) {
    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                  "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", tokenizer->ignore_merges);
    if (put(model, "vocab", vocabulary_json(tokenizer, error)) && put(model, "merges", merges_json(tokenizer, error)))
        return model;
    json_decref(model);
    return NULL;
}

bool pare_tokenizer_print_json(pare_string *out, const pare_tokenizer *tokenizer, pare_error *error) {
    if (tokenizer->json.bytes) {
        pare_string_push(out, tokenizer->json.bytes, tokenizer->json.length);
        return pare_string_check(out, error);
    }
    pare_error inner = {0};
    json_t *root = json_pack("{s:s, s:n, s:n}", "version", "1.0", "truncation", "padding");
    bool done = put(root, "added_tokens", added_json(tokenizer)) &&
                put(root, "normalizer", tokenizer->nfc ? json_pack("{s:s}", "type", "NFC") : json_null()) &&
                put(root, "pre_tokenizer", pre_tokeniser_json(tokenizer)) && put(root, "post_processor", template_json(tokenizer)) &&
                put(root, "decoder", byte_level(true)) && put(root, "model", model_json(tokenizer, &inner));
    if (!done && inner.code != PARE_OK && error)
        *error = inner;
    else if (!done)
        pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory while its JSON was put together", tokenizer->what);
    done = done && pare_json_print(out, root, error);
    json_decref(root);
    return done;
}
