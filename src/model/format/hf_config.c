/* hf_config: Hugging Face's config.json, read in the spellings of transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5
 * (rope_parameters, dtype), and written in both.
 *
 * Defaults are those of transformers' configuration classes: a key that is absent there means something here.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "format/format.h"

enum { MISTRAL_WINDOW = 4096, QWEN2_WINDOW_LAYERS = 28 };

/* ---- reading ---- */

typedef struct {
    const json_t *json;
    const char *what;
    pare_error *error;
} source;

static bool get_count(uint32_t *value, const source *s, const char *key, uint64_t otherwise) {
    return pare_json_get_u64(&otherwise, s->json, key, s->what, s->error) && pare_config_narrow(value, otherwise, key, s->what, s->error);
}

static bool is_set(const json_t *value) {
    return value && !json_is_null(value) && !json_is_false(value) &&
           (json_is_object(value) ? json_object_size(value) > 0 : !json_is_array(value) || json_array_size(value) > 0);
}

/* Sparse weights that are stored dense. */
static bool stored_dense(const json_t *sparsity) {
    const json_t *format = json_object_get(sparsity, "format");
    return !format || (json_is_string(format) && strcmp(json_string_value(format), "dense") == 0);
}

/* What compressed-tensors says of a model it left alone. */
static bool says_nothing(const char *key, const json_t *value) {
    static const char *const idle[] = {"quant_method", "format", "ignore", "global_compression_ratio", "quantization_status", "version"};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (strcmp(key, idle[i]) == 0)
            return true;
    return !is_set(value) || (strcmp(key, "sparsity_config") == 0 && stored_dense(value));
}

/* Settings under which nothing is quantised, neither weights nor what is computed: bitsandbytes switched off; compressed-tensors without a
 * group of layers, a scheme or a transform, as it writes after a model was made sparse, or dense again. */
static bool quantises_nothing(const json_t *settings, const char *method) {
    static const char *const switches[] = {"load_in_4bit", "load_in_8bit", "_load_in_4bit", "_load_in_8bit"};
    const char *key;
    json_t *value;
    if (strcmp(method, "bitsandbytes") == 0) {
        for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
            if (is_set(json_object_get(settings, switches[i])))
                return false;
        return true;
    }
    if (strcmp(method, "compressed-tensors") != 0)
        return !is_set(settings);
    json_object_foreach((json_t *)(uintptr_t)settings, key, value) {
        if (!says_nothing(key, value))
            return false;
    }
    return true;
}

static const char *const quantisation_keys[] = {"quantization_config", "compression_config"};
enum { N_QUANTISATION_KEYS = sizeof quantisation_keys / sizeof *quantisation_keys };

/* transformers makes the mask of a model for embeddings by this: tokens see those behind them too. */
static bool check_causal(const source *s) {
    bool causal = true;
    return pare_json_get_bool(&causal, s->json, "is_causal", s->what, s->error) &&
           (causal || pare_fail(s->error, PARE_ERROR_UNSUPPORTED, "%s: is_causal is false; pare computes causal attention", s->what));
}

static bool check_quantisation(const source *s) {
    for (size_t i = 0; i < N_QUANTISATION_KEYS; i++) {
        const json_t *settings = json_object_get(s->json, quantisation_keys[i]);
        const char *method = json_string_value(json_object_get(settings, "quant_method"));
        method = method ? method : i == 1 ? "compressed-tensors" : "a method that it does not name";
        if (!quantises_nothing(settings, method))
            return pare_fail(
                s->error, PARE_ERROR_UNSUPPORTED,
                "%s: %s: this model is loaded quantised or compressed, by %.40s; pare reads weights of F32, F16 and BF16 here: "
                "save it without, or give its GGUF",
                s->what, quantisation_keys[i], method);
    }
    return true;
}

