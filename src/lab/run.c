/* run: walks a study's runs, measures those that the ledger lacks, and records each before the next begins. */
#include <stdio.h>
#include <string.h>

#include "bench.h"

typedef struct {
    const pare_study *study;
    const pare_study_options *options;
    pare_study_summary *summary;
    pare_store *store;
    pare_arena *arena; /* of the whole call */
    const char *processor;
    bool *planned; /* (n_runs): missing when the call began */
    size_t n_planned, n_visited;
    study_progress progress;
    study_bench bench; /* of the model at hand */
} runner;

/* ---- plan ---------------------------------------------------------------------------------- */

/* The ledger's latest attempt of a run, into a scratch arena; *wanted: it is missing, or failed and to be tried again. */
static bool look_up(pare_run_record *record, bool *found, bool *wanted, runner *r, const pare_run *run, pare_arena *scratch,
                    pare_error *error) {
    if (!pare_store_find(record, found, r->store, run->key.hex, scratch, error))
        return false;
    *wanted = !*found || (record->status == PARE_RUN_FAILED && r->options->retry_failed);
    return true;
}

/* The work ahead, so that done / total says how much of this call is over. A model is calibrated when a calibrated run is missing. */
static bool plan(runner *r, pare_error *error) {
    const pare_study *study = r->study;
    size_t calibrated = SIZE_MAX; /* the model whose calibration is counted already */
    if (!(r->planned = PARE_PUSH(r->arena, bool, study->n_runs, error)))
        return false;
    for (size_t i = 0; i < study->n_runs; i++) {
        const pare_run *run = &study->runs[i];
        pare_run_record record;
        bool found, done;
        pare_arena *scratch = pare_arena_open(error);
        done = scratch && look_up(&record, &found, &r->planned[i], r, run, scratch, error);
        pare_arena_close(scratch);
        if (!done)
            return false;
        if (!r->planned[i])
            continue;
        r->n_planned++;
        r->progress.total += run->work;
        if (study_run_calibrated(run) && calibrated != run->model) {
            calibrated = run->model;
            r->progress.total += bench_calibration_work(study, run->model);
        }
    }
    return true;
}

/* "3/21 SmolLM random r=0.2 seed 7 lora 100352": model and seed only where there are several. */
static void label_run(runner *r, const pare_run *run) {
    const pare_spec *spec = r->study->spec;
    char model[80] = "", place[80] = "", recovery[48] = "";
    if (spec->n_models > 1)
        snprintf(model, sizeof model, " %.70s", spec->models[run->model].name);
    if (run->method && run->method->stochastic && spec->n_seeds > 1)
        snprintf(place, sizeof place, " r=%g seed %llu", run->ratio, (unsigned long long)run->seed);
    else if (run->method)
        snprintf(place, sizeof place, " r=%g", run->ratio);
    if (run->recovery_tokens)
        snprintf(recovery, sizeof recovery, " %s %llu", pare_recovery_name(run->recovery), (unsigned long long)run->recovery_tokens);
    snprintf(r->progress.label, sizeof r->progress.label, "%zu/%zu%s %s%s%s", r->n_visited, r->n_planned, model, pare_run_method(run),
             place, recovery);
}

/* ---- one run ------------------------------------------------------------------------------- */

static pare_code code_of(const char *name) {
    pare_code code = PARE_ERROR_MEMORY;
    while (code < PARE_ERROR_USAGE && name && strcmp(pare_code_name(code), name) != 0)
        code++;
    return code;
}

/* What the dense model gave, now or earlier: L0 of all others. */
static void keep_dense(study_bench *bench, const pare_run *run, const pare_run_record *record) {
    if (run->method)
        return;
    if (record->status == PARE_RUN_DONE)
        bench->dense = record->cross_entropy;
    else
        pare_fail(&bench->dense_failed, code_of(record->reason_code), "%s", record->reason ? record->reason : "for no reason told");
}

