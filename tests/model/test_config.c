/* config.json in both spellings, transformers' defaults, what is refused and how, and the list of tensors. */
#include <math.h>

#include "fixtures.h"

#define SHAPE                                                                                                                              \
    "\"num_hidden_layers\":2,\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_heads\":4,\"num_key_value_heads\":2,"             \
    "\"vocab_size\":300,\"max_position_embeddings\":128"

static pare_arena *arena; /* of all configurations */

static bool read_config(pare_config *config, const char *text, pare_error *error) {
    json_t *json = pare_json_parse(text, strlen(text), "config.json", error);
    assert_done(json, *error);
    bool done = pare_hf_config_read(config, json, "config.json", arena, error);
    json_decref(json);
    return done;
}

static pare_config good(const char *text) {
    pare_error error = {0};
    pare_config config;
    assert_done(read_config(&config, text, &error), error);
    return config;
}

static void absent_keys_mean_what_they_mean_in_transformers(void **state) {
    (void)state;
    pare_config c = good("{\"model_type\":\"llama\"," SHAPE "}");
    assert_int_equal(c.arch, PARE_ARCH_LLAMA);
    assert_int_equal(c.head_dim, 16);
    assert_true(c.rms_eps == 1e-6);
    assert_int_equal(c.rope.type, PARE_ROPE_DEFAULT);
    assert_true(c.rope.theta == 10000.0);
    assert_false(c.tied || c.attention_bias || c.output_bias || c.mlp_bias);
    assert_int_equal(c.sliding_window, 0);
    assert_int_equal(c.bos, -1);
    c = good("{\"model_type\":\"mistral\"," SHAPE "}");
    assert_int_equal(c.sliding_window, 4096);
    c = good("{\"model_type\":\"mistral\",\"sliding_window\":null," SHAPE "}");
    assert_int_equal(c.sliding_window, 0);
    c = good("{\"model_type\":\"mistral\",\"head_dim\":24,\"attention_bias\":true," SHAPE "}");
    assert_int_equal(c.head_dim, 24);
    assert_false(c.attention_bias); /* Mistral has no such switch */
    c = good("{\"model_type\":\"qwen2\",\"sliding_window\":64," SHAPE "}");
    assert_true(c.attention_bias && !c.output_bias);
    assert_int_equal(c.sliding_window, 0); /* use_sliding_window is false */
    c = good("{\"model_type\":\"qwen2\",\"sliding_window\":64,\"use_sliding_window\":true,\"max_window_layers\":0," SHAPE "}");
    assert_int_equal(c.sliding_window, 64);
    c = good("{\"model_type\":\"qwen2\",\"sliding_window\":64,\"use_sliding_window\":true,\"max_window_layers\":2," SHAPE "}");
    assert_int_equal(c.sliding_window, 0);
    c = good("{\"model_type\":\"llama\",\"attention_bias\":true,\"mlp_bias\":true,\"bos_token_id\":3,\"eos_token_id\":[7,8]," SHAPE "}");
    assert_true(c.attention_bias && c.output_bias && c.mlp_bias);
    assert_int_equal(c.bos, 3);
    assert_int_equal(c.eos, 7);
    c = good("{\"model_type\":\"llama\",\"bos_token_id\":300,\"eos_token_id\":299," SHAPE "}"); /* vocabulary 300 */
    assert_int_equal(c.bos, -1);
    assert_int_equal(c.eos, 299);
}

