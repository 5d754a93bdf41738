/* compute: what the files of the forward and the backward pass share. */
#ifndef PARE_COMPUTE_H
#define PARE_COMPUTE_H

#include "pare/model.h"

/* Work is cut into pieces of these sizes whatever the number of threads, so that the thread count does not change the bits. */
enum {
    PANEL_BYTES = 8 << 20, /* packed weights at a time: they stay in the last-level cache while every block of tokens uses them */
    TOKEN_BLOCK = 96,      /* tokens of one task: their rows stay in the second cache while all weights pass */
    ROW_BLOCK = 640,       /* weight rows (or columns) of one task at most, a multiple of every gemm_panel */
};

/* Scratch of one model's linears: packed weights, per thread the rows that are being packed, x A^T of an adapter, and x V^T of factored
 * matrices. */
typedef struct {
    float *panel;
    float *rows;    /* (n_threads, row_floats) */
    float *low;     /* (tokens, rank) */
    float *inner;   /* (tokens, ranks of those that read the same x), and for the way back (tokens, rank) twice */
    float *dropped; /* (n_threads, dropped_floats): a block of x without what dropout takes */
    size_t panel_floats, row_floats, low_floats, inner_floats, dropped_floats;
    int n_threads;
    bool decode; /* the products at hand are of few rows */
} linear_scratch;

/* Sizes of a scratch for every linear of the model, over at most `tokens` tokens; and its memory. */
void linear_scratch_plan(linear_scratch *scratch, const pare_model *model, size_t tokens, int n_threads);
size_t linear_scratch_bytes(const linear_scratch *scratch);
bool linear_scratch_allocate(linear_scratch *scratch, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* Linears that read the same x, each into a y of its own. */
enum { LINEAR_JOBS_MAX = 3 };
typedef struct {
    const pare_linear *linear;
    float *y;
} linear_job;
void linear_run_jobs(const linear_job *jobs, size_t n_jobs, const float *x, size_t n, bool accumulate, linear_scratch *scratch);
/* y (n, out) [+]= x (n, in) W^T + bias + scale (x A^T) B^T, on the scratch's threads. `decode` in the scratch: for few rows of x, each
 * weight is read once, as it lies. */
void linear_run(float *y, const pare_linear *linear, const float *x, size_t n, bool accumulate, linear_scratch *scratch);
/* ---- dropout.c ---- */

bool dropout_on(const pare_adapter *adapter);
/* out = dropout(x) for rows [first_row, …) and columns [first_column, …) of what the adapter reads, out and x at the first of them. */
void dropout_apply(float *out, size_t out_row, const float *x, size_t x_row, const pare_adapter *adapter, size_t first_row, size_t rows,
                   size_t first_column, size_t columns);

/* low (n, rank) = scale dropout(x) A^T */
void linear_low(float *low, const pare_linear *linear, const float *x, size_t n, const linear_scratch *scratch);

/* inner (n, rank) = x V^T of a factored matrix */
void linear_inner(float *inner, const pare_linear *linear, const float *x, size_t n, linear_scratch *scratch);

/* Packs rows [first, first + n) of a weight for pare_kernels.gemm, as columns of B (y = x W^T) or as its steps (dx = dy W). To be
 * called by every thread of a parallel region; end with a barrier. panel_rows, panel_steps: how many rows fit the panel so. */
void panel_pack_rows(float *panel, const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch);
void panel_pack_steps(float *panel, const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch);
uint32_t panel_rows(const pare_view *view, size_t panel_floats);
uint32_t panel_steps(const pare_view *view, const linear_scratch *scratch);

/* ---- one layer ------------------------------------------------------------------------------ */

/* What one layer computes for N tokens of several windows of T (C width, D head size, F FFN width). A pass that keeps nothing lets
 * the names that may be shared be one buffer. */
typedef struct {
    float *x;             /* (N, C) comes in */
    float *middle;        /* (N, C) after attention; may be x */
    float *out;           /* (N, C) goes out; may be middle; NULL: not wanted, stop at gate and up */
    float *q;             /* (N, n_heads * D) rotated */
    float *keys, *values; /* where the segments say: of windows (windows, n_kv_heads, T, D); keys rotated */
    float *attended;      /* (N, n_heads * D) may be q */
    float *lse;           /* (windows, n_heads, T) log-sum-exp of the scores, or NULL; of windows only */
    float *gate, *up;     /* (N, F) before the activation */
    float *act;           /* (N, F) silu(gate) * up; may be gate */
} layer_state;

/* New tokens of one sequence among the rows of a run: [first, first + n), behind `past` tokens of the same sequence. The keys and values of
 * all of them lie at (n_kv_heads, capacity, D) from floats room * n_kv_heads * D of the layer's on. */
#define NO_PARENT SIZE_MAX
typedef struct {
    size_t first, n, past;
    size_t room, capacity;
    size_t parent; /* NO_PARENT, or an earlier segment that this one follows: what comes before is copied from there */
} segment;

/* What layers use one after the other. */
typedef struct {
    const pare_model *model;
    const pare_context *context;
    size_t windows, length; /* of the run at hand when it is of windows alike */
    size_t tokens;          /* rows of the run at hand */
    segment *segments;      /* (tokens_max) */
    uint32_t *segment_of;   /* (tokens_max) row -> segment */
    size_t n_segments, tokens_max, length_max;
    float *h;             /* (N, C) normed */
    float *k, *v;         /* (N, n_kv_heads * D) */
    float *cosine, *sine; /* (length_max, D / 2) */
    float *attention;     /* (n_threads, attention_floats) */
    size_t attention_floats;
    linear_scratch scratch;
} workspace;

/* Of at most `tokens` rows, in sequences of at most `length` tokens. Refuses lengths that the model does not know; plans sizes,
 * then allocates. */
bool workspace_plan(workspace *w, const pare_model *model, size_t tokens, size_t length, const pare_context *context,
                    pare_error *error) PARE_MUST_CHECK;
size_t workspace_bytes(const workspace *w);
bool workspace_allocate(workspace *w, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
/* The run at hand: windows alike, keys and values (windows, n_kv_heads, length, D); or the segments that are listed. */
void workspace_windows(workspace *w, size_t windows, size_t length);
void workspace_segments(workspace *w, size_t n_segments);

/* x (n, C) = rows of the embedding */
bool embed(float *x, workspace *w, const uint32_t *ids, size_t n, pare_error *error) PARE_MUST_CHECK;
/* out (n, C) = norm(x) */
void normalise(float *out, const float *x, const float *weight, const workspace *w, size_t n);
/* x -> middle -> out of layer `index`; tap may be NULL, and is not called when out is. */
void layer_run(const layer_state *s, workspace *w, uint32_t index, const pare_tap *tap);

struct pare_forward {
    workspace work;
    layer_state state;
    pare_arena *arena;
    size_t keys_max;         /* positions that its own keys and values have room for */
    size_t tokens;           /* rows of the last run */
    float *logits;           /* per thread, (TOKEN_BLOCK, ROW_BLOCK) */
    float *maximum, *target; /* (tokens): streaming softmax of the head */
    double *sum;
};

struct pare_cache {
    pare_config config;
    uint32_t slots, capacity;
    uint32_t *lengths;      /* (slots) */
    float **keys, **values; /* (n_layers) of (slots, n_kv_heads of the layer, capacity, D) */
    pare_arena *arena;
};

#endif
