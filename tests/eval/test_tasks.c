/* Tasks against lm-evaluation-harness itself on documents of our own (fixtures by tools/fixtures/tasks_reference.py): contexts,
 * continuations and token ids byte for byte, outcomes and metrics; task files and documents that are wrong; tasks out of any text. */
#include <math.h>

#include "choice/template.h"
#include "pare/task.h"
#include "test.h"

#define DATA PARE_FIXTURES "/tasks"
#define MODEL PARE_SOURCE_DIR "/tests/model/fixtures/qwen2"

enum { POSITIONS = 512 };

/* ---- against the harness ---- */

static pare_tokenizer *open_tokenizer(bool with_bos) {
    static const char none[] = "\"post_processor\": null";
    static const char template[] =
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<|begin|>\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [], \"special_tokens\": {\"<|begin|>\": {\"id\": \"<|begin|>\", "
        "\"ids\": [0], \"tokens\": [\"<|begin|>\"]}}}";
    pare_error error = {0};
    pare_map map;
    pare_string text = {0};
    assert_done(pare_map_open(&map, MODEL "/tokenizer.json", &error), error);
    pare_string_push(&text, (const char *)map.data, map.size);
    const char *found = strstr(text.data, none);
    assert_non_null(found);
    pare_string changed = {0};
    pare_string_push(&changed, text.data, (size_t)(found - text.data));
    pare_string_print(&changed, "%s%s", with_bos ? template : none, found + strlen(none));
    pare_tokenizer *tokenizer = pare_tokenizer_open_json(changed.data, changed.length, "tokenizer", &error);
    assert_done(tokenizer, error);
    pare_string_free(&changed);
    pare_string_free(&text);
    pare_map_close(&map);
    return tokenizer;
}

static void same_text(pare_piece got, const json_t *wanted, const char *task, size_t i) {
    if (got.length != json_string_length(wanted) || memcmp(got.bytes, json_string_value(wanted), got.length) != 0)
        fail_msg("%s %zu: \"%.*s\", the harness says \"%s\"", task, i, (int)got.length, got.bytes, json_string_value(wanted));
}

/* The last POSITIONS + 1 tokens of the harness's. */
static void same_tokens(const pare_request *got, const json_t *wanted, const char *task, size_t i) {
    const json_t *ids = json_object_get(wanted, "ids");
    size_t n = json_array_size(ids), cut = n > POSITIONS + 1 ? n - POSITIONS - 1 : 0;
    if (got->n != n - cut || (json_int_t)(got->n_context + cut) != json_integer_value(json_object_get(wanted, "n_context")))
        fail_msg("%s %zu: %u tokens, %u of context; the harness has %zu less %zu", task, i, got->n, got->n_context, n, cut);
    for (size_t t = 0; t < got->n; t++)
        assert_int_equal(got->ids[t], json_integer_value(json_array_get(ids, cut + t)));
}

static void check_item(pare_choice *choice, size_t i, const json_t *wanted) {
    const pare_item *item = &choice->items->items[i];
    const char *task = choice->items->task->name;
    const json_t *requests = json_object_get(wanted, "requests");
    assert_int_equal(item->index, json_integer_value(json_object_get(wanted, "index")));
    assert_int_equal(item->n, json_array_size(requests));
    for (uint32_t k = 0; k < item->n; k++) {
        const json_t *request = json_array_get(requests, k);
        size_t r = (i ? choice->ends[i - 1] : 0) + k;
        same_text(item->requests[k].context, json_object_get(request, "context"), task, i);
        same_text(item->requests[k].continuation, json_object_get(request, "continuation"), task, i);
        same_tokens(&choice->requests[r], request, task, i);
        choice->scores[r] =
            (pare_score){json_number_value(json_object_get(request, "loglikelihood")), json_is_true(json_object_get(request, "greedy"))};
    }
    choice->done[i] = true;
    pare_item_outcome outcome = pare_choice_outcome(choice, i);
    assert_int_equal(outcome.acc, json_number_value(json_object_get(wanted, "acc")));
    if (json_object_get(wanted, "acc_norm"))
        assert_int_equal(outcome.acc_norm, json_number_value(json_object_get(wanted, "acc_norm")));
    if (json_object_get(wanted, "acc_bytes"))
        assert_int_equal(outcome.acc_bytes, json_number_value(json_object_get(wanted, "acc_bytes")));
}

