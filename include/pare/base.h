/* base: what every layer stands on: errors, memory, strings, files, random numbers, hashes, progress.
 *
 * Conventions of the whole library:
 *   - functions that can fail return bool (true = done) or a pointer (NULL = failed) and take a pare_error as last parameter;
 *     the place that fails writes the message once, with the datum (file, tensor, byte); callers pass it on unchanged.
 *   - nothing below src/cli prints or ends the process.
 *   - sizes are size_t or uint64_t; products of sizes that come from a file are checked (pare_size_multiply).
 */
#ifndef PARE_BASE_H
#define PARE_BASE_H

#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PARE_VERSION "0.1.0"

#if defined(__GNUC__)
#define PARE_MUST_CHECK __attribute__((warn_unused_result))
#define PARE_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define PARE_MUST_CHECK
#define PARE_PRINTF(format_at, first_at)
#endif

/* ---- errors ------------------------------------------------------------------------------- */

typedef enum {
    PARE_OK,
    PARE_ERROR_MEMORY,      /* an allocation failed or would exceed the budget */
    PARE_ERROR_IO,          /* the system refused: open, read, write, rename, full disk */
    PARE_ERROR_FORMAT,      /* a file is not what it claims to be */
    PARE_ERROR_SHAPE,       /* shapes that contradict each other */
    PARE_ERROR_RANGE,       /* a value outside its domain */
    PARE_ERROR_NUMERIC,     /* NaN, infinity, a singular system: an outcome a study records */
    PARE_ERROR_UNSUPPORTED, /* well-formed, but nothing pare knows */
    PARE_ERROR_CONFLICT,    /* something already exists or is in use */
    PARE_ERROR_CANCELLED,   /* Ctrl-C */
    PARE_ERROR_USAGE,       /* the command line is wrong (exit code 2) */
} pare_code;

typedef struct {
    pare_code code;
    char message[1024]; /* one line, no newline at the end */
} pare_error;

/* Fills *error (may be NULL). */
void pare_error_set(pare_error *error, pare_code code, const char *format, ...) PARE_PRINTF(3, 4);
/* The same, and is false, so that `return pare_fail(error, …)` reads well; a macro, so that the compiler knows it is false. */
#define pare_fail(...) (pare_error_set(__VA_ARGS__), pare_false())
static inline bool pare_false(void) {
    return false;
}

/* "io", "format", … : the stable name of a code, for JSON and the ledger. */
const char *pare_code_name(pare_code code);

/* ---- memory ------------------------------------------------------------------------------- */

/* Zeroed, aligned to 64 bytes; count * item_bytes is checked. NULL with PARE_ERROR_MEMORY on failure. Free with pare_free. */
void *pare_allocate(size_t count, size_t item_bytes, pare_error *error) PARE_MUST_CHECK;
void pare_free(void *memory);

/* Grows *memory (from pare_allocate, or NULL) to at least `needed` items; *capacity counts items. New items are zeroed. */
bool pare_grow(void **memory, size_t *capacity, size_t needed, size_t item_bytes, pare_error *error) PARE_MUST_CHECK;

/* Test hook: the n-th allocation from now fails (1 = the next); 0 switches it off. Not for threads. */
void pare_allocate_fail_at(size_t n);

/* *product = a * b; false when it overflows. */
bool pare_size_multiply(size_t *product, size_t a, size_t b) PARE_MUST_CHECK;

/* An arena owns everything pushed into it until it is closed; there is no single free. */
typedef struct pare_arena pare_arena;
pare_arena *pare_arena_open(pare_error *error) PARE_MUST_CHECK;
void pare_arena_close(pare_arena *arena); /* NULL is fine */
/* Zeroed, aligned to 64 bytes. */
void *pare_arena_push(pare_arena *arena, size_t count, size_t item_bytes, pare_error *error) PARE_MUST_CHECK;
/* A NUL-terminated copy of `length` bytes. */
char *pare_arena_copy(pare_arena *arena, const char *bytes, size_t length, pare_error *error) PARE_MUST_CHECK;
char *pare_arena_format(pare_arena *arena, pare_error *error, const char *format, ...) PARE_PRINTF(3, 4);
#define PARE_PUSH(arena, type, count, error) ((type *)pare_arena_push(arena, count, sizeof(type), error))

