/* documents: a text file as documents: a plain text whole or cut at blank lines, rows by their fields (corpus.h says which). */
#include <stdio.h>
#include <string.h>

#include "text_file.h"

/* ---- plain text ---- */

enum { LEAST_BYTES = 2000, LINE_END_BYTES = 16000 };

/* The end of the line at `at` with its line end; blank: it is all white space. */
static const char *line_end(const char *at, const char *end, bool *blank) {
    const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline + 1 : end;
    while (at < stop && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
        at++;
    *blank = at == stop;
    return stop;
}

static bool split_plain(const pare_text_file *file, pare_take_document take, void *user, pare_error *error) {
    const char *end = file->bytes + file->length, *start = NULL, *text_end = NULL; /* start: NULL between documents */
    bool blank;
    for (const char *at = file->bytes, *next; at < end; at = next) {
        next = line_end(at, end, &blank);
        if (!blank) {
            start = start ? start : at;
            text_end = next;
        }
        size_t length = start ? (size_t)(text_end - start) : 0;
        if (length < LEAST_BYTES || (!blank && length < LINE_END_BYTES))
            continue;
        const pare_document document = {.text = {start, length}};
        if (!take(user, &document, (size_t)(next - file->bytes), error))
            return false;
        start = NULL;
    }
    const pare_document last = {.text = {start, start ? (size_t)(text_end - start) : 0}};
    return !start || take(user, &last, file->length, error);
}

/* ---- rows ---- */

enum { SHAPES = 6, NO_SHAPE = SHAPES };

/* What a row is made into; reused from row to row. */
typedef struct {
    const pare_source *source;
    pare_rows rows;
    pare_string joined; /* a prompt put together */
    pare_chat_text chat;
    pare_take_document take;
    void *user;
    uint64_t n_rows, n_null, n_of[SHAPES]; /* of each shape */
} reader;

static pare_piece string_of(const json_t *value) {
    return (pare_piece){json_string_value(value), json_string_length(value)};
}

static bool give(reader *r, const pare_document *document, pare_error *error) {
    bool empty = document->text.length + document->prompt.length == 0;
    if (empty && !document->continues && !document->more && !r->source->empty)
        return true;
    return r->take(r->user, document, (size_t)(r->rows.at - r->rows.start), error);
}

/* What is read before what is learned, again and again: the parts of one document. */
static bool give_chat(reader *r, pare_error *error) {
    const pare_chat_text *c = &r->chat;
    const char *at = c->text.data;
    for (size_t i = 0; i < c->n;) {
        pare_document part = {.answered = true, .continues = i > 0};
        if (!c->stretches[i].learned) {
            part.prompt = (pare_piece){at, c->stretches[i].length};
            at += c->stretches[i++].length;
        }
        if (i < c->n && c->stretches[i].learned) {
            part.text = (pare_piece){at, c->stretches[i].length};
            at += c->stretches[i++].length;
        }
        part.more = i < c->n;
        if (!give(r, &part, error))
            return false;
    }
    return true;
}

static bool read_text(reader *r, const json_t *row, pare_error *error) {
    const pare_document document = {.text = string_of(json_object_get(row, "text"))};
    return give(r, &document, error);
}

static bool read_messages(reader *r, const json_t *row, pare_error *error) {
    const json_t *messages = json_object_get(row, "messages");
    if (!messages)
        messages = json_object_get(row, "conversations");
    return pare_chat_render(&r->chat, r->source->tokenizer, messages, r->rows.what, error) && give_chat(r, error);
}

static const json_t *answer_of(const json_t *row) {
    const json_t *response = json_object_get(row, "response");
    return response ? response : json_object_get(row, "completion");
}

static bool read_answer(reader *r, const json_t *row, pare_error *error) {
    const pare_document document = {string_of(json_object_get(row, "prompt")), string_of(answer_of(row)), true, false, false};
    return give(r, &document, error);
}

/* The two lists of messages are one conversation. */
static bool read_conversation(reader *r, const json_t *row, pare_error *error) {
    pare_json_doc doc = {0};
    json_t *all = pare_json_array(&doc);
    pare_json_extend(&doc, all, json_object_get(row, "prompt"));
    pare_json_extend(&doc, all, answer_of(row));
    bool done = pare_json_check(&doc, error);
    done = done && pare_chat_render(&r->chat, r->source->tokenizer, all, r->rows.what, error) && give_chat(r, error);
    json_decref(all);
    return done;
}

/* The Alpaca fields; the prompt is put together. */
static bool read_instruction(reader *r, const json_t *row, pare_error *error) {
    const json_t *instruction = json_object_get(row, "instruction"), *input = json_object_get(row, "input");
    if (input && !json_is_null(input) && !json_is_string(input))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"input\" is not a string", r->rows.what);
    r->joined.length = 0;
    pare_string_push(&r->joined, json_string_value(instruction), json_string_length(instruction));
    if (json_is_string(input) && json_string_length(input) > 0) {
        pare_string_push(&r->joined, "\n\n", 2);
        pare_string_push(&r->joined, json_string_value(input), json_string_length(input));
    }
    pare_string_push(&r->joined, "\n\n", 2);
    const pare_document document = {{r->joined.data, r->joined.length}, string_of(json_object_get(row, "output")), true, false, false};
    return pare_string_check(&r->joined, error) && give(r, &document, error);
}

