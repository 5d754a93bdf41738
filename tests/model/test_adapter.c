/* Adapters of the PEFT package: which options may be set, by name; on which matrices they lie, by their tensors; their scale. */
#include <math.h>
#include <sys/stat.h>

#include "fixtures.h"
#include "pare/trainable.h"

static char *work;
static pare_checkpoint *base;

static int make_work(void **state) {
    (void)state;
    work = test_folder();
    base = open_fixture("llama3");
    return work ? 0 : -1;
}

static int remove_work(void **state) {
    (void)state;
    pare_checkpoint_close(base);
    remove_all(work);
    return 0;
}

enum { RANK = 4 };

/* A folder of an adapter with numbers in it, on targets (n_layers, PARE_PROJECTIONS). */
static const char *save(const bool *targets) {
    static char path[512];
    static unsigned n;
    pare_error error = {0};
    pare_adapters *adapters = pare_adapters_open_on(&base->config, RANK, 8, targets, 1, &error);
    assert_done(adapters, error);
    for (size_t i = 0; i < adapters->n_values; i++)
        adapters->values[i] = (float)(0.1 * sin(1.0 + (double)i));
    snprintf(path, sizeof path, "%s/adapter-%u", work, n++);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_done(pare_adapters_write_in(path, adapters, &base->config, "a base", &error), error);
    pare_adapters_close(adapters);
    return path;
}

/* On q_proj of every layer. */
static const char *save_q(void) {
    bool targets[64] = {false};
    for (uint32_t i = 0; i < base->config.n_layers; i++)
        targets[i * PARE_PROJECTIONS + PARE_Q] = true;
    return save(targets);
}

/* One key of its adapter_config.json becomes this value. */
static void set(const char *folder, const char *key, const char *value) {
    pare_error error = {0};
    pare_string text = {0};
    const char *path = inside(folder, "adapter_config.json");
    json_t *json = pare_json_read(path, &error), *new = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_done(json, error);
    assert_non_null(new);
    json_object_set_new(json, key, new);
    assert_done(pare_json_print(&text, json, NULL, &error), error);
    write_file(path, text.data, text.length);
    pare_string_free(&text);
    json_decref(json);
}

static void options_that_change_nothing_pass(void **state) {
    (void)state;
    static const char *const pass[][2] = {
        {"init_lora_weights", "false"},
        {"init_lora_weights", "\"gaussian\""},
        {"init_lora_weights", "\"eva\""},
        {"init_lora_weights", "\"orthogonal\""},
        {"eva_config", "{\"rho\": 2.0}"},
        {"corda_config", "{\"corda_method\": \"kpm\"}"},
        {"peft_version", "\"0.21.0\""},
        {"auto_mapping", "{\"base_model_class\": \"LlamaForCausalLM\"}"},
        {"megatron_core", "\"megatron.core\""},
        {"qalora_group_size", "16"},
        {"rank_pattern", "{}"},
        {"rank_pattern", "{\"q_proj\": 4}"},
        {"alpha_pattern", "{\"q_proj\": 8.0}"},
        {"modules_to_save", "[]"},
        {"lora_dropout", "0.1"},
        {"layers_pattern", "\"layers\""},
        {"bias", "\"none\""},
        {"alora_invocation_tokens", "null"},
        {"an_option_of_next_year", "null"},
        {"an_option_of_next_year", "false"},
        {"target_modules", "[\"self_attn.q_proj\"]"},
        {"target_modules", "[\"v_proj\", \"q_proj\", \"lm_head\"]"},
        {"target_modules", "\"all-linear\""},
        {"target_modules", "\".*\\\\.(q|v)_proj$\""},
        {"target_modules", "null"},
        {"exclude_modules", "[\"v_proj\"]"},
        {"layers_to_transform", "[0, 1]"},
    };
    for (size_t i = 0; i < sizeof pass / sizeof *pass; i++) {
        pare_error error = {0};
        const char *folder = save_q();
        set(folder, pass[i][0], pass[i][1]);
        pare_adapters *adapters = pare_adapters_read(folder, &base->config, &error);
        assert_done(adapters, error);
        assert_true(adapters->items[PARE_Q].rank == RANK && adapters->items[PARE_Q].scale == 2 && adapters->items[PARE_V].rank == 0);
        pare_adapters_close(adapters);
    }
}

