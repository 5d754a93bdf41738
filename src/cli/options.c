/* options: getopt_long driven by a command's table; the help is made from the same table. */
#include <errno.h>
#include <math.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli.h"

enum { OPTIONS_MAX = 64, FIRST_LONG = 1000, THREADS_MAX = 1024, HELP_COLUMN = 31, HELP_WIDTH = 110 };

/* Every option of one command: its own, those it shares with other commands, those that all have. */
typedef struct {
    option rows[OPTIONS_MAX];
    bool given[OPTIONS_MAX];
    int n;
} option_table;

/* ---- the table ---- */

/* A name or a letter that is there twice would leave one of the two options without effect. */
static bool add_row(option_table *table, const option *row, const command_face *face, pare_error *error) {
    if (table->n == OPTIONS_MAX)
        return pare_fail(error, PARE_ERROR_CONFLICT, "a fault in pare: %s has more than %d options", face->name, OPTIONS_MAX);
    for (int i = 0; i < table->n; i++)
        if (strcmp(table->rows[i].name, row->name) == 0 || (row->letter && table->rows[i].letter == row->letter))
            return pare_fail(error, PARE_ERROR_CONFLICT, "a fault in pare: %s has two options --%s and --%s of one name or letter",
                             face->name, table->rows[i].name, row->name);
    table->rows[table->n++] = *row;
    return true;
}

static bool add_rows(option_table *table, const option *rows, const command_face *face, pare_error *error) {
    for (const option *row = rows; row && row->name; row++)
        if (!add_row(table, row, face, error))
            return false;
    return true;
}

static bool fill_table(option_table *table, const command_face *face, common *shared, pare_error *error) {
    const option every_command[] = {
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object to stdout and nothing else there", &shared->json},
        {"threads", 't', OPTION_COUNT, "N", "number of threads (default: the processors that affinity and the CPU quota allow)",
         &shared->n_threads},
        {"quiet", 'q', OPTION_FLAG, NULL, "print no progress and no notes to stderr", &shared->quiet},
        {"help", 'h', OPTION_FLAG, NULL, "print this text", NULL},
        {0},
    };
    table->n = 0;
    memset(table->given, 0, sizeof table->given);
    return add_rows(table, face->options, face, error) && add_rows(table, face->more_options, face, error) &&
           add_rows(table, every_command, face, error);
}

/* ---- subcommands ---- */

