/* Tokenizers learnt here against those that the `tokenizers` package learns from the same texts (tools/fixtures/text_train.py):
 * every merge in its place, every id. And texts made to hurt. */
#include "test.h"

#include "pare/json.h"
#include "pare/text.h"

static const char *fixture(const char *name) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", PARE_FIXTURES, name);
    return path;
}

typedef struct {
    pare_map map;
    size_t at;
} texts;

static texts open_texts(void) {
    texts t = {0};
    pare_error error = {0};
    assert_done(pare_map_open(&t.map, fixture("train.bin"), &error), error);
    return t;
}

static bool next_text(pare_piece *text, texts *t) {
    if (t->at == t->map.size)
        return false;
    const uint8_t *at = t->map.data + t->at;
    text->length = at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
    text->bytes = (const char *)at + 4;
    t->at += 4 + text->length;
    assert_true(t->at <= t->map.size);
    return true;
}

static pare_bpe_options plain(size_t vocabulary) {
    static const pare_piece special[] = {{"<|endoftext|>", 13}};
    return (pare_bpe_options){.pre = "smollm", .special = special, .n_special = 1, .vocabulary = vocabulary, .min_frequency = 2};
}

static pare_bpe_trainer *open_trainer(const pare_bpe_options *options) {
    pare_error error = {0};
    pare_bpe_trainer *trainer = pare_bpe_trainer_open(options, &error);
    assert_done(trainer, error);
    return trainer;
}

static void feed(pare_bpe_trainer *trainer, const char *text, size_t n) {
    pare_error error = {0};
    assert_done(pare_bpe_trainer_feed(trainer, text, n, NULL, &error), error);
}

static pare_tokenizer *finish(pare_bpe_summary *summary, pare_bpe_trainer *trainer) {
    pare_error error = {0};
    pare_tokenizer *tokenizer = pare_bpe_trainer_finish(summary, trainer, NULL, &error);
    assert_done(tokenizer, error);
    pare_bpe_trainer_close(trainer);
    return tokenizer;
}

static pare_tokenizer *learn(pare_bpe_summary *summary, const pare_bpe_options *options, const char *text, size_t n) {
    pare_bpe_trainer *trainer = open_trainer(options);
    feed(trainer, text, n);
    return finish(summary, trainer);
}

static pare_tokenizer *learn_fixture(pare_bpe_summary *summary, const json_t *asked) {
    static const char *const names[][2] = {{"smollm", "smollm"}, {"gpt2", "gpt-2"}, {"llama3", "llama-bpe"}, {"qwen2", "qwen2"}};
    pare_piece special[8], text;
    size_t i;
    const json_t *token;
    json_array_foreach(json_object_get(asked, "special"), i, token) {
        assert_true(i < 8);
        special[i] = (pare_piece){json_string_value(token), json_string_length(token)};
    }
    pare_bpe_options options = {.special = special,
                                .n_special = json_array_size(json_object_get(asked, "special")),
                                .vocabulary = (size_t)json_integer_value(json_object_get(asked, "vocab")),
                                .min_frequency = (uint64_t)json_integer_value(json_object_get(asked, "min_frequency"))};
    for (size_t k = 0; k < 4; k++)
        if (strcmp(json_string_value(json_object_get(asked, "pre")), names[k][0]) == 0)
            options.pre = names[k][1];
    pare_bpe_trainer *trainer = open_trainer(&options);
    texts t = open_texts();
    while (next_text(&text, &t))
        feed(trainer, text.bytes, text.length);
    pare_map_close(&t.map);
    return finish(summary, trainer);
}

static json_t *printed(const pare_tokenizer *tokenizer) {
    pare_error error = {0};
    pare_string text = {0};
    assert_done(pare_tokenizer_print_json(&text, tokenizer, &error), error);
    json_t *json = pare_json_parse(text.data, text.length, "printed", &error);
    assert_done(json, error);
    pare_string_free(&text);
    return json;
}

