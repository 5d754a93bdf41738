/* linear_backward: of y = x W^T + b + (s x A^T) B^T:
 *
 *   dx = dy W + (s dy B) A      dW += dy^T x     db += sum dy     dB += dy^T (s x A^T)     dA += (s dy B)^T x
 *
 * and where W = U V:
 *
 *   dx = (dy U) V               dU += dy^T (x V^T)               dV += (dy U)^T x
 *
 * W is packed in panels as in the forward pass. Sums over tokens are one GEMM call for each block of the result, so that they have one
 * order whatever the number of threads. */
#include <omp.h>
#include <string.h>

#include "gradient_impl.h"

static void input_backward(float *dx, const pare_view *weight, const float *dy, size_t n, bool accumulate, linear_scratch *scratch) {
    uint32_t step = panel_steps(weight, scratch), in = weight->n_columns, out = weight->n_rows;
    float *panel = scratch->panel;
#pragma omp parallel num_threads(scratch->n_threads)
    for (uint32_t first = 0; first < out; first += step) {
        uint32_t rows = out - first < step ? out - first : step;
        panel_pack_steps(panel, weight, first, rows, scratch);
#pragma omp for collapse(2) schedule(dynamic)
        for (size_t t = 0; t < n; t += TOKEN_BLOCK)
            for (uint32_t c = 0; c < in; c += ROW_BLOCK) /* dx[t.., c..] += dy[t.., first..] panel[.., c..] */
                pare_kernels_best()->gemm(dx + t * in + c, in, dy + t * out + first, out, panel + (size_t)c * rows,
                                          n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK, in - c < ROW_BLOCK ? in - c : ROW_BLOCK, rows,
                                          accumulate || first > 0);
    }
}

/* An even number of blocks, so that two threads share even a small matrix fairly. */
static size_t gradient_rows(size_t out) {
    size_t blocks = 2 * ((out + GRADIENT_BLOCKS - 1) / GRADIENT_BLOCKS);
    return (out + blocks - 1) / blocks;
}

void weight_backward(float *d_weight, const float *dy, const float *x, size_t out, size_t in, size_t n, int n_threads) {
    size_t step = gradient_rows(out);
#pragma omp parallel for num_threads(n_threads) schedule(dynamic)
    for (size_t r = 0; r < out; r += step)
        pare_gemm_tn(d_weight + r * in, dy + r, x, out - r < step ? out - r : step, in, n, out, in, in, true);
}

static void bias_backward(float *d_bias, const float *dy, size_t out, size_t n, int n_threads) {
    size_t step = gradient_rows(out);
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (size_t r = 0; r < out; r += step)
        pare_kernels_best()->add_rows(d_bias + r, dy + r, n, out - r < step ? out - r : step, out);
}

/* The gradient of x V^T lies behind x V^T itself in the scratch. */
static void factors_backward(float *dx, const pare_linear_gradient *gradient, const pare_linear *linear, const float *dy, const float *x,
                             size_t n, bool accumulate, linear_scratch *scratch) {
    size_t in = linear->inner.n_columns, out = linear->weight.n_rows, rank = linear->inner.n_rows;
    float *d_inner = scratch->inner + n * rank;
    if (dx || gradient->inner)
        input_backward(d_inner, &linear->weight, dy, n, false, scratch);
    if (dx)
        input_backward(dx, &linear->inner, d_inner, n, accumulate, scratch);
    if (gradient->inner)
        weight_backward(gradient->inner, d_inner, x, rank, in, n, scratch->n_threads);
    if (gradient->weight) {
        linear_inner(scratch->inner, linear, x, n, scratch);
        weight_backward(gradient->weight, dy, scratch->inner, out, rank, n, scratch->n_threads);
    }
}

/* Columns [first, first + columns) of dA += d_low^T dropout(x), a block of tokens at a time, in order. */
static void dropped_gradient(float *d_a, const pare_adapter *adapter, const float *d_low, const float *x, size_t in, size_t n, size_t first,
                             size_t columns, const linear_scratch *scratch) {
    float *part = scratch->dropped + (size_t)omp_get_thread_num() * scratch->dropped_floats;
    size_t rank = adapter->rank;
    for (size_t t = 0; t < n; t += TOKEN_BLOCK) {
        size_t m = n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK;
        dropout_apply(part, columns, x + t * in + first, in, adapter, t, m, first, columns);
        pare_gemm_tn(d_a + first, d_low + t * rank, part, rank, columns, m, rank, columns, in, true);
    }
}

static void adapter_backward(float *dx, const pare_linear_gradient *gradient, const pare_linear *linear, const float *dy, const float *x,
                             size_t n, linear_scratch *scratch, float *d_low) {
    const pare_adapter *adapter = linear->adapter;
    size_t in = pare_linear_inputs(linear), out = linear->weight.n_rows, rank = adapter->rank;
#pragma omp parallel for num_threads(scratch->n_threads) schedule(dynamic)
    for (size_t t = 0; t < n; t += TOKEN_BLOCK) {
        size_t m = n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK;
        pare_gemm_nn(d_low + t * rank, dy + t * out, adapter->b, m, rank, out, out, rank, rank, false);
        for (size_t i = t * rank; i < (t + m) * rank; i++)
            d_low[i] *= adapter->scale;
        if (dx && dropout_on(adapter)) {
            float *part = scratch->dropped + (size_t)omp_get_thread_num() * scratch->dropped_floats;
            pare_gemm_nn(part, d_low + t * rank, adapter->a, m, in, rank, rank, in, in, false);
            dropout_apply(part, in, part, in, adapter, t, m, 0, in);
            pare_kernels_best()->add(dx + t * in, part, m * in);
        } else if (dx) {
            pare_gemm_nn(dx + t * in, d_low + t * rank, adapter->a, m, in, rank, rank, in, in, true);
        }
    }
    if (gradient->b) {
        linear_low(scratch->low, linear, x, n, scratch);
        weight_backward(gradient->b, dy, scratch->low, out, rank, n, scratch->n_threads);
    }
    if (gradient->a) { /* few rows, many columns: blocks of columns */
        size_t columns = gradient_rows(in);
#pragma omp parallel for num_threads(scratch->n_threads) schedule(dynamic)
        for (size_t j = 0; j < in; j += columns) {
            if (dropout_on(adapter)) {
                dropped_gradient(gradient->a, adapter, d_low, x, in, n, j, in - j < columns ? in - j : columns, scratch);
                continue;
            }
            pare_gemm_tn(gradient->a + j, d_low, x + j, rank, in - j < columns ? in - j : columns, n, rank, in, in, true);
        }
    }
}

void linear_backward(float *dx, const pare_linear_gradient *gradient, const pare_linear *linear, const float *dy, const float *x, size_t n,
                     bool accumulate, linear_scratch *scratch, float *d_low) {
    size_t in = pare_linear_inputs(linear), out = linear->weight.n_rows;
    if (linear->inner.tensor) {
        factors_backward(dx, gradient, linear, dy, x, n, accumulate, scratch);
    } else {
        if (dx)
            input_backward(dx, &linear->weight, dy, n, accumulate, scratch);
        if (gradient->weight)
            weight_backward(gradient->weight, dy, x, out, in, n, scratch->n_threads);
    }
    if (gradient->bias)
        bias_backward(gradient->bias, dy, out, n, scratch->n_threads);
    if (linear->adapter)
        adapter_backward(dx, gradient, linear, dy, x, n, scratch, d_low);
}
