/* The ledger: what goes in comes out, is never edited, and survives kills, full disks, other writers and hostile files. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test.h"

#include "pare/json.h"
#include "store_impl.h"

static char folder[300], path[400];

/* A file system without hard links: this definition goes before the C library's. */
int link(const char *from, const char *to) {
    (void)from;
    (void)to;
    errno = EPERM;
    return -1;
}

static int set_up(void **state) {
    (void)state;
    const char *made = test_folder();
    if (!made)
        return -1;
    snprintf(folder, sizeof folder, "%s", made);
    snprintf(path, sizeof path, "%s/ledger.db", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[700];
    snprintf(command, sizeof command, "chmod -R u+w '%s' && rm -rf '%s'", folder, folder);
    return system(command);
}

/* A key from a number: 64 hex digits. */
static const char *key_of(unsigned n) {
    static char key[65];
    snprintf(key, sizeof key, "%064x", n);
    return key;
}

static pare_run_record sample(const char *key) {
    pare_run_record record;
    pare_run_record_init(&record);
    record.key = key;
    record.spec = "{\"method\":\"wanda-sp\"}";
    record.model.name = "SmolLM2-135M-Instruct";
    record.model.n_vocabulary = 49152;
    record.method = "wanda-sp";
    record.ratio = 0.3;
    record.dense_cross_entropy = 3.1986;
    record.cross_entropy = 4.152;
    return record;
}

static pare_store *open_store(pare_store_mode mode) {
    pare_error error = {0};
    pare_store *store = pare_store_open(path, mode, &error);
    assert_done(store, error);
    return store;
}

static void insert_number(pare_store *store, unsigned n) {
    pare_error error = {0};
    pare_run_record record = sample(key_of(n));
    assert_done(pare_store_insert(store, &record, &error), error);
}

static void run_sql(const char *sql, int wanted) {
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL) & 0xff, wanted);
    sqlite3_close(db);
}

static void assert_intact(void) {
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), "ok");
    sqlite3_finalize(statement);
    sqlite3_close(db);
}

/* ---- what goes in comes out --------------------------------------------------------------- */

static char texts[64][40];

/* Every field gets a value of its own. */
static void fill(pare_run_record *record) {
    for (size_t i = 0; i < store_n_fields; i++) {
        void *member = (char *)record + store_fields[i].offset;
        snprintf(texts[i], sizeof texts[i], "text of %zu \xc3\xa9", i);
        switch (store_fields[i].kind) {
        case FIELD_TEXT: *(const char **)member = texts[i]; break;
        case FIELD_DOUBLE: *(double *)member = (double)i + 1.0 / 3.0; break;
        case FIELD_U64: *(uint64_t *)member = INT64_MAX - i; break;
        case FIELD_U32: *(uint32_t *)member = UINT32_MAX - (uint32_t)i; break;
        case FIELD_STATUS: *(pare_run_status *)member = PARE_RUN_FAILED; break;
        }
    }
    record->key = key_of(7);
}

static void test_every_field_returns(void **state) {
    (void)state;
    assert_true(store_n_fields < sizeof texts / sizeof texts[0]);
    pare_error error = {0};
    pare_run_record written, read;
    pare_run_record_init(&written);
    fill(&written);
    pare_store *store = open_store(PARE_STORE_CREATE);
    assert_done(pare_store_insert(store, &written, &error), error);
    pare_store_close(store);

    store = open_store(PARE_STORE_READ);
    pare_arena *arena = pare_arena_open(&error);
    bool found;
    assert_done(pare_store_find(&read, &found, store, key_of(7), arena, &error), error);
    assert_true(found);
    for (size_t i = 0; i < store_n_fields; i++) {
        size_t at = store_fields[i].offset;
        const void *a = (const char *)&written + at, *b = (const char *)&read + at;
        switch (store_fields[i].kind) {
        case FIELD_TEXT: assert_string_equal(*(const char *const *)a, *(const char *const *)b); break;
        case FIELD_DOUBLE: assert_memory_equal(a, b, sizeof(double)); break;
        case FIELD_U64: assert_memory_equal(a, b, sizeof(uint64_t)); break;
        case FIELD_U32: assert_memory_equal(a, b, sizeof(uint32_t)); break;
        case FIELD_STATUS: assert_memory_equal(a, b, sizeof(pare_run_status)); break;
        }
    }
    assert_done(pare_store_find(&read, &found, store, key_of(8), arena, &error), error);
    assert_false(found);
    pare_arena_close(arena);
    pare_store_close(store);
}

