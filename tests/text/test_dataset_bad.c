/* Datasets where something is wrong: options, files, lines; caches that are damaged or made up; no memory; no patience. And that
 * a cache in order is used. */
#include "dataset_test.h"

#include <math.h>
#include <signal.h>

enum { LENGTH = 12 };

static void fails(const pare_dataset_options *options, const pare_tokenizer *tokenizer, pare_code code, const char *part) {
    pare_error error = {0};
    pare_dataset *dataset = pare_dataset_open(options, tokenizer, NULL, &error);
    assert_fails(dataset, error, code, part);
}

/* A dataset of one file with these bytes. */
static void fails_on(const char *name, const char *bytes, size_t n, double held_out, pare_code code, const char *part) {
    char *folder = test_folder();
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    const char *paths[] = {write_file(folder, name, bytes, n)};
    const pare_dataset_options options = {.paths = paths, .n_paths = 1, .length = LENGTH, .held_out = held_out, .separator = -1};
    fails(&options, tokenizer, code, part);
    pare_tokenizer_close(tokenizer);
    remove_all(folder);
}
#define FAILS_ON(name, text, held_out, code, part) fails_on(name, text, sizeof(text) - 1, held_out, code, part)

static void bad_texts_are_told(void **state) {
    (void)state;
    FAILS_ON("t.txt", "", 0, PARE_ERROR_RANGE, "t.txt: the text is empty");
    FAILS_ON("t.txt", "short", 0, PARE_ERROR_RANGE, "tokens to train on, but a window takes 12");
    FAILS_ON("t.txt", "a b c d e f g h i j k l m n o p", 0.5, PARE_ERROR_RANGE, "too few to hold some out");
    FAILS_ON("t.txt", "\n \n\t\n", 0.5, PARE_ERROR_RANGE, "no document");
    FAILS_ON("t.jsonl", "\n \n\r\n", 0, PARE_ERROR_RANGE, "t.jsonl: no document");
    FAILS_ON("t.jsonl", "{\"text\": \"\"}\n", 0, PARE_ERROR_RANGE, "no document");
    FAILS_ON("t.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \n{}", 0, PARE_ERROR_FORMAT, "t.jsonl: line 3: not valid JSON");
    FAILS_ON("t.jsonl", "{\"text\": \"a\"}\n{\"txt\": \"b\"}", 0, PARE_ERROR_FORMAT, "line 2 has no \"text\" string");
    FAILS_ON("t.jsonl", "{\"text\": 7}", 0, PARE_ERROR_FORMAT, "line 1 has no \"text\" string");
    FAILS_ON("t.jsonl", "[\"text\"]", 0, PARE_ERROR_FORMAT, "t.jsonl: row 1 is no JSON object");
    FAILS_ON("t.jsonl", "7", 0, PARE_ERROR_FORMAT, "line 1 is no JSON object");
    FAILS_ON("t.jsonl", "{\"prompt\": \"a\", \"response\": null}", 0, PARE_ERROR_RANGE, "no document");
    FAILS_ON("t.jsonl", "{\"text\": null}", 0, PARE_ERROR_RANGE, "no document");
    FAILS_ON("t.jsonl", "{\"prompt\": \"a\", \"response\": 7}", 0, PARE_ERROR_FORMAT, "\"prompt\" and \"response\"");
    FAILS_ON("t.jsonl", "{\"instruction\": \"a\", \"input\": 3, \"output\": \"b\"}", 0, PARE_ERROR_FORMAT, "\"input\" is not a string");
    FAILS_ON("t.jsonl", "{\"prompt\": \"1 2 3 4 5 6 7 8 9 a b c d e f g h i\", \"response\": \"\"}", 0, PARE_ERROR_RANGE,
             "no token to learn");
    FAILS_ON("t.jsonl",
             "{\"text\": \"a\"}\n{\"text\": \"1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n\"}\n{\"text\": \"b\"}\n{\"text\": \"c\"}", 0.25,
             PARE_ERROR_RANGE, "but a window takes 12");
}

