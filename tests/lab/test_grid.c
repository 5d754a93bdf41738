/* The grid: which runs there are, in which order, and keys that change with all that the number depends on, and with nothing else. */
#include <sys/stat.h>

#include "lab_test.h"

/* ---- keys ---------------------------------------------------------------------------------- */

static pare_method calibrated = {.name = "wanda-sp", .calibrated = true}, chance = {.name = "random", .stochastic = true};

typedef struct {
    pare_spec spec;
    study_model model;
    pare_run run;
} fixed;

static void put_hash(pare_sha256 *hash, char digit) {
    memset(hash->hex, digit, 64);
    hash->hex[64] = '\0';
}

static fixed fixed_run(const pare_method *method) {
    fixed f = {.run = {.method = method, .ratio = 0.3, .multiple = 32, .n_kept = 1088, .seed = 7}};
    pare_error error = {0};
    assert_done(pare_protocol_parse(&f.spec.evaluate.protocol, "joined2048", &error), error);
    f.spec.calibrate.n_windows = 32;
    f.spec.calibrate.length = 512;
    put_hash(&f.model.model, 'a');
    put_hash(&f.model.evaluation.text, 'b');
    put_hash(&f.model.evaluation.tokens, 'c');
    f.model.evaluation.n_windows = 8;
    put_hash(&f.model.calibration.text, 'd');
    put_hash(&f.model.calibration.tokens, 'e');
    f.model.calibration.seed = 5;
    return f;
}

/* 100,000 tokens are 49 steps. */
static void recover_by(fixed *f, pare_recovery recovery) {
    static uint64_t seeds[] = {5};
    f->spec.recovery.tune = pare_tune_defaults();
    f->spec.seeds = seeds;
    f->run.recovery = recovery;
    f->run.recovery_tokens = 100000;
    put_hash(&f->model.recovery, 'f');
}

static fixed recovered_run(pare_recovery recovery) {
    fixed f = fixed_run(&chance);
    recover_by(&f, recovery);
    return f;
}

static const char *key_of(fixed *f) {
    static char keys[4][65];
    static unsigned next;
    pare_error error = {0};
    pare_arena *arena = pare_arena_open(&error);
    assert_done(study_identify(&f->run, &f->spec, &f->model, arena, &error), error);
    char *key = keys[next++ % 4];
    memcpy(key, f->run.key.hex, 65);
    pare_arena_close(arena);
    return key;
}

#define EIGHT(d) d d d d d d d d
#define HASH(d) EIGHT(EIGHT(d))
#define EVALUATION                                                                                                                         \
    "\"evaluation\":{\"protocol\":\"joined2048\",\"text\":\"" HASH("b") "\",\"tokens\":\"" HASH(                                           \
        "c") "\",\"windows\":8},\"kernels\":\"avx512\""
#define RECIPE "\"beta1\":0.9,\"beta2\":0.95,\"clip\":1,\"decay\":0.01,\"epsilon\":1e-08,\"micro\":0"

/* The golden text with the name of the kernels that this processor has. */
static void with_kernels(char *text, size_t size, const char *golden) {
    static const char named[] = "avx512";
    const char *at = strstr(golden, named);
    assert_non_null(at);
    snprintf(text, size, "%.*s%s%s", (int)(at - golden), golden, pare_kernels_best()->name, at + strlen(named));
}

/* Committed keys: when one of these changes, every ledger out there is orphaned, and SPEC_SCHEMA must be the reason.
 * Made by: printf '%s' '<the text>' | sha256sum. */
