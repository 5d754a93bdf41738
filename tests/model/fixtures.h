/* fixtures: files of tests/model/fixtures, and copies of them that a test may spoil. */
#ifndef PARE_TEST_FIXTURES_H
#define PARE_TEST_FIXTURES_H

#include <dirent.h>

#include "format/format.h"
#include "test.h"

static inline const char *fixture(const char *name) {
    static char path[4][1024];
    static unsigned next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", PARE_FIXTURES, name);
    return to;
}

static inline const char *inside(const char *folder, const char *name) {
    static char path[4][1024];
    static unsigned next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/%s", folder, name);
    return to;
}

/* A whole file, NUL-terminated; free with pare_free. */
static inline char *read_file(const char *path, size_t *n) {
    pare_error error = {0};
    pare_map map;
    assert_done(pare_map_open(&map, path, &error), error);
    char *copy = pare_allocate(map.size + 1, 1, &error);
    assert_non_null(copy);
    memcpy(copy, map.data, map.size);
    if (n)
        *n = map.size;
    pare_map_close(&map);
    return copy;
}

static inline void write_file(const char *path, const void *bytes, size_t n) {
    pare_error error = {0};
    assert_done(pare_file_write(path, bytes, n, true, &error), error);
}

static inline void run_shell(const char *program, const char *path) {
    pare_string command = {0};
    pare_string_print(&command, "%s '%s'", program, path);
    assert_int_equal(system(command.data), 0);
    pare_string_free(&command);
}

static inline void remove_all(const char *folder) {
    run_shell("rm -rf", folder);
}

/* A flat folder's files into a new one. */
static inline void copy_folder(const char *to, const char *from) {
    run_shell("mkdir -p", to);
    DIR *open = opendir(from);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));) {
        if (entry->d_name[0] == '.')
            continue;
        size_t n;
        char *bytes = read_file(inside(from, entry->d_name), &n);
        write_file(inside(to, entry->d_name), bytes, n);
        pare_free(bytes);
    }
    closedir(open);
}

/* Replaces the one occurrence of `old` in a text file. */
static inline void edit_file(const char *path, const char *old, const char *new) {
    size_t n;
    char *text = read_file(path, &n), *at = strstr(text, old);
    if (!at)
        fail_msg("%s: no %s in it", path, old);
    pare_string edited = {0};
    pare_string_push(&edited, text, (size_t)(at - text));
    pare_string_print(&edited, "%s%s", new, at + strlen(old));
    write_file(path, edited.data, edited.length);
    pare_string_free(&edited);
    pare_free(text);
}

static inline pare_checkpoint *open_fixture(const char *name) {
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(fixture(name), &error);
    assert_done(checkpoint, error);
    return checkpoint;
}

/* f32 of a whole view, rows and columns as computing sees them; free with pare_free. */
static inline float *view_values(const pare_view *view) {
    pare_error error = {0};
    float *values = pare_allocate((size_t)view->n_rows * view->n_columns, sizeof *values, &error);
    float *scratch = pare_allocate(pare_view_scratch(view), sizeof *scratch, &error);
    assert_true(values && scratch);
    pare_view_read(values, view, 0, view->n_rows, scratch);
    pare_free(scratch);
    return values;
}

#endif
