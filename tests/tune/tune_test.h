/* tune_test: the reference of tests/tune/fixtures, its windows, and tuners on the tiny models. */
#ifndef PARE_TUNE_TEST_H
#define PARE_TUNE_TEST_H

#include <math.h>

#include <signal.h>

#include "pare/json.h"
#include "test.h"
#include "tune_impl.h"

enum { LENGTH = 20, BATCH = 2, STEPS = 10, IDS_MAX = 64 };

/* A file beside tests/tune: the tiny models are tests/model's. */
static inline const char *model_path(const char *name) {
    static char path[4][1024];
    static unsigned next;
    char *to = path[next++ % 4];
    snprintf(to, sizeof path[0], "%s/../../model/fixtures/%s", PARE_FIXTURES, name);
    return to;
}

static inline json_t *read_reference(void) {
    pare_error error = {0};
    json_t *json = pare_json_read(PARE_FIXTURES "/reference.json", &error);
    assert_done(json, error);
    return json;
}

/* Two windows that move through the ids by three a step, and their mask, as in tools/fixtures/tune_reference.py. */
static inline void fill_windows(uint32_t *ids, uint8_t *learn, const json_t *list, size_t step) {
    size_t n = json_array_size(list);
    for (size_t i = 0; i < BATCH * LENGTH; i++) {
        ids[i] = (uint32_t)json_integer_value(json_array_get(list, (3 * step + i) % n));
        learn[i] = i % LENGTH != 0 && i != LENGTH + 4 && i != LENGTH + 5;
    }
}

static inline pare_tune_options reference_options(bool full) {
    pare_tune_options o = pare_tune_defaults();
    o.full = full;
    o.rank = 4;
    o.alpha = 8;
    o.length = LENGTH;
    o.batch = BATCH;
    o.steps = STEPS;
    o.warmup = 2;
    o.rate = 2e-3;
    o.decay = 0.1;
    o.distil_temperature = 2;
    return o;
}

/* A tuner with what it stands on. */
typedef struct {
    pare_checkpoint *checkpoint, *teacher;
    pare_tuner *tuner;
    pare_context context;
} bench;

/* The deterministic start of tune_reference.py: A[i] = sin(1 + i) / rank. */
static inline void start_adapters(pare_tuner *t) {
    for (size_t s = 0; s < t->n_segments; s++)
        for (size_t i = 0; t->adapters && strstr(t->segments[s].name, "lora_A") && i < t->segments[s].n; i++)
            t->values[t->segments[s].at + i] = (float)(sin(1.0 + (double)i) / t->adapters->rank);
}

static inline void bench_start(bench *b, const char *name, const char *teacher, const pare_tune_options *options, int threads) {
    pare_error error = {0};
    *b = (bench){.context = {.n_threads = threads}};
    assert_done(b->checkpoint = pare_checkpoint_open(model_path(name), &error), error);
    if (teacher)
        assert_done(b->teacher = pare_checkpoint_open(model_path(teacher), &error), error);
    assert_done(b->tuner = pare_tuner_open(options, b->checkpoint, NULL, b->teacher, &b->context, &error), error);
    start_adapters(b->tuner);
}

static inline void bench_stop(bench *b) {
    pare_tuner_close(b->tuner);
    pare_checkpoint_close(b->teacher);
    pare_checkpoint_close(b->checkpoint);
}

#endif
