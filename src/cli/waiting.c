/* waiting: threads that wait for others sleep soon, instead of spinning. Behind every parallel region the first thread to finish waits for
 * the last one. libgomp spins 300,000 times by default before it sleeps, and on a processor that it shares (another program, a container's
 * quota) each spin is taken from the thread that it waits for: docs/measurements.md has numbers.
 *
 * The OpenMP libraries read how to wait from the environment before main begins, and offer no call for it. So a command that computes with
 * several threads starts the program again, once, with these variables set. Whoever has set one of them is not overruled.
 */
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli.h"

static const struct {
    const char *name, *value;
} settings[] = {
    {"GOMP_SPINCOUNT", "4000"}, /* some 0.1 ms: as fast undisturbed as the default */
    {"KMP_BLOCKTIME", "1"},     /* LLVM's: ms */
};
enum { N_SETTINGS = sizeof settings / sizeof settings[0] };

char **cli_arguments;

void wait_asleep(char **arguments) {
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0 || !arguments || getenv("OMP_WAIT_POLICY"))
        return;
    program[length] = '\0';
    for (int i = 0; i < N_SETTINGS; i++)
        if (getenv(settings[i].name))
            return;
    for (int i = 0; i < N_SETTINGS; i++)
        if (setenv(settings[i].name, settings[i].value, 1) != 0)
            return;
    execv(program, arguments); /* comes back only when it cannot: then the threads spin */
}