/* Two processes may have measured the same run: the row that came first stays. */
static bool insert(runner *r, const pare_run *run, const pare_run_record *record, pare_error *error) {
    pare_study_summary *summary = r->summary;
    pare_error problem = {0};
    if (pare_store_insert(r->store, record, &problem)) {
        *(record->status == PARE_RUN_DONE ? &summary->n_done : &summary->n_failed) += 1;
        keep_dense(&r->bench, run, record);
        if (r->options->recorded)
            r->options->recorded(r->options->user, record);
        return true;
    }
    pare_arena *scratch = pare_arena_open(NULL);
    pare_run_record other;
    bool found = false;
    if (scratch && problem.code == PARE_ERROR_CONFLICT && pare_store_find(&other, &found, r->store, record->key, scratch, NULL) && found &&
        other.attempt >= record->attempt) {
        summary->n_present++;
        keep_dense(&r->bench, run, &other);
        problem.code = PARE_OK;
    }
    pare_arena_close(scratch);
    if (problem.code != PARE_OK && error)
        *error = problem;
    return problem.code == PARE_OK;
}

static bool run_one(runner *r, const pare_run *run, uint32_t attempt, pare_error *error) {
    char started[STUDY_TIME_BYTES], finished[STUDY_TIME_BYTES];
    pare_error problem = {0};
    pare_run_record record;
    study_time_now(started);
    pare_memory_peak_restart(); /* a run's peak is its own, not that of a larger one before it */
    if (!bench_open(&r->bench, error))
        return false;
    study_record_begin(&record, r->study, run, &r->bench.subject, r->processor, r->progress.outer);
    record.attempt = attempt;
    record.started = started;
    if (!bench_measure(&record, &r->bench, run, &problem)) {
        if (!bench_is_outcome(problem.code)) {
            if (error)
                *error = problem;
            return false;
        }
        record.status = PARE_RUN_FAILED;
        record.reason_code = pare_code_name(problem.code);
        record.reason = problem.message;
    }
    r->progress.done += run->work;
    r->progress.work = 0;
    record.dense_cross_entropy = run->method ? r->bench.dense : record.cross_entropy;
    record.peak_mib = pare_memory_peak_mib();
    study_time_now(finished);
    record.finished = finished;
    return insert(r, run, &record, error);
}

/* The ledger is asked again right before the run: another process may have been here meanwhile. */
static bool visit(runner *r, size_t i, pare_error *error) {
    const pare_run *run = &r->study->runs[i];
    pare_run_record record;
    bool found = false, wanted = false;
    pare_arena *scratch = pare_arena_open(error);
    bool done = scratch && look_up(&record, &found, &wanted, r, run, scratch, error);
    if (done && !wanted) {
        r->summary->n_present++;
        keep_dense(&r->bench, run, &record);
        if (r->planned[i])
            r->progress.total -= run->work;
    }
    uint32_t attempt = found ? record.attempt + 1 : 1;
    pare_arena_close(scratch);
    r->n_visited += r->planned[i];
    if (!done || !wanted)
        return done;
    label_run(r, run);
    return pare_context_check(r->progress.outer, error) && run_one(r, run, attempt, error);
}

/* ---- the study ----------------------------------------------------------------------------- */

static bool run_all(runner *r, pare_error *error) {
    const pare_study *study = r->study;
    bool done = plan(r, error);
    for (size_t i = 0; done && i < study->n_runs; i++) {
        if (i == 0 || study->runs[i].model != study->runs[i - 1].model) {
            bench_end(&r->bench);
            bench_begin(&r->bench, study, study->runs[i].model, &r->progress);
        }
        done = visit(r, i, error);
    }
    bench_end(&r->bench);
    if (done && r->n_planned)
        pare_context_progress(r->progress.outer, "done", r->progress.total, r->progress.total);
    return done;
}

bool pare_study_run(pare_study_summary *summary, const pare_study *study, const pare_study_options *options, const pare_context *context,
                    pare_error *error) {
    static const pare_study_options defaults = {0};
    double begin = pare_clock_s();
    *summary = (pare_study_summary){.n_total = study->n_runs};
    runner r = {.study = study, .options = options ? options : &defaults, .summary = summary, .progress = {.outer = context}};
    const char *ledger = r.options->ledger ? r.options->ledger : study->spec->ledger;
    r.arena = pare_arena_open(error);
    r.store = r.arena ? pare_store_open(ledger, PARE_STORE_CREATE, error) : NULL;
    bool done = r.store != NULL;
    if (done) {
        r.processor = study_processor(r.arena);
        done = run_all(&r, error);
    }
    pare_store_close(r.store);
    pare_arena_close(r.arena);
    summary->seconds = pare_clock_s() - begin;
    return done;
}
