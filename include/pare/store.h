/* store: the ledger of a study: one SQLite file, one row per attempt of a run.
 *
 * A run is known by its key, the SHA-256 of its canonical spec. What it gave is written once and never edited (triggers in
 * the file see to that): a run that is done is final; a run that failed is a recorded outcome too, and a retry is a new row with
 * the next attempt number, so that nothing is forgotten. Everything below shows the latest attempt of each run.
 *
 * Durability: WAL with synchronous = FULL; when pare_store_insert returns true the row survives a power cut, and a kill at
 * any moment leaves a valid ledger without the row in flight. Several processes may write; they wait for one another.
 * A pare_store belongs to one thread.
 */
#ifndef PARE_STORE_H
#define PARE_STORE_H

#include "pare/base.h"
#include "pare/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { PARE_RUN_DONE, PARE_RUN_FAILED } pare_run_status;
const char *pare_run_status_name(pare_run_status status); /* "done", "failed" */

/* Everything a number needs to be believed and found again. Strings may be NULL and doubles NaN where something is not known or
 * does not apply (PARE_UNKNOWN); start from pare_run_record_init. A reader's strings live as long as the reading function says. */
#define PARE_UNKNOWN (__builtin_nan(""))

typedef struct {
    const char *key;  /* 64 hex digits: SHA-256 of spec */
    const char *spec; /* canonical JSON text */
    uint32_t attempt; /* 1, 2, …; a retry carries the former attempt + 1 */
    pare_run_status status;
    const char *reason_code, *reason; /* failed: pare_code_name and message; done: NULL */

    struct {
        const char *name, *path, *sha256, *architecture;
        uint64_t bytes, n_parameters, n_non_embedding, n_vocabulary; /* of the dense model */
    } model;

    const char *method;
    double ratio; /* nominal r: the share of the method's own unit */
    uint32_t multiple;
    uint64_t seed; /* up to 2^63 - 1 */
    struct {
        const char *text, *sha256; /* NULL for a method that needs no text */
        uint64_t n_windows, length;
    } calibration;
    double recovery_tokens; /* D, in tokens; 0 = no recovery training */
    struct {
        const char *method, *text, *sha256; /* "lora", …; the data's files; of the data as windows; NULL: no recovery */
        double loss;                        /* mean of the last tenth of the steps */
    } recovery;

    struct {
        const char *protocol, *data, *data_sha256, *bos, *weight_type;
        uint64_t context, n_windows, tokens_in_text, tokens_scored;
    } evaluation;

    double dense_cross_entropy; /* L0: the dense model under the same evaluation */
    double cross_entropy, cross_entropy_error;
    double perplexity, perplexity_error;
    struct {
        double parameters, non_embedding, bytes, macs;
    } removed;                        /* achieved ratios: fractions of the dense model that are gone */
    uint64_t dense_width, kept_width; /* units of the method's kind in each row: FFN neurons of a layer, … */

    struct {
        double open, calibrate, score, cut, recover, evaluate;
    } seconds;
    double tokens_per_s, peak_mib;

    const char *version, *commit; /* of pare */
    const char *kernels, *blas, *processor;
    uint32_t n_threads;
    const char *started, *finished; /* UTC, ISO 8601: 2026-11-24T03:40:00Z */
} pare_run_record;

/* Attempt 1, done, every number unknown or zero, every string NULL. */
void pare_run_record_init(pare_run_record *record);
/* A flat object under the ledger's column names, unknown numbers null, the spec as the object it is. NULL: no memory. */
json_t *pare_run_record_json(pare_json_doc *doc, const pare_run_record *record);

/* ---- the ledger --------------------------------------------------------------------------- */

typedef struct pare_store pare_store;

typedef enum {
    PARE_STORE_READ,   /* an existing ledger; works in a read-only folder too, unless the ledger is of an older version */
    PARE_STORE_WRITE,  /* an existing ledger; an older version is brought up to date */
    PARE_STORE_CREATE, /* like WRITE, and a missing file is created, whole or not at all */
} pare_store_mode;

