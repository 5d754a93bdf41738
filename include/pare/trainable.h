/* trainable: checkpoints whose weights lie in memory as f32, to be trained; and low-rank adapters on checkpoints that stay as they
 * are. Both hold all that is trained in one block of floats, so that an optimiser needs to know nothing of models. */
#ifndef PARE_TRAINABLE_H
#define PARE_TRAINABLE_H

#include "pare/gradient.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- whole models ---------------------------------------------------------------------------- */

typedef struct {
    pare_checkpoint *checkpoint; /* every tensor f32, in `values`; writes and opens like any other */
    float *values;               /* each tensor starts at a multiple of 16 floats, with zeros between */
    size_t n_values;             /* with the zeros */
} pare_thawed;

/* Every weight of base under cut (may be NULL) as f32. base must outlive it: tokenizer and files stay its own. */
bool pare_thaw(pare_thawed *thawed, const pare_checkpoint *base, const pare_cut *cut, const pare_context *context,
               pare_error *error) PARE_MUST_CHECK;
/* A model that does not exist yet: shapes by config (a config.json), tokenizer out of the folder `tokenizer`, whose files are carried
 * over when it is written. Weights by seed: matrices normal (0, 0.02), those that write to the residual stream (o, down) divided by
 * sqrt(2 layers), norms one, biases zero. Radford et al. 2019 */
bool pare_thaw_new(pare_thawed *thawed, const char *config, const char *tokenizer, uint64_t seed, pare_error *error) PARE_MUST_CHECK;
void pare_thawed_close(pare_thawed *thawed);

/* ---- adapters -------------------------------------------------------------------------------- */

/* Rows and columns of each projection's matrix in a layer. */
typedef struct {
    size_t out, in;
} pare_adapter_shape;
void pare_adapter_shapes(pare_adapter_shape shapes[PARE_PROJECTIONS], const pare_config *config, uint32_t layer);

/* LoRA (Hu et al. 2021) on some of the seven projections. */
typedef struct pare_adapters {
    uint32_t n_layers, rank;
    double alpha;                   /* scale = alpha / rank */
    bool targets[PARE_PROJECTIONS]; /* in some layer at least */
    pare_adapter *items;            /* (n_layers, PARE_PROJECTIONS); rank 0: not a target */
    float *values;                  /* every A and B; each starts at a multiple of 16 floats, with zeros between */
    size_t n_values, n_weights;     /* with the zeros, and without */
    pare_arena *arena;
} pare_adapters;

/* For a model of this config (of the cut model, where there is a cut). A by seed, uniform in +-1/sqrt(in) as PEFT does; B zero. */
pare_adapters *pare_adapters_open(const pare_config *config, uint32_t rank, double alpha, const bool targets[PARE_PROJECTIONS],
                                  uint64_t seed, pare_error *error) PARE_MUST_CHECK;
/* The same with targets (n_layers, PARE_PROJECTIONS) that need not be alike in all layers. */
pare_adapters *pare_adapters_open_on(const pare_config *config, uint32_t rank, double alpha, const bool *targets, uint64_t seed,
                                     pare_error *error) PARE_MUST_CHECK;
void pare_adapters_close(pare_adapters *adapters);
/* A folder as PEFT writes it: adapter_config.json and adapter_model.safetensors, on the matrices that the tensors name. Refuses an adapter
 * for another base by its shapes, and by its name every PEFT option that makes the model anything but base + scale B A.
 * Rank-stabilised LoRA is read as plain LoRA of its scale. */
pare_adapters *pare_adapters_read(const char *path, const pare_config *config, pare_error *error) PARE_MUST_CHECK;
/* The same out, into an existing empty folder; f32. config: of the model they were opened for; base: its name or path, for
 * adapter_config.json. */
bool pare_adapters_write_in(const char *folder, const pare_adapters *adapters, const pare_config *config, const char *base,
                            pare_error *error) PARE_MUST_CHECK;
/* That of the matrix of this name ("model.layers.0.mlp.up_proj.weight"); NULL: none. */
const pare_adapter *pare_adapters_find(const pare_adapters *adapters, const char *tensor);
/* Dropout for all of them; before pare_model_adapt and what is opened after it. It must outlive them. */
void pare_adapters_drop(pare_adapters *adapters, const pare_dropout *dropout);
/* Puts them on a model; before pare_forward_open and pare_pass_open. adapters must outlive it. */
void pare_model_adapt(pare_model *model, const pare_adapters *adapters);

#ifdef __cplusplus
}
#endif
#endif