static void same_number(double got, const json_t *wanted, const char *key) {
    const json_t *number = json_object_get(wanted, key);
    if (number && !(fabs(got - json_number_value(number)) <= 1e-12 * fabs(json_number_value(number))))
        fail_msg("%s: %.15g, the harness says %.15g", key, got, json_number_value(number));
}

static void same_score(const pare_task_score *got, const json_t *wanted) {
    assert_int_equal(got->items, json_integer_value(json_object_get(wanted, "items")));
    same_number(got->acc.value, wanted, "acc");
    same_number(got->acc.error, wanted, "acc_stderr");
    same_number(got->acc_norm.value, wanted, "acc_norm");
    same_number(got->acc_norm.error, wanted, "acc_norm_stderr");
    same_number(got->acc_bytes.value, wanted, "acc_bytes");
    same_number(got->acc_bytes.error, wanted, "acc_bytes_stderr");
    same_number(got->perplexity.value, wanted, "perplexity");
}

static void same_named(const pare_named_score *got, size_t n, const json_t *wanted) {
    assert_int_equal(n, json_object_size(wanted));
    for (size_t i = 0; i < n; i++)
        same_score(&got[i].score, json_object_get(wanted, got[i].name));
}

static void check_task(const json_t *wanted, const pare_request_rule *rule, uint32_t fewshot) {
    pare_error error = {0};
    pare_items items;
    pare_choice choice;
    pare_choice_summary summary;
    pare_task *task = pare_task_open(json_string_value(json_object_get(wanted, "task")), NULL, &error);
    assert_done(task, error);
    assert_done(pare_items_open(&items, task, DATA, &(pare_items_options){.fewshot = fewshot}, &error), error);
    assert_done(pare_choice_open(&choice, &items, rule, NULL, &error), error);
    const json_t *list = json_object_get(wanted, "items");
    assert_int_equal(items.n, json_array_size(list));
    for (size_t i = 0; i < items.n; i++)
        check_item(&choice, i, json_array_get(list, i));
    assert_done(pare_choice_summarise(&summary, &choice, &error), error);
    same_score(&summary.all, json_object_get(wanted, "score"));
    same_named(summary.subsets, summary.n_subsets, json_object_get(wanted, "subsets"));
    same_named(summary.groups, summary.n_groups, json_object_get(wanted, "groups"));
    pare_choice_close(&choice);
    pare_items_close(&items);
    pare_task_close(task);
}

static void as_the_harness(void **state) {
    (void)state;
    pare_error error = {0};
    json_t *all = pare_json_read(DATA "/reference.json", &error), *task;
    assert_done(all, error);
    pare_tokenizer *plain = open_tokenizer(false), *with_bos = open_tokenizer(true);
    const struct {
        const char *key;
        pare_request_rule rule;
        uint32_t fewshot;
    } runs[] = {
        {"default", {plain, PARE_BOS_DEFAULT, 0, 0, POSITIONS}, 0}, {"default", {with_bos, PARE_BOS_NEVER, 0, 0, POSITIONS}, 0},
        {"bos", {with_bos, PARE_BOS_DEFAULT, 0, 0, POSITIONS}, 0},  {"bos", {plain, PARE_BOS_ALWAYS, 0, 0, POSITIONS}, 0},
        {"fewshot", {plain, PARE_BOS_DEFAULT, 0, 0, POSITIONS}, 1},
    };
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        size_t k;
        json_array_foreach(json_object_get(all, runs[i].key), k, task) check_task(task, &runs[i].rule, runs[i].fewshot);
        assert_true(k > 0);
    }
    pare_tokenizer_close(plain);
    pare_tokenizer_close(with_bos);
    json_decref(all);
}

