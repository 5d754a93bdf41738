/* Every gradient against PyTorch's autograd and against central differences; the same bits with and without activation
 * checkpointing, for every number of threads, and in one pass or several. */
#include "tune_test.h"

static const char *const models[] = {"qwen2", "llama3", "mistral"};

/* Gradients of the reference's first step into b->tuner->gradient; returns the mean loss. */
static double run_pass(bench *b, const json_t *reference, size_t windows_a_pass) {
    uint32_t ids[BATCH * LENGTH];
    uint8_t learn[BATCH * LENGTH];
    pare_error error = {0};
    double sum = 0;
    fill_windows(ids, learn, json_object_get(reference, "ids"), 0);
    pare_batch all = {ids, learn, BATCH, LENGTH};
    size_t targets = pare_batch_targets(&all);
    memset(b->tuner->gradient, 0, b->tuner->n_values * sizeof(float));
    for (size_t first = 0; first < BATCH; first += windows_a_pass) {
        pare_batch part = {ids + first * LENGTH, learn + first * LENGTH, windows_a_pass, LENGTH};
        pare_pass_loss loss;
        assert_done(pare_pass_run(&loss, b->tuner->pass, &part, 1.0 / (double)targets, &error), error);
        sum += loss.cross_entropy;
    }
    return sum / (double)targets;
}

static void test_autograd(void **state) {
    (void)state;
    json_t *reference = read_reference();
    for (size_t m = 0; m < 3; m++) {
        const json_t *r = json_object_get(reference, models[m]), *wanted = json_object_get(r, "gradients");
        pare_tune_options o = reference_options(true);
        bench b;
        bench_start(&b, models[m], NULL, &o, 2);
        double loss = run_pass(&b, r, BATCH);
        assert_true(fabs(loss - json_number_value(json_object_get(wanted, "loss"))) < 1e-5);
        const json_t *tensors = json_object_get(wanted, "tensors");
        assert_int_equal(json_object_size(tensors), b.tuner->n_segments);
        for (size_t s = 0; s < b.tuner->n_segments; s++) {
            const segment *seg = &b.tuner->segments[s];
            const json_t *pair = json_object_get(tensors, seg->name);
            double squares = 0, dot = 0, norm = json_number_value(json_array_get(pair, 0));
            for (size_t i = 0; i < seg->n; i++) {
                double g = (double)b.tuner->gradient[seg->at + i];
                squares += g * g;
                dot += g * sin(1.0 + (double)i);
            }
            if (fabs(sqrt(squares) - norm) > 1e-5 * norm + 1e-8 ||
                fabs(dot - json_number_value(json_array_get(pair, 1))) > 2e-5 * norm + 1e-8)
                fail_msg("%s: %s: norm %.9g, dot %.9g; autograd has %.9g, %.9g", models[m], seg->name, sqrt(squares), dot, norm,
                         json_number_value(json_array_get(pair, 1)));
        }
        bench_stop(&b);
    }
    json_decref(reference);
}

/* (loss(w + e d) - loss(w - e d)) / 2e against the dot product of gradient and d, for a random direction d within one segment. */
static void check_direction(bench *b, const json_t *r, const segment *seg, const float *gradient) {
    float *values = b->tuner->values + seg->at;
    float *before = pare_allocate(seg->n, sizeof *before, NULL);
    double wanted = 0, size = 0, loss[2];
    pare_random random;
    memcpy(before, values, seg->n * sizeof *before);
    for (int side = 0; side < 2; side++) {
        pare_random_init(&random, 7, seg->name, 0);
        for (size_t i = 0; i < seg->n; i++) {
            double d = (pare_random_unit(&random) < 0.5 ? -1 : 1) / sqrt((double)seg->n), e = 0.02;
            values[i] = before[i] + (float)(side ? -e * d : e * d);
            wanted += side ? 0 : d * (double)gradient[seg->at + i];
            size += side ? 0 : (double)gradient[seg->at + i] * (double)gradient[seg->at + i];
        }
        loss[side] = run_pass(b, r, BATCH);
        memcpy(values, before, seg->n * sizeof *before);
    }
    double found = (loss[0] - loss[1]) / 0.04;
    if (fabs(found - wanted) > 0.02 * sqrt(size) + 2e-4)
        fail_msg("%s: the slope along a direction is %.6g, the gradient says %.6g (norm %.3g)", seg->name, found, wanted, sqrt(size));
    pare_free(before);
}

