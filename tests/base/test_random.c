/* Philox4x32-10 against the known answers published with Random123 (kat_vectors). */
#include "test.h"

#include "../src/base/random.c"

static void known_answers(void **state) {
    (void)state;
    static const uint32_t counters[3][4] = {
        {0, 0, 0, 0},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
    };
    static const uint32_t keys[3][2] = {{0, 0}, {0xffffffff, 0xffffffff}, {0xa4093822, 0x299f31d0}};
    static const uint32_t wanted[3][4] = {
        {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        philox_rounds(out, counters[i], keys[i]);
        assert_memory_equal(out, wanted[i], sizeof out);
    }
}

static void streams_depend_on_all_three(void **state) {
    (void)state;
    pare_random a, b;
    uint32_t first[4];
    pare_random_init(&a, 1, "cut", 0);
    for (int i = 0; i < 4; i++)
        first[i] = pare_random_u32(&a);
    pare_random_init(&a, 1, "cut", 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pare_random_u32(&a), first[i]);
    pare_random_init(&b, 2, "cut", 0);
    assert_int_not_equal(pare_random_u32(&b), first[0]);
    pare_random_init(&b, 1, "cat", 0);
    assert_int_not_equal(pare_random_u32(&b), first[0]);
    pare_random_init(&b, 1, "cut", 1);
    assert_int_not_equal(pare_random_u32(&b), first[0]);
}

/* chi-square of 70,000 draws over 7 cells: 99.99 % quantile at 6 degrees of freedom is 27.9 */
static void below_is_uniform(void **state) {
    (void)state;
    pare_random random;
    pare_random_init(&random, 42, "test", 0);
    double counts[7] = {0}, chi = 0;
    for (int i = 0; i < 70000; i++)
        counts[pare_random_below(&random, 7)]++;
    for (int i = 0; i < 7; i++)
        chi += (counts[i] - 10000) * (counts[i] - 10000) / 10000;
    assert_true(chi < 27.9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(streams_depend_on_all_three),
        cmocka_unit_test(below_is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
