/* The scanners written by hand against PCRE2 running the same regexes, and the regexes' translation. */
#include "test.h"

#include "tokenizer.h"

static const char gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static pare_pattern *pattern_of(const char *regex) {
    pare_error error = {0};
    pare_pattern *pattern = pare_pattern_open(regex, strlen(regex), false, "regex", &error);
    assert_done(pattern, error);
    return pattern;
}

static size_t scan(const pare_step *step, const char *text, size_t n) {
    const uint8_t *at = (const uint8_t *)text;
    return step->kind == PARE_STEP_GPT2 ? pare_scan_gpt2(at, at + n) : pare_scan_cl100k(at, at + n, step->digits);
}

/* Words of `text` by the scanner are the matches of the regex. */
static void compare_words(const pare_step *step, const pare_pattern *pattern, pare_match *match, const char *text, size_t n) {
    pare_error error = {0};
    pare_match_begin(match, n);
    for (size_t at = 0; at < n;) {
        bool found;
        size_t start = 0, end = 0, length = scan(step, text + at, n - at);
        assert_done(pare_pattern_find(&found, &start, &end, match, pattern, text, n, at, &error), error);
        if (!found || start != at || end != at + length) {
            print_message("at byte %zu of %zu:", at, n);
            for (size_t i = 0; i < n; i++)
                print_message(" %02X", (unsigned)(uint8_t)text[i]);
            fail_msg("scanner %zu bytes, regex %zu", length, found ? end - at : 0);
        }
        at = end;
    }
}

/* Characters where the regexes take turns, and any other. */
static uint32_t draw(pare_random *random) {
    static const uint32_t likely[] = {' ',    ' ',    ' ',     '\n',   '\r',   '\t',    '\'',    '\'',    's',     'S',      't',   'R',
                                      'e',    'l',    'L',     'v',    'd',    'm',     '1',     '2',     '.',     '!',      '_',   0x17F,
                                      0xA0,   0x85,   0x180E,  0x2003, 0x2028, 0x3000,  0x200B,  0x663,   0xBD,    0x2167,   0x301, 0xE9,
                                      0x4F60, 0xAC00, 0x1F469, 0x200D, 0x1C89, 0x10D40, 0x2EBF0, 0x16D70, 0x11DE0, 0x10FFFF, 0};
    if (pare_random_below(random, 8) > 0)
        return likely[pare_random_below(random, sizeof likely / sizeof *likely)];
    uint32_t point = pare_random_below(random, 0x110000 - 0x800);
    return point < 0xD800 ? point : point + 0x800;
}

static void scanners_are_the_regexes(void **state) {
    (void)state;
    pare_unicode_init();
    const pare_step steps[] = {{.kind = PARE_STEP_GPT2}, {.kind = PARE_STEP_CL100K, .digits = 3}, {.kind = PARE_STEP_CL100K, .digits = 1}};
    pare_error error = {0};
    pare_match *match = pare_match_open(&error);
    assert_done(match, error);
    for (size_t s = 0; s < 3; s++) {
        assert_string_equal(pare_step_regex(&steps[0]), gpt2);
        pare_pattern *pattern = pattern_of(pare_step_regex(&steps[s]));
        pare_random random;
        pare_random_init(&random, 5, "scanners", s);
        for (int i = 0; i < 60000; i++) {
            char text[64];
            size_t n = 0;
            for (uint32_t length = 1 + pare_random_below(&random, 12); length > 0; length--)
                n += pare_utf8_encode(text + n, draw(&random));
            compare_words(&steps[s], pattern, match, text, n);
        }
        for (uint32_t point = 0; point < 0x110000; point++) { /* every character, after a letter and after a space */
            char text[16] = "a";
            if (point >= 0xD800 && point < 0xE000)
                continue;
            size_t n = 1 + pare_utf8_encode(text + 1, point);
            text[n++] = ' ';
            n += pare_utf8_encode(text + n, point);
            text[n++] = 'b';
            compare_words(&steps[s], pattern, match, text, n);
        }
        pare_pattern_close(pattern);
    }
    pare_match_close(match);
}

static void known_regexes_are_recognised(void **state) {
    (void)state;
    pare_error error = {0};
    pare_step step;
    assert_done(pare_step_from_regex(&step, gpt2, PARE_SPLIT_ISOLATED, false, "t", &error), error);
    assert_int_equal(step.kind, PARE_STEP_GPT2);
    assert_done(pare_step_from_regex(&step, gpt2, PARE_SPLIT_REMOVED, true, "t", &error), error);
    assert_int_equal(step.kind, PARE_STEP_GPT2);
    assert_done(pare_step_from_regex(&step, gpt2, PARE_SPLIT_REMOVED, false, "t", &error), error);
    assert_int_equal(step.kind, PARE_STEP_PATTERN);
    pare_pattern_close(step.pattern);
}

