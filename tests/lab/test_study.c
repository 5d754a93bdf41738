/* Studies from end to end on tiny models: the numbers of another program, resuming, kill -9, failures, Ctrl-C. */
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <sqlite3.h>

#include "lab_test.h"
#include "worker.h"

static pare_study *open_study(const char *path) {
    pare_error error = {0};
    pare_study *study = pare_study_open(path, NULL, &error);
    assert_done(study, error);
    return study;
}

static pare_study_summary run_study(const pare_study *study, const pare_study_options *options) {
    pare_error error = {0};
    pare_study_summary summary;
    assert_done(pare_study_run(&summary, study, options, NULL, &error), error);
    assert_int_equal(summary.n_total, study->n_runs);
    assert_int_equal(summary.n_present + summary.n_done + summary.n_failed, summary.n_total);
    return summary;
}

static pare_study_state status_of(const pare_study *study, pare_arena *arena) {
    pare_error error = {0};
    pare_study_state state;
    assert_done(pare_study_status(&state, study, NULL, arena, &error), error);
    return state;
}

static pare_store_counts count_ledger(const char *path) {
    pare_error error = {0};
    pare_store_counts counts;
    pare_store *store = pare_store_open(path, PARE_STORE_READ, &error);
    assert_done(store, error);
    assert_done(pare_store_count(&counts, store, &error), error);
    pare_store_close(store);
    return counts;
}

/* Seven runs of one model. */
static pare_study *small_study(const char *folder, const char *name, const char *more) {
    return open_study(write_spec(folder, name,
                                 "models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                                 "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 2, length: 32}\n"
                                 "methods: [random, wanda-sp]\nratios: [0.25, 0.5, 0.75]\nmultiple: 8\n%s",
                                 more));
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* tools/fixtures/lab_reference.py: models of three architectures, two methods, two ratios, computed by transformers. */
static void agrees_with_transformers(void **state) {
    (void)state;
    char *folder = test_folder();
    FILE *file = fopen(PARE_FIXTURES "/reference.txt", "r");
    int length = 0, n_lines = 0;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "calibration %d", &length), 1);
    pare_study *study = open_study(write_spec(folder, "s.yaml",
                                              "models: [" TINY "qwen2, " TINY "llama3, " TINY "mistral]\n"
                                              "evaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64, windows: 3}\n"
                                              "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 1, length: %d}\n"
                                              "methods: [magnitude, wanda-sp]\nratios: [0.25, 0.5]\nmultiple: 8\n",
                                              length));
    run_study(study, NULL);
    pare_arena *arena = pare_arena_open(NULL);
    pare_study_state s = status_of(study, arena);
    assert_int_equal(s.n_done, 15);
    char model[32], method[32];
    double ratio, cross_entropy;
    unsigned kept;
    for (; fscanf(file, "%31s %31s %lf %u %lf", model, method, &ratio, &kept, &cross_entropy) == 5; n_lines++) {
        size_t at = study->n_runs;
        for (size_t i = 0; i < study->n_runs; i++) {
            const pare_run_record *r = s.records[i];
            if (strcmp(r->model.name, model) == 0 && strcmp(r->method, method) == 0 && r->ratio == ratio)
                at = i;
        }
        assert_true(at < study->n_runs);
        const pare_run_record *found = s.records[at];
        assert_int_equal(found->kept_width, kept);
        if (!(fabs(found->cross_entropy - cross_entropy) < 2e-5))
            fail_msg("%s %s %g: %.7f, transformers has %.7f", model, method, ratio, found->cross_entropy, cross_entropy);
    }
    assert_int_equal(n_lines, 15);
    fclose(file);
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

/* The plan of a run; the calibration is the study's: 2 windows of 64, seed 0. */
static void plan_of(pare_plan *plan, const pare_run *run, const pare_checkpoint *checkpoint, const pare_scores *scores, const char *path) {
    pare_error error = {0};
    pare_corpus corpus;
    pare_windows windows;
    pare_calibration calibration;
    pare_sensitivity sensitivity;
    assert_done(pare_plan_make(plan, run->method->unit, &checkpoint->config, run->ratio, run->multiple, &error), error);
    if (run->allocation == PARE_ALLOCATION_GLOBAL)
        assert_done(pare_plan_allocate_global(plan, scores, &error), error);
    if (run->allocation != PARE_ALLOCATION_SENSITIVITY)
        return;
    assert_done(pare_corpus_open(&corpus, path, checkpoint->tokenizer, NULL, &error) &&
                    pare_windows_sample(&windows, &corpus, path, checkpoint->tokenizer, 2, 64, 0, &error) &&
                    pare_calibrate(&calibration, checkpoint, &windows, false, NULL, &error) &&
                    pare_sensitivity_measure(&sensitivity, plan, run->method, scores, checkpoint, &calibration, NULL, &error) &&
                    pare_plan_allocate_sensitivity(plan, &sensitivity, &error),
                error);
    pare_sensitivity_free(&sensitivity);
    pare_calibration_free(&calibration);
    pare_windows_free(&windows);
    pare_corpus_close(&corpus);
}

