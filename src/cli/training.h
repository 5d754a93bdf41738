/* training: what `pare finetune` and `pare train` share: options, data, held-out evaluation, the run, its result as text, JSON and
 * picture. */
#ifndef PARE_CLI_TRAINING_H
#define PARE_CLI_TRAINING_H

#include "destination.h"
#include "pare/eval.h"
#include "pare/tune.h"

typedef struct {
    option_list data, eval;
    const char *tokens, *schedule, *order, *eval_protocol, *cache, *type, *out, *save_adapter;
    uint32_t steps, length, batch, micro, warmup, epochs, eval_windows, eval_every, save_every;
    double rate, decay, clip, beta1, beta2, held_out;
    uint64_t seed;
    bool resume, recompute, force;
} training_options;

enum { TRAINING_ROWS = 28, TRAINING_TEXTS_MAX = 9, NOT_GIVEN = INT32_MAX };

/* The options of every training, ending with a row of zeros: a command_face's more_options. */
typedef struct {
    option rows[TRAINING_ROWS + 1];
} training_table;

/* A folder that a training writes. */
typedef struct {
    const char *path; /* NULL: none */
    bool replace;     /* --force: something is there that goes */
    bool there;       /* --resume: something is there that must be what the training writes */
} training_output;

/* One training; opened by training_open, released by training_close. */
typedef struct {
    const training_options *given;
    const common *shared;
    pare_tune_options tune;
    pare_dataset *dataset;
    pare_eval_text texts[TRAINING_TEXTS_MAX]; /* what held-out losses are taken on */
    const char *names[TRAINING_TEXTS_MAX];    /* their files; NULL: the dataset's held-out part, the last of them */
    size_t n_texts;
    size_t eval_windows;
    pare_string state;      /* its file: OUT.state */
    pare_string texts_told; /* which texts are followed */
    pare_tune_result result;
    training_output model, adapter;
    double begin;
} training;

training_options training_defaults(void);
training_table training_rows(training_options *given);
/* Data, number of steps, evaluation text; tune: what the command has set of the options so far. */
bool training_open(training *t, const training_options *given, const common *shared, const pare_tune_options *tune,
                   const pare_tokenizer *tokenizer, int64_t separator, pare_error *error) PARE_MUST_CHECK;
bool training_run(training *t, pare_tuner *tuner, pare_error *error) PARE_MUST_CHECK;
/* Before the work: where the outputs go. */
bool training_check_outputs(training *t, pare_error *error) PARE_MUST_CHECK;
/* Writes the model with its picture, and the adapter where --save-adapter asks for it; they appear together, and the state file goes. note:
 * for pare.json; base: the model's name for the adapter. */
bool training_write(training *t, const pare_tuner *tuner, pare_dtype type, const char *note, const char *base,
                    pare_error *error) PARE_MUST_CHECK;
/* The result to stdout. more: what the command adds to the JSON (stolen), built in doc. */
bool training_finish(training *t, const pare_tuner *tuner, pare_json_doc *doc, json_t *more, pare_error *error) PARE_MUST_CHECK;
/* How it was made, for pare.json; more: borrowed. */
json_t *training_json(pare_json_doc *doc, const training *t, const pare_tuner *tuner, const json_t *more);
void training_close(training *t);
/* The number type of the output: --type, or `otherwise`. */
bool training_type(pare_dtype *type, const training *t, pare_dtype otherwise, pare_error *error) PARE_MUST_CHECK;

#endif
