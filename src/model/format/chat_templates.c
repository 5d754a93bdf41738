/* chat_templates: a model's chat templates by name, wherever they stand. "default" is the one that is meant where none is named.
 *
 *   a folder   chat_template.jinja and additional_chat_templates/NAME.jinja (transformers since 4.53), which go before chat_template in
 *              tokenizer_config.json: a text, or named ones as a list or an object; which goes before chat_template.json
 *   a GGUF     tokenizer.chat_template and tokenizer.chat_template.NAME
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/chat_templates.h"

static const char additional[] = "additional_chat_templates", ending[] = ".jinja", fallback[] = "default";

typedef struct {
    pare_chat_templates *list;
    const pare_checkpoint *checkpoint;
    pare_arena *arena;
    pare_error *error;
} reader;

/* Of two of one name the first counts. */
static bool add(reader *r, const char *name, size_t n_name, const char *text, size_t n_text) {
    pare_chat_templates *list = r->list;
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].name.length == n_name && memcmp(list->items[i].name.bytes, name, n_name) == 0)
            return true;
    if (list->n == PARE_CHAT_TEMPLATES_MAX)
        return pare_fail(r->error, PARE_ERROR_RANGE, "%s: more than %d chat templates", r->checkpoint->path, PARE_CHAT_TEMPLATES_MAX);
    pare_chat_named *item = &list->items[list->n];
    item->name = (pare_piece){pare_arena_copy(r->arena, name, n_name, r->error), n_name};
    item->text = (pare_piece){pare_arena_copy(r->arena, text, n_text, r->error), n_text};
    list->n += item->name.bytes && item->text.bytes;
    return item->name.bytes && item->text.bytes;
}

/* ---- a folder ---- */

static bool is_there(const char *path) {
    return access(path, F_OK) == 0; /* the hub's cache may hold links to what was not fetched */
}

/* As transformers reads it: a line ends with \n, however it ends in the file. */
static bool add_lines(reader *r, const char *name, size_t n_name, const char *bytes, size_t n, const char *path) {
    size_t kept = 0;
    if (!pare_json_is_text(bytes, n))
        return pare_fail(r->error, PARE_ERROR_FORMAT, "%s: is not UTF-8 text, which a chat template is", path);
    char *text = PARE_PUSH(r->arena, char, n + 1, r->error);
    for (size_t i = 0; text && i < n; i++)
        if (bytes[i] != '\n' || i == 0 || bytes[i - 1] != '\r')
            text[kept++] = bytes[i] == '\r' ? '\n' : bytes[i];
    return text && add(r, name, n_name, text, kept);
}

static bool add_file(reader *r, const char *name, size_t n_name, const char *path) {
    pare_map map;
    if (!pare_map_open(&map, path, r->error))
        return false;
    bool done = add_lines(r, name, n_name, (const char *)map.data, map.size, path);
    pare_map_close(&map);
    return done;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

bool pare_chat_files(const char **names, size_t *n, const char *folder, pare_arena *arena, pare_error *error) {
    char *path = pare_arena_format(arena, error, "%s/%s", folder, additional);
    DIR *listing = path ? opendir(path) : NULL;
    bool done = path != NULL;
    *n = 0;
    for (struct dirent *entry; done && listing && (entry = readdir(listing));) {
        size_t length = strlen(entry->d_name), behind = sizeof ending - 1;
        if (entry->d_name[0] == '.' || length <= behind || strcmp(entry->d_name + length - behind, ending) != 0)
            continue;
        if (*n == PARE_CHAT_TEMPLATES_MAX)
            done = pare_fail(error, PARE_ERROR_RANGE, "%s: more than %d chat templates", path, PARE_CHAT_TEMPLATES_MAX);
        else if ((done = (names[*n] = pare_arena_format(arena, error, "%s/%s", additional, entry->d_name)) != NULL))
            ++*n;
    }
    if (listing)
        closedir(listing);
    if (done)
        qsort(names, *n, sizeof *names, by_name);
    return done;
}

static bool add_files(reader *r) {
    const char *folder = r->checkpoint->path, *names[PARE_CHAT_TEMPLATES_MAX];
    size_t n;
    char *path = pare_arena_format(r->arena, r->error, "%s/chat_template%s", folder, ending);
    if (!path || (is_there(path) && !add_file(r, fallback, sizeof fallback - 1, path)) ||
        !pare_chat_files(names, &n, folder, r->arena, r->error))
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *name = names[i] + sizeof additional; /* behind the slash */
        path = pare_arena_format(r->arena, r->error, "%s/%s", folder, names[i]);
        if (!path || (is_there(path) && !add_file(r, name, strlen(name) - (sizeof ending - 1), path)))
            return false;
    }
    return true;
}

