/* vector_body: what kernels ask of one vector, over the operations that simd_body.h names. */
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

INLINE float v_sum(vf x) {
    float parts[LANES], sum = 0;
    v_store(parts, x);
    for (int i = 0; i < LANES; i++)
        sum += parts[i];
    return sum;
}

INLINE float v_largest(vf x) {
    float parts[LANES];
    v_store(parts, x);
    float largest = parts[0];
    for (int i = 1; i < LANES; i++)
        largest = parts[i] > largest ? parts[i] : largest;
    return largest;
}

/* e^x = 2^n e^r, |r| <= ln2/2, e^r by its series to r^7 (error below 6e-9); clamped to [-86, 88], NaN goes through.
 * n comes from adding 1.5 * 2^23, which leaves the rounded integer in the low mantissa bits. */
INLINE vf v_exp(vf x) {
    x = v_max(v_set(-86.0f), x);
    x = -v_max(v_set(-88.0f), -x);
    vf magic = v_set(12582912.0f), t = v_fma(x, v_set(1.44269504f), magic), n = t - magic;
    vf r = v_fma(n, v_set(-0.693145752f), x); /* ln 2 in two parts: the first has few bits, so that n times it is exact */
    r = v_fma(n, v_set(-1.42860677e-6f), r);
    vf p = v_set(1.0f / 5040.0f);
    p = v_fma(p, r, v_set(1.0f / 720.0f));
    p = v_fma(p, r, v_set(1.0f / 120.0f));
    p = v_fma(p, r, v_set(1.0f / 24.0f));
    p = v_fma(p, r, v_set(1.0f / 6.0f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, r, v_set(1.0f));
    p = v_fma(p, r, v_set(1.0f));
    return (vf)((vi)p + ((vi)t << 23));
}
