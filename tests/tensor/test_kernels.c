/* Every kernel variant against the portable reference on odd shapes. Tolerances in one place; the worst index is printed. */
#include "variants.h"

static void rms_norms(void **state) {
    (void)state;
    static const size_t widths[] = {1, 7, 8, 33, 576, 1000};
    FOR_EACH_VARIANT(kernels) {
        for (size_t w = 0; w < 6; w++) {
            size_t n = 3 * widths[w];
            float *x = filled(n, "x", 3), *weight = filled(widths[w], "w", 1), *got = filled(n, "g", 1), *wanted = filled(n, "h", 1);
            kernels->rms_norm(got, x, weight, 3, widths[w], 1e-5f);
            reference()->rms_norm(wanted, x, weight, 3, widths[w], 1e-5f);
            assert_close("rms_norm", got, wanted, n, 1e-6);
            kernels->rms_norm(x, x, weight, 3, widths[w], 1e-5f); /* in place */
            assert_close("rms_norm in place", x, wanted, n, 1e-6);
            pare_free(x), pare_free(weight), pare_free(got), pare_free(wanted);
        }
    }
}

static void rotations(void **state) {
    (void)state;
    static const size_t heads[] = {2, 8, 18, 64, 128};
    FOR_EACH_VARIANT(kernels) {
        for (size_t h = 0; h < 5; h++) {
            size_t d = heads[h], stride = 3 * d + 5, n = 4 * stride;
            float *got = filled(n, "x", 2), *wanted = filled(n, "x", 2), *c = filled(2 * d, "c", 1), *s = filled(2 * d, "s", 1);
            kernels->rotary(got, c, s, 4, stride, 3, d);
            reference()->rotary(wanted, c, s, 4, stride, 3, d);
            assert_close("rotary", got, wanted, n, 1e-6);
            pare_free(got), pare_free(wanted), pare_free(c), pare_free(s);
        }
    }
}

static void swiglu_and_add(void **state) {
    (void)state;
    FOR_EACH_VARIANT(kernels) {
        for (size_t n = 1; n < 70; n += 3) {
            float *got = filled(n, "g", 120), *wanted = filled(n, "g", 120), *up = filled(n, "u", 2); /* to both clamps of e^x */
            kernels->swiglu(got, got, up, n);
            reference()->swiglu(wanted, wanted, up, n);
            assert_close("swiglu", got, wanted, n, 1e-6);
            kernels->add(got, up, n);
            reference()->add(wanted, up, n);
            assert_close("add", got, wanted, n, 1e-6);
            pare_free(got), pare_free(wanted), pare_free(up);
        }
    }
}

/* B (k, n) packed, by its columns or by its steps. */
static float *packed(const pare_kernels *kernels, const float *b, size_t n, size_t k, bool by_steps) {
    size_t panel = kernels->gemm_panel;
    float *to = filled((n + panel - 1) / panel * panel * k, "p", 9), *rows = filled(n * k, "r", 1);
    for (size_t s = 0; s < k; s++)
        for (size_t j = 0; j < n; j++)
            rows[j * k + s] = b[s * n + j];
    for (size_t j = 0; !by_steps && j < n; j += panel)
        kernels->gemm_pack(to + j * k, rows + j * k, n - j < panel ? n - j : panel, k);
    for (size_t s = 0; by_steps && s < k; s++)
        kernels->gemm_pack_step(to, b + s * n, n, k, s);
    pare_free(rows);
    return to;
}

