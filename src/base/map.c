/* map: read-only maps of files, and a table of everything that is mapped.
 *
 * The system answers an access behind the end of a mapped file with SIGBUS: somebody cut the file, or its disk failed. The handler of that
 * signal (src/cli) may only call what is async-signal-safe. The table therefore consists of slots that never move and are never freed,
 * and pare_map_name_at takes no lock: it reads an atomic address, then a size and a name that were written before it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map.h"

/* ---- the table ---- */

enum { SLOTS = 32, NAME_BYTES = 1024 };

typedef struct {
    _Atomic(uintptr_t) at; /* 0: the slot is free */
    size_t size;
    char name[NAME_BYTES];
} slot;

typedef struct block {
    slot slots[SLOTS];
    _Atomic(struct block *) next;
} block;

static block first_block;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of those who write */

static slot *find(uintptr_t at, bool inside) {
    for (block *b = &first_block; b; b = atomic_load(&b->next))
        for (size_t i = 0; i < SLOTS; i++) {
            uintptr_t begin = atomic_load(&b->slots[i].at);
            if (begin == at || (inside && begin && at > begin && at - begin < b->slots[i].size))
                return &b->slots[i];
        }
    return NULL;
}

/* A free slot; more of them when all are taken. */
static slot *take(pare_error *error) {
    slot *found = find(0, false);
    if (found)
        return found;
    block *more = pare_allocate(1, sizeof *more, error), *last = &first_block;
    if (!more)
        return NULL;
    while (atomic_load(&last->next))
        last = atomic_load(&last->next);
    atomic_store(&last->next, more);
    return &more->slots[0];
}

bool mapping_note(const void *data, size_t size, const char *name, pare_error *error) {
    pthread_mutex_lock(&lock);
    slot *free_slot = take(error);
    if (free_slot) {
        free_slot->size = size;
        snprintf(free_slot->name, sizeof free_slot->name, "%s", name);
        atomic_store(&free_slot->at, (uintptr_t)data);
    }
    pthread_mutex_unlock(&lock);
    return free_slot != NULL;
}

void mapping_forget(const void *data) {
    pthread_mutex_lock(&lock);
    slot *found = find((uintptr_t)data, false);
    if (found)
        atomic_store(&found->at, 0);
    pthread_mutex_unlock(&lock);
}

const char *pare_map_name_at(const void *address) {
    slot *found = address ? find((uintptr_t)address, true) : NULL;
    return found ? found->name : NULL;
}

/* ---- maps of files ---- */

static bool fail_path(pare_error *error, const char *what, const char *path) {
    return pare_fail(error, PARE_ERROR_IO, "%s: %s: %s", path, what, strerror(errno));
}

static bool map_bytes(pare_map *map, int fd, size_t size, const char *path, pare_error *error) {
    void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return fail_path(error, "cannot map", path);
    if (!mapping_note(data, size, path, error)) {
        munmap(data, size);
        return false;
    }
    *map = (pare_map){data, size};
    return true;
}

bool pare_map_open(pare_map *map, const char *path, pare_error *error) {
    *map = (pare_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_path(error, "cannot open", path);
    struct stat status;
    bool done = false;
    if (fstat(fd, &status) != 0) {
        fail_path(error, "cannot read its size", path);
    } else if (!S_ISREG(status.st_mode)) {
        pare_fail(error, PARE_ERROR_IO, "%s: not a regular file", path);
    } else if (status.st_size == 0) {
        *map = (pare_map){(const uint8_t *)"", 0};
        done = true;
    } else {
        done = map_bytes(map, fd, (size_t)status.st_size, path, error);
    }
    close(fd);
    return done;
}

void pare_map_close(pare_map *map) {
    if (map->size) {
        void *data;
        memcpy(&data, &map->data, sizeof data); /* munmap takes a pointer without const */
        mapping_forget(data);
        munmap(data, map->size);
    }
    *map = (pare_map){0};
}
