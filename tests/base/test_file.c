/* file: two that write the same output at once, what killed processes leave, empty folders, what is mapped where. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "test.h"

/* File systems that do not know a call; the program's own definitions go before the C library's. */
static bool no_rename_flags, no_links;

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags);
int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    if (!no_rename_flags)
        return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    errno = EINVAL;
    return -1;
}

int link(const char *from, const char *to) {
    if (!no_links)
        return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
    errno = EPERM;
    return -1;
}

static char folder[300];

static const char *in_folder(const char *name) {
    static char ring[32][400];
    static unsigned next;
    char *path = ring[next++ % 32];
    snprintf(path, sizeof ring[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void assert_holds(const char *path, const char *text) {
    char found[64] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(found, 1, sizeof found - 1, file) == strlen(text));
    fclose(file);
    assert_string_equal(found, text);
}

static pare_output *begin(const char *path, const char *text, bool replace) {
    pare_error error = {0};
    pare_output *output = pare_output_open(path, replace, &error);
    assert_done(output, error);
    assert_done(pare_output_write(output, text, strlen(text), &error), error);
    return output;
}

static void one_of_two_wins(void **state) {
    (void)state;
    pare_error error = {0};
    for (int way = 0; way < 3; way++) {
        no_rename_flags = way > 0;
        no_links = way > 1;
        const char *path = in_folder("twice");
        pare_output *first = begin(path, "first", false), *second = begin(path, "second", false);
        assert_done(pare_output_commit(first, &error), error);
        assert_fails(pare_output_commit(second, &error), error, PARE_ERROR_CONFLICT, "exists already");
        assert_holds(path, "first");
        assert_done(pare_output_commit(begin(path, "third", true), &error), error);
        assert_holds(path, "third");
        assert_fails(pare_output_open(path, false, &error), error, PARE_ERROR_CONFLICT, "exists already");
        assert_int_equal(unlink(path), 0);
    }
    no_rename_flags = no_links = false;
    assert_true(pare_path_is_empty_folder(folder));
}

static pare_folder *begin_folder(const char *path, const char *text, bool replace) {
    pare_error error = {0};
    char name[500];
    pare_folder *made = pare_folder_open(path, replace, &error);
    assert_done(made, error);
    snprintf(name, sizeof name, "%s/file", pare_folder_path(made));
    assert_done(pare_file_write(name, text, strlen(text), false, &error), error);
    return made;
}

static void drop_folder(const char *path) {
    char name[500];
    snprintf(name, sizeof name, "%s/file", path);
    unlink(name);
    assert_int_equal(rmdir(path), 0);
}

static void folders(void **state) {
    (void)state;
    pare_error error = {0};
    const char *path = in_folder("made");
    for (int way = 0; way < 2; way++) {
        no_rename_flags = way > 0;
        assert_int_equal(mkdir(path, 0777), 0); /* an empty one may be there */
        pare_folder *first = begin_folder(path, "first", false), *second = begin_folder(path, "second", false);
        assert_done(pare_folder_commit(first, &error), error);
        assert_fails(pare_folder_commit(second, &error), error, PARE_ERROR_CONFLICT, "exists already");
        assert_holds(in_folder("made/file"), "first");
        assert_fails(pare_folder_open(path, false, &error), error, PARE_ERROR_CONFLICT, "exists already");
        put(in_folder("made/more"), "goes with the old folder");
        assert_done(pare_folder_commit(begin_folder(path, "third", true), &error), error);
        assert_holds(in_folder("made/file"), "third");
        assert_false(pare_path_exists(in_folder("made/more")));
        drop_folder(path);
        assert_true(pare_path_is_empty_folder(folder));
    }
    no_rename_flags = false;
    put(path, "a file"); /* no folder takes a file's place */
    assert_fails(pare_folder_open(path, true, &error), error, PARE_ERROR_CONFLICT, "exists already");
    assert_int_equal(unlink(path), 0);
}

static void through_a_link(void **state) {
    (void)state;
    pare_error error = {0};
    const char *real = in_folder("real"), *name = in_folder("link");
    assert_int_equal(mkdir(real, 0777), 0);
    assert_int_equal(symlink(real, name), 0);
    assert_done(pare_folder_commit(begin_folder(name, "here", false), &error), error);
    assert_holds(in_folder("real/file"), "here");
    drop_folder(real);
    assert_int_equal(unlink(name), 0);
}

/* A process that holds the lock of `name` until it is killed. */
static pid_t holder(const char *name, bool is_folder) {
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (is_folder ? mkdir(name, 0777) != 0 : false)
            _exit(1);
        int fd = is_folder ? open(name, O_RDONLY | O_DIRECTORY) : open(name, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (fd < 0 || flock(fd, LOCK_EX) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void only_the_dead_are_swept(void **state) {
    (void)state;
    pare_error error = {0};
    char own[40], same[40];
    snprintf(own, sizeof own, "out.partial-%ld", (long)getpid());
    snprintf(same, sizeof same, "dir.partial-%ld", (long)getpid()); /* of this number, but of a process in another container */
    pid_t of_file = holder(in_folder(own), false), of_folder = holder(in_folder(same), true);
    put(in_folder("out.partial-77"), "dead");
    put(in_folder("out.partial-77-wal"), "dead too");
    put(in_folder("out.partial-notes"), "not pare's");
    put(in_folder("out.partial-7x"), "not pare's");
    put(in_folder("outer.partial-77"), "of another output");
    mkdir(in_folder("dir.partial-77-3"), 0777);
    put(in_folder("dir.partial-77-3/file"), "dead");
    pare_output_abandon(begin(in_folder("out"), "x", false));
    pare_folder_abandon(begin_folder(in_folder("dir"), "x", false));
    const char *const kept[] = {own, same, "out.partial-notes", "out.partial-7x", "outer.partial-77"};
    const char *const gone[] = {"out.partial-77", "out.partial-77-wal", "dir.partial-77-3", "out", "dir"};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (!pare_path_exists(in_folder(kept[i])))
            fail_msg("%s was removed", kept[i]);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        if (pare_path_exists(in_folder(gone[i])))
            fail_msg("%s is still there", gone[i]);
    kill(of_file, SIGKILL);
    kill(of_folder, SIGKILL);
    waitpid(of_file, NULL, 0);
    waitpid(of_folder, NULL, 0);
    assert_done(pare_output_commit(begin(in_folder("out"), "x", false), &error), error);
    assert_done(pare_folder_commit(begin_folder(in_folder("dir"), "x", false), &error), error);
    assert_false(pare_path_exists(in_folder(own)) || pare_path_exists(in_folder(same)));
    for (size_t i = 2; i < sizeof kept / sizeof *kept; i++)
        unlink(in_folder(kept[i]));
    unlink(in_folder("out"));
    drop_folder(in_folder("dir"));
}

static void maps_are_known(void **state) {
    (void)state;
    enum { N = 70 }; /* more than one block of the table */
    pare_error error = {0};
    pare_map maps[N];
    char name[20];
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "map%d", i);
        put(in_folder(name), "bytes");
        assert_done(pare_map_open(&maps[i], in_folder(name), &error), error);
    }
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "map%d", i);
        assert_string_equal(pare_map_name_at(maps[i].data + 4), in_folder(name));
        unlink(in_folder(name));
    }
    const uint8_t *at = maps[40].data;
    for (int i = 0; i < N; i++)
        pare_map_close(&maps[i]);
    assert_null(pare_map_name_at(at));
    assert_null(pare_map_name_at(NULL));
    pare_spill *spill = NULL;
    uint8_t *numbers = pare_spill_push(&spill, 100000, &error);
    assert_done(numbers, error);
    assert_non_null(pare_map_name_at(numbers + 99999));
    pare_spill_close(spill);
    assert_null(pare_map_name_at(numbers));
}

static void long_temporary_folder(void **state) {
    (void)state;
    pare_error error = {0};
    pare_spill *spill = NULL;
    char *old = getenv("TMPDIR"), path[1000], *at = path + snprintf(path, sizeof path, "%s", folder);
    for (int i = 0; i < 3; i++) {
        at += sprintf(at, "/%0200d", i);
        assert_int_equal(mkdir(path, 0777), 0);
    }
    old = old ? strdup(old) : NULL;
    assert_int_equal(setenv("TMPDIR", path, 1), 0);
    assert_done(pare_spill_push(&spill, 100, &error), error);
    assert_string_equal(pare_map_name_at(pare_spill_push(&spill, 100, &error)), path);
    pare_spill_close(spill);
    assert_true(pare_path_is_empty_folder(path));
    old ? setenv("TMPDIR", old, 1) : unsetenv("TMPDIR");
    free(old);
    for (int i = 3; i-- > 0; at -= 201) {
        *at = '\0';
        assert_int_equal(rmdir(path), 0);
    }
}

static int set_up(void **state) {
    (void)state;
    char *made = test_folder();
    snprintf(folder, sizeof folder, "%s", made ? made : "");
    return made ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_of_two_wins), cmocka_unit_test(folders),
                                       cmocka_unit_test(through_a_link),  cmocka_unit_test(only_the_dead_are_swept),
                                       cmocka_unit_test(maps_are_known),  cmocka_unit_test(long_temporary_folder)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
