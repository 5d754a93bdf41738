/* json: what the strict and the lenient reader take and refuse, and with which words; both find what memory took. */
#include <math.h>

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

/* ---- building ---- */

static json_t *build(pare_json_doc *doc) {
    json_t *list = pare_json_array(doc), *more = pare_json_pack(doc, "{s:s}", "more", "of it");
    for (int i = 0; i < 20; i++)
        pare_json_append(doc, list, pare_json_integer(doc, i));
    json_t *object = pare_json_pack(doc, "{s:s, s:s?, s:s*, s:[i, I, f, b, n], s:{s:o, s:o?, s:o*}, s:O}", "text",
                                    "a \"b\" \\ \n\x01 <\xC3\xA9", "null", NULL, "nothing", NULL, "several", -1, (json_int_t)1 << 40, 0.1,
                                    1, "inner", "list", list, "none", NULL, "absent", NULL, "kept", more);
    pare_json_set(doc, object, "copy", pare_json_copy(doc, json_object_get(object, "several")));
    pare_json_set(doc, object, "nan", pare_json_number(doc, (double)NAN));
    pare_json_set(doc, object, "real", pare_json_number(doc, 3));
    pare_json_update(doc, object, more);
    json_decref(more);
    return object;
}

static const char built[] =
    "{\"text\":\"a \\\"b\\\" \\\\ \\n\\u0001 \\u003C\xC3\xA9\",\"null\":null,\"several\":[-1,1099511627776,0.1,true,null],"
    "\"inner\":{\"list\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19],\"none\":null},"
    "\"kept\":{\"more\":\"of it\"},\"copy\":[-1,1099511627776,0.1,true,null],\"nan\":null,\"real\":3.0,"
    "\"more\":\"of it\"}";

/* Whatever allocation fails, of jansson's or of pare's: what is printed is the whole document, or there is an error. */
static void memory_while_building(void **state) {
    (void)state;
    json_set_alloc_funcs(failing, free);
    for (int of_pare = 0; of_pare < 2; of_pare++) {
        bool done = false;
        for (size_t at = 1; !done; at++) {
            pare_error error = {0};
            pare_json_doc doc = {0};
            pare_string text = {0};
            n_asked = 0;
            fail_at = of_pare ? 0 : at;
            json_t *json = build(&doc);
            pare_allocate_fail_at(of_pare ? at : 0);
            done = pare_json_print_script(&text, json, &doc, &error);
            pare_allocate_fail_at(0);
            if (done)
                assert_string_equal(text.data, built);
            else
                assert_int_equal(error.code, PARE_ERROR_MEMORY);
            if (done)
                assert_true(at > (of_pare ? 3 : 60));
            json_decref(json);
            pare_string_free(&text);
        }
    }
    json_set_alloc_funcs(malloc, free);
}

static void what_is_no_text(void **state) {
    (void)state;
    pare_string text = {0};
    pare_error error = {0};
    for (int i = 0; i < 4; i++) {
        pare_json_doc doc = {0};
        json_t *json = i == 0   ? pare_json_pack(&doc, "{s:s, s:s}", "good", "a", "model", "caf\xE9")
                       : i == 1 ? pare_json_pack(&doc, "{s:[s, s], s:s}", "model", "a", "caf\xE9", "later", "\xFF")
                       : i == 2 ? pare_json_object(&doc)
                                : pare_json_pack(&doc, "{s:s}", "caf\xE9", "a key");
        if (i == 2)
            pare_json_set(&doc, json, "model", pare_json_text(&doc, "caf\xE9", 4));
        assert_fails(pare_json_print(&text, json, &doc, &error), error, PARE_ERROR_FORMAT,
                     i < 3 ? "\"model\": JSON cannot hold this text, since it is not UTF-8: caf\\xe9" : "not UTF-8: caf\\xe9");
        assert_int_equal(text.length, 0);
        json_decref(json);
    }
}

static void pretty(void **state) {
    (void)state;
    pare_json_doc doc = {0};
    pare_string text = {0};
    pare_error error = {0};
    json_t *json = pare_json_pack(&doc, "{s:[], s:{}, s:[f, {s:b}]}", "a", "b", "c", 1e-5, "d", 0);
    assert_done(pare_json_print(&text, json, &doc, &error), error);
    assert_string_equal(text.data, "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1e-05,\n    {\n      \"d\": false\n    }\n  ]\n}\n");
    json_decref(json);
    pare_string_free(&text);
    /* a pattern that is none, and a value that is not there, are never printed */
    pare_json_doc wrong[2] = {{0}, {0}};
    json_t *values[2] = {pare_json_pack(&wrong[0], "{s:x}", "a"), pare_json_pack(&wrong[1], "{s:o}", "a", NULL)};
    for (int i = 0; i < 2; i++) {
        assert_false(pare_json_print(&text, values[i], &wrong[i], &error));
        json_decref(values[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_json),           cmocka_unit_test(odd_json),
        cmocka_unit_test(what_lenient_gives),   cmocka_unit_test(depth),
        cmocka_unit_test(memory_while_reading), cmocka_unit_test(memory_while_building),
        cmocka_unit_test(what_is_no_text),      cmocka_unit_test(pretty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
