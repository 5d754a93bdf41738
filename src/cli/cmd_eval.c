/* pare eval: test cross-entropy of a checkpoint by a named protocol. */
#include <math.h>
#include <stdio.h>

#include "cli.h"
#include "model.h"
#include "pare/eval.h"

typedef struct {
    const char *text, *protocol;
    uint32_t windows;
} eval_options;

static json_t *to_json(pare_json_doc *doc, const pare_checkpoint *checkpoint, const pare_eval_text *text, const pare_eval_result *r,
                       const common *shared) {
    return pare_json_pack(
        doc, "{s:s, s:s, s:s, s:f, s:o, s:o, s:o, s:o, s:I, s:I, s:i, s:i, s:s, s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:s, s:s}", "model",
        checkpoint->path, "architecture", pare_arch_name(checkpoint->config.arch), "protocol", text->protocol.name, "cross_entropy",
        r->cross_entropy, "cross_entropy_error", pare_json_number(doc, r->cross_entropy_error), "window_error",
        pare_json_number(doc, r->window_error), "perplexity", pare_json_number(doc, r->perplexity), "perplexity_error",
        pare_json_number(doc, r->perplexity_error), "tokens_in_text", (json_int_t)text->windows.tokens_in_text, "tokens_scored",
        (json_int_t)r->tokens_scored, "windows", (int)r->windows, "context", (int)text->protocol.length, "bos", text->bos_rule,
        "data_sha256", text->data_sha256.hex, "weight_type", pare_dtype_info(checkpoint->dtype)->name, "kernels", pare_kernels_best()->name,
        "threads", (int)shared->n_threads, "seconds", r->seconds, "tokens_per_s", r->tokens_per_s, "max_rss_mib", pare_memory_peak_mib(),
        "version", PARE_VERSION, "special_tokens", text->special_rule);
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

static bool evaluate(const char *path, const eval_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    pare_protocol protocol;
    if (!given->text)
        return pare_fail(error, PARE_ERROR_USAGE, "--text FILE is missing: the text to score");
    if (!pare_protocol_parse(&protocol, given->protocol, error))
        return false;
    pare_checkpoint *checkpoint = open_model(path, shared, error);
    if (!checkpoint)
        return false;
    pare_eval_text text = {0};
    pare_eval_result result;
    pare_model *model = NULL;
    bool done = pare_checkpoint_tokenizer(checkpoint, error) &&
                pare_eval_text_open(&text, &protocol, given->text, checkpoint->tokenizer, &shared->context, error) &&
                (model = pare_model_open(checkpoint, NULL, error)) &&
                pare_eval_run(&result, model, &text, given->windows, NULL, &shared->context, error);
    if (!done)
        pare_checkpoint_blame(checkpoint, &shared->context, error);
    if (done && shared->json)
        done = print_json(to_json(&doc, checkpoint, &text, &result, shared), &doc, error);
    else if (done) {
        progress_end();
        print_text(checkpoint, &text, &result);
    }
    pare_model_close(model);
    pare_eval_text_close(&text);
    pare_checkpoint_close(checkpoint);
    return done;
}

bool cmd_eval(int argc, char **argv, pare_error *error) {
    eval_options given = {.protocol = "joined2048"};
    const option options[] = {
        {"text", 0, OPTION_STRING, "FILE", "the text to evaluate on: plain (also gzip, bzip2) or JSON rows", &given.text},
        {"protocol", 'p', OPTION_STRING, "NAME", "joined2048 (default) or gguf512; other window lengths too, like joined512",
         &given.protocol},
        {"windows", 'n', OPTION_COUNT, "N", "evaluate the first N windows only", &given.windows},
        {0},
    };
    const command_face face = {
        .name = "eval",
        .usage = "MODEL --text FILE [--protocol gguf512|joined2048] [--windows N]",
        .about = "Test cross-entropy and perplexity of a checkpoint.\n\n"
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
