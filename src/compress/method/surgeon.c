/* surgeon: pare's own: whole units taken out in the order of optimal brain surgery, what is left fitted anew (surgery.h); of FFN neurons,
 * of key-value heads with their query heads, or of both at once, in the shape that loses least. */
#include <math.h>

#include "../several.h"
#include "../surgery.h"
#include "../window_loss.h"
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

/* Sums of errors say which shapes are worth trying: errors of a layer's two sites, each measured with all else whole, add up only while
 * they are small. Tried shapes are fitted on three quarters of the windows, and the loss on the last quarter says which is best: on windows
 * that were fitted, those with more to fit look better than they are. The best is fitted once more, on all. */
static const double WORTH_TRYING = 1.15; /* times the least sum */
enum { TRIED_MOST = 3, HELD_OUT = 4 };

/* Layers all stay: what dropping one would do to those behind it is not a sum of errors. */
static bool list_shapes(several_offer *offers, uint32_t *n, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                        const pare_plan *plan, const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    if (plan->shape.layers) /* nothing is left to choose */
        return several_offers(offers, n, NULL, plan, c, error);
    several_costs costs = {0};
    bool done = several_costs_allocate(&costs, c, error);
    double *by_site[SURGERY_SITES] = {costs.groups, costs.ffn};
    const uint32_t least[SURGERY_SITES] = {1, several_least_ffn(plan, c)};
    for (uint32_t i = 0; done && i < c->n_layers; i++)
        costs.dropped[i] = (double)INFINITY;
    done = done && surgery_costs(by_site, least, checkpoint, &calibration->windows, context, error) &&
           several_offers(offers, n, &costs, plan, c, error);
    several_costs_free(&costs);
    return done;
}

static pare_cut *build_shape(several_shape shape, const pare_checkpoint *checkpoint, const pare_windows *windows,
                             const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    uint32_t n = c->n_layers, *kept = pare_allocate(2 * (size_t)n, sizeof *kept, error);
    surgery_counts counts = {{NULL}};
    for (uint32_t i = 0; kept && i < n; i++) {
        kept[i] = shape.groups;
        kept[n + i] = shape.ffn;
    }
    if (kept && shape.groups < c->n_kv_heads)
        counts.kept[SURGERY_ATTENTION] = kept;
    if (kept && shape.ffn < c->ffn_width)
        counts.kept[SURGERY_FFN] = kept + n;
    pare_cut *cut = kept ? surgery_cut(checkpoint, windows, &counts, context, error) : NULL;
    pare_free(kept);
    return cut;
}

/* *best: which of the n cheapest loses least on windows that it was not fitted on. */
static bool try_shapes(uint32_t *best, const several_offer *offers, uint32_t n, const pare_checkpoint *checkpoint,
                       const pare_windows *windows, const pare_context *context, pare_error *error) {
    pare_windows fitted = *windows, held_out = *windows;
    double least = (double)INFINITY, loss;
    fitted.n = windows->n - windows->n / HELD_OUT;
    held_out.ids += fitted.n * windows->length;
    held_out.n = windows->n - fitted.n;
    for (uint32_t i = 0; i < n; i++) {
        pare_cut *cut = build_shape(offers[i].shape, checkpoint, &fitted, context, error);
        bool done = cut && window_loss(&loss, checkpoint, cut, &held_out, context, error);
        pare_cut_close(cut);
        if (!done)
            return false;
        if (loss < least) {
            least = loss;
            *best = i;
        }
    }
    return true;
}

static pare_cut *build_all(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                           const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    several_offer *offers = pare_allocate((size_t)c->n_layers * c->n_kv_heads, sizeof *offers, error);
    const pare_windows *windows = &calibration->windows;
    uint32_t n = 0, tried = 1, best = 0;
    pare_cut *cut = NULL;
    bool done = offers && list_shapes(offers, &n, checkpoint, calibration, plan, context, error);
    while (done && tried < n && tried < TRIED_MOST && offers[tried].cost < WORTH_TRYING * offers[0].cost)
        tried++;
    if (done && tried > 1 && windows->n >= HELD_OUT)
        done = try_shapes(&best, offers, tried, checkpoint, windows, context, error);
    if (done)
        cut = build_shape(offers[best].shape, checkpoint, windows, context, error);
    pare_free(offers);
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
    .summary = "removes FFN neurons by optimal brain surgery and refits down_proj, layer by layer on the model that is cut already",
    .unit = PARE_UNIT_FFN,
    .build = build_ffn,
    SOURCE,
};

const pare_method pare_method_surgeon_groups = {
    .name = "surgeon-groups",
    .summary = "removes key-value heads with their query heads by optimal brain surgery and refits o_proj, layer by layer",
    .unit = PARE_UNIT_GROUPS,
    .build = build_groups,
    SOURCE,
};

const pare_method pare_method_surgeon_all = {
    .name = "surgeon-all",
    .summary = "removes FFN neurons and key-value heads by optimal brain surgery with refits, in the shape with the lowest loss",
    .unit = PARE_UNIT_SEVERAL,
    .keeps_layers = true,
    .revision = 1, /* 0 took the shape of the least sum of errors untried */
    .build = build_all,
    SOURCE,
};
