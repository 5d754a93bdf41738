/* Options come from tables: what one command's tables hold, and that two options of one name or letter stop it. */
#include "test.h"

#include "cli.h"

volatile sig_atomic_t cli_cancel;

/* Parses a command line of words with one blank between two. */
static int parse_face(const command_face *face, const char *line, pare_error *error) {
    static char words[256];
    static const char *arguments[ARGUMENTS_MAX];
    char *argv[16];
    int argc = 0;
    common shared;
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    *error = (pare_error){0};
    return options_parse(arguments, &shared, face, argc, argv, error);
}

static int parse(const option *own, const option *more, const char *line, pare_error *error) {
    const command_face face = {
        .name = "try", .usage = "", .about = "", .example = "", .options = own, .more_options = more, .arguments_max = 2};
    return parse_face(&face, line, error);
}

static void both_tables_are_read(void **state) {
    (void)state;
    pare_error error;
    double first = 0;
    uint32_t second = 0;
    const option own[] = {{"first", 'f', OPTION_NUMBER, "X", "one", &first}, {0}},
                 more[] = {{"second", 0, OPTION_COUNT, "N", "two", &second}, {0}};
    assert_int_equal(parse(own, more, "try --second 7 -f 0.5 word", &error), 1);
    assert_true(first > 0.4 && first < 0.6);
    assert_int_equal(second, 7);
}

/* An option that is in two tables would be taken from one of them alone, and the other one's target would never be set. */
static void an_option_that_is_there_twice_stops_the_command(void **state) {
    (void)state;
    pare_error error;
    bool flag;
    const option a[] = {{"lora", 'l', OPTION_FLAG, NULL, "", &flag}, {0}}, b[] = {{"lora", 0, OPTION_FLAG, NULL, "", &flag}, {0}},
                 c[] = {{"length", 'l', OPTION_FLAG, NULL, "", &flag}, {0}}, d[] = {{"json", 0, OPTION_FLAG, NULL, "", &flag}, {0}},
                 e[] = {{"half", 'h', OPTION_FLAG, NULL, "", &flag}, {0}};
    assert_int_equal(parse(a, NULL, "try", &error), 0);
    assert_int_equal(parse(a, b, "try", &error), -1);
    assert_non_null(strstr(error.message, "two options --lora and --lora"));
    assert_int_equal(parse(a, c, "try", &error), -1);
    assert_non_null(strstr(error.message, "two options --lora and --length"));
    assert_int_equal(parse(a, d, "try", &error), -1); /* what every command has */
    assert_int_equal(parse(e, NULL, "try", &error), -1);
}

static void a_subcommand_takes_its_own_options(void **state) {
    (void)state;
    pare_error error = {0};
    bool old = false, young = false;
    const option rows[] = {{"old", 0, OPTION_FLAG, NULL, "", &old}, {"young", 0, OPTION_FLAG, NULL, "", &young}, {0}};
    const subcommand subcommands[] = {{.name = "run", .usage = "SPEC", .about = "", .example = "", .options = "young old"},
                                      {.name = "show", .usage = "SPEC", .about = "", .example = "", .options = "old"},
                                      {0}};
    const command_face face = {.name = "try",
                               .usage = "",
                               .about = "",
                               .example = "",
                               .options = rows,
                               .subcommands = subcommands,
                               .arguments_min = 2,
                               .arguments_max = 2};
    assert_int_equal(parse_face(&face, "try --young run spec", &error), 2);
    assert_int_equal(parse_face(&face, "try show spec --young", &error), -1);
    assert_non_null(strstr(error.message, "try show takes no --young"));
    assert_int_equal(parse_face(&face, "try shwo spec", &error), -1);
    assert_non_null(strstr(error.message, "did you mean show"));
}

static void a_share_is_a_fraction(void **state) {
    (void)state;
    pare_error error;
    double share = 0;
    const option rows[] = {{"ratio", 'r', OPTION_NUMBER, "R", "", &share}, {0}};
    assert_int_equal(parse(rows, NULL, "try --ratio 30%", &error), -1);
    assert_non_null(strstr(error.message, "--ratio 0.3"));
    assert_int_equal(parse(rows, NULL, "try -r 0,3", &error), -1);
    assert_non_null(strstr(error.message, "a point"));
    assert_fails(check_share("ratio", 30, &error), error, PARE_ERROR_USAGE, "--ratio 0.3");
    assert_fails(check_share("ratio", -1, &error), error, PARE_ERROR_USAGE, "from 0 to below 1");
    assert_true(check_share("ratio", 0.3, &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_tables_are_read),
        cmocka_unit_test(an_option_that_is_there_twice_stops_the_command),
        cmocka_unit_test(a_subcommand_takes_its_own_options),
        cmocka_unit_test(a_share_is_a_fraction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
