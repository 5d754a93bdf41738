/* chat: messages as the text that a model's chat template makes of them.
 *
 * A template is a program (Jinja). It is not run here: it is recognised by the expressions that write a message, which are compared letter
 * by letter, with the spaces between words, the kind of quotes and the way to name a field taken away. A template that writes messages in
 * another way is refused, so that no model learns from prompts that it will never be asked with. */
#include <ctype.h>
#include <string.h>

#include "text_file.h"

enum { SYSTEM, USER, ASSISTANT, ROLES };

/* What the template writes before and behind a message. "{bos}" and "{eos}" in `behind` are the tokens' texts. */
typedef struct {
    const char *name;
    const char *has[3];     /* expressions that are all in the template */
    const char *has_not[4]; /* none of these is: each makes another text of the same messages */
    const char *because;    /* why a template with one of them is refused */
    const char *before[ROLES], *behind[ROLES];
    enum { OWN_TURN, IN_FIRST_USER, NO_SYSTEM } system;
    bool trim, bos;             /* contents without white space around them; the text begins with the BOS token */
    bool alternates;            /* user and assistant take turns, or the template fails */
    const char *default_system; /* what stands before a system message that the template brings along itself; NULL: it brings none */
} form;

#define CHATML(end)                                                                                                                        \
    {                                                                                                                                      \
        .name = "ChatML", .has = {"'<|im_start|>'+message.role+'\\n'+message.content+" end},                                               \
        .has_not = {"strftime", "</think>", "message.content|", "bos_token"}, .because = "it changes what messages say, or adds the date", \
        .before = {"<|im_start|>system\n", "<|im_start|>user\n", "<|im_start|>assistant\n"},                                               \
        .behind = {"<|im_end|>\n", "<|im_end|>\n", "<|im_end|>\n"}, .default_system = "<|im_start|>system\\n"                              \
    }
static const form forms[] = {
    CHATML("'<|im_end|>'+'\\n'"),
    CHATML("'<|im_end|>\\n'"),
    CHATML("'<|im_end|>'}}\\n"),
    {.name = "Llama-3",
     .has = {"'<|start_header_id|>'+message.role+'<|end_header_id|>\\n\\n'+message.content|trim+'<|eot_id|>'", "bos_token"},
     .has_not = {"strftime", "Knowledge Date", "'<|start_header_id|>system"},
     .because = "it writes a date into the prompt",
     .before = {"<|start_header_id|>system<|end_header_id|>\n\n", "<|start_header_id|>user<|end_header_id|>\n\n",
                "<|start_header_id|>assistant<|end_header_id|>\n\n"},
     .behind = {"<|eot_id|>", "<|eot_id|>", "<|eot_id|>"},
     .trim = true,
     .bos = true},
    {.name = "Gemma",
     .has = {"'<start_of_turn>'+role+'\\n'+message.content|trim+'<end_of_turn>\\n'", "bos_token"},
     .before = {NULL, "<start_of_turn>user\n", "<start_of_turn>model\n"},
     .behind = {NULL, "<end_of_turn>\n", "<end_of_turn>\n"},
     .system = NO_SYSTEM,
     .trim = true,
     .bos = true,
     .alternates = true},
    {.name = "Gemma-3",
     .has = {"'<start_of_turn>'+role+'\\n'+(first_user_prefix if loop.first else '')", "message.content|trim", "'<end_of_turn>\\n'"},
     .before = {NULL, "<start_of_turn>user\n", "<start_of_turn>model\n"},
     .behind = {"\n\n", "<end_of_turn>\n", "<end_of_turn>\n"},
     .system = IN_FIRST_USER,
     .trim = true,
     .bos = true,
     .alternates = true},
    {.name = "Zephyr",
     .has = {"'<|user|>\\n'+message.content+eos_token}}\\n", "'<|system|>\\n'+message.content+eos_token}}\\n",
             "'<|assistant|>\\n'+message.content+eos_token}}\\n"},
     .before = {"<|system|>\n", "<|user|>\n", "<|assistant|>\n"},
     .behind = {"{eos}\n", "{eos}\n", "{eos}\n"}},
    {.name = "Mistral",
     .has = {"'[INST] '+message.content+' [/INST]'", "message.content+eos_token}}", "{{bos_token}}"},
     .has_not = {"' '+message.content+eos_token", "system_message", "eos_token}}\\n"},
     .because = "it treats the system message or spaces in a way of its own",
     .before = {NULL, "[INST] ", ""},
     .behind = {NULL, " [/INST]", "{eos}"},
     .system = NO_SYSTEM,
     .bos = true,
     .alternates = true},
    {.name = "Mistral with a space",
     .has = {"'[INST] '+message.content+' [/INST]'", "' '+message.content+eos_token}}", "{{bos_token}}"},
     .has_not = {"system_message", "eos_token}}\\n"},
     .because = "it treats the system message in a way of its own",
     .before = {NULL, "[INST] ", " "},
     .behind = {NULL, " [/INST]", "{eos}"},
     .system = NO_SYSTEM,
     .bos = true,
     .alternates = true},
};

