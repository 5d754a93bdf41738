/* Datasets: windows against those that tools/fixtures/text_dataset.py made with the `tokenizers` package; pieces of texts
 * against the whole; orders and held-out parts. Caches and failures are in test_dataset_bad.c. */
#include "dataset_test.h"

static const char *const names[] = {"gpt2", "smollm", "llama3", "qwen2", "cased", "prefix"};
enum { N_NAMES = sizeof names / sizeof *names };

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

/* ---- against the reference ---- */

enum { LONGEST = 128 };

/* SHA-256 of all ids, then all flags, of the windows in the given order. */
static void check_case(const json_t *wanted) {
    const char *paths[8];
    char names_of_paths[8][1024];
    pare_dataset_options options = {.paths = paths, .order = PARE_ORDER_GIVEN};
    options.length = (size_t)json_integer_value(json_object_get(wanted, "length"));
    options.separator = json_integer_value(json_object_get(wanted, "separator"));
    size_t i;
    const json_t *file;
    json_array_foreach(json_object_get(wanted, "files"), i, file) {
        snprintf(names_of_paths[i], sizeof names_of_paths[i], "%s", fixture(json_string_value(file), ""));
        paths[options.n_paths++] = names_of_paths[i];
    }
    pare_tokenizer *tokenizer = open_fixture(json_string_value(json_object_get(wanted, "tokenizer")));
    pare_dataset *dataset = open_dataset(&options, tokenizer);
    const pare_dataset_facts *facts = pare_dataset_facts_of(dataset);
    assert_int_equal(facts->training.tokens, json_integer_value(json_object_get(wanted, "tokens")));
    assert_int_equal(facts->training.windows, json_integer_value(json_object_get(wanted, "windows")));
    assert_int_equal(facts->training.targets, json_integer_value(json_object_get(wanted, "targets")));
    assert_int_equal(facts->held_out.documents, 0);
    assert_int_equal(facts->forced_cuts, 0);
    pare_string all = {0}, flags = {0};
    pare_error error = {0};
    for (uint64_t w = 0; w < facts->training.windows; w++) {
        uint32_t ids[LONGEST];
        uint8_t learn[LONGEST];
        assert_done(pare_dataset_window(ids, learn, dataset, 3, w, &error), error);
        pare_string_push(&all, (const char *)ids, options.length * sizeof *ids);
        pare_string_push(&flags, (const char *)learn, options.length);
    }
    pare_string_push(&all, flags.data, flags.length);
    pare_sha256 hash;
    assert_done(pare_sha256_bytes(&hash, all.data, all.length, &error), error);
    assert_string_equal(hash.hex, json_string_value(json_object_get(wanted, "sha256")));
    pare_string_free(&all);
    pare_string_free(&flags);
    pare_dataset_close(dataset);
    pare_tokenizer_close(tokenizer);
}

static void windows_as_the_reference(void **state) {
    (void)state;
    pare_error error = {0};
    json_t *root = pare_json_read(fixture("dataset", ".json"), &error), *wanted;
    assert_done(root, error);
    size_t i;
    json_array_foreach(json_object_get(root, "cases"), i, wanted) check_case(wanted);
    assert_int_equal(i, 30);
    json_decref(root);
}

typedef struct {
    const json_t *wanted;
    size_t n, done;
} cut_check;

static bool take_cut(void *user, const pare_document *document, size_t done, pare_error *error) {
    cut_check *check = user;
    pare_sha256 hash;
    assert_done(pare_sha256_bytes(&hash, document->text.bytes, document->text.length, error), *error);
    assert_string_equal(hash.hex, json_string_value(json_array_get(check->wanted, check->n++)));
    assert_true(done > check->done && !document->answered && document->prompt.length == 0);
    check->done = done;
    return true;
}

static void plain_texts_are_cut(void **state) {
    (void)state;
    pare_error error = {0};
    pare_map map;
    json_t *root = pare_json_read(fixture("dataset", ".json"), &error);
    assert_done(root, error);
    assert_done(pare_map_open(&map, fixture("dataset_plain", ".txt"), &error), error);
    cut_check check = {json_object_get(root, "documents"), 0, 0};
    const pare_text_file file = {.path = "t.txt", .bytes = (const char *)map.data, .length = map.size};
    const pare_source source = {.file = &file, .split = true};
    assert_done(pare_source_read(&source, take_cut, &check, NULL, &error), error);
    assert_int_equal(check.n, json_array_size(check.wanted));
    assert_true(check.n > 3);
    pare_map_close(&map);
    json_decref(root);
}

/* ---- orders and parts ---- */

/* JSONL of n documents, "<i> <i> <i> …": which window came from which document can be read off. `copies` of each. */
static const char *write_numbers(const char *folder, int n, int words, int copies) {
    pare_string text = {0};
    for (int copy = 0; copy < copies; copy++)
        for (int i = 0; i < n; i++) {
            pare_string_print(&text, "{\"text\": \"");
            for (int k = 0; k < words; k++)
                pare_string_print(&text, "%d ", i);
            pare_string_print(&text, "\"}\n");
        }
    const char *path = write_file(folder, "numbers.jsonl", text.data, text.length);
    pare_string_free(&text);
    return path;
}