static void bad_options_are_told(void **state) {
    (void)state;
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    const char *paths[] = {"/nowhere/t.txt", "/nowhere/u.txt"};
    const pare_dataset_options base = {.paths = paths, .n_paths = 1, .length = LENGTH, .separator = -1};
    pare_dataset_options o = base;
    fails(&o, tokenizer, PARE_ERROR_IO, "/nowhere/t.txt");
    o.n_paths = 0;
    fails(&o, tokenizer, PARE_ERROR_USAGE, "no text");
    o = base, o.length = 1;
    fails(&o, tokenizer, PARE_ERROR_RANGE, "a window of 1 tokens");
    o = base, o.held_out = 1;
    fails(&o, tokenizer, PARE_ERROR_RANGE, "to hold out");
    o = base, o.held_out = (double)NAN;
    fails(&o, tokenizer, PARE_ERROR_RANGE, "to hold out");
    o = base, o.separator = 1000000;
    fails(&o, tokenizer, PARE_ERROR_RANGE, "ids below 2001");
    pare_tokenizer_close(tokenizer);
}

/* A line of more than 64 MiB. */
static void long_lines_are_refused(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_string text = {0};
    char *letters = calloc(1 << 20, 1);
    assert_non_null(letters);
    memset(letters, 'a', 1 << 20);
    pare_string_print(&text, "{\"text\": \"a b c d e f g h i j k l m n o p q r s t\"}\n{\"text\": \"");
    for (size_t n = 0; n < PARE_DATASET_LINE_BYTES; n += 1 << 20)
        pare_string_push(&text, letters, 1 << 20);
    pare_string_print(&text, "\"}\n");
    free(letters);
    const char *paths[] = {write_file(folder, "t.jsonl", text.data, text.length)};
    pare_string_free(&text);
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    const pare_dataset_options options = {.paths = paths, .n_paths = 1, .length = LENGTH, .separator = -1};
    fails(&options, tokenizer, PARE_ERROR_RANGE, "t.jsonl: line 2 is longer than 67108864 bytes");
    pare_tokenizer_close(tokenizer);
    remove_all(folder);
}

static void windows_end_somewhere(void **state) {
    (void)state;
    char *folder = test_folder();
    static const char text[] = "a b c d e f g h i j k l m n o p q r s t";
    const char *paths[] = {write_file(folder, "t.txt", text, sizeof text - 1)};
    pare_tokenizer *tokenizer = open_fixture("gpt2");
    const pare_dataset_options options = {.paths = paths, .n_paths = 1, .length = LENGTH, .separator = -1};
    pare_dataset *dataset = open_dataset(&options, tokenizer);
    uint32_t ids[LENGTH];
    uint8_t learn[LENGTH];
    pare_error error = {0};
    assert_done(pare_dataset_window(ids, learn, dataset, UINT64_MAX, 0, &error), error);
    uint64_t n = pare_dataset_facts_of(dataset)->training.windows;
    assert_fails(pare_dataset_window(ids, learn, dataset, 0, n, &error), error, PARE_ERROR_RANGE, "was asked for, but there are");
    assert_fails(pare_dataset_held_out_window(ids, learn, dataset, 0, &error), error, PARE_ERROR_RANGE, "there are 0");
    pare_dataset_close(dataset);
    pare_tokenizer_close(tokenizer);
    remove_all(folder);
}

/* ---- caches ---- */

/* Two folders: one with texts, one with the cache; and how the dataset looks without a cache. */
typedef struct {
    char folder[300], cache[320], paths_text[2][1024];
    const char *paths[2];
    pare_dataset_options options;
    pare_tokenizer *tokenizer;
} setting;

