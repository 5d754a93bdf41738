/* Tasks through a model: log-likelihoods of lm-evaluation-harness, runs that are stopped and go on, scores that are not finite. */
#include <math.h>

#include "pare/task.h"
#include "test.h"

#define DATA PARE_FIXTURES "/tasks"
#define MODEL PARE_SOURCE_DIR "/tests/model/fixtures/qwen2"

static const char *const names[] = {"piqa",       "winogrande", "hellaswag",      "arc_easy", "arc_challenge",
                                    "openbookqa", "boolq",      "lambada_openai", "blimp",    "mmlu"};
enum { N_TASKS = sizeof names / sizeof *names };

/* All ten with one model. */
typedef struct {
    pare_checkpoint *checkpoint;
    pare_model *model;
    pare_task *tasks[N_TASKS];
    pare_items items[N_TASKS];
    pare_choice choices[N_TASKS];
    size_t n_items;
} session;

static void open_session(session *s, uint32_t limit) {
    pare_error error = {0};
    pare_request_rule rule;
    *s = (session){0};
    assert_done(s->checkpoint = pare_checkpoint_open(MODEL, &error), error);
    assert_done(s->model = pare_model_open(s->checkpoint, NULL, &error), error);
    assert_done(pare_request_rule_open(&rule, s->checkpoint, PARE_BOS_DEFAULT, &error), error);
    for (int i = 0; i < N_TASKS; i++) {
        assert_done(s->tasks[i] = pare_task_open(names[i], NULL, &error), error);
        assert_done(pare_items_open(&s->items[i], s->tasks[i], DATA, &(pare_items_options){.limit = limit}, &error), error);
        assert_done(pare_choice_open(&s->choices[i], &s->items[i], &rule, NULL, &error), error);
        s->n_items += s->items[i].n;
    }
}

static void close_session(session *s) {
    for (int i = 0; i < N_TASKS; i++) {
        pare_choice_close(&s->choices[i]);
        pare_items_close(&s->items[i]);
        pare_task_close(s->tasks[i]);
    }
    pare_model_close(s->model);
    pare_checkpoint_close(s->checkpoint);
}

static void check_scores(const pare_choice *choice, const json_t *items) {
    const json_t *item, *request;
    size_t i, k, r = 0;
    json_array_foreach(items, i, item) {
        json_array_foreach(json_object_get(item, "requests"), k, request) {
            double wanted = json_number_value(json_object_get(request, "loglikelihood"));
            if (!(fabs(choice->scores[r].log_likelihood - wanted) < 2e-4))
                fail_msg("%s, item %zu, choice %zu: %.6f, the harness says %.6f", choice->items->task->name, i, k,
                         choice->scores[r].log_likelihood, wanted);
            assert_int_equal(choice->scores[r++].greedy, json_is_true(json_object_get(request, "greedy")));
        }
    }
}

static void log_likelihoods(void **state) {
    (void)state;
    pare_error error = {0};
    session s;
    open_session(&s, 0);
    assert_done(pare_choice_run(s.choices, N_TASKS, s.model, NULL, &(pare_context){.n_threads = 1}, &error), error);
    json_t *all = pare_json_read(DATA "/reference.json", &error), *task;
    assert_done(all, error);
    size_t i;
    json_array_foreach(json_object_get(all, "default"), i, task) {
        assert_string_equal(json_string_value(json_object_get(task, "task")), names[i]);
        check_scores(&s.choices[i], json_object_get(task, "items"));
    }
    assert_int_equal(i, N_TASKS);
    json_decref(all);
    close_session(&s);
}

/* ---- stopped, and going on ---- */

static volatile sig_atomic_t stop;

static void stop_on_the_way(void *user, const char *stage, double done, double total) {
    (void)user, (void)stage;
    stop = stop || (done > 0 && done < total);
}

static const char *state_path(void) {
    static char path[300];
    snprintf(path, sizeof path, "%s/state", test_folder());
    return path;
}

/* Runs until it is stopped; what was scored is in the file. */
static void run_part(const char *path) {
    pare_error error = {0};
    session s;
    open_session(&s, 0);
    pare_choice_state *state = pare_choice_state_open(path, "binding", s.choices, N_TASKS, &error);
    assert_done(state, error);
    const pare_context context = {.n_threads = 1, .progress = stop_on_the_way, .cancel = &stop};
    stop = 0;
    assert_fails(pare_choice_run(s.choices, N_TASKS, s.model, state, &context, &error), error, PARE_ERROR_CANCELLED, "");
    pare_choice_state_close(state, false);
    close_session(&s);
}

