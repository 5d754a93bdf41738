/* Files that are no tokenizer, or one that is not supported: each a clear error. And texts made to take long. */
#include "test.h"

#include "pare/text.h"

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define MODEL "{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define WHOLE(model, rest) "{\"model\":" model ",\"pre_tokenizer\":" BYTE_LEVEL rest "}"
#define TEMPLATE(single, special)                                                                                                          \
    ",\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"special_tokens\":{" special "}}"
#define SEQUENCE_A "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
#define SPECIAL(name) "{\"SpecialToken\":{\"id\":\"" name "\",\"type_id\":0}}"
#define ADDED(id, content) ",\"added_tokens\":[{\"id\":" id ",\"content\":" content ",\"normalized\":false}]"

static const struct {
    const char *json;
    pare_code code;
    const char *part; /* of the message */
} bad[] = {
    {"", PARE_ERROR_FORMAT, "not valid JSON"},
    {"{", PARE_ERROR_FORMAT, "not valid JSON"},
    {"[]", PARE_ERROR_FORMAT, "model"},
    {"{}", PARE_ERROR_FORMAT, "model"},
    {WHOLE("7", ""), PARE_ERROR_FORMAT, "model"},
    {WHOLE("{\"type\":\"Unigram\"}", ""), PARE_ERROR_UNSUPPORTED, "Unigram"},
    {WHOLE("{\"type\":\"BPE\"}", ""), PARE_ERROR_FORMAT, "no vocabulary"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":[]}", ""), PARE_ERROR_FORMAT, "no vocabulary"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{}}", ""), PARE_ERROR_FORMAT, "no vocabulary"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0}}", ""), PARE_ERROR_FORMAT, "merges"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":{}}", ""), PARE_ERROR_FORMAT, "merges"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"},\"merges\":[]}", ""), PARE_ERROR_FORMAT, "\"a\""},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}", ""), PARE_ERROR_FORMAT, "\"a\""},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":1.0},\"merges\":[]}", ""), PARE_ERROR_FORMAT, "\"a\""},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":4294967295},\"merges\":[]}", ""), PARE_ERROR_FORMAT, "in proportion"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":900000000},\"merges\":[]}", ""), PARE_ERROR_FORMAT, "in proportion"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}", ""), PARE_ERROR_FORMAT, "same id"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}", ""), PARE_ERROR_FORMAT, "the result"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}", ""), PARE_ERROR_FORMAT, "the right part"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"b a\"]}", ""), PARE_ERROR_FORMAT, "the left part"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}", ""), PARE_ERROR_FORMAT, "not a pair"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]}", ""), PARE_ERROR_FORMAT, "not a pair"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}", ""), PARE_ERROR_FORMAT, "not a pair"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\",1]]}", ""), PARE_ERROR_FORMAT, "not a pair"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[7]}", ""), PARE_ERROR_FORMAT, "not a pair"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"u\"}", ""), PARE_ERROR_FORMAT, "unk_token"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":1}", ""), PARE_ERROR_FORMAT, "unk_token"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"byte_fallback\":true}", ""), PARE_ERROR_UNSUPPORTED, "byte_fallback"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}", ""), PARE_ERROR_UNSUPPORTED, "dropout"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"continuing_subword_prefix\":\"##\"}", ""), PARE_ERROR_UNSUPPORTED,
     "continuing_subword_prefix"},
    {WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[],\"ignore_merges\":1}", ""), PARE_ERROR_FORMAT, "ignore_merges"},
    {"{\"model\":" MODEL "}", PARE_ERROR_UNSUPPORTED, "pre-tokenizer"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":null}", PARE_ERROR_UNSUPPORTED, "pre-tokenizer"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":{\"type\":\"Metaspace\"}}", PARE_ERROR_UNSUPPORTED, "Metaspace"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":{\"type\":\"Digits\"}}", PARE_ERROR_UNSUPPORTED, "no ByteLevel"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL "," BYTE_LEVEL "]}}",
     PARE_ERROR_UNSUPPORTED, "after ByteLevel"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\"}}", PARE_ERROR_UNSUPPORTED, "behavior"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\"}}", PARE_ERROR_FORMAT, "Regex"},
    {"{\"model\":" MODEL ",\"pre_tokenizer\":{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"(\"}}}",
     PARE_ERROR_FORMAT, "regex is wrong"},
    {WHOLE(MODEL, ",\"normalizer\":{\"type\":\"Lowercase\"}"), PARE_ERROR_UNSUPPORTED, "Lowercase"},
    {WHOLE(MODEL, ",\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFKC\"}]}"), PARE_ERROR_UNSUPPORTED, "NFKC"},
    {WHOLE(MODEL, ",\"normalizer\":3"), PARE_ERROR_UNSUPPORTED, "normalizer"},
    {WHOLE(MODEL, ",\"post_processor\":{\"type\":\"BertProcessing\"}"), PARE_ERROR_UNSUPPORTED, "BertProcessing"},
    {WHOLE(MODEL, TEMPLATE("", "")), PARE_ERROR_UNSUPPORTED, "0 times"},
    {WHOLE(MODEL, TEMPLATE(SEQUENCE_A "," SEQUENCE_A, "")), PARE_ERROR_UNSUPPORTED, "2 times"},
    {WHOLE(MODEL, TEMPLATE(SPECIAL("s") "," SEQUENCE_A, "")), PARE_ERROR_FORMAT, "0 ids"},
    {WHOLE(MODEL, TEMPLATE(SPECIAL("s") "," SEQUENCE_A, "\"s\":{\"ids\":[3]}")), PARE_ERROR_FORMAT, "outside the vocabulary"},
    {WHOLE(MODEL, TEMPLATE(SPECIAL("s") "," SEQUENCE_A, "\"s\":{\"ids\":[-1]}")), PARE_ERROR_FORMAT, "outside the vocabulary"},
    {WHOLE(MODEL, TEMPLATE("{}," SEQUENCE_A, "")), PARE_ERROR_FORMAT, "piece 0"},
    {WHOLE(MODEL, ADDED("7", "\"x\"")), PARE_ERROR_FORMAT, "its place is 3"},
    {WHOLE(MODEL, ADDED("1", "\"a\"")), PARE_ERROR_FORMAT, "its place is 0"},
    {WHOLE(MODEL, ADDED("4000000000", "\"x\"")), PARE_ERROR_FORMAT, "in proportion"},
    {WHOLE(MODEL, ADDED("null", "\"x\"")), PARE_ERROR_FORMAT, "in proportion"},
    {WHOLE(MODEL, ADDED("3", "[]")), PARE_ERROR_FORMAT, "no content"},
    {WHOLE(MODEL, ",\"added_tokens\":{\"x\":3}"), PARE_ERROR_FORMAT, "not a list"},
    {WHOLE(MODEL, ",\"added_tokens\":[3]"), PARE_ERROR_FORMAT, "no content"},
    {WHOLE(MODEL, ",\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"special\":1}]"), PARE_ERROR_FORMAT, "special"},
};

