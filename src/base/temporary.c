/* temporary: outputs under a temporary name beside the place where they go, `path.partial-PID`.
 *
 * The process that writes one holds a lock (flock) on it, which the system lets go of when the process ends, however it ends. So the next
 * run with the same output tells the remains of a dead process from the work of a living one, also where both have the same number (two
 * containers) or run on two machines of one network file system. Where a file system knows no such locks nothing is removed.
 *
 * Publication never replaces what somebody else put there in the meantime, unless that was asked for: renameat2(RENAME_NOREPLACE),
 * or link() where the file system does not know that. */
#define _GNU_SOURCE /* renameat2 */
#include "temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ATTEMPTS = 100, SUFFIX_BYTES = 40 };
static const char mark[] = ".partial-";

static bool fail_path(pare_error *error, const char *what, const char *path) {
    return pare_fail(error, PARE_ERROR_IO, "%s: %s: %s", path, what, strerror(errno));
}

static bool refuse_existing(const char *path, pare_error *error) {
    return pare_fail(error, PARE_ERROR_CONFLICT, "%s: exists already; remove it or choose another name", path);
}

/* The folder that holds `path`, into `folder`. */
static void parent_of(char folder[PATH_MAX], const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(folder, PATH_MAX, ".");
    else if (slash == path)
        snprintf(folder, PATH_MAX, "/");
    else
        snprintf(folder, PATH_MAX, "%.*s", (int)(slash - path), path);
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether `name` still is what `fd` was opened on. */
static bool is_at(const char *name, int fd) {
    struct stat there, held;
    return lstat(name, &there) == 0 && fstat(fd, &held) == 0 && same_file(&there, &held);
}

/* ---- removing ---- */

/* A folder of files, and of folders of files (additional_chat_templates): pare writes none deeper. */
static void remove_folder(const char *path, bool nested) {
    DIR *folder = opendir(path);
    if (folder) {
        for (struct dirent *entry; (entry = readdir(folder));) {
            char inner[PATH_MAX];
            bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
            if (unlinkat(dirfd(folder), entry->d_name, 0) != 0 && nested && !dots &&
                snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) < (int)sizeof inner)
                remove_folder(inner, false);
        }
        closedir(folder);
    }
    rmdir(path);
}

/* A ledger in the making has files of SQLite's beside it. */
static void remove_file(const char *path) {
    static const char *const beside[] = {"-wal", "-shm", "-journal"};
    char name[PATH_MAX];
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++)
        if (snprintf(name, sizeof name, "%s%s", path, beside[i]) < (int)sizeof name)
            unlink(name);
    unlink(path);
}

static void remove_at(const char *name, bool folder) {
    if (folder)
        remove_folder(name, true);
    else
        remove_file(name);
}

/* "-123" or "-123-4" */
static bool is_suffix(const char *text) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0)
        return false;
    text += digits;
    return *text == '\0' || (*text == '-' && text[1] && text[1 + strspn(text + 1, "0123456789")] == '\0');
}

/* Removes `name` if nobody holds it. Its maker may be between making and locking it: it looks afterwards whether its name still stands. */
static void sweep_one(const char *name) {
    int fd = open(name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == EISDIR)
        fd = open(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        is_at(name, fd))
        remove_at(name, S_ISDIR(status.st_mode));
    close(fd);
}

/* What dead processes left of this output. */
static void sweep(const char *path) {
    char folder[PATH_MAX], name[PATH_MAX];
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t length = strlen(base);
    parent_of(folder, path);
    DIR *open_folder = opendir(folder);
    for (struct dirent *entry; open_folder && (entry = readdir(open_folder));)
        if (strncmp(entry->d_name, base, length) == 0 && strncmp(entry->d_name + length, mark, sizeof mark - 1) == 0 &&
            is_suffix(entry->d_name + length + sizeof mark - 1) &&
            snprintf(name, sizeof name, "%s/%s", folder, entry->d_name) < (int)sizeof name)
            sweep_one(name);
    if (open_folder)
        closedir(open_folder);
}

/* ---- making ---- */

bool temporary_name(temporary *t, const char *path, bool folder, pare_arena *arena, pare_error *error) {
    *t = (temporary){.lock = -1, .folder = folder};
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (length == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "the output has an empty name");
    t->path = pare_arena_copy(arena, path, length, error);
    t->name = PARE_PUSH(arena, char, length + SUFFIX_BYTES, error);
    return t->path && t->name;
}

