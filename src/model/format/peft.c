/* peft: adapters as the PEFT package stores them: adapter_config.json and adapter_model.safetensors in one folder.
 *
 * Tensors are called base_model.model.model.layers.N.self_attn.q_proj.lora_A.weight (rank, in) and …lora_B.weight (out, rank).
 * Only plain LoRA is read: every option that changes what is computed is refused by name. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format.h"
#include "pare/trainable.h"

enum { PATH_BYTES = 4096, NAME_BYTES = 128 };

static const char weights_file[] = "adapter_model.safetensors", config_file[] = "adapter_config.json";

static const char *tensor_name(char name[NAME_BYTES], uint32_t layer, int projection, bool b) {
    snprintf(name, NAME_BYTES, "base_model.model.model.layers.%u.%s.lora_%c.weight", layer,
             pare_projection_path((pare_projection)projection), b ? 'B' : 'A');
    return name;
}

static bool join(char path[PATH_BYTES], const char *folder, const char *name, pare_error *error) {
    return snprintf(path, PATH_BYTES, "%s/%s", folder, name) < PATH_BYTES ||
           pare_fail(error, PARE_ERROR_IO, "%s/%s: the name is too long", folder, name);
}

/* ---- reading ---- */

typedef struct {
    uint64_t rank;
    double alpha;
    bool targets[PARE_PROJECTIONS];
} recipe;

/* Set to anything but what plain LoRA has: false, null, "none", empty. */
static bool is_set(const json_t *value) {
    if (json_is_string(value))
        return json_string_length(value) > 0 && strcmp(json_string_value(value), "none") != 0;
    return value && !json_is_null(value) && !json_is_false(value) && json_array_size(value) + json_object_size(value) > 0;
}

static bool refuse_variants(const json_t *json, const char *path, pare_error *error) {
    static const char *const flags[] = {"use_dora", "use_rslora", "fan_in_fan_out", "use_qalora", "lora_bias"};
    static const char *const others[] = {"rank_pattern", "alpha_pattern",     "modules_to_save",   "layers_to_transform",
                                         "bias",         "layer_replication", "target_parameters", "trainable_token_indices"};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (json_is_true(json_object_get(json, flags[i])))
            return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: \"%s\" is set; pare reads plain LoRA only", path, flags[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (is_set(json_object_get(json, others[i])))
            return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: \"%s\" is set; pare reads plain LoRA only", path, others[i]);
    return true;
}

static bool read_targets(recipe *r, const json_t *list, const char *path, pare_error *error) {
    size_t index;
    const json_t *item;
    json_array_foreach((json_t *)(uintptr_t)list, index, item) {
        const char *name = json_string_value(item);
        int found = -1;
        for (int p = 0; p < PARE_PROJECTIONS; p++)
            if (name && strcmp(name, pare_projection_name((pare_projection)p)) == 0)
                found = p;
        if (found < 0)
            return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: target \"%.60s\" is none of the seven projections", path,
                             name ? name : "?");
        r->targets[found] = true;
    }
    return json_array_size(list) > 0 || pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: \"target_modules\" is no list of projections", path);
}

static bool read_recipe(recipe *r, const char *folder, pare_error *error) {
    char path[PATH_BYTES];
    const char *type = "";
    if (!join(path, folder, config_file, error))
        return false;
    if (!pare_path_exists(path))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not an adapter: no %s in this folder", folder, config_file);
    json_t *json = pare_json_read_lenient(path, NULL, error);
    bool done = json && pare_json_get_string(&type, json, "peft_type", path, error) &&
                pare_json_get_u64(&r->rank, json, "r", path, error) && pare_json_get_double(&r->alpha, json, "lora_alpha", path, error);
    if (done && strcmp(type, "LORA") != 0)
        done = pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: peft_type is \"%.40s\"; pare reads LORA", path, type);
    if (done && (r->rank == 0 || r->rank > UINT32_MAX || !(r->alpha > 0) || !isfinite(r->alpha)))
        done = pare_fail(error, PARE_ERROR_RANGE, "%s: r is %llu, lora_alpha %g", path, (unsigned long long)r->rank, r->alpha);
    done = done && refuse_variants(json, path, error) && read_targets(r, json_object_get(json, "target_modules"), path, error);
    json_decref(json);
    return done;
}

