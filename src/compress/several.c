/* several: see several.h. */
#include "several.h"

#include <math.h>
#include <stdlib.h>

#include "rank.h"

bool several_costs_allocate(several_costs *costs, const pare_config *c, pare_error *error) {
    return (costs->ffn = pare_allocate((size_t)c->n_layers * (c->ffn_width + 1), sizeof(double), error)) &&
           (costs->groups = pare_allocate((size_t)c->n_layers * (c->n_kv_heads + 1), sizeof(double), error)) &&
           (costs->dropped = pare_allocate(c->n_layers, sizeof(double), error));
}

void several_costs_free(several_costs *costs) {
    pare_free(costs->ffn);
    pare_free(costs->groups);
    pare_free(costs->dropped);
    *costs = (several_costs){0};
}

/* ---- the shape ---- */

static double weights_of(const pare_config *config, uint32_t layers, uint32_t groups, uint32_t ffn) {
    pare_config c = *config;
    c.n_layers = layers;
    c.n_heads = groups * (config->n_heads / config->n_kv_heads);
    c.n_kv_heads = groups;
    c.ffn_width = ffn;
    return (double)pare_config_size(&c).non_embedding;
}

/* The largest multiple that what is left for the FFNs is enough for; 0: it is for none. */
static uint32_t ffn_for(double weights, const pare_config *c, uint32_t layers, uint32_t groups, uint32_t multiple) {
    double without = weights_of(c, layers, groups, 0), each = weights_of(c, layers, groups, 1) - without;
    double n = floor((weights - without) / each / multiple) * multiple;
    return n < 1 ? 0 : n > c->ffn_width ? c->ffn_width : (uint32_t)n;
}

/* order (n_layers): the dearest to drop first. */
static double price(const several_costs *costs, const ranked *order, const pare_config *c, several_shape shape) {
    double sum = 0;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        size_t layer = order[i].index;
        sum += i >= shape.layers
                   ? costs->dropped[layer]
                   : costs->ffn[layer * (c->ffn_width + 1) + shape.ffn] + costs->groups[layer * (c->n_kv_heads + 1) + shape.groups];
    }
    return sum;
}

static double weights_kept(const pare_plan *plan, const pare_config *c) {
    return (1 - plan->ratio) * weights_of(c, c->n_layers, c->n_kv_heads, c->ffn_width);
}

uint32_t several_least_ffn(const pare_plan *plan, const pare_config *c) {
    if (plan->shape.ffn)
        return plan->shape.ffn;
    uint32_t n = ffn_for(weights_kept(plan, c), c, c->n_layers, c->n_kv_heads, plan->multiple);
    return n ? n : 1;
}

static int by_cost(const void *a, const void *b) {
    const several_offer *x = a, *y = b;
    if (x->cost < y->cost || x->cost > y->cost)
        return x->cost < y->cost ? -1 : 1;
    return x->shape.layers != y->shape.layers ? (x->shape.layers < y->shape.layers) - (x->shape.layers > y->shape.layers)
                                              : (x->shape.groups < y->shape.groups) - (x->shape.groups > y->shape.groups);
}

/* All layers, the dearest to drop first. */
static bool rank_layers(ranked *order, const several_costs *costs, uint32_t n, pare_error *error) {
    uint32_t *layers = pare_allocate(n, sizeof *layers, error);
    for (uint32_t i = 0; i < n; i++)
        order[i] = (ranked){costs->dropped[i], i};
    if (layers)
        rank_best(layers, n, order, n);
    pare_free(layers);
    return layers != NULL;
}

bool several_offers(several_offer *offers, uint32_t *n_offers, const several_costs *costs, const pare_plan *plan, const pare_config *c,
                    pare_error *error) {
    *n_offers = 0;
    if (plan->shape.layers) { /* as it was asked for */
        offers[(*n_offers)++] = (several_offer){{plan->shape.layers, plan->shape.groups, plan->shape.ffn}, 0};
        return true;
    }
    ranked *order = pare_allocate(c->n_layers, sizeof *order, error);
    double weights = weights_kept(plan, c);
    if (!order || !rank_layers(order, costs, c->n_layers, error)) {
        pare_free(order);
        return false;
    }
    for (uint32_t n = c->n_layers; n > 0; n--)
        for (uint32_t groups = c->n_kv_heads; groups > 0; groups--) {
            several_shape at = {n, groups, ffn_for(weights, c, n, groups, plan->multiple)};
            double cost = at.ffn ? price(costs, order, c, at) : (double)INFINITY;
            if (cost < (double)INFINITY)
                offers[(*n_offers)++] = (several_offer){at, cost};
        }
    qsort(offers, *n_offers, sizeof *offers, by_cost);
    pare_free(order);
    return *n_offers > 0 ||
           pare_fail(error, PARE_ERROR_RANGE, "ratio %g: no shape of this model has so few weights; ask for less", plan->ratio);
}

