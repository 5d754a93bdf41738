/* targets: see targets.h. */
#include "targets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* targets_check has seen that there is one of that name. */
static pare_allocation allocation_of(const targets *given) {
    pare_allocation allocation = PARE_ALLOCATION_UNIFORM;
    return given->allocation && pare_allocation_find(&allocation, given->allocation) ? allocation : PARE_ALLOCATION_UNIFORM;
}

static bool has_shape(const targets *given) {
    const pare_shape *s = &given->shape, none = TARGETS_NO_SHAPE;
    return memcmp(s, &none, sizeof none) != 0;
}

bool targets_check(const targets *given, pare_error *error) {
    int n = !isnan(given->ratio) + (given->parameters != NULL) + (given->bytes != NULL) + (given->macs != NULL) + has_shape(given);
    if (n > 1)
        return pare_fail(
            error, PARE_ERROR_USAGE,
            "--ratio, --params, --bytes, --macs and a shape (--ffn, --heads, --groups, --channels, --layers) exclude each other: only "
            "one of them says how much is removed");
    if (n == 0)
        return pare_fail(error, PARE_ERROR_USAGE,
                         "--ratio R is missing: the share of units to remove, from 0 to below 1 (or --params, --bytes, --macs, --ffn, "
                         "--heads, --groups, --channels, --layers)");
    if (given->as && !given->bytes)
        return pare_fail(error, PARE_ERROR_USAGE, "--as is the type that --bytes counts in: --bytes N is missing");
    if (!isnan(given->ratio) && !check_share("ratio", given->ratio, error))
        return false;
    if (given->keep_layers && given->keep_blocks)
        return pare_fail(error, PARE_ERROR_USAGE, "--keep-layers and --keep-blocks are the same: give one");
    pare_allocation found;
    if (given->allocation && !pare_allocation_find(&found, given->allocation))
        return pare_fail(error, PARE_ERROR_USAGE, "--allocation %s: uniform, global or sensitivity", given->allocation);
    return true;
}