static void check_all_directions(const char *name, bool full) {
    json_t *reference = read_reference();
    const json_t *r = json_object_get(reference, name);
    pare_tune_options o = reference_options(full);
    bench b;
    bench_start(&b, name, NULL, &o, 2);
    for (size_t s = 0; s < b.tuner->n_segments; s++) /* B is zero at the start, and A would have no gradient */
        for (size_t i = 0; !full && strstr(b.tuner->segments[s].name, "lora_B") && i < b.tuner->segments[s].n; i++)
            b.tuner->values[b.tuner->segments[s].at + i] = (float)(0.1 * cos((double)i));
    run_pass(&b, r, BATCH);
    float *gradient = pare_allocate(b.tuner->n_values, sizeof *gradient, NULL);
    memcpy(gradient, b.tuner->gradient, b.tuner->n_values * sizeof *gradient);
    for (size_t s = 0; s < b.tuner->n_segments; s++)
        check_direction(&b, r, &b.tuner->segments[s], gradient);
    pare_free(gradient);
    bench_stop(&b);
    json_decref(reference);
}

/* With dropout, whose draws stand still: the slopes are those of the loss without the elements that it takes. */
static void test_dropout(void **state) {
    (void)state;
    json_t *reference = read_reference();
    const json_t *r = json_object_get(reference, "qwen2");
    float *first = NULL;
    for (int way = 0; way < 3; way++) {
        pare_tune_options o = reference_options(false);
        o.dropout = 0.3;
        o.recompute = way == 1;
        bench b;
        bench_start(&b, "qwen2", NULL, &o, way == 2 ? 3 : 1);
        for (size_t s = 0; s < b.tuner->n_segments; s++)
            for (size_t i = 0; strstr(b.tuner->segments[s].name, "lora_B") && i < b.tuner->segments[s].n; i++)
                b.tuner->values[b.tuner->segments[s].at + i] = (float)(0.1 * cos((double)i));
        double without = run_pass(&b, r, BATCH);
        b.tuner->dropout = (pare_dropout){0.3f, 12345};
        double with = run_pass(&b, r, BATCH);
        assert_true(fabs(with - without) > 1e-4); /* it does something */
        float *gradient = pare_allocate(b.tuner->n_values, sizeof *gradient, NULL);
        memcpy(gradient, b.tuner->gradient, b.tuner->n_values * sizeof *gradient);
        for (size_t s = 0; way == 0 && s < b.tuner->n_segments; s++)
            check_direction(&b, r, &b.tuner->segments[s], gradient);
        if (first)
            assert_memory_equal(gradient, first, b.tuner->n_values * sizeof *first);
        b.tuner->dropout.key++;
        run_pass(&b, r, BATCH);
        assert_memory_not_equal(gradient, b.tuner->gradient, b.tuner->n_values * sizeof *gradient);
        if (first)
            pare_free(gradient);
        else
            first = gradient;
        bench_stop(&b);
    }
    pare_free(first);
    json_decref(reference);
}

static void test_central_differences(void **state) {
    (void)state;
    check_all_directions("qwen2", true);
    check_all_directions("llama3", false);
}

/* The same gradient bits whatever is kept, however many threads there are. */
static void test_same_bits(void **state) {
    (void)state;
    json_t *reference = read_reference();
    for (int full = 0; full < 2; full++) {
        const json_t *r = json_object_get(reference, "llama3");
        float *first = NULL;
        for (int way = 0; way < 4; way++) {
            pare_tune_options o = reference_options(full);
            o.recompute = way & 1;
            bench b;
            bench_start(&b, "llama3", NULL, &o, way & 2 ? 3 : 1);
            run_pass(&b, r, BATCH);
            if (!first) {
                first = pare_allocate(b.tuner->n_values, sizeof *first, NULL);
                memcpy(first, b.tuner->gradient, b.tuner->n_values * sizeof *first);
            }
            assert_memory_equal(first, b.tuner->gradient, b.tuner->n_values * sizeof *first);
            bench_stop(&b);
        }
        pare_free(first);
    }
    json_decref(reference);
}

