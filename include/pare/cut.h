/* cut: what is left of a checkpoint.
 *
 * A pare_cut names the units that survive: FFN neurons and heads of each layer, channels of the residual stream, whole layers; and
 * tensors that take the place of stored ones, for methods that refit, rotate or compensate. It copies no weight: a pare_model opened
 * under it, and pare_checkpoint_write, read what is left through views.
 */
#ifndef PARE_CUT_H
#define PARE_CUT_H

#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which of some units survive: ascending indices; index NULL: the n that there are. */
typedef struct {
    uint32_t n;
    const uint32_t *index;
} pare_kept;

/* Within one layer. Every kept key-value head keeps equally many of its query heads. */
typedef struct {
    pare_kept ffn, heads, kv_heads;
    pare_kept q_rows, kv_rows; /* the rows that belong to those heads */
    pare_layer_ranks ranks;    /* 0: a whole matrix */
} pare_layer_cut;

struct pare_cut {
    pare_config config; /* of what is left */
    pare_config source;
    pare_kept layers, channels;
    pare_layer_cut *each;  /* by layer of the source, removed ones too */
    pare_tensor *replaced; /* sorted by name; names are those of the cut model */
    size_t n_replaced, replaced_capacity;
    pare_spill *spill; /* where the large ones of them lie */
    pare_arena *arena;
};

/* Keeps everything of a model of this config (uniform or not). */
pare_cut *pare_cut_open(const pare_config *source, pare_error *error) PARE_MUST_CHECK;
void pare_cut_close(pare_cut *cut); /* NULL is fine */

/* Only these: n ascending indices, copied. layer: in the source. RANGE, naming layer and place, when one is out of range or out of order
 * or none is left. */
bool pare_cut_keep_ffn(pare_cut *cut, uint32_t layer, const uint32_t *index, uint32_t n, pare_error *error) PARE_MUST_CHECK;
/* Key-value heads with all query heads that read them. */
bool pare_cut_keep_groups(pare_cut *cut, uint32_t layer, const uint32_t *index, uint32_t n, pare_error *error) PARE_MUST_CHECK;
/* Query heads; a key-value head that none of them reads goes with them. SHAPE when the rest are not equally many for each. */
bool pare_cut_keep_heads(pare_cut *cut, uint32_t layer, const uint32_t *index, uint32_t n, pare_error *error) PARE_MUST_CHECK;
bool pare_cut_keep_channels(pare_cut *cut, const uint32_t *index, uint32_t n, pare_error *error) PARE_MUST_CHECK;
bool pare_cut_keep_layers(pare_cut *cut, const uint32_t *index, uint32_t n, pare_error *error) PARE_MUST_CHECK;

/* Lets go of the memory of large replaced tensors, which lie in a temporary file ($TMPDIR, else /var/tmp): for a builder that has filled
 * one layer and goes on to the next. What they hold stays. */
void pare_cut_let_go(const pare_cut *cut);
/* The same of n rows of a view, whether they are the checkpoint's or the cut's (which may be NULL), for a writer that is through with them.
 */
void pare_cut_drop_rows(const pare_view *view, uint32_t first, uint32_t n, const pare_cut *cut, const pare_checkpoint *checkpoint);

/* f32 storage for tensor `name` of the cut model (layers counted as they are left), in the shape that the cut leaves: zeros, to be filled;
 * the cut's own. It takes the stored tensor's place. A bias that the source lacks may be asked for, of o_proj and of down_proj: the config
 * then has one in every layer, zero where it was not asked for, and is a Llama's, which alone of the three architectures has them. */
float *pare_cut_replace(pare_cut *cut, const char *name, pare_error *error) PARE_MUST_CHECK;

/* For cuts that change coordinates: the head no longer is the embedding, and must be replaced ("lm_head.weight"); every layer gets its two
 * shortcuts, which must be ("model.layers.0.self_attn.shortcut.weight", "….mlp.shortcut.weight"); another epsilon for all norms. */
void pare_cut_untie(pare_cut *cut);
void pare_cut_add_shortcuts(pare_cut *cut);
void pare_cut_set_rms_eps(pare_cut *cut, double eps);

/* The matrix of a projection becomes a product U V: *u (out, rank) and *v (rank, in), zeros, to be filled, in the shape that the cut
 * leaves; the cut's own. layer: counted as they are left. RANGE when the rank is 0 or larger than the matrix has. */
bool pare_cut_factor(pare_cut *cut, uint32_t layer, pare_projection projection, uint32_t rank, float **u, float **v,
                     pare_error *error) PARE_MUST_CHECK;

/* Layers of different shapes become as wide as the widest, with zeros that change nothing that is computed: what stock programs load. The
 * padded layers' tensors are then in memory, f32. UNSUPPORTED where matrices are factored as well. */
bool pare_cut_pad(pare_cut *cut, const pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;

/* What is left of tensor `name` of the cut model. cut NULL: the checkpoint's own. False, and no error, when there is none. */
bool pare_cut_find(pare_view *view, const pare_cut *cut, const pare_checkpoint *checkpoint, const char *name) PARE_MUST_CHECK;
/* cut NULL: the checkpoint's. */
const pare_config *pare_cut_config(const pare_cut *cut, const pare_checkpoint *checkpoint);

/* SHA-256 over everything that the cut says. */
bool pare_cut_hash(pare_sha256 *hash, const pare_cut *cut, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