/* The shapes of rows, the first that fits; a row that has the fields but null in one of them says nothing, and is skipped. */
typedef enum { STRING, LIST } field_type;
static const struct {
    const char *fields[2]; /* "response": or "completion" */
    field_type type;
    bool (*read)(reader *r, const json_t *row, pare_error *error);
} shapes[SHAPES] = {
    {{"prompt", "response"}, STRING, read_answer},
    {{"prompt", "response"}, LIST, read_conversation},
    {{"instruction", "output"}, STRING, read_instruction},
    {{"messages"}, LIST, read_messages},
    {{"conversations"}, LIST, read_messages},
    {{"text"}, STRING, read_text},
};

static bool fits(bool *null, size_t shape, const json_t *row) {
    *null = false;
    for (size_t i = 0; i < 2 && shapes[shape].fields[i]; i++) {
        const char *field = shapes[shape].fields[i];
        const json_t *value = strcmp(field, "response") == 0 ? answer_of(row) : json_object_get(row, field);
        *null |= json_is_null(value);
        if (!json_is_null(value) && !(shapes[shape].type == STRING ? json_is_string(value) : json_is_array(value)))
            return false;
    }
    return true;
}

/* The shape of a row, or NO_SHAPE; *null: one of its fields is null, and no shape without that fits. */
static size_t find_shape(bool *null, const json_t *row) {
    size_t found = NO_SHAPE;
    for (size_t i = 0; i < SHAPES; i++) {
        if (!fits(null, i, row))
            continue;
        if (!*null)
            return i;
        found = found == NO_SHAPE ? i : found;
    }
    *null = found != NO_SHAPE;
    return found;
}

static bool fail_shape(const reader *r, const json_t *row, pare_error *error) {
    char names[160] = "";
    size_t at = 0;
    void *iterator = json_object_iter((json_t *)(uintptr_t)row);
    for (; iterator && at + 32 < sizeof names; iterator = json_object_iter_next((json_t *)(uintptr_t)row, iterator))
        at += (size_t)snprintf(names + at, 30, "%s\"%.20s\"", at ? ", " : "", json_object_iter_key(iterator));
    return pare_fail(error, PARE_ERROR_FORMAT,
                     "%s has no \"text\" string, nor the strings \"prompt\" and \"response\" (or \"completion\") or \"instruction\" and "
                     "\"output\", nor a list \"messages\"; it has %s",
                     r->rows.what, at ? names : "nothing");
}

static bool read_row(reader *r, const json_t *row, pare_error *error) {
    bool null;
    size_t shape = find_shape(&null, row);
    if (shape == NO_SHAPE)
        return fail_shape(r, row, error);
    r->n_rows++;
    r->n_null += null;
    r->n_of[shape] += !null;
    return null || shapes[shape].read(r, row, error);
}

/* How the file was read, in one sentence. */
static bool tell(const reader *r, const pare_context *context, pare_error *error) {
    char fields[200] = "";
    size_t at = 0;
    for (size_t i = 0; i < SHAPES; i++)
        if (r->n_of[i] && at < sizeof fields)
            at += (size_t)snprintf(fields + at, sizeof fields - at, "%s\"%s\"%s%s%s", at ? ", " : "", shapes[i].fields[0],
                                   shapes[i].fields[1] ? " and \"" : "", shapes[i].fields[1] ? shapes[i].fields[1] : "",
                                   shapes[i].fields[1] ? "\"" : "");
    pare_context_note(context, "%s: %llu row%s of JSON, read by %s", r->source->file->path, (unsigned long long)r->n_rows,
                      r->n_rows == 1 ? "" : "s", at ? fields : "no field");
    if (r->n_null)
        pare_context_note(context, "%s: %llu row%s skipped, because the text is null", r->source->file->path, (unsigned long long)r->n_null,
                          r->n_null == 1 ? " is" : "s are");
    pare_string odd = {0};
    pare_json_odd_print(&odd, &r->rows.odd);
    if (odd.length)
        pare_context_note(context, "%s: the rows hold %s", r->source->file->path, odd.data);
    bool done = pare_string_check(&odd, error);
    pare_string_free(&odd);
    return done;
}

static bool read_rows(const pare_source *source, pare_take_document take, void *user, const pare_context *context, pare_error *error) {
    reader r = {.source = source, .take = take, .user = user};
    pare_rows_begin(&r.rows, source->file->path, source->file->bytes, source->file->length);
    json_t *row;
    bool done;
    while ((done = pare_rows_next(&row, &r.rows, error)) && row) {
        done = read_row(&r, row, error);
        json_decref(row);
        if (!done)
            break;
    }
    done = done && tell(&r, context, error);
    pare_string_free(&r.joined);
    pare_chat_text_free(&r.chat);
    pare_rows_end(&r.rows);
    return done;
}

bool pare_source_read(const pare_source *source, pare_take_document take, void *user, const pare_context *context, pare_error *error) {
    const pare_text_file *file = source->file;
    if (file->rows)
        return read_rows(source, take, user, context, error);
    if (source->split)
        return split_plain(file, take, user, error);
    const pare_document whole = {.text = {file->bytes, file->length}};
    return file->length == 0 || take(user, &whole, file->length, error);
}

bool pare_source_is_rows(bool *json, const char *path, const char *bytes, size_t n) {
    enum { LOOKED_AT = 4 };
    pare_rows rows;
    json_t *row;
    bool all = true, null;
    size_t n_rows = 0;
    pare_rows_begin(&rows, path, bytes, n);
    for (; all && n_rows < LOOKED_AT; n_rows++) {
        all = pare_rows_next(&row, &rows, NULL);
        if (!all || !row)
            break;
        *json = true;
        all = find_shape(&null, row) != NO_SHAPE;
        json_decref(row);
    }
    pare_rows_end(&rows);
    return all && n_rows > 0;
}
