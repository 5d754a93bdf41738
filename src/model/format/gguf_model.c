/* gguf_model: what a GGUF's metadata and tensor names mean for a Llama or Qwen2.
 *
 * llama.cpp's `llama` architecture (Llama and Mistral) stores the rows of q and k in adjacent-pair rotary order, `qwen2` in halves
 * as Hugging Face does. Llama-3's rotary scaling is the tensor rope_freqs.weight. No output.weight means a tied head.
 */
#include <stdio.h>
#include <string.h>

#include "format/format.h"

static const struct {
    const char *gguf, *hf;
} global_names[] = {
    {"token_embd.weight", "model.embed_tokens.weight"}, {"output_norm.weight", "model.norm.weight"}, {"output.weight", "lm_head.weight"}};

static const struct {
    const char *gguf, *hf;
    bool rotary;
} layer_names[] = {
    {"attn_norm", "input_layernorm", false}, {"attn_q", "self_attn.q_proj", true},       {"attn_k", "self_attn.k_proj", true},
    {"attn_v", "self_attn.v_proj", false},   {"attn_output", "self_attn.o_proj", false}, {"ffn_norm", "post_attention_layernorm", false},
    {"ffn_gate", "mlp.gate_proj", false},    {"ffn_up", "mlp.up_proj", false},           {"ffn_down", "mlp.down_proj", false}};

/* ---- names ---- */

static bool rename_global(pare_tensor *tensor) {
    for (size_t i = 0; i < sizeof global_names / sizeof *global_names; i++)
        if (strcmp(tensor->name, global_names[i].gguf) == 0) {
            tensor->name = global_names[i].hf;
            return true;
        }
    return false;
}

/* blk.<layer>.<part>.<weight or bias>; what does not match keeps its name and is found left over later. */
static bool rename_layer(pare_tensor *tensor, uint32_t rotary_pairs, pare_arena *arena, pare_error *error) {
    static const char prefix[] = "blk.";
    const char *name = tensor->name;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return true;
    const char *digits = name + sizeof prefix - 1, *dot = strchr(digits, '.'), *last = strrchr(name, '.');
    if (!dot || dot == digits || dot - digits > 6 || last <= dot || strspn(digits, "0123456789") != (size_t)(dot - digits))
        return true;
    for (size_t i = 0; i < sizeof layer_names / sizeof *layer_names; i++) {
        size_t length = strlen(layer_names[i].gguf);
        if ((size_t)(last - dot - 1) != length || strncmp(dot + 1, layer_names[i].gguf, length) != 0)
            continue;
        tensor->name = pare_arena_format(arena, error, "model.layers.%.*s.%s%s", (int)(dot - digits), digits, layer_names[i].hf, last);
        tensor->rotary_pairs = layer_names[i].rotary ? rotary_pairs : 0;
        return tensor->name != NULL;
    }
    return true;
}

bool pare_gguf_rename(pare_tensor_list *list, const pare_config *config, const pare_gguf *gguf, pare_arena *arena, pare_error *error) {
    pare_piece architecture = {0};
    if (!pare_gguf_get_string(&architecture, gguf, "general.architecture", error))
        return false;
    uint32_t rotary_pairs = architecture.length == 5 && memcmp(architecture.bytes, "llama", 5) == 0 ? config->head_dim : 0;
    for (size_t i = 0; i < list->n; i++)
        if (!rename_global(&list->items[i].tensor) && !rename_layer(&list->items[i].tensor, rotary_pairs, arena, error))
            return false;
    return true;
}

bool pare_gguf_spell(char text[96], bool *rotary, const char *name) {
    unsigned layer;
    int part = 0;
    *rotary = false;
    for (size_t i = 0; i < sizeof global_names / sizeof *global_names; i++)
        if (strcmp(name, global_names[i].hf) == 0)
            return snprintf(text, 96, "%s", global_names[i].gguf) > 0;
    const char *last = strrchr(name, '.');
    if (sscanf(name, "model.layers.%u.%n", &layer, &part) != 1 || !part || !last || last <= name + part)
        return false;
    for (size_t i = 0; i < sizeof layer_names / sizeof *layer_names; i++) {
        size_t length = strlen(layer_names[i].hf);
        if ((size_t)(last - name) != (size_t)part + length || strncmp(name + part, layer_names[i].hf, length) != 0)
            continue;
        *rotary = layer_names[i].rotary;
        return snprintf(text, 96, "blk.%u.%s%s", layer, layer_names[i].gguf, last) < 96;
    }
    return false;
}

