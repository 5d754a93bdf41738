/* cache: keys and values of sequences that go on: f32, one room of `capacity` positions a slot and layer, laid out as attention reads it.
 */
#include "compute.h"
#include "pare/sequence.h"

static size_t layer_floats(const pare_config *config, uint32_t layer, uint32_t slots, uint32_t capacity) {
    return (size_t)slots * capacity * pare_config_layer(config, layer).n_kv_heads * config->head_dim;
}

size_t pare_cache_bytes(const pare_config *config, uint32_t slots, uint32_t capacity) {
    size_t floats = 0;
    for (uint32_t i = 0; i < config->n_layers; i++)
        floats += 2 * layer_floats(config, i, slots, capacity);
    return floats * sizeof(float);
}

static bool allocate(pare_cache *cache, pare_error *error) {
    uint32_t n_layers = cache->config.n_layers;
    if (!(cache->lengths = PARE_PUSH(cache->arena, uint32_t, cache->slots, error)) ||
        !(cache->keys = PARE_PUSH(cache->arena, float *, n_layers, error)) ||
        !(cache->values = PARE_PUSH(cache->arena, float *, n_layers, error)))
        return false;
    for (uint32_t i = 0; i < n_layers; i++) {
        size_t floats = layer_floats(&cache->config, i, cache->slots, cache->capacity);
        if (!(cache->keys[i] = PARE_PUSH(cache->arena, float, floats, error)) ||
            !(cache->values[i] = PARE_PUSH(cache->arena, float, floats, error)))
            return false;
    }
    return true;
}

pare_cache *pare_cache_open(const pare_model *model, uint32_t slots, uint32_t capacity, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_cache *cache = arena ? PARE_PUSH(arena, pare_cache, 1, error) : NULL;
    if (cache) {
        *cache = (pare_cache){.config = model->config, .slots = slots, .capacity = capacity, .arena = arena};
        if (allocate(cache, error))
            return cache;
    }
    pare_arena_close(arena);
    return NULL;
}

void pare_cache_close(pare_cache *cache) {
    if (cache)
        pare_arena_close(cache->arena);
}

uint32_t pare_cache_length(const pare_cache *cache, uint32_t slot) {
    return cache->lengths[slot];
}

void pare_cache_shorten(pare_cache *cache, uint32_t slot, uint32_t length) {
    if (length < cache->lengths[slot])
        cache->lengths[slot] = length;
}