static void options_that_change_the_maths_are_refused_by_name(void **state) {
    (void)state;
    static const char *const fail[][2] = {
        {"init_lora_weights", "\"pissa\""},
        {"init_lora_weights", "\"pissa_niter_4\""},
        {"init_lora_weights", "\"olora\""},
        {"init_lora_weights", "\"corda\""},
        {"init_lora_weights", "\"loftq\""},
        {"init_lora_weights", "\"lora_ga\""},
        {"init_lora_weights", "\"of_next_year\""},
        {"init_lora_weights", "1"},
        {"use_dora", "true"},
        {"use_dora", "1"},
        {"use_qalora", "true"},
        {"fan_in_fan_out", "true"},
        {"lora_bias", "true"},
        {"bias", "\"all\""},
        {"bias", "\"lora_only\""},
        {"rank_pattern", "{\"k_proj\": 8}"},
        {"alpha_pattern", "{\"layers.0.self_attn.q_proj\": 32}"},
        {"modules_to_save", "[\"lm_head\"]"},
        {"layer_replication", "[[0, 1], [0, 1]]"},
        {"megatron_config", "{\"hidden_size\": 64}"},
        {"target_parameters", "[\"mlp.experts.down_proj\"]"},
        {"trainable_token_indices", "[3]"},
        {"trainable_token_indices", "{\"embed_tokens\": [3]}"},
        {"alora_invocation_tokens", "[5, 6]"},
        {"use_bdlora", "{\"nblocks\": 2}"},
        {"arrow_config", "{\"top_k\": 3}"},
        {"kasa_config", "{\"beta\": 0.1}"},
        {"monteclora_config", "{\"num_samples\": 2}"},
        {"velora_config", "{\"num_groups\": 2}"},
        {"layers_pattern", "[\"h\"]"},
        {"an_option_of_next_year", "true"},
        {"an_option_of_next_year", "0"},
        {"use_rslora", "\"yes\""},
    };
    for (size_t i = 0; i < sizeof fail / sizeof *fail; i++) {
        pare_error error = {0};
        char named[128];
        const char *folder = save_q();
        set(folder, fail[i][0], fail[i][1]);
        snprintf(named, sizeof named, "\"%s\" is ", fail[i][0]);
        assert_fails(pare_adapters_read(folder, &base->config, &error), error, PARE_ERROR_UNSUPPORTED, named);
    }
}

static void rank_and_alpha_are_needed(void **state) {
    (void)state;
    static const char *const fail[][2] = {{"lora_alpha", "null"}, {"lora_alpha", "0"}, {"r", "0"}};
    for (size_t i = 0; i < sizeof fail / sizeof *fail; i++) {
        pare_error error = {0};
        const char *folder = save_q();
        set(folder, fail[i][0], fail[i][1]);
        assert_fails(pare_adapters_read(folder, &base->config, &error), error, PARE_ERROR_RANGE, "both must be there and above 0");
    }
}

/* What the configuration leaves out PEFT would not load. */
static void tensors_outside_the_targets_are_refused(void **state) {
    (void)state;
    static const char *const fail[][2] = {
        {"target_modules", "[\"v_proj\"]"},
        {"target_modules", "[\"proj\"]"},
        {"target_modules", "[]"},
        {"exclude_modules", "[\"q_proj\"]"},
        {"layers_to_transform", "[1, 10]"},
        {"layers_to_transform", "1"},
        {"target_modules", "[\"1.self_attn.q_proj\"]"},
    };
    for (size_t i = 0; i < sizeof fail / sizeof *fail; i++) {
        pare_error error = {0};
        const char *folder = save_q();
        set(folder, fail[i][0], fail[i][1]);
        assert_fails(pare_adapters_read(folder, &base->config, &error), error, PARE_ERROR_UNSUPPORTED,
                     "tensor base_model.model.model.layers.0.self_attn.q_proj.lora_");
    }
}