/* ---- requests ---- */

static void encode(pare_tokens *tokens, uint32_t *n_context, const pare_request_rule *rule, const char *context, const char *continuation) {
    pare_error error = {0};
    bool cut;
    tokens->n = 0;
    assert_done(pare_request_encode(tokens, n_context, &cut, rule, (pare_piece){context, strlen(context)},
                                    (pare_piece){continuation, strlen(continuation)}, &error),
                error);
}

static void white_space_moves_over(void **state) {
    (void)state;
    pare_tokenizer *tokenizer = open_tokenizer(false);
    const pare_request_rule rule = {tokenizer, PARE_BOS_DEFAULT, 0, 0, POSITIONS};
    pare_tokens a = {0}, b = {0};
    uint32_t n_a, n_b;
    static const char *const pairs[][4] = {{"ab ", "c", "ab", " c"},
                                           {"ab\n\t", " c", "ab", "\n\t c"},
                                           {"ab\xC2\xA0", "c", "ab",
                                            "\xC2\xA0"
                                            "c"},
                                           {"ab\x1F\xE3\x80\x80", "c", "ab",
                                            "\x1F\xE3\x80\x80"
                                            "c"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        encode(&a, &n_a, &rule, pairs[i][0], pairs[i][1]);
        encode(&b, &n_b, &rule, pairs[i][2], pairs[i][3]);
        assert_int_equal(n_a, n_b);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    }
    encode(&a, &n_a, &rule, "", "<|begin|>c"); /* the prefix token is not doubled */
    assert_int_equal(n_a, 1);
    assert_int_equal(a.ids[0], 0);
    assert_int_equal(a.n, 2);
    pare_tokens_free(&a);
    pare_tokens_free(&b);
    pare_tokenizer_close(tokenizer);
}

static void requests_that_cannot_be(void **state) {
    (void)state;
    pare_tokenizer *tokenizer = open_tokenizer(false);
    pare_request_rule rule = {tokenizer, PARE_BOS_DEFAULT, -1, -1, 3};
    pare_error error = {0};
    pare_tokens tokens = {0};
    uint32_t n;
    bool cut;
    const pare_piece nothing = {"", 0}, four = {"abcd", 4}, six = {"zzzzzz", 6}, one = {"q", 1};
    assert_fails(pare_request_encode(&tokens, &n, &cut, &rule, nothing, four, &error), error, PARE_ERROR_UNSUPPORTED,
                 "neither BOS nor EOS");
    assert_fails(pare_request_encode(&tokens, &n, &cut, &rule, four, nothing, &error), error, PARE_ERROR_RANGE, "no token of its own");
    assert_fails(pare_request_encode(&tokens, &n, &cut, &rule, one, six, &error), error, PARE_ERROR_RANGE, "the model's 3 positions");
    tokens.n = 0;
    assert_done(pare_request_encode(&tokens, &n, &cut, &rule, six, one, &error), error);
    assert_true(cut);
    assert_int_equal(tokens.n, 4);
    assert_int_equal(n, 3);
    pare_tokens_free(&tokens);
    pare_tokenizer_close(tokenizer);
}

/* ---- task files ---- */

static pare_task *open_text(const char *yaml, pare_error *error) {
    static char path[400];
    snprintf(path, sizeof path, "%s/mine.yaml", test_folder());
    assert_done(pare_file_write(path, yaml, strlen(yaml), true, error), *error);
    pare_task *task = pare_task_open(path, NULL, error);
    remove(path);
    return task;
}

static void shipped_tasks(void **state) {
    (void)state;
    pare_error error = {0};
    size_t n = 0;
    for (; pare_task_names[n]; n++) {
        pare_task *task = pare_task_open(pare_task_names[n], NULL, &error);
        assert_done(task, error);
        assert_string_equal(task->name, pare_task_names[n]);
        assert_true(task->n_fields > 0 && task->n_files > 0 && task->metrics && task->data && *task->about);
        pare_task_close(task);
    }
    assert_int_equal(n, 11);
    assert_fails(pare_task_open("helaswag", NULL, &error), error, PARE_ERROR_USAGE, "did you mean hellaswag?");
    assert_fails(pare_task_open("nothing_like_it", NULL, &error), error, PARE_ERROR_USAGE, "pare tasks lists them");
    assert_fails(pare_task_open("", "/", &error), error, PARE_ERROR_USAGE, "unknown task");
}

#define HEAD "task: mine\nfiles:\n  - path: mine.jsonl\n"
#define PROMPT "doc_to_text: \"{{q}}\"\ndoc_to_target: \"{{a}}\"\ndoc_to_choice: [\"x\", \"y\"]\n"
#define METRICS "metrics: [acc]\n"

static void task_files_that_are_wrong(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *part;
    } cases[] = {
        {"task: mine\n", "the key \"files\" is missing"},
        {HEAD PROMPT, "the key \"metrics\" is missing"},
        {HEAD PROMPT METRICS "doc_to_txt: x\n", "mine.yaml:8: unknown key \"doc_to_txt\"; did you mean doc_to_text?"},
        {HEAD PROMPT "metrics: [acc, f1]\n", "mine.yaml:7: metric \"f1\""},
        {HEAD PROMPT METRICS "reported: acc_norm\n", "not among the task's metrics"},
        {HEAD PROMPT METRICS "output_type: generate\n", "mine.yaml:8: output_type \"generate\""},
        {HEAD PROMPT METRICS "output_type: loglikelihood\n", "mine.yaml:6: \"doc_to_choice\" has no meaning"},
        {HEAD PROMPT METRICS "choices_are: contexts\n", "mine.yaml:4: \"doc_to_text\" has no meaning"},
        {HEAD PROMPT METRICS "groups:\n  a: [b]\n", "the key \"subset\""},
        {HEAD PROMPT METRICS "description: \"{{q | trimm}}\"\n", "mine.yaml:8: unknown filter \"trimm\"; did you mean trim?"},
        {HEAD PROMPT METRICS "description: \"{{q | replace('a')}}\"\n", "takes 2 arguments, here are 1"},
        {HEAD PROMPT METRICS "description: \"{{q\"\n", "mine.yaml:8: }} is missing"},
        {HEAD PROMPT METRICS "description: \"{{}}\"\n", "a field, a text or a number is missing"},
        {HEAD PROMPT METRICS "description: \"{{'a}}\"\n", "a closing quote is missing"},
        {HEAD PROMPT METRICS "description: \"{{[a, b}}\"\n", "a comma or a closing bracket is missing"},
        {HEAD PROMPT METRICS "description: \"{{a[b]}}\"\n", "an index in brackets is missing"},
        {HEAD PROMPT METRICS "description: \"{{((((((((((((((((((a))))))))))))))))))}}\"\n", "nested too deeply"},
        {HEAD "doc_to_text: [a]\ndoc_to_target: \"0\"\ndoc_to_choice: [x, y]\n" METRICS, "mine.yaml:4: \"doc_to_text\" needs a text"},
        {HEAD "doc_to_text: a\ndoc_to_target: \"0\"\ndoc_to_choice: [x]\n" METRICS, "two choices or more"},
        {"task: a/b\nfiles:\n  - path: x\n" PROMPT METRICS, "mine.yaml:1: a task's name has 1 to 63"},
        {"task: mine\nfiles: x\n" PROMPT METRICS, "needs a list of files"},
        {"task: mine\nfiles:\n  - pth: x\n" PROMPT METRICS, "mine.yaml:3: unknown key \"pth\"; did you mean path?"},
        {"task: mine\nfiles:\n  - labels: x\n" PROMPT METRICS, "the key \"path\" is missing"},
        {"- a\n", "keys with values are needed"},
        {"", "the file is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        assert_fails(open_text(cases[i].yaml, &error), error, PARE_ERROR_FORMAT, cases[i].part);
    }
}

/* ---- documents ---- */

/* A task of our own with these documents; false with the error. */
static bool read_documents(const char *yaml, const char *name, const char *documents, size_t n, const char *labels, pare_error *error) {
    char folder[300], path[400], label_path[400];
    pare_items items;
    snprintf(folder, sizeof folder, "%s", test_folder());
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(label_path, sizeof label_path, "%s/labels", folder);
    pare_task *task = open_text(yaml, error);
    assert_done(task, *error);
    assert_done(pare_file_write(path, documents, n, true, error), *error);
    if (labels)
        assert_done(pare_file_write(label_path, labels, strlen(labels), true, error), *error);
    bool done = pare_items_open(&items, task, folder, &(pare_items_options){0}, error);
    if (done)
        pare_items_close(&items);
    pare_task_close(task);
    remove(path);
    remove(label_path);
    rmdir(folder);
    return done;
}

static const char yaml_json[] = HEAD "doc_to_text: \"{{q}}\"\ndoc_to_target: \"{{a}}\"\ndoc_to_choice: \"{{c}}\"\n" METRICS;
static const char yaml_labels[] = "task: mine\nfiles:\n  - path: mine.jsonl\n    labels: labels\ndoc_to_text: \"{{q}}\"\ndoc_to_target: "
                                  "\"{{label}}\"\ndoc_to_choice: [x, y]\n" METRICS;
static const char yaml_rows[] = "task: mine\nfiles:\n  - path: mine.txt\n    lines: [q, a, c]\ndoc_to_text: \"{{q}}\"\ndoc_to_target: "
                                "\"{{a}}\"\ndoc_to_choice: [\"{{c}}\", y]\n" METRICS;

static void documents_in_every_form(void **state) {
    (void)state;
    static const struct {
        const char *yaml, *name, *documents, *labels;
    } cases[] = {
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": 1, \"c\": [\"x\", \"y\"]}\n\n{\"q\": \"?\", \"a\": \"0\", \"c\": [\"x\", 7]}\r\n",
         NULL},
        {yaml_json, "mine.jsonl",
         " [{\"q\": \"?\", \"a\": true, \"c\": [\"x\", \"y\"]},\n {\"q\": \"\", \"a\": \"y\", \"c\": [\"x\", \"y\"]}]", NULL},
        {yaml_json, "mine.json", "[{\"q\": 7, \"a\": false, \"c\": [\"x\", \"y\"]}]", NULL},
        {yaml_labels, "mine.jsonl", "{\"q\": \"?\"}\n{\"q\": \"!\"}\n", "1\n\n0\n"},
        {yaml_rows, "mine.txt", "one\n0\nx\n\ntwo\n1\nz", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        assert_done(read_documents(cases[i].yaml, cases[i].name, cases[i].documents, strlen(cases[i].documents), cases[i].labels, &error),
                    error);
    }
}

static void documents_that_are_wrong(void **state) {
    (void)state;
    static const char good[] = "{\"q\": \"?\", \"a\": 1, \"c\": [\"x\", \"y\"]}\n";
    static const struct {
        const char *yaml, *name, *documents, *labels, *part;
        pare_code code;
    } cases[] = {
        {yaml_json, "mine.jsonl", "{\"q\": \"?\"", NULL, "mine.jsonl: line 1: not valid JSON", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "3\n", NULL, "line 1", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "[1]\n", NULL, "item 1: an object", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "", NULL, "the text is empty", PARE_ERROR_RANGE},
        {yaml_json, "mine.jsonl", "[]", NULL, "no documents", PARE_ERROR_RANGE},
        {yaml_json, "mine.jsonl", "{\"goal\": \"?\", \"a\": 1, \"c\": [\"x\", \"y\"]}\n", NULL,
         "line 1: no field \"q\", which the task mine reads", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "{\"q\": null, \"a\": 1, \"c\": [\"x\", \"y\"]}\n", NULL, "no field \"q\"", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "{\"q\": [1], \"a\": 1, \"c\": [\"x\", \"y\"]}\n", NULL, "a text is needed, but the field is a list",
         PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": 2, \"c\": [\"x\", \"y\"]}\n", NULL, "the answer 2 is none of the 2 choices",
         PARE_ERROR_RANGE},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": -1, \"c\": [\"x\", \"y\"]}\n", NULL, "the answer -1 is none of the 2 choices",
         PARE_ERROR_RANGE},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": \"z\", \"c\": [\"x\", \"y\"]}\n", NULL,
         "the answer \"z\" is none of the 2 choices", PARE_ERROR_RANGE},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": 0.5, \"c\": [\"x\", \"y\"]}\n", NULL, "is none of the 2 choices",
         PARE_ERROR_RANGE},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": 0, \"c\": [\"x\"]}\n", NULL, "fewer than two choices", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": 0, \"c\": [\"x\", \"\"]}\n", NULL, "a choice is empty", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": 0, \"c\": [\"x\", {}]}\n", NULL, "a choice is no text", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "{\"q\": \"?\", \"a\": 0, \"c\": \"xy\"}\n", NULL, "the choices are no list", PARE_ERROR_FORMAT},
        {yaml_json, "mine.jsonl", "{\"q\": \"\xff\", \"a\": 0, \"c\": [\"x\", \"y\"]}\n", NULL, "line 1", PARE_ERROR_FORMAT},
        {yaml_json, "mine.txt", good, NULL, "no documents for the task mine: there is no", PARE_ERROR_IO},
        {yaml_labels, "mine.jsonl", "{\"q\": \"?\"}\n{\"q\": \"!\"}\n", "1\n", "labels: 1 labels, but", PARE_ERROR_FORMAT},
        {yaml_labels, "mine.jsonl", "{\"q\": \"?\"}\n", "1\n1\n", "line 2 is a label too many", PARE_ERROR_FORMAT},
        {yaml_labels, "mine.jsonl", "{\"q\": \"?\"}\n", NULL, "the labels of", PARE_ERROR_IO},
        {yaml_rows, "mine.txt", "one\n0\nx\ntwo\n", NULL, "mine.txt: line 4: the item that begins here has 1 lines of 3; \"a\" is missing",
         PARE_ERROR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        assert_fails(read_documents(cases[i].yaml, cases[i].name, cases[i].documents, strlen(cases[i].documents), cases[i].labels, &error),
                     error, cases[i].code, cases[i].part);
    }
}

