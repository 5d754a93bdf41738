/* variants: what every test of kernels shares: the variants this processor has, inputs that an independent program can make again,
 * and comparison. One more variant is made here from the same bodies: sixteen lanes in plain C, so that what AVX-512 computes is
 * tested on every machine. */
#ifndef PARE_TENSOR_VARIANTS_H
#define PARE_TENSOR_VARIANTS_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel/kernel_tables.h"
#include "pare/tensor.h"
#include "test.h"

enum { LANES = 16, TILE_ROWS = 8 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef float unaligned_vf __attribute__((vector_size(64), aligned(4), may_alias));

#define v_load(address) ((vf) * (const unaligned_vf *)(address))
#define v_store(address, x) ((void)(*(unaligned_vf *)(address) = (x)))
#define v_set(x) ((vf){0} + (float)(x))
#define v_fma(a, b, c) ((a) * (b) + (c))

static inline __attribute__((always_inline)) vf v_max(vf a, vf b) {
    vi greater = a > b;
    return (vf)(((vi)a & greater) | ((vi)b & ~greater));
}

static inline __attribute__((always_inline)) vf v_sqrt(vf x) {
    for (int i = 0; i < LANES; i++)
        x[i] = sqrtf(x[i]);
    return x;
}

static float half_at(const uint8_t *bytes) {
    float value;
    pare_kernels_find("reference")->dequantize[PARE_DTYPE_F16](&value, bytes, 1);
    return value;
}

#include "kernel/dequantize_body.h"
#include "kernel/simd_body.h"
#include "kernel/attention_body.h"
#include "kernel/gemm_body.h"
#include "kernel/decode_body.h"
#include "kernel/training_body.h"

static const pare_kernels wide = KERNEL_TABLE("sixteen lanes");

enum { N_VARIANTS = 4 };

static inline const pare_kernels *variant_at(size_t i) {
    static const char *const names[] = {"avx2", "avx512", "amx"};
    return i == 0 ? &wide : pare_kernels_find(names[i - 1]);
}

#define FOR_EACH_VARIANT(kernels)                                                                                                          \
    for (size_t variant = 0; variant < N_VARIANTS; variant++)                                                                              \
        for (const pare_kernels *kernels = variant_at(variant); kernels; kernels = NULL)

/* A bound for variants whose products are f32, and one for those that multiply two halves in bf16, which leave 2^-18 of each product. */
static inline double within(const pare_kernels *kernels, double f32, double halves) {
    return strcmp(kernels->name, "amx") == 0 ? halves : f32;
}

static inline const pare_kernels *reference(void) {
    return pare_kernels_find("reference");
}

static inline float *filled(size_t n, const char *purpose, float scale) {
    pare_random random;
    pare_random_init(&random, 7, purpose, 0);
    float *x = pare_allocate(n, sizeof *x, NULL);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = scale * (float)(2 * pare_random_unit(&random) - 1);
    return x;
}

/* Numbers in [-scale, scale) that tools/fixtures/tensor_backward.py makes too: bits of a counter, mixed by MurmurHash3's finaliser. */
static inline float *numbered(size_t n, uint32_t seed, float scale) {
    float *x = pare_allocate(n, sizeof *x, NULL);
    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)i + seed * 1000003u;
        bits = (bits ^ bits >> 16) * 0x85ebca6bu;
        bits = (bits ^ bits >> 13) * 0xc2b2ae35u;
        bits ^= bits >> 16;
        x[i] = scale * ((float)(bits >> 8) / 8388608.0f - 1.0f);
    }
    return x;
}

static inline void assert_close(const char *what, const float *got, const float *wanted, size_t n, double tolerance) {
    double worst = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double gap = fabs((double)got[i] - (double)wanted[i]) / (1 + fabs((double)wanted[i]));
        if (!(gap <= worst)) {
            worst = gap;
            at = i;
        }
    }
    if (!(worst <= tolerance))
        fail_msg("%s: element %zu is %.9g, the reference says %.9g", what, at, (double)got[at], (double)wanted[at]);
}

#endif
