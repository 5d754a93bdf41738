/* json: what the strict and the lenient reader take and refuse, and with which words; both find what memory took. */
#include "test.h"

#include "pare/json.h"

static json_t *lenient(const char *text, pare_json_odd *odd) {
    pare_error error = {0};
    json_t *json = pare_json_parse_lenient(text, strlen(text), "text", true, odd, &error);
    assert_done(json, error);
    return json;
}

static void plain_json(void **state) {
    (void)state;
    pare_error error = {0};
    const char text[] = "\xEF\xBB\xBF {\"a\\u00e9\": [1, -0.5, 1e3, true, false, null, {}, [], \"\\ud83d\\ude00\\n\\u0000x\"],"
                        " \"max\": 9223372036854775807, \"min\": -9223372036854775808}\n";
    json_t *json = pare_json_parse(text, sizeof text - 1, "text", &error);
    assert_done(json, error);
    const json_t *list = json_object_get(json, "a\xC3\xA9"), *string = json_array_get(list, 8);
    assert_int_equal(json_integer_value(json_array_get(list, 0)), 1);
    assert_true(json_is_integer(json_array_get(list, 0)) && json_is_real(json_array_get(list, 2)));
    assert_true(json_real_value(json_array_get(list, 1)) == -0.5 && json_real_value(json_array_get(list, 2)) == 1000);
    assert_true(json_is_true(json_array_get(list, 3)) && json_is_false(json_array_get(list, 4)) && json_is_null(json_array_get(list, 5)));
    assert_int_equal(json_string_length(string), 7);
    assert_memory_equal(json_string_value(string), "\xF0\x9F\x98\x80\n\0x", 7);
    assert_true(json_integer_value(json_object_get(json, "max")) == INT64_MAX);
    assert_true(json_integer_value(json_object_get(json, "min")) == INT64_MIN);
    json_decref(json);
}

/* Refused by the strict reader; the lenient one says what its count is called, or refuses too. */
static const struct {
    const char *text, *reason, *told;
} cases[] = {
    {"", "'[' or '{' is expected", NULL},
    {"5", "'[' or '{' is expected", NULL},
    {"{", "a key in quotes is expected", NULL},
    {"[1, 2", "',' or ']' is expected", NULL},
    {"[1, ]", "a value is expected", NULL},
    {"{\"a\" 1}", "':' is expected", NULL},
    {"{\"a\": 1,}", "a key in quotes is expected", NULL},
    {"{\"a\": 1 \"b\": 2}", "',' or '}' is expected", NULL},
    {"[1] x", "something follows after its end", NULL},
    {"[01]", "a number is malformed", NULL},
    {"[1.]", "a number is malformed", NULL},
    {"[.5]", "a value is expected", NULL},
    {"[1e]", "a number is malformed", NULL},
    {"[-]", "a number is malformed", NULL},
    {"[\"a", "a string does not end", NULL},
    {"[\"\t\"]", "a control character in a string", NULL},
    {"[\"\\x\"]", "an unknown escape in a string", NULL},
    {"[\"\\u12g4\"]", "\\u without four hexadecimal digits", NULL},
    {"[nul]", "a value is expected", NULL},
    {"[\n  1,\n  tru]", "line 3, column 3 (byte 9): a value is expected", NULL},
    {"[NaN]", "a number that is not finite", "1 number that is not finite (taken for null)"},
    {"[-Infinity, Infinity]", "a number that is not finite", "2 numbers that are not finite (taken for null)"},
    {"[1e999]", "a number that is not finite", "1 number that is not finite (taken for null)"},
    {"[9223372036854775808]", "a whole number beyond 64 bits", "1 whole number beyond 64 bits (rounded)"},
    {"[1, -10000000000000000000000000]", "a whole number beyond 64 bits", "1 whole number beyond 64 bits (rounded)"},
    {"{\"a\": 1, \"b\": 2, \"a\": 3}", "column 18 (byte 17): a duplicate key in this object", "1 repeated key (the last value counts)"},
    {"[\"\\ud83d here\"]", "half of a surrogate pair", "1 half surrogate pair (read as U+FFFD)"},
    {"[\"\\ude00\\ud83d\"]", "half of a surrogate pair", "2 half surrogate pairs (read as U+FFFD)"},
    {"[\"\\ud83d\\u0041\"]", "half of a surrogate pair", "1 half surrogate pair (read as U+FFFD)"},
    {"{\"\\u0000\": 1}", "a zero in a key", "1 zero in a key (read as U+FFFD)"},
    {"[\"caf\xE9\"]", "a byte that is not UTF-8", "1 byte that is not UTF-8 (read as U+FFFD)"},
    {"[\"\xED\xA0\x80\"]", "a byte that is not UTF-8", "3 bytes that are not UTF-8 (read as U+FFFD)"},
    {"[\"\xC0\x80\xF5\"]", "a byte that is not UTF-8", "3 bytes that are not UTF-8 (read as U+FFFD)"},
};

