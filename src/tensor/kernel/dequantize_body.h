/* dequantize_body: GGUF's block formats in plain loops of fixed length, which a compiler turns into good vector code.
 * Included by ref_kernels.c and, under their own machine flags, by the variants: same text, same roundings, same bits.
 * Layouts: the GGUF specification and ggml's block structures; half precision scales come first unless said. The includer
 * defines half_at(bytes): the f16 at an unaligned address as float. */
#include <stdint.h>
#include <string.h>

/* 32 weights: scale, 32 signed bytes */
static void dequantize_q8_0(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 32, block += 34, out += 32) {
        float scale = half_at(block);
        for (int j = 0; j < 32; j++)
            out[j] = scale * (float)(int8_t)block[2 + j];
    }
}

/* 32 weights: scale, 16 bytes; byte j holds weight j (low nibble) and j + 16 (high nibble); offset 8 */
static void dequantize_q4_0(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 32, block += 18, out += 32) {
        float scale = half_at(block);
        for (int j = 0; j < 16; j++) {
            out[j] = scale * (float)((block[2 + j] & 15) - 8);
            out[j + 16] = scale * (float)((block[2 + j] >> 4) - 8);
        }
    }
}

/* 32 weights: scale, minimum, 16 bytes of nibbles */
static void dequantize_q4_1(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 32, block += 20, out += 32) {
        float scale = half_at(block), minimum = half_at(block + 2);
        for (int j = 0; j < 16; j++) {
            out[j] = scale * (float)(block[4 + j] & 15) + minimum;
            out[j + 16] = scale * (float)(block[4 + j] >> 4) + minimum;
        }
    }
}

/* 32 weights: scale, 32 fifth bits (bit j for weight j), 16 bytes of nibbles; offset 16 */
static void dequantize_q5_0(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 32, block += 22, out += 32) {
        float scale = half_at(block);
        uint32_t high;
        memcpy(&high, block + 2, sizeof high);
        for (int j = 0; j < 16; j++) {
            out[j] = scale * (float)((int)((block[6 + j] & 15u) | ((high >> j) & 1u) << 4) - 16);
            out[j + 16] = scale * (float)((int)((block[6 + j] >> 4) | ((high >> (j + 16)) & 1u) << 4) - 16);
        }
    }
}

/* 32 weights: scale, minimum, fifth bits, nibbles */
static void dequantize_q5_1(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 32, block += 24, out += 32) {
        float scale = half_at(block), minimum = half_at(block + 2);
        uint32_t high;
        memcpy(&high, block + 4, sizeof high);
        for (int j = 0; j < 16; j++) {
            out[j] = scale * (float)(int)((block[8 + j] & 15u) | ((high >> j) & 1u) << 4) + minimum;
            out[j + 16] = scale * (float)(int)((block[8 + j] >> 4) | ((high >> (j + 16)) & 1u) << 4) + minimum;
        }
    }
}

/* Eight 6-bit scales and minima of a K block, packed in 12 bytes: the first four in the low six bits of bytes 0-3 and 4-7, the
 * others' low nibbles in bytes 8-11 and their two high bits on top of bytes 0-7. */
static void k_scales(uint8_t scale[8], uint8_t minimum[8], const uint8_t *packed) {
    for (int j = 0; j < 4; j++) {
        scale[j] = packed[j] & 63;
        minimum[j] = packed[j + 4] & 63;
        scale[j + 4] = (uint8_t)((packed[j + 8] & 15) | ((packed[j] >> 6) << 4));
        minimum[j + 4] = (uint8_t)((packed[j + 8] >> 4) | ((packed[j + 4] >> 6) << 4));
    }
}

/* 256 weights: scale, scale of minima, 12 bytes of scales, 128 bytes; 32 bytes hold 32 weights low and the next 32 high */
static void dequantize_q4_k(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 256, block += 144) {
        float d = half_at(block), dmin = half_at(block + 2);
        uint8_t scale[8], minimum[8];
        k_scales(scale, minimum, block + 4);
        for (int g = 0; g < 4; g++, out += 64) {
            const uint8_t *q = block + 16 + 32 * g;
            float d1 = d * (float)scale[2 * g], m1 = dmin * (float)minimum[2 * g];
            float d2 = d * (float)scale[2 * g + 1], m2 = dmin * (float)minimum[2 * g + 1];
            for (int j = 0; j < 32; j++) {
                out[j] = d1 * (float)(q[j] & 15) - m1;
                out[j + 32] = d2 * (float)(q[j] >> 4) - m2;
            }
        }
    }
}

