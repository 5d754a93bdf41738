/* chat_templates: a model's chat templates by name (chat_templates.c says where they stand). */
#ifndef PARE_MODEL_CHAT_TEMPLATES_H
#define PARE_MODEL_CHAT_TEMPLATES_H

#include "format/format.h"

enum { PARE_CHAT_TEMPLATES_MAX = 64 };
typedef struct {
    pare_piece name, text;
} pare_chat_named;
typedef struct {
    pare_chat_named items[PARE_CHAT_TEMPLATES_MAX];
    size_t n;
} pare_chat_templates;

/* Texts lie in the arena. */
bool pare_chat_templates_read(pare_chat_templates *list, const pare_checkpoint *checkpoint, pare_arena *arena,
                              pare_error *error) PARE_MUST_CHECK;
const pare_piece *pare_chat_templates_default(const pare_chat_templates *list); /* NULL: none */
/* The files of a folder's additional_chat_templates, "additional_chat_templates/NAME.jinja", by name; at most PARE_CHAT_TEMPLATES_MAX. */
bool pare_chat_files(const char **names, size_t *n, const char *folder, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* As tokenizer.chat_template, tokenizer.chat_template.NAME and the list of the names, tokenizer.chat_templates. */
bool pare_gguf_put_chat(pare_gguf_entries *entries, const pare_chat_templates *list, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
/* As chat_template of a tokenizer_config.json: a text, or a list of named ones; failures are kept in the document. */
json_t *pare_chat_json(pare_json_doc *doc, const pare_chat_templates *list);

/* Tells the tokenizer the checkpoint's default template; one that cannot be read is an error where messages are rendered. */
bool pare_chat_attach(pare_tokenizer *tokenizer, const pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;

#endif
