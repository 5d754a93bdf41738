/* peft_config: adapter_config.json of the PEFT package: what of it leaves base + scale B A the whole of the model.
 *
 * One table lists the options that PEFT's LoraConfig has (version 0.21) with the values that change nothing there; every other value, and
 * every option that is set and not in it, is refused by name. Which matrices have an adapter is told by the tensors: target_modules and
 * layers_to_transform must only allow them, for PEFT passes over tensors that they do not. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "peft.h"

/* ---- values that change nothing ---- */

typedef bool harmless(const json_t *value);

static bool anything(const json_t *value) {
    (void)value;
    return true;
}

/* null, false, "", [], {}: PEFT's ways to leave an option out. */
static bool off(const json_t *value) {
    return json_is_null(value) || json_is_false(value) || (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) || (json_is_object(value) && json_object_size(value) == 0);
}

static bool is_null(const json_t *value) {
    return json_is_null(value);
}

static bool no_bias(const json_t *value) {
    return off(value) || (json_is_string(value) && strcmp(json_string_value(value), "none") == 0);
}

/* Starts of A and B alone. All others also take something away from the base's weights. */
static bool plain_start(const json_t *value) {
    static const char *const names[] = {"gaussian", "eva", "orthogonal", "mica"};
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return json_is_boolean(value) || json_is_null(value);
}

/* "layers", which is what these models call them. */
static bool known_layers(const json_t *value) {
    const json_t *name = json_is_array(value) && json_array_size(value) == 1 ? json_array_get(value, 0) : value;
    return off(value) || (json_is_string(name) && strcmp(json_string_value(name), "layers") == 0);
}

static bool truth(const json_t *value) {
    return json_is_boolean(value) || json_is_null(value);
}

static const struct {
    const char *key;
    harmless *passes;
    const char *why; /* the others do not */
} options[] = {
    /* read */
    {"peft_type", anything, NULL},
    {"r", anything, NULL},
    {"lora_alpha", anything, NULL},
    {"use_rslora", truth, "it is neither true nor false"},
    {"target_modules", anything, NULL},
    {"exclude_modules", anything, NULL},
    {"layers_to_transform", anything, NULL},
    {"layers_pattern", known_layers, "the layers of this model are called \"layers\""},
    /* what the adapter is for, and how it was trained */
    {"auto_mapping", anything, NULL},
    {"base_model_name_or_path", anything, NULL},
    {"revision", anything, NULL},
    {"peft_version", anything, NULL},
    {"task_type", anything, NULL},
    {"inference_mode", anything, NULL},
    {"lora_dropout", anything, NULL},
    {"runtime_config", anything, NULL},
    {"ensure_weight_tying", anything, NULL}, /* of embedding and head, whose tensors are refused */
    /* how A and B began, and settings of beginnings */
    {"init_lora_weights", plain_start,
     "the adapter began with a part of the base's weights, which are not the base's any more; convert it to plain LoRA "
     "(save_pretrained with path_initial_model_for_weight_conversion)"},
    {"loftq_config", anything, NULL},
    {"eva_config", anything, NULL},
    {"corda_config", anything, NULL},
    {"lora_ga_config", anything, NULL},
    /* other maths */
    {"bias", no_bias, "biases of the base were trained too"},
    {"fan_in_fan_out", off, "its matrices are transposed"},
    {"modules_to_save", off, "it replaces whole modules of the base"},
    {"rank_pattern", off, "its matrices differ in rank"},
    {"alpha_pattern", off, "its matrices differ in alpha"},
    {"use_dora", off, "DoRA scales the rows of W + BA"},
    {"use_qalora", off, "QALoRA averages the input in groups"},
    {"qalora_group_size", anything, NULL}, /* read with use_qalora alone */
    {"alora_invocation_tokens", is_null, "aLoRA works from these tokens on only"},
    {"layer_replication", off, "it repeats layers of the base"},
    {"lora_bias", off, "its B has a bias"},
    {"target_parameters", off, "it adapts parameters that are no linear layers"},
    {"trainable_token_indices", off, "it replaces rows of the embedding"},
    {"megatron_config", off, "its layers are Megatron's"},
    {"megatron_core", anything, NULL}, /* read with megatron_config alone */
    {"use_bdlora", off, "its A or B are block-diagonal"},
    {"arrow_config", off, "it chooses among adapters token by token"},
    {"monteclora_config", off, "it samples its weights"},
    {"kasa_config", off, "it cuts the base's smallest singular values off"},
    {"velora_config", off, "its tensors are VeLoRA's"},
};
enum { N_OPTIONS = sizeof options / sizeof *options };