/* ---- configuration ---- */

/* Keys of the architecture: "llama.block_count" and so on. */
typedef struct {
    const pare_gguf *gguf;
    char arch[16];
    pare_error *error;
} keys;

static const char *full_key(char text[96], const keys *k, const char *key) {
    snprintf(text, 96, "%s.%s", k->arch, key);
    return text;
}

static bool get_count(uint32_t *value, const keys *k, const char *key, uint64_t otherwise) {
    char text[96];
    return pare_gguf_get_u64(&otherwise, k->gguf, full_key(text, k, key), k->error) &&
           pare_config_narrow(value, otherwise, text, k->gguf->path, k->error);
}

static bool get_real(double *value, const keys *k, const char *key) {
    char text[96];
    return pare_gguf_get_double(value, k->gguf, full_key(text, k, key), k->error);
}

static bool find_arch(pare_config *config, keys *k) {
    pare_piece name = {0};
    if (!pare_gguf_get_string(&name, k->gguf, "general.architecture", k->error))
        return false;
    const pare_arch known[] = {PARE_ARCH_LLAMA, PARE_ARCH_QWEN2}; /* a Mistral is a `llama` here */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *word = pare_arch_name(known[i]);
        if (name.length == strlen(word) && memcmp(name.bytes, word, name.length) == 0) {
            config->arch = known[i];
            snprintf(k->arch, sizeof k->arch, "%s", word);
            return true;
        }
    }
    if (!name.length)
        return pare_fail(k->error, PARE_ERROR_FORMAT, "%s: general.architecture is missing: not a language model", k->gguf->path);
    return pare_fail(k->error, PARE_ERROR_UNSUPPORTED, "%s: architecture \"%.*s\"; in GGUF pare knows llama (Mistral too) and qwen2",
                     k->gguf->path, (int)(name.length < 64 ? name.length : 64), name.bytes);
}

/* A model for embeddings, whose tokens see those behind them too, has no loss of the next token. */
static bool check_causal(const keys *k) {
    char text[96];
    bool causal = true;
    if (!pare_gguf_get_bool(&causal, k->gguf, full_key(text, k, "attention.causal"), k->error))
        return false;
    return causal || pare_fail(k->error, PARE_ERROR_UNSUPPORTED, "%s: %s is false; pare computes causal attention", k->gguf->path, text);
}

static bool read_counts(pare_config *c, const keys *k) {
    uint32_t key_length, value_length, rotary, experts, unused_vocabulary = c->vocabulary;
    if (!get_count(&c->n_layers, k, "block_count", 0) || !get_count(&c->width, k, "embedding_length", 0) ||
        !get_count(&c->ffn_width, k, "feed_forward_length", 0) || !get_count(&c->n_heads, k, "attention.head_count", 0) ||
        !get_count(&c->n_kv_heads, k, "attention.head_count_kv", c->n_heads) || !get_count(&c->max_positions, k, "context_length", 0) ||
        !get_count(&c->vocabulary, k, "vocab_size", unused_vocabulary) ||
        !get_count(&c->sliding_window, k, "attention.sliding_window", 0) || !get_count(&experts, k, "expert_count", 0))
        return false;
    if (experts)
        return pare_fail(k->error, PARE_ERROR_UNSUPPORTED, "%s: a mixture of %u experts; pare handles dense models", k->gguf->path,
                         experts);
    if (!check_causal(k))
        return false;
    uint32_t even = c->n_heads ? c->width / c->n_heads : 0;
    if (!get_count(&key_length, k, "attention.key_length", even) || !get_count(&value_length, k, "attention.value_length", key_length) ||
        !get_count(&rotary, k, "rope.dimension_count", key_length))
        return false;
    if (value_length != key_length || rotary != key_length)
        return pare_fail(k->error, PARE_ERROR_UNSUPPORTED,
                         "%s: heads of %u, values of %u, rotary dimensions of %u: pare handles models where they agree", k->gguf->path,
                         key_length, value_length, rotary);
    c->head_dim = key_length;
    return true;
}

