/* gradient_impl: what the files of the backward pass share. */
#ifndef PARE_GRADIENT_IMPL_H
#define PARE_GRADIENT_IMPL_H

#include "../compute/compute.h"
#include "pare/gradient.h"

enum {
    LOSS_BYTES = 64 << 20, /* logits at a time */
    GRADIENT_BLOCKS = 384, /* rows of a weight gradient per two GEMM calls */
};

/* Memory of the loss: logits of one block of targets, student's and teacher's. */
typedef struct {
    size_t block;               /* targets at a time */
    float *logits, *teacher;    /* (block, vocabulary) */
    float *hidden, *d_hidden;   /* (N, C): rows that predict a target, and their gradients */
    float *teacher_hidden;      /* (N, C of the teacher) */
    uint32_t *rows, *targets;   /* (N) */
    double *nll, *divergence;   /* (block) */
    pare_forward *teacher_pass; /* NULL: no teacher */
} loss_state;

struct pare_pass {
    const pare_gradients *gradients;
    pare_distillation distillation;
    pare_arena *arena;
    bool recompute;
    size_t n_parts, part_windows; /* most parts of a batch, and windows of one: N tokens */
    pare_layer_ready *ready;      /* of a run by layers, or NULL */
    void *user;
    workspace work;
    layer_state *layers; /* (n_layers); with recompute they share everything but x */
    float *inputs;       /* (n_parts, n_layers + 1, N, C) what enters each layer, and what leaves the last */
    float *x;            /* (N, C) what leaves the last layer, in inputs */
    float *d_parts;      /* (n_parts, N, C) gradient of the residual stream */
    float *d;            /* (N, C) of the part at hand */
    float *d_hidden;     /* (N, C) gradient of a norm's output */
    float *d_ffn;        /* (N, F) */
    float *d_q;          /* (N, n_heads * D) */
    float *d_attended;   /* (N, n_heads * D) */
    float *d_heads[2];   /* (windows, n_heads, T, D): keys' and values' gradients, a query head each */
    float *d_kv[2];      /* (N, n_kv_heads * D) */
    float *minus_sine;   /* (T, D / 2) */
    float *norm_parts;   /* (chunks, C): weight gradients of a norm by chunks of tokens */
    float *low;          /* (N, rank): gradient of an adapter's x A^T */
    float *attention;    /* (n_threads, attention_floats) */
    size_t attention_floats;
    loss_state loss;
};

/* dx (n, in) [+]= dy (n, out) W + adapter's part; gradients of weight, bias and adapter += theirs. dx NULL: not wanted.
 * d_low: (n, rank) of scratch for adapters. */
void linear_backward(float *dx, const pare_linear_gradient *gradient, const pare_linear *linear, const float *dy, const float *x, size_t n,
                     bool accumulate, linear_scratch *scratch, float *d_low);
/* d_weight (out, in) += dy (n, out)^T x (n, in) */
void weight_backward(float *d_weight, const float *dy, const float *x, size_t out, size_t in, size_t n, int n_threads);

/* d (N, C) += gradient of norm's input; d_weight NULL or += */
void norm_backward(pare_pass *pass, float *d_weight, const float *dy, const float *x, const float *weight, size_t n);

/* pass->d: from the gradient of a layer's output to that of its input. The state's gate and up are spent. */
void layer_backward(pare_pass *pass, uint32_t index);

size_t loss_bytes(const pare_pass *pass);
bool loss_open(pare_pass *pass, pare_error *error) PARE_MUST_CHECK;
void loss_close(pare_pass *pass);
/* hidden (N, C) after the final norm -> the loss, and pass->d_hidden (N, C) its gradient. */
bool loss_run(pare_pass_loss *loss, pare_pass *pass, const pare_batch *batch, const float *hidden, double scale,
              pare_error *error) PARE_MUST_CHECK;

#endif
