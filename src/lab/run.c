/* run: walks a study's runs, claims those that the ledger lacks, measures them, and records each before the next begins. Other workers
 * may do the same at the same ledger: see worker.h. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

/* What this call knows of a run. */
typedef struct {
    uint32_t attempt; /* the ledger's latest when the call began; 0: none */
    bool planned;     /* missing when the call began, or failed and to be tried again */
    bool settled;     /* recorded, by whomever, and counted */
    bool visited;     /* counted in n_visited */
} run_state;

typedef struct {
    const pare_study *study;
    const pare_study_options *options;
    pare_study_summary *summary;
    pare_store *store;
    study_worker worker;
    pare_arena *arena; /* of the whole call */
    const char *processor;
    run_state *states; /* (n_runs) */
    size_t n_planned, n_visited;
    study_progress progress;
    study_bench bench;  /* of the model at hand */
    pare_claim waiting; /* who has the run that could not be claimed last; n_taken: how many there were since the last pause */
    size_t n_taken;
} runner;

/* ---- plan ---------------------------------------------------------------------------------- */

/* The ledger's latest attempt of a run, into a scratch arena; *wanted: it is missing, or failed before this call and to be tried again. */
static bool look_up(pare_run_record *record, bool *found, bool *wanted, runner *r, size_t i, pare_arena *scratch, pare_error *error) {
    if (!pare_store_find(record, found, r->store, r->study->runs[i].key.hex, scratch, error))
        return false;
    *wanted = !*found || (record->status == PARE_RUN_FAILED && r->options->retry_failed && record->attempt <= r->states[i].attempt);
    return true;
}

static bool plan_run(runner *r, size_t i, pare_error *error) {
    run_state *state = &r->states[i];
    pare_run_record record;
    bool found = false;
    pare_arena *scratch = pare_arena_open(error);
    state->attempt = UINT32_MAX;
    bool done = scratch && look_up(&record, &found, &state->planned, r, i, scratch, error);
    state->attempt = done && found ? record.attempt : 0;
    pare_arena_close(scratch);
    return done;
}

/* How many of the runs are computed by others just now. */
static bool count_claimed(size_t *n, const runner *r, pare_error *error) {
    pare_claim *claims;
    size_t n_claims;
    pare_arena *scratch = pare_arena_open(error);
    bool done = scratch && pare_store_claims(&claims, &n_claims, r->store, scratch, error);
    *n = 0;
    for (size_t c = 0; done && c < n_claims; c++)
        for (size_t i = 0, end = study_claim_is_dead(&claims[c]) ? 0 : r->study->n_runs; i < end; i++)
            *n += r->states[i].planned && strcmp(claims[c].key, r->study->runs[i].key.hex) == 0;
    pare_arena_close(scratch);
    return done;
}

