/* bench: calibrate -> score -> cut -> model -> recovery -> cross-entropy of one model's runs, each step shared by all runs that can share
 * it. A step that fails by the model's nature is not tried again: its error is kept and becomes the outcome of every run that needs it. */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool bench_is_outcome(pare_code code) {
    return code == PARE_ERROR_NUMERIC || code == PARE_ERROR_SHAPE || code == PARE_ERROR_RANGE || code == PARE_ERROR_UNSUPPORTED ||
           code == PARE_ERROR_FORMAT;
}

static void pass_progress(void *user, const char *stage, double done, double total) {
    const study_progress *p = user;
    char text[sizeof p->label + 80];
    snprintf(text, sizeof text, "%s %.70s", p->label, stage);
    pare_context_progress(p->outer, text, p->done + (total > 0 ? done / total * p->work : 0), p->total);
}

pare_context study_progress_context(study_progress *progress) {
    return (pare_context){.n_threads = pare_context_threads(progress->outer),
                          .progress = pass_progress,
                          .user = progress,
                          .cancel = progress->outer ? progress->outer->cancel : NULL};
}

bool study_pause(const study_progress *progress, const char *stage, pare_error *error) {
    static const struct timespec fifth = {0, 200000000}; /* costs nothing, and is up when a run of seconds is over */
    pare_context_progress(progress->outer, stage, progress->done, progress->total);
    nanosleep(&fifth, NULL);
    return pare_context_check(progress->outer, error);
}

void bench_begin(study_bench *bench, const pare_study *study, size_t model, pare_store *store, study_worker *worker,
                 study_progress *progress) {
    *bench = (study_bench){.study = study, .model = model, .store = store, .worker = worker, .progress = progress, .dense = PARE_UNKNOWN};
}

void bench_end(study_bench *bench) {
    for (size_t i = 0; i < BENCH_SCORES; i++) {
        pare_scores_free(&bench->scores[i].scores);
        pare_sensitivity_free(&bench->scores[i].sensitivity);
    }
    pare_dataset_close(bench->data);
    pare_calibration_free(&bench->calibration);
    study_subject_close(&bench->subject);
}

bool bench_open(study_bench *bench, pare_error *error) {
    double begin = pare_clock_s();
    if (bench->subject.checkpoint)
        return true;
    bool done = study_subject_open(&bench->subject, bench->study->spec, bench->model, bench->progress->outer, error);
    bench->seconds_open = pare_clock_s() - begin;
    return done;
}

double bench_calibration_work(const pare_study *study, size_t model) {
    const pare_spec *spec = study->spec;
    return (double)pare_config_size(&study->inner->models[model].config).macs * (double)spec->calibrate.n_windows *
           (double)spec->calibrate.length;
}

static bool any_activations(const pare_spec *spec) {
    bool any = false;
    for (size_t i = 0; i < spec->n_methods; i++)
        any = any || (spec->methods[i].method->calibrated && !spec->methods[i].method->text_only);
    return any;
}

static bool calibrate(study_bench *bench, pare_error *error) {
    study_progress *progress = bench->progress;
    pare_windows windows;
    if (!study_subject_sample(&windows, NULL, &bench->subject, bench->study->spec, bench->progress->outer, error))
        return false;
    progress->work = bench_calibration_work(bench->study, bench->model);
    pare_context context = study_progress_context(progress);
    bool done =
        pare_calibrate(&bench->calibration, bench->subject.checkpoint, &windows, any_activations(bench->study->spec), &context, error);
    if (!done)
        pare_checkpoint_blame(bench->subject.checkpoint, &context, error);
    progress->done += progress->work;
    progress->work = 0;
    pare_windows_free(&windows);
    return done;
}

static bool ensure_calibration(pare_run_record *record, study_bench *bench, pare_error *error) {
    if (!bench->calibrated) {
        double begin = pare_clock_s();
        bench->calibration_failed = (pare_error){0};
        bool done = calibrate(bench, &bench->calibration_failed);
        bench->calibrated = done || bench_is_outcome(bench->calibration_failed.code);
        record->seconds.calibrate = pare_clock_s() - begin;
    }
    if (bench->calibration_failed.code != PARE_OK)
        *error = bench->calibration_failed;
    return bench->calibration_failed.code == PARE_OK;
}

