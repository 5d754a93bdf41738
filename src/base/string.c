/* string: a growing byte string, and the nearest word of a list for "did you mean". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pare/base.h"

static bool reserve(pare_string *string, size_t more) {
    size_t needed;
    if (string->failed || __builtin_add_overflow(string->length, more + 1, &needed) ||
        !pare_grow((void **)&string->data, &string->capacity, needed, 1, NULL))
        string->failed = true;
    return !string->failed;
}

void pare_string_push(pare_string *string, const char *bytes, size_t length) {
    if (!reserve(string, length))
        return;
    if (length)
        memcpy(string->data + string->length, bytes, length);
    string->length += length;
    string->data[string->length] = '\0';
}

void pare_string_print(pare_string *string, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length < 0) {
        string->failed = true;
        return;
    }
    if (!reserve(string, (size_t)length))
        return;
    va_start(list, format);
    vsnprintf(string->data + string->length, (size_t)length + 1, format, list);
    va_end(list);
    string->length += (size_t)length;
}

void pare_string_number(pare_string *string, double value) {
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    pare_string_push(string, text, strlen(text));
}

bool pare_count_parse(uint64_t *count, const char *text) {
    char *end = NULL;
    bool number = *text && strspn(text, "0123456789.") > 0; /* so that strtod cannot meet inf, nan, blanks or a sign */
    double value = number ? strtod(text, &end) : 0, factor = 1;
    if (number && *end && end[1] == '\0') {
        factor = *end == 'k' || *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'G' || *end == 'B' ? 1e9 : 0;
        end++;
    }
    if (!number || *end || !(value * factor >= 1 && value * factor < 1e15))
        return false;
    *count = (uint64_t)(value * factor + 0.5);
    return true;
}

bool pare_bytes_parse(uint64_t *bytes, const char *text) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},       {"B", 1},         {"k", 1e3},          {"kB", 1e3},           {"K", 1e3},  {"KB", 1e3},
                 {"M", 1e6},    {"MB", 1e6},      {"G", 1e9},          {"GB", 1e9},           {"T", 1e12}, {"TB", 1e12},
                 {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776}};
    char *end = NULL;
    double value = strspn(text, "0123456789.") > 0 ? strtod(text, &end) : 0; /* so that strtod cannot meet inf, nan, blanks or a sign */
    for (size_t i = 0; end && i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].name) == 0 && value * units[i].factor >= 1 && value * units[i].factor < 1e18) {
            *bytes = (uint64_t)(value * units[i].factor + 0.5);
            return true;
        }
    return false;
}

bool pare_string_check(const pare_string *string, pare_error *error) {
    return !string->failed || pare_fail(error, PARE_ERROR_MEMORY, "out of memory while text was put together");
}

void pare_string_free(pare_string *string) {
    pare_free(string->data);
    *string = (pare_string){0};
}

enum { WORD_MAX = 64 };

/* Levenshtein distance, one row at a time. */
static size_t distance(const char *a, const char *b) {
    size_t row[WORD_MAX + 1], n = strlen(a), m = strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
            size_t insert = row[j - 1] + 1, delete = row[j] + 1;
            diagonal = row[j];
            size_t best = substitute < insert ? substitute : insert;
            row[j] = best < delete ? best : delete;
        }
    }
    return row[m];
}

static void lower(char to[WORD_MAX + 1], const char *word) {
    size_t i = 0;
    for (; word[i] && i < WORD_MAX; i++)
        to[i] = word[i] >= 'A' && word[i] <= 'Z' ? (char)(word[i] - 'A' + 'a') : word[i];
    to[i] = '\0';
}

const char *pare_nearest(const char *word, const char *const *candidates, size_t n_candidates) {
    const char *best = NULL, *longer = NULL; /* longer: begins with the whole word */
    char given[WORD_MAX + 1], candidate[WORD_MAX + 1];
    size_t n = strlen(word), best_distance = n / 3 + 1; /* about one slip in three letters is still a slip */
    lower(given, word);
    for (size_t i = 0; n <= WORD_MAX && i < n_candidates; i++) {
        lower(candidate, candidates[i]);
        size_t d = distance(given, candidate);
        if (d <= best_distance && (!best || d < best_distance)) {
            best = candidates[i];
            best_distance = d;
        }
        if (n >= 3 && !longer && strncmp(given, candidate, n) == 0)
            longer = candidates[i];
    }
    return longer && best_distance > 1 ? longer : best ? best : longer;
}