/* Windows that go through one after the other add up to the gradient of all at once. */
static void test_accumulation(void **state) {
    (void)state;
    json_t *reference = read_reference();
    const json_t *r = json_object_get(reference, "qwen2");
    pare_tune_options o = reference_options(true);
    bench b;
    bench_start(&b, "qwen2", NULL, &o, 2);
    double once = run_pass(&b, r, BATCH);
    float *whole = pare_allocate(b.tuner->n_values, sizeof *whole, NULL);
    memcpy(whole, b.tuner->gradient, b.tuner->n_values * sizeof *whole);
    assert_true(fabs(run_pass(&b, r, 1) - once) < 1e-6);
    for (size_t i = 0; i < b.tuner->n_values; i++)
        assert_true(fabs((double)(whole[i] - b.tuner->gradient[i])) < 1e-5);
    pare_free(whole);
    bench_stop(&b);
    json_decref(reference);
}

typedef struct {
    const pare_gradients *whole; /* of every layer */
    pare_layer_gradient *shared; /* one layer's, in turn */
    const pare_model *model;
    uint32_t expected; /* the layer that is due next, plus one */
} walk;

static bool compare_layer(void *user, uint32_t layer, pare_error *error) {
    walk *w = user;
    (void)error;
    assert_int_equal(layer + 1, w->expected);
    w->expected = layer;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        const pare_view *view = &w->model->layers[layer].linears[p].weight;
        size_t bytes = (size_t)view->n_rows * view->n_columns * sizeof(float);
        assert_memory_equal(w->shared->linears[p].weight, w->whole->layers[layer].linears[p].weight, bytes);
        memset(w->shared->linears[p].weight, 0, bytes);
    }
    return true;
}

/* Layer by layer over parts of the batch, in memory that layers share: the same bits as the parts one after another. */
static void test_by_layer(void **state) {
    (void)state;
    json_t *reference = read_reference();
    for (size_t m = 0; m < 3; m++) {
        const json_t *r = json_object_get(reference, models[m]);
        pare_tune_options o = reference_options(true);
        uint32_t ids[BATCH * LENGTH];
        uint8_t learn[BATCH * LENGTH];
        bench b;
        pare_error error = {0};
        bench_start(&b, models[m], NULL, &o, 2);
        for (size_t at_once = 1; at_once <= BATCH; at_once++) {
            double wanted = run_pass(&b, r, at_once);
            const pare_model *model = b.tuner->model;
            pare_layer_gradient shared = {0}, *layers = pare_allocate(model->config.n_layers, sizeof *layers, NULL);
            for (int p = 0; p < PARE_PROJECTIONS; p++) {
                const pare_view *view = &model->layers[0].linears[p].weight;
                shared.linears[p].weight = pare_allocate((size_t)view->n_rows * view->n_columns, sizeof(float), NULL);
            }
            for (uint32_t i = 0; i < model->config.n_layers; i++)
                layers[i] = shared;
            pare_gradients gradients = {.layers = layers};
            walk w = {&b.tuner->gradients, &shared, model, model->config.n_layers};
            fill_windows(ids, learn, json_object_get(r, "ids"), 0);
            pare_batch all = {ids, learn, BATCH, LENGTH};
            size_t targets = pare_batch_targets(&all);
            pare_pass_loss loss;
            assert_done(pare_pass_by_layer(&loss, model, &gradients, &all, at_once, 1.0 / (double)targets, compare_layer, &w, NULL, &error),
                        error);
            assert_int_equal(w.expected, 0);
            assert_int_equal(loss.targets, targets);
            assert_true(loss.cross_entropy / (double)targets == wanted);
            for (int p = 0; p < PARE_PROJECTIONS; p++)
                pare_free(shared.linears[p].weight);
            pare_free(layers);
        }
        bench_stop(&b);
    }
    json_decref(reference);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_autograd),     cmocka_unit_test(test_central_differences),
                                       cmocka_unit_test(test_dropout),      cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_accumulation), cmocka_unit_test(test_by_layer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