static void odd_json(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        pare_json_odd odd = {0};
        pare_string told = {0};
        size_t n = strlen(cases[i].text);
        assert_fails(pare_json_parse(cases[i].text, n, "t.json", &error), error, PARE_ERROR_FORMAT, cases[i].reason);
        assert_non_null(strstr(error.message, "t.json: not valid JSON at line "));
        json_t *json = pare_json_parse_lenient(cases[i].text, n, "t.json", true, &odd, &error);
        pare_json_odd_print(&told, &odd);
        if (!cases[i].told)
            assert_null(json);
        else
            assert_string_equal(told.data, cases[i].told);
        json_decref(json);
        pare_string_free(&told);
    }
}

static void what_lenient_gives(void **state) {
    (void)state;
    pare_error error = {0};
    pare_json_odd odd = {0};
    json_t *json =
        lenient("{\"a\": 1, \"n\": NaN, \"big\": 18446744073709551616, \"a\": 2, \"s\": \"x\\ud83dy\", \"b\": \"caf\xE9\"}", &odd);
    assert_int_equal(json_object_size(json), 5);
    assert_int_equal(json_integer_value(json_object_get(json, "a")), 2);
    assert_true(json_is_null(json_object_get(json, "n")));
    assert_true(json_real_value(json_object_get(json, "big")) == 18446744073709551616.0);
    assert_string_equal(json_string_value(json_object_get(json, "s")), "x\xEF\xBF\xBDy");
    assert_string_equal(json_string_value(json_object_get(json, "b")), "caf\xEF\xBF\xBD");
    json_t *again = lenient("[NaN]", &odd);
    assert_int_equal(odd.not_finite, 2);
    json_decref(again);
    /* where a number is wanted, NaN is no absent one */
    double value = 5;
    assert_fails(pare_json_get_double(&value, json, "n", "t.json", &error), error, PARE_ERROR_FORMAT, "\"n\" is not a number");
    json_t *copy = json_deep_copy(json);
    assert_fails(pare_json_get_double(&value, copy, "n", "t.json", &error), error, PARE_ERROR_FORMAT, "\"n\" is not a number");
    json_decref(copy);
    json_decref(json);
    /* bytes of a configuration are not mended */
    assert_fails(pare_json_parse_lenient("[\"\xE9\"]", 5, "t.json", false, NULL, &error), error, PARE_ERROR_FORMAT, "not UTF-8");
}

static void depth(void **state) {
    (void)state;
    pare_error error = {0};
    char text[4001];
    for (int n = 1000; n <= 2000; n += 1000) {
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        json_t *json = pare_json_parse(text, 2 * (size_t)n, "t.json", &error);
        if (n == 1000)
            assert_done(json, error);
        else
            assert_fails(json, error, PARE_ERROR_FORMAT, "byte 1001): nested too deeply");
        json_decref(json);
    }
}

/* ---- memory ---- */

static size_t fail_at, n_asked; /* the allocation of jansson that fails */

static void *failing(size_t n) {
    return ++n_asked == fail_at ? NULL : malloc(n);
}

static void memory_while_reading(void **state) {
    (void)state;
    static const char text[] =
        "{\"key\": [1, 2.5, \"text \\u00e9\", {\"a\": {\"b\": [true]}}, 5e3], \"other\": \"a text of more bytes than sixteen\"}";
    json_set_alloc_funcs(failing, free);
    for (int of_pare = 0; of_pare < 2; of_pare++) {
        bool done = false;
        for (size_t at = 1; !done; at++) {
            pare_error error = {0};
            n_asked = 0;
            fail_at = of_pare ? 0 : at;
            pare_allocate_fail_at(of_pare ? at : 0);
            json_t *json = pare_json_parse(text, sizeof text - 1, "t.json", &error);
            pare_allocate_fail_at(0);
            done = json != NULL;
            if (!done)
                assert_fails(json, error, PARE_ERROR_MEMORY, "t.json: out of memory while its JSON was read");
            else
                assert_true(at > 5);
            json_decref(json);
        }
    }
    json_set_alloc_funcs(malloc, free);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_json),           cmocka_unit_test(odd_json), cmocka_unit_test(what_lenient_gives), cmocka_unit_test(depth),
        cmocka_unit_test(memory_while_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