/* ---- strings ------------------------------------------------------------------------------ */

/* A growing byte string; always NUL-terminated after the first push. Start from {0}; a failed push is sticky
 * (`failed`), so that a long sequence of pushes needs one check at its end. */
typedef struct {
    char *data;
    size_t length, capacity;
    bool failed;
} pare_string;
void pare_string_push(pare_string *string, const char *bytes, size_t length);
void pare_string_print(pare_string *string, const char *format, ...) PARE_PRINTF(2, 3);
/* The shortest decimal text that reads back equal: 0.1, 1e-05, 3. */
void pare_string_number(pare_string *string, double value);
/* A count above 0 as people write it, "500000", "0.5M", "25k", "1G", to the nearest whole number; false: it is none, or 1e15 or more. */
bool pare_count_parse(uint64_t *count, const char *text) PARE_MUST_CHECK;
/* A number of bytes above 0: "1500000", "100M" and "100MB" (millions), "1.5G", "100MiB", "2GiB"; false: it is none, or 1e18 or more. */
bool pare_bytes_parse(uint64_t *bytes, const char *text) PARE_MUST_CHECK;
bool pare_string_check(const pare_string *string, pare_error *error) PARE_MUST_CHECK;
void pare_string_free(pare_string *string);

/* The candidate nearest to `word` by edit distance, or one that begins with it, whatever the case of letters; NULL when none is near: for
 * "did you mean". */
const char *pare_nearest(const char *word, const char *const *candidates, size_t n_candidates);

/* ---- files -------------------------------------------------------------------------------- */

/* A file mapped read-only. An empty file maps to size 0 and a non-NULL data. */
typedef struct {
    const uint8_t *data;
    size_t size;
} pare_map;
bool pare_map_open(pare_map *map, const char *path, pare_error *error) PARE_MUST_CHECK;
void pare_map_close(pare_map *map);
/* The file mapped at `address`, or the folder of the temporary numbers there; NULL: none of pare's. Async-signal-safe: when a file becomes
 * shorter while it is mapped, the system sends SIGBUS, and the handler can tell which file it was. */
const char *pare_map_name_at(const void *address);

bool pare_path_exists(const char *path); /* as a name: a link to nothing does */
bool pare_path_is_file(
    const char *path); /* at the end of links: for files that may be absent, as links of the hub's cache may lead nowhere */
bool pare_path_is_folder(const char *path);
bool pare_path_is_empty_folder(const char *path);

/* One output file: written under a temporary name beside `path`; commit does flush, fsync, rename, fsync of the folder.
 * abandon removes the temporary file. Both free the object. With replace = false an existing path is refused (CONFLICT), at the opening
 * and again at the commit: of two processes that make the same file at once, one succeeds. What killed processes left of the same output
 * (path.partial-PID that no process holds) is removed at the opening. */
typedef struct pare_output pare_output;
pare_output *pare_output_open(const char *path, bool replace, pare_error *error) PARE_MUST_CHECK;
bool pare_output_write(pare_output *output, const void *bytes, size_t n, pare_error *error) PARE_MUST_CHECK;
/* Hands what was written so far to the system; *temporary: the file's name until it is committed, for reading it back. */
bool pare_output_flush(const char **temporary, pare_output *output, pare_error *error) PARE_MUST_CHECK;
bool pare_output_commit(pare_output *output, pare_error *error) PARE_MUST_CHECK;
void pare_output_abandon(pare_output *output); /* NULL is fine */

/* One output folder, likewise: created as a temporary sibling; files are written into pare_folder_path(); commit renames it. An existing
 * empty folder may stand at `path`. With `replace` another folder may too: it is removed with its files when the new one takes its place.
 */
typedef struct pare_folder pare_folder;
pare_folder *pare_folder_open(const char *path, bool replace, pare_error *error) PARE_MUST_CHECK;
const char *pare_folder_path(const pare_folder *folder);
bool pare_folder_commit(pare_folder *folder, pare_error *error) PARE_MUST_CHECK;
void pare_folder_abandon(pare_folder *folder); /* removes what was written; NULL is fine */
/* Commits when `done`, else abandons, and is false then; *error keeps what was said before. */
bool pare_folder_close(pare_folder *folder, bool done, pare_error *error) PARE_MUST_CHECK;