static bool find_arch(pare_config *config, const source *s) {
    const char *type = NULL, *activation = "silu";
    if (!pare_json_get_string(&type, s->json, "model_type", s->what, s->error) ||
        !pare_json_get_string(&activation, s->json, "hidden_act", s->what, s->error))
        return false;
    if (!type)
        return pare_fail(s->error, PARE_ERROR_FORMAT, "%s: \"model_type\" is missing: not a language model's configuration", s->what);
    if (strcmp(type, "pare") == 0 && !(type = pare_own_config_architecture(s->json)))
        return pare_fail(s->error, PARE_ERROR_FORMAT, "%s: model_type \"pare\" without {\"pare\": {\"architecture\": …}}", s->what);
    int arch = 0;
    while (arch < PARE_ARCH_COUNT && strcmp(type, pare_arch_name((pare_arch)arch)) != 0)
        arch++;
    if (arch == PARE_ARCH_COUNT)
        return pare_fail(s->error, PARE_ERROR_UNSUPPORTED, "%s: model_type \"%.64s\"; pare knows llama, mistral and qwen2", s->what, type);
    if (strcasecmp(activation, "silu") != 0 && strcasecmp(activation, "swish") != 0)
        return pare_fail(s->error, PARE_ERROR_UNSUPPORTED, "%s: hidden_act \"%.64s\"; pare knows silu (also called swish)", s->what,
                         activation);
    config->arch = (pare_arch)arch;
    return check_causal(s) && check_quantisation(s);
}

/* Version 4 says {type or rope_type, factor, …} beside rope_theta; version 5 says all of it in rope_parameters. As transformers
 * does, rope_scaling goes before rope_parameters, and what neither says comes from the top level. */
static bool read_rope(pare_rope *rope, const source *s, uint32_t max_positions) {
    const json_t *scaling = json_object_get(s->json, "rope_scaling");
    if (!scaling || json_is_null(scaling) || (json_is_object(scaling) && json_object_size(scaling) == 0))
        scaling = json_object_get(s->json, "rope_parameters");
    const char *what = s->what, *type = NULL;
    *rope = (pare_rope){.type = PARE_ROPE_DEFAULT, .theta = 10000.0};
    double rotated = 1.0;
    uint64_t original = max_positions;
    if (!pare_json_get_double(&rope->theta, s->json, "rope_theta", what, s->error) ||
        !pare_json_get_double(&rotated, s->json, "partial_rotary_factor", what, s->error))
        return false;
    if (scaling && !json_is_null(scaling)) {
        if (!json_is_object(scaling))
            return pare_fail(s->error, PARE_ERROR_FORMAT, "%s: rotary settings are not an object", what);
        if (!pare_json_get_string(&type, scaling, "type", what, s->error) ||
            !pare_json_get_string(&type, scaling, "rope_type", what, s->error) ||
            !pare_json_get_double(&rope->theta, scaling, "rope_theta", what, s->error) ||
            !pare_json_get_double(&rope->factor, scaling, "factor", what, s->error) ||
            !pare_json_get_double(&rope->low_freq_factor, scaling, "low_freq_factor", what, s->error) ||
            !pare_json_get_double(&rope->high_freq_factor, scaling, "high_freq_factor", what, s->error) ||
            !pare_json_get_double(&rotated, scaling, "partial_rotary_factor", what, s->error) ||
            !pare_json_get_u64(&original, scaling, "original_max_position_embeddings", what, s->error))
            return false;
        if (json_is_object(json_object_get(scaling, "full_attention")) || json_is_object(json_object_get(scaling, "sliding_attention")))
            return pare_fail(s->error, PARE_ERROR_UNSUPPORTED, "%s: rotary settings that differ by layer type", what);
    }
    if (rotated != 1.0)
        return pare_fail(s->error, PARE_ERROR_UNSUPPORTED, "%s: partial_rotary_factor %g; pare turns whole heads", what, rotated);
    if (!type || strcmp(type, "default") == 0)
        return true;
    if (strcmp(type, "linear") == 0)
        rope->type = PARE_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        rope->type = PARE_ROPE_LLAMA3;
    else
        return pare_fail(s->error, PARE_ERROR_UNSUPPORTED, "%s: rotary scaling \"%.64s\"; pare knows default, linear and llama3", what,
                         type);
    return rope->type != PARE_ROPE_LLAMA3 ||
           pare_config_narrow(&rope->original_positions, original, "original_max_position_embeddings", what, s->error);
}