static void bad_files_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pare_error error = {0};
        pare_tokenizer *tokenizer = pare_tokenizer_open_json(bad[i].json, strlen(bad[i].json), "bad.json", &error);
        if (tokenizer)
            print_message("%s\n", bad[i].json);
        assert_fails(tokenizer, error, bad[i].code, bad[i].part);
        assert_non_null(strstr(error.message, "bad.json"));
    }
}

/* What the `tokenizers` package reads, although it is no strict JSON: the last of two equal keys counts. */
static void odd_json_is_read(void **state) {
    (void)state;
    static const char json[] = "\xEF\xBB\xBF" WHOLE("{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"a\":1,\"b\":0},\"merges\":[]}",
                                                    ",\"x\":[NaN,1e30,1000000000000000019884624838656,\"\\ud83d\"]");
    pare_error error = {0};
    pare_tokens ids = {0};
    pare_tokenizer *tokenizer = pare_tokenizer_open_json(json, sizeof json - 1, "t.json", &error);
    assert_done(tokenizer, error);
    assert_done(pare_tokenizer_encode(&ids, tokenizer, "ab", 2, true, &error), error);
    assert_true(ids.n == 2 && ids.ids[0] == 1 && ids.ids[1] == 0);
    pare_tokens_free(&ids);
    pare_tokenizer_close(tokenizer);
}

static void nested_beyond_reason(void **state) {
    (void)state;
    pare_string json = {0};
    pare_error error = {0};
    pare_string_print(&json, "{\"model\":" MODEL ",\"pre_tokenizer\":");
    for (int i = 0; i < 200; i++)
        pare_string_print(&json, "{\"type\":\"Sequence\",\"pretokenizers\":[");
    for (int i = 0; i < 200; i++)
        pare_string_print(&json, "]}");
    pare_string_print(&json, "}");
    assert_fails(pare_tokenizer_open_json(json.data, json.length, "t", &error), error, PARE_ERROR_UNSUPPORTED, "Sequence");
    pare_string_free(&json);
}

#define PIECES(...) ((const pare_piece[]){__VA_ARGS__})
#define PIECE(text)                                                                                                                        \
    { text, sizeof text - 1 }

