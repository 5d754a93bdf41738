/* dataset_documents: a file as documents: a plain text whole or cut at blank lines, JSONL by its fields (dataset.h says which). */
#include <string.h>

#include "dataset_impl.h"
#include "jsonl.h"

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

static bool split_plain(const pare_source *source, pare_take_document take, void *user, pare_error *error) {
    const char *end = source->bytes + source->size, *start = NULL, *text_end = NULL; /* start: NULL between documents */
    bool blank;
    for (const char *at = source->bytes, *next; at < end; at = next) {
        next = line_end(at, end, &blank);
        if (!blank) {
            start = start ? start : at;
            text_end = next;
        }
        size_t length = start ? (size_t)(text_end - start) : 0;
        if (length < LEAST_BYTES || (!blank && length < LINE_END_BYTES))
            continue;
        const pare_document document = {.text = {start, length}};
        if (!take(user, &document, (size_t)(next - source->bytes), error))
            return false;
        start = NULL;
    }
    const pare_document last = {.text = {start, start ? (size_t)(text_end - start) : 0}};
    return !start || take(user, &last, source->size, error);
}

/* ---- JSONL ---- */

static pare_piece string_of(const json_t *value) {
    return (pare_piece){json_string_value(value), json_string_length(value)};
}

/* The Alpaca fields; prompt is put together in `joined`. */
static bool read_instruction(pare_document *document, pare_string *joined, const json_t *line, const char *what, pare_error *error) {
    const json_t *instruction = json_object_get(line, "instruction"), *input = json_object_get(line, "input");
    if (input && !json_is_null(input) && !json_is_string(input))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"input\" is not a string", what);
    joined->length = 0;
    pare_string_push(joined, json_string_value(instruction), json_string_length(instruction));
    if (json_is_string(input) && json_string_length(input) > 0) {
        pare_string_push(joined, "\n\n", 2);
        pare_string_push(joined, json_string_value(input), json_string_length(input));
    }
    pare_string_push(joined, "\n\n", 2);
    *document = (pare_document){{joined->data, joined->length}, string_of(json_object_get(line, "output")), true};
    return pare_string_check(joined, error);
}

static bool read_line(pare_document *document, pare_string *joined, const json_t *line, const char *what, pare_error *error) {
    const json_t *text = json_object_get(line, "text"), *prompt = json_object_get(line, "prompt"),
                 *response = json_object_get(line, "response");
    if (!response)
        response = json_object_get(line, "completion");
    if (json_is_string(prompt) && json_is_string(response)) {
        *document = (pare_document){string_of(prompt), string_of(response), true};
        return true;
    }
    if (json_is_string(json_object_get(line, "instruction")) && json_is_string(json_object_get(line, "output")))
        return read_instruction(document, joined, line, what, error);
    if (!json_is_string(text))
        return pare_fail(error, PARE_ERROR_FORMAT,
                         "%s has no \"text\" string, nor the strings \"prompt\" and \"response\" or \"instruction\" and \"output\"", what);
    *document = (pare_document){.text = string_of(text)};
    return true;
}

static bool read_jsonl(const pare_source *source, pare_take_document take, void *user, pare_error *error) {
    pare_jsonl lines = {.path = source->path, .at = source->bytes, .longest_line = PARE_DATASET_LINE_BYTES, .mend = true};
    lines.end = source->bytes + source->size;
    pare_string joined = {0};
    json_t *line;
    bool done;
    while ((done = pare_jsonl_next(&line, &lines, error)) && line) {
        pare_document document;
        done = read_line(&document, &joined, line, lines.what, error);
        if (done && (document.text.length > 0 || document.prompt.length > 0))
            done = take(user, &document, (size_t)(lines.at - source->bytes), error);
        json_decref(line);
        if (!done)
            break;
    }
    pare_string_free(&joined);
    pare_jsonl_free(&lines);
    return done;
}

bool pare_source_read(const pare_source *source, pare_take_document take, void *user, pare_error *error) {
    if (pare_path_is_jsonl(source->path))
        return read_jsonl(source, take, user, error);
    if (source->split)
        return split_plain(source, take, user, error);
    const pare_document whole = {.text = {source->bytes, source->size}};
    return source->size == 0 || take(user, &whole, source->size, error);
}