/* Layers of full attention as "layer_types" lists them, where it does. */
static uint32_t count_full_layers(const json_t *json, uint32_t otherwise) {
    const json_t *types = json_object_get(json, "layer_types"), *type;
    uint32_t n = 0;
    size_t i;
    if (json_array_size(types) == 0)
        return otherwise;
    json_array_foreach(types, i, type) n += json_is_string(type) && strcmp(json_string_value(type), "full_attention") == 0;
    return n;
}

/* Qwen2 slides in the layers from max_window_layers on when use_sliding_window says so; Mistral in all layers unless null. */
static bool read_window(pare_config *c, const source *s) {
    uint32_t window = 0, full_layers = 0;
    if (c->arch == PARE_ARCH_LLAMA)
        return true;
    const json_t *given = json_object_get(s->json, "sliding_window");
    if (!get_count(&window, s, "sliding_window", given ? 0 : MISTRAL_WINDOW))
        return false;
    if (c->arch == PARE_ARCH_QWEN2) {
        bool use = false;
        if (!pare_json_get_bool(&use, s->json, "use_sliding_window", s->what, s->error) ||
            !get_count(&full_layers, s, "max_window_layers", QWEN2_WINDOW_LAYERS))
            return false;
        full_layers = count_full_layers(s->json, full_layers < c->n_layers ? full_layers : c->n_layers);
        if (!use || full_layers >= c->n_layers)
            window = 0;
        if (window && full_layers)
            return pare_fail(s->error, PARE_ERROR_UNSUPPORTED, "%s: sliding attention in some layers only (%u of %u have full attention)",
                             s->what, full_layers, c->n_layers);
    }
    c->sliding_window = window;
    return true;
}

/* A token id, or the first of a list of them; -1 when it is none of the vocabulary, as in tiny test models. */
static int64_t read_token(const json_t *json, const char *key, uint32_t vocabulary) {
    const json_t *value = json_object_get(json, key);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    int64_t id = json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
    return id >= 0 && id < (int64_t)vocabulary ? id : -1;
}

static bool read_counts(pare_config *c, const source *s) {
    if (!get_count(&c->n_layers, s, "num_hidden_layers", 0) || !get_count(&c->width, s, "hidden_size", 0) ||
        !get_count(&c->ffn_width, s, "intermediate_size", 0) || !get_count(&c->n_heads, s, "num_attention_heads", 0) ||
        !get_count(&c->n_kv_heads, s, "num_key_value_heads", c->n_heads) || !get_count(&c->vocabulary, s, "vocab_size", 0) ||
        !get_count(&c->max_positions, s, "max_position_embeddings", 2048))
        return false;
    return get_count(&c->head_dim, s, "head_dim", c->n_heads ? c->width / c->n_heads : 0);
}

bool pare_hf_config_read(pare_config *config, const json_t *json, const char *what, pare_arena *arena, pare_error *error) {
    source s = {json, what, error};
    *config = (pare_config){.rms_eps = 1e-6};
    if (!json_is_object(json))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not an object", what);
    bool attention_bias = false, mlp_bias = false;
    if (!find_arch(config, &s) || !read_counts(config, &s) || !read_rope(&config->rope, &s, config->max_positions) ||
        !read_window(config, &s) || !pare_json_get_double(&config->rms_eps, json, "rms_norm_eps", what, error) ||
        !pare_json_get_bool(&config->tied, json, "tie_word_embeddings", what, error) ||
        !pare_json_get_bool(&attention_bias, json, "attention_bias", what, error) ||
        !pare_json_get_bool(&mlp_bias, json, "mlp_bias", what, error))
        return false;
    config->bos = read_token(json, "bos_token_id", config->vocabulary);
    config->eos = read_token(json, "eos_token_id", config->vocabulary);
    bool llama = config->arch == PARE_ARCH_LLAMA; /* the other two have no such switches */
    config->attention_bias = config->arch == PARE_ARCH_QWEN2 || (llama && attention_bias);
    config->output_bias = llama && attention_bias;
    config->mlp_bias = llama && mlp_bias;
    return pare_own_config_read(config, json, what, arena, error) && pare_config_check(config, what, error);
}

