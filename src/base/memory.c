/* memory: the only home of the heap. Everything is zeroed and aligned to a cache line; arenas own what they hand out.
 * Tests make the n-th allocation fail to walk every failure path. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pare/base.h"

enum { ALIGNMENT = 64, HUGE_PAGE_BYTES = 2 << 20, ARENA_BLOCK_BYTES = 1 << 16 };

static size_t fail_at; /* 0: never */

void pare_allocate_fail_at(size_t n) {
    fail_at = n;
}

bool pare_size_multiply(size_t *product, size_t a, size_t b) {
    return !__builtin_mul_overflow(a, b, product);
}

/* Huge pages, where the system has them: a matrix product walks rows that are pages apart. */
static void *allocate_large(size_t bytes) {
    void *memory = aligned_alloc(HUGE_PAGE_BYTES, (bytes + HUGE_PAGE_BYTES - 1) / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES);
#ifdef MADV_HUGEPAGE
    if (memory)
        (void)madvise(memory, bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES, MADV_HUGEPAGE);
#endif
    return memory;
}

void *pare_allocate(size_t count, size_t item_bytes, pare_error *error) {
    size_t bytes, rounded;
    if (!pare_size_multiply(&bytes, count, item_bytes) || __builtin_add_overflow(bytes, (size_t)ALIGNMENT, &rounded)) {
        pare_fail(error, PARE_ERROR_MEMORY, "cannot allocate %zu items of %zu bytes", count, item_bytes);
        return NULL;
    }
    rounded = rounded / ALIGNMENT * ALIGNMENT; /* at least one line, so that 0 bytes give a pointer too */
    void *memory = NULL;
    if (fail_at == 0 || --fail_at > 0)
        memory = rounded < HUGE_PAGE_BYTES ? aligned_alloc(ALIGNMENT, rounded) : allocate_large(rounded);
    if (!memory) {
        pare_fail(error, PARE_ERROR_MEMORY, "out of memory: %.1f MiB were asked for", (double)bytes / 1048576.0);
        return NULL;
    }
    memset(memory, 0, rounded);
    return memory;
}

void pare_free(void *memory) {
    free(memory);
}

bool pare_grow(void **memory, size_t *capacity, size_t needed, size_t item_bytes, pare_error *error) {
    if (needed <= *capacity && *memory)
        return true;
    size_t wanted = *capacity < 16 ? 16 : *capacity + *capacity / 2;
    if (wanted < needed)
        wanted = needed;
    void *larger = pare_allocate(wanted, item_bytes, error);
    if (!larger)
        return false;
    if (*memory)
        memcpy(larger, *memory, *capacity * item_bytes);
    pare_free(*memory);
    *memory = larger;
    *capacity = wanted;
    return true;
}

/* An arena is a list of blocks; large requests get a block of their own. */
typedef struct block {
    struct block *next;
    size_t used, size;
} block;

struct pare_arena {
    block *blocks;
};

static uint8_t *block_data(block *b) {
    return (uint8_t *)b + ALIGNMENT;
}

pare_arena *pare_arena_open(pare_error *error) {
    return pare_allocate(1, sizeof(pare_arena), error);
}

void pare_arena_close(pare_arena *arena) {
    if (!arena)
        return;
    for (block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        pare_free(b);
    }
    pare_free(arena);
}

void *pare_arena_push(pare_arena *arena, size_t count, size_t item_bytes, pare_error *error) {
    size_t bytes;
    if (!pare_size_multiply(&bytes, count, item_bytes) || bytes > SIZE_MAX / 4) {
        pare_fail(error, PARE_ERROR_MEMORY, "cannot allocate %zu items of %zu bytes", count, item_bytes);
        return NULL;
    }
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    block *b = arena->blocks;
    if (!b || b->size - b->used < bytes) {
        size_t size = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
        b = pare_allocate(1, size + ALIGNMENT, error);
        if (!b)
            return NULL;
        b->size = size;
        b->next = arena->blocks;
        arena->blocks = b;
    }
    void *memory = block_data(b) + b->used;
    b->used += bytes;
    return memory;
}

char *pare_arena_copy(pare_arena *arena, const char *bytes, size_t length, pare_error *error) {
    char *copy = pare_arena_push(arena, length + 1, 1, error);
    if (copy && length)
        memcpy(copy, bytes, length);
    return copy;
}

char *pare_arena_format(pare_arena *arena, pare_error *error, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int length = vsnprintf(NULL, 0, format, list);
    va_end(list);
    if (length < 0) {
        pare_fail(error, PARE_ERROR_FORMAT, "cannot format a message");
        return NULL;
    }
    char *text = pare_arena_push(arena, (size_t)length + 1, 1, error);
    if (text) {
        va_start(list, format);
        vsnprintf(text, (size_t)length + 1, format, list);
        va_end(list);
    }
    return text;
}
