/* rows: JSON rows, one at a time: lines (jsonlines.org; blank ones are passed over), the items of one array, or values one behind the
 * other over several lines. Which it is shows at the first character and the first line. Messages name file and line. */
#include <stdio.h>
#include <string.h>

#include "text_file.h"

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *skip_blank(const char *at, const char *end) {
    while (at < end && is_blank(*at))
        at++;
    return at;
}

/* The end of the value at `at`, by its brackets alone; NULL when it is not closed before `end`. A number or a word ends at a comma, a
 * bracket or white space. */
static const char *value_end(const char *at, const char *end) {
    size_t depth = 0;
    bool quoted = false;
    for (; at < end; at++) {
        char c = *at;
        if (quoted) {
            at += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth == 0 && (c == ',' || c == ']' || c == '}' || is_blank(c))) {
            return at;
        } else if (c == '}' || c == ']') {
            if (--depth == 0)
                return at + 1;
            continue;
        }
        if (depth == 0 && !quoted && c == '"')
            return at + 1;
    }
    return depth == 0 && !quoted && at == end ? end : NULL;
}

void pare_rows_begin(pare_rows *rows, const char *path, const char *bytes, size_t n) {
    *rows = (pare_rows){.path = path, .start = bytes, .at = bytes, .end = bytes + n};
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0)
        rows->at += 3;
    const char *first = skip_blank(rows->at, rows->end);
    if (first == rows->end)
        return;
    if (*first == '[') {
        rows->mode = PARE_ROWS_ARRAY;
        rows->at = first + 1;
        return;
    }
    size_t most = (size_t)(rows->end - first) < PARE_ROW_BYTES ? (size_t)(rows->end - first) : PARE_ROW_BYTES;
    const char *newline = memchr(first, '\n', most);
    if (newline && !value_end(first, newline) && value_end(first, first + most))
        rows->mode = PARE_ROWS_VALUES;
}

static bool parse(json_t **row, pare_rows *rows, const char *text, size_t n, pare_error *error) {
    if (*text != '{')
        return pare_fail(error, PARE_ERROR_FORMAT, "%s is no JSON object, which a row is", rows->what);
    if (pare_utf8_valid((const uint8_t *)text, n) < n) { /* as in plain text: one U+FFFD for a whole ill-formed stretch */
        rows->mended.length = 0;
        if (!pare_utf8_replace(&rows->mended, (const uint8_t *)text, n, error))
            return false;
        text = rows->mended.data;
        n = rows->mended.length;
    }
    *row = pare_json_parse_lenient(text, n, rows->what, false, &rows->odd, error);
    return *row != NULL;
}

static bool too_long(const pare_rows *rows, pare_error *error) {
    return pare_fail(error, PARE_ERROR_RANGE, "%s is longer than %zu bytes; cut its document into several rows", rows->what,
                     PARE_ROW_BYTES);
}

/* The next line that is not blank. */
static bool next_line(json_t **row, pare_rows *rows, pare_error *error) {
    while (rows->at < rows->end) {
        const char *at = rows->at;
        size_t left = (size_t)(rows->end - at), most = PARE_ROW_BYTES < left ? PARE_ROW_BYTES + 1 : left;
        const char *newline = memchr(at, '\n', most), *stop = newline ? newline : at + most;
        rows->number++;
        snprintf(rows->what, sizeof rows->what, "%s: line %zu", rows->path, rows->number);
        if ((size_t)(stop - at) > PARE_ROW_BYTES)
            return too_long(rows, error);
        rows->at = newline ? newline + 1 : rows->end;
        at = skip_blank(at, stop);
        if (at < stop)
            return parse(row, rows, at, (size_t)(stop - at), error);
    }
    return true;
}

/* The next value, which may stand on several lines. */
static bool next_value(json_t **row, pare_rows *rows, pare_error *error) {
    const char *at = skip_blank(rows->at, rows->end);
    size_t left = (size_t)(rows->end - at), most = left < PARE_ROW_BYTES ? left : PARE_ROW_BYTES;
    if (left == 0) {
        rows->at = rows->end;
        return true;
    }
    rows->number++;
    snprintf(rows->what, sizeof rows->what, "%s: row %zu", rows->path, rows->number);
    const char *stop = value_end(at, at + most);
    if (!stop && most < left)
        return too_long(rows, error);
    rows->at = stop = stop ? stop : rows->end;
    if (stop == at) /* a comma or a bracket where a value should be */
        stop = at + 1;
    return parse(row, rows, at, (size_t)(stop - at), error);
}

static bool out_of_order(const pare_rows *rows, const char *what, pare_error *error) {
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: not valid JSON: %s row %zu of the array", rows->path, what, rows->number);
}

static bool next_item(json_t **row, pare_rows *rows, pare_error *error) {
    const char *at = skip_blank(rows->at, rows->end);
    bool first = rows->number == 0;
    if (at < rows->end && *at == ']') {
        rows->mode = PARE_ROWS_ENDED;
        rows->at = skip_blank(at + 1, rows->end);
        return rows->at == rows->end || out_of_order(rows, "there is more behind the array, after", error);
    }
    if (!first && (at == rows->end || *at != ','))
        return out_of_order(rows, at == rows->end ? "it ends after" : "neither a comma nor a bracket stands behind", error);
    rows->at = skip_blank(at + !first, rows->end);
    if (rows->at == rows->end)
        return out_of_order(rows, "it ends after", error);
    return next_value(row, rows, error);
}

bool pare_rows_next(json_t **row, pare_rows *rows, pare_error *error) {
    *row = NULL;
    switch (rows->mode) {
    case PARE_ROWS_LINES: return next_line(row, rows, error);
    case PARE_ROWS_VALUES: return next_value(row, rows, error);
    case PARE_ROWS_ARRAY: return next_item(row, rows, error);
    default: return true;
    }
}

void pare_rows_end(pare_rows *rows) {
    pare_free(rows->mended.data);
    rows->mended = (pare_bytes){0};
}
