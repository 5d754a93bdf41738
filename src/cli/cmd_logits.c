/* pare logits: raw little-endian f32, tokens x vocabulary. */
#include <math.h>
#include <stdio.h>

#include "destination.h"
#include "model.h"
#include "pare/corpus.h"
#include "pare/model.h"

enum { ROWS = 64 }; /* rows of logits in memory at a time */

static bool check_rows(const float *logits, size_t first, size_t rows, size_t vocabulary, pare_error *error) {
    for (size_t i = 0; i < rows * vocabulary; i++)
        if (!isfinite(logits[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "the logit of token %zu, id %zu is not finite", first + i / vocabulary,
                             i % vocabulary);
    return true;
}

static bool write_rows(pare_output *output, pare_forward *forward, const pare_model *model, size_t n, const pare_context *context,
                       pare_error *error) {
    size_t vocabulary = model->head.n_rows;
    float *logits = pare_allocate(ROWS * vocabulary, sizeof *logits, error);
    bool done = logits != NULL;
    for (size_t first = 0; done && first < n; first += ROWS) {
        size_t rows = n - first < ROWS ? n - first : ROWS;
        pare_context_progress(context, "compute logits", (double)first, (double)n);
        done = pare_context_check(context, error) && pare_forward_logits(logits, forward, first, rows, error) &&
               check_rows(logits, first, rows, vocabulary, error) &&
               pare_output_write(output, logits, rows * vocabulary * sizeof *logits, error);
    }
    pare_free(logits);
    return done;
}

static bool write_logits(const char *path, bool replace, const pare_model *model, const pare_tokens *tokens, const common *shared,
                         pare_error *error) {
    pare_forward *forward = pare_forward_open(model, 1, tokens->n, &shared->context, error);
    if (!forward)
        return false;
    bool done = pare_forward_run(forward, tokens->ids, 1, tokens->n, NULL, error) != NULL;
    pare_output *output = done ? pare_output_open(path, replace, error) : NULL;
    done = output && write_rows(output, forward, model, tokens->n, &shared->context, error);
    if (done)
        done = pare_output_commit(output, error);
    else
        pare_output_abandon(output);
    pare_forward_close(forward);
    return done;
}

static bool report(const char *path, const pare_model *model, const pare_tokens *tokens, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    if (shared->json)
        return print_json(pare_json_pack(&doc, "{s:s, s:I, s:I, s:s}", "output", path, "tokens", (json_int_t)tokens->n, "vocabulary",
                                         (json_int_t)model->head.n_rows, "layout", "little-endian f32, tokens x vocabulary"),
                          &doc, error);
    progress_end();
    printf("%s: %zu tokens x %u logits, little-endian f32\n", path, tokens->n, model->head.n_rows);
    return true;
}

static bool logits_of(const char *path, const char *text_path, const char *out, bool force, const common *shared, pare_error *error) {
    if (!text_path || !out)
        return pare_fail(error, PARE_ERROR_USAGE, "%s is missing", text_path ? "-o OUT" : "--text FILE");
    reads(path);
    reads(text_path);
    bool replace;
    if (!destination_check(&replace, out, &destination_file, force, error))
        return false;
    pare_kernels_prefer_f32(); /* they are for comparison with other programs */
    pare_checkpoint *checkpoint = open_model(path, shared, error);
    if (!checkpoint)
        return false;
    pare_corpus text = {0};
    pare_tokens tokens = {0};
    pare_model *model = NULL;
    bool done = pare_checkpoint_tokenizer(checkpoint, error) &&
                pare_corpus_open(&text, text_path, checkpoint->tokenizer, &shared->context, error) &&
                pare_tokenizer_encode(&tokens, checkpoint->tokenizer, text.bytes, text.length, PARE_ENCODE_TEMPLATE, error) &&
                (model = pare_model_open(checkpoint, NULL, error)) && write_logits(out, replace, model, &tokens, shared, error) &&
                report(out, model, &tokens, shared, error);
    if (!done)
        pare_checkpoint_blame(checkpoint, &shared->context, error);
    pare_model_close(model);
    pare_tokens_free(&tokens);
    pare_corpus_close(&text);
    pare_checkpoint_close(checkpoint);
    return done;
}

bool cmd_logits(int argc, char **argv, pare_error *error) {
    const char *text = NULL, *out = NULL;
    bool force = false;
    const option options[] = {
        {"text", 0, OPTION_STRING, "FILE", "the text; it must not be longer than the model's context", &text},
        {"output", 'o', OPTION_STRING, "FILE", "the file to write", &out},
        OPTION_FORCE('f', &force),
        {0},
    };
    const command_face face = {
        .name = "logits",
        .usage = "MODEL --text FILE -o OUT",
        .about =
            "Writes the logits of every token of a text as raw little-endian f32 (tokens x vocabulary), to compare with other programs.\n"
            "The text is tokenised with the special tokens that the tokenizer adds by default.",
        .example = "  pare logits demo/model.gguf --text examples/demo.yaml -o logits.f32",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && logits_of(arguments[0], text, out, force, &shared, error));
}
