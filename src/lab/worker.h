/* worker: who this call is among those that work at one ledger, whether another is still there, and the heartbeat that keeps this one's
 * claims alive while it computes; private to lab. */
#ifndef LAB_WORKER_H
#define LAB_WORKER_H

#include <pthread.h>

#include "pare/store.h"

enum { WORKER_LEASE_S = 300, WORKER_BEAT_S = 60 };

typedef struct {
    pare_claim self;
    pare_store *store; /* the heartbeat's own: a pare_store belongs to one thread */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool over, beats;
} study_worker;

/* Begins the heartbeat on the ledger. */
bool study_worker_begin(study_worker *worker, const char *ledger, pare_error *error) PARE_MUST_CHECK;
/* Ends it and gives back every claim that is left: after Ctrl-C or an error the run in flight is free at once. */
void study_worker_end(study_worker *worker);

/* Claims a run; *mine false: *holder has it. */
bool study_worker_claim(bool *mine, pare_claim *holder, study_worker *worker, pare_store *store, const char *key,
                        pare_error *error) PARE_MUST_CHECK;

/* Whether nobody computes under this claim any more: its process is gone, or another one has its pid, or its lease is over. Of a process
 * on another host, or in another name space of processes, only the lease is known. */
bool study_claim_is_dead(const pare_claim *claim);

#endif
