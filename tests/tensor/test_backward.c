/* The kernels of training: every variant against the reference on odd shapes; the reference's gradients against central differences
 * of the forward pass in double; all against PyTorch (fixtures/backward.txt, by tools/fixtures/tensor_backward.py). */
#include "variants.h"

/* ---- variants against the reference ---- */

typedef struct {
    size_t T, group, D, q_stride, kv_stride;
    float scale;
    float *q, *k, *v, *out, *lse, *dout;
} window; /* lse (group, T + 1) */

/* Full of NaN: whatever is read before it is written shows. */
static float *scratch_of(size_t floats) {
    void *scratch = NULL;
    assert_int_equal(posix_memalign(&scratch, 64, floats * sizeof(float)), 0);
    memset(scratch, 0xff, floats * sizeof(float));
    return scratch;
}

static void window_forward(window *w, const pare_kernels *kernels) {
    float *scratch = scratch_of(kernels->attention_scratch(w->group, w->D, w->T));
    for (size_t t = 0; t < w->T; t += PARE_ATTENTION_QUERIES)
        kernels->attention(w->out + t * w->q_stride, w->lse + t, w->q + t * w->q_stride, w->k, w->v, t,
                           w->T - t < PARE_ATTENTION_QUERIES ? w->T - t : PARE_ATTENTION_QUERIES, w->group, w->D, w->q_stride, w->kv_stride,
                           w->T + 1, w->scale, scratch);
    free(scratch);
}

static void window_backward(const window *w, const pare_kernels *kernels, float *dq, float *dk, float *dv) {
    float *scratch = scratch_of(kernels->attention_backward_scratch(w->group, w->D, w->T));
    kernels->attention_backward(dq, dk, dv, w->q, w->k, w->v, w->out, w->dout, w->lse, w->T, w->group, w->D, w->q_stride, w->kv_stride,
                                w->T + 1, w->scale, scratch);
    free(scratch);
}

static window window_open(size_t T, size_t group, size_t D, size_t q_gap, size_t kv_gap) {
    window w = {.T = T, .group = group, .D = D, .q_stride = group * D + q_gap, .kv_stride = D + kv_gap, .scale = 0.3f};
    w.q = filled(T * w.q_stride, "q", 2), w.k = filled(T * w.kv_stride, "k", 2), w.v = filled(T * w.kv_stride, "v", 2);
    w.out = filled(T * w.q_stride, "o", 1), w.dout = filled(T * w.q_stride, "d", 1), w.lse = filled(group * (T + 1), "l", 1);
    window_forward(&w, reference());
    return w;
}

static void window_close(window *w) {
    pare_free(w->q), pare_free(w->k), pare_free(w->v), pare_free(w->out), pare_free(w->dout), pare_free(w->lse);
}

/* The gaps between rows must stay as they were: they are compared too. */
static void attention_gradients(void **state) {
    (void)state;
    static const size_t shapes[][5] = {{1, 1, 2, 0, 0},    {15, 1, 8, 0, 0},   {17, 2, 6, 3, 1},   {64, 1, 64, 0, 0},  {65, 3, 16, 0, 64},
                                       {100, 1, 24, 5, 7}, {129, 2, 32, 0, 0}, {200, 1, 96, 0, 3}, {190, 7, 64, 1, 1}, {71, 1, 130, 0, 0}};
    FOR_EACH_VARIANT(kernels) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            window w = window_open(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], shapes[i][4]);
            size_t n = w.T * w.q_stride, n_kv = w.T * w.kv_stride;
            float *dq = filled(n, "x", 1), *dk = filled(n_kv, "y", 1), *dv = filled(n_kv, "z", 1);
            float *dq_wanted = filled(n, "x", 1), *dk_wanted = filled(n_kv, "y", 1), *dv_wanted = filled(n_kv, "z", 1);
            window_backward(&w, kernels, dq, dk, dv);
            window_backward(&w, reference(), dq_wanted, dk_wanted, dv_wanted);
            assert_close("dq", dq, dq_wanted, n, 1e-5);
            assert_close("dk", dk, dk_wanted, n_kv, 1e-5);
            assert_close("dv", dv, dv_wanted, n_kv, 1e-5);
            pare_free(dq), pare_free(dk), pare_free(dv), pare_free(dq_wanted), pare_free(dk_wanted), pare_free(dv_wanted);
            window_close(&w);
        }
    }
}

