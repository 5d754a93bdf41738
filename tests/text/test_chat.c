/* Messages by chat templates: the forms that are known, as transformers' apply_chat_template renders them (the expected texts follow from
 * the templates, which are written here as models carry them); what is learned of a conversation; templates that are refused. */
#include "dataset_test.h"
#include "pare/json.h"

#define CHATML                                                                                                                             \
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"      \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
/* other quotes, fields by a dot, the line end behind the expression, white space that is taken away */
#define CHATML_OTHERWISE                                                                                                                   \
    "{%- for message in messages -%}\n  {{ \"<|im_start|>\" + message.role + \"\\n\" + message.content + \"<|im_end|>\\n\" }}\n{%- "       \
    "endfor -%}"
#define CHATML_BEHIND                                                                                                                      \
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}}\n{% endfor %}"
#define CHATML_DEFAULT                                                                                                                     \
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}" \
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
#define LLAMA3                                                                                                                             \
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + "      \
    "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content "   \
    "%}{% endif %}{{ content }}{% endfor %}"
#define GEMMA                                                                                                                              \
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message "  \
    "in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif "   \
    "%}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
#define ZEPHYR                                                                                                                             \
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif "     \
    "message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n"   \
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% endfor %}"
#define MISTRAL(space)                                                                                                                     \
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"      \
    "{% elif message['role'] == 'assistant' %}{{ " space "message['content'] + eos_token}}{% else %}{{ raise_exception('Only user and "    \
    "assistant roles are supported!') }}{% endif %}{% endfor %}"

static pare_tokenizer *with_template(const char *template) {
    pare_error error = {0};
    pare_tokenizer *tokenizer = open_fixture("gpt2"); /* puts no BOS itself */
    const pare_chat_template chat = {.text = template, .length = strlen(template), .bos = "<s>", .eos = "</s>"};
    assert_done(pare_tokenizer_set_chat(tokenizer, &chat, &error), error);
    return tokenizer;
}

/* The rendered text, with what is learned in brackets that no text here has: ⟦…⟧. */
static bool render(pare_string *out, const pare_tokenizer *tokenizer, const char *messages, pare_error *error) {
    json_t *json = json_loads(messages, 0, NULL);
    assert_non_null(json);
    pare_chat_text text = {0};
    bool done = pare_chat_render(&text, tokenizer, json, "t.jsonl: line 1", error);
    const char *at = text.text.data;
    for (size_t i = 0; done && i < text.n; at += text.stretches[i++].length)
        pare_string_print(out, text.stretches[i].learned ? "\xE2\x9F\xA6%.*s\xE2\x9F\xA7" : "%.*s", (int)text.stretches[i].length, at);
    pare_chat_text_free(&text);
    json_decref(json);
    return done;
}

#define USER "{\"role\": \"user\", \"content\": \" a \"}"
#define ASSISTANT "{\"role\": \"assistant\", \"content\": \"b\"}"
#define SYSTEM "{\"role\": \"system\", \"content\": \"s\"}"
#define L "\xE2\x9F\xA6"
#define R "\xE2\x9F\xA7"

