/* bench: one model on the bench: opened once, calibrated once, each score made once, cut and measured many times; private to lab. */
#ifndef LAB_BENCH_H
#define LAB_BENCH_H

#include "study_impl.h"
#include "worker.h"

/* One bar over the whole study, in multiply-accumulates. */
typedef struct {
    const pare_context *outer;
    char label[200];    /* "3/21 wanda-sp r=0.2" */
    double done, total; /* of the runs that were missing when the study began */
    double work;        /* of what is being done now */
} study_progress;

enum { BENCH_SCORES = 64 };

typedef struct {
    const pare_method *method;
    uint64_t seed;
    pare_scores scores;
    pare_sensitivity sensitivity; /* cost NULL: not measured yet */
    pare_error problem;           /* code OK: scores are there */
    pare_error sensitivity_problem;
} bench_scores;

typedef struct {
    const pare_study *study;
    size_t model;
    pare_store *store;
    study_worker *worker;
    study_progress *progress;
    study_subject subject;   /* checkpoint NULL: not opened yet */
    double seconds_open;     /* not yet charged to a run */
    double dense;            /* L0; NaN: not known yet */
    pare_error dense_failed; /* code OK: it did not */
    bool calibrated;         /* tried; calibration_failed says whether in vain */
    pare_calibration calibration;
    pare_error calibration_failed;
    pare_dataset *data;                /* of recovery; NULL: not opened yet */
    bench_scores scores[BENCH_SCORES]; /* the latest ones; a later seed takes the place of the oldest */
    size_t n_scores;
} study_bench;

void bench_begin(study_bench *bench, const pare_study *study, size_t model, pare_store *store, study_worker *worker,
                 study_progress *progress);
void bench_end(study_bench *bench);
bool bench_open(study_bench *bench, pare_error *error);
/* The run's cross-entropy and seconds into *record, which study_record_begin has filled. */
bool bench_measure(pare_run_record *record, study_bench *bench, const pare_run *run, pare_error *error);
/* What a run without L0 fails with: the dense model has failed. */
bool bench_refuse(const study_bench *bench, pare_error *error);
/* Multiply-accumulates of the calibration pass. */
double bench_calibration_work(const pare_study *study, size_t model);
/* Whether an error says something about the run itself, so that it belongs into the ledger. */
bool bench_is_outcome(pare_code code);

/* Fills slot->sensitivity, from the ledger where it is. */
bool study_sensitivity(bench_scores *slot, const study_bench *bench, const pare_run *run, const pare_plan *plan, pare_error *error);

/* A fifth of a second for others, under a stage of this name; false: cancelled. */
bool study_pause(const study_progress *progress, const char *stage, pare_error *error);

/* The caller's threads and cancellation with progress put into the bar of the whole study. `progress` is its user. */
pare_context study_progress_context(study_progress *progress);

#endif
