/* Datasets: windows against those that tools/fixtures/text_dataset.py made with the `tokenizers` package; pieces of texts
 * against the whole; orders, held-out parts, caches good and bad, and every failure. */
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>

#include "dataset_impl.h"
#include "driver.h"

static const char *const names[] = {"gpt2", "smollm", "llama3", "qwen2", "cased", "prefix"};
enum { N_NAMES = sizeof names / sizeof *names };

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

/* A file in the test's own folder. */
static const char *write_file(const char *folder, const char *name, const char *bytes, size_t n) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    pare_error error = {0};
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    assert_done(pare_file_write(path, bytes, n, true, &error), error);
    return path;
}

static size_t remove_all(const char *folder) {
    size_t n = 0;
    DIR *listing = opendir(folder);
    for (struct dirent *entry; listing && (entry = readdir(listing));)
        n += unlinkat(dirfd(listing), entry->d_name, 0) == 0;
    if (listing)
        closedir(listing);
    rmdir(folder);
    return n;
}

/* ---- pieces ---- */

static pare_tokens encode_pieces(const pare_tokenizer *tokenizer, const char *text, size_t n, size_t limit, size_t *forced_cuts) {
    pare_tokens tokens = {0};
    pare_error error = {0};
    for (size_t at = 0, length; at < n; at += length) {
        bool forced;
        assert_done(pare_piece_measure(&length, &forced, tokenizer, text + at, n - at, limit, &error), error);
        assert_true(length > 0 && length <= (n - at < limit ? n - at : limit));
        assert_done(pare_tokenizer_encode(&tokens, tokenizer, text + at, length, false, &error), error);
        *forced_cuts += forced;
    }
    return tokens;
}

/* Returns how often the text had to be cut by force. */
static size_t compare_pieces(const char *name, const pare_tokenizer *tokenizer, const char *text, size_t n, size_t limit) {
    pare_error error = {0};
    pare_tokens whole = {0};
    size_t forced = 0;
    assert_done(pare_tokenizer_encode(&whole, tokenizer, text, n, false, &error), error);
    pare_tokens pieces = encode_pieces(tokenizer, text, n, limit, &forced);
    for (size_t i = 0; forced == 0 && i < (whole.n < pieces.n ? whole.n : pieces.n); i++)
        if (whole.ids[i] != pieces.ids[i])
            fail_msg("%s: token %zu of %zu is %u by pieces of %zu bytes, not %u", name, i, whole.n, pieces.ids[i], limit, whole.ids[i]);
    if (forced == 0)
        assert_int_equal(whole.n, pieces.n);
    pare_tokens_free(&whole);
    pare_tokens_free(&pieces);
    return forced;
}

/* Strings of all sorts: code, marks, runs of spaces, added tokens, bytes that are not UTF-8; joined, so that there is much to cut. */
static void pieces_of_odd_texts(void **state) {
    (void)state;
    pare_error error = {0};
    pare_map map;
    assert_done(pare_map_open(&map, fixture("strings", ".bin"), &error), error);
    const char *text = (const char *)map.data; /* the lengths between the strings are odd bytes as well */
    size_t n = map.size < 300000 ? map.size : 300000, forced = 0;
    for (size_t i = 0; i < N_NAMES; i++) {
        pare_tokenizer *tokenizer = open_fixture(names[i]);
        for (size_t at = 0; at < n; at += 30000)
            forced += compare_pieces(names[i], tokenizer, text + at, n - at < 30000 ? n - at : 30000, 1000 + at / 30);
        pare_tokenizer_close(tokenizer);
    }
    pare_map_close(&map);
    assert_true(forced <= 1); /* of 60 texts: the one that leaves "prefix" no place within 3,000 bytes */
}