/* The same number by the layers below, one step after another. */
static double cross_entropy_of(const pare_run *run, const char *model_path, const char *text_path) {
    pare_error error = {0};
    pare_protocol protocol;
    pare_eval_text text;
    pare_scores scores;
    pare_cut *cut = NULL;
    pare_plan plan;
    pare_eval_result result;
    pare_checkpoint *checkpoint = pare_checkpoint_open(model_path, &error);
    assert_done(checkpoint && pare_protocol_parse(&protocol, "joined64", &error) &&
                    pare_eval_text_open(&text, &protocol, text_path, checkpoint->tokenizer, NULL, &error) &&
                    pare_score(&scores, run->method, checkpoint, NULL, run->seed, NULL, &error),
                error);
    plan_of(&plan, run, checkpoint, &scores, text_path);
    assert_done(cut = pare_cut_make(&checkpoint->config, &scores, &plan, &error), error);
    pare_model *model = pare_model_open(checkpoint, cut, &error);
    assert_done(model && pare_eval_run(&result, model, &text, 0, NULL, NULL, &error), error);
    pare_model_close(model);
    pare_cut_close(cut);
    pare_plan_free(&plan);
    pare_scores_free(&scores);
    pare_eval_text_close(&text);
    pare_checkpoint_close(checkpoint);
    return result.cross_entropy;
}

