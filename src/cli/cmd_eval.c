/* pare eval: test cross-entropy of a checkpoint by a named protocol, and its accuracy on tasks. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "destination.h"
#include "eval_against.h"
#include "eval_tasks.h"
#include "model.h"
#include "pare/eval.h"
#include "pare/rolling.h"

typedef struct {
    const char *text, *protocol, *against;
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

static json_t *words_json(pare_json_doc *doc, const pare_rolling_result *r) {
    return pare_json_pack(doc, "{s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:s, s:f}", "protocol", "words", "word_perplexity",
                          r->word_perplexity, "byte_perplexity", r->byte_perplexity, "bits_per_byte", r->bits_per_byte, "log_likelihood",
                          r->log_likelihood, "pages", (json_int_t)r->pages, "words", (json_int_t)r->words, "bytes", (json_int_t)r->bytes,
                          "tokens_scored", (json_int_t)r->tokens, "windows", (json_int_t)r->windows, "data_sha256", r->data_sha256.hex,
                          "seconds", r->seconds);
}

static void print_words(const pare_rolling_result *r) {
    printf("word perplexity %.4f, byte perplexity %.6f, %.6f bits per byte\n", r->word_perplexity, r->byte_perplexity, r->bits_per_byte);
    printf("words: %s pages, %s words, %s bytes, %s tokens in %s windows; %.1f s; text sha256 %.16s…\n", human_count(r->pages),
           human_count(r->words), human_count(r->bytes), human_count(r->tokens), human_count(r->windows), r->seconds, r->data_sha256.hex);
}

/* One model and what it is evaluated on. */
typedef struct {
    pare_checkpoint *checkpoint;
    pare_model *model;
    pare_eval_text text;
    pare_eval_result result;
    bool words; /* the text is scored by page, not by window */
    pare_rolling_result pages;
    task_session tasks;
    against_session against;
} evaluation;

static const task_session *answers(const evaluation *e, const eval_options *given) {
    return given->tasks.names ? &e->tasks : NULL;
}

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
        join(&doc, out, e->words ? words_json(&doc, &e->pages) : text_json(&doc, &e->text, &e->result));
    if (given->tasks.names)
        join(&doc, out, tasks_json(&doc, &e->tasks, &given->tasks));
    if (given->against)
        pare_json_set(&doc, out, "against", against_json(&doc, &e->against, given->text != NULL, answers(e, given)));
    join(&doc, out, machine_json(&doc, checkpoint, shared));
    return print_json(out, &doc, error);
}

static bool print_result(const evaluation *e, const eval_options *given, const common *shared, pare_error *error) {
    if (shared->json)
        return print_as_json(e, given, shared, error);
    progress_end();
    if (given->text && e->words)
        print_words(&e->pages);
    else if (given->text)
        print_text(e->checkpoint, &e->text, &e->result);
    if (given->tasks.names)
        tasks_print(&e->tasks, &given->tasks);
    if (given->against)
        against_print(&e->against, given->text != NULL, answers(e, given));
    return true;
}

static bool run_words(evaluation *e, const eval_options *given, const common *shared, pare_error *error) {
    pare_request_rule rule;
    pare_bos_rule bos;
    return pare_bos_rule_parse(&bos, given->tasks.bos, error) && pare_request_rule_open(&rule, e->checkpoint, bos, error) &&
           pare_rolling_run(&e->pages, e->model, &rule, given->text, given->windows, &shared->context, error);
}

static bool run_text(evaluation *e, const eval_options *given, const pare_protocol *protocol, const common *shared, pare_error *error) {
    if (!given->text)
        return true;
    if (e->words)
        return run_words(e, given, shared, error);
    return pare_eval_text_open(&e->text, protocol, given->text, e->checkpoint->tokenizer, &shared->context, error) &&
           pare_eval_run(&e->result, e->model, &e->text, given->windows, NULL, &shared->context, error) &&
           (!given->against || against_text(&e->against, e->model, &e->text, given->windows, shared, error));
}

static bool run_tasks(evaluation *e, const eval_options *given, const common *shared, pare_error *error) {
    return !given->tasks.names || (tasks_run(&e->tasks, &given->tasks, e->model, shared, error) &&
                                   (!given->against || against_tasks(&e->against, &given->tasks, shared, error)));
}

