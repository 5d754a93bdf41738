/* adapter: LoRA adapters in memory: all A and B in one block, laid on a model's linears. Hu et al. 2021 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "pare/trainable.h"

enum { ALIGN_FLOATS = 16 };

void pare_adapter_shapes(pare_adapter_shape shapes[PARE_PROJECTIONS], const pare_config *c, uint32_t layer) {
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        pare_linear_shape s = pare_config_linear(c, layer, (pare_projection)p);
        shapes[p] = (pare_adapter_shape){s.out, s.in};
    }
}

static size_t padded(size_t n) {
    return (n + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
}

/* Gives every target its place in the block, and A its values. */
static void place(pare_adapters *adapters, const pare_config *config, const bool *targets, uint64_t seed) {
    float *at = adapters->values;
    for (uint32_t layer = 0; layer < adapters->n_layers; layer++) {
        pare_adapter_shape shapes[PARE_PROJECTIONS];
        pare_adapter_shapes(shapes, config, layer);
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            size_t out = shapes[p].out, in = shapes[p].in;
            char purpose[64];
            pare_adapter *item = &adapters->items[(size_t)layer * PARE_PROJECTIONS + (size_t)p];
            if (!targets[(size_t)layer * PARE_PROJECTIONS + (size_t)p])
                continue;
            *item = (pare_adapter){
                .a = at, .b = at + padded(adapters->rank * in), .rank = adapters->rank, .scale = (float)(adapters->alpha / adapters->rank)};
            at = item->b + padded(adapters->rank * out);
            pare_random random;
            snprintf(purpose, sizeof purpose, "lora %u %s", layer, pare_projection_name((pare_projection)p));
            pare_random_init(&random, seed, purpose, 0);
            for (size_t i = 0; i < adapters->rank * in; i++)
                item->a[i] = (float)((2 * pare_random_unit(&random) - 1) / sqrt((double)in));
        }
    }
}

/* Adds up what the targets of one layer need. */
static bool count_layer(size_t *values, size_t *weights, const pare_config *config, uint32_t layer, uint32_t rank,
                        const bool targets[PARE_PROJECTIONS], pare_error *error) {
    pare_adapter_shape shapes[PARE_PROJECTIONS];
    pare_adapter_shapes(shapes, config, layer);
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        size_t out = shapes[p].out, in = shapes[p].in;
        if (targets[p] && (rank == 0 || rank > (out < in ? out : in)))
            return pare_fail(error, PARE_ERROR_RANGE, "a rank of %u is not possible for %s of shape [%zu, %zu]", rank,
                             pare_projection_name((pare_projection)p), out, in);
        *values += targets[p] ? padded(rank * in) + padded(rank * out) : 0;
        *weights += targets[p] ? rank * (in + out) : 0;
    }
    return true;
}

pare_adapters *pare_adapters_open_on(const pare_config *config, uint32_t rank, double alpha, const bool *targets, uint64_t seed,
                                     pare_error *error) {
    size_t values = 0, weights = 0;
    for (uint32_t layer = 0; layer < config->n_layers; layer++)
        if (!count_layer(&values, &weights, config, layer, rank, targets + (size_t)layer * PARE_PROJECTIONS, error))
            return NULL;
    pare_arena *arena = pare_arena_open(error);
    pare_adapters *adapters = arena ? PARE_PUSH(arena, pare_adapters, 1, error) : NULL;
    if (adapters) {
        *adapters = (pare_adapters){
            .n_layers = config->n_layers, .rank = rank, .alpha = alpha, .n_values = values, .n_weights = weights, .arena = arena};
        for (uint32_t i = 0; i < config->n_layers * PARE_PROJECTIONS; i++)
            adapters->targets[i % PARE_PROJECTIONS] = adapters->targets[i % PARE_PROJECTIONS] || targets[i];
        adapters->items = PARE_PUSH(arena, pare_adapter, (size_t)config->n_layers * PARE_PROJECTIONS, error);
        adapters->values = PARE_PUSH(arena, float, adapters->n_values, error);
        if (adapters->items && adapters->values) {
            place(adapters, config, targets, seed);
            return adapters;
        }
    }
    pare_arena_close(arena);
    return NULL;
}

pare_adapters *pare_adapters_open(const pare_config *config, uint32_t rank, double alpha, const bool targets[PARE_PROJECTIONS],
                                  uint64_t seed, pare_error *error) {
    size_t n = (size_t)config->n_layers * PARE_PROJECTIONS;
    bool *all = pare_allocate(n, sizeof *all, error);
    for (size_t i = 0; all && i < n; i++)
        all[i] = targets[i % PARE_PROJECTIONS];
    pare_adapters *adapters = all ? pare_adapters_open_on(config, rank, alpha, all, seed, error) : NULL;
    pare_free(all);
    return adapters;
}

void pare_adapters_close(pare_adapters *adapters) {
    if (adapters)
        pare_arena_close(adapters->arena);
}

const pare_adapter *pare_adapters_find(const pare_adapters *adapters, const char *tensor) {
    char name[96];
    unsigned layer;
    if (sscanf(tensor, "model.layers.%u.", &layer) != 1 || layer >= adapters->n_layers)
        return NULL;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        const pare_adapter *item = &adapters->items[(size_t)layer * PARE_PROJECTIONS + (size_t)p];
        snprintf(name, sizeof name, "model.layers.%u.%s.weight", layer, pare_projection_path((pare_projection)p));
        if (item->rank && strcmp(name, tensor) == 0)
            return item;
    }
    return NULL;
}

void pare_adapters_drop(pare_adapters *adapters, const pare_dropout *dropout) {
    for (uint32_t i = 0; i < adapters->n_layers * PARE_PROJECTIONS; i++) {
        adapters->items[i].number = i;
        adapters->items[i].dropout = dropout;
    }
}

void pare_model_adapt(pare_model *model, const pare_adapters *adapters) {
    for (uint32_t layer = 0; layer < adapters->n_layers; layer++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const pare_adapter *item = &adapters->items[(size_t)layer * PARE_PROJECTIONS + (size_t)p];
            model->layers[layer].linears[p].adapter = item->rank ? item : NULL;
        }
}
