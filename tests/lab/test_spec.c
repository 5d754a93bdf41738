/* Specs: what is read, what each mistake is told, and that hostile YAML stays small and quick. */
#include "lab_test.h"

#define HEAD "models: [m.gguf]\nevaluate: {text: t.txt, protocol: joined2048}\n"
#define GRID "methods: [random]\nratios: [0.1]\n"

static pare_spec *parse(const char *text, pare_error *error) {
    *error = (pare_error){0};
    return pare_spec_parse(text, strlen(text), "some/where/s.yaml", error);
}

static void reads_everything(void **state) {
    (void)state;
    pare_error error;
    pare_spec *s =
        parse("models:\n  - a/SmolLM.gguf\n  - {path: /abs/folder/, name: Other}\n  - b/two/\n"
              "evaluate: {text: ../t.txt, protocol: gguf128, windows: 7}\n"
              "calibrate: {text: c.jsonl, windows: 3, length: 9}\n"
              "methods: [wanda-sp, random]\nratios: [0.5, 0, 0.25]\nmultiple: 8\nseeds: [3, 9223372036854775807]\nledger: l.db\n",
              &error);
    assert_done(s, error);
    assert_int_equal(s->n_models, 3);
    assert_string_equal(s->models[0].name, "SmolLM");
    assert_string_equal(s->models[0].path, "some/where/a/SmolLM.gguf");
    assert_string_equal(s->models[1].name, "Other");
    assert_string_equal(s->models[1].path, "/abs/folder/");
    assert_string_equal(s->models[2].name, "two");
    assert_int_equal(s->models[2].line, 4);
    assert_string_equal(s->evaluate.text, "../t.txt");
    assert_string_equal(s->evaluate.path, "some/where/../t.txt");
    assert_string_equal(s->evaluate.protocol.name, "gguf128");
    assert_int_equal(s->evaluate.n_windows, 7);
    assert_string_equal(s->calibrate.path, "some/where/c.jsonl");
    assert_int_equal(s->calibrate.n_windows, 3);
    assert_int_equal(s->calibrate.length, 9);
    assert_int_equal(s->n_methods, 2);
    assert_string_equal(s->methods[0].name, "wanda-sp");
    assert_int_equal(s->n_ratios, 2);
    assert_true(s->ratios[0] == 0.25 && s->ratios[1] == 0.5);
    assert_int_equal(s->multiple, 8);
    assert_int_equal(s->n_seeds, 2);
    assert_true(s->seeds[1] == INT64_MAX);
    assert_string_equal(s->ledger, "some/where/l.db");
    pare_spec_close(s);
}

static void has_defaults(void **state) {
    (void)state;
    pare_error error;
    pare_spec *s = parse(HEAD GRID, &error);
    assert_done(s, error);
    assert_string_equal(s->models[0].name, "m");
    assert_int_equal(s->evaluate.n_windows, 0);
    assert_null(s->calibrate.text);
    assert_int_equal(s->multiple, 32);
    assert_int_equal(s->n_seeds, 1);
    assert_int_equal(s->seeds[0], 0);
    assert_string_equal(s->ledger, "some/where/s.ledger");
    pare_spec_close(s);
    s = pare_spec_parse(HEAD GRID, strlen(HEAD GRID), "s.yml", &error);
    assert_done(s, error);
    assert_string_equal(s->ledger, "s.ledger");
    assert_string_equal(s->models[0].path, "m.gguf");
    pare_spec_close(s);
}

/* 0.1 + 2 * 0.1 is 0.30000000000000004 in binary; a range must mean what a list means. */
static void ranges_are_lists(void **state) {
    (void)state;
    static const double wanted[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};
    pare_error error;
    pare_spec *s = parse(HEAD "methods: [random]\nratios: {from: 0.1, to: 0.9, step: 0.1}\n", &error);
    assert_done(s, error);
    assert_int_equal(s->n_ratios, 9);
    assert_memory_equal(s->ratios, wanted, sizeof wanted);
    pare_spec_close(s);
}

