/* pare tokenize: token ids of a text, and their pieces. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "model.h"
#include "pare/corpus.h"
#include "pare/model.h"

typedef struct {
    const char *text;
    bool pieces, no_special;
} tokenize_options;

/* A piece on one line: quotes, backslashes and bytes below space as escapes; other bytes as they are. */
static void print_piece(pare_piece piece) {
    putchar('"');
    for (size_t i = 0; i < piece.length; i++) {
        unsigned char c = (unsigned char)piece.bytes[i];
        if (c == '\n')
            fputs("\\n", stdout);
        else if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    putchar('"');
}

/* Pieces may be parts of a character: such bytes are replaced in JSON, which holds text only. */
static json_t *piece_json(pare_json_doc *doc, pare_piece piece) {
    if (pare_json_is_text(piece.bytes, piece.length))
        return pare_json_text(doc, piece.bytes, piece.length);
    pare_string escaped = {0};
    for (size_t i = 0; i < piece.length; i++)
        pare_string_print(&escaped, "<0x%02X>", (unsigned char)piece.bytes[i]);
    json_t *text = escaped.failed ? NULL : pare_json_string(doc, escaped.data);
    pare_string_free(&escaped);
    return text;
}

static bool print_tokens(const pare_tokens *tokens, const pare_tokenizer *tokenizer, const tokenize_options *given, const common *shared,
                         pare_error *error) {
    pare_json_doc doc = {0};
    if (!shared->json) {
        for (size_t i = 0; i < tokens->n; i++) {
            printf("%u", tokens->ids[i]);
            if (given->pieces) {
                putchar('\t');
                print_piece(pare_tokenizer_piece(tokenizer, tokens->ids[i]));
            }
            putchar('\n');
        }
        return true;
    }
    json_t *ids = pare_json_array(&doc), *pieces = given->pieces ? pare_json_array(&doc) : NULL;
    for (size_t i = 0; i < tokens->n; i++) {
        pare_json_append(&doc, ids, pare_json_integer(&doc, tokens->ids[i]));
        if (pieces)
            pare_json_append(&doc, pieces, piece_json(&doc, pare_tokenizer_piece(tokenizer, tokens->ids[i])));
    }
    return print_json(pare_json_pack(&doc, "{s:I, s:o, s:o*}", "tokens", (json_int_t)tokens->n, "ids", ids, "pieces", pieces), &doc, error);
}

static bool tokenize_with(const pare_tokenizer *tokenizer, const tokenize_options *given, const common *shared, pare_error *error) {
    pare_corpus text = {0};
    pare_tokens tokens = {0};
    bool done = pare_corpus_open(&text, given->text, tokenizer, &shared->context, error) &&
                pare_tokenizer_encode(&tokens, tokenizer, text.bytes, text.length, given->no_special ? 0 : PARE_ENCODE_TEMPLATE, error) &&
                print_tokens(&tokens, tokenizer, given, shared, error);
    pare_tokens_free(&tokens);
    pare_corpus_close(&text);
    return done;
}

/* A tokenizer without a model: a tokenizer.json, or a folder that holds one and no config.json. NULL: path is a model, or nothing. */
static const char *lone_tokenizer(pare_string *name, const char *path) {
    size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".json") == 0 && !pare_path_is_folder(path))
        return path;
    pare_string_print(name, "%s/config.json", path);
    bool model = !name->data || pare_path_exists(name->data);
    name->length = 0;
    pare_string_print(name, "%s/tokenizer.json", path);
    return !model && !name->failed && pare_path_exists(name->data) ? name->data : NULL;
}

static bool tokenize_by_file(const char *path, const tokenize_options *given, const common *shared, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return false;
    pare_tokenizer *tokenizer = pare_tokenizer_open_json((const char *)map.data, map.size, path, error);
    bool done = tokenizer && tokenize_with(tokenizer, given, shared, error);
    pare_tokenizer_close(tokenizer);
    pare_map_close(&map);
    return done;
}

static bool tokenize_by_model(const char *path, const tokenize_options *given, const common *shared, pare_error *error) {
    pare_checkpoint *checkpoint = open_model(path, shared, error);
    bool done = checkpoint && pare_checkpoint_tokenizer(checkpoint, error) && tokenize_with(checkpoint->tokenizer, given, shared, error);
    pare_checkpoint_close(checkpoint);
    return done;
}

static bool tokenize(const char *path, const tokenize_options *given, const common *shared, pare_error *error) {
    if (!given->text)
        return pare_fail(error, PARE_ERROR_USAGE, "--text FILE is missing");
    pare_string name = {0};
    const char *file = lone_tokenizer(&name, path);
    bool done = file ? tokenize_by_file(file, given, shared, error) : tokenize_by_model(path, given, shared, error);
    pare_string_free(&name);
    return done;
}

bool cmd_tokenize(int argc, char **argv, pare_error *error) {
    tokenize_options given = {0};
    const option options[] = {
        {"text", 0, OPTION_STRING, "FILE", "the text to tokenise", &given.text},
        {"pieces", 0, OPTION_FLAG, NULL, "print the bytes of each token beside its id", &given.pieces},
        {"no-special", 0, OPTION_FLAG, NULL, "leave out the special tokens that the tokenizer adds, such as BOS", &given.no_special},
        {0},
    };
    const command_face face = {
        .name = "tokenize",
        .usage = "MODEL --text FILE [--pieces]",
        .about = "Prints the token ids of a text, one on each line. They are the ids that the Hugging Face tokenizers package gives.\n"
                 "MODEL may also be a tokenizer.json, or a folder with one.",
        .example = "  pare tokenize demo/model.gguf --text examples/demo.yaml --pieces",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && tokenize(arguments[0], &given, &shared, error));
}
