/* store: opens a ledger, adds runs to it, finds and walks them. schema.c says what the file looks like, record.c how a row
 * becomes a record. https://www.sqlite.org/wal.html
 *
 * A new ledger is an output as all are: made under a temporary name, and given its own unless somebody was faster. Two processes that
 * create it at once end up with one ledger, and a full disk leaves none. Nothing in a file is trusted: the schema may call nothing
 * (trusted_schema off, defensive), values are checked when they are read.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_impl.h"

enum { BUSY_MS = 30000, VALUE_BYTES_MAX = 1 << 24 };

bool store_fail(pare_error *error, sqlite3 *db, const char *path, const char *what) {
    int status = sqlite3_errcode(db) & 0xff, system = sqlite3_system_errno(db);
    pare_code code = PARE_ERROR_IO;
    const char *reason = sqlite3_errmsg(db);
    switch (status) {
    case SQLITE_NOMEM: code = PARE_ERROR_MEMORY; break;
    case SQLITE_NOTADB: code = PARE_ERROR_FORMAT, reason = "it is no SQLite database"; break;
    case SQLITE_CORRUPT: code = PARE_ERROR_FORMAT, reason = "the database is damaged"; break;
    case SQLITE_ERROR: code = PARE_ERROR_FORMAT; break; /* a column or table that is not there */
    case SQLITE_TOOBIG: code = PARE_ERROR_RANGE; break;
    case SQLITE_BUSY: code = PARE_ERROR_CONFLICT, reason = "another process has kept it locked for 30 s"; break;
    case SQLITE_READONLY: reason = "it or its folder is not writable"; break;
    default: break;
    }
    bool told = system && (status == SQLITE_IOERR || status == SQLITE_CANTOPEN || status == SQLITE_FULL || status == SQLITE_READONLY);
    return pare_fail(error, code, "%s: %s: %s%s%s%s", path, what, reason, told ? " (" : "", told ? strerror(system) : "", told ? ")" : "");
}

/* ---- open --------------------------------------------------------------------------------- */

/* "file:" URI that says the file does not change: the one way to read a WAL ledger in a folder where nothing can be written. */
static void push_immutable_uri(pare_string *uri, const char *path) {
    pare_string_print(uri, "file:");
    for (const char *at = path; *at; at++)
        if (strchr("?#%", *at))
            pare_string_print(uri, "%%%02x", (unsigned)(unsigned char)*at);
        else
            pare_string_push(uri, at, 1);
    pare_string_print(uri, "?immutable=1");
}

static bool configure(sqlite3 *db, int flags) {
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, (int *)NULL);
    sqlite3_busy_timeout(db, BUSY_MS);
    return sqlite3_exec(db, "PRAGMA cell_size_check = ON", NULL, NULL, NULL) == SQLITE_OK &&
           (flags & SQLITE_OPEN_READONLY || sqlite3_exec(db, "PRAGMA synchronous = FULL", NULL, NULL, NULL) == SQLITE_OK);
}

/* Opens what is there. `name` is what SQLite gets, `path` what messages say. */
static sqlite3 *open_database(const char *name, const char *path, int flags, pare_error *error) {
    sqlite3 *db = NULL;
    bool done = sqlite3_open_v2(name, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL) == SQLITE_OK;
    if (done && configure(db, flags))
        return db;
    if (db)
        store_fail(error, db, path, "cannot open the ledger");
    else
        pare_fail(error, PARE_ERROR_MEMORY, "%s: out of memory", path);
    sqlite3_close(db);
    return NULL;
}

/* The empty file `temporary` becomes an empty ledger, in WAL mode, closed. */
static bool build_empty(const char *temporary, const char *path, pare_error *error) {
    sqlite3 *db = open_database(temporary, path, SQLITE_OPEN_READWRITE, error);
    bool done = db && store_schema_migrate(db, path, error);
    if (done && sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) != SQLITE_OK)
        done = store_fail(error, db, path, "cannot create the ledger");
    sqlite3_close(db);
    return done;
}

