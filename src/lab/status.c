/* status: what a ledger holds of a study's runs. */
#include "study_impl.h"

static void count(pare_study_state *state, const pare_run_record *record) {
    if (!record)
        state->n_missing++;
    else if (record->status == PARE_RUN_DONE)
        state->n_done++;
    else
        state->n_failed++;
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
    pare_store_close(store);
    state->records = records;
    return done;
}