typedef struct pare_chat {
    const form *form;
    const char *bos, *eos;
    pare_piece default_system; /* NULL bytes: none */
    const char *missing;       /* why there is no form */
} pare_chat;

/* ---- recognising -------------------------------------------------------------------------------- */

static bool is_name(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* A template on its way to one spelling. */
typedef struct {
    pare_string *out;
    const char *at, *end;
    char quote;  /* of the text that `at` is in, or 0 */
    bool in_tag; /* between {{ or {% and its end */
} speller;

static bool looking_at(const speller *s, const char *text) {
    size_t n = strlen(text);
    return (size_t)(s->end - s->at) >= n && memcmp(s->at, text, n) == 0;
}

/* Inside a text: single quotes, and line ends as \\n. */
static void spell_quoted(speller *s) {
    char c = *s->at++;
    if (c == '\n') {
        pare_string_push(s->out, "\\n", 2);
        return;
    }
    pare_string_push(s->out, c == s->quote ? "'" : &c, 1);
    if (c == '\\' && s->at < s->end)
        pare_string_push(s->out, s->at++, 1);
    else if (c == s->quote)
        s->quote = 0;
}

/* ['x'] and ["x"] become .x */
static bool spell_field(speller *s) {
    const char *name = s->at + 2, *stop = name;
    if (!looking_at(s, "['") && !looking_at(s, "[\""))
        return false;
    while (stop < s->end && is_name(*stop))
        stop++;
    if (s->end - stop < 2 || stop == name || *stop != s->at[1] || stop[1] != ']')
        return false;
    pare_string_push(s->out, ".", 1);
    pare_string_push(s->out, name, (size_t)(stop - name));
    s->at = stop + 2;
    return true;
}

/* White space: none but between two words of a tag, and the line end behind }} that is written out. */
static void spell_space(speller *s) {
    bool line = false;
    while (s->at < s->end && isspace((unsigned char)*s->at))
        line |= *s->at++ == '\n';
    char before = s->out->length ? s->out->data[s->out->length - 1] : ' ', behind = s->at < s->end ? *s->at : ' ';
    if (s->in_tag && (is_name(before) || before == '\'') && (is_name(behind) || strchr("'\"(", behind)))
        pare_string_push(s->out, " ", 1);
    else if (!s->in_tag && line && before == '}' && s->out->length > 1 && s->out->data[s->out->length - 2] == '}' &&
             !looking_at(s, "{%-") && !looking_at(s, "{{-"))
        pare_string_push(s->out, "\\n", 2);
}

/* The template in one spelling: quotes, fields and white space are always written alike. */
static void spell(pare_string *out, const char *text, size_t n) {
    speller s = {.out = out, .at = text, .end = text + n};
    while (s.at < s.end) {
        if (s.quote) {
            spell_quoted(&s);
        } else if (isspace((unsigned char)*s.at)) {
            spell_space(&s);
        } else if (!s.in_tag || !spell_field(&s)) {
            s.in_tag = (s.in_tag || looking_at(&s, "{{") || looking_at(&s, "{%")) && !looking_at(&s, "}}") && !looking_at(&s, "%}");
            s.quote = s.in_tag && (*s.at == '\'' || *s.at == '"') ? *s.at : 0;
            pare_string_push(out, s.quote ? "'" : s.at, 1);
            s.at++;
        }
    }
}

static bool has_all(const char *text, const form *f) {
    for (size_t i = 0; i < sizeof f->has / sizeof *f->has; i++)
        if (f->has[i] && !strstr(text, f->has[i]))
            return false;
    return true;
}

static bool has_none(const char *text, const form *f) {
    for (size_t i = 0; i < sizeof f->has_not / sizeof *f->has_not; i++)
        if (f->has_not[i] && strstr(text, f->has_not[i]))
            return false;
    return true;
}

/* The text of the system message that the template writes when there is none: a constant behind what begins a system message. */
static bool find_default(pare_chat *chat, const char *text, pare_arena *arena, pare_error *error) {
    const char *start = chat->form->default_system;
    size_t length = start ? strlen(start) : 0;
    for (const char *at = text; start && (at = strstr(at, start)); at++) {
        const char *content = at + length, *end = strstr(content, "<|im_end|>"), *quote = strchr(content, '\'');
        if (!end || (quote && quote < end) || end == content)
            continue;
        char *copy = pare_arena_copy(arena, content, (size_t)(end - content), error), *to = copy;
        if (!copy)
            return false;
        for (const char *from = copy; *from; from++) { /* the two escapes that such texts have */
            bool escape = from[0] == '\\' && from[1];
            from += escape;
            *to++ = (char)(escape && *from == 'n' ? '\n' : *from);
        }
        chat->default_system = (pare_piece){copy, (size_t)(to - copy)};
        return true;
    }
    return true;
}

static bool recognise(pare_chat *chat, const char *text, pare_arena *arena, pare_error *error) {
    const form *near = NULL;
    for (size_t i = 0; i < sizeof forms / sizeof *forms && !chat->form; i++) {
        if (!has_all(text, &forms[i]))
            continue;
        near = near ? near : &forms[i];
        chat->form = has_none(text, &forms[i]) ? &forms[i] : NULL;
    }
    if (chat->form)
        return find_default(chat, text, arena, error);
    chat->missing =
        near ? pare_arena_format(arena, error, "the model's chat template looks like %s, but %s", near->name, near->because)
             : pare_arena_format(arena, error, "the model's chat template is none of ChatML, Llama-3, Gemma, Zephyr and Mistral");
    return chat->missing != NULL;
}

bool pare_tokenizer_set_chat(pare_tokenizer *tokenizer, const pare_chat_template *given, pare_error *error) {
    pare_arena *arena = tokenizer->arena;
    pare_chat *chat = PARE_PUSH(arena, pare_chat, 1, error);
    if (!chat || (given->bos && !(chat->bos = pare_arena_copy(arena, given->bos, strlen(given->bos), error))) ||
        (given->eos && !(chat->eos = pare_arena_copy(arena, given->eos, strlen(given->eos), error))))
        return false;
    if (!given->text) {
        chat->missing = pare_arena_format(arena, error, "the model's chat template cannot be read: %s", given->missing);
        tokenizer->chat = chat;
        return chat->missing != NULL;
    }
    pare_string text = {0};
    spell(&text, given->text, given->length);
    bool done = pare_string_check(&text, error) && recognise(chat, text.data ? text.data : "", arena, error);
    pare_string_free(&text);
    if (done)
        tokenizer->chat = chat;
    return done;
}

bool pare_chat_identity(pare_string *out, const pare_tokenizer *tokenizer) {
    const pare_chat *chat = tokenizer->chat;
    if (!chat || !chat->form)
        return false;
    pare_string_print(out, "%s %s %s ", chat->form->name, chat->bos ? chat->bos : "", chat->eos ? chat->eos : "");
    pare_string_push(out, chat->default_system.bytes, chat->default_system.length);
    return true;
}

/* ---- rendering ---------------------------------------------------------------------------------- */

/* The text that was pushed since the last stretch becomes one, or goes on with it. */
static bool end_stretch(pare_chat_text *out, size_t from, bool learned, bool apart, pare_error *error) {
    size_t length = out->text.length - from;
    if (length == 0)
        return true;
    if (!apart && out->n > 0 && out->stretches[out->n - 1].learned == learned) {
        out->stretches[out->n - 1].length += length;
        return true;
    }
    if (!pare_grow((void **)&out->stretches, &out->capacity, out->n + 1, sizeof *out->stretches, error))
        return false;
    out->stretches[out->n++] = (pare_stretch){length, learned};
    return true;
}

/* "{eos}" and its newline. */
static void push_marker(pare_string *out, const pare_chat *chat, const char *text) {
    bool eos = strncmp(text, "{eos}", 5) == 0;
    if (eos)
        pare_string_print(out, "%s", chat->eos);
    pare_string_print(out, "%s", text + (eos ? 5 : 0));
}

/* As Python's strip(), which Jinja's trim is. */
static pare_piece trim(pare_piece text) {
    while (text.length > 0 && (pare_unicode_class(pare_utf8_decode((const uint8_t *)text.bytes)) & PARE_CHAR_SPACE)) {
        size_t n = pare_utf8_length((uint8_t)*text.bytes);
        text = (pare_piece){text.bytes + n, text.length - n};
    }
    for (;;) {
        size_t at = text.length;
        while (at > 0 && ((uint8_t)text.bytes[--at] & 0xC0) == 0x80)
            ;
        if (text.length == 0 || !(pare_unicode_class(pare_utf8_decode((const uint8_t *)text.bytes + at)) & PARE_CHAR_SPACE))
            return text;
        text.length = at;
    }
}

/* role and content, or from and value as ShareGPT has them. */
static bool read_message(int *role, pare_piece *content, const json_t *message, const char *what, pare_error *error) {
    static const struct {
        const char *name;
        int role;
    } names[] = {{"system", SYSTEM}, {"user", USER}, {"human", USER}, {"assistant", ASSISTANT}, {"gpt", ASSISTANT}};
    const json_t *name = json_object_get(message, "role"), *text = json_object_get(message, "content");
    if (!name && !text) {
        name = json_object_get(message, "from");
        text = json_object_get(message, "value");
    }
    if (!json_is_string(name) || !json_is_string(text))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: a message without the strings \"role\" and \"content\"", what);
    if (json_is_array(json_object_get(message, "tool_calls")))
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: a message calls tools, which pare cannot render", what);
    *content = (pare_piece){json_string_value(text), json_string_length(text)};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(json_string_value(name), names[i].name) == 0) {
            *role = names[i].role;
            return true;
        }
    return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: a message of the role \"%.40s\"; pare renders system, user and assistant", what,
                     json_string_value(name));
}