static const subcommand *subcommand_find(const command_face *face, const char *name) {
    for (const subcommand *s = face->subcommands; s && s->name; s++)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

static bool subcommand_takes(const subcommand *s, const char *name) {
    size_t n = strlen(name);
    for (const char *at = s->options; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (length == n && strncmp(at, name, n) == 0)
            return true;
        at += length;
    }
    return false;
}

static bool of_every_command(const option_table *table, int i) {
    enum { EVERY_COMMAND = 4 };
    return i >= table->n - EVERY_COMMAND;
}

static bool refuse_subcommand(const command_face *face, const char *given, pare_error *error) {
    const char *names[ARGUMENTS_MAX];
    size_t n = 0;
    pare_string list = {0};
    for (const subcommand *s = face->subcommands; s->name; s++) {
        pare_string_print(&list, "%s%s", n ? ", " : "", s->name);
        names[n++] = s->name;
    }
    const char *near = pare_nearest(given, names, n);
    pare_fail(error, PARE_ERROR_USAGE, "unknown subcommand \"%s\" of pare %s%s%s%s (pare %s has: %s)", given, face->name,
              near ? "; did you mean " : "", near ? near : "", near ? "?" : "", face->name, list.failed ? "" : list.data);
    pare_string_free(&list);
    return false;
}

/* The first argument is a subcommand, and takes the options that were given. */
static bool check_subcommand(const command_face *face, const option_table *table, const char *first, pare_error *error) {
    const subcommand *s = subcommand_find(face, first);
    if (!s)
        return refuse_subcommand(face, first, error);
    for (int i = 0; i < table->n; i++)
        if (table->given[i] && !of_every_command(table, i) && !subcommand_takes(s, table->rows[i].name))
            return pare_fail(error, PARE_ERROR_USAGE, "pare %s %s takes no --%s (pare %s %s --help lists its options)", face->name, s->name,
                             table->rows[i].name, face->name, s->name);
    return true;
}

/* ---- help ---- */

/* Words from `column` on, at most HELP_WIDTH wide. */
static void print_words(const char *text) {
    int at = HELP_COLUMN;
    for (const char *word = text; *word;) {
        int n = (int)strcspn(word, " ");
        if (word > text && at + 1 + n > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            at = HELP_COLUMN;
        } else if (word > text) {
            putchar(' ');
            at++;
        }
        printf("%.*s", n, word);
        at += n;
        word += n;
        word += strspn(word, " ");
    }
    putchar('\n');
}

static void print_row(const option *row) {
    char left[64];
    snprintf(left, sizeof left, "%c%c%s --%s%s%s", row->letter ? '-' : ' ', row->letter ? row->letter : ' ', row->letter ? "," : " ",
             row->name, row->value ? " " : "", row->value ? row->value : "");
    printf("  %-28s ", left);
    if (strlen(left) > HELP_COLUMN - 3)
        printf("\n%*s", HELP_COLUMN, "");
    print_words(row->help);
}

/* Of a command, or of one subcommand, which may be NULL. */
static void print_help(const command_face *face, const subcommand *of, const option_table *table) {
    const char *usage = of ? of->usage : face->usage;
    printf("Usage: pare %s%s%s%s%s\n\n%s\n", face->name, of ? " " : "", of ? of->name : "", *usage ? " " : "", usage,
           of ? of->about : face->about);
    if (face->subcommands && face->subcommands[1].name && !of) {
        printf("\n");
        for (const subcommand *s = face->subcommands; s->name; s++)
            printf("  pare %s %s %s\n", face->name, s->name, s->usage);
        printf("\npare %s SUBCOMMAND --help describes one of them.\n", face->name);
    }
    printf("\nOptions:\n");
    for (int i = 0; i < table->n; i++)
        if (!of || of_every_command(table, i) || subcommand_takes(of, table->rows[i].name))
            print_row(&table->rows[i]);
    printf("\nExample:\n%s\n", of ? of->example : face->example);
}

/* ---- values ---- */

static bool set_number(const option *row, const char *text, pare_error *error) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end > text && strcmp(end, "%") == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--%s %s: write a share as a fraction, here --%s %g", row->name, text, row->name,
                         value / 100);
    if (end > text && *end == ',')
        return pare_fail(error, PARE_ERROR_USAGE, "--%s %s: the decimal separator is a point", row->name, text);
    if (end == text || *end != '\0' || errno == ERANGE)
        return pare_fail(error, PARE_ERROR_USAGE, "--%s \"%s\": not a number", row->name, text);
    if (!isfinite(value)) /* no option means one, and NaN stands for an option that was not given */
        return pare_fail(error, PARE_ERROR_USAGE, "--%s %s: not a finite number", row->name, text);
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

bool check_share(const char *flag, double value, pare_error *error) {
    if (value >= 0 && value < 1)
        return true;
    if (value > 1 && value < 100)
        return pare_fail(error, PARE_ERROR_USAGE, "--%s %g: a share from 0 to below 1 is needed; for %g %% write --%s %g", flag, value,
                         value, flag, value / 100);
    return pare_fail(error, PARE_ERROR_USAGE, "--%s %g: a share from 0 to below 1 is needed", flag, value);
}

bool check_folder_name(const char *out, pare_error *error) {
    const char *dot = strrchr(out, '.');
    if (dot && strcasecmp(dot, ".gguf") == 0)
        return pare_fail(
            error, PARE_ERROR_USAGE,
            "-o %s: this command writes a Hugging Face folder. Give a folder name, and make a GGUF file of it by pare export FOLDER "
            "-o %s",
            out, out);
    if (dot && (strcasecmp(dot, ".safetensors") == 0 || strcasecmp(dot, ".bin") == 0 || strcasecmp(dot, ".pt") == 0))
        return pare_fail(error, PARE_ERROR_USAGE, "-o %s: this command writes a Hugging Face folder, not a single file: give a folder name",
                         out);
    return true;
}

/* ---- getopt ---- */

/* getopt's two tables out of ours. */
static void translate(struct option *longs, char *shorts, const option_table *table) {
    *shorts++ = '-'; /* arguments come in their place, not behind all options */
    *shorts++ = ':';
    for (int i = 0; i < table->n; i++) {
        const option *row = &table->rows[i];
        longs[i] = (struct option){row->name, row->value ? required_argument : no_argument, NULL, FIRST_LONG + i};
        if (row->letter) {
            *shorts++ = row->letter;
            if (row->value)
                *shorts++ = ':';
        }
    }
    longs[table->n] = (struct option){0};
    *shorts = '\0';
}