static void test_unknown_stays_unknown(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = open_store(PARE_STORE_CREATE);
    insert_number(store, 1);
    pare_run_record record;
    bool found;
    pare_arena *arena = pare_arena_open(&error);
    assert_done(pare_store_find(&record, &found, store, key_of(1), arena, &error), error);
    assert_true(found && isnan(record.perplexity) && isnan(record.removed.macs));
    assert_null(record.reason);
    assert_null(record.processor);
    assert_true(record.recovery_tokens == 0 && record.cross_entropy == 4.152);
    pare_arena_close(arena);
    pare_store_close(store);
}

/* ---- what was written stays --------------------------------------------------------------- */

static void test_retry_after_failure_only(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = open_store(PARE_STORE_CREATE);
    pare_run_record record = sample(key_of(1));
    record.status = PARE_RUN_FAILED;
    record.reason_code = "numeric";
    record.reason = "window 3: the cross-entropy is not finite";
    record.cross_entropy = PARE_UNKNOWN;
    assert_done(pare_store_insert(store, &record, &error), error);
    assert_fails(pare_store_insert(store, &record, &error), error, PARE_ERROR_CONFLICT, "recorded already (attempt 1)");

    record = sample(key_of(1));
    record.attempt = 2;
    assert_done(pare_store_insert(store, &record, &error), error);
    record.attempt = 3;
    assert_fails(pare_store_insert(store, &record, &error), error, PARE_ERROR_CONFLICT, "recorded already");

    pare_store_counts counts;
    assert_done(pare_store_count(&counts, store, &error), error);
    assert_int_equal(counts.n_done, 1);
    assert_int_equal(counts.n_failed, 0);
    assert_int_equal(counts.n_attempts, 2);
    pare_arena *arena = pare_arena_open(&error);
    bool found;
    assert_done(pare_store_find(&record, &found, store, key_of(1), arena, &error), error);
    assert_true(found && record.attempt == 2 && record.status == PARE_RUN_DONE);
    pare_arena_close(arena);
    pare_store_close(store);
}

static void test_rows_are_never_edited(void **state) {
    (void)state;
    pare_store *store = open_store(PARE_STORE_CREATE);
    insert_number(store, 1);
    pare_store_close(store);
    run_sql("UPDATE run SET cross_entropy = 1", SQLITE_CONSTRAINT);
    run_sql("DELETE FROM run", SQLITE_CONSTRAINT);
    run_sql("INSERT INTO run SELECT * FROM run", SQLITE_CONSTRAINT);
}

static void test_refuses_half_records(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = open_store(PARE_STORE_CREATE);
    pare_run_record record = sample(key_of(1));
    record.cross_entropy = (double)INFINITY;
    assert_fails(pare_store_insert(store, &record, &error), error, PARE_ERROR_RANGE, "not finite");
    record = sample(key_of(1));
    record.status = PARE_RUN_FAILED;
    assert_fails(pare_store_insert(store, &record, &error), error, PARE_ERROR_RANGE, "without a reason");
    record = sample("abc");
    assert_fails(pare_store_insert(store, &record, &error), error, PARE_ERROR_RANGE, "64 lower-case hex digits");
    record = sample(key_of(1));
    record.seed = UINT64_MAX;
    assert_fails(pare_store_insert(store, &record, &error), error, PARE_ERROR_RANGE, "seed is above");
    pare_store_counts counts;
    assert_done(pare_store_count(&counts, store, &error), error);
    assert_int_equal(counts.n_attempts, 0);
    pare_store_close(store);
}

/* ---- order and export --------------------------------------------------------------------- */

typedef struct {
    size_t n;
    double ratios[8];
    const char *methods[8];
} walk;

static bool note(void *user, const pare_run_record *record, pare_error *error) {
    (void)error;
    walk *seen = user;
    seen->methods[seen->n] = strcmp(record->method, "random") == 0 ? "random" : "wanda-sp";
    seen->ratios[seen->n++] = record->ratio;
    return true;
}

