/* test: cmocka with the includes it wants, and helpers every test program shares. */
#ifndef PARE_TEST_H
#define PARE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pare/base.h"

/* Fails with pare's own message when `condition` does not hold. */
#define assert_done(condition, error)                                                                                                      \
    do {                                                                                                                                   \
        if (!(condition))                                                                                                                  \
            fail_msg("%s: %s", #condition, (error).message);                                                                               \
    } while (0)

/* The call must fail with `code` and a message that contains `part`. */
#define assert_fails(condition, error, wanted, part)                                                                                       \
    do {                                                                                                                                   \
        if (condition)                                                                                                                     \
            fail_msg("%s: should have failed", #condition);                                                                                \
        if ((error).code != (wanted) || !strstr((error).message, part))                                                                    \
            fail_msg("%s: %s: %s; wanted %s: …%s…", #condition, pare_code_name((error).code), (error).message, pare_code_name(wanted),     \
                     part);                                                                                                                \
    } while (0)

/* Public data sets lie beside the checkout or where PARE_DATA says; tests that need them skip with a line when they are absent.
 * Returns the path of `name` in a static buffer, or NULL. */
static inline const char *test_data(const char *name) {
    static char path[1024];
    const char *root = getenv("PARE_DATA");
    snprintf(path, sizeof path, "%s/%s", root ? root : PARE_SOURCE_DIR "/../shared/data", name);
    if (access(path, R_OK) == 0)
        return path;
    print_message("skipped: %s is not there (set PARE_DATA to the folder that holds %s)\n", path, name);
    return NULL;
}

/* Texts of megabytes say how fast something is, and where long ones are cut: the plain suite sees to that. The sanitizers ask for every
 * line once, at a third of the speed. */
#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

/* A fresh folder under the build's temporary place, removed by the caller or left for a look after a failure. */
static inline char *test_folder(void) {
    static char path[256];
    const char *root = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/pare-test-XXXXXX", root ? root : "/tmp");
    return mkdtemp(path);
}

#endif
