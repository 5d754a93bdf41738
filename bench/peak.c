/* peak: what this machine can do at best, to say what share of it a program reaches: f32 fused multiply-adds from registers alone,
 * by the widest vectors the processor has. Prints GFLOP/s. Usage: peak THREADS */
#include <immintrin.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHAINS = 12, ROUNDS = 1 << 22 }; /* enough independent chains to hide the latency */

__attribute__((target("avx512f"))) static float run_avx512(void) {
    __m512 sum[CHAINS], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(sum[i], x, y);
    }
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return _mm512_reduce_add_ps(sum[0]);
}

__attribute__((target("avx2,fma"))) static float run_avx2(void) {
    __m256 sum[CHAINS], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm256_set1_ps((float)i);
    for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm256_fmadd_ps(sum[i], x, y);
    }
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm256_add_ps(sum[0], sum[i]);
    float parts[8];
    _mm256_storeu_ps(parts, sum[0]);
    return parts[0];
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1, wide = __builtin_cpu_supports("avx512f");
    double best = 0;
    volatile float sink = 0;
    for (int repeat = 0; repeat < 20; repeat++) {
        double begin = omp_get_wtime();
#pragma omp parallel num_threads(threads)
        {
            float result = wide ? run_avx512() : run_avx2();
#pragma omp atomic write
            sink = result;
        }
        double rate = 2.0 * CHAINS * ROUNDS * (wide ? 16 : 8) * threads / (omp_get_wtime() - begin) * 1e-9;
        best = rate > best ? rate : best;
    }
    (void)sink;
    printf("%.1f\n", best);
    return 0;
}