/* The slot with the scores of a method and seed, or NULL with the error of the time they were made. */
static bench_scores *ensure_scores(pare_run_record *record, study_bench *bench, const pare_run *run, pare_error *error) {
    uint64_t seed = run->method->stochastic ? run->seed : 0;
    bench_scores *slot = bench->scores;
    while (slot < bench->scores + BENCH_SCORES && (slot->method != run->method || slot->seed != seed))
        slot++;
    if (slot == bench->scores + BENCH_SCORES) {
        slot = &bench->scores[bench->n_scores++ % BENCH_SCORES];
        pare_scores_free(&slot->scores);
        pare_sensitivity_free(&slot->sensitivity);
        *slot = (bench_scores){.method = run->method, .seed = seed};
        pare_context context = study_progress_context(bench->progress);
        const pare_calibration *calibration = run->method->calibrated ? &bench->calibration : NULL;
        double begin = pare_clock_s();
        if (!pare_score(&slot->scores, run->method, bench->subject.checkpoint, calibration, seed, &context, &slot->problem) &&
            !bench_is_outcome(slot->problem.code))
            slot->method = NULL; /* an interruption is no outcome: score again */
        record->seconds.score = pare_clock_s() - begin;
    }
    if (slot->problem.code != PARE_OK)
        *error = slot->problem;
    return slot->problem.code == PARE_OK ? slot : NULL;
}

/* Measured once, in vain too: its costs hold for every ratio. */
static bool ensure_sensitivity(pare_run_record *record, bench_scores *slot, const study_bench *bench, const pare_run *run,
                               const pare_plan *plan, pare_error *error) {
    if (!slot->sensitivity.cost && slot->sensitivity_problem.code == PARE_OK) {
        double begin = pare_clock_s();
        pare_error problem = {0};
        bool done = study_sensitivity(slot, bench, run, plan, &problem);
        record->seconds.score += pare_clock_s() - begin;
        if (!done && error)
            *error = problem;
        if (!done && bench_is_outcome(problem.code))
            slot->sensitivity_problem = problem; /* an interruption is no outcome: measure again */
        return done;
    }
    if (!slot->sensitivity.cost && error)
        *error = slot->sensitivity_problem;
    return slot->sensitivity.cost != NULL;
}

static bool make_plan(pare_plan *plan, pare_run_record *record, bench_scores *slot, const study_bench *bench, const pare_run *run,
                      pare_error *error) {
    if (!pare_plan_make(plan, run->method->unit, &bench->subject.checkpoint->config, run->ratio, run->multiple, error))
        return false;
    switch (run->allocation) {
    case PARE_ALLOCATION_GLOBAL: return pare_plan_allocate_global(plan, &slot->scores, error);
    case PARE_ALLOCATION_SENSITIVITY:
        return ensure_sensitivity(record, slot, bench, run, plan, error) && pare_plan_allocate_sensitivity(plan, &slot->sensitivity, error);
    default: return true;
    }
}

static void fill_result(pare_run_record *record, const pare_eval_result *result) {
    record->evaluation.tokens_scored = result->tokens_scored;
    record->cross_entropy = result->cross_entropy;
    record->cross_entropy_error = result->cross_entropy_error;
    record->perplexity = result->perplexity;
    record->perplexity_error = result->perplexity_error;
    record->seconds.evaluate = result->seconds;
    record->tokens_per_s = result->tokens_per_s;
}

static void fill_achieved(pare_run_record *record, const study_bench *bench, const pare_cut *cut) {
    pare_achieved achieved = {0};
    if (cut)
        achieved = pare_cut_achieved(cut, bench->subject.checkpoint);
    record->removed.parameters = achieved.parameters;
    record->removed.non_embedding = achieved.non_embedding;
    record->removed.bytes = achieved.bytes;
    record->removed.macs = achieved.macs;
}

static bool evaluate(pare_run_record *record, study_bench *bench, const pare_run *run, const pare_model *model, pare_error *error) {
    bench->progress->work = run->work - run->recovery_work;
    pare_context context = study_progress_context(bench->progress);
    pare_eval_result result;
    bool done = pare_eval_run(&result, model, &bench->subject.text, bench->subject.n_windows, NULL, &context, error);
    if (done)
        fill_result(record, &result);
    else
        pare_checkpoint_blame(bench->subject.checkpoint, &context, error);
    return done;
}

/* ---- recovery ---- */

static pare_tune_options recovery_options(const pare_spec *spec, const pare_run *run) {
    pare_tune_options o = spec->recovery.tune;
    o.full = run->recovery == PARE_RECOVERY_FULL;
    o.steps = study_recovery_steps(&spec->recovery, run->recovery_tokens);
    o.warmup = pare_tune_warmup(o.steps);
    o.seed = spec->seeds[0];
    return o;
}

static void fill_recovery(pare_run_record *record, const pare_tune_result *result) {
    uint64_t last = result->steps / 10 ? result->steps / 10 : 1;
    record->recovery.loss = pare_tune_mean_loss(result, result->steps - last, last);
    record->recovery_tokens = (double)result->tokens;
    record->seconds.recover = result->seconds;
}

