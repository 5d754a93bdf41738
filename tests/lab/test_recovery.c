/* Studies with recovery: what the spec may say, and that a row is what the layers below give. */
#include <math.h>

#include "lab_test.h"

#define HEAD "models: [m]\nevaluate: {text: t, protocol: gguf512}\nmethods: [random]\nratios: [0.5]\n"
#define DATA PARE_SOURCE_DIR "/LICENSE" /* any text that is long enough */

static pare_spec *parse(const char *recovery, pare_error *error) {
    char text[2048];
    *error = (pare_error){0};
    snprintf(text, sizeof text, HEAD "recovery: %s\n", recovery);
    return pare_spec_parse(text, strlen(text), "some/where/s.yaml", error);
}

static void reads_what_is_asked(void **state) {
    (void)state;
    pare_error error;
    pare_spec *s = parse("{method: [full, lora], tokens: [0.5M, 0, 100k, 1000], data: [a.txt, b.jsonl], seq: 64, batch: 2, lr: 1e-3, "
                         "schedule: constant, epochs: 3, rank: 4}",
                         &error);
    assert_done(s, error);
    const pare_spec_recovery *r = &s->recovery;
    assert_true(r->n_methods == 2 && r->methods[0] == PARE_RECOVERY_FULL && r->methods[1] == PARE_RECOVERY_LORA);
    assert_true(r->n_tokens == 3 && r->tokens[0] == 1000 && r->tokens[1] == 100000 && r->tokens[2] == 500000 && r->without);
    assert_int_equal(r->n_paths, 2);
    assert_string_equal(r->paths[1], "some/where/b.jsonl");
    assert_string_equal(r->text, "a.txt, b.jsonl");
    assert_true(r->tune.length == 64 && r->tune.batch == 2 && r->tune.rate == 1e-3 && r->tune.schedule == PARE_SCHEDULE_CONSTANT &&
                r->epochs == 3 && r->tune.rank == 4);
    pare_spec_close(s);
    s = parse("{method: distillation, tokens: 4096, data: a.txt}", &error);
    assert_done(s, error);
    assert_true(!s->recovery.without && s->recovery.tune.rank == 8 && s->recovery.tune.length == 512 && s->recovery.tune.batch == 4);
    pare_spec_close(s);
    s = pare_spec_parse(HEAD, strlen(HEAD), "s.yaml", &error);
    assert_done(s, error);
    assert_true(s->recovery.without && s->recovery.n_tokens == 0 && !s->recovery.text);
    pare_spec_close(s);
}

static void tells_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *recovery, *part;
    } cases[] = {
        {"lora", "s.yaml:5: recovery must be keys with values"},
        {"{method: lora, tokens: 1M}", "recovery lacks the key data"},
        {"{method: lora, data: a}", "recovery lacks the key tokens"},
        {"{method: lora, data: a, tokens: 1M, rat: 3}", "unknown key \"rat\" in recovery"},
        {"{method: qlora, data: a, tokens: 1M}", "unknown recovery method \"qlora\"; there are lora, full and distillation"},
        {"{method: [lora, lora], data: a, tokens: 1M}", "recovery method lora is listed twice"},
        {"{method: lora, data: a, tokens: -5}", "recovery tokens \"-5\": a number of tokens like"},
        {"{method: lora, data: a, tokens: nan}", "recovery tokens \"nan\""},
        {"{method: lora, data: a, tokens: 1e30}", "recovery tokens \"1e30\""},
        {"{method: lora, data: a, tokens: [0, 0]}", "recovery tokens 0 is listed twice"},
        {"{method: lora, data: a, tokens: [1M, 1000k]}", "recovery tokens 1000k is listed twice"},
        {"{method: lora, data: a, tokens: [4000, 4001]}", "recovery tokens 4000 and 4001 are the same number of steps"},
        {"{method: lora, data: a, tokens: []}", "tokens is empty"},
        {"{method: lora, data: a, tokens: 1M, lr: 0}", "lr is 0; it must be above 0"},
        {"{method: lora, data: a, tokens: 1M, schedule: zigzag}", "zigzag"},
        {"{method: lora, data: a, tokens: 1M, seq: 1}", "seq is \"1\"; it must be a whole number from 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_error error;
        pare_spec *s = parse(cases[i].recovery, &error);
        assert_null(s);
        if (!strstr(error.message, cases[i].part))
            fail_msg("%s: %s", cases[i].recovery, error.message);
    }
}

/* ---- rows ---- */

static pare_study *open_study(const char *folder, const char *name, const char *recovery) {
    pare_error error = {0};
    pare_study *study =
        pare_study_open(write_spec(folder, name,
                                   "models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                                   "methods: [random]\nratios: [0.5]\nmultiple: 8\nseeds: [3]\nledger: r.ledger\n"
                                   "recovery: {data: " DATA ", seq: 32, batch: 2, lr: 0.01, %s}\n",
                                   recovery),
                        NULL, &error);
    assert_done(study, error);
    return study;
}

static size_t run(const pare_study *study) {
    pare_error error = {0};
    pare_study_summary summary;
    assert_done(pare_study_run(&summary, study, NULL, NULL, &error), error);
    assert_int_equal(summary.n_failed, 0);
    return summary.n_done;
}

