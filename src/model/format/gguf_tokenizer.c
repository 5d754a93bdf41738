/* gguf_tokenizer: a Hugging Face folder's tokenizer as tokenizer.ggml.*: tokens, types and merges from the open tokenizer, the ids of
 * special tokens from tokenizer_config.json or else config.json, and the chat templates. */
#include <stdio.h>
#include <string.h>

#include "format/chat_templates.h"

typedef struct {
    pare_gguf_entries *entries;
    const pare_checkpoint *checkpoint;
    pare_tokenizer_parts parts;
    json_t *settings; /* tokenizer_config.json, or NULL */
    pare_arena *arena;
    pare_error *error;
} source;

/* The embedding may have more rows than there are tokens, for round numbers; llama.cpp wants a token for each row. */
static bool put_tokens(source *s, uint32_t rows) {
    size_t n = s->parts.n_tokens;
    if (n > rows)
        return pare_fail(s->error, PARE_ERROR_SHAPE, "%s: the tokenizer has %zu tokens, the embedding %u rows", s->checkpoint->path, n,
                         rows);
    pare_piece *tokens = PARE_PUSH(s->arena, pare_piece, rows, s->error);
    int32_t *types = PARE_PUSH(s->arena, int32_t, rows, s->error);
    char *names = PARE_PUSH(s->arena, char, (size_t)rows * 16, s->error);
    if (!tokens || !types || !names)
        return false;
    for (uint32_t id = 0; id < rows; id++, names += 16) {
        bool there = id < n && s->parts.tokens[id].bytes;
        types[id] = there ? s->parts.types[id] : PARE_TOKEN_UNUSED;
        tokens[id] = there ? s->parts.tokens[id] : (pare_piece){names, (size_t)snprintf(names, 16, "[PAD%u]", id)};
    }
    pare_gguf_put_strings(s->entries, "tokenizer.ggml.tokens", tokens, rows);
    pare_gguf_put_i32s(s->entries, "tokenizer.ggml.token_type", types, rows);
    pare_gguf_put_strings(s->entries, "tokenizer.ggml.merges", s->parts.merges, s->parts.n_merges);
    return true;
}

/* known: what the tokenizer itself puts around a text, which goes before what the folder says; otherwise: config.json's. */
static void put_id(const source *s, const char *key, const char *name, int64_t known, int64_t otherwise) {
    int64_t id = known >= 0 ? known : pare_setting_token(s->settings, name, s->checkpoint->tokenizer);
    id = id >= 0 ? id : otherwise;
    if (id >= 0)
        pare_gguf_put_u32(s->entries, key, (uint32_t)id);
}

static void put_ids(const source *s, const pare_config *config) {
    const json_t *padding = json_object_get(s->checkpoint->inner->config_json, "pad_token_id");
    json_int_t pad = json_is_integer(padding) ? json_integer_value(padding) : -1;
    put_id(s, "tokenizer.ggml.bos_token_id", "bos_token", s->parts.bos, config->bos);
    put_id(s, "tokenizer.ggml.eos_token_id", "eos_token", s->parts.eos, config->eos);
    put_id(s, "tokenizer.ggml.unknown_token_id", "unk_token", -1, -1);
    put_id(s, "tokenizer.ggml.padding_token_id", "pad_token", -1, pad < (json_int_t)config->vocabulary ? pad : -1);
    pare_gguf_put_bool(s->entries, "tokenizer.ggml.add_bos_token", s->parts.add_bos);
    if (s->parts.add_eos)
        pare_gguf_put_bool(s->entries, "tokenizer.ggml.add_eos_token", true);
}

static const char *inside(const source *s, const char *name) {
    return pare_arena_format(s->arena, s->error, "%s/%s", s->checkpoint->path, name);
}

static bool put_templates(const source *s) {
    pare_chat_templates list;
    return pare_chat_templates_read(&list, s->checkpoint, s->arena, s->error) && pare_gguf_put_chat(s->entries, &list, s->arena, s->error);
}

static bool read_settings(source *s) {
    const char *path = inside(s, "tokenizer_config.json");
    return path && (!pare_path_is_file(path) || (s->settings = pare_json_read_lenient(path, NULL, s->error)));
}

bool pare_gguf_put_tokenizer(pare_gguf_entries *entries, const pare_checkpoint *checkpoint, const pare_config *config, pare_error *error) {
    source s = {.entries = entries, .checkpoint = checkpoint, .error = error};
    const pare_tokenizer *tokenizer = pare_checkpoint_tokenizer(checkpoint, error);
    if (!tokenizer || !(s.arena = pare_arena_open(error)))
        return false;
    bool done = pare_tokenizer_write_parts(&s.parts, tokenizer, s.arena, error) && read_settings(&s);
    if (done) {
        pare_gguf_put_string(entries, "tokenizer.ggml.model", "gpt2", 4);
        pare_gguf_put_string(entries, "tokenizer.ggml.pre", s.parts.pre, strlen(s.parts.pre));
        done = put_tokens(&s, config->vocabulary);
    }
    if (done)
        put_ids(&s, config);
    done = done && put_templates(&s);
    json_decref(s.settings);
    pare_arena_close(s.arena);
    return done;
}
