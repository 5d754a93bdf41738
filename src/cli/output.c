/* output: results to stdout, talk and a progress bar with time left to stderr (the bar only to a terminal). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

bool print_json(json_t *json, const pare_json_doc *doc, pare_error *error) {
    pare_string text = {0};
    bool done = pare_json_print(&text, json, doc, error);
    progress_end();
    if (done && fwrite(text.data, 1, text.length, stdout) != text.length)
        done = pare_fail(error, PARE_ERROR_IO, "cannot write to standard output");
    pare_string_free(&text);
    json_decref(json);
    return done;
}

void say(const common *shared, const char *format, ...) {
    if (shared->quiet)
        return;
    progress_end();
    va_list list;
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
}

/* FNV-1a. */
static uint64_t hash_of(const char *text) {
    uint64_t hash = 0xCBF29CE484222325U;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001B3U;
    return hash;
}

void note_once(void *user, const char *text) {
    enum { REMEMBERED = 64 };
    static uint64_t told[REMEMBERED];
    static unsigned n;
    uint64_t hash = hash_of(text);
    (void)user;
    for (unsigned i = 0; i < n; i++)
        if (told[i] == hash)
            return;
    if (n < REMEMBERED)
        told[n++] = hash;
    progress_end();
    fprintf(stderr, "note: %s\n", text);
}

const char *human_bytes(double bytes) {
    static char ring[8][24];
    static unsigned next;
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char *text = ring[next++ % 8];
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(text, sizeof ring[0], unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

const char *human_count(uint64_t n) {
    static char ring[16][32];
    static unsigned next;
    char *text = ring[next++ % 16], digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

/* ---- progress ---- */

static struct {
    progress_clock clock;
    double last; /* seconds: when the bar was drawn */
    bool shown;
} bar;

void progress_end(void) {
    if (bar.shown)
        fprintf(stderr, "\r\033[K");
    bar.shown = false;
}

static void time_left(char *text, size_t size, double seconds) {
    long s = (long)(seconds + 0.5);
    if (s >= 3600)
        snprintf(text, size, "%ld h %02ld min left", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(text, size, "%ld min %02ld s left", s / 60, s % 60);
    else
        snprintf(text, size, "%ld s left", s);
}

void progress_line(char *text, size_t size, progress_clock *clock, const char *stage, double done, double total, double now) {
    enum { WIDTH = 24 };
    const double TOLD_AFTER = 2, TOLD_FROM = 0.01; /* seconds, and share of the stage: before, an estimate is a guess */
    const double TOLD_ANYWAY = 10;                 /* seconds: the first run of a long study is less than that share */
    double share = total > 0 ? done / total : 0;
    if (total < clock->total || total > clock->total || done < clock->done)
        *clock = (progress_clock){.begin = now, .total = total, .share = share};
    clock->done = done;
    int filled = (int)(share * WIDTH + 0.5);
    char left[48] = "";
    double elapsed = now - clock->begin, moved = share - clock->share;
    if (elapsed >= TOLD_AFTER && (moved >= TOLD_FROM || (moved > 0 && elapsed >= TOLD_ANYWAY)))
        time_left(left, sizeof left, elapsed / moved * (1 - share));
    snprintf(text, size, "[%.*s%.*s] %3.0f %%  %s  %s", filled, "########################", WIDTH - filled, "........................",
             100 * share, stage, left);
    if (done >= total)
        text[0] = '\0';
}

void progress_bar(void *user, const char *stage, double done, double total) {
    (void)user;
    if (!isatty(STDERR_FILENO))
        return;
    double now = pare_clock_s();
    char line[256];
    progress_line(line, sizeof line, &bar.clock, stage, done, total, now);
    if (!*line)
        progress_end(); /* what comes next may be silent: no finished stage stands for it */
    if (!*line || (now - bar.last < 0.1 && bar.shown))
        return;
    bar.last = now;
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    bar.shown = true;
}