static void bad_parts_are_refused(void **state) {
    (void)state;
    const pare_piece *tokens = PIECES(PIECE("a"), PIECE("b"), PIECE("ab")), *merge = PIECES(PIECE("a b"));
    const pare_tokenizer_parts good = {
        .pre = "gpt-2", .tokens = tokens, .n_tokens = 3, .merges = merge, .n_merges = 1, .bos = -1, .eos = -1};
    pare_error error = {0};
    pare_tokenizer *tokenizer = pare_tokenizer_open_parts(&good, "good", &error);
    assert_done(tokenizer, error);
    pare_tokenizer_close(tokenizer);

    pare_tokenizer_parts parts = good;
    parts.pre = "mystery";
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_UNSUPPORTED, "\"mystery\" is not known");
    parts = good;
    parts.n_tokens = 0;
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "0 tokens");
    parts = good;
    parts.tokens = PIECES(PIECE("a"), PIECE("b"), PIECE("a"));
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "tokens 0 and 2 are the same");
    parts.tokens = PIECES(PIECE("a"), PIECE("\xC4"), PIECE("ab"));
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "token 1 is not valid UTF-8");
    parts = good;
    parts.merges = PIECES(PIECE("ab"));
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "merge 0");
    parts.merges = PIECES(PIECE(" "));
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "merge 0");
    parts.merges = PIECES(PIECE("b a"));
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "the result");
    parts = good;
    parts.add_bos = true;
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "BOS");
    parts.bos = 3;
    assert_fails(pare_tokenizer_open_parts(&parts, "p", &error), error, PARE_ERROR_FORMAT, "BOS");
}

/* An empty token is no reason to fail, but nothing may look for it. */
static void empty_tokens_are_left_alone(void **state) {
    (void)state;
    const int32_t types[] = {1, 3, 1};
    const pare_piece *tokens = PIECES(PIECE("a"), PIECE(""), PIECE("b"));
    const pare_tokenizer_parts parts = {.pre = "llama-bpe", .tokens = tokens, .types = types, .n_tokens = 3, .bos = -1, .eos = -1};
    pare_error error = {0};
    pare_tokens ids = {0};
    pare_tokenizer *tokenizer = pare_tokenizer_open_parts(&parts, "parts", &error);
    assert_done(tokenizer, error);
    assert_done(pare_tokenizer_encode(&ids, tokenizer, "abc", 3, true, &error), error);
    assert_int_equal(ids.n, 2); /* c is unknown and there is no token for that */
    pare_tokens_free(&ids);
    pare_tokenizer_close(tokenizer);
}

static double seconds_for(const char *json, const char *unit, size_t repeats, size_t wanted_ids) {
    pare_error error = {0};
    pare_string text = {0};
    pare_tokens ids = {0};
    for (size_t i = 0; i < repeats; i++)
        pare_string_push(&text, unit, strlen(unit));
    pare_tokenizer *tokenizer = pare_tokenizer_open_json(json, strlen(json), "t.json", &error);
    assert_done(tokenizer, error);
    double start = pare_clock_s();
    assert_done(pare_tokenizer_encode(&ids, tokenizer, text.data, text.length, true, &error), error);
    double seconds = pare_clock_s() - start;
    assert_int_equal(ids.n, wanted_ids);
    pare_tokens_free(&ids);
    pare_tokenizer_close(tokenizer);
    pare_string_free(&text);
    return seconds;
}

/* One word of millions of letters, one run of spaces, spaces that a token swallows: all linear or nearly so. */
static void long_words_take_no_longer(void **state) {
    (void)state;
    assert_true(seconds_for(WHOLE(MODEL, ""), "ab", 1000000, 1000000) < 20);
    assert_true(seconds_for(WHOLE(MODEL, ADDED("3", "\"x\"")), "ax", 500000, 1000000) < 20);
    assert_true(seconds_for(WHOLE(MODEL, ",\"added_tokens\":[{\"id\":3,\"content\":\" \",\"rstrip\":true,\"lstrip\":true}]"), " ", 1000000,
                            1000000) < 20);
    assert_true(seconds_for(WHOLE(MODEL, ""), " ", 2000000, 0) < 20);
}

static void hostile_regexes_give_up(void **state) {
    (void)state;
    static const char json[] =
        "{\"model\":" MODEL
        ",\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":"
        "{\"Regex\":\"(?:a|aa)+(?:a|aa)+[xy]\"}}," BYTE_LEVEL "]}}";
    pare_error error = {0};
    pare_tokens ids = {0};
    pare_tokenizer *tokenizer = pare_tokenizer_open_json(json, sizeof json - 1, "t.json", &error);
    assert_done(tokenizer, error);
    static const char text[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac";
    assert_fails(pare_tokenizer_encode(&ids, tokenizer, text, sizeof text - 1, true, &error), error, PARE_ERROR_UNSUPPORTED, "gives up");
    assert_int_equal(ids.n, 0);
    assert_done(pare_tokenizer_encode(&ids, tokenizer, "ab", 2, true, &error), error); /* the tokenizer is as good as before */
    assert_int_equal(ids.n, 1);
    pare_tokens_free(&ids);
    pare_tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files_are_refused),       cmocka_unit_test(odd_json_is_read),
        cmocka_unit_test(nested_beyond_reason),        cmocka_unit_test(bad_parts_are_refused),
        cmocka_unit_test(empty_tokens_are_left_alone), cmocka_unit_test(long_words_take_no_longer),
        cmocka_unit_test(hostile_regexes_give_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
