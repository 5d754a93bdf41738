/* tokenizer_json: reads a tokenizer.json, the format of the Hugging Face `tokenizers` package: model, added tokens, normaliser,
 * pre-tokeniser, post-processor. What would change the ids and is not known here is refused by its name; what cannot is passed over: the
 * decoder (a token's bytes follow from its spelling), and "truncation" and "padding", which transformers takes from its caller. */
#include <string.h>

#include "pare/json.h"
#include "tokenizer.h"

enum { NESTED = 8 }; /* sequences within sequences */

static bool refuse(const pare_tokenizer *tokenizer, pare_error *error, const char *part, const char *type, const char *known) {
    return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: %s \"%.80s\" is not supported (known: %s)", tokenizer->what, part,
                     type ? type : "without a type", known);
}

static const char *type_of(const json_t *part) {
    return json_string_value(json_object_get(part, "type"));
}

static bool is_type(const json_t *part, const char *type) {
    const char *found = type_of(part);
    return found && strcmp(found, type) == 0;
}

static pare_piece piece_of(const json_t *string) {
    return (pare_piece){json_string_value(string), json_string_length(string)};
}

/* ---- vocabulary and merges ------------------------------------------------------------------------ */

/* An id must not be far beyond the count of tokens, so that a small file cannot ask for much memory. */
static bool read_id(uint32_t *id, const json_t *value, size_t n_tokens, const char *token, const char *what, pare_error *error) {
    if (!json_is_integer(value) || json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) > 2 * n_tokens + 65536 ||
        (uint64_t)json_integer_value(value) >= INT32_MAX)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the id of token \"%.100s\" is no whole number in proportion to %zu tokens", what,
                         token, n_tokens);
    *id = (uint32_t)json_integer_value(value);
    return true;
}

typedef struct {
    pare_piece *items;
    size_t n, capacity;
} pieces;

static bool set_piece(pieces *list, uint32_t id, pare_piece piece, const char *what, pare_error *error) {
    if (!pare_grow((void **)&list->items, &list->capacity, (size_t)id + 1, sizeof *list->items, error))
        return false;
    if (list->items[id].bytes)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tokens \"%.100s\" and \"%.100s\" have the same id %u", what, list->items[id].bytes,
                         piece.bytes, id);
    list->items[id] = piece;
    if (list->n <= id)
        list->n = (size_t)id + 1;
    return true;
}

/* Largest id + 1 over vocabulary and added tokens. */
static bool count_ids(size_t *n, const pieces *vocabulary, const json_t *added, const char *what, pare_error *error) {
    *n = vocabulary->n;
    size_t i;
    const json_t *token;
    json_array_foreach(added, i, token) {
        uint32_t id;
        const char *content = json_string_value(json_object_get(token, "content"));
        if (!content)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: added token %zu has no content", what, i);
        if (!read_id(&id, json_object_get(token, "id"), vocabulary->n + json_array_size(added), content, what, error))
            return false;
        *n = id >= *n ? (size_t)id + 1 : *n;
    }
    return true;
}

