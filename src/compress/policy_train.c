/* policy_train: episodes of PruneNet's policy over the layers of one model; see policy.h. In an episode every layer's draw is by the same
 * weights, so that their rewards (singular values: nearly all of the time) are computed side by side; the updates then go layer by layer.
 */
#include <math.h>
#include <string.h>

#include "policy.h"
#include "rank.h"
#include "spectrum.h"

typedef struct {
    const pare_checkpoint *checkpoint;
    pare_policy policy; /* as it is now */
    uint64_t seed;
    uint32_t n_layers, n_kept, episode;
    size_t n_values;         /* singular values of a layer */
    double *spectra;         /* (n_layers, n_values) of the uncut layers */
    double *noise;           /* (n_layers, ffn_width) of this episode */
    double *rewards;         /* (n_layers) */
    uint32_t *kept;          /* (n_layers, n_kept), ascending */
    float *logits, *scratch; /* of the update */
    policy_slope slope;
    pare_spill *spill;
    float *first_moment, *second_moment, *best; /* as large as the policy, in the spill: an episode's spectra need the memory meanwhile */
    double best_reward;
    uint64_t step; /* of AdamW */
} trainer;

static void read_gate(void *user, float *out, size_t first, size_t count) {
    pare_view_read(out, user, (uint32_t)first, (uint32_t)count, NULL);
}

static bool measure_layer(void *user, uint32_t layer, pare_error *error) {
    const trainer *t = user;
    pare_view gate;
    if (!spectrum_view(&gate, t->checkpoint, layer, "mlp.gate_proj", error))
        return false;
    bool done = pare_singular_values_by_rows(t->spectra + layer * t->n_values, read_gate, &gate, gate.n_rows, gate.n_columns, error);
    spectrum_let_go(&gate, t->checkpoint);
    return done;
}

/* kept = the n_kept largest of ln k + Gumbel noise, ascending. */
static void draw(uint32_t *kept, ranked *order, uint32_t n, uint32_t n_kept, const float *logits, const double *noise,
                 const double *gumbel) {
    for (uint32_t j = 0; j < n; j++)
        order[j] = (ranked){policy_log_keep(noise[j], logits[j]) + gumbel[j], j};
    rank_best(kept, n_kept, order, n);
}

static bool act_on_layer(void *user, uint32_t layer, pare_error *error) {
    const trainer *t = user;
    uint32_t n = t->policy.ffn_width, *kept = t->kept + (size_t)layer * t->n_kept;
    double *noise = t->noise + (size_t)layer * n, *gumbel = pare_allocate(n, sizeof *gumbel, error);
    float *logits = pare_allocate(n + policy_scratch(&t->policy), sizeof *logits, error);
    ranked *order = pare_allocate(n, sizeof *order, error);
    pare_view gate;
    bool done = logits && gumbel && order && spectrum_view(&gate, t->checkpoint, layer, "mlp.gate_proj", error);
    if (done) {
        policy_noise(noise, gumbel, n, t->seed, "policy episode", (uint64_t)t->episode << 32 | layer);
        policy_forward(logits, &t->policy, &gate, logits + n);
        draw(kept, order, n, t->n_kept, logits, noise, gumbel);
        done = policy_reward(&t->rewards[layer], t->spectra + layer * t->n_values, t->n_values, &gate, kept, t->n_kept, error);
        spectrum_let_go(&gate, t->checkpoint);
    }
    pare_free(order);
    pare_free(logits);
    pare_free(gumbel);
    return done;
}

static bool learn(trainer *t, double rate, const pare_context *context, pare_error *error) {
    uint32_t n = t->policy.ffn_width;
    double discount = 1;
    for (uint32_t i = 0; i < t->n_layers; i++, discount *= 0.99) {
        pare_view gate;
        if (!pare_context_check(context, error) || !spectrum_view(&gate, t->checkpoint, i, "mlp.gate_proj", error))
            return false;
        policy_forward(t->logits, &t->policy, &gate, t->scratch);
        policy_gradient(&t->slope, &t->policy, &gate, t->logits, t->noise + (size_t)i * n, t->kept + (size_t)i * t->n_kept, t->n_kept,
                        t->rewards[i] * discount, t->scratch);
        spectrum_let_go(&gate, t->checkpoint);
        policy_step(&t->policy, t->first_moment, t->second_moment, &t->slope, ++t->step, rate, t->scratch);
    }
    pare_spill_drop(t->spill);
    return true;
}

