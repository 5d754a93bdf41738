/* attention_body: causal attention and its gradient over tiles that stay in cache; T x T is never stored. Goes on from simd_body.h.
 * Queries lie in the lanes: scores are (keys x queries), so that the softmax needs no sum across lanes and neither K nor V is
 * repacked. The gradients of K and V sum over queries: there the head dimension lies in the lanes.
 * Online softmax: Milakov & Gimelshein 2018; both passes by tiles: Dao et al. 2022. */

enum { KEYS = 64, QUERIES = PARE_ATTENTION_QUERIES };

/* ---- products of tiles ---- */

/* A matrix that is read by rows and steps: element (row, step) at data[row * by_row + step * by_step] */
typedef struct {
    const float *data;
    size_t by_row, by_step;
} operand;

/* c (rows, vectors * LANES) [+]= sum over steps of a(row, step) * b(step, vectors * LANES) */
INLINE void tile(float *c, size_t c_row, operand a, const float *b, size_t b_step, size_t n_steps, int rows, int vectors, bool accumulate) {
    vf sum[TILE_ROWS][2];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int i = 0; i < vectors; i++)
            sum[r][i] = accumulate ? v_load(c + (size_t)r * c_row + i * LANES) : v_set(0);
    for (size_t s = 0; s < n_steps; s++, a.data += a.by_step, b += b_step) {
        vf b0 = v_load(b), b1 = vectors > 1 ? v_load(b + LANES) : b0;
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vf x = v_set(a.data[(size_t)r * a.by_row]);
            sum[r][0] = v_fma(x, b0, sum[r][0]);
            if (vectors > 1)
                sum[r][1] = v_fma(x, b1, sum[r][1]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int i = 0; i < vectors; i++)
            v_store(c + (size_t)r * c_row + i * LANES, sum[r][i]);
}

/* The same for any number of rows: whole tiles, then one of 4, 2 and 1 rows as they are left */
INLINE void strip(float *c, size_t c_row, operand a, const float *b, size_t b_step, size_t n_rows, size_t n_steps, int vectors,
                  bool accumulate) {
    size_t r = 0;
    const float *start = a.data;
    for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS, a.data = start + r * a.by_row)
        tile(c + r * c_row, c_row, a, b, b_step, n_steps, TILE_ROWS, vectors, accumulate);
    if (TILE_ROWS > 4 && r + 4 <= n_rows) {
        tile(c + r * c_row, c_row, a, b, b_step, n_steps, 4, vectors, accumulate);
        a.data = start + (r += 4) * a.by_row;
    }
    if (r + 2 <= n_rows) {
        tile(c + r * c_row, c_row, a, b, b_step, n_steps, 2, vectors, accumulate);
        a.data = start + (r += 2) * a.by_row;
    }
    if (r < n_rows)
        tile(c + r * c_row, c_row, a, b, b_step, n_steps, 1, vectors, accumulate);
}

/* C (n_rows, n_lanes) [+]= A B, n_lanes a multiple of LANES */
INLINE void tiles(float *c, size_t c_row, operand a, const float *b, size_t b_step, size_t n_lanes, size_t n_rows, size_t n_steps,
                  bool accumulate) {
    size_t lane = 0;
    for (; lane + 2 * LANES <= n_lanes; lane += 2 * LANES)
        strip(c + lane, c_row, a, b + lane, b_step, n_rows, n_steps, 2, accumulate);
    if (lane < n_lanes)
        strip(c + lane, c_row, a, b + lane, b_step, n_rows, n_steps, 1, accumulate);
}

/* ---- forward ---- */

/* scratch: query^T (D, M), output^T (D, M), scores (KEYS, M), maximum, sum, correction (M each); M = group * QUERIES lanes. attention_one:
 * scores (group, T) */
static size_t attention_scratch(size_t group, size_t head_dim, size_t n_tokens) {
    size_t tiles = group * QUERIES * (2 * head_dim + KEYS + 3), one = group * n_tokens;
    return tiles > one ? tiles : one;
}