static bool read_vocabulary(pare_tokenizer *tokenizer, const json_t *vocabulary, const json_t *added, pare_error *error) {
    const char *what = tokenizer->what;
    if (!json_is_object(vocabulary) || json_object_size(vocabulary) == 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the model has no vocabulary", what);
    pieces list = {0};
    bool done = true;
    size_t n_ids = 0;
    void *iterator = json_object_iter((json_t *)(uintptr_t)vocabulary);
    for (; done && iterator; iterator = json_object_iter_next((json_t *)(uintptr_t)vocabulary, iterator)) {
        const char *token = json_object_iter_key(iterator);
        uint32_t id;
        done = read_id(&id, json_object_iter_value(iterator), json_object_size(vocabulary), token, what, error) &&
               set_piece(&list, id, (pare_piece){token, strlen(token)}, what, error);
    }
    done = done && count_ids(&n_ids, &list, added, what, error) &&
           pare_grow((void **)&list.items, &list.capacity, n_ids, sizeof *list.items, error) &&
           pare_tokenizer_set_vocabulary(tokenizer, list.items, n_ids, error);
    pare_free(list.items);
    return done;
}

/* "left right" or ["left", "right"]. */
static bool read_merge(pare_piece *left, pare_piece *right, const json_t *merge) {
    if (json_is_array(merge)) {
        *left = piece_of(json_array_get(merge, 0));
        *right = piece_of(json_array_get(merge, 1));
        return json_array_size(merge) == 2 && left->bytes && right->bytes;
    }
    pare_piece line = piece_of(merge);
    const char *space = line.bytes ? memchr(line.bytes, ' ', line.length) : NULL;
    if (!space)
        return false;
    *left = (pare_piece){line.bytes, (size_t)(space - line.bytes)};
    *right = (pare_piece){space + 1, line.length - left->length - 1};
    return !memchr(right->bytes, ' ', right->length);
}

static bool read_merges(pare_tokenizer *tokenizer, const json_t *merges, pare_error *error) {
    if (!json_is_array(merges))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the model has no list of merges", tokenizer->what);
    if (!pare_tokenizer_size_merges(tokenizer, json_array_size(merges), error))
        return false;
    size_t i;
    const json_t *merge;
    json_array_foreach(merges, i, merge) {
        pare_piece left, right;
        if (i == 0 && json_is_string(merge) && strncmp(json_string_value(merge), "#version", 8) == 0)
            continue;
        if (!read_merge(&left, &right, merge))
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: merge %zu is not a pair of tokens", tokenizer->what, i);
        if (!pare_tokenizer_add_merge(tokenizer, (uint32_t)i, left, right, error))
            return false;
    }
    return true;
}

/* Options of BPE that byte-level models leave at their neutral value. */
static bool check_model(const pare_tokenizer *tokenizer, const json_t *model, pare_error *error) {
    static const char *const texts[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    if (!json_is_object(model))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: there is no \"model\"", tokenizer->what);
    if (type_of(model) && !is_type(model, "BPE"))
        return refuse(tokenizer, error, "model", type_of(model), "BPE");
    for (size_t i = 0; i < 2; i++) {
        const char *text = NULL;
        if (!pare_json_get_string(&text, model, texts[i], tokenizer->what, error))
            return false;
        if (text && *text)
            return refuse(tokenizer, error, "model option", texts[i], "an empty one");
    }
    double dropout = 0;
    if (!pare_json_get_double(&dropout, model, "dropout", tokenizer->what, error))
        return false;
    return dropout == 0 || refuse(tokenizer, error, "model option", "dropout", "none");
}

/* What becomes of a character that is not in the vocabulary. Where all bytes are, nothing ever does, and these options say nothing. */
static bool read_unknown(pare_tokenizer *tokenizer, const json_t *model, pare_error *error) {
    const char *unknown = NULL;
    bool fallback = false, complete = true;
    for (unsigned byte = 0; byte < 256; byte++)
        complete = complete && tokenizer->byte_ids[byte] != PARE_NO_ID;
    if (!pare_json_get_bool(&tokenizer->fuse_unknown, model, "fuse_unk", tokenizer->what, error) ||
        !pare_json_get_bool(&fallback, model, "byte_fallback", tokenizer->what, error) ||
        !pare_json_get_string(&unknown, model, "unk_token", tokenizer->what, error))
        return false;
    if (unknown)
        tokenizer->unknown = pare_piece_map_find(&tokenizer->by_spelling, unknown, strlen(unknown));
    if (complete)
        return true;
    if (fallback)
        return refuse(tokenizer, error, "model option", "byte_fallback", "none, where the vocabulary lacks some of the 256 bytes");
    if (unknown && tokenizer->unknown == PARE_NO_ID)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: unk_token \"%.100s\" is not in the vocabulary, which lacks some of the 256 bytes",
                         tokenizer->what, unknown);
    return true;
}

static bool read_model(pare_tokenizer *tokenizer, const json_t *model, const json_t *added, pare_error *error) {
    return check_model(tokenizer, model, error) &&
           pare_json_get_bool(&tokenizer->ignore_merges, model, "ignore_merges", tokenizer->what, error) &&
           read_vocabulary(tokenizer, json_object_get(model, "vocab"), added, error) && read_unknown(tokenizer, model, error) &&
           read_merges(tokenizer, json_object_get(model, "merges"), error);
}

/* ---- added tokens --------------------------------------------------------------------------------- */

static bool read_added_token(pare_added *added, const pare_tokenizer *tokenizer, const json_t *token, pare_error *error) {
    const char *what = tokenizer->what;
    added->content = piece_of(json_object_get(token, "content"));
    added->id = (uint32_t)json_integer_value(json_object_get(token, "id")); /* checked by count_ids */
    added->normalized = true;
    if (!pare_json_get_bool(&added->special, token, "special", what, error))
        return false;
    added->normalized = !added->special;
    return pare_json_get_bool(&added->single_word, token, "single_word", what, error) &&
           pare_json_get_bool(&added->lstrip, token, "lstrip", what, error) &&
           pare_json_get_bool(&added->rstrip, token, "rstrip", what, error) &&
           pare_json_get_bool(&added->normalized, token, "normalized", what, error);
}