/* ---- writing ---- */

static const char *const classes[PARE_ARCH_COUNT] = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM"};

/* rope_freqs.weight of a GGUF came from Llama-3's formula; transformers wants the formula's parameters back. Only the original
 * length is open: all Llama-3 models use the factors 1 and 4, and the slowest frequency carries the whole factor. */
static bool recover_llama3(pare_rope *rope, const pare_config *c, pare_error *error) {
    const pare_tensor *t = c->rope.factors;
    uint32_t n = c->head_dim / 2;
    float slowest;
    memcpy(&slowest, t->data + (n - 1) * sizeof slowest, sizeof slowest);
    *rope = (pare_rope){PARE_ROPE_LLAMA3, c->rope.theta, (double)slowest, 1.0, 4.0, 0, NULL};
    for (uint32_t original = 256; original <= 1u << 24; original *= 2) {
        rope->original_positions = original;
        uint32_t i = 0;
        for (; i < n; i++) {
            float stored;
            memcpy(&stored, t->data + i * sizeof stored, sizeof stored);
            double wanted = pare_rope_factor(rope, i, c->head_dim);
            if (!(fabs((double)stored - wanted) <= 1e-5 * wanted))
                break;
        }
        if (i == n)
            return true;
    }
    return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                     "%s: rope_freqs.weight does not follow Llama-3's formula, and config.json cannot say anything else", t->source);
}

static void set_common(pare_json_doc *doc, json_t *json, const pare_rope *rope) {
    if (rope->type == PARE_ROPE_DEFAULT)
        return;
    pare_json_set(doc, json, "factor", pare_json_number(doc, rope->factor));
    if (rope->type == PARE_ROPE_LLAMA3) {
        pare_json_set(doc, json, "low_freq_factor", pare_json_number(doc, rope->low_freq_factor));
        pare_json_set(doc, json, "high_freq_factor", pare_json_number(doc, rope->high_freq_factor));
        pare_json_set(doc, json, "original_max_position_embeddings", pare_json_integer(doc, rope->original_positions));
    }
}

static void set_absent(pare_json_doc *doc, json_t *json, const char *key, json_t *value) {
    if (json_object_get(json, key))
        json_decref(value);
    else
        pare_json_set(doc, json, key, value);
}

/* Both spellings; what the source says stays. rope_scaling is null for the default type: version 5 takes an object there for the
 * whole of the rotary settings. */
static bool set_rope(pare_json_doc *doc, json_t *json, const pare_config *config, pare_error *error) {
    static const char *const names[] = {"default", "linear", "llama3"};
    pare_rope rope = config->rope;
    if (rope.type == PARE_ROPE_FACTORS && !recover_llama3(&rope, config, error))
        return false;
    json_t *parameters = pare_json_pack(doc, "{s:s}", "rope_type", names[rope.type]), *scaling = json_null();
    pare_json_set(doc, parameters, "rope_theta", pare_json_number(doc, rope.theta));
    set_common(doc, parameters, &rope);
    if (rope.type != PARE_ROPE_DEFAULT) {
        scaling = pare_json_pack(doc, "{s:s}", "rope_type", names[rope.type]);
        set_common(doc, scaling, &rope);
    }
    set_absent(doc, json, "rope_theta", pare_json_number(doc, rope.theta));
    set_absent(doc, json, "rope_scaling", scaling);
    set_absent(doc, json, "rope_parameters", parameters);
    return true;
}

static json_t *token_or_null(pare_json_doc *doc, int64_t id) {
    return id < 0 ? json_null() : pare_json_integer(doc, id);
}

