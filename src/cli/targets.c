/* targets: see targets.h. */
#include "targets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNIFORM, GLOBAL, SENSITIVITY, ALLOCATIONS };
static const char *const allocations[ALLOCATIONS] = {"uniform", "global", "sensitivity"};

static int allocation_of(const targets *given) {
    int i = 0;
    while (given->allocation && i < ALLOCATIONS && strcmp(given->allocation, allocations[i]) != 0)
        i++;
    return i;
}

static bool has_shape(const targets *given) {
    const pare_shape *s = &given->shape;
    return s->ffn || s->heads || s->groups || s->channels || s->layers;
}

bool targets_check(const targets *given, pare_error *error) {
    int n = !isnan(given->ratio) + (given->parameters != NULL) + (given->bytes != NULL) + (given->macs != NULL) + has_shape(given);
    if (n > 1)
        return pare_fail(
            error, PARE_ERROR_USAGE,
            "--ratio, --params, --bytes, --macs, or a shape (--ffn, --heads, --groups, --channels, --layers): one of them says "
            "how much is to go");
    if (n == 0 || given->ratio < 0 || given->ratio >= 1)
        return pare_fail(
            error, PARE_ERROR_USAGE,
            "--ratio R is missing or outside [0, 1): the share of units to remove (or --params, --bytes, --macs, --ffn, --heads, "
            "--groups, --channels, --layers)");
    if (given->keep_layers && given->keep_blocks)
        return pare_fail(error, PARE_ERROR_USAGE, "--keep-layers and --keep-blocks are the same: give one");
    if (allocation_of(given) == ALLOCATIONS)
        return pare_fail(error, PARE_ERROR_USAGE, "--allocation %s: uniform, global or sensitivity", given->allocation);
    return true;
}

bool targets_need_text(const targets *given) {
    return allocation_of(given) == SENSITIVITY;
}

/* ---- the plan ---- */

/* "0-2,29" into flags (n). */
static bool read_layers(bool *flags, uint32_t n, const char *text, pare_error *error) {
    for (const char *at = text;; at++) {
        char *end;
        unsigned long first = strtoul(at, &end, 10), last = first;
        bool good = end > at && *at >= '0' && *at <= '9';
        if (good && *end == '-') {
            at = end + 1;
            last = strtoul(at, &end, 10);
            good = end > at && *at >= '0' && *at <= '9' && last >= first;
        }
        if (!good || last >= n || (*end != ',' && *end != '\0'))
            return pare_fail(error, PARE_ERROR_USAGE, "--keep-layers \"%s\": layers from 0 to %u, like 0-2,29", text, n - 1);
        for (unsigned long i = first; i <= last; i++)
            flags[i] = true;
        if (*end == '\0')
            return true;
        at = end;
    }
}

static bool protect(pare_plan *plan, const targets *given, const pare_config *config, pare_error *error) {
    const char *layers = given->keep_layers ? given->keep_layers : given->keep_blocks;
    if (!layers)
        return true;
    bool *flags = pare_allocate(config->n_layers, sizeof *flags, error);
    bool done = flags && read_layers(flags, config->n_layers, layers, error) && pare_plan_protect(plan, flags, config, error);
    pare_free(flags);
    return done;
}

/* What may be left at most, in the budget's units. */
static bool read_budget(uint64_t *most, pare_budget *budget, const targets *given, pare_dtype type, pare_error *error) {
    const char *asked = given->parameters ? given->parameters : given->bytes ? given->bytes : given->macs;
    if (!pare_count_parse(most, asked) || *most == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "\"%s\": a number like 118000000, 118M or 0.1G", asked);
    if (given->bytes)
        *most /= pare_dtype_info(type)->bytes;
    *budget = given->macs ? PARE_BUDGET_MACS : PARE_BUDGET_PARAMETERS;
    return true;
}

bool targets_plan(pare_plan *plan, const targets *given, const pare_method *method, const pare_config *config, pare_dtype type,
                  bool automatic, pare_error *error) {
    uint64_t most;
    pare_budget budget = PARE_BUDGET_NON_EMBEDDING;
    bool done;
    if (has_shape(given))
        done = pare_plan_shape(plan, method->unit, config, &given->shape, error);
    else if (!isnan(given->ratio) && (!automatic || method->unit == PARE_UNIT_SEVERAL))
        done = pare_plan_make(plan, method->unit, config, given->ratio, given->multiple, error);
    else if (!isnan(given->ratio))
        done = pare_plan_fit(plan, method->unit, config, budget, pare_share_left(config, given->ratio), given->multiple, error);
    else
        done = read_budget(&most, &budget, given, type, error) &&
               pare_plan_fit(plan, method->unit, config, budget, most, given->multiple, error);
    return done && protect(plan, given, config, error);
}

bool targets_recommend(pare_recommendation *recommendation, const targets *given, const pare_config *config, pare_dtype type,
                       uint64_t tokens, pare_error *error) {
    pare_size dense = pare_config_size(config);
    double share = given->ratio;
    if (has_shape(given))
        return pare_fail(error, PARE_ERROR_USAGE, "--method auto takes --ratio, --params, --bytes or --macs: a shape names its method");
    if (isnan(share)) {
        uint64_t most;
        pare_budget budget;
        if (!read_budget(&most, &budget, given, type, error))
            return false;
        double of = (double)(budget == PARE_BUDGET_MACS ? dense.macs : dense.parameters);
        share = fmax(of - (double)most, 0) / (double)dense.non_embedding; /* what each of these weights costs is one MAC a token */
    }
    if (share >= 1)
        return pare_fail(error, PARE_ERROR_RANGE, "the embeddings alone are more than that: no method can leave so little");
    return pare_recommend(recommendation, config, share, given->multiple, tokens, error);
}

void targets_say_nothing_goes(const targets *given, const pare_plan *plan, const common *shared) {
    if (isnan(given->ratio) || given->ratio <= 0 || !pare_plan_keeps_all(plan) || plan->each)
        return;
    say(shared, "note: ratio %g removes nothing: there are %u %s, kept in multiples of %u; %.3g would remove the first", given->ratio,
        plan->n_units, pare_unit_name(plan->unit), plan->multiple, (double)plan->multiple / plan->n_units);
}

bool targets_allocate(pare_plan *plan, const targets *given, const pare_method *method, const pare_scores *scores,
                      const pare_checkpoint *checkpoint, const pare_calibration *calibration, const common *shared, pare_error *error) {
    switch (allocation_of(given)) {
    case GLOBAL: return pare_plan_allocate_global(plan, scores, error);
    case SENSITIVITY: return pare_plan_allocate_sensitivity(plan, method, scores, checkpoint, calibration, &shared->context, error);
    default: return true;
    }
}
