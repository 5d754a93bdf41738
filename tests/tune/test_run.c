/* A whole run over a text: the same bits twice, across a stop and a resume, for every number of threads; evaluations; states that
 * are damaged or belong to something else. */
#include "tune_test.h"

enum { RUN_STEPS = 8 };

static const char text[] = "the quick brown fox jumps over the lazy dog and counts 1234567890 sheep, while a model is made smaller by "
                           "taking neurons out of every layer; loss rises as width falls, and a law says by how much it does so. ";

typedef struct {
    char folder[256], text[300], state[300];
} place;

static place make_place(void) {
    place p;
    pare_error error = {0};
    snprintf(p.folder, sizeof p.folder, "%s", test_folder());
    snprintf(p.text, sizeof p.text, "%s/text.txt", p.folder);
    snprintf(p.state, sizeof p.state, "%s/state", p.folder);
    pare_string all = {0};
    for (int i = 0; i < 12; i++)
        pare_string_print(&all, "%d. %s", i, text);
    assert_done(pare_file_write(p.text, all.data, all.length, true, &error), error);
    pare_string_free(&all);
    return p;
}

static void remove_place(const place *p) {
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s'", p->folder);
    assert_int_equal(system(command), 0);
}

static volatile sig_atomic_t stop;
static double stop_at; /* share of the run at which to stop; 2: never */
static size_t stop_in; /* the evaluation in which to stop; 0: in none */

static void watch(void *user, const char *stage, double done, double total) {
    (void)user;
    if (strncmp(stage, "train", 5) == 0 && done / total >= stop_at)
        stop = 1;
}

static size_t within_a_step; /* progress that is no whole number of steps */

static void watch_within(void *user, const char *stage, double done, double total) {
    (void)user;
    (void)total;
    within_a_step += strncmp(stage, "train", 5) == 0 && fabs(done - round(done)) > 1e-9;
}

static bool evaluate(void *user, double *cross_entropy, size_t index, const pare_model *model, pare_error *error) {
    size_t *calls = user;
    if (stop_in && *calls + 1 == stop_in)
        return pare_fail(error, PARE_ERROR_CANCELLED, "stopped");
    *cross_entropy = (double)model->config.width + (double)++*calls + 1000 * (double)index;
    return true;
}

/* One run's outcome; free with outcome_free. */
typedef struct {
    pare_tune_result result;
    float *values;
    size_t n_values, calls;
    bool done;
    pare_error error;
} outcome;

static void outcome_free(outcome *o) {
    pare_tune_result_free(&o->result);
    pare_free(o->values);
}

typedef struct {
    bool full, resume;
    int threads;
    double stop_at;
    uint64_t seed, save_every, every;
    const char *state, *texts;
} manner;

static outcome run(const place *p, manner how) {
    outcome out = {0};
    const char *paths[] = {p->text};
    pare_tune_options o = reference_options(how.full);
    o.steps = RUN_STEPS;
    o.seed = how.seed;
    bench b;
    bench_start(&b, "llama3", NULL, &o, how.threads);
    pare_dataset_options d = {.paths = paths, .n_paths = 1, .length = LENGTH, .seed = how.seed, .separator = -1};
    pare_dataset *dataset = pare_dataset_open(&d, b.checkpoint->tokenizer, NULL, &out.error);
    assert_done(dataset, out.error);
    pare_tune_run_options r = {.state = how.state,
                               .resume = how.resume,
                               .save_every = how.save_every,
                               .evaluate_every = how.every ? how.every : 3,
                               .texts = how.texts,
                               .n_texts = 2,
                               .evaluate = evaluate,
                               .user = &out.calls};
    pare_context context = {.n_threads = how.threads, .progress = watch, .cancel = &stop};
    stop = 0;
    stop_at = how.stop_at;
    b.context.progress = watch_within;
    out.done = pare_tune_run(&out.result, b.tuner, dataset, &r, &context, &out.error);
    out.n_values = b.tuner->n_values;
    out.values = pare_allocate(out.n_values, sizeof *out.values, NULL);
    memcpy(out.values, b.tuner->values, out.n_values * sizeof *out.values);
    pare_dataset_close(dataset);
    bench_stop(&b);
    return out;
}

static void assert_same(const outcome *a, const outcome *b) {
    assert_int_equal(a->result.steps, b->result.steps);
    assert_int_equal(a->result.tokens, b->result.tokens);
    assert_int_equal(a->result.targets, b->result.targets);
    assert_memory_equal(a->result.losses, b->result.losses, RUN_STEPS * sizeof(float));
    assert_memory_equal(a->values, b->values, a->n_values * sizeof(float));
}

static void test_same_bits(void **state) {
    (void)state;
    place p = make_place();
    for (int full = 0; full < 2; full++) {
        outcome first = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2});
        outcome again = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2});
        outcome threads = run(&p, (manner){.full = full, .threads = 2, .stop_at = 2});
        outcome seed = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2, .seed = 1});
        assert_done(first.done, first.error);
        assert_same(&first, &again);
        assert_same(&first, &threads);
        assert_memory_not_equal(first.result.losses, seed.result.losses, RUN_STEPS * sizeof(float));
        assert_true(!full || first.result.losses[RUN_STEPS - 1] < first.result.losses[0]);
        assert_int_equal(first.result.n_evaluations, 8); /* before, after 3, 6 and 8 steps; of two texts */
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal(first.result.evaluations[i].text, i % 2);
            assert_true((first.result.evaluations[i].cross_entropy > 1000) == (i % 2 == 1));
        }
        assert_int_equal(first.result.evaluations[7].step, RUN_STEPS);
        outcome_free(&first);
        outcome_free(&again);
        outcome_free(&threads);
        outcome_free(&seed);
    }
    remove_place(&p);
    assert_true(within_a_step > RUN_STEPS); /* the bar does not stand still while a large model does a step */
}