static bool read_rope(pare_config *c, const keys *k, const pare_tensor_list *list) {
    char text[96];
    pare_piece type = {0};
    double factor = 0;
    c->rope = (pare_rope){.type = PARE_ROPE_DEFAULT, .theta = 10000.0};
    if (!get_real(&c->rope.theta, k, "rope.freq_base") || !get_real(&factor, k, "rope.scale_linear") ||
        !get_real(&factor, k, "rope.scaling.factor") ||
        !pare_gguf_get_string(&type, k->gguf, full_key(text, k, "rope.scaling.type"), k->error))
        return false;
    bool linear = type.length == 6 && memcmp(type.bytes, "linear", 6) == 0, none = type.length == 4 && memcmp(type.bytes, "none", 4) == 0;
    if (type.length && !linear && !none)
        return pare_fail(k->error, PARE_ERROR_UNSUPPORTED,
                         "%s: %s is \"%.*s\"; pare knows none, linear, and Llama-3's by rope_freqs.weight", k->gguf->path, text,
                         (int)(type.length < 64 ? type.length : 64), type.bytes);
    if (factor != 0 && factor != 1 && !none) {
        c->rope.type = PARE_ROPE_LINEAR;
        c->rope.factor = factor;
    }
    const pare_file_tensor *factors = pare_tensor_list_find(list, "rope_freqs.weight");
    if (!factors)
        return true;
    const pare_tensor *t = &factors->tensor;
    if (t->dtype != PARE_DTYPE_F32 || t->n_dims != 1 || t->dims[0] != c->head_dim / 2)
        return pare_fail(k->error, PARE_ERROR_SHAPE, "%s: tensor rope_freqs.weight is not F32 [%u]", k->gguf->path, c->head_dim / 2);
    if (c->rope.type == PARE_ROPE_LINEAR)
        return pare_fail(k->error, PARE_ERROR_UNSUPPORTED, "%s: linear rotary scaling and rope_freqs.weight at once", k->gguf->path);
    c->rope.type = PARE_ROPE_FACTORS; /* its pointer is set when the tensors have found their place */
    return true;
}

