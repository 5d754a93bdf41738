/* dtype: the stored number types, their block sizes, and packing f32 into the three that pare writes. */
#include <string.h>
#include <strings.h>

#include "pare/tensor.h"

static const pare_dtype_traits traits[PARE_DTYPE_COUNT] = {
    [PARE_DTYPE_F32] = {"f32", 1, 4, false},      [PARE_DTYPE_F16] = {"f16", 1, 2, false},
    [PARE_DTYPE_BF16] = {"bf16", 1, 2, false},    [PARE_DTYPE_Q8_0] = {"q8_0", 32, 34, true},
    [PARE_DTYPE_Q4_0] = {"q4_0", 32, 18, true},   [PARE_DTYPE_Q4_1] = {"q4_1", 32, 20, true},
    [PARE_DTYPE_Q5_0] = {"q5_0", 32, 22, true},   [PARE_DTYPE_Q5_1] = {"q5_1", 32, 24, true},
    [PARE_DTYPE_Q4_K] = {"q4_k", 256, 144, true}, [PARE_DTYPE_Q5_K] = {"q5_k", 256, 176, true},
    [PARE_DTYPE_Q6_K] = {"q6_k", 256, 210, true},
};

const pare_dtype_traits *pare_dtype_info(pare_dtype dtype) {
    return &traits[dtype];
}

bool pare_dtype_find(pare_dtype *dtype, const char *name) {
    for (int i = 0; i < PARE_DTYPE_COUNT; i++)
        if (strcasecmp(name, traits[i].name) == 0) {
            *dtype = (pare_dtype)i;
            return true;
        }
    return false;
}

bool pare_dtype_row_bytes(uint64_t *bytes, pare_dtype dtype, uint64_t n) {
    const pare_dtype_traits *t = &traits[dtype];
    return n % t->block == 0 && !__builtin_mul_overflow(n / t->block, (uint64_t)t->bytes, bytes);
}

static uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Round to nearest even on the upper half; a NaN keeps its sign and stays quiet. */
static uint16_t bf16_from(float value) {
    uint32_t bits = float_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/* IEEE binary16, round to nearest even; too large becomes infinity. */
static uint16_t f16_from(float value) {
    uint32_t bits = float_bits(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520: halfway between the largest half and the next step */
        return (uint16_t)(sign | 0x7c00u);
    uint32_t exponent = magnitude >> 23, shift = 13, mantissa = magnitude;
    uint32_t base = 112u << 23; /* difference of the exponents' biases */
    if (exponent < 113) {       /* subnormal half: the hidden bit becomes explicit and shifts down */
        if (exponent < 102)
            return (uint16_t)sign;
        shift = 126 - exponent;
        mantissa = (magnitude & 0x7fffffu) | 0x800000u;
        base = 0;
    }
    uint32_t rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
    uint32_t result = (mantissa - base) >> shift;
    result += rest > half || (rest == half && (result & 1u));
    return (uint16_t)(sign | result);
}

void pare_dtype_pack(void *out, pare_dtype dtype, const float *in, size_t n) {
    if (dtype == PARE_DTYPE_F32) {
        memcpy(out, in, n * sizeof *in);
        return;
    }
    uint8_t *bytes = out;
    for (size_t i = 0; i < n; i++) {
        uint16_t half = dtype == PARE_DTYPE_BF16 ? bf16_from(in[i]) : f16_from(in[i]);
        memcpy(bytes + 2 * i, &half, sizeof half);
    }
}
