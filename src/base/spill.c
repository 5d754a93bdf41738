/* spill: numbers in a temporary file without a name; see base.h. */
#define _GNU_SOURCE /* O_TMPFILE */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "map.h"

typedef struct {
    uint8_t *at;
    size_t bytes;
} mapping;

struct pare_spill {
    int file;
    off_t end;
    pare_string folder;
    mapping *mappings;
    size_t n, capacity;
};

static bool fail(const pare_spill *s, int code, size_t bytes, pare_error *error) {
    return pare_fail(error, PARE_ERROR_IO, "%.500s: no room for %.1f MiB of temporary numbers (%s); set TMPDIR to a folder with more",
                     s->folder.data, (double)bytes / 1048576.0, strerror(code));
}

/* A file that never had a name, where the file system can do that; else one that loses it at once. */
static int open_nameless(const char *folder, pare_error *error) {
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return file;
    pare_string path = {0};
    pare_string_print(&path, "%s/pare-XXXXXX", folder);
    file = pare_string_check(&path, error) ? mkostemp(path.data, O_CLOEXEC) : -1;
    int code = errno;
    if (file >= 0)
        unlink(path.data);
    pare_string_free(&path);
    errno = code;
    return file;
}

static pare_spill *open_spill(size_t bytes, pare_error *error) {
    pare_spill *s = pare_allocate(1, sizeof *s, error);
    if (!s)
        return NULL;
    const char *folder = getenv("TMPDIR");
    pare_string_print(&s->folder, "%s", folder && *folder ? folder : "/var/tmp");
    if (pare_string_check(&s->folder, error)) {
        if ((s->file = open_nameless(s->folder.data, error)) >= 0)
            return s;
        fail(s, errno, bytes, error);
    }
    pare_string_free(&s->folder);
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
    if (!mapping_note(at, rounded, s->folder.data, error)) {
        munmap(at, rounded);
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
    for (size_t i = 0; i < spill->n; i++) {
        mapping_forget(spill->mappings[i].at);
        munmap(spill->mappings[i].at, spill->mappings[i].bytes);
    }
    close(spill->file);
    pare_string_free(&spill->folder);
    pare_free(spill->mappings);
    pare_free(spill);
}
