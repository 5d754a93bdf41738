/* points: a CSV of results (RFC 4180) -> points. The text is copied once into the arena and its fields are unquoted and ended in place, so
 * that the names of the points are pieces of that copy. Where the header has no comma but semicolons or tabs, these separate the fields. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lsq.h"
#include "pare/law.h"

enum { MAX_COLUMNS = 1024, MAX_ROWS = 1000000, MAX_FIELD_BYTES = 65536 };
static const size_t max_bytes = (size_t)64 << 20;

enum { MODEL, METHOD, L0, R, L, D, CEILING, NON_EMBEDDING, PARAMETERS, BYTES, MACS, N_KNOWN };
static const char *const known[N_KNOWN] = {"model",   "method",        "l0",         "r",     "l",   "d",
                                           "ceiling", "non_embedding", "parameters", "bytes", "macs"};
enum { N_REQUIRED = L + 1 };

typedef struct {
    const char *what;
    char *at, *end;
    char separator;
    size_t line; /* of `at` */
    char *fields[MAX_COLUMNS];
    size_t n_fields;
    int columns[N_KNOWN]; /* -1: absent */
} reader;

static bool fail_at(const reader *in, size_t line, size_t column, const char *problem, pare_error *error) {
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: line %zu, column %zu: %s", in->what, line, column + 1, problem);
}

static bool at_line_end(const reader *in) {
    return in->at == in->end || *in->at == '\n' || *in->at == '\r';
}

/* The text between quotes, "" meaning one quote, moved together in place. */
static bool take_quoted(reader *in, char **stop, pare_error *error) {
    size_t line = in->line;
    char *to = in->at++;
    in->fields[in->n_fields] = to;
    for (;; in->at++) {
        if (in->at == in->end)
            return fail_at(in, line, in->n_fields, "a quoted field is not closed", error);
        if (*in->at == '"') {
            if (in->at + 1 == in->end || in->at[1] != '"')
                break;
            in->at++;
        }
        in->line += *in->at == '\n';
        *to++ = *in->at;
    }
    in->at++;
    *stop = to;
    if (!at_line_end(in) && *in->at != in->separator)
        return fail_at(in, in->line, in->n_fields, "text follows a closing quote", error);
    return true;
}

static bool take_plain(reader *in, char **stop, pare_error *error) {
    while (in->at < in->end && *in->at == ' ')
        in->at++;
    in->fields[in->n_fields] = in->at;
    for (; !at_line_end(in) && *in->at != in->separator; in->at++)
        if (*in->at == '"')
            return fail_at(in, in->line, in->n_fields, "a quote inside a field without quotes", error);
    *stop = in->at;
    while (*stop > in->fields[in->n_fields] && (*stop)[-1] == ' ')
        --*stop;
    return true;
}

/* Splits one record. The byte after a field (comma, line end, closing quote or the end of the copy) becomes its NUL. */
static bool take_record(reader *in, pare_error *error) {
    for (in->n_fields = 0;;) {
        char *stop = in->at;
        if (in->n_fields == MAX_COLUMNS)
            return fail_at(in, in->line, in->n_fields, "more than 1024 columns", error);
        bool quoted = in->at < in->end && *in->at == '"';
        if (!(quoted ? take_quoted(in, &stop, error) : take_plain(in, &stop, error)))
            return false;
        if (stop - in->fields[in->n_fields] > MAX_FIELD_BYTES)
            return fail_at(in, in->line, in->n_fields, "a field of more than 65536 bytes", error);
        in->n_fields++;
        bool more = in->at < in->end && *in->at == in->separator;
        if (!more && in->at < in->end)
            in->at += *in->at == '\r' && in->at + 1 < in->end && in->at[1] == '\n' ? 2 : 1;
        in->at += more;
        *stop = 0;
        if (!more)
            break;
    }
    in->line++;
    return true;
}

static bool blank(const reader *in) {
    return in->n_fields == 1 && in->fields[0][0] == 0;
}

/* Spreadsheets of many countries write semicolons. */
static char find_separator(const reader *in) {
    size_t n = strcspn(in->at, "\r\n");
    if (memchr(in->at, ',', n))
        return ',';
    return memchr(in->at, ';', n) ? ';' : memchr(in->at, '\t', n) ? '\t' : ',';
}

static bool fail_for_column(const reader *in, const char *name, pare_error *error) {
    for (size_t f = 0; f < in->n_fields; f++)
        if (strcasecmp(in->fields[f], name) == 0)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: line %zu: the header has no column \"%s\" but \"%s\": names are in lower case",
                             in->what, in->line - 1, name, in->fields[f]);
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: line %zu: the header has no column \"%s\"; wanted model,method,l0,r,d,l", in->what,
                     in->line - 1, name);
}

static bool read_header(reader *in, pare_error *error) {
    for (int i = 0; i < N_KNOWN; i++)
        in->columns[i] = -1;
    in->separator = find_separator(in);
    do {
        if (in->at == in->end)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: line 1: no header; wanted model,method,l0,r,d,l", in->what);
        if (!take_record(in, error))
            return false;
    } while (blank(in));
    for (size_t f = 0; f < in->n_fields; f++) {
        for (int i = 0; i < N_KNOWN; i++) {
            if (strcmp(in->fields[f], known[i]) != 0)
                continue;
            if (in->columns[i] >= 0)
                return pare_fail(error, PARE_ERROR_FORMAT, "%s: line %zu, column %zu: a second column called \"%s\"", in->what,
                                 in->line - 1, f + 1, known[i]);
            in->columns[i] = (int)f;
        }
    }
    for (int i = 0; i < N_REQUIRED; i++) {
        if (in->columns[i] >= 0)
            continue;
        return fail_for_column(in, known[i], error);
    }
    return true;
}

