/* documents: JSON lines, a JSON array, or rows of plain text of which a few make an item; labels may lie in a file of their own. */
#include "documents.h"

#include <stdio.h>
#include <string.h>

const char *pare_documents_find(const char *folder, const char *name, pare_arena *arena, pare_error *error) {
    static const char *const endings[] = {"", ".bz2", ".gz"};
    size_t n = strlen(name), stem = n > 6 && strcmp(name + n - 6, ".jsonl") == 0 ? n - 1 : n;
    for (size_t cut = n; cut >= stem; cut--)
        for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
            const char *path = pare_arena_format(arena, error, "%s/%.*s%s", folder, (int)cut, name, endings[i]);
            if (!path || pare_path_exists(path))
                return path;
        }
    return NULL;
}

/* ---- lines ---- */

/* The next line without its end; false: there is none. */
static bool next_line(pare_piece *line, const char **at, const char *end, size_t *number) {
    if (*at >= end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    *line = (pare_piece){*at, (size_t)((newline ? newline : end) - *at)};
    if (line->length > 0 && line->bytes[line->length - 1] == '\r')
        line->length--;
    *at = newline ? newline + 1 : end;
    ++*number;
    return true;
}

static bool blank(pare_piece line) {
    return pare_lstrip(line.bytes, line.length) == line.length;
}

/* ---- opening ---- */

static bool find_labels(documents *of, const char *folder, pare_error *error) {
    of->label_path = pare_documents_find(folder, of->file->labels, of->arena, error);
    if (!of->label_path)
        return pare_fail(error, PARE_ERROR_IO, "%s/%s: the labels of %s are not there", folder, of->file->labels, of->path);
    if (!pare_text_file_open(&of->labels, of->label_path, NULL, error))
        return false;
    of->label_at = of->labels.bytes;
    of->label_end = of->labels.bytes + of->labels.length;
    return true;
}

/* A JSON array is read whole: its first character but blanks is a bracket. */
static bool read_array(documents *of, pare_error *error) {
    size_t n = (size_t)(of->end - of->at), begin = pare_lstrip(of->at, n);
    if (of->file->rows || begin == n || of->at[begin] != '[')
        return true;
    of->array = pare_json_parse_lenient(of->at, n, of->path, false, NULL, error);
    return of->array != NULL;
}

static void begin(documents *of) {
    of->at = of->text.bytes;
    of->end = of->at + of->text.length;
    if (of->text.length >= 3 && memcmp(of->at, "\xEF\xBB\xBF", 3) == 0)
        of->at += 3; /* a mark of the encoding is no part of the first document */
}

bool pare_documents_open(documents *of, const task_file *file, const char *folder, const char *name, bool labels, pare_arena *arena,
                         pare_error *error) {
    *of = (documents){.file = file, .arena = arena, .path = pare_documents_find(folder, name, arena, error)};
    bool done = of->path ? pare_text_file_open(&of->text, of->path, NULL, error)
                         : pare_fail(error, PARE_ERROR_IO, "%s/%s: there is no such file, plain or compressed", folder, name);
    if (done)
        begin(of);
    done = done && read_array(of, error) && (!labels || !file->labels || find_labels(of, folder, error));
    if (!done)
        pare_documents_close(of);
    return done;
}

void pare_documents_close(documents *of) {
    json_decref(of->array);
    pare_text_file_close(&of->text);
    pare_text_file_close(&of->labels);
    *of = (documents){0};
}

bool pare_documents_hash(pare_sha256 *hash, const documents *of, pare_error *error) {
    pare_sha256 parts[3] = {*hash};
    return pare_sha256_bytes(&parts[1], of->text.bytes, of->text.length, error) &&
           pare_sha256_bytes(&parts[2], of->label_path ? of->labels.bytes : "", of->labels.length, error) &&
           pare_sha256_bytes(hash, parts, sizeof parts, error);
}

/* ---- one document ---- */

static bool set_place(documents *of, const char *unit, size_t number) {
    of->begin = number;
    snprintf(of->place, sizeof of->place, "%s: %s %zu", of->path, unit, number);
    return true;
}

static bool next_in_array(json_t **document, documents *of) {
    json_t *found = json_array_get(of->array, of->n);
    *document = json_incref(found);
    return set_place(of, "item", of->n + 1);
}

static bool next_json_line(json_t **document, documents *of, pare_error *error) {
    pare_piece line;
    while (next_line(&line, &of->at, of->end, &of->line))
        if (!blank(line)) {
            set_place(of, "line", of->line);
            *document = pare_json_parse_lenient(line.bytes, line.length, of->place, false, NULL, error);
            return *document != NULL;
        }
    return true;
}

/* What was built in doc, or the error with the document's place. */
static bool keep(json_t **document, json_t *made, const pare_json_doc *doc, const char *place, pare_error *error) {
    pare_error why = {0};
    *document = made;
    if (pare_json_check(doc, &why))
        return true;
    *document = NULL;
    json_decref(made);
    return pare_fail(error, why.code, "%s: %.300s", place, why.message);
}

/* A few rows of text, blank ones between items passed over. */
static bool next_rows(json_t **document, documents *of, pare_error *error) {
    pare_piece line = {0};
    bool found = false;
    while (!found && next_line(&line, &of->at, of->end, &of->line))
        found = !blank(line);
    if (!found)
        return true;
    set_place(of, "line", of->line);
    pare_json_doc doc = {0};
    json_t *made = pare_json_object(&doc);
    for (size_t i = 0; i < of->file->n_rows; i++) {
        if (i > 0 && !next_line(&line, &of->at, of->end, &of->line)) {
            pare_fail(error, PARE_ERROR_FORMAT, "%s: the item that begins here has %zu lines of %zu; \"%s\" is missing", of->place, i,
                      of->file->n_rows, of->file->rows[i]);
            json_decref(made);
            return false;
        }
        pare_json_set(&doc, made, of->file->rows[i], pare_json_text(&doc, line.bytes, line.length));
    }
    return keep(document, made, &doc, of->place, error);
}

/* The label of document n, the next line that is not blank, as its field "label". */
static bool add_label(json_t *document, documents *of, pare_error *error) {
    pare_piece line;
    while (next_line(&line, &of->label_at, of->label_end, &of->label_line))
        if (!blank(line)) {
            pare_json_doc doc = {0};
            pare_json_set(&doc, document, "label", pare_json_text(&doc, line.bytes, pare_rstrip(line.bytes, line.length)));
            return pare_json_check(&doc, error);
        }
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: %zu labels, but %s has more documents", of->label_path, of->n, of->path);
}

static bool check_labels_end(documents *of, pare_error *error) {
    pare_piece line;
    while (next_line(&line, &of->label_at, of->label_end, &of->label_line))
        if (!blank(line))
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: line %zu is a label too many: %s has %zu documents", of->label_path,
                             of->label_line, of->path, of->n);
    return true;
}