static void rms_norm_gradients(void **state) {
    (void)state;
    static const size_t widths[] = {1, 7, 16, 33, 576, 1000};
    FOR_EACH_VARIANT(kernels) {
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            size_t width = widths[i], n = 67 * width;
            float *x = filled(n, "x", 3), *dy = filled(n, "y", 1), *weight = filled(width, "w", 1);
            float *dx = filled(n, "d", 1), *wanted = filled(n, "d", 1), *dweight = filled(width, "g", 1);
            float *dweight_wanted = filled(width, "g", 1);
            kernels->rms_norm_backward(dx, dweight, dy, x, weight, 67, width, 1e-5f);
            reference()->rms_norm_backward(wanted, dweight_wanted, dy, x, weight, 67, width, 1e-5f);
            assert_close("dx", dx, wanted, n, 2e-6);
            assert_close("dweight", dweight, dweight_wanted, width, 5e-6);
            kernels->rms_norm_backward(dx, NULL, dy, x, weight, 67, width, 1e-5f);
            reference()->rms_norm_backward(wanted, NULL, dy, x, weight, 67, width, 1e-5f);
            assert_close("dx alone", dx, wanted, n, 4e-6);
            pare_free(x), pare_free(dy), pare_free(weight), pare_free(dx), pare_free(wanted), pare_free(dweight), pare_free(dweight_wanted);
        }
    }
}

static void elements(void **state) {
    (void)state;
    FOR_EACH_VARIANT(kernels) {
        for (size_t n = 1; n < 70; n += 3) {
            float *a = filled(n, "a", 120), *b = filled(n, "b", 2), *d = filled(n, "d", 1); /* to both clamps of e^x */
            float *gate = filled(n, "a", 120), *up = filled(n, "b", 2), *x = filled(n, "x", 15), *y = filled(n, "x", 15);
            kernels->swiglu_backward(a, b, d, n);
            reference()->swiglu_backward(gate, up, d, n);
            assert_close("gradient of gate", a, gate, n, 2e-6);
            assert_close("gradient of up", b, up, n, 2e-6);
            kernels->add_scaled(a, d, -0.7f, n);
            reference()->add_scaled(gate, d, -0.7f, n);
            assert_close("add_scaled", a, gate, n, 1e-6);
            double sum = kernels->sum_squares(x, n), wanted = reference()->sum_squares(x, n);
            assert_true(fabs(sum - wanted) <= 1e-14 * wanted);
            kernels->exp_scaled(a, x, n, 0.5f, 3.0f, -0.25f);
            reference()->exp_scaled(gate, x, n, 0.5f, 3.0f, -0.25f);
            assert_close("exp_scaled", a, gate, n, 1e-6);
            kernels->exp_scaled(x, x, n, 0.5f, 3.0f, -0.25f);
            assert_memory_equal(x, a, n * sizeof *x); /* in place */
            pare_free(a), pare_free(b), pare_free(d), pare_free(gate), pare_free(up), pare_free(x), pare_free(y);
        }
    }
}

static void sums_of_rows(void **state) {
    (void)state;
    FOR_EACH_VARIANT(kernels) {
        for (size_t rows = 0; rows < 10; rows++)
            for (size_t width = 1; width < 40; width += 6) {
                float *x = filled(10 * (width + 2), "x", 3), *got = filled(width, "s", 1), *wanted = filled(width, "s", 1);
                kernels->add_rows(got, x, rows, width, width + 2);
                reference()->add_rows(wanted, x, rows, width, width + 2);
                assert_close("add_rows", got, wanted, width, 1e-6);
                pare_free(x), pare_free(got), pare_free(wanted);
            }
    }
}

