/* text_file: a path to the bytes of a text. What is no text is refused by name, with a way to make one of it; what is text but for a few
 * bytes is read, and said. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "dataset_impl.h"

enum { BLOCK_BYTES = 4 << 20 };

/* ---- what it expands to ---- */

/* Text shrinks to a third or a fifth, logs to a hundredth; and a quarter of the machine's memory is enough for a text that is kept in it.
 */
static size_t most_expanded(size_t compressed) {
    const size_t small = (size_t)64 << 20;
    size_t by_size = compressed > SIZE_MAX / 512 ? SIZE_MAX / 2 : small + compressed * 256;
    double memory = pare_memory_machine() / 4;
    return memory > (double)small && (double)by_size > memory ? (size_t)memory : by_size;
}

static bool refuse(const pare_kind_found *found, const char *path, pare_error *error) {
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: this is %s, not UTF-8 text%s%s%s", path, found->name, found->way ? " (" : "",
                     found->way ? found->way : "", found->way ? ")" : "");
}

static bool expand(pare_text_file *file, const pare_kind_found *found, const pare_context *context, pare_error *error) {
    pare_bytes bytes = {0};
    if (!pare_expand(&bytes, found->kind, file->map.data, file->map.size, most_expanded(file->map.size), file->path, error)) {
        pare_free(bytes.data);
        return false;
    }
    file->own = bytes.data;
    file->bytes = bytes.data ? bytes.data : "";
    file->length = bytes.length;
    file->mapped = false;
    pare_context_note(context, "%s: %s, read as the %.1f MiB that it expands to", file->path, found->name,
                      (double)bytes.length / 1048576.0);
    pare_map_close(&file->map);
    pare_kind_found inner = pare_kind_of((const uint8_t *)file->bytes, file->length);
    if (inner.kind == PARE_KIND_TEXT)
        return true;
    if (inner.kind != PARE_KIND_OTHER)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: it is compressed twice (%s in %s); decompress it once", file->path, inner.name,
                         found->name);
    return refuse(&inner, file->path, error);
}

/* ---- a look through all bytes ---- */

typedef struct {
    uint64_t bytes[256]; /* how often each byte is there */
    uint64_t bad, wide;  /* ill-formed stretches, each of which becomes U+FFFD; well-formed characters beyond ASCII */
    uint64_t first_bad;  /* place of the first */
    uint64_t bad_leads;  /* bytes of such stretches that look like the start of a character */
} census;

static void count_bytes(census *c, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++)
        c->bytes[bytes[i]]++;
}

/* Well-formedness; `at` is the block's place in the file. *n: how much of the block was looked at, all but a character cut off at its
 * end (last: there is no other block). */
static void count_bad(census *c, const uint8_t *bytes, size_t *n, uint64_t at, bool last) {
    size_t i = 0;
    while (i < *n) {
        i += pare_utf8_valid(bytes + i, *n - i);
        if (i == *n || (!last && *n - i < 4))
            break;
        if (c->bad++ == 0)
            c->first_bad = at + i;
        size_t length = pare_utf8_ill_formed(bytes + i, *n - i);
        c->bad_leads += bytes[i] >= 0xC0;
        i += length;
    }
    *n = i;
}

static bool take_census(census *c, const pare_text_file *file, const pare_context *context, pare_error *error) {
    const uint8_t *bytes = (const uint8_t *)file->bytes;
    for (size_t at = 0, n; at < file->length; at += n) {
        n = file->length - at < BLOCK_BYTES ? file->length - at : BLOCK_BYTES;
        if (!pare_context_check(context, error))
            return false;
        if (file->length > BLOCK_BYTES)
            pare_context_progress(context, "check the text", (double)at, (double)file->length);
        count_bad(c, bytes + at, &n, at, at + n == file->length);
        count_bytes(c, bytes + at, n);
        if (file->mapped && file->length > BLOCK_BYTES)
            pare_pages_forget(bytes + at, n);
    }
    for (unsigned byte = 0xC0; byte < 256; byte++)
        c->wide += c->bytes[byte];
    c->wide -= c->bad_leads;
    return true;
}

/* Control characters that no text is written with: all but tab, line ends, form feed and escape. */
static uint64_t controls(const census *c) {
    uint64_t n = c->bytes[0x7F];
    for (unsigned byte = 0; byte < 0x20; byte++)
        if (byte < 9 || (byte > 13 && byte != 0x1B))
            n += c->bytes[byte];
    return n;
}