typedef struct {
    pare_chat_text *out;
    const pare_chat *chat;
    const char *what;
    pare_piece system; /* waits for the first user's message */
    bool started;
    size_t n_turns; /* without system messages */
    pare_error *error;
} renderer;

/* A form without a system role of its own, or whose turns must alternate, refuses what its template refuses. */
static bool put_message(renderer *r, int role, pare_piece content) {
    const form *f = r->chat->form;
    pare_string *text = &r->out->text;
    if (role == SYSTEM && (f->system == NO_SYSTEM || (f->system == IN_FIRST_USER && r->started)))
        return pare_fail(r->error, PARE_ERROR_UNSUPPORTED, "%s: the model's chat template (%s) has no system message%s", r->what, f->name,
                         f->system == NO_SYSTEM ? "" : " but at the start");
    if (f->alternates && role != SYSTEM && (role == USER) != (r->n_turns++ % 2 == 0))
        return pare_fail(r->error, PARE_ERROR_FORMAT,
                         "%s: with the model's chat template (%s) user and assistant take turns, the user first", r->what, f->name);
    r->started = true;
    if (f->trim && !(role == SYSTEM && f->system == IN_FIRST_USER))
        content = trim(content);
    if (role == SYSTEM && f->system == IN_FIRST_USER) {
        r->system = content;
        return true;
    }
    size_t from = text->length;
    pare_string_print(text, "%s", f->before[role]);
    if (r->system.bytes) {
        pare_string_push(text, r->system.bytes, r->system.length);
        pare_string_print(text, "%s", f->behind[SYSTEM]);
        r->system = (pare_piece){0};
    }
    if (!end_stretch(r->out, from, false, false, r->error))
        return false;
    from = text->length;
    pare_string_push(text, content.bytes, content.length);
    push_marker(text, r->chat, f->behind[role]);
    return end_stretch(r->out, from, role == ASSISTANT, false, r->error);
}

