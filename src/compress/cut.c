/* cut: scores and a plan -> which units survive. Shared by all methods: ties, the accounting of what was removed. */
#include <math.h>

#include "pare/compress.h"
#include "rank.h"
#include "several.h"

/* kept (n_kept) = the best units of one row, ascending. */
static bool choose(uint32_t *kept, ranked *order, const pare_scores *scores, uint32_t row, uint32_t n_kept, pare_error *error) {
    for (uint32_t j = 0; j < scores->n_units; j++) {
        order[j] = (ranked){scores->values[(size_t)row * scores->n_units + j], j};
        if (isnan(order[j].value))
            return pare_fail(error, PARE_ERROR_NUMERIC, "the score of %s %u in row %u is not a number", pare_unit_name(scores->unit), j,
                             row);
    }
    rank_best(kept, n_kept, order, scores->n_units);
    return true;
}

/* chosen: the rows' kept units one after another, ascending in each row. */
static bool keep_chosen(pare_cut *cut, const pare_plan *plan, uint32_t *chosen, pare_error *error) {
    bool done = true;
    uint32_t per_layer = plan->n_rows / cut->source.n_layers;
    switch (plan->unit) {
    case PARE_UNIT_FFN:
        for (uint32_t i = 0; done && i < plan->n_rows; chosen += pare_plan_kept(plan, i), i++)
            done = pare_cut_keep_ffn(cut, i, chosen, pare_plan_kept(plan, i), error);
        return done;
    case PARE_UNIT_GROUPS:
        for (uint32_t i = 0; done && i < plan->n_rows; chosen += pare_plan_kept(plan, i), i++)
            done = pare_cut_keep_groups(cut, i, chosen, pare_plan_kept(plan, i), error);
        return done;
    case PARE_UNIT_HEADS: /* a row is one key-value head: its queries are numbered from n_units times its own number on */
        for (uint32_t i = 0; done && i < cut->source.n_layers; i++) {
            uint32_t n = 0;
            for (uint32_t g = 0; g < per_layer; g++)
                for (uint32_t j = 0; j < pare_plan_kept(plan, i * per_layer + g); j++)
                    chosen[n++] += g * plan->n_units;
            done = pare_cut_keep_heads(cut, i, chosen, n, error);
            chosen += n;
        }
        return done;
    case PARE_UNIT_CHANNELS: return pare_cut_keep_channels(cut, chosen, plan->n_kept, error);
    case PARE_UNIT_LAYERS: return pare_cut_keep_layers(cut, chosen, plan->n_kept, error);
    case PARE_UNIT_SEVERAL:     /* several_cut's */
    case PARE_UNIT_COORDINATES: /* the methods that have these build their cut themselves */
    case PARE_UNIT_BLOCK_COORDINATES:
    case PARE_UNIT_DIRECTIONS:
    case PARE_UNITS: break;
    }
    return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s are not chosen by scores", pare_unit_name(plan->unit));
}

pare_cut *pare_cut_make(const pare_config *config, const pare_scores *scores, const pare_plan *plan, pare_error *error) {
    if (plan->unit == PARE_UNIT_SEVERAL)
        return several_cut(config, scores, plan, error);
    pare_cut *cut = pare_cut_open(config, error);
    uint32_t *chosen = pare_allocate((size_t)scores->n_rows * scores->n_units, sizeof *chosen, error), *at = chosen;
    ranked *order = pare_allocate(scores->n_units, sizeof *order, error);
    bool done = cut && chosen && order;
    for (uint32_t i = 0; done && i < scores->n_rows; at += pare_plan_kept(plan, i), i++)
        done = choose(at, order, scores, i, pare_plan_kept(plan, i), error);
    done = done && keep_chosen(cut, plan, chosen, error);
    pare_free(order);
    pare_free(chosen);
    if (done)
        return cut;
    pare_cut_close(cut);
    return NULL;
}

bool pare_method_check_plan(const pare_method *method, const pare_plan *plan, const pare_config *config, pare_error *error) {
    return !method->keeps_layers || plan->shape.layers == 0 || plan->shape.layers >= config->n_layers ||
           pare_fail(error, PARE_ERROR_USAGE, "%s keeps all layers: --layers is for taylor-all and the methods of layers", method->name);
}

pare_cut *pare_method_cut(const pare_method *method, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                          const pare_scores *scores, const pare_plan *plan, const pare_context *context, pare_error *error) {
    if (pare_plan_keeps_all(plan))
        return pare_cut_open(&checkpoint->config, error);
    if (!pare_method_check_plan(method, plan, &checkpoint->config, error))
        return NULL;
    if (method->build)
        return method->build(checkpoint, calibration, plan, context, error);
    pare_cut *cut = pare_cut_make(&checkpoint->config, scores, plan, error);
    if (!cut || !method->compensate || method->compensate(cut, checkpoint, calibration, context, error))
        return cut;
    pare_cut_close(cut);
    return NULL;
}

static double removed(uint64_t before, uint64_t after) {
    return before ? 1 - (double)after / (double)before : 0;
}

pare_achieved pare_cut_achieved(const pare_cut *cut, const pare_checkpoint *checkpoint) {
    pare_achieved a = {.before = pare_checkpoint_size(checkpoint, NULL), .after = pare_checkpoint_size(checkpoint, cut)};
    a.parameters = removed(a.before.parameters, a.after.parameters);
    a.non_embedding = removed(a.before.non_embedding, a.after.non_embedding);
    a.bytes = removed(a.before.bytes, a.after.bytes);
    a.macs = removed(a.before.macs, a.after.macs);
    return a;
}