/* Some bytes of a text may be damaged. It is none when one character of a hundred is; nor when one of a thousand is and hardly any
 * character beyond ASCII is well-formed, for then it is in another encoding. */
static bool judge(const census *c, const pare_text_file *file, const pare_context *context, pare_error *error) {
    enum { FEW = 16 };
    uint64_t odd = controls(c), ascii = 0;
    for (unsigned byte = 0; byte < 0x80; byte++)
        ascii += c->bytes[byte];
    double all = (double)(ascii + c->wide + c->bad);
    const char *path = file->path;
    if (c->bad > FEW && ((double)c->bad > all / 100 || ((double)c->bad > all / 1000 && c->bad > c->wide)))
        return pare_fail(error, PARE_ERROR_FORMAT,
                         "%s: this is no UTF-8 text: %llu of its characters are ill-formed, the first at byte %llu. Convert it, from "
                         "Latin-1 for instance: iconv -f LATIN1 -t UTF-8 FILE > NEW",
                         path, (unsigned long long)c->bad, (unsigned long long)c->first_bad);
    if (odd > FEW && (double)odd > all / 100)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: this is no text: %llu of its bytes are control characters, %llu of them zero", path,
                         (unsigned long long)odd, (unsigned long long)c->bytes[0]);
    if (c->bad)
        pare_context_note(context, "%s: %llu place%s not UTF-8 (the first at byte %llu); each is read as U+FFFD", path,
                          (unsigned long long)c->bad, c->bad == 1 ? " is" : "s are", (unsigned long long)c->first_bad);
    if (odd)
        pare_context_note(context, "%s: %llu byte%s (%llu of them zero), read as text", path, (unsigned long long)odd,
                          odd == 1 ? " is a control character" : "s are control characters", (unsigned long long)c->bytes[0]);
    return true;
}

/* ---- rows or plain ---- */

static bool has_ending(const char *path, const char *ending) {
    size_t n = strlen(path), length = strlen(ending);
    return n > length && strncasecmp(path + n - length, ending, length) == 0;
}

/* By the name, without the endings of compression. */
static bool named_rows(const char *path) {
    static const char *const packed[] = {"", ".gz", ".bz2"};
    static const char *const endings[] = {".jsonl", ".ndjson", ".json", ".jsonlines"};
    char name[64];
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        for (size_t k = 0; k < sizeof endings / sizeof *endings; k++) {
            snprintf(name, sizeof name, "%s%s", endings[k], packed[i]);
            if (has_ending(path, name))
                return true;
        }
    return false;
}

static void tell_rows_from_text(pare_text_file *file, const pare_context *context) {
    bool json = false;
    file->rows = named_rows(file->path);
    if (file->rows)
        return;
    file->rows = pare_source_is_rows(&json, file->path, file->bytes, file->length);
    if (file->rows)
        pare_context_note(context, "%s: it holds JSON rows; the text in them is read, not the JSON around it", file->path);
    else if (json)
        pare_context_note(context, "%s: it holds JSON of no shape that rows of text have, and is read as plain text, with all its braces",
                          file->path);
    else if (file->length > 3 && memcmp(file->bytes, "\xEF\xBB\xBF", 3) == 0)
        pare_context_note(context, "%s: it begins with a byte order mark, which is read as a character of the text", file->path);
}

static bool look_through(pare_text_file *file, const pare_context *context, pare_error *error) {
    census c = {0};
    if (!take_census(&c, file, context, error) || !judge(&c, file, context, error))
        return false;
    tell_rows_from_text(file, context);
    return true;
}

bool pare_text_file_open(pare_text_file *file, const char *path, const pare_context *context, pare_error *error) {
    *file = (pare_text_file){.path = path, .mapped = true};
    if (!pare_map_open(&file->map, path, error))
        return false;
    file->bytes = (const char *)file->map.data;
    file->length = file->map.size;
    pare_kind_found found = pare_kind_of(file->map.data, file->map.size);
    bool done = found.kind == PARE_KIND_TEXT    ? true
                : found.kind == PARE_KIND_OTHER ? refuse(&found, path, error)
                                                : expand(file, &found, context, error);
    if (done && file->length == 0)
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: the text is empty", path);
    done = done && look_through(file, context, error);
    if (!done)
        pare_text_file_close(file);
    return done;
}

void pare_text_file_close(pare_text_file *file) {
    pare_map_close(&file->map);
    pare_free(file->own);
    *file = (pare_text_file){0};
}
