/* gradients: the one block of trained weights, cut into named segments, and the model's gradients as places in a block like it. */
#include <stdio.h>
#include <string.h>

#include "tune_impl.h"

static segment *push(pare_tuner *t, size_t at, size_t n, bool decays, const char *name, pare_error *error) {
    char *copy = pare_arena_copy(t->arena, name, strlen(name), error);
    if (!copy)
        return NULL;
    segment *s = &t->segments[t->n_segments++];
    *s = (segment){at, n, decays, copy};
    t->n_trainable += n;
    return s;
}

/* ---- every weight ---- */

/* Where the gradient of a stored tensor of the thawed checkpoint goes. */
static float *gradient_at(const pare_tuner *t, const pare_tensor *tensor) {
    return t->gradient + (tensor->data - (const uint8_t *)t->values) / (ptrdiff_t)sizeof(float);
}

static float *find(const pare_tuner *t, const char *name) {
    const pare_tensor *tensor = pare_checkpoint_find(t->thawed.checkpoint, name);
    return tensor ? gradient_at(t, tensor) : NULL;
}

static float *find_in_layer(const pare_tuner *t, uint32_t layer, const char *path, const char *end) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.%s.%s", layer, path, end);
    return find(t, name);
}

static bool bind_full(pare_tuner *t, pare_error *error) {
    const pare_checkpoint *c = t->thawed.checkpoint;
    pare_gradients *g = &t->gradients;
    if (!(t->segments = PARE_PUSH(t->arena, segment, c->n_tensors, error)))
        return false;
    for (size_t i = 0; i < c->n_tensors; i++) {
        const pare_tensor *tensor = &c->tensors[i];
        if (!push(t, (size_t)(gradient_at(t, tensor) - t->gradient), (size_t)pare_tensor_elements(tensor), tensor->n_dims == 2,
                  tensor->name, error))
            return false;
    }
    g->embedding = find(t, "model.embed_tokens.weight");
    g->head = c->config.tied ? g->embedding : find(t, "lm_head.weight");
    g->norm = find(t, "model.norm.weight");
    for (uint32_t i = 0; i < c->config.n_layers; i++) {
        pare_layer_gradient *layer = &g->layers[i];
        layer->attention_norm = find_in_layer(t, i, "input_layernorm", "weight");
        layer->ffn_norm = find_in_layer(t, i, "post_attention_layernorm", "weight");
        layer->attention_shortcut = find_in_layer(t, i, "self_attn.shortcut", "weight");
        layer->ffn_shortcut = find_in_layer(t, i, "mlp.shortcut", "weight");
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const char *path = pare_projection_path((pare_projection)p);
            bool factored = pare_config_rank(&c->config, i, (pare_projection)p) > 0;
            layer->linears[p].weight = find_in_layer(t, i, path, factored ? "u.weight" : "weight");
            layer->linears[p].inner = factored ? find_in_layer(t, i, path, "v.weight") : NULL;
            layer->linears[p].bias = find_in_layer(t, i, path, "bias");
        }
    }
    return true;
}

/* ---- adapters ---- */

static bool bind_adapter(pare_tuner *t, uint32_t layer, pare_projection projection, pare_error *error) {
    const pare_adapter *item = &t->adapters->items[(size_t)layer * PARE_PROJECTIONS + (size_t)projection];
    const pare_linear *linear = &t->model->layers[layer].linears[projection];
    pare_linear_gradient *g = &t->gradients.layers[layer].linears[projection];
    char name[96];
    if (!item->rank)
        return true;
    size_t a = (size_t)(item->a - t->values), b = (size_t)(item->b - t->values);
    g->a = t->gradient + a;
    g->b = t->gradient + b;
    snprintf(name, sizeof name, "layer %u %s lora_A", layer, pare_projection_name(projection));
    if (!push(t, a, (size_t)item->rank * pare_linear_inputs(linear), true, name, error))
        return false;
    snprintf(name, sizeof name, "layer %u %s lora_B", layer, pare_projection_name(projection));
    return push(t, b, (size_t)item->rank * linear->weight.n_rows, true, name, error) != NULL;
}

bool bind_gradients(pare_tuner *t, pare_error *error) {
    uint32_t n_layers = t->model->config.n_layers;
    if (!(t->gradients.layers = PARE_PUSH(t->arena, pare_layer_gradient, n_layers, error)))
        return false;
    if (t->options.full)
        return bind_full(t, error);
    if (!(t->segments = PARE_PUSH(t->arena, segment, (size_t)2 * n_layers * PARE_PROJECTIONS, error)))
        return false;
    for (uint32_t i = 0; i < n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++)
            if (!bind_adapter(t, i, (pare_projection)p, error))
                return false;
    return true;
}