/* scores become probabilities against the running maximum; the output so far is rescaled where the maximum grew */
INLINE void softmax_step(float *scores, float *output, float *maximum, float *sum, size_t m, size_t n_keys, size_t head_dim) {
    for (size_t lane = 0; lane < m; lane += LANES) {
        vf before = v_load(maximum + lane), largest = before;
        for (size_t s = 0; s < n_keys; s++)
            largest = v_max(v_load(scores + s * m + lane), largest);
        vf correction = v_exp(before - largest), total = v_load(sum + lane) * correction;
        for (size_t s = 0; s < n_keys; s++) {
            vf p = v_exp(v_load(scores + s * m + lane) - largest);
            v_store(scores + s * m + lane, p);
            total = total + p;
        }
        v_store(maximum + lane, largest);
        v_store(sum + lane, total);
        vi grew = before != largest;
        int any = 0;
        for (int i = 0; i < LANES; i++)
            any |= grew[i];
        if (any)
            for (size_t j = 0; j < head_dim; j++)
                v_store(output + j * m + lane, v_load(output + j * m + lane) * correction);
    }
}

static void attention(float *out, float *lse, const float *q, const float *k, const float *v, size_t first, size_t n_queries, size_t group,
                      size_t head_dim, size_t q_stride, size_t kv_stride, size_t lse_stride, float scale, float *scratch) {
    size_t m = group * QUERIES, end = first + n_queries;
    float *query = scratch, *output = query + head_dim * m, *scores = output + head_dim * m;
    float *maximum = scores + KEYS * m, *sum = maximum + m;
    memset(query, 0, 2 * head_dim * m * sizeof *query);
    for (size_t i = 0; i < n_queries; i++)
        for (size_t h = 0; h < group; h++)
            for (size_t j = 0; j < head_dim; j++)
                query[j * m + h * QUERIES + i] = q[i * q_stride + h * head_dim + j] * scale;
    for (size_t lane = 0; lane < m; lane++) {
        maximum[lane] = -3.0e38f; /* finite, so that no difference is NaN; key 0 is open to every query */
        sum[lane] = 0;
    }
    for (size_t s0 = 0; s0 < end; s0 += KEYS) {
        size_t n_keys = end - s0 < KEYS ? end - s0 : KEYS;
        tiles(scores, m, (operand){k + s0 * kv_stride, kv_stride, 1}, query, m, m, n_keys, head_dim, false);
        for (size_t s = s0 > first ? s0 : first + 1; s < s0 + n_keys; s++) /* keys behind some query: hide them from it */
            for (size_t h = 0; h < group; h++)
                for (size_t i = 0; i < s - first && i < QUERIES; i++)
                    scores[(s - s0) * m + h * QUERIES + i] = -3.0e38f;
        softmax_step(scores, output, maximum, sum, m, n_keys, head_dim);
        tiles(output, m, (operand){v + s0 * kv_stride, 1, kv_stride}, scores, m, m, head_dim, n_keys, true);
    }
    for (size_t i = 0; i < n_queries; i++)
        for (size_t h = 0; h < group; h++) {
            size_t lane = h * QUERIES + i;
            float inverse = 1.0f / sum[lane];
            if (lse)
                lse[h * lse_stride + i] = (float)((double)maximum[lane] + log((double)sum[lane]));
            for (size_t j = 0; j < head_dim; j++)
                out[i * q_stride + h * head_dim + j] = output[j * m + lane] * inverse;
        }
}

/* ---- backward ---- */

enum { BACK_KEYS = 64, BACK_QUERIES = 64, PANEL = 2 * LANES };

/* One block of queries of one head, in scratch. Dp: D rounded up to whole vectors, the rest zero. Lanes past the window's end hold
 * zeros, so that they add nothing. */
