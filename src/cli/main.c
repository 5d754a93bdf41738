/* main: finds the command, runs it, prints what went wrong, picks the exit code: 0 done, 1 failed, 2 usage, 128 + N stopped by signal N. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "pare/tensor.h"

static const command commands[] = {
    {"info", "print what a checkpoint holds and what can be cut", cmd_info},
    {"tokenize", "print the token ids of a text", cmd_tokenize},
    {"tokenizer", "train a byte-level BPE tokenizer on texts", cmd_tokenizer},
    {"logits", "write the logits of a text, to compare with other programs", cmd_logits},
    {"eval", "measure cross-entropy by a named protocol, and accuracy on tasks", cmd_eval},
    {"tasks", "list the multiple-choice tasks that eval knows", cmd_tasks},
    {"task", "make a multiple-choice task out of any text", cmd_task},
    {"generate", "generate text from a model, alone or beside another model", cmd_generate},
    {"compress", "write a smaller checkpoint, or plan one", cmd_compress},
    {"export", "write a checkpoint as a GGUF file for llama.cpp", cmd_export},
    {"policy", "train the policy of compress --method prunenet", cmd_policy},
    {"methods", "list the compression methods", cmd_methods},
    {"finetune", "train a model further, for recovery: LoRA, full, distillation", cmd_finetune},
    {"train", "train a small model from random weights", cmd_train},
    {"merge", "merge a LoRA adapter into its model", cmd_merge},
    {"study", "run a grid of experiments and record it in a ledger", cmd_study},
    {"fit", "fit a curve of loss against ratio to a ledger or a CSV file", cmd_fit},
    {"predict", "estimate a loss from a fitted curve", cmd_predict},
    {"report", "show a ledger as one HTML page", cmd_report},
    {"version", "print the version of pare", cmd_version},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_help(FILE *out) {
    fprintf(out, "pare makes large language models smaller and measures what that costs.\n\nUsage: pare COMMAND …\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(out,
            "\npare help COMMAND, or pare COMMAND --help, describes a command and its options, with an example that runs after make demo.\n"
            "MODEL is a GGUF file or a Hugging Face folder. Every command takes --json, --threads N and --quiet.\n");
}

static bool unknown_command(const char *name, pare_error *error) {
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++)
        names[i] = commands[i].name;
    const char *near = pare_nearest(name, names, N_COMMANDS);
    return pare_fail(error, PARE_ERROR_USAGE, "unknown command \"%s\"%s%s%s (pare --help lists them)", name, near ? "; did you mean " : "",
                     near ? near : "", near ? "?" : "");
}

static bool run_command(int argc, char **argv, pare_error *error) {
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc, argv, error);
    return unknown_command(argv[0], error);
}

/* pare help [COMMAND [SUBCOMMAND]] */
static bool help(int argc, char **argv, pare_error *error) {
    char flag[] = "--help";
    char *words[] = {argc > 1 ? argv[1] : NULL, argc > 2 ? argv[2] : flag, argc > 2 ? flag : NULL, NULL};
    if (argc > 3)
        return pare_fail(error, PARE_ERROR_USAGE, "too many arguments: usage is pare help [COMMAND [SUBCOMMAND]]");
    if (argc > 1 && argv[1][0] != '-')
        return run_command(argc, words, error);
    print_help(stdout);
    return true;
}

static bool run(int argc, char **argv, pare_error *error) {
    if (argc < 2) {
        print_help(stderr);
        return pare_fail(error, PARE_ERROR_USAGE, "a command is missing");
    }
    char version[] = "version";
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return help(argc - 1, argv + 1, error);
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = version;
    return pare_kernels_check(error) && run_command(argc - 1, argv + 1, error);
}

int main(int argc, char **argv) {
    signals_install();
    pare_error error = {0};
    cli_arguments = argv;
    bool done = pare_hash_start(&error) && arguments_check(argc, argv, &error) && run(argc, argv, &error);
    progress_end();
    if (done && (fflush(stdout) != 0 || ferror(stdout))) {
        if (cli_cancel) /* the reader has gone: pare … | head */
            return signals_exit_code();
        done = pare_fail(&error, PARE_ERROR_IO, "cannot write to standard output");
    }
    if (done)
        return 0;
    fprintf(stderr, "pare: %s\n", error.message);
    return error.code == PARE_ERROR_USAGE ? 2 : error.code == PARE_ERROR_CANCELLED ? signals_exit_code() : 1;
}
