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
    opterr = 0;
    optind = 1;
    for (int answer; (answer = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        const option *row = row_of(answer, rows, n);
        if (answer == 'h' || answer == HELP) {
            print_help(face, rows, n);
            return -2;
        }
        if (answer == ':') {
            pare_fail(error, PARE_ERROR_USAGE, "%s: a value is missing (pare %s --help)", argv[optind - 1], face->name);
            return -1;
        }
        if (answer == '?' || !row) {
            unknown_option(face, rows, n, argv[optind - 1], error);
            return -1;
        }
        if (!set(row, optarg, error))
            return -1;
    }
    int given = argc - optind;
    if (given < face->arguments_min || given > face->arguments_max) {
        pare_fail(error, PARE_ERROR_USAGE, "%s: usage is pare %s %s",
                  given < face->arguments_min ? "something is missing" : "too many arguments", face->name, face->usage);
        return -1;
    }
    for (int i = 0; i < given; i++)
        arguments[i] = argv[optind + i];
    return finish(shared, error) ? given : -1;
}

bool options_join(option_list *list, const char *name, const char *const *rest, int n, pare_error *error) {
    for (int i = 0; i < n; i++) {
        if (list->n == 0 || list->n == LIST_MAX)
            return pare_fail(error, PARE_ERROR_USAGE, "%s: what is it? Files stand behind --%s, at most %d of them", rest[i], name,
                             LIST_MAX);
        list->items[list->n++] = rest[i];
    }
    return true;
}
