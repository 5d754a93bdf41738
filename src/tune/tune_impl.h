/* tune_impl: what the files of the tuner share. */
#ifndef PARE_TUNE_IMPL_H
#define PARE_TUNE_IMPL_H

#include "pare/tune.h"

/* Trained weights that are updated alike; at and n in floats of the one block. */
typedef struct {
    size_t at, n;
    bool decays; /* matrices do, norms and biases do not */
    const char *name;
} segment;

struct pare_tuner {
    pare_tune_options options;
    const pare_context *context;
    const pare_checkpoint *base, *teacher_checkpoint;
    const pare_cut *cut;
    pare_arena *arena;
    pare_thawed thawed;      /* full */
    pare_adapters *adapters; /* LoRA */
    pare_dropout dropout;    /* of theirs: on only while a step's gradients are computed */
    pare_model *model, *teacher;
    float *values;                                  /* what is trained: thawed's or the adapters' block */
    float *gradient, *first_moment, *second_moment; /* alike */
    size_t n_values, n_trainable;
    segment *segments;
    size_t n_segments;
    pare_gradients gradients; /* into `gradient` */
    pare_pass *pass;
    uint64_t step; /* steps done */
    /* progress within a step: the pass reports to pass_context, which passes it on as a part of all steps since `begun` */
    pare_context pass_context;
    uint64_t begun;
    size_t pass_first, pass_windows; /* windows of the step before the pass, and in it */
    char stage[96];
};

/* Segments of the block, and the model's gradients into it. */
bool bind_gradients(pare_tuner *tuner, pare_error *error) PARE_MUST_CHECK;

/* Norm of the gradient; NUMERIC naming the tensor when it is not finite. */
bool gradient_norm(double *norm, const pare_tuner *tuner, pare_error *error) PARE_MUST_CHECK;
/* AdamW by the gradient, which is then zero again. */
void update(pare_tuner *tuner, double rate, double norm);

/* ---- resumable state ---- */

/* What must be the same for a state to be gone on with: one line of JSON. Free with pare_string_free. */
bool state_identity(pare_string *identity, const pare_tuner *tuner, const pare_dataset *dataset, pare_error *error) PARE_MUST_CHECK;
bool state_write(const char *path, const pare_tuner *tuner, const char *identity, const pare_tune_run_options *run,
                 const pare_tune_result *result, pare_error *error) PARE_MUST_CHECK;
/* Weights, moments and step into the tuner, losses (allocated) and evaluations (grown; *capacity of them) into result. */
bool state_read(const char *path, pare_tuner *tuner, const char *identity, const pare_tune_run_options *run, pare_tune_result *result,
                size_t *capacity, pare_error *error) PARE_MUST_CHECK;

#endif
