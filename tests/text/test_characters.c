/* Every character through UTF-8 replacement, the table of classes and NFC, by hash against what Python and the `tokenizers`
 * package make of it (tools/fixtures/text_characters.py); and that hostile text takes linear time. */
#include "test.h"

#include "pare/json.h"
#include "tokenizer.h"

static void compare(const char *name, const char *data, size_t n) {
    pare_error error = {0};
    pare_sha256 hash;
    json_t *wanted = pare_json_read(PARE_FIXTURES "/characters.json", &error);
    assert_done(wanted, error);
    assert_done(pare_sha256_bytes(&hash, data, n, &error), error);
    assert_string_equal(hash.hex, json_string_value(json_object_get(wanted, name)));
    json_decref(wanted);
}

static void replacement_is_python_s(void **state) {
    (void)state;
    static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF,
                                    0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    pare_error error = {0};
    pare_bytes out = {0};
    size_t n = sizeof edges;
    for (size_t i = 0; i < n * n * n * n; i++) {
        uint8_t four[] = {edges[i / n / n / n], edges[i / n / n % n], edges[i / n % n], edges[i % n]};
        size_t from = out.length;
        assert_done(pare_utf8_replace(&out, four, 4, &error), error);
        assert_int_equal(pare_utf8_valid((const uint8_t *)out.data + from, out.length - from), out.length - from);
        assert_int_equal(pare_utf8_valid(four, 4) == 4, out.length - from == 4 && memcmp(out.data + from, four, 4) == 0);
    }
    compare("replace", out.data, out.length);
    pare_free(out.data);
}

static void code_points_go_round(void **state) {
    (void)state;
    for (uint32_t point = 0; point < 0x110000; point++) {
        char text[4];
        size_t n = pare_utf8_encode(text, point);
        assert_int_equal(pare_utf8_length((uint8_t)text[0]), n);
        assert_int_equal(pare_utf8_decode((const uint8_t *)text), point);
    }
}

static void classes_are_those_of_tokenizers(void **state) {
    (void)state;
    static char classes[0x110000];
    enum { ASKED = PARE_CHAR_LETTER | PARE_CHAR_NUMBER | PARE_CHAR_SPACE | PARE_CHAR_WORD | PARE_CHAR_NUMERIC };
    pare_unicode_init();
    for (uint32_t point = 0; point < 0x110000; point++)
        if (point < 0xD800 || point >= 0xE000)
            classes[point] = (char)(pare_unicode_class(point) & ASKED);
    compare("classes", classes, sizeof classes);
}

static void push_nfc(pare_bytes *out, pare_nfc *nfc, const char *before, uint32_t point, const char *after) {
    pare_error error = {0};
    char text[32];
    size_t n = strlen(before);
    memcpy(text, before, n);
    n += pare_utf8_encode(text + n, point);
    memcpy(text + n, after, strlen(after));
    n += strlen(after);
    size_t from = out->length;
    assert_done(pare_nfc_push(out, nfc, text, n, &error), error);
    if (!pare_nfc_needed(text, n))
        assert_true(out->length - from == n && memcmp(out->data + from, text, n) == 0);
    assert_done(pare_bytes_push(out, "\n", 1, &error), error);
}

static void nfc_is_that_of_tokenizers(void **state) {
    (void)state;
    pare_unicode_init();
    pare_bytes out = {0};
    pare_nfc nfc = {0};
    for (uint32_t point = 0; point < 0x110000; point++) {
        if (point >= 0xD800 && point < 0xE000)
            continue;
        push_nfc(&out, &nfc, "", point, "");
        push_nfc(&out, &nfc, "a", point, "\xCC\xA3\xCC\x81");
        push_nfc(&out, &nfc, "\xCC\x81", point, "\xCC\xA7");
    }
    compare("nfc", out.data, out.length);
    pare_free(out.data);
    pare_nfc_free(&nfc);
}

/* A row of marks in falling order is the worst case of an insertion sort: a million of them must not take minutes. */
static void a_million_marks(void **state) {
    (void)state;
    pare_unicode_init();
    pare_error error = {0};
    pare_bytes text = {0}, out = {0};
    pare_nfc nfc = {0};
    for (int i = 0; i < 1000000; i++)
        assert_done(pare_bytes_push(&text, i < 500000 ? "\xCC\x81" : "\xCC\xA3", 2, &error), error);
    double start = pare_clock_s();
    assert_done(pare_nfc_push(&out, &nfc, text.data, text.length, &error), error);
    assert_true(pare_clock_s() - start < 20);
    assert_int_equal(out.length, text.length);
    assert_memory_equal(out.data, "\xCC\xA3", 2);
    pare_free(text.data);
    pare_free(out.data);
    pare_nfc_free(&nfc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replacement_is_python_s),
        cmocka_unit_test(code_points_go_round),
        cmocka_unit_test(classes_are_those_of_tokenizers),
        cmocka_unit_test(nfc_is_that_of_tokenizers),
        cmocka_unit_test(a_million_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
