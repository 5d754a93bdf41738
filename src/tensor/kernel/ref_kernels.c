/* ref_kernels: every kernel as its formula says, in portable C with double accumulation. What the variants are tested against,
 * and what runs where no variant serves. Letters: T tokens, D head size. */
#include <math.h>
#include <string.h>

#include "kernel_tables.h"

static float half_at(const uint8_t *bytes) {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    uint32_t exponent = (half >> 10) & 31u, mantissa = half & 1023u;
    double magnitude = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                       : exponent     ? ldexp((double)(mantissa | 1024u), (int)exponent - 25)
                                      : ldexp((double)mantissa, -24);
    return (float)(half & 0x8000u ? -magnitude : magnitude);
}

#include "dequantize_body.h"
#include "ref_training_body.h"

/* out = x / sqrt(mean(x^2) + eps) * weight */
static void rms_norm(float *out, const float *x, const float *weight, size_t rows, size_t width, float eps) {
    for (size_t r = 0; r < rows; r++, x += width, out += width) {
        double sum = 0;
        for (size_t j = 0; j < width; j++)
            sum += (double)x[j] * (double)x[j];
        float scale = (float)(1.0 / sqrt(sum / (double)width + (double)eps));
        for (size_t j = 0; j < width; j++)
            out[j] = x[j] * scale * weight[j];
    }
}

/* (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), x1 the first half of the head, x2 the second */
static void rotary(float *x, const float *cosine, const float *sine, size_t rows, size_t stride, size_t n_heads, size_t head_dim) {
    size_t half = head_dim / 2;
    for (size_t r = 0; r < rows; r++, x += stride, cosine += half, sine += half)
        for (size_t h = 0; h < n_heads; h++) {
            float *a = x + h * head_dim, *b = a + half;
            for (size_t j = 0; j < half; j++) {
                float x1 = a[j], x2 = b[j];
                a[j] = x1 * cosine[j] - x2 * sine[j];
                b[j] = x2 * cosine[j] + x1 * sine[j];
            }
        }
}

/* out = gate / (1 + exp(-gate)) * up */
static void swiglu(float *out, const float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)gate[i] / (1.0 + exp(-(double)gate[i])) * (double)up[i]);
}

static void add(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static size_t attention_scratch(size_t group, size_t head_dim, size_t n_tokens) {
    (void)head_dim;
    return group * n_tokens; /* the scores of one query row */
}

/* out = softmax(q k^T * scale, keys up to the query's own) v */
static void attention(float *out, float *lse, const float *q, const float *k, const float *v, size_t first, size_t n_queries, size_t group,
                      size_t head_dim, size_t q_stride, size_t kv_stride, size_t lse_stride, float scale, float *scratch) {
    for (size_t i = 0, t = first; i < n_queries; i++, t++)
        for (size_t h = 0; h < group; h++) {
            const float *query = q + i * q_stride + h * head_dim;
            double maximum = (double)-INFINITY, sum = 0;
            for (size_t s = 0; s <= t; s++) {
                double dot = 0;
                for (size_t j = 0; j < head_dim; j++)
                    dot += (double)query[j] * (double)k[s * kv_stride + j];
                scratch[s] = (float)(dot * (double)scale);
                maximum = fmax(maximum, (double)scratch[s]);
            }
            for (size_t s = 0; s <= t; s++) {
                scratch[s] = (float)exp((double)scratch[s] - maximum);
                sum += (double)scratch[s];
            }
            if (lse)
                lse[h * lse_stride + i] = (float)(maximum + log(sum));
            for (size_t j = 0; j < head_dim; j++) {
                double value = 0;
                for (size_t s = 0; s <= t; s++)
                    value += (double)scratch[s] * (double)v[s * kv_stride + j];
                out[i * q_stride + h * head_dim + j] = (float)(value / sum);
            }
        }
}

static void attention_one(float *out, const float *q, const float *k, const float *v, size_t n_keys, size_t group, size_t head_dim,
                          size_t kv_stride, float scale, float *scratch) {
    attention(out, NULL, q, k, v, n_keys - 1, 1, group, head_dim, group * head_dim, kv_stride, 0, scale, scratch);
}

static void gemm_few(float *c, size_t c_row, const float *a, size_t a_row, const float *b, size_t m, size_t n, size_t k, bool accumulate) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = accumulate ? (double)c[i * c_row + j] : 0;
            for (size_t s = 0; s < k; s++)
                sum += (double)a[i * a_row + s] * (double)b[j * k + s];
            c[i * c_row + j] = (float)sum;
        }
}

enum { PANEL = 8 };

static void gemm_pack(float *packed, const float *b, size_t n, size_t k) {
    for (size_t s = 0; s < k; s++)
        for (size_t lane = 0; lane < PANEL; lane++)
            packed[s * PANEL + lane] = lane < n ? b[lane * k + s] : 0;
}

static void gemm_pack_step(float *packed, const float *row, size_t n, size_t k, size_t step) {
    for (size_t j = 0; j < (n + PANEL - 1) / PANEL * PANEL; j++)
        packed[j / PANEL * PANEL * k + step * PANEL + j % PANEL] = j < n ? row[j] : 0;
}

static void gemm(float *c, size_t c_row, const float *a, size_t a_row, const float *packed, size_t m, size_t n, size_t k, bool accumulate) {
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = accumulate ? (double)c[i * c_row + j] : 0;
            for (size_t s = 0; s < k; s++)
                sum += (double)a[i * a_row + s] * (double)packed[j / PANEL * PANEL * k + s * PANEL + j % PANEL];
            c[i * c_row + j] = (float)sum;
        }
}

static void log_sum_exp(float *maximum, double *sum, const float *logits, size_t n) {
    float largest = *maximum;
    for (size_t i = 0; i < n; i++)
        largest = logits[i] > largest || isnan(logits[i]) ? logits[i] : largest;
    if (largest > *maximum || isnan(largest)) {
        *sum = *sum > 0 ? *sum * exp((double)*maximum - (double)largest) : 0;
        *maximum = largest;
    }
    for (size_t i = 0; i < n; i++)
        *sum += exp((double)logits[i] - (double)largest);
}

static void add_moments(double *sums, double *squares, const float *x, size_t rows, size_t width) {
    for (size_t r = 0; r < rows; r++, x += width)
        for (size_t j = 0; j < width; j++) {
            sums[j] += (double)x[j];
            squares[j] += (double)x[j] * (double)x[j];
        }
}

const pare_kernels pare_kernels_reference = KERNEL_TABLE("reference");
