/* processors: how many threads can compute at once: the processors that this process may run on (affinity), and no more than its control
 * groups pay for. A container of one processor's time on a machine of 64 sees all 64, and 64 threads would take turns on one.
 *
 * A quota is found in cgroup v2 (cpu.max) and v1 (cpu.cfs_quota_us), of the process's own group and of every group above it: the smallest
 * counts. https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
 */
#define _GNU_SOURCE
#include "processors.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pare/base.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 8192 };

/* One mounted hierarchy of groups that counts processor time. */
typedef struct {
    bool v2;
    char root[PATH_BYTES]; /* which group the mount shows at its top */
    char at[PATH_BYTES];   /* where it is mounted */
} hierarchy;

/* Whether `word` is one of the words of `list`, which commas separate. */
static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == '\0' || at[n] == '\n'))
            return true;
    }
    return false;
}

/* proc(5), mountinfo: "36 35 98:0 ROOT MOUNT rw,noatime optional… - TYPE SOURCE options". */
static bool read_mount(hierarchy *h, const char *line) {
    char type[32], options[LINE_BYTES];
    const char *end = strstr(line, " - ");
    if (!end || sscanf(line, "%*s %*s %*s %4095s %4095s", h->root, h->at) != 2 || sscanf(end, " - %31s %*s %8191s", type, options) != 2)
        return false;
    h->v2 = strcmp(type, "cgroup2") == 0;
    return h->v2 || (strcmp(type, "cgroup") == 0 && has_word(options, "cpu"));
}

/* The process's group: "0::/path" for v2, "7:cpu,cpuacct:/path" for v1. */
static bool find_group(char path[PATH_BYTES], const char *root, bool v2) {
    char line[LINE_BYTES], controllers[LINE_BYTES];
    bool found = false;
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *file = fopen(line, "r");
    while (file && !found && fgets(line, sizeof line, file)) {
        *controllers = '\0';
        const char *colon = strchr(line, ':'), *last = colon ? strchr(colon + 1, ':') : NULL;
        if (!last)
            continue;
        snprintf(controllers, sizeof controllers, "%.*s", (int)(last - colon - 1), colon + 1);
        found = (v2 ? strncmp(line, "0::", 3) == 0 : has_word(controllers, "cpu")) && strlen(last + 1) < PATH_BYTES;
        if (found)
            snprintf(path, PATH_BYTES, "%.*s", (int)strcspn(last + 1, "\n"), last + 1);
    }
    if (file)
        fclose(file);
    return found;
}

/* The numbers of a file of one line; how many there were. "max" is none. */
static int read_numbers(double numbers[2], const char *folder, const char *name) {
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%.4095s/%s", folder, name);
    FILE *file = fopen(path, "r");
    int n = file ? fscanf(file, "%lf %lf", &numbers[0], &numbers[1]) : 0;
    if (file)
        fclose(file);
    return n;
}

/* Processors that one group is paid for; 0: no limit. */
static double quota_of(const char *folder, bool v2) {
    double max[2], quota[2], period[2];
    if (v2)
        return read_numbers(max, folder, "cpu.max") == 2 && max[0] > 0 && max[1] > 0 ? max[0] / max[1] : 0;
    return read_numbers(quota, folder, "cpu.cfs_quota_us") >= 1 && read_numbers(period, folder, "cpu.cfs_period_us") >= 1 && quota[0] > 0 &&
                   period[0] > 0
               ? quota[0] / period[0]
               : 0;
}

static void keep_smaller(double *least, double quota) {
    if (quota > 0 && (*least <= 0 || quota < *least))
        *least = quota;
}

/* From the group's folder up to where the hierarchy is mounted. A group that the mount does not show (another name space) is its top. */
static void walk_up(double *least, const char *root, const hierarchy *h, const char *group) {
    char folder[3 * PATH_BYTES];
    size_t shown = strcmp(h->root, "/") == 0 ? 0 : strlen(h->root);
    bool inside = strncmp(group, h->root, shown) == 0 && (group[shown] == '/' || group[shown] == '\0') && !strstr(group, "/..");
    int top = snprintf(folder, sizeof folder, "%.4095s%s", root, h->at);
    snprintf(folder + top, sizeof folder - (size_t)top, "%s", inside ? group + shown : "");
    for (;;) {
        keep_smaller(least, quota_of(folder, h->v2));
        char *slash = strrchr(folder + top, '/');
        if (!slash)
            return;
        *slash = '\0';
    }
}

double processors_of_quota(const char *root) {
    static const char mounts[] = "/proc/self/mountinfo";
    char line[LINE_BYTES], group[PATH_BYTES];
    double least = 0;
    hierarchy *h = pare_allocate(1, sizeof *h, NULL);
    snprintf(line, sizeof line, "%.4000s%s", root, mounts);
    FILE *file = h ? fopen(line, "r") : NULL;
    while (file && fgets(line, sizeof line, file))
        if (read_mount(h, line) && find_group(group, root, h->v2))
            walk_up(&least, root, h, group);
    if (file)
        fclose(file);
    pare_free(h);
    return least;
}

static int affinity(void) {
    int n = 0;
    for (size_t most = 1024; n == 0 && most <= 1 << 20; most *= 2) {
        cpu_set_t *set = CPU_ALLOC(most);
        size_t bytes = CPU_ALLOC_SIZE(most);
        if (set && sched_getaffinity(0, bytes, set) == 0)
            n = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
    }
    if (n == 0)
        n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}

int pare_processors(void) {
    int n = affinity();
    double quota = processors_of_quota("");
    return quota > 0 && quota < n ? (int)ceil(quota) : n;
}
