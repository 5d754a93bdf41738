/* quantize: f32 into the blocks of 32 weights that pare writes, Q8_0, Q4_0 and Q4_1.
 *
 * The formulas are those of llama.cpp's reference quantiser without a fused multiply-add, so that a file has the same bits whoever made
 * it. The scale is rounded to f16 only when it is stored; weights are divided by the unrounded one.
 * Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#include <math.h>

#include "pare/tensor.h"

enum { BLOCK = 32, HALF = BLOCK / 2 };

bool pare_dtype_writable(pare_dtype dtype) {
    switch (dtype) {
    case PARE_DTYPE_F32:
    case PARE_DTYPE_F16:
    case PARE_DTYPE_BF16:
    case PARE_DTYPE_Q8_0:
    case PARE_DTYPE_Q4_0:
    case PARE_DTYPE_Q4_1: return true;
    default: return false;
    }
}

static void put_half(uint8_t *out, float value) {
    pare_dtype_pack(out, PARE_DTYPE_F16, &value, 1);
}

/* A scale so small that its inverse is infinite is zero as f16: whatever the weights are, they read back as zero. */
static float inverse(float scale) {
    return scale != 0 && isfinite(1 / scale) ? 1 / scale : 0;
}

/* d = max |x| / 127; q = x / d to nearest, halves away from zero: (f16 d, 32 bytes) */
static void quantize_q8_0(uint8_t *out, const float *x) {
    float largest = 0;
    for (int i = 0; i < BLOCK; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    float scale = largest / 127, by = inverse(scale);
    put_half(out, scale);
    for (int i = 0; i < BLOCK; i++)
        out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * by);
}

/* A weight as its nearest of 16 steps, all of them at or above zero. */
static uint8_t nibble(float steps) {
    int q = (int)steps;
    return (uint8_t)(q < 15 ? q : 15);
}

/* The first half of a block lies in the low nibbles, the second in the high ones. */
static void put_nibbles(uint8_t *out, const float *x, float zero, float by, float offset) {
    for (int i = 0; i < HALF; i++) {
        float low = (x[i] - zero) * by + offset, high = (x[HALF + i] - zero) * by + offset;
        out[i] = (uint8_t)(nibble(low) | nibble(high) << 4);
    }
}

/* d = x of the largest magnitude / -8, so that this x is exactly step 0; q = x / d + 8 to nearest: (f16 d, 16 bytes) */
static void quantize_q4_0(uint8_t *out, const float *x) {
    float largest = 0, extreme = 0;
    for (int i = 0; i < BLOCK; i++)
        if (fabsf(x[i]) > largest) {
            largest = fabsf(x[i]);
            extreme = x[i];
        }
    float scale = extreme / -8;
    put_half(out, scale);
    put_nibbles(out + 2, x, 0, inverse(scale), 8.5f);
}

/* m = min x, d = (max x - m) / 15; q = (x - m) / d to nearest: (f16 d, f16 m, 16 bytes) */
static void quantize_q4_1(uint8_t *out, const float *x) {
    float least = x[0], most = x[0];
    for (int i = 1; i < BLOCK; i++) {
        least = x[i] < least ? x[i] : least;
        most = x[i] > most ? x[i] : most;
    }
    float scale = (most - least) / 15;
    put_half(out, scale);
    put_half(out + 2, least);
    put_nibbles(out + 4, x, least, inverse(scale), 0.5f);
}

void pare_dtype_quantize(void *out, pare_dtype dtype, const float *in, size_t n) {
    uint8_t *to = out;
    size_t step = pare_dtype_info(dtype)->bytes;
    for (size_t i = 0; i + BLOCK <= n; i += BLOCK, to += step) {
        if (dtype == PARE_DTYPE_Q8_0)
            quantize_q8_0(to, in + i);
        else if (dtype == PARE_DTYPE_Q4_0)
            quantize_q4_0(to, in + i);
        else
            quantize_q4_1(to, in + i);
    }
}