static int make(const char *name, bool folder) {
    if (!folder)
        return open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (mkdir(name, 0777) != 0)
        return -1;
    int made = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made < 0 && errno == ENOENT)
        errno = EEXIST; /* a sweep of somebody else took it before it was locked: the next name */
    return made;
}

/* A name that is taken is stepped around, and so is a link that somebody laid there. */
static bool make_locked(temporary *t, int *fd, pare_error *error) {
    for (int i = 0; i < ATTEMPTS; i++) {
        snprintf(t->name, strlen(t->path) + SUFFIX_BYTES, i ? "%s%s%ld-%d" : "%s%s%ld", t->path, mark, (long)getpid(), i);
        int made = make(t->name, t->folder);
        if (made < 0 && errno == EEXIST)
            continue;
        if (made < 0)
            break;
        bool locked = flock(made, LOCK_EX) == 0; /* waits at most for a sweep of somebody else; false: no locks here */
        if (locked && !is_at(t->name, made)) {
            close(made);
            continue;
        }
        t->lock = t->folder ? made : fcntl(made, F_DUPFD_CLOEXEC, 0);
        if (t->lock >= 0) {
            if (fd)
                *fd = made;
            return true;
        }
        close(made);
        remove_at(t->name, t->folder);
        break;
    }
    return fail_path(error, "cannot create", t->path);
}

bool temporary_open(temporary *t, int *fd, pare_error *error) {
    sweep(t->path);
    return make_locked(t, fd, error);
}

void temporary_remove(temporary *t) {
    remove_at(t->name, t->folder);
    if (t->lock >= 0)
        close(t->lock);
    t->lock = -1;
}

/* ---- publishing ---- */

static bool unknown_flags(int code) {
    return code == EINVAL || code == ENOSYS || code == EOPNOTSUPP;
}

/* False with errno EEXIST where something is at `path`. */
static bool rename_file(const char *name, const char *path) {
    if (renameat2(AT_FDCWD, name, AT_FDCWD, path, RENAME_NOREPLACE) == 0)
        return true;
    if (!unknown_flags(errno))
        return false;
    if (link(name, path) == 0) {
        unlink(name);
        return true;
    }
    if (errno != EPERM && !unknown_flags(errno))
        return false;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666); /* no links here: the name is taken first, then filled */
    if (fd < 0)
        return false;
    close(fd);
    if (rename(name, path) == 0)
        return true;
    int code = errno;
    unlink(path);
    errno = code;
    return false;
}

/* The old folder gets the temporary name and goes. Where two names cannot be exchanged at once it steps aside first, under a name that
 * no sweep removes. */
static bool replace_folder(const char *name, const char *path) {
    char aside[PATH_MAX];
    if (renameat2(AT_FDCWD, name, AT_FDCWD, path, RENAME_EXCHANGE) == 0) {
        remove_folder(name, true);
        return true;
    }
    if (!unknown_flags(errno))
        return false;
    if (snprintf(aside, sizeof aside, "%s.replaced-%ld", path, (long)getpid()) >= (int)sizeof aside) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (rename(path, aside) != 0)
        return false;
    if (rename(name, path) != 0) {
        int code = errno;
        if (rename(aside, path) != 0)
            code = errno;
        errno = code;
        return false;
    }
    remove_folder(aside, true);
    return true;
}

/* A plain rename puts a folder in the place of nothing or of an empty folder, and of nothing else. */
static bool rename_folder(const char *name, const char *path, bool replace) {
    if (rename(name, path) == 0)
        return true;
    if (errno == ENOTDIR || errno == ENOTEMPTY)
        errno = EEXIST;
    return errno == EEXIST && replace && replace_folder(name, path);
}

static bool sync_parent(const char *path, pare_error *error) {
    char folder[PATH_MAX];
    parent_of(folder, path);
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

bool temporary_publish(temporary *t, bool replace, pare_error *error) {
    bool done = t->folder ? rename_folder(t->name, t->path, replace)
                : replace ? rename(t->name, t->path) == 0
                          : rename_file(t->name, t->path);
    if (!done)
        return errno == EEXIST ? refuse_existing(t->path, error) : fail_path(error, "cannot rename the finished output to", t->path);
    close(t->lock);
    t->lock = -1;
    return sync_parent(t->path, error);
}
