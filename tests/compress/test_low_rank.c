/* svd and svd-llm: losses against NumPy (fixtures by tools/fixtures/low_rank_reference.py), and what must hold of every factored model:
 * the full rank changes nothing, neither do threads nor the order of neurons, and inputs that span too little do no harm. */
#include <math.h>

#include "low_rank.h"
#include "pare/compress.h"
#include "pare/stream.h"
#include "pare/trainable.h"
#include "reference.h"

#define LOW_RANK PARE_FIXTURES "/low_rank.txt"

/* With fewer tokens than columns the ridge alone ranks some directions. */
static double tolerance(size_t tokens) {
    return tokens < 48 ? 1e-4 : 1e-5;
}

static void losses_as_numpy(void **state) {
    (void)state;
    losses_as_referenced(LOW_RANK, 32, tolerance, 14);
}

static void ranks(void **state) {
    (void)state;
    static const struct {
        uint64_t out, in;
        double ratio;
        uint32_t rank;
    } cases[] = {{20, 20, 0.8, 2}, {20, 20, 0.9, 1}, {20, 20, 0, 10}, {1536, 576, 0.2, 335}, {48, 16, 0.5, 6}, {2, 2, 0.99, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(low_rank_at((pare_linear_shape){cases[i].out, cases[i].in}, cases[i].ratio), cases[i].rank);
}

/* What is said before is what is there after; and what is removed of the matrices is the ratio, but for rounding ranks down. */
static void accounting(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = open_model("pare-llama-40k");
    text t = text_of(LOW_RANK, "pare-llama-40k");
    pare_plan plan;
    pare_size size;
    assert_done(pare_plan_make(&plan, PARE_UNIT_DIRECTIONS, &checkpoint->config, 0.5, 32, &error), error);
    assert_int_equal(plan.n_units, 2 * 16 + 5 * 48);
    assert_int_equal(plan.n_kept, 2 * 6 + 2 * 12 + 3 * 16);
    assert_done(pare_plan_forecast(&size, &plan, &checkpoint->config, &error), error);
    pare_cut *cut = cut_by("svd", checkpoint, &t, 0, 0, 0.5, 32, 1);
    pare_achieved achieved = pare_cut_achieved(cut, checkpoint);
    assert_int_equal(size.parameters, achieved.after.parameters);
    assert_int_equal(size.macs, achieved.after.macs);
    uint64_t factors = 2 * (2 * 6 * (16 + 48) + 2 * 12 * 96 + 3 * 16 * (48 + 96)), norms = 5 * 48;
    assert_int_equal(achieved.after.non_embedding, factors + norms);
    pare_cut_close(cut);
    assert_done(pare_plan_make(&plan, PARE_UNIT_DIRECTIONS, &checkpoint->config, 0, 32, &error), error);
    assert_true(pare_plan_keeps_all(&plan));
    cut = cut_by("svd", checkpoint, &t, 0, 0, 0, 32, 1);
    assert_null(cut->config.ranks);
    pare_cut_close(cut);
    pare_checkpoint_close(checkpoint);
}

/* A matrix in memory. */
static bool split_of(float *u, float *v, const float *w, size_t out, size_t in, const double *whitening, uint32_t rank, pare_error *error) {
    const pare_tensor tensor = {
        .name = "w", .dtype = PARE_DTYPE_F32, .n_dims = 2, .dims = {out, in}, .data = (const uint8_t *)w, .n_bytes = out * in * sizeof *w};
    pare_view view = pare_view_all(&tensor);
    return low_rank_split(u, v, &view, whitening, rank, error);
}

/* u v = w at the full rank, whatever the whitening, wide and tall. */
static void full_rank_is_the_matrix(void **state) {
    (void)state;
    static const size_t shapes[][2] = {{7, 19}, {19, 7}, {12, 12}, {1, 5}, {5, 1}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int whitened = 0; whitened < 2; whitened++) {
            size_t out = shapes[s][0], in = shapes[s][1], rank = out < in ? out : in;
            float w[19 * 19], u[19 * 19], v[19 * 19];
            double upper[19 * 19] = {0};
            pare_error error = {0};
            for (size_t i = 0; i < out * in; i++)
                w[i] = (float)sin(1.0 + (double)(i * i));
            for (size_t i = 0; i < in; i++)
                for (size_t j = i; j < in; j++)
                    upper[i * in + j] = i == j ? 1 + (double)i : cos((double)(i + 3 * j));
            assert_done(split_of(u, v, w, out, in, whitened ? upper : NULL, (uint32_t)rank, &error), error);
            for (size_t i = 0; i < out; i++)
                for (size_t j = 0; j < in; j++) {
                    double sum = 0;
                    for (size_t k = 0; k < rank; k++)
                        sum += (double)u[i * rank + k] * (double)v[k * in + j];
                    assert_true(fabs(sum - (double)w[i * in + j]) < 2e-6);
                }
        }
}

/* A matrix of lower rank than is asked for, and one of zeros: no NaN, and still the matrix. */
static void more_rank_than_there_is(void **state) {
    (void)state;
    for (int zero = 0; zero < 2; zero++)
        for (int tall = 0; tall < 2; tall++) {
            size_t out = tall ? 12 : 6, in = tall ? 6 : 12;
            float w[72], u[36 * 2], v[36 * 2];
            pare_error error = {0};
            for (size_t i = 0; i < out; i++)
                for (size_t j = 0; j < in; j++)
                    w[i * in + j] = zero ? 0 : (float)(sin((double)i) * cos((double)j));
            assert_done(split_of(u, v, w, out, in, NULL, 6, &error), error);
            for (size_t i = 0; i < out; i++)
                for (size_t j = 0; j < in; j++) {
                    double sum = 0;
                    for (size_t k = 0; k < 6; k++)
                        sum += (double)u[i * 6 + k] * (double)v[k * in + j];
                    assert_true(fabs(sum - (double)w[i * in + j]) < 2e-6);
                }
        }
    float bad[4] = {1, NAN, 0, 1}, u[4], v[4];
    pare_error error = {0};
    assert_fails(split_of(u, v, bad, 2, 2, NULL, 1, &error), error, PARE_ERROR_NUMERIC, "not finite");
}

static void threads_change_no_bit(void **state) {
    (void)state;
    static const char *const methods[] = {"svd", "svd-llm"};
    pare_checkpoint *checkpoint = open_model("pare-qwen2-40k");
    text t = text_of(LOW_RANK, "pare-qwen2-40k");
    for (int m = 0; m < 2; m++) {
        pare_sha256 hash[2];
        double loss[2];
        for (int i = 0; i < 2; i++) {
            pare_error error = {0};
            pare_cut *cut = cut_by(methods[m], checkpoint, &t, 2, 128, 0.3, 32, i + 1);
            assert_done(pare_cut_hash(&hash[i], cut, &error), error);
            loss[i] = loss_of(checkpoint, cut, &t, i + 1);
            pare_cut_close(cut);
        }
        assert_string_equal(hash[0].hex, hash[1].hex);
        assert_memory_equal(&loss[0], &loss[1], sizeof loss[0]);
    }
    pare_checkpoint_close(checkpoint);
}

static float *weights_of(const pare_checkpoint *checkpoint, const char *name) {
    const pare_tensor *tensor = pare_checkpoint_find(checkpoint, name);
    assert_non_null(tensor);
    return (float *)(uintptr_t)tensor->data;
}

/* Neurons a and b of layer 1 trade places. */
static void swap_neurons(pare_checkpoint *checkpoint, size_t a, size_t b) {
    size_t width = checkpoint->config.width, ffn = checkpoint->config.ffn_width;
    float *gate = weights_of(checkpoint, "model.layers.1.mlp.gate_proj.weight"),
          *up = weights_of(checkpoint, "model.layers.1.mlp.up_proj.weight"),
          *down = weights_of(checkpoint, "model.layers.1.mlp.down_proj.weight");
    for (size_t j = 0; j < width; j++) {
        float kept[3] = {gate[a * width + j], up[a * width + j], down[j * ffn + a]};
        gate[a * width + j] = gate[b * width + j];
        up[a * width + j] = up[b * width + j];
        down[j * ffn + a] = down[j * ffn + b];
        gate[b * width + j] = kept[0];
        up[b * width + j] = kept[1];
        down[j * ffn + b] = kept[2];
    }
}

static void order_of_neurons(void **state) {
    (void)state;
    static const char *const methods[] = {"svd", "svd-llm"};
    pare_error error = {0};
    pare_checkpoint *checkpoint = open_model("pare-llama-40k");
    text t = text_of(LOW_RANK, "pare-llama-40k");
    pare_thawed turned;
    assert_done(pare_thaw(&turned, checkpoint, NULL, NULL, &error), error);
    for (size_t i = 0; i < 40; i++)
        swap_neurons(turned.checkpoint, i, 95 - 2 * (i % 20));
    for (int m = 0; m < 2; m++) {
        pare_cut *one = cut_by(methods[m], checkpoint, &t, 2, 128, 0.4, 32, 2),
                 *two = cut_by(methods[m], turned.checkpoint, &t, 2, 128, 0.4, 32, 2);
        double before = loss_of(checkpoint, one, &t, 2), after = loss_of(turned.checkpoint, two, &t, 2);
        if (!(fabs(before - after) < 1e-5))
            fail_msg("%s: %.9g, with neurons in another order %.9g", methods[m], before, after);
        pare_cut_close(one);
        pare_cut_close(two);
    }
    pare_thawed_close(&turned);
    pare_checkpoint_close(checkpoint);
}

/* Two tokens, and neurons that never fire: a covariance far from full rank. */
static void inputs_that_span_little(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = open_model("pare-llama-40k");
    text t = text_of(LOW_RANK, "pare-llama-40k");
    pare_thawed silent;
    assert_done(pare_thaw(&silent, checkpoint, NULL, NULL, &error), error);
    memset(weights_of(silent.checkpoint, "model.layers.0.mlp.up_proj.weight"), 0, 60 * 48 * sizeof(float));
    pare_cut *cut = cut_by("svd-llm", silent.checkpoint, &t, 2, 128, 0.3, 32, 2);
    double dense = loss_of(silent.checkpoint, NULL, &t, 2), loss = loss_of(silent.checkpoint, cut, &t, 2);
    assert_true(isfinite(loss) && loss < dense + 1.5);
    pare_cut_close(cut);
    cut = cut_by("svd-llm", silent.checkpoint, &t, 1, 2, 0.3, 32, 2);
    assert_true(isfinite(loss_of(silent.checkpoint, cut, &t, 2)));
    pare_cut_close(cut);
    memset(weights_of(silent.checkpoint, "model.layers.0.mlp.up_proj.weight"), 0, 96 * 48 * sizeof(float)); /* none fires */
    cut = cut_by("svd-llm", silent.checkpoint, &t, 2, 128, 0.3, 32, 2);
    assert_true(isfinite(loss_of(silent.checkpoint, cut, &t, 2)));
    pare_cut_close(cut);
    pare_thawed_close(&silent);
    pare_checkpoint_close(checkpoint);
}

/* A model of factors is not cut again. */
static void factors_are_not_cut(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = open_model("pare-llama-40k");
    text t = text_of(LOW_RANK, "pare-llama-40k");
    pare_cut *cut = cut_by("svd", checkpoint, &t, 0, 0, 0.3, 32, 1);
    pare_thawed factored;
    pare_plan plan;
    pare_scores scores;
    assert_done(pare_thaw(&factored, checkpoint, cut, NULL, &error), error);
    double loss = loss_of(checkpoint, cut, &t, 1);
    pare_cut_close(cut); /* the copy has its own ranks */
    double again = loss_of(factored.checkpoint, NULL, &t, 1);
    assert_memory_equal(&loss, &again, sizeof loss);
    const pare_config *c = &factored.checkpoint->config;
    assert_fails(pare_plan_make(&plan, PARE_UNIT_FFN, c, 0.5, 1, &error), error, PARE_ERROR_UNSUPPORTED, "products of two factors");
    assert_fails(pare_score(&scores, pare_method_find("magnitude", &error), factored.checkpoint, NULL, 0, NULL, &error), error,
                 PARE_ERROR_UNSUPPORTED, "products of two factors");
    pare_thawed_close(&factored);
    pare_checkpoint_close(checkpoint);
}

/* Its buffers have no room for what lies between two factors. */
static void streams_of_whole_matrices(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = open_model("pare-llama-40k");
    text t = text_of(LOW_RANK, "pare-llama-40k");
    pare_windows windows = {.ids = t.ids, .n = 1, .length = 64};
    pare_cut *cut = cut_by("svd", checkpoint, &t, 0, 0, 0.3, 32, 1);
    pare_model *dense = pare_model_open(checkpoint, NULL, &error), *factored = pare_model_open(checkpoint, cut, &error);
    assert_done(dense && factored, error);
    pare_stream *stream = pare_stream_open(dense, &windows, NULL, &error), *other = pare_stream_open(factored, &windows, NULL, &error);
    assert_done(stream && other, error);
    assert_fails(pare_stream_layer(stream, factored, 1, NULL, true, &error), error, PARE_ERROR_UNSUPPORTED, "not opened for");
    assert_done(pare_stream_layer(stream, dense, 1, NULL, true, &error) && pare_stream_layer(other, factored, 1, NULL, true, &error) &&
                    pare_stream_layer(other, dense, 1, NULL, true, &error),
                error);
    pare_stream_close(stream);
    pare_stream_close(other);
    pare_model_close(dense);
    pare_model_close(factored);
    pare_cut_close(cut);
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_as_numpy),
        cmocka_unit_test(ranks),
        cmocka_unit_test(accounting),
        cmocka_unit_test(full_rank_is_the_matrix),
        cmocka_unit_test(more_rank_than_there_is),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(order_of_neurons),
        cmocka_unit_test(inputs_that_span_little),
        cmocka_unit_test(factors_are_not_cut),
        cmocka_unit_test(streams_of_whole_matrices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