bool targets_need_text(const targets *given) {
    return allocation_of(given) == PARE_ALLOCATION_SENSITIVITY;
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

static bool read_bytes(pare_limit *limit, const targets *given, pare_dtype type, pare_error *error) {
    *limit = (pare_limit){.budget = PARE_BUDGET_BYTES, .dtype = type};
    if (!pare_bytes_parse(&limit->most, given->bytes))
        return pare_fail(error, PARE_ERROR_USAGE, "--bytes \"%s\": a number like 150000000, 150M, 150MiB or 1.5G", given->bytes);
    return !given->as || (pare_dtype_find(&limit->dtype, given->as) && pare_dtype_writable(limit->dtype)) ||
           pare_fail(error, PARE_ERROR_USAGE, "--as %s: bytes are counted as f32, f16, bf16, q8_0, q4_0 or q4_1", given->as);
}

/* What may be left at most. */
static bool read_limit(pare_limit *limit, const targets *given, pare_dtype type, pare_error *error) {
    const char *asked = given->parameters ? given->parameters : given->macs;
    if (given->bytes)
        return read_bytes(limit, given, type, error);
    *limit = (pare_limit){.budget = given->macs ? PARE_BUDGET_MACS : PARE_BUDGET_PARAMETERS};
    return pare_count_parse(&limit->most, asked) ||
           pare_fail(error, PARE_ERROR_USAGE, "\"%s\": a number like 118000000, 118M or 0.1G", asked);
}

static uint32_t said(uint32_t n) {
    return n == TARGETS_UNSAID ? 0 : n;
}

/* Whether the output is a Llama with biases, which unlike others has no second name to be written under. */
static bool biased_llama(const pare_method *method, const pare_config *c) {
    return method->compensate || (c->arch == PARE_ARCH_LLAMA && (c->attention_bias || c->mlp_bias));
}

static bool refuse_heads(uint32_t heads, uint32_t step, const pare_config *c, pare_error *error) {
    pare_string legal = {0};
    for (uint32_t n = step; n <= c->n_heads; n += step)
        if (c->width % n == 0)
            pare_string_print(&legal, "%s%u", legal.length ? ", " : "", n);
    pare_fail(error, PARE_ERROR_RANGE,
              "%u query heads at width %u: transformers takes a Llama with biases only where its heads divide the "
              "width (%s)",
              heads, c->width, legal.data ? legal.data : "none");
    pare_string_free(&legal);
    return false;
}

static uint32_t heads_left(const pare_plan *plan, const pare_config *c) {
    uint32_t group = c->n_heads / c->n_kv_heads;
    return plan->unit == PARE_UNIT_HEADS                               ? plan->n_kept * c->n_kv_heads
           : plan->unit == PARE_UNIT_GROUPS                            ? plan->n_kept * group
           : plan->unit == PARE_UNIT_SEVERAL && plan->shape.groups > 0 ? plan->shape.groups * group
                                                                       : c->n_heads;
}

static bool plan_shape(pare_plan *plan, const targets *given, const pare_method *method, const pare_config *c, pare_error *error) {
    const pare_shape *s = &given->shape;
    const struct {
        const char *flag;
        uint32_t n, step, most;
    } flags[] = {{"ffn", s->ffn, 1, c->ffn_width},
                 {"heads", s->heads, method->unit == PARE_UNIT_HEADS ? c->n_kv_heads : c->n_heads / c->n_kv_heads, c->n_heads},
                 {"groups", s->groups, 1, c->n_kv_heads},
                 {"channels", s->channels, 1, c->width},
                 {"layers", s->layers, 1, c->n_layers}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (flags[i].n == 0)
            return flags[i].step == 1
                       ? pare_fail(error, PARE_ERROR_RANGE, "--%s 0: from 1 to %u are possible", flags[i].flag, flags[i].most)
                       : pare_fail(error, PARE_ERROR_RANGE, "--%s 0: multiples of %u up to %u are possible", flags[i].flag, flags[i].step,
                                   flags[i].most);
    const pare_shape wanted = {said(s->ffn), said(s->heads), said(s->groups), said(s->channels), said(s->layers)};
    if (!pare_plan_shape(plan, method->unit, c, &wanted, error))
        return false;
    uint32_t heads = heads_left(plan, c);
    return heads == c->n_heads || !biased_llama(method, c) || c->width % heads == 0 ||
           refuse_heads(heads, method->unit == PARE_UNIT_HEADS ? c->n_kv_heads : c->n_heads / c->n_kv_heads, c, error);
}

bool targets_plan(pare_plan *plan, const targets *given, const pare_method *method, const pare_config *config, pare_dtype type,
                  bool automatic, pare_error *error) {
    pare_limit limit = {.budget = PARE_BUDGET_NON_EMBEDDING};
    bool done;
    if (has_shape(given))
        done = plan_shape(plan, given, method, config, error);
    else if (!isnan(given->ratio) && (!automatic || method->unit == PARE_UNIT_SEVERAL))
        done = pare_plan_make(plan, method->unit, config, given->ratio, given->multiple, error);
    else if (!isnan(given->ratio)) {
        limit.most = pare_share_left(config, given->ratio);
        done = pare_plan_fit(plan, method->unit, config, &limit, given->multiple, error);
    } else
        done = read_limit(&limit, given, type, error) && pare_plan_fit(plan, method->unit, config, &limit, given->multiple, error);
    return done && pare_method_check_plan(method, plan, config, error) && protect(plan, given, config, error);
}

/* A model that is small enough already is not cut for that. */
static bool refuse_to_cut(const targets *given, const pare_limit *limit, const pare_checkpoint *checkpoint, pare_error *error) {
    uint64_t stored = pare_checkpoint_size(checkpoint, NULL).bytes, counted = pare_limit_of(limit, &checkpoint->config);
    if (limit->budget == PARE_BUDGET_BYTES && !given->as && stored <= limit->most)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "%s is small enough without a cut: its weights take %s as %s; to cut it all the same, give --ratio or --params",
                         checkpoint->path, human_bytes((double)stored), pare_dtype_info(checkpoint->dtype)->name);
    if (counted > limit->most)
        return true;
    if (limit->budget == PARE_BUDGET_BYTES)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "%s is small enough without a cut: its weights take %s as %s (pare export %s --type %s -o OUT.gguf)",
                         checkpoint->path, human_bytes((double)counted), pare_dtype_info(limit->dtype)->name, checkpoint->path,
                         pare_dtype_info(limit->dtype)->name);
    return pare_fail(error, PARE_ERROR_RANGE, "%s is small enough without a cut: it has %s %s", checkpoint->path, human_count(counted),
                     limit->budget == PARE_BUDGET_MACS ? "multiply-accumulates per token" : "parameters");
}

/* The share of the weights outside of embeddings that has to go. */
static double share_to_go(const pare_limit *limit, const pare_config *config) {
    const pare_dtype_traits *traits = pare_dtype_info(limit->dtype);
    double each = limit->budget == PARE_BUDGET_BYTES ? (double)traits->bytes / traits->block : 1; /* what one of these weights costs */
    return ((double)pare_limit_of(limit, config) - (double)limit->most) / each / (double)pare_config_size(config).non_embedding;
}

bool targets_recommend(pare_recommendation *recommendation, const targets *given, const pare_checkpoint *checkpoint, pare_dtype type,
                       uint64_t tokens, pare_error *error) {
    double share = given->ratio;
    if (has_shape(given))
        return pare_fail(error, PARE_ERROR_USAGE, "--method auto takes --ratio, --params, --bytes or --macs: a shape names its method");
    if (isnan(share)) {
        pare_limit limit;
        if (!read_limit(&limit, given, type, error) || !refuse_to_cut(given, &limit, checkpoint, error))
            return false;
        share = share_to_go(&limit, &checkpoint->config);
    }
    if (share >= 1)
        return pare_fail(error, PARE_ERROR_RANGE, "the embeddings alone are more than that: no method can leave so little");
    return pare_recommend(recommendation, &checkpoint->config, share, given->multiple, tokens, error);
}

