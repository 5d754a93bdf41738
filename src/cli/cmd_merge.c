/* pare merge: W + scale B A, written as a model of its own. */
#include <stdio.h>

#include "destination.h"
#include "model.h"
#include "pare/trainable.h"

typedef struct {
    const char *type, *out;
    bool force;
} merge_options;

static bool choose_type(pare_dtype *type, const merge_options *given, pare_error *error) {
    if (!given->type) {
        *type = pare_dtype_info(*type)->quantised ? PARE_DTYPE_BF16 : *type;
        return true;
    }
    if (pare_dtype_find(type, given->type) && !pare_dtype_info(*type)->quantised)
        return true;
    return pare_fail(error, PARE_ERROR_USAGE, "--type %s: pare writes f32, bf16 and f16", given->type);
}

/* pare.json: how the merged model was made, and what was merged into. */
static bool note_print(pare_string *note, const pare_checkpoint *checkpoint, const char *adapter, const pare_adapters *adapters,
                       pare_error *error) {
    pare_json_doc doc = {0};
    json_t *made = pare_json_pack(&doc, "{s:s, s:s, s:s, s:s, s:i, s:f, s:o*}", "version", PARE_VERSION, "mode", "merge", "model",
                                  checkpoint->path, "adapter", adapter, "rank", (int)adapters->rank, "alpha", adapters->alpha, "base",
                                  pare_checkpoint_made(&doc, checkpoint, true));
    bool done = pare_json_print(note, made, &doc, error);
    json_decref(made);
    return done;
}

static bool merge(const char *path, const char *adapter, const merge_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    if (given->out && !check_folder_name(given->out, error))
        return false;
    if (!given->out)
        return pare_fail(error, PARE_ERROR_USAGE, "-o OUT is missing: the folder to write");
    bool replace;
    reads(path);
    reads(adapter);
    if (!destination_check(&replace, given->out, &destination_model, given->force, error))
        return false;
    pare_checkpoint *checkpoint = open_model(path, shared, error);
    if (!checkpoint)
        return false;
    pare_dtype type = checkpoint->dtype;
    pare_adapters *adapters = choose_type(&type, given, error) ? pare_adapters_read(adapter, &checkpoint->config, error) : NULL;
    pare_string note = {0};
    pare_folder *folder =
        adapters && note_print(&note, checkpoint, adapter, adapters, error) ? pare_folder_open(given->out, replace, error) : NULL;
    bool done = folder && pare_folder_close(folder,
                                            pare_checkpoint_write_in(pare_folder_path(folder), checkpoint, NULL, adapters, type, 0,
                                                                     note.data, false, &shared->context, error),
                                            error);
    pare_string_free(&note);
    if (done && shared->json)
        done = print_json(pare_json_pack(&doc, "{s:s, s:s, s:s, s:s, s:i, s:f, s:s, s:s}", "version", PARE_VERSION, "model", path,
                                         "adapter", adapter, "output", given->out, "rank", (int)adapters->rank, "alpha", adapters->alpha,
                                         "type", pare_dtype_info(type)->name, "architecture", pare_arch_name(checkpoint->config.arch)),
                          &doc, error);
    else if (done) {
        progress_end();
        printf("%s: %s with %s (rank %u) merged, as %s\n", given->out, path, adapter, adapters->rank, pare_dtype_info(type)->name);
    }
    pare_adapters_close(adapters);
    pare_checkpoint_close(checkpoint);
    return done;
}

bool cmd_merge(int argc, char **argv, pare_error *error) {
    merge_options given = {0};
    const option options[] = {
        {"type", 0, OPTION_STRING, "T",
         "number type of the output: f32, bf16, f16 (default: that of the source; bf16 for a quantised source)", &given.type},
        {"output", 'o', OPTION_STRING, "OUT", "the Hugging Face folder to write", &given.out},
        OPTION_FORCE('f', &given.force),
        {0},
    };
    const command_face face = {
        .name = "merge",
        .usage = "MODEL ADAPTER -o OUT",
        .about = "Adds a LoRA adapter (a PEFT folder) to the weights it belongs to, and writes the model as a Hugging Face folder.",
        .example = "  pare compress demo/model.gguf --method wanda-sp --ratio 0.2 --calibrate demo/calibration.txt -o smaller\n"
                   "  pare finetune smaller --data demo/calibration.txt --tokens 50k --save-adapter adapter -o recovered\n"
                   "  pare merge smaller adapter -o merged",
        .options = options,
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && merge(arguments[0], arguments[1], &given, &shared, error));
}
