/* slice-global and slice: losses against NumPy (fixtures by tools/fixtures/slice_reference.py), which projects where pare rotates and cuts;
 * what must hold of every rotated model; and that what is written is what was measured. */
#include <stdlib.h>
#include <unistd.h>

#include "reference.h"

#define SLICE PARE_FIXTURES "/slice.txt"

static double tolerance(size_t tokens) {
    (void)tokens;
    return 1e-5;
}

static void losses_as_numpy(void **state) {
    (void)state;
    losses_as_referenced(SLICE, 4, tolerance, 24);
}

/* Under a plan that keeps as many coordinates as there are, rotated all the same. */
static pare_cut *only_turned(const char *name, const pare_checkpoint *checkpoint, const text *t) {
    pare_error error = {0};
    pare_windows windows = {.ids = (uint32_t *)(uintptr_t)t->ids, .n = 2, .length = 128};
    pare_calibration calibration;
    uint32_t width = checkpoint->config.width;
    const pare_method *method = pare_method_find(name, &error);
    pare_plan plan = {.unit = method->unit, .ratio = 0.1, .multiple = 1, .n_rows = 1, .n_units = width + 1, .n_kept = width};
    assert_done(pare_calibrate(&calibration, checkpoint, &windows, false, NULL, &error), error);
    pare_cut *cut = pare_method_cut(method, checkpoint, &calibration, NULL, &plan, NULL, &error);
    assert_done(cut, error);
    pare_calibration_free(&calibration);
    return cut;
}

static void temporary(char path[64], const char *name) {
    static char folder[] = "/tmp/pare-slice-XXXXXX";
    if (strstr(folder, "XXXXXX"))
        assert_non_null(mkdtemp(folder));
    snprintf(path, 64, "%s/%s", folder, name);
}

/* As written in f32, or exported, and read again. */
static double loss_of_file(const pare_checkpoint *checkpoint, const pare_cut *cut, const text *t, bool gguf, const char *name) {
    pare_error error = {0};
    char path[64];
    temporary(path, name);
    assert_done(gguf ? pare_checkpoint_export(NULL, path, false, checkpoint, cut, PARE_DTYPE_F32, NULL, &error)
                     : pare_checkpoint_write(path, checkpoint, cut, NULL, PARE_DTYPE_F32, 0, NULL, NULL, &error),
                error);
    pare_checkpoint *again = pare_checkpoint_open(path, &error);
    assert_done(again, error);
    double loss = loss_of(again, NULL, t, 2);
    pare_checkpoint_close(again);
    return loss;
}

static void a_turn_changes_nothing(void **state) {
    (void)state;
    static const char *const names[] = {"pare-llama-40k", "pare-qwen2-40k"};
    for (int i = 0; i < 2; i++) {
        pare_checkpoint *checkpoint = open_model(names[i]);
        text t = text_of(SLICE, names[i]);
        double dense = loss_of(checkpoint, NULL, &t, 2);
        for (int block = 0; block < 2; block++) {
            pare_cut *cut = only_turned(block ? "slice" : "slice-global", checkpoint, &t);
            assert_true(fabs(loss_of(checkpoint, cut, &t, 2) - dense) < 1e-5);
            pare_cut_close(cut);
        }
        pare_checkpoint_close(checkpoint);
    }
}

/* flap leaves biases of o and down, which are written to the residual stream and turn with it. */
static void biases_turn(void **state) {
    (void)state;
    pare_error error = {0};
    char path[64];
    pare_checkpoint *checkpoint = open_model("pare-llama-40k");
    text t = text_of(SLICE, "pare-llama-40k");
    pare_windows windows = {.ids = t.ids, .n = 2, .length = 128};
    const pare_method *flap = pare_method_find("flap", &error);
    pare_calibration calibration;
    pare_scores scores;
    pare_plan plan;
    assert_done(pare_calibrate(&calibration, checkpoint, &windows, true, NULL, &error) &&
                    pare_plan_make(&plan, flap->unit, &checkpoint->config, 0.3, 8, &error) &&
                    pare_score(&scores, flap, checkpoint, &calibration, 0, NULL, &error),
                error);
    pare_cut *biased = pare_method_cut(flap, checkpoint, &calibration, &scores, &plan, NULL, &error);
    assert_done(biased, error);
    temporary(path, "biased");
    assert_done(pare_checkpoint_write(path, checkpoint, biased, NULL, PARE_DTYPE_F32, 0, NULL, NULL, &error), error);
    pare_checkpoint *again = pare_checkpoint_open(path, &error);
    assert_done(again, error);
    assert_true(again->config.mlp_bias);
    for (int block = 0; block < 2; block++) {
        pare_cut *cut = only_turned(block ? "slice" : "slice-global", again, &t);
        assert_true(fabs(loss_of(again, cut, &t, 1) - loss_of(again, NULL, &t, 1)) < 1e-5);
        pare_cut_close(cut);
    }
    pare_checkpoint_close(again);
    pare_cut_close(biased);
    pare_scores_free(&scores);
    pare_calibration_free(&calibration);
    pare_checkpoint_close(checkpoint);
}

static void what_is_written(void **state) {
    (void)state;
    pare_error error = {0};
    static const char *const names[] = {"pare-llama-40k", "pare-qwen2-40k"};
    for (int i = 0; i < 4; i++) {
        char file[32], folder[32], path[64];
        bool block = i % 2;
        const char *name = names[i / 2], *method = block ? "slice" : "slice-global";
        pare_checkpoint *checkpoint = open_model(name);
        text t = text_of(SLICE, name);
        pare_cut *cut = cut_by(method, checkpoint, &t, 2, 128, 0.25, 4, 2);
        snprintf(folder, sizeof folder, "folder%d", i);
        snprintf(file, sizeof file, "file%d.gguf", i);
        double loss = loss_of(checkpoint, cut, &t, 2);
        assert_true(fabs(loss_of_file(checkpoint, cut, &t, false, folder) - loss) < 1e-6);
        if (block) {
            temporary(path, file);
            assert_false(pare_checkpoint_export(NULL, path, false, checkpoint, cut, PARE_DTYPE_F32, NULL, &error));
            assert_int_equal(error.code, PARE_ERROR_UNSUPPORTED);
        } else {
            assert_true(fabs(loss_of_file(checkpoint, cut, &t, true, file) - loss) < 1e-5);
        }
        pare_cut_close(cut);
        pare_checkpoint_close(checkpoint);
    }
}

static int remove_all(void **state) {
    (void)state;
    char path[64], command[96];
    temporary(path, "");
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command);
}

int main(void) {
    pare_error error = {0};
    const struct CMUnitTest tests[] = {cmocka_unit_test(losses_as_numpy), cmocka_unit_test(a_turn_changes_nothing),
                                       cmocka_unit_test(biases_turn), cmocka_unit_test(what_is_written)};
    if (!pare_gemm_prepare(&error))
        return 1;
    return cmocka_run_group_tests(tests, NULL, remove_all);
}
