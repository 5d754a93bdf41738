/* A head that is the embedding: told from one of its own by what storing both in their types accounts for; tied, it is gone from tensors,
 * sizes and files. And how a model was made: from folder to GGUF and back. */
#include <math.h>

#include "fixtures.h"
#include "pare/trainable.h"

static char *work;

static int make_work(void **state) {
    (void)state;
    work = test_folder();
    return work ? 0 : -1;
}

static int remove_work(void **state) {
    (void)state;
    remove_all(work);
    return 0;
}

/* The llama3 fixture as a GGUF of this type, its head the embedding but for a share of each weight. */
static pare_checkpoint *with_like_head(const char *name, pare_dtype dtype, double share) {
    pare_error error = {0};
    pare_checkpoint *base = open_fixture("llama3");
    pare_thawed thawed;
    assert_done(pare_thaw(&thawed, base, NULL, NULL, &error), error);
    const pare_tensor *head = pare_checkpoint_find(thawed.checkpoint, "lm_head.weight"),
                      *embedding = pare_checkpoint_find(thawed.checkpoint, "model.embed_tokens.weight");
    const float *from = (const float *)(const void *)embedding->data;
    float *to = thawed.values + ((const float *)(const void *)head->data - thawed.values);
    for (uint64_t i = 0; i < pare_tensor_elements(head); i++)
        to[i] = from[i] * (float)(1 + share * sin(1.0 + (double)i));
    assert_done(pare_checkpoint_export(NULL, inside(work, name), false, thawed.checkpoint, NULL, dtype, NULL, &error), error);
    pare_thawed_close(&thawed);
    pare_checkpoint_close(base);
    pare_checkpoint *checkpoint = pare_checkpoint_open(inside(work, name), &error);
    assert_done(checkpoint, error);
    return checkpoint;
}

static void heads_are_told_apart(void **state) {
    (void)state;
    static const struct {
        pare_dtype dtype;
        double share;
        bool same;
    } cases[] = {{PARE_DTYPE_F32, 0, true},      {PARE_DTYPE_F32, 0.003, false}, {PARE_DTYPE_BF16, 0.003, true},
                 {PARE_DTYPE_Q8_0, 0.003, true}, {PARE_DTYPE_Q8_0, 0.1, false},  {PARE_DTYPE_Q4_0, 0.05, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        char name[32];
        pare_head_likeness likeness;
        snprintf(name, sizeof name, "like-%zu.gguf", i);
        pare_checkpoint *checkpoint = with_like_head(name, cases[i].dtype, cases[i].share);
        assert_done(pare_head_compare(&likeness, checkpoint, &error), error);
        if (likeness.same != cases[i].same)
            fail_msg("case %zu: %g apart", i, likeness.distance);
        assert_true(likeness.distance < 0.3 && likeness.parameters == (uint64_t)checkpoint->config.vocabulary * checkpoint->config.width);
        pare_checkpoint_close(checkpoint);
    }
    pare_error error = {0};
    pare_head_likeness likeness;
    pare_checkpoint *own = open_fixture("llama3"), *tied = open_fixture("qwen2");
    assert_done(pare_head_compare(&likeness, own, &error), error);
    assert_true(!likeness.same && likeness.distance > 1);
    assert_fails(pare_checkpoint_tie(own, &error), error, PARE_ERROR_RANGE, "it is a matrix of its own");
    assert_done(pare_head_compare(&likeness, tied, &error) && pare_checkpoint_tie(tied, &error), error);
    assert_true(!likeness.same && isnan(likeness.distance));
    pare_checkpoint_close(own);
    pare_checkpoint_close(tied);
}

static void a_tied_head_is_gone(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = with_like_head("tied.gguf", PARE_DTYPE_Q8_0, 0.003);
    size_t n = checkpoint->n_tensors;
    pare_size before = pare_checkpoint_size(checkpoint, NULL);
    uint64_t head = (uint64_t)checkpoint->config.vocabulary * checkpoint->config.width;
    assert_done(pare_checkpoint_tie(checkpoint, &error), error);
    pare_size after = pare_checkpoint_size(checkpoint, NULL);
    assert_int_equal(checkpoint->n_tensors, n - 1);
    assert_int_equal(after.parameters, before.parameters - head);
    assert_int_equal(after.macs, before.macs);
    assert_true(after.bytes < before.bytes && after.non_embedding == before.non_embedding);
    assert_done(pare_checkpoint_write(inside(work, "tied"), checkpoint, NULL, NULL, PARE_DTYPE_BF16, 0, NULL, NULL, &error) &&
                    pare_checkpoint_export(NULL, inside(work, "tied-again.gguf"), false, checkpoint, NULL, PARE_DTYPE_COUNT, NULL, &error),
                error);
    pare_checkpoint_close(checkpoint);
    static const char *const outputs[] = {"tied", "tied-again.gguf"};
    for (size_t i = 0; i < 2; i++) {
        assert_done(checkpoint = pare_checkpoint_open(inside(work, outputs[i]), &error), error);
        assert_true(checkpoint->config.tied && checkpoint->n_tensors == n - 1);
        assert_null(pare_checkpoint_find(checkpoint, "lm_head.weight"));
        pare_checkpoint_close(checkpoint);
    }
}

static void how_a_model_was_made_goes_with_it(void **state) {
    (void)state;
    static const char note[] =
        "{\"method\": \"flap\", \"ratio\": 0.2, \"kept_units\": [[1, 2]], \"base\": {\"mode\": \"full\", \"losses\": [3]}}";
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("qwen2");
    assert_null(pare_checkpoint_made(&(pare_json_doc){0}, source, true));
    assert_done(pare_checkpoint_write(inside(work, "made"), source, NULL, NULL, PARE_DTYPE_BF16, 0, note, NULL, &error), error);
    pare_checkpoint_close(source);
    assert_done(source = pare_checkpoint_open(inside(work, "made"), &error), error);
    json_t *made = pare_checkpoint_made(&(pare_json_doc){0}, source, true);
    assert_non_null(json_object_get(made, "kept_units"));
    json_decref(made);
    assert_done(pare_checkpoint_export(NULL, inside(work, "made.gguf"), false, source, NULL, PARE_DTYPE_Q8_0, NULL, &error), error);
    pare_checkpoint_close(source);
    for (int i = 0; i < 2; i++) { /* a GGUF keeps it when it is exported again */
        assert_done(source = pare_checkpoint_open(inside(work, i ? "again.gguf" : "made.gguf"), &error), error);
        made = pare_checkpoint_made(&(pare_json_doc){0}, source, false);
        assert_string_equal(json_string_value(json_object_get(made, "method")), "flap");
        assert_string_equal(json_string_value(json_object_get(json_object_get(made, "base"), "mode")), "full");
        assert_null(json_object_get(made, "kept_units"));
        assert_null(json_object_get(json_object_get(made, "base"), "losses"));
        json_decref(made);
        assert_done(i || pare_checkpoint_export(NULL, inside(work, "again.gguf"), false, source, NULL, PARE_DTYPE_Q4_0, NULL, &error),
                    error);
        pare_checkpoint_close(source);
    }
    write_file(inside(work, "made/pare.json"), "[1]", 3);
    assert_done(source = pare_checkpoint_open(inside(work, "made"), &error), error);
    assert_null(pare_checkpoint_made(&(pare_json_doc){0}, source, true));
    pare_checkpoint_close(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(heads_are_told_apart), cmocka_unit_test(a_tied_head_is_gone),
                                       cmocka_unit_test(how_a_model_was_made_goes_with_it)};
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
