/* avx512_kernels: the vector kernels for AVX-512 F, BW, DQ, VL. Built with those flags; dispatch.c calls only where the processor
 * has them. */
#if defined(__AVX512F__)
#include <immintrin.h>
#include <string.h>

#include "avx512_vector.h"
#include "kernel_tables.h"

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

const pare_kernels pare_kernels_avx512 = KERNEL_TABLE("avx512");
#endif
