/* avx2_kernels: the vector kernels for AVX2 + FMA + F16C. Built with those flags; dispatch.c calls only where the processor has them. */
#if defined(__AVX2__)
#include <immintrin.h>

#include <string.h>

#include "kernel_tables.h"

enum { LANES = 8, TILE_ROWS = 6 }; /* 6 x 2 accumulators, two vectors and a broadcast: 15 of 16 registers */
typedef float vf __attribute__((vector_size(32)));
typedef int32_t vi __attribute__((vector_size(32)));

#define v_load(address) ((vf)_mm256_loadu_ps(address))
#define v_store(address, x) _mm256_storeu_ps(address, (__m256)(x))
#define v_set(x) ((vf)_mm256_set1_ps(x))
#define v_fma(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define v_max(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define v_sqrt(x) ((vf)_mm256_sqrt_ps((__m256)(x)))

static inline float half_at(const uint8_t *bytes) {
    uint16_t half;
    memcpy(&half, bytes, sizeof half);
    return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
}

#include "dequantize_body.h"
#include "simd_body.h"
#include "attention_body.h"
#include "gemm_body.h"
#include "decode_body.h"
#include "training_body.h"

const pare_kernels pare_kernels_avx2 = KERNEL_TABLE("avx2");
#endif