/* BOS is the tokenizer's own affair where it puts one itself; a template's stands for the same token. */
static bool begin(renderer *r, const pare_tokenizer *tokenizer, int first_role) {
    const pare_chat *chat = r->chat;
    if (chat->form->bos && tokenizer->n_prefix == 0 && chat->bos) {
        pare_string_print(&r->out->text, "%s", chat->bos);
        if (!end_stretch(r->out, 0, false, false, r->error))
            return false;
    }
    return !chat->default_system.bytes || first_role == SYSTEM || put_message(r, SYSTEM, chat->default_system);
}

static bool find_form(const pare_chat **chat, const pare_tokenizer *tokenizer, const char *what, pare_error *error) {
    *chat = tokenizer->chat;
    if (!*chat)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: it holds messages, and the model has no chat template to make text of them; rows with \"text\", or with "
                         "\"prompt\" and \"response\", need none",
                         what);
    if (!(*chat)->form)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: it holds messages, but %s; render them with transformers' apply_chat_template to rows with \"text\"", what,
                         (*chat)->missing);
    for (int role = 0; role < ROLES; role++)
        if ((*chat)->form->behind[role] && strncmp((*chat)->form->behind[role], "{eos}", 5) == 0 && !(*chat)->eos)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: the model's chat template ends messages with its eos_token, and it names none",
                             what);
    return true;
}

