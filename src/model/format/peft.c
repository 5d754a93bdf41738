/* peft: adapters as the PEFT package stores them: adapter_config.json and adapter_model.safetensors in one folder.
 *
 * Tensors are called base_model.model.model.layers.N.self_attn.q_proj.lora_A.weight (rank, in) and …lora_B.weight (out, rank).
 * Only plain LoRA is read: peft_config.c refuses every option that changes what is computed. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "format.h"
#include "pare/trainable.h"
#include "peft.h"

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

/* The two matrices of each projection of each layer, NULL where there are none. */
typedef struct {
    const pare_file_tensor *a, *b;
} found_pair;

typedef struct {
    const peft_recipe *recipe;
    const pare_config *config;
    const char *path;
    found_pair *pairs; /* (n_layers, PARE_PROJECTIONS) */
} search;

/* "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight" -> layer, projection, whether it is B, and the module that PEFT knows it
 * by, "model.layers.3.self_attn.q_proj"; without "model." of adapters on a model without a head. False for every other name. */
static bool parse_name(uint32_t *layer, int *projection, bool *b, char module[NAME_BYTES], const char *name) {
    static const char before[] = "base_model.model.", layers[] = "layers.";
    if (strncmp(name, before, sizeof before - 1) != 0)
        return false;
    const char *start = name + sizeof before - 1, *at = start + (strncmp(start, "model.", 6) == 0 ? 6 : 0), *digits;
    if (strncmp(at, layers, sizeof layers - 1) != 0)
        return false;
    digits = at = at + sizeof layers - 1;
    for (*layer = 0; *at >= '0' && *at <= '9' && at - digits < 6; at++)
        *layer = *layer * 10 + (uint32_t)(*at - '0');
    if (at == digits || *at != '.' || (*digits == '0' && at - digits > 1))
        return false;
    for (*projection = 0; *projection < PARE_PROJECTIONS; ++*projection) {
        const char *path = pare_projection_path((pare_projection)*projection), *end = at + 1 + strlen(path);
        if (strncmp(at + 1, path, strlen(path)) != 0)
            continue;
        *b = strcmp(end, ".lora_B.weight") == 0;
        snprintf(module, NAME_BYTES, "%.*s", (int)(end - start), start);
        return *b || strcmp(end, ".lora_A.weight") == 0;
    }
    return false;
}

static bool sort_in(search *s, const pare_file_tensor *item, pare_error *error) {
    char module[NAME_BYTES];
    const char *name = item->tensor.name;
    uint32_t layer;
    int projection;
    bool b;
    if (!parse_name(&layer, &projection, &b, module, name))
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: tensor %s is left over: pare reads lora_A and lora_B of the seven projections",
                         s->path, name);
    if (layer >= s->config->n_layers)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s is left over, this model has %u layers: an adapter for another base",
                         s->path, name, s->config->n_layers);
    if (!peft_recipe_allows(s->recipe, module, layer))
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: tensor %s: target_modules, exclude_modules or layers_to_transform of %s leave %s out, so that PEFT would not "
                         "load it",
                         s->path, name, config_file, module);
    found_pair *pair = &s->pairs[(size_t)layer * PARE_PROJECTIONS + (size_t)projection];
    const pare_file_tensor **place = b ? &pair->b : &pair->a;
    if (*place)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensors %s and %s are the same matrix", s->path, (*place)->tensor.name, name);
    *place = item;
    return true;
}

/* Every tensor to its place; which matrices have both goes into targets (n_layers, PARE_PROJECTIONS). */
static bool find_pairs(search *s, bool *targets, const pare_tensor_list *list, pare_error *error) {
    for (size_t i = 0; i < list->n; i++)
        if (!sort_in(s, &list->items[i], error))
            return false;
    for (size_t i = 0; i < (size_t)s->config->n_layers * PARE_PROJECTIONS; i++) {
        const found_pair *p = &s->pairs[i];
        targets[i] = p->a && p->b;
        if (!p->a != !p->b)
            return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s is there without its lora_%c", s->path,
                             (p->a ? p->a : p->b)->tensor.name, p->a ? 'B' : 'A');
    }
    return true;
}