/* ---- remarks ---- */

static void say_where(const pare_plan *plan, const pare_method *method, const pare_config *c, const common *shared) {
    uint32_t heads = heads_left(plan, c);
    if (heads == c->n_heads || biased_llama(method, c))
        return;
    if (c->arch == PARE_ARCH_LLAMA && c->width % heads != 0)
        say(shared,
            "note: %u query heads do not divide the width %u. The output is written as a Mistral, the same network, which transformers, "
            "vLLM "
            "and llama.cpp load",
            heads, c->width);
    if (c->arch == PARE_ARCH_QWEN2 && (uint64_t)heads * c->head_dim != c->width)
        say(shared,
            "note: a Qwen2 of %u query heads of %u at width %u loads in transformers; vLLM refuses it, and pare export writes it for "
            "llama.cpp as a llama",
            heads, c->head_dim, c->width);
}

static void say_rounding(const targets *given, const pare_plan *plan, const common *shared) {
    const char *name = pare_unit_name(plan->unit);
    uint32_t n = plan->n_units, step = plan->multiple;
    if (pare_plan_keeps_all(plan))
        say(shared, "note: ratio %g removes nothing: there are %u %s, kept in multiples of %u. Ratio %.3g is the first that removes some",
            given->ratio, n, name, step, (double)step / n);
    else if ((1 - given->ratio) * n < step && plan->n_kept == step)
        say(shared, "note: ratio %g would leave less than the %u of %u %s that must stay. It removes what ratio %.3g does", given->ratio,
            step, n, name, 1 - (double)step / n);
}

/* What may be left is more than there is. */
static void say_whole(const targets *given, const pare_plan *plan, const common *shared) {
    const char *asked = given->parameters ? given->parameters : given->bytes ? given->bytes : given->macs;
    const char *flag = given->parameters ? "params" : given->bytes ? "bytes" : "macs";
    if (asked && pare_plan_keeps_all(plan))
        say(shared, "note: nothing is removed, because the whole model is within --%s %s already", flag, asked);
}

void targets_say_limits(const targets *given, const pare_plan *plan, const pare_method *method, const pare_config *config,
                        const common *shared) {
    bool counted = plan->unit != PARE_UNIT_SEVERAL && plan->unit != PARE_UNIT_DIRECTIONS; /* these go in weights */
    say_whole(given, plan, shared);
    if (given->ratio > 0 && !plan->each && counted)
        say_rounding(given, plan, shared);
    say_where(plan, method, config, shared);
}

/* Counts of layers that differ. */
static void print_counts(const pare_plan *plan, const char *method, const char *place) {
    uint32_t least = plan->n_units, most = 0, n = plan->n_rows;
    uint64_t all = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t kept = pare_plan_kept(plan, i);
        least = kept < least ? kept : least;
        most = kept > most ? kept : most;
        all += kept;
    }
    printf("%s at r = %g keeps %u to %u of %u %s%s, %.4g on average:", method, plan->ratio, least, most, plan->n_units,
           pare_unit_name(plan->unit), place, (double)all / n);
    for (uint32_t i = 0; i < n; i++)
        printf(" %u", pare_plan_kept(plan, i));
    printf("\n");
}

void targets_print_kept(const targets *given, const pare_plan *plan, const char *method, const pare_config *config) {
    char place[64];
    uint32_t whole = 0;
    pare_unit_place(place, plan->unit, config);
    if (plan->each && allocation_of(given) != PARE_ALLOCATION_UNIFORM) {
        print_counts(plan, method, place);
        return;
    }
    printf("%s at r = %g keeps %u of %u %s%s\n", method, plan->ratio, plan->n_kept, plan->n_units, pare_unit_name(plan->unit), place);
    for (uint32_t i = 0; plan->each && i < plan->n_rows; i++)
        whole += plan->each[i] == plan->n_units;
    if (whole)
        printf("all of them in %u layers that are kept whole\n", whole);
}

/* ---- shares ---- */

bool targets_known(const targets *given, const pare_plan *plan) {
    return !plan->each && allocation_of(given) == PARE_ALLOCATION_UNIFORM;
}

bool targets_allocate(pare_plan *plan, const targets *given, const pare_method *method, const pare_scores *scores,
                      const pare_checkpoint *checkpoint, const pare_calibration *calibration, const common *shared, pare_error *error) {
    pare_sensitivity sensitivity = {0};
    switch (allocation_of(given)) {
    case PARE_ALLOCATION_GLOBAL: return pare_plan_allocate_global(plan, scores, error);
    case PARE_ALLOCATION_SENSITIVITY:
        if (!pare_sensitivity_measure(&sensitivity, plan, method, scores, checkpoint, calibration, &shared->context, error))
            return false;
        bool done = pare_plan_allocate_sensitivity(plan, &sensitivity, error);
        pare_sensitivity_free(&sensitivity);
        return done;
    default: return true;
    }
}
