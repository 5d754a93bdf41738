/* model: binds a checkpoint's tensors, under a cut, for computing. Matrices stay mapped in their own type; only norms, biases
 * and the rotary frequencies become f32. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format/format.h"
#include "pare/cut.h"

static const char *const paths[PARE_PROJECTIONS] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                                                    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};

const char *pare_projection_path(pare_projection projection) {
    return paths[projection];
}

const char *pare_projection_name(pare_projection projection) {
    return strchr(paths[projection], '.') + 1;
}

/* The view of tensor `name`; readers have checked that everything the config asks for is there. */
static bool bind(pare_view *view, const pare_checkpoint *checkpoint, const pare_cut *cut, const char *name, pare_error *error) {
    return pare_cut_find(view, cut, checkpoint, name) ||
           pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s is missing", checkpoint->path, name);
}

/* A vector as f32: where it lies when it already is (so that training it shows), else in the model's arena. */
static const float *bind_vector(pare_model *model, const pare_cut *cut, const char *name, pare_error *error) {
    pare_view view;
    if (!bind(&view, model->checkpoint, cut, name, error))
        return NULL;
    const float *direct = pare_view_direct(&view);
    if (direct)
        return direct;
    float *vector = PARE_PUSH(model->arena, float, view.n_rows, error);
    if (vector)
        pare_view_read(vector, &view, 0, view.n_rows, NULL);
    return vector;
}

static bool bind_linear(pare_linear *linear, pare_model *model, const pare_cut *cut, uint32_t layer, pare_projection projection,
                        bool biased, pare_error *error) {
    char name[96];
    const char *part = pare_projection_path(projection);
    bool factored = pare_config_rank(&model->config, layer, projection) > 0;
    snprintf(name, sizeof name, "model.layers.%u.%s.%s", layer, part, factored ? "u.weight" : "weight");
    if (!bind(&linear->weight, model->checkpoint, cut, name, error))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.%s.v.weight", layer, part);
    if (factored && !bind(&linear->inner, model->checkpoint, cut, name, error))
        return false;
    pare_view bias;
    snprintf(name, sizeof name, "model.layers.%u.%s.bias", layer, part);
    if (!biased || !pare_cut_find(&bias, cut, model->checkpoint, name)) /* a cut may have given the others of its kind one */
        return true;
    return (linear->bias = bind_vector(model, cut, name, error)) != NULL;
}

static bool bind_shortcut(pare_linear *shortcut, const pare_model *model, const pare_cut *cut, uint32_t layer, const char *path,
                          pare_error *error) {
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.%s.shortcut.weight", layer, path);
    return !model->config.shortcuts || bind(&shortcut->weight, model->checkpoint, cut, name, error);
}

static bool bind_layer(pare_layer *layer, pare_model *model, const pare_cut *cut, uint32_t i, pare_error *error) {
    const pare_config *c = &model->config;
    char name[96];
    snprintf(name, sizeof name, "model.layers.%u.input_layernorm.weight", i);
    if (!(layer->attention_norm = bind_vector(model, cut, name, error)))
        return false;
    snprintf(name, sizeof name, "model.layers.%u.post_attention_layernorm.weight", i);
    if (!(layer->ffn_norm = bind_vector(model, cut, name, error)))
        return false;
    const bool biased[PARE_PROJECTIONS] = {c->attention_bias, c->attention_bias, c->attention_bias, c->output_bias,
                                           c->mlp_bias,       c->mlp_bias,       c->mlp_bias};
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        if (!bind_linear(&layer->linears[p], model, cut, i, (pare_projection)p, biased[p], error))
            return false;
    return bind_shortcut(&layer->attention_shortcut, model, cut, i, "self_attn", error) &&
           bind_shortcut(&layer->ffn_shortcut, model, cut, i, "mlp", error);
}

/* Llama-3's frequency scaling (Llama 3.1 release, as in transformers): long wavelengths are divided by `factor`, short ones kept,
 * those between blended. */
