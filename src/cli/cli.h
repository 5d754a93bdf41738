/* cli: what the commands share: options from tables, results to stdout, talk to stderr, exit codes.
 * This layer is the only one that prints or ends the process. */
#ifndef PARE_CLI_H
#define PARE_CLI_H

#include "pare/json.h"

/* ---- options -------------------------------------------------------------------------------- */

typedef enum { OPTION_FLAG, OPTION_STRING, OPTION_LIST, OPTION_COUNT, OPTION_SEED, OPTION_NUMBER } option_type;

enum { LIST_MAX = 64, ARGUMENTS_MAX = LIST_MAX };

/* An option that may be given several times, or with several values: --data a b. */
typedef struct {
    const char *items[LIST_MAX];
    size_t n;
} option_list;

/* One row of a command's table; the target's type: bool, const char *, option_list, uint32_t, uint64_t, double. */
typedef struct {
    const char *name; /* without dashes */
    char letter;      /* 0: none */
    option_type type;
    const char *value; /* name of the value in the help, NULL for a flag */
    const char *help;
    void *target;
} option;

/* What every command takes. */
typedef struct {
    bool json, quiet;
    uint32_t n_threads;
    pare_context context; /* threads, progress bar, Ctrl-C */
} common;

/* A word that a command takes as its first argument: pare study run. */
typedef struct {
    const char *name, *usage, *about; /* usage: what stands behind "pare COMMAND NAME" */
    const char *example;              /* lines, each a command */
    const char *options;              /* the names of those of the command's own options that it takes, with a space between two */
} subcommand;

/* One command's face, for its parser and its help. Its options are those of both tables; a name or a letter that is there twice stops the
 * command. */
typedef struct {
    const char *name, *usage, *about; /* usage: what stands behind "pare NAME" */
    const char *example;              /* lines, each a command */
    const option *options;            /* ends with name NULL */
    const option *more_options;       /* NULL, or a table shared with other commands; ends with name NULL */
    const subcommand *subcommands;    /* NULL, or ends with name NULL; the first argument is one of these */
    int arguments_min, arguments_max;
} command_face;

/* Fills the targets and arguments[]; returns how many, or -1 with *error, or -2 when help was asked for and printed. With subcommands,
 * arguments[0] is one of their names, and the options given are options that it takes. */
int options_parse(const char **arguments, common *shared, const command_face *face, int argc, char **argv, pare_error *error);

/* A share of something given as --flag: from 0 to below 1. Otherwise USAGE, with what a percentage would be. */
bool check_share(const char *flag, double value, pare_error *error) PARE_MUST_CHECK;

/* --tokens of fit and predict, as millions; NULL is 0. */
bool tokens_parse(double *d, const char *text, pare_error *error) PARE_MUST_CHECK;

/* A folder to write: not a name like model.gguf or model.safetensors, which a file has. */
bool check_folder_name(const char *out, pare_error *error) PARE_MUST_CHECK;

/* ---- commands ------------------------------------------------------------------------------- */

/* argv[0] is the command's name. Returns false with *error set (code PARE_ERROR_USAGE: exit 2). */
typedef bool command_run(int argc, char **argv, pare_error *error);
typedef struct {
    const char *name, *summary;
    command_run *run;
} command;
command_run cmd_info, cmd_tokenize, cmd_tokenizer, cmd_logits, cmd_eval, cmd_compress, cmd_policy, cmd_export, cmd_methods, cmd_finetune,
    cmd_train, cmd_merge, cmd_study, cmd_fit, cmd_predict, cmd_report, cmd_version, cmd_generate, cmd_tasks, cmd_task;

/* ---- output --------------------------------------------------------------------------------- */

/* Prints one JSON object to stdout and releases it. */
bool print_json(json_t *json, const pare_json_doc *doc, pare_error *error) PARE_MUST_CHECK;
/* A line to stderr, unless --quiet. */
void say(const common *shared, const char *format, ...) PARE_PRINTF(2, 3);
/* Ends a progress bar's line before other output. */
void progress_end(void);
/* "1.6 MiB" into a static ring of buffers; counts with thin groups: "134,515,008". */
const char *human_bytes(double bytes);
const char *human_count(uint64_t n);

/* Starts the program again so that waiting threads sleep, unless the environment says how they wait already. arguments: main's. */
void wait_asleep(char **arguments);
extern char **cli_arguments; /* main's */

void progress_bar(void *user, const char *stage, double done, double total);
/* "note: …" to stderr, once for each text: a study opens the same files again and again. */
void note_once(void *user, const char *text);

/* When the stage began whose progress is shown: another total, or progress that went back, begins a new one. Begins as {0}. */
typedef struct {
    double begin, done, total; /* seconds; the last progress */
    double share;              /* that was done when it began */
} progress_clock;
/* The bar's line at `now` (seconds); empty when all is done. It says how much time is left once that can be told. */
void progress_line(char *text, size_t size, progress_clock *clock, const char *stage, double done, double total, double now);

/* ---- the process ---------------------------------------------------------------------------- */

/* The number of the signal that asked the command to stop; 0: none did. */
extern volatile sig_atomic_t cli_cancel;
void signals_install(void);
/* Of a command that a signal stopped: 128 + its number. */
int signals_exit_code(void);
/* All arguments are UTF-8. */
bool arguments_check(int argc, char **argv, pare_error *error) PARE_MUST_CHECK;

#endif
