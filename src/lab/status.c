/* status: what a ledger holds of a study's runs. */
#include <string.h>

#include "worker.h"
#include "study_impl.h"

static void count(pare_study_state *state, const pare_run_record *record) {
    if (!record)
        state->n_missing++;
    else if (record->status == PARE_RUN_DONE)
        state->n_done++;
    else
        state->n_failed++;
}

/* claimed (n_runs): which of the missing runs a living worker has. */
static bool mark_claims(pare_study_state *state, bool *claimed, const pare_study *study, pare_store *store, pare_arena *arena,
                        pare_error *error) {
    pare_claim *claims;
    size_t n;
    if (!pare_store_claims(&claims, &n, store, arena, error))
        return false;
    for (size_t c = 0; c < n; c++)
        for (size_t i = 0, end = study_claim_is_dead(&claims[c]) ? 0 : study->n_runs; i < end; i++)
            claimed[i] = claimed[i] || (!state->records[i] && strcmp(claims[c].key, study->runs[i].key.hex) == 0);
    for (size_t i = 0; i < study->n_runs; i++)
        state->n_claimed += claimed[i];
    return true;
}

bool pare_study_status(pare_study_state *state, const pare_study *study, const char *ledger, pare_arena *arena, pare_error *error) {
    *state = (pare_study_state){0};
    const char *path = ledger ? ledger : study->spec->ledger;
    pare_store *store = NULL;
    if (pare_path_exists(path) && !(store = pare_store_open(path, PARE_STORE_READ, error)))
        return false;
    const pare_run_record **records = PARE_PUSH(arena, const pare_run_record *, study->n_runs, error);
    bool done = records != NULL;
    for (size_t i = 0; done && i < study->n_runs; i++) {
        bool found = false;
        pare_run_record *record = store ? PARE_PUSH(arena, pare_run_record, 1, error) : NULL;
        done = !store || (record && pare_store_find(record, &found, store, study->runs[i].key.hex, arena, error));
        records[i] = found ? record : NULL;
        count(state, records[i]);
    }
    state->records = records;
    bool *claimed = PARE_PUSH(arena, bool, study->n_runs, done ? error : NULL);
    state->claimed = claimed;
    done = done && claimed && (!store || mark_claims(state, claimed, study, store, arena, error));
    pare_store_close(store);
    return done;
}
