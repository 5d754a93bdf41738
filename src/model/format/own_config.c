/* own_config: what pare's own format says beyond Hugging Face's config.json, for models that no stock program can hold:
 *
 *   "model_type": "pare", "architectures": ["PareForCausalLM"],
 *   "pare": {"architecture": "llama",
 *            "layers": [{"intermediate_size": 1024, "num_attention_heads": 6, "num_key_value_heads": 2}, …]}
 *
 * All other keys are those of the architecture; the three counts at the top are the largest of any layer. */
#include <stdio.h>
#include <string.h>

#include "format/format.h"

static bool read_count(uint32_t *count, const json_t *layer, const char *key, const char *what, pare_error *error) {
    uint64_t value = 0;
    return pare_json_get_u64(&value, layer, key, what, error) && pare_config_narrow(count, value, key, what, error) &&
           (value > 0 || pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is missing or zero", what, key));
}

static bool read_layer(pare_layer_shape *shape, const json_t *layer, size_t i, const char *what, pare_error *error) {
    char place[256];
    snprintf(place, sizeof place, "%.200s: \"pare\", layer %zu", what, i);
    if (!json_is_object(layer))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not an object", place);
    return read_count(&shape->ffn_width, layer, "intermediate_size", place, error) &&
           read_count(&shape->n_heads, layer, "num_attention_heads", place, error) &&
           read_count(&shape->n_kv_heads, layer, "num_key_value_heads", place, error);
}

static bool read_layers(pare_config *config, const json_t *layers, const char *what, pare_arena *arena, pare_error *error) {
    size_t n = json_array_size(layers), i;
    const json_t *layer;
    if (n != config->n_layers)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"pare\" lists %zu layers, num_hidden_layers says %u", what, n, config->n_layers);
    pare_layer_shape *shapes = PARE_PUSH(arena, pare_layer_shape, n, error);
    if (!shapes)
        return false;
    json_array_foreach(layers, i, layer) if (!read_layer(&shapes[i], layer, i, what, error)) return false;
    config->shapes = shapes;
    return true;
}

const char *pare_own_config_architecture(const json_t *json) {
    return json_string_value(json_object_get(json_object_get(json, "pare"), "architecture"));
}

bool pare_own_config_read(pare_config *config, const json_t *json, const char *what, pare_arena *arena, pare_error *error) {
    const json_t *layers = json_object_get(json_object_get(json, "pare"), "layers");
    return !layers || read_layers(config, layers, what, arena, error);
}

bool pare_own_config_wanted(const pare_config *config) {
    return config->shapes != NULL;
}

bool pare_own_config_write(json_t *json, const pare_config *config, pare_error *error) {
    json_t *layers = json_array();
    for (uint32_t i = 0; i < config->n_layers; i++) {
        pare_layer_shape s = pare_config_layer(config, i);
        json_array_append_new(layers, json_pack("{s:I, s:I, s:I}", "intermediate_size", (json_int_t)s.ffn_width, "num_attention_heads",
                                                (json_int_t)s.n_heads, "num_key_value_heads", (json_int_t)s.n_kv_heads));
    }
    json_t *own = json_pack("{s:s, s:o}", "architecture", pare_arch_name(config->arch), "layers", layers);
    if (!own || json_object_set_new(json, "pare", own) || json_object_set_new(json, "model_type", json_string("pare")) ||
        json_object_set_new(json, "architectures", json_pack("[s]", "PareForCausalLM")))
        return pare_fail(error, PARE_ERROR_MEMORY, "out of memory while config.json was put together");
    return true;
}