static void limits_are_of_each_subset(void **state) {
    (void)state;
    pare_error error = {0};
    static const struct {
        const char *task;
        size_t n;
    } cases[] = {{"blimp", 2}, {"piqa", 1}};
    for (size_t i = 0; i < 2; i++) {
        pare_items items;
        pare_task *task = pare_task_open(cases[i].task, NULL, &error);
        assert_done(task, error);
        assert_done(pare_items_open(&items, task, DATA, &(pare_items_options){.limit = 1}, &error), error);
        assert_int_equal(items.n, cases[i].n);
        pare_items_close(&items);
        pare_task_close(task);
    }
}

/* ---- templates ---- */

static void templates(void **state) {
    (void)state;
    static const struct {
        const char *template, *text;
    } cases[] = {
        {"a{{x}}b", "a Two  words b"},
        {"{{ x | trim }}|", "Two  words|"},
        {"{{x | ltrim}}|{{x | rtrim}}|", "Two  words | Two  words|"},
        {"{{x | trim | upper ~ '!' ~ 7}}", "TWO  WORDS!7"},
        {"{{(x ~ x) | replace(' ', '')}}", "TwowordsTwowords"},
        {"{{l[1]}}{{o.k}}{{n}}", "two\xC3\xA9 5"},
        {"{{'\\n\\t\\\\\\''}}", "\n\t\\'"},
        {"{{o.k | capitalize}}", "\xC3\x89 "},
        {"{{x | before('w')}}{{x | after('wo')}}", " T  words "},
        {"{{x | before_last('o')}}{{x | after_last('o')}}{{x | before_last('q')}}{{x | after_last('q')}}", " Two  wrds  Two  words "},
        {"{{x | between('T', 's')}}", "wo  word"},
        {"{{l | index('two')}}{{[5, 7] | index(7)}}", "11"},
        {"{{flat.key}}", "f"},
        {"", ""},
    };
    json_t *document = json_pack("{s:s, s:[s,s], s:{s:s}, s:i, s:s}", "x", " Two  words ", "l", "one", "two", "o", "k", "\xC3\xA9 ", "n", 5,
                                 "flat.key", "f");
    const pare_template_source source = {document, "place", "mine"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        pare_arena *arena = pare_arena_open(&error);
        const pare_template *template = pare_template_parse(cases[i].template, "t.yaml", 1, arena, &error);
        assert_done(template, error);
        pare_string out = {0};
        pare_string_push(&out, "", 0);
        assert_done(pare_template_text(&out, template, &source, &error), error);
        assert_string_equal(out.data, cases[i].text);
        pare_string_free(&out);
        pare_arena_close(arena);
    }
    json_decref(document);
}

