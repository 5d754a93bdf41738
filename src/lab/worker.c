#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* ---- who is who ---------------------------------------------------------------------------- */

/* The first line of a small file of /proc, or what a link there points to; "" where there is none. */
static void read_line(char *line, size_t size, const char *path) {
    FILE *file = fopen(path, "r");
    if (!file || !fgets(line, (int)size, file))
        *line = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (file)
        fclose(file);
}

static void find_host(char *host, size_t size) {
    struct utsname system;
    char boot[40], space[40] = "";
    if (uname(&system) != 0)
        *system.nodename = '\0';
    read_line(boot, sizeof boot, "/proc/sys/kernel/random/boot_id");
    ssize_t length = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[length > 0 ? length : 0] = '\0';
    snprintf(host, size, "%.64s %s %s", system.nodename, boot, space);
}

/* proc(5): "pid (name) state ppid …", and the start, in ticks since the boot, as field 22. The name may hold anything but its last ')'.
 * false: nothing can be read about it. *state 'Z' or 'X': it has ended and waits for its parent. */
static bool find_process(char *state, char born[32], int64_t pid) {
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    read_line(line, sizeof line, path);
    const char *at = strrchr(line, ')');
    if (!at || sscanf(at, ") %c", state) != 1)
        return false;
    for (int field = 2; field < 22 && at; field++)
        at = strchr(at + 1, ' ');
    return at && sscanf(at, " %31s", born) == 1;
}

bool study_claim_is_dead(const pare_claim *claim) {
    char host[sizeof claim->host], born[32] = "", state = 'R';
    find_host(host, sizeof host);
    if (claim->expires < (int64_t)time(NULL))
        return true;
    if (strcmp(host, claim->host) != 0)
        return false;
    if (kill((pid_t)claim->pid, 0) != 0 && errno == ESRCH)
        return true;
    return find_process(&state, born, claim->pid) && (strchr("ZX", state) || (*claim->born && strcmp(born, claim->born) != 0));
}

static void find_self(pare_claim *self) {
    static atomic_int_fast64_t calls; /* several calls of one process are several workers */
    char state;
    *self = (pare_claim){.pid = getpid(), .worker = atomic_fetch_add(&calls, 1), .expires = (int64_t)time(NULL) + WORKER_LEASE_S};
    find_host(self->host, sizeof self->host);
    if (!find_process(&state, self->born, self->pid))
        *self->born = '\0';
}

/* ---- heartbeat ----------------------------------------------------------------------------- */

/* A beat that fails (a locked ledger, a full disk) is made up for by the next: the lease is five of them. */
static void *beat(void *user) {
    study_worker *worker = user;
    struct timespec next;
    pthread_mutex_lock(&worker->lock);
    clock_gettime(CLOCK_MONOTONIC, &next);
    while (!worker->over) {
        next.tv_sec += WORKER_BEAT_S;
        while (!worker->over && pthread_cond_timedwait(&worker->wake, &worker->lock, &next) == 0)
            continue;
        pare_claim self = worker->self;
        self.expires = (int64_t)time(NULL) + WORKER_LEASE_S;
        if (!worker->over && pare_store_renew(worker->store, &self, NULL))
            clock_gettime(CLOCK_MONOTONIC, &next);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* Signals stay with the caller's threads. */
static bool start_thread(study_worker *worker) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool done = pthread_create(&worker->thread, NULL, beat, worker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return done;
}

bool study_worker_begin(study_worker *worker, const char *ledger, pare_error *error) {
    pthread_condattr_t monotonic;
    *worker = (study_worker){0};
    find_self(&worker->self);
    if (!(worker->store = pare_store_open(ledger, PARE_STORE_WRITE, error)))
        return false;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&worker->lock, NULL);
    worker->beats = start_thread(worker);
    if (worker->beats)
        return true;
    study_worker_end(worker);
    return pare_fail(error, PARE_ERROR_MEMORY, "%s: cannot start the thread that keeps the claims on the ledger's runs alive", ledger);
}

void study_worker_end(study_worker *worker) {
    if (!worker->store)
        return;
    if (worker->beats) {
        pthread_mutex_lock(&worker->lock);
        worker->over = true;
        pthread_cond_signal(&worker->wake);
        pthread_mutex_unlock(&worker->lock);
        pthread_join(worker->thread, NULL);
    }
    /* a claim that cannot be given back is that of a dead process soon */
    (void)!pare_store_release(worker->store, NULL, &worker->self, NULL);
    pthread_cond_destroy(&worker->wake);
    pthread_mutex_destroy(&worker->lock);
    pare_store_close(worker->store);
    worker->store = NULL;
}

bool study_worker_claim(bool *mine, pare_claim *holder, study_worker *worker, pare_store *store, const char *key, pare_error *error) {
    pare_claim self = worker->self;
    self.expires = (int64_t)time(NULL) + WORKER_LEASE_S;
    return pare_store_claim(mine, holder, store, key, &self, study_claim_is_dead, error);
}