bool pare_gguf_config(pare_config *config, const pare_gguf *gguf, const pare_tensor_list *list, pare_error *error) {
    keys k = {.gguf = gguf, .error = error};
    *config = (pare_config){.rms_eps = -1, .bos = -1, .eos = -1};
    const pare_file_tensor *embedding = pare_tensor_list_find(list, "token_embd.weight");
    if (embedding && embedding->tensor.n_dims == 2 &&
        !pare_config_narrow(&config->vocabulary, embedding->tensor.dims[0], "vocabulary", gguf->path, error))
        return false;
    uint64_t bos = UINT64_MAX, eos = UINT64_MAX;
    if (!find_arch(config, &k) || !read_counts(config, &k) || !read_rope(config, &k, list) ||
        !get_real(&config->rms_eps, &k, "attention.layer_norm_rms_epsilon") ||
        !pare_gguf_get_u64(&bos, gguf, "tokenizer.ggml.bos_token_id", error) ||
        !pare_gguf_get_u64(&eos, gguf, "tokenizer.ggml.eos_token_id", error))
        return false;
    if (config->rms_eps < 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %s.attention.layer_norm_rms_epsilon is missing or negative", gguf->path, k.arch);
    config->bos = bos < config->vocabulary ? (int64_t)bos : -1;
    config->eos = eos < config->vocabulary ? (int64_t)eos : -1;
    config->tied = !pare_tensor_list_find(list, "output.weight");
    config->attention_bias = config->arch == PARE_ARCH_QWEN2 || pare_tensor_list_find(list, "blk.0.attn_q.bias");
    config->output_bias = pare_tensor_list_find(list, "blk.0.attn_output.bias") != NULL;
    config->mlp_bias = pare_tensor_list_find(list, "blk.0.ffn_up.bias") != NULL;
    return pare_config_check(config, gguf->path, error);
}

/* ---- tokenizer ---- */

static bool get_id(int64_t *id, const pare_gguf *gguf, const char *key, size_t n_tokens, pare_error *error) {
    uint64_t value = UINT64_MAX;
    if (!pare_gguf_get_u64(&value, gguf, key, error))
        return false;
    *id = value < n_tokens ? (int64_t)value : -1; /* some files say 2^32 - 1 for none */
    return true;
}

static bool get_types(const int32_t **types, const pare_gguf *gguf, size_t n_tokens, pare_arena *arena, pare_error *error) {
    const char *key = "tokenizer.ggml.token_type";
    const pare_gguf_value *found = pare_gguf_find(gguf, key);
    *types = NULL;
    if (!found)
        return true;
    if (found->type != PARE_GGUF_ARRAY || (found->item != PARE_GGUF_I32 && found->item != PARE_GGUF_U32) || found->count != n_tokens)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %s is not an array of %zu 32-bit numbers", gguf->path, key, n_tokens);
    int32_t *copy = PARE_PUSH(arena, int32_t, n_tokens, error); /* the file's may be unaligned */
    if (copy && n_tokens)
        memcpy(copy, found->bytes, n_tokens * sizeof *copy);
    *types = copy;
    return copy != NULL;
}

pare_tokenizer *pare_gguf_tokenizer(const pare_gguf *gguf, pare_arena *arena, pare_error *error) {
    pare_piece model = {0}, pre = {0}, *tokens, *merges;
    pare_tokenizer_parts parts = {0};
    if (!pare_gguf_get_string(&model, gguf, "tokenizer.ggml.model", error) ||
        !pare_gguf_get_string(&pre, gguf, "tokenizer.ggml.pre", error) ||
        !pare_gguf_get_strings(&tokens, &parts.n_tokens, gguf, "tokenizer.ggml.tokens", arena, error) ||
        !pare_gguf_get_strings(&merges, &parts.n_merges, gguf, "tokenizer.ggml.merges", arena, error))
        return NULL;
    if (!model.length || !parts.n_tokens) {
        pare_fail(error, PARE_ERROR_FORMAT, "%s: it carries no tokenizer (tokenizer.ggml.model, tokenizer.ggml.tokens)", gguf->path);
        return NULL;
    }
    if (model.length != 4 || memcmp(model.bytes, "gpt2", 4) != 0) {
        pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: tokenizer.ggml.model is \"%.*s\"; pare knows gpt2, the byte-level BPE", gguf->path,
                  (int)(model.length < 64 ? model.length : 64), model.bytes);
        return NULL;
    }
    if (!pare_gguf_find(gguf, "tokenizer.ggml.merges")) { /* as llama.cpp: without them every byte would be a token */
        pare_fail(error, PARE_ERROR_FORMAT, "%s: tokenizer.ggml.merges is missing; convert the model again", gguf->path);
        return NULL;
    }
    parts.tokens = tokens;
    parts.merges = merges;
    if (pre.length && !(parts.pre = pare_arena_copy(arena, pre.bytes, pre.length, error)))
        return NULL;
    /* llama.cpp's default for gpt2 vocabularies: BOS is put first for Llama-3's pre-tokeniser alone, unless the file says otherwise */
    parts.add_bos =
        parts.pre && (strcmp(parts.pre, "llama-bpe") == 0 || strcmp(parts.pre, "llama3") == 0 || strcmp(parts.pre, "llama-v3") == 0);
    if (!get_types(&parts.types, gguf, parts.n_tokens, arena, error) ||
        !get_id(&parts.bos, gguf, "tokenizer.ggml.bos_token_id", parts.n_tokens, error) ||
        !get_id(&parts.eos, gguf, "tokenizer.ggml.eos_token_id", parts.n_tokens, error) ||
        !get_id(&parts.unknown, gguf, "tokenizer.ggml.unknown_token_id", parts.n_tokens, error) ||
        !get_id(&parts.padding, gguf, "tokenizer.ggml.padding_token_id", parts.n_tokens, error) ||
        !pare_gguf_get_bool(&parts.add_bos, gguf, "tokenizer.ggml.add_bos_token", error) ||
        !pare_gguf_get_bool(&parts.add_eos, gguf, "tokenizer.ggml.add_eos_token", error))
        return NULL;
    return pare_tokenizer_open_parts(&parts, gguf->path, error);
}
