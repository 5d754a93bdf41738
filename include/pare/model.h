/* model: checkpoints on disk, and the transformer that computes with them.
 *
 * pare_checkpoint: config + named tensors + tokenizer of a model on disk, read-only, mapped, format-neutral.
 * pare_model: the same bound for computing: every matrix is a pare_linear; with a pare_cut, of what the cut leaves.
 */
#ifndef PARE_MODEL_H
#define PARE_MODEL_H

#include "pare/json.h"
#include "pare/tensor.h"
#include "pare/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- configuration ------------------------------------------------------------------------- */

typedef enum { PARE_ARCH_LLAMA, PARE_ARCH_MISTRAL, PARE_ARCH_QWEN2, PARE_ARCH_COUNT } pare_arch;
const char *pare_arch_name(pare_arch arch); /* "llama", … as in config.json's model_type */

typedef enum { PARE_ROPE_DEFAULT, PARE_ROPE_LINEAR, PARE_ROPE_LLAMA3, PARE_ROPE_FACTORS } pare_rope_type;

typedef struct {
    pare_rope_type type;
    double theta;
    double factor, low_freq_factor, high_freq_factor; /* LINEAR: factor; LLAMA3: all three */
    uint32_t original_positions;                      /* LLAMA3 */
    const pare_tensor *factors;                       /* FACTORS (GGUF rope_freqs.weight): frequency i is divided by factors[i] */
} pare_rope;

/* The seven matrices of a layer, by the names that checkpoints and adapters give them. */
typedef enum { PARE_Q, PARE_K, PARE_V, PARE_O, PARE_GATE, PARE_UP, PARE_DOWN, PARE_PROJECTIONS } pare_projection;
const char *pare_projection_name(pare_projection projection); /* "q_proj" */
const char *pare_projection_path(pare_projection projection); /* "self_attn.q_proj" */

typedef struct {
    uint32_t ffn_width, n_heads, n_kv_heads;
} pare_layer_shape;

/* 0: a whole matrix W. Otherwise W = U V with U (out, rank) and V (rank, in): tensors u.weight and v.weight take weight's place. */
typedef struct {
    uint32_t of[PARE_PROJECTIONS];
} pare_layer_ranks;

typedef struct {
    pare_arch arch;
    /* ffn_width, n_heads, n_kv_heads: of every layer, or where `shapes` is set the largest of them */
    uint32_t n_layers, width, ffn_width, n_heads, n_kv_heads, head_dim, vocabulary, max_positions;
    const pare_layer_shape *shapes; /* (n_layers), or NULL: all layers alike */
    const pare_layer_ranks *ranks;  /* (n_layers), or NULL: every matrix is whole */
    double rms_eps;
    pare_rope rope;
    bool tied;               /* the head is the embedding */
    bool attention_bias;     /* q, k, v biased (Qwen2 always; Llama by config) */
    bool output_bias;        /* o biased too (Llama's attention_bias) */
    bool mlp_bias;           /* gate, up, down biased */
    bool shortcuts;          /* what passes by attention and FFN goes through a matrix (width, width) each (SliceGPT) */
    uint32_t sliding_window; /* 0: full attention */
    int64_t bos, eos;        /* -1: none told */
} pare_config;

static inline pare_layer_shape pare_config_layer(const pare_config *config, uint32_t layer) {
    return config->shapes ? config->shapes[layer] : (pare_layer_shape){config->ffn_width, config->n_heads, config->n_kv_heads};
}

static inline uint32_t pare_config_rank(const pare_config *config, uint32_t layer, pare_projection projection) {
    return config->ranks ? config->ranks[layer].of[projection] : 0;
}

/* Rows and columns of a projection's matrix. */
typedef struct {
    uint64_t out, in;
} pare_linear_shape;
pare_linear_shape pare_config_linear(const pare_config *config, uint32_t layer, pare_projection projection);

/* ---- checkpoint ---------------------------------------------------------------------------- */

typedef enum { PARE_FORMAT_HF, PARE_FORMAT_GGUF } pare_format;