static void both_spellings_of_rotary_settings_are_read(void **state) {
    (void)state;
    static const char *const spellings[] = {
        "{\"model_type\":\"llama\",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1."
        "0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}," SHAPE "}",
        "{\"model_type\":\"llama\",\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":"
        "1,"
        "\"high_freq_factor\":4,\"original_max_position_embeddings\":8192}," SHAPE "}",
        "{\"model_type\":\"llama\",\"rope_theta\":500000,\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192},\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":"
        "1.0}," SHAPE "}",
    };
    for (size_t i = 0; i < 3; i++) {
        pare_config c = good(spellings[i]);
        assert_int_equal(c.rope.type, PARE_ROPE_LLAMA3);
        assert_true(c.rope.theta == 500000.0 && c.rope.factor == 8.0 && c.rope.low_freq_factor == 1.0 && c.rope.high_freq_factor == 4.0);
        assert_int_equal(c.rope.original_positions, 8192);
    }
    pare_config c = good("{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.5}," SHAPE "}");
    assert_int_equal(c.rope.type, PARE_ROPE_LINEAR);
    assert_true(c.rope.factor == 2.5);
    c = good("{\"model_type\":\"llama\",\"rope_scaling\":null,\"rope_parameters\":{\"rope_theta\":7.5,\"rope_type\":\"default\"}," SHAPE
             "}");
    assert_int_equal(c.rope.type, PARE_ROPE_DEFAULT);
    assert_true(c.rope.theta == 7.5);
}

/* Wavelengths 2 pi theta^(2i/d) against 8192/4 and 8192/1, by hand for theta 500000, d 16: factors 1, 1, 1, 1, then the ramp. */
static void llama3_factors_ramp_between_the_two_wavelengths(void **state) {
    (void)state;
    pare_rope rope = {PARE_ROPE_LLAMA3, 500000.0, 8.0, 1.0, 4.0, 8192, NULL};
    double before = 0;
    for (uint32_t i = 0; i < 64; i++) {
        double wavelength = 2 * acos(-1.0) * pow(500000.0, i / 64.0), factor = pare_rope_factor(&rope, i, 128);
        if (wavelength <= 2047)
            assert_true(factor == 1.0);
        if (wavelength >= 8193)
            assert_true(factor == 8.0);
        assert_true(factor >= before);
        before = factor;
    }
    assert_true(before == 8.0);
    rope.type = PARE_ROPE_DEFAULT;
    assert_true(pare_rope_factor(&rope, 63, 128) == 1.0);
    rope.type = PARE_ROPE_LINEAR;
    assert_true(pare_rope_factor(&rope, 0, 128) == 8.0);
}

