/* pare study run|status|export: a grid of experiments, its ledger, and what the ledger holds. */
#include <stdio.h>
#include <string.h>

#include "destination.h"
#include "pare/lab.h"

typedef struct {
    const char *ledger, *format, *out;
    bool retry_failed, force;
} study_options;

/* ---- run ---- */

/* "  lora 100,352 tokens" */
static const char *recovery_of(char *text, size_t size, const char *method, double tokens) {
    snprintf(text, size, "  %s %s tokens", method, human_count((uint64_t)tokens));
    return text;
}

typedef struct {
    const common *shared;
    bool models;      /* several: lines name theirs */
    int method_width; /* of the longest name, so that columns stay columns */
} telling;

static int method_width(const pare_spec *spec) {
    size_t width = 12;
    for (size_t i = 0; i < spec->n_methods; i++)
        if (strlen(spec->methods[i].name) > width)
            width = strlen(spec->methods[i].name);
    return (int)width;
}

/* "21 runs: 5 in the ledger, 16 to compute, 2 of them claimed by other workers" */
static void print_planned(void *user, const pare_study_outlook *o) {
    const telling *t = user;
    char retried[80] = "", claimed[80] = "";
    size_t left = o->n_total - o->n_present;
    if (o->n_retried)
        snprintf(retried, sizeof retried, ", %zu failed before and will be tried again", o->n_retried);
    if (o->n_claimed)
        snprintf(claimed, sizeof claimed, ", %zu of them claimed by other workers", o->n_claimed);
    say(t->shared, "%zu runs: %zu in the ledger%s, %zu to compute%s", o->n_total, o->n_present, retried, left, claimed);
}

static void print_recorded(void *user, const pare_run_record *record) {
    const telling *t = user;
    if (t->shared->json)
        return;
    progress_end();
    if (t->models)
        printf("%-20s ", record->model.name);
    char recovery[80] = "";
    if (record->recovery.method)
        recovery_of(recovery, sizeof recovery, record->recovery.method, record->recovery_tokens);
    if (record->status == PARE_RUN_DONE)
        printf("%-*s r = %-6g cross-entropy %.4f +/- %.4f  %5.1f s%s\n", t->method_width, record->method, record->ratio,
               record->cross_entropy, record->cross_entropy_error,
               record->seconds.evaluate + (record->recovery.method ? record->seconds.recover : 0), recovery);
    else
        printf("%-*s r = %-6g failed%s: %s\n", t->method_width, record->method, record->ratio, recovery, record->reason);
    fflush(stdout);
}

static json_t *summary_json(pare_json_doc *doc, const pare_study_summary *s, const char *ledger) {
    return pare_json_pack(doc, "{s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "ledger", ledger, "total", (json_int_t)s->n_total, "present",
                          (json_int_t)s->n_present, "by_others", (json_int_t)s->n_others, "done", (json_int_t)s->n_done, "failed",
                          (json_int_t)s->n_failed, "seconds", s->seconds);
}

static void print_summary(const pare_study_summary *s, const char *ledger) {
    progress_end();
    printf("%zu runs: %zu were in the ledger, %zu done now, %zu failed%s", s->n_total, s->n_present - s->n_others, s->n_done, s->n_failed,
           s->n_failed ? " (--retry-failed tries again)" : "");
    if (s->n_others)
        printf(", %zu recorded meanwhile by other workers", s->n_others);
    printf(". %.1f s: %s\n", s->seconds, ledger);
}