static uint64_t fingerprint(const uint32_t *ids, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ids[i]) * 0x100000001b3u;
    return h;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void read_epoch(uint64_t *prints, const pare_dataset *dataset, uint64_t epoch, size_t length) {
    uint32_t ids[LONGEST];
    uint8_t learn[LONGEST];
    pare_error error = {0};
    for (uint64_t w = 0; w < pare_dataset_facts_of(dataset)->training.windows; w++) {
        assert_done(pare_dataset_window(ids, learn, dataset, epoch, w, &error), error);
        prints[w] = fingerprint(ids, length);
    }
}

/* Each epoch has every window once, in an order that epoch and seed alone decide. */
static void epochs_are_permutations(void **state) {
    (void)state;
    enum { LENGTH = 16, MOST = 4096 };
    static uint64_t given[MOST], first[MOST], again[MOST], other[MOST];
    char *folder = test_folder();
    const char *paths[] = {write_numbers(folder, 700, 11, 1)};
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    pare_dataset_options options = {
        .paths = paths, .n_paths = 1, .length = LENGTH, .separator = 2000, .order = PARE_ORDER_GIVEN, .seed = 5};
    pare_dataset *dataset = open_dataset(&options, tokenizer);
    uint64_t n = pare_dataset_facts_of(dataset)->training.windows;
    assert_true(n > 500 && n <= MOST && (n & (n - 1)) != 0);
    read_epoch(given, dataset, 0, LENGTH);
    read_epoch(again, dataset, 1, LENGTH);
    assert_memory_equal(given, again, n * sizeof *given);
    pare_dataset_close(dataset);
    options.order = PARE_ORDER_SHUFFLED;
    dataset = open_dataset(&options, tokenizer);
    read_epoch(first, dataset, 0, LENGTH);
    read_epoch(again, dataset, 0, LENGTH);
    read_epoch(other, dataset, 1, LENGTH);
    assert_memory_equal(first, again, n * sizeof *first);
    pare_dataset_close(dataset);
    options.seed = 6;
    dataset = open_dataset(&options, tokenizer);
    read_epoch(again, dataset, 0, LENGTH);
    pare_dataset_close(dataset);
    size_t same[4] = {0};
    for (uint64_t i = 0; i < n; i++) {
        same[0] += first[i] == given[i];
        same[1] += first[i] == other[i];
        same[2] += first[i] == again[i];
        same[3] += i > 0 && i + 1 < n && first[i] == given[i + 1];
    }
    for (int k = 0; k < 4; k++)
        assert_true(same[k] < 8); /* one is expected by chance; windows within a document can be equal */
    qsort(given, n, sizeof *given, by_number);
    qsort(first, n, sizeof *first, by_number);
    qsort(other, n, sizeof *other, by_number);
    assert_memory_equal(given, first, n * sizeof *given);
    assert_memory_equal(given, other, n * sizeof *given);
    pare_tokenizer_close(tokenizer);
    remove_all(folder);
}

/* Over many epochs each window comes about as often at each place: chi-squared of the pairs (window, place). */
static void orders_are_fair(void **state) {
    (void)state;
    enum { LENGTH = 8, N = 12, EPOCHS = 6000 };
    char *folder = test_folder();
    pare_string text = {0};
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    pare_error error = {0};
    for (int i = 0; i < N * LENGTH; i++)
        pare_string_print(&text, " %c%c", 'a' + i / 26, 'A' + i % 26);
    const char *paths[] = {write_file(folder, "t.txt", text.data, text.length)};
    pare_dataset_options options = {.paths = paths, .n_paths = 1, .length = LENGTH, .separator = -1, .seed = 99};
    pare_dataset *dataset = open_dataset(&options, tokenizer);
    uint64_t n = pare_dataset_facts_of(dataset)->training.windows, firsts[64];
    assert_true(n >= N && n <= 64);
    static double counts[64][64];
    uint32_t ids[LENGTH];
    uint8_t learn[LENGTH];
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++)
        for (uint64_t i = 0; i < n; i++) {
            assert_done(pare_dataset_window(ids, learn, dataset, epoch, i, &error), error);
            uint64_t which = 0;
            if (epoch == 0)
                firsts[i] = fingerprint(ids, LENGTH);
            while (which < n && firsts[which] != fingerprint(ids, LENGTH))
                which++;
            assert_true(which < n);
            counts[which][i] += 1;
        }
    double expected = EPOCHS / (double)n, chi = 0, free = (double)((n - 1) * (n - 1));
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < n; k++)
            chi += (counts[i][k] - expected) * (counts[i][k] - expected) / expected;
    assert_true(chi > free * 0.7 && chi < free * 1.3);
    pare_dataset_close(dataset);
    pare_tokenizer_close(tokenizer);
    pare_string_free(&text);
    remove_all(folder);
}

