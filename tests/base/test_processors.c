/* How many threads can compute: quotas of control groups as systems and containers show them, in folders that look like theirs. */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/stat.h>

#include "processors.h"
#include "test.h"

#define V2_MOUNT "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT                                                                                                                           \
    "25 20 0:20 / /proc rw - proc proc rw\n"                                                                                               \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"                                                           \
    "34 31 0:30 %s /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"

/* Writes root/path, and the folders above it. */
static void put(const char *root, const char *path, const char *text) {
    char whole[1024];
    pare_error error = {0};
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        mkdir(whole, 0777);
        *slash = '/';
    }
    assert_done(pare_file_write(whole, text, strlen(text), true, &error), error);
}

static void remove_root(char *root) {
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

/* Version 2: one line of two words in each group. */
static void test_v2(void **state) {
    (void)state;
    static const struct {
        const char *group, *top, *middle, *own;
        double wanted;
    } cases[] = {
        {"/", NULL, NULL, NULL, 0},
        {"/", "200000 100000\n", NULL, NULL, 2}, /* a container's own name space: its group is the top */
        {"/", "max 100000\n", NULL, NULL, 0},
        {"/a.slice/b", NULL, "max 100000\n", "150000 100000\n", 1.5},
        {"/a.slice/b", NULL, "50000 100000\n", "max 100000\n", 0.5}, /* the group above has the limit */
        {"/a.slice/b", NULL, "300000 100000\n", "400000 100000\n", 3},
        {"/../outside", "100000 100000\n", NULL, NULL, 1}, /* a group that this name space does not show */
        {"/a.slice/b", NULL, NULL, "nonsense\n", 0},
        {"/a.slice/b", NULL, NULL, "0 0\n", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *root = test_folder(), group[100];
        snprintf(group, sizeof group, "0::%s\n", cases[i].group);
        put(root, "/proc/self/mountinfo", V2_MOUNT);
        put(root, "/proc/self/cgroup", group);
        if (cases[i].top)
            put(root, "/sys/fs/cgroup/cpu.max", cases[i].top);
        if (cases[i].middle)
            put(root, "/sys/fs/cgroup/a.slice/cpu.max", cases[i].middle);
        if (cases[i].own)
            put(root, "/sys/fs/cgroup/a.slice/b/cpu.max", cases[i].own);
        if (processors_of_quota(root) != cases[i].wanted)
            fail_msg("case %zu: %g processors, wanted %g", i, processors_of_quota(root), cases[i].wanted);
        remove_root(root);
    }
}

/* Version 1: two files; -1 is no limit. A container without a name space of its own sees its group's whole path. */
static void test_v1(void **state) {
    (void)state;
    static const struct {
        const char *mounted, *group, *folder, *quota;
        double wanted;
    } cases[] = {
        {"/", "/", "", "-1\n", 0},
        {"/", "/", "", "250000\n", 2.5},
        {"/", "/docker/ab", "/docker/ab", "100000\n", 1},
        {"/", "/docker/ab", "/docker", "100000\n", 1},
        {"/docker/ab", "/docker/ab", "", "100000\n", 1},
        {"/docker/ab", "/docker/abc", "", "100000\n", 1},
        {"/docker/ab", "/docker/ab/inner", "/inner", "300000\n", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *root = test_folder(), text[600], folder[200];
        snprintf(text, sizeof text, V1_MOUNT, cases[i].mounted);
        put(root, "/proc/self/mountinfo", text);
        snprintf(text, sizeof text, "9:cpuset:/elsewhere\n4:cpu,cpuacct:%s\n0::/\n", cases[i].group);
        put(root, "/proc/self/cgroup", text);
        snprintf(folder, sizeof folder, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_quota_us", cases[i].folder);
        put(root, folder, cases[i].quota);
        snprintf(folder, sizeof folder, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_period_us", cases[i].folder);
        put(root, folder, "100000\n");
        if (processors_of_quota(root) != cases[i].wanted)
            fail_msg("case %zu: %g processors, wanted %g", i, processors_of_quota(root), cases[i].wanted);
        remove_root(root);
    }
}

static void test_systems_without_groups(void **state) {
    (void)state;
    char *root = test_folder();
    assert_true(processors_of_quota(root) == 0);
    put(root, "/proc/self/mountinfo", "nonsense\n25 20 0:20 /\n - cgroup2\n" V2_MOUNT);
    assert_true(processors_of_quota(root) == 0);
    put(root, "/proc/self/cgroup", "nonsense\n::::\n");
    assert_true(processors_of_quota(root) == 0);
    remove_root(root);
}

static void test_affinity_counts(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_in_range(pare_processors(), 1, CPU_COUNT(&before));
    CPU_ZERO(&one);
    for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(pare_processors(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v2),
        cmocka_unit_test(test_v1),
        cmocka_unit_test(test_systems_without_groups),
        cmocka_unit_test(test_affinity_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