static void append(const char *path, const char *text) {
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_stopped_run_goes_on(void **unused) {
    (void)unused;
    pare_error error = {0};
    const char *path = state_path();
    session whole, rest;
    open_session(&whole, 0);
    assert_done(pare_choice_run(whole.choices, N_TASKS, whole.model, NULL, NULL, &error), error);
    run_part(path);
    append(path, "{\"task\": \"piqa\", \"index\": 0, \"loglikel"); /* a line that was cut off */
    open_session(&rest, 0);
    pare_choice_state *state = pare_choice_state_open(path, "binding", rest.choices, N_TASKS, &error);
    assert_done(state, error);
    size_t resumed = pare_choice_state_resumed(state);
    assert_true(resumed > 0 && resumed < rest.n_items);
    assert_done(pare_choice_run(rest.choices, N_TASKS, rest.model, state, NULL, &error), error);
    pare_choice_state_close(state, false);
    for (int i = 0; i < N_TASKS; i++) {
        size_t n = whole.choices[i].ends[whole.items[i].n - 1];
        for (size_t r = 0; r < n; r++) {
            assert_true(whole.choices[i].scores[r].log_likelihood == rest.choices[i].scores[r].log_likelihood);
            assert_int_equal(whole.choices[i].scores[r].greedy, rest.choices[i].scores[r].greedy);
        }
    }
    close_session(&whole);
    close_session(&rest);
    open_session(&rest, 1); /* all is there, and more than is asked for */
    state = pare_choice_state_open(path, "binding", rest.choices, N_TASKS, &error);
    assert_done(state, error);
    assert_int_equal(pare_choice_state_resumed(state), rest.n_items);
    assert_null(pare_choice_state_open(path, "binding", rest.choices, N_TASKS, &error));
    assert_non_null(strstr(error.message, "another pare works with this file"));
    pare_choice_state_close(state, true);
    assert_false(pare_path_exists(path));
    close_session(&rest);
}

static void states_that_are_of_something_else(void **unused) {
    (void)unused;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"hello\n", "is no state of an evaluation"},
        {"{\"a\": 1}\n", "is no state of an evaluation"},
        {"{\"pare\": \"evaluation state\", \"binding\": \"another\"}\n", "is of another evaluation (another; this one: binding)"},
        {"{\"pare\": \"evaluation state\", \"binding\": \"binding\"}\n{\"task\": \"piqa\", \"sha256\": \"0\"}\n",
         "line 2: the task, its documents"},
        {"{\"pare\": \"evaluation state\", \"binding\": \"binding\"}\n{\"task\": \"piqa\", \"index\": 0, \"loglikelihoods\": [1, 2], "
         "\"is_greedy\": [false, true]}\n",
         "line 2: is of another document"},
        {"{\"pare\": \"evaluation state\", \"binding\": \"binding\"}\n{\"task\": \"piqa\", \"index\": \"0\"}\n", "line 2: is damaged"},
        {"{\"pare\": \"evaluation state\", \"binding\": \"binding\"}\n{\"task\": \"piqa\", \"index\": 0, \"loglikelihoods\": [1, \"2\"], "
         "\"is_greedy\": [true, false]}\n",
         "line 2: is damaged"},
        {"my notes, without an end", "is no state of an evaluation"},
    };
    const char *path = state_path();
    session s;
    open_session(&s, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        assert_done(pare_file_write(path, cases[i].text, strlen(cases[i].text), true, &error), error);
        assert_null(pare_choice_state_open(path, "binding", s.choices, N_TASKS, &error));
        if (!strstr(error.message, cases[i].part))
            fail_msg("%s; wanted %s", error.message, cases[i].part);
    }
    remove(path);
    close_session(&s);
}

static void a_score_that_is_not_finite_stops_it(void **state) {
    (void)state;
    pare_error error = {0};
    session s;
    open_session(&s, 1);
    ((float *)(uintptr_t)s.model->norm)[3] = (float)NAN;
    assert_fails(pare_choice_run(s.choices, 1, s.model, NULL, NULL, &error), error, PARE_ERROR_NUMERIC, "task piqa, document 1 of");
    close_session(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_likelihoods),
        cmocka_unit_test(a_stopped_run_goes_on),
        cmocka_unit_test(states_that_are_of_something_else),
        cmocka_unit_test(a_score_that_is_not_finite_stops_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
