/* gguf_metadata: what an exported GGUF says of its model: general.*, the keys of its architecture, its tokenizer. What pare knows is
 * written anew, because a cut may have changed it; whatever else a GGUF source says is carried over as it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"

enum { QUANTISATION_VERSION = 2, ALIGNMENT = 32 };

/* llama_ftype of llama.cpp: the type of most matrices. */
static uint32_t file_type(pare_dtype dtype) {
    static const uint8_t numbers[PARE_DTYPE_COUNT] = {
        [PARE_DTYPE_F32] = 0,           [PARE_DTYPE_F16] = 1,           [PARE_DTYPE_BF16] = 32, [PARE_DTYPE_Q8_0] = 7,
        [PARE_DTYPE_Q4_0] = 2,          [PARE_DTYPE_Q4_1] = 3,          [PARE_DTYPE_Q5_0] = 8,  [PARE_DTYPE_Q5_1] = 9,
        [PARE_DTYPE_Q4_K] = 15 /* M */, [PARE_DTYPE_Q5_K] = 17 /* M */, [PARE_DTYPE_Q6_K] = 18,
    };
    return numbers[dtype];
}

/* The last part of the path; a GGUF source has a name of its own, or none. */
static void put_name(pare_gguf_entries *entries, const pare_checkpoint *checkpoint) {
    const char *slash = strrchr(checkpoint->path, '/'), *name = slash ? slash + 1 : checkpoint->path;
    if (checkpoint->format == PARE_FORMAT_HF && *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        pare_gguf_put_string(entries, "general.name", name, strlen(name));
}

static void put_general(pare_gguf_entries *entries, const pare_checkpoint *checkpoint, const char *arch, pare_dtype dtype) {
    pare_gguf_put_string(entries, "general.architecture", arch, strlen(arch));
    if (checkpoint->format == PARE_FORMAT_HF)
        pare_gguf_put_string(entries, "general.type", "model", 5);
    put_name(entries, checkpoint);
    pare_gguf_put_u32(entries, "general.file_type", file_type(dtype));
    pare_gguf_put_u32(entries, "general.quantization_version", QUANTISATION_VERSION);
    pare_gguf_put_u32(entries, "general.alignment", ALIGNMENT);
}

/* How a folder's model was made, where its pare.json says so; a GGUF source's is carried over. */
static bool put_made(pare_gguf_entries *entries, const pare_checkpoint *checkpoint, pare_error *error) {
    pare_json_doc doc = {0};
    pare_string text = {0};
    json_t *made = checkpoint->inner->gguf ? NULL : pare_checkpoint_made(&doc, checkpoint, false);
    bool done = pare_json_check(&doc, error) && (!made || pare_json_print_line(&text, made, &doc, error));
    if (done && made)
        pare_gguf_put_string(entries, "pare.made", text.data, text.length);
    pare_string_free(&text);
    json_decref(made);
    return done;
}

static const char *arch_key(char text[96], const char *arch, const char *key) {
    snprintf(text, 96, "%s.%s", arch, key);
    return text;
}

static void put_shape(pare_gguf_entries *entries, const pare_config *c, const char *arch) {
    const struct {
        const char *key;
        uint32_t value;
    } counts[] = {{"block_count", c->n_layers},          {"context_length", c->max_positions},
                  {"embedding_length", c->width},        {"feed_forward_length", c->ffn_width},
                  {"attention.head_count", c->n_heads},  {"attention.head_count_kv", c->n_kv_heads},
                  {"attention.key_length", c->head_dim}, {"attention.value_length", c->head_dim},
                  {"rope.dimension_count", c->head_dim}, {"vocab_size", c->vocabulary}};
    char key[96];
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        pare_gguf_put_u32(entries, arch_key(key, arch, counts[i].key), counts[i].value);
    pare_gguf_put_f32(entries, arch_key(key, arch, "attention.layer_norm_rms_epsilon"), c->rms_eps);
    pare_gguf_put_f32(entries, arch_key(key, arch, "rope.freq_base"), c->rope.theta);
    if (c->sliding_window)
        pare_gguf_put_u32(entries, arch_key(key, arch, "attention.sliding_window"), c->sliding_window);
    if (c->rope.type == PARE_ROPE_LINEAR) {
        pare_gguf_put_string(entries, arch_key(key, arch, "rope.scaling.type"), "linear", 6);
        pare_gguf_put_f32(entries, arch_key(key, arch, "rope.scaling.factor"), c->rope.factor);
    }
}

static bool starts_with(pare_piece text, const char *prefix) {
    size_t n = strlen(prefix);
    return text.length >= n && memcmp(text.bytes, prefix, n) == 0;
}

/* Entries that would be wrong of the new file are left out: how the source was split and quantised, and what its architecture tells layer
 * by layer, which pare knows only as one number for all. */
static void carry(pare_gguf_entries *entries, const pare_gguf *gguf, const char *arch) {
    pare_piece source = {0};
    char prefix[32], key[512];
    if (!pare_gguf_get_string(&source, gguf, "general.architecture", NULL) || source.length > 16)
        return; /* opening has read it */
    snprintf(prefix, sizeof prefix, "%.*s.", (int)source.length, source.bytes);
    for (size_t i = 0; i < gguf->n_values; i++) {
        const pare_gguf_value *value = &gguf->values[i];
        pare_piece name = value->key;
        bool of_arch = starts_with(name, prefix) && name.length < 400;
        if (starts_with(name, "split.") || starts_with(name, "quantize.") || (of_arch && value->type == PARE_GGUF_ARRAY))
            continue;
        if (of_arch) {
            snprintf(key, sizeof key, "%s%.*s", arch, (int)(name.length - source.length), name.bytes + source.length);
            name = (pare_piece){key, strlen(key)};
        }
        if (!pare_gguf_entries_have(entries, name.bytes, name.length))
            pare_gguf_put_value(entries, name.bytes, name.length, value);
    }
}

bool pare_gguf_metadata(pare_gguf_entries *entries, const pare_checkpoint *checkpoint, const pare_config *config, const char *arch,
                        pare_dtype dtype, pare_error *error) {
    put_general(entries, checkpoint, arch, dtype);
    if (!put_made(entries, checkpoint, error))
        return false;
    put_shape(entries, config, arch);
    if (checkpoint->inner->gguf)
        carry(entries, checkpoint->inner->gguf, arch);
    else if (!pare_gguf_put_tokenizer(entries, checkpoint, config, error))
        return false;
    return pare_gguf_entries_check(entries, error);
}
