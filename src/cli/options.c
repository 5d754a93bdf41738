/* options: getopt_long driven by a command's table; the help is made from the same table. */
#include <errno.h>
#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { OPTIONS_MAX = 48, FIRST_LONG = 1000, HELP = 999, THREADS_MAX = 1024 };

/* The rows that every command has, after its own. */
static void common_rows(option rows[4], common *shared) {
    rows[0] = (option){"json", 0, OPTION_FLAG, NULL, "one JSON object on stdout, nothing else there", &shared->json};
    rows[1] = (option){"threads", 't', OPTION_COUNT, "N", "threads to compute with (all processors)", &shared->n_threads};
    rows[2] = (option){"quiet", 'q', OPTION_FLAG, NULL, "no progress and no remarks on stderr", &shared->quiet};
    rows[3] = (option){0};
}

static void print_row(char letter, const char *name, const char *value, const char *help) {
    char left[64];
    snprintf(left, sizeof left, "%c%c%s --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ', letter ? "," : " ", name, value ? " " : "",
             value ? value : "");
    printf("  %-28s %s\n", left, help);
}

static void print_help(const command_face *face, const option *rows, int n) {
    printf("Usage: pare %s %s\n\n%s\n\nOptions:\n", face->name, face->usage, face->about);
    for (int i = 0; i < n; i++)
        print_row(rows[i].letter, rows[i].name, rows[i].value, rows[i].help);
    print_row('h', "help", NULL, "this text");
    printf("\nExample:\n%s\n", face->example);
}

static bool set_number(const option *row, const char *text, pare_error *error) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || errno == ERANGE)
        return pare_fail(error, PARE_ERROR_USAGE, "--%s \"%s\": not a number", row->name, text);
    *(double *)row->target = value;
    return true;
}

static bool set_count(const option *row, const char *text, pare_error *error) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    uint64_t most = row->type == OPTION_COUNT ? 1u << 30 : INT64_MAX;
    if (strspn(text, "0123456789") == 0 || *end != '\0' || errno == ERANGE || value > most)
        return pare_fail(error, PARE_ERROR_USAGE, "--%s \"%s\": not a whole number from 0 to %llu", row->name, text,
                         (unsigned long long)most);
    if (row->type == OPTION_COUNT)
        *(uint32_t *)row->target = (uint32_t)value;
    else
        *(uint64_t *)row->target = value;
    return true;
}

static bool push(const option *row, const char *text, pare_error *error) {
    option_list *list = row->target;
    if (list->n == LIST_MAX)
        return pare_fail(error, PARE_ERROR_USAGE, "--%s: at most %d of them", row->name, LIST_MAX);
    list->items[list->n++] = text;
    return true;
}

static bool set(const option *row, const char *text, pare_error *error) {
    switch (row->type) {
    case OPTION_FLAG: *(bool *)row->target = true; return true;
    case OPTION_STRING: *(const char **)row->target = text; return true;
    case OPTION_LIST: return push(row, text, error);
    case OPTION_COUNT:
    case OPTION_SEED: return set_count(row, text, error);
    case OPTION_NUMBER: return set_number(row, text, error);
    }
    return false;
}

/* getopt's two tables out of ours. */
static void translate(struct option *longs, char *shorts, const option *rows, int n) {
    *shorts++ = '-'; /* arguments come in their place, not behind all options */
    *shorts++ = ':';
    for (int i = 0; i < n; i++) {
        longs[i] = (struct option){rows[i].name, rows[i].value ? required_argument : no_argument, NULL, FIRST_LONG + i};
        if (rows[i].letter) {
            *shorts++ = rows[i].letter;
            if (rows[i].value)
                *shorts++ = ':';
        }
    }
    longs[n] = (struct option){"help", no_argument, NULL, HELP};
    longs[n + 1] = (struct option){0};
    *shorts++ = 'h';
    *shorts = '\0';
}

