/* spill: numbers in an unlinked temporary file; see base.h. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pare/base.h"

typedef struct {
    uint8_t *at;
    size_t bytes;
} mapping;

struct pare_spill {
    int file;
    off_t end;
    char folder[512];
    mapping *mappings;
    size_t n, capacity;
};

static bool fail(const pare_spill *s, int code, size_t bytes, pare_error *error) {
    return pare_fail(error, PARE_ERROR_IO, "%s: no room for %.1f MiB of temporary numbers (%s); set TMPDIR to a folder with more",
                     s->folder, (double)bytes / 1048576.0, strerror(code));
}

static pare_spill *open_spill(size_t bytes, pare_error *error) {
    pare_spill *s = pare_allocate(1, sizeof *s, error);
    if (!s)
        return NULL;
    const char *folder = getenv("TMPDIR");
    char path[600];
    snprintf(s->folder, sizeof s->folder, "%s", folder && *folder ? folder : "/var/tmp");
    snprintf(path, sizeof path, "%s/pare-XXXXXX", s->folder);
    if ((s->file = mkstemp(path)) >= 0) {
        unlink(path);
        (void)fcntl(s->file, F_SETFD, FD_CLOEXEC);
        return s;
    }
    fail(s, errno, bytes, error);
    pare_free(s);
    return NULL;
}

void *pare_spill_push(pare_spill **spill, size_t bytes, pare_error *error) {
    if (!*spill && !(*spill = open_spill(bytes, error)))
        return NULL;
    pare_spill *s = *spill;
    size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded = (bytes + page - 1) / page * page;
    void *grown = s->mappings;
    if (!pare_grow(&grown, &s->capacity, s->n + 1, sizeof *s->mappings, error))
        return NULL;
    s->mappings = grown;
    int code = posix_fallocate(s->file, s->end, (off_t)rounded);
    void *at = code == 0 ? mmap(NULL, rounded, PROT_READ | PROT_WRITE, MAP_SHARED, s->file, s->end) : MAP_FAILED;
    if (at == MAP_FAILED) {
        fail(s, code ? code : errno, bytes, error);
        return NULL;
    }
    s->mappings[s->n++] = (mapping){at, rounded};
    s->end += (off_t)rounded;
    return at;
}

void pare_spill_drop(const pare_spill *spill) {
    for (size_t i = 0; spill && i < spill->n; i++)
        (void)madvise(spill->mappings[i].at, spill->mappings[i].bytes, MADV_DONTNEED);
}

bool pare_spill_holds(const pare_spill *spill, const void *at) {
    const uint8_t *byte = at;
    for (size_t i = 0; spill && i < spill->n; i++)
        if (byte >= spill->mappings[i].at && byte < spill->mappings[i].at + spill->mappings[i].bytes)
            return true;
    return false;
}

void pare_spill_close(pare_spill *spill) {
    if (!spill)
        return;
    for (size_t i = 0; i < spill->n; i++)
        munmap(spill->mappings[i].at, spill->mappings[i].bytes);
    close(spill->file);
    pare_free(spill->mappings);
    pare_free(spill);
}
