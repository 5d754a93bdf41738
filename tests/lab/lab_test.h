/* lab_test: studies of the tiny models of tests/model/fixtures, in a folder of their own. */
#ifndef PARE_LAB_TEST_H
#define PARE_LAB_TEST_H

#include <dirent.h>

#include "pare/lab.h"
#include "study_impl.h"
#include "test.h"

#define TINY PARE_SOURCE_DIR "/tests/model/fixtures/"

/* "folder/name" in one of a few static buffers. */
static inline const char *in_folder(const char *folder, const char *name) {
    static char paths[8][1024];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%.700s/%.255s", folder, name);
    return path;
}

static inline void write_text(const char *path, const char *text, size_t n) {
    pare_error error = {0};
    assert_done(pare_file_write(path, text, n, true, &error), error);
}

/* A spec in `folder`; format as printf. Returns its path. */
static inline const char *write_spec(const char *folder, const char *name, const char *format, ...) PARE_PRINTF(3, 4);
static inline const char *write_spec(const char *folder, const char *name, const char *format, ...) {
    char text[8192];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    assert_in_range(n, 1, sizeof text - 1);
    const char *path = in_folder(folder, name);
    write_text(path, text, (size_t)n);
    return path;
}

/* A flat copy of the folder `from`. */
static inline void copy_folder(const char *to, const char *from) {
    pare_error error = {0};
    char into[512]; /* `to` may be one of in_folder's */
    snprintf(into, sizeof into, "%s", to);
    DIR *folder = opendir(from);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        pare_map map;
        if (entry->d_name[0] == '.')
            continue;
        assert_done(pare_map_open(&map, in_folder(from, entry->d_name), &error), error);
        write_text(in_folder(into, entry->d_name), (const char *)map.data, map.size);
        pare_map_close(&map);
    }
    closedir(folder);
}

static inline void remove_folder(const char *path) {
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char inner[512];
        snprintf(inner, sizeof inner, "%.200s/%.255s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(inner) != 0)
            remove_folder(inner);
    }
    if (folder)
        closedir(folder);
    rmdir(path);
}

#endif