static bool stop(void *user, const pare_run_record *record, pare_error *error) {
    (void)record;
    ++*(int *)user;
    return pare_fail(error, PARE_ERROR_CANCELLED, "enough");
}

static void test_order_is_stable(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = open_store(PARE_STORE_CREATE);
    const double ratios[] = {0.5, 0.1, 0.9};
    for (unsigned i = 0; i < 6; i++) {
        pare_run_record record = sample(key_of(100 - i));
        record.method = i < 3 ? "wanda-sp" : "random";
        record.ratio = ratios[i % 3];
        assert_done(pare_store_insert(store, &record, &error), error);
    }
    walk seen = {0};
    assert_done(pare_store_each(store, note, &seen, &error), error);
    assert_int_equal(seen.n, 6);
    const double sorted[] = {0.1, 0.5, 0.9};
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(seen.methods[i], i < 3 ? "random" : "wanda-sp");
        assert_true(seen.ratios[i] == sorted[i % 3]);
    }
    pare_arena *arena = pare_arena_open(&error);
    pare_run_record *records;
    size_t n;
    assert_done(pare_store_load(&records, &n, store, arena, &error), error);
    assert_int_equal(n, 6);
    assert_string_equal(records[0].key, key_of(96)); /* random at 0.1 went in as number 100 - 4 */
    assert_true(records[5].ratio == 0.9);
    pare_arena_close(arena);
    int visited = 0;
    assert_fails(pare_store_each(store, stop, &visited, &error), error, PARE_ERROR_CANCELLED, "enough");
    assert_int_equal(visited, 1);
    pare_store_close(store);
}

static void test_export(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = open_store(PARE_STORE_CREATE);
    pare_run_record record = sample(key_of(1));
    record.model.name = "a \"quoted\", odd\nname";
    record.recovery_tokens = 2.5e6;
    record.removed.parameters = 0.25;
    assert_done(pare_store_insert(store, &record, &error), error);
    record = sample(key_of(2));
    record.model.name = "b";
    record.model.path = "bytes \xff";
    record.status = PARE_RUN_FAILED;
    record.reason = "no room";
    record.cross_entropy = PARE_UNKNOWN;
    assert_done(pare_store_insert(store, &record, &error), error);

    pare_string csv = {0}, json = {0};
    assert_done(pare_store_export_csv(&csv, store, &error), error);
    assert_ptr_equal(strstr(csv.data, "model,method,l0,r,d,l,ceiling,key,attempt,status,"), csv.data);
    assert_non_null(strstr(csv.data, ",parameters,non_embedding,bytes,macs,"));
    assert_non_null(strstr(csv.data, "\r\n\"a \"\"quoted\"\", odd\nname\",wanda-sp,3.1986,0.3,2.5,4.152,10.80267281650734"));
    assert_non_null(strstr(csv.data, "\r\nb,wanda-sp,3.1986,0.3,0,,10.80267281650734"));

    assert_done(pare_store_export_json(&json, store, &error), error);
    json_t *object = pare_json_parse(json.data, json.length, "export", &error), *array = json_object_get(object, "runs");
    assert_done(object, error);
    assert_int_equal(json_array_size(array), 2);
    json_t *first = json_array_get(array, 0), *second = json_array_get(array, 1);
    assert_string_equal(json_string_value(json_object_get(first, "model")), "a \"quoted\", odd\nname");
    assert_string_equal(json_string_value(json_object_get(json_object_get(first, "spec"), "method")), "wanda-sp");
    assert_true(json_number_value(json_object_get(first, "cross_entropy")) == 4.152);
    assert_true(json_number_value(json_object_get(first, "parameters")) == 0.25);
    assert_true(json_is_null(json_object_get(second, "cross_entropy")));
    assert_string_equal(json_string_value(json_object_get(second, "status")), "failed");
    assert_string_equal(json_string_value(json_object_get(second, "model_path")), "bytes ?");
    json_decref(object);
    pare_string_free(&csv);
    pare_string_free(&json);
    pare_store_close(store);
}