static bool unknown_option(const command_face *face, const option_table *table, const char *given, pare_error *error) {
    const char *names[OPTIONS_MAX];
    for (int i = 0; i < table->n; i++)
        names[i] = table->rows[i].name;
    const char *near = given[0] == '-' && given[1] == '-' ? pare_nearest(given + 2, names, (size_t)table->n) : NULL;
    return pare_fail(error, PARE_ERROR_USAGE, "unknown option \"%s\"%s%s%s (pare %s --help lists them)", given,
                     near ? "; did you mean --" : "", near ? near : "", near ? "?" : "", face->name);
}

/* Row of a getopt answer, or -1. */
static int row_of(int answer, const option_table *table) {
    if (answer >= FIRST_LONG)
        return answer - FIRST_LONG;
    for (int i = 0; i < table->n; i++)
        if (table->rows[i].letter && table->rows[i].letter == answer)
            return i;
    return -1;
}

static bool finish(common *shared, pare_error *error) {
    if (shared->n_threads > THREADS_MAX) /* OpenMP ends the process when it cannot have what it is asked for */
        return pare_fail(error, PARE_ERROR_USAGE, "--threads %u: at most %d", shared->n_threads, THREADS_MAX);
    if (shared->n_threads == 0)
        shared->n_threads = (uint32_t)pare_processors();
    if (shared->n_threads > 1)
        wait_asleep(cli_arguments);
    shared->context = (pare_context){.n_threads = (int)shared->n_threads, .cancel = &cli_cancel};
    if (!shared->quiet) {
        shared->context.progress = progress_bar;
        shared->context.note = note_once;
    }
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
        return pare_fail(error, PARE_ERROR_USAGE, "too many arguments: %s is one more. Usage: pare %s %s", text, face->name, face->usage);
    seen->items[seen->n++] = text;
    return true;
}

/* One answer of getopt. */
static bool take(arguments_seen *seen, int answer, option_table *table, const command_face *face, char **argv, pare_error *error) {
    int row = row_of(answer, table);
    if (answer == 1)
        return argument(seen, optarg, face, error);
    if (answer == ':')
        return pare_fail(error, PARE_ERROR_USAGE, "%s: a value is missing (pare %s --help)", argv[optind - 1], face->name);
    if (answer == '?' || row < 0)
        return unknown_option(face, table, argv[optind - 1], error);
    table->given[row] = true;
    seen->list = table->rows[row].type == OPTION_LIST ? &table->rows[row] : NULL;
    return set(&table->rows[row], optarg, error);
}

static bool wants_help(int answer, const option_table *table) {
    return answer == 'h' || answer == FIRST_LONG + table->n - 1; /* the table's last row */
}

static bool check_arguments(const arguments_seen *seen, const command_face *face, const option_table *table, pare_error *error) {
    const subcommand *of = seen->n ? subcommand_find(face, seen->items[0]) : NULL;
    if (face->subcommands && seen->n > 0 && !check_subcommand(face, table, seen->items[0], error))
        return false;
    return seen->n >= face->arguments_min || pare_fail(error, PARE_ERROR_USAGE, "an argument is missing. Usage: pare %s %s%s%s", face->name,
                                                       of ? of->name : face->usage, of ? " " : "", of ? of->usage : "");
}

int options_parse(const char **arguments, common *shared, const command_face *face, int argc, char **argv, pare_error *error) {
    option_table table;
    *shared = (common){0};
    if (!fill_table(&table, face, shared, error))
        return -1;
    struct option longs[OPTIONS_MAX + 1];
    char shorts[3 * OPTIONS_MAX];
    translate(longs, shorts, &table);
    arguments_seen seen = {.items = arguments};
    opterr = 0;
    optind = 1;
    for (int answer; (answer = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        if (wants_help(answer, &table)) {
            print_help(face, seen.n ? subcommand_find(face, seen.items[0]) : NULL, &table);
            return -2;
        }
        if (!take(&seen, answer, &table, face, argv, error))
            return -1;
    }
    for (seen.list = NULL; optind < argc; optind++) /* behind -- */
        if (!argument(&seen, argv[optind], face, error))
            return -1;
    return check_arguments(&seen, face, &table, error) && finish(shared, error) ? seen.n : -1;
}
