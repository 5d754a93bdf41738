/* file: read-only maps, and outputs that appear whole or not at all: temporary name, fsync, rename, fsync of the folder. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pare/base.h"

static bool fail_path(pare_error *error, const char *what, const char *path) {
    return pare_fail(error, PARE_ERROR_IO, "%s: %s: %s", path, what, strerror(errno));
}

/* ---- reading ---- */

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
        void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED)
            fail_path(error, "cannot map", path);
        else
            *map = (pare_map){data, (size_t)status.st_size}, done = true;
    }
    close(fd);
    return done;
}

void pare_map_close(pare_map *map) {
    if (map->size) {
        void *data;
        memcpy(&data, &map->data, sizeof data); /* munmap takes a pointer without const */
        munmap(data, map->size);
    }
    *map = (pare_map){0};
}

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

/* ---- writing one file ---- */

enum { BUFFER_BYTES = 1 << 18 };

struct pare_output {
    int fd;
    bool replace;
    size_t used;
    char *path, *temporary;
    uint8_t *buffer;
    pare_arena *arena;
};

/* The folder that holds `path`, into `folder`. */
static void parent_of(char *folder, size_t size, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(folder, size, ".");
    else if (slash == path)
        snprintf(folder, size, "/");
    else
        snprintf(folder, size, "%.*s", (int)(slash - path), path);
}

enum { ATTEMPTS = 100, SUFFIX_BYTES = 40 };

/* `path` without slashes at its end, and room for a temporary name beside it. */
static bool temporary_name(char **clean, char **temporary, pare_arena *arena, const char *path, pare_error *error) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "the output has an empty name");
    *clean = pare_arena_copy(arena, path, length, error);
    *temporary = PARE_PUSH(arena, char, length + SUFFIX_BYTES, error);
    return *clean && *temporary;
}

/* Makes the temporary file (*fd) or folder (fd NULL). What a killed process of the same number left (in a container it is always the
 * same) is stepped around; so is a link that somebody laid there. */
static bool make_temporary(int *fd, char *temporary, const char *path, pare_error *error) {
    for (int i = 0; i < ATTEMPTS; i++) {
        snprintf(temporary, strlen(path) + SUFFIX_BYTES, i ? "%s.partial-%ld-%d" : "%s.partial-%ld", path, (long)getpid(), i);
        if (fd ? (*fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) >= 0 : mkdir(temporary, 0777) == 0)
            return true;
        if (errno != EEXIST)
            break;
    }
    return fail_path(error, "cannot create", path);
}

static bool sync_folder_of(const char *path, pare_error *error) {
    char folder[4096];
    parent_of(folder, sizeof folder, path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_path(error, "cannot open", folder);
    /* some file systems refuse fsync on a folder; the rename itself has happened */
    bool done = fsync(fd) == 0 || errno == EINVAL || errno == EROFS;
    if (!done)
        fail_path(error, "cannot sync", folder);
    close(fd);
    return done;
}

static bool refuse_existing(const char *path, pare_error *error) {
    return pare_fail(error, PARE_ERROR_CONFLICT, "%s: exists already; remove it or choose another name", path);
}

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
    if (!output || !(output->buffer = PARE_PUSH(arena, uint8_t, BUFFER_BYTES, error)) ||
        !temporary_name(&output->path, &output->temporary, arena, path, error)) {
        pare_arena_close(arena);
        return NULL;
    }
    output->arena = arena;
    output->replace = replace;
    output->fd = -1;
    if (!replace && pare_path_exists(output->path))
        refuse_existing(output->path, error);
    else if ((!replace || may_replace(output->path, error)) && make_temporary(&output->fd, output->temporary, output->path, error))
        return output;
    pare_arena_close(arena);
    return NULL;
}

static bool write_all(pare_output *output, const uint8_t *bytes, size_t n, pare_error *error) {
    while (n > 0) {
        ssize_t wrote = write(output->fd, bytes, n);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return fail_path(error, "cannot write", output->path);
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

bool pare_output_flush(const char **temporary, pare_output *output, pare_error *error) {
    *temporary = output->temporary;
    return flush(output, error);
}

bool pare_output_commit(pare_output *output, pare_error *error) {
    bool done = flush(output, error);
    if (done && fsync(output->fd) != 0)
        done = fail_path(error, "cannot sync", output->path);
    if (close(output->fd) != 0 && done)
        done = fail_path(error, "cannot close", output->path);
    output->fd = -1;
    if (done && !output->replace && pare_path_exists(output->path))
        done = refuse_existing(output->path, error);
    if (done && rename(output->temporary, output->path) != 0)
        done = fail_path(error, "cannot rename the finished file to", output->path);
    if (!done) {
        pare_output_abandon(output);
        return false;
    }
    done = sync_folder_of(output->path, error);
    pare_arena_close(output->arena);
    return done;
}

void pare_output_abandon(pare_output *output) {
    if (!output)
        return;
    if (output->fd >= 0)
        close(output->fd);
    unlink(output->temporary);
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
    char *path, *temporary;
    pare_arena *arena;
};

/* Removes a folder of files, and of folders of files (additional_chat_templates): pare writes none deeper. */
static void remove_folder(const char *path, bool nested) {
    DIR *folder = opendir(path);
    if (folder) {
        for (struct dirent *entry; (entry = readdir(folder));) {
            char inner[4096];
            bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
            if (unlinkat(dirfd(folder), entry->d_name, 0) != 0 && nested && !dots &&
                snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) < (int)sizeof inner)
                remove_folder(inner, false);
        }
        closedir(folder);
    }
    rmdir(path);
}

pare_folder *pare_folder_open(const char *path, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_folder *folder = PARE_PUSH(arena, pare_folder, 1, error);
    if (!folder || !temporary_name(&folder->path, &folder->temporary, arena, path, error)) {
        pare_arena_close(arena);
        return NULL;
    }
    folder->arena = arena;
    if (pare_path_exists(folder->path))
        refuse_existing(folder->path, error);
    else if (make_temporary(NULL, folder->temporary, folder->path, error))
        return folder;
    pare_arena_close(arena);
    return NULL;
}

const char *pare_folder_path(const pare_folder *folder) {
    return folder->temporary;
}

bool pare_folder_commit(pare_folder *folder, pare_error *error) {
    bool done = true;
    int fd = open(folder->temporary, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        done = fail_path(error, "cannot sync", folder->temporary);
    if (fd >= 0)
        close(fd);
    if (done && pare_path_exists(folder->path))
        done = refuse_existing(folder->path, error);
    if (done && rename(folder->temporary, folder->path) != 0)
        done = fail_path(error, "cannot rename the finished folder to", folder->path);
    if (!done) {
        pare_folder_abandon(folder);
        return false;
    }
    done = sync_folder_of(folder->path, error);
    pare_arena_close(folder->arena);
    return done;
}

void pare_folder_abandon(pare_folder *folder) {
    if (!folder)
        return;
    remove_folder(folder->temporary, true);
    pare_arena_close(folder->arena);
}