static void tells_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "s.yaml: the file is empty"},
        {"# only a comment\n", "s.yaml: the file is empty"},
        {"- a\n- b\n", "s.yaml:1: a spec is made of keys with values"},
        {"just text", "s.yaml:1: a spec is made of keys"},
        {HEAD GRID "seed: [1]\n",
         "some/where/s.yaml:5: unknown key \"seed\" in this spec; the keys are models, evaluate, calibrate, recovery, methods, ratios, "
         "multiple, seeds, ledger; did you mean seeds?"},
        {HEAD GRID "\n\nzzzzzzzz: 1\n", "s.yaml:7: unknown key \"zzzzzzzz\" in this spec; the keys are"},
        {"models: [{path: m, nmae: x}]\n" GRID "evaluate: {text: t, protocol: gguf512}", "s.yaml:1: unknown key \"nmae\" in a model"},
        {"models: [m]\nevaluate:\n  text: t\n  protocl: gguf512\n" GRID,
         "s.yaml:4: unknown key \"protocl\" in evaluate; the keys are text, "
         "protocol, windows; did you mean protocol?"},
        {HEAD GRID "calibrate: {text: c, count: 2}\n", "s.yaml:5: unknown key \"count\" in calibrate"},
        {HEAD "methods: [random]\nratios: {from: 0, till: 1}\n", "s.yaml:4: unknown key \"till\" in ratios"},
        {HEAD GRID "ratios: [0.2]\n", "s.yaml:5: \"ratios\" is given twice, first on line 4"},
        {GRID, "s.yaml:1: this spec lacks the key models"},
        {"models: [m]\n" GRID, "this spec lacks the key evaluate"},
        {HEAD "ratios: [0.1]\n", "this spec lacks the key methods"},
        {HEAD "methods: [random]\n", "this spec lacks the key ratios"},
        {"models: [m]\nevaluate: {protocol: gguf512}\n" GRID, "s.yaml:2: evaluate lacks the key text"},
        {"models: [m]\nevaluate: {text: t}\n" GRID, "s.yaml:2: evaluate lacks the key protocol"},
        {"models: [m]\nevaluate: {text: t, protocol: wiki}\n" GRID, "s.yaml:2: unknown protocol \"wiki\"; there are joined2048"},
        {"models: [m]\nevaluate: {text: t, protocol: gguf512, windows: 0}\n" GRID, "s.yaml:2: windows is \"0\"; it must be a whole number"},
        {"models: [m]\nevaluate: t.txt\n" GRID, "s.yaml:2: evaluate must be keys with values"},
        {"models: []\nevaluate: {text: t, protocol: gguf512}\n" GRID, "s.yaml:1: models is empty: the grid would be too"},
        {"models: m\nevaluate: {text: t, protocol: gguf512}\n" GRID, "s.yaml:1: models must be a list"},
        {"models: [{name: x}]\nevaluate: {text: t, protocol: gguf512}\n" GRID, "s.yaml:1: a model lacks the key path"},
        {"models: [[m]]\nevaluate: {text: t, protocol: gguf512}\n" GRID, "s.yaml:1: an item must be a single value"},
        {"models: [a/m.gguf,\n  b/m]\nevaluate: {text: t, protocol: gguf512}\n" GRID, "s.yaml:2: two models are called \"m\" (line 1 too)"},
        {"models: [~]\nevaluate: {text: t, protocol: gguf512}\n" GRID, "s.yaml:1: an item has no value"},
        {"models: [m]\nevaluate: {text: , protocol: gguf512}\n" GRID, "s.yaml:2: text has no value"},
        {"models: [{path: m, name: \"a\\eb\"}]\nevaluate: {text: t, protocol: gguf512}\n" GRID,
         "s.yaml:1: name holds a line break or another control character"},
        {"models:\n- m\nevaluate:\n  protocol: gguf512\n  text: |\n    t\n" GRID, "s.yaml:5: text holds a line break"},
        {HEAD "methods: []\nratios: [0.1]\n", "s.yaml:3: methods is empty"},
        {HEAD "methods:\n- random\n- wanda\nratios: [0.1]\n",
         "s.yaml:5: unknown method \"wanda\"; did you mean wanda-sp? The methods are random, magnitude, wanda-sp"},
        {HEAD "methods: [magnitud]\nratios: [0.1]\n", "; did you mean magnitude?"},
        {HEAD "methods: [random, random]\nratios: [0.1]\n", "s.yaml:3: method random is listed twice"},
        {HEAD "methods: [dense]\nratios: [0.1]\n", "s.yaml:3: \"dense\" need not be listed"},
        {HEAD "methods:\n- {name: magnitude, allocation: best}\nratios: [0.1]\n",
         "s.yaml:4: allocation \"best\": uniform, global or sensitivity"},
        {HEAD "methods: [{name: magnitude, share: global}]\nratios: [0.1]\n", "s.yaml:3: unknown key \"share\" in a method"},
        {HEAD "methods: [{allocation: global}]\nratios: [0.1]\n", "s.yaml:3: a method lacks the key name"},
        {HEAD "methods: [{name: last-layers, allocation: global}]\nratios: [0.1]\n", "s.yaml:3: layers are not shared out over layers"},
        {HEAD "methods: [{name: surgeon, allocation: global}]\nratios: [0.1]\n", "s.yaml:3: method surgeon chooses while it cuts"},
        {HEAD "methods: [{name: magnitude, allocation: sensitivity}]\nratios: [0.1]\n",
         "s.yaml:3: allocation by sensitivity looks at losses: add calibrate: {text: FILE}"},
        {HEAD "methods: [{name: magnitude, allocation: global}, magnitude, {name: magnitude, allocation: uniform}]\nratios: [0.1]\n",
         "s.yaml:3: method magnitude is listed twice"},
        {HEAD "methods: [wanda-sp]\nratios: [0.1]\n", "s.yaml:3: method wanda-sp looks at activations: add calibrate: {text: FILE}"},
        {HEAD "methods: [random]\nratios: []\n", "s.yaml:4: ratios is empty"},
        {HEAD "methods: [random]\nratios: 0.1\n", "s.yaml:4: ratios must be a list"},
        {HEAD "methods: [random]\nratios: [0.1,\n 1]\n", "s.yaml:5: ratio 1: it must be at least 0 and below 1"},
        {HEAD "methods: [random]\nratios: [-0.1]\n", "s.yaml:4: ratio -0.1: it must be at least 0"},
        {HEAD "methods: [random]\nratios: [.nan]\n", "s.yaml:4: an item is \".nan\"; it must be a number"},
        {HEAD "methods: [random]\nratios: [nan]\n", "it must be a number"},
        {HEAD "methods: [random]\nratios: [0x1p-2]\n", "it must be a number"},
        {HEAD "methods: [random]\nratios: [1e999]\n", "it must be a number"},
        {HEAD "methods: [random]\nratios: ['0.1']\n", "an item is \"0.1\"; it must be a number"},
        {HEAD "methods: [random]\nratios: [0.1, 0.10]\n", "s.yaml:4: ratio 0.1 is listed twice"},
        {HEAD "methods: [random]\nratios: {from: 0.1, to: 0.5}\n", "s.yaml:4: ratios lacks the key step"},
        {HEAD "methods: [random]\nratios: {from: 0.1, to: 0.5, step: 0}\n", "s.yaml:4: ratios: from 0.1 to 0.5 by 0 is no range"},
        {HEAD "methods: [random]\nratios: {from: 0.1, to: 0.5, step: 1e-9}\n", "is no range"},
        {HEAD "methods: [random]\nratios: {from: 0.1, to: 0.5, step: 1e-320}\n", "is no range"},
        {HEAD "methods: [random]\nratios: {from: 0.5, to: 0.1, step: 0.1}\n", "is no range"},
        {HEAD "methods: [random]\nratios: {from: 0.5, to: 1.0, step: 0.1}\n", "s.yaml:4: ratio 1: it must"},
        {HEAD GRID "multiple: 0\n", "s.yaml:5: multiple is \"0\"; it must be a whole number from 1 to 65536"},
        {HEAD GRID "multiple: 3.5\n", "multiple is \"3.5\""},
        {HEAD GRID "multiple: -8\n", "multiple is \"-8\""},
        {HEAD GRID "seeds: [1, 1]\n", "s.yaml:5: seed 1 is listed twice"},
        {HEAD GRID "seeds: [9223372036854775808]\n", "s.yaml:5: an item is \"9223372036854775808\"; it must be a whole number"},
        {HEAD GRID "seeds: [99999999999999999999999]\n", "it must be a whole number"},
        {HEAD GRID "seeds: 1\n", "s.yaml:5: seeds must be a list"},
        {HEAD GRID "seeds: []\n", "s.yaml:5: seeds is empty"},
        {HEAD GRID "calibrate: {text: c, windows: 65536, length: 1048576}\n",
         "s.yaml:5: calibrate: 65536 windows of 1048576 tokens are too many"},
        {HEAD GRID "ledger: [a]\n", "s.yaml:5: ledger must be a single value"},
        {HEAD GRID "\"a\\nb\\x07\": 1\n", "s.yaml:5: unknown key \"a?b?\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_error error;
        pare_spec *spec = parse(cases[i].text, &error);
        assert_fails(spec, error, PARE_ERROR_FORMAT, cases[i].part);
    }
}