static void bad_configurations_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text;
        pare_code code;
        const char *part;
    } cases[] = {
        {"[]", PARE_ERROR_FORMAT, "not an object"},
        {"{" SHAPE "}", PARE_ERROR_FORMAT, "\"model_type\" is missing"},
        {"{\"model_type\":\"gpt2\"," SHAPE "}", PARE_ERROR_UNSUPPORTED, "model_type \"gpt2\"; pare knows llama, mistral and qwen2"},
        {"{\"model_type\":7," SHAPE "}", PARE_ERROR_FORMAT, "\"model_type\" is not a string"},
        {"{\"model_type\":\"llama\",\"hidden_act\":\"gelu\"," SHAPE "}", PARE_ERROR_UNSUPPORTED, "hidden_act \"gelu\""},
        {"{\"model_type\":\"llama\",\"quantization_config\":{\"bits\":4}," SHAPE "}", PARE_ERROR_UNSUPPORTED, "quantization_config"},
        {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}," SHAPE "}", PARE_ERROR_UNSUPPORTED,
         "by gptq"},
        {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_8bit\":true}," SHAPE "}",
         PARE_ERROR_UNSUPPORTED, "by bitsandbytes"},
        {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"a\":{}}}," SHAPE
         "}",
         PARE_ERROR_UNSUPPORTED, "by compressed-tensors"},
        {"{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"transform_config\":{\"a\":1}}," SHAPE
         "}",
         PARE_ERROR_UNSUPPORTED, "by compressed-tensors"},
        {"{\"model_type\":\"llama\",\"compression_config\":{\"sparsity_config\":{\"format\":\"sparse-bitmask\"}}," SHAPE "}",
         PARE_ERROR_UNSUPPORTED, "compression_config"},
        {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4.0}," SHAPE "}", PARE_ERROR_UNSUPPORTED,
         "\"yarn\"; pare knows default, linear and llama3"},
        {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":4.0}," SHAPE "}", PARE_ERROR_UNSUPPORTED,
         "\"dynamic\""},
        {"{\"model_type\":\"llama\",\"rope_scaling\":{\"rope_type\":\"longrope\"}," SHAPE "}", PARE_ERROR_UNSUPPORTED, "\"longrope\""},
        {"{\"model_type\":\"llama\",\"rope_scaling\":[1]," SHAPE "}", PARE_ERROR_FORMAT, "rotary"},
        {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"linear\"}," SHAPE "}", PARE_ERROR_RANGE, "scaling factor"},
        {"{\"model_type\":\"llama\",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8.0}," SHAPE "}", PARE_ERROR_RANGE, "low_freq_factor"},
        {"{\"model_type\":\"llama\",\"rope_theta\":0," SHAPE "}", PARE_ERROR_RANGE, "rope_theta"},
        {"{\"model_type\":\"llama\",\"rope_parameters\":{\"full_attention\":{\"rope_theta\":1.0}}," SHAPE "}", PARE_ERROR_UNSUPPORTED,
         "layer type"},
        {"{\"model_type\":\"llama\",\"is_causal\":false," SHAPE "}", PARE_ERROR_UNSUPPORTED, "is_causal is false"},
        {"{\"model_type\":\"llama\",\"partial_rotary_factor\":0.5," SHAPE "}", PARE_ERROR_UNSUPPORTED, "partial_rotary_factor"},
        {"{\"model_type\":\"llama\",\"rms_norm_eps\":2.0," SHAPE "}", PARE_ERROR_RANGE, "rms_norm_eps"},
        {"{\"model_type\":\"llama\",\"rms_norm_eps\":\"x\"," SHAPE "}", PARE_ERROR_FORMAT, "rms_norm_eps"},
        {"{\"model_type\":\"llama\",\"tie_word_embeddings\":1," SHAPE "}", PARE_ERROR_FORMAT, "tie_word_embeddings"},
        {"{\"model_type\":\"llama\",\"head_dim\":15," SHAPE "}", PARE_ERROR_SHAPE, "odd"},
        {"{\"model_type\":\"llama\"}", PARE_ERROR_RANGE, "the number of layers is missing or zero"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":-1}", PARE_ERROR_FORMAT, "num_hidden_layers"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":1e9,"
         "\"hidden_size\":64}",
         PARE_ERROR_RANGE, "the number of layers is out of range"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":99999999999}", PARE_ERROR_RANGE, "more than any model has"},
        {"{\"model_type\":\"llama\",\"num_hidden_layers\":2,\"hidden_size\":64,\"intermediate_size\":96,\"num_attention_heads\":4,"
         "\"num_key_value_heads\":3,\"vocab_size\":300}",
         PARE_ERROR_SHAPE, "4 attention heads are no multiple of 3"},
        {"{\"model_type\":\"qwen2\",\"sliding_window\":64,\"use_sliding_window\":true,\"max_window_layers\":1," SHAPE "}",
         PARE_ERROR_UNSUPPORTED, "some layers only (1 of 2"},
        {"{\"model_type\":\"qwen2\",\"sliding_window\":64,\"use_sliding_window\":true,\"layer_types\":[\"full_attention\",\"sliding_"
         "attention\"]," SHAPE "}",
         PARE_ERROR_UNSUPPORTED, "some layers only (1 of 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        pare_config config;
        assert_fails(read_config(&config, cases[i].text, &error), error, cases[i].code, cases[i].part);
        assert_non_null(strstr(error.message, "config.json"));
    }
}

/* Other words for what pare knows, and settings that set nothing. */
static void other_spellings_are_read(void **state) {
    (void)state;
    static const char *const texts[] = {
        "{\"model_type\":\"llama\",\"hidden_act\":\"swish\"," SHAPE "}",
        "{\"model_type\":\"llama\",\"hidden_act\":\"SiLU\"," SHAPE "}",
        "{\"model_type\":\"llama\",\"hidden_act\":null," SHAPE "}",
        "{\"model_type\":\"llama\",\"quantization_config\":null," SHAPE "}",
        "{\"model_type\":\"llama\",\"quantization_config\":{}," SHAPE "}",
        "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":false}," SHAPE "}",
        "{\"model_type\":\"llama\",\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"dense\",\"config_groups\":"
        "{},"
        "\"ignore\":[\"lm_head\"],\"kv_cache_scheme\":null,\"sparsity_config\":{\"format\":\"dense\",\"sparsity_structure\":\"2:4\"}}"
        "," SHAPE "}",
        "{\"model_type\":\"llama\",\"compression_config\":{\"sparsity_config\":{\"format\":\"dense\"}}," SHAPE "}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(good(texts[i]).width, 64);
}

