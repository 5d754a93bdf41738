/* Ids of whole tokenizers against those that the `tokenizers` package gave (tools/fixtures/text_tokenizers.py). With an
 * option as first argument the same program is a tool for larger comparisons (driver.h). */
#include "test.h"

#include <pthread.h>

#include "driver.h"
#include "pare/json.h"

static const char *const names[] = {"gpt2", "smollm", "llama3", "qwen2", "cased", "prefix"};
enum { N_NAMES = sizeof names / sizeof *names, N_STRINGS = 1806 };

static const char *fixture(const char *name, const char *ending) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", PARE_FIXTURES, name, ending);
    return path;
}

static pare_tokenizer *open_fixture(const char *name) {
    pare_error error = {0};
    pare_tokenizer *tokenizer = open_file(fixture(name, ".json"), &error);
    assert_done(tokenizer, error);
    return tokenizer;
}

/* A reader of little-endian 16-bit numbers. */
typedef struct {
    pare_map map;
    size_t at;
} numbers;

static numbers open_numbers(const char *name, const char *ending) {
    numbers file = {0};
    pare_error error = {0};
    assert_done(pare_map_open(&file.map, fixture(name, ending), &error), error);
    return file;
}

static unsigned next_number(numbers *file) {
    assert_true(file->at + 2 <= file->map.size);
    unsigned low = file->map.data[file->at], high = file->map.data[file->at + 1];
    file->at += 2;
    return low | high << 8;
}

static void compare_ids(const pare_tokens *tokens, size_t from, numbers *wanted, const char *name, size_t string) {
    unsigned n = next_number(wanted);
    for (size_t i = 0; i < n; i++) {
        unsigned id = next_number(wanted);
        if (from + i >= tokens->n || tokens->ids[from + i] != id)
            fail_msg("%s: string %zu: token %zu is %lld, not %u", name, string, i,
                     from + i < tokens->n ? (long long)tokens->ids[from + i] : -1, id);
    }
    assert_int_equal(tokens->n - from, n);
}

/* All strings through one tokenizer; returns how many there were. */
static size_t compare_strings(const pare_tokenizer *tokenizer, const char *name) {
    numbers strings = open_numbers("strings", ".bin"), wanted = open_numbers(name, ".ids");
    pare_tokens tokens = {0};
    pare_error error = {0};
    size_t n = 0;
    for (; strings.at < strings.map.size; n++) {
        size_t length = next_number(&strings), from = tokens.n;
        const char *text = (const char *)strings.map.data + strings.at;
        strings.at += length;
        assert_done(pare_tokenizer_encode(&tokens, tokenizer, text, length, true, &error), error);
        compare_ids(&tokens, from, &wanted, name, n);
        if (n % 100 == 99)
            tokens.n = 0; /* ids are appended, so the buffer is used from any place */
    }
    assert_int_equal(wanted.at, wanted.map.size);
    pare_tokens_free(&tokens);
    pare_map_close(&strings.map);
    pare_map_close(&wanted.map);
    return n;
}

static void ids_from_json(void **state) {
    (void)state;
    for (size_t i = 0; i < N_NAMES; i++) {
        pare_tokenizer *tokenizer = open_fixture(names[i]);
        assert_int_equal(compare_strings(tokenizer, names[i]), N_STRINGS);
        pare_tokenizer_close(tokenizer);
    }
}