static void open_setting(setting *s, const char *name) {
    snprintf(s->folder, sizeof s->folder, "%s", test_folder());
    snprintf(s->cache, sizeof s->cache, "%s/cache", s->folder);
    snprintf(s->paths_text[0], sizeof s->paths_text[0], "%s", fixture("dataset_chat", ".jsonl"));
    snprintf(s->paths_text[1], sizeof s->paths_text[1], "%s", fixture("dataset_plain", ".txt"));
    s->paths[0] = s->paths_text[0];
    s->paths[1] = s->paths_text[1];
    s->tokenizer = open_fixture(name);
    s->options = (pare_dataset_options){
        .paths = s->paths, .n_paths = 2, .length = LENGTH, .held_out = 0.1, .seed = 3, .separator = 5, .cache = s->cache};
}

/* Returns how many files the cache had. */
static size_t close_setting(setting *s) {
    size_t n = remove_all(s->cache);
    remove_all(s->folder);
    pare_tokenizer_close(s->tokenizer);
    return n;
}

static void same_windows(const pare_dataset *a, const pare_dataset *b) {
    const pare_dataset_facts *x = pare_dataset_facts_of(a), *y = pare_dataset_facts_of(b);
    pare_error error = {0};
    assert_memory_equal(&x->training, &y->training, sizeof x->training);
    assert_memory_equal(&x->held_out, &y->held_out, sizeof x->held_out);
    assert_string_equal(x->sha256.hex, y->sha256.hex);
    for (uint64_t w = 0; w < x->training.windows + x->held_out.windows; w++) {
        uint32_t ids[2][LENGTH];
        uint8_t learn[2][LENGTH];
        for (int k = 0; k < 2; k++) {
            const pare_dataset *d = k ? b : a;
            assert_done(w < x->training.windows ? pare_dataset_window(ids[k], learn[k], d, 1, w, &error)
                                                : pare_dataset_held_out_window(ids[k], learn[k], d, w - x->training.windows, &error),
                        error);
        }
        assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
        assert_memory_equal(learn[0], learn[1], sizeof learn[0]);
    }
}

static void caches_are_used(void **state) {
    (void)state;
    static const char *const names[] = {"gpt2", "llama3"};
    for (size_t i = 0; i < 2; i++) {
        setting s;
        open_setting(&s, names[i]);
        pare_dataset_options without = s.options, later = s.options;
        without.cache = NULL;
        later.seed = 4, later.held_out = 0.3, later.length = LENGTH - 1; /* none of it is in the cache */
        pare_dataset *memory = open_dataset(&without, s.tokenizer), *made = open_dataset(&s.options, s.tokenizer);
        pare_dataset *used = open_dataset(&s.options, s.tokenizer), *other = open_dataset(&later, s.tokenizer);
        assert_false(pare_dataset_facts_of(made)->from_cache);
        assert_true(pare_dataset_facts_of(used)->from_cache && pare_dataset_facts_of(other)->from_cache);
        assert_string_equal(pare_dataset_facts_of(used)->remark, "");
        same_windows(memory, made);
        same_windows(memory, used);
        pare_dataset_close(memory);
        pare_dataset_close(made);
        pare_dataset_close(used);
        pare_dataset_close(other);
        later.separator = -1; /* but this is */
        other = open_dataset(&later, s.tokenizer);
        assert_false(pare_dataset_facts_of(other)->from_cache);
        pare_dataset_close(other);
        assert_int_equal(close_setting(&s), 2);
    }
}

/* The one file of a folder. */
static const char *only_file(const char *folder) {
    static char path[1024];
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_name[0] != '.')
            snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    closedir(listing);
    return path;
}

static pare_string read_file(const char *path) {
    pare_string bytes = {0};
    pare_map map;
    pare_error error = {0};
    assert_done(pare_map_open(&map, path, &error), error);
    pare_string_push(&bytes, (const char *)map.data, map.size);
    pare_map_close(&map);
    return bytes;
}

