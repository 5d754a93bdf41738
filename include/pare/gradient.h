/* gradient: the backward pass: what a loss says about every weight that is trained.
 *
 * pare_gradients mirrors a pare_model: where the gradient of each weight is added up, NULL where a weight is frozen. A pare_pass
 * runs a batch forward, takes the loss in blocks of tokens (never tokens x vocabulary), and walks back layer by layer. Attention
 * probabilities are computed again and never stored; with `recompute` so is everything else of a layer but its input.
 */
#ifndef PARE_GRADIENT_H
#define PARE_GRADIENT_H

#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* f32, shaped like what they belong to; NULL: frozen. */
typedef struct {
    float *weight, *bias; /* (out, in), (out); of a factored matrix weight is U's (out, rank) */
    float *inner;         /* V's (rank, in) */
    float *a, *b;         /* of the linear's adapter: (rank, in), (out, rank) */
} pare_linear_gradient;

typedef struct {
    float *attention_norm, *ffn_norm; /* (width) */
    pare_linear_gradient linears[PARE_PROJECTIONS];
    float *attention_shortcut, *ffn_shortcut; /* (width, width) */
} pare_layer_gradient;

typedef struct {
    float *embedding, *head, *norm; /* a tied model's head is its embedding: both point to the same place */
    pare_layer_gradient *layers;    /* (n_layers) */
} pare_gradients;

/* What a batch teaches. Position t of a window predicts ids[t + 1]; learn (as long as ids) says for each token whether it is a
 * target; the first token of a window never is. */
typedef struct {
    const uint32_t *ids;  /* (windows, length) */
    const uint8_t *learn; /* (windows, length), or NULL: every token but the first of each window */
    size_t windows, length;
} pare_batch;
/* How many targets it has. */
size_t pare_batch_targets(const pare_batch *batch);

/* Loss per target: (1 - weight) CE + weight T^2 KL(teacher || student), both softmaxes at temperature T. Hinton et al. 2015 */
typedef struct {
    const pare_model *teacher; /* NULL: cross-entropy alone */
    double weight, temperature;
} pare_distillation;

typedef struct {
    double cross_entropy; /* sum over targets, nats */
    double divergence;    /* sum over targets of T^2 KL; 0 without a teacher */
    size_t targets;
} pare_pass_loss;

typedef struct pare_pass pare_pass;
/* Buffers for batches of at most windows x length tokens; allocated once. model and gradients must outlive it. */
pare_pass *pare_pass_open(const pare_model *model, const pare_gradients *gradients, const pare_distillation *distillation, size_t windows,
                          size_t length, bool recompute, const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_pass_close(pare_pass *pass); /* NULL is fine */
/* What pare_pass_open will allocate. */
size_t pare_pass_bytes(const pare_model *model, const pare_distillation *distillation, size_t windows, size_t length, bool recompute,
                       const pare_context *context);
/* Forward and backward; gradients grow by scale times those of the summed loss (scale = 1 / targets of the whole step gives the
 * mean's). The same bits for every number of threads. NUMERIC when the loss is not finite: gradients are then spoilt. */
bool pare_pass_run(pare_pass_loss *loss, pare_pass *pass, const pare_batch *batch, double scale, pare_error *error) PARE_MUST_CHECK;

/* Told when the gradient of a layer is whole, from the last layer to the first. */
typedef bool pare_layer_ready(void *user, uint32_t layer, pare_error *error);
/* The same for a batch of any size, `at_once` windows at a time, every layer taking all of them before the next: `gradients` may let all
 * layers share one layer's memory, which `ready` reads and zeroes, and the mapped weights of one layer are in use at a time. Kept of all
 * windows: what enters each layer, 4 bytes x n_layers x width a token. The same bits as pare_pass_run on those parts one after another. */
bool pare_pass_by_layer(pare_pass_loss *loss, const pare_model *model, const pare_gradients *gradients, const pare_batch *batch,
                        size_t at_once, double scale, pare_layer_ready *ready, void *user, const pare_context *context,
                        pare_error *error) PARE_MUST_CHECK;
/* What it will allocate. */
size_t pare_pass_by_layer_bytes(const pare_model *model, size_t windows, size_t length, size_t at_once, const pare_context *context);

#ifdef __cplusplus
}
#endif
#endif