static void keys_are_golden(void **state) {
    (void)state;
    static const struct {
        const pare_method *method;
        pare_recovery recovery;
        const char *spec, *key;
    } golden[] = {
        {&calibrated, PARE_RECOVERIES,
         "{\"calibration\":{\"length\":512,\"seed\":5,\"text\":\"" HASH("d") "\",\"tokens\":\"" HASH(
             "e") "\",\"windows\":32}," EVALUATION
                  ",\"method\":\"wanda-sp\",\"model\":\"" HASH("a") "\",\"multiple\":32,\"ratio\":0.3,\"schema\":2}",
         "9fbf3c38747084d2b4d7c65aa75fb10c996c48b20ffe7b8f9cb2d0604f9802b8"},
        {&chance, PARE_RECOVERIES,
         "{" EVALUATION ",\"method\":\"random\",\"model\":\"" HASH("a") "\",\"multiple\":32,\"ratio\":0.3,\"schema\":2,\"seed\":7}",
         "530b355ae18d962c84f44335477657c99dcfdfb467d9391fea82fed625e69544"},
        {&chance, PARE_RECOVERY_FULL,
         "{" EVALUATION
         ",\"method\":\"random\",\"model\":\"" HASH("a") "\",\"multiple\":32,\"ratio\":0.3,\"recovery\":{\"batch\":4,\"data\":\"" HASH(
             "f") "\",\"length\":512,\"method\":\"full\",\"rate\":0.0002,\"recipe\":{" RECIPE
                  ",\"warmup\":4},\"schedule\":\"linear\",\"seed\":5,\"steps\":49},\"schema\":2,\"seed\":7}",
         "6ea268b18bb77060602898788c71e8df560903ae3bfc642fdca637e2f5e24f6a"},
        {&chance, PARE_RECOVERY_DISTILLATION,
         "{" EVALUATION
         ",\"method\":\"random\",\"model\":\"" HASH("a") "\",\"multiple\":32,\"ratio\":0.3,\"recovery\":{\"batch\":4,\"data\":\"" HASH(
             "f") "\",\"length\":512,\"method\":\"distillation\",\"rank\":8,\"rate\":0.0002,\"recipe\":{\"alpha\":32," RECIPE
                  ",\"targets\":\"q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj\",\"temperature\":1,\"warmup\":4,\"weight\":0.5},"
                  "\"schedule\":\"linear\",\"seed\":5,\"steps\":49},\"schema\":2,\"seed\":7}",
         "babf67830df314f6ea37f36b74ea2235b5c87660fa772c4123c97cacf32580d2"},
        {NULL, PARE_RECOVERIES, "{" EVALUATION ",\"method\":\"dense\",\"model\":\"" HASH("a") "\",\"ratio\":0.3,\"schema\":2}",
         "22315de0b3db93bef2058f78c88766b9784d48ebf888897db4bde6e0964c88c4"},
    };
    for (size_t i = 0; i < sizeof golden / sizeof golden[0]; i++) {
        fixed f = fixed_run(golden[i].method);
        if (golden[i].recovery < PARE_RECOVERIES)
            recover_by(&f, golden[i].recovery);
        pare_error error = {0};
        pare_arena *arena = pare_arena_open(&error);
        assert_done(study_identify(&f.run, &f.spec, &f.model, arena, &error), error);
        pare_sha256 key;
        char expected[2048];
        assert_done(pare_sha256_bytes(&key, golden[i].spec, strlen(golden[i].spec), &error), error);
        assert_string_equal(key.hex, golden[i].key);
        with_kernels(expected, sizeof expected, golden[i].spec);
        assert_string_equal(f.run.spec, expected);
        assert_done(pare_sha256_bytes(&key, expected, strlen(expected), &error), error);
        assert_string_equal(f.run.key.hex, key.hex);
        json_t *json = json_loads(f.run.spec, 0, NULL);
        char *sorted = json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT), *as_it_is = json_dumps(json, JSON_COMPACT);
        assert_string_equal(sorted, as_it_is);
        free(sorted);
        free(as_it_is);
        json_decref(json);
        pare_arena_close(arena);
    }
}

#define CHANGED(method, change)                                                                                                            \
    do {                                                                                                                                   \
        fixed before = fixed_run(method), f = fixed_run(method);                                                                           \
        change;                                                                                                                            \
        assert_string_not_equal(key_of(&before), key_of(&f));                                                                              \
    } while (0)
#define SAME(method, change)                                                                                                               \
    do {                                                                                                                                   \
        fixed before = fixed_run(method), f = fixed_run(method);                                                                           \
        change;                                                                                                                            \
        assert_string_equal(key_of(&before), key_of(&f));                                                                                  \
    } while (0)