static void packed_products(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1},    {2, 15, 3},   {5, 16, 8},    {6, 17, 9},    {7, 32, 64},
                                       {13, 33, 70}, {97, 40, 24}, {130, 8, 769}, {70, 96, 608}, {11, 100, 1540}}; /* m, n, k */
    FOR_EACH_VARIANT(kernels) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2], a_row = k + 3, c_row = n + 5;
            float *a = filled(m * a_row, "a", 1), *b = filled(k * n, "b", 1), *got = filled(m * c_row, "c", 1);
            for (size_t j = 0; i % 2 && j < k * n; j++)
                b[j] = roundf(128 * b[j]) / 128; /* bf16, as weights mostly are: a variant may know */
            float *wanted = filled(m * c_row, "c", 1), *columns = packed(kernels, b, n, k, false), *steps = packed(kernels, b, n, k, true);
            float *plain = packed(reference(), b, n, k, i % 2), *again = filled(m * c_row, "c", 1);
            size_t panel = kernels->gemm_panel;
            if (i % 2 == 0) /* of bf16 a variant may pack less by columns, which it sees whole */
                assert_memory_equal(columns, steps, (n + panel - 1) / panel * panel * k * sizeof *columns);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                kernels->gemm(got, c_row, a, a_row, columns, m, n, k, accumulate);
                reference()->gemm(wanted, c_row, a, a_row, plain, m, n, k, accumulate);
                assert_close("gemm", got, wanted, m * c_row, within(kernels, 1e-6, 6e-6) * (2 + sqrt((double)k))); /* and between rows */
                kernels->gemm(again, c_row, a, a_row, steps, m, n, k, accumulate);
                assert_memory_equal(again, got, m * c_row * sizeof *got);
            }
            float *alone = filled(m * c_row, "c", 1); /* the last row alone, its last panel alone: the same bits */
            size_t j = (n - 1) / panel * panel, last = (m - 1) * c_row + j;
            for (int accumulate = 0; accumulate < 2; accumulate++)
                kernels->gemm(alone + last, c_row, a + (m - 1) * a_row, a_row, columns + j * k, 1, n - j, k, accumulate);
            assert_memory_equal(alone + last, got + last, (n - j) * sizeof *got);
            pare_free(a), pare_free(b), pare_free(got), pare_free(wanted), pare_free(columns), pare_free(steps), pare_free(plain);
            pare_free(alone), pare_free(again);
        }
    }
}

static void attend(const pare_kernels *kernels, float *out, float *lse, const float *q, const float *k, const float *v, size_t T,
                   size_t group, size_t D, size_t q_stride, size_t kv_stride) {
    float *scratch = pare_allocate(kernels->attention_scratch(group, D, T), sizeof *scratch, NULL);
    assert_non_null(scratch);
    for (size_t first = 0; first < T; first += PARE_ATTENTION_QUERIES) {
        size_t n = T - first < PARE_ATTENTION_QUERIES ? T - first : PARE_ATTENTION_QUERIES;
        kernels->attention(out + first * q_stride, lse ? lse + first : NULL, q + first * q_stride, k, v, first, n, group, D, q_stride,
                           kv_stride, T + 1, 0.1f, scratch);
    }
    pare_free(scratch);
}

/* Products and attention of decoding, and that an element's bits do not depend on what is computed beside it. */
static void few_rows(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 1}, {1, 3, 7}, {2, 5, 16}, {3, 17, 33}, {5, 40, 128}, {1, 9, 1543}}; /* m, n, k */
    FOR_EACH_VARIANT(kernels) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            size_t m = shapes[i][0], n = shapes[i][1], k = shapes[i][2], a_row = k + 3, c_row = n + 2;
            float *a = filled(m * a_row, "a", 1), *b = filled(n * k, "b", 1), *got = filled(m * c_row, "c", 1),
                  *wanted = filled(m * c_row, "c", 1), *alone = filled(m * c_row, "c", 1);
            for (int accumulate = 0; accumulate < 2; accumulate++) {
                kernels->gemm_few(got, c_row, a, a_row, b, m, n, k, accumulate);
                reference()->gemm_few(wanted, c_row, a, a_row, b, m, n, k, accumulate);
                assert_close("gemm_few", got, wanted, m * c_row, 1e-6 * (2 + sqrt((double)k)));
                kernels->gemm_few(alone + n - 1, c_row, a, a_row, b + (n - 1) * k, m, 1, k, accumulate);
                assert_float_equal(alone[n - 1], got[n - 1], 0);
            }
            pare_free(a), pare_free(b), pare_free(got), pare_free(wanted), pare_free(alone);
        }
        static const size_t heads[][3] = {{1, 1, 4}, {7, 3, 18}, {64, 1, 64}, {201, 4, 80}}; /* keys, group, D */
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
            size_t n = heads[i][0], group = heads[i][1], D = heads[i][2], kv_stride = D + 3;
            float *q = filled(group * D, "q", 3), *k = filled(n * kv_stride, "k", 3), *v = filled(n * kv_stride, "v", 2);
            float *got = filled(group * D, "o", 1), *wanted = filled(group * D, "o", 1);
            float *scratch = filled(kernels->attention_scratch(group, D, n), "s", 1), *more = filled(group * n, "s", 1);
            kernels->attention_one(got, q, k, v, n, group, D, kv_stride, 0.1f, scratch);
            reference()->attention_one(wanted, q, k, v, n, group, D, kv_stride, 0.1f, more);
            assert_close("attention_one", got, wanted, group * D, 1e-5);
            pare_free(q), pare_free(k), pare_free(v), pare_free(got), pare_free(wanted), pare_free(scratch), pare_free(more);
        }
    }
}