static bool study_run(const char *spec, const study_options *given, common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    pare_study *study = pare_study_open(spec, &shared->context, error);
    if (!study)
        return false;
    for (size_t i = 0; i < study->n_notes; i++)
        say(shared, "note: %s", study->notes[i]);
    const char *ledger = given->ledger ? given->ledger : study->spec->ledger;
    telling t = {shared, study->spec->n_models > 1, method_width(study->spec)};
    pare_study_options options = {
        .ledger = ledger, .retry_failed = given->retry_failed, .planned = print_planned, .recorded = print_recorded, .user = &t};
    pare_study_summary summary = {0};
    bool done = pare_study_run(&summary, study, &options, &shared->context, error);
    if (done && shared->json) {
        done = print_json(summary_json(&doc, &summary, ledger), &doc, error);
    } else if (done || summary.n_done) {
        print_summary(&summary, ledger);
    }
    pare_study_close(study);
    return done;
}

/* ---- status ---- */

static const char *state_name(const pare_study_state *state, size_t i) {
    const pare_run_record *record = state->records[i];
    return record ? pare_run_status_name(record->status) : state->claimed[i] ? "running" : "missing";
}

static json_t *state_json(pare_json_doc *doc, const pare_study *study, const pare_study_state *state) {
    json_t *runs = pare_json_array(doc);
    for (size_t i = 0; i < study->n_runs; i++) {
        const pare_run *run = &study->runs[i];
        const char *recovery = run->recovery_tokens ? pare_recovery_name(run->recovery) : NULL;
        pare_json_append(doc, runs,
                         pare_json_pack(doc, "{s:s, s:s, s:s, s:f, s:I, s:s?, s:I, s:s}", "key", run->key.hex, "model",
                                        study->spec->models[run->model].name, "method", pare_run_method(run), "ratio", run->ratio, "seed",
                                        (json_int_t)run->seed, "recovery_method", recovery, "recovery_tokens",
                                        (json_int_t)run->recovery_tokens, "status", state_name(state, i)));
    }
    return pare_json_pack(doc, "{s:I, s:I, s:I, s:I, s:I, s:o}", "total", (json_int_t)study->n_runs, "done", (json_int_t)state->n_done,
                          "failed", (json_int_t)state->n_failed, "missing", (json_int_t)state->n_missing, "running",
                          (json_int_t)state->n_claimed, "runs", runs);
}

static void print_state(const pare_study *study, const pare_study_state *state) {
    int width = method_width(study->spec);
    for (size_t i = 0; i < study->n_runs; i++) {
        const pare_run *run = &study->runs[i];
        const pare_run_record *record = state->records[i];
        printf("%-8s %-20s %-*s r = %g", state_name(state, i), study->spec->models[run->model].name, width, pare_run_method(run),
               run->ratio);
        if (run->recovery_tokens) {
            char recovery[80];
            printf("%s", recovery_of(recovery, sizeof recovery, pare_recovery_name(run->recovery), (double)run->recovery_tokens));
        }
        if (record && record->status == PARE_RUN_DONE)
            printf("  cross-entropy %.4f", record->cross_entropy);
        else if (record)
            printf("  %s", record->reason);
        printf("\n");
    }
    printf("%zu runs: %zu done, %zu failed, %zu missing", study->n_runs, state->n_done, state->n_failed, state->n_missing);
    if (state->n_claimed)
        printf(" (%zu of them running)", state->n_claimed);
    printf("\n");
}

static bool study_status(const char *spec, const study_options *given, common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return false;
    pare_study *study = pare_study_open(spec, &shared->context, error);
    pare_study_state state;
    bool done = study && pare_study_status(&state, study, given->ledger, arena, error);
    if (done && shared->json)
        done = print_json(state_json(&doc, study, &state), &doc, error);
    else if (done)
        print_state(study, &state);
    pare_study_close(study);
    pare_arena_close(arena);
    return done;
}

/* ---- export ---- */