static void refuses_hostile_yaml(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"a: &x [1]\nb: *x\n", "s.yaml:1: anchors and aliases"},
        {"a: [1]\nb: *x\n", "s.yaml:2: anchors and aliases"},
        {"&x a: 1\n", "s.yaml:1: anchors and aliases"},
        {"a: &x [*x]\n", "anchors and aliases"},
        {"a: !!binary aGk=\n", "s.yaml:1: tags (!) are not taken"},
        {"a: !<tag:x> 1\n", "tags (!)"},
        {"? [a]\n: 1\n", "s.yaml:1: a key must be a word"},
        {"a: 1\n---\nb: 2\n", "s.yaml:2: a second document begins here"},
        {"a: \"x\\0y\"\n", "s.yaml:1: a NUL byte in a text"},
        {"a: [1, 2\nb: 3\n", "not valid YAML"},
        {"a: {b: 1\n", "not valid YAML"},
        {"a: 'x\n", "not valid YAML"},
        {"\ta: 1\n", "s.yaml:1: not valid YAML"},
        {"a: 1\nb: \xff\xfe\n", "s.yaml:2: not valid YAML"},
        {"a: 1\nb: \x01\n", "s.yaml:2: not valid YAML"},
        {"%YAML 9.9\n---\na: 1\n", "not valid YAML"},
        {"a: {b: {c: {d: {e: {f: {g: {h: {i: 1}}}}}}}}\n", "s.yaml:1: nested too deeply"},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[", "nested too deeply"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_error error;
        pare_spec *spec = parse(cases[i].text, &error);
        assert_fails(spec, error, PARE_ERROR_FORMAT, cases[i].part);
    }
}

