/* Ten steps against PyTorch and PEFT: full, LoRA, distillation; rates; what a bad step leaves; adapters out, in and merged. */
#include <sys/stat.h>

#include "pare/cut.h"
#include "tune_test.h"

static void check_losses(const char *model, const char *teacher, const char *kind, const json_t *reference) {
    const json_t *r = json_object_get(reference, model), *wanted = json_object_get(r, kind);
    pare_tune_options o = reference_options(strcmp(kind, "lora") != 0);
    uint32_t ids[BATCH * LENGTH];
    uint8_t learn[BATCH * LENGTH];
    bench b;
    assert_int_equal(json_array_size(wanted), STEPS);
    bench_start(&b, model, teacher, &o, 2);
    for (size_t i = 0; i < STEPS; i++) {
        pare_error error = {0};
        pare_tune_step step;
        fill_windows(ids, learn, json_object_get(r, "ids"), i);
        assert_done(pare_tuner_step(&step, b.tuner, ids, learn, &error), error);
        double loss = json_number_value(json_array_get(wanted, i));
        if (fabs(step.loss - loss) > 1e-4 * loss)
            fail_msg("%s %s, step %zu: loss %.7g, PyTorch has %.7g", model, kind, i + 1, step.loss, loss);
    }
    bench_stop(&b);
}

static void test_losses(void **state) {
    (void)state;
    json_t *reference = read_reference();
    static const char *const models[] = {"qwen2", "llama3", "mistral"};
    for (size_t i = 0; i < 3; i++) {
        check_losses(models[i], NULL, "full", reference);
        check_losses(models[i], NULL, "lora", reference);
    }
    check_losses("llama3", "mistral", "distilled", reference);
    json_decref(reference);
}

static void test_rates(void **state) {
    (void)state;
    pare_tune_options o = reference_options(true);
    o.rate = 1;
    o.steps = 12;
    o.warmup = 2;
    o.schedule = PARE_SCHEDULE_LINEAR;
    assert_true(fabs(pare_tune_rate(&o, 0) - 1.0 / 3) < 1e-12 && fabs(pare_tune_rate(&o, 1) - 2.0 / 3) < 1e-12);
    assert_true(fabs(pare_tune_rate(&o, 2) - 1) < 1e-12 && fabs(pare_tune_rate(&o, 7) - 0.5) < 1e-12);
    o.schedule = PARE_SCHEDULE_COSINE;
    assert_true(fabs(pare_tune_rate(&o, 7) - 0.5) < 1e-12 && pare_tune_rate(&o, 11) > 0 && pare_tune_rate(&o, 11) < 0.05);
    o.schedule = PARE_SCHEDULE_CONSTANT;
    assert_true(pare_tune_rate(&o, 11) == 1);
}

/* A weight that is NaN: the step names the trouble and changes nothing. */
static void test_bad_step(void **state) {
    (void)state;
    pare_tune_options o = reference_options(false);
    uint32_t ids[BATCH * LENGTH];
    uint8_t learn[BATCH * LENGTH];
    pare_error error = {0};
    pare_tune_step step;
    json_t *reference = read_reference();
    bench b;
    bench_start(&b, "qwen2", NULL, &o, 1);
    fill_windows(ids, learn, json_object_get(json_object_get(reference, "qwen2"), "ids"), 0);
    assert_done(pare_tuner_step(&step, b.tuner, ids, learn, &error), error);
    b.tuner->values[b.tuner->segments[3].at] = NAN;
    float *before = pare_allocate(b.tuner->n_values, sizeof *before, NULL);
    memcpy(before, b.tuner->values, b.tuner->n_values * sizeof *before);
    assert_fails(pare_tuner_step(&step, b.tuner, ids, learn, &error), error, PARE_ERROR_NUMERIC, "step 2: the loss of token 1");
    assert_memory_equal(before, b.tuner->values, b.tuner->n_values * sizeof *before);
    for (size_t i = 0; i < b.tuner->n_values; i++)
        assert_true(b.tuner->gradient[i] == 0);
    memset(learn, 0, sizeof learn); /* windows inside prompts teach nothing, and that is no error */
    assert_done(pare_tuner_step(&step, b.tuner, ids, learn, &error), error);
    assert_int_equal(step.targets, 0);
    assert_true(isnan(step.loss)); /* 0 would be the best loss there is */
    float losses[] = {2, NAN, 4, NAN};
    pare_tune_result run = {.losses = losses, .steps = 4};
    assert_true(pare_tune_mean_loss(&run, 0, 4) == 3 && pare_tune_mean_loss(&run, 1, 2) == 4 && isnan(pare_tune_mean_loss(&run, 3, 1)));
    pare_free(before);
    bench_stop(&b);
    json_decref(reference);
}

/* Logits of a model's first window, (LENGTH, vocabulary); free with pare_free. */
static float *logits_of(const pare_model *model, const uint32_t *ids) {
    pare_error error = {0};
    pare_forward *forward = pare_forward_open(model, 1, LENGTH, NULL, &error);
    assert_done(forward, error);
    float *logits = pare_allocate((size_t)LENGTH * model->config.vocabulary, sizeof *logits, &error);
    assert_done(pare_forward_run(forward, ids, 1, LENGTH, NULL, &error), error);
    assert_done(pare_forward_logits(logits, forward, 0, LENGTH, &error), error);
    pare_forward_close(forward);
    return logits;
}

static void assert_close(const float *a, const float *b, size_t n, double most) {
    for (size_t i = 0; i < n; i++)
        if (fabs((double)(a[i] - b[i])) > most)
            fail_msg("element %zu: %.7g and %.7g", i, (double)a[i], (double)b[i]);
}