static void attentions(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{1, 1, 4}, {31, 3, 18}, {64, 1, 64}, {65, 2, 20}, {200, 7, 64}, {129, 3, 128}}; /* T, group, D */
    FOR_EACH_VARIANT(kernels) {
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            size_t T = shapes[i][0], group = shapes[i][1], D = shapes[i][2], q_stride = group * D + 3, kv_stride = 2 * D + 1;
            float *q = filled(T * q_stride, "q", 3), *k = filled(T * kv_stride, "k", 3), *v = filled(T * kv_stride, "v", 2);
            float *got = filled(T * q_stride, "o", 1), *wanted = filled(T * q_stride, "o", 1);
            float *lse = filled(group * (T + 1), "l", 1), *lse_wanted = filled(group * (T + 1), "l", 1);
            attend(kernels, got, lse, q, k, v, T, group, D, q_stride, kv_stride);
            attend(reference(), wanted, lse_wanted, q, k, v, T, group, D, q_stride, kv_stride);
            /* scores up to 10: their rounding in f32 is some 1e-6 */
            assert_close("attention", got, wanted, T * q_stride, within(kernels, 1e-5, 6e-5));
            assert_close("lse", lse, lse_wanted, group * (T + 1), within(kernels, 1e-6, 4e-5));
            attend(kernels, q, NULL, q, k, v, T, group, D, q_stride, kv_stride); /* in place, and without lse */
            for (size_t t = 0; t < T; t++)
                assert_memory_equal(q + t * q_stride, got + t * q_stride, group * D * sizeof *q);
            pare_free(lse), pare_free(lse_wanted);
            pare_free(q), pare_free(k), pare_free(v), pare_free(got), pare_free(wanted);
        }
    }
}

static void log_sums(void **state) {
    (void)state;
    FOR_EACH_VARIANT(kernels) {
        for (size_t n = 1; n < 5000; n = 3 * n + 2) {
            float *x = filled(n, "l", 40);
            float maximum = -INFINITY, top = -INFINITY;
            double sum = 0, total = 0;
            kernels->log_sum_exp(&maximum, &sum, x, n / 2);
            kernels->log_sum_exp(&maximum, &sum, x + n / 2, n - n / 2);
            reference()->log_sum_exp(&top, &total, x, n);
            assert_true(maximum == top);
            assert_true(fabs(log(sum) - log(total)) < 1e-6);
            x[n / 3] = NAN; /* a NaN must not vanish */
            maximum = -INFINITY, sum = 0;
            kernels->log_sum_exp(&maximum, &sum, x, n);
            assert_true(isnan((double)maximum + log(sum)));
            pare_free(x);
        }
    }
}

static void moments(void **state) {
    (void)state;
    FOR_EACH_VARIANT(kernels) {
        float *x = filled(5 * 37, "x", 9);
        double got[2][37] = {{1}}, wanted[2][37] = {{1}};
        kernels->add_moments(got[0], got[1], x, 5, 37);
        reference()->add_moments(wanted[0], wanted[1], x, 5, 37);
        assert_memory_equal(got, wanted, sizeof got);
        pare_free(x);
    }
}

/* Random bytes are valid blocks of every type: the variants must give the reference's bits (NaN scales aside). */
static void blocks_of_every_type(void **state) {
    (void)state;
    pare_random random;
    pare_random_init(&random, 3, "blocks", 0);
    for (int type = 0; type < PARE_DTYPE_COUNT; type++) {
        const pare_dtype_traits *traits = pare_dtype_info((pare_dtype)type);
        size_t n = 4 * (size_t)traits->block * 256 / traits->block, bytes = n / traits->block * traits->bytes;
        uint8_t *blocks = pare_allocate(bytes + 1, 1, NULL);
        for (size_t i = 0; i <= bytes; i++)
            blocks[i] = (uint8_t)pare_random_u32(&random);
        float *got = filled(n, "g", 1), *wanted = filled(n, "w", 1);
        reference()->dequantize[type](wanted, blocks + 1, n); /* unaligned on purpose */
        FOR_EACH_VARIANT(kernels) {
            kernels->dequantize[type](got, blocks + 1, n);
            for (size_t i = 0; i < n; i++)
                if (!(isnan(got[i]) && isnan(wanted[i])) && memcmp(got + i, wanted + i, sizeof *got) != 0)
                    fail_msg("%s %s: element %zu is %.9g, the reference says %.9g", kernels->name, traits->name, i, (double)got[i],
                             (double)wanted[i]);
        }
        pare_free(blocks), pare_free(got), pare_free(wanted);
    }
}