/* Ours, ours printed and read back, and the package's own file give the same ids for all texts. */
static void compare_ids(const pare_tokenizer *ours, const json_t *printed_json, const json_t *theirs_json) {
    pare_error error = {0};
    pare_string text[2] = {{0}};
    assert_done(pare_json_print(&text[0], printed_json, NULL, &error) && pare_json_print(&text[1], theirs_json, NULL, &error), error);
    pare_tokens ids[3] = {{0}};
    texts t = open_texts();
    for (pare_piece piece; next_text(&piece, &t);)
        assert_done(pare_tokenizer_encode(&ids[0], ours, piece.bytes, piece.length, true, &error), error);
    for (int i = 0; i < 2; i++) {
        pare_tokenizer *other = pare_tokenizer_open_json(text[i].data, text[i].length, "read back", &error);
        assert_done(other, error);
        t.at = 0;
        for (pare_piece piece; next_text(&piece, &t);)
            assert_done(pare_tokenizer_encode(&ids[i + 1], other, piece.bytes, piece.length, true, &error), error);
        assert_int_equal(ids[i + 1].n, ids[0].n);
        assert_memory_equal(ids[i + 1].ids, ids[0].ids, ids[0].n * sizeof *ids[0].ids);
        pare_tokenizer_close(other);
    }
    pare_map_close(&t.map);
    for (int i = 0; i < 3; i++)
        pare_tokens_free(&ids[i]);
    pare_string_free(&text[0]);
    pare_string_free(&text[1]);
}

static void merges_of_the_package(void **state) {
    (void)state;
    static const char *const names[] = {"train_smollm.json", "train_gpt2.json",  "train_llama3.json",
                                        "train_qwen2.json",  "train_bytes.json", "train_all.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        pare_error error = {0};
        json_t *wanted = pare_json_read(fixture(names[i]), &error);
        assert_done(wanted, error);
        const json_t *theirs = json_object_get(wanted, "tokenizer"), *their_model = json_object_get(theirs, "model"), *merge;
        pare_bpe_summary summary;
        pare_tokenizer *tokenizer = learn_fixture(&summary, json_object_get(wanted, "options"));
        json_t *ours = printed(tokenizer), *model = json_object_get(ours, "model");
        size_t k;
        json_array_foreach(json_object_get(their_model, "merges"), k, merge) {
            const json_t *found = json_array_get(json_object_get(model, "merges"), k);
            if (!json_equal(merge, found))
                fail_msg("%s: merge %zu is \"%s\" \"%s\", not \"%s\" \"%s\"", names[i], k, json_string_value(json_array_get(found, 0)),
                         json_string_value(json_array_get(found, 1)), json_string_value(json_array_get(merge, 0)),
                         json_string_value(json_array_get(merge, 1)));
        }
        assert_int_equal(summary.merges, k);
        assert_true(json_equal(json_object_get(model, "merges"), json_object_get(their_model, "merges")));
        assert_true(json_equal(json_object_get(model, "vocab"), json_object_get(their_model, "vocab")));
        assert_int_equal(summary.vocabulary, json_object_size(json_object_get(their_model, "vocab")));
        assert_true(json_equal(json_object_get(ours, "added_tokens"), json_object_get(theirs, "added_tokens")));
        compare_ids(tokenizer, ours, theirs);
        json_decref(ours);
        json_decref(wanted);
        pare_tokenizer_close(tokenizer);
    }
}

/* What the summary says of the text is what encoding it says. */
static void the_summary_counts(void **state) {
    (void)state;
    texts t = open_texts();
    pare_piece text = {0};
    assert_true(next_text(&text, &t));
    pare_bpe_options options = plain(1000);
    pare_bpe_summary summary;
    pare_tokenizer *tokenizer = learn(&summary, &options, text.bytes, text.length);
    pare_tokens ids = {0};
    pare_error error = {0};
    assert_done(pare_tokenizer_encode(&ids, tokenizer, text.bytes, text.length, false, &error), error);
    assert_int_equal(summary.tokens, ids.n);
    assert_int_equal(summary.bytes, text.length);
    assert_int_equal(summary.vocabulary, 1000);
    assert_int_equal(summary.merges, 1000 - 257);
    assert_true(summary.words > summary.different_words && summary.different_words > 1000);
    assert_true(ids.n < text.length / 2);
    pare_tokens_free(&ids);
    pare_tokenizer_close(tokenizer);
    pare_map_close(&t.map);
}