/* Bytes repeated to a size; none may take long (the suite's time limit would tell) or crash. */
static void stays_quick_on_large_input(void **state) {
    (void)state;
    static const char *const pieces[] = {"[",       "{",   "- ",  "? ",  "a: 1\n", "- a\n", "a,",   "'",
                                         "\"\\x41", "&a ", "*a ", "!a ", "| \n",   "\n",    "{a: ["};
    enum { BYTES = 1 << 20 };
    char *text = pare_allocate(BYTES + 64, 1, NULL);
    assert_non_null(text);
    double begin = pare_clock_s();
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        size_t n = strlen(pieces[i]), length = 0;
        for (; length + n <= BYTES; length += n)
            memcpy(text + length, pieces[i], n);
        pare_error error = {0};
        assert_null(pare_spec_parse(text, length, "s.yaml", &error));
        assert_int_equal(error.code, PARE_ERROR_FORMAT);
        assert_null(pare_spec_parse(text, BYTES + 1, "s.yaml", &error));
        assert_non_null(strstr(error.message, "a YAML file may have at most 1048576"));
    }
    pare_free(text);
    assert_true(pare_clock_s() - begin < 60);
}

static const char whole[] = "models: [a, {path: b, name: c}]\nevaluate: {text: t, protocol: gguf512, windows: 3}\n"
                            "calibrate: {text: c}\nmethods:\n  - random\n  - wanda-sp\nratios: {from: 0.1, to: 0.3, step: 0.1}\n"
                            "multiple: 8\nseeds: [1, 2]\nledger: \"l\"\n";