static void a_seed_is_a_draw(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study = open_study(write_spec(folder, "s.yaml",
                                              "models: [" TINY "qwen2]\nmethods: [random]\nratios: [0.5]\nmultiple: 8\n"
                                              "evaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                                              "seeds: [20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]\n"));
    run_study(study, NULL);
    pare_arena *arena = pare_arena_open(NULL);
    pare_study_state s = status_of(study, arena);
    for (size_t i = 1; i < study->n_runs; i++) {
        assert_int_equal(s.records[i]->seed, 21 - i);
        assert_true(s.records[i]->cross_entropy == cross_entropy_of(&study->runs[i], TINY "qwen2", PARE_FIXTURES "/test.txt"));
        assert_true(i == 1 || s.records[i]->cross_entropy != s.records[i - 1]->cross_entropy);
    }
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

/* Other counts for other layers: rows of their own, with the number that the layers below give; costs that one ratio has measured serve
 * the next. */
static void allocations_are_methods(void **state) {
    (void)state;
    static const char family[] = PARE_SOURCE_DIR "/models/pare-llama-139k", text[] = PARE_SOURCE_DIR "/tests/eval/fixtures/text.txt";
    static const pare_allocation wanted[] = {PARE_ALLOCATION_UNIFORM, PARE_ALLOCATION_GLOBAL, PARE_ALLOCATION_SENSITIVITY};
    static const char *const names[] = {"magnitude", "magnitude (global)", "magnitude (sensitivity)"};
    char *folder = test_folder();
    pare_study *study =
        open_study(write_spec(folder, "s.yaml",
                              "models: [%s]\nratios: [0.3, 0.6]\nmultiple: 8\ncalibrate: {text: %s, windows: 2, length: 64}\n"
                              "methods: [magnitude, {name: magnitude, allocation: global}, {name: magnitude, allocation: sensitivity}]\n"
                              "evaluate: {text: %s, protocol: joined64}\n",
                              family, text, text));
    run_study(study, NULL);
    pare_arena *arena = pare_arena_open(NULL);
    pare_study_state s = status_of(study, arena);
    assert_int_equal(s.n_done, 7);
    for (size_t i = 1; i < 7; i++) {
        const pare_run_record *r = s.records[i];
        size_t kind = (i - 1) % 3;
        assert_string_equal(r->method, names[kind]);
        assert_int_equal(study->runs[i].allocation, wanted[kind]);
        assert_true((r->calibration.text != NULL) == (kind == 2));
        assert_true(kind != 2 || r->cross_entropy != s.records[i - 2]->cross_entropy);
        assert_true(fabs(r->removed.non_embedding - s.records[i - kind]->removed.non_embedding) < 0.02);
        assert_true(r->cross_entropy == cross_entropy_of(&study->runs[i], family, text));
    }
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

static void rows_carry_where_they_come_from(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study = small_study(folder, "s.yaml", "seeds: [3]\n");
    run_study(study, NULL);
    pare_arena *arena = pare_arena_open(NULL);
    pare_study_state s = status_of(study, arena);
    const pare_run_record *dense = s.records[0], *random = s.records[1], *wanda = s.records[2], *last = s.records[6];
    assert_string_equal(dense->method, "dense");
    assert_true(dense->ratio == 0 && dense->multiple == 1 && dense->kept_width == 96 && dense->removed.parameters == 0);
    assert_null(dense->calibration.text);
    assert_true(dense->dense_cross_entropy == dense->cross_entropy && dense->seconds.open > 0);
    assert_string_equal(random->method, "random");
    assert_true(random->seed == 3 && random->multiple == 8 && random->kept_width == 72 && random->dense_width == 96);
    assert_true(random->seconds.open == 0 && random->seconds.calibrate == 0 && random->seconds.evaluate > 0);
    assert_null(random->calibration.sha256);
    assert_string_equal(wanda->calibration.text, PARE_FIXTURES "/calibration.txt");
    assert_int_equal(strlen(wanda->calibration.sha256), 64);
    assert_true(wanda->calibration.n_windows == 2 && wanda->calibration.length == 32 && wanda->seconds.calibrate > 0);
    assert_true(last->seconds.calibrate == 0 && last->seconds.score == 0); /* reused */
    for (size_t i = 0; i < study->n_runs; i++) {
        const pare_run_record *r = s.records[i];
        assert_string_equal(r->key, study->runs[i].key.hex);
        assert_string_equal(r->spec, study->runs[i].spec);
        assert_true(r->dense_cross_entropy == dense->cross_entropy && r->recovery_tokens == 0);
        assert_string_equal(r->model.name, "qwen2");
        assert_string_equal(r->model.architecture, "qwen2");
        assert_true(r->model.n_vocabulary == 320 && r->model.bytes > 0 && r->model.n_parameters > r->model.n_non_embedding);
        assert_string_equal(r->evaluation.protocol, "joined64");
        assert_string_equal(r->evaluation.weight_type, "bf16");
        assert_string_equal(r->evaluation.bos, "none");
        assert_true(r->evaluation.context == 64 && r->evaluation.tokens_scored == 63 * r->evaluation.n_windows);
        assert_true(fabs(r->perplexity - exp(r->cross_entropy)) < 1e-9 * r->perplexity && r->tokens_per_s > 0 && r->peak_mib > 0);
        assert_string_equal(r->version, PARE_VERSION);
        assert_true(r->kernels && r->blas && r->n_threads == 1);
        assert_true(strlen(r->started) == 20 && strcmp(r->started, r->finished) <= 0);
    }
    /* a quarter of the neurons: 3 matrices x 2 layers x 24 neurons x width 64 parameters are gone */
    assert_true(fabs(random->removed.parameters * (double)random->model.n_parameters - 3.0 * 2 * 24 * 64) < 1e-3);
    assert_true(random->removed.non_embedding > random->removed.parameters && random->removed.macs > 0 && random->removed.bytes > 0);
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

/* ---- resuming ------------------------------------------------------------------------------ */

static void count_recorded(void *user, const pare_run_record *record) {
    assert_non_null(record->key);
    ++*(size_t *)user;
}

static void does_only_what_is_missing(void **state) {
    (void)state;
    char *folder = test_folder();
    size_t n = 0;
    pare_study *study = small_study(folder, "s.yaml", "");
    pare_study_options options = {.recorded = count_recorded, .user = &n};
    pare_arena *arena = pare_arena_open(NULL);
    assert_int_equal(status_of(study, arena).n_missing, 7);
    assert_false(pare_path_exists(study->spec->ledger)); /* asking makes none */
    assert_int_equal(run_study(study, &options).n_done, 7);
    assert_int_equal(n, 7);
    pare_study_summary again = run_study(study, &options);
    assert_true(again.n_present == 7 && again.n_others == 0);
    assert_int_equal(n, 7);
    pare_study_close(study);
    /* two more seeds for random: 2 x 3 runs are new; a ledger elsewhere: all are */
    study = small_study(folder, "s.yaml", "seeds: [0, 1, 2]\n");
    assert_int_equal(status_of(study, arena).n_missing, 6);
    again = run_study(study, &options);
    assert_true(again.n_present == 7 && again.n_done == 6);
    options.ledger = in_folder(folder, "other.db");
    assert_int_equal(run_study(study, &options).n_done, 13);
    assert_int_equal(count_ledger(in_folder(folder, "other.db")).n_attempts, 13);
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

/* The child stops dead at its n-th progress call of an evaluation, so that the kill finds a run in flight. */
typedef struct {
    int ready, calls, stop_at;
} hanging;

static void hang(void *user, const char *stage, double done, double total) {
    hanging *h = user;
    (void)done, (void)total;
    if (!strstr(stage, "evaluate") || ++h->calls < h->stop_at)
        return;
    if (write(h->ready, "x", 1) == 1)
        for (;;)
            pause();
}

/* Runs the study in a child that is killed in the middle; false when it came to its end before. */
static bool run_and_kill(const char *spec, int stop_at) {
    int ends[2], status = 0;
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        hanging h = {ends[1], 0, stop_at};
        pare_context context = {.progress = hang, .user = &h};
        pare_study_summary summary;
        close(ends[0]);
        pare_study *study = pare_study_open(spec, NULL, NULL);
        _exit(study && pare_study_run(&summary, study, NULL, &context, NULL) ? 0 : 1);
    }
    close(ends[1]);
    bool hangs = read(ends[0], &byte, 1) == 1;
    close(ends[0]);
    if (hangs)
        kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(hangs ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return hangs;
}

static void kill_loses_the_run_in_flight_at_most(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_arena *arena = pare_arena_open(NULL);
    pare_study *whole = small_study(folder, "whole.yaml", "");
    run_study(whole, NULL);
    pare_study_state wanted = status_of(whole, arena);
    size_t n_kills = 0;
    for (int stop_at = 1; stop_at < 40; stop_at += 3) {
        pare_study *study = small_study(folder, "killed.yaml", "");
        char spec[512];
        snprintf(spec, sizeof spec, "%s", study->spec->path);
        if (!run_and_kill(spec, stop_at)) {
            pare_study_close(study);
            break;
        }
        n_kills++;
        /* each run shows at least two progress calls; those before the one in flight are all there */
        size_t before = status_of(study, arena).n_done;
        assert_true(before <= (size_t)stop_at / 2 && status_of(study, arena).n_missing == 7 - before);
        if (stop_at > 20)
            assert_true(before >= 2);
        pare_study_summary rest = run_study(study, NULL);
        assert_true(rest.n_present == before && rest.n_done == 7 - before);
        assert_int_equal(count_ledger(study->spec->ledger).n_attempts, 7); /* none twice */
        pare_study_state found = status_of(study, arena);
        for (size_t i = 0; i < study->n_runs; i++)
            assert_true(found.records[i]->cross_entropy == wanted.records[i]->cross_entropy); /* to the bit */
        unlink(study->spec->ledger);
        pare_study_close(study);
    }
    assert_true(n_kills >= 4);
    pare_arena_close(arena);
    pare_study_close(whole);
    remove_folder(folder);
}

/* What a worker did, told through a pipe by its child. */
typedef struct {
    pid_t child;
    int summary;
} worker;

static void begin_worker(worker *w, const pare_study *study, const pare_study_options *options, const pare_context *context) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    if ((w->child = fork()) == 0) {
        pare_study_summary summary;
        pare_error error = {0};
        bool done = pare_study_run(&summary, study, options, context, &error) &&
                    write(ends[1], &summary, sizeof summary) == (ssize_t)sizeof summary;
        _exit(done ? 0 : 1);
    }
    close(ends[1]);
    w->summary = ends[0];
}

static pare_study_summary end_worker(const worker *w) {
    pare_study_summary summary = {0};
    int status = 1;
    assert_int_equal(read(w->summary, &summary, sizeof summary), sizeof summary);
    close(w->summary);
    assert_int_equal(waitpid(w->child, &status, 0), w->child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(summary.n_present + summary.n_done + summary.n_failed, summary.n_total);
    return summary;
}

/* Behind its first row a worker waits for that of the other, so that both have something to do. */
typedef struct {
    int tell, hear;
    bool met;
} meeting;

static void meet(void *user, const pare_run_record *record) {
    meeting *m = user;
    char byte;
    (void)record;
    if (!m->met)
        m->met = write(m->tell, "x", 1) == 1 && read(m->hear, &byte, 1) == 1;
}

/* Each run is computed by one of them, and both have something to do. */
static void two_processes_share_a_study(void **state) {
    (void)state;
    static const char *const models[] = {"models: [" TINY "qwen2]\n", "models: [" TINY "qwen2, " TINY "llama3]\n"};
    for (size_t n_models = 1; n_models <= 2; n_models++) {
        char *folder = test_folder();
        pare_study *study = open_study(write_spec(folder, "s.yaml",
                                                  "%sevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                                                  "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 2, length: 32}\n"
                                                  "methods: [random, wanda-sp]\nratios: [0.25, 0.5, 0.75]\nmultiple: 8\nseeds: [0, 1, 2]\n",
                                                  models[n_models - 1]));
        worker workers[2];
        size_t n_done = 0;
        int first[2], second[2];
        assert_true(pipe(first) == 0 && pipe(second) == 0);
        for (size_t i = 0; i < 2; i++) {
            meeting m = {(i ? second : first)[1], (i ? first : second)[0], false};
            begin_worker(&workers[i], study, &(pare_study_options){.recorded = meet, .user = &m}, NULL);
        }
        for (size_t i = 0; i < 2; i++) {
            pare_study_summary summary = end_worker(&workers[i]);
            assert_in_range(summary.n_done, 1, study->n_runs - 1);
            n_done += summary.n_done;
            assert_true(summary.n_others >= 1 &&
                        summary.n_present <= summary.n_others + 1); /* one row at most came before the other's plan */
        }
        assert_int_equal(n_done, study->n_runs);
        pare_store_counts counts = count_ledger(study->spec->ledger);
        assert_true(counts.n_done == study->n_runs && counts.n_attempts == study->n_runs);
        for (size_t i = 0; i < 2; i++)
            close(first[i]), close(second[i]);
        pare_study_close(study);
        remove_folder(folder);
    }
}

/* Stops at the first call of a run's evaluation, says so, and goes on when the other end is closed. */
typedef struct {
    int ready, go;
    bool stopped;
} gate;

static void stop_once(void *user, const char *stage, double done, double total) {
    gate *g = user;
    char byte;
    (void)done, (void)total;
    if (g->stopped || !strstr(stage, "evaluate"))
        return;
    g->stopped = true;
    assert_int_equal(write(g->ready, "x", 1), 1);
    assert_true(read(g->go, &byte, 1) >= 0);
}

static pare_claim only_claim(const char *ledger) {
    pare_error error = {0};
    pare_arena *arena = pare_arena_open(NULL);
    pare_store *store = pare_store_open(ledger, PARE_STORE_READ, &error);
    pare_claim *claims, only;
    size_t n;
    assert_done(store, error);
    assert_done(pare_store_claims(&claims, &n, store, arena, &error), error);
    assert_int_equal(n, 1);
    only = claims[0];
    pare_store_close(store);
    pare_arena_close(arena);
    return only;
}

/* The first worker stands in its first run (the dense model, which the others need for L0). Killed: the next takes its run over at once.
 * Alive: the other computes all that it can and waits for that one run rather than compute it as well. */
static void a_claim_lasts_as_long_as_its_worker(void **state) {
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        char *folder = test_folder(), byte;
        pare_study *study = small_study(folder, "s.yaml", "");
        pare_arena *arena = pare_arena_open(NULL);
        int ready[2], go[2];
        worker first, other;
        assert_true(pipe(ready) == 0 && pipe(go) == 0);
        gate g = {ready[1], go[0], false};
        pare_context context = {.progress = stop_once, .user = &g};
        begin_worker(&first, study, NULL, &context);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        assert_string_equal(only_claim(study->spec->ledger).key, study->runs[0].key.hex);
        assert_true(status_of(study, arena).n_claimed == 1 && status_of(study, arena).claimed[0]);
        if (killed) {
            kill(first.child, SIGKILL);
            int status;
            siginfo_t info;
            assert_int_equal(waitid(P_PID, (id_t)first.child, &info, WEXITED | WNOWAIT), 0); /* dead, and not buried */
            assert_int_equal(run_study(study, NULL).n_done, 7);
            assert_int_equal(waitpid(first.child, &status, 0), first.child);
        } else {
            begin_worker(&other, study, NULL, NULL);
            usleep(300000);
            assert_int_equal(count_ledger(study->spec->ledger).n_attempts, 0); /* no row without L0 */
            assert_int_equal(write(go[1], "x", 1), 1);
            size_t n_first = end_worker(&first).n_done, n_other = end_worker(&other).n_done;
            assert_true(n_first >= 1 && n_other >= 1 && n_first + n_other == 7);
        }
        assert_int_equal(status_of(study, arena).n_claimed, 0);
        pare_arena_close(arena);
        pare_study_close(study);
        remove_folder(folder);
        for (size_t i = 0; i < 2; i++)
            close(ready[i]), close(go[i]);
    }
}

/* A lease is all that is known of other hosts; a pid that another process has now is that of a dead one. */
static void the_dead_are_known(void **state) {
    (void)state;
    pare_error error = {0};
    char *folder = test_folder();
    pare_study *study = small_study(folder, "s.yaml", "");
    run_study(study, NULL);
    study_worker self;
    assert_done(study_worker_begin(&self, study->spec->ledger, &error), error);
    pare_claim alive = self.self, claim = alive;
    assert_false(study_claim_is_dead(&alive));
    claim.expires = 1;
    assert_true(study_claim_is_dead(&claim));
    claim = alive;
    snprintf(claim.born, sizeof claim.born, "1");
    assert_true(study_claim_is_dead(&claim));
    snprintf(claim.host, sizeof claim.host, "elsewhere");
    assert_false(study_claim_is_dead(&claim));
    claim.expires = 1;
    assert_true(study_claim_is_dead(&claim));
    study_worker_end(&self);
    pare_study_close(study);
    remove_folder(folder);
}

/* ---- older ledgers -------------------------------------------------------------------------- */

static void sha256_in_sql(sqlite3_context *context, int n, sqlite3_value **values) {
    pare_sha256 hash;
    const char *text = (const char *)sqlite3_value_text(values[0]);
    assert_true(n == 1 && pare_sha256_bytes(&hash, text, strlen(text), NULL));
    sqlite3_result_text(context, hash.hex, -1, SQLITE_TRANSIENT);
}

/* Makes version 3 of a ledger again: keys without kernels and recipe. The last row loses its kernels, as if it did not tell them. */
static void make_old(const char *ledger) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(ledger, &db), SQLITE_OK);
    assert_int_equal(sqlite3_create_function(db, "sha256", 1, SQLITE_UTF8, NULL, sha256_in_sql, NULL, NULL), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db,
                     "DROP TRIGGER run_not_edited;"
                     "UPDATE run SET spec = replace(json_remove(spec, '$.kernels', '$.recovery.recipe'), '\"schema\":2', '\"schema\":1');"
                     "UPDATE run SET key = sha256(spec), kernels = iif(rowid = (SELECT max(rowid) FROM run), NULL, kernels);"
                     "CREATE TRIGGER run_not_edited BEFORE UPDATE ON run BEGIN SELECT RAISE(ABORT, 'results are never edited'); END;"
                     "DROP TABLE shared; PRAGMA user_version = 3",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(db);
}

static void older_rows_keep_their_meaning(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study =
        open_study(write_spec(folder, "s.yaml",
                              "models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                              "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 2, length: 32}\n"
                              "methods: [random, wanda-sp]\nratios: [0.5]\nmultiple: 8\nrecovery: {method: [lora, full, "
                              "distillation], tokens: [0, 64, 1024], data: " PARE_FIXTURES "/test.txt, seq: 16, batch: 4, epochs: 4}\n"));
    size_t n = study->n_runs;
    assert_int_equal(run_study(study, NULL).n_done, n);
    make_old(study->spec->ledger);
    pare_study_summary again = run_study(study, NULL);
    assert_true(again.n_present == n - 1 && again.n_done == 1); /* nobody knows what multiplied for the last */
    pare_study_close(study);
    remove_folder(folder);
}

/* ---- failures ------------------------------------------------------------------------------ */

/* A copy of the bf16 model with one weight of `tensor` made NaN. */
static void spoil(const char *folder, const char *tensor) {
    pare_error error = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/m", folder);
    assert_int_equal(mkdir(path, 0777), 0);
    copy_folder(path, TINY "qwen2");
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    const pare_tensor *found = pare_checkpoint_find(checkpoint, tensor);
    pare_map map;
    assert_non_null(found);
    assert_done(pare_map_open(&map, found->source, &error), error);
    const uint8_t *at = NULL;
    for (size_t i = 0; i + found->n_bytes <= map.size && !at; i++)
        at = memcmp(map.data + i, found->data, found->n_bytes) == 0 ? map.data + i : NULL;
    assert_non_null(at);
    FILE *file = fopen(found->source, "r+b");
    assert_non_null(file);
    fseek(file, (long)(at - map.data), SEEK_SET);
    fwrite("\xc0\x7f", 1, 2, file); /* bf16 NaN, little-endian */
    fclose(file);
    pare_map_close(&map);
    pare_checkpoint_close(checkpoint);
}

static const char spoilt_spec[] = "models: [m]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                                  "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 2, length: 32}\n"
                                  "methods: [random, wanda-sp]\nratios: [0.25, 0.5]\nmultiple: 8\n";

static void failures_are_outcomes(void **state) {
    (void)state;
    char *folder = test_folder();
    spoil(folder, "model.layers.1.mlp.gate_proj.weight");
    pare_study *study = open_study(write_spec(folder, "s.yaml", "%s", spoilt_spec));
    pare_arena *arena = pare_arena_open(NULL);
    assert_int_equal(run_study(study, NULL).n_failed, 5);
    pare_study_state s = status_of(study, arena);
    assert_true(s.n_failed == 5 && s.n_done == 0);
    assert_string_equal(s.records[0]->reason_code, "numeric");
    assert_non_null(strstr(s.records[0]->reason, "model.layers.1.mlp.gate_proj.weight"));
    assert_true(isnan(s.records[0]->cross_entropy) && s.records[0]->attempt == 1);
    for (size_t i = 1; i < 5; i++) {
        assert_string_equal(s.records[i]->reason_code, "numeric");
        assert_non_null(strstr(s.records[i]->reason, "not measured: the dense model failed: "));
    }
    assert_int_equal(run_study(study, NULL).n_present, 5); /* recorded is present */
    assert_int_equal(run_study(study, &(pare_study_options){.retry_failed = true}).n_failed, 5);
    s = status_of(study, arena);
    assert_int_equal(s.records[2]->attempt, 2);
    assert_int_equal(count_ledger(study->spec->ledger).n_attempts, 10); /* nothing is forgotten */
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

/* The dense model is known and well: a row by hand. */
static void record_dense(const pare_study *study) {
    pare_error error = {0};
    pare_run_record record;
    pare_run_record_init(&record);
    record.key = study->runs[0].key.hex;
    record.spec = study->runs[0].spec;
    record.model.name = "m";
    record.method = "dense";
    record.ratio = 0;
    record.cross_entropy = 1.25;
    pare_store *store = pare_store_open(study->spec->ledger, PARE_STORE_CREATE, &error);
    assert_done(store, error);
    assert_done(pare_store_insert(store, &record, &error), error);
    pare_store_close(store);
}

/* The dense model is known and well, one method fails: its runs are recorded, the others measured. A ledger that says so is made
 * by recording the dense run by hand. */
static void one_method_may_fail(void **state) {
    (void)state;
    char *folder = test_folder();
    spoil(folder, "model.layers.0.mlp.down_proj.weight");
    pare_study *study = open_study(write_spec(folder, "s.yaml", "%s", spoilt_spec));
    record_dense(study);
    pare_study_summary summary = run_study(study, NULL);
    assert_true(summary.n_present == 1 && summary.n_failed >= 1);
    pare_arena *arena = pare_arena_open(NULL);
    pare_study_state s = status_of(study, arena);
    assert_true(s.records[1]->dense_cross_entropy == 1.25); /* L0 from the ledger */
    assert_true(s.records[2]->status == PARE_RUN_FAILED);
    assert_non_null(strstr(s.records[2]->reason, "model.layers.0.mlp.down_proj.weight")); /* named behind the calibration pass */
    assert_string_equal(s.records[4]->reason, s.records[2]->reason);
    assert_true(s.records[2]->seconds.calibrate > 0 && s.records[4]->seconds.calibrate == 0); /* in vain once, not twice */
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

/* Costs of layers are measured once for all ratios; when that fails, it has failed for all of them. */
static void costs_may_fail_once(void **state) {
    (void)state;
    char *folder = test_folder();
    spoil(folder, "model.layers.1.self_attn.o_proj.weight");
    pare_study *study = open_study(write_spec(folder, "s.yaml",
                                              "models: [m]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                                              "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 2, length: 32}\n"
                                              "methods: [{name: random, allocation: sensitivity}]\nratios: [0.25, 0.5]\nmultiple: 8\n"));
    record_dense(study);
    assert_int_equal(run_study(study, NULL).n_failed, 2);
    pare_arena *arena = pare_arena_open(NULL);
    pare_study_state s = status_of(study, arena);
    assert_non_null(strstr(s.records[1]->reason, "not finite"));
    assert_string_equal(s.records[1]->reason, s.records[2]->reason);
    assert_true(s.records[1]->seconds.score > 0 && s.records[2]->seconds.score == 0);
    pare_arena_close(arena);
    pare_study_close(study);
    remove_folder(folder);
}

/* How often costs of layers are told to be measured. */
static void count_costs(void *user, const char *stage, double done, double total) {
    (void)done, (void)total;
    *(size_t *)user += strstr(stage, "layer's loss") != NULL;
}

/* They wait in the ledger for the next call, or the next worker. */
static void costs_are_measured_once(void **state) {
    (void)state;
    char *folder = test_folder();
    size_t n = 0, first = 0;
    pare_context context = {.progress = count_costs, .user = &n};
    for (int grown = 0; grown < 2; grown++) {
        pare_error error = {0};
        pare_study_summary summary;
        pare_study *study =
            open_study(write_spec(folder, "s.yaml",
                                  "models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                                  "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 2, length: 32}\n"
                                  "methods: [{name: magnitude, allocation: sensitivity}]\nmultiple: 8\nratios: [%s]\n",
                                  grown ? "0.25, 0.5" : "0.25"));
        assert_done(pare_study_run(&summary, study, NULL, &context, &error), error);
        assert_int_equal(summary.n_done, grown ? 1 : 2);
        first = grown ? first : n;
        pare_study_close(study);
    }
    assert_true(first > 0);
    assert_int_equal(n, first);
    remove_folder(folder);
}

/* A flag raised in the middle of the third run. */
static volatile sig_atomic_t cancelled;

static void raise_cancel(void *user, const char *stage, double done, double total) {
    (void)user, (void)done, (void)total;
    if (strncmp(stage, "3/7 ", 4) == 0 && strstr(stage, "evaluate"))
        cancelled = 1;
}

static void cancel_loses_nothing(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study = small_study(folder, "s.yaml", "");
    pare_context context = {.progress = raise_cancel, .cancel = &cancelled};
    pare_study_summary summary;
    pare_error error = {0};
    cancelled = 0;
    assert_fails(pare_study_run(&summary, study, NULL, &context, &error), error, PARE_ERROR_CANCELLED, "interrupted");
    assert_true(summary.n_done == 2 && summary.n_failed == 0);
    assert_int_equal(count_ledger(study->spec->ledger).n_attempts, 2);
    cancelled = 0;
    summary = run_study(study, NULL);
    assert_true(summary.n_present == 2 && summary.n_done == 5);
    cancelled = 1;
    assert_fails(pare_study_open(study->spec->path, &context, &error), error, PARE_ERROR_CANCELLED, "");
    pare_study_close(study);
    remove_folder(folder);
}

static void ledger_trouble_stops_the_study(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study = small_study(folder, "s.yaml", "ledger: notes.txt\n");
    pare_study_summary summary;
    pare_error error = {0};
    write_text(study->spec->ledger, "my notes, no ledger at all\n", 27);
    assert_fails(pare_study_run(&summary, study, NULL, NULL, &error), error, PARE_ERROR_FORMAT, "notes.txt");
    assert_int_equal(summary.n_done, 0);
    pare_study_options options = {.ledger = in_folder(folder, "none/here.ledger")};
    assert_fails(pare_study_run(&summary, study, &options, NULL, &error), error, PARE_ERROR_IO, "none/here.ledger");
    pare_study_close(study);
    remove_folder(folder);
}

/* Allocations fail one after another, in opening and in running: an error or an outcome, no crash, no leak, a valid ledger. */
static void survives_lack_of_memory(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study = small_study(folder, "s.yaml", "");
    char spec[512];
    snprintf(spec, sizeof spec, "%s", study->spec->path);
    bool done = false;
    for (size_t n = 1; !done; n += 1 + n / 8) {
        pare_error error = {0};
        pare_allocate_fail_at(n);
        pare_study *other = pare_study_open(spec, NULL, &error);
        pare_allocate_fail_at(0);
        assert_true(other || error.message[0]);
        done = other != NULL;
        pare_study_close(other);
    }
    done = false;
    for (size_t n = 1; !done; n += 1 + n / 8) {
        pare_error error = {0};
        pare_study_summary summary;
        pare_allocate_fail_at(n);
        done = pare_study_run(&summary, study, NULL, NULL, &error);
        pare_allocate_fail_at(0);
        /* a tokenizer that had no memory is told as a missing one */
        assert_true(done || error.code == PARE_ERROR_MEMORY || strstr(error.message, "out of memory"));
        assert_int_equal(summary.n_failed, 0); /* lack of memory is no outcome of a run */
    }
    assert_int_equal(count_ledger(study->spec->ledger).n_attempts, 7);
    pare_study_close(study);
    remove_folder(folder);
}

/* ---- progress ------------------------------------------------------------------------------ */

typedef struct {
    double last, total, first;
    size_t calls;
} bar;

static void watch(void *user, const char *stage, double done, double total) {
    bar *b = user;
    if (b->calls++ == 0)
        b->first = done;
    assert_true(total > 0 && done >= b->last && done <= total * (1 + 1e-12));
    assert_true(b->total == 0 || b->total == total);
    assert_true(strcmp(stage, "done") == 0 || strchr(stage, '/'));
    b->last = done;
    b->total = total;
}

/* The bar never goes back, ends at its total, and counts only what this call has to do. */
static void progress_is_one_bar(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study = small_study(folder, "s.yaml", "");
    bar whole = {0}, rest = {0};
    pare_context context = {.progress = watch, .user = &whole};
    pare_study_summary summary;
    pare_error error = {0};
    assert_done(pare_study_run(&summary, study, NULL, &context, &error), error);
    assert_true(whole.calls > 14 && whole.last == whole.total && whole.first == 0);
    pare_study_close(study);
    study = small_study(folder, "s.yaml", "seeds: [0, 1]\n"); /* three runs of seven are new */
    context.user = &rest;
    assert_done(pare_study_run(&summary, study, NULL, &context, &error), error);
    assert_int_equal(summary.n_done, 3);
    assert_true(rest.first == 0 && rest.last == rest.total && rest.total < whole.total / 2);
    pare_study_close(study);
    remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_transformers),    cmocka_unit_test(a_seed_is_a_draw),
        cmocka_unit_test(allocations_are_methods),     cmocka_unit_test(rows_carry_where_they_come_from),
        cmocka_unit_test(does_only_what_is_missing),   cmocka_unit_test(kill_loses_the_run_in_flight_at_most),
        cmocka_unit_test(two_processes_share_a_study), cmocka_unit_test(a_claim_lasts_as_long_as_its_worker),
        cmocka_unit_test(the_dead_are_known),          cmocka_unit_test(older_rows_keep_their_meaning),
        cmocka_unit_test(failures_are_outcomes),       cmocka_unit_test(one_method_may_fail),
        cmocka_unit_test(costs_may_fail_once),         cmocka_unit_test(costs_are_measured_once),
        cmocka_unit_test(cancel_loses_nothing),        cmocka_unit_test(ledger_trouble_stops_the_study),
        cmocka_unit_test(survives_lack_of_memory),     cmocka_unit_test(progress_is_one_bar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