static bool read_matrix(float *out, pare_tensor_list *list, const char *name, uint64_t rows, uint64_t columns, const char *path,
                        pare_error *error) {
    char wanted[PARE_SHAPE_TEXT], found[PARE_SHAPE_TEXT];
    const uint64_t dims[2] = {rows, columns};
    pare_file_tensor *item = pare_tensor_list_find(list, name);
    pare_shape_print(wanted, 2, dims);
    if (!item)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s of shape %s is missing", path, name, wanted);
    const pare_tensor *t = &item->tensor;
    if (t->n_dims != 2 || t->dims[0] != rows || t->dims[1] != columns)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s has shape %s, this model needs %s: an adapter for another base", path,
                         name, pare_shape_print(found, t->n_dims, t->dims), wanted);
    if (t->dtype == PARE_DTYPE_COUNT)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: tensor %s is of dtype %s; pare reads F32, F16 and BF16 here", path, name,
                         item->type);
    pare_view view = pare_view_all(t);
    pare_view_read(out, &view, 0, view.n_rows, NULL);
    for (uint64_t i = 0; i < rows * columns; i++)
        if (!isfinite(out[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "%s: tensor %s: element %llu is not finite", path, name, (unsigned long long)i);
    item->used = true;
    return true;
}

static bool read_weights(pare_adapters *adapters, const pare_config *config, pare_tensor_list *list, const char *path, pare_error *error) {
    char name[NAME_BYTES];
    for (uint32_t layer = 0; layer < adapters->n_layers; layer++) {
        pare_adapter_shape shapes[PARE_PROJECTIONS];
        pare_adapter_shapes(shapes, config, layer);
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const pare_adapter *item = &adapters->items[(size_t)layer * PARE_PROJECTIONS + (size_t)p];
            if (item->rank && (!read_matrix(item->a, list, tensor_name(name, layer, p, false), item->rank, shapes[p].in, path, error) ||
                               !read_matrix(item->b, list, tensor_name(name, layer, p, true), shapes[p].out, item->rank, path, error)))
                return false;
        }
    }
    for (size_t i = 0; i < list->n; i++)
        if (!list->items[i].used)
            return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s is left over: an adapter for another base", path,
                             list->items[i].tensor.name);
    return true;
}

pare_adapters *pare_adapters_read(const char *folder, const pare_config *config, pare_error *error) {
    recipe r = {0};
    char path[PATH_BYTES];
    pare_map map;
    if (!read_recipe(&r, folder, error) || !join(path, folder, weights_file, error) || !pare_map_open(&map, path, error))
        return NULL;
    pare_tensor_list list = {0};
    pare_arena *arena = pare_arena_open(error);
    pare_adapters *adapters = arena ? pare_adapters_open(config, (uint32_t)r.rank, r.alpha, r.targets, 0, error) : NULL;
    if (adapters && (!pare_safetensors_read(&list, &map, path, arena, error) || !pare_tensor_list_sort(&list, error) ||
                     !read_weights(adapters, config, &list, path, error))) {
        pare_adapters_close(adapters);
        adapters = NULL;
    }
    pare_tensor_list_free(&list);
    pare_arena_close(arena);
    pare_map_close(&map);
    return adapters;
}

/* ---- writing ---- */