/* FORMAT: not a SQLite file, or one that is no ledger of pare. UNSUPPORTED: written by a newer pare. IO: what the system said. */
pare_store *pare_store_open(const char *path, pare_store_mode mode, pare_error *error) PARE_MUST_CHECK;
void pare_store_close(pare_store *store); /* NULL is fine */

/* Adds one row in one transaction. CONFLICT when this attempt is there already or the run is done (another worker was faster).
 * RANGE when a done record has no finite cross-entropy or a failed one no reason. */
bool pare_store_insert(pare_store *store, const pare_run_record *record, pare_error *error) PARE_MUST_CHECK;

/* The latest attempt of a run; *found = false when there is none. The strings are copied into `arena`. */
bool pare_store_find(pare_run_record *record, bool *found, pare_store *store, const char *key, pare_arena *arena,
                     pare_error *error) PARE_MUST_CHECK;

/* Calls `visit` for the latest attempt of every run, by model, method, ratio, seed, recovery, key; the strings live until it returns.
 * visit returns false with *error filled to stop. What it sees is one moment's state; it must not insert. */
typedef bool (*pare_store_visit)(void *user, const pare_run_record *record, pare_error *error);
bool pare_store_each(pare_store *store, pare_store_visit visit, void *user, pare_error *error) PARE_MUST_CHECK;

/* The same, all at once, into `arena`. RANGE above PARE_STORE_LOAD_MAX runs. */
enum { PARE_STORE_LOAD_MAX = 100000 };
bool pare_store_load(pare_run_record **records, size_t *n, pare_store *store, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

typedef struct {
    uint64_t n_done, n_failed; /* runs, by their latest attempt */
    uint64_t n_attempts;       /* rows */
} pare_store_counts;
bool pare_store_count(pare_store_counts *counts, pare_store *store, pare_error *error) PARE_MUST_CHECK;

/* ---- claims ------------------------------------------------------------------------------- */

/* Who computes a run at the moment. A worker is one call that works at a study: a process on a host, and a number for it there.
 * Workers fill all but `key`; a reader gets every member. */
typedef struct {
    char key[65];
    char host[160]; /* the machine, this boot of it, and the processes' name space: a pid means something there only */
    int64_t pid;
    char born[32]; /* when the process started, as the system tells it: a pid is given away again */
    int64_t worker;
    int64_t expires; /* seconds since 1970: nobody waits longer without a renewal */
} pare_claim;

/* Takes the run for the worker in one transaction, unless somebody has it: then *mine is false and *holder says who. is_dead judges a
 * holder; the claim of a dead one is taken over. A claim ends when a row of its run is inserted. */
bool pare_store_claim(bool *mine, pare_claim *holder, pare_store *store, const char *key, const pare_claim *worker,
                      bool (*is_dead)(const pare_claim *claim), pare_error *error) PARE_MUST_CHECK;
/* All claims of the worker last until worker->expires. Allocates nothing. */
bool pare_store_renew(pare_store *store, const pare_claim *worker, pare_error *error) PARE_MUST_CHECK;
/* Gives one back, or all of the worker with key NULL. */
bool pare_store_release(pare_store *store, const char *key, const pare_claim *worker, pare_error *error) PARE_MUST_CHECK;
/* All there are, of the dead as well, into `arena`. */
bool pare_store_claims(pare_claim **claims, size_t *n, pare_store *store, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* What several runs need (the costs that an allocation goes by), kept for all of them under a key of its own, the SHA-256 of its spec. The
 * key is claimed as a run's is; the first value stays, and ends the claim. */
bool pare_store_share(pare_store *store, const char *key, const char *spec, const void *value, size_t n, pare_error *error) PARE_MUST_CHECK;
/* *value: n bytes in the arena, or NULL when there is none. */
bool pare_store_shared(const void **value, size_t *n, pare_store *store, const char *key, pare_arena *arena,
                       pare_error *error) PARE_MUST_CHECK;

/* All runs as CSV (RFC 4180; header model,method,l0,r,d,l,…: d in million tokens, l empty for a failed run; `pare fit` reads it)
 * or as JSON, {"runs": [one object each]}. Appends to *out. */
bool pare_store_export_csv(pare_string *out, pare_store *store, pare_error *error) PARE_MUST_CHECK;
bool pare_store_export_json(pare_string *out, pare_store *store, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