/* `tokenizers` takes the id of an added token from the vocabulary, or the next free one; it ignores the file's. A file
 * where they differ has two readings, so it is refused. */
static bool check_added_id(uint32_t *next, const pare_tokenizer *tokenizer, const pare_added *added, pare_error *error) {
    uint32_t expected = pare_piece_map_find(&tokenizer->by_spelling, added->content.bytes, added->content.length);
    if (expected == PARE_NO_ID)
        expected = (*next)++;
    if (added->id != expected)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: added token \"%.100s\" has id %u, but its place is %u", tokenizer->what,
                         added->content.bytes, added->id, expected);
    return true;
}

typedef struct {
    pare_added *items;
    pare_piece *contents; /* of the items, for the map */
    pare_piece_map by_content;
    size_t n;
    uint32_t next; /* the id of the next token that the vocabulary lacks */
} added_list;

/* The token behind the list's end was there before. `tokenizers` takes no notice of its id, and of different flags those of one of the two:
 * which one has changed. */
static bool check_again(const pare_tokenizer *tokenizer, const added_list *list, uint32_t first, pare_error *error) {
    const pare_added *a = &list->items[first], *b = &list->items[list->n];
    if (a->special == b->special && a->single_word == b->single_word && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
        a->normalized == b->normalized)
        return true;
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: added token \"%.100s\" is there twice, with different flags", tokenizer->what,
                     b->content.bytes);
}

/* Empty ones are left out, as `tokenizers` does. */
static bool add_token(added_list *list, const pare_tokenizer *tokenizer, const json_t *token, pare_error *error) {
    pare_added *added = &list->items[list->n];
    if (!read_added_token(added, tokenizer, token, error))
        return false;
    if (added->content.length == 0)
        return true;
    list->contents[list->n] = added->content;
    uint32_t first = pare_piece_map_add(&list->by_content, (uint32_t)list->n);
    if (first != PARE_NO_ID)
        return check_again(tokenizer, list, first, error);
    list->n++;
    return check_added_id(&list->next, tokenizer, added, error);
}

static bool read_added(pare_tokenizer *tokenizer, const json_t *tokens, size_t n_vocabulary, pare_error *error) {
    size_t n = json_array_size(tokens);
    if (tokens && !json_is_null(tokens) && !json_is_array(tokens))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"added_tokens\" is not a list", tokenizer->what);
    added_list list = {.items = pare_allocate(n, sizeof *list.items, error), .next = (uint32_t)n_vocabulary};
    list.contents = list.items ? pare_allocate(n, sizeof *list.contents, error) : NULL;
    bool done = list.contents && pare_piece_map_init(&list.by_content, list.contents, n, tokenizer->arena, error);
    for (size_t i = 0; i < n && done; i++)
        done = add_token(&list, tokenizer, json_array_get(tokens, i), error);
    done = done && pare_tokenizer_set_added(tokenizer, list.items, list.n, error);
    pare_free(list.items);
    pare_free(list.contents);
    return done;
}

/* ---- normaliser, pre-tokeniser, post-processor --------------------------------------------- */

static bool read_normaliser(pare_tokenizer *tokenizer, const json_t *part, int depth, pare_error *error) {
    if (!part || json_is_null(part))
        return true;
    if (is_type(part, "NFC")) {
        tokenizer->nfc = true;
        return true;
    }
    if (!is_type(part, "Sequence") || depth == NESTED)
        return refuse(tokenizer, error, "normalizer", type_of(part), "NFC, Sequence");
    size_t i;
    const json_t *inner;
    json_array_foreach(json_object_get(part, "normalizers"), i, inner) {
        if (!read_normaliser(tokenizer, inner, depth + 1, error))
            return false;
    }
    return true;
}

static bool add_step(pare_tokenizer *tokenizer, pare_step step, pare_error *error) {
    if (tokenizer->n_steps == PARE_STEPS) {
        pare_pattern_close(step.pattern);
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: more than %d pre-tokenisers in a row", tokenizer->what, PARE_STEPS);
    }
    tokenizer->steps[tokenizer->n_steps++] = step;
    return true;
}

