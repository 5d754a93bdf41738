/* sensitivity: what each layer's width costs, measured by one worker for all ratios and all workers: the costs wait in the ledger, so that
 * neither a second worker nor a study that goes on measures them again. */
#include <string.h>

#include "bench.h"

/* The costs as the ledger keeps them: n_rows, n_blocks, block, then the numbers, as they lie in memory. */
enum { HEAD_BYTES = 3 * sizeof(uint32_t) };

static bool unpack(pare_sensitivity *s, const uint8_t *bytes, size_t n, pare_error *error) {
    uint32_t head[3];
    size_t count;
    if (n < HEAD_BYTES)
        return pare_fail(error, PARE_ERROR_FORMAT, "the ledger's costs of layers are %zu bytes long: no pare has written them", n);
    memcpy(head, bytes, sizeof head);
    if (!pare_size_multiply(&count, head[0], (size_t)head[1] + 1) || count != (n - HEAD_BYTES) / sizeof(double) ||
        (n - HEAD_BYTES) % sizeof(double))
        return pare_fail(error, PARE_ERROR_FORMAT, "the ledger's costs of %u layers are %zu bytes long: no pare has written them", head[0],
                         n);
    double *cost = pare_allocate(count, sizeof *cost, error);
    if (!cost)
        return false;
    memcpy(cost, bytes + HEAD_BYTES, count * sizeof *cost);
    *s = (pare_sensitivity){head[0], head[1], head[2], cost};
    return true;
}

static bool publish(const study_bench *bench, const char *key, const char *spec, const pare_sensitivity *s, pare_error *error) {
    const uint32_t head[3] = {s->n_rows, s->n_blocks, s->block};
    size_t count = (size_t)s->n_rows * (s->n_blocks + 1);
    pare_string bytes = {0};
    pare_string_push(&bytes, (const char *)head, sizeof head);
    pare_string_push(&bytes, (const char *)s->cost, count * sizeof *s->cost);
    bool done = pare_string_check(&bytes, error) && pare_store_share(bench->store, key, spec, bytes.data, bytes.length, error);
    pare_string_free(&bytes);
    return done;
}

/* *found: another worker, or an earlier call, has measured them. */
static bool fetch(pare_sensitivity *s, bool *found, const study_bench *bench, const char *key, pare_error *error) {
    const void *value = NULL;
    size_t n;
    pare_arena *scratch = pare_arena_open(error);
    bool done = scratch && pare_store_shared(&value, &n, bench->store, key, scratch, error);
    *found = value != NULL;
    done = done && (!value || unpack(s, value, n, error));
    pare_arena_close(scratch);
    return done;
}

static bool measure(bench_scores *slot, const study_bench *bench, const pare_plan *plan, const char *key, const char *spec,
                    pare_error *error) {
    pare_context context = study_progress_context(bench->progress);
    if (pare_sensitivity_measure(&slot->sensitivity, plan, slot->method, &slot->scores, bench->subject.checkpoint, &bench->calibration,
                                 &context, error))
        return publish(bench, key, spec, &slot->sensitivity, error);
    (void)!pare_store_release(bench->store, key, &bench->worker->self, NULL); /* the end of this call gives it back otherwise */
    return false;
}

/* Claims are for runs and for this alike. Who measures waits for nobody, so that the wait has an end. */
static bool fetch_or_measure(bench_scores *slot, const study_bench *bench, const pare_plan *plan, const char *key, const char *spec,
                             pare_error *error) {
    for (;;) {
        bool found = false, mine = false;
        pare_claim holder;
        if (!fetch(&slot->sensitivity, &found, bench, key, error))
            return false;
        if (found)
            return true;
        if (!study_worker_claim(&mine, &holder, bench->worker, bench->store, key, error))
            return false;
        if (mine)
            return measure(slot, bench, plan, key, spec, error);
        if (!study_pause(bench->progress, "waiting for the costs of layers that another process measures", error))
            return false;
    }
}

bool study_sensitivity(bench_scores *slot, const study_bench *bench, const pare_run *run, const pare_plan *plan, pare_error *error) {
    const pare_study *study = bench->study;
    pare_sha256 key;
    pare_string spec = {0};
    study_sensitivity_spec(&spec, run, study->spec, &study->inner->models[bench->model]);
    bool done = pare_string_check(&spec, error) && pare_sha256_bytes(&key, spec.data, spec.length, error) &&
                fetch_or_measure(slot, bench, plan, key.hex, spec.data, error);
    pare_string_free(&spec);
    return done;
}
