/* avx512_kernels: the vector kernels for AVX-512 F, BW, DQ, VL. Built with those flags; dispatch.c calls only where the processor
 * has them. */
#if defined(__AVX512F__)
#include <immintrin.h>
#include <string.h>

#include "kernel_tables.h"

enum { LANES = 16, TILE_ROWS = 8 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));

#define v_load(address) ((vf)_mm512_loadu_ps(address))
#define v_store(address, x) _mm512_storeu_ps(address, (__m512)(x))
#define v_set(x) ((vf)_mm512_set1_ps(x))
#define v_fma(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define v_max(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define v_sqrt(x) ((vf)_mm512_sqrt_ps((__m512)(x)))

static inline float half_at(const uint8_t *bytes) {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
}

#include "dequantize_body.h"
#include "simd_body.h"
#include "attention_body.h"
#include "gemm_body.h"
#include "training_body.h"

const pare_kernels pare_kernels_avx512 = KERNEL_TABLE("avx512");
#endif