/* As Q4_K with 32 bytes of fifth bits before the nibbles: bits 2g and 2g + 1 of byte j belong to group g */
static void dequantize_q5_k(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 256, block += 176) {
        float d = half_at(block), dmin = half_at(block + 2);
        uint8_t scale[8], minimum[8];
        k_scales(scale, minimum, block + 4);
        const uint8_t *high = block + 16;
        for (int g = 0; g < 4; g++, out += 64) {
            const uint8_t *q = block + 48 + 32 * g;
            float d1 = d * (float)scale[2 * g], m1 = dmin * (float)minimum[2 * g];
            float d2 = d * (float)scale[2 * g + 1], m2 = dmin * (float)minimum[2 * g + 1];
            for (int j = 0; j < 32; j++) {
                out[j] = d1 * (float)((q[j] & 15) + 16 * ((high[j] >> (2 * g)) & 1)) - m1;
                out[j + 32] = d2 * (float)((q[j] >> 4) + 16 * ((high[j] >> (2 * g + 1)) & 1)) - m2;
            }
        }
    }
}

/* 256 weights: 128 bytes of low nibbles, 64 of two high bits, 16 signed scales, scale last; offset 32 */
static void dequantize_q6_k(float *restrict out, const void *in, size_t n) {
    const uint8_t *block = in;
    for (size_t i = 0; i < n; i += 256, block += 210) {
        float d = half_at(block + 208);
        for (int half = 0; half < 2; half++, out += 128) {
            const uint8_t *low = block + 64 * half, *high = block + 128 + 32 * half, *scales = block + 192 + 8 * half;
            for (int j = 0; j < 32; j++) {
                float s[4];
                for (int g = 0; g < 4; g++)
                    s[g] = d * (float)(int8_t)scales[2 * g + j / 16];
                out[j] = s[0] * (float)(((low[j] & 15) | (high[j] & 3) << 4) - 32);
                out[j + 32] = s[1] * (float)(((low[j + 32] & 15) | ((high[j] >> 2) & 3) << 4) - 32);
                out[j + 64] = s[2] * (float)(((low[j] >> 4) | ((high[j] >> 4) & 3) << 4) - 32);
                out[j + 96] = s[3] * (float)(((low[j + 32] >> 4) | ((high[j] >> 6) & 3) << 4) - 32);
            }
        }
    }
}

static void dequantize_f32(float *restrict out, const void *in, size_t n) {
    memcpy(out, in, n * sizeof *out);
}

static void dequantize_bf16(float *restrict out, const void *in, size_t n) {
    const uint8_t *bytes = in;
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void dequantize_f16(float *restrict out, const void *in, size_t n) {
    const uint8_t *bytes = in;
    for (size_t i = 0; i < n; i++)
        out[i] = half_at(bytes + 2 * i);
}

#define DEQUANTIZE_TABLE                                                                                                                   \
    {                                                                                                                                      \
        [PARE_DTYPE_F32] = dequantize_f32, [PARE_DTYPE_F16] = dequantize_f16, [PARE_DTYPE_BF16] = dequantize_bf16,                         \
        [PARE_DTYPE_Q8_0] = dequantize_q8_0, [PARE_DTYPE_Q4_0] = dequantize_q4_0, [PARE_DTYPE_Q4_1] = dequantize_q4_1,                     \
        [PARE_DTYPE_Q5_0] = dequantize_q5_0, [PARE_DTYPE_Q5_1] = dequantize_q5_1, [PARE_DTYPE_Q4_K] = dequantize_q4_k,                     \
        [PARE_DTYPE_Q5_K] = dequantize_q5_k, [PARE_DTYPE_Q6_K] = dequantize_q6_k,                                                          \
    }
