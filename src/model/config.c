/* config: what a configuration must satisfy, and the tensors it asks for.
 *
 * pare_config_visit_tensors is the one list of a decoder's tensors: opening holds a checkpoint against it, writing follows its
 * order, accounting sums over it. A tensor that is not in it does not exist for pare.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/format.h"

const char *pare_arch_name(pare_arch arch) {
    switch (arch) {
    case PARE_ARCH_LLAMA: return "llama";
    case PARE_ARCH_MISTRAL: return "mistral";
    case PARE_ARCH_QWEN2: return "qwen2";
    case PARE_ARCH_COUNT: break;
    }
    return "unknown";
}

/* ---- checks ---- */

bool pare_config_narrow(uint32_t *narrow, uint64_t value, const char *key, const char *what, pare_error *error) {
    if (value > UINT32_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: %s is %llu, more than any model has", what, key, (unsigned long long)value);
    *narrow = (uint32_t)value;
    return true;
}

static bool check_counts(const pare_config *c, const char *what, pare_error *error) {
    const struct {
        const char *name;
        uint32_t value, limit;
    } counts[] = {
        {"the number of layers", c->n_layers, 1 << 16},
        {"the width", c->width, 1 << 20},
        {"the FFN width", c->ffn_width, 1 << 22},
        {"the number of attention heads", c->n_heads, 1 << 16},
        {"the number of key-value heads", c->n_kv_heads, 1 << 16},
        {"the head size", c->head_dim, 1 << 16},
        {"the vocabulary size", c->vocabulary, 1 << 26},
        {"the number of positions", c->max_positions, UINT32_MAX},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value == 0 || counts[i].value > counts[i].limit)
            return pare_fail(error, PARE_ERROR_RANGE, "%s: %s is %s (%u; 1 to %u are possible)", what, counts[i].name,
                             counts[i].value ? "out of range" : "missing or zero", counts[i].value, counts[i].limit);
    if (c->n_heads % c->n_kv_heads)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: %u attention heads are no multiple of %u key-value heads", what, c->n_heads,
                         c->n_kv_heads);
    if (c->head_dim % 2)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: the head size %u is odd; rotary embedding turns pairs", what, c->head_dim);
    return true;
}

static bool check_rope(const pare_rope *rope, const char *what, pare_error *error) {
    if (!isfinite(rope->theta) || rope->theta <= 0)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: rope_theta is %g, not a positive number", what, rope->theta);
    if ((rope->type == PARE_ROPE_LINEAR || rope->type == PARE_ROPE_LLAMA3) && (!isfinite(rope->factor) || rope->factor <= 0))
        return pare_fail(error, PARE_ERROR_RANGE, "%s: the rotary scaling factor is missing or not positive (%g)", what, rope->factor);
    if (rope->type == PARE_ROPE_LLAMA3 &&
        (!isfinite(rope->low_freq_factor) || !isfinite(rope->high_freq_factor) || rope->low_freq_factor <= 0 ||
         rope->high_freq_factor <= rope->low_freq_factor || rope->original_positions == 0))
        return pare_fail(
            error, PARE_ERROR_RANGE,
            "%s: llama3 rotary scaling needs 0 < low_freq_factor < high_freq_factor and original_max_position_embeddings (%g, %g, %u)",
            what, rope->low_freq_factor, rope->high_freq_factor, rope->original_positions);
    return true;
}

static bool check_ranks(const pare_config *c, const char *what, pare_error *error) {
    for (uint32_t layer = 0; c->ranks && layer < c->n_layers; layer++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            pare_linear_shape s = pare_config_linear(c, layer, (pare_projection)p);
            uint64_t rank = c->ranks[layer].of[p], most = s.out < s.in ? s.out : s.in;
            if (rank > most)
                return pare_fail(error, PARE_ERROR_RANGE,
                                 "%s: layer %u, %s: a rank of %llu, but a matrix of shape [%llu, %llu] has at most %llu", what, layer,
                                 pare_projection_name((pare_projection)p), (unsigned long long)rank, (unsigned long long)s.out,
                                 (unsigned long long)s.in, (unsigned long long)most);
        }
    return true;
}

bool pare_config_check(const pare_config *config, const char *what, pare_error *error) {
    if (!check_counts(config, what, error) || !check_rope(&config->rope, what, error))
        return false;
    for (uint32_t i = 0; config->shapes && i < config->n_layers; i++) {
        pare_config one = *config;
        one.shapes = NULL;
        one.ffn_width = config->shapes[i].ffn_width;
        one.n_heads = config->shapes[i].n_heads;
        one.n_kv_heads = config->shapes[i].n_kv_heads;
        if (one.ffn_width > config->ffn_width || one.n_heads > config->n_heads || one.n_kv_heads > config->n_kv_heads)
            return pare_fail(error, PARE_ERROR_SHAPE, "%s: layer %u is larger than the largest", what, i);
        if (!check_counts(&one, what, error))
            return false;
    }
    if (!isfinite(config->rms_eps) || config->rms_eps < 0 || config->rms_eps > 1)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: rms_norm_eps is %g, not between 0 and 1", what, config->rms_eps);
    return check_ranks(config, what, error);
}