static void half_precision_round_trip(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 65536; bits++) {
        uint16_t half = (uint16_t)bits, back;
        float value;
        static const pare_dtype types[] = {PARE_DTYPE_F16, PARE_DTYPE_BF16};
        for (int i = 0; i < 2; i++) {
            reference()->dequantize[types[i]](&value, &half, 1);
            pare_dtype_pack(&back, types[i], &value, 1);
            if (!isnan(value))
                assert_int_equal(back, half);
        }
    }
    float ties[] = {1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, 65519.0f, 65520.0f,
                    0x1p-25f,        0x1.8p-25f}; /* to even, up, down, infinity, 0, up */
    uint16_t wanted[] = {0x3c00, 0x3c02, 0x7bff, 0x7c00, 0x0000, 0x0001}, got[6];
    pare_dtype_pack(got, PARE_DTYPE_F16, ties, 6);
    assert_memory_equal(got, wanted, sizeof got);
    float b[] = {1.0f + 0x1p-8f, 1.0f + 3 * 0x1p-8f};
    uint16_t b_wanted[] = {0x3f80, 0x3f82}, b_got[2];
    pare_dtype_pack(b_got, PARE_DTYPE_BF16, b, 2);
    assert_memory_equal(b_got, b_wanted, sizeof b_got);
}

/* Rows, columns and the rotary order of a 4 x 4 matrix whose element (i, j) is 10 i + j. */
static void views(void **state) {
    (void)state;
    float stored[16], out[16], scratch[4];
    for (int i = 0; i < 16; i++)
        stored[i] = (float)(10 * (i / 4) + i % 4);
    pare_tensor tensor = {
        .name = "m", .dtype = PARE_DTYPE_F32, .n_dims = 2, .dims = {4, 4}, .data = (const uint8_t *)stored, .n_bytes = 64};
    pare_view view = pare_view_all(&tensor);
    assert_ptr_equal(pare_view_direct(&view), stored);
    uint32_t rows[] = {1, 3}, columns[] = {0, 2};
    view = (pare_view){.tensor = &tensor, .rows = rows, .columns = columns, .n_rows = 2, .n_columns = 2};
    assert_null(pare_view_direct(&view));
    pare_view_read(out, &view, 0, 2, scratch);
    float wanted[] = {10, 12, 30, 32};
    assert_memory_equal(out, wanted, sizeof wanted);
    tensor.rotary_pairs = 4; /* stored order 0 2 1 3 of the half-split rows */
    view = pare_view_all(&tensor);
    pare_view_read(out, &view, 0, 4, NULL);
    float order[] = {out[0], out[4], out[8], out[12]}, pairs[] = {0, 20, 10, 30};
    assert_memory_equal(order, pairs, sizeof pairs);
}

/* The three forms of one product, over C and added to it, with leading dimensions larger than the rows. */
static void blas_products(void **state) {
    (void)state;
    enum { M = 7, N = 5, K = 13, LDA = 17, LDB = 16, LDC = 6 };
    pare_error error;
    assert_done(pare_gemm_prepare(&error), error);
    static void (*const forms[])(float *, const float *, const float *, size_t, size_t, size_t, size_t, size_t, size_t,
                                 bool) = {pare_gemm_nt, pare_gemm_nn, pare_gemm_tn};
    float *a = filled(LDA * LDA, "a", 1), *b = filled(LDB * LDB, "b", 1);
    for (int form = 0; form < 3; form++)
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            float *c = filled(M * LDC, "c", 1), *wanted = filled(M * LDC, "c", 1);
            forms[form](c, a, b, M, N, K, LDA, LDB, LDC, accumulate);
            for (size_t i = 0; i < M; i++)
                for (size_t j = 0; j < N; j++) {
                    double sum = accumulate ? (double)wanted[i * LDC + j] : 0;
                    for (size_t l = 0; l < K; l++)
                        sum += (double)(form == 2 ? a[l * LDA + i] : a[i * LDA + l]) * (double)(form ? b[l * LDB + j] : b[j * LDB + l]);
                    wanted[i * LDC + j] = (float)sum;
                }
            assert_close("gemm", c, wanted, M * LDC, 1e-6);
            pare_free(c), pare_free(wanted);
        }
    pare_free(a), pare_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rms_norms),
        cmocka_unit_test(rotations),
        cmocka_unit_test(swiglu_and_add),
        cmocka_unit_test(packed_products),
        cmocka_unit_test(attentions),
        cmocka_unit_test(few_rows),
        cmocka_unit_test(log_sums),
        cmocka_unit_test(moments),
        cmocka_unit_test(blocks_of_every_type),
        cmocka_unit_test(half_precision_round_trip),
        cmocka_unit_test(views),
        cmocka_unit_test(blas_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