static bool read_behaviour(pare_split *behaviour, const pare_tokenizer *tokenizer, const json_t *part, pare_error *error) {
    static const char *const names[] = {"Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const char *name = json_string_value(json_object_get(part, "behavior"));
    for (unsigned i = 0; i < 5; i++)
        if (name && strcmp(name, names[i]) == 0) {
            *behaviour = (pare_split)i;
            return true;
        }
    return refuse(tokenizer, error, "Split behavior", name, "Isolated, Removed, Contiguous, MergedWithPrevious, MergedWithNext");
}

static bool read_split(pare_tokenizer *tokenizer, const json_t *part, pare_error *error) {
    pare_split behaviour = PARE_SPLIT_ISOLATED;
    bool invert = false;
    if (!read_behaviour(&behaviour, tokenizer, part, error) || !pare_json_get_bool(&invert, part, "invert", tokenizer->what, error))
        return false;
    const json_t *pattern = json_object_get(part, "pattern");
    pare_piece regex = piece_of(json_object_get(pattern, "Regex")), text = piece_of(json_object_get(pattern, "String"));
    pare_step step = {.kind = PARE_STEP_PATTERN, .behaviour = behaviour, .invert = invert};
    if (regex.bytes && strlen(regex.bytes) == regex.length) {
        if (!pare_step_from_regex(&step, regex.bytes, behaviour, invert, tokenizer->what, error))
            return false;
    } else if (text.bytes) {
        step.pattern = pare_pattern_open(text.bytes, text.length, true, tokenizer->what, error);
        if (!step.pattern)
            return false;
    } else {
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: a Split has neither a \"Regex\" nor a \"String\"", tokenizer->what);
    }
    return add_step(tokenizer, step, error);
}

static bool read_byte_level(pare_tokenizer *tokenizer, const json_t *part, pare_error *error) {
    bool prefix = true, regex = true;
    if (!pare_json_get_bool(&prefix, part, "add_prefix_space", tokenizer->what, error) ||
        !pare_json_get_bool(&regex, part, "use_regex", tokenizer->what, error))
        return false;
    return (!prefix || add_step(tokenizer, (pare_step){.kind = PARE_STEP_PREFIX}, error)) &&
           (!regex || add_step(tokenizer, (pare_step){.kind = PARE_STEP_GPT2}, error));
}

/* ByteLevel must come last: after it there are no characters left for another step. *closed: it has come. */
static bool read_pre_tokeniser(pare_tokenizer *tokenizer, bool *closed, const json_t *part, int depth, pare_error *error) {
    if (is_type(part, "Sequence") && depth < NESTED) {
        size_t i;
        const json_t *inner;
        json_array_foreach(json_object_get(part, "pretokenizers"), i, inner) {
            if (!read_pre_tokeniser(tokenizer, closed, inner, depth + 1, error))
                return false;
        }
        return true;
    }
    if (*closed)
        return refuse(tokenizer, error, "pre-tokenizer after ByteLevel", type_of(part), "ByteLevel last");
    if (is_type(part, "ByteLevel")) {
        *closed = true;
        return read_byte_level(tokenizer, part, error);
    }
    if (is_type(part, "Split"))
        return read_split(tokenizer, part, error);
    if (is_type(part, "Digits")) {
        bool individual = false;
        return pare_json_get_bool(&individual, part, "individual_digits", tokenizer->what, error) &&
               add_step(tokenizer,
                        (pare_step){.kind = PARE_STEP_DIGITS, .behaviour = individual ? PARE_SPLIT_ISOLATED : PARE_SPLIT_CONTIGUOUS},
                        error);
    }
    return refuse(tokenizer, error, "pre-tokenizer", type_of(part), "ByteLevel, Split, Digits, Sequence");
}

/* What a template puts on one side of the text. */
typedef struct {
    uint32_t ids[32];
    size_t n;
} side;

/* *list becomes `first` and then `second`. */
static bool join(uint32_t **list, size_t *n, const uint32_t *first, size_t n_first, const uint32_t *second, size_t n_second,
                 pare_arena *arena, pare_error *error) {
    uint32_t *joined = PARE_PUSH(arena, uint32_t, n_first + n_second, error);
    if (!joined)
        return false;
    for (size_t i = 0; i < n_first; i++)
        joined[i] = first[i];
    for (size_t i = 0; i < n_second; i++)
        joined[n_first + i] = second[i];
    *list = joined;
    *n = n_first + n_second;
    return true;
}

static bool add_special(side *to, const pare_tokenizer *tokenizer, const json_t *ids, const char *name, pare_error *error) {
    size_t i;
    const json_t *id;
    if (json_array_size(ids) == 0 || json_array_size(ids) > sizeof to->ids / sizeof *to->ids - to->n)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: special token \"%.100s\" of the template has %zu ids", tokenizer->what, name,
                         json_array_size(ids));
    json_array_foreach(ids, i, id) {
        if (!json_is_integer(id) || json_integer_value(id) < 0 || (uint64_t)json_integer_value(id) >= tokenizer->n_ids)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: special token \"%.100s\" of the template has an id outside the vocabulary",
                             tokenizer->what, name);
        to->ids[to->n++] = (uint32_t)json_integer_value(id);
    }
    return true;
}

