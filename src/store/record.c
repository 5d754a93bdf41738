/* record: one table joins the columns of the ledger, the members of pare_run_record and the keys of exported JSON. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "store_impl.h"

#define FIELD(column, kind, member)                                                                                                        \
    { column, FIELD_##kind, offsetof(pare_run_record, member) }

const store_field store_fields[] = {
    FIELD("key", TEXT, key),
    FIELD("spec", TEXT, spec),
    FIELD("attempt", U32, attempt),
    FIELD("status", STATUS, status),
    FIELD("reason_code", TEXT, reason_code),
    FIELD("reason", TEXT, reason),
    FIELD("model", TEXT, model.name),
    FIELD("model_path", TEXT, model.path),
    FIELD("model_sha256", TEXT, model.sha256),
    FIELD("architecture", TEXT, model.architecture),
    FIELD("model_bytes", U64, model.bytes),
    FIELD("n_parameters", U64, model.n_parameters),
    FIELD("n_non_embedding", U64, model.n_non_embedding),
    FIELD("vocabulary", U64, model.n_vocabulary),
    FIELD("method", TEXT, method),
    FIELD("ratio", DOUBLE, ratio),
    FIELD("multiple", U32, multiple),
    FIELD("seed", U64, seed),
    FIELD("calibration_text", TEXT, calibration.text),
    FIELD("calibration_sha256", TEXT, calibration.sha256),
    FIELD("calibration_windows", U64, calibration.n_windows),
    FIELD("calibration_length", U64, calibration.length),
    FIELD("recovery_tokens", DOUBLE, recovery_tokens),
    FIELD("recovery_method", TEXT, recovery.method),
    FIELD("recovery_text", TEXT, recovery.text),
    FIELD("recovery_sha256", TEXT, recovery.sha256),
    FIELD("recovery_loss", DOUBLE, recovery.loss),
    FIELD("protocol", TEXT, evaluation.protocol),
    FIELD("data", TEXT, evaluation.data),
    FIELD("data_sha256", TEXT, evaluation.data_sha256),
    FIELD("bos", TEXT, evaluation.bos),
    FIELD("weight_type", TEXT, evaluation.weight_type),
    FIELD("context", U64, evaluation.context),
    FIELD("windows", U64, evaluation.n_windows),
    FIELD("tokens_in_text", U64, evaluation.tokens_in_text),
    FIELD("tokens_scored", U64, evaluation.tokens_scored),
    FIELD("l0", DOUBLE, dense_cross_entropy),
    FIELD("cross_entropy", DOUBLE, cross_entropy),
    FIELD("cross_entropy_error", DOUBLE, cross_entropy_error),
    FIELD("perplexity", DOUBLE, perplexity),
    FIELD("perplexity_error", DOUBLE, perplexity_error),
    FIELD("parameters", DOUBLE, removed.parameters),
    FIELD("non_embedding", DOUBLE, removed.non_embedding),
    FIELD("bytes", DOUBLE, removed.bytes),
    FIELD("macs", DOUBLE, removed.macs),
    FIELD("dense_width", U64, dense_width),
    FIELD("kept_width", U64, kept_width),
    FIELD("seconds_open", DOUBLE, seconds.open),
    FIELD("seconds_calibrate", DOUBLE, seconds.calibrate),
    FIELD("seconds_score", DOUBLE, seconds.score),
    FIELD("seconds_cut", DOUBLE, seconds.cut),
    FIELD("seconds_recover", DOUBLE, seconds.recover),
    FIELD("seconds_evaluate", DOUBLE, seconds.evaluate),
    FIELD("tokens_per_s", DOUBLE, tokens_per_s),
    FIELD("max_rss_mib", DOUBLE, peak_mib),
    FIELD("version", TEXT, version),
    FIELD("commit_id", TEXT, commit),
    FIELD("kernels", TEXT, kernels),
    FIELD("blas", TEXT, blas),
    FIELD("processor", TEXT, processor),
    FIELD("threads", U32, n_threads),
    FIELD("started", TEXT, started),
    FIELD("finished", TEXT, finished),
};
const size_t store_n_fields = sizeof store_fields / sizeof store_fields[0];

const char *pare_run_status_name(pare_run_status status) {
    return status == PARE_RUN_DONE ? "done" : "failed";
}

void pare_run_record_init(pare_run_record *record) {
    *record = (pare_run_record){.attempt = 1, .status = PARE_RUN_DONE, .multiple = 1};
    for (size_t i = 0; i < store_n_fields; i++)
        if (store_fields[i].kind == FIELD_DOUBLE)
            *(double *)(void *)((char *)record + store_fields[i].offset) = PARE_UNKNOWN;
    record->recovery_tokens = 0;
}

void store_push_columns(pare_string *sql) {
    for (size_t i = 0; i < store_n_fields; i++)
        pare_string_print(sql, "%s%s", i ? ", " : "", store_fields[i].column);
}

bool store_bind(sqlite3_stmt *statement, const pare_run_record *record) {
    int status = SQLITE_OK;
    for (size_t i = 0; i < store_n_fields && status == SQLITE_OK; i++) {
        const void *member = (const char *)record + store_fields[i].offset;
        int at = (int)i + 1;
        switch (store_fields[i].kind) {
        case FIELD_TEXT: status = sqlite3_bind_text(statement, at, *(const char *const *)member, -1, SQLITE_STATIC); break;
        case FIELD_DOUBLE: status = sqlite3_bind_double(statement, at, *(const double *)member); break; /* NaN becomes NULL */
        case FIELD_U64: status = sqlite3_bind_int64(statement, at, (int64_t) * (const uint64_t *)member); break;
        case FIELD_U32: status = sqlite3_bind_int64(statement, at, *(const uint32_t *)member); break;
        case FIELD_STATUS:
            status = sqlite3_bind_text(statement, at, pare_run_status_name(*(const pare_run_status *)member), -1, SQLITE_STATIC);
            break;
        }
    }
    return status == SQLITE_OK;
}