static double scale_llama3(double frequency, const pare_rope *rope) {
    double wavelength = 2 * 3.14159265358979323846 / frequency, original = rope->original_positions;
    if (wavelength < original / rope->high_freq_factor)
        return frequency;
    if (wavelength > original / rope->low_freq_factor)
        return frequency / rope->factor;
    double smooth = (original / wavelength - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return (1 - smooth) * frequency / rope->factor + smooth * frequency;
}

/* frequency i = theta^(-2i / head_dim), then the scaling. f32 steps as in transformers, whose angles are f32. */
static bool bind_rotary(pare_model *model, pare_error *error) {
    const pare_rope *rope = &model->config.rope;
    size_t half = model->config.head_dim / 2;
    float *frequency = PARE_PUSH(model->arena, float, half, error);
    float *factors = PARE_PUSH(model->arena, float, half, error);
    if (!frequency || !factors)
        return false;
    if (rope->type == PARE_ROPE_FACTORS) {
        pare_view view = pare_view_all(rope->factors);
        if (view.n_rows != half)
            return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s has %u elements, half a head has %zu", model->checkpoint->path,
                             rope->factors->name, view.n_rows, half);
        pare_view_read(factors, &view, 0, view.n_rows, NULL);
    }
    for (size_t i = 0; i < half; i++) {
        double f = (double)(float)(1.0 / pow(rope->theta, (double)(2 * i) / (double)model->config.head_dim));
        switch (rope->type) {
        case PARE_ROPE_DEFAULT: break;
        case PARE_ROPE_LINEAR: f /= rope->factor; break;
        case PARE_ROPE_LLAMA3: f = scale_llama3(f, rope); break;
        case PARE_ROPE_FACTORS: f /= (double)factors[i]; break;
        }
        frequency[i] = (float)f;
    }
    model->inverse_frequency = frequency;
    return true;
}

static bool bind_all(pare_model *model, const pare_cut *cut, pare_error *error) {
    const pare_checkpoint *checkpoint = model->checkpoint;
    if (!bind(&model->embedding, checkpoint, cut, "model.embed_tokens.weight", error))
        return false;
    model->head = model->embedding;
    if (!model->config.tied && !bind(&model->head, checkpoint, cut, "lm_head.weight", error))
        return false;
    if (!(model->norm = bind_vector(model, cut, "model.norm.weight", error)))
        return false;
    model->layers = PARE_PUSH(model->arena, pare_layer, model->config.n_layers, error);
    if (!model->layers)
        return false;
    for (uint32_t i = 0; i < model->config.n_layers; i++)
        if (!bind_layer(&model->layers[i], model, cut, i, error))
            return false;
    return bind_rotary(model, error);
}

pare_model *pare_model_open(const pare_checkpoint *checkpoint, const pare_cut *cut, pare_error *error) {
    if (!pare_gemm_prepare(error))
        return NULL;
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return NULL;
    pare_model *model = PARE_PUSH(arena, pare_model, 1, error);
    if (model) {
        *model = (pare_model){.checkpoint = checkpoint, .cut = cut, .config = *pare_cut_config(cut, checkpoint), .arena = arena};
        if (bind_all(model, cut, error))
            return model;
    }
    pare_arena_close(arena);
    return NULL;
}

void pare_model_close(pare_model *model) {
    if (model)
        pare_arena_close(model->arena);
}

const pare_tokenizer *pare_checkpoint_tokenizer(const pare_checkpoint *checkpoint, pare_error *error) {
    if (!checkpoint->tokenizer)
        pare_fail(error, PARE_ERROR_FORMAT, "%s: no tokenizer: %s", checkpoint->path, checkpoint->tokenizer_missing);
    return checkpoint->tokenizer;
}

/* Pages come back from the checkpoint's file, or from the file that a cut's large tensors wait in. */
static void leave_view(const pare_model *model, const pare_view *view) {
    if (!view->tensor)
        return;
    pare_checkpoint_drop_view(model->checkpoint, view);
    if (model->cut && pare_spill_holds(model->cut->spill, view->tensor->data))
        pare_bytes_drop(view->tensor->data, view->tensor->n_bytes);
}

void pare_model_leave_layer(const pare_model *model, uint32_t layer) {
    const pare_layer *l = &model->layers[layer];
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        leave_view(model, &l->linears[p].weight);
        leave_view(model, &l->linears[p].inner);
    }
    leave_view(model, &l->attention_shortcut.weight);
    leave_view(model, &l->ffn_shortcut.weight);
}