static void known_forms(void **state) {
    (void)state;
    static const struct {
        const char *template, *messages, *wanted;
    } cases[] = {
        {CHATML, "[" USER "," ASSISTANT "," USER "]",
         "<|im_start|>user\n a <|im_end|>\n<|im_start|>assistant\n" L "b<|im_end|>\n" R "<|im_start|>user\n a <|im_end|>\n"},
        {CHATML, "[" SYSTEM "," USER "]", "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n a <|im_end|>\n"},
        {CHATML_OTHERWISE, "[" USER "," ASSISTANT "]", "<|im_start|>user\n a <|im_end|>\n<|im_start|>assistant\n" L "b<|im_end|>\n" R},
        {CHATML_BEHIND, "[" USER "," ASSISTANT "]", "<|im_start|>user\n a <|im_end|>\n<|im_start|>assistant\n" L "b<|im_end|>\n" R},
        {CHATML_DEFAULT, "[" USER "]", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n a <|im_end|>\n"},
        {CHATML_DEFAULT, "[" SYSTEM "," USER "]", "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\n a <|im_end|>\n"},
        {LLAMA3, "[" SYSTEM "," USER "," ASSISTANT "]",
         "<s><|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n" L "b<|eot_id|>" R},
        {GEMMA, "[" USER "," ASSISTANT "]", "<s><start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\n" L "b<end_of_turn>\n" R},
        {ZEPHYR, "[" SYSTEM "," USER "," ASSISTANT "]", "<|system|>\ns</s>\n<|user|>\n a </s>\n<|assistant|>\n" L "b</s>\n" R},
        {MISTRAL(""), "[" USER "," ASSISTANT "]", "<s>[INST]  a  [/INST]" L "b</s>" R},
        {MISTRAL("' ' + "), "[" USER "," ASSISTANT "]", "<s>[INST]  a  [/INST] " L "b</s>" R},
        {CHATML, "[{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]",
         "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n" L "b<|im_end|>\n" R},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_tokenizer *tokenizer = with_template(cases[i].template);
        pare_string text = {0};
        pare_error error = {0};
        assert_done(render(&text, tokenizer, cases[i].messages, &error), error);
        if (strcmp(text.data, cases[i].wanted) != 0)
            fail_msg("case %zu: «%s»", i, text.data);
        pare_string_free(&text);
        pare_tokenizer_close(tokenizer);
    }
}

static void what_cannot_be_rendered_is_told(void **state) {
    (void)state;
    static const struct {
        const char *template, *messages, *part;
    } cases[] = {
        {"{% for m in messages %}{{ m.content }}{% endfor %}", "[" USER "]", "none of ChatML"},
        {"{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}}{% endfor %}",
         "[" USER "]", "none of ChatML"},
        {CHATML "{{ strftime_now('%d') }}", "[" USER "]", "looks like ChatML"},
        {LLAMA3 "{{ 'Cutting Knowledge Date: December 2023' }}", "[" USER "]", "writes a date"},
        {GEMMA, "[" SYSTEM "," USER "]", "no system message"},
        {GEMMA, "[" USER "," USER "]", "take turns"},
        {MISTRAL(""), "[" ASSISTANT "]", "take turns"},
        {CHATML, "[{\"role\": \"tool\", \"content\": \"x\"}]", "the role \"tool\""},
        {CHATML, "[{\"role\": \"assistant\", \"content\": \"x\", \"tool_calls\": [{}]}]", "calls tools"},
        {CHATML, "[{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}]", "without the strings"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_tokenizer *tokenizer = with_template(cases[i].template);
        pare_string text = {0};
        pare_error error = {0};
        bool done = render(&text, tokenizer, cases[i].messages, &error);
        if (done || !strstr(error.message, cases[i].part) || !strstr(error.message, "t.jsonl: line 1"))
            fail_msg("case %zu: %s", i, error.message);
        pare_string_free(&text);
        pare_tokenizer_close(tokenizer);
    }
    pare_error error = {0};
    pare_string text = {0};
    pare_tokenizer *none = open_fixture("gpt2");
    assert_false(render(&text, none, "[" USER "]", &error));
    assert_non_null(strstr(error.message, "no chat template"));
    pare_tokenizer_close(none);
}

/* Two conversations of two turns: what is learned, and that a conversation is one document. */
static void conversations_in_a_dataset(void **state) {
    (void)state;
    static const char row[] = "{\"messages\": [" USER "," ASSISTANT "," USER "," ASSISTANT "]}\n";
    pare_string lines = {0}, learned = {0}, read = {0};
    for (int i = 0; i < 2; i++)
        pare_string_print(&lines, "%s", row);
    char *folder = test_folder();
    pare_tokenizer *tokenizer = with_template(CHATML);
    const char *paths[] = {write_file(folder, "t.jsonl", lines.data, lines.length)};
    pare_dataset_options options = {.paths = paths, .n_paths = 1, .length = 4, .separator = -1, .order = PARE_ORDER_GIVEN};
    pare_dataset *dataset = open_dataset(&options, tokenizer);
    assert_int_equal(pare_dataset_facts_of(dataset)->training.documents, 2);
    options.length = pare_dataset_facts_of(dataset)->training.tokens; /* one window is all of it */
    pare_dataset_close(dataset);
    dataset = open_dataset(&options, tokenizer);
    uint32_t *ids = calloc(options.length, sizeof *ids);
    uint8_t *learn = calloc(options.length, 1);
    pare_error error = {0};
    assert_done(pare_dataset_window(ids, learn, dataset, 0, 0, &error), error);
    for (size_t t = 0; t < options.length; t++) {
        pare_piece piece = pare_tokenizer_piece(tokenizer, ids[t]);
        pare_string_push(learn[t] ? &learned : &read, piece.bytes, piece.length);
    }
    const char *user = "<|im_start|>user\n a <|im_end|>\n<|im_start|>assistant\n", *answer = "b<|im_end|>\n";
    pare_string users = {0}, answers = {0};
    for (int i = 0; i < 4; i++) {
        pare_string_print(&users, "%s", user);
        pare_string_print(&answers, "%s", answer);
    }
    assert_string_equal(read.data, users.data);
    assert_string_equal(learned.data, answers.data);
    free(ids);
    free(learn);
    pare_string_free(&read);
    pare_string_free(&users);
    pare_string_free(&answers);
    pare_dataset_close(dataset);
    options.held_out = 0.5; /* the two are alike: they cannot be apart */
    assert_fails(pare_dataset_open(&options, tokenizer, NULL, &error), error, PARE_ERROR_RANGE, "all alike");
    pare_string_free(&lines);
    pare_string_free(&learned);
    pare_tokenizer_close(tokenizer);
    remove_all(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_forms),
        cmocka_unit_test(what_cannot_be_rendered_is_told),
        cmocka_unit_test(conversations_in_a_dataset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
