/* amx_attention_body: causal attention as attention_body.h has it, on the tile unit: here queries are the rows of A and keys lie in the
 * lanes, which is how the unit wants both products: S = Q K^T and O += P V. Online softmax: Milakov & Gimelshein 2018; Dao et al. 2022 */

enum { KEYS = 64, KEY_SPLITS = KEYS / STEPS, KEY_PANELS = KEYS / PANEL };
_Static_assert((int)PANEL == (int)PARE_ATTENTION_QUERIES, "the queries of one head are the rows of one product");

/* query and output of each head, maximum and sum; K and V of a block of keys */
static size_t attention_scratch(size_t group, size_t head_dim, size_t n_tokens) {
    size_t floats = group * PANEL * (2 * head_dim + 1 + LANES) + 2 * KEYS * head_dim;
    size_t without = pare_kernels_avx512.attention_scratch(group, head_dim, n_tokens);
    return floats > without ? floats : without;
}

/* One row of scores (KEYS) becomes probabilities against the running maximum, split. Where the maximum grows, the sum and the output so
 * far shrink; sums stay apart by lane until the end. */
INLINE void softmax_row(split *probability, size_t i, const float *scores, float *output, float *maximum, float *sum, size_t head_dim) {
    vf x[KEYS / LANES], largest = v_load(scores), total = v_load(sum);
#pragma GCC unroll 8
    for (size_t s = 0; s < KEYS / LANES; s++) {
        x[s] = v_load(scores + s * LANES);
        largest = v_max(x[s], largest);
    }
    if (_mm512_cmp_ps_mask((__m512)largest, _mm512_set1_ps(*maximum), _CMP_GT_OQ)) {
        float top = _mm512_reduce_max_ps((__m512)largest);
        vf correction = v_exp(v_set(*maximum) - v_set(top));
        *maximum = top;
        total = total * correction;
        for (size_t j = 0; j < head_dim; j += LANES)
            v_store(output + j, v_load(output + j) * correction);
    }
#pragma GCC unroll 8
    for (size_t s = 0; s < KEYS / LANES; s++) {
        x[s] = v_exp(x[s] - v_set(*maximum));
        total = total + x[s];
    }
    v_store(sum, total);
#pragma GCC unroll 8
    for (size_t s = 0; s < KEY_SPLITS; s++)
        split_halves(&probability[s], i, (__m512)x[2 * s], (__m512)x[2 * s + 1]);
}

/* The queries of one head, scaled; rows that have none are zero. */
static void split_queries(split *query, const float *q, size_t q_stride, size_t n_queries, size_t n_splits, float scale) {
    memset(query, 0, n_splits * sizeof *query);
    for (size_t i = 0; i < n_queries; i++, q += q_stride)
        for (size_t s = 0; s < n_splits; s++)
            split_halves(&query[s], i, _mm512_mul_ps(_mm512_loadu_ps(q + s * STEPS), _mm512_set1_ps(scale)),
                         _mm512_mul_ps(_mm512_loadu_ps(q + s * STEPS + LANES), _mm512_set1_ps(scale)));
}

/* A block of n <= KEYS keys: K^T (D, KEYS) and V (KEYS, D); what is missing is zero. */
static void split_keys(split *key, split *value, const float *k, const float *v, size_t kv_stride, size_t n, size_t n_splits) {
    for (size_t p = 0; p < KEY_PANELS; p++) {
        size_t left = p * PANEL < n ? n - p * PANEL : 0;
        split_columns(key + p * n_splits, k + p * PANEL * kv_stride, kv_stride, left < PANEL ? left : PANEL, n_splits);
    }
    if (n < KEYS)
        memset(value, 0, KEY_SPLITS * n_splits * sizeof *value);
    for (size_t s = 0; s < n; s += 2) { /* without an odd key the even one stands for it: hidden, it counts for nothing */
        const float *even = v + s * kv_stride, *odd = s + 1 < n ? even + kv_stride : even;
        split_two_steps(value, even, odd, n_splits * STEPS, KEY_SPLITS, s);
    }
}

/* Keys behind a query: hidden from it. */
static void hide(float *scores, size_t first_query, size_t first_key) {
    for (size_t i = 0; first_key + KEYS > first_query + 1 && i < PANEL; i++)
        for (size_t s = first_query + i + 1 > first_key ? first_query + i + 1 - first_key : 0; s < KEYS; s++)
            scores[i * KEYS + s] = -3.0e38f;
}

static void attention(float *out, float *lse, const float *q, const float *k, const float *v, size_t first, size_t n_queries, size_t group,
                      size_t head_dim, size_t q_stride, size_t kv_stride, size_t lse_stride, float scale, float *scratch) {
    if (head_dim % STEPS) {
        pare_kernels_avx512.attention(out, lse, q, k, v, first, n_queries, group, head_dim, q_stride, kv_stride, lse_stride, scale,
                                      scratch);
        return;
    }
    size_t m = group * PANEL, end = first + n_queries, n_splits = head_dim / STEPS;
    split *query = (split *)scratch, *key = query + group * n_splits, *value = key + KEY_PANELS * n_splits, probability[KEY_SPLITS];
    float *output = (float *)(value + KEY_SPLITS * n_splits), *maximum = output + m * head_dim, *sum = maximum + m, scores[PANEL * KEYS];
    memset(output, 0, m * head_dim * sizeof *output);
    memset(sum, 0, m * LANES * sizeof *sum);
    for (size_t i = 0; i < m; i++)
        maximum[i] = -3.0e38f; /* finite, so that no difference is NaN; key 0 is open to every query */
    for (size_t h = 0; h < group; h++)
        split_queries(query + h * n_splits, q + h * head_dim, q_stride, n_queries, n_splits, scale);
    _tile_loadconfig(&tile_shapes);
    for (size_t s0 = 0; s0 < end; s0 += KEYS) {
        split_keys(key, value, k + s0 * kv_stride, v + s0 * kv_stride, kv_stride, end - s0 < KEYS ? end - s0 : KEYS, n_splits);
        for (size_t h = 0; h < group; h++) {
            float *of_head = output + h * PANEL * head_dim;
            for (size_t p = 0; p < KEY_PANELS; p++)
                tiles(scores + p * PANEL, KEYS, query + h * n_splits, key + p * n_splits, n_splits, false);
            hide(scores, first, s0);
            for (size_t i = 0; i < PANEL; i++)
                softmax_row(probability, i, scores + i * KEYS, of_head + i * head_dim, maximum + h * PANEL + i,
                            sum + (h * PANEL + i) * LANES, head_dim);
            for (size_t j = 0; j < n_splits; j++)
                tiles(of_head + j * PANEL, head_dim, probability, value + j * KEY_SPLITS, KEY_SPLITS, true);
        }
    }
    _tile_release();
    for (size_t h = 0; h < group; h++)
        for (size_t i = 0; i < n_queries; i++) {
            size_t row = h * PANEL + i;
            float total = _mm512_reduce_add_ps(_mm512_loadu_ps(sum + row * LANES));
            if (lse)
                lse[h * lse_stride + i] = (float)((double)maximum[row] + log((double)total));
            for (size_t j = 0; j < head_dim; j += LANES)
                v_store(out + i * q_stride + h * head_dim + j, v_load(output + row * head_dim + j) * v_set(1.0f / total));
        }
}
