/* signals: what a signal does to a command.
 *
 * Ctrl-C, SIGTERM, SIGHUP (the terminal is gone), SIGPIPE (whoever read the output is gone) and SIGXCPU ask the work to stop where nothing
 * is lost: a training saves its state, a study keeps its rows. A second one ends the process at once. The exit code is 128 + the number.
 * SIGBUS says that a mapped file became shorter, or that its disk failed: the work cannot go on, and the file is named. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

volatile sig_atomic_t cli_cancel;

static void on_stop(int number) {
    if (cli_cancel)
        _exit(128 + number);
    cli_cancel = number;
}

static void tell(const char *text) {
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static void on_bus(int number, siginfo_t *info, void *context) {
    (void)context;
    const char *name = pare_map_name_at(info->si_addr);
    if (!name) { /* a fault of pare's: the same access again, now with the system's own answer */
        signal(number, SIG_DFL);
        return;
    }
    tell(isatty(STDERR_FILENO) ? "\r\033[K" : "");
    tell("pare: ");
    tell(name);
    tell(": cannot be read any more: the file became shorter while it was in use, or its disk failed\n");
    _exit(1);
}

/* nohup leaves SIGHUP ignored, and means it. */
static bool is_ignored(int number) {
    struct sigaction now;
    return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

void signals_install(void) {
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXCPU};
    struct sigaction stop = {.sa_handler = on_stop}, bus = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        if (stops[i] == SIGINT || stops[i] == SIGTERM || !is_ignored(stops[i]))
            sigaction(stops[i], &stop, NULL);
    sigaction(SIGBUS, &bus, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write(), not the end */
}

int signals_exit_code(void) {
    return 128 + (cli_cancel ? cli_cancel : SIGINT);
}
