/* hf_extras: what a Hugging Face folder holds beside weights and configuration: tokenizer files and generation_config.json.
 *
 * From a folder they are carried over byte for byte; from a GGUF they are rebuilt out of its metadata.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "format/chat_templates.h"

static const char *const carried[] = {"tokenizer.json",  "tokenizer_config.json", "special_tokens_map.json", "vocab.json",
                                      "merges.txt",      "added_tokens.json",     "chat_template.jinja",     "chat_template.json",
                                      "tokenizer.model", "generation_config.json"};

static bool join(char path[4096], const char *folder, const char *name, pare_error *error) {
    return snprintf(path, 4096, "%s/%s", folder, name) < 4096 ||
           pare_fail(error, PARE_ERROR_IO, "%s/%s: the name is too long", folder, name);
}

static bool carry(const char *into, const char *from, const char *name, pare_error *error) {
    char source[4096], target[4096];
    pare_map map;
    if (!join(source, from, name, error) || !join(target, into, name, error))
        return false;
    if (!pare_path_is_file(source))
        return true;
    if (!pare_map_open(&map, source, error))
        return false;
    bool done = pare_file_write(target, map.data, map.size, false, error);
    pare_map_close(&map);
    return done;
}

/* The folder of additional chat templates. */
static bool carry_templates(const char *into, const char *from, pare_error *error) {
    const char *names[PARE_CHAT_TEMPLATES_MAX];
    char path[4096];
    size_t n;
    pare_arena *arena = pare_arena_open(error);
    bool done = arena && pare_chat_files(names, &n, from, arena, error) && join(path, into, "additional_chat_templates", error);
    if (done && n > 0 && mkdir(path, 0777) != 0)
        done = pare_fail(error, PARE_ERROR_IO, "%s: cannot create the folder: %s", path, strerror(errno));
    for (size_t i = 0; done && i < n; i++)
        done = carry(into, from, names[i], error);
    pare_arena_close(arena);
    return done;
}

bool pare_hf_text_write(const char *into, const char *name, const char *text, size_t n, pare_error *error) {
    char path[4096];
    return join(path, into, name, error) && pare_file_write(path, text, n, false, error);
}

bool pare_hf_json_write(const char *into, const char *name, const json_t *json, const pare_json_doc *doc, pare_error *error) {
    pare_string text = {0};
    bool done = pare_json_print(&text, json, doc, error) && pare_hf_text_write(into, name, text.data, text.length, error);
    pare_string_free(&text);
    return done;
}

/* ---- from GGUF ---- */

static const struct {
    const char *key, *name, *id_name;
} special[] = {{"tokenizer.ggml.bos_token_id", "bos_token", "bos_token_id"},
               {"tokenizer.ggml.eos_token_id", "eos_token", "eos_token_id"},
               {"tokenizer.ggml.unknown_token_id", "unk_token", NULL},
               {"tokenizer.ggml.padding_token_id", "pad_token", "pad_token_id"}};

static bool add_special_tokens(pare_json_doc *doc, json_t *json, const pare_checkpoint *checkpoint, pare_error *error) {
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        uint64_t id = UINT64_MAX;
        if (!pare_gguf_get_u64(&id, checkpoint->inner->gguf, special[i].key, error))
            return false;
        if (id >= pare_tokenizer_size(checkpoint->tokenizer))
            continue;
        pare_piece piece = pare_tokenizer_piece(checkpoint->tokenizer, (uint32_t)id);
        if (piece.length)
            pare_json_set(doc, json, special[i].name, pare_json_text(doc, piece.bytes, piece.length));
    }
    return true;
}

static bool write_tokenizer_config(const char *into, const pare_checkpoint *checkpoint, pare_error *error) {
    pare_json_doc doc = {0};
    json_t *json = pare_json_pack(&doc, "{s:s, s:b, s:b, s:I}", "tokenizer_class", "PreTrainedTokenizerFast", "add_bos_token",
                                  pare_tokenizer_bos(checkpoint->tokenizer) >= 0, "clean_up_tokenization_spaces", 0, "model_max_length",
                                  (json_int_t)checkpoint->config.max_positions);
    pare_arena *arena = pare_arena_open(error);
    pare_chat_templates list = {0};
    bool done = arena && add_special_tokens(&doc, json, checkpoint, error) && pare_chat_templates_read(&list, checkpoint, arena, error);
    if (done && list.n)
        pare_json_set(&doc, json, "chat_template", pare_chat_json(&doc, &list));
    done = done && pare_hf_json_write(into, "tokenizer_config.json", json, &doc, error);
    pare_arena_close(arena);
    json_decref(json);
    return done;
}

static bool rebuild_tokenizer(const char *into, const pare_checkpoint *checkpoint, pare_error *error) {
    pare_string text = {0};
    if (!checkpoint->tokenizer)
        return true;
    bool done = pare_tokenizer_print_json(&text, checkpoint->tokenizer, error) &&
                pare_hf_text_write(into, "tokenizer.json", text.data, text.length, error);
    pare_string_free(&text);
    return done && write_tokenizer_config(into, checkpoint, error);
}

static bool write_generation_config(const char *into, const pare_checkpoint *checkpoint, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    pare_json_doc doc = {0};
    json_t *json = pare_json_pack(&doc, "{s:b}", "_from_model_config", 1);
    if (c->bos >= 0)
        pare_json_set(&doc, json, "bos_token_id", pare_json_integer(&doc, c->bos));
    const json_t *eos = json_object_get(checkpoint->inner->config_json, "eos_token_id"); /* may be a list */
    if (c->eos >= 0)
        pare_json_set(&doc, json, "eos_token_id", eos ? pare_json_copy(&doc, eos) : pare_json_integer(&doc, c->eos));
    bool done = pare_hf_json_write(into, "generation_config.json", json, &doc, error);
    json_decref(json);
    return done;
}

bool pare_hf_extras_write(const char *into, const pare_checkpoint *checkpoint, pare_error *error) {
    char path[4096];
    if (checkpoint->format == PARE_FORMAT_GGUF) {
        if (!rebuild_tokenizer(into, checkpoint, error))
            return false;
    } else {
        for (size_t i = 0; i < sizeof carried / sizeof *carried; i++)
            if (!carry(into, checkpoint->path, carried[i], error))
                return false;
        if (!carry_templates(into, checkpoint->path, error))
            return false;
    }
    return join(path, into, "generation_config.json", error) &&
           (pare_path_exists(path) || write_generation_config(into, checkpoint, error));
}