static bool read_whole(uint64_t *value, sqlite3_stmt *statement, int at, uint64_t limit) {
    int64_t number = sqlite3_column_int64(statement, at);
    *value = (uint64_t)number;
    return sqlite3_column_type(statement, at) == SQLITE_INTEGER && number >= 0 && *value <= limit;
}

/* NULL, or text without a NUL inside. */
static bool read_text(const char **value, sqlite3_stmt *statement, int at) {
    int type = sqlite3_column_type(statement, at);
    *value = type == SQLITE_NULL ? NULL : (const char *)sqlite3_column_text(statement, at);
    return type == SQLITE_NULL || (*value && strlen(*value) == (size_t)sqlite3_column_bytes(statement, at));
}

static bool read_field(void *member, sqlite3_stmt *statement, int at, store_field_kind kind) {
    const char *text;
    uint64_t number;
    switch (kind) {
    case FIELD_TEXT: return read_text(member, statement, at);
    case FIELD_U64: return read_whole(member, statement, at, INT64_MAX);
    case FIELD_U32:
        if (!read_whole(&number, statement, at, UINT32_MAX))
            return false;
        *(uint32_t *)member = (uint32_t)number;
        return true;
    case FIELD_STATUS:
        if (!read_text(&text, statement, at) || !text)
            return false;
        *(pare_run_status *)member = strcmp(text, "done") == 0 ? PARE_RUN_DONE : PARE_RUN_FAILED;
        return strcmp(text, "done") == 0 || strcmp(text, "failed") == 0;
    case FIELD_DOUBLE: break;
    }
    int type = sqlite3_column_type(statement, at);
    *(double *)member = type == SQLITE_NULL ? PARE_UNKNOWN : sqlite3_column_double(statement, at);
    return type == SQLITE_NULL || type == SQLITE_FLOAT || type == SQLITE_INTEGER;
}

bool store_read(pare_run_record *record, sqlite3_stmt *statement, const char *path, pare_error *error) {
    for (size_t i = 0; i < store_n_fields; i++)
        if (!read_field((char *)record + store_fields[i].offset, statement, (int)i, store_fields[i].kind))
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: run %.64s: the column %s holds what no pare has written", path,
                             i && record->key ? record->key : "?", store_fields[i].column);
    if (!record->key || strlen(record->key) != 64 || !record->spec || !record->model.name || !record->method || !isfinite(record->ratio))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: run %.64s: its key, spec, model, method or ratio is missing", path,
                         record->key ? record->key : "?");
    if (record->status == PARE_RUN_DONE && !isfinite(record->cross_entropy))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: run %s is done without a cross-entropy", path, record->key);
    return true;
}