/* A whole config.json for a checkpoint that has none. */
static json_t *fresh_config(pare_json_doc *doc, const pare_config *c) {
    pare_arch arch = c->arch;
    json_t *json = pare_json_pack(doc, "{s:[s], s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "architectures", classes[arch], "model_type",
                                  pare_arch_name(arch), "vocab_size", (json_int_t)c->vocabulary, "hidden_size", (json_int_t)c->width,
                                  "intermediate_size", (json_int_t)c->ffn_width, "num_hidden_layers", (json_int_t)c->n_layers,
                                  "num_attention_heads", (json_int_t)c->n_heads, "num_key_value_heads", (json_int_t)c->n_kv_heads,
                                  "head_dim", (json_int_t)c->head_dim, "max_position_embeddings", (json_int_t)c->max_positions);
    pare_json_set(doc, json, "hidden_act", pare_json_string(doc, "silu"));
    pare_json_set(doc, json, "rms_norm_eps", pare_json_number(doc, c->rms_eps));
    pare_json_set(doc, json, "tie_word_embeddings", json_boolean(c->tied));
    if (arch == PARE_ARCH_LLAMA) {
        pare_json_set(doc, json, "attention_bias", json_boolean(c->attention_bias));
        pare_json_set(doc, json, "mlp_bias", json_boolean(c->mlp_bias));
    } else {
        pare_json_set(doc, json, "sliding_window", c->sliding_window ? pare_json_integer(doc, c->sliding_window) : json_null());
    }
    if (arch == PARE_ARCH_QWEN2)
        pare_json_set(doc, json, "use_sliding_window", json_boolean(c->sliding_window != 0));
    if (arch == PARE_ARCH_QWEN2 && c->sliding_window)
        pare_json_set(doc, json, "max_window_layers", pare_json_integer(doc, 0));
    pare_json_set(doc, json, "bos_token_id", token_or_null(doc, c->bos));
    pare_json_set(doc, json, "eos_token_id", token_or_null(doc, c->eos));
    pare_json_set(doc, json, "use_cache", json_true());
    return json;
}

/* Ids that pare itself has no use for, and transformers does. */
static bool set_padding(pare_json_doc *doc, json_t *json, const pare_gguf *gguf, const pare_config *config, pare_error *error) {
    uint64_t id = UINT64_MAX;
    if (!pare_gguf_get_u64(&id, gguf, "tokenizer.ggml.padding_token_id", error))
        return false;
    pare_json_set(doc, json, "pad_token_id", token_or_null(doc, id < config->vocabulary ? (int64_t)id : -1));
    return true;
}

/* transformers 5 wants a Llama's width to be a multiple of its heads; Mistral is the same network without that rule. */
static bool as_mistral(const pare_config *c) {
    return c->arch == PARE_ARCH_LLAMA && c->width % c->n_heads != 0 && !pare_own_config_wanted(c);
}

static bool refuse_heads(const pare_config *c, pare_error *error) {
    pare_string legal = {0};
    for (uint32_t n = 1; n <= c->n_heads; n++)
        if (c->width % n == 0 && n % c->n_kv_heads == 0)
            pare_string_print(&legal, "%s%u", legal.length ? ", " : "", n);
    pare_fail(error, PARE_ERROR_UNSUPPORTED,
              "%u heads at width %u: transformers takes a Llama with biases only where the heads divide the width (%s would, with %u "
              "key-value heads)",
              c->n_heads, c->width, legal.data ? legal.data : "none", c->n_kv_heads);
    pare_string_free(&legal);
    return false;
}

/* A class of another architecture, without the keys that only the source's has. */
static void set_arch(pare_json_doc *doc, json_t *json, pare_arch arch) {
    static const char *const llamas[] = {"attention_bias", "mlp_bias", "pretraining_tp", "attention_dropout", "rope_interleaved"};
    static const char *const sliding[] = {"sliding_window", "use_sliding_window", "max_window_layers", "layer_types"};
    pare_json_set(doc, json, "architectures", pare_json_pack(doc, "[s]", classes[arch]));
    pare_json_set(doc, json, "model_type", pare_json_string(doc, pare_arch_name(arch)));
    for (size_t i = 0; i < sizeof sliding / sizeof *sliding; i++)
        json_object_del(json, sliding[i]);
    for (size_t i = 0; arch == PARE_ARCH_MISTRAL && i < sizeof llamas / sizeof *llamas; i++)
        json_object_del(json, llamas[i]);
    if (arch == PARE_ARCH_MISTRAL)
        pare_json_set(doc, json, "sliding_window", json_null());
}

