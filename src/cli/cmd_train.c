/* pare train: a small model from nothing. */
#include <stdio.h>

#include "training.h"

typedef struct {
    training_options training;
    const char *config, *tokenizer;
} train_options;

static json_t *about(pare_json_doc *doc, const train_options *given) {
    return pare_json_pack(doc, "{s:s, s:s, s:s}", "mode", "pretraining", "config", given->config, "tokenizer", given->tokenizer);
}

static bool write_out(const train_options *given, training *t, const pare_tuner *tuner, pare_error *error) {
    pare_json_doc doc = {0};
    pare_dtype type;
    pare_string note = {0};
    json_t *more = about(&doc, given), *json = training_json(&doc, t, tuner, more);
    json_decref(more);
    bool done = training_type(&type, t, PARE_DTYPE_BF16, error) && pare_json_print(&note, json, &doc, error) &&
                training_write(t, tuner, type, note.data, NULL, error);
    json_decref(json);
    pare_string_free(&note);
    return done;
}

static bool train(const train_options *given, const common *shared, pare_error *error) {
    training t = {0};
    pare_json_doc doc = {0};
    pare_tune_options o = pare_tune_defaults();
    pare_thawed shape = {0}; /* only for its tokenizer and EOS: the data come first, for they say how many steps there are */
    o.full = true;
    if (!given->config || !given->tokenizer)
        return pare_fail(error, PARE_ERROR_USAGE, "--config FILE (a config.json) and --tokenizer DIR (with tokenizer.json) are needed");
    reads(given->config);
    reads(given->tokenizer);
    bool done = pare_thaw_new(&shape, given->config, given->tokenizer, given->training.seed, error) &&
                training_open(&t, &given->training, shared, &o, shape.checkpoint->tokenizer, shape.checkpoint->config.eos, error);
    pare_tuner *tuner = done ? pare_tuner_open_new(&t.tune, given->config, given->tokenizer, &shared->context, error) : NULL;
    if (shape.checkpoint)
        pare_thawed_close(&shape);
    done = tuner && training_run(&t, tuner, error) && write_out(given, &t, tuner, error) &&
           training_finish(&t, tuner, &doc, about(&doc, given), error);
    pare_tuner_close(tuner);
    training_close(&t);
    return done;
}

bool cmd_train(int argc, char **argv, pare_error *error) {
    train_options given = {.training = training_defaults()};
    given.training.rate = 3e-3;
    given.training.schedule = "cosine";
    given.training.decay = 0.1;
    const option options[] = {
        {"config", 0, OPTION_STRING, "FILE", "shapes of the model: a config.json as Hugging Face writes it", &given.config},
        {"tokenizer", 0, OPTION_STRING, "DIR", "folder with tokenizer.json (pare tokenizer train makes one)", &given.tokenizer},
        {0},
    };
    const training_table shared_options = training_rows(&given.training);
    const command_face face = {
        .name = "train",
        .usage = "--config FILE --tokenizer DIR --data FILE… [--tokens N] -o OUT",
        .about = "Trains a small model from random weights. The options are those of finetune --full. The defaults differ: learning rate\n"
                 "0.003, cosine schedule, weight decay 0.1, output as bf16.",
        .example = "  pare tokenizer train --data demo/calibration.txt --vocab 4096 -o tokenizer\n"
                   "  pare train --config examples/tiny.json --tokenizer tokenizer --data demo/calibration.txt --tokens 100k -o tiny",
        .options = options,
        .more_options = shared_options.rows,
        .arguments_min = 0,
        .arguments_max = 0,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    return train(&given, &shared, error);
}