/* Fields that the task file makes of a document's own; all are made of these, then put in their places. */
static bool make_fields(json_t *document, const documents *of, const char *task, pare_error *error) {
    const pare_template_source source = {document, of->place, task};
    pare_json_doc doc = {0};
    json_t *made = pare_json_object(&doc);
    bool done = true;
    for (size_t i = 0; done && i < of->file->n_fields; i++) {
        json_t *value = pare_template_value(of->file->fields[i].template, &source, error);
        done = value != NULL;
        if (done)
            pare_json_set(&doc, made, of->file->fields[i].name, value);
    }
    if (done)
        pare_json_update(&doc, document, made);
    json_decref(made);
    return done && pare_json_check(&doc, error);
}

bool pare_documents_next(json_t **document, documents *of, const char *task, pare_error *error) {
    *document = NULL;
    bool done = of->array        ? next_in_array(document, of)
                : of->file->rows ? next_rows(document, of, error)
                                 : next_json_line(document, of, error);
    if (!done || !*document)
        return done && check_labels_end(of, error);
    done = json_is_object(*document) ||
           pare_fail(error, PARE_ERROR_FORMAT, "%s: an object with the fields of a document is needed", of->place);
    done = done && (!of->label_path || add_label(*document, of, error)) && make_fields(*document, of, task, error);
    of->n++;
    if (!done) {
        json_decref(*document);
        *document = NULL;
    }
    return done;
}
