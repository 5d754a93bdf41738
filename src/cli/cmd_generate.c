/* pare generate: text out of a model, streamed as it comes; with --beside the same prompt through a second model, in two columns. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "model.h"
#include "pare/corpus.h"
#include "pare/generate.h"

typedef struct {
    const char *prompt, *prompt_file, *beside;
    uint32_t tokens;
    double temperature, top_p;
    uint64_t seed;
    bool chat;
} generate_options;

/* One model's answer. */
typedef struct {
    const char *path;
    pare_checkpoint *checkpoint;
    pare_model *model;
    pare_tokens prompt, answer;
    pare_string text;
    size_t printed; /* bytes of the text that are on the screen */
    bool stream;
    pare_piece lead; /* the prompt, which is printed before the first token: a command that fails has printed nothing */
    pare_generate_result result;
} speaker;

/* Bytes of a text that end with a whole character: a token may end within one. */
static size_t whole_characters(const pare_string *text) {
    size_t n = text->length, start = n;
    while (start > 0 && n - start < 4 && ((uint8_t)text->data[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return n;
    uint8_t lead = (uint8_t)text->data[start - 1];
    size_t wanted = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1, have = n - start + 1;
    return have < wanted ? start - 1 : n;
}

static void show(speaker *s, size_t end) {
    if (!s->stream)
        return;
    if (s->lead.length)
        fwrite(s->lead.bytes, 1, s->lead.length, stdout);
    s->lead.length = 0;
    if (end <= s->printed)
        return;
    fwrite(s->text.data + s->printed, 1, end - s->printed, stdout);
    fflush(stdout);
    s->printed = end;
}

static bool take_token(void *user, uint32_t id, pare_error *error) {
    speaker *s = user;
    pare_piece piece = pare_tokenizer_piece(s->checkpoint->tokenizer, id);
    if (!pare_grow((void **)&s->answer.ids, &s->answer.capacity, s->answer.n + 1, sizeof *s->answer.ids, error))
        return false;
    s->answer.ids[s->answer.n++] = id;
    pare_string_push(&s->text, piece.bytes, piece.length);
    if (!pare_string_check(&s->text, error))
        return false;
    show(s, whole_characters(&s->text));
    return true;
}

/* The prompt's ids. *end: the id that ends an answer, or left alone. */
static bool encode(speaker *s, uint32_t *end, bool *has_end, const char *prompt, size_t n, bool chat, pare_error *error) {
    const pare_tokenizer *tokenizer = s->checkpoint->tokenizer;
    if (!chat)
        return pare_tokenizer_encode(&s->prompt, tokenizer, prompt, n, PARE_ENCODE_TEMPLATE, error);
    pare_string text = {0};
    pare_tokens ids = {0};
    const char *stop;
    bool done = pare_chat_prompt(&text, &stop, tokenizer, prompt, n, s->path, error) &&
                pare_tokenizer_encode(&s->prompt, tokenizer, text.data, text.length, PARE_ENCODE_TEMPLATE, error) &&
                pare_tokenizer_encode(&ids, tokenizer, stop, strlen(stop), 0, error);
    *has_end = done && ids.n == 1;
    if (*has_end)
        *end = ids.ids[0];
    pare_tokens_free(&ids);
    pare_string_free(&text);
    return done;
}

static bool speaker_open(speaker *s, const char *path, const common *shared, pare_error *error) {
    *s = (speaker){.path = path, .checkpoint = open_model(path, shared, error)};
    return s->checkpoint && pare_checkpoint_tokenizer(s->checkpoint, error) && (s->model = pare_model_open(s->checkpoint, NULL, error));
}

static void speaker_close(speaker *s) {
    pare_string_free(&s->text);
    pare_tokens_free(&s->prompt);
    pare_tokens_free(&s->answer);
    pare_model_close(s->model);
    pare_checkpoint_close(s->checkpoint);
}

static bool speak(speaker *s, const generate_options *given, const char *prompt, size_t n, const common *shared, pare_error *error) {
    uint32_t stops[2];
    size_t n_stops = 0;
    bool has_end = false;
    if (!encode(s, &stops[0], &has_end, prompt, n, given->chat, error))
        return false;
    n_stops = has_end;
    if (s->checkpoint->config.eos >= 0)
        stops[n_stops++] = (uint32_t)s->checkpoint->config.eos;
    pare_generate_options options = {.tokens = given->tokens,
                                     .temperature = given->temperature,
                                     .top_p = given->top_p,
                                     .seed = given->seed,
                                     .stops = stops,
                                     .n_stops = n_stops};
    if (!pare_generate_run(&s->result, s->model, s->prompt.ids, s->prompt.n, &options, take_token, s, &shared->context, error)) {
        pare_checkpoint_blame(s->checkpoint, &shared->context, error);
        return false;
    }
    show(s, s->text.length);
    return true;
}

/* ---- two columns ---- */

enum { COLUMN = 58, CHARACTER_BYTES = 4 };

/* The next line of at most COLUMN characters, broken at a space where there is one; returns its bytes and passes what ends it. */
static size_t next_line(size_t *columns, const char **at, const char *end) {
    const char *start = *at, *p = start, *space = NULL;
    size_t n = 0, at_space = 0;
    for (; p < end && *p != '\n' && n < COLUMN; n++) {
        if (*p == ' ')
            space = p, at_space = n;
        for (p++; p < end && ((uint8_t)*p & 0xC0) == 0x80; p++)
            ;
    }
    bool broken = p < end && *p != '\n' && space && *p != ' ';
    *columns = broken ? at_space : n;
    const char *stop = broken ? space : p;
    *at = stop < end && (*stop == ' ' || *stop == '\n') ? stop + 1 : stop;
    return (size_t)(stop - start);
}

static void print_columns(const speaker *left, const speaker *right) {
    const char *a = left->text.data ? left->text.data : "", *b = right->text.data ? right->text.data : "";
    const char *a_end = a + left->text.length, *b_end = b + right->text.length;
    printf("%-*.*s | %.*s\n", COLUMN, COLUMN, left->path, COLUMN, right->path);
    for (int i = 0; i < 2 * COLUMN + 3; i++)
        putchar(i == COLUMN + 1 ? '+' : '-');
    putchar('\n');
    while (a < a_end || b < b_end) {
        size_t columns = 0, others;
        const char *from = a;
        size_t n = a < a_end ? next_line(&columns, &a, a_end) : 0;
        printf("%.*s%*s | ", (int)n, from, (int)(COLUMN - columns), "");
        from = b;
        n = b < b_end ? next_line(&others, &b, b_end) : 0;
        printf("%.*s\n", (int)n, from);
    }
}

static size_t first_difference(const speaker *a, const speaker *b) {
    size_t n = 0;
    while (n < a->answer.n && n < b->answer.n && a->answer.ids[n] == b->answer.ids[n])
        n++;
    return n;
}

/* ---- results ---- */

static double rate(size_t tokens, double seconds) {
    return seconds > 0 ? (double)tokens / seconds : 0;
}

static json_t *to_json(pare_json_doc *doc, const speaker *s) {
    json_t *ids = pare_json_array(doc), *json = pare_json_object(doc);
    for (size_t i = 0; i < s->answer.n; i++)
        pare_json_append(doc, ids, pare_json_integer(doc, s->answer.ids[i]));
    pare_json_set(doc, json, "model", pare_json_string(doc, s->path));
    pare_json_set(doc, json, "text", pare_json_mended(doc, s->text.data, s->text.length));
    pare_json_set(doc, json, "ids", ids);
    pare_json_set(doc, json, "prompt_tokens", pare_json_integer(doc, (json_int_t)s->result.prompt));
    pare_json_set(doc, json, "stopped", json_boolean(s->result.stopped));
    pare_json_set(doc, json, "prompt_s", pare_json_number(doc, s->result.prompt_s));
    pare_json_set(doc, json, "tokens_per_s",
                  pare_json_number(doc, rate(s->result.generated ? s->result.generated - 1 : 0, s->result.generate_s)));
    return json;
}

static void tell_speed(const common *shared, const speaker *s) {
    say(shared, "%s: prompt of %zu tokens in %.2f s; %zu tokens generated, %.1f tokens/s%s", s->path, s->result.prompt, s->result.prompt_s,
        s->result.generated, rate(s->result.generated ? s->result.generated - 1 : 0, s->result.generate_s),
        s->result.stopped ? "; the model ended the text" : "");
}

static bool answer(speaker *first, speaker *second, const generate_options *given, const char *prompt, size_t n, const common *shared,
                   pare_error *error) {
    pare_json_doc doc = {0};
    first->stream = !shared->json && !second;
    if (first->stream && !given->chat)
        first->lead = (pare_piece){prompt, n};
    if (!speak(first, given, prompt, n, shared, error) || (second && !speak(second, given, prompt, n, shared, error)))
        return false;
    if (shared->json) {
        json_t *json = to_json(&doc, first);
        if (second)
            pare_json_set(&doc, json, "beside", to_json(&doc, second));
        return print_json(json, &doc, error);
    }
    if (second)
        print_columns(first, second);
    else
        putchar('\n');
    tell_speed(shared, first);
    if (second) {
        size_t same = first_difference(first, second);
        tell_speed(shared, second);
        say(shared, "The first %zu of %zu and %zu tokens are the same.", same, first->answer.n, second->answer.n);
    }
    return true;
}

static bool generate_from(const char *path, const generate_options *given, const char *prompt, size_t n, const common *shared,
                          pare_error *error) {
    speaker first, second = {0};
    bool done = speaker_open(&first, path, shared, error) && (!given->beside || speaker_open(&second, given->beside, shared, error)) &&
                answer(&first, given->beside ? &second : NULL, given, prompt, n, shared, error);
    speaker_close(&first);
    speaker_close(&second);
    return done;
}

static bool generate(const char *path, const generate_options *given, const common *shared, pare_error *error) {
    if (!given->prompt == !given->prompt_file)
        return pare_fail(error, PARE_ERROR_USAGE, "give the prompt once: -p \"TEXT\", or --prompt-file FILE");
    if (given->prompt)
        return generate_from(path, given, given->prompt, strlen(given->prompt), shared, error);
    pare_corpus text;
    if (!pare_corpus_open(&text, given->prompt_file, NULL, &shared->context, error))
        return false;
    bool done = generate_from(path, given, text.bytes, text.length, shared, error);
    pare_corpus_close(&text);
    return done;
}

bool cmd_generate(int argc, char **argv, pare_error *error) {
    generate_options given = {.tokens = 128, .top_p = 1};
    const option options[] = {
        {"prompt", 'p', OPTION_STRING, "TEXT", "the text that the model continues", &given.prompt},
        {"prompt-file", 0, OPTION_STRING, "FILE", "the same, read from a file", &given.prompt_file},
        {"tokens", 'n', OPTION_COUNT, "N", "the most tokens to generate (128)", &given.tokens},
        {"temperature", 0, OPTION_NUMBER, "T",
         "0 takes the likeliest token each time (the default); 1 draws from the model's probabilities", &given.temperature},
        {"top-p", 0, OPTION_NUMBER, "P", "draw only from the likeliest tokens whose probabilities add up to P (1: from all)", &given.top_p},
        {"seed", 0, OPTION_SEED, "N", "the seed of the draws (0); the same seed gives the same text", &given.seed},
        {"chat", 0, OPTION_FLAG, NULL, "the prompt is a user's message: apply the model's chat template", &given.chat},
        {"beside", 0, OPTION_STRING, "MODEL", "a second model for the same prompt; the two texts are printed in two columns",
         &given.beside},
        {0},
    };
    const command_face face = {
        .name = "generate",
        .usage = "MODEL -p TEXT [--tokens N] [--temperature T --top-p P --seed N] [--chat] [--beside MODEL]",
        .about = "Generates text, and prints it as it comes. It shows a person what compression did to a model.\n"
                 "The text ends after --tokens tokens, or where the model ends it.",
        .example = "  pare generate demo/model.gguf -p \"The capital of France is\" --tokens 32\n"
                   "  pare generate demo/model.gguf -p \"The capital of France is\" --tokens 32 --beside models/pare-llama-1.31M",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && generate(arguments[0], &given, &shared, error));
}