static void steps_of_adamw(void **state) {
    (void)state;
    FOR_EACH_VARIANT(kernels) {
        for (size_t n = 1; n < 70; n += 3) {
            float *w = filled(n, "w", 1), *m = filled(n, "m", 0.1f), *v = filled(n, "v", 0.1f), *g = filled(n, "g", 1);
            float *w_wanted = filled(n, "w", 1), *m_wanted = filled(n, "m", 0.1f), *v_wanted = filled(n, "v", 0.1f);
            for (size_t i = 0; i < n; i++)
                v[i] = v_wanted[i] = fabsf(v[i]);
            pare_adamw_step step = {0.01f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.271f, 0.002997f, 0.7f};
            kernels->adamw(w, m, v, g, n, &step);
            reference()->adamw(w_wanted, m_wanted, v_wanted, g, n, &step);
            assert_close("w", w, w_wanted, n, 1e-6);
            assert_close("m", m, m_wanted, n, 1e-7);
            assert_close("v", v, v_wanted, n, 1e-7);
            pare_free(w), pare_free(m), pare_free(v), pare_free(g), pare_free(w_wanted), pare_free(m_wanted), pare_free(v_wanted);
        }
    }
}

/* A NaN anywhere must reach the gradient's norm, where training stops. */
static void nan_is_not_lost(void **state) {
    (void)state;
    FOR_EACH_VARIANT(kernels) {
        for (size_t at = 0; at < 40; at++) {
            float *gate = filled(40, "a", 1), *up = filled(40, "b", 1), *d = filled(40, "d", 1), *x = filled(40, "x", 1);
            gate[at] = x[at] = NAN;
            kernels->swiglu_backward(gate, up, d, 40);
            kernels->exp_scaled(x, x, 40, 1, 0, 1);
            assert_true(isnan(gate[at]) && isnan(up[at]) && isnan(x[at]) && isnan(kernels->sum_squares(gate, 40)));
            pare_free(gate), pare_free(up), pare_free(d), pare_free(x);
        }
        window w = window_open(40, 1, 8, 0, 0);
        float *dq = filled(320, "x", 1), *dk = filled(320, "y", 1), *dv = filled(320, "z", 1);
        w.dout[39 * 8 + 3] = NAN;
        window_backward(&w, kernels, dq, dk, dv);
        assert_true(isnan(kernels->sum_squares(dq, 320)) && isnan(kernels->sum_squares(dk, 320)) && isnan(kernels->sum_squares(dv, 320)));
        pare_free(dq), pare_free(dk), pare_free(dv);
        window_close(&w);
    }
}

/* ---- the reference against central differences ---- */

enum { INPUTS = 3, FLOATS_MAX = 256 };

/* A loss sum(d * f(inputs)) in double, of inputs of `n` numbers each */
typedef struct {
    double (*loss)(double *const *inputs, const void *shape);
    const void *shape;
    size_t n[INPUTS];
} differentiable;

static void assert_gradient(const char *what, const differentiable *f, const float *const *inputs, size_t input, const float *gradient) {
    double copies[INPUTS][FLOATS_MAX], *x[INPUTS];
    for (size_t i = 0; i < INPUTS; i++) {
        x[i] = copies[i];
        assert_true(f->n[i] <= FLOATS_MAX);
        for (size_t j = 0; j < f->n[i]; j++)
            x[i][j] = (double)inputs[i][j];
    }
    for (size_t j = 0; j < f->n[input]; j++) {
        const double h = 1e-4, before = x[input][j];
        x[input][j] = before + h;
        double above = f->loss(x, f->shape);
        x[input][j] = before - h;
        double wanted = (above - f->loss(x, f->shape)) / (2 * h);
        x[input][j] = before;
        if (!(fabs((double)gradient[j] - wanted) <= 2e-6 * (1 + fabs(wanted))))
            fail_msg("%s: element %zu is %.9g, central differences say %.9g", what, j, (double)gradient[j], wanted);
    }
}

static double attention_loss(double *const *inputs, const void *shape) {
    const window *w = shape;
    double total = 0, scores[16];
    for (size_t h = 0; h < w->group; h++)
        for (size_t t = 0; t < w->T; t++) {
            const double *q = inputs[0] + t * w->q_stride + h * w->D;
            const float *d = w->dout + t * w->q_stride + h * w->D;
            double sum = 0, loss = 0;
            for (size_t s = 0; s <= t; s++) {
                scores[s] = 0;
                for (size_t j = 0; j < w->D; j++)
                    scores[s] += q[j] * inputs[1][s * w->kv_stride + j];
                scores[s] = exp(scores[s] * (double)w->scale);
                sum += scores[s];
                for (size_t j = 0; j < w->D; j++)
                    loss += scores[s] * inputs[2][s * w->kv_stride + j] * (double)d[j];
            }
            total += loss / sum;
        }
    return total;
}