/* Every prefix, and every byte changed to something else: a spec or an error with a message, never a crash. */
static void survives_damage(void **state) {
    (void)state;
    static const char others[] = {0, '\n', ' ', ':', '[', ']', '{', '}', '"', '&', '*', '!', '-', '9', '~', (char)0x80, (char)0xff};
    for (size_t n = 0; n < sizeof whole; n++) {
        pare_error error = {0};
        pare_spec *spec = pare_spec_parse(whole, n, "s.yaml", &error);
        assert_true(spec ? error.code == PARE_OK : error.message[0] != '\0');
        pare_spec_close(spec);
    }
    for (size_t i = 0; i + 1 < sizeof whole; i++)
        for (size_t j = 0; j < sizeof others; j++) {
            char text[sizeof whole];
            memcpy(text, whole, sizeof whole);
            text[i] = others[j];
            pare_error error = {0};
            pare_spec *spec = pare_spec_parse(text, sizeof whole - 1, "s.yaml", &error);
            assert_true(spec || (error.code == PARE_ERROR_FORMAT && !strchr(error.message, '\n')));
            pare_spec_close(spec);
        }
}

/* Each allocation of ours fails once; libyaml's own are its affair. */
static void survives_lack_of_memory(void **state) {
    (void)state;
    pare_spec *spec = NULL;
    for (size_t n = 1; !spec; n++) {
        pare_error error = {0};
        pare_allocate_fail_at(n);
        spec = pare_spec_parse(whole, sizeof whole - 1, "s.yaml", &error);
        pare_allocate_fail_at(0);
        assert_true(spec || error.code == PARE_ERROR_MEMORY || error.code == PARE_ERROR_FORMAT);
    }
    pare_spec_close(spec);
}

static void finds_files(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_error error = {0};
    assert_fails(pare_spec_open(in_folder(folder, "none.yaml"), &error), error, PARE_ERROR_IO, "none.yaml");
    write_text(in_folder(folder, "m.gguf"), "x", 1);
    const char *path =
        write_spec(folder, "s.yaml", "models:\n  - m.gguf\n  - n.gguf\nevaluate: {text: t.txt, protocol: joined2048}\n" GRID);
    assert_fails(pare_spec_open(path, &error), error, PARE_ERROR_IO, "s.yaml:3: ");
    assert_non_null(strstr(error.message, "n.gguf: no such file"));
    write_text(in_folder(folder, "n.gguf"), "x", 1);
    assert_fails(pare_spec_open(path, &error), error, PARE_ERROR_IO, "t.txt: no such file");
    write_text(in_folder(folder, "t.txt"), "x", 1);
    pare_spec *spec = pare_spec_open(path, &error);
    assert_done(spec, error);
    pare_spec_close(spec);
    remove_folder(folder);
}

/* The examples are what people copy: they must parse, and the demo's grid is what the demo promises. */
static void examples_parse(void **state) {
    (void)state;
    static const char *const names[] = {"demo.yaml", "study.yaml"};
    for (size_t i = 0; i < 2; i++) {
        pare_error error = {0};
        pare_map map;
        const char *path = in_folder(PARE_SOURCE_DIR "/examples", names[i]);
        assert_done(pare_map_open(&map, path, &error), error);
        pare_spec *spec = pare_spec_parse((const char *)map.data, map.size, path, &error);
        assert_done(spec, error);
        if (i == 0) {
            assert_int_equal(spec->n_ratios, 9);
            assert_int_equal(spec->n_methods, 2);
            assert_int_equal(spec->evaluate.n_windows * (spec->evaluate.protocol.length - 1), 16376);
        }
        pare_spec_close(spec);
        pare_map_close(&map);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything),     cmocka_unit_test(has_defaults),
        cmocka_unit_test(ranges_are_lists),     cmocka_unit_test(tells_mistakes),
        cmocka_unit_test(refuses_hostile_yaml), cmocka_unit_test(stays_quick_on_large_input),
        cmocka_unit_test(survives_damage),      cmocka_unit_test(survives_lack_of_memory),
        cmocka_unit_test(finds_files),          cmocka_unit_test(examples_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
