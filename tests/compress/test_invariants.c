/* What must hold of every method there is: one thread and two give the same bits; the order of the calibration windows changes nothing but
 * rounding, which no choice of units may hang on and no loss shows; nor does the order of a layer's neurons and key-value heads. */
#include <stdlib.h>

#include "reference.h"
#include "reorder.h"

enum { WINDOWS = 4, LENGTH = 64 };
#define TEXT PARE_FIXTURES "/slice.txt"

/* A model, windows and threads; calibrated once for all methods, with and without activations. */
typedef struct {
    const pare_checkpoint *checkpoint;
    const uint32_t *ids;
    int threads;
    pare_calibration made[2];
    bool there[2];
} bench;

static const pare_calibration *calibration_for(bench *b, const pare_method *m) {
    pare_error error = {0};
    pare_context context = {.n_threads = b->threads};
    pare_windows windows = {.ids = (uint32_t *)(uintptr_t)b->ids, .n = WINDOWS, .length = LENGTH};
    bool activations = !m->text_only;
    if (!m->calibrated)
        return NULL;
    if (!b->there[activations])
        assert_done(pare_calibrate(&b->made[activations], b->checkpoint, &windows, activations, &context, &error), error);
    b->there[activations] = true;
    return &b->made[activations];
}

static void bench_free(bench *b) {
    for (int i = 0; i < 2; i++)
        if (b->there[i])
            pare_calibration_free(&b->made[i]);
}

static pare_cut *cut_with(bench *b, const pare_method *m) {
    pare_error error = {0};
    pare_context context = {.n_threads = b->threads};
    const pare_calibration *calibration = calibration_for(b, m);
    pare_scores scores;
    pare_plan plan;
    assert_done(pare_plan_make(&plan, m->unit, &b->checkpoint->config, 0.5, 4, &error) &&
                    pare_score(&scores, m, b->checkpoint, calibration, 3, &context, &error),
                error);
    pare_cut *cut = pare_method_cut(m, b->checkpoint, calibration, &scores, &plan, &context, &error);
    if (!cut)
        fail_msg("%s: %s", m->name, error.message);
    pare_scores_free(&scores);
    pare_plan_free(&plan);
    return cut;
}

static pare_sha256 hash_of(const pare_cut *cut) {
    pare_error error = {0};
    pare_sha256 hash;
    assert_done(pare_cut_hash(&hash, cut, &error), error);
    return hash;
}

/* The same cut three times: by one thread, by two, and by two with the windows in another order. */
static void threads_and_windows(void **state) {
    static const size_t order[WINDOWS] = {2, 0, 3, 1};
    const char *name = *state;
    pare_checkpoint *checkpoint = open_model(name);
    text t = text_of(TEXT, name);
    uint32_t turned[WINDOWS * LENGTH];
    for (size_t i = 0; i < WINDOWS; i++)
        memcpy(turned + i * LENGTH, t.ids + order[i] * LENGTH, LENGTH * sizeof *turned);
    bench single = {.checkpoint = checkpoint, .ids = t.ids, .threads = 1}, plain = single, reordered = single;
    plain.threads = reordered.threads = 2;
    reordered.ids = turned;
    for (const pare_method *const *m = pare_methods; *m; m++) {
        pare_cut *alone = cut_with(&single, *m), *one = cut_with(&plain, *m), *two = cut_with(&reordered, *m);
        pare_sha256 by_one_thread = hash_of(alone), first = hash_of(one), second = hash_of(two);
        if (strcmp(by_one_thread.hex, first.hex) != 0)
            fail_msg("%s cuts %s otherwise with two threads than with one", (*m)->name, name);
        bool same_units = strcmp(first.hex, second.hex) == 0;
        double a = loss_of(checkpoint, one, &t, 2), b = same_units ? a : loss_of(checkpoint, two, &t, 2);
        if ((!same_units && !(*m)->build && !(*m)->compensate) || !(fabs(a - b) < 1e-4))
            fail_msg("%s on %s: %.9g, with the windows in another order %.9g%s", (*m)->name, name, a, b,
                     same_units ? "" : ", and other bits");
        pare_cut_close(alone);
        pare_cut_close(one);
        pare_cut_close(two);
    }
    bench_free(&single);
    bench_free(&plain);
    bench_free(&reordered);
    pare_checkpoint_close(checkpoint);
}

/* The last neuron of every layer becomes the first, and so on; key-value heads too. Draws go by place: methods that draw are not asked. */
static void order_of_units(void **state) {
    pare_error error = {0};
    const char *name = *state;
    pare_checkpoint *checkpoint = open_model(name);
    const pare_config *c = &checkpoint->config;
    text t = text_of(TEXT, "pare-llama-40k"); /* all of the family have one tokenizer */
    pare_thawed turned;
    assert_done(pare_thaw(&turned, checkpoint, NULL, NULL, &error), error);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        for (uint32_t j = 0; j < c->ffn_width / 2; j++)
            swap_neurons(turned.checkpoint, i, j, c->ffn_width - 1 - j);
        for (uint32_t j = 0; j < c->n_kv_heads / 2; j++)
            swap_groups(turned.checkpoint, i, j, c->n_kv_heads - 1 - j);
    }
    assert_true(c->n_kv_heads > 1 && fabs(loss_of(checkpoint, NULL, &t, 2) - loss_of(turned.checkpoint, NULL, &t, 2)) < 1e-5);
    bench plain = {.checkpoint = checkpoint, .ids = t.ids, .threads = 2}, reordered = plain;
    reordered.checkpoint = turned.checkpoint;
    for (const pare_method *const *m = pare_methods; *m; m++) {
        if ((*m)->stochastic)
            continue;
        pare_cut *one = cut_with(&plain, *m), *two = cut_with(&reordered, *m);
        double a = loss_of(checkpoint, one, &t, 2), b = loss_of(turned.checkpoint, two, &t, 2);
        if (!(fabs(a - b) < 1e-4))
            fail_msg("%s on %s: %.9g, with its units in another order %.9g", (*m)->name, name, a, b);
        pare_cut_close(one);
        pare_cut_close(two);
    }
    bench_free(&plain);
    bench_free(&reordered);
    pare_thawed_close(&turned);
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    pare_error error = {0};
    static char llama[] = "pare-llama-40k", qwen2[] = "pare-qwen2-40k", larger_llama[] = "pare-llama-139k",
                larger_qwen2[] = "pare-qwen2-139k";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(threads_and_windows, llama), cmocka_unit_test_prestate(threads_and_windows, qwen2),
        cmocka_unit_test_prestate(order_of_units, larger_llama), cmocka_unit_test_prestate(order_of_units, larger_qwen2)};
    if (!pare_gemm_prepare(&error))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