/* Writes a whole file atomically (pare_output underneath). */
bool pare_file_write(const char *path, const void *bytes, size_t n, bool replace, pare_error *error) PARE_MUST_CHECK;

/* ---- hashes ------------------------------------------------------------------------------- */

typedef struct {
    char hex[65];
} pare_sha256;
/* Starts libcrypto; a program that may run out of memory later calls it first. Any number of times, from any thread. */
bool pare_hash_start(pare_error *error) PARE_MUST_CHECK;
/* SHA-256 (FIPS 180-4), by OpenSSL's libcrypto. MEMORY: libcrypto has none. */
bool pare_sha256_bytes(pare_sha256 *hash, const void *bytes, size_t n, pare_error *error) PARE_MUST_CHECK;

/* ---- random numbers ----------------------------------------------------------------------- */

/* Counter-based generator Philox4x32-10 (Salmon et al., SC'11): the stream is a function of (seed, purpose, step) alone,
 * so that no draw depends on what was drawn elsewhere. */
typedef struct {
    uint32_t key[2], counter[4], block[4];
    unsigned used;
} pare_random;
void pare_random_init(pare_random *random, uint64_t seed, const char *purpose, uint64_t step);
uint32_t pare_random_u32(pare_random *random);
uint32_t pare_random_below(pare_random *random, uint32_t bound); /* unbiased, bound >= 1 */
double pare_random_unit(pare_random *random);                    /* in [0, 1), 53 bits */

/* ---- spill -------------------------------------------------------------------------------- */

/* Large numbers that are needed now and then, in an unlinked temporary file that is mapped: the system writes them out when memory runs
 * short, and they can be let go of until they are needed again. */
typedef struct pare_spill pare_spill;

/* Zeros of so many bytes, page-aligned, the spill's own; *spill NULL: opened, in $TMPDIR, else /var/tmp. Space on the disk is taken at
 * once: a full one is an error here (IO, naming the folder) and no fault later. */
void *pare_spill_push(pare_spill **spill, size_t bytes, pare_error *error) PARE_MUST_CHECK;
/* Lets go of all pages; what they hold stays in the file. */
void pare_spill_drop(const pare_spill *spill);
bool pare_spill_holds(const pare_spill *spill, const void *at); /* NULL holds nothing */
void pare_spill_close(pare_spill *spill);                       /* NULL is fine */

/* ---- context ------------------------------------------------------------------------------ */

/* What long work needs from its caller; zero-initialised is valid (one thread, silent, never cancelled). */
typedef struct pare_context {
    int n_threads; /* 0 counts as 1 */
    /* Called from one thread now and then; done <= total in the same unit; total 0 when unknown. */
    void (*progress)(void *user, const char *stage, double done, double total);
    /* What the user should know of an input that is read all the same: one whole sentence, no newline. May be called several times with
     * one text. */
    void (*note)(void *user, const char *text);
    void *user;
    const volatile sig_atomic_t *cancel; /* non-zero: stop with PARE_ERROR_CANCELLED as soon as nothing is lost */
} pare_context;
int pare_context_threads(const pare_context *context);
void pare_context_progress(const pare_context *context, const char *stage, double done, double total);
void pare_context_note(const pare_context *context, const char *format, ...) PARE_PRINTF(2, 3);
bool pare_context_check(const pare_context *context, pare_error *error) PARE_MUST_CHECK; /* false when cancelled */

/* How many threads can compute at once: the processors that this process may run on, and no more than its control groups (cgroup v1 and
 * v2) pay for, rounded up: at least 1. */
int pare_processors(void);

double pare_clock_s(void);         /* monotonic seconds */
double pare_memory_peak_mib(void); /* peak resident set of this process, since the start or the last restart, MiB */
void pare_memory_peak_restart(void);
double pare_memory_machine(void); /* bytes that the machine has */

#ifdef __cplusplus
}
#endif
#endif
