/* policy: PruneNet (Sengupta, Chaudhary, Chakraborty: "You Only Prune Once", ICLR 2025): which FFN neurons to keep, learned by
 * reinforcement on the weights alone.
 *
 *   state    a layer's gate_proj, W (ffn_width, width)
 *   policy   H = W A^T + b (ffn_width, ffn_width); logit = H v; alpha = sigmoid(logit): A (ffn_width, width), b, v (ffn_width)
 *   noise    k = sigmoid(logit(u) + logit), u uniform: a relaxed Bernoulli variable
 *   action   int((1 - r) ffn_width) neurons drawn without replacement with weights k
 *   reward   1 / KS between the singular values of W and of its kept rows, 99999 where KS is 0; times 0.99^layer
 *   update   AdamW (PyTorch's defaults) on -reward * sum over kept neurons of ln k, a step for each layer, an episode being all layers
 *
 * H is never formed: the network is linear before the sigmoid, logit = W (A^T v) + (b . v), and so are its gradients. That turns two
 * products of ffn_width^2 width per layer into a few of ffn_width width, and changes nothing but rounding.
 *
 * Where the authors' published code and this differ:
 *   - k in the update is computed again with the weights that earlier layers' steps have left, as theirs, but with the action's own u;
 * theirs draws fresh noise, so that the gradient is not of what was done.
 *   - their gradient clipping comes after the gradient is zeroed and does nothing: none here. Their optional KL term is off, as by default.
 *     ln k is not normalised to the likelihood of a draw without replacement, theirs and here alike.
 *   - the policy that is kept is the one that earned the best episode; theirs is that after the episode's updates.
 *   - f32 throughout, where theirs is mixed with f16.
 * A draw without replacement is the n largest of ln k + Gumbel noise (Kool et al. 2019): the same distribution as theirs, and a score, so
 * that one seed gives one answer and smaller cuts contain larger ones. */
#ifndef PARE_COMPRESS_POLICY_H
#define PARE_COMPRESS_POLICY_H

#include "pare/compress.h"

/* Zeroed weights for these widths. */
bool policy_open(pare_policy *policy, uint32_t width, uint32_t ffn_width, pare_error *error) PARE_MUST_CHECK;
float *policy_projection(const pare_policy *policy); /* A */
float *policy_bias(const pare_policy *policy);       /* b */
float *policy_rows(const pare_policy *policy);       /* v */
/* As PyTorch begins: A and b uniform within 1 / sqrt(width), v within [0, 1). */
void policy_start(pare_policy *policy, uint64_t seed);

/* W, gate, is read by so many rows at a time, and the matrices of A's shape that training needs are walked row by row. */
enum { POLICY_ROWS = 256 };
/* Floats of scratch for the functions below. */
size_t policy_scratch(const pare_policy *policy);

/* logits (ffn_width) of gate (ffn_width, width). */
void policy_forward(float *logits, const pare_policy *policy, const pare_view *gate, float *scratch);
/* noise (ffn_width): logit(u), gumbel (ffn_width): Gumbel noise, of one draw. */
void policy_noise(double *noise, double *gumbel, uint32_t n, uint64_t seed, const char *purpose, uint64_t step);
/* ln k = ln sigmoid(noise + logit) */
double policy_log_keep(double noise, float logit);

/* The gradient of -reward * sum over kept of ln k. A's is v a^T and never formed. */
typedef struct {
    float *a;           /* (width) */
    float *bias, *rows; /* (ffn_width) of b and v */
} policy_slope;
/* kept: n_kept indices. */
void policy_gradient(policy_slope *slope, const pare_policy *policy, const pare_view *gate, const float *logits, const double *noise,
                     const uint32_t *kept, uint32_t n_kept, double reward, float *scratch);
/* Step number `step`, from 1, of AdamW with PyTorch's defaults; moments: n_values each. */
void policy_step(pare_policy *policy, float *first_moment, float *second_moment, const policy_slope *slope, uint64_t step, double rate,
                 float *scratch);
/* 1 / KS between values (n_values, descending) and the singular values of the kept rows of gate. */
bool policy_reward(double *reward, const double *values, size_t n_values, const pare_view *gate, const uint32_t *kept, uint32_t n_kept,
                   pare_error *error) PARE_MUST_CHECK;

#endif
