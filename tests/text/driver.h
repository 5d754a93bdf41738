/* driver: encodes many strings with one tokenizer, so that a script can compare the ids with another program's:
 *   text_test_tokenizer --ids   tokenizer.json < strings > ids
 *   text_test_tokenizer --parts parts.json     < strings > ids
 *   text_test_tokenizer --print-parts parts.json > tokenizer.json
 *   text_test_tokenizer --speed tokenizer.json FILE
 * strings: for each a 32-bit length and its bytes; ids: for each a 32-bit count and the ids; all little-endian. parts.json
 * holds the fields of pare_tokenizer_parts. */
#ifndef PARE_TEST_TEXT_DRIVER_H
#define PARE_TEST_TEXT_DRIVER_H

#include "pare/json.h"
#include "pare/text.h"

static inline void read_pieces(pare_piece *pieces, const json_t *list) {
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) {
        pieces[i] = (pare_piece){json_string_value(item), json_string_length(item)};
    }
}

static inline int64_t read_special(const json_t *root, const char *name) {
    const json_t *id = json_object_get(root, name);
    return json_is_integer(id) ? json_integer_value(id) : -1;
}

/* A tokenizer from the JSON spelling of pare_tokenizer_parts. */
static inline pare_tokenizer *open_parts(const char *path, pare_error *error) {
    json_t *root = pare_json_read(path, error);
    if (!root)
        return NULL;
    const json_t *tokens = json_object_get(root, "tokens"), *merges = json_object_get(root, "merges"),
                 *types = json_object_get(root, "types");
    pare_piece *token_pieces = pare_allocate(json_array_size(tokens), sizeof *token_pieces, error);
    pare_piece *merge_pieces = pare_allocate(json_array_size(merges), sizeof *merge_pieces, error);
    int32_t *type_list = pare_allocate(json_array_size(types), sizeof *type_list, error);
    pare_tokenizer *tokenizer = NULL;
    if (token_pieces && merge_pieces && type_list) {
        read_pieces(token_pieces, tokens);
        read_pieces(merge_pieces, merges);
        for (size_t i = 0; i < json_array_size(types); i++)
            type_list[i] = (int32_t)json_integer_value(json_array_get(types, i));
        pare_tokenizer_parts parts = {.pre = json_string_value(json_object_get(root, "pre")),
                                      .tokens = token_pieces,
                                      .types = json_array_size(types) ? type_list : NULL,
                                      .n_tokens = json_array_size(tokens),
                                      .merges = merge_pieces,
                                      .n_merges = json_array_size(merges),
                                      .bos = read_special(root, "bos"),
                                      .eos = read_special(root, "eos"),
                                      .unknown = read_special(root, "unknown"),
                                      .padding = read_special(root, "padding"),
                                      .add_bos = json_is_true(json_object_get(root, "add_bos")),
                                      .add_eos = json_is_true(json_object_get(root, "add_eos"))};
        tokenizer = pare_tokenizer_open_parts(&parts, path, error);
    }
    pare_free(token_pieces);
    pare_free(merge_pieces);
    pare_free(type_list);
    json_decref(root);
    return tokenizer;
}

static inline pare_tokenizer *open_file(const char *path, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return NULL;
    pare_tokenizer *tokenizer = pare_tokenizer_open_json((const char *)map.data, map.size, path, error);
    pare_map_close(&map);
    return tokenizer;
}