/* Of several templates the later one stands around what the earlier ones made. */
static bool read_template(pare_tokenizer *tokenizer, const json_t *part, pare_error *error) {
    const json_t *specials = json_object_get(part, "special_tokens"), *piece;
    side front = {0}, back = {0};
    size_t i, n_texts = 0;
    json_array_foreach(json_object_get(part, "single"), i, piece) {
        const json_t *special = json_object_get(piece, "SpecialToken"), *text = json_object_get(piece, "Sequence");
        const char *name = json_string_value(json_object_get(special ? special : text, "id"));
        if (text && name && strcmp(name, "A") == 0)
            n_texts++;
        else if (!special || !name)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: piece %zu of the template is neither a special token nor sequence A",
                             tokenizer->what, i);
        else if (!add_special(n_texts == 0 ? &front : &back, tokenizer, json_object_get(json_object_get(specials, name), "ids"), name,
                              error))
            return false;
    }
    if (n_texts != 1)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: the template has the text %zu times", tokenizer->what, n_texts);
    return join(&tokenizer->prefix, &tokenizer->n_prefix, front.ids, front.n, tokenizer->prefix, tokenizer->n_prefix, tokenizer->arena,
                error) &&
           join(&tokenizer->suffix, &tokenizer->n_suffix, tokenizer->suffix, tokenizer->n_suffix, back.ids, back.n, tokenizer->arena,
                error);
}

static bool read_post_processor(pare_tokenizer *tokenizer, const json_t *part, int depth, pare_error *error) {
    if (!part || json_is_null(part) || is_type(part, "ByteLevel"))
        return true;
    if (is_type(part, "TemplateProcessing"))
        return read_template(tokenizer, part, error);
    if (!is_type(part, "Sequence") || depth == NESTED)
        return refuse(tokenizer, error, "post-processor", type_of(part), "ByteLevel, TemplateProcessing, Sequence");
    size_t i;
    const json_t *inner;
    json_array_foreach(json_object_get(part, "processors"), i, inner) {
        if (!read_post_processor(tokenizer, inner, depth + 1, error))
            return false;
    }
    return true;
}

static bool read_parts(pare_tokenizer *tokenizer, const json_t *root, pare_error *error) {
    const json_t *model = json_object_get(root, "model"), *added = json_object_get(root, "added_tokens");
    bool closed = false;
    if (!read_normaliser(tokenizer, json_object_get(root, "normalizer"), 0, error) || !read_model(tokenizer, model, added, error) ||
        !read_added(tokenizer, added, json_object_size(json_object_get(model, "vocab")), error) ||
        !read_pre_tokeniser(tokenizer, &closed, json_object_get(root, "pre_tokenizer"), 0, error) ||
        !read_post_processor(tokenizer, json_object_get(root, "post_processor"), 0, error))
        return false;
    if (!closed)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: there is no ByteLevel pre-tokenizer; only byte-level BPE is known",
                         tokenizer->what);
    return pare_tokenizer_finish(tokenizer, error);
}

static bool keep_remark(pare_tokenizer *tokenizer, const pare_json_odd *odd, pare_error *error) {
    pare_string text = {0};
    pare_json_odd_print(&text, odd);
    bool done = pare_string_check(&text, error) &&
                (text.length == 0 || (tokenizer->remark = pare_arena_copy(tokenizer->arena, text.data, text.length, error)));
    pare_string_free(&text);
    return done;
}

const char *pare_tokenizer_remark(const pare_tokenizer *tokenizer) {
    return tokenizer->remark;
}

pare_tokenizer *pare_tokenizer_open_json(const char *bytes, size_t n, const char *what, pare_error *error) {
    pare_tokenizer *tokenizer = pare_tokenizer_begin(what, error);
    if (!tokenizer)
        return NULL;
    pare_json_odd odd = {0};
    json_t *root = pare_json_parse_lenient(bytes, n, what, false, &odd, error);
    bool done = root && keep_remark(tokenizer, &odd, error) && read_parts(tokenizer, root, error);
    json_decref(root);
    if (done) {
        tokenizer->json = (pare_piece){pare_arena_copy(tokenizer->arena, bytes, n, error), n};
        done = tokenizer->json.bytes != NULL;
    }
    if (!done) {
        pare_tokenizer_close(tokenizer);
        return NULL;
    }
    return tokenizer;
}
