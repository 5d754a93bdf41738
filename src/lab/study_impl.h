/* study_impl: what a study keeps of its models, and a model opened for work; private to lab. */
#ifndef LAB_STUDY_IMPL_H
#define LAB_STUDY_IMPL_H

#include "pare/lab.h"

/* What a run of one model depends on besides its place in the grid: contents, by their hashes. */
typedef struct {
    pare_config config;
    pare_sha256 model;
    struct {
        pare_sha256 text, tokens; /* of the file's bytes; of the ids in the windows that are scored: the tokenizer shows in them */
        size_t n_windows;         /* scored: as asked, or all there are */
    } evaluation;
    struct {
        pare_sha256 text, tokens;
        uint64_t seed;
    } calibration;        /* set when a method of the study is calibrated */
    pare_sha256 recovery; /* of the training data as windows (see pare_dataset_facts), when the study has recovery */
} study_model;

struct pare_study_inner {
    pare_spec *spec;
    pare_arena *arena;
    study_model *models;
};

/* Whether the run looks at the calibration text. */
bool study_run_calibrated(const pare_run *run);

/* Writes run->spec and run->key: a function of the run's place, the model's hashes and the spec's settings alone. */
bool study_identify(pare_run *run, const pare_spec *spec, const study_model *model, pare_arena *arena, pare_error *error);

/* The canonical spec of the costs that the run's allocation goes by: they are the same for all of its ratios. */
void study_sensitivity_spec(pare_string *out, const pare_run *run, const pare_spec *spec, const study_model *model);

/* ---- subject: one model of a study, opened for work ---------------------------------------- */

typedef struct {
    pare_checkpoint *checkpoint;
    pare_eval_text text;
    size_t n_windows; /* scored */
} study_subject;
bool study_subject_open(study_subject *subject, const pare_spec *spec, size_t model, const pare_context *context, pare_error *error);
void study_subject_close(study_subject *subject);
/* The calibration windows; *text: hash of the file, may be NULL. Free with pare_windows_free. */
bool study_subject_sample(pare_windows *windows, pare_sha256 *text, const study_subject *subject, const pare_spec *spec,
                          const pare_context *context, pare_error *error);

/* The windows that recovery trains on. */
pare_dataset *study_subject_data(const study_subject *subject, const pare_spec *spec, const pare_context *context, pare_error *error);
/* Steps of a budget, rounded up. */
uint64_t study_recovery_steps(const pare_spec_recovery *recovery, uint64_t tokens);

/* ---- provenance ---------------------------------------------------------------------------- */

enum { STUDY_TIME_BYTES = 24 };
void study_time_now(char out[STUDY_TIME_BYTES]); /* UTC, ISO 8601 */
const char *study_processor(pare_arena *arena);  /* the processor's name, or NULL */
/* Fills everything of `record` that is known before the run begins. Strings live as long as study, subject and `processor`. */
void study_record_begin(pare_run_record *record, const pare_study *study, const pare_run *run, const study_subject *subject,
                        const char *processor, const pare_context *context);

#endif
