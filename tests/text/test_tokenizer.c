/* The ids of whole tokenizers. `--ids` and its likes (driver.h) make the same program a tool for comparisons. */
#include "test.h"

#include "driver.h"

static void open_nothing(void **state) {
    (void)state;
    pare_error error = {0};
    assert_fails(pare_tokenizer_open_json("{}", 2, "t.json", &error), error, PARE_ERROR_FORMAT, "model");
}

int main(int n, char **arguments) {
    if (n > 1 && strncmp(arguments[1], "--", 2) == 0)
        return drive(n, arguments);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