/* ---- files that are no ledger ------------------------------------------------------------- */

static void write_text(const char *text, size_t n) {
    pare_error error = {0};
    assert_done(pare_file_write(path, text, n, true, &error), error);
}

static void test_refuses_other_files(void **state) {
    (void)state;
    pare_error error = {0};
    assert_fails(pare_store_open(path, PARE_STORE_READ, &error), error, PARE_ERROR_IO, "No such file");
    assert_false(pare_path_exists(path));
    assert_fails(pare_store_open(folder, PARE_STORE_CREATE, &error), error, PARE_ERROR_IO, "a folder");
    assert_fails(pare_store_open("/dev/zero", PARE_STORE_READ, &error), error, PARE_ERROR_IO, "regular file");
    write_text("", 0);
    assert_fails(pare_store_open(path, PARE_STORE_CREATE, &error), error, PARE_ERROR_FORMAT, "is empty");
    static const char text[] = "model,method,l0,r,d,l\r\nand so on, but certainly no database, however long it may be and go on\r\n";
    write_text(text, sizeof text - 1);
    assert_fails(pare_store_open(path, PARE_STORE_WRITE, &error), error, PARE_ERROR_FORMAT, "no SQLite database");
    assert_fails(pare_store_open(path, PARE_STORE_READ, &error), error, PARE_ERROR_FORMAT, "no SQLite database");
    unlink(path);
    run_sql("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')", SQLITE_OK);
    assert_fails(pare_store_open(path, PARE_STORE_CREATE, &error), error, PARE_ERROR_FORMAT, "no ledger of pare");
    run_sql("SELECT text FROM notes", SQLITE_OK);
}

/* Version 1 knew no recovery. */
static void test_older_ledgers_are_brought_up(void **state) {
    (void)state;
    static const char down[] =
        "DROP TRIGGER run_ends_claim; DROP TABLE claim; DROP TABLE shared; ALTER TABLE run DROP COLUMN recovery_method; ALTER TABLE "
        "run DROP COLUMN recovery_text;"
        "ALTER TABLE run DROP COLUMN recovery_sha256; ALTER TABLE run DROP COLUMN recovery_loss;"
        "ALTER TABLE run DROP COLUMN seconds_recover; PRAGMA user_version = 1";
    pare_error error = {0};
    pare_run_record record = sample(key_of(1)), found;
    bool there = false;
    pare_store *store = open_store(PARE_STORE_CREATE);
    assert_done(pare_store_insert(store, &record, &error), error);
    pare_store_close(store);
    for (int mode = PARE_STORE_READ; mode <= PARE_STORE_CREATE; mode++) {
        pare_arena *arena = pare_arena_open(NULL);
        run_sql(down, SQLITE_OK);
        store = open_store((pare_store_mode)mode);
        assert_done(pare_store_find(&found, &there, store, record.key, arena, &error) && there, error);
        assert_true(found.cross_entropy == record.cross_entropy && found.recovery_tokens == record.recovery_tokens);
        assert_true(!found.recovery.method && isnan(found.recovery.loss) && isnan(found.seconds.recover));
        pare_store_close(store);
        pare_arena_close(arena);
    }
}

/* In another container a living process may have the same number. */
static void test_creation_spares_others(void **state) {
    (void)state;
    char peer[450], dead[450], beside[460];
    snprintf(peer, sizeof peer, "%s.partial-%ld", path, (long)getpid());
    snprintf(dead, sizeof dead, "%s.partial-1", path);
    snprintf(beside, sizeof beside, "%s-wal", dead);
    int held = open(peer, O_WRONLY | O_CREAT | O_EXCL, 0666);
    assert_int_equal(flock(held, LOCK_EX), 0);
    close(open(dead, O_WRONLY | O_CREAT | O_EXCL, 0666));
    close(open(beside, O_WRONLY | O_CREAT | O_EXCL, 0666));
    pare_store_close(open_store(PARE_STORE_CREATE));
    assert_true(pare_path_exists(peer));
    assert_false(pare_path_exists(dead) || pare_path_exists(beside));
    close(held);
}

