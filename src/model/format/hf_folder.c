/* hf_folder: the weight files of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json names.
 *
 * The index's weight_map and the shards must agree both ways: every tensor lies in the shard that the map says, none is extra. Tensors that
 * carry nothing are left out of it: old conversions dropped them from one of the two.
 */
#include <stdio.h>
#include <string.h>

#include "format/format.h"

enum { SHARDS_MAX = 10000 };

static const char single_name[] = "model.safetensors", index_name[] = "model.safetensors.index.json";

static char *join(pare_checkpoint *checkpoint, const char *name, pare_error *error) {
    return pare_arena_format(checkpoint->inner->arena, error, "%s/%s", checkpoint->path, name);
}

static bool read_shard(pare_tensor_list *list, pare_checkpoint *checkpoint, const char *path, pare_error *error) {
    pare_checkpoint_inner *inner = checkpoint->inner;
    pare_map *map = &inner->maps[inner->n_maps];
    if (!pare_map_open(map, path, error))
        return false;
    inner->n_maps++;
    checkpoint->file_bytes += map->size;
    return pare_safetensors_read(list, map, path, inner->arena, error);
}

/* A shard is a plain file of the same folder, whatever the index says. */
static bool check_shard_name(const char *tensor, const json_t *value, const char *index, pare_error *error) {
    static const char suffix[] = ".safetensors";
    const char *name = json_string_value(value);
    size_t length = name ? strlen(name) : 0;
    if (length < sizeof suffix || strchr(name, '/') || strchr(name, '\\') || name[0] == '.' || strlen(name) != json_string_length(value) ||
        strcmp(name + length - (sizeof suffix - 1), suffix) != 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s: \"%.80s\" is not the name of a .safetensors file in the same folder",
                         index, tensor, name ? name : "");
    return true;
}

/* Not read, and so in the map, in a shard, in both or in none. */
static bool passed_over(const char *name, const pare_config *config) {
    return pare_tensor_carries_nothing(name) || (config->tied && strcmp(name, "lm_head.weight") == 0);
}

/* The distinct shards of what is read of the map, in its order. */
static json_t *list_shards(json_t *weight_map, const pare_config *config, const char *index, pare_error *error) {
    pare_json_doc doc = {0};
    json_t *shards = pare_json_object(&doc);
    const char *tensor;
    json_t *value;
    bool done = (json_is_object(weight_map) && json_object_size(weight_map) > 0) ||
                pare_fail(error, PARE_ERROR_FORMAT, "%s: \"weight_map\" is missing or empty", index);
    if (done) {
        json_object_foreach(weight_map, tensor, value) {
            if (!(done = check_shard_name(tensor, value, index, error)))
                break;
            if (!passed_over(tensor, config))
                pare_json_set(&doc, shards, json_string_value(value), json_true());
        }
    }
    if (done && json_object_size(shards) > SHARDS_MAX)
        done = pare_fail(error, PARE_ERROR_FORMAT, "%s: names %zu shards, more than %d", index, json_object_size(shards), SHARDS_MAX);
    if (done && pare_json_check(&doc, error))
        return shards;
    json_decref(shards);
    return NULL;
}

/* Both ways: what the map names is where it says; what lies in the shards is in the map. */
static bool check_map(pare_tensor_list *list, json_t *weight_map, const pare_config *config, const char *index, pare_error *error) {
    for (size_t i = 0; i < list->n; i++) {
        const pare_tensor *tensor = &list->items[i].tensor;
        if (passed_over(tensor->name, config))
            continue;
        const char *shard = json_string_value(json_object_get(weight_map, tensor->name)), *slash = strrchr(tensor->source, '/');
        if (!shard)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s is not in the weight_map of %s", tensor->source, tensor->name, index);
        if (strcmp(shard, slash ? slash + 1 : tensor->source) != 0)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s lies here; %s says %s", tensor->source, tensor->name, index, shard);
    }
    if (!pare_tensor_list_sort(list, error))
        return false;
    const char *name;
    json_t *value;
    json_object_foreach(weight_map, name, value) {
        if (!passed_over(name, config) && !pare_tensor_list_find(list, name))
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s should lie in %s and does not", index, name,
                             json_string_value(value));
    }
    return true;
}

static bool read_shards(pare_tensor_list *list, pare_checkpoint *checkpoint, json_t *index, const char *index_path, pare_error *error) {
    json_t *weight_map = json_object_get(index, "weight_map"), *value;
    json_t *shards = list_shards(weight_map, &checkpoint->config, index_path, error);
    if (!shards)
        return false;
    pare_checkpoint_inner *inner = checkpoint->inner;
    inner->maps = PARE_PUSH(inner->arena, pare_map, json_object_size(shards), error);
    bool done = inner->maps != NULL;
    const char *name;
    json_object_foreach(shards, name, value) {
        char *path = done ? join(checkpoint, name, error) : NULL;
        if (path && !pare_path_exists(path))
            done = pare_fail(error, PARE_ERROR_IO, "%s: shard %s is missing", index_path, name);
        done = done && path && read_shard(list, checkpoint, path, error);
    }
    json_decref(shards);
    return done && check_map(list, weight_map, &checkpoint->config, index_path, error);
}

static bool fail_no_weights(const pare_checkpoint *checkpoint, pare_error *error) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", checkpoint->path, single_name);
    if (pare_path_exists(path))
        return pare_fail(error, PARE_ERROR_IO, "%s: a link to a file that is not there: fetch it again", path);
    snprintf(path, sizeof path, "%s/pytorch_model.bin", checkpoint->path);
    return pare_fail(
        error, PARE_ERROR_FORMAT, "%s: neither %s nor %s is there%s", checkpoint->path, single_name, index_name,
        pare_path_is_file(path) ? " (pytorch_model.bin holds Python objects, which pare does not run; convert it to safetensors)" : "");
}

bool pare_hf_weights_read(pare_tensor_list *list, pare_checkpoint *checkpoint, pare_error *error) {
    pare_checkpoint_inner *inner = checkpoint->inner;
    char *single = join(checkpoint, single_name, error), *index_path = join(checkpoint, index_name, error);
    if (!single || !index_path)
        return false;
    if (pare_path_is_file(single)) { /* as transformers: it goes before an index */
        inner->maps = PARE_PUSH(inner->arena, pare_map, 1, error);
        return inner->maps && read_shard(list, checkpoint, single, error) && pare_tensor_list_sort(list, error);
    }
    if (!pare_path_is_file(index_path))
        return fail_no_weights(checkpoint, error);
    pare_json_odd odd = {0};
    json_t *index = pare_json_read_lenient(index_path, &odd, error);
    bool done =
        index && pare_checkpoint_add_odd(checkpoint, index_name, &odd, error) && read_shards(list, checkpoint, index, index_path, error);
    json_decref(index);
    return done;
}
