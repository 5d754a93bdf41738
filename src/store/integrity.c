/* integrity: is every page of a ledger what it was? SQLite looks only at the pages that a query needs: behind a damaged page of an index
 * rows are left out, and the query ends well. So every opening asks first (https://www.sqlite.org/pragma.html#pragma_integrity_check),
 * and a damaged ledger is neither exported nor fitted, reported or gone on with.
 */
#include <stdio.h>
#include <string.h>

#include "store_impl.h"

enum { PROBE_MAX = 1000000 }; /* rows that are counted one by one */

/* How many of the rows 1 to `last` can be read whole. Rows are never deleted, so that every number had one. */
static int64_t count_readable(sqlite3 *db, int64_t last) {
    pare_string sql = {0};
    sqlite3_stmt *statement = NULL;
    pare_run_record record;
    int64_t n = 0;
    pare_string_print(&sql, "SELECT ");
    store_push_columns(&sql);
    pare_string_print(&sql, " FROM run NOT INDEXED WHERE rowid = ?");
    bool ready = !sql.failed && sqlite3_prepare_v2(db, sql.data, -1, &statement, NULL) == SQLITE_OK;
    for (int64_t row = 1; ready && row <= last; row++) {
        ready = sqlite3_bind_int64(statement, 1, row) == SQLITE_OK;
        n += sqlite3_step(statement) == SQLITE_ROW && store_read(&record, statement, "", NULL);
        sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    pare_string_free(&sql);
    return n;
}

/* The number of the last row, by the table or by its index, whichever can be read; 0: neither. */
static int64_t last_row(sqlite3 *db) {
    static const char *const ways[] = {"SELECT max(rowid) FROM run NOT INDEXED", "SELECT count(*) FROM run"};
    int64_t last = 0;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        sqlite3_stmt *statement = NULL;
        if (sqlite3_prepare_v2(db, ways[i], -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW &&
            sqlite3_column_int64(statement, 0) > last)
            last = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
    }
    return last;
}

static bool tell_damage(sqlite3 *db, const char *path, const char *found, pare_error *error) {
    char rows[80] = "";
    int64_t last = last_row(db);
    if (last > 0 && last <= PROBE_MAX)
        snprintf(rows, sizeof rows, " %lld of its %lld rows can still be read.", (long long)count_readable(db, last), (long long)last);
    return pare_fail(error, PARE_ERROR_FORMAT,
                     "%s: the ledger is damaged (%.200s).%s Take a copy that is whole, or save what is left by: "
                     "sqlite3 LEDGER .recover | sqlite3 NEW-LEDGER",
                     path, found, rows);
}

bool store_check_whole(sqlite3 *db, const char *path, pare_error *error) {
    char found[256] = "";
    sqlite3_stmt *statement = NULL;
    int status = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &statement, NULL);
    if (status == SQLITE_OK)
        status = sqlite3_step(statement);
    const char *text = status == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    snprintf(found, sizeof found, "%s", text ? text : sqlite3_errmsg(db));
    for (char *at = found; (at = strchr(at, '\n'));)
        *at = ' ';
    bool whole = text && strcmp(text, "ok") == 0;
    status = sqlite3_errcode(db) & 0xff;
    if (!whole && (text || status == SQLITE_CORRUPT))
        tell_damage(db, path, found, error);
    else if (!whole)
        store_fail(error, db, path, "cannot read the ledger");
    sqlite3_finalize(statement);
    return whole;
}