static void test_refuses_newer_and_broken_ledgers(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store_close(open_store(PARE_STORE_CREATE));
    run_sql("PRAGMA user_version = 99", SQLITE_OK);
    assert_fails(pare_store_open(path, PARE_STORE_WRITE, &error), error, PARE_ERROR_UNSUPPORTED, "version 99, made by a newer pare");
    assert_fails(pare_store_open(path, PARE_STORE_READ, &error), error, PARE_ERROR_UNSUPPORTED, "version 99");
    run_sql("PRAGMA user_version = -3", SQLITE_OK);
    assert_fails(pare_store_open(path, PARE_STORE_WRITE, &error), error, PARE_ERROR_FORMAT, "version -3");
    run_sql("PRAGMA user_version = 1; DROP TABLE run", SQLITE_OK);
    assert_fails(pare_store_open(path, PARE_STORE_WRITE, &error), error, PARE_ERROR_FORMAT, "table of runs is missing");
    run_sql("CREATE TABLE run (key); PRAGMA user_version = 5", SQLITE_OK);
    pare_store *store = open_store(PARE_STORE_READ);
    walk seen = {0};
    assert_fails(pare_store_each(store, note, &seen, &error), error, PARE_ERROR_FORMAT, "no such column");
    pare_store_close(store);
}

/* A ledger that anybody may have written: right tables without their checks, wrong values. */
static void test_refuses_wrong_values(void **state) {
    (void)state;
    static const struct {
        const char *change, *message;
    } cases[] = {
        {"UPDATE run SET status = 'perhaps'", "the column status"},
        {"UPDATE run SET n_parameters = -1", "the column n_parameters"},
        {"UPDATE run SET threads = 5000000000", "the column threads"},
        {"UPDATE run SET cross_entropy = NULL", "without a cross-entropy"},
        {"UPDATE run SET cross_entropy = 'low'", "the column cross_entropy"},
        {"UPDATE run SET key = 'short'", "its key"},
        {"UPDATE run SET model = 'a' || char(0) || 'b'", "the column model"},
        {"UPDATE run SET ratio = 9e999", "its key, spec"},
    };
    pare_store *store = open_store(PARE_STORE_CREATE);
    insert_number(store, 1);
    pare_store_close(store);
    run_sql("CREATE TABLE copy AS SELECT * FROM run; DROP TABLE run", SQLITE_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_error error = {0};
        run_sql("CREATE TABLE run AS SELECT * FROM copy", SQLITE_OK);
        run_sql(cases[i].change, SQLITE_OK);
        store = open_store(PARE_STORE_READ);
        walk seen = {0};
        assert_fails(pare_store_each(store, note, &seen, &error), error, PARE_ERROR_FORMAT, cases[i].message);
        pare_store_close(store);
        run_sql("DROP TABLE run", SQLITE_OK);
    }
}

/* Flipped and cut-off ledgers: an error or a clean read, never a crash. */
static void test_survives_damage(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = open_store(PARE_STORE_CREATE);
    for (unsigned i = 0; i < 20; i++)
        insert_number(store, i);
    pare_store_close(store);
    pare_map map;
    assert_done(pare_map_open(&map, path, &error), error);
    size_t size = map.size, n_failed = 0;
    uint8_t *whole = pare_allocate(size, 1, &error);
    assert_non_null(whole);
    memcpy(whole, map.data, size);
    pare_map_close(&map);
    pare_random random;
    pare_random_init(&random, 1, "damage", 0);
    for (unsigned trial = 0; trial < 400; trial++) {
        size_t at = pare_random_below(&random, (uint32_t)(trial < 200 ? 4096 : size));
        uint8_t before = whole[at];
        whole[at] ^= (uint8_t)(1 + pare_random_below(&random, 255));
        write_text((const char *)whole, trial % 4 ? size : 1 + at);
        whole[at] = before;
        store = pare_store_open(path, trial & 1 ? PARE_STORE_READ : PARE_STORE_WRITE, &error);
        int visited = 0;
        n_failed += !store || !pare_store_each(store, stop, &visited, &error);
        pare_store_close(store);
    }
    assert_true(n_failed > 100);
    pare_free(whole);
}