/* Trained adapter: written and read back bit for bit, and merged into a checkpoint that computes the same. */
static void test_adapters(void **state) {
    (void)state;
    pare_tune_options o = reference_options(false);
    uint32_t ids[BATCH * LENGTH];
    uint8_t learn[BATCH * LENGTH];
    pare_error error = {0};
    pare_tune_step step;
    char adapter[300], merged[300], *work = test_folder();
    json_t *reference = read_reference();
    bench b;
    o.targets[PARE_K] = false; /* some projections without one */
    o.rate = 0.05;
    bench_start(&b, "qwen2", NULL, &o, 1);
    for (size_t i = 0; i < 3; i++) {
        fill_windows(ids, learn, json_object_get(json_object_get(reference, "qwen2"), "ids"), i);
        assert_done(pare_tuner_step(&step, b.tuner, ids, learn, &error), error);
    }
    snprintf(adapter, sizeof adapter, "%s/adapter", work);
    snprintf(merged, sizeof merged, "%s/merged", work);
    assert_true(mkdir(adapter, 0777) == 0 && mkdir(merged, 0777) == 0);
    assert_done(pare_tuner_write_adapter_in(adapter, b.tuner, "tiny", &error), error);
    pare_adapters *back = pare_adapters_read(adapter, &b.tuner->model->config, &error);
    assert_done(back, error);
    assert_int_equal(back->n_values, b.tuner->n_values);
    assert_memory_equal(back->values, b.tuner->values, back->n_values * sizeof(float));
    assert_int_equal(back->n_weights, pare_tuner_trainable(b.tuner));
    pare_adapters_close(back);

    assert_done(pare_tuner_write_in(merged, b.tuner, PARE_DTYPE_F32, NULL, NULL, &error), error);
    pare_checkpoint *checkpoint = pare_checkpoint_open(merged, &error);
    assert_done(checkpoint, error);
    pare_model *model = pare_model_open(checkpoint, NULL, &error), *dense = pare_model_open(b.checkpoint, NULL, &error);
    assert_true(model && dense);
    size_t n = (size_t)LENGTH * model->config.vocabulary;
    float *one = logits_of(b.tuner->model, ids), *two = logits_of(model, ids), *three = logits_of(dense, ids);
    assert_close(one, two, n, 2e-4);
    double moved = 0;
    for (size_t i = 0; i < n; i++)
        moved = fmax(moved, fabs((double)(one[i] - three[i])));
    assert_true(moved > 0.1); /* the adapter does something */
    pare_free(one);
    pare_free(two);
    pare_free(three);
    pare_model_close(model);
    pare_model_close(dense);
    pare_checkpoint_close(checkpoint);

    pare_checkpoint *other = pare_checkpoint_open(model_path("mistral"), &error);
    assert_done(other, error);
    assert_fails(pare_adapters_read(adapter, &other->config, &error) != NULL, error, PARE_ERROR_SHAPE, "another base");
    assert_fails(pare_adapters_read(work, &other->config, &error) != NULL, error, PARE_ERROR_FORMAT, "not an adapter");
    pare_checkpoint_close(other);
    bench_stop(&b);
    json_decref(reference);
    char command[400];
    snprintf(command, sizeof command, "rm -rf '%s'", work);
    assert_int_equal(system(command), 0);
}

/* A thawed checkpoint computes what it was thawed from, with a cut as with none; a teacher must share the vocabulary. */
static void test_thawed(void **state) {
    (void)state;
    pare_error error = {0};
    uint32_t kept[64], ids[BATCH * LENGTH];
    uint8_t learn[BATCH * LENGTH];
    json_t *reference = read_reference();
    pare_checkpoint *checkpoint = pare_checkpoint_open(model_path("llama3"), &error);
    assert_done(checkpoint, error);
    fill_windows(ids, learn, json_object_get(json_object_get(reference, "llama3"), "ids"), 0);
    pare_cut *cut = pare_cut_open(&checkpoint->config, &error);
    for (uint32_t layer = 0; layer < checkpoint->config.n_layers; layer++) {
        for (uint32_t i = 0; i < 8; i++)
            kept[i] = 3 * i + layer;
        assert_done(pare_cut_keep_ffn(cut, layer, kept, 8 - layer, &error), error); /* and no two layers alike */
    }
    for (int with = 0; with < 2; with++) {
        pare_thawed thawed;
        const pare_cut *used = with ? cut : NULL;
        assert_done(pare_thaw(&thawed, checkpoint, used, NULL, &error), error);
        pare_model *a = pare_model_open(checkpoint, used, &error), *b = pare_model_open(thawed.checkpoint, NULL, &error);
        assert_true(a && b);
        float *one = logits_of(a, ids), *two = logits_of(b, ids);
        assert_memory_equal(one, two, (size_t)LENGTH * a->config.vocabulary * sizeof *one);
        pare_free(one);
        pare_free(two);
        pare_model_close(a);
        pare_model_close(b);
        pare_thawed_close(&thawed);
    }
    pare_cut_close(cut);
    pare_checkpoint *teacher = pare_checkpoint_open(model_path("qwen2"), &error);
    pare_tune_options o = reference_options(false);
    assert_fails(pare_tuner_open(&o, checkpoint, NULL, teacher, NULL, &error) != NULL, error, PARE_ERROR_SHAPE, "cannot teach");
    pare_checkpoint_close(teacher);
    pare_checkpoint_close(checkpoint);
    json_decref(reference);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_losses), cmocka_unit_test(test_rates), cmocka_unit_test(test_bad_step),
                                       cmocka_unit_test(test_adapters), cmocka_unit_test(test_thawed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