/* What is there and no text is refused: it would be missing in what is written, without a word. */
static bool add_json(reader *r, const char *name, const json_t *text, const char *path) {
    if (!name || !json_is_string(text))
        return pare_fail(r->error, PARE_ERROR_FORMAT,
                         "%s: \"chat_template\" is neither a text nor texts with names; mend it, or remove it to go on without a template",
                         path);
    return add(r, name, strlen(name), json_string_value(text), json_string_length(text));
}

/* A text, [{"name": …, "template": …}, …], or {name: text, …}; null is none. */
static bool add_value(reader *r, const json_t *value, const char *path) {
    size_t i;
    const json_t *item;
    json_array_foreach(value, i, item) {
        if (!add_json(r, json_string_value(json_object_get(item, "name")), json_object_get(item, "template"), path))
            return false;
    }
    for (void *at = json_object_iter((json_t *)(uintptr_t)value); at; at = json_object_iter_next((json_t *)(uintptr_t)value, at))
        if (!add_json(r, json_object_iter_key(at), json_object_iter_value(at), path))
            return false;
    return !value || json_is_null(value) || json_is_array(value) || json_is_object(value) || add_json(r, fallback, value, path);
}

/* The "chat_template" of a JSON file, which may be absent. */
static bool add_setting(reader *r, const char *name) {
    char *path = pare_arena_format(r->arena, r->error, "%s/%s", r->checkpoint->path, name);
    if (!path || !is_there(path))
        return path != NULL;
    json_t *json = pare_json_read_lenient(path, NULL, r->error);
    bool done = json && add_value(r, json_object_get(json, "chat_template"), path);
    json_decref(json);
    return done;
}

/* ---- a GGUF ---- */

static bool add_entries(reader *r, const pare_gguf *gguf) {
    static const char key[] = "tokenizer.chat_template";
    size_t n = sizeof key - 1;
    pare_piece text = {0};
    if (!pare_gguf_get_string(&text, gguf, key, r->error) ||
        (text.bytes && !add(r, fallback, sizeof fallback - 1, text.bytes, text.length)))
        return false;
    for (size_t i = 0; i < gguf->n_values; i++) {
        const pare_gguf_value *v = &gguf->values[i];
        if (v->key.length <= n + 1 || memcmp(v->key.bytes, key, n) != 0 || v->key.bytes[n] != '.' || v->type != PARE_GGUF_STRING)
            continue;
        char *name = pare_arena_copy(r->arena, v->key.bytes, v->key.length, r->error);
        if (!name || !pare_gguf_get_string(&text, gguf, name, r->error) ||
            !add(r, name + n + 1, v->key.length - n - 1, text.bytes, text.length))
            return false;
    }
    return true;
}

bool pare_chat_templates_read(pare_chat_templates *list, const pare_checkpoint *checkpoint, pare_arena *arena, pare_error *error) {
    reader r = {list, checkpoint, arena, error};
    list->n = 0;
    if (checkpoint->format == PARE_FORMAT_GGUF)
        return add_entries(&r, checkpoint->inner->gguf);
    return add_files(&r) && add_setting(&r, "tokenizer_config.json") && add_setting(&r, "chat_template.json");
}

const pare_piece *pare_chat_templates_default(const pare_chat_templates *list) {
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].name.length == sizeof fallback - 1 && memcmp(list->items[i].name.bytes, fallback, sizeof fallback - 1) == 0)
            return &list->items[i].text;
    return NULL;
}

/* ---- out ---- */

