/* lab: studies: a grid of compressed models, measured one after another into a ledger.
 *
 *   pare_spec   what a YAML file asks for: models, a text to evaluate on, methods, ratios, seeds. Pure parsing and checking.
 *   pare_study  the spec against the files it names: models hashed, texts tokenised, the grid as a list of runs with their keys.
 *   running     each run that the ledger lacks: cut -> model -> recovery -> test cross-entropy -> one row. No checkpoint is written.
 *
 * A run's key is the SHA-256 of its canonical spec (pare_run.spec), which holds everything that the number depends on and nothing
 * else: content hashes and never paths. So a study may be moved, renamed, regrouped or extended, and what is measured stays so.
 */
#ifndef PARE_LAB_H
#define PARE_LAB_H

#include "pare/compress.h"
#include "pare/eval.h"
#include "pare/store.h"
#include "pare/tune.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- spec ---------------------------------------------------------------------------------- */

/*   models: [model.gguf, {path: folder, name: Shown-As}]      name: what the ledger and the laws call it; default: the file's name
 *   evaluate: {text: test.txt, protocol: joined2048, windows: 8}                  windows: the first N only; default: all
 *   calibrate: {text: calibration.txt, windows: 32, length: 512}                  needed when a method looks at activations
 *   methods: [random, wanda-sp, {name: wanda-sp, allocation: sensitivity}]        counts by layer: see pare_allocation
 *   ratios: [0.1, 0.2]   or   {from: 0.1, to: 0.9, step: 0.1}
 *   multiple: 32                                              the kept width is rounded to a multiple of it
 *   recovery: {method: lora, tokens: [0, 100k, 1M], data: train.txt}              see below; default: none
 *   seeds: [0]                                                a stochastic method runs once per seed, every other once with the first
 *   ledger: study.ledger                                      default: the spec's name, .yaml replaced by .ledger
 *
 * Recovery. Every cut is trained on `data` (one file or a list, plain text or JSON rows) for each of `tokens`, a budget and a training of
 * its own; 0 is the cut as it is, and there only when it is listed. method: lora, full, distillation (LoRA taught by the dense model), or a
 * list. Further keys, with pare finetune's defaults: seq, batch, lr, schedule, epochs, rank (its --lora). The order of the data and new
 * adapters follow the first of the seeds. A budget is rounded up to whole steps, and the row tells the tokens that were trained on.
 *
 * Relative paths start at the spec's folder. Any other key, a key given twice, anchors and aliases, tags and a second document
 * are refused. Errors of the spec itself begin with "file:line:". */
typedef struct {
    const char *name, *path;
    size_t line; /* in the spec, for messages */
} pare_spec_model;

typedef enum { PARE_RECOVERY_LORA, PARE_RECOVERY_FULL, PARE_RECOVERY_DISTILLATION, PARE_RECOVERIES } pare_recovery;
const char *pare_recovery_name(pare_recovery recovery); /* "lora", "full", "distillation" */

enum { PARE_RECOVERY_FILES_MAX = 64, PARE_RECOVERY_BUDGETS_MAX = 64 };
typedef struct {
    const char *text; /* the files as written, joined by ", "; NULL: no recovery */
    const char *paths[PARE_RECOVERY_FILES_MAX];
    size_t lines[PARE_RECOVERY_FILES_MAX]; /* in the spec */
    size_t n_paths, line;
    pare_recovery methods[PARE_RECOVERIES];
    size_t n_methods;
    bool without;                               /* the cut as it is, too: 0 was listed, or there is no recovery */
    uint64_t tokens[PARE_RECOVERY_BUDGETS_MAX]; /* ascending, above 0 */
    size_t n_tokens;
    uint32_t epochs;
    pare_tune_options tune; /* all but steps, warm-up, seed and what the method says */
} pare_spec_recovery;

typedef struct {
    const pare_method *method;
    pare_allocation allocation;
    const char *name; /* "wanda-sp", "wanda-sp (sensitivity)" */
} pare_spec_method;

typedef struct {
    const char *path; /* of the spec */
    pare_spec_model *models;
    size_t n_models;
    struct {
        const char *text, *path; /* as written, and from here */
        size_t line;
        pare_protocol protocol;
        size_t n_windows; /* 0: all */
    } evaluate;
    struct {
        const char *text, *path; /* NULL: no calibration */
        size_t line;
        size_t n_windows, length;
    } calibrate;
    pare_spec_recovery recovery;
    pare_spec_method *methods;
    size_t n_methods;
    double *ratios; /* ascending, each in (0, 1): ratio 0 is the dense model, which every study measures */
    size_t n_ratios;
    uint32_t multiple;
    uint64_t *seeds;
    size_t n_seeds;
    const char *ledger;
    pare_arena *arena;
} pare_spec;

