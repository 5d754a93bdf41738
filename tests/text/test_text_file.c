/* Files that are texts, that hold one, and that are none: told apart by their bytes; rows of every shape. */
#include <bzlib.h>
#include <zlib.h>

#include "dataset_test.h"
#include "text_file.h"

/* What a context was told, one note a line. */
static char notes[4096];
static void keep_note(void *user, const char *text) {
    (void)user;
    strncat(notes, text, sizeof notes - strlen(notes) - 2);
    strcat(notes, "\n");
}
static const pare_context listening = {.note = keep_note};

/* The corpus of a file with these bytes, as text; "" when it is refused, with the message in *error. */
static pare_string read_as(const char *name, const void *bytes, size_t n, const pare_tokenizer *tokenizer, pare_error *error) {
    char *folder = test_folder();
    pare_string text = {0};
    pare_corpus corpus;
    notes[0] = '\0';
    *error = (pare_error){0};
    const char *path = write_file(folder, name, bytes, n);
    pare_string_print(&text, "%s", "");
    if (pare_corpus_open(&corpus, path, tokenizer, &listening, error)) {
        pare_string_push(&text, corpus.bytes, corpus.length);
        pare_corpus_close(&corpus);
    }
    remove_all(folder);
    return text;
}

/* wanted: the text. note: a part of what is told; "": nothing is; NULL: whatever it is. */
static void reads_bytes(const char *name, const void *bytes, size_t n, const char *wanted, const char *note) {
    pare_error error;
    pare_string text = read_as(name, bytes, n, NULL, &error);
    assert_done(error.code == PARE_OK, error);
    assert_string_equal(text.data, wanted);
    if (note && (*note ? !strstr(notes, note) : *notes))
        fail_msg("%s: told «%s», wanted «%s»", name, notes, note);
    pare_string_free(&text);
}
static void reads(const char *name, const char *bytes, const char *wanted, const char *note) {
    reads_bytes(name, bytes, strlen(bytes), wanted, note);
}

static void refuses_bytes(const char *name, const void *bytes, size_t n, pare_code code, const char *part) {
    pare_error error;
    pare_string text = read_as(name, bytes, n, NULL, &error);
    assert_fails(error.code == PARE_OK, error, code, part);
    if (!strstr(error.message, name))
        fail_msg("%s does not name %s", error.message, name);
    pare_string_free(&text);
}
#define REFUSES(name, bytes, part) refuses_bytes(name, bytes, sizeof(bytes) - 1, PARE_ERROR_FORMAT, part)

/* ---- plain text ---- */

static void plain_text_is_as_it_was(void **state) {
    (void)state;
    reads("t.txt", "one\r\ntwo \t\n\f\x1B[1mthree", "one\r\ntwo \t\n\f\x1B[1mthree", "");
    reads("t", "PAR1 and GGUF are words, BZh too", "PAR1 and GGUF are words, BZh too", "");
    reads("t.txt", "[1] a source\n[2] another", "[1] a source\n[2] another", "");
    reads("t.txt", "{\\bf bold}", "{\\bf bold}", "");
    reads("t.txt", "\xEF\xBB\xBFtext", "\xEF\xBB\xBFtext", "byte order mark");
    reads("t.txt", "caf\xE9 is one", "caf\xE9 is one", "1 place is not UTF-8 (the first at byte 3)");
    reads_bytes("t.txt", "a\0b", 3, "a", "1 byte is a control character (1 of them zero)");
}

