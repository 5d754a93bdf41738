/* The protocols and the cross-entropy against transformers on tiny models (fixtures by tools/fixtures/eval_reference.py), the BOS
 * rules, and texts that cannot be scored. */
#include <math.h>

#include "pare/eval.h"
#include "test.h"

#define MODELS PARE_SOURCE_DIR "/tests/model/fixtures/"

static void close_to(double got, double wanted, double tolerance) {
    if (!(fabs(got - wanted) <= tolerance * fabs(wanted)))
        fail_msg("%.10g, the reference says %.10g", got, wanted);
}

/* One line of reference.txt. */
static void score(const char *line) {
    char name[32], protocol_name[32], path[512];
    unsigned windows, in_text, scored;
    double cross_entropy, perplexity_error;
    int fields =
        sscanf(line, "%31s %31s %u %u %u %lf %lf", name, protocol_name, &windows, &in_text, &scored, &cross_entropy, &perplexity_error);
    assert_int_equal(fields, 7);
    pare_error error = {0};
    snprintf(path, sizeof path, MODELS "%s", name);
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    pare_protocol protocol;
    assert_done(pare_protocol_parse(&protocol, protocol_name, &error), error);
    pare_eval_text text;
    assert_done(pare_eval_text_open(&text, &protocol, PARE_FIXTURES "/text.txt", checkpoint->tokenizer, NULL, &error), error);
    assert_int_equal(text.windows.tokens_in_text, in_text);
    pare_model *model = pare_model_open(checkpoint, NULL, &error);
    assert_done(model, error);
    for (int threads = 1; threads <= 2; threads++) {
        pare_context context = {.n_threads = threads};
        pare_eval_result result;
        assert_done(pare_eval_run(&result, model, &text, windows, NULL, &context, &error), error);
        assert_int_equal(result.windows, windows);
        assert_int_equal(result.tokens_scored, scored);
        close_to(result.cross_entropy, cross_entropy, 1e-6);
        close_to(result.perplexity, exp(cross_entropy), 1e-5);
        close_to(result.perplexity_error, perplexity_error, 1e-4);
    }
    pare_model_close(model);
    pare_eval_text_close(&text);
    pare_checkpoint_close(checkpoint);
}

static void as_transformers(void **state) {
    (void)state;
    FILE *file = fopen(PARE_FIXTURES "/reference.txt", "r");
    assert_non_null(file);
    char line[256];
    int n = 0;
    while (fgets(line, sizeof line, file))
        if (line[0] != '#') {
            score(line);
            n++;
        }
    fclose(file);
    assert_int_equal(n, 12);
}

/* A tokenizer of four byte tokens and a BOS that its template puts first. */
static const char tokenizer_with_bos[] =
    "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{\"id\":4,\"content\":\"<s>\",\"single_word\":false,"
    "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
    "\"ByteLevel\","
    "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
    "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"<s>"
    "\":"
    "{\"id\":\"<s>\",\"ids\":[4],\"tokens\":[\"<s>\"]}}},\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"trim_offsets\":"
    "true,"
    "\"use_regex\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
    "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\xc4\x8a\":3},\"merges\":[]}}";

static void bos_rules(void **state) {
    (void)state;
    pare_error error = {0};
    pare_tokenizer *tokenizer = pare_tokenizer_open_json(tokenizer_with_bos, strlen(tokenizer_with_bos), "bos", &error);
    assert_done(tokenizer, error);
    char path[300];
    snprintf(path, sizeof path, "%s/text", test_folder());
    assert_done(pare_file_write(path, "abcab\ncab", 9, true, &error), error); /* <s> a b c a b \n c a b */
    pare_protocol protocol;
    pare_eval_text text;
    assert_done(pare_protocol_parse(&protocol, "gguf4", &error), error);
    assert_done(pare_eval_text_open(&text, &protocol, path, tokenizer, NULL, &error), error);
    static const uint32_t gguf[] = {4, 0, 1, 2, 4, 1, 3, 2}; /* each window's first token gives way to BOS; the tail is dropped */
    assert_int_equal(text.windows.n, 2);
    assert_int_equal(text.windows.tokens_in_text, 10);
    assert_memory_equal(text.windows.ids, gguf, sizeof gguf);
    assert_int_equal(text.first_scored, 2); /* one target a window: position 2 predicts 3 */
    assert_string_equal(text.bos_rule, "first token of every window");
    pare_eval_text_close(&text);
    assert_done(pare_protocol_parse(&protocol, "joined4", &error), error);
    assert_done(pare_eval_text_open(&text, &protocol, path, tokenizer, NULL, &error), error);
    static const uint32_t joined[] = {4, 0, 1, 2, 0, 1, 3, 3, 3, 2, 0, 1}; /* <s> abcab\n \n\n cab */
    assert_int_equal(text.windows.n, 3);
    assert_memory_equal(text.windows.ids, joined, sizeof joined);
    assert_string_equal(text.bos_rule, "start of text");
    pare_eval_text_close(&text);
    pare_tokenizer_close(tokenizer);
    remove(path);
}

/* What is spelled like a special token is text for llama.cpp's protocol and that token for the other; what is not special is found by both.
 */