static void keys_follow_what_counts(void **state) {
    (void)state;
    pare_method other = calibrated;
    other.name = "another";
    CHANGED(&calibrated, f.run.method = &other);
    CHANGED(&calibrated, f.run.allocation = PARE_ALLOCATION_GLOBAL);
    CHANGED(&chance, f.run.allocation = PARE_ALLOCATION_SENSITIVITY);
    SAME(&calibrated, f.run.name = "called otherwise");
    CHANGED(&calibrated, f.run.ratio = 0.3000000001);
    CHANGED(&calibrated, f.run.multiple = 16);
    CHANGED(&calibrated, put_hash(&f.model.model, '0'));
    CHANGED(&calibrated, put_hash(&f.model.evaluation.text, '0'));
    CHANGED(&calibrated, put_hash(&f.model.evaluation.tokens, '0'));
    CHANGED(&calibrated, f.model.evaluation.n_windows = 9);
    CHANGED(&calibrated, f.spec.evaluate.protocol.name[0] = 'k');
    CHANGED(&calibrated, put_hash(&f.model.calibration.text, '0'));
    CHANGED(&calibrated, put_hash(&f.model.calibration.tokens, '0'));
    CHANGED(&calibrated, f.model.calibration.seed = 6);
    CHANGED(&calibrated, f.spec.calibrate.n_windows = 33);
    CHANGED(&calibrated, f.spec.calibrate.length = 511);
    CHANGED(&chance, f.run.seed = 8);
    CHANGED(NULL, put_hash(&f.model.model, '0'));
}

/* Every number of a recipe, though a study cannot set it: a later pare may choose another. */
static void keys_follow_the_recipe(void **state) {
    (void)state;
    enum { LORA = 1 << PARE_RECOVERY_LORA, FULL = 1 << PARE_RECOVERY_FULL, TAUGHT = 1 << PARE_RECOVERY_DISTILLATION };
    static const struct {
        size_t at;
        unsigned counts; /* of which recoveries */
    } numbers[] = {
        {offsetof(pare_tune_options, alpha), LORA | TAUGHT},        {offsetof(pare_tune_options, dropout), LORA | TAUGHT},
        {offsetof(pare_tune_options, rate), LORA | FULL | TAUGHT},  {offsetof(pare_tune_options, beta1), LORA | FULL | TAUGHT},
        {offsetof(pare_tune_options, beta2), LORA | FULL | TAUGHT}, {offsetof(pare_tune_options, epsilon), LORA | FULL | TAUGHT},
        {offsetof(pare_tune_options, decay), LORA | FULL | TAUGHT}, {offsetof(pare_tune_options, clip), LORA | FULL | TAUGHT},
        {offsetof(pare_tune_options, distil_weight), TAUGHT},       {offsetof(pare_tune_options, distil_temperature), TAUGHT},
    };
    for (unsigned r = 0; r < PARE_RECOVERIES; r++) {
        fixed plain = recovered_run((pare_recovery)r), targets = plain, rank = plain;
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            fixed f = plain;
            *(double *)(void *)((char *)&f.spec.recovery.tune + numbers[i].at) += 0.125;
            assert_int_equal(strcmp(key_of(&plain), key_of(&f)) != 0, (numbers[i].counts & 1u << r) != 0);
        }
        targets.spec.recovery.tune.targets[PARE_K] = false;
        rank.spec.recovery.tune.rank = 9;
        assert_int_equal(strcmp(key_of(&plain), key_of(&targets)) != 0, r != PARE_RECOVERY_FULL);
        assert_int_equal(strcmp(key_of(&plain), key_of(&rank)) != 0, r != PARE_RECOVERY_FULL);
    }
}

static void keys_ignore_what_does_not(void **state) {
    (void)state;
    SAME(&calibrated, f.spec.path = "elsewhere.yaml");
    SAME(&calibrated, f.spec.evaluate.path = "moved.txt");
    SAME(&calibrated, f.spec.evaluate.n_windows = 1000); /* what counts is how many there are */
    SAME(&calibrated, f.run.seed = 8);                   /* its draw is the calibration's */
    SAME(&calibrated, f.run.work = 3);
    SAME(&chance, put_hash(&f.model.calibration.tokens, '0'));
    SAME(&chance, f.spec.calibrate.length = 1);
    SAME(NULL, f.run.multiple = 64);
    SAME(NULL, f.run.seed = 8);
}

