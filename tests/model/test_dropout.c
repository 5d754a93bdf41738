/* Dropout: the share that goes, what the rest is multiplied by, and that each element's fate hangs on key, adapter, row and column alone.
 */
#include <math.h>

#include "compute/compute.h"
#include "test.h"

enum { ROWS = 400, COLUMNS = 300 };

static void elements(void **state) {
    (void)state;
    static float x[ROWS * COLUMNS], whole[ROWS * COLUMNS], part[7 * 11], other[ROWS * COLUMNS];
    pare_dropout d = {0.1f, 42};
    pare_adapter a = {.number = 3, .dropout = &d}, b = {.number = 4, .dropout = &d};
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        x[i] = 1 + (float)(i % 5);
    dropout_apply(whole, COLUMNS, x, COLUMNS, &a, 0, ROWS, 0, COLUMNS);
    size_t gone = 0, pairs_down = 0, pairs_across = 0, same = 0;
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        gone += whole[i] == 0;
        assert_true(whole[i] == 0 || fabs((double)whole[i] - (double)x[i] / 0.9) < 1e-5);
        pairs_down += i >= COLUMNS && whole[i] == 0 && whole[i - COLUMNS] == 0;
        pairs_across += i % COLUMNS && whole[i] == 0 && whole[i - 1] == 0;
    }
    double n = ROWS * COLUMNS, five = 5 * sqrt(n * 0.1 * 0.9), five_pairs = 5 * sqrt(n * 0.01 * 0.99);
    assert_true(fabs((double)gone - 0.1 * n) < five);
    assert_true(fabs((double)pairs_down - 0.01 * n) < five_pairs && fabs((double)pairs_across - 0.01 * n) < five_pairs);
    dropout_apply(part, 11, x + 90 * COLUMNS + 17, COLUMNS, &a, 90, 7, 17, 11);
    for (size_t r = 0; r < 7; r++)
        assert_memory_equal(part + r * 11, whole + (90 + r) * COLUMNS + 17, 11 * sizeof *part);
    dropout_apply(other, COLUMNS, x, COLUMNS, &b, 0, ROWS, 0, COLUMNS);
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        same += whole[i] == 0 && other[i] == 0;
    assert_true(fabs((double)same - 0.01 * n) < five_pairs);
    d.rate = 0;
    assert_false(dropout_on(&a));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(elements)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