/* Zeroes the page that holds the last entry of `table` (the run table, or the index of its keys), and says how many rows are left. */
static void spoil_page(const char *table) {
    pare_error error = {0};
    char sql[200];
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", table);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    size_t root = (size_t)sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    pare_map map;
    assert_done(pare_map_open(&map, path, &error), error);
    uint8_t *bytes = pare_allocate(map.size, 1, &error);
    assert_non_null(bytes);
    memcpy(bytes, map.data, map.size);
    size_t size = map.size, page = (size_t)(bytes[16] << 8 | bytes[17]);
    pare_map_close(&map);
    uint8_t *at = bytes + (root - 1) * page;
    size_t child = (size_t)at[8] << 24 | (size_t)at[9] << 16 | (size_t)at[10] << 8 | at[11]; /* the right-most one */
    assert_true(at[0] == 5 || at[0] == 2);                                                   /* an inner page of a table, of an index */
    at = bytes + (child - 1) * page;
    at[3] = at[4] = 0; /* no cells: the rows on this page are gone, and the page is sound */
    write_text((const char *)bytes, size);
    pare_free(bytes);
}

/* SQLite answers without the rows of such a page, and says nothing. */
static void test_damage_is_told(void **state) {
    (void)state;
    static const char *const tables[] = {"run", "sqlite_autoindex_run_1"};
    for (size_t i = 0; i < 2; i++) {
        pare_error error = {0};
        unsigned lost = 0, told = 0, whole = 0;
        pare_store *store = open_store(PARE_STORE_CREATE);
        for (unsigned n = 0; n < 200; n++)
            insert_number(store, n);
        pare_store_close(store);
        spoil_page(tables[i]);
        for (int mode = PARE_STORE_READ; mode <= PARE_STORE_CREATE; mode++)
            assert_fails(pare_store_open(path, (pare_store_mode)mode, &error), error, PARE_ERROR_FORMAT, "the ledger is damaged (");
        const char *rows = strstr(error.message, "). ");
        assert_true(rows && sscanf(rows, "). %u of its %u rows can still be read", &told, &whole) == 2);
        lost = whole - told;
        assert_true(i == 0 ? lost > 0 && lost < 50 && whole <= 200 : lost == 0 && whole == 200);
        unlink(path);
    }
}

/* ---- claims --------------------------------------------------------------------------------- */

static bool is_pid_7(const pare_claim *claim) {
    return claim->pid == 7;
}

static bool claim(pare_claim *holder, pare_store *store, unsigned n, const pare_claim *worker) {
    pare_error error = {0};
    bool mine;
    assert_done(pare_store_claim(&mine, holder, store, key_of(n), worker, is_pid_7, &error), error);
    return mine;
}

static void test_a_run_has_one_worker(void **state) {
    (void)state;
    pare_error error = {0};
    pare_arena *arena = pare_arena_open(NULL);
    pare_store *store = open_store(PARE_STORE_CREATE), *other = open_store(PARE_STORE_WRITE);
    const pare_claim one = {.host = "here", .pid = 1, .born = "10", .expires = 1000}, two = {.host = "here", .pid = 2, .expires = 2000},
                     dead = {.host = "there", .pid = 7, .expires = 3000}, second = {.host = "here", .pid = 1, .born = "10", .worker = 1};
    pare_claim holder, *all;
    size_t n;
    assert_true(claim(&holder, store, 1, &one));
    assert_false(claim(&holder, other, 1, &two));
    assert_true(holder.pid == 1 && strcmp(holder.born, "10") == 0 && strcmp(holder.host, "here") == 0 && holder.expires == 1000);
    assert_false(claim(&holder, store, 1, &second)); /* another call of the same process */
    assert_true(claim(&holder, other, 2, &two) && claim(&holder, store, 3, &dead) && claim(&holder, other, 3, &two));
    pare_claim later = two;
    later.expires = 5000;
    assert_done(pare_store_renew(store, &later, &error), error);
    assert_done(pare_store_claims(&all, &n, store, arena, &error), error);
    assert_int_equal(n, 3);
    assert_true(strcmp(all[0].key, key_of(1)) == 0 && all[0].expires == 1000 && all[1].expires == 5000 && all[2].pid == 2);
    insert_number(other, 2);                                                /* a row ends the claim, whoever wrote it */
    assert_done(pare_store_release(store, key_of(1), &two, &error), error); /* not its own */
    assert_done(pare_store_claims(&all, &n, store, arena, &error), error);
    assert_int_equal(n, 2);
    assert_done(pare_store_release(store, NULL, &two, &error) && pare_store_release(store, key_of(1), &one, &error), error);
    assert_done(pare_store_claims(&all, &n, store, arena, &error), error);
    assert_int_equal(n, 0);
    pare_store_close(store);
    pare_store_close(other);
    pare_arena_close(arena);
}