/* ---- expansion ----------------------------------------------------------------------------- */

static pare_study *open_study(const char *path) {
    pare_error error = {0};
    pare_study *study = pare_study_open(path, NULL, &error);
    assert_done(study, error);
    return study;
}

static const char body[] = "evaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64, windows: 2}\n"
                           "calibrate: {text: " PARE_FIXTURES "/calibration.txt, windows: 2, length: 16}\n";

static void expands_ratio_by_ratio(void **state) {
    (void)state;
    static const char wanted[] = "0 dense 0 0 96|0 random 0.25 4 72|0 random 0.25 9 72|0 magnitude 0.25 0 72|0 wanda-sp 0.25 4 72|"
                                 "0 random 0.5 4 48|0 random 0.5 9 48|0 magnitude 0.5 0 48|0 wanda-sp 0.5 4 48|"
                                 "1 dense 0 0 64|1 random 0.25 4 48|1 random 0.25 9 48|1 magnitude 0.25 0 48|1 wanda-sp 0.25 4 48|"
                                 "1 random 0.5 4 32|1 random 0.5 9 32|1 magnitude 0.5 0 32|1 wanda-sp 0.5 4 32|";
    char *folder = test_folder();
    pare_study *study =
        open_study(write_spec(folder, "s.yaml",
                              "models: [" TINY "qwen2, " TINY "mistral.gguf]\n%s"
                              "methods: [random, magnitude, wanda-sp]\nratios: [0.5, 0, 0.25]\nmultiple: 8\nseeds: [4, 9]\n",
                              body));
    pare_string found = {0};
    double work = 1e300;
    for (size_t i = 0; i < study->n_runs; i++) {
        const pare_run *r = &study->runs[i];
        pare_string_print(&found, "%zu %s %g %llu %u|", r->model, pare_run_method(r), r->ratio, (unsigned long long)r->seed, r->n_kept);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(r->key.hex, study->runs[j].key.hex);
        if (r->model == 0) {
            assert_true(r->work > 0 && r->work <= work);
            work = r->work;
        }
    }
    assert_string_equal(found.data, wanted);
    assert_int_equal(study->n_notes, 1); /* magnitude's warning */
    assert_non_null(strstr(study->notes[0], "magnitude"));
    pare_string_free(&found);
    pare_study_close(study);
    remove_folder(folder);
}

static void merges_ratios_of_one_width(void **state) {
    (void)state;
    char *folder = test_folder();
    pare_study *study = open_study(write_spec(folder, "s.yaml",
                                              "models: [{path: " TINY "qwen2, name: Q}]\n%s"
                                              "methods: [random]\nratios: [0.001, 0.3, 0.32, 0.36, 0.95]\nmultiple: 32\n",
                                              body));
    /* of 96: 0.001 leaves 96; 0.3, 0.32, 0.36 leave 64, a third gone; 0.95 one multiple */
    assert_int_equal(study->n_runs, 3);
    assert_true(study->runs[1].ratio == 0.32 && study->runs[1].n_kept == 64);
    assert_true(study->runs[2].ratio == 0.95 && study->runs[2].n_kept == 32);
    assert_int_equal(study->n_notes, 3);
    assert_string_equal(study->notes[0], "Q: ratio 0.001 removes nothing (96 FFN neurons, multiple 32)");
    assert_string_equal(study->notes[1], "Q: ratio 0.3 leaves 64 of 96 FFN neurons, as 0.32 does: merged into it");
    pare_study_close(study);
    remove_folder(folder);
}

