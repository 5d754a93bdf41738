/* own_config: what pare's own format says beyond Hugging Face's config.json, for models that no stock program can hold:
 *
 *   "model_type": "pare", "architectures": ["PareForCausalLM"],
 *   "pare": {"architecture": "llama",
 *            "shortcuts": true,
 *            "layers": [{"intermediate_size": 1024, "num_attention_heads": 6, "num_key_value_heads": 2, "ranks": {"q_proj": 100}}, …]}
 *
 * All other keys are those of the architecture; the three counts at the top are the largest of any layer. A matrix that has a rank is the
 * product of its u.weight and v.weight; one that "ranks" does not name, or a layer without "ranks", is whole. With shortcuts every layer
 * has self_attn.shortcut.weight and mlp.shortcut.weight, which what passes by attention and FFN is multiplied with. */
#include <stdio.h>
#include <string.h>

#include "format/format.h"

static bool read_count(uint32_t *count, const json_t *layer, const char *key, const char *what, pare_error *error) {
    uint64_t value = 0;
    return pare_json_get_u64(&value, layer, key, what, error) && pare_config_narrow(count, value, key, what, error) &&
           (value > 0 || pare_fail(error, PARE_ERROR_FORMAT, "%s: \"%s\" is missing or zero", what, key));
}

static bool read_rank(pare_layer_ranks *ranks, const char *name, const json_t *value, const char *what, pare_error *error) {
    int p = 0;
    while (p < PARE_PROJECTIONS && strcmp(name, pare_projection_name((pare_projection)p)) != 0)
        p++;
    if (p == PARE_PROJECTIONS)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: a rank for \"%.60s\", which is none of the seven projections", what, name);
    json_int_t rank = json_is_integer(value) ? json_integer_value(value) : 0;
    if (rank < 1 || rank > UINT32_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: the rank of %s is no number above 0; leave it out for a whole matrix", what, name);
    ranks->of[p] = (uint32_t)rank;
    return true;
}

static bool read_ranks(pare_layer_ranks *ranks, json_t *json, const char *what, pare_error *error) {
    if (json && !json_is_object(json))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"ranks\" is not an object", what);
    for (void *at = json_object_iter(json); at; at = json_object_iter_next(json, at))
        if (!read_rank(ranks, json_object_iter_key(at), json_object_iter_value(at), what, error))
            return false;
    return true;
}

static bool read_layer(pare_layer_shape *shape, pare_layer_ranks *ranks, const json_t *layer, size_t i, const char *what,
                       pare_error *error) {
    char place[256];
    snprintf(place, sizeof place, "%.200s: \"pare\", layer %zu", what, i);
    if (!json_is_object(layer))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not an object", place);
    return read_count(&shape->ffn_width, layer, "intermediate_size", place, error) &&
           read_count(&shape->n_heads, layer, "num_attention_heads", place, error) &&
           read_count(&shape->n_kv_heads, layer, "num_key_value_heads", place, error) &&
           read_ranks(ranks, json_object_get(layer, "ranks"), place, error);
}

/* Neither where every layer is what the counts at the top say, of whole matrices. */
static void settle(pare_config *config, const pare_layer_shape *shapes, const pare_layer_ranks *ranks) {
    const pare_layer_shape top = pare_config_layer(config, 0);
    const pare_layer_ranks whole = {{0}};
    for (uint32_t i = 0; i < config->n_layers; i++) {
        if (memcmp(&shapes[i], &top, sizeof top) != 0)
            config->shapes = shapes;
        if (memcmp(&ranks[i], &whole, sizeof whole) != 0)
            config->ranks = ranks;
    }
}

static bool read_layers(pare_config *config, const json_t *layers, const char *what, pare_arena *arena, pare_error *error) {
    size_t n = json_array_size(layers), i;
    const json_t *layer;
    if (n != config->n_layers)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: \"pare\" lists %zu layers, num_hidden_layers says %u", what, n, config->n_layers);
    pare_layer_shape *shapes = PARE_PUSH(arena, pare_layer_shape, n, error);
    pare_layer_ranks *ranks = PARE_PUSH(arena, pare_layer_ranks, n, error);
    if (!shapes || !ranks)
        return false;
    json_array_foreach(layers, i, layer) if (!read_layer(&shapes[i], &ranks[i], layer, i, what, error)) return false;
    settle(config, shapes, ranks);
    return true;
}

const char *pare_own_config_architecture(const json_t *json) {
    return json_string_value(json_object_get(json_object_get(json, "pare"), "architecture"));
}

bool pare_own_config_read(pare_config *config, const json_t *json, const char *what, pare_arena *arena, pare_error *error) {
    const json_t *own = json_object_get(json, "pare"), *layers = json_object_get(own, "layers");
    if (own && !pare_json_get_bool(&config->shortcuts, own, "shortcuts", what, error))
        return false;
    return !layers || read_layers(config, layers, what, arena, error);
}

bool pare_own_config_wanted(const pare_config *config) {
    return config->shapes || config->ranks || config->shortcuts;
}

/* NULL: every matrix is whole. */
static json_t *ranks_json(pare_json_doc *doc, const pare_config *config, uint32_t layer) {
    json_t *json = NULL;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        uint32_t rank = pare_config_rank(config, layer, (pare_projection)p);
        if (!rank)
            continue;
        json = json ? json : pare_json_object(doc);
        pare_json_set(doc, json, pare_projection_name((pare_projection)p), pare_json_integer(doc, rank));
    }
    return json;
}

void pare_own_config_write(pare_json_doc *doc, json_t *json, const pare_config *config) {
    json_t *layers = pare_json_array(doc);
    for (uint32_t i = 0; i < config->n_layers; i++) {
        pare_layer_shape s = pare_config_layer(config, i);
        pare_json_append(doc, layers,
                         pare_json_pack(doc, "{s:I, s:I, s:I, s:o*}", "intermediate_size", (json_int_t)s.ffn_width, "num_attention_heads",
                                        (json_int_t)s.n_heads, "num_key_value_heads", (json_int_t)s.n_kv_heads, "ranks",
                                        ranks_json(doc, config, i)));
    }
    json_t *own = pare_json_pack(doc, "{s:s, s:b, s:o}", "architecture", pare_arch_name(config->arch), "shortcuts", (int)config->shortcuts,
                                 "layers", layers);
    pare_json_set(doc, json, "pare", own);
    pare_json_set(doc, json, "model_type", pare_json_string(doc, "pare"));
    pare_json_set(doc, json, "architectures", pare_json_pack(doc, "[s]", "PareForCausalLM"));
}
