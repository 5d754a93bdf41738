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