/* Texts are cut into stretches of a mebibyte: nothing may come of it. */
static void stretches_leave_no_trace(void **state) {
    (void)state;
    enum { REPEATS = SANITIZED ? 22 : 50 }; /* two cuts, or one */
    static const char *const pre[] = {"smollm", "gpt-2", "llama-bpe", "qwen2"};
    texts t = open_texts();
    pare_piece text;
    pare_string once = {0}, often = {0};
    pare_string_push(&once, " begin", 6);
    while (next_text(&text, &t))
        pare_string_push(&once, text.bytes, text.length);
    pare_string_push(&once, "end", 3);
    for (int i = 0; i < REPEATS; i++)
        pare_string_push(&often, once.data, once.length);
    assert_true(often.length > (SANITIZED ? 1100000 : 2500000));
    for (size_t i = 0; i < 4; i++) {
        pare_bpe_options options = plain(600);
        options.pre = pre[i];
        pare_bpe_trainer *pieces = open_trainer(&options);
        for (int k = 0; k < REPEATS; k++)
            feed(pieces, once.data, once.length);
        pare_bpe_summary by_pieces, whole;
        pare_tokenizer *a = finish(&by_pieces, pieces), *b = learn(&whole, &options, often.data, often.length);
        assert_int_equal(by_pieces.bytes, whole.bytes);
        assert_int_equal(by_pieces.words, whole.words);
        assert_int_equal(by_pieces.different_words, whole.different_words);
        assert_int_equal(by_pieces.tokens, whole.tokens);
        json_t *x = printed(a), *y = printed(b);
        assert_true(json_equal(x, y));
        json_decref(x);
        json_decref(y);
        pare_tokenizer_close(a);
        pare_tokenizer_close(b);
    }
    pare_string_free(&once);
    pare_string_free(&often);
    pare_map_close(&t.map);
}

static void bad_options_are_refused(void **state) {
    (void)state;
    pare_error error = {0};
    pare_bpe_options options = plain(256);
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_RANGE, "256 bytes and 1 special token take 257");
    options.vocabulary = 0;
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_RANGE, "take 257");
    options.vocabulary = SIZE_MAX;
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_RANGE, "too large");
    options = plain(300);
    options.pre = "nonsense";
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_UNSUPPORTED, "nonsense");
    options.pre = NULL;
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_UNSUPPORTED, "pre-tokeniser");
    options = plain(300);
    const pare_piece twice[] = {{"<s>", 3}, {"<t>", 3}, {"<s>", 3}}, empty[] = {{"", 0}}, wrong[] = {{"\xFF", 1}}, zero[] = {{"a\0b", 3}};
    options.special = twice;
    options.n_special = 3;
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_RANGE, "\"<s>\" is there twice");
    options.n_special = 1;
    options.special = empty;
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_RANGE, "empty");
    options.special = wrong;
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_RANGE, "UTF-8");
    options.special = zero;
    assert_fails(pare_bpe_trainer_open(&options, &error), error, PARE_ERROR_RANGE, "UTF-8");
    options = plain(300);
    pare_bpe_trainer *trainer = open_trainer(&options);
    assert_fails(pare_bpe_trainer_finish(NULL, trainer, NULL, &error), error, PARE_ERROR_RANGE, "no text");
    feed(trainer, "", 0);
    assert_fails(pare_bpe_trainer_finish(NULL, trainer, NULL, &error), error, PARE_ERROR_RANGE, "no text");
    pare_bpe_trainer_close(trainer);
}

/* One word of megabytes, from one letter to all bytes: time goes with its length, not with its length times the merges. */
static void long_words_take_no_longer(void **state) {
    (void)state;
    enum { LENGTH = SANITIZED ? 1 << 18 : 3 << 20 };
    static const unsigned letters[] = {1, 2, 3, 26};
    pare_error error = {0};
    char *text = pare_allocate(LENGTH, 1, &error);
    assert_done(text, error);
    for (size_t k = 0; k < sizeof letters / sizeof *letters; k++) {
        pare_random random;
        pare_random_init(&random, k, "long word", 0);
        for (size_t i = 0; i < LENGTH; i++)
            text[i] = (char)('a' + pare_random_below(&random, letters[k]));
        pare_bpe_options options = plain(2000);
        pare_bpe_summary summary;
        double start = pare_clock_s();
        pare_tokenizer *tokenizer = learn(&summary, &options, text, LENGTH);
        assert_true(pare_clock_s() - start < 60);
        assert_int_equal(summary.different_words, 1);
        /* n equal letters: halves, down to a pair that occurs twice no more */
        assert_true(letters[k] == 1 ? summary.merges >= (SANITIZED ? 16 : 20) && summary.merges < 50 : summary.vocabulary == 2000);
        pare_tokenizer_close(tokenizer);
    }
    pare_free(text);
}

static bool is_ascii(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (text[i] & 0x80)
            return false;
    return true;
}