/* Llama-3: wavelengths below original/high stay, those above original/low are stretched by the whole factor, a linear ramp between.
 * As in transformers' _compute_llama3_parameters and in llama.cpp's rope_freqs. */
double pare_rope_factor(const pare_rope *rope, uint32_t i, uint32_t head_dim) {
    const double pi = 3.14159265358979323846;
    if (rope->type == PARE_ROPE_LINEAR)
        return rope->factor;
    if (rope->type == PARE_ROPE_FACTORS) {
        float factor;
        memcpy(&factor, rope->factors->data + i * sizeof factor, sizeof factor);
        return (double)factor;
    }
    if (rope->type != PARE_ROPE_LLAMA3)
        return 1.0;
    double wavelength = 2 * pi * pow(rope->theta, 2.0 * i / head_dim), original = rope->original_positions;
    if (wavelength < original / rope->high_freq_factor)
        return 1.0;
    if (wavelength > original / rope->low_freq_factor)
        return rope->factor;
    double smooth = (original / wavelength - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return 1.0 / ((1 - smooth) / rope->factor + smooth);
}

/* ---- the tensors ---- */

pare_linear_shape pare_config_linear(const pare_config *c, uint32_t layer, pare_projection projection) {
    pare_layer_shape s = pare_config_layer(c, layer);
    uint64_t q = (uint64_t)s.n_heads * c->head_dim, kv = (uint64_t)s.n_kv_heads * c->head_dim;
    switch (projection) {
    case PARE_Q: return (pare_linear_shape){q, c->width};
    case PARE_K:
    case PARE_V: return (pare_linear_shape){kv, c->width};
    case PARE_O: return (pare_linear_shape){c->width, q};
    case PARE_GATE:
    case PARE_UP: return (pare_linear_shape){s.ffn_width, c->width};
    case PARE_DOWN: return (pare_linear_shape){c->width, s.ffn_width};
    case PARE_PROJECTIONS: break;
    }
    return (pare_linear_shape){0, 0};
}

typedef struct {
    pare_tensor_visit *call;
    void *user;
    pare_error *error;
    uint32_t layer;
} visit;

static bool vector(visit *v, const char *name, uint64_t n) {
    return v->call(v->user, name, 1, &n, v->error);
}

static bool layer_vector(visit *v, const char *name, uint64_t n) {
    char full[96];
    snprintf(full, sizeof full, "model.layers.%u.%s.weight", v->layer, name);
    return vector(v, full, n);
}

static bool matrix(visit *v, const char *path, const char *end, uint64_t rows, uint64_t columns) {
    char full[96];
    uint64_t dims[2] = {rows, columns};
    snprintf(full, sizeof full, "model.layers.%u.%s.%s", v->layer, path, end);
    return v->call(v->user, full, 2, dims, v->error);
}

static bool linear(visit *v, const pare_config *c, pare_projection projection, bool bias) {
    char full[96];
    const char *path = pare_projection_path(projection);
    pare_linear_shape s = pare_config_linear(c, v->layer, projection);
    uint32_t rank = pare_config_rank(c, v->layer, projection);
    if (rank ? !matrix(v, path, "u.weight", s.out, rank) || !matrix(v, path, "v.weight", rank, s.in)
             : !matrix(v, path, "weight", s.out, s.in))
        return false;
    snprintf(full, sizeof full, "model.layers.%u.%s.bias", v->layer, path);
    return !bias || vector(v, full, s.out);
}

static bool shortcut(visit *v, const pare_config *c, const char *path) {
    return !c->shortcuts || matrix(v, path, "shortcut.weight", c->width, c->width);
}

static bool visit_layer(visit *v, const pare_config *c) {
    return layer_vector(v, "input_layernorm", c->width) && linear(v, c, PARE_Q, c->attention_bias) &&
           linear(v, c, PARE_K, c->attention_bias) && linear(v, c, PARE_V, c->attention_bias) && linear(v, c, PARE_O, c->output_bias) &&
           shortcut(v, c, "self_attn") && layer_vector(v, "post_attention_layernorm", c->width) && linear(v, c, PARE_GATE, c->mlp_bias) &&
           linear(v, c, PARE_UP, c->mlp_bias) && linear(v, c, PARE_DOWN, c->mlp_bias) && shortcut(v, c, "mlp");
}

bool pare_config_visit_tensors(const pare_config *config, pare_tensor_visit *call, void *user, pare_error *error) {
    visit v = {call, user, error, 0};
    uint64_t table[2] = {config->vocabulary, config->width};
    if (!call(user, "model.embed_tokens.weight", 2, table, error))
        return false;
    for (; v.layer < config->n_layers; v.layer++)
        if (!visit_layer(&v, config))
            return false;
    return vector(&v, "model.norm.weight", config->width) && (config->tied || call(user, "lm_head.weight", 2, table, error));
}
