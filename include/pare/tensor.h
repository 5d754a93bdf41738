/* tensor: stored number types, tensors as they lie in a checkpoint, and the compute kernels.
 *
 * A pare_tensor is a view of mapped bytes in their own type; nothing here owns weights. A pare_view is what computing sees:
 * the kept rows and columns of a stored matrix, de-quantised to f32 a panel at a time. A cut is nothing but views.
 */
#ifndef PARE_TENSOR_H
#define PARE_TENSOR_H

#include "pare/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- stored types -------------------------------------------------------------------------- */

/* F32, F16, BF16 as in safetensors; the Q types are GGUF's blocks (32 weights; the K types 256). */
typedef enum {
    PARE_DTYPE_F32,
    PARE_DTYPE_F16,
    PARE_DTYPE_BF16,
    PARE_DTYPE_Q8_0,
    PARE_DTYPE_Q4_0,
    PARE_DTYPE_Q4_1,
    PARE_DTYPE_Q5_0,
    PARE_DTYPE_Q5_1,
    PARE_DTYPE_Q4_K,
    PARE_DTYPE_Q5_K,
    PARE_DTYPE_Q6_K,
    PARE_DTYPE_COUNT
} pare_dtype;

typedef struct {
    const char *name;      /* "bf16", "q4_1", … */
    uint32_t block, bytes; /* weights per block, bytes per block */
    bool quantised;
} pare_dtype_traits;
const pare_dtype_traits *pare_dtype_info(pare_dtype dtype);
/* By name, any case; false when there is none. */
bool pare_dtype_find(pare_dtype *dtype, const char *name) PARE_MUST_CHECK;
/* Bytes of `n` weights that lie in one row; false when n is no multiple of the block or the size overflows. */
bool pare_dtype_row_bytes(uint64_t *bytes, pare_dtype dtype, uint64_t n) PARE_MUST_CHECK;

/* ---- stored tensors ------------------------------------------------------------------------ */

enum { PARE_TENSOR_DIMS = 4 };

typedef struct {
    const char *name; /* Hugging Face name, e.g. model.layers.0.mlp.gate_proj.weight, whatever the file calls it */
    pare_dtype dtype;
    uint32_t n_dims;
    uint64_t dims[PARE_TENSOR_DIMS]; /* slowest first, as in Hugging Face; a matrix is (out, in) */
    const uint8_t *data;             /* mapped; n_bytes long; may be unaligned */
    uint64_t n_bytes;
    /* 0, or the head size when the rows of each head are stored in adjacent-pair rotary order (GGUF's llama): then logical
     * (half-split) row j of a head is stored row 2j for j < head/2, else 2(j - head/2) + 1. Readers below undo it. */
    uint32_t rotary_pairs;
    const char *source; /* file the bytes come from, for messages */
} pare_tensor;

/* A vector counts as a matrix of one column: n rows of 1. */
uint64_t pare_tensor_rows(const pare_tensor *tensor);
uint64_t pare_tensor_columns(const pare_tensor *tensor);
uint64_t pare_tensor_elements(const pare_tensor *tensor);
/* Bytes of one stored row, and where logical row `row` starts. */
uint64_t pare_tensor_row_bytes(const pare_tensor *tensor);
const uint8_t *pare_tensor_row(const pare_tensor *tensor, uint64_t row);

/* ---- views: what a cut leaves of a matrix --------------------------------------------------- */

/* Dropout of what adapters read: off at rate 0; key: another for every pass of training. */
typedef struct {
    float rate;
    uint64_t key;
} pare_dropout;

/* A low-rank correction of a matrix: y = x W^T + scale (x A^T) B^T. LoRA: Hu et al. 2021 */
typedef struct {
    float *a, *b; /* (rank, in), (out, rank) */
    uint32_t rank;
    float scale;
    uint32_t number;             /* among a model's adapters */
    const pare_dropout *dropout; /* of x where A reads it; NULL: none */
} pare_adapter;

/* rows/columns NULL: all of them. Index lists are ascending and belong to whoever made the cut. */
typedef struct {
    const pare_tensor *tensor;
    const uint32_t *rows, *columns;
    uint32_t n_rows, n_columns;
    const pare_adapter *merged; /* NULL, or read as W + scale B A; shaped as what the cut leaves */
} pare_view;
pare_view pare_view_all(const pare_tensor *tensor);
/* f32 of rows [first, first + n) into out (n, n_columns). scratch: pare_view_scratch() floats, unused when 0. */
void pare_view_read(float *out, const pare_view *view, uint32_t first, uint32_t n, float *scratch);
size_t pare_view_scratch(const pare_view *view);
/* The view's rows as they lie in memory when they are whole contiguous aligned f32 rows, else NULL. */
const float *pare_view_direct(const pare_view *view);

