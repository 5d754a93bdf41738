/* jsonl: one JSON value a line (jsonlines.org); blank lines are passed over. Messages name file and line. */
#include "jsonl.h"

#include <stdio.h>
#include <string.h>

bool pare_path_is_jsonl(const char *path) {
    size_t n = strlen(path);
    return n > 6 && strcmp(path + n - 6, ".jsonl") == 0;
}

static bool blank(const char *at, const char *stop) {
    while (at < stop && (*at == ' ' || *at == '\t' || *at == '\r'))
        at++;
    return at == stop;
}

static bool parse(json_t **line, pare_jsonl *lines, const char *text, size_t n, pare_error *error) {
    if (lines->mend && pare_utf8_valid((const uint8_t *)text, n) < n) {
        lines->mended.length = 0;
        if (!pare_utf8_replace(&lines->mended, (const uint8_t *)text, n, error))
            return false;
        text = lines->mended.data;
        n = lines->mended.length;
    }
    *line = pare_json_parse(text, n, lines->what, error);
    return *line != NULL;
}

bool pare_jsonl_next(json_t **line, pare_jsonl *lines, pare_error *error) {
    *line = NULL;
    while (lines->at < lines->end) {
        const char *at = lines->at;
        size_t left = (size_t)(lines->end - at), most = lines->longest_line < left ? lines->longest_line + 1 : left;
        const char *newline = memchr(at, '\n', most), *stop = newline ? newline : at + most;
        lines->number++;
        snprintf(lines->what, sizeof lines->what, "%s: line %zu", lines->path, lines->number);
        if ((size_t)(stop - at) > lines->longest_line)
            return pare_fail(error, PARE_ERROR_RANGE, "%s is longer than %zu bytes; cut its document into several lines", lines->what,
                             lines->longest_line);
        lines->at = newline ? newline + 1 : lines->end;
        if (!blank(at, stop))
            return parse(line, lines, at, (size_t)(stop - at), error);
    }
    return true;
}

void pare_jsonl_free(pare_jsonl *lines) {
    pare_free(lines->mended.data);
    lines->mended = (pare_bytes){0};
}
