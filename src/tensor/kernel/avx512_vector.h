/* avx512_vector: the operations that simd_body.h asks for, by AVX-512 F. */
#ifndef PARE_AVX512_VECTOR_H
#define PARE_AVX512_VECTOR_H

#include <immintrin.h>

enum { LANES = 16, TILE_ROWS = 8 };
typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));

#define v_load(address) ((vf)_mm512_loadu_ps(address))
#define v_store(address, x) _mm512_storeu_ps(address, (__m512)(x))
#define v_set(x) ((vf)_mm512_set1_ps(x))
#define v_fma(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define v_max(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define v_sqrt(x) ((vf)_mm512_sqrt_ps((__m512)(x)))

#endif
