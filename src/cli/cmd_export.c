/* pare export: a checkpoint as one GGUF file for llama.cpp. */
#include <stdio.h>
#include <string.h>

#include "destination.h"
#include "head.h"
#include "model.h"

typedef struct {
    const char *type, *out;
    bool tie, force;
} export_options;

/* As asked, else each tensor as it is stored. */
static bool choose_type(pare_dtype *type, const export_options *given, pare_error *error) {
    *type = PARE_DTYPE_COUNT;
    return !given->type || (pare_dtype_find(type, given->type) && pare_dtype_writable(*type)) ||
           pare_fail(error, PARE_ERROR_USAGE, "--type %s: a GGUF is written in f32, f16, bf16, q8_0, q4_0 or q4_1", given->type);
}

static json_t *fallbacks_json(pare_json_doc *doc, const pare_export *result) {
    json_t *list = pare_json_array(doc);
    for (const char *name = result->fallbacks.data, *end; name && (end = strchr(name, '\n')); name = end + 1)
        pare_json_append(doc, list, pare_json_text(doc, name, (size_t)(end - name)));
    return list;
}

/* Layers are alike: "blk.*.ffn_down.weight" stands for the tensor of every layer. */
static void print_kinds(pare_string *kinds, const pare_export *result) {
    for (const char *name = result->fallbacks.data, *end; name && (end = strchr(name, '\n')); name = end + 1) {
        char kind[128];
        const char *part = strncmp(name, "blk.", 4) == 0 ? strchr(name + 4, '.') : NULL;
        snprintf(kind, sizeof kind, "%s%.*s", part ? "blk.*" : "", (int)(end - (part ? part : name)), part ? part : name);
        if (!kinds->data || !strstr(kinds->data, kind))
            pare_string_print(kinds, "%s%s", kinds->length ? ", " : "", kind);
    }
}

/* Where the file is another than might be thought. */
static void say_departures(const pare_export *result, const pare_checkpoint *checkpoint, pare_dtype type, const common *shared) {
    pare_string kinds = {0};
    print_kinds(&kinds, result);
    if (result->n_fallbacks)
        say(shared, "note: %zu tensors are written as f16 instead of %s, because their row length is no multiple of %u: %s",
            result->n_fallbacks, pare_dtype_info(type)->name, pare_dtype_info(type)->block, kinds.data ? kinds.data : "");
    pare_string_free(&kinds);
    if (checkpoint->config.ranks)
        say(shared, "warning: the factors are multiplied back into whole matrices, which saves nothing, because llama.cpp loads only whole "
                    "matrices");
    if (checkpoint->config.sliding_window)
        say(shared, "warning: this model attends to the last %u positions, and llama.cpp's %s attends to all positions",
            checkpoint->config.sliding_window, result->architecture);
    if (checkpoint->config.arch == PARE_ARCH_QWEN2 && strcmp(result->architecture, "llama") == 0)
        say(shared,
            "note: the file is written as llama.cpp's llama, because its qwen2 needs query heads that are together as wide as the model");
}

static bool print_result(const pare_export *result, const export_options *given, pare_dtype type, double seconds, const common *shared,
                         pare_error *error) {
    pare_json_doc doc = {0};
    if (shared->json)
        return print_json(pare_json_pack(&doc, "{s:s, s:s, s:s, s:s, s:I, s:I, s:o, s:f, s:f}", "version", PARE_VERSION, "output",
                                         given->out, "type", pare_dtype_info(type)->name, "architecture", result->architecture, "bytes",
                                         (json_int_t)result->bytes, "tensors", (json_int_t)result->n_tensors, "f16_instead",
                                         fallbacks_json(&doc, result), "seconds", seconds, "max_rss_mib", pare_memory_peak_mib()),
                          &doc, error);
    progress_end();
    printf("%s: %s, %zu tensors, %s as %s\n", given->out, result->architecture, result->n_tensors, human_bytes((double)result->bytes),
           pare_dtype_info(type)->name);
    return true;
}

static bool export_model(const char *path, const export_options *given, const common *shared, pare_error *error) {
    double begin = pare_clock_s();
    if (!given->out)
        return pare_fail(error, PARE_ERROR_USAGE, "-o OUT.gguf is missing");
    bool replace;
    reads(path);
    if (!destination_check(&replace, given->out, &destination_file, given->force, error))
        return false;
    pare_checkpoint *checkpoint = open_model(path, shared, error);
    if (!checkpoint)
        return false;
    pare_dtype type;
    pare_export result = {0};
    bool done = head_settle(checkpoint, given->tie, shared, error) && choose_type(&type, given, error) &&
                pare_checkpoint_export(&result, given->out, replace, checkpoint, NULL, type, &shared->context, error);
    if (done) {
        type = type == PARE_DTYPE_COUNT ? checkpoint->dtype : type;
        say_departures(&result, checkpoint, type, shared);
        done = print_result(&result, given, type, pare_clock_s() - begin, shared, error);
    }
    pare_export_free(&result);
    pare_checkpoint_close(checkpoint);
    return done;
}

bool cmd_export(int argc, char **argv, pare_error *error) {
    export_options given = {0};
    const option options[] = {
        {"type", 0, OPTION_STRING, "T",
         "number type of all matrices: f32, f16, bf16, q8_0, q4_0 or q4_1 (default: as stored). Norms and biases are f32", &given.type},
        HEAD_OPTION(&given.tie),
        {"output", 'o', OPTION_STRING, "FILE", "the GGUF file to write", &given.out},
        OPTION_FORCE('f', &given.force),
        {0},
    };
    const command_face face = {
        .name = "export",
        .usage = "MODEL [--type T] -o OUT.gguf",
        .about =
            "Writes a checkpoint, with its tokenizer and chat template, as one GGUF file that llama.cpp loads. Every matrix has the type\n"
            "of --type, the embedding and the head too. Quantised blocks (q8_0, q4_0, q4_1) have the bits of llama.cpp's reference\n"
            "quantiser. A matrix whose row length is no multiple of 32 is written as f16, and is named.",
        .example = "  pare export demo/model.gguf --type q8_0 -o model-q8_0.gguf",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && export_model(arguments[0], &given, &shared, error));
}
