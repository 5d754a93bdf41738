/* pare eval: test cross-entropy of a checkpoint by a named protocol, and its accuracy on tasks. */
#include <math.h>
#include <stdio.h>

#include "eval_tasks.h"
#include "model.h"
#include "pare/eval.h"

typedef struct {
    const char *text, *protocol;
    uint32_t windows;
    task_options tasks;
} eval_options;

static json_t *text_json(pare_json_doc *doc, const pare_eval_text *text, const pare_eval_result *r) {
    return pare_json_pack(
        doc, "{s:s, s:f, s:o, s:o, s:o, s:o, s:I, s:I, s:i, s:i, s:s, s:s, s:s, s:f, s:f}", "protocol", text->protocol.name,
        "cross_entropy", r->cross_entropy, "cross_entropy_error", pare_json_number(doc, r->cross_entropy_error), "window_error",
        pare_json_number(doc, r->window_error), "perplexity", pare_json_number(doc, r->perplexity), "perplexity_error",
        pare_json_number(doc, r->perplexity_error), "tokens_in_text", (json_int_t)text->windows.tokens_in_text, "tokens_scored",
        (json_int_t)r->tokens_scored, "windows", (int)r->windows, "context", (int)text->protocol.length, "bos", text->bos_rule,
        "special_tokens", text->special_rule, "data_sha256", text->data_sha256.hex, "seconds", r->seconds, "tokens_per_s", r->tokens_per_s);
}

static json_t *machine_json(pare_json_doc *doc, const pare_checkpoint *checkpoint, const common *shared) {
    return pare_json_pack(doc, "{s:s, s:s, s:i, s:f, s:s}", "weight_type", pare_dtype_info(checkpoint->dtype)->name, "kernels",
                          pare_kernels_best()->name, "threads", (int)shared->n_threads, "max_rss_mib", pare_memory_peak_mib(), "version",
                          PARE_VERSION);
}

static void print_text(const pare_checkpoint *checkpoint, const pare_eval_text *text, const pare_eval_result *r) {
    printf("cross-entropy %.6f +/- %.6f nats per token, perplexity %.4f +/- %.4f\n", r->cross_entropy, r->cross_entropy_error,
           r->perplexity, r->perplexity_error);
    printf("%s: %zu windows of %u tokens, %s scored of %s in the text; BOS: %s; weights %s\n", text->protocol.name, r->windows,
           text->protocol.length, human_count(r->tokens_scored), human_count(text->windows.tokens_in_text), text->bos_rule,
           pare_dtype_info(checkpoint->dtype)->name);
    if (isfinite(r->window_error))
        printf("standard error over windows %.6f (tokens of one window are not independent)\n", r->window_error);
    printf("%.1f s, %.1f tokens/s, %.0f MiB at the peak; text sha256 %.16s…\n", r->seconds, r->tokens_per_s, pare_memory_peak_mib(),
           text->data_sha256.hex);
}

/* One model and what it is evaluated on. */
typedef struct {
    pare_checkpoint *checkpoint;
    pare_model *model;
    pare_eval_text text;
    pare_eval_result result;
    task_session tasks;
} evaluation;

/* Adds the members of a part, which is released. */
static void join(pare_json_doc *doc, json_t *out, json_t *part) {
    pare_json_update(doc, out, part);
    json_decref(part);
}

static bool print_as_json(const evaluation *e, const eval_options *given, const common *shared, pare_error *error) {
    const pare_checkpoint *checkpoint = e->checkpoint;
    pare_json_doc doc = {0};
    json_t *out = pare_json_pack(&doc, "{s:s, s:s}", "model", checkpoint->path, "architecture", pare_arch_name(checkpoint->config.arch));
    if (given->text)
        join(&doc, out, text_json(&doc, &e->text, &e->result));
    if (given->tasks.names)
        join(&doc, out, tasks_json(&doc, &e->tasks, &given->tasks));
    join(&doc, out, machine_json(&doc, checkpoint, shared));
    return print_json(out, &doc, error);
}

static bool print_result(const evaluation *e, const eval_options *given, const common *shared, pare_error *error) {
    if (shared->json)
        return print_as_json(e, given, shared, error);
    progress_end();
    if (given->text)
        print_text(e->checkpoint, &e->text, &e->result);
    if (given->tasks.names)
        tasks_print(&e->tasks, &given->tasks);
    return true;
}

