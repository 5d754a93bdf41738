/* prunenet: neurons drawn by PruneNet's policy (../policy.h). A method scores once for all ratios, so the policy is trained at one, 0.3:
 * the paper's point is that it carries over (trained at 40 % and used at 10 to 30 % it lost less than one per cent). A policy trained at
 * another ratio, or on another model of the same widths, comes in through pare_policy_score. */
#include "../policy.h"
#include "../spectrum.h"
#include "method.h"

typedef struct {
    pare_scores *scores;
    const pare_policy *policy;
    const pare_checkpoint *checkpoint;
    uint64_t seed;
} subject;

/* ln k + Gumbel noise: the n largest are a draw of n without replacement with weights k. */
static bool score_layer(void *user, uint32_t i, pare_error *error) {
    const subject *s = user;
    size_t n = s->policy->ffn_width;
    pare_view gate;
    double *values = s->scores->values + i * n, *noise = pare_allocate(2 * n, sizeof *noise, error);
    float *logits = pare_allocate(n + policy_scratch(s->policy), sizeof *logits, error);
    bool done = noise && logits && spectrum_view(&gate, s->checkpoint, i, "mlp.gate_proj", error);
    if (done) {
        policy_noise(noise, noise + n, (uint32_t)n, s->seed, "policy draw", i);
        policy_forward(logits, s->policy, &gate, logits + n);
        for (size_t j = 0; j < n; j++)
            values[j] = policy_log_keep(noise[j], logits[j]) + noise[n + j];
        spectrum_let_go(&gate, s->checkpoint);
    }
    pare_free(logits);
    pare_free(noise);
    return done;
}

static bool draw(pare_scores *scores, const pare_policy *policy, const pare_checkpoint *checkpoint, uint64_t seed,
                 const pare_context *context, pare_error *error) {
    subject s = {scores, policy, checkpoint, seed};
    return spectrum_each(score_layer, &s, scores->n_rows, "draw", 0, scores->n_rows, context, error);
}

bool pare_policy_score(pare_scores *scores, const pare_policy *policy, const pare_checkpoint *checkpoint, uint64_t seed,
                       const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    if (!pare_gemm_prepare(error) || !pare_scores_shape(scores, PARE_UNIT_FFN, c, error))
        return false;
    if (policy->width != c->width || policy->ffn_width != c->ffn_width)
        return pare_fail(error, PARE_ERROR_SHAPE, "the policy is for models of width %u and FFN width %u; %s has %u and %u", policy->width,
                         policy->ffn_width, checkpoint->path, c->width, c->ffn_width);
    scores->values = pare_allocate((size_t)scores->n_rows * scores->n_units, sizeof(double), error);
    if (scores->values && draw(scores, policy, checkpoint, seed, context, error))
        return true;
    pare_scores_free(scores);
    return false;
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)calibration;
    pare_policy policy;
    bool done = pare_policy_train(&policy, checkpoint, &(pare_policy_options){.seed = seed}, context, error) &&
                draw(scores, &policy, checkpoint, seed, context, error);
    pare_policy_free(&policy);
    return done;
}

/* The policy, as large as a gate matrix, and either AdamW's two moments or for each thread a spectrum and its mapped matrix. */
static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    size_t width = model->config.width, matrix = (size_t)model->config.ffn_width * width * sizeof(float);
    size_t rows = POLICY_ROWS * width * (2 * sizeof(float) + sizeof(double)),
           mapped = model->layers[0].linears[PARE_GATE].weight.tensor->n_bytes;
    size_t spectra = (size_t)pare_context_threads(context) * (mapped + rows + width * width * sizeof(double));
    (void)method, (void)windows;
    return matrix + (2 * matrix > spectra ? 2 * matrix : spectra);
}

const pare_method pare_method_prunenet = {
    .name = "prunenet",
    .summary = "draws FFN neurons by a policy that is trained on gate_proj weights alone to keep their singular values",
    .source = "Sengupta et al. 2025 (PruneNet)",
    .unit = PARE_UNIT_FFN,
    .stochastic = true,
    .score = score,
    .memory = memory,
};