/* Remembers the policy of an episode that earned more than any before. */
static bool keep_best(trainer *t, pare_error *error) {
    double reward = 0;
    for (uint32_t i = 0; i < t->n_layers; i++)
        reward += t->rewards[i] / t->n_layers;
    if (!isfinite(reward))
        return pare_fail(error, PARE_ERROR_NUMERIC, "the policy's reward in episode %u is not a number", t->episode + 1);
    if (t->episode == 0 || reward > t->best_reward) {
        memcpy(t->best, t->policy.values, t->policy.n_values * sizeof *t->best);
        t->best_reward = reward;
        pare_spill_drop(t->spill);
    }
    return true;
}

static bool run(trainer *t, const pare_policy_options *o, const pare_context *context, pare_error *error) {
    double total = (double)t->n_layers * (o->episodes + 1);
    if (!spectrum_each(measure_layer, t, t->n_layers, "policy", 0, total, context, error))
        return false;
    for (t->episode = 0; t->episode < o->episodes; t->episode++) {
        double before = (double)t->n_layers * (t->episode + 1);
        if (!spectrum_each(act_on_layer, t, t->n_layers, "policy", before, total, context, error) || !keep_best(t, error) ||
            (t->episode + 1 < o->episodes && !learn(t, o->rate, context, error)))
            return false;
    }
    return true;
}

static bool open_trainer(trainer *t, const pare_checkpoint *checkpoint, const pare_policy_options *o, pare_arena *arena,
                         pare_error *error) {
    const pare_config *c = &checkpoint->config;
    *t = (trainer){.checkpoint = checkpoint, .seed = o->seed, .n_layers = c->n_layers};
    if (!policy_open(&t->policy, c->width, c->ffn_width, error))
        return false;
    policy_start(&t->policy, o->seed);
    size_t n = c->ffn_width, width = c->width, layers = c->n_layers, bytes = t->policy.n_values * sizeof(float);
    uint32_t n_kept = (uint32_t)((1 - o->ratio) * c->ffn_width);
    t->n_kept = n_kept ? n_kept : 1;
    t->n_values = n < width ? n : width;
    return (t->spectra = PARE_PUSH(arena, double, layers * t->n_values, error)) &&
           (t->noise = PARE_PUSH(arena, double, layers *n, error)) && (t->rewards = PARE_PUSH(arena, double, layers, error)) &&
           (t->kept = PARE_PUSH(arena, uint32_t, layers * t->n_kept, error)) && (t->logits = PARE_PUSH(arena, float, n, error)) &&
           (t->scratch = PARE_PUSH(arena, float, policy_scratch(&t->policy), error)) &&
           (t->slope.a = PARE_PUSH(arena, float, width, error)) && (t->slope.bias = PARE_PUSH(arena, float, n, error)) &&
           (t->slope.rows = PARE_PUSH(arena, float, n, error)) && (t->best = pare_spill_push(&t->spill, bytes, error)) &&
           (t->first_moment = pare_spill_push(&t->spill, bytes, error)) && (t->second_moment = pare_spill_push(&t->spill, bytes, error));
}

static pare_policy_options with_defaults(const pare_policy_options *options) {
    pare_policy_options o = options ? *options : (pare_policy_options){0};
    o.ratio = o.ratio == 0 ? 0.3 : o.ratio;
    o.rate = o.rate == 0 ? 1e-3 : o.rate;
    o.episodes = o.episodes == 0 ? 20 : o.episodes;
    return o;
}

bool pare_policy_train(pare_policy *policy, const pare_checkpoint *checkpoint, const pare_policy_options *options,
                       const pare_context *context, pare_error *error) {
    pare_policy_options o = with_defaults(options);
    pare_scores shape;
    *policy = (pare_policy){0};
    if (!(o.ratio > 0 && o.ratio < 1 && o.rate > 0 && isfinite(o.rate)))
        return pare_fail(error, PARE_ERROR_USAGE, "a policy is trained at a ratio between 0 and 1 (%g) and a rate above 0 (%g)", o.ratio,
                         o.rate);
    if (!pare_gemm_prepare(error) || !pare_scores_shape(&shape, PARE_UNIT_FFN, &checkpoint->config, error))
        return false;
    trainer t = {0};
    pare_arena *arena = pare_arena_open(error);
    bool done = arena && open_trainer(&t, checkpoint, &o, arena, error) && run(&t, &o, context, error);
    if (done) {
        memcpy(t.policy.values, t.best, t.policy.n_values * sizeof *t.best);
        *policy = t.policy;
        policy->ratio = o.ratio;
        policy->episodes = o.episodes;
        policy->seed = o.seed;
        policy->reward = t.best_reward;
    } else
        pare_policy_free(&t.policy);
    pare_spill_close(t.spill);
    pare_arena_close(arena);
    return done;
}