/* The same study, its keys in another order, its files elsewhere under other names. */
static void keys_ignore_paths_and_order(void **state) {
    (void)state;
    char *folder = test_folder();
    assert_int_equal(mkdir(in_folder(folder, "moved"), 0777), 0);
    copy_folder(in_folder(folder, "moved"), TINY "qwen2");
    pare_map map;
    pare_error error = {0};
    assert_done(pare_map_open(&map, PARE_FIXTURES "/test.txt", &error), error);
    write_text(in_folder(folder, "t"), (const char *)map.data, map.size);
    pare_map_close(&map);
    pare_study *one = open_study(
        write_spec(folder, "s.yaml", "models: [" TINY "qwen2]\n%smethods: [random, wanda-sp]\nratios: [0.5]\nmultiple: 8\n", body));
    pare_study *two = open_study(write_spec(folder, "u.yaml",
                                            "ledger: x\nmultiple: 8\nratios: {from: 0.5, to: 0.6, step: 0.2}\nmethods: [wanda-sp, random]\n"
                                            "calibrate: {length: 16, windows: 2, text: " PARE_FIXTURES "/calibration.txt}\n"
                                            "evaluate: {windows: 2, protocol: joined64, text: t}\nmodels: [{name: Moved, path: moved}]\n"));
    assert_int_equal(one->n_runs, 3);
    assert_int_equal(two->n_runs, 3);
    assert_string_equal(one->runs[0].key.hex, two->runs[0].key.hex);
    assert_string_equal(one->runs[1].key.hex, two->runs[2].key.hex);
    assert_string_equal(one->runs[2].key.hex, two->runs[1].key.hex);
    pare_study_close(one);
    pare_study_close(two);
    remove_folder(folder);
}

static void refuses_what_cannot_run(void **state) {
    (void)state;
    char *folder = test_folder();
    static const struct {
        const char *spec;
        pare_code code;
        const char *part;
    } cases[] = {
        {"models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined1024}\nmethods: [random]\nratios: [0.5]\n",
         PARE_ERROR_RANGE, "joined1024 takes windows of 1024 tokens, but the model has 512 positions"},
        {"models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined512}\nmethods: [random]\nratios: [0.5]\n",
         PARE_ERROR_RANGE, "joined512 needs at least 512"},
        {"models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\nmethods: [random]\nratios: [0.5]\n"
         "multiple: 97\n",
         PARE_ERROR_RANGE, "multiple 97, but qwen2 has 96 FFN neurons"},
        {"models: [" TINY "qwen2, {path: " TINY "qwen2/, name: again}]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\n"
         "methods: [random]\nratios: [0.5]\n",
         PARE_ERROR_CONFLICT, "s.yaml:1: again and qwen2 (line 1) are the same model"},
        {"models: [" TINY "qwen2]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\nmethods: [wanda-sp]\nratios: [0.5]\n"
         "calibrate: {text: " PARE_FIXTURES "/calibration.txt, length: 100}\n",
         PARE_ERROR_RANGE, "but a calibration window takes 100"},
        {"models: [" PARE_FIXTURES "/test.txt]\nevaluate: {text: " PARE_FIXTURES "/test.txt, protocol: joined64}\nmethods: [random]\n"
         "ratios: [0.5]\n",
         PARE_ERROR_FORMAT, "not a model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pare_error error = {0};
        const char *path = write_spec(folder, "s.yaml", "%s", cases[i].spec);
        assert_fails(pare_study_open(path, NULL, &error), error, cases[i].code, cases[i].part);
    }
    assert_int_equal(mkdir(in_folder(folder, "m"), 0777), 0);
    copy_folder(in_folder(folder, "m"), TINY "qwen2");
    unlink(in_folder(folder, "m/tokenizer.json"));
    pare_error error = {0};
    const char *path = write_spec(folder, "s.yaml", "models: [m]\n%smethods: [random]\nratios: [0.5]\n", body);
    assert_fails(pare_study_open(path, NULL, &error), error, PARE_ERROR_UNSUPPORTED, "no tokenizer, so no text can be evaluated: ");
    remove_folder(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_golden),
        cmocka_unit_test(keys_follow_what_counts),
        cmocka_unit_test(keys_follow_the_recipe),
        cmocka_unit_test(keys_ignore_what_does_not),
        cmocka_unit_test(expands_ratio_by_ratio),
        cmocka_unit_test(merges_ratios_of_one_width),
        cmocka_unit_test(keys_ignore_paths_and_order),
        cmocka_unit_test(refuses_what_cannot_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