static bool find_format(bool *json, const study_options *given, const common *shared, pare_error *error) {
    const char *format = given->format ? given->format : shared->json && !given->out ? "json" : "csv";
    *json = strcmp(format, "json") == 0;
    if (!*json && strcmp(format, "csv") != 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--format %s: there are csv and json", format);
    return *json || !shared->json || given->out ||
           pare_fail(error, PARE_ERROR_USAGE, "--json puts one JSON object on stdout: --format csv needs -o FILE then");
}

static bool write_export(const pare_string *text, pare_store *store, const study_options *given, bool replace, const common *shared,
                         pare_error *error) {
    pare_json_doc doc = {0};
    if (!given->out)
        return fwrite(text->data, 1, text->length, stdout) == text->length ||
               pare_fail(error, PARE_ERROR_IO, "cannot write to standard output");
    pare_store_counts counts;
    if (!pare_store_count(&counts, store, error) || !pare_file_write(given->out, text->data, text->length, replace, error))
        return false;
    return !shared->json ||
           print_json(pare_json_pack(&doc, "{s:s, s:I}", "output", given->out, "runs", (json_int_t)(counts.n_done + counts.n_failed)), &doc,
                      error);
}

static bool study_export(const char *ledger, const study_options *given, const common *shared, pare_error *error) {
    bool json, replace = false;
    reads(ledger);
    if (!find_format(&json, given, shared, error) ||
        (given->out && !destination_check(&replace, given->out, json ? &destination_json : &destination_csv, given->force, error)))
        return false;
    pare_store *store = pare_store_open(ledger, PARE_STORE_READ, error);
    if (!store)
        return false;
    pare_string text = {0};
    bool done = (json ? pare_store_export_json(&text, store, error) : pare_store_export_csv(&text, store, error)) &&
                write_export(&text, store, given, replace, shared, error);
    pare_string_free(&text);
    pare_store_close(store);
    return done;
}

bool cmd_study(int argc, char **argv, pare_error *error) {
    study_options given = {0};
    const option options[] = {
        {"ledger", 0, OPTION_STRING, "FILE", "another ledger than the one that SPEC names", &given.ledger},
        {"retry-failed", 0, OPTION_FLAG, NULL, "try failed runs again", &given.retry_failed},
        {"format", 0, OPTION_STRING, "F", "format of the table: csv (default) or json", &given.format},
        {"output", 'o', OPTION_STRING, "FILE", "write the table to FILE instead of stdout", &given.out},
        OPTION_FORCE('f', &given.force),
        {0},
    };
    const subcommand subcommands[] = {
        {.name = "run",
         .usage = "SPEC [--ledger FILE] [--retry-failed]",
         .about = "Computes the runs of the grid that the ledger does not have yet, and records each when it is done.",
         .example = "  pare study run examples/demo.yaml",
         .options = "ledger retry-failed"},
        {.name = "status",
         .usage = "SPEC [--ledger FILE]",
         .about = "Lists the runs of the grid, and whether each is done, failed (with the reason), running or missing.",
         .example = "  pare study status examples/demo.yaml",
         .options = "ledger"},
        {.name = "export",
         .usage = "LEDGER [--format csv|json] [-o FILE [--force]]",
         .about = "Writes the rows of a ledger as a table.",
         .example = "  pare study export demo/demo.ledger > runs.csv",
         .options = "format output force"},
        {0},
    };
    const command_face face = {
        .name = "study",
        .usage = "run SPEC [--ledger FILE] | status SPEC | export LEDGER [--format csv|json]",
        .about =
            "Computes the grid of experiments that SPEC (YAML) describes, and records each run as a row of an SQLite ledger. A run that\n"
            "the ledger has already is not repeated. A kill loses at most the run in progress. A failed run is recorded with its reason.",
        .example = "  pare study run examples/demo.yaml\n  pare study status examples/demo.yaml\n"
                   "  pare study export demo/demo.ledger > runs.csv",
        .options = options,
        .subcommands = subcommands,
        .arguments_min = 2,
        .arguments_max = 2,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    if (strcmp(arguments[0], "run") == 0)
        return study_run(arguments[1], &given, &shared, error);
    if (strcmp(arguments[0], "status") == 0)
        return study_status(arguments[1], &given, &shared, error);
    return study_export(arguments[1], &given, &shared, error);
}