/* Which ids a part has in its windows. */
static void mark_ids(bool *marks, const pare_dataset *dataset, bool held_out, size_t length) {
    const pare_dataset_facts *facts = pare_dataset_facts_of(dataset);
    uint32_t ids[LONGEST];
    uint8_t learn[LONGEST];
    pare_error error = {0};
    for (uint64_t w = 0; w < (held_out ? facts->held_out.windows : facts->training.windows); w++) {
        assert_done(held_out ? pare_dataset_held_out_window(ids, learn, dataset, w, &error)
                             : pare_dataset_window(ids, learn, dataset, 0, w, &error),
                    error);
        for (size_t t = 0; t < length; t++)
            marks[ids[t]] = true;
    }
}

/* 50 documents of one character each, twice: a character is of one part, whichever the seed, and the shares are as asked. */
static void held_out_never_trains(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_string text = {0};
    for (int copy = 0; copy < 2; copy++)
        for (int c = '#'; c < '#' + 50; c++) {
            pare_string_print(&text, "{\"text\": \"");
            for (int k = 0; k < 8; k++)
                pare_string_print(&text, "\\n%c", c);
            pare_string_print(&text, "\"}\n");
        }
    const char *paths[] = {write_file(folder, "d.jsonl", text.data, text.length)};
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    pare_tokens newline = {0};
    pare_error error = {0};
    assert_done(pare_tokenizer_encode(&newline, tokenizer, "\n", 1, false, &error), error);
    size_t differing = 0;
    bool before[4096] = {0};
    for (uint64_t seed = 0; seed < 20; seed++) {
        bool training[4096] = {0}, held_out[4096] = {0};
        const pare_dataset_options options = {.paths = paths, .n_paths = 1, .length = 7, .held_out = 0.2, .seed = seed, .separator = -1};
        pare_dataset *dataset = open_dataset(&options, tokenizer);
        const pare_dataset_facts *facts = pare_dataset_facts_of(dataset);
        assert_int_equal(facts->training.documents + facts->held_out.documents, 100);
        assert_int_equal(facts->held_out.documents, 20); /* both copies of ten */
        mark_ids(training, dataset, false, 7);
        mark_ids(held_out, dataset, true, 7);
        size_t n = 0;
        for (uint32_t id = 0; id < 4096; id++) {
            if (id != newline.ids[0])
                assert_false(training[id] && held_out[id]);
            n += held_out[id] && id != newline.ids[0];
            differing += held_out[id] != before[id];
            before[id] = held_out[id];
        }
        assert_int_equal(n, 10);
        pare_dataset_close(dataset);
    }
    assert_true(differing > 100); /* other seeds hold out others */
    pare_tokens_free(&newline);
    pare_tokenizer_close(tokenizer);
    pare_string_free(&text);
    remove_all(folder);
}

/* The identity follows everything that changes a window, and nothing else. */
static void identity_is_of_what_counts(void **state) {
    (void)state;
    char *folder = test_folder();
    char text[400];
    memset(text, 'a', sizeof text);
    for (size_t i = 4; i < sizeof text; i += 5)
        text[i] = ' ';
    const char *one[] = {write_file(folder, "one.txt", text, sizeof text)}, *copy[] = {write_file(folder, "copy.txt", text, sizeof text)};
    text[399] = 'b';
    const char *two[] = {write_file(folder, "two.txt", text, sizeof text)};
    const pare_dataset_options base = {.paths = one, .n_paths = 1, .length = 8, .separator = 3, .seed = 1};
    pare_dataset_options variants[8] = {base, base, base, base, base, base, base, base};
    variants[1].paths = copy; /* the same content elsewhere */
    variants[2].cache = folder;
    variants[3].paths = two;
    variants[4].length = 9;
    variants[5].separator = 4;
    variants[6].seed = 2;
    variants[7].order = PARE_ORDER_GIVEN;
    pare_tokenizer *tokenizer = open_fixture("gpt2"), *another = open_fixture("qwen2");
    pare_sha256 hashes[9];
    for (size_t i = 0; i < 9; i++) {
        pare_dataset *dataset = open_dataset(i < 8 ? &variants[i] : &base, i < 8 ? tokenizer : another);
        hashes[i] = pare_dataset_facts_of(dataset)->sha256;
        pare_dataset_close(dataset);
    }
    assert_string_equal(hashes[0].hex, hashes[1].hex);
    assert_string_equal(hashes[0].hex, hashes[2].hex);
    for (size_t i = 3; i < 9; i++)
        for (size_t k = 0; k < i; k++)
            if (i > 2 && strcmp(hashes[i].hex, hashes[k].hex) == 0)
                fail_msg("variants %zu and %zu have one identity", i, k);
    pare_tokenizer_close(tokenizer);
    pare_tokenizer_close(another);
    assert_int_equal(remove_all(folder), 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_of_odd_texts),        cmocka_unit_test(pieces_of_real_texts),     cmocka_unit_test(pieces_without_a_place),
        cmocka_unit_test(one_text_is_sliced),         cmocka_unit_test(windows_as_the_reference), cmocka_unit_test(plain_texts_are_cut),
        cmocka_unit_test(epochs_are_permutations),    cmocka_unit_test(orders_are_fair),          cmocka_unit_test(held_out_never_trains),
        cmocka_unit_test(identity_is_of_what_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
