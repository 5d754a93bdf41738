/* failing_malloc: a library for LD_PRELOAD that makes the PARE_FAIL_AT-th allocation of the program, jansson, SQLite, PCRE2 or libyaml
 * fail, once; with PARE_FAIL_COUNT=FILE it writes how many there were. Other libraries end the process or crash by themselves. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *memory, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

enum { RANGES_MAX = 64 };
static struct { uintptr_t begin, end; } ranges[RANGES_MAX];
static size_t n_ranges, fail_at, n_asked;

/* The code of the libraries whose failures are pare's to handle. */
static int add_ranges(struct dl_phdr_info *library, size_t size, void *user) {
    static const char *const names[] = {"libjansson", "libsqlite3", "libpcre2", "libyaml"};
    bool wanted = library->dlpi_name[0] == '\0'; /* the program itself */
    (void)size;
    (void)user;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        wanted = wanted || strstr(library->dlpi_name, names[i]);
    for (int i = 0; wanted && i < library->dlpi_phnum && n_ranges < RANGES_MAX; i++) {
        const ElfW(Phdr) *part = &library->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        ranges[n_ranges].begin = (uintptr_t)(library->dlpi_addr + part->p_vaddr);
        ranges[n_ranges].end = ranges[n_ranges].begin + (uintptr_t)part->p_memsz;
        n_ranges++;
    }
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *at = getenv("PARE_FAIL_AT");
    fail_at = at ? (size_t)strtoull(at, NULL, 10) : 0;
    dl_iterate_phdr(add_ranges, NULL);
}

__attribute__((destructor)) static void end(void) {
    const char *path = getenv("PARE_FAIL_COUNT");
    char text[32];
    int file = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    if (file >= 0)
        (void)!write(file, text, (size_t)snprintf(text, sizeof text, "%zu\n", n_asked));
}

static bool fails(const void *caller) {
    uintptr_t at = (uintptr_t)caller;
    for (size_t i = 0; i < n_ranges; i++)
        if (at >= ranges[i].begin && at < ranges[i].end) {
            bool now = __atomic_add_fetch(&n_asked, 1, __ATOMIC_RELAXED) == fail_at;
            errno = now ? ENOMEM : errno;
            return now;
        }
    return false;
}

void *malloc(size_t n) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t bytes) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, bytes);
}

void *realloc(void *memory, size_t n) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(memory, n);
}

void *aligned_alloc(size_t alignment, size_t n) {
    return fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, n);
}
