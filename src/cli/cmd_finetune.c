/* pare finetune: recovery of a cut model, or fine-tuning of any: LoRA, full, distillation. */
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "training.h"

typedef struct {
    training_options training;
    const char *targets, *adapter, *teacher;
    uint32_t rank;
    double alpha, dropout, weight, temperature;
    bool full;
} finetune_options;

typedef struct {
    const finetune_options *given;
    const common *shared;
    pare_checkpoint *checkpoint, *teacher;
    training training;
    pare_tuner *tuner;
} finetuning;

/* "q_proj,v_proj", "all" */
static bool parse_targets(bool targets[PARE_PROJECTIONS], const char *text, pare_error *error) {
    if (!text || strcmp(text, "all") == 0)
        return true;
    memset(targets, 0, PARE_PROJECTIONS * sizeof *targets);
    for (const char *at = text; *at;) {
        size_t n = strcspn(at, ",");
        int found = -1;
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const char *name = pare_projection_name((pare_projection)p);
            if (strlen(name) == n && strncmp(name, at, n) == 0)
                found = p;
        }
        if (found < 0)
            return pare_fail(error, PARE_ERROR_USAGE,
                             "--targets: \"%.*s\" is none of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj", (int)n, at);
        targets[found] = true;
        at += n + (at[n] == ',');
    }
    return true;
}

static bool set_options(pare_tune_options *o, const finetune_options *given, pare_error *error) {
    *o = pare_tune_defaults();
    o->full = given->full;
    if (given->rank != NOT_GIVEN)
        o->rank = given->rank;
    o->alpha = given->alpha;
    o->dropout = given->dropout;
    o->adapter = given->adapter;
    if (!check_share("dropout", given->dropout, error))
        return false;
    if (given->full && (given->adapter || given->training.save_adapter || given->targets || given->rank != NOT_GIVEN))
        return pare_fail(error, PARE_ERROR_USAGE, "--full trains every weight: --lora, --adapter, --save-adapter and --targets are LoRA's");
    if (given->adapter && (given->targets || given->rank != NOT_GIVEN))
        return pare_fail(error, PARE_ERROR_USAGE, "--adapter brings rank and projections with it: no --lora or --targets beside it");
    if (!given->teacher && (given->weight != o->distil_weight || given->temperature != o->distil_temperature))
        return pare_fail(error, PARE_ERROR_USAGE, "--distil-weight and --temperature need a --teacher");
    o->distil_weight = given->weight;
    o->distil_temperature = given->temperature;
    return parse_targets(o->targets, given->targets, error);
}

/* Says what the training needs, and refuses what the machine cannot hold. */
static bool tell_memory(const finetuning *f, pare_error *error) {
    pare_tune_memory m;
    if (!pare_tune_plan(&m, &f->training.tune, f->checkpoint, NULL, f->teacher, &f->shared->context, error))
        return false;
    double machine = pare_memory_machine();
    if (f->training.tune.recompute)
        say(f->shared, "training needs %s of memory beside the mapped model", human_bytes((double)m.total));
    else
        say(f->shared, "training needs %s of memory beside the mapped model; with --checkpoint %s", human_bytes((double)m.total),
            human_bytes((double)m.total_recompute));
    if ((double)m.total > machine)
        return pare_fail(error, PARE_ERROR_MEMORY,
                         "training needs %s, the machine has %s: try --checkpoint (%s), a smaller --seq or --micro, "
                         "or LoRA instead of --full",
                         human_bytes((double)m.total), human_bytes(machine), human_bytes((double)m.total_recompute));
    return true;
}

static json_t *about(pare_json_doc *doc, const finetuning *f) {
    const pare_tune_options *o = &f->training.tune;
    json_t *json = pare_json_pack(doc, "{s:s, s:s}", "model", f->checkpoint->path, "mode", o->full ? "full" : "lora");
    if (o->adapter)
        pare_json_set(doc, json, "adapter", pare_json_string(doc, o->adapter));
    json_t *base = pare_checkpoint_made(doc, f->checkpoint, true); /* the cut, with every neuron that was kept */
    if (base)
        pare_json_set(doc, json, "base", base);
    const pare_adapters *adapters = pare_tuner_adapters(f->tuner);
    json_t *targets = adapters ? pare_json_array(doc) : NULL;
    for (int p = 0; targets && p < PARE_PROJECTIONS; p++)
        if (adapters->targets[p])
            pare_json_append(doc, targets, pare_json_string(doc, pare_projection_name((pare_projection)p)));
    if (adapters)
        pare_json_set(doc, json, "lora",
                      pare_json_pack(doc, "{s:i, s:f, s:f, s:o}", "rank", (int)adapters->rank, "alpha", adapters->alpha, "dropout",
                                     o->dropout, "targets", targets));
    if (f->teacher)
        pare_json_set(doc, json, "distillation",
                      pare_json_pack(doc, "{s:s, s:f, s:f}", "teacher", f->teacher->path, "weight", o->distil_weight, "temperature",
                                     o->distil_temperature));
    return json;
}