/* ---- a task out of any text ---- */

static void a_task_of_any_text(void **state) {
    (void)state;
    pare_string text = {0}, first = {0}, second = {0};
    for (int i = 0; i < 120; i++)
        pare_string_print(&text, "%sword%d", i % 10 ? " " : "\n", i);
    pare_task_make_options options = {.items = 8, .context_words = 6, .choice_words = 4, .n_choices = 4, .seed = 3};
    pare_error error = {0};
    assert_done(pare_task_make(&first, text.data, text.length, "text", &options, &error), error);
    assert_done(pare_task_make(&second, text.data, text.length, "text", &options, &error), error);
    assert_string_equal(first.data, second.data);
    size_t n = 0;
    for (const char *at = first.data; *at; at = strchr(at, '\n') + 1, n++) {
        json_t *item = pare_json_parse(at, strcspn(at, "\n"), "item", &error);
        assert_done(item, error);
        const char *context = json_string_value(json_object_get(item, "context"));
        const json_t *choices = json_object_get(item, "choices");
        const char *gold = json_string_value(json_array_get(choices, (size_t)json_integer_value(json_object_get(item, "gold"))));
        char joined[400];
        snprintf(joined, sizeof joined, "%s%s", context, gold);
        assert_non_null(strstr(text.data, joined));
        for (size_t a = 0; a < 4; a++)
            for (size_t b = 0; b < a; b++)
                assert_string_not_equal(json_string_value(json_array_get(choices, a)), json_string_value(json_array_get(choices, b)));
        json_decref(item);
    }
    assert_int_equal(n, 8);
    options.seed = 4;
    second.length = 0;
    assert_done(pare_task_make(&second, text.data, text.length, "text", &options, &error), error);
    assert_string_not_equal(first.data, second.data);
    assert_fails(pare_task_make(&second, "a b c", 5, "text", &options, &error), error, PARE_ERROR_RANGE, "4 are the least");
    text.length = 0;
    for (int i = 0; i < 400; i++)
        pare_string_print(&text, "same ");
    assert_fails(pare_task_make(&second, text.data, text.length, "text", &options, &error), error, PARE_ERROR_RANGE, "repeats itself");
    pare_string_free(&text);
    pare_string_free(&first);
    pare_string_free(&second);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_the_harness),
        cmocka_unit_test(white_space_moves_over),
        cmocka_unit_test(requests_that_cannot_be),
        cmocka_unit_test(shipped_tasks),
        cmocka_unit_test(task_files_that_are_wrong),
        cmocka_unit_test(documents_in_every_form),
        cmocka_unit_test(documents_that_are_wrong),
        cmocka_unit_test(limits_are_of_each_subset),
        cmocka_unit_test(templates),
        cmocka_unit_test(a_task_of_any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