static void attention_differences(void **state) {
    (void)state;
    window w = window_open(9, 2, 4, 0, 0);
    size_t n = w.T * w.q_stride, n_kv = w.T * w.kv_stride;
    float *dq = filled(n, "x", 1), *dk = filled(n_kv, "y", 0), *dv = filled(n_kv, "z", 0);
    window_backward(&w, reference(), dq, dk, dv);
    differentiable f = {attention_loss, &w, {n, n_kv, n_kv}};
    const float *inputs[] = {w.q, w.k, w.v};
    assert_gradient("dq", &f, inputs, 0, dq);
    assert_gradient("dk", &f, inputs, 1, dk);
    assert_gradient("dv", &f, inputs, 2, dv);
    pare_free(dq), pare_free(dk), pare_free(dv);
    window_close(&w);
}

enum { ROWS = 3, WIDTH = 11 };

/* inputs: x, weight; shape: the gradient of the output */
static double rms_norm_loss(double *const *inputs, const void *shape) {
    const float *d = shape;
    double total = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double square = 0, loss = 0;
        for (size_t j = 0; j < WIDTH; j++) {
            double x = inputs[0][r * WIDTH + j];
            square += x * x;
            loss += x * inputs[1][j] * (double)d[r * WIDTH + j];
        }
        total += loss / sqrt(square / WIDTH + (double)0.1f);
    }
    return total;
}

/* inputs: gate, up; shape: the gradient of the output */
static double swiglu_loss(double *const *inputs, const void *shape) {
    const float *d = shape;
    double total = 0;
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        total += inputs[0][i] / (1 + exp(-inputs[0][i])) * inputs[1][i] * (double)d[i];
    return total;
}

static void elementwise_differences(void **state) {
    (void)state;
    enum { N = ROWS * WIDTH };
    float *x = filled(N, "x", 2), *weight = filled(WIDTH, "w", 1), *d = filled(N, "d", 1), *up = filled(N, "u", 2);
    float *dx = filled(N, "g", 0), *dweight = filled(WIDTH, "h", 0);
    reference()->rms_norm_backward(dx, dweight, d, x, weight, ROWS, WIDTH, 0.1f);
    differentiable norm = {rms_norm_loss, d, {N, WIDTH, 0}};
    const float *inputs[] = {x, weight, NULL};
    assert_gradient("dx", &norm, inputs, 0, dx);
    assert_gradient("dweight", &norm, inputs, 1, dweight);
    float *gate = filled(N, "x", 2), *gated = filled(N, "u", 2);
    reference()->swiglu_backward(gate, gated, d, N);
    differentiable activation = {swiglu_loss, d, {N, N, 0}};
    const float *both[] = {x, up, NULL};
    assert_gradient("dgate", &activation, both, 0, gate);
    assert_gradient("dup", &activation, both, 1, gated);
    pare_free(x), pare_free(weight), pare_free(d), pare_free(up), pare_free(dx), pare_free(dweight), pare_free(gate), pare_free(gated);
}

/* ---- all against PyTorch ---- */

static void assert_fixture(const char *name, const float *got, size_t n, double tolerance) {
    FILE *file = fopen(PARE_FIXTURES "/backward.txt", "r");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0, length = strlen(name);
    while (getline(&line, &room, file) > 0 && (strncmp(line, name, length) != 0 || line[length] != ' '))
        ;
    assert_memory_equal(line, name, length);
    float *wanted = filled(n, "f", 0);
    char *at = line + length;
    for (size_t i = 0; i < n; i++)
        wanted[i] = strtof(at, &at);
    assert_int_equal(*at, '\n'); /* n numbers and no more */
    assert_close(name, got, wanted, n, tolerance);
    pare_free(wanted);
    free(line);
    fclose(file);
}