static bool run_model(evaluation *e, const char *path, const eval_options *given, const pare_protocol *protocol, const common *shared,
                      pare_error *error) {
    if (!(e->checkpoint = open_model(path, shared, error)))
        return false;
    bool done = pare_checkpoint_tokenizer(e->checkpoint, error) && (e->model = pare_model_open(e->checkpoint, NULL, error)) &&
                against_open(&e->against, given->against, shared, error) && run_text(e, given, protocol, shared, error) &&
                run_tasks(e, given, shared, error);
    if (!done)
        pare_checkpoint_blame(e->checkpoint, &shared->context, error);
    return done;
}

static bool evaluate(const char *path, const eval_options *given, const common *shared, pare_error *error) {
    pare_protocol protocol;
    evaluation e = {.words = strcmp(given->protocol, "words") == 0};
    if (!given->text && !given->tasks.names)
        return pare_fail(error, PARE_ERROR_USAGE, "nothing to evaluate on: give --text FILE, or --tasks NAMES with --data DIR, or both");
    if (!e.words && !pare_protocol_parse(&protocol, given->protocol, error))
        return false;
    if (e.words && given->text && given->against)
        return pare_fail(error, PARE_ERROR_USAGE,
                         "--against compares window by window: use --protocol joined2048 or gguf512 with it, not words");
    reads(path);
    reads(given->against);
    reads(given->text);
    bool done = tasks_open(&e.tasks, &given->tasks, error) && run_model(&e, path, given, &protocol, shared, error) &&
                print_result(&e, given, shared, error);
    against_close(&e.against);
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
        {"protocol", 'p', OPTION_STRING, "NAME", "joined2048 (default), gguf512 or words; other window lengths too, like joined512",
         &given.protocol},
        {"windows", 'n', OPTION_COUNT, "N", "evaluate the first N windows only (of words: pages)", &given.windows},
        {"against", 0, OPTION_STRING, "DENSE",
         "compare with this model on the same tokens and documents: KL divergence, paired differences", &given.against},
        {"tasks", 0, OPTION_STRING, "NAMES",
         "measure the accuracy on these tasks: names (pare tasks lists them) or paths of task files, separated by commas",
         &given.tasks.names},
        {"data", 'd', OPTION_STRING, "DIR", "the folder with the tasks' documents", &given.tasks.data},
        {"limit", 0, OPTION_COUNT, "N", "score the first N documents of each task only (of each subset, where a task has subsets)",
         &given.tasks.limit},
        {"fewshot", 0, OPTION_COUNT, "N", "number of solved examples before each document (0)", &given.tasks.fewshot},
        {"bos", 0, OPTION_STRING, "RULE", "whether a BOS token comes first: default (as the tokenizer does), always or never",
         &given.tasks.bos},
        {"items", 0, OPTION_STRING, "FILE", "write a JSON line for each document: log-likelihoods and outcome", &given.tasks.items},
        {"resume", 0, OPTION_STRING, "FILE",
         "keep what is scored in FILE, and go on from there (with --items: the file beside it that ends in .state)", &given.tasks.resume},
        OPTION_FORCE('f', &given.tasks.force),
        {0},
    };
    const command_face face = {
        .name = "eval",
        .usage = "MODEL [--text FILE] [--tasks NAMES --data DIR] [--against DENSE]",
        .about = "Measures the cross-entropy and perplexity of a checkpoint on a text, and its accuracy on multiple-choice tasks.\n\n"
                 "  gguf512     as llama.cpp's perplexity tool: windows of 512 tokens, the second half of each is scored; a special\n"
                 "              token that is spelled out in the text is plain text\n"
                 "  joined2048  as GPTQ, SparseGPT, Wanda and SliceGPT: rows joined by blank lines, windows of 2,048, all scored\n"
                 "  words       as lm-evaluation-harness's wikitext: whole pages, perplexity per word and per byte\n\n"
                 "Accuracy is that of lm-evaluation-harness, item for item. pare tasks lists the tasks and says how to get their\n"
                 "documents. To continue a run that was stopped, give the same command with --items or --resume again.",
        .example = "  pare eval demo/model.gguf --text demo/test.txt --protocol gguf512 --windows 24\n"
                   "  pare task make --text demo/test.txt -o continuation.jsonl --items 20\n"
                   "  pare eval demo/model.gguf --tasks continuation --data .",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && evaluate(arguments[0], &given, &shared, error));
}