typedef struct {
    size_t head_dim, padded, first, n_lanes; /* n_lanes: the block's queries, rounded up to whole panels */
    float *query, *gradient;                 /* (scale Q)^T and dO^T (D, BACK_QUERIES) */
    float *query_rows, *gradient_rows;       /* the same (BACK_QUERIES, Dp) */
    float *dq;                               /* dQ^T / scale (D, BACK_QUERIES) */
    float *p, *ds;                           /* (BACK_KEYS, BACK_QUERIES) */
    float *lse, *delta;                      /* (BACK_QUERIES): delta = sum(dO O) */
    float *sum;                              /* (BACK_KEYS, Dp): what the block adds to dK or dV */
} query_block;

static size_t padded_to_lanes(size_t n) {
    return (n + LANES - 1) / LANES * LANES;
}

static size_t attention_backward_scratch(size_t group, size_t head_dim, size_t n_tokens) {
    (void)group;
    (void)n_tokens;
    return BACK_QUERIES * (3 * head_dim + 2 * padded_to_lanes(head_dim) + 2 * BACK_KEYS + 2) + BACK_KEYS * padded_to_lanes(head_dim);
}

static query_block query_block_in(float *scratch, size_t head_dim) {
    query_block b = {.head_dim = head_dim, .padded = padded_to_lanes(head_dim)};
    float **parts[] = {&b.query, &b.gradient, &b.dq, &b.query_rows, &b.gradient_rows, &b.p, &b.ds, &b.lse, &b.delta, &b.sum};
    size_t sizes[] = {head_dim, head_dim, head_dim, b.padded, b.padded, BACK_KEYS, BACK_KEYS, 1, 1, 0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; scratch += sizes[i++] * BACK_QUERIES)
        *parts[i] = scratch;
    return b;
}

static void query_block_read(query_block *b, const float *q, const float *out, const float *dout, const float *lse, size_t first,
                             size_t n_queries, size_t q_stride, float scale) {
    b->first = first;
    b->n_lanes = (n_queries + PANEL - 1) / PANEL * PANEL;
    memset(b->query, 0, BACK_QUERIES * (3 * b->head_dim + 2 * b->padded) * sizeof *b->query); /* these five lie together */
    memset(b->lse, 0, 2 * BACK_QUERIES * sizeof *b->lse);
    for (size_t i = 0; i < n_queries; i++) {
        size_t row = (first + i) * q_stride, to = i * b->padded;
        float delta = 0;
        for (size_t j = 0; j < b->head_dim; j++) {
            b->query_rows[to + j] = b->query[j * BACK_QUERIES + i] = q[row + j] * scale;
            b->gradient_rows[to + j] = b->gradient[j * BACK_QUERIES + i] = dout[row + j];
            delta += dout[row + j] * out[row + j];
        }
        b->lse[i] = lse[first + i];
        b->delta[i] = delta;
    }
}

/* P = exp(S - lse), dS = P (dP - delta) of one panel, for the keys [0, n_open) that some query of it sees */
INLINE void panel_gradient(query_block *b, size_t lane, size_t n_open, size_t n_keys, size_t first_key) {
    for (size_t part = lane; part < lane + PANEL; part += LANES) {
        vf lse = v_load(b->lse + part), delta = v_load(b->delta + part);
        for (size_t s = 0; s < n_open; s++) {
            float *p = b->p + s * BACK_QUERIES + part, *ds = b->ds + s * BACK_QUERIES + part;
            vf probability = v_exp(v_load(p) - lse);
            v_store(p, probability);
            v_store(ds, probability * (v_load(ds) - delta));
        }
    }
    /* hidden: the key comes after the query */
    size_t query = b->first + lane;
    for (size_t s = query >= first_key ? query - first_key + 1 : 0; s < n_keys; s++) {
        size_t hidden = first_key + s - query, row = s * BACK_QUERIES + lane;
        memset(b->p + row, 0, (hidden < PANEL ? hidden : PANEL) * sizeof *b->p);
        memset(b->ds + row, 0, (hidden < PANEL ? hidden : PANEL) * sizeof *b->ds);
    }
}

