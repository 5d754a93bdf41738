/* What the files of the store share: the open ledger, the fields of a record, and SQLite's errors as pare's. */
#ifndef PARE_STORE_IMPL_H
#define PARE_STORE_IMPL_H

#include <sqlite3.h>

#include "pare/store.h"

struct pare_store {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *insert, *find; /* prepared on first use */
    pare_arena *arena;
};

/* ---- record.c ---- */

typedef enum { FIELD_TEXT, FIELD_DOUBLE, FIELD_U64, FIELD_U32, FIELD_STATUS } store_field_kind;

/* One column of the table `run` and its place in pare_run_record. The column's name is the key in exported JSON as well. */
typedef struct {
    const char *column;
    store_field_kind kind;
    size_t offset;
} store_field;

extern const store_field store_fields[];
extern const size_t store_n_fields;

/* Pushes "key, spec, …", in the order of store_fields. */
void store_push_columns(pare_string *sql);
/* Binds parameters 1 … store_n_fields; the strings must stay until the statement is reset. */
bool store_bind(sqlite3_stmt *statement, const pare_run_record *record);
/* Reads and checks the current row: the file may have been made by anybody. Strings live until the next step. */
bool store_read(pare_run_record *record, sqlite3_stmt *statement, const char *path, pare_error *error) PARE_MUST_CHECK;

/* ---- schema.c ---- */

/* A ledger of this version at db, or an error; `write` allows an older one to be brought up to date. */
bool store_schema_check(sqlite3 *db, const char *path, bool write, pare_error *error) PARE_MUST_CHECK;
/* Whether an older pare wrote it. */
bool store_schema_is_older(sqlite3 *db);
/* Runs every migration that is missing, each in one transaction. */
bool store_schema_migrate(sqlite3 *db, const char *path, pare_error *error) PARE_MUST_CHECK;

/* ---- integrity.c ---- */

/* Reads the whole file: FORMAT with how much is lost when a page is damaged, for SQLite would leave out rows and say nothing. */
bool store_check_whole(sqlite3 *db, const char *path, pare_error *error) PARE_MUST_CHECK;

/* ---- store.c ---- */

/* Reports what SQLite said last about db: returns false. */
bool store_fail(pare_error *error, sqlite3 *db, const char *path, const char *what);

#endif