/* A tokenizer.json told as GGUF's writers tell it: tokens by id, added ones by their types, `pre` for the rest. */
static inline pare_tokenizer *open_as_parts(const char *path, const char *pre, const char *bos, pare_error *error) {
    json_t *root = pare_json_read(path, error), *id;
    if (!root)
        return NULL;
    const json_t *model = json_object_get(root, "model"), *merges = json_object_get(model, "merges"), *added;
    pare_tokenizer_parts parts = {.pre = pre, .bos = -1, .eos = -1, .unknown = -1, .padding = -1, .add_bos = bos != NULL};
    size_t i, capacity = json_object_size(json_object_get(model, "vocab")) + json_array_size(json_object_get(root, "added_tokens"));
    pare_piece *tokens = pare_allocate(capacity, sizeof *tokens, error),
               *lines = pare_allocate(json_array_size(merges), sizeof *lines, error);
    int32_t *types = pare_allocate(capacity, sizeof *types, error);
    pare_string text = {0};
    const char *token;
    json_object_foreach(json_object_get(model, "vocab"), token, id) {
        tokens[json_integer_value(id)] = (pare_piece){token, strlen(token)};
        types[json_integer_value(id)] = PARE_TOKEN_NORMAL;
    }
    json_array_foreach(json_object_get(root, "added_tokens"), i, added) {
        size_t at = (size_t)json_integer_value(json_object_get(added, "id"));
        tokens[at] =
            (pare_piece){json_string_value(json_object_get(added, "content")), json_string_length(json_object_get(added, "content"))};
        types[at] = json_is_true(json_object_get(added, "special")) ? PARE_TOKEN_CONTROL : PARE_TOKEN_USER_DEFINED;
        if (bos && strcmp(tokens[at].bytes, bos) == 0)
            parts.bos = (int64_t)at;
    }
    while (parts.n_tokens < capacity && tokens[parts.n_tokens].bytes)
        parts.n_tokens++;
    json_array_foreach(merges, i, added) { /* lines first, pieces when the text no longer moves */
        if (json_is_string(added))
            pare_string_print(&text, "%s\n", json_string_value(added));
        else
            pare_string_print(&text, "%s %s\n", json_string_value(json_array_get(added, 0)), json_string_value(json_array_get(added, 1)));
    }
    for (char *at = text.data, *end; at && (end = strchr(at, '\n')); at = end + 1)
        lines[parts.n_merges++] = (pare_piece){at, (size_t)(end - at)};
    parts.tokens = tokens;
    parts.types = types;
    parts.merges = lines;
    pare_tokenizer *tokenizer = pare_tokenizer_open_parts(&parts, path, error);
    pare_string_free(&text);
    pare_free(tokens);
    pare_free(lines);
    pare_free(types);
    json_decref(root);
    return tokenizer;
}

static inline int drive_strings(const pare_tokenizer *tokenizer, pare_error *error) {
    pare_tokens tokens = {0};
    char *text = NULL;
    size_t capacity = 0;
    uint32_t length;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        if (!pare_grow((void **)&text, &capacity, (size_t)length + 1, 1, error) || fread(text, 1, length, stdin) != length)
            break;
        tokens.n = 0;
        if (!pare_tokenizer_encode(&tokens, tokenizer, text, length, true, error))
            break;
        uint32_t n = (uint32_t)tokens.n;
        fwrite(&n, sizeof n, 1, stdout);
        fwrite(tokens.ids, sizeof *tokens.ids, tokens.n, stdout);
    }
    bool done = feof(stdin) && error->code == PARE_OK;
    pare_tokens_free(&tokens);
    pare_free(text);
    return done ? 0 : 1;
}

static inline int drive_speed(const pare_tokenizer *tokenizer, const char *path, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return 1;
    for (int i = 0; i < 5; i++) {
        pare_tokens tokens = {0};
        double start = pare_clock_s();
        bool done = pare_tokenizer_encode(&tokens, tokenizer, (const char *)map.data, map.size, true, error);
        double seconds = pare_clock_s() - start;
        printf("%zu bytes, %zu tokens, %.2f MB/s\n", map.size, tokens.n, (double)map.size / seconds / 1e6);
        pare_tokens_free(&tokens);
        if (!done)
            break;
    }
    pare_map_close(&map);
    return error->code != PARE_OK;
}

static inline int drive(int n, char **arguments) {
    pare_error error = {0};
    double start = pare_clock_s();
    bool parts = strstr(arguments[1], "parts") != NULL;
    pare_tokenizer *tokenizer = n < 3 ? NULL : parts ? open_parts(arguments[2], &error) : open_file(arguments[2], &error);
    int code = 1;
    if (tokenizer && strncmp(arguments[1], "--print", 7) == 0) {
        pare_string text = {0};
        code = !pare_tokenizer_print_json(&text, tokenizer, &error) || fwrite(text.data, 1, text.length, stdout) != text.length;
        pare_string_free(&text);
    } else if (tokenizer && n > 3) {
        printf("opened in %.3f s\n", pare_clock_s() - start);
        code = drive_speed(tokenizer, arguments[3], &error);
    } else if (tokenizer) {
        code = drive_strings(tokenizer, &error);
    }
    if (code)
        fprintf(stderr, "%s\n", error.message);
    pare_tokenizer_close(tokenizer);
    return code;
}

#endif