static bool train(pare_run_record *record, study_bench *bench, const pare_run *run, pare_tuner *tuner, pare_error *error) {
    study_progress *progress = bench->progress;
    progress->work = run->recovery_work;
    pare_context context = study_progress_context(progress);
    static const pare_tune_run_options plain = {0};
    pare_tune_result result;
    bool done = pare_tune_run(&result, tuner, bench->data, &plain, &context, error);
    if (done)
        fill_recovery(record, &result);
    pare_tune_result_free(&result);
    progress->done += progress->work; /* until the run is over: recover takes it back */
    return done;
}

/* The data are read when the study is opened and again here: they must not have changed between. */
static bool open_data(study_bench *bench, pare_error *error) {
    const pare_study *study = bench->study;
    pare_context context = study_progress_context(bench->progress);
    if (bench->data)
        return true;
    if (!(bench->data = study_subject_data(&bench->subject, study->spec, &context, error)))
        return false;
    return strcmp(pare_dataset_facts_of(bench->data)->sha256.hex, study->inner->models[bench->model].recovery.hex) == 0 ||
           pare_fail(error, PARE_ERROR_CONFLICT, "%s: the recovery data were changed while the study ran; start it again",
                     study->spec->path);
}

/* What the machine cannot hold is an outcome of the run, and told before it is tried. */
static bool check_memory(const study_bench *bench, const pare_tune_options *options, const pare_cut *cut, const pare_checkpoint *teacher,
                         const pare_context *context, pare_error *error) {
    pare_tune_memory memory;
    double machine = pare_memory_machine();
    if (!pare_tune_plan(&memory, options, bench->subject.checkpoint, cut, teacher, context, error))
        return false;
    return (double)memory.total <= machine ||
           pare_fail(error, PARE_ERROR_RANGE, "recovery needs %.1f GiB, the machine has %.1f: a smaller seq, or lora instead of full",
                     (double)memory.total / 0x1p30, machine / 0x1p30);
}

/* The cut, trained, then measured as it is in memory: adapters are not merged. */
static bool recover(pare_run_record *record, study_bench *bench, const pare_run *run, const pare_cut *cut, pare_error *error) {
    pare_context context = study_progress_context(bench->progress);
    const pare_checkpoint *dense = bench->subject.checkpoint, *teacher = run->recovery == PARE_RECOVERY_DISTILLATION ? dense : NULL;
    pare_tune_options options = recovery_options(bench->study->spec, run);
    double before = bench->progress->done;
    if (!open_data(bench, error) || !check_memory(bench, &options, cut, teacher, &context, error))
        return false;
    pare_tuner *tuner = pare_tuner_open(&options, dense, cut, teacher, &context, error);
    bool done = tuner && train(record, bench, run, tuner, error) && evaluate(record, bench, run, pare_tuner_model(tuner), error);
    bench->progress->done = before;
    pare_tuner_close(tuner);
    return done;
}

/* cut NULL: the dense model. */
static bool measure(pare_run_record *record, study_bench *bench, const pare_run *run, const pare_cut *cut, double begin,
                    pare_error *error) {
    fill_achieved(record, bench, cut);
    if (run->recovery_tokens) {
        record->seconds.cut = pare_clock_s() - begin;
        return recover(record, bench, run, cut, error);
    }
    pare_model *model = pare_model_open(bench->subject.checkpoint, cut, error);
    record->seconds.cut = pare_clock_s() - begin;
    bool done = model && evaluate(record, bench, run, model, error);
    pare_model_close(model);
    return done;
}

bool bench_refuse(const study_bench *bench, pare_error *error) {
    return pare_fail(error, bench->dense_failed.code, "not measured: the dense model failed: %.900s", bench->dense_failed.message);
}

bool bench_measure(pare_run_record *record, study_bench *bench, const pare_run *run, pare_error *error) {
    record->seconds.open = bench->seconds_open;
    record->seconds.calibrate = record->seconds.score = record->seconds.cut = record->seconds.recover = record->seconds.evaluate = 0;
    bench->seconds_open = 0;
    if (!run->method)
        return measure(record, bench, run, NULL, pare_clock_s(), error);
    if (bench->dense_failed.code != PARE_OK)
        return bench_refuse(bench, error);
    if (study_run_calibrated(run) && !ensure_calibration(record, bench, error))
        return false;
    bench_scores *slot = ensure_scores(record, bench, run, error);
    pare_plan plan = {0};
    if (!slot || !make_plan(&plan, record, slot, bench, run, error))
        return false;
    double begin = pare_clock_s();
    pare_context context = study_progress_context(bench->progress);
    const pare_calibration *calibration = run->method->calibrated ? &bench->calibration : NULL;
    const pare_checkpoint *checkpoint = bench->subject.checkpoint;
    pare_cut *cut = pare_method_cut(run->method, checkpoint, calibration, &slot->scores, &plan, &context, error);
    bool done = cut && measure(record, bench, run, cut, begin, error);
    pare_cut_close(cut);
    pare_plan_free(&plan);
    return done;
}