/* f32 -> one of F32, F16, BF16, round to nearest even. out: n elements of `dtype`. */
void pare_dtype_pack(void *out, pare_dtype dtype, const float *in, size_t n);
/* f32 -> Q8_0, Q4_0 or Q4_1, with the bits of llama.cpp's reference quantiser; in: finite; n: a multiple of 32. A scale too large for f16
 * is stored as infinity. */
void pare_dtype_quantize(void *out, pare_dtype dtype, const float *in, size_t n);
/* Whether one of the two above makes it. */
bool pare_dtype_writable(pare_dtype dtype);

/* ---- kernels ------------------------------------------------------------------------------- */

enum { PARE_ATTENTION_QUERIES = 32 }; /* query rows per call: enough lanes for every vector width */

/* One step of AdamW for tensors that share their settings. correction1 = 1 - beta1^t and correction2 = 1 - beta2^t, of the betas as
 * they stand here (in f32), t = 1 for the first step; gradient_scale is what clipping leaves of the gradient, 1 for all. */
typedef struct {
    float rate, beta1, beta2, eps, decay, correction1, correction2, gradient_scale;
} pare_adamw_step;

/* One table per instruction set; "reference" is portable C, kept for ever, and what the others are tested against.
 * All take and give f32; none allocates; none starts a thread. */