/* Stopped in the middle, gone on with: as if never stopped. A killed run goes on from the last state it wrote. */
static void test_resume(void **state) {
    (void)state;
    place p = make_place();
    for (int full = 0; full < 2; full++) {
        outcome whole = run(&p, (manner){.full = full, .threads = 2, .stop_at = 2});
        outcome stopped = run(&p, (manner){.full = full, .threads = 2, .stop_at = 0.5, .state = p.state});
        assert_fails(stopped.done, stopped.error, PARE_ERROR_CANCELLED, "--resume goes on");
        assert_int_equal(stopped.result.steps, RUN_STEPS / 2);
        outcome rest = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2, .state = p.state, .resume = true});
        assert_done(rest.done, rest.error);
        assert_same(&whole, &rest);
        assert_int_equal(rest.result.resumed, RUN_STEPS / 2);
        assert_int_equal(rest.result.n_evaluations, 8);
        outcome over = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2, .state = p.state, .resume = true});
        assert_done(over.done, over.error); /* the state of a whole run: nothing is left to do */
        assert_same(&whole, &over);
        assert_int_equal(unlink(p.state), 0);
        /* evaluations may become rarer: those that were made stay */
        outcome often = run(&p, (manner){.full = full, .threads = 1, .stop_at = 0.5, .state = p.state, .every = 1, .texts = "a, b"});
        assert_fails(often.done, often.error, PARE_ERROR_CANCELLED, "--resume goes on");
        outcome other = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2, .state = p.state, .resume = true, .texts = "b, a"});
        assert_fails(other.done, other.error, PARE_ERROR_CONFLICT, "other held-out texts");
        outcome rare =
            run(&p, (manner){.full = full, .threads = 1, .stop_at = 2, .state = p.state, .resume = true, .every = 100, .texts = "a, b"});
        assert_done(rare.done, rare.error);
        assert_same(&whole, &rare);
        assert_int_equal(rare.result.n_evaluations, 2 * (RUN_STEPS / 2 + 1) + 2);
        /* a stop within the evaluation after three steps: made up for when the run goes on */
        assert_int_equal(unlink(p.state), 0);
        stop_in = 3;
        outcome within = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2, .state = p.state});
        stop_in = 0;
        assert_fails(within.done, within.error, PARE_ERROR_CANCELLED, "after step 3");
        outcome after = run(&p, (manner){.full = full, .threads = 1, .stop_at = 2, .state = p.state, .resume = true});
        assert_done(after.done, after.error);
        assert_same(&whole, &after);
        assert_int_equal(after.result.n_evaluations, 8);
        assert_int_equal(after.result.evaluations[2].step, 3);
        outcome_free(&within);
        outcome_free(&after);
        outcome_free(&often);
        outcome_free(&other);
        outcome_free(&rare);
        assert_int_equal(unlink(p.state), 0);
        outcome_free(&whole);
        outcome_free(&stopped);
        outcome_free(&rest);
        outcome_free(&over);
    }
    remove_place(&p);
}

static void assert_refused(const place *p, manner how, pare_code code, const char *part) {
    outcome o = run(p, how);
    assert_fails(o.done, o.error, code, part);
    outcome_free(&o);
}

static void test_bad_states(void **state) {
    (void)state;
    place p = make_place();
    manner go = {.threads = 1, .stop_at = 2, .state = p.state, .resume = true};
    assert_refused(&p, go, PARE_ERROR_IO, "no state to go on from");
    outcome stopped = run(&p, (manner){.threads = 1, .stop_at = 0.5, .state = p.state});
    outcome_free(&stopped);
    manner other = go;
    other.full = true;
    assert_refused(&p, other, PARE_ERROR_CONFLICT, "other options");
    other = go;
    other.seed = 1;
    assert_refused(&p, other, PARE_ERROR_CONFLICT, "other data");

    pare_error error = {0};
    pare_map map;
    assert_done(pare_map_open(&map, p.state, &error), error);
    size_t n = map.size;
    uint8_t *bytes = pare_allocate(n + 1, 1, &error);
    memcpy(bytes, map.data, n);
    pare_map_close(&map);
    const size_t cuts[] = {0, 10, 20, 24, 100, n / 2, n - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        assert_done(pare_file_write(p.state, bytes, cuts[i], true, &error), error);
        assert_refused(&p, go, PARE_ERROR_FORMAT, p.state);
    }
    assert_done(pare_file_write(p.state, bytes, n + 1, true, &error), error);
    assert_refused(&p, go, PARE_ERROR_FORMAT, "was added to");
    for (size_t i = 1; i <= 3; i++) { /* a bit of the losses or of what is trained */
        size_t at = n - i * (n / 4);
        bytes[at] ^= 4;
        assert_done(pare_file_write(p.state, bytes, n, true, &error), error);
        assert_refused(&p, go, PARE_ERROR_FORMAT, "the file is damaged");
        bytes[at] ^= 4;
    }
    for (size_t i = 0; i < 200; i += 3) { /* whatever is flipped in the head: an error or the state, never a crash */
        bytes[i] ^= 0x10;
        assert_done(pare_file_write(p.state, bytes, n, true, &error), error);
        outcome o = run(&p, go);
        outcome_free(&o);
        bytes[i] ^= 0x10;
    }
    pare_free(bytes);
    remove_place(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits), cmocka_unit_test(test_resume), cmocka_unit_test(test_bad_states)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
