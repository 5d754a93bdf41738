/* several: FFN neurons, key-value heads and whole layers in one cut: which shape loses least for the weights it saves. Every layer that
 * stays keeps the same counts, so that stock programs load the result. After LLM-Pruner (Ma et al. 2023), which cuts coupled structures of
 * all kinds by one importance. */
#ifndef PARE_COMPRESS_SEVERAL_H
#define PARE_COMPRESS_SEVERAL_H

#include "pare/compress.h"

typedef struct {
    uint32_t layers, groups, ffn;
} several_shape;

/* What keeping only so many of its best units would cost a layer, in one currency: ffn (n_layers, ffn_width + 1), groups (n_layers,
 * n_kv_heads + 1), by the number that stays, which may be 0; dropped (n_layers): the whole layer gone; infinite: not possible. */
typedef struct {
    double *ffn, *groups, *dropped;
} several_costs;

bool several_costs_allocate(several_costs *costs, const pare_config *config, pare_error *error) PARE_MUST_CHECK;
void several_costs_free(several_costs *costs);

/* A shape, and the sum of what it costs. */
typedef struct {
    several_shape shape;
    double cost;
} several_offer;

/* Every possible shape at the plan's share of the weights outside of embeddings, the FFN width a multiple of the plan's, cheapest first:
 * offers (n_offers), with room for n_layers * n_kv_heads; or the one that the plan says. RANGE when there is none. */
bool several_offers(several_offer *offers, uint32_t *n_offers, const several_costs *costs, const pare_plan *plan, const pare_config *config,
                    pare_error *error) PARE_MUST_CHECK;

/* The narrowest FFN that any shape of the plan has. */
uint32_t several_least_ffn(const pare_plan *plan, const pare_config *config);

/* The cut by additive scores (n_layers, ffn_width + n_kv_heads): what a unit's absence costs; a layer's is their sum. NULL on failure. */
pare_cut *several_cut(const pare_config *config, const pare_scores *scores, const pare_plan *plan, pare_error *error) PARE_MUST_CHECK;

#endif