/* ---- other processes, and no room --------------------------------------------------------- */

/* Runs `work` in a child that is not root; its exit status. */
static int in_child(int (*work)(void), bool drop) {
    pid_t child = fork();
    if (child == 0) {
        if (drop && geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(77);
        _exit(work());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static bool count_visits(void *user, const pare_run_record *record, pare_error *error) {
    (void)record, (void)error;
    ++*(int *)user;
    return true;
}

static int read_in_sealed_folder(void) {
    pare_error error = {0};
    pare_store *store = pare_store_open(path, PARE_STORE_READ, &error);
    int visited = 0;
    if (!store || !pare_store_each(store, count_visits, &visited, &error) || visited != 1) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    pare_store_close(store);
    if (pare_store_open(path, PARE_STORE_WRITE, &error) || error.code != PARE_ERROR_IO || !strstr(error.message, "not writable"))
        return 2;
    snprintf(path, sizeof path, "%s/new.db", folder);
    if (pare_store_open(path, PARE_STORE_CREATE, &error) || error.code != PARE_ERROR_IO || !strstr(error.message, "Permission denied"))
        return 3;
    return 0;
}

static void test_read_only_folder(void **state) {
    (void)state;
    pare_store *store = open_store(PARE_STORE_CREATE);
    insert_number(store, 1);
    pare_store_close(store);
    assert_int_equal(chmod(path, 0444), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    assert_int_equal(in_child(read_in_sealed_folder, true), 0);
}

/* No file may grow above the limit: what a full disk does to SQLite. */
static void limit_files(size_t bytes) {
    struct rlimit limit = {bytes, bytes};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

static int create_on_full_disk(void) {
    pare_error error = {0};
    limit_files(6000);
    pare_store *store = pare_store_open(path, PARE_STORE_CREATE, &error);
    if (store || (error.code != PARE_ERROR_IO && error.code != PARE_ERROR_FORMAT))
        return 1;
    return pare_path_exists(path) ? 2 : 0;
}

static int fill_disk(void) {
    pare_error error = {0};
    limit_files(200000);
    pare_store *store = pare_store_open(path, PARE_STORE_WRITE, &error);
    if (!store)
        return 255;
    int written = 0;
    for (unsigned i = 0; i < 5000; i++) {
        pare_run_record record = sample(key_of(i));
        if (!pare_store_insert(store, &record, &error)) {
            pare_store_close(store);
            return error.code == PARE_ERROR_IO && strstr(error.message, "cannot record the run") ? written : 254;
        }
        written = i < 250 ? written + 1 : 250;
    }
    return 253;
}

static void test_full_disk(void **state) {
    (void)state;
    assert_int_equal(in_child(create_on_full_disk, false), 0);
    pare_store_close(open_store(PARE_STORE_CREATE));
    int written = in_child(fill_disk, false);
    assert_true(written > 0 && written < 253);
    assert_intact();
    pare_error error = {0};
    pare_store_counts counts;
    pare_store *store = open_store(PARE_STORE_WRITE);
    assert_done(pare_store_count(&counts, store, &error), error);
    assert_true(counts.n_done >= (uint64_t)written);
    insert_number(store, 999999);
    pare_store_close(store);
}

/* A child inserts 0, 1, 2, … and tells each one through the pipe once it is in the ledger. */
static void insert_until_killed(int pipe_end, unsigned first) {
    pare_error error = {0};
    pare_store *store = pare_store_open(path, PARE_STORE_CREATE, &error);
    for (unsigned i = first; store; i++) {
        pare_run_record record = sample(key_of(i));
        if (!pare_store_insert(store, &record, &error) || write(pipe_end, &i, sizeof i) != sizeof i)
            break;
    }
    _exit(1);
}

static void test_kill_loses_only_the_run_in_flight(void **state) {
    (void)state;
    pare_random random;
    pare_random_init(&random, 3, "kill", 0);
    unsigned next = 0;
    for (unsigned trial = 0; trial < 25; trial++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0)
            insert_until_killed(ends[1], next);
        close(ends[1]);
        unsigned told;
        for (int k = 0; trial % 4 && k < 2; k++) { /* on a busy machine a child needs its time for a row; every fourth may have none */
            assert_int_equal(read(ends[0], &told, sizeof told), sizeof told);
            next = told + 1;
        }
        usleep(2000 + pare_random_below(&random, 40000));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        for (; read(ends[0], &told, sizeof told) == sizeof told;)
            next = told + 1;
        close(ends[0]);

        pare_error error = {0};
        pare_store_counts counts;
        pare_store *store = open_store(PARE_STORE_CREATE);
        assert_done(pare_store_count(&counts, store, &error), error);
        assert_true(counts.n_done == next || counts.n_done == next + 1); /* the last may be in and not yet told */
        next = (unsigned)counts.n_done;
        pare_store_close(store);
        assert_intact();
    }
    assert_true(next > 25);
}

enum { N_WRITERS = 4, N_KEYS = 60 };

/* Every writer tries every key, each in its own order; the exit status counts what was its own. */
static int write_all_keys(unsigned writer) {
    pare_error error = {0};
    int own = 0;
    pare_store *store = pare_store_open(path, PARE_STORE_CREATE, &error);
    if (!store)
        return 255;
    for (unsigned i = 0; i < N_KEYS; i++) {
        pare_run_record record = sample(key_of((i + writer * N_KEYS / N_WRITERS) % N_KEYS));
        if (pare_store_insert(store, &record, &error))
            own++;
        else if (error.code != PARE_ERROR_CONFLICT)
            return 254;
    }
    pare_store_close(store);
    return own;
}

static void test_several_writers(void **state) {
    (void)state;
    pid_t children[N_WRITERS];
    for (unsigned i = 0; i < N_WRITERS; i++)
        if ((children[i] = fork()) == 0)
            _exit(write_all_keys(i));
    int total = 0;
    for (unsigned i = 0; i < N_WRITERS; i++) {
        int status = 0;
        waitpid(children[i], &status, 0);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= N_KEYS);
        total += WEXITSTATUS(status);
    }
    assert_int_equal(total, N_KEYS);
    assert_intact();
    pare_error error = {0};
    pare_store_counts counts;
    pare_store *store = open_store(PARE_STORE_READ);
    assert_done(pare_store_count(&counts, store, &error), error);
    assert_int_equal(counts.n_attempts, N_KEYS);
    pare_store_close(store);
}

/* Each allocation fails once; the ledger works afterwards. */
static void test_out_of_memory(void **state) {
    (void)state;
    pare_store *store = open_store(PARE_STORE_CREATE);
    insert_number(store, 1);
    pare_store_close(store);
    bool done = false;
    for (size_t n = 1; n < 200 && !done; n++) {
        pare_error error = {0};
        pare_arena *arena = pare_arena_open(&error);
        pare_run_record record;
        pare_string csv = {0};
        bool found;
        pare_allocate_fail_at(n);
        store = pare_store_open(path, PARE_STORE_WRITE, &error);
        done = store && pare_store_find(&record, &found, store, key_of(1), arena, &error) && pare_store_export_csv(&csv, store, &error);
        pare_allocate_fail_at(0);
        assert_true(done || error.code == PARE_ERROR_MEMORY);
        pare_store_close(store);
        pare_string_free(&csv);
        pare_arena_close(arena);
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_field_returns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_stays_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_retry_after_failure_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rows_are_never_edited, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_half_records, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_order_is_stable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_export, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_other_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_older_ledgers_are_brought_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_creation_spares_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_newer_and_broken_ledgers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refuses_wrong_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_survives_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_run_has_one_worker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_only_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kill_loses_only_the_run_in_flight, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_several_writers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_out_of_memory, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("store.ledger", tests, NULL, NULL);
}