typedef struct {
    const char *name;
    /* n weights of each type; n is a multiple of the type's block. */
    void (*dequantize[PARE_DTYPE_COUNT])(float *out, const void *in, size_t n);
    /* out = x / sqrt(mean(x^2) + eps) * weight; x (rows, width), out may be x. Zhang & Sennrich 2019 */
    void (*rms_norm)(float *out, const float *x, const float *weight, size_t rows, size_t width, float eps);
    /* Half-split rotary embedding in place. x: rows of `stride` floats holding n_heads heads; cosine, sine (rows, head_dim/2). Su et al.
     * 2021 */
    void (*rotary)(float *x, const float *cosine, const float *sine, size_t rows, size_t stride, size_t n_heads, size_t head_dim);
    /* out = silu(gate) * up, element by element; out may be gate. Shazeer 2020 */
    void (*swiglu)(float *out, const float *gate, const float *up, size_t n);
    /* x += y */
    void (*add)(float *x, const float *y, size_t n);
    /* Causal attention of one K/V head for query rows [first, first + n_queries) of a window of T tokens; never stores T x T.
     * n_queries <= PARE_ATTENTION_QUERIES. q: row first + i of query head h of the group at q + i*q_stride + h*head_dim; k, v: row t at
     * k + t*kv_stride; out like q, and may be q. lse: NULL, or lse[h*lse_stride + i] = ln sum over s of exp(scale * q.k_s), which the
     * backward pass wants. A query's bits do not depend on the queries that come with it. scratch: attention_scratch(group, head_dim, T)
     * floats, 64-byte aligned. Online softmax: Milakov & Gimelshein 2018, Dao et al. 2022 */
    void (*attention)(float *out, float *lse, const float *q, const float *k, const float *v, size_t first, size_t n_queries, size_t group,
                      size_t head_dim, size_t q_stride, size_t kv_stride, size_t lse_stride, float scale, float *scratch);
    size_t (*attention_scratch)(size_t group, size_t head_dim, size_t n_tokens);
    /* The same for one query row, which sees all n_keys keys: what decoding asks for. q, out: query head h of the group at + h*head_dim.
     * scratch: attention_scratch(group, head_dim, n_keys) floats. */
    void (*attention_one)(float *out, const float *q, const float *k, const float *v, size_t n_keys, size_t group, size_t head_dim,
                          size_t kv_stride, float scale, float *scratch);
    /* C (m, n) [+]= A (m, k) B (n, k)^T for few rows of A: B's rows are read once, as they lie. c, a: rows c_row and a_row floats apart.
     * An element's bits depend on k alone, not on m or n. */
    void (*gemm_few)(float *c, size_t c_row, const float *a, size_t a_row, const float *b, size_t m, size_t n, size_t k, bool accumulate);
    /* C (m, n) [+]= A (m, k) B (k, n), for B that many rows of A share: B is packed once, in panels of gemm_panel columns, each (k,
     * gemm_panel), zero-filled on the right. gemm_pack: one panel of n <= gemm_panel columns; b (n, k) holds them row by row, as a weight
     * does. gemm_pack_step: row `step` of B, n floats, into all panels. c, a: rows c_row and a_row floats apart. An element's bits
     * depend on k alone, not on m, n or the rows computed with it. Goto & van de Geijn 2008 */
    uint32_t gemm_panel;
    void (*gemm_pack)(float *packed, const float *b, size_t n, size_t k);
    void (*gemm_pack_step)(float *packed, const float *row, size_t n, size_t k, size_t step);
    void (*gemm)(float *c, size_t c_row, const float *a, size_t a_row, const float *packed, size_t m, size_t n, size_t k, bool accumulate);
    /* Streaming log-sum-exp: folds `n` logits of one row into (maximum, sum): sum is of exp(x - maximum). Start from (-INFINITY, 0). */
    void (*log_sum_exp)(float *maximum, double *sum, const float *logits, size_t n);
    /* sums[j] += x[t][j], squares[j] += x[t][j]^2 over rows, in double: calibration. */
    void (*add_moments)(double *sums, double *squares, const float *x, size_t rows, size_t width);

    /* Gradients. The rotary embedding's is rotary with the sine negated. */

    /* Of causal attention of one K/V head over a whole window: the probabilities again from lse, never T x T. q, out, dout, dq: row t
     * of head h at + t*q_stride + h*head_dim; k, v, dk, dv: row t at + t*kv_stride. dq is overwritten and overlaps no other; dk and dv
     * are added to. scratch: attention_backward_scratch(group, head_dim, n_tokens) floats, 64-byte aligned. Dao et al. 2022 */
    void (*attention_backward)(float *dq, float *dk, float *dv, const float *q, const float *k, const float *v, const float *out,
                               const float *dout, const float *lse, size_t n_tokens, size_t group, size_t head_dim, size_t q_stride,
                               size_t kv_stride, size_t lse_stride, float scale, float *scratch);
    size_t (*attention_backward_scratch)(size_t group, size_t head_dim, size_t n_tokens);
    /* dx (rows, width) += the gradient; dweight: NULL, or += sum over rows of dy * x / sqrt(mean(x^2) + eps) */
    void (*rms_norm_backward)(float *dx, float *dweight, const float *dy, const float *x, const float *weight, size_t rows, size_t width,
                              float eps);
    /* gate and up hold what swiglu took and become their gradients; d: the gradient of silu(gate) * up */
    void (*swiglu_backward)(float *gate, float *up, const float *d, size_t n);

    /* Around training. */

    /* out = scale * exp(factor * x - offset); out may be x: probabilities from logits and their log-sum-exp */
    void (*exp_scaled)(float *out, const float *x, size_t n, float factor, float offset, float scale);
    /* w with its moments m and v, by the gradient g: first w -= rate * decay * w, then the step. Loshchilov & Hutter 2019, in the order
     * of torch.optim.AdamW */
    void (*adamw)(float *w, float *m, float *v, const float *g, size_t n, const pare_adamw_step *step);
    /* Sum of x^2 in double, in an order that depends on n alone. */
    double (*sum_squares)(const float *x, size_t n);
    /* x += factor * y */
    void (*add_scaled)(float *x, const float *y, float factor, size_t n);
    /* sum[j] += sum over rows of x[t*stride + j]: the gradient of a bias */
    void (*add_rows)(float *sum, const float *x, size_t rows, size_t width, size_t stride);
} pare_kernels;

/* The best table for this processor, or the one named ("reference", "avx2", "avx512", "amx"); NULL when the processor lacks it.
 * PARE_KERNELS in the environment overrides the choice. All multiply f32 but "amx": gemm and attention split their factors in two bf16
 * and leave 2^-18 of each product. */
const pare_kernels *pare_kernels_find(const char *name);
const pare_kernels *pare_kernels_best(void);
/* USAGE when PARE_KERNELS names a table that there is not, or not on this processor, naming those that there are: best takes the best one
 * then. */
bool pare_kernels_check(pare_error *error) PARE_MUST_CHECK;
/* From now on the best is a table that multiplies f32, unless the environment names another: for what is compared number by number.
 * Before any work, on the only thread. */