/* Each configuration that GGUF can name, told as GGUF tells it; and what is printed for it, read back. */
static void ids_from_parts(void **state) {
    (void)state;
    static const struct {
        const char *name, *pre, *bos;
    } kinds[] = {{"gpt2", "gpt-2", NULL}, {"smollm", "smollm", NULL}, {"llama3", "llama-bpe", "<|begin|>"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        pare_error error = {0};
        pare_tokenizer *tokenizer = open_as_parts(fixture(kinds[i].name, ".json"), kinds[i].pre, kinds[i].bos, &error);
        assert_done(tokenizer, error);
        assert_int_equal(compare_strings(tokenizer, kinds[i].name), N_STRINGS);
        pare_string json = {0};
        assert_done(pare_tokenizer_print_json(&json, tokenizer, &error), error);
        pare_tokenizer_close(tokenizer);
        tokenizer = pare_tokenizer_open_json(json.data, json.length, "printed", &error);
        assert_done(tokenizer, error);
        assert_int_equal(compare_strings(tokenizer, kinds[i].name), N_STRINGS);
        pare_tokenizer_close(tokenizer);
        pare_string_free(&json);
    }
}

/* qwen2's fixture has tokens with flags, which GGUF cannot tell; without them its parts are the JSON's. */
static void qwen2_from_parts(void **state) {
    (void)state;
    static const char text[] = "Na\x69\xCC\x88ve \xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB 12345 don'T\r\n\r\n  x <|end|>\xF0\x9F\x91\xA9";
    pare_error error = {0};
    pare_tokens a = {0}, b = {0};
    pare_tokenizer *json = open_fixture("qwen2");
    pare_tokenizer *parts = open_as_parts(fixture("qwen2", ".json"), "qwen2", NULL, &error);
    assert_done(parts, error);
    assert_done(pare_tokenizer_encode(&a, json, text, sizeof text - 1, true, &error), error);
    assert_done(pare_tokenizer_encode(&b, parts, text, sizeof text - 1, true, &error), error);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    pare_tokens_free(&a);
    pare_tokens_free(&b);
    pare_tokenizer_close(json);
    pare_tokenizer_close(parts);
}

/* A tokenizer told as parts has the name of its pre-tokeniser, and the same ids; what GGUF has no name for is refused. */
static void parts_are_told(void **state) {
    (void)state;
    static const char *const kinds[][2] = {{"gpt2", "gpt-2"}, {"smollm", "smollm"}, {"llama3", "llama-bpe"}, {"qwen2", "qwen2"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        pare_error error = {0};
        pare_tokenizer_parts parts;
        pare_tokenizer *tokenizer = open_fixture(kinds[i][0]);
        pare_arena *arena = pare_arena_open(&error);
        assert_non_null(arena);
        assert_done(pare_tokenizer_write_parts(&parts, tokenizer, arena, &error), error);
        assert_string_equal(parts.pre, kinds[i][1]);
        assert_int_equal(parts.n_tokens, pare_tokenizer_size(tokenizer));
        assert_int_equal(parts.add_bos ? parts.bos : -1, pare_tokenizer_bos(tokenizer));
        pare_tokenizer *back = pare_tokenizer_open_parts(&parts, "parts", &error);
        assert_done(back, error);
        if (i < 3) /* qwen2's added tokens have flags */
            assert_int_equal(compare_strings(back, kinds[i][0]), N_STRINGS);
        pare_tokenizer_close(back);
        pare_tokenizer_close(tokenizer);
        pare_arena_close(arena);
    }
    pare_error error = {0};
    pare_tokenizer_parts parts;
    pare_tokenizer *tokenizer = open_fixture("prefix");
    assert_fails(pare_tokenizer_write_parts(&parts, tokenizer, NULL, &error), error, PARE_ERROR_UNSUPPORTED, "pre-tokeniser");
    pare_tokenizer_close(tokenizer);
}

static void json_is_given_back(void **state) {
    (void)state;
    pare_error error = {0};
    pare_map map;
    assert_done(pare_map_open(&map, fixture("llama3", ".json"), &error), error);
    pare_tokenizer *tokenizer = pare_tokenizer_open_json((const char *)map.data, map.size, "llama3.json", &error);
    assert_done(tokenizer, error);
    pare_string json = {0};
    assert_done(pare_tokenizer_print_json(&json, tokenizer, &error), error);
    assert_int_equal(json.length, map.size);
    assert_memory_equal(json.data, map.data, map.size);
    pare_string_free(&json);
    pare_tokenizer_close(tokenizer);
    pare_map_close(&map);
}

/* The pieces of the ids put together are the text again, where every byte is in the vocabulary and nothing normalises. */
static void pieces_are_the_text(void **state) {
    (void)state;
    static const char text[] = "Don't \t 42 \xF0\x9F\x91\xA9\xE2\x80\x8D caf\xC3\xA9 zyx<|end|>\n";
    pare_error error = {0};
    pare_tokenizer *tokenizer = open_fixture("llama3");
    pare_tokens tokens = {0};
    pare_string back = {0};
    assert_done(pare_tokenizer_encode(&tokens, tokenizer, text, sizeof text - 1, false, &error), error);
    for (size_t i = 0; i < tokens.n; i++) {
        pare_piece piece = pare_tokenizer_piece(tokenizer, tokens.ids[i]);
        pare_string_push(&back, piece.bytes, piece.length);
    }
    assert_string_equal(back.data, text);
    assert_int_equal(pare_tokenizer_piece(tokenizer, (uint32_t)pare_tokenizer_size(tokenizer)).length, 0);
    assert_int_equal(pare_tokenizer_piece(tokenizer, UINT32_MAX).length, 0);
    pare_string_free(&back);
    pare_tokens_free(&tokens);
    pare_tokenizer_close(tokenizer);
}

static bool same_ids(const pare_tokenizer *a, const pare_tokenizer *b, const char *text, unsigned flags) {
    pare_tokens x = {0}, y = {0};
    pare_error error = {0};
    assert_done(pare_tokenizer_encode(&x, a, text, strlen(text), flags, &error), error);
    assert_done(pare_tokenizer_encode(&y, b, text, strlen(text), flags, &error), error);
    bool same = x.n == y.n && memcmp(x.ids, y.ids, x.n * sizeof *x.ids) == 0;
    pare_tokens_free(&x);
    pare_tokens_free(&y);
    return same;
}

static const char sample[] = "Don't \t 42 \xF0\x9F\x91\xA9\xE2\x80\x8D caf\xC3\xA9 zyx<|end|>\n  \x01\x7F In 1234567";

/* A tokenizer.json with one part in another way. */
static pare_tokenizer *open_changed(const char *key, const char *part, const char *value, pare_error *error) {
    pare_map map;
    assert_done(pare_map_open(&map, fixture("llama3", ".json"), error), *error);
    json_t *json = json_loadb((const char *)map.data, map.size, 0, NULL), *new_value = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_non_null(json);
    assert_non_null(new_value);
    json_t *where = key ? json_object_get(json, key) : json;
    if (part[0] == '+')
        json_array_append_new(json_object_get(json, part + 1), new_value);
    else
        json_object_set_new(where, part, new_value);
    char *text = json_dumps(json, 0);
    pare_tokenizer *tokenizer = pare_tokenizer_open_json(text, strlen(text), "t.json", error);
    free(text);
    json_decref(json);
    pare_map_close(&map);
    return tokenizer;
}

/* Parts that cannot change an id, in whatever way they are there. */
static void odd_parts_without_effect(void **state) {
    (void)state;
    static const struct {
        const char *key, *part, *value;
    } cases[] = {
        {"model", "unk_token", "\"<none of these>\""},
        {"model", "byte_fallback", "true"},
        {"model", "fuse_unk", "true"},
        {"model", "dropout", "0.0"},
        {"model", "dropout", "null"},
        {"model", "continuing_subword_prefix", "\"\""},
        {"model", "end_of_word_suffix", "\"\""},
        {NULL, "decoder", "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteLevel\"}]}"},
        {NULL, "decoder", "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteLevel\"}, {\"type\": \"Fuse\"}]}"},
        {NULL, "decoder", "null"},
        {NULL, "normalizer", "{\"type\": \"Sequence\", \"normalizers\": []}"},
        {NULL, "truncation", "{\"max_length\": 4, \"strategy\": \"LongestFirst\", \"stride\": 0}"},
        {NULL, "padding", "{\"strategy\": {\"Fixed\": 64}, \"pad_id\": 0, \"pad_type_id\": 0, \"pad_token\": \"a\"}"},
    };
    pare_error error = {0};
    pare_tokenizer *plain = open_fixture("llama3");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_tokenizer *odd = open_changed(cases[i].key, cases[i].part, cases[i].value, &error);
        assert_done(odd, error);
        if (!same_ids(plain, odd, sample, PARE_ENCODE_TEMPLATE))
            fail_msg("%s changes the ids", cases[i].value);
        pare_tokenizer_close(odd);
    }
    pare_tokenizer_close(plain);
}

/* One that says the same again is one; one that says something else is refused. */
static void added_tokens_twice(void **state) {
    (void)state;
    pare_error error = {0};
    pare_tokenizer *plain = open_fixture("llama3");
    pare_map map;
    assert_done(pare_map_open(&map, fixture("llama3", ".json"), &error), error);
    json_t *json = json_loadb((const char *)map.data, map.size, 0, NULL), *first = json_array_get(json_object_get(json, "added_tokens"), 0);
    char *again = json_dumps(first, 0);
    pare_tokenizer *odd = open_changed(NULL, "+added_tokens", again, &error);
    assert_done(odd, error);
    assert_true(same_ids(plain, odd, sample, 0));
    pare_tokenizer_close(odd);
    json_object_set_new(first, "id", json_integer(7));
    char *elsewhere = json_dumps(first, 0);
    odd = open_changed(NULL, "+added_tokens", elsewhere, &error);
    assert_done(odd, error);
    assert_true(same_ids(plain, odd, sample, 0));
    free(elsewhere);
    json_object_set_new(first, "lstrip", json_boolean(!json_is_true(json_object_get(first, "lstrip"))));
    char *other = json_dumps(first, 0);
    assert_fails(open_changed(NULL, "+added_tokens", other, &error), error, PARE_ERROR_FORMAT, "is there twice");
    free(again);
    free(other);
    json_decref(json);
    pare_map_close(&map);
    pare_tokenizer_close(odd);
    pare_tokenizer_close(plain);
}

/* A GGUF that names no pre-tokeniser, or "default": llama.cpp's ids (llama-tokenize, with pare-llama-40k), and a note. */
static void no_pre_tokeniser(void **state) {
    (void)state;
    static const char text[] = "In 2024 it cost $1234567.89 (see p. 12), don't you think?\n";
    static const uint32_t wanted[] = {41, 78,  221, 18,  16, 18,  20, 328, 274, 489, 221, 4,  17,  18,  19, 20, 21,  22,  23, 14, 24,
                                      25, 221, 8,   309, 69, 285, 14, 221, 17,  18,  9,   12, 292, 268, 7,  84, 327, 953, 31, 199};
    pare_error error = {0};
    pare_tokenizer *named = open_file(PARE_SOURCE_DIR "/models/pare-llama-40k/tokenizer.json", &error);
    assert_done(named, error);
    pare_arena *arena = pare_arena_open(&error);
    pare_tokenizer_parts parts;
    assert_done(pare_tokenizer_write_parts(&parts, named, arena, &error), error);
    assert_null(pare_tokenizer_note(named));
    for (int i = 0; i < 2; i++) {
        parts.pre = i ? "default" : NULL;
        pare_tokenizer *tokenizer = pare_tokenizer_open_parts(&parts, "m.gguf", &error);
        assert_done(tokenizer, error);
        assert_non_null(strstr(pare_tokenizer_note(tokenizer), i ? "\"default\"" : "is missing"));
        pare_tokens tokens = {0};
        assert_done(pare_tokenizer_encode(&tokens, tokenizer, text, sizeof text - 1, PARE_ENCODE_TEMPLATE, &error), error);
        assert_int_equal(tokens.n, sizeof wanted / sizeof *wanted);
        assert_memory_equal(tokens.ids, wanted, sizeof wanted);
        pare_tokens_free(&tokens);
        pare_string json = {0}; /* as a tokenizer.json, and from there to parts again */
        assert_done(pare_tokenizer_print_json(&json, tokenizer, &error), error);
        pare_tokenizer *back = pare_tokenizer_open_json(json.data, json.length, "t.json", &error);
        assert_done(back, error);
        assert_true(same_ids(tokenizer, back, sample, 0) && same_ids(tokenizer, back, text, 0));
        pare_tokenizer_parts again;
        assert_done(pare_tokenizer_write_parts(&again, back, arena, &error), error);
        assert_string_equal(again.pre, "default");
        pare_tokenizer_close(back);
        pare_tokenizer_close(tokenizer);
        pare_string_free(&json);
    }
    pare_arena_close(arena);
    pare_tokenizer_close(named);
}

/* Without normalising and without special tokens, as llama.cpp's tools read a file. */
static void as_llama_cpp_reads(void **state) {
    (void)state;
    pare_error error = {0};
    pare_tokenizer *nfc = open_fixture("qwen2");
    pare_tokens tokens = {0}, plain = {0};
    static const char text[] = "e\xCC\x81"; /* e and an accent: one character in NFC */
    assert_done(pare_tokenizer_encode(&tokens, nfc, text, sizeof text - 1, PARE_ENCODE_LLAMA_CPP, &error), error);
    assert_done(pare_tokenizer_encode(&plain, nfc, text, sizeof text - 1, 0, &error), error);
    assert_true(tokens.n != plain.n || memcmp(tokens.ids, plain.ids, plain.n * sizeof *plain.ids) != 0);
    pare_string back = {0};
    for (size_t i = 0; i < tokens.n; i++)
        pare_string_push(&back, pare_tokenizer_piece(nfc, tokens.ids[i]).bytes, pare_tokenizer_piece(nfc, tokens.ids[i]).length);
    assert_string_equal(back.data, text);
    pare_string_free(&back);
    pare_tokens_free(&tokens);
    pare_tokens_free(&plain);
    pare_tokenizer_close(nfc);
}

static void bos_comes_with_the_template(void **state) {
    (void)state;
    pare_error error = {0};
    pare_tokens tokens = {0};
    pare_tokenizer *tokenizer = open_fixture("llama3");
    int64_t bos = pare_tokenizer_bos(tokenizer);
    assert_int_equal(bos, pare_tokenizer_size(tokenizer) - 1);
    assert_done(pare_tokenizer_encode(&tokens, tokenizer, "", 0, true, &error), error);
    assert_int_equal(tokens.n, 1);
    assert_int_equal(tokens.ids[0], bos);
    assert_done(pare_tokenizer_encode(&tokens, tokenizer, NULL, 0, false, &error), error);
    assert_int_equal(tokens.n, 1);
    pare_tokenizer_close(tokenizer);
    tokenizer = open_fixture("gpt2");
    assert_int_equal(pare_tokenizer_bos(tokenizer), -1);
    pare_tokenizer_close(tokenizer);
    pare_tokens_free(&tokens);
}

/* Whole texts of public data sets: count of tokens and hash of the ids. */
static void ids_of_data_sets(void **state) {
    (void)state;
    pare_error error = {0};
    json_t *data = pare_json_read(fixture("data", ".json"), &error);
    assert_done(data, error);
    const char *path, *name;
    json_t *by_name, *wanted;
    json_object_foreach(data, path, by_name) {
        pare_map map;
        if (!test_data(path))
            continue;
        assert_done(pare_map_open(&map, test_data(path), &error), error);
        json_object_foreach(by_name, name, wanted) {
            pare_tokens tokens = {0};
            pare_sha256 hash;
            pare_tokenizer *tokenizer = open_fixture(name);
            assert_done(pare_tokenizer_encode(&tokens, tokenizer, (const char *)map.data, map.size, true, &error), error);
            assert_int_equal(tokens.n, json_integer_value(json_object_get(wanted, "tokens")));
            assert_done(pare_sha256_bytes(&hash, tokens.ids, tokens.n * sizeof *tokens.ids, &error), error);
            assert_string_equal(hash.hex, json_string_value(json_object_get(wanted, "sha256")));
            pare_tokens_free(&tokens);
            pare_tokenizer_close(tokenizer);
        }
        pare_map_close(&map);
    }
    json_decref(data);
}

/* All strings as one text, encoded again and again by threads that share a tokenizer. */
typedef struct {
    const pare_tokenizer *tokenizer;
    const pare_map *text;
    const pare_tokens *wanted;
    bool same;
} thread_work;

static void *encode_in_thread(void *argument) {
    thread_work *work = argument;
    work->same = true;
    for (int i = 0; i < 5; i++) {
        pare_tokens tokens = {0};
        work->same &= pare_tokenizer_encode(&tokens, work->tokenizer, (const char *)work->text->data, work->text->size, true, NULL) &&
                      tokens.n == work->wanted->n && memcmp(tokens.ids, work->wanted->ids, tokens.n * sizeof *tokens.ids) == 0;
        pare_tokens_free(&tokens);
    }
    return NULL;
}

static void many_threads_read_one(void **state) {
    (void)state;
    enum { N_THREADS = 4 };
    pthread_t threads[N_THREADS];
    thread_work work[N_THREADS];
    pare_error error = {0};
    pare_map text;
    pare_tokens wanted = {0};
    assert_done(pare_map_open(&text, fixture("strings", ".bin"), &error), error);
    for (size_t name = 3; name < 5; name++) { /* qwen2 normalises, cased runs PCRE2 */
        pare_tokenizer *first = open_fixture(names[name]), *shared = open_fixture(names[name]);
        wanted.n = 0;
        assert_done(pare_tokenizer_encode(&wanted, first, (const char *)text.data, text.size, true, &error), error);
        for (size_t i = 0; i < N_THREADS; i++) {
            work[i] = (thread_work){shared, &text, &wanted, false};
            assert_int_equal(pthread_create(&threads[i], NULL, encode_in_thread, &work[i]), 0);
        }
        for (size_t i = 0; i < N_THREADS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_true(work[i].same);
        }
        pare_tokenizer_close(first);
        pare_tokenizer_close(shared);
    }
    pare_tokens_free(&wanted);
    pare_map_close(&text);
}

/* Every allocation fails once: an error of memory each time, and nothing is lost (the sanitizer build looks). */
static void memory_may_fail(void **state) {
    (void)state;
    static const char text[] = "don't e\xCC\x81 12 <|end|> \xFF";
    pare_error error = {0};
    pare_map map;
    assert_done(pare_map_open(&map, fixture("cased", ".json"), &error), error);
    size_t n_failed = 0;
    for (size_t n = 1;; n++) {
        pare_tokens tokens = {0};
        pare_string json = {0};
        error = (pare_error){0};
        pare_allocate_fail_at(n);
        pare_tokenizer *tokenizer = pare_tokenizer_open_json((const char *)map.data, map.size, "cased.json", &error);
        bool done = tokenizer && pare_tokenizer_encode(&tokens, tokenizer, text, sizeof text - 1, true, &error) &&
                    pare_tokenizer_print_json(&json, tokenizer, &error);
        pare_allocate_fail_at(0);
        pare_tokens_free(&tokens);
        pare_string_free(&json);
        pare_tokenizer_close(tokenizer);
        if (done)
            break;
        assert_int_equal(error.code, PARE_ERROR_MEMORY);
        n_failed++;
    }
    assert_true(n_failed > 20);
    pare_map_close(&map);
}

int main(int n, char **arguments) {
    if (n > 1 && strncmp(arguments[1], "--", 2) == 0)
        return drive(n, arguments);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_from_json),
        cmocka_unit_test(ids_from_parts),
        cmocka_unit_test(qwen2_from_parts),
        cmocka_unit_test(parts_are_told),
        cmocka_unit_test(json_is_given_back),
        cmocka_unit_test(pieces_are_the_text),
        cmocka_unit_test(odd_parts_without_effect),
        cmocka_unit_test(added_tokens_twice),
        cmocka_unit_test(no_pre_tokeniser),
        cmocka_unit_test(as_llama_cpp_reads),
        cmocka_unit_test(bos_comes_with_the_template),
        cmocka_unit_test(ids_of_data_sets),
        cmocka_unit_test(many_threads_read_one),
        cmocka_unit_test(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