static bool read_matrix(float *out, const pare_file_tensor *item, uint64_t rows, uint64_t columns, const char *path, pare_error *error) {
    char wanted[PARE_SHAPE_TEXT], found[PARE_SHAPE_TEXT];
    const uint64_t dims[2] = {rows, columns};
    const pare_tensor *t = &item->tensor;
    if (t->n_dims != 2 || t->dims[0] != rows || t->dims[1] != columns)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s has shape %s, this model needs %s: an adapter for another base", path,
                         t->name, pare_shape_print(found, t->n_dims, t->dims), pare_shape_print(wanted, 2, dims));
    if (t->dtype == PARE_DTYPE_COUNT)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: tensor %s is of dtype %s; pare reads F32, F16 and BF16 here", path, t->name,
                         item->type);
    pare_view view = pare_view_all(t);
    pare_view_read(out, &view, 0, view.n_rows, NULL);
    for (uint64_t i = 0; i < rows * columns; i++)
        if (!isfinite(out[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "%s: tensor %s: element %llu is not finite", path, t->name, (unsigned long long)i);
    return true;
}

static bool read_pairs(pare_adapters *adapters, const search *s, pare_error *error) {
    for (uint32_t layer = 0; layer < adapters->n_layers; layer++) {
        pare_adapter_shape shapes[PARE_PROJECTIONS];
        pare_adapter_shapes(shapes, s->config, layer);
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            size_t i = (size_t)layer * PARE_PROJECTIONS + (size_t)p;
            const pare_adapter *item = &adapters->items[i];
            if (item->rank && (!read_matrix(item->a, s->pairs[i].a, item->rank, shapes[p].in, s->path, error) ||
                               !read_matrix(item->b, s->pairs[i].b, shapes[p].out, item->rank, s->path, error)))
                return false;
        }
    }
    return true;
}

static pare_adapters *read_weights(const peft_recipe *recipe, const pare_config *config, const char *path, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return NULL;
    pare_tensor_list list = {0};
    pare_arena *arena = pare_arena_open(error);
    size_t n = (size_t)config->n_layers * PARE_PROJECTIONS;
    search s = {.recipe = recipe, .config = config, .path = path, .pairs = arena ? PARE_PUSH(arena, found_pair, n, error) : NULL};
    bool *targets = s.pairs ? PARE_PUSH(arena, bool, n, error) : NULL;
    pare_adapters *adapters = NULL;
    if (targets && pare_safetensors_read(&list, &map, path, arena, error) && find_pairs(&s, targets, &list, error))
        adapters = pare_adapters_open_on(config, (uint32_t)recipe->rank, recipe->alpha, targets, 0, error);
    if (adapters && !read_pairs(adapters, &s, error)) {
        pare_adapters_close(adapters);
        adapters = NULL;
    }
    pare_tensor_list_free(&list);
    pare_arena_close(arena);
    pare_map_close(&map);
    return adapters;
}

pare_adapters *pare_adapters_read(const char *folder, const pare_config *config, pare_error *error) {
    peft_recipe recipe;
    char path[PATH_BYTES];
    if (!join(path, folder, config_file, error))
        return NULL;
    if (!pare_path_exists(path)) {
        pare_fail(error, PARE_ERROR_FORMAT, "%s: not an adapter: no %s in this folder", folder, config_file);
        return NULL;
    }
    if (!peft_recipe_read(&recipe, path, error))
        return NULL;
    pare_adapters *adapters = join(path, folder, weights_file, error) ? read_weights(&recipe, config, path, error) : NULL;
    peft_recipe_free(&recipe);
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

/* Names of projections where every layer has the same, else whole paths. */
static json_t *target_modules(pare_json_doc *doc, const pare_adapters *adapters) {
    json_t *list = pare_json_array(doc);
    char path[NAME_BYTES];
    bool alike = true;
    for (uint32_t i = 0; i < adapters->n_layers * PARE_PROJECTIONS; i++)
        alike = alike && (adapters->items[i].rank > 0) == adapters->targets[i % PARE_PROJECTIONS];
    for (uint32_t i = 0; i < (alike ? 1 : adapters->n_layers) * PARE_PROJECTIONS; i++) {
        pare_projection p = (pare_projection)(i % PARE_PROJECTIONS);
        snprintf(path, sizeof path, "model.layers.%u.%s", i / PARE_PROJECTIONS, pare_projection_path(p));
        if (adapters->items[i].rank)
            pare_json_append(doc, list, pare_json_string(doc, alike ? pare_projection_name(p) : path));
    }
    return list;
}

static json_t *config_json(pare_json_doc *doc, const pare_adapters *adapters, const char *base) {
    json_t *targets = target_modules(doc, adapters);
    return pare_json_pack(doc, "{s:s, s:s, s:s, s:i, s:f, s:f, s:s, s:b, s:b, s:o}", "peft_type", "LORA", "task_type", "CAUSAL_LM",
                          "base_model_name_or_path", base, "r", (int)adapters->rank, "lora_alpha", adapters->alpha, "lora_dropout", 0.0,
                          "bias", "none", "fan_in_fan_out", 0, "inference_mode", 1, "target_modules", targets);
}

bool pare_adapters_write_in(const char *folder, const pare_adapters *adapters, const pare_config *config, const char *base,
                            pare_error *error) {
    char weights[PATH_BYTES];
    pare_json_doc doc = {0};
    json_t *json = config_json(&doc, adapters, base);
    bool done = join(weights, folder, weights_file, error) && write_weights(weights, adapters, config, error) &&
                pare_hf_json_write(folder, config_file, json, &doc, error);
    json_decref(json);
    return done;
}