static void torch_attention(const pare_kernels *kernels) {
    window w = {.T = 70, .group = 2, .D = 6, .q_stride = 12, .kv_stride = 6, .scale = 0.5f};
    size_t n = w.T * w.q_stride, n_kv = w.T * w.kv_stride;
    w.q = numbered(n, 1, 2), w.k = numbered(n_kv, 2, 2), w.v = numbered(n_kv, 3, 2), w.dout = numbered(n, 4, 1);
    w.out = filled(n, "o", 0), w.lse = filled(w.group * (w.T + 1), "l", 0);
    float *dq = filled(n, "x", 1), *dk = filled(n_kv, "y", 0), *dv = filled(n_kv, "z", 0);
    window_forward(&w, kernels);
    window_backward(&w, kernels, dq, dk, dv);
    memmove(w.lse + w.T, w.lse + w.T + 1, w.T * sizeof *w.lse);
    assert_fixture("attention_out", w.out, n, 2e-6);
    assert_fixture("attention_lse", w.lse, w.group * w.T, 1e-6);
    assert_fixture("attention_dq", dq, n, 5e-6);
    assert_fixture("attention_dk", dk, n_kv, 5e-6);
    assert_fixture("attention_dv", dv, n_kv, 5e-6);
    pare_free(dq), pare_free(dk), pare_free(dv);
    window_close(&w);
}

static void torch_elements(const pare_kernels *kernels) {
    float *x = numbered(111, 5, 0.25f), *weight = numbered(37, 6, 1), *dy = numbered(111, 7, 1);
    float *dx = filled(111, "x", 0), *dweight = filled(37, "w", 0);
    kernels->rms_norm_backward(dx, dweight, dy, x, weight, 3, 37, 1e-2f);
    assert_fixture("rms_norm_dx", dx, 111, 2e-6);
    assert_fixture("rms_norm_dweight", dweight, 37, 2e-6);
    float *gate = numbered(45, 8, 8), *up = numbered(45, 9, 2), *d = numbered(45, 10, 1);
    kernels->swiglu_backward(gate, up, d, 45);
    assert_fixture("swiglu_dgate", gate, 45, 1e-6);
    assert_fixture("swiglu_dup", up, 45, 1e-6);
    pare_free(x), pare_free(weight), pare_free(dy), pare_free(dx), pare_free(dweight), pare_free(gate), pare_free(up), pare_free(d);
}

static void torch_adamw(const pare_kernels *kernels) {
    enum { N = 45 };
    float *w = numbered(N, 11, 1), *m = filled(N, "m", 0), *v = filled(N, "v", 0);
    pare_adamw_step step = {.rate = 0.05f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-3f, .decay = 0.25f, .gradient_scale = 0.5f};
    for (uint32_t t = 1; t <= 3; t++) {
        float *g = numbered(N, 11 + t, 0.125f);
        step.correction1 = (float)(1 - pow((double)step.beta1, t));
        step.correction2 = (float)(1 - pow((double)step.beta2, t));
        kernels->adamw(w, m, v, g, N, &step);
        pare_free(g);
    }
    for (size_t i = 0; i < N; i++) /* to about one, as the fixture: the comparison is relative from there */
        m[i] *= 64, v[i] *= 4096;
    assert_fixture("adamw_w", w, N, 5e-7);
    assert_fixture("adamw_m", m, N, 5e-7);
    assert_fixture("adamw_v", v, N, 1e-6);
    pare_free(w), pare_free(m), pare_free(v);
}

static void as_torch(void **state) {
    (void)state;
    torch_attention(reference()), torch_elements(reference()), torch_adamw(reference());
    FOR_EACH_VARIANT(kernels) {
        torch_attention(kernels), torch_elements(kernels), torch_adamw(kernels);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_gradients),   cmocka_unit_test(rms_norm_gradients),      cmocka_unit_test(elements),
        cmocka_unit_test(sums_of_rows),          cmocka_unit_test(steps_of_adamw),          cmocka_unit_test(nan_is_not_lost),
        cmocka_unit_test(attention_differences), cmocka_unit_test(elementwise_differences), cmocka_unit_test(as_torch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