/* The same by the layers below. */
static double recovered(const pare_run *asked, bool full, bool taught, uint64_t steps) {
    pare_error error = {0};
    pare_protocol protocol;
    pare_eval_text text;
    pare_scores scores;
    pare_cut *cut = NULL;
    pare_plan plan;
    pare_eval_result result;
    pare_tune_result trained;
    const char *path = DATA;
    pare_tune_options o = pare_tune_defaults();
    o.full = full;
    o.length = 32;
    o.batch = 2;
    o.rate = 0.01;
    o.steps = steps;
    o.warmup = steps / 10;
    o.seed = 3;
    pare_checkpoint *checkpoint = pare_checkpoint_open(TINY "qwen2", &error);
    assert_done(checkpoint && pare_protocol_parse(&protocol, "joined64", &error) &&
                    pare_eval_text_open(&text, &protocol, PARE_FIXTURES "/test.txt", checkpoint->tokenizer, NULL, &error) &&
                    pare_score(&scores, asked->method, checkpoint, NULL, asked->seed, NULL, &error) &&
                    pare_plan_make(&plan, asked->method->unit, &checkpoint->config, asked->ratio, asked->multiple, &error) &&
                    (cut = pare_cut_make(&checkpoint->config, &scores, &plan, &error)),
                error);
    pare_dataset_options d = {.paths = &path, .n_paths = 1, .length = 32, .seed = 3, .separator = checkpoint->config.eos};
    pare_dataset *data = pare_dataset_open(&d, checkpoint->tokenizer, NULL, &error);
    assert_done(data, error);
    pare_tuner *tuner = pare_tuner_open(&o, checkpoint, cut, taught ? checkpoint : NULL, NULL, &error);
    static const pare_tune_run_options plain = {0};
    assert_done(tuner && pare_tune_run(&trained, tuner, data, &plain, NULL, &error) &&
                    pare_eval_run(&result, pare_tuner_model(tuner), &text, 0, NULL, NULL, &error),
                error);
    pare_tune_result_free(&trained);
    pare_tuner_close(tuner);
    pare_dataset_close(data);
    pare_cut_close(cut);
    pare_scores_free(&scores);
    pare_eval_text_close(&text);
    pare_checkpoint_close(checkpoint);
    return result.cross_entropy;
}

static void rows_are_what_training_gives(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_error error = {0};
    pare_study *study = open_study(folder, "s.yaml", "method: [lora, full, distillation], tokens: [0, 60, 500]");
    assert_int_equal(study->n_runs, 8); /* dense; as it is, and three methods by two budgets */
    assert_int_equal(run(study), 8);
    assert_int_equal(run(study), 0);
    pare_arena *arena = pare_arena_open(NULL);
    pare_study_state s;
    assert_done(pare_study_status(&s, study, NULL, arena, &error), error);
    for (size_t i = 0; i < 2; i++)
        assert_true(s.records[i]->recovery_tokens == 0 && !s.records[i]->recovery.method && isnan(s.records[i]->recovery.loss));
    for (size_t i = 2; i < 8; i++) {
        const pare_run_record *r = s.records[i];
        pare_recovery method = (pare_recovery)((i - 2) / 2);
        uint64_t steps = i % 2 ? 8 : 1; /* of 64 tokens */
        assert_string_equal(r->recovery.method, pare_recovery_name(method));
        assert_true(r->recovery_tokens == (double)steps * 64 && r->recovery.loss > 0 && r->seconds.recover > 0);
        assert_string_equal(r->recovery.text, DATA);
        assert_int_equal(strlen(r->recovery.sha256), 64);
        assert_true(r->cross_entropy ==
                    recovered(&study->runs[i], method == PARE_RECOVERY_FULL, method == PARE_RECOVERY_DISTILLATION, steps));
        assert_true(r->cross_entropy != s.records[1]->cross_entropy && r->dense_cross_entropy == s.records[0]->cross_entropy);
    }
    pare_study_close(study);
    /* what is there is not measured again: budgets and methods can be added */
    study = open_study(folder, "t.yaml", "method: lora, tokens: [0, 500, 900]");
    assert_int_equal(run(study), 1);
    pare_study_close(study);
    study = open_study(folder, "u.yaml", "method: lora, tokens: [500], schedule: constant");
    assert_int_equal(study->n_runs, 2);
    assert_int_equal(run(study), 1);
    pare_study_close(study);
    pare_arena_close(arena);
    remove_folder(folder);
}

static void asks_for_no_more_than_there_is(void **state) {
    (void)state;
    char *folder = test_folder();
    static const char spec[] = "models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
                               "methods: [random]\nratios: [0.5]\nmultiple: 8\n"
                               "recovery: {data: " DATA ", seq: %d, batch: 2, method: lora, tokens: 1G}\n";
    pare_error error = {0};
    assert_null(pare_study_open(write_spec(folder, "s.yaml", spec, 32), NULL, &error));
    if (!strstr(error.message, "s.yaml:6: recovery on 1000000000 tokens was asked for, but the data give"))
        fail_msg("%s", error.message);
    assert_null(pare_study_open(write_spec(folder, "t.yaml", spec, 100000), NULL, &error));
    if (!strstr(error.message, "recovery windows of 100000 tokens, but the model has"))
        fail_msg("%s", error.message);
    remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_is_asked),
        cmocka_unit_test(tells_mistakes),
        cmocka_unit_test(rows_are_what_training_gives),
        cmocka_unit_test(asks_for_no_more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
