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

/* A stage that is over leaves no bar and no time; a new stage has a clock of its own; time left is told once it can be. */
static void each_stage_has_its_own_clock(void **state) {
    (void)state;
    progress_clock clock = {0};
    char line[256];
    progress_line(line, sizeof line, &clock, "hash", 0, 100, 1000);
    progress_line(line, sizeof line, &clock, "hash", 99, 100, 1001);
    assert_non_null(strstr(line, "99 %  hash"));
    assert_null(strstr(line, "left")); /* after one second nobody knows */
    progress_line(line, sizeof line, &clock, "hash", 100, 100, 1002);
    assert_string_equal(line, "");
    progress_line(line, sizeof line, &clock, "train", 2, 8, 1040); /* begins at a quarter: these were done by another run */
    assert_null(strstr(line, "left"));
    progress_line(line, sizeof line, &clock, "train", 4, 8, 1060);
    assert_non_null(strstr(line, "40 s left"));
    progress_line(line, sizeof line, &clock, "evaluate", 1, 8, 1061); /* goes back: another stage of the same length */
    assert_null(strstr(line, "left"));
    progress_line(line, sizeof line, &clock, "evaluate", 2, 8, 1071);
    assert_non_null(strstr(line, "1 min 00 s left"));
    progress_line(line, sizeof line, &clock, "1/500 dense", 0, 10000, 2000); /* a study whose first run is a small part of it */
    progress_line(line, sizeof line, &clock, "1/500 dense", 5, 10000, 2005);
    assert_null(strstr(line, "left"));
    progress_line(line, sizeof line, &clock, "1/500 dense", 10, 10000, 2010);
    assert_non_null(strstr(line, "2 h 46 min left"));
}

static void near_names(void **state) {
    (void)state;
    const char *const names[] = {"random", "magnitude", "wanda-sp", "wanda-sp-groups"};
    assert_string_equal(pare_nearest("RANDOM", names, 4), "random");
    assert_string_equal(pare_nearest("wanda", names, 4), "wanda-sp");
    assert_string_equal(pare_nearest("magnitud", names, 4), "magnitude");
    assert_null(pare_nearest("nothing", names, 4));
}

static void numbers_of_bytes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"150", 150}, {"100M", 100000000}, {"100MB", 100000000}, {"100MiB", 104857600}, {"1.5G", 1500000000}, {"2GiB", 2147483648}};
    static const char *const bad[] = {"", "M", "-1", "0", "1.5X", "100 M", "100mib"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(pare_bytes_parse(&bytes, good[i].text));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(pare_bytes_parse(&bytes, bad[i]));
}

static void names_of_folders(void **state) {
    (void)state;
    pare_error error;
    assert_true(check_folder_name("out", &error) && check_folder_name("dir.x/out-1.5", &error));
    assert_fails(check_folder_name("out.gguf", &error), error, PARE_ERROR_USAGE, "pare export FOLDER -o out.gguf");
    assert_fails(check_folder_name("OUT.GGUF", &error), error, PARE_ERROR_USAGE, "pare export");
    assert_fails(check_folder_name("out.safetensors", &error), error, PARE_ERROR_USAGE, "a folder name");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_tables_are_read),
        cmocka_unit_test(an_option_that_is_there_twice_stops_the_command),
        cmocka_unit_test(a_subcommand_takes_its_own_options),
        cmocka_unit_test(a_share_is_a_fraction),
        cmocka_unit_test(each_stage_has_its_own_clock),
        cmocka_unit_test(near_names),
        cmocka_unit_test(numbers_of_bytes),
        cmocka_unit_test(names_of_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
