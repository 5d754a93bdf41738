/* decode_body: products and attention for one row of each sequence, where every weight and every key is read once and memory sets the
 * speed: nothing is packed, the lanes lie along the sum. Goes on from simd_body.h. */

enum { FEW_ROWS = 4 }; /* rows of B that share one reading of a row of A */

/* c[j] [+]= sum over s of a[s] * b[j * k + s] for `rows` rows of B. The order of the sum is the same whatever `rows` is. */
INLINE void dots(float *c, const float *a, const float *b, size_t k, int rows, bool accumulate) {
    vf even[FEW_ROWS], odd[FEW_ROWS];
    float rest[FEW_ROWS];
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++)
        even[j] = odd[j] = v_set(0), rest[j] = 0;
    size_t s = 0;
    for (; s + 2 * LANES <= k; s += 2 * LANES) {
        vf a0 = v_load(a + s), a1 = v_load(a + s + LANES);
#pragma GCC unroll 4
        for (int j = 0; j < rows; j++) {
            even[j] = v_fma(a0, v_load(b + (size_t)j * k + s), even[j]);
            odd[j] = v_fma(a1, v_load(b + (size_t)j * k + s + LANES), odd[j]);
        }
    }
    for (; s < k; s++)
#pragma GCC unroll 4
        for (int j = 0; j < rows; j++)
            rest[j] += a[s] * b[(size_t)j * k + s];
#pragma GCC unroll 4
    for (int j = 0; j < rows; j++) {
        float sum = v_sum(even[j] + odd[j]) + rest[j];
        c[j] = accumulate ? c[j] + sum : sum;
    }
}

static void gemm_few(float *c, size_t c_row, const float *a, size_t a_row, const float *b, size_t m, size_t n, size_t k, bool accumulate) {
    size_t j = 0;
    for (; j + FEW_ROWS <= n; j += FEW_ROWS)
        for (size_t i = 0; i < m; i++)
            dots(c + i * c_row + j, a + i * a_row, b + j * k, k, FEW_ROWS, accumulate);
    for (; j < n; j++)
        for (size_t i = 0; i < m; i++)
            dots(c + i * c_row + j, a + i * a_row, b + j * k, k, 1, accumulate);
}

/* scores become probabilities; returns what they sum to */
INLINE float softmax_one(float *scores, size_t n) {
    vf largest = v_set(-3.0e38f), total = v_set(0);
    float top = -3.0e38f, rest = 0;
    size_t s = 0, whole = n / LANES * LANES;
    for (; s < whole; s += LANES)
        largest = v_max(v_load(scores + s), largest);
    top = v_largest(largest);
    for (; s < n; s++)
        top = scores[s] > top ? scores[s] : top;
    for (s = 0; s < whole; s += LANES) {
        vf p = v_exp(v_load(scores + s) - v_set(top));
        v_store(scores + s, p);
        total = total + p;
    }
    for (; s < n; s++)
        rest += scores[s] = expf(scores[s] - top);
    return v_sum(total) + rest;
}

/* out = softmax(scale q k^T) v, one query row; scores (group, n_keys) in scratch */
static void attention_one(float *out, const float *q, const float *k, const float *v, size_t n_keys, size_t group, size_t head_dim,
                          size_t kv_stride, float scale, float *scratch) {
    size_t whole = head_dim / LANES * LANES;
    for (size_t s = 0; s < n_keys; s++)
        for (size_t h = 0; h < group; h++) {
            float dot;
            dots(&dot, q + h * head_dim, k + s * kv_stride, head_dim, 1, false);
            scratch[h * n_keys + s] = dot * scale;
        }
    for (size_t h = 0; h < group; h++) {
        float *p = scratch + h * n_keys, *to = out + h * head_dim, inverse = 1.0f / softmax_one(p, n_keys);
        for (size_t j = 0; j < whole; j += LANES) {
            vf sum = v_set(0);
            for (size_t s = 0; s < n_keys; s++)
                sum = v_fma(v_set(p[s]), v_load(v + s * kv_stride + j), sum);
            v_store(to + j, sum * v_set(inverse));
        }
        for (size_t j = whole; j < head_dim; j++) {
            float sum = 0;
            for (size_t s = 0; s < n_keys; s++)
                sum += p[s] * v[s * kv_stride + j];
            to[j] = sum * inverse;
        }
    }
}