/* Any byte changed, any end missing: made again, with a remark, and right. */
static void damaged_caches_are_made_again(void **state) {
    (void)state;
    setting s;
    open_setting(&s, "gpt2");
    pare_error error = {0};
    pare_dataset *good = open_dataset(&s.options, s.tokenizer);
    const char *path = only_file(s.cache);
    pare_string bytes = read_file(path);
    size_t n_cases = 0;
    for (size_t at = 0; at < bytes.length; at += at < 200 || at + 1200 > bytes.length ? 3 : 499, n_cases++) {
        pare_string other = {0};
        pare_string_push(&other, bytes.data, bytes.length);
        other.data[at] = (char)(other.data[at] ^ 0x41);
        size_t n = n_cases % 3 == 2 ? at : other.length;
        assert_done(pare_file_write(path, other.data, n, true, &error), error);
        pare_string_free(&other);
        pare_dataset *again = open_dataset(&s.options, s.tokenizer);
        if (pare_dataset_facts_of(again)->from_cache)
            fail_msg("a cache whose byte %zu of %zu was changed is believed", at, n);
        assert_non_null(strstr(pare_dataset_facts_of(again)->remark, "tokenised again"));
        if (n_cases % 10 == 0)
            same_windows(good, again);
        pare_dataset_close(again);
    }
    assert_true(n_cases > 300);
    pare_string now = read_file(path);
    assert_int_equal(now.length, bytes.length);
    assert_memory_equal(now.data, bytes.data, now.length);
    pare_string_free(&now);
    pare_string_free(&bytes);
    pare_dataset_close(good);
    assert_int_equal(close_setting(&s), 1);
}

/* Where the trailer's numbers lie, from the end, and the header's length: as dataset_store.c lays them out. */
enum { HEADER = 80, TRAILER = 96, HASH = 72 };

static void hash_again(pare_string *file) {
    pare_chain chain = {0};
    pare_error error = {0};
    char *trailer = file->data + file->length - TRAILER;
    assert_done(pare_chain_add_all(&chain, (const uint8_t *)file->data + HEADER, file->length - HEADER - TRAILER, false, NULL, &error),
                error);
    assert_done(pare_chain_add(&chain, trailer, 24, &error), error);
    memcpy(file->data + file->length - HASH, chain.state.hex, 64);
}