static void what_is_no_text_is_refused(void **state) {
    (void)state;
    REFUSES("t.txt", "PAR1\x15\x04\x15\x80\x01", "Parquet");
    REFUSES("t.txt",
            "\xFD"
            "7zXZ\0\0\4",
            "xz -dk");
    REFUSES("t.txt", "\x28\xB5\x2F\xFD\x24\x05", "zstd -d");
    REFUSES("t.txt", "PK\3\4\x14\0\0\0", "zip");
    REFUSES("t.txt", "GGUF\3\0\0\0", "GGUF");
    REFUSES("t.txt", "\x02\0\0\0\0\0\0\0{}", "safetensors");
    REFUSES("t.txt", "SQLite format 3\0\x10\0", "SQLite");
    REFUSES("t.txt", "%PDF-1.7\nsome text", "pdftotext");
    REFUSES("t.txt", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull");
    REFUSES("t.txt", "\xFF\xFEt\0e\0x\0t\0", "iconv -f UTF-16 ");
    REFUSES("t.txt", "\xFE\xFF\0t\0e\0x\0t", "iconv -f UTF-16 ");
    REFUSES("t.txt", "\xFF\xFE\0\0t\0\0\0", "UTF-32");
    REFUSES("t.jsonl", "\xFF\xFE{\0}\0", "UTF-16");
    REFUSES("t.txt", "t\0e\0x\0t\0 \0i\0n\0 \0t\0w\0o\0 \0b\0y\0t\0e\0s\0", "UTF-16LE");
    REFUSES("t.txt", "\0t\0e\0x\0t\0 \0i\0n\0 \0t\0w\0o\0 \0b\0y\0t\0e\0s", "UTF-16BE");
    REFUSES("t.txt", "t\0\0\0e\0\0\0x\0\0\0t\0\0\0s\0\0\0", "UTF-32LE");
}

/* n times the same, and one of them in each `every` another byte. */
static pare_string sprinkled(size_t n, size_t every, const char *letter, const char *other) {
    pare_string text = {0};
    for (size_t i = 0; i < n; i++) {
        const char *one = every && i % every == 7 ? other : letter;
        pare_string_push(&text, one, *one ? strlen(one) : 1);
    }
    return text;
}

/* Latin-1 is refused from one bad character in a thousand; damage in a text that is otherwise UTF-8, from one in a hundred. */
static void shares_decide(void **state) {
    (void)state;
    static const struct {
        size_t n, every;
        const char *letter, *other, *part; /* part: of the refusal, or NULL: it is read */
    } cases[] = {{20000, 500, "x", "\xFC", "LATIN1"},
                 {40000, 2000, "x", "\xFC", NULL},
                 {20000, 500, "\xC3\xBC", "\xFC", NULL},
                 {20000, 50, "\xC3\xBC", "\xFC", "UTF-8"},
                 {20000, 50, "x", "\0", "control"},
                 {20000, 400, "x", "\1", NULL},
                 {8, 8, "x", "\xFC", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_string text = sprinkled(cases[i].n, cases[i].every, cases[i].letter, cases[i].other);
        pare_error error;
        pare_string got = read_as("t.txt", text.data, text.length, NULL, &error);
        if (cases[i].part)
            assert_fails(error.code == PARE_OK, error, PARE_ERROR_FORMAT, cases[i].part);
        else if (error.code != PARE_OK || !*notes)
            fail_msg("case %zu: %s%s", i, error.message, *notes ? "" : "nothing was said");
        pare_string_free(&text);
        pare_string_free(&got);
    }
}

/* A character over the edge between two blocks is whole. */
static void blocks_hide_nothing(void **state) {
    (void)state;
    enum { BLOCK = 4 << 20 };
    for (size_t shift = 0; shift < 4; shift++) {
        pare_string text = {0};
        for (size_t i = 0; i < BLOCK - 3 + shift; i++)
            pare_string_push(&text, "x", 1);
        pare_string_print(&text, "\xF0\x9F\x8C\x88 and more");
        pare_error error;
        pare_string got = read_as("t.txt", text.data, text.length, NULL, &error);
        assert_done(error.code == PARE_OK, error);
        assert_string_equal(notes, "");
        pare_string_free(&text);
        pare_string_free(&got);
    }
}

/* ---- compressed ---- */

static pare_string gzip(const char *text, size_t n) {
    pare_string out = {0};
    char buffer[1 << 14];
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)n;
    for (int code = Z_OK; code != Z_STREAM_END;) {
        z.next_out = (Bytef *)buffer;
        z.avail_out = sizeof buffer;
        code = deflate(&z, Z_FINISH);
        pare_string_push(&out, buffer, sizeof buffer - z.avail_out);
    }
    deflateEnd(&z);
    return out;
}

static pare_string bzip2(const char *text, size_t n) {
    pare_string out = {0};
    char buffer[1 << 12];
    unsigned length = sizeof buffer;
    assert_int_equal(BZ2_bzBuffToBuffCompress(buffer, &length, (char *)(uintptr_t)text, (unsigned)n, 1, 0, 0), BZ_OK);
    pare_string_push(&out, buffer, length);
    return out;
}

static void compressed_texts_are_expanded(void **state) {
    (void)state;
    static const char text[] = "one text and another", rows[] = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n";
    pare_string (*const packers[])(const char *, size_t) = {gzip, bzip2};
    for (size_t i = 0; i < 2; i++) {
        pare_string packed = packers[i](text, sizeof text - 1), lines = packers[i](rows, sizeof rows - 1), twice = {0};
        reads_bytes("t.txt", packed.data, packed.length, text, i ? "bzip2, read as" : "gzip, read as");
        reads_bytes(i ? "t.JSONL.bz2" : "t.jsonl.gz", lines.data, lines.length, "a\n\nb", "2 rows of JSON");
        for (size_t n = 20; n < packed.length; n += 3)
            refuses_bytes("t.gz", packed.data, n, PARE_ERROR_FORMAT, "");
        pare_string_push(&twice, packed.data, packed.length);
        pare_string_push(&twice, packed.data, packed.length);
        reads_bytes("t.txt", twice.data, twice.length, "one text and anotherone text and another", NULL);
        pare_string_push(&twice, "\0\0\0", 3); /* as tapes fill up */
        reads_bytes("t.txt", twice.data, twice.length, "one text and anotherone text and another", NULL);
        pare_string_push(&twice, "more", 4);
        refuses_bytes("t.gz", twice.data, twice.length, PARE_ERROR_FORMAT, "something else");
        packed.data[packed.length / 2] ^= 0x10;
        refuses_bytes("t.gz", packed.data, packed.length, PARE_ERROR_FORMAT, "");
        pare_string inner = gzip(lines.data, lines.length);
        refuses_bytes("t.gz", inner.data, inner.length, PARE_ERROR_FORMAT, "compressed twice");
        pare_string_free(&packed);
        pare_string_free(&lines);
        pare_string_free(&twice);
        pare_string_free(&inner);
    }
}

static void bombs_are_refused(void **state) {
    (void)state;
    pare_bytes out = {0};
    pare_error error = {0};
    pare_string zeros = {0};
    for (size_t i = 0; i < 1000; i++)
        pare_string_print(&zeros, "%01000d", 0);
    pare_string packed = gzip(zeros.data, zeros.length);
    assert_true(packed.length < 5000);
    assert_fails(pare_expand(&out, PARE_KIND_GZIP, (const uint8_t *)packed.data, packed.length, 999999, "t.gz", &error), error,
                 PARE_ERROR_RANGE, "t.gz: it expands to more than");
    assert_true(out.length <= 1000000);
    out.length = 0;
    assert_done(pare_expand(&out, PARE_KIND_GZIP, (const uint8_t *)packed.data, packed.length, 1000000, "t.gz", &error), error);
    assert_int_equal(out.length, 1000000);
    pare_free(out.data);
    pare_string_free(&packed);
    pare_string_free(&zeros);
}

/* ---- rows ---- */

static void rows_are_read_wherever_they_stand(void **state) {
    (void)state;
    static const char lines[] = "{\"text\": \"a\"}\n\n {\"text\": \"b\", \"url\": \"u\"}\r\n",
                      array[] = "[{\"text\": \"a\"},\n {\"text\": \"b\"}]\n";
    static const char values[] = "{\n  \"text\": \"a\"\n}\n{\n  \"text\": \"b\"\n}", one[] = "{\n \"text\": \"a, [b] {c} \\\" d\"\n}";
    static const char *const names[] = {"t.jsonl", "t.JSONL", "t.ndjson", "t.json", "t.Json", "t.jsonlines"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        reads(names[i], lines, "a\n\nb", "2 rows of JSON, read by \"text\"");
        reads(names[i], array, "a\n\nb", "2 rows of JSON, read by \"text\"");
        reads(names[i], values, "a\n\nb", "2 rows of JSON, read by \"text\"");
        reads(names[i], one, "a, [b] {c} \" d", "1 row of JSON, read by \"text\"");
    }
    reads("t.txt", lines, "a\n\nb", "it holds JSON rows");
    reads("t", array, "a\n\nb", "it holds JSON rows");
    reads("t.txt", "\xEF\xBB\xBF{\"text\": \"a\"}", "a", "it holds JSON rows");
    reads("t.txt", "{\"a\": 1}\n", "{\"a\": 1}\n", "read as plain text");
    reads("t.txt", "{\"text\": \"a\"}\nno row", "{\"text\": \"a\"}\nno row", "read as plain text");
    reads("t.json", "[{\"text\": \"\"}, {\"text\": \"a\"}, {\"text\": \"\"}]", "\n\na\n\n", "3 rows");
}

static void rows_have_shapes(void **state) {
    (void)state;
    reads("t.jsonl", "{\"prompt\": \"p \", \"response\": \"r\", \"text\": \"t\"}", "p r", "\"prompt\" and \"response\"");
    reads("t.jsonl", "{\"prompt\": \"p \", \"completion\": \"r\"}", "p r", NULL);
    reads("t.jsonl", "{\"instruction\": \"i\", \"output\": \"o\"}", "i\n\no", "\"instruction\" and \"output\"");
    reads("t.jsonl", "{\"instruction\": \"i\", \"input\": \"x\", \"output\": \"o\"}", "i\n\nx\n\no", NULL);
    reads("t.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}", "ab",
          "\"messages\""); /* without a tokenizer: the contents */
    reads("t.jsonl", "{\"text\": null}\n{\"text\": \"a\"}\n{\"prompt\": null, \"response\": \"x\"}", "a", "2 rows are skipped");
    reads("t.jsonl", "{\"text\": \"a\", \"messages\": null}", "a", NULL);
}

/* As Python's json module has them. */
static void odd_json_is_read(void **state) {
    (void)state;
    reads("t.jsonl", "\xEF\xBB\xBF{\"text\": \"a\"}", "a", NULL);
    reads("t.jsonl", "{\"text\": \"a\\ud83d\"}", "a\xEF\xBF\xBD", "the rows hold 1 ");
    reads("t.jsonl", "{\"text\": \"a\", \"score\": NaN, \"id\": 123456789012345678901234567890}", "a", "the rows hold ");
    reads("t.jsonl", "{\"text\": \"a\", \"text\": \"b\"}", "b", "the rows hold ");
    reads("t.jsonl", "{\"text\": \"caf\xE9\"}", "caf\xEF\xBF\xBD", "1 place is not UTF-8");
    reads("t.jsonl", "{\"text\": \"\xE2\x82 a\"}", "\xEF\xBF\xBD a", "1 place is not UTF-8");
}

static void bad_rows_are_told(void **state) {
    (void)state;
#define BAD(name, text, part) REFUSES(name, text, part)
    BAD("t.json", "{\"data\": 1, \"version\": 2}", "it has \"data\", \"version\"");
    BAD("t.json", "[{\"text\": \"a\"}, 7]", "row 2 is no JSON object");
    BAD("t.json", "[{\"text\": \"a\"}; {\"text\": \"b\"}]", "neither a comma nor a bracket");
    BAD("t.json", "[{\"text\": \"a\"},", "ends after row 1");
    BAD("t.json", "[{\"text\": \"a\"}", "ends after row 1");
    BAD("t.json", "[{\"text\": \"a\"}] x", "more behind the array");
    BAD("t.json", "[{\"text\": \"a", "row 1: not valid JSON");
    BAD("t.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"", "line 2: not valid JSON");
    BAD("t.jsonl", "{\"text\": 7}", "line 1 has no \"text\" string");
    BAD("t.jsonl", "{\"messages\": [{\"role\": \"user\"}]}", "\"role\" and \"content\"");
    BAD("t.jsonl", "{\"instruction\": \"i\", \"output\": \"o\", \"input\": 1}", "\"input\" is not a string");
    static const char tool[] = "{\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]}";
    refuses_bytes("t.jsonl", tool, sizeof tool - 1, PARE_ERROR_UNSUPPORTED, "the role \"tool\"");
    refuses_bytes("t.txt", "", 0, PARE_ERROR_RANGE, "the text is empty");
    refuses_bytes("t.json", "[]", 2, PARE_ERROR_RANGE, "the text is empty");
}

/* The rows of a data set, as lines of a file and as JSON, are the same text; lines as Python has them. */
static void joined_rows(void **state) {
    (void)state;
    static const struct {
        const char *name, *bytes, *wanted;
    } cases[] = {
        {"t.txt", " = A = \n\n b \n", " = A = \n\n\n\n\n b \n"},
        {"t.txt", " = A = \r\n\r\n b \r\n", " = A = \n\n\n\n\n b \n"},
        {"t.txt", " = A = \r\r b \r", " = A = \n\n\n\n\n b \n"},
        {"t.json", "[{\"text\": \" = A = \\n\"}, {\"text\": \"\"}, {\"text\": \" b \\n\"}]", " = A = \n\n\n\n\n b \n"},
        {"t.txt", "a\n\xC2\xA0\xE3\x80\x80\x1C\t\nb", "a\n\n\n\n\nb"},
        {"t.txt", "a", "a"},
        {"t.txt", "a\r\n", "a\n"},
        {"t.txt", "\na\n", "\n\na\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = test_folder();
        pare_corpus corpus;
        pare_string joined = {0};
        pare_error error = {0};
        const char *path = write_file(folder, cases[i].name, cases[i].bytes, strlen(cases[i].bytes));
        assert_done(pare_corpus_open(&corpus, path, NULL, NULL, &error) && pare_corpus_join(&joined, &corpus, &error), error);
        assert_string_equal(joined.data, cases[i].wanted);
        pare_corpus_close(&corpus);
        pare_string_free(&joined);
        remove_all(folder);
    }
}

static void no_memory_is_told(void **state) {
    (void)state;
    static const char rows[] = "{\"text\": \"a\"}\n{\"prompt\": \"b\", \"response\": \"c\"}\n{\"instruction\": \"i\", \"output\": \"o\"}\n";
    pare_string packed = gzip(rows, sizeof rows - 1);
    char *folder = test_folder();
    const char *path = write_file(folder, "t.jsonl.gz", packed.data, packed.length);
    bool done = false;
    for (size_t n = 1; !done && n < 200; n++) {
        pare_corpus corpus;
        pare_error error = {0};
        pare_allocate_fail_at(n);
        done = pare_corpus_open(&corpus, path, NULL, NULL, &error);
        pare_allocate_fail_at(0);
        if (!done)
            assert_int_equal(error.code, PARE_ERROR_MEMORY);
        else
            pare_corpus_close(&corpus);
    }
    assert_true(done);
    pare_string_free(&packed);
    remove_all(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_is_as_it_was),
        cmocka_unit_test(what_is_no_text_is_refused),
        cmocka_unit_test(shares_decide),
        cmocka_unit_test(blocks_hide_nothing),
        cmocka_unit_test(compressed_texts_are_expanded),
        cmocka_unit_test(bombs_are_refused),
        cmocka_unit_test(rows_are_read_wherever_they_stand),
        cmocka_unit_test(rows_have_shapes),
        cmocka_unit_test(odd_json_is_read),
        cmocka_unit_test(bad_rows_are_told),
        cmocka_unit_test(joined_rows),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
