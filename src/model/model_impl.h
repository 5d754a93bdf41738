/* model_impl: what model.c, linear.c, forward.c and head.c share. */
#ifndef PARE_MODEL_IMPL_H
#define PARE_MODEL_IMPL_H

#include "pare/model.h"

/* Work is cut into pieces of these sizes whatever the number of threads, so that the thread count does not change the bits. */
enum {
    PANEL_BYTES = 8 << 20, /* de-quantised weights at a time: they stay in the last-level cache while every token block uses them */
    TOKEN_BLOCK = 512,     /* tokens per GEMM call: OpenBLAS packs the weights anew in each call, 1/512 of its work */
    ROW_BLOCK = 1024,      /* weight rows per GEMM call */
};

/* Scratch of one model's linears: a panel of weights, and per thread one row for column gathers. */
typedef struct {
    float *panel;
    float *rows; /* (n_threads, row_floats) */
    size_t panel_floats, row_floats;
    int n_threads;
} linear_scratch;

/* y (n, out) [+]= x (n, in) W^T + bias, on the scratch's threads. */
void linear_run(float *y, const pare_linear *linear, const float *x, size_t n, bool accumulate, linear_scratch *scratch);

/* Rows of the view that fit one panel. */
uint32_t panel_rows(const pare_view *view, const linear_scratch *scratch);

/* De-quantises rows [first, first + n) into the panel, or points into memory where they lie as f32. To be called by every thread
 * of a parallel region; ends with a barrier. */
const float *panel_fill(const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch);

struct pare_forward {
    const pare_model *model;
    const pare_context *context;
    pare_arena *arena;
    size_t windows_max, length_max, tokens_max, tokens; /* tokens: rows of the last run */
    float *x, *h;                                       /* residual and normed, (tokens, width) */
    float *q, *k, *v;                                   /* (tokens, heads * head_dim) */
    float *keys, *values;                               /* (windows, n_kv_heads, length, head_dim) */
    float *gate, *up;                                   /* (tokens, ffn_width) */
    float *cosine, *sine;                               /* (length, head_dim / 2) */
    float *attention;                                   /* per thread */
    size_t attention_floats;
    float *logits;           /* per thread, (TOKEN_BLOCK, ROW_BLOCK) */
    float *maximum, *target; /* (tokens): streaming softmax of the head */
    double *sum;
    linear_scratch scratch;
};

#endif