static void pieces_of_real_texts(void **state) {
    (void)state;
    static const char *const texts[] = {"wikitext2/wiki.test.raw", "wiki/wiki_demo.txt", "c4/sample.jsonl", "arc/arc_easy_test.jsonl",
                                        "piqa/dev.jsonl"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        const char *path = test_data(texts[t]);
        pare_error error = {0};
        pare_map map;
        if (!path)
            continue;
        assert_done(pare_map_open(&map, path, &error), error);
        for (size_t i = 0; i < N_NAMES; i++) {
            pare_tokenizer *tokenizer = open_fixture(names[i]);
            assert_int_equal(compare_pieces(names[i], tokenizer, (const char *)map.data, map.size, 50000 + 1000 * i), 0);
            pare_tokenizer_close(tokenizer);
        }
        pare_map_close(&map);
    }
}

/* No place at all: cut by force, on whole characters, and all of it is there. */
static void pieces_without_a_place(void **state) {
    (void)state;
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    static char text[30000];
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xC3\xA9", 2);
    size_t forced = 0;
    pare_tokens tokens = encode_pieces(tokenizer, text, sizeof text, 1001, &forced);
    assert_int_equal(forced, 29);
    pare_string back = {0};
    for (size_t i = 0; i < tokens.n; i++) {
        pare_piece piece = pare_tokenizer_piece(tokenizer, tokens.ids[i]);
        pare_string_push(&back, piece.bytes, piece.length);
    }
    assert_int_equal(back.length, sizeof text);
    assert_memory_equal(back.data, text, sizeof text);
    pare_string_free(&back);
    pare_tokens_free(&tokens);
    pare_tokenizer_close(tokenizer);
}

/* ---- windows ---- */

static pare_dataset *open_dataset(const pare_dataset_options *options, const pare_tokenizer *tokenizer) {
    pare_error error = {0};
    pare_dataset *dataset = pare_dataset_open(options, tokenizer, NULL, &error);
    assert_done(dataset, error);
    return dataset;
}

/* One plain text is its ids, slice by slice: as a loop over ids[at : at + length] has them. */
static void one_text_is_sliced(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_error error = {0};
    pare_string text = {0};
    for (int i = 0; i < 3000; i++)
        pare_string_print(&text, "%d words of line %x\n%s", i * 7919 % 1000, i, i % 9 ? "" : "\n");
    const char *paths[] = {write_file(folder, "t.txt", text.data, text.length)};
    for (size_t k = 0; k < N_NAMES; k++) {
        pare_tokenizer *tokenizer = open_fixture(names[k]);
        pare_tokens whole = {0};
        assert_done(pare_tokenizer_encode(&whole, tokenizer, text.data, text.length, true, &error), error);
        const pare_dataset_options options = {.paths = paths, .n_paths = 1, .length = 48, .separator = 5, .order = PARE_ORDER_GIVEN};
        pare_dataset *dataset = open_dataset(&options, tokenizer);
        const pare_dataset_facts *facts = pare_dataset_facts_of(dataset);
        assert_int_equal(facts->training.tokens, whole.n);
        assert_int_equal(facts->training.windows, whole.n / 48);
        assert_int_equal(facts->training.targets, whole.n / 48 * 47);
        assert_int_equal(facts->bytes, text.length);
        for (size_t i = 0; i < whole.n / 48; i++) {
            uint32_t ids[48];
            uint8_t learn[48];
            assert_done(pare_dataset_window(ids, learn, dataset, i, i, &error), error);
            assert_memory_equal(ids, whole.ids + 48 * i, sizeof ids);
            for (int t = 0; t < 48; t++)
                assert_int_equal(learn[t], t > 0);
        }
        pare_dataset_close(dataset);
        pare_tokens_free(&whole);
        pare_tokenizer_close(tokenizer);
    }
    pare_string_free(&text);
    remove_all(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_odd_texts),
        cmocka_unit_test(pieces_of_real_texts),
        cmocka_unit_test(pieces_without_a_place),
        cmocka_unit_test(one_text_is_sliced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
