/* surgeon: pare's own: whole units taken out in the order of optimal brain surgery, what is left fitted anew (surgery.h); of FFN neurons,
 * of key-value heads with their query heads, or of both at once in the shape whose summed errors are least. */
#include <math.h>

#include "../several.h"
#include "../surgery.h"
#include "method.h"

static pare_cut *build_at(surgery_site at, const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                          const pare_context *context, pare_error *error) {
    surgery_counts counts = {{NULL}};
    uint32_t *kept = pare_allocate(plan->n_rows, sizeof *kept, error);
    for (uint32_t i = 0; kept && i < plan->n_rows; i++)
        kept[i] = pare_plan_kept(plan, i);
    counts.kept[at] = kept;
    pare_cut *cut = kept ? surgery_cut(checkpoint, &calibration->windows, &counts, context, error) : NULL;
    pare_free(kept);
    return cut;
}

static pare_cut *build_ffn(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                           const pare_context *context, pare_error *error) {
    return build_at(SURGERY_FFN, checkpoint, calibration, plan, context, error);
}

static pare_cut *build_groups(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                              const pare_context *context, pare_error *error) {
    return build_at(SURGERY_ATTENTION, checkpoint, calibration, plan, context, error);
}

/* ---- both at once ---- */

/* Layers all stay: what dropping one would do to those behind it is not a sum of errors. */
static bool choose(several_shape *shape, const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                   const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    if (plan->shape.layers && plan->shape.layers < c->n_layers)
        return pare_fail(error, PARE_ERROR_USAGE, "surgeon-all keeps all layers: --layers is for taylor-all and the methods of layers");
    if (plan->shape.layers) { /* nothing is left to choose */
        *shape = (several_shape){plan->shape.layers, plan->shape.groups, plan->shape.ffn};
        return true;
    }
    several_costs costs = {0};
    uint32_t *layers = pare_allocate(c->n_layers, sizeof *layers, error);
    bool done = layers && several_costs_allocate(&costs, c, error);
    double *by_site[SURGERY_SITES] = {costs.groups, costs.ffn};
    const uint32_t least[SURGERY_SITES] = {1, several_least_ffn(plan, c)};
    for (uint32_t i = 0; done && i < c->n_layers; i++)
        costs.dropped[i] = (double)INFINITY;
    done = done && surgery_costs(by_site, least, checkpoint, &calibration->windows, context, error) &&
           several_choose(shape, layers, &costs, plan, c, error);
    several_costs_free(&costs);
    pare_free(layers);
    return done;
}

static pare_cut *build_all(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                           const pare_context *context, pare_error *error) {
    uint32_t n = checkpoint->config.n_layers;
    several_shape shape;
    uint32_t *kept = pare_allocate(2 * (size_t)n, sizeof *kept, error);
    bool done = kept && choose(&shape, checkpoint, calibration, plan, context, error);
    for (uint32_t i = 0; done && i < n; i++) {
        kept[i] = shape.groups;
        kept[n + i] = shape.ffn;
    }
    surgery_counts counts = {{NULL}};
    if (done && shape.groups < checkpoint->config.n_kv_heads)
        counts.kept[SURGERY_ATTENTION] = kept;
    if (done && shape.ffn < checkpoint->config.ffn_width)
        counts.kept[SURGERY_FFN] = kept + n;
    pare_cut *cut = done ? surgery_cut(checkpoint, &calibration->windows, &counts, context, error) : NULL;
    pare_free(kept);
    return cut;
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    (void)method;
    return surgery_bytes(model, windows, context);
}

#define SOURCE                                                                                                                             \
    .source = "Hassibi & Stork 1993, Kurtic et al. 2023 (ZipLM), and pare", .calibrated = true, .text_only = true, .memory = memory

const pare_method pare_method_surgeon = {
    .name = "surgeon",
    .summary = "pare's own: optimal brain surgery on whole neurons, down_proj fitted anew, layer by layer on the cut model",
    .unit = PARE_UNIT_FFN,
    .build = build_ffn,
    SOURCE,
};

const pare_method pare_method_surgeon_groups = {
    .name = "surgeon-groups",
    .summary = "the same on key-value heads with their query heads, o_proj fitted anew",
    .unit = PARE_UNIT_GROUPS,
    .build = build_groups,
    SOURCE,
};

const pare_method pare_method_surgeon_all = {
    .name = "surgeon-all",
    .summary = "the same on FFN neurons and key-value heads at once, in the shape of the least error",
    .unit = PARE_UNIT_SEVERAL,
    .build = build_all,
    SOURCE,
};
