/* spill: what is put there stays when its pages are let go of, memory falls, and a disk that has no room is an error that says so. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "test.h"

enum { PIECES = 6, PIECE = 8 << 20 };

static double resident_mib(void) {
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        skip();
    assert_int_equal(fscanf(file, "%ld %ld", &pages, &resident), 2);
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1048576.0;
}

static void values_stay(void **state) {
    (void)state;
    pare_error error = {0};
    pare_spill *spill = NULL;
    uint32_t *pieces[PIECES];
    double before = resident_mib();
    for (uint32_t p = 0; p < PIECES; p++) {
        pieces[p] = pare_spill_push(&spill, PIECE + p, &error);
        assert_done(pieces[p], error);
        for (uint32_t i = 0; i < PIECE / sizeof(uint32_t); i++) {
            assert_int_equal(pieces[p][i], 0);
            pieces[p][i] = i * (p + 1);
        }
    }
    double full = resident_mib();
    pare_spill_drop(spill);
    double after = resident_mib();
    assert_true(full - before > 40 && after - before < 16);
    for (uint32_t p = 0; p < PIECES; p++)
        for (uint32_t i = 0; i < PIECE / sizeof(uint32_t); i += 97)
            assert_int_equal(pieces[p][i], i * (p + 1));
    assert_true(pare_spill_holds(spill, pieces[3]) && pare_spill_holds(spill, (uint8_t *)pieces[3] + PIECE - 1));
    assert_false(pare_spill_holds(spill, &error) || pare_spill_holds(NULL, pieces[3]));
    pare_spill_close(spill);
    pare_spill_close(NULL);
}

static void no_room(void **state) {
    (void)state;
    pare_error error = {0};
    pare_spill *spill = NULL;
    struct rlimit limit, old;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = old;
    limit.rlim_cur = 3 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_done(pare_spill_push(&spill, 2 << 20, &error), error);
    assert_fails(pare_spill_push(&spill, 2 << 20, &error), error, PARE_ERROR_IO, "set TMPDIR");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    pare_spill_close(spill);
    spill = NULL;
    assert_int_equal(setenv("TMPDIR", "/nowhere/at/all", 1), 0);
    assert_fails(pare_spill_push(&spill, 2 << 20, &error), error, PARE_ERROR_IO, "/nowhere/at/all");
    unsetenv("TMPDIR");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_stay), cmocka_unit_test(no_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