/* Bytes of all kinds, few of them or many, in one text or in thousands: a tokenizer comes out that gives the text back. */
static void hostile_texts(void **state) {
    (void)state;
    static const char *const pre[] = {"smollm", "gpt-2", "llama-bpe", "qwen2"};
    static const char *const alphabets[] = {
        "ab", "a", " \n", "\r\n\t ", "e\xCC\x81", "\xFF\xFE", "0123456789 ", "'sStT ", "\xE1\x84\x92\xE1\x85\xA1"};
    for (unsigned round = 0; round < 120; round++) {
        pare_random random;
        pare_random_init(&random, round, "hostile text", 0);
        pare_bpe_options options = plain(257 + pare_random_below(&random, 300));
        options.pre = pre[round % 4];
        options.min_frequency = pare_random_below(&random, 4);
        pare_bpe_trainer *trainer = open_trainer(&options);
        const char *alphabet = round % 3 ? alphabets[pare_random_below(&random, sizeof alphabets / sizeof *alphabets)] : NULL;
        char text[2000];
        size_t n = 0;
        for (unsigned i = 0, n_texts = 1 + pare_random_below(&random, 60); i < n_texts; i++) {
            n = 1 + pare_random_below(&random, i % 5 ? 60 : sizeof text);
            for (size_t k = 0; k < n; k++)
                text[k] =
                    alphabet ? alphabet[pare_random_below(&random, (uint32_t)strlen(alphabet))] : (char)pare_random_below(&random, 256);
            feed(trainer, text, n);
        }
        pare_bpe_summary summary;
        pare_tokenizer *tokenizer = finish(&summary, trainer);
        assert_true(summary.vocabulary <= options.vocabulary && summary.tokens <= 3 * summary.bytes);
        json_t *json = printed(tokenizer);
        json_decref(json);
        pare_error error = {0};
        pare_tokens ids = {0};
        pare_string back = {0};
        assert_done(pare_tokenizer_encode(&ids, tokenizer, text, n, false, &error), error);
        for (size_t i = 0; i < ids.n; i++) {
            pare_piece piece = pare_tokenizer_piece(tokenizer, ids.ids[i]);
            pare_string_push(&back, piece.bytes, piece.length);
        }
        if (is_ascii(text, n)) { /* nothing was replaced or normalised */
            assert_int_equal(back.length, n);
            assert_memory_equal(back.data, text, n);
        }
        pare_string_free(&back);
        pare_tokens_free(&ids);
        pare_tokenizer_close(tokenizer);
    }
}

static void cancelled_in_time(void **state) {
    (void)state;
    volatile sig_atomic_t stop = 0;
    const pare_context context = {.cancel = &stop};
    pare_error error = {0};
    pare_bpe_options options = plain(300);
    pare_bpe_trainer *trainer = open_trainer(&options);
    feed(trainer, "abab abab", 9);
    stop = 1;
    assert_fails(pare_bpe_trainer_feed(trainer, "more", 4, &context, &error), error, PARE_ERROR_CANCELLED, "interrupted");
    assert_fails(pare_bpe_trainer_finish(NULL, trainer, &context, &error), error, PARE_ERROR_CANCELLED, "interrupted");
    pare_bpe_trainer_close(trainer);
}

/* Every allocation fails once: an error of memory each time, and nothing is lost (the sanitizer build looks). */
static void memory_may_fail(void **state) {
    (void)state;
    static const char text[] = "e\xCC\x81tude aaaaaaaa abababab the then there \xFF 12 12 the abc abcabc";
    pare_bpe_options options = plain(290);
    options.pre = "qwen2";
    size_t n_failed = 0;
    for (size_t n = 1;; n++) {
        pare_error error = {0};
        pare_allocate_fail_at(n);
        pare_bpe_trainer *trainer = pare_bpe_trainer_open(&options, &error);
        pare_tokenizer *tokenizer = NULL;
        if (trainer && pare_bpe_trainer_feed(trainer, text, sizeof text - 1, NULL, &error))
            tokenizer = pare_bpe_trainer_finish(NULL, trainer, NULL, &error);
        pare_allocate_fail_at(0);
        bool done = tokenizer != NULL;
        pare_tokenizer_close(tokenizer);
        pare_bpe_trainer_close(trainer);
        if (done)
            break;
        assert_int_equal(error.code, PARE_ERROR_MEMORY);
        n_failed++;
    }
    assert_true(n_failed > 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_of_the_package),     cmocka_unit_test(the_summary_counts), cmocka_unit_test(stretches_leave_no_trace),
        cmocka_unit_test(bad_options_are_refused),   cmocka_unit_test(hostile_texts),      cmocka_unit_test(cancelled_in_time),
        cmocka_unit_test(long_words_take_no_longer), cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