/* Names go into JSON, which is UTF-8: shortest forms, no surrogates (RFC 3629). */
static bool valid_utf8(const char *text) {
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        unsigned more = *p < 0x80 ? 0 : *p >= 0xC2 && *p < 0xE0 ? 1 : *p >= 0xE0 && *p < 0xF0 ? 2 : *p >= 0xF0 && *p < 0xF5 ? 3 : 4;
        if (more == 4 || (*p == 0xE0 && p[1] < 0xA0) || (*p == 0xED && p[1] > 0x9F) || (*p == 0xF0 && p[1] < 0x90) ||
            (*p == 0xF4 && p[1] > 0x8F))
            return false;
        for (p++; more > 0; more--, p++)
            if ((*p & 0xC0) != 0x80)
                return false;
    }
    return true;
}

/* What people mean by text in a place for numbers. */
static const char *hint_for(const char *text, const char *stop, const char *column) {
    if (strcmp(text, column) == 0)
        return ": the header stands here once more; keep the first alone";
    if (*stop == ',')
        return ": decimals take a point";
    return *stop == '%' ? ": a ratio is a fraction, 10 % is 0.1" : "";
}

/* Empty is missing; anything else must be a number as a whole, in the spelling of C. */
static bool read_number(double *value, const reader *in, int which, size_t line, pare_error *error) {
    if (in->columns[which] < 0)
        return true;
    const char *text = in->fields[in->columns[which]];
    text += strspn(text, " \t");
    size_t length = strlen(text);
    while (length && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    if (length == 0)
        return true;
    char *stop;
    *value = strtod(text, &stop);
    if (stop != text + length)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: line %zu, column %d (%s): \"%.40s\" is not a number%s", in->what, line,
                         in->columns[which] + 1, known[which], text, hint_for(text, stop, known[which]));
    return true;
}

static bool read_point(pare_law_point *point, const reader *in, size_t line, size_t n_columns, pare_error *error) {
    if (in->n_fields != n_columns)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: line %zu has %zu columns, the header has %zu", in->what, line, in->n_fields,
                         n_columns);
    *point = pare_law_point_blank();
    point->line = line;
    point->model = in->fields[in->columns[MODEL]];
    point->method = in->fields[in->columns[METHOD]];
    for (int i = MODEL; i <= METHOD; i++)
        if (!valid_utf8(in->fields[in->columns[i]]))
            return fail_at(in, line, (size_t)in->columns[i], "a name that is not UTF-8", error);
    const struct {
        int which;
        double *value;
    } numbers[] = {
        {L0, &point->l0},
        {L, &point->l},
        {D, &point->d},
        {CEILING, &point->ceiling},
        {R, &point->ratio[PARE_LAW_RATIO_NOMINAL]},
        {NON_EMBEDDING, &point->ratio[PARE_LAW_RATIO_NON_EMBEDDING]},
        {PARAMETERS, &point->ratio[PARE_LAW_RATIO_PARAMETERS]},
        {BYTES, &point->ratio[PARE_LAW_RATIO_BYTES]},
        {MACS, &point->ratio[PARE_LAW_RATIO_MACS]},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (!read_number(numbers[i].value, in, numbers[i].which, line, error))
            return false;
    return true;
}

static bool read_records(pare_law_points *points, reader *in, size_t capacity, pare_arena *arena, pare_error *error) {
    size_t n_columns = in->n_fields;
    points->n = 0;
    points->items = PARE_PUSH(arena, pare_law_point, capacity, error);
    if (!points->items)
        return false;
    while (in->at < in->end) {
        size_t line = in->line;
        if (!take_record(in, error))
            return false;
        if (blank(in))
            continue;
        if (points->n == MAX_ROWS)
            return pare_fail(error, PARE_ERROR_RANGE, "%s: line %zu: more than %d rows", in->what, line, MAX_ROWS);
        if (!read_point(&points->items[points->n], in, line, n_columns, error))
            return false;
        points->n++;
    }
    if (points->n == 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: a header and no row", in->what);
    return true;
}

bool pare_law_points_parse(pare_law_points *points, const char *bytes, size_t n, const char *what, pare_arena *arena, pare_error *error) {
    if (n > max_bytes)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: %zu bytes; a CSV of results has at most 64 MiB", what, n);
    const char *nul = memchr(bytes, 0, n);
    if (nul)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: byte %zu is 0: not a text file%s", what, (size_t)(nul - bytes),
                         n > 1 && (memcmp(bytes, "\xFF\xFE", 2) == 0 || memcmp(bytes, "\xFE\xFF", 2) == 0)
                             ? " in UTF-8 but in UTF-16: save it as UTF-8"
                             : "");
    char *copy = pare_arena_copy(arena, bytes, n, error);
    reader *in = PARE_PUSH(arena, reader, 1, error);
    if (!copy || !in)
        return false;
    *in = (reader){.what = what, .at = copy, .end = copy + n, .line = 1};
    if (n >= 3 && memcmp(copy, "\xEF\xBB\xBF", 3) == 0) /* byte order mark */
        in->at += 3;
    size_t lines = 1; /* at most one record a line */
    for (const char *p = copy; p < in->end; p++)
        lines += *p == '\n' || *p == '\r';
    return read_header(in, error) && read_records(points, in, lines < MAX_ROWS ? lines : MAX_ROWS, arena, error);
}

bool pare_law_points_read(pare_law_points *points, const char *path, pare_arena *arena, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return false;
    bool done = pare_law_points_parse(points, (const char *)map.data, map.size, path, arena, error);
    pare_map_close(&map);
    return done;
}