void pare_kernels_prefer_f32(void);

/* Products, added to C when `accumulate`; row-major, leading dimensions in floats; OpenBLAS on the calling thread.
 * nt: C (m, n) = A (m, k) * B (n, k)^T; nn: C = A (m, k) * B (k, n); tn: C = A (k, m)^T * B (k, n) */
void pare_gemm_nt(float *c, const float *a, const float *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                  bool accumulate);
void pare_gemm_nn(float *c, const float *a, const float *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                  bool accumulate);
void pare_gemm_tn(float *c, const float *a, const float *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                  bool accumulate);
/* C (m, n) += factor A (m, k) B (n, k)^T in double. */
void pare_gemm_nt_f64(double *c, const double *a, const double *b, size_t m, size_t n, size_t k, size_t lda, size_t ldb, size_t ldc,
                      double factor);

/* Symmetric A (n, n) in double of which one triangle is stored and touched; rows are `stride` apart. LAPACK and BLAS on the calling thread.
 */
typedef enum { PARE_LOWER, PARE_UPPER } pare_triangle;
typedef struct {
    double *values;
    pare_triangle triangle;
    size_t n, stride;
} pare_symmetric;
/* A positive definite: its factor L, A = L L^T, in place (as L^T in an upper triangle). NUMERIC, naming the row, where it is not. */
bool pare_cholesky(const pare_symmetric *a, pare_error *error) PARE_MUST_CHECK;
/* Of a factor the inverse of A, in place. */
bool pare_cholesky_inverse(const pare_symmetric *factor, pare_error *error) PARE_MUST_CHECK;
/* Rows x of b (n_rows, n), `stride` apart, in place: A x = b; or L x = b. */
void pare_cholesky_solve(double *b, size_t stride, size_t n_rows, const pare_symmetric *factor);
void pare_cholesky_half_solve(double *b, size_t stride, size_t n_rows, const pare_symmetric *factor);
/* A += factor Y Y^T, Y (n, k). */
void pare_syrk(const pare_symmetric *a, const double *y, size_t stride, size_t k, double factor);
/* C (m, n) += B (m, n) A. */
void pare_symm(double *c, const double *b, const pare_symmetric *a, size_t m, size_t stride_c, size_t stride_b);

/* Refuses a BLAS that is unsafe under several callers, and sets it to one thread. Call once before the first product. */
bool pare_gemm_prepare(pare_error *error) PARE_MUST_CHECK;
/* "OpenBLAS 0.3.21 SkylakeX": what computes, for results' provenance. */
const char *pare_gemm_name(void);

/* ---- spectra -------------------------------------------------------------------------------- */

/* LAPACK in double on the calling thread, after pare_gemm_prepare; callers may run several at once. Matrices are row-major. NUMERIC
 * when an element is NaN or infinite or the iteration does not converge; MEMORY. */

/* gram (n, n) = A^T A of a (m, n), both triangles. */
bool pare_gram(double *gram, const float *a, size_t m, size_t n, pare_error *error) PARE_MUST_CHECK;
/* values (n): eigenvalues of the symmetric matrix (n, n), ascending. matrix is overwritten: with vectors, its row k becomes the unit
 * eigenvector of values[k]; without, its content is lost. */
bool pare_symmetric_eigen(double *values, double *matrix, size_t n, bool vectors, pare_error *error) PARE_MUST_CHECK;
/* values (min(m, n)): singular values of a (m, n), descending, from the eigenvalues of the smaller Gram matrix: several times faster
 * than bidiagonalising, with an absolute error of at most about 1e-8 of the largest, which is less than what rounding the weights to
 * f32 (6e-8) has done to them already. */
bool pare_singular_values(double *values, const float *a, size_t m, size_t n, pare_error *error) PARE_MUST_CHECK;
/* Rows [first, first + count) of a matrix into out (count, columns). */
typedef void pare_row_reader(void *user, float *out, size_t first, size_t count);
/* The same of a matrix that is read 256 rows at a time where m >= n, so that it need not be whole in memory. */
bool pare_singular_values_by_rows(double *values, pare_row_reader *read, void *user, size_t m, size_t n, pare_error *error) PARE_MUST_CHECK;
/* a (m, n) = left^T diag(values) right: k = min(m, n) singular values, descending, to full accuracy; left (k, m), right (k, n): a row is a
 * singular vector. */
bool pare_svd(double *values, double *left, double *right, const float *a, size_t m, size_t n, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