/* Made up with care, the hash is right: the numbers themselves are looked at. */
static void hostile_caches_are_refused(void **state) {
    (void)state;
    setting s;
    open_setting(&s, "gpt2");
    s.options.n_paths = 1;
    s.options.held_out = 0;
    pare_error error = {0};
    pare_dataset_close(open_dataset(&s.options, s.tokenizer));
    const char *path = only_file(s.cache);
    pare_string bytes = read_file(path);
    uint64_t counts[2];
    memcpy(counts, bytes.data + bytes.length - TRAILER, sizeof counts);
    size_t records = bytes.length - TRAILER - counts[1] * sizeof(pare_stored_document);
    static const uint64_t huge = UINT64_MAX, zero = 0, most = UINT64_MAX / 2 + 1;
    const uint16_t id = 2001; /* one too many */
    const uint64_t fewer = counts[0] - 1, last = counts[0] + 1;
    const struct {
        size_t at;
        const void *value;
        size_t n;
        const char *why;
    } cases[] = {
        {bytes.length - TRAILER, &huge, 8, "too large"},
        {bytes.length - TRAILER, &most, 8, "too large"},
        {bytes.length - TRAILER, &zero, 8, "too large"},
        {bytes.length - TRAILER, &fewer, 8, "the ids"},
        {bytes.length - TRAILER + 8, &zero, 8, "too large"},
        {bytes.length - TRAILER + 8, &fewer, 8, "do not fill"},
        {HEADER + 2 * 37, &id, 2, "vocabulary"},
        {records, &zero, 8, "cannot be"},
        {records, &huge, 8, "cannot be"},
        {records + 8, &last, 8, "cannot be"},
        {records + 24, &huge, 8, "cannot be"},
        {bytes.length - TRAILER - 32, &last, 8, "elsewhere"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_string other = {0};
        pare_string_push(&other, bytes.data, bytes.length);
        memcpy(other.data + cases[i].at, cases[i].value, cases[i].n);
        hash_again(&other);
        assert_done(pare_file_write(path, other.data, other.length, true, &error), error);
        pare_string_free(&other);
        pare_dataset *again = open_dataset(&s.options, s.tokenizer);
        assert_false(pare_dataset_facts_of(again)->from_cache);
        if (!strstr(pare_dataset_facts_of(again)->remark, cases[i].why))
            fail_msg("case %zu: %s; wanted %s", i, pare_dataset_facts_of(again)->remark, cases[i].why);
        pare_dataset_close(again);
    }
    pare_string_free(&bytes);
    assert_int_equal(close_setting(&s), 1);
}

static void places_without_room_are_told(void **state) {
    (void)state;
    setting s;
    open_setting(&s, "gpt2");
    s.options.cache = "/nowhere/cache";
    fails(&s.options, s.tokenizer, PARE_ERROR_IO, "/nowhere/cache");
    s.options.cache = write_file(s.folder, "file", "x", 1);
    fails(&s.options, s.tokenizer, PARE_ERROR_IO, "file");
    close_setting(&s);
}

/* ---- no memory, no patience ---- */

/* Each allocation in turn fails: told as that, nothing half is left, and what a cache holds is still right. */
static void every_allocation_may_fail(void **state) {
    (void)state;
    for (int cached = 0; cached < 3; cached++) { /* in memory; a cache being made; a cache that is there */
        setting s;
        open_setting(&s, "cased");
        if (cached == 0)
            s.options.cache = NULL;
        pare_dataset_options fixed = s.options;
        fixed.cache = NULL;
        pare_dataset *good = open_dataset(&fixed, s.tokenizer), *dataset = NULL;
        if (cached == 2)
            pare_dataset_close(open_dataset(&s.options, s.tokenizer));
        pare_tokenizer_close(s.tokenizer);
        size_t n = 0;
        while (!dataset && n < 1000) {
            pare_error error = {0};
            s.tokenizer = open_fixture("cased"); /* without working memory from before */
            pare_allocate_fail_at(++n);
            dataset = pare_dataset_open(&s.options, s.tokenizer, NULL, &error);
            pare_allocate_fail_at(0);
            if (!dataset) {
                assert_int_equal(error.code, PARE_ERROR_MEMORY);
                assert_true(*error.message);
                pare_tokenizer_close(s.tokenizer);
            }
        }
        assert_true(n > 8);
        same_windows(good, dataset);
        pare_dataset_close(good);
        pare_dataset_close(dataset);
        assert_int_equal(close_setting(&s), cached > 0);
    }
}

static volatile sig_atomic_t cancelled;

static void cancel_when_tokenising(void *user, const char *stage, double done, double total) {
    assert_true(done <= total);
    ++*(int *)user;
    cancelled = strcmp(stage, "tokenise the texts") == 0;
}

static void cancelled_leaves_nothing(void **state) {
    (void)state;
    setting s;
    open_setting(&s, "gpt2");
    pare_string text = {0};
    while (text.length < (size_t)2 * PARE_PIECE_BYTES + 100)
        pare_string_push(&text, "many words, and many more\n", 26);
    s.paths[0] = write_file(s.folder, "t.txt", text.data, text.length);
    s.options.n_paths = 1;
    s.options.held_out = 0;
    int calls = 0;
    const pare_context context = {.progress = cancel_when_tokenising, .user = &calls, .cancel = &cancelled};
    pare_error error = {0};
    cancelled = 0;
    assert_fails(pare_dataset_open(&s.options, s.tokenizer, &context, &error), error, PARE_ERROR_CANCELLED, "interrupted");
    assert_true(calls > 1);
    pare_string_free(&text);
    assert_int_equal(close_setting(&s), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_texts_are_told),
        cmocka_unit_test(bad_options_are_told),
        cmocka_unit_test(long_lines_are_refused),
        cmocka_unit_test(windows_end_somewhere),
        cmocka_unit_test(caches_are_used),
        cmocka_unit_test(damaged_caches_are_made_again),
        cmocka_unit_test(hostile_caches_are_refused),
        cmocka_unit_test(places_without_room_are_told),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(cancelled_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