/* ---- reading ---- */

static bool refuse(const char *path, const char *key, const json_t *value, const char *why, pare_error *error) {
    pare_string text = {0};
    bool told = pare_json_print_line(&text, value, NULL, NULL);
    pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: \"%.60s\" is %.80s: %s; pare reads plain LoRA, where the model is base + scale B A", path,
              key, told ? text.data : "set", why);
    pare_string_free(&text);
    return false;
}

/* The value of all of a pattern's entries, so that there is no pattern. */
static bool same_everywhere(const char *key, const json_t *value, const json_t *json) {
    const json_t *usual = json_object_get(json, strcmp(key, "rank_pattern") == 0    ? "r"
                                                : strcmp(key, "alpha_pattern") == 0 ? "lora_alpha"
                                                                                    : "");
    bool same = usual && json_is_object(value);
    const char *name;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)value, name, item) same = same && json_number_value(item) == json_number_value(usual);
    return same;
}

static bool check_options(const json_t *json, const char *path, pare_error *error) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        size_t i = 0;
        while (i < N_OPTIONS && strcmp(key, options[i].key) != 0)
            i++;
        if (i == N_OPTIONS && !off(value))
            return refuse(path, key, value, "an option that pare does not know", error);
        if (i < N_OPTIONS && !options[i].passes(value) && !same_everywhere(key, value, json))
            return refuse(path, key, value, options[i].why, error);
    }
    return true;
}

static bool read_numbers(peft_recipe *recipe, const json_t *json, const char *path, pare_error *error) {
    bool rank_stabilised = false;
    if (!pare_json_get_u64(&recipe->rank, json, "r", path, error) ||
        !pare_json_get_double(&recipe->alpha, json, "lora_alpha", path, error) ||
        !pare_json_get_bool(&rank_stabilised, json, "use_rslora", path, error))
        return false;
    if (recipe->rank == 0 || recipe->rank > UINT32_MAX || !(recipe->alpha > 0) || !isfinite(recipe->alpha))
        return pare_fail(error, PARE_ERROR_RANGE, "%s: r is %llu and lora_alpha is %g; both must be there and above 0", path,
                         (unsigned long long)recipe->rank, recipe->alpha);
    if (rank_stabilised) /* its scale alpha / sqrt(r) is that of plain LoRA with alpha sqrt(r); Kalajdzievski 2023 */
        recipe->alpha *= sqrt((double)recipe->rank);
    return true;
}

bool peft_recipe_read(peft_recipe *recipe, const char *path, pare_error *error) {
    const char *type = "";
    *recipe = (peft_recipe){.json = pare_json_read_lenient(path, NULL, error)};
    bool done = recipe->json && pare_json_get_string(&type, recipe->json, "peft_type", path, error);
    if (done && strcmp(type, "LORA") != 0)
        done = pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: peft_type is \"%.40s\"; pare reads LORA", path, type);
    done = done && check_options(recipe->json, path, error) && read_numbers(recipe, recipe->json, path, error);
    if (!done)
        peft_recipe_free(recipe);
    return done;
}

void peft_recipe_free(peft_recipe *recipe) {
    json_decref(recipe->json);
    *recipe = (peft_recipe){0};
}

/* ---- modules ---- */

/* As PEFT matches a list of names: a module's whole path, or an end of it. */
static bool listed(const json_t *list, const char *module) {
    size_t i, length = strlen(module);
    const json_t *item;
    json_array_foreach(list, i, item) {
        const char *name = json_string_value(item);
        size_t n = name ? strlen(name) : 0;
        if (n && n <= length && strcmp(module + length - n, name) == 0 && (n == length || module[length - n - 1] == '.'))
            return true;
    }
    return false;
}

static bool has_number(const json_t *list, uint32_t number) {
    size_t i;
    const json_t *item;
    if (!json_is_array(list))
        return json_integer_value(list) == number;
    json_array_foreach(list, i, item) if (json_is_integer(item) && json_integer_value(item) == number) return true;
    return false;
}

bool peft_recipe_allows(const peft_recipe *recipe, const char *module, uint32_t layer) {
    const json_t *targets = json_object_get(recipe->json, "target_modules"), *layers = json_object_get(recipe->json, "layers_to_transform");
    const json_t *excluded = json_object_get(recipe->json, "exclude_modules");
    return (!json_is_array(targets) || listed(targets, module)) && !listed(excluded, module) &&
           (!layers || off(layers) || has_number(layers, layer));
}
