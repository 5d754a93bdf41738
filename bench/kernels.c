/* kernels: what each kernel of training reaches on one thread, alone. Prints GFLOP/s of attention (with its share of the peak, given
 * as bench/peak.c prints it) and GB/s of the others, which memory bounds. Usage: kernels [VARIANT] [PEAK]
 * Build: cc -O2 -Iinclude bench/kernels.c build/libpare_tensor.a build/libpare_base.a -lopenblas -lm -o kernels */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pare/tensor.h"

static const pare_kernels *kernels;
static double peak;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *filled(size_t n, float scale) {
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    if (!x)
        exit(1);
    for (size_t i = 0; i < n; i++)
        x[i] = scale * (float)((i * 2654435761u >> 8 & 0xffff) / 32768.0 - 1);
    return x;
}

/* Seconds of the fastest call among those of a third of a second. */
#define FASTEST(seconds, call)                                                                                                             \
    do {                                                                                                                                   \
        seconds = 1e9;                                                                                                                     \
        for (double stop_ = now() + 0.35; now() < stop_;) {                                                                                \
            double begin_ = now();                                                                                                         \
            call;                                                                                                                          \
            double took_ = now() - begin_;                                                                                                 \
            seconds = took_ < seconds ? took_ : seconds;                                                                                   \
        }                                                                                                                                  \
    } while (0)

static void bench_attention(size_t T, size_t group, size_t D) {
    size_t width = group * D;
    float *q = filled(T * width, 1), *k = filled(T * D, 1), *v = filled(T * D, 1), *out = filled(T * width, 1),
          *dout = filled(T * width, 1);
    float *dq = filled(T * width, 0), *dk = filled(T * D, 0), *dv = filled(T * D, 0), *lse = filled(T * group, 0);
    size_t a = kernels->attention_scratch(group, D, T), b = kernels->attention_backward_scratch(group, D, T);
    float *scratch = filled(a > b ? a : b, 0), scale = (float)(1 / sqrt((double)D));
    double forward, backward, products = (double)T * (double)(T + 1) / 2 * (double)(group * D) * 2e-9; /* GFLOP of one product */
    FASTEST(forward, for (size_t t = 0; t < T; t += PARE_ATTENTION_QUERIES) kernels->attention(
                         out + t * width, lse + t, q + t * width, k, v, t, T - t < PARE_ATTENTION_QUERIES ? T - t : PARE_ATTENTION_QUERIES,
                         group, D, width, D, T, scale, scratch));
    FASTEST(backward, kernels->attention_backward(dq, dk, dv, q, k, v, out, dout, lse, T, group, D, width, D, T, scale, scratch));
    printf("attention T %4zu group %zu D %3zu: forward %6.1f GFLOP/s (%3.0f %%), backward %6.1f GFLOP/s (%3.0f %%)\n", T, group, D,
           2 * products / forward, 200 * products / forward / peak, 5 * products / backward, 500 * products / backward / peak);
    float *all[] = {q, k, v, out, dout, dq, dk, dv, lse, scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void bench_elements(size_t rows, size_t width) {
    size_t n = rows * width;
    float *a = filled(n, 1), *b = filled(n, 1), *c = filled(n, 1), *d = filled(n, 1), *weight = filled(width, 1), *sum = filled(width, 0);
    pare_adamw_step step = {1e-9f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.1f, 0.001f, 1};
    double s, bytes = 4e-9 * (double)n;
    volatile double sink = 0;
#define REPORT(name, streams, call)                                                                                                        \
    FASTEST(s, call);                                                                                                                      \
    printf("%-18s %6.2f GB/s, %6.2f G elements/s\n", name, (streams)*bytes / s, bytes / 4 / s)
    printf("%zu rows of %zu:\n", rows, width);
    REPORT("rms_norm", 2, kernels->rms_norm(d, a, weight, rows, width, 1e-5f));
    REPORT("rms_norm_backward", 4, kernels->rms_norm_backward(d, sum, a, b, weight, rows, width, 1e-5f));
    REPORT("swiglu", 3, kernels->swiglu(d, a, b, n));
    memcpy(b, a, n * sizeof *a);
    memset(d, 0, n * sizeof *d);
    REPORT("swiglu_backward", 5, kernels->swiglu_backward(b, c, d, n));
    REPORT("exp_scaled", 2, kernels->exp_scaled(d, a, n, 1, 2, 0.5f));
    memcpy(b, a, n * sizeof *a);
    memset(c, 0, n * sizeof *c);
    REPORT("adamw", 7, kernels->adamw(b, d, c, a, n, &step));
    REPORT("sum_squares", 1, sink += kernels->sum_squares(a, n));
    REPORT("add_scaled", 3, kernels->add_scaled(d, a, 1e-9f, n));
    REPORT("add_rows", 1, kernels->add_rows(sum, a, rows, width, width));
    float *all[] = {a, b, c, d, weight, sum};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

int main(int argc, char **argv) {
    kernels = argc > 1 ? pare_kernels_find(argv[1]) : pare_kernels_best();
    peak = argc > 2 ? atof(argv[2]) : (double)NAN;
    if (!kernels) {
        fprintf(stderr, "kernels: this processor has no %s\n", argv[1]);
        return 2;
    }
    static const size_t shapes[][3] = {{512, 1, 64}, {2048, 1, 64}, {2048, 3, 64}, {2048, 1, 128}, {2048, 1, 96},
                                       {256, 1, 8},  {512, 1, 16},  {512, 1, 24},  {512, 1, 32}};
    printf("%s\n", kernels->name);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        bench_attention(shapes[i][0], shapes[i][1], shapes[i][2]);
    bench_elements(2048, 1536); /* larger than the caches */
    bench_elements(32, 576);    /* within them */
    return 0;
}