static bool unknown_option(const command_face *face, const option *rows, int n, const char *given, pare_error *error) {
    const char *names[OPTIONS_MAX];
    for (int i = 0; i < n; i++)
        names[i] = rows[i].name;
    const char *near = given[0] == '-' && given[1] == '-' ? pare_nearest(given + 2, names, (size_t)n) : NULL;
    return pare_fail(error, PARE_ERROR_USAGE, "unknown option \"%s\"%s%s%s (pare %s --help lists them)", given,
                     near ? "; did you mean --" : "", near ? near : "", near ? "?" : "", face->name);
}

/* Row of a getopt answer, or NULL. */
static const option *row_of(int answer, const option *rows, int n) {
    if (answer >= FIRST_LONG)
        return &rows[answer - FIRST_LONG];
    for (int i = 0; i < n; i++)
        if (rows[i].letter && rows[i].letter == answer)
            return &rows[i];
    return NULL;
}

static bool finish(common *shared, pare_error *error) {
    if (shared->n_threads > THREADS_MAX) /* OpenMP ends the process when it cannot have what it is asked for */
        return pare_fail(error, PARE_ERROR_USAGE, "--threads %u: at most %d", shared->n_threads, THREADS_MAX);
    if (shared->n_threads == 0)
        shared->n_threads = (uint32_t)omp_get_num_procs();
    shared->context = (pare_context){.n_threads = (int)shared->n_threads, .cancel = &cli_cancel};
    if (!shared->quiet)
        shared->context.progress = progress_bar;
    return true;
}

/* Arguments and what stands behind an option of several values: `--data a b`. */
typedef struct {
    const char **items;
    int n;
    const option *list; /* the option whose values go on, or NULL */
} arguments_seen;

static bool argument(arguments_seen *seen, const char *text, const command_face *face, pare_error *error) {
    if (seen->list && seen->n >= face->arguments_min)
        return push(seen->list, text, error);
    seen->list = NULL;
    if (seen->n == face->arguments_max)
        return pare_fail(error, PARE_ERROR_USAGE, "too many arguments: %s is one more; usage is pare %s %s", text, face->name, face->usage);
    seen->items[seen->n++] = text;
    return true;
}

/* One answer of getopt. */
static bool take(arguments_seen *seen, int answer, const option *rows, int n, const command_face *face, char **argv, pare_error *error) {
    const option *row = row_of(answer, rows, n);
    if (answer == 1)
        return argument(seen, optarg, face, error);
    if (answer == ':')
        return pare_fail(error, PARE_ERROR_USAGE, "%s: a value is missing (pare %s --help)", argv[optind - 1], face->name);
    if (answer == '?' || !row)
        return unknown_option(face, rows, n, argv[optind - 1], error);
    seen->list = row->type == OPTION_LIST ? row : NULL;
    return set(row, optarg, error);
}

int options_parse(const char **arguments, common *shared, const command_face *face, int argc, char **argv, pare_error *error) {
    option rows[OPTIONS_MAX];
    int n = 0;
    *shared = (common){0};
    for (const option *row = face->options; row && row->name; row++)
        rows[n++] = *row;
    common_rows(rows + n, shared);
    n += 3;
    struct option longs[OPTIONS_MAX + 2];
    char shorts[3 * OPTIONS_MAX];
    translate(longs, shorts, rows, n);
    arguments_seen seen = {.items = arguments};
    opterr = 0;
    optind = 1;
    for (int answer; (answer = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (answer == 'h' || answer == HELP) {
            print_help(face, rows, n);
            return -2;
        }
        if (!take(&seen, answer, rows, n, face, argv, error))
            return -1;
    }
    for (seen.list = NULL; optind < argc; optind++) /* behind -- */
        if (!argument(&seen, argv[optind], face, error))
            return -1;
    if (seen.n < face->arguments_min) {
        pare_fail(error, PARE_ERROR_USAGE, "something is missing: usage is pare %s %s", face->name, face->usage);
        return -1;
    }
    return finish(shared, error) ? seen.n : -1;
}