/* The cheapest shape; layers (shape->layers), ascending: those that stay. */
static bool choose(several_shape *shape, uint32_t *layers, const several_costs *costs, const pare_plan *plan, const pare_config *c,
                   pare_error *error) {
    several_offer *offers = pare_allocate((size_t)c->n_layers * c->n_kv_heads, sizeof *offers, error);
    ranked *order = pare_allocate(c->n_layers, sizeof *order, error);
    uint32_t n;
    bool done = offers && order && several_offers(offers, &n, costs, plan, c, error);
    if (done) {
        *shape = offers[0].shape;
        for (uint32_t i = 0; i < c->n_layers; i++)
            order[i] = (ranked){costs->dropped[i], i};
        rank_best(layers, shape->layers, order, c->n_layers);
    }
    pare_free(offers);
    pare_free(order);
    return done;
}

/* ---- by additive scores ---- */

/* curve (n + 1) = the sum of all but the best k of values (n). */
static bool add_up(double *curve, const double *values, uint32_t n, pare_error *error) {
    ranked *order = pare_allocate(n, sizeof *order, error);
    uint32_t *best = pare_allocate(n, sizeof *best, error);
    if (order && best) {
        for (uint32_t i = 0; i < n; i++)
            order[i] = (ranked){values[i], i};
        rank_best(best, n, order, n);
        curve[n] = 0;
        for (uint32_t k = n; k > 0; k--)
            curve[k - 1] = curve[k] + order[k - 1].value;
    }
    bool done = order && best;
    pare_free(order);
    pare_free(best);
    return done;
}

static bool keep_best(pare_cut *cut, uint32_t layer, const double *values, uint32_t n, uint32_t n_kept,
                      bool keep(pare_cut *, uint32_t, const uint32_t *, uint32_t, pare_error *), pare_error *error) {
    ranked *order = pare_allocate(n, sizeof *order, error);
    uint32_t *best = pare_allocate(n, sizeof *best, error);
    for (uint32_t i = 0; order && i < n; i++)
        order[i] = (ranked){values[i], i};
    if (order && best)
        rank_best(best, n_kept, order, n);
    bool done = order && best && keep(cut, layer, best, n_kept, error);
    pare_free(order);
    pare_free(best);
    return done;
}

static bool sum_costs(several_costs *costs, const pare_scores *scores, const pare_config *c, pare_error *error) {
    bool done = several_costs_allocate(costs, c, error);
    for (uint32_t i = 0; done && i < c->n_layers; i++) {
        const double *row = scores->values + (size_t)i * scores->n_units;
        for (uint32_t j = 0; done && j < scores->n_units; j++)
            done = !isnan(row[j]) || pare_fail(error, PARE_ERROR_NUMERIC, "the score of unit %u in layer %u is not a number", j, i);
        double *ffn = costs->ffn + (size_t)i * (c->ffn_width + 1), *groups = costs->groups + (size_t)i * (c->n_kv_heads + 1);
        done = done && add_up(ffn, row, c->ffn_width, error) && add_up(groups, row + c->ffn_width, c->n_kv_heads, error);
        costs->dropped[i] = ffn[0] + groups[0];
    }
    return done;
}

pare_cut *several_cut(const pare_config *c, const pare_scores *scores, const pare_plan *plan, pare_error *error) {
    several_costs costs = {0};
    several_shape shape;
    pare_cut *cut = pare_cut_open(c, error);
    uint32_t *layers = pare_allocate(c->n_layers, sizeof *layers, error);
    bool done = cut && layers && sum_costs(&costs, scores, c, error) && choose(&shape, layers, &costs, plan, c, error);
    for (uint32_t i = 0; done && i < c->n_layers; i++) {
        const double *row = scores->values + (size_t)i * scores->n_units;
        done = keep_best(cut, i, row, c->ffn_width, shape.ffn, pare_cut_keep_ffn, error) &&
               keep_best(cut, i, row + c->ffn_width, c->n_kv_heads, shape.groups, pare_cut_keep_groups, error);
    }
    done = done && (shape.layers == c->n_layers || pare_cut_keep_layers(cut, layers, shape.layers, error));
    several_costs_free(&costs);
    pare_free(layers);
    if (done)
        return cut;
    pare_cut_close(cut);
    return NULL;
}