typedef struct pare_checkpoint {
    const char *path;
    pare_format format;
    pare_config config;
    const pare_tensor *tensors; /* sorted by name (strcmp) */
    size_t n_tensors;
    pare_dtype dtype;                /* the type of most matrix bytes */
    const pare_tokenizer *tokenizer; /* NULL when the checkpoint has none; tokenizer_missing says why */
    const char *tokenizer_missing;
    const char *remark;  /* what its JSON files hold that is no strict JSON, in words; NULL: nothing */
    uint64_t file_bytes; /* of all weight files */
    struct pare_checkpoint_inner *inner;
} pare_checkpoint;

/* path: a .gguf file, or a folder with config.json and *.safetensors (or model.safetensors.index.json).
 * Every offset, size, name, count and shape is checked, and every tensor that the config asks for is there in its shape,
 * none is left over. Errors name file, tensor and byte. The tokenizer may be absent. */
pare_checkpoint *pare_checkpoint_open(const char *path, pare_error *error) PARE_MUST_CHECK;
void pare_checkpoint_close(pare_checkpoint *checkpoint); /* NULL is fine */
/* The tokenizer, or NULL with the reason that there is none. */
const pare_tokenizer *pare_checkpoint_tokenizer(const pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;
/* Ids of the tokens that begin and end a text, as transformers' tokenizer has them (bos_token, eos_token); -1: none. */
bool pare_checkpoint_ends(int64_t *bos, int64_t *eos, const pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;
const pare_tensor *pare_checkpoint_find(const pare_checkpoint *checkpoint, const char *name); /* NULL when absent */
/* Lets go of the mapped pages of the tensors whose names begin with `prefix`: they stay in the system's cache and are read again when
 * needed, but no longer count as this process's memory. For passes over models of any size. */
void pare_checkpoint_drop(const pare_checkpoint *checkpoint, const char *prefix);
/* SHA-256 over names, types, shapes and bytes of all tensors and the config: the identity of a model in the ledger. Slow for large files.
 */
bool pare_checkpoint_hash(pare_sha256 *hash, const pare_checkpoint *checkpoint, const pare_context *context,
                          pare_error *error) PARE_MUST_CHECK;
/* PARE_ERROR_NUMERIC naming tensor and element when a weight is NaN or infinite. Reads everything. */
bool pare_checkpoint_check_finite(const pare_checkpoint *checkpoint, const pare_context *context, pare_error *error) PARE_MUST_CHECK;
/* After PARE_ERROR_NUMERIC in something computed from the checkpoint: says which weight is to blame, when one is. */
void pare_checkpoint_blame(const pare_checkpoint *checkpoint, const pare_context *context, pare_error *error);

/* How far the head is from the embedding. */
typedef struct {
    double distance;     /* |head - embedding| / |embedding|, of all rows where it is small, else of a sample; NaN: the model is tied */
    bool same;           /* no farther than what storing both in their types accounts for: one matrix written twice */
    uint64_t parameters; /* of the head */
} pare_head_likeness;
/* Reads both matrices where they are alike. */
bool pare_head_compare(pare_head_likeness *likeness, const pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;
/* Makes one matrix of a head and an embedding that are the same: the finer stored one of the two; config.tied is set, and the tensor
 * lm_head.weight is gone. Before anything is planned or bound. RANGE when they differ; nothing to do in a tied model. */
bool pare_checkpoint_tie(pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;
/* How the checkpoint was made: the pare.json of its folder, the "pare.made" of a GGUF; NULL when that is not told or not readable. whole:
 * with the lists by unit and by step, which are long. The caller owns the result. */
json_t *pare_checkpoint_made(pare_json_doc *doc, const pare_checkpoint *checkpoint, bool whole);

/* The tensors that a config asks for, in checkpoint order: calls back with Hugging Face name and shape (dims slowest first). */
typedef bool pare_tensor_visit(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error);
bool pare_config_visit_tensors(const pare_config *config, pare_tensor_visit *visit, void *user, pare_error *error) PARE_MUST_CHECK;

/* ---- accounting, and checkpoints out ------------------------------------------------------------ */

typedef struct pare_cut pare_cut; /* cut.h; NULL: nothing is cut */

/* Parameters, bytes and multiply-accumulates of a model of this config; embeddings counted once when tied. bytes: of tensors in their
 * stored type, a cut's own matrices in that of most; macs: per token, without attention scores. */
typedef struct {
    uint64_t parameters, non_embedding, bytes, macs;
} pare_size;
pare_size pare_config_size(const pare_config *config); /* bytes stays 0: a config knows no types */
/* Bytes of the weights of a model of this config in one type, as pare writes it. Quantised types are those of a GGUF file: vectors are f32
 * and a matrix whose rows are no whole blocks is f16. */
uint64_t pare_config_bytes(const pare_config *config, pare_dtype dtype);
pare_size pare_checkpoint_size(const pare_checkpoint *checkpoint, const pare_cut *cut);

struct pare_adapters; /* trainable.h */
/* Writes checkpoint under cut (may be NULL), with adapters (may be NULL) merged into its weights, as a Hugging Face folder: config.json in
 * both spellings, sharded safetensors (at most shard_bytes each, 0 = 5 GB), tokenizer files carried over or rebuilt from GGUF,
 * generation_config.json. Streams tensor by tensor in bounded memory; under a temporary name; every shape verified; fsync; rename. dtype:
 * F32, F16 or BF16. note: text of the folder's pare.json (how it was made), or NULL. Tensors already of that dtype are copied bit for bit.
 * A non-finite weight stops it (PARE_ERROR_NUMERIC). */
bool pare_checkpoint_write(const char *path, const pare_checkpoint *checkpoint, const pare_cut *cut, const struct pare_adapters *adapters,
                           pare_dtype dtype, uint64_t shard_bytes, const char *note, const pare_context *context,
                           pare_error *error) PARE_MUST_CHECK;

/* The same with every factored matrix multiplied out, for programs that know no factors; nothing is saved then. Above they stay factors,
 * and the folder is of pare's own format; one takes up its adapter by growing in rank, U' = [U, scale B] and V' = [V; A], and becomes a
 * whole matrix where that is no smaller. A matrix that is multiplied out, or grows, lies in memory as f32 while it is written. */
bool pare_checkpoint_write_whole(const char *path, const pare_checkpoint *checkpoint, const pare_cut *cut,
                                 const struct pare_adapters *adapters, pare_dtype dtype, uint64_t shard_bytes, const char *note,
                                 const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* Either of them into an existing empty folder, such as pare_folder_path(): for a caller that adds files of its own, or replaces something.
 */
bool pare_checkpoint_write_in(const char *folder, const pare_checkpoint *checkpoint, const pare_cut *cut,
                              const struct pare_adapters *adapters, pare_dtype dtype, uint64_t shard_bytes, const char *note, bool whole,
                              const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* What an export came to. */
typedef struct {
    const char *architecture; /* as llama.cpp calls it: "llama" or "qwen2" */
    uint64_t bytes;           /* of the file */
    size_t n_tensors, n_fallbacks;
    pare_string fallbacks; /* GGUF names of matrices whose rows are no whole blocks of their type, f16 instead; one a line */
} pare_export;
/* Writes checkpoint under cut (may be NULL) as one GGUF file (version 3) that llama.cpp loads. dtype, of all matrices, the embedding and
 * the head among them: F32, F16, BF16, or Q8_0, Q4_0, Q4_1 quantised as llama.cpp's reference quantiser does; PARE_DTYPE_COUNT: each as it
 * is stored. Norms and biases are f32. Matrices of the source that have their type already keep their bits. Llama and Mistral become
 * llama.cpp's `llama`, rows of q and k in adjacent-pair rotary order; Qwen2 its `qwen2`, or `llama` too where heads * head_dim is not the
 * width. Metadata of a GGUF source is carried over; of a Hugging Face folder it is made from config.json and the tokenizer files, which
 * must be there. Streams tensor by tensor in bounded memory; under a temporary name; read back and held against the plan; fsync; rename; an
 * existing path is refused unless `replace`. A non-finite weight, or one too large for its type, stops it (NUMERIC), and so do layers of
 * different shapes (UNSUPPORTED). result: may be NULL; when done, release it with pare_export_free. */
bool pare_checkpoint_export(pare_export *result, const char *path, bool replace, const pare_checkpoint *checkpoint, const pare_cut *cut,
                            pare_dtype dtype, const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_export_free(pare_export *result);

/* ---- model --------------------------------------------------------------------------------- */

typedef struct {
    pare_view weight;            /* (out, in); of a factored matrix its U (out, rank) */
    pare_view inner;             /* of a factored matrix its V (rank, in); tensor NULL: the matrix is whole */
    const float *bias;           /* (out) or NULL */
    const pare_adapter *adapter; /* NULL: none */
} pare_linear;

static inline uint32_t pare_linear_inputs(const pare_linear *linear) {
    return linear->inner.tensor ? linear->inner.n_columns : linear->weight.n_columns;
}
static inline uint32_t pare_linear_rank(const pare_linear *linear) {
    return linear->inner.tensor ? linear->weight.n_columns : 0;
}

typedef struct {
    const float *attention_norm, *ffn_norm; /* (width) */
    pare_linear linears[PARE_PROJECTIONS];
    pare_linear attention_shortcut, ffn_shortcut; /* (width, width) where the config has shortcuts; else their tensors are NULL */
} pare_layer;

typedef struct pare_model {
    const pare_checkpoint *checkpoint;
    const pare_cut *cut; /* NULL: nothing is cut */
    pare_config config;  /* under the cut */
    pare_view embedding, head;
    const float *norm;              /* (width) */
    const float *inverse_frequency; /* (head_dim / 2), rotary scaling applied */
    pare_layer *layers;
    pare_arena *arena;
} pare_model;

/* cut may be NULL; it and the checkpoint must outlive the model. No weights are copied but norms and biases. */
pare_model *pare_model_open(const pare_checkpoint *checkpoint, const pare_cut *cut, pare_error *error) PARE_MUST_CHECK;
void pare_model_close(pare_model *model);
/* A layer has been used: lets go of the mapped pages of all its matrices (factors and shortcuts too, and the cut's own), as
 * pare_checkpoint_drop. */
void pare_model_leave_layer(const pare_model *model, uint32_t layer);

/* Where a forward pass may be looked at, in the order in which a layer comes by: what enters it (width C); what attention reads, normed
 * (C); attention's output before o_proj (n_heads * D); the residual stream after attention (C); what the FFN reads, normed (C); silu(gate)
 * * up before down_proj (F); what leaves the layer (C). */
typedef enum {
    PARE_TAP_IN,
    PARE_TAP_ATTENTION_IN,
    PARE_TAP_ATTENDED,
    PARE_TAP_MIDDLE,
    PARE_TAP_FFN_IN,
    PARE_TAP_FFN,
    PARE_TAP_OUT,
    PARE_TAP_PLACES
} pare_tap_place;

/* Called from one thread, layers ascending, with activations (rows, columns) that it may change (masking); rows: tokens of all windows of
 * the call. */
typedef struct {
    unsigned places; /* bits 1 << place */
    void (*at)(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns);
    void *user;
} pare_tap;

/* Buffers of a forward pass over at most `windows` windows of `length` tokens; allocated once. */
typedef struct pare_forward pare_forward;
pare_forward *pare_forward_open(const pare_model *model, size_t windows, size_t length, const pare_context *context,
                                pare_error *error) PARE_MUST_CHECK;
void pare_forward_close(pare_forward *forward);
/* What pare_forward_open will allocate. */
size_t pare_forward_bytes(const pare_model *model, size_t windows, size_t length, const pare_context *context);

/* Runs `windows` independent windows of `length` tokens (ids: windows x length) up to the final norm. tap may be NULL.
 * Returns the hidden states (windows * length, width), owned by `forward`, or NULL. */
const float *pare_forward_run(pare_forward *forward, const uint32_t *ids, size_t windows, size_t length, const pare_tap *tap,
                              pare_error *error) PARE_MUST_CHECK;
/* Negative log-probabilities of targets[i] given hidden row rows[i]; never stores all logits. */
bool pare_forward_nll(double *nll, pare_forward *forward, const uint32_t *rows, const uint32_t *targets, size_t n,
                      pare_error *error) PARE_MUST_CHECK;
/* Logits (n, vocabulary) of hidden rows [first, first + n). */
bool pare_forward_logits(float *logits, pare_forward *forward, size_t first, size_t n, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
