/* simd_body: the vector kernels, written once over a few operations that the includer defines for its instruction set:
 *   LANES, vf (LANES floats), vi (LANES int32), v_load, v_store (unaligned), v_set, v_fma(a, b, c) = a*b + c, v_max (returns its
 *   second operand when either is NaN, as x86 does), TILE_ROWS (rows of the attention tiles: TILE_ROWS x 2 accumulators).
 * The attention tiles keep queries in the lanes: scores are (keys x queries), so that the softmax needs no sum across lanes
 * and neither K nor V is repacked. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float v_sum(vf x) {
    float parts[LANES], sum = 0;
    v_store(parts, x);
    for (int i = 0; i < LANES; i++)
        sum += parts[i];
    return sum;
}

INLINE float v_largest(vf x) {
    float parts[LANES];
    v_store(parts, x);
    float largest = parts[0];
    for (int i = 1; i < LANES; i++)
        largest = parts[i] > largest ? parts[i] : largest;
    return largest;
}

/* e^x = 2^n e^r, |r| <= ln2/2, e^r by its series to r^7 (error below 6e-9); clamped to [-86, 88], NaN goes through.
 * n comes from adding 1.5 * 2^23, which leaves the rounded integer in the low mantissa bits. */
INLINE vf v_exp(vf x) {
    x = v_max(v_set(-86.0f), x);
    x = -v_max(v_set(-88.0f), -x);
    vf magic = v_set(12582912.0f), t = v_fma(x, v_set(1.44269504f), magic), n = t - magic;
    vf r = v_fma(n, v_set(-0.693145752f), x); /* ln 2 in two parts: the first has few bits, so that n times it is exact */
    r = v_fma(n, v_set(-1.42860677e-6f), r);
    vf p = v_set(1.0f / 5040.0f);
    p = v_fma(p, r, v_set(1.0f / 720.0f));
    p = v_fma(p, r, v_set(1.0f / 120.0f));
    p = v_fma(p, r, v_set(1.0f / 24.0f));
    p = v_fma(p, r, v_set(1.0f / 6.0f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    return (vf)((vi)p + ((vi)t << 23));
}

static void rms_norm(float *out, const float *x, const float *weight, size_t rows, size_t width, float eps) {
    size_t whole = width / LANES * LANES;
    for (size_t r = 0; r < rows; r++, x += width, out += width) {
        vf a = v_set(0), b = v_set(0);
        size_t j = 0;
        for (; j + 2 * LANES <= width; j += 2 * LANES) {
            vf x0 = v_load(x + j), x1 = v_load(x + j + LANES);
            a = v_fma(x0, x0, a);
            b = v_fma(x1, x1, b);
        }
        double sum = (double)v_sum(a + b);
        for (; j < width; j++)
            sum += (double)x[j] * (double)x[j];
        float scale = (float)(1.0 / sqrt(sum / (double)width + (double)eps));
        for (j = 0; j < whole; j += LANES)
            v_store(out + j, v_load(x + j) * v_set(scale) * v_load(weight + j));
        for (; j < width; j++)
            out[j] = x[j] * scale * weight[j];
    }
}

static void rotary(float *x, const float *cosine, const float *sine, size_t rows, size_t stride, size_t n_heads, size_t head_dim) {
    size_t half = head_dim / 2, whole = half / LANES * LANES;
    for (size_t r = 0; r < rows; r++, x += stride, cosine += half, sine += half)
        for (size_t h = 0; h < n_heads; h++) {
            float *a = x + h * head_dim, *b = a + half;
            size_t j = 0;
            for (; j < whole; j += LANES) {
                vf x1 = v_load(a + j), x2 = v_load(b + j), c = v_load(cosine + j), s = v_load(sine + j);
                v_store(a + j, x1 * c - x2 * s);
                v_store(b + j, x2 * c + x1 * s);
            }
            for (; j < half; j++) {
                float x1 = a[j], x2 = b[j];
                a[j] = x1 * cosine[j] - x2 * sine[j];
                b[j] = x2 * cosine[j] + x1 * sine[j];
            }
        }
}

static void swiglu(float *out, const float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf g = v_load(gate + i);
        v_store(out + i, g / (v_set(1.0f) + v_exp(-g)) * v_load(up + i));
    }
    for (; i < n; i++)
        out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void add(float *x, const float *y, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(x + i, v_load(x + i) + v_load(y + i));
    for (; i < n; i++)
        x[i] += y[i];
}

/* ---- attention ---- */

enum { KEYS = 64, QUERIES = PARE_ATTENTION_QUERIES };

/* scratch: query^T (D, M), output^T (D, M), scores (KEYS, M), maximum, sum, correction (M each); M = group * QUERIES lanes */
static size_t attention_scratch(size_t group, size_t head_dim, size_t n_tokens) {
    (void)n_tokens;
    return group * QUERIES * (2 * head_dim + KEYS + 3);
}

/* c (rows, 2*LANES) [+]= sum over steps of a(row, step) * b(step, 2*LANES); a at a + row*a_row + step*a_step */
INLINE void tile(float *c, const float *a, const float *b, size_t m, size_t n_steps, size_t a_row, size_t a_step, int rows,
                 bool accumulate) {
    vf sum[TILE_ROWS][2];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        sum[r][0] = accumulate ? v_load(c + (size_t)r * m) : v_set(0);
        sum[r][1] = accumulate ? v_load(c + (size_t)r * m + LANES) : v_set(0);
    }
    for (size_t s = 0; s < n_steps; s++, a += a_step, b += m) {
        vf b0 = v_load(b), b1 = v_load(b + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vf x = v_set(a[(size_t)r * a_row]);
            sum[r][0] = v_fma(x, b0, sum[r][0]);
            sum[r][1] = v_fma(x, b1, sum[r][1]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) {
        v_store(c + (size_t)r * m, sum[r][0]);
        v_store(c + (size_t)r * m + LANES, sum[r][1]);
    }
}

/* C (n_rows, M) [+]= A B by tiles; the last rows one at a time */
INLINE void tiles(float *c, const float *a, const float *b, size_t m, size_t n_rows, size_t n_steps, size_t a_row, size_t a_step,
                  bool accumulate) {
    for (size_t lane = 0; lane < m; lane += 2 * LANES) {
        size_t r = 0;
        for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS)
            tile(c + r * m + lane, a + r * a_row, b + lane, m, n_steps, a_row, a_step, TILE_ROWS, accumulate);
        for (; r < n_rows; r++)
            tile(c + r * m + lane, a + r * a_row, b + lane, m, n_steps, a_row, a_step, 1, accumulate);
    }
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
                query[j * m + h * QUERIES + i] = q[(first + i) * q_stride + h * head_dim + j] * scale;
    for (size_t lane = 0; lane < m; lane++) {
        maximum[lane] = -3.0e38f; /* finite, so that no difference is NaN; key 0 is open to every query */
        sum[lane] = 0;
    }
    for (size_t s0 = 0; s0 < end; s0 += KEYS) {
        size_t n_keys = end - s0 < KEYS ? end - s0 : KEYS;
        tiles(scores, k + s0 * kv_stride, query, m, n_keys, head_dim, kv_stride, 1, false);
        for (size_t s = s0 > first ? s0 : first + 1; s < s0 + n_keys; s++) /* keys behind some query: hide them from it */
            for (size_t h = 0; h < group; h++)
                for (size_t i = 0; i < s - first && i < QUERIES; i++)
                    scores[(s - s0) * m + h * QUERIES + i] = -3.0e38f;
        softmax_step(scores, output, maximum, sum, m, n_keys, head_dim);
        tiles(output, v + s0 * kv_stride, scores, m, head_dim, n_keys, 1, kv_stride, true);
    }
    for (size_t i = 0; i < n_queries; i++)
        for (size_t h = 0; h < group; h++) {
            size_t lane = h * QUERIES + i;
            float inverse = 1.0f / sum[lane];
            if (lse)
                lse[h * lse_stride + first + i] = (float)((double)maximum[lane] + log((double)sum[lane]));
            for (size_t j = 0; j < head_dim; j++)
                out[(first + i) * q_stride + h * head_dim + j] = output[j * m + lane] * inverse;
        }
}

/* ---- cross-entropy, calibration ---- */

static void log_sum_exp(float *maximum, double *sum, const float *logits, size_t n) {
    vf largest = v_set(*maximum);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        largest = v_max(v_load(logits + i), largest);
    float top = v_largest(largest);
    for (; i < n; i++)
        top = logits[i] > top ? logits[i] : top;
    if (top > *maximum) {
        *sum = *sum > 0 ? *sum * exp((double)*maximum - (double)top) : 0;
        *maximum = top;
    }
    vf total = v_set(0);
    for (i = 0; i + LANES <= n; i += LANES)
        total = total + v_exp(v_load(logits + i) - v_set(top));
    *sum += (double)v_sum(total);
    for (; i < n; i++)
        *sum += exp((double)logits[i] - (double)top);
}

static void add_squares(double *restrict sums, const float *restrict x, size_t rows, size_t width) {
    for (size_t r = 0; r < rows; r++, x += width)
        for (size_t j = 0; j < width; j++)
            sums[j] += (double)x[j] * (double)x[j];
}
