/* magnitude: the L2 norm of all weights that a unit owns: structured magnitude pruning (Li et al. 2017, "Pruning filters for efficient
 * ConvNets", on coupled groups).
 *
 *   neuron          its gate row, up row and down column
 *   key-value head  its k and v rows, the q rows and o columns of its query heads
 *   query head      its q rows and o columns
 *   channel         its column or row in every matrix that reads or writes the residual stream, embedding and head
 *
 * On modern pretrained models a few neurons of small weight carry huge activations, and this score cuts them first: worse than chance.
 * It is here to compare with. */
#include <math.h>

#include "../weights.h"
#include "method.h"

/* A matrix, and whether units own its rows or its columns, `per` of them each in units of head_dim (0: one). */
typedef struct {
    const char *part;
    bool rows;
} share;

static const share neuron[] = {{"mlp.gate_proj", true}, {"mlp.up_proj", true}, {"mlp.down_proj", false}, {NULL, false}};
static const share head[] = {{"self_attn.q_proj", true}, {"self_attn.o_proj", false}, {NULL, false}};
static const share key_value[] = {{"self_attn.k_proj", true}, {"self_attn.v_proj", true}, {NULL, false}};
static const share channel[] = {
    {"self_attn.q_proj", false}, {"self_attn.k_proj", false}, {"self_attn.v_proj", false}, {"self_attn.o_proj", true},
    {"mlp.gate_proj", false},    {"mlp.up_proj", false},      {"mlp.down_proj", true},     {NULL, false}};

static bool add(double *values, const share *shares, const pare_checkpoint *checkpoint, uint32_t layer, uint32_t per, pare_error *error) {
    for (; shares->part; shares++)
        if (!(shares->rows ? weights_add_rows(values, checkpoint, layer, shares->part, WEIGHTS_SQUARES, per, error)
                           : weights_add_columns(values, checkpoint, layer, shares->part, WEIGHTS_SQUARES, per, error)))
            return false;
    return true;
}

static bool score_layer(pare_scores *scores, const pare_checkpoint *checkpoint, uint32_t i, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    double *values = scores->values + (size_t)i * (scores->n_rows / c->n_layers) * scores->n_units;
    switch (scores->unit) {
    case PARE_UNIT_FFN: return add(values, neuron, checkpoint, i, 1, error);
    case PARE_UNIT_HEADS: return add(values, head, checkpoint, i, c->head_dim, error);
    case PARE_UNIT_GROUPS:
        return add(values, head, checkpoint, i, c->n_heads / c->n_kv_heads * c->head_dim, error) &&
               add(values, key_value, checkpoint, i, c->head_dim, error);
    default: return add(scores->values, channel, checkpoint, i, 1, error);
    }
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)calibration, (void)seed;
    const pare_config *c = &checkpoint->config;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        pare_context_progress(context, "score the units", i, c->n_layers);
        if (!pare_context_check(context, error) || !score_layer(scores, checkpoint, i, error))
            return false;
    }
    if (scores->unit == PARE_UNIT_CHANNELS &&
        (!weights_add_table(scores->values, checkpoint, "model.embed_tokens.weight", WEIGHTS_SQUARES, error) ||
         (!c->tied && !weights_add_table(scores->values, checkpoint, "lm_head.weight", WEIGHTS_SQUARES, error))))
        return false;
    for (size_t j = 0; j < (size_t)scores->n_rows * scores->n_units; j++)
        scores->values[j] = sqrt(scores->values[j]);
    return true;
}

#define SOURCE .source = "Li et al. 2017, on coupled groups", .score = score

const pare_method pare_method_magnitude = {
    .name = "magnitude",
    .summary = "scores each FFN neuron by the L2 norm of its gate_proj row, up_proj row and down_proj column",
    .unit = PARE_UNIT_FFN,
    .warning = "magnitude fails on modern pretrained models: a few neurons of small weight carry huge activations and are cut first, "
               "which is worse than chance; prefer wanda-sp",
    SOURCE,
};

const pare_method pare_method_magnitude_groups = {
    .name = "magnitude-groups",
    .summary =
        "scores each key-value head by the L2 norm of its k_proj and v_proj rows and of its query heads' q_proj rows and o_proj columns",
    .unit = PARE_UNIT_GROUPS,
    SOURCE,
};

const pare_method pare_method_magnitude_heads = {
    .name = "magnitude-heads",
    .summary = "scores each query head by the L2 norm of its q_proj rows and o_proj columns; compared within each group",
    .unit = PARE_UNIT_HEADS,
    SOURCE,
};

const pare_method pare_method_magnitude_channels = {
    .name = "magnitude-channels",
    .summary = "scores each channel of the residual stream by the L2 norm of its part of every matrix",
    .unit = PARE_UNIT_CHANNELS,
    SOURCE,
};
