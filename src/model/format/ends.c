/* ends: which tokens begin and end a text, as transformers' tokenizers say it: tokenizer_config.json's bos_token and eos_token. */
#include <stdio.h>
#include <string.h>

#include "format/format.h"

/* "bos_token" is a text, or an object with "content"; null and absent: none. */
int64_t pare_setting_token(const json_t *settings, const char *name, const pare_tokenizer *tokenizer) {
    const json_t *token = json_object_get(settings, name);
    if (json_is_object(token))
        token = json_object_get(token, "content");
    const char *text = json_string_value(token);
    size_t length = json_string_length(token), n = text && length ? pare_tokenizer_size(tokenizer) : 0;
    for (size_t id = 0; id < n; id++) {
        pare_piece piece = pare_tokenizer_piece(tokenizer, (uint32_t)id);
        if (piece.length == length && memcmp(piece.bytes, text, length) == 0)
            return (int64_t)id;
    }
    return -1;
}

/* A folder without tokenizer_config.json says it in config.json; so does a GGUF in its metadata. What the template puts first is a BOS too.
 */
bool pare_checkpoint_ends(int64_t *bos, int64_t *eos, const pare_checkpoint *checkpoint, pare_error *error) {
    char path[4096];
    const pare_tokenizer *tokenizer = pare_checkpoint_tokenizer(checkpoint, error);
    if (!tokenizer)
        return false;
    *bos = checkpoint->config.bos;
    *eos = checkpoint->config.eos;
    int n = snprintf(path, sizeof path, "%s/tokenizer_config.json", checkpoint->path);
    if (checkpoint->format == PARE_FORMAT_HF && n < (int)sizeof path && pare_path_exists(path)) {
        json_t *settings = pare_json_read_lenient(path, NULL, error);
        if (!settings)
            return false;
        *bos = pare_setting_token(settings, "bos_token", tokenizer);
        *eos = pare_setting_token(settings, "eos_token", tokenizer);
        json_decref(settings);
    }
    *bos = *bos < 0 ? pare_tokenizer_bos(tokenizer) : *bos;
    return true;
}