typedef struct {
    size_t n, stop_at;
    uint64_t weights;
    char last[128];
} visited;

static bool count_tensor(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    visited *v = user;
    v->weights += n_dims == 2 ? dims[0] * dims[1] : dims[0];
    snprintf(v->last, sizeof v->last, "%s", name);
    return ++v->n != v->stop_at || pare_fail(error, PARE_ERROR_CANCELLED, "stop");
}

static void tensors_are_visited_in_order_of_layers(void **state) {
    (void)state;
    pare_error error = {0};
    pare_config c = good("{\"model_type\":\"qwen2\"," SHAPE "}");
    visited v = {0};
    c.n_layers = 12;
    assert_done(pare_config_visit_tensors(&c, count_tensor, &v, &error), error);
    assert_int_equal(v.n, 1 + 12 * (9 + 3) + 2);
    assert_string_equal(v.last, "lm_head.weight");
    assert_int_equal(v.weights, 2 * 300 * 64 + 64 + 12 * (2 * 64 + 64 * 64 * 2 + 32 * 64 * 2 + 64 + 32 + 32 + 3 * 64 * 96));
    v = (visited){.stop_at = 1 + 12 * 9 + 2}; /* the third layer comes after the second, not after the twentieth */
    assert_fails(pare_config_visit_tensors(&c, count_tensor, &v, &error), error, PARE_ERROR_CANCELLED, "stop");
    assert_string_equal(v.last, "model.layers.9.self_attn.q_proj.weight");
}

#define OWN(layers) "{\"model_type\":\"pare\",\"pare\":{\"architecture\":\"qwen2\",\"layers\":[" layers "]}," SHAPE "}"
#define LAYER(ffn, heads, groups) "{\"intermediate_size\":" #ffn ",\"num_attention_heads\":" #heads ",\"num_key_value_heads\":" #groups "}"

static void own_format_lists_layers(void **state) {
    (void)state;
    pare_config c = good(OWN(LAYER(96, 2, 1) "," LAYER(32, 4, 2)));
    assert_int_equal(c.arch, PARE_ARCH_QWEN2);
    assert_true(c.shapes && c.shapes[0].ffn_width == 96 && c.shapes[1].ffn_width == 32 && c.shapes[0].n_heads == 2);
    static const struct {
        const char *text, *problem;
    } bad[] = {
        {"{\"model_type\":\"pare\"," SHAPE "}", "without"},
        {OWN(LAYER(96, 2, 1)), "lists 1 layers"},
        {OWN(LAYER(97, 2, 1) "," LAYER(32, 4, 2)), "layer 0 is larger than the largest"},
        {OWN(LAYER(96, 3, 2) "," LAYER(32, 4, 2)), "no multiple"},
        {OWN(LAYER(0, 2, 1) "," LAYER(32, 4, 2)), "layer 0: \"intermediate_size\" is missing or zero"},
        {OWN("7," LAYER(32, 4, 2)), "layer 0: not an object"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        pare_error error = {0};
        assert_false(read_config(&c, bad[i].text, &error));
        assert_non_null(strstr(error.message, bad[i].problem));
    }
}

static int open_arena(void **state) {
    (void)state;
    arena = pare_arena_open(NULL);
    return arena ? 0 : -1;
}

static int close_arena(void **state) {
    (void)state;
    pare_arena_close(arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_mean_what_they_mean_in_transformers),
        cmocka_unit_test(both_spellings_of_rotary_settings_are_read),
        cmocka_unit_test(llama3_factors_ramp_between_the_two_wavelengths),
        cmocka_unit_test(bad_configurations_are_named),
        cmocka_unit_test(tensors_are_visited_in_order_of_layers),
        cmocka_unit_test(own_format_lists_layers),
        cmocka_unit_test(other_spellings_are_read),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