static bool open_all(finetuning *f, const char *path, pare_error *error) {
    const finetune_options *given = f->given;
    pare_tune_options o;
    reads(path);
    reads(given->teacher);
    reads(given->adapter);
    if (!set_options(&o, given, error) || !(f->checkpoint = open_model(path, f->shared, error)) ||
        (given->teacher && !(f->teacher = open_model(given->teacher, f->shared, error))))
        return false;
    const pare_tokenizer *tokenizer = pare_checkpoint_tokenizer(f->checkpoint, error);
    return tokenizer && training_open(&f->training, &given->training, f->shared, &o, tokenizer, f->checkpoint->config.eos, error) &&
           tell_memory(f, error) &&
           (f->tuner = pare_tuner_open(&f->training.tune, f->checkpoint, NULL, f->teacher, &f->shared->context, error));
}

static bool write_out(finetuning *f, pare_error *error) {
    pare_json_doc doc = {0};
    pare_dtype type = f->checkpoint->dtype;
    pare_string note = {0};
    json_t *more = about(&doc, f), *json = training_json(&doc, &f->training, f->tuner, more);
    json_decref(more);
    bool done = training_type(&type, &f->training, pare_dtype_info(type)->quantised ? PARE_DTYPE_BF16 : type, error) &&
                pare_json_print(&note, json, &doc, error) &&
                training_write(&f->training, f->tuner, type, note.data, f->checkpoint->path, error);
    json_decref(json);
    pare_string_free(&note);
    return done;
}

static bool finetune(const char *path, const finetune_options *given, const common *shared, pare_error *error) {
    finetuning f = {.given = given, .shared = shared};
    pare_json_doc doc = {0};
    bool done = open_all(&f, path, error) && training_run(&f.training, f.tuner, error) && write_out(&f, error) &&
                training_finish(&f.training, f.tuner, &doc, about(&doc, &f), error);
    pare_tuner_close(f.tuner);
    training_close(&f.training);
    pare_checkpoint_close(f.teacher);
    pare_checkpoint_close(f.checkpoint);
    return done;
}

bool cmd_finetune(int argc, char **argv, pare_error *error) {
    pare_tune_options d = pare_tune_defaults();
    finetune_options given = {.training = training_defaults(),
                              .rank = NOT_GIVEN,
                              .alpha = d.alpha,
                              .dropout = d.dropout,
                              .weight = d.distil_weight,
                              .temperature = d.distil_temperature};
    const option options[] = {
        {"lora", 0, OPTION_COUNT, "R", "rank of the LoRA adapters; the model itself stays frozen (default: 8)", &given.rank},
        {"alpha", 0, OPTION_NUMBER, "X", "LoRA alpha: the adapters are scaled by alpha / rank (32)", &given.alpha},
        {"dropout", 0, OPTION_NUMBER, "P", "dropout rate of the adapters (0)", &given.dropout},
        {"targets", 0, OPTION_STRING, "LIST", "projections that get an adapter: q_proj,v_proj,… (default: all seven)", &given.targets},
        {"adapter", 0, OPTION_STRING, "INIT", "PEFT adapter to start from", &given.adapter},
        {"save-adapter", 0, OPTION_STRING, "DIR", "also write the adapter as a PEFT folder", &given.training.save_adapter},
        {"full", 0, OPTION_FLAG, NULL, "train every weight (as f32) instead of adapters", &given.full},
        {"teacher", 0, OPTION_STRING, "DENSE", "distillation: the model, for example the uncut one, whose probabilities are learned too",
         &given.teacher},
        {"distil-weight", 0, OPTION_NUMBER, "X", "weight of the teacher in the loss, 0 to 1 (0.5)", &given.weight},
        {"temperature", 0, OPTION_NUMBER, "T", "temperature of teacher and student in the distillation loss (1)", &given.temperature},
        {0},
    };
    const training_table shared_options = training_rows(&given.training);
    const command_face face = {
        .name = "finetune",
        .usage = "MODEL --data FILE… [--tokens N] [--lora R | --full] [--teacher DENSE] -o OUT",
        .about =
            "Trains an existing model further, for example to recover what a cut has lost. By default it trains LoRA adapters and\n"
            "merges them at the end; --full trains every weight. --teacher adds distillation from the uncut model.\n"
            "OUT is a Hugging Face folder with the loss curve (loss.svg) and the settings (pare.json).\n"
            "Data are plain text, gzip or bzip2, or JSON rows (.jsonl, .json) with \"text\", \"prompt\" and \"response\",\n"
            "\"instruction\" and \"output\", or \"messages\", which the model's chat template renders. Prompts are masked in the loss.\n"
            "Ctrl-C leaves OUT.state. The same command with --resume continues, and ends with the same bits.",
        .example = "  pare compress demo/model.gguf --method wanda-sp --ratio 0.2 --calibrate demo/calibration.txt -o smaller\n"
                   "  pare finetune smaller --data demo/calibration.txt --tokens 50k --save-adapter adapter -o recovered",
        .options = options,
        .more_options = shared_options.rows,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    return finetune(arguments[0], &given, &shared, error);
}
