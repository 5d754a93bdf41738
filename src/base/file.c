/* file: outputs that appear whole or not at all: temporary name, fsync, rename, fsync of the folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "temporary.h"

static bool fail_path(pare_error *error, const char *what, const char *path) {
    return pare_fail(error, PARE_ERROR_IO, "%s: %s: %s", path, what, strerror(errno));
}

static bool refuse_existing(const char *path, pare_error *error) {
    return pare_fail(error, PARE_ERROR_CONFLICT, "%s: exists already; remove it or choose another name", path);
}

/* ---- paths ---- */

bool pare_path_exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

bool pare_path_is_file(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

bool pare_path_is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

bool pare_path_is_empty_folder(const char *path) {
    DIR *folder = opendir(path);
    bool empty = folder != NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    if (folder)
        closedir(folder);
    return empty;
}

/* ---- writing one file ---- */

enum { BUFFER_BYTES = 1 << 18 };

struct pare_output {
    temporary temporary;
    int fd;
    bool replace;
    size_t used;
    uint8_t *buffer;
    pare_arena *arena;
};

/* Only a file may be replaced: the rename would put one in the place of a device such as /dev/null. */
static bool may_replace(const char *path, pare_error *error) {
    struct stat status;
    if (stat(path, &status) != 0 || S_ISREG(status.st_mode))
        return true;
    return pare_fail(error, PARE_ERROR_CONFLICT, "%s: %s", path,
                     S_ISDIR(status.st_mode) ? "is a folder" : "is no regular file, and pare replaces files as a whole");
}

pare_output *pare_output_open(const char *path, bool replace, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_output *output = PARE_PUSH(arena, pare_output, 1, error);
    if (output && (output->buffer = PARE_PUSH(arena, uint8_t, BUFFER_BYTES, error)) &&
        temporary_name(&output->temporary, path, false, arena, error)) {
        output->arena = arena;
        output->replace = replace;
        output->fd = -1;
        path = output->temporary.path;
        if (!replace && pare_path_exists(path))
            refuse_existing(path, error);
        else if ((!replace || may_replace(path, error)) && temporary_open(&output->temporary, &output->fd, error))
            return output;
    }
    pare_arena_close(arena);
    return NULL;
}

/* Bytes of a map whose file was cut meanwhile: the system refuses them here, where an access of our own would be a SIGBUS. */
static bool fail_write(const pare_output *output, const uint8_t *bytes, pare_error *error) {
    const char *input = errno == EFAULT ? pare_map_name_at(bytes) : NULL;
    return input ? pare_fail(error, PARE_ERROR_IO,
                             "%s: cannot be read any more: the file became shorter while it was in use, or its disk failed", input)
                 : fail_path(error, "cannot write", output->temporary.path);
}

static bool write_all(pare_output *output, const uint8_t *bytes, size_t n, pare_error *error) {
    while (n > 0) {
        ssize_t wrote = write(output->fd, bytes, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return fail_write(output, bytes, error);
        bytes += wrote;
        n -= (size_t)wrote;
    }
    return true;
}

static bool flush(pare_output *output, pare_error *error) {
    size_t n = output->used;
    output->used = 0;
    return write_all(output, output->buffer, n, error);
}

bool pare_output_write(pare_output *output, const void *bytes, size_t n, pare_error *error) {
    if (n >= BUFFER_BYTES)
        return flush(output, error) && write_all(output, bytes, n, error);
    if (output->used + n > BUFFER_BYTES && !flush(output, error))
        return false;
    if (n)
        memcpy(output->buffer + output->used, bytes, n);
    output->used += n;
    return true;
}

bool pare_output_flush(const char **name, pare_output *output, pare_error *error) {
    *name = output->temporary.name;
    return flush(output, error);
}

bool pare_output_commit(pare_output *output, pare_error *error) {
    bool done = flush(output, error);
    if (done && fsync(output->fd) != 0)
        done = fail_path(error, "cannot sync", output->temporary.path);
    if (close(output->fd) != 0 && done)
        done = fail_path(error, "cannot close", output->temporary.path);
    output->fd = -1;
    if (!done || !temporary_publish(&output->temporary, output->replace, error)) {
        pare_output_abandon(output);
        return false;
    }
    pare_arena_close(output->arena);
    return true;
}

void pare_output_abandon(pare_output *output) {
    if (!output)
        return;
    if (output->fd >= 0)
        close(output->fd);
    temporary_remove(&output->temporary);
    pare_arena_close(output->arena);
}

bool pare_file_write(const char *path, const void *bytes, size_t n, bool replace, pare_error *error) {
    pare_output *output = pare_output_open(path, replace, error);
    if (!output)
        return false;
    if (!pare_output_write(output, bytes, n, error)) {
        pare_output_abandon(output);
        return false;
    }
    return pare_output_commit(output, error);
}

/* ---- writing a folder ---- */

struct pare_folder {
    temporary temporary;
    bool replace;
    pare_arena *arena;
};

/* An empty folder that a link names is filled where it is: the rename would meet the link. */
static const char *resolve(const char *path, pare_arena *arena, pare_error *error) {
    struct stat status;
    if (lstat(path, &status) != 0 || !S_ISLNK(status.st_mode) || !pare_path_is_folder(path))
        return path;
    char *real = realpath(path, NULL);
    const char *copy = real ? pare_arena_copy(arena, real, strlen(real), error) : path;
    free(real);
    return copy;
}

/* A new folder cannot take the place of one that is a mount point. */
static bool refuse_mount(const char *path, pare_error *error) {
    char above[PATH_MAX];
    struct stat here, parent;
    if (snprintf(above, sizeof above, "%s/..", path) >= (int)sizeof above || stat(path, &here) != 0 || stat(above, &parent) != 0 ||
        here.st_dev == parent.st_dev)
        return true;
    return pare_fail(error, PARE_ERROR_CONFLICT, "%s: is a mount point; name a folder inside of it", path);
}

static bool may_make(const char *path, bool replace, pare_error *error) {
    if (!pare_path_exists(path))
        return true;
    if (pare_path_is_empty_folder(path) || (replace && pare_path_is_folder(path)))
        return refuse_mount(path, error);
    return refuse_existing(path, error);
}

pare_folder *pare_folder_open(const char *path, bool replace, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_folder *folder = PARE_PUSH(arena, pare_folder, 1, error);
    if (folder && (path = resolve(path, arena, error)) && temporary_name(&folder->temporary, path, true, arena, error)) {
        folder->arena = arena;
        folder->replace = replace;
        if (may_make(folder->temporary.path, replace, error) && temporary_open(&folder->temporary, NULL, error))
            return folder;
    }
    pare_arena_close(arena);
    return NULL;
}

const char *pare_folder_path(const pare_folder *folder) {
    return folder->temporary.name;
}

bool pare_folder_commit(pare_folder *folder, pare_error *error) {
    bool done = fsync(folder->temporary.lock) == 0 || errno == EINVAL;
    if (!done)
        fail_path(error, "cannot sync", folder->temporary.name);
    if (!done || !temporary_publish(&folder->temporary, folder->replace, error)) {
        pare_folder_abandon(folder);
        return false;
    }
    pare_arena_close(folder->arena);
    return true;
}

void pare_folder_abandon(pare_folder *folder) {
    if (!folder)
        return;
    temporary_remove(&folder->temporary);
    pare_arena_close(folder->arena);
}

bool pare_folder_close(pare_folder *folder, bool done, pare_error *error) {
    if (done)
        return pare_folder_commit(folder, error);
    pare_folder_abandon(folder);
    return false;
}
