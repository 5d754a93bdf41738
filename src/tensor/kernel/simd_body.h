/* simd_body: the vector kernels, written once over a few operations that the includer defines for its instruction set:
 *   LANES, vf (LANES floats), vi (LANES int32), v_load, v_store (unaligned), v_set, v_fma(a, b, c) = a*b + c, v_max (returns its
 *   second operand when either is NaN, as x86 does), v_sqrt, TILE_ROWS (rows of the attention tiles: TILE_ROWS x 2 accumulators).
 * Here the operations and the forward pass element by element; attention_body.h and training_body.h go on from it. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vector_body.h"

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

static void add_moments(double *restrict sums, double *restrict squares, const float *restrict x, size_t rows, size_t width) {
    for (size_t r = 0; r < rows; r++, x += width)
        for (size_t j = 0; j < width; j++) {
            sums[j] += (double)x[j];
            squares[j] += (double)x[j] * (double)x[j];
        }
}