static void spelled_special_tokens(void **state) {
    (void)state;
    pare_error error = {0};
    static const pare_piece tokens[] = {{"a", 1}, {"<", 1}, {">", 1}, {"<a>", 3}, {"<<", 2}};
    static const int32_t types[] = {PARE_TOKEN_NORMAL, PARE_TOKEN_NORMAL, PARE_TOKEN_NORMAL, PARE_TOKEN_CONTROL, PARE_TOKEN_USER_DEFINED};
    const pare_tokenizer_parts parts = {.pre = "gpt-2", .tokens = tokens, .types = types, .n_tokens = 5, .bos = -1, .eos = -1};
    pare_tokenizer *tokenizer = pare_tokenizer_open_parts(&parts, "parts", &error);
    assert_done(tokenizer, error);
    char path[300];
    snprintf(path, sizeof path, "%s/text", test_folder());
    assert_done(pare_file_write(path, "<a><<<a>aa", 10, true, &error), error);
    static const uint32_t wanted[2][8] = {{1, 0, 2, 4, 1, 0, 2, 0}, {3, 4, 3, 0}};
    for (int joined = 0; joined < 2; joined++) {
        pare_protocol protocol;
        pare_eval_text text;
        assert_done(pare_protocol_parse(&protocol, joined ? "joined4" : "gguf4", &error), error);
        assert_done(pare_eval_text_open(&text, &protocol, path, tokenizer, NULL, &error), error);
        assert_int_equal(text.windows.n, joined ? 1 : 2);
        assert_memory_equal(text.windows.ids, wanted[joined], text.windows.n * 4 * sizeof(uint32_t));
        pare_eval_text_close(&text);
    }
    pare_tokenizer_close(tokenizer);
    remove(path);
}

static void protocol_names(void **state) {
    (void)state;
    pare_protocol protocol;
    pare_error error = {0};
    assert_true(pare_protocol_parse(&protocol, "gguf512", &error) && protocol.length == 512 && protocol.kind == PARE_PROTOCOL_GGUF);
    assert_true(pare_protocol_parse(&protocol, "joined2048", &error) && protocol.length == 2048 && protocol.kind == PARE_PROTOCOL_JOINED);
    static const char *const bad[] = {"",        "gguf",      "joined", "gguf-1",       "gguf0", "gguf3",
                                      "joined1", "joined 20", "ppl512", "gguf99999999", "gguf5x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(pare_protocol_parse(&protocol, bad[i], &error), error, PARE_ERROR_USAGE, "protocol");
}

static void texts_that_cannot_be_scored(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(MODELS "qwen2", &error);
    assert_done(checkpoint, error);
    pare_protocol protocol;
    pare_eval_text text;
    char path[300];
    snprintf(path, sizeof path, "%s/text", test_folder());
    assert_true(pare_protocol_parse(&protocol, "gguf64", &error));
    assert_fails(pare_eval_text_open(&text, &protocol, path, checkpoint->tokenizer, NULL, &error), error, PARE_ERROR_IO, "No such file");
    assert_done(pare_file_write(path, "", 0, true, &error), error);
    assert_fails(pare_eval_text_open(&text, &protocol, path, checkpoint->tokenizer, NULL, &error), error, PARE_ERROR_RANGE, "empty");
    assert_done(pare_file_write(path, "short", 5, true, &error), error);
    assert_fails(pare_eval_text_open(&text, &protocol, path, checkpoint->tokenizer, NULL, &error), error, PARE_ERROR_RANGE,
                 "needs at least 128");
    remove(path);
    pare_checkpoint_close(checkpoint);
}

/* A tap that spoils one activation: the loss must not be averaged over it. */
static void spoil(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    (void)user, (void)place, (void)rows, (void)columns;
    if (layer == 0)
        activations[5] = (float)NAN;
}

static void a_loss_that_is_not_finite_stops_it(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(MODELS "qwen2", &error);
    assert_done(checkpoint, error);
    pare_model *model = pare_model_open(checkpoint, NULL, &error);
    pare_protocol protocol;
    pare_eval_text text;
    pare_eval_result result;
    assert_true(pare_protocol_parse(&protocol, "joined48", &error));
    assert_done(pare_eval_text_open(&text, &protocol, PARE_FIXTURES "/text.txt", checkpoint->tokenizer, NULL, &error), error);
    pare_tap tap = {1u << PARE_TAP_FFN, spoil, NULL};
    assert_fails(pare_eval_run(&result, model, &text, 2, &tap, NULL, &error), error, PARE_ERROR_NUMERIC, "window 0");
    pare_eval_text_close(&text);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

typedef struct {
    double last;
    size_t n, backward, between; /* calls, calls that went back, calls within the first batch */
} progress_seen;

static void see(void *user, const char *stage, double done, double total) {
    progress_seen *seen = user;
    assert_string_equal(stage, "evaluate");
    assert_true(done >= 0 && done <= total);
    seen->n++;
    seen->backward += done < seen->last;
    seen->between += done > 0 && done < 1;
    seen->last = done;
}

/* A window of a large model takes a minute: its layers are told one by one. */
static void progress_moves_within_a_window(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(MODELS "qwen2", &error);
    pare_model *model = checkpoint ? pare_model_open(checkpoint, NULL, &error) : NULL;
    assert_done(model, error);
    pare_protocol protocol;
    pare_eval_text text;
    pare_eval_result result;
    assert_true(pare_protocol_parse(&protocol, "joined48", &error));
    assert_done(pare_eval_text_open(&text, &protocol, PARE_FIXTURES "/text.txt", checkpoint->tokenizer, NULL, &error), error);
    progress_seen seen = {0};
    pare_context context = {.n_threads = 1, .progress = see, .user = &seen};
    assert_done(pare_eval_run(&result, model, &text, 1, NULL, &context, &error), error);
    assert_int_equal(seen.between, checkpoint->config.n_layers - 1);
    assert_int_equal(seen.backward, 0);
    assert_true(seen.last >= 1);
    pare_eval_text_close(&text);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_transformers),
        cmocka_unit_test(bos_rules),
        cmocka_unit_test(spelled_special_tokens),
        cmocka_unit_test(protocol_names),
        cmocka_unit_test(texts_that_cannot_be_scored),
        cmocka_unit_test(a_loss_that_is_not_finite_stops_it),
        cmocka_unit_test(progress_moves_within_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