/* Calls back with every matrix in the order of the file. */
typedef bool matrix_call(void *user, const char *name, const float *values, uint64_t rows, uint64_t columns, pare_error *error);
static bool each_matrix(const pare_adapters *adapters, const pare_config *config, matrix_call *call, void *user, pare_error *error) {
    char name[NAME_BYTES];
    for (uint32_t layer = 0; layer < adapters->n_layers; layer++) {
        pare_adapter_shape shapes[PARE_PROJECTIONS];
        pare_adapter_shapes(shapes, config, layer);
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const pare_adapter *item = &adapters->items[(size_t)layer * PARE_PROJECTIONS + (size_t)p];
            if (item->rank && (!call(user, tensor_name(name, layer, p, false), item->a, item->rank, shapes[p].in, error) ||
                               !call(user, tensor_name(name, layer, p, true), item->b, shapes[p].out, item->rank, error)))
                return false;
        }
    }
    return true;
}

typedef struct {
    pare_string text;
    uint64_t offset;
} header;

static bool head_matrix(void *user, const char *name, const float *values, uint64_t rows, uint64_t columns, pare_error *error) {
    header *h = user;
    (void)values;
    (void)error;
    uint64_t bytes = rows * columns * sizeof(float);
    pare_string_print(&h->text, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[%llu,%llu],\"data_offsets\":[%llu,%llu]}", name,
                      (unsigned long long)rows, (unsigned long long)columns, (unsigned long long)h->offset,
                      (unsigned long long)(h->offset + bytes));
    h->offset += bytes;
    return true;
}

static bool put_matrix(void *user, const char *name, const float *values, uint64_t rows, uint64_t columns, pare_error *error) {
    (void)name;
    return pare_output_write(user, values, (size_t)(rows * columns) * sizeof(float), error);
}

static bool write_weights(const char *path, const pare_adapters *adapters, const pare_config *config, pare_error *error) {
    header h = {0};
    uint8_t length[8];
    pare_string_print(&h.text, "{\"__metadata__\":{\"format\":\"pt\"}");
    bool done = each_matrix(adapters, config, head_matrix, &h, error);
    pare_string_print(&h.text, "}");
    pare_string_print(&h.text, "%*s", (int)((8 - h.text.length % 8) % 8), "");
    for (unsigned i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)h.text.length >> (8 * i));
    pare_output *out = done && pare_string_check(&h.text, error) ? pare_output_open(path, false, error) : NULL;
    done = out && pare_output_write(out, length, sizeof length, error) && pare_output_write(out, h.text.data, h.text.length, error) &&
           each_matrix(adapters, config, put_matrix, out, error);
    pare_string_free(&h.text);
    if (done)
        return pare_output_commit(out, error);
    pare_output_abandon(out);
    return false;
}

static json_t *config_json(const pare_adapters *adapters, const char *base) {
    json_t *targets = json_array();
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        if (adapters->targets[p])
            json_array_append_new(targets, json_string(pare_projection_name((pare_projection)p)));
    return json_pack("{s:s, s:s, s:s, s:i, s:f, s:f, s:s, s:b, s:b, s:o}", "peft_type", "LORA", "task_type", "CAUSAL_LM",
                     "base_model_name_or_path", base, "r", (int)adapters->rank, "lora_alpha", adapters->alpha, "lora_dropout", 0.0, "bias",
                     "none", "fan_in_fan_out", 0, "inference_mode", 1, "target_modules", targets);
}

bool pare_adapters_write(const char *path, const pare_adapters *adapters, const pare_config *config, const char *base, pare_error *error) {
    char weights[PATH_BYTES];
    pare_folder *folder = pare_folder_open(path, error);
    if (!folder)
        return false;
    json_t *json = config_json(adapters, base);
    bool done = json || pare_fail(error, PARE_ERROR_MEMORY, "out of memory while %s was put together", config_file);
    done = done && join(weights, pare_folder_path(folder), weights_file, error) && write_weights(weights, adapters, config, error) &&
           pare_hf_json_write(pare_folder_path(folder), config_file, json, error);
    json_decref(json);
    if (done)
        return pare_folder_commit(folder, error);
    pare_folder_abandon(folder);
    return false;
}