/* The first match of a regex, told as "start-end", "none" or the error. Wanted values are Oniguruma's. */
static void regexes_mean_what_ruby_means(void **state) {
    (void)state;
    static const struct {
        const char *regex, *text, *wanted;
    } cases[] = {
        {"\\s", "\xE1\xA0\x8E\xC2\x85", "3-5"}, /* U+180E is no white space, U+0085 is */
        {"\\S+", "\xC2\xA0x\xE1\xA0\x8E ", "2-6"},
        {"[^\\S\\n]+", "\n\t x", "1-3"},
        {"\\p{L}", "\xF0\xAE\xAF\xB0", "0-4"}, /* U+2EBF0 came with Unicode 15.1 */
        {"[^\\p{L}]", "\xF0\xAE\xAF\xB0-", "4-5"},
        {"\\P{N}", "\xF0\x90\xB5\x80-", "4-5"}, /* U+10D40 came with Unicode 16 */
        {"\\d", "\xF0\x90\xB5\x80", "0-4"},
        {"\\v", "\n\v", "1-2"},
        {"^b$", "a\nb\nc", "2-3"}, /* line anchors at every line */
        {".+", "\nab\nc", "1-3"},
        {"\\u00e9|\\x{4e00}", "\xE4\xB8\x80", "0-3"},
        {"(?i)K", "\xE2\x84\xAA", "0-3"}, /* the sign for kelvin folds to k */
        {"[a\\-z]", "b-", "1-2"},
        {"\\p{Han}+", "a\xE4\xB8\x80\xE4\xBA\x8C", "1-7"},
        {"x{2,3}?", "xxxx", "0-2"},
        {"(?<=a)b", "ab", "1-2"},
        {"\\w", "a", "unsupported"},
        {"\\h", "a", "unsupported"},
        {"\\b", "a", "unsupported"},
        {"\\1", "a", "unsupported"},
        {"[a&&b]", "a", "unsupported"},
        {"[a[b]]", "a", "unsupported"},
        {"[\\s-x]", "a", "unsupported"},
        {"[a-\\s]", "a", "unsupported"},
        {"[\\D]", "a", "unsupported"},
        {"a{1,2}+", "a", "unsupported"},
        {"a{,2}", "a", "unsupported"},
        {"a(?i)b", "a", "unsupported"},
        {"(?m:a)", "a", "unsupported"},
        {"(?<n>a)", "a", "unsupported"},
        {"(*UTF)a", "a", "unsupported"},
        {"[]a]", "a", "unsupported"},
        {"\\p{L", "a", "unsupported"},
        {"\\p{^L}", "a", "unsupported"},
        {"\\x{110000}", "a", "format"},
        {"\\p{Qq}", "a", "format"},
        {"\\x{d800}", "a", "format"},
        {"\\", "a", "unsupported"},
        {"[a", "a", "unsupported"},
        {"(a", "a", "format"},
        {"a**", "a", "format"},
        {"(?:(?:(?:a{1000}){1000}){1000})", "a", "format"},
        {"(?:a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", "unsupported"}, /* gives up */
    };
    pare_error error = {0};
    pare_match *match = pare_match_open(&error);
    assert_done(match, error);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[64] = "none";
        bool found = false;
        size_t start = 0, end = 0;
        error = (pare_error){0};
        pare_pattern *pattern = pare_pattern_open(cases[i].regex, strlen(cases[i].regex), false, "regex", &error);
        if (!pattern || !pare_pattern_find(&found, &start, &end, match, pattern, cases[i].text, strlen(cases[i].text), 0, &error))
            snprintf(got, sizeof got, "%s", pare_code_name(error.code));
        else if (found)
            snprintf(got, sizeof got, "%zu-%zu", start, end);
        if (strcmp(got, cases[i].wanted) != 0)
            fail_msg("%s on %s: %s, not %s (%s)", cases[i].regex, cases[i].text, got, cases[i].wanted, error.message);
        pare_pattern_close(pattern);
    }
    pare_match_close(match);
}

static void literals_are_themselves(void **state) {
    (void)state;
    pare_error error = {0};
    bool found;
    size_t start, end;
    pare_match *match = pare_match_open(&error);
    assert_done(match, error);
    pare_pattern *pattern = pare_pattern_open("a.[", 3, true, "text", &error);
    assert_done(pattern, error);
    assert_done(pare_pattern_find(&found, &start, &end, match, pattern, "abc a.[", 7, 0, &error), error);
    assert_true(found && start == 4 && end == 7);
    pare_pattern_close(pattern);
    pare_match_close(match);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scanners_are_the_regexes),
        cmocka_unit_test(known_regexes_are_recognised),
        cmocka_unit_test(regexes_mean_what_ruby_means),
        cmocka_unit_test(literals_are_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