/* What a list by layer says of the first n layers; that they are all alike has been seen when it was read. */
static void shorten(json_t *json, const char *key, uint32_t n) {
    json_t *list = json_object_get(json, key);
    while (json_array_size(list) > n)
        json_array_remove(list, json_array_size(list) - 1);
}

/* What a cut may have changed in a config.json that was there. */
static void set_shape(pare_json_doc *doc, json_t *json, const pare_config *c) {
    pare_json_set(doc, json, "intermediate_size", pare_json_integer(doc, c->ffn_width));
    pare_json_set(doc, json, "num_hidden_layers", pare_json_integer(doc, c->n_layers));
    pare_json_set(doc, json, "hidden_size", pare_json_integer(doc, c->width));
    pare_json_set(doc, json, "num_attention_heads", pare_json_integer(doc, c->n_heads));
    pare_json_set(doc, json, "num_key_value_heads", pare_json_integer(doc, c->n_kv_heads));
    pare_json_set(doc, json, "rms_norm_eps", pare_json_number(doc, c->rms_eps));
    pare_json_set(doc, json, "tie_word_embeddings", json_boolean(c->tied));
    if (json_object_get(json, "hidden_act")) /* vLLM knows no swish */
        pare_json_set(doc, json, "hidden_act", pare_json_string(doc, "silu"));
    for (size_t i = 0; i < N_QUANTISATION_KEYS; i++) /* it quantised nothing, and names layers of the source */
        json_object_del(json, quantisation_keys[i]);
    if (json_object_get(json, "head_dim") || c->head_dim * c->n_heads != c->width)
        pare_json_set(doc, json, "head_dim", pare_json_integer(doc, c->head_dim));
    if (json_object_get(json, "max_window_layers"))
        pare_json_set(doc, json, "max_window_layers", pare_json_integer(doc, c->sliding_window ? 0 : c->n_layers));
    shorten(json, "layer_types", c->n_layers);
    if (c->arch == PARE_ARCH_LLAMA && c->mlp_bias)
        pare_json_set(doc, json, "mlp_bias", json_true());
    if (c->arch == PARE_ARCH_LLAMA && c->attention_bias)
        pare_json_set(doc, json, "attention_bias", json_true());
}

json_t *pare_hf_config_write(const pare_checkpoint *checkpoint, const pare_config *config, pare_dtype dtype, pare_error *error) {
    static const char *const words[] = {"float32", "float16", "bfloat16"};
    const pare_checkpoint_inner *inner = checkpoint->inner;
    pare_json_doc doc = {0};
    if (as_mistral(config) && (config->attention_bias || config->mlp_bias) && !refuse_heads(config, error))
        return NULL;
    json_t *json = inner->config_json ? pare_json_copy(&doc, inner->config_json) : fresh_config(&doc, config);
    pare_json_set(&doc, json, "architectures",
                  pare_json_pack(&doc, "[s]", classes[config->arch])); /* the source may be a class without a head */
    if (as_mistral(config) || config->arch != checkpoint->config.arch)
        set_arch(&doc, json, as_mistral(config) ? PARE_ARCH_MISTRAL : config->arch);
    set_shape(&doc, json, config);
    pare_json_set(&doc, json, "torch_dtype", pare_json_string(&doc, words[dtype]));
    pare_json_set(&doc, json, "dtype", pare_json_string(&doc, words[dtype]));
    json_object_del(json, "pare"); /* the source's, where it has one, is for the source's shapes */
    if (inner->config_json && pare_own_config_wanted(&checkpoint->config) && !pare_own_config_wanted(config))
        set_arch(&doc, json, as_mistral(config) ? PARE_ARCH_MISTRAL : config->arch);
    if (pare_own_config_wanted(config))
        pare_own_config_write(&doc, json, config);
    if (set_rope(&doc, json, config, error) && (!inner->gguf || set_padding(&doc, json, inner->gguf, config, error)) &&
        pare_json_check(&doc, error))
        return json;
    json_decref(json);
    return NULL;
}