/* to (n_keys, D) += A^T rows, where A (keys, queries) is P or dS, and no query before a key's own counts */
INLINE void add_over_queries(query_block *b, float *to, size_t kv_stride, const float *a, const float *rows, size_t n_keys,
                             size_t first_key) {
    enum { STEP = 2 * TILE_ROWS };
    bool whole = b->padded == b->head_dim;
    float *sum = whole ? to : b->sum;
    size_t sum_row = whole ? kv_stride : b->padded, step = first_key + n_keys > b->first ? STEP : n_keys;
    for (size_t s = 0; s < n_keys; s += step) {
        size_t hidden = first_key + s > b->first ? first_key + s - b->first : 0;
        tiles(sum + s * sum_row, sum_row, (operand){a + s * BACK_QUERIES + hidden, BACK_QUERIES, 1}, rows + hidden * b->padded, b->padded,
              b->padded, n_keys - s < step ? n_keys - s : step, b->n_lanes - hidden, whole);
    }
    for (size_t s = 0; !whole && s < n_keys; s++)
        for (size_t j = 0; j < b->head_dim; j++)
            to[s * kv_stride + j] += sum[s * sum_row + j];
}

/* What one block of queries and one block of keys have to do with each other */
static void pair_backward(query_block *b, float *dk, float *dv, const float *k, const float *v, size_t first_key, size_t n_keys,
                          size_t kv_stride) {
    k += first_key * kv_stride;
    v += first_key * kv_stride;
    for (size_t lane = 0; lane < b->n_lanes; lane += PANEL) {
        size_t end = b->first + lane + PANEL, n_open = end <= first_key ? 0 : end - first_key < n_keys ? end - first_key : n_keys;
        strip(b->p + lane, BACK_QUERIES, (operand){k, kv_stride, 1}, b->query + lane, BACK_QUERIES, n_open, b->head_dim, 2, false);
        strip(b->ds + lane, BACK_QUERIES, (operand){v, kv_stride, 1}, b->gradient + lane, BACK_QUERIES, n_open, b->head_dim, 2, false);
        panel_gradient(b, lane, n_open, n_keys, first_key);
        strip(b->dq + lane, BACK_QUERIES, (operand){k, 1, kv_stride}, b->ds + lane, BACK_QUERIES, b->head_dim, n_open, 2, true);
    }
    add_over_queries(b, dv + first_key * kv_stride, kv_stride, b->p, b->gradient_rows, n_keys, first_key);
    add_over_queries(b, dk + first_key * kv_stride, kv_stride, b->ds, b->query_rows, n_keys, first_key);
}

static void attention_backward(float *dq, float *dk, float *dv, const float *q, const float *k, const float *v, const float *out,
                               const float *dout, const float *lse, size_t n_tokens, size_t group, size_t head_dim, size_t q_stride,
                               size_t kv_stride, size_t lse_stride, float scale, float *scratch) {
    query_block b = query_block_in(scratch, head_dim);
    for (size_t h = 0; h < group; h++)
        for (size_t first = 0; first < n_tokens; first += BACK_QUERIES) {
            size_t n_queries = n_tokens - first < BACK_QUERIES ? n_tokens - first : BACK_QUERIES, end = first + n_queries;
            size_t head = h * head_dim;
            query_block_read(&b, q + head, out + head, dout + head, lse + h * lse_stride, first, n_queries, q_stride, scale);
            for (size_t s = 0; s < end; s += BACK_KEYS)
                pair_backward(&b, dk, dv, k, v, s, end - s < BACK_KEYS ? end - s : BACK_KEYS, kv_stride);
            for (size_t i = 0; i < n_queries; i++)
                for (size_t j = 0; j < head_dim; j++)
                    dq[(first + i) * q_stride + head + j] = b.dq[j * BACK_QUERIES + i] * scale;
        }
}
