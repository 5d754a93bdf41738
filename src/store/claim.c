/* claim: which worker computes which run at the moment, so that no other does it as well.
 *
 * A claim is a row with a lease. It goes when its run is recorded (a trigger of the schema), when its worker gives it back, or when the
 * next worker that asks for the run finds its holder dead. Who is dead is the caller's judgement: this file only keeps the rows, each
 * change in one transaction.
 */
#include <string.h>

#include "store_impl.h"

#define CLAIM_IDENTITY "host = ?1 AND pid = ?2 AND born = ?3 AND worker = ?4"

/* The worker as parameters 1 to 4. */
static bool bind_worker(sqlite3_stmt *statement, const pare_claim *worker) {
    return sqlite3_bind_text(statement, 1, worker->host, -1, SQLITE_STATIC) == SQLITE_OK &&
           sqlite3_bind_int64(statement, 2, worker->pid) == SQLITE_OK &&
           sqlite3_bind_text(statement, 3, worker->born, -1, SQLITE_STATIC) == SQLITE_OK &&
           sqlite3_bind_int64(statement, 4, worker->worker) == SQLITE_OK;
}

/* Runs one statement of the worker and, where `sql` has them, of the key (5) and the end of the lease (6). */
static bool change(pare_store *store, const char *sql, const pare_claim *worker, const char *key, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    bool done = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) == SQLITE_OK && bind_worker(statement, worker) &&
                (!key || sqlite3_bind_text(statement, 5, key, -1, SQLITE_STATIC) == SQLITE_OK) &&
                (sqlite3_bind_parameter_count(statement) < 6 || sqlite3_bind_int64(statement, 6, worker->expires) == SQLITE_OK) &&
                sqlite3_step(statement) == SQLITE_DONE;
    if (!done)
        store_fail(error, store->db, store->path, "cannot change the claims");
    sqlite3_finalize(statement);
    return done;
}

static void copy_column(char *to, size_t size, sqlite3_stmt *statement, int at) {
    const char *text = (const char *)sqlite3_column_text(statement, at);
    size_t length = text ? strnlen(text, size - 1) : 0;
    if (length)
        memcpy(to, text, length);
    to[length] = '\0';
}

/* The row of "SELECT key, host, pid, born, worker, expires". */
static void read_claim(pare_claim *claim, sqlite3_stmt *statement) {
    copy_column(claim->key, sizeof claim->key, statement, 0);
    copy_column(claim->host, sizeof claim->host, statement, 1);
    claim->pid = sqlite3_column_int64(statement, 2);
    copy_column(claim->born, sizeof claim->born, statement, 3);
    claim->worker = sqlite3_column_int64(statement, 4);
    claim->expires = sqlite3_column_int64(statement, 5);
}

static bool find_claim(pare_claim *claim, bool *found, pare_store *store, const char *key, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    int status =
        sqlite3_prepare_v2(store->db, "SELECT key, host, pid, born, worker, expires FROM claim WHERE key = ?", -1, &statement, NULL);
    if (status == SQLITE_OK)
        status = sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    if (status == SQLITE_OK)
        status = sqlite3_step(statement);
    *found = status == SQLITE_ROW;
    if (*found)
        read_claim(claim, statement);
    else if (status != SQLITE_DONE)
        store_fail(error, store->db, store->path, "cannot look up a claim");
    sqlite3_finalize(statement);
    return status == SQLITE_ROW || status == SQLITE_DONE;
}

bool pare_store_claim(bool *mine, pare_claim *holder, pare_store *store, const char *key, const pare_claim *worker,
                      bool (*is_dead)(const pare_claim *claim), pare_error *error) {
    bool found = false;
    *mine = false;
    if (sqlite3_exec(store->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(error, store->db, store->path, "cannot lock the ledger to claim a run");
    bool done = find_claim(holder, &found, store, key, error);
    if (done && (!found || is_dead(holder)))
        *mine = done = change(store, "INSERT OR REPLACE INTO claim (host, pid, born, worker, key, expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                              worker, key, error);
    if (done && sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
        done = store_fail(error, store->db, store->path, "cannot claim a run");
    if (sqlite3_get_autocommit(store->db) == 0)
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    *mine = *mine && done;
    return done;
}

bool pare_store_renew(pare_store *store, const pare_claim *worker, pare_error *error) {
    return change(store, "UPDATE claim SET expires = ?6 WHERE " CLAIM_IDENTITY, worker, NULL, error);
}

bool pare_store_release(pare_store *store, const char *key, const pare_claim *worker, pare_error *error) {
    return key ? change(store, "DELETE FROM claim WHERE " CLAIM_IDENTITY " AND key = ?5", worker, key, error)
               : change(store, "DELETE FROM claim WHERE " CLAIM_IDENTITY, worker, NULL, error);
}

bool pare_store_claims(pare_claim **claims, size_t *n, pare_store *store, pare_arena *arena, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    pare_claim *found = NULL;
    size_t capacity = 0;
    *n = 0;
    int status =
        sqlite3_prepare_v2(store->db, "SELECT key, host, pid, born, worker, expires FROM claim ORDER BY key", -1, &statement, NULL);
    bool done = status == SQLITE_OK;
    while (done && (status = sqlite3_step(statement)) == SQLITE_ROW) {
        done = pare_grow((void **)&found, &capacity, *n + 1, sizeof *found, error);
        if (done)
            read_claim(&found[(*n)++], statement);
    }
    sqlite3_finalize(statement);
    if (done ? status != SQLITE_DONE : status != SQLITE_ROW)
        done = store_fail(error, store->db, store->path, "cannot read the claims");
    if (done && (*claims = PARE_PUSH(arena, pare_claim, *n ? *n : 1, error)) && *n)
        memcpy(*claims, found, *n * sizeof *found);
    pare_free(found);
    return done && *claims;
}

/* ---- what runs share ------------------------------------------------------------------------ */

bool pare_store_share(pare_store *store, const char *key, const char *spec, const void *value, size_t n, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    static const char sql[] = "INSERT OR IGNORE INTO shared (key, spec, value) VALUES (?, ?, ?)";
    bool done = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL) == SQLITE_OK &&
                sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_text(statement, 2, spec, -1, SQLITE_STATIC) == SQLITE_OK &&
                sqlite3_bind_blob64(statement, 3, value, n, SQLITE_STATIC) == SQLITE_OK && sqlite3_step(statement) == SQLITE_DONE;
    if (!done)
        store_fail(error, store->db, store->path, "cannot keep what runs share");
    sqlite3_finalize(statement);
    return done;
}

bool pare_store_shared(const void **value, size_t *n, pare_store *store, const char *key, pare_arena *arena, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    *value = NULL;
    *n = 0;
    int status = sqlite3_prepare_v2(store->db, "SELECT value FROM shared WHERE key = ?", -1, &statement, NULL);
    if (status == SQLITE_OK)
        status = sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    if (status == SQLITE_OK)
        status = sqlite3_step(statement);
    bool done = status == SQLITE_DONE;
    const void *blob = status == SQLITE_ROW ? sqlite3_column_blob(statement, 0) : NULL;
    if (blob) {
        *n = (size_t)sqlite3_column_bytes(statement, 0);
        *value = pare_arena_copy(arena, blob, *n, error);
        done = *value != NULL;
    } else if (!done) {
        store_fail(error, store->db, store->path, "cannot read what runs share");
    }
    sqlite3_finalize(statement);
    return done;
}