static bool run_text(evaluation *e, const eval_options *given, const pare_protocol *protocol, const common *shared, pare_error *error) {
    return !given->text || (pare_eval_text_open(&e->text, protocol, given->text, e->checkpoint->tokenizer, &shared->context, error) &&
                            pare_eval_run(&e->result, e->model, &e->text, given->windows, NULL, &shared->context, error));
}

static bool run_model(evaluation *e, const char *path, const eval_options *given, const pare_protocol *protocol, const common *shared,
                      pare_error *error) {
    if (!(e->checkpoint = open_model(path, shared, error)))
        return false;
    bool done = pare_checkpoint_tokenizer(e->checkpoint, error) && (e->model = pare_model_open(e->checkpoint, NULL, error)) &&
                run_text(e, given, protocol, shared, error) &&
                (!given->tasks.names || tasks_run(&e->tasks, &given->tasks, e->model, shared, error));
    if (!done)
        pare_checkpoint_blame(e->checkpoint, &shared->context, error);
    return done;
}

static bool evaluate(const char *path, const eval_options *given, const common *shared, pare_error *error) {
    pare_protocol protocol;
    evaluation e = {0};
    if (!given->text && !given->tasks.names)
        return pare_fail(error, PARE_ERROR_USAGE, "nothing to evaluate on: give --text FILE, or --tasks NAMES with --data DIR, or both");
    if (!pare_protocol_parse(&protocol, given->protocol, error))
        return false;
    bool done = tasks_open(&e.tasks, &given->tasks, error) && run_model(&e, path, given, &protocol, shared, error) &&
                print_result(&e, given, shared, error);
    tasks_close(&e.tasks);
    pare_model_close(e.model);
    pare_eval_text_close(&e.text);
    pare_checkpoint_close(e.checkpoint);
    return done;
}

bool cmd_eval(int argc, char **argv, pare_error *error) {
    eval_options given = {.protocol = "joined2048", .tasks.bos = "default"};
    const option options[] = {
        {"text", 0, OPTION_STRING, "FILE", "the text to evaluate on: plain (also gzip, bzip2) or JSON rows", &given.text},
        {"protocol", 'p', OPTION_STRING, "NAME", "joined2048 (default) or gguf512; other window lengths too, like joined512",
         &given.protocol},
        {"windows", 'n', OPTION_COUNT, "N", "evaluate the first N windows only", &given.windows},
        {"tasks", 0, OPTION_STRING, "NAMES", "accuracy on these tasks, with commas between (pare tasks lists them; or paths of task files)",
         &given.tasks.names},
        {"data", 'd', OPTION_STRING, "DIR", "the folder with the tasks' documents", &given.tasks.data},
        {"limit", 0, OPTION_COUNT, "N", "the first N documents of each task, of each subset where a task has subsets", &given.tasks.limit},
        {"fewshot", 0, OPTION_COUNT, "N", "N examples before each document (0)", &given.tasks.fewshot},
        {"bos", 0, OPTION_STRING, "RULE", "default (as the tokenizer does), always or never", &given.tasks.bos},
        {"items", 0, OPTION_STRING, "FILE", "write a JSON line for each document: log-likelihoods and outcome", &given.tasks.items},
        {"resume", 0, OPTION_STRING, "FILE",
         "keep what is scored in FILE, and go on from there (with --items: the file beside it that ends in .state)", &given.tasks.resume},
        {0},
    };
    const command_face face = {
        .name = "eval",
        .usage = "MODEL [--text FILE] [--tasks NAMES --data DIR]",
        .about = "Test cross-entropy and perplexity of a checkpoint on a text, and its accuracy on multiple-choice tasks.\n\n"
                 "  gguf512     as llama.cpp's perplexity tool: windows of 512 tokens, the second half of each is scored; a special\n"
                 "              token that is spelled out in the text is plain text\n"
                 "  joined2048  as GPTQ, SparseGPT, Wanda and SliceGPT: rows joined by blank lines, windows of 2,048, all scored",
        .example = "  pare eval demo/model.gguf --text demo/test.txt --protocol gguf512 --windows 24",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && evaluate(arguments[0], &given, &shared, error));
}