/* Reads a spec and sees that the files it names exist. FORMAT: not a spec; RANGE: a value outside its domain; IO: a file. */
pare_spec *pare_spec_open(const char *path, pare_error *error) PARE_MUST_CHECK;
/* The same from memory, looking at no file; path: for messages, and where relative paths start. */
pare_spec *pare_spec_parse(const char *bytes, size_t n, const char *path, pare_error *error) PARE_MUST_CHECK;
void pare_spec_close(pare_spec *spec); /* NULL is fine */

/* ---- study --------------------------------------------------------------------------------- */

/* One point of the grid. The dense model is a run like the others, the first of its model: it gives them L0. */
typedef struct {
    size_t model;              /* index into the spec's models */
    const pare_method *method; /* NULL: the dense model, "dense" */
    pare_allocation allocation;
    const char *name;         /* as the ledger calls method and allocation together; NULL: the method's own */
    double ratio;             /* nominal, of the method's units */
    uint32_t multiple;        /* 1 for the dense model */
    uint32_t n_kept;          /* units of each row that stay, on average; FFN neurons of a layer for the dense model */
    uint64_t seed;            /* of the method's draw, or of the calibration windows */
    pare_recovery recovery;   /* counts when recovery_tokens is not 0 */
    uint64_t recovery_tokens; /* as asked for */
    const char *spec;         /* canonical JSON, one line, keys sorted */
    pare_sha256 key;          /* of spec */
    double work;              /* multiply-accumulates of its training and evaluation: the unit of progress */
    double recovery_work;     /* those of the training */
} pare_run;
const char *pare_run_method(const pare_run *run); /* its name, or "dense" */

typedef struct pare_study {
    const pare_spec *spec;
    pare_run *runs; /* by model; the dense one first, then by ratio, method, seed, recovery: a part of a study compares methods already */
    size_t n_runs;
    const char **notes; /* what the user should know: methods' warnings, ratios that rounding made one */
    size_t n_notes;
    struct pare_study_inner *inner;
} pare_study;

/* Opens every model and text once, hashes and tokenises them, expands the grid. Ratios of one model that leave the same width are
 * merged into the nearest, with a note. Nothing is computed yet. path: of the spec. */
pare_study *pare_study_open(const char *path, const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_study_close(pare_study *study); /* NULL is fine */

/* Where a study stands. records[i] is what the ledger holds of runs[i] (its latest attempt), or NULL: missing. */
typedef struct {
    const pare_run_record *const *records; /* n_runs, in the arena */
    const bool *claimed;                   /* n_runs: missing, and a worker computes it just now */
    size_t n_done, n_failed, n_missing;
    size_t n_claimed; /* of the missing ones */
} pare_study_state;
/* ledger: NULL for the spec's own. A ledger that does not exist yet holds nothing. */
bool pare_study_status(pare_study_state *state, const pare_study *study, const char *ledger, pare_arena *arena,
                       pare_error *error) PARE_MUST_CHECK;

/* What a call finds when it begins. */
typedef struct {
    size_t n_total, n_present; /* runs of the study; those that the ledger has and that are not tried again */
    size_t n_retried;          /* failed before, tried again */
    size_t n_claimed;          /* other workers compute them just now */
} pare_study_outlook;

typedef struct {
    const char *ledger; /* NULL: the spec's own */
    bool retry_failed;  /* failed runs are tried again, as a new attempt; else they count as present */
    /* Called once, before the first run; may be NULL. */
    void (*planned)(void *user, const pare_study_outlook *outlook);
    /* Called after each run of this call is in the ledger; may be NULL. */
    void (*recorded)(void *user, const pare_run_record *record);
    void *user;
} pare_study_options;

typedef struct {
    size_t n_total;   /* runs of the study */
    size_t n_present; /* in the ledger before, or put there by another process meanwhile */
    size_t n_others;  /* of these: put there by another process meanwhile */
    size_t n_done;    /* measured now */
    size_t n_failed;  /* tried now, recorded as failed */
    double seconds;
} pare_study_summary;

/* Runs what is missing. Each run is recorded before the next begins, so that a kill loses the one in flight at most.
 * A run that fails by its own nature (NUMERIC, SHAPE, RANGE, UNSUPPORTED, FORMAT) is recorded with the reason and the study goes on;
 * when the dense model fails, its other runs have no L0 and are recorded as failed with that reason. Anything else (IO, MEMORY,
 * CANCELLED) stops the study; *summary then tells what was done before.
 * Several processes may run one study: each claims a run in the ledger before it computes it, and waits at the end for the runs that
 * others compute. A worker that has died (kill -9; on another host: no sign of it for five minutes) loses its claims to the next that asks.
 * Progress is of the missing runs alone: stage "3/21 wanda-sp r=0.2 evaluate", done and total in multiply-accumulates.
 * Seconds of opening, calibrating and scoring are charged to the run that came first, 0 to those that reuse the result. */
bool pare_study_run(pare_study_summary *summary, const pare_study *study, const pare_study_options *options, const pare_context *context,
                    pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