/* As gguf-py names them: letters, digits and underscores. A name that is taken by then gets one more. */
static pare_piece spell(const pare_gguf_entries *entries, pare_piece name, pare_arena *arena, pare_error *error) {
    static const char prefix[] = "tokenizer.chat_template.";
    char *key = PARE_PUSH(arena, char, sizeof prefix + name.length + PARE_CHAT_TEMPLATES_MAX, error);
    size_t n = sizeof prefix - 1;
    if (!key)
        return (pare_piece){0};
    memcpy(key, prefix, n);
    for (size_t i = 0; i < name.length; i++) {
        char c = name.bytes[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        key[n++] = (char)(plain ? c : '_');
    }
    while (pare_gguf_entries_have(entries, key, n))
        key[n++] = '_';
    return (pare_piece){key, n};
}

bool pare_gguf_put_chat(pare_gguf_entries *entries, const pare_chat_templates *list, pare_arena *arena, pare_error *error) {
    pare_piece names[PARE_CHAT_TEMPLATES_MAX];
    const pare_piece *main = pare_chat_templates_default(list);
    size_t n = 0, before = sizeof "tokenizer.chat_template." - 1;
    if (main)
        pare_gguf_put_string(entries, "tokenizer.chat_template", main->bytes, main->length);
    for (size_t i = 0; i < list->n; i++) {
        if (&list->items[i].text == main)
            continue;
        pare_piece key = spell(entries, list->items[i].name, arena, error);
        if (!key.bytes)
            return false;
        pare_gguf_put_string(entries, key.bytes, list->items[i].text.bytes, list->items[i].text.length);
        names[n++] = (pare_piece){key.bytes + before, key.length - before};
    }
    if (n > 0)
        pare_gguf_put_strings(entries, "tokenizer.chat_templates", names, n);
    return true;
}

json_t *pare_chat_json(pare_json_doc *doc, const pare_chat_templates *list) {
    const pare_piece *main = pare_chat_templates_default(list);
    if (list->n == 1 && main)
        return pare_json_text(doc, main->bytes, main->length);
    json_t *json = pare_json_array(doc);
    for (size_t i = 0; i < list->n; i++) {
        const pare_chat_named *item = &list->items[i];
        pare_json_append(doc, json,
                         pare_json_pack(doc, "{s:o, s:o}", "name", pare_json_text(doc, item->name.bytes, item->name.length), "template",
                                        pare_json_text(doc, item->text.bytes, item->text.length)));
    }
    return json;
}

/* ---- for the tokenizer, which renders messages ---- */

static const char *piece_text(const pare_tokenizer *tokenizer, int64_t id, pare_arena *arena, pare_error *error) {
    pare_piece piece = id >= 0 ? pare_tokenizer_piece(tokenizer, (uint32_t)id) : (pare_piece){0};
    return piece.length ? pare_arena_copy(arena, piece.bytes, piece.length, error) : NULL;
}

/* tokenizer_config.json's word for a special token, a text or an object; else the text of the configuration's id. */
static const char *token_text(const json_t *settings, const char *name, const pare_tokenizer *tokenizer, int64_t id, pare_arena *arena,
                              pare_error *error) {
    const json_t *token = json_object_get(settings, name);
    const char *text = json_string_value(json_is_object(token) ? json_object_get(token, "content") : token);
    return text ? text : piece_text(tokenizer, id, arena, error);
}

static json_t *read_settings(const pare_checkpoint *checkpoint, pare_arena *arena, pare_error *error) {
    char *path = pare_arena_format(arena, error, "%s/tokenizer_config.json", checkpoint->path);
    return path && checkpoint->format == PARE_FORMAT_HF && is_there(path) ? pare_json_read_lenient(path, NULL, error) : NULL;
}

bool pare_chat_attach(pare_tokenizer *tokenizer, const pare_checkpoint *checkpoint, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_chat_templates list;
    pare_error problem = {0};
    if (!arena)
        return false;
    bool read = pare_chat_templates_read(&list, checkpoint, arena, &problem), done = true;
    const pare_piece *main = read ? pare_chat_templates_default(&list) : NULL;
    json_t *settings = main ? read_settings(checkpoint, arena, &problem) : NULL;
    pare_chat_template chat = {0};
    if (main)
        chat = (pare_chat_template){.text = main->bytes,
                                    .length = main->length,
                                    .bos = token_text(settings, "bos_token", tokenizer, checkpoint->config.bos, arena, &problem),
                                    .eos = token_text(settings, "eos_token", tokenizer, checkpoint->config.eos, arena, &problem)};
    else if (problem.code != PARE_OK)
        chat.missing = problem.message;
    if (problem.code == PARE_ERROR_MEMORY)
        done = pare_fail(error, problem.code, "%s", problem.message);
    else if (chat.text || chat.missing)
        done = pare_tokenizer_set_chat(tokenizer, &chat, error);
    json_decref(settings);
    pare_arena_close(arena);
    return done;
}
