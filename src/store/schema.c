/* schema: what a ledger file looks like, as a list of migrations: entry i brings version i to version i + 1.
 *
 * The version is SQLite's user_version; application_id tells a ledger from any other database. Entries are never edited once
 * released, only appended. https://www.sqlite.org/pragma.html#pragma_application_id
 */
#include <stdio.h>

#include "store_impl.h"

enum { APPLICATION_ID = 0x70617265 }; /* "pare" */

static const char *const migrations[] = {
    /* 1: one row per attempt. Rows are written once: the triggers refuse a change, a deletion, and a row after a run is done. */
    "PRAGMA application_id = 0x70617265;"
    "CREATE TABLE run ("
    " key TEXT NOT NULL CHECK (length(key) = 64), spec TEXT NOT NULL, attempt INTEGER NOT NULL CHECK (attempt >= 1),"
    " status TEXT NOT NULL CHECK (status IN ('done', 'failed')), reason_code TEXT, reason TEXT,"
    " model TEXT NOT NULL, model_path TEXT, model_sha256 TEXT, architecture TEXT,"
    " model_bytes INTEGER NOT NULL, n_parameters INTEGER NOT NULL, n_non_embedding INTEGER NOT NULL, vocabulary INTEGER NOT NULL,"
    " method TEXT NOT NULL, ratio REAL NOT NULL, multiple INTEGER NOT NULL, seed INTEGER NOT NULL,"
    " calibration_text TEXT, calibration_sha256 TEXT, calibration_windows INTEGER NOT NULL, calibration_length INTEGER NOT NULL,"
    " recovery_tokens REAL NOT NULL,"
    " protocol TEXT, data TEXT, data_sha256 TEXT, bos TEXT, weight_type TEXT,"
    " context INTEGER NOT NULL, windows INTEGER NOT NULL, tokens_in_text INTEGER NOT NULL, tokens_scored INTEGER NOT NULL,"
    " l0 REAL, cross_entropy REAL, cross_entropy_error REAL, perplexity REAL, perplexity_error REAL,"
    " parameters REAL, non_embedding REAL, bytes REAL, macs REAL,"
    " dense_width INTEGER NOT NULL, kept_width INTEGER NOT NULL,"
    " seconds_open REAL, seconds_calibrate REAL, seconds_score REAL, seconds_cut REAL, seconds_evaluate REAL,"
    " tokens_per_s REAL, max_rss_mib REAL,"
    " version TEXT, commit_id TEXT, kernels TEXT, blas TEXT, processor TEXT, threads INTEGER NOT NULL, started TEXT, finished TEXT,"
    " CHECK (status = 'failed' OR cross_entropy IS NOT NULL), CHECK (status = 'done' OR reason IS NOT NULL),"
    " PRIMARY KEY (key, attempt)) STRICT;"
    "CREATE TRIGGER run_is_final BEFORE INSERT ON run WHEN EXISTS (SELECT 1 FROM run WHERE key = NEW.key AND status = 'done')"
    " BEGIN SELECT RAISE(ABORT, 'the run is done'); END;"
    "CREATE TRIGGER run_not_edited BEFORE UPDATE ON run BEGIN SELECT RAISE(ABORT, 'results are never edited'); END;"
    "CREATE TRIGGER run_not_deleted BEFORE DELETE ON run BEGIN SELECT RAISE(ABORT, 'results are never deleted'); END;",
    /* 2: recovery training. */
    "ALTER TABLE run ADD COLUMN recovery_method TEXT;"
    "ALTER TABLE run ADD COLUMN recovery_text TEXT;"
    "ALTER TABLE run ADD COLUMN recovery_sha256 TEXT;"
    "ALTER TABLE run ADD COLUMN recovery_loss REAL;"
    "ALTER TABLE run ADD COLUMN seconds_recover REAL;",
    /* 3: who computes which run at the moment. A row of the run ends its claim. */
    "CREATE TABLE claim (key TEXT PRIMARY KEY NOT NULL CHECK (length(key) = 64), host TEXT NOT NULL, pid INTEGER NOT NULL,"
    " born TEXT NOT NULL, worker INTEGER NOT NULL, expires INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER run_ends_claim AFTER INSERT ON run BEGIN DELETE FROM claim WHERE key = NEW.key; END;",
    /* 4: keys that say everything. Canonical specs of schema 1 left out which kernels multiplied and what could not be set in a study:
     * both are known of every row (the column; the recipe of that time), so that its spec is completed and its key made again. Rows
     * whose key is not of their spec, or that do not tell their kernels, stay as they are: they are measured again when asked for. */
    "DROP TRIGGER run_not_edited;"
    "UPDATE run SET spec = replace(replace(replace(spec, '},\"method\":', '},\"kernels\":\"' || kernels || '\",\"method\":'),"
    " ',\"schedule\":', ',\"recipe\":{'"
    " || iif(json_extract(spec, '$.recovery.method') = 'full', '', '\"alpha\":32,')"
    " || '\"beta1\":0.9,\"beta2\":0.95,\"clip\":1,\"decay\":0.01,\"epsilon\":1e-08,\"micro\":0'"
    " || iif(json_extract(spec, '$.recovery.method') = 'full', '',"
    " ',\"targets\":\"q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj\"')"
    " || iif(json_extract(spec, '$.recovery.method') = 'distillation', ',\"temperature\":1', '')"
    " || ',\"warmup\":' || ifnull(min(400, json_extract(spec, '$.recovery.steps') / 10), 0)"
    " || iif(json_extract(spec, '$.recovery.method') = 'distillation', ',\"weight\":0.5', '')"
    " || '},\"schedule\":'), '\"schema\":1', '\"schema\":2')"
    " WHERE CASE WHEN json_valid(spec) AND kernels NOT GLOB '*[^a-z0-9]*'"
    " THEN json_extract(spec, '$.schema') = 1 AND key = pare_sha256(spec) ELSE 0 END;"
    "UPDATE run SET key = pare_sha256(spec) WHERE CASE WHEN json_valid(spec) THEN json_extract(spec, '$.schema') = 2 ELSE 0 END;"
    "CREATE TRIGGER run_not_edited BEFORE UPDATE ON run BEGIN SELECT RAISE(ABORT, 'results are never edited'); END;",
    /* 5: what several runs need and one worker measures. It is claimed by its key, as a run is. */
    ("CREATE TABLE shared (key TEXT PRIMARY KEY NOT NULL CHECK (length(key) = 64), spec TEXT NOT NULL, value BLOB NOT NULL) STRICT;"
     "CREATE TRIGGER shared_ends_claim AFTER INSERT ON shared BEGIN DELETE FROM claim WHERE key = NEW.key; END;"),
};
enum { VERSION = sizeof migrations / sizeof migrations[0] };