/* Where another process was faster its ledger is as good. */
static bool create(const char *path, pare_error *error) {
    pare_error problem = {0};
    const char *temporary;
    pare_output *output = pare_output_open(path, false, &problem);
    bool done = output && pare_output_flush(&temporary, output, &problem) && build_empty(temporary, path, &problem);
    if (done)
        done = pare_output_commit(output, &problem);
    else
        pare_output_abandon(output);
    if (!done && problem.code == PARE_ERROR_CONFLICT && pare_path_exists(path))
        return true;
    if (!done && error)
        *error = problem;
    return done;
}

static bool refuse_odd_file(const char *path, pare_store_mode mode, pare_error *error) {
    struct stat status;
    if (stat(path, &status) != 0)
        return pare_fail(error, PARE_ERROR_IO, "%s: cannot open the ledger: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return pare_fail(error, PARE_ERROR_IO, "%s: a ledger is a regular file, this is %s", path,
                         S_ISDIR(status.st_mode) ? "a folder" : "none");
    if (status.st_size == 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: is empty: no ledger of pare (remove it to start a new one)", path);
    /* SQLite says of a read-only file system that there is no such file */
    if (mode != PARE_STORE_READ && access(path, W_OK) != 0)
        return pare_fail(error, PARE_ERROR_IO, "%s: the ledger is not writable: %s", path, strerror(errno));
    return true;
}

/* In a folder where SQLite cannot make the files beside the ledger, a closed ledger is still complete by itself. */
static sqlite3 *open_read_only(const char *path, pare_error *error) {
    sqlite3 *db = open_database(path, path, SQLITE_OPEN_READONLY, error);
    if (db && sqlite3_exec(db, "SELECT count(*) FROM sqlite_schema", NULL, NULL, NULL) == SQLITE_OK)
        return db;
    int status = db ? sqlite3_errcode(db) & 0xff : SQLITE_OK;
    if (status != SQLITE_CANTOPEN && status != SQLITE_READONLY) {
        if (db)
            store_fail(error, db, path, "cannot read the ledger");
        sqlite3_close(db);
        return NULL;
    }
    pare_string wal = {0}, uri = {0};
    struct stat beside;
    pare_string_print(&wal, "%s-wal", path);
    push_immutable_uri(&uri, path);
    if (!pare_string_check(&wal, error) || !pare_string_check(&uri, error))
        status = SQLITE_NOMEM;
    else if (stat(wal.data, &beside) == 0 && beside.st_size > 0)
        pare_fail(error, PARE_ERROR_IO, "%s: its last rows are in %s, which cannot be read without writing here; copy both", path,
                  wal.data);
    else
        status = SQLITE_OK;
    sqlite3_close(db);
    db = status == SQLITE_OK ? open_database(uri.data, path, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, error) : NULL;
    pare_string_free(&wal);
    pare_string_free(&uri);
    return db;
}

pare_store *pare_store_open(const char *path, pare_store_mode mode, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_store *store = PARE_PUSH(arena, pare_store, 1, error);
    if (store) {
        store->arena = arena;
        /* "./" keeps a name such as :memory: from meaning anything but a file */
        store->path = pare_arena_format(arena, error, "%s%s", *path == '/' ? "" : "./", path);
    }
    if (store && store->path && (mode != PARE_STORE_CREATE || pare_path_exists(path) || create(store->path, error)) &&
        refuse_odd_file(path, mode, error)) {
        bool write = mode != PARE_STORE_READ;
        store->db = write ? open_database(store->path, path, SQLITE_OPEN_READWRITE, error) : open_read_only(store->path, error);
        if (store->db && !write && store_schema_is_older(store->db) && access(path, W_OK) == 0) {
            sqlite3_close(store->db);
            store->db = open_database(store->path, path, SQLITE_OPEN_READWRITE, error);
            write = true;
        }
        if (store->db && mode != PARE_STORE_READ && sqlite3_db_readonly(store->db, "main") == 1)
            pare_fail(error, PARE_ERROR_IO, "%s: the ledger is not writable", path);
        else if (store->db && store_schema_check(store->db, path, write, error))
            return store;
    }
    if (store)
        sqlite3_close(store->db);
    pare_arena_close(arena);
    return NULL;
}

void pare_store_close(pare_store *store) {
    if (!store)
        return;
    sqlite3_finalize(store->insert);
    sqlite3_finalize(store->find);
    sqlite3_close(store->db);
    pare_arena_close(store->arena);
}

/* ---- write -------------------------------------------------------------------------------- */

static bool check_record(const pare_run_record *record, pare_error *error) {
    const char *key = record->key ? record->key : "";
    if (strlen(key) != 64 || strspn(key, "0123456789abcdef") != 64)
        return pare_fail(error, PARE_ERROR_RANGE, "a run's key is 64 lower-case hex digits, not \"%.80s\"", key);
    if (!record->spec || !record->model.name || !record->method || !isfinite(record->ratio) || record->attempt < 1)
        return pare_fail(error, PARE_ERROR_RANGE, "run %s: a record needs a spec, model, method, ratio and attempt", key);
    if (record->status == PARE_RUN_DONE && !isfinite(record->cross_entropy))
        return pare_fail(error, PARE_ERROR_RANGE, "run %s: done, but its cross-entropy is not finite: record it as failed", key);
    if (record->status == PARE_RUN_FAILED && !record->reason)
        return pare_fail(error, PARE_ERROR_RANGE, "run %s: failed without a reason", key);
    for (size_t i = 0; i < store_n_fields; i++) {
        uint64_t value = 0;
        if (store_fields[i].kind == FIELD_U64)
            memcpy(&value, (const char *)record + store_fields[i].offset, sizeof value);
        if (value > INT64_MAX)
            return pare_fail(error, PARE_ERROR_RANGE, "run %s: %s is above 2^63 - 1", key, store_fields[i].column);
    }
    return true;
}

/* Prepares `before` + the columns + `after` once. */
static bool prepare(sqlite3_stmt **statement, pare_store *store, const char *before, const char *after, pare_error *error) {
    if (*statement)
        return true;
    pare_string sql = {0};
    pare_string_print(&sql, "%s", before);
    store_push_columns(&sql);
    pare_string_print(&sql, "%s", after);
    bool done = pare_string_check(&sql, error);
    if (done && sqlite3_prepare_v3(store->db, sql.data, -1, SQLITE_PREPARE_PERSISTENT, statement, NULL) != SQLITE_OK)
        done = store_fail(error, store->db, store->path, "cannot use the ledger");
    pare_string_free(&sql);
    return done;
}

static bool prepare_insert(pare_store *store, pare_error *error) {
    pare_string values = {0};
    pare_string_print(&values, ") VALUES (");
    for (size_t i = 0; i < store_n_fields; i++)
        pare_string_print(&values, "%s?", i ? ", " : "");
    pare_string_print(&values, ")");
    bool done = pare_string_check(&values, error) && prepare(&store->insert, store, "INSERT INTO run (", values.data, error);
    pare_string_free(&values);
    return done;
}

bool pare_store_insert(pare_store *store, const pare_run_record *record, pare_error *error) {
    if (!check_record(record, error) || !prepare_insert(store, error))
        return false;
    /* one statement is one transaction: it begins, writes, syncs and commits inside step */
    bool done = store_bind(store->insert, record) && sqlite3_step(store->insert) == SQLITE_DONE;
    int status = sqlite3_extended_errcode(store->db);
    if (!done && (status == SQLITE_CONSTRAINT_PRIMARYKEY || status == SQLITE_CONSTRAINT_TRIGGER))
        pare_fail(error, PARE_ERROR_CONFLICT, "%s: run %s is recorded already (attempt %u)", store->path, record->key, record->attempt);
    else if (!done)
        store_fail(error, store->db, store->path, "cannot record the run");
    sqlite3_reset(store->insert);
    sqlite3_clear_bindings(store->insert);
    return done;
}

/* ---- read --------------------------------------------------------------------------------- */

static bool keep_strings(pare_run_record *record, pare_arena *arena, pare_error *error) {
    for (size_t i = 0; i < store_n_fields; i++) {
        if (store_fields[i].kind != FIELD_TEXT)
            continue;
        const char **text = (const char **)(void *)((char *)record + store_fields[i].offset);
        if (*text && !(*text = pare_arena_copy(arena, *text, strlen(*text), error)))
            return false;
    }
    return true;
}

bool pare_store_find(pare_run_record *record, bool *found, pare_store *store, const char *key, pare_arena *arena, pare_error *error) {
    *found = false;
    if (!prepare(&store->find, store, "SELECT ", " FROM run WHERE key = ? ORDER BY attempt DESC LIMIT 1", error))
        return false;
    int status = sqlite3_bind_text(store->find, 1, key, -1, SQLITE_STATIC);
    if (status == SQLITE_OK)
        status = sqlite3_step(store->find);
    bool done = status == SQLITE_DONE;
    if (status == SQLITE_ROW)
        done = *found = store_read(record, store->find, store->path, error) && keep_strings(record, arena, error);
    else if (!done)
        store_fail(error, store->db, store->path, "cannot look up a run");
    sqlite3_reset(store->find);
    sqlite3_clear_bindings(store->find);
    return done;
}

bool pare_store_each(pare_store *store, pare_store_visit visit, void *user, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    if (!prepare(&statement, store, "SELECT ",
                 " FROM run WHERE attempt = (SELECT max(attempt) FROM run AS any WHERE any.key = run.key)"
                 " ORDER BY model, method, ratio, seed, recovery_method, recovery_tokens, key",
                 error))
        return false;
    bool done = true;
    int status = SQLITE_DONE;
    while (done && (status = sqlite3_step(statement)) == SQLITE_ROW) {
        pare_run_record record;
        done = store_read(&record, statement, store->path, error) && visit(user, &record, error);
    }
    if (done && status != SQLITE_DONE)
        done = store_fail(error, store->db, store->path, "cannot read the runs");
    sqlite3_finalize(statement);
    return done;
}

typedef struct {
    pare_run_record *records;
    size_t n, capacity;
    pare_arena *arena;
} loading;

static bool load_one(void *user, const pare_run_record *record, pare_error *error) {
    loading *all = user;
    if (all->n == PARE_STORE_LOAD_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "the ledger holds more than %d runs", PARE_STORE_LOAD_MAX);
    if (!pare_grow((void **)&all->records, &all->capacity, all->n + 1, sizeof *record, error))
        return false;
    all->records[all->n] = *record;
    return keep_strings(&all->records[all->n++], all->arena, error);
}

bool pare_store_load(pare_run_record **records, size_t *n, pare_store *store, pare_arena *arena, pare_error *error) {
    loading all = {.arena = arena};
    bool done = pare_store_each(store, load_one, &all, error) && (*records = PARE_PUSH(arena, pare_run_record, all.n ? all.n : 1, error));
    if (done && all.n)
        memcpy(*records, all.records, all.n * sizeof *all.records);
    *n = done ? all.n : 0;
    pare_free(all.records);
    return done;
}

bool pare_store_count(pare_store_counts *counts, pare_store *store, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    const char *sql = "SELECT count(DISTINCT iif(status = 'done', key, NULL)), count(DISTINCT key), count(*) FROM run";
    bool done = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    if (done) {
        /* a run with a done attempt has it as its latest: the ledger refuses any after it */
        counts->n_done = (uint64_t)sqlite3_column_int64(statement, 0);
        counts->n_failed = (uint64_t)sqlite3_column_int64(statement, 1) - counts->n_done;
        counts->n_attempts = (uint64_t)sqlite3_column_int64(statement, 2);
    } else {
        store_fail(error, store->db, store->path, "cannot count the runs");
    }
    sqlite3_finalize(statement);
    return done;
}