/* The work ahead, so that done / total says how much of this call is over. A model is calibrated when a calibrated run is missing. */
static bool plan(runner *r, pare_error *error) {
    const pare_study *study = r->study;
    size_t calibrated = SIZE_MAX; /* the model whose calibration is counted already */
    pare_study_outlook outlook = {.n_total = study->n_runs};
    if (!(r->states = PARE_PUSH(r->arena, run_state, study->n_runs, error)))
        return false;
    for (size_t i = 0; i < study->n_runs; i++) {
        const pare_run *run = &study->runs[i];
        if (!plan_run(r, i, error))
            return false;
        outlook.n_retried += r->states[i].planned && r->states[i].attempt;
        if (!r->states[i].planned)
            continue;
        r->n_planned++;
        r->progress.total += run->work;
        if (study_run_calibrated(run) && calibrated != run->model) {
            calibrated = run->model;
            r->progress.total += bench_calibration_work(study, run->model);
        }
    }
    outlook.n_present = study->n_runs - r->n_planned;
    if (!count_claimed(&outlook.n_claimed, r, error))
        return false;
    if (r->options->planned)
        r->options->planned(r->options->user, &outlook);
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

/* The run is in the ledger: it is counted once. */
static void settle(runner *r, size_t i, size_t *count) {
    r->states[i].settled = true;
    ++*count;
}

/* Another worker may have measured the run all the same, when this one's lease was over: the row that came first stays. */
static bool insert(runner *r, size_t i, const pare_run_record *record, pare_error *error) {
    const pare_run *run = &r->study->runs[i];
    pare_study_summary *summary = r->summary;
    pare_error problem = {0};
    if (pare_store_insert(r->store, record, &problem)) {
        settle(r, i, record->status == PARE_RUN_DONE ? &summary->n_done : &summary->n_failed);
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
        settle(r, i, &summary->n_present);
        summary->n_others++;
        keep_dense(&r->bench, run, &other);
        problem.code = PARE_OK;
    }
    pare_arena_close(scratch);
    if (problem.code != PARE_OK && error)
        *error = problem;
    return problem.code == PARE_OK;
}

static bool pause_for_others(runner *r, pare_error *error) {
    char stage[sizeof r->progress.label];
    snprintf(stage, sizeof stage, "waiting for %zu run%s that process %lld computes", r->n_taken, r->n_taken == 1 ? "" : "s",
             (long long)r->waiting.pid);
    r->n_taken = 0;
    return study_pause(&r->progress, stage, error);
}

static bool visit(bool *computed, runner *r, size_t i, pare_error *error);

/* L0 of the model at hand: another worker may have its run. A row of another run is written once and for all, so that it waits. */
static bool await_dense(runner *r, size_t i, pare_error *error) {
    size_t dense = i;
    while (r->study->runs[dense].method)
        dense--;
    for (bool computed; isnan(r->bench.dense) && r->bench.dense_failed.code == PARE_OK;) {
        if (!visit(&computed, r, dense, error))
            return false;
        if (isnan(r->bench.dense) && r->bench.dense_failed.code == PARE_OK && !pause_for_others(r, error))
            return false;
    }
    return true;
}

static void record_failure(pare_run_record *record, const pare_error *problem) {
    record->status = PARE_RUN_FAILED;
    record->reason_code = pare_code_name(problem->code);
    record->reason = problem->message;
}

/* The run's number, or that it has none; false with *error: neither, so that the study stops. */
static bool measure(pare_run_record *record, runner *r, size_t i, pare_error *problem, pare_error *error) {
    const pare_run *run = &r->study->runs[i];
    bool done = bench_measure(record, &r->bench, run, problem);
    if (!done && !bench_is_outcome(problem->code)) {
        if (error)
            *error = *problem;
        return false;
    }
    r->progress.done += run->work;
    r->progress.work = 0;
    record->peak_mib = pare_memory_peak_mib();
    if (run->method && !await_dense(r, i, error))
        return false;
    if (done && run->method && r->bench.dense_failed.code != PARE_OK)
        done = bench_refuse(&r->bench, problem);
    if (!done)
        record_failure(record, problem);
    record->dense_cross_entropy = run->method ? r->bench.dense : record->cross_entropy;
    return true;
}

static bool run_one(runner *r, size_t i, uint32_t attempt, pare_error *error) {
    char started[STUDY_TIME_BYTES], finished[STUDY_TIME_BYTES];
    pare_error problem = {0};
    pare_run_record record;
    study_time_now(started);
    pare_memory_peak_restart(); /* a run's peak is its own, not that of a larger one before it */
    if (!bench_open(&r->bench, error))
        return false;
    study_record_begin(&record, r->study, &r->study->runs[i], &r->bench.subject, r->processor, r->progress.outer);
    record.attempt = attempt;
    record.started = started;
    if (!measure(&record, r, i, &problem, error))
        return false;
    study_time_now(finished);
    record.finished = finished;
    return insert(r, i, &record, error);
}

/* Asks the ledger, and settles the run when it is there. *wanted: it is not, and its next attempt is *attempt. */
static bool ask(bool *wanted, uint32_t *attempt, runner *r, size_t i, pare_error *error) {
    const pare_run *run = &r->study->runs[i];
    run_state *state = &r->states[i];
    pare_run_record record;
    bool found = false;
    pare_arena *scratch = pare_arena_open(error);
    bool done = scratch && look_up(&record, &found, wanted, r, i, scratch, error);
    if (done && !*wanted) {
        keep_dense(&r->bench, run, &record);
        if (!state->settled && state->planned)
            r->progress.done += run->work; /* by another worker, in the same time */
        if (!state->settled) {
            r->summary->n_others += state->planned;
            settle(r, i, &r->summary->n_present);
        }
    }
    *attempt = done && found ? record.attempt + 1 : 1;
    pare_arena_close(scratch);
    return done;
}

/* The ledger is asked again when the claim is ours: another worker may have recorded the run meanwhile. */
static bool visit(bool *computed, runner *r, size_t i, pare_error *error) {
    const char *key = r->study->runs[i].key.hex;
    bool wanted, mine;
    uint32_t attempt;
    *computed = false;
    if (!ask(&wanted, &attempt, r, i, error))
        return false;
    if (wanted) {
        if (!pare_context_check(r->progress.outer, error) || !study_worker_claim(&mine, &r->waiting, &r->worker, r->store, key, error))
            return false;
        r->n_taken += !mine;
        if (!mine)
            return true;
        if (!ask(&wanted, &attempt, r, i, error))
            return false;
        if (!wanted && !pare_store_release(r->store, key, &r->worker.self, error))
            return false;
    }
    r->n_visited += r->states[i].planned && !r->states[i].visited;
    r->states[i].visited = true;
    if (!wanted)
        return true;
    *computed = true;
    label_run(r, &r->study->runs[i]);
    return run_one(r, i, attempt, error);
}

/* ---- the study ----------------------------------------------------------------------------- */

/* Whether another worker computes a run of this model just now. */
static bool is_shared(bool *shared, const runner *r, size_t first, size_t end, pare_error *error) {
    pare_claim *claims;
    size_t n;
    *shared = false;
    pare_arena *scratch = pare_arena_open(error);
    bool done = scratch && pare_store_claims(&claims, &n, r->store, scratch, error);
    for (size_t c = 0; done && c < n && !*shared; c++)
        for (size_t i = first; i < end && !*shared; i++)
            *shared = strcmp(claims[c].key, r->study->runs[i].key.hex) == 0 && !study_claim_is_dead(&claims[c]);
    pare_arena_close(scratch);
    return done;
}

/* The runs [first, end) of one model that nobody else has. Beside another worker those come first that need no calibration: so it is done
 * twice only when there is nothing else to do. */
static bool work_model(bool *computed, runner *r, size_t first, size_t end, bool shared, pare_error *error) {
    bool done = true, one;
    bench_begin(&r->bench, r->study, r->study->runs[first].model, r->store, &r->worker, &r->progress);
    for (int all = shared ? 0 : 1; done && all < 2; all++)
        for (size_t i = first; done && i < end; i++) {
            bool settled = r->states[i].settled && i != first; /* the dense run is asked again: the bench needs L0 */
            if (settled || (!all && study_run_calibrated(&r->study->runs[i])))
                continue;
            done = visit(&one, r, i, error);
            *computed = *computed || one;
        }
    bench_end(&r->bench);
    return done;
}

static bool is_over(const runner *r, size_t first, size_t end) {
    bool over = true;
    for (size_t i = first; i < end; i++)
        over = over && r->states[i].settled;
    return over;
}

/* One walk through the models with runs to do; with `alone` through those on which no other worker is. */
static bool walk(bool *computed, runner *r, bool alone, pare_error *error) {
    const pare_study *study = r->study;
    r->n_taken = 0;
    for (size_t first = 0, end; first < study->n_runs; first = end) {
        bool shared = false;
        for (end = first + 1; end < study->n_runs && study->runs[end].model == study->runs[first].model;)
            end++;
        if (is_over(r, first, end))
            continue;
        if (!is_shared(&shared, r, first, end, error))
            return false;
        if (!(alone && shared) && !work_model(computed, r, first, end, shared, error))
            return false;
    }
    return true;
}

/* Until every run is in the ledger: what others compute is waited for, and taken over when they die. */
static bool run_all(runner *r, pare_error *error) {
    bool done = plan(r, error);
    while (done && !is_over(r, 0, r->study->n_runs)) {
        bool computed = false;
        done = walk(&computed, r, true, error) && walk(&computed, r, false, error) &&
               (computed || is_over(r, 0, r->study->n_runs) || pause_for_others(r, error));
    }
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
    bool done = r.store && study_worker_begin(&r.worker, ledger, error);
    if (done) {
        r.processor = study_processor(r.arena);
        done = run_all(&r, error);
        study_worker_end(&r.worker);
    }
    pare_store_close(r.store);
    pare_arena_close(r.arena);
    summary->seconds = pare_clock_s() - begin;
    return done;
}