static bool render_contents(pare_chat_text *out, const json_t *messages, const char *what, pare_error *error) {
    size_t i;
    const json_t *message;
    json_array_foreach(messages, i, message) {
        int role;
        pare_piece content;
        size_t from = out->text.length;
        if (!read_message(&role, &content, message, what, error))
            return false;
        pare_string_push(&out->text, content.bytes, content.length);
        if (!end_stretch(out, from, false, true, error))
            return false;
    }
    return pare_string_check(&out->text, error);
}

bool pare_chat_render(pare_chat_text *out, const pare_tokenizer *tokenizer, const json_t *messages, const char *what, pare_error *error) {
    out->text.length = out->n = 0;
    if (!tokenizer)
        return render_contents(out, messages, what, error);
    renderer r = {.out = out, .what = what, .error = error};
    int role;
    pare_piece content;
    if (!find_form(&r.chat, tokenizer, what, error))
        return false;
    size_t i;
    const json_t *message;
    json_array_foreach(messages, i, message) {
        if (!read_message(&role, &content, message, what, error) || (i == 0 && !begin(&r, tokenizer, role)) ||
            !put_message(&r, role, content))
            return false;
    }
    return pare_string_check(&out->text, error);
}

void pare_chat_text_free(pare_chat_text *out) {
    pare_string_free(&out->text);
    pare_free(out->stretches);
    *out = (pare_chat_text){0};
}

/* "<|im_end|>" of "<|im_end|>\n" */
static const char *end_of_turn(const pare_chat *chat, pare_arena *arena, pare_error *error) {
    const char *behind = chat->form->behind[ASSISTANT];
    return strncmp(behind, "{eos}", 5) == 0 ? chat->eos : pare_arena_copy(arena, behind, strcspn(behind, "\n"), error);
}

bool pare_chat_prompt(pare_string *out, const char **end, const pare_tokenizer *tokenizer, const char *message, size_t n, const char *what,
                      pare_error *error) {
    pare_chat_text text = {0};
    renderer r = {.out = &text, .what = what, .error = error};
    if (!tokenizer->chat)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: the model has no chat template; without --chat it continues the text as it is",
                         what);
    if (!tokenizer->chat->form)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: %s; write the prompt as the model expects it, and leave out --chat", what,
                         tokenizer->chat->missing);
    bool done = find_form(&r.chat, tokenizer, what, error) && begin(&r, tokenizer, USER) &&
                put_message(&r, USER, (pare_piece){message, n}) && (*end = end_of_turn(r.chat, tokenizer->arena, error)) &&
                pare_string_check(&text.text, error);
    if (done) {
        const char *before = r.chat->form->before[ASSISTANT];
        pare_string_push(out, text.text.data, text.text.length);
        pare_string_print(out, "%s", strcmp(before, " ") == 0 ? "" : before); /* Mistral's space belongs to the answer */
        done = pare_string_check(out, error);
    }
    pare_chat_text_free(&text);
    return done;
}