/* One whole number, by `sql`. */
static bool query_number(int64_t *value, sqlite3 *db, const char *sql, const char *path, pare_error *error) {
    sqlite3_stmt *statement = NULL;
    bool done = sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW;
    if (done)
        *value = sqlite3_column_int64(statement, 0);
    else
        store_fail(error, db, path, "cannot read the ledger");
    sqlite3_finalize(statement);
    return done;
}

bool store_schema_check(sqlite3 *db, const char *path, bool write, pare_error *error) {
    int64_t id, version, n_tables;
    if (!query_number(&id, db, "PRAGMA application_id", path, error) || !query_number(&version, db, "PRAGMA user_version", path, error))
        return false;
    if (id != APPLICATION_ID)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: is a SQLite database, but no ledger of pare (application id %lld)", path,
                         (long long)id);
    if (version > VERSION)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: is a ledger of version %lld, made by a newer pare; this one (%s) knows versions up to %d", path,
                         (long long)version, PARE_VERSION, VERSION);
    if (version < 1)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: is a ledger of version %lld, which no pare has written", path, (long long)version);
    if (version < VERSION && !write)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: is a ledger of the older version %lld; any use of a writable copy brings it to version %d", path,
                         (long long)version, VERSION);
    if (!query_number(&n_tables, db, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'run'", path, error))
        return false;
    if (n_tables != 1)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the table of runs is missing: no ledger of pare", path);
    return store_check_whole(db, path, error) && (version == VERSION || store_schema_migrate(db, path, error));
}

bool store_schema_is_older(sqlite3 *db) {
    int64_t id = 0, version = 0;
    return query_number(&id, db, "PRAGMA application_id", "", NULL) && id == APPLICATION_ID &&
           query_number(&version, db, "PRAGMA user_version", "", NULL) && version >= 1 && version < VERSION;
}

/* pare_sha256(text), for migrations. */
static void sha256_of(sqlite3_context *context, int n, sqlite3_value **values) {
    pare_sha256 hash;
    const char *text = n == 1 ? (const char *)sqlite3_value_text(values[0]) : NULL;
    if (text && pare_sha256_bytes(&hash, text, (size_t)sqlite3_value_bytes(values[0]), NULL))
        sqlite3_result_text(context, hash.hex, -1, SQLITE_TRANSIENT);
    else
        sqlite3_result_error(context, "cannot hash", -1);
}

/* The version is read again inside the transaction: another process may have migrated meanwhile. */
static bool migrate_once(int64_t *version, sqlite3 *db, const char *path, pare_error *error) {
    if (sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return store_fail(error, db, path, "cannot lock the ledger to bring it up to date");
    char set_version[64];
    bool done = query_number(version, db, "PRAGMA user_version", path, error);
    if (done && *version < VERSION) {
        snprintf(set_version, sizeof set_version, "PRAGMA user_version = %lld", (long long)*version + 1);
        done = sqlite3_exec(db, migrations[*version], NULL, NULL, NULL) == SQLITE_OK &&
               sqlite3_exec(db, set_version, NULL, NULL, NULL) == SQLITE_OK && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
        if (done)
            ++*version;
        else
            store_fail(error, db, path, "cannot write the ledger's tables");
    }
    if (sqlite3_get_autocommit(db) == 0)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return done;
}

bool store_schema_migrate(sqlite3 *db, const char *path, pare_error *error) {
    int64_t version = 0;
    if (sqlite3_create_function(db, "pare_sha256", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, sha256_of, NULL, NULL) != SQLITE_OK)
        return store_fail(error, db, path, "cannot bring the ledger up to date");
    while (version < VERSION)
        if (!migrate_once(&version, db, path, error))
            return false;
    return true;
}