/* Some matrices of some layers: read, and written with their whole paths, so that PEFT adapts no others. */
static void the_tensors_say_what_is_adapted(void **state) {
    (void)state;
    pare_error error = {0};
    bool targets[64] = {[PARE_K] = true, [PARE_PROJECTIONS + PARE_DOWN] = true};
    const char *folder = save(targets);
    size_t n;
    char *text = read_file(inside(folder, "adapter_config.json"), &n);
    assert_non_null(strstr(text, "\"model.layers.0.self_attn.k_proj\""));
    assert_non_null(strstr(text, "\"model.layers.1.mlp.down_proj\""));
    pare_free(text);
    pare_adapters *adapters = pare_adapters_read(folder, &base->config, &error);
    assert_done(adapters, error);
    for (uint32_t i = 0; i < base->config.n_layers * PARE_PROJECTIONS; i++)
        assert_int_equal(adapters->items[i].rank, targets[i] ? RANK : 0);
    for (size_t i = 0; i < RANK; i++)
        assert_true(adapters->items[PARE_K].a[i] == (float)(0.1 * sin(1.0 + (double)i)));
    pare_adapters_close(adapters);
}

static void rank_stabilised_lora_has_its_own_scale(void **state) {
    (void)state;
    pare_error error = {0};
    const char *folder = save_q();
    set(folder, "use_rslora", "true");
    pare_adapters *adapters = pare_adapters_read(folder, &base->config, &error);
    assert_done(adapters, error);
    assert_true(adapters->items[PARE_Q].scale == 4); /* 8 / sqrt(4) */
    char again[600];
    snprintf(again, sizeof again, "%s-again", folder);
    assert_int_equal(mkdir(again, 0777), 0);
    assert_done(pare_adapters_write_in(again, adapters, &base->config, "a base", &error), error);
    pare_adapters_close(adapters);
    assert_done(adapters = pare_adapters_read(again, &base->config, &error), error);
    assert_true(adapters->items[PARE_Q].scale == 4);
    pare_adapters_close(adapters);
}

/* Tensors renamed in place: the new name must be as long as the old one. */
static void rename_tensor(const char *folder, const char *old, const char *new) {
    size_t n, length = strlen(old);
    char *bytes = read_file(inside(folder, "adapter_model.safetensors"), &n);
    assert_int_equal(length, strlen(new));
    for (size_t i = 0; i + length <= n; i++)
        if (memcmp(bytes + i, old, length) == 0)
            memcpy(bytes + i, new, length);
    write_file(inside(folder, "adapter_model.safetensors"), bytes, n);
    pare_free(bytes);
}

static void tensors_of_other_kinds_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *old, *new, *part;
        pare_code code;
    } cases[] = {
        {"0.self_attn.q_proj.lora_B.weight", "0.self_attn.q_proj.lora_M.vector", "lora_M.vector is left over", PARE_ERROR_UNSUPPORTED},
        {"0.self_attn.q_proj.lora_B", "0.self_attn.x_proj.lora_B", "x_proj.lora_B.weight is left over", PARE_ERROR_UNSUPPORTED},
        {"0.self_attn.q_proj.lora_A", "9.self_attn.q_proj.lora_A", "an adapter for another base", PARE_ERROR_SHAPE},
        {"0.self_attn.q_proj.lora_A", "0.self_attn.k_proj.lora_A", "is there without its lora_", PARE_ERROR_SHAPE},
        {"model.layers.0.self_attn.q_proj.lora_A.weight", "model.layers.00.self_attn.q_proj.loraA.weight", "left over",
         PARE_ERROR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        const char *folder = save_q();
        set(folder, "target_modules", "[\"q_proj\", \"k_proj\"]");
        rename_tensor(folder, cases[i].old, cases[i].new);
        assert_fails(pare_adapters_read(folder, &base->config, &error), error, cases[i].code, cases[i].part);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rank_and_alpha_are_needed),
        cmocka_unit_test(options_that_change_nothing_pass),
        cmocka_unit_test(options_that_change_the_maths_are_refused_by_name),
        cmocka_unit_test(tensors_outside_the_targets_are_refused),
        cmocka_unit_test(the_tensors_say_what_is_adapted),
        cmocka_unit_test(rank_stabilised_lora_has_its_own_scale),
        cmocka_unit_test(tensors_of_other_kinds_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
