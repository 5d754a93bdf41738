/* checkpoint: opens a model on disk whatever its format, and holds its tensors against its configuration.
 *
 * A reader of src/model/format gives a list of tensors with checked bytes and a configuration; binding walks the tensors that the
 * configuration asks for (config.c) and takes each from the list: none may be missing, of another shape, or left over.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/chat_templates.h"

/* ---- binding ---- */

typedef struct {
    pare_tensor_list *list;
    const pare_checkpoint *checkpoint;
    size_t n_used;
} binding;

static bool same_shape(const pare_tensor *tensor, uint32_t n_dims, const uint64_t *dims) {
    bool same = tensor->n_dims == n_dims;
    for (uint32_t i = 0; same && i < n_dims; i++)
        same = tensor->dims[i] == dims[i];
    return same;
}

static bool bind_tensor(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    binding *b = user;
    char wanted[PARE_SHAPE_TEXT], found[PARE_SHAPE_TEXT];
    pare_file_tensor *item = pare_tensor_list_find(b->list, name);
    pare_shape_print(wanted, n_dims, dims);
    if (!item)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s of shape %s is missing; the configuration asks for it",
                         b->checkpoint->path, name, wanted);
    const pare_tensor *tensor = &item->tensor;
    if (tensor->dtype == PARE_DTYPE_COUNT)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: byte %llu: tensor %s is of dtype %s; pare reads F32, F16 and BF16 here",
                         tensor->source, (unsigned long long)item->offset, name, item->type);
    if (!same_shape(tensor, n_dims, dims))
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s has shape %s; the configuration asks for %s", tensor->source, name,
                         pare_shape_print(found, tensor->n_dims, tensor->dims), wanted);
    if (n_dims == 1 && pare_dtype_info(tensor->dtype)->quantised)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: tensor %s is a vector of the block type %s", tensor->source, name, item->type);
    item->used = true;
    b->n_used++;
    return true;
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Buffers that exports store and that follow from the configuration: rotary tables, masks, positions; Llama-3's factors are read with it.
 */
bool pare_tensor_carries_nothing(const char *name) {
    static const char *const ends[] = {"inv_freq",    "rotary_emb.cos_cached", "rotary_emb.sin_cached", "masked_bias",
                                       "causal_mask", "position_ids",          "attn_rot_embd.weight",  "rope_freqs.weight"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i]))
            return true;
    return false;
}

/* The table of who attends to whom that GPT-2's code kept as "attn.bias", (1, 1, T, T). */
static bool is_mask(const pare_tensor *tensor) {
    return ends_with(tensor->name, ".bias") && tensor->n_dims == 4 && tensor->dims[0] == 1 && tensor->dims[1] == 1 &&
           tensor->dims[2] == tensor->dims[3];
}

/* The same numbers, whatever type they are stored in. */
static bool same_values(bool *same, const pare_tensor *a, const pare_tensor *b, pare_error *error) {
    *same = same_shape(a, b->n_dims, b->dims) && a->dtype != PARE_DTYPE_COUNT;
    if (!*same || (a->dtype == b->dtype && a->n_bytes == b->n_bytes && memcmp(a->data, b->data, a->n_bytes) == 0))
        return true;
    pare_view x = pare_view_all(a), y = pare_view_all(b);
    float *rows = pare_allocate(2 * (size_t)x.n_columns, sizeof *rows, error);
    for (uint32_t i = 0; rows && *same && i < x.n_rows; i++) {
        pare_view_read(rows, &x, i, 1, NULL);
        pare_view_read(rows + x.n_columns, &y, i, 1, NULL);
        *same = memcmp(rows, rows + x.n_columns, x.n_columns * sizeof *rows) == 0;
    }
    pare_free(rows);
    return rows != NULL;
}

/* Tensors that are there on purpose and carry nothing; and a tied head written out, as long as it is the embedding. */
static bool may_be_left(const pare_tensor_list *list, const pare_tensor *tensor, const pare_checkpoint *checkpoint, bool *left,
                        pare_error *error) {
    *left = pare_tensor_carries_nothing(tensor->name) || is_mask(tensor);
    if (!checkpoint->config.tied || strcmp(tensor->name, "lm_head.weight") != 0)
        return true;
    if (!same_values(left, tensor, &pare_tensor_list_find(list, "model.embed_tokens.weight")->tensor, error))
        return false;
    return *left || pare_fail(error, PARE_ERROR_SHAPE,
                              "%s: lm_head.weight differs from model.embed_tokens.weight, but the configuration ties them", tensor->source);
}

/* A model that was saved without its head, as LlamaModel, has no "model." before its names. */
static bool give_names_their_prefix(pare_tensor_list *list, pare_arena *arena, pare_error *error) {
    if (!pare_tensor_list_find(list, "embed_tokens.weight") || pare_tensor_list_find(list, "model.embed_tokens.weight"))
        return true;
    for (size_t i = 0; i < list->n; i++) {
        pare_tensor *tensor = &list->items[i].tensor;
        if (strncmp(tensor->name, "lm_head.", 8) != 0 && !(tensor->name = pare_arena_format(arena, error, "model.%s", tensor->name)))
            return false;
    }
    return pare_tensor_list_sort(list, error);
}

static bool refuse_left_over(const pare_tensor_list *list, const pare_checkpoint *checkpoint, pare_error *error) {
    char shape[PARE_SHAPE_TEXT];
    for (size_t i = 0; i < list->n; i++) {
        const pare_tensor *tensor = &list->items[i].tensor;
        bool left = false;
        if (list->items[i].used)
            continue;
        if (!may_be_left(list, tensor, checkpoint, &left, error))
            return false;
        if (!left)
            return pare_fail(error, PARE_ERROR_SHAPE,
                             "%s: tensor %s of shape %s at byte %llu is left over; the configuration has no place for it", tensor->source,
                             tensor->name, pare_shape_print(shape, tensor->n_dims, tensor->dims),
                             (unsigned long long)list->items[i].offset);
    }
    return true;
}

/* The type that holds most bytes of the matrices. */
static pare_dtype main_dtype(const pare_checkpoint *checkpoint) {
    uint64_t bytes[PARE_DTYPE_COUNT] = {0};
    int best = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        if (checkpoint->tensors[i].n_dims == 2)
            bytes[checkpoint->tensors[i].dtype] += checkpoint->tensors[i].n_bytes;
    for (int i = 1; i < PARE_DTYPE_COUNT; i++)
        if (bytes[i] > bytes[best])
            best = i;
    return (pare_dtype)best;
}

static bool bind(pare_checkpoint *checkpoint, pare_tensor_list *list, pare_error *error) {
    binding b = {list, checkpoint, 0};
    if (!pare_config_visit_tensors(&checkpoint->config, bind_tensor, &b, error) || !refuse_left_over(list, checkpoint, error))
        return false;
    pare_tensor *tensors = PARE_PUSH(checkpoint->inner->arena, pare_tensor, b.n_used, error);
    if (!tensors)
        return false;
    for (size_t i = 0; i < list->n; i++) /* the list is sorted by name, and stays so */
        if (list->items[i].used)
            tensors[checkpoint->n_tensors++] = list->items[i].tensor;
    checkpoint->tensors = tensors;
    checkpoint->dtype = main_dtype(checkpoint);
    return true;
}

/* ---- tokenizers ---- */

/* What is told of one of the folder's files, and no reason to fail. */
static bool add_remark(pare_checkpoint *checkpoint, const char *file, const char *remark, pare_error *error) {
    const char *before = checkpoint->remark;
    if (!remark || !*remark)
        return true;
    checkpoint->remark =
        pare_arena_format(checkpoint->inner->arena, error, "%s%s%s: %s", before ? before : "", before ? "; " : "", file, remark);
    return checkpoint->remark != NULL;
}

bool pare_checkpoint_add_odd(pare_checkpoint *checkpoint, const char *file, const pare_json_odd *odd, pare_error *error) {
    pare_string text = {0};
    pare_json_odd_print(&text, odd);
    bool done = pare_string_check(&text, error) && add_remark(checkpoint, file, text.data, error);
    pare_string_free(&text);
    return done;
}

/* Weights without a tokenizer are still a model: the reason is kept instead. One that is there but lost to memory is an error. */
static bool keep_tokenizer(pare_checkpoint *checkpoint, pare_tokenizer *tokenizer, const pare_error *problem, pare_error *error) {
    checkpoint->tokenizer = checkpoint->inner->tokenizer = tokenizer;
    if (!tokenizer && problem->code == PARE_ERROR_MEMORY)
        return pare_fail(error, problem->code, "%s", problem->message);
    if (!tokenizer)
        checkpoint->tokenizer_missing = pare_arena_copy(checkpoint->inner->arena, problem->message, strlen(problem->message), error);
    return tokenizer ? add_remark(checkpoint, "tokenizer.json", pare_tokenizer_remark(tokenizer), error)
                     : checkpoint->tokenizer_missing != NULL;
}

/* It is told the model's chat template; without memory for that there is none. */
static pare_tokenizer *with_chat(const pare_checkpoint *checkpoint, pare_tokenizer *tokenizer, pare_error *problem) {
    if (!tokenizer || pare_chat_attach(tokenizer, checkpoint, problem))
        return tokenizer;
    pare_tokenizer_close(tokenizer);
    return NULL;
}

static bool open_folder_tokenizer(pare_checkpoint *checkpoint, pare_error *error) {
    pare_error problem = {0};
    pare_map map;
    pare_tokenizer *tokenizer = NULL;
    char *path = pare_arena_format(checkpoint->inner->arena, &problem, "%s/tokenizer.json", checkpoint->path);
    if (path && !pare_path_is_file(path)) {
        pare_fail(&problem, PARE_ERROR_IO, "%s is missing", path);
    } else if (path && pare_map_open(&map, path, &problem)) {
        tokenizer = pare_tokenizer_open_json((const char *)map.data, map.size, path, &problem);
        pare_map_close(&map);
    }
    tokenizer = with_chat(checkpoint, tokenizer, &problem);
    return keep_tokenizer(checkpoint, tokenizer, &problem, error);
}

bool pare_checkpoint_add_tokenizer(pare_checkpoint *checkpoint, pare_error *error) {
    return open_folder_tokenizer(checkpoint, error) && pare_checkpoint_tokenizer(checkpoint, error) != NULL;
}

static bool open_gguf_tokenizer(pare_checkpoint *checkpoint, pare_error *error) {
    pare_error problem = {0};
    pare_arena *arena = pare_arena_open(&problem); /* the parts are only read during the call */
    pare_tokenizer *tokenizer = arena ? pare_gguf_tokenizer(checkpoint->inner->gguf, arena, &problem) : NULL;
    tokenizer = with_chat(checkpoint, tokenizer, &problem);
    pare_arena_close(arena);
    return keep_tokenizer(checkpoint, tokenizer, &problem, error);
}

/* ---- opening ---- */

/* The hub's cache has a model's files some folders deeper, under the hash of their revision. */
static bool fail_no_config(const pare_checkpoint *checkpoint, pare_error *error) {
    pare_arena *arena = checkpoint->inner->arena;
    pare_map map;
    char *reference = pare_arena_format(arena, error, "%s/refs/main", checkpoint->path);
    if (!reference)
        return false;
    if (pare_path_is_file(reference) && pare_map_open(&map, reference, NULL)) {
        size_t n = 0;
        while (n < map.size && n < 64 && isxdigit(map.data[n]))
            n++;
        char *snapshot = pare_arena_format(arena, error, "%s/snapshots/%.*s", checkpoint->path, (int)n, (const char *)map.data);
        pare_map_close(&map);
        if (!snapshot)
            return false;
        if (n > 0 && pare_path_is_folder(snapshot))
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: this is a model of the hub's cache; its files are in %s", checkpoint->path,
                             snapshot);
    }
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a model: no config.json in this folder", checkpoint->path);
}

static bool open_folder(pare_checkpoint *checkpoint, pare_tensor_list *list, pare_error *error) {
    pare_checkpoint_inner *inner = checkpoint->inner;
    char *path = pare_arena_format(inner->arena, error, "%s/config.json", checkpoint->path);
    if (!path)
        return false;
    if (!pare_path_exists(path))
        return fail_no_config(checkpoint, error);
    checkpoint->format = PARE_FORMAT_HF;
    pare_json_odd odd = {0};
    if (!(inner->config_json = pare_json_read_lenient(path, &odd, error)) ||
        !pare_checkpoint_add_odd(checkpoint, "config.json", &odd, error) ||
        !pare_hf_config_read(&checkpoint->config, inner->config_json, path, inner->arena, error) ||
        !pare_hf_weights_read(list, checkpoint, error) || !give_names_their_prefix(list, inner->arena, error) ||
        !bind(checkpoint, list, error))
        return false;
    return open_folder_tokenizer(checkpoint, error);
}

/* Llama-3's factors become part of the configuration; they must be usable as divisors. */
static bool keep_rope_factors(pare_checkpoint *checkpoint, const pare_tensor_list *list, pare_error *error) {
    pare_rope *rope = &checkpoint->config.rope;
    if (rope->type != PARE_ROPE_FACTORS)
        return true;
    pare_tensor *copy = PARE_PUSH(checkpoint->inner->arena, pare_tensor, 1, error);
    if (!copy)
        return false;
    *copy = pare_tensor_list_find(list, "rope_freqs.weight")->tensor;
    rope->factors = copy;
    for (uint32_t i = 0; i < checkpoint->config.head_dim / 2; i++) {
        double factor = pare_rope_factor(rope, i, checkpoint->config.head_dim);
        if (!isfinite(factor) || factor <= 0)
            return pare_fail(error, PARE_ERROR_NUMERIC, "%s: tensor rope_freqs.weight: factor %u is %g", copy->source, i, factor);
    }
    return true;
}

static bool open_gguf(pare_checkpoint *checkpoint, pare_tensor_list *list, pare_error *error) {
    pare_checkpoint_inner *inner = checkpoint->inner;
    inner->maps = PARE_PUSH(inner->arena, pare_map, 1, error);
    inner->gguf = PARE_PUSH(inner->arena, pare_gguf, 1, error);
    if (!inner->maps || !inner->gguf || !pare_map_open(&inner->maps[0], checkpoint->path, error))
        return false;
    inner->n_maps = 1;
    const pare_map *map = &inner->maps[0];
    checkpoint->format = PARE_FORMAT_GGUF;
    checkpoint->file_bytes = map->size;
    if (map->size < 4 || memcmp(map->data, "GGUF", 4) != 0)
        return pare_refuse_file(checkpoint->path, map, error);
    if (!pare_gguf_read(inner->gguf, list, map, checkpoint->path, inner->arena, error) || !pare_tensor_list_sort(list, error) ||
        !pare_gguf_config(&checkpoint->config, inner->gguf, list, error) || !keep_rope_factors(checkpoint, list, error) ||
        !pare_gguf_rename(list, &checkpoint->config, inner->gguf, inner->arena, error) || !pare_tensor_list_sort(list, error) ||
        !bind(checkpoint, list, error))
        return false;
    return open_gguf_tokenizer(checkpoint, error);
}

pare_checkpoint *pare_checkpoint_make(const char *path, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_checkpoint *checkpoint = arena ? PARE_PUSH(arena, pare_checkpoint, 1, error) : NULL;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    if (checkpoint && (checkpoint->inner = PARE_PUSH(arena, pare_checkpoint_inner, 1, error)) &&
        (checkpoint->path = pare_arena_copy(arena, path, length, error))) {
        checkpoint->inner->arena = arena;
        return checkpoint;
    }
    pare_arena_close(arena);
    return NULL;
}

pare_checkpoint *pare_checkpoint_open(const char *path, pare_error *error) {
    pare_checkpoint *checkpoint = pare_checkpoint_make(path, error);
    if (!checkpoint)
        return NULL;
    pare_tensor_list list = {0};
    bool done = !pare_path_exists(checkpoint->path)     ? pare_refuse_missing(checkpoint->path, error)
                : pare_path_is_folder(checkpoint->path) ? open_folder(checkpoint, &list, error)
                                                        : open_gguf(checkpoint, &list, error);
    pare_tensor_list_free(&list);
    if (done)
        return checkpoint;
    pare_checkpoint_close(checkpoint);
    return NULL;
}

void pare_checkpoint_close(pare_checkpoint *checkpoint) {
    if (!checkpoint)
        return;
    pare_checkpoint_inner *inner = checkpoint->inner;
    pare_tokenizer_close(inner->tokenizer);
    json_decref(inner->config_json);
    for (size_t i = 0; i < inner->n_maps; i++)
        pare_map_close(&inner->maps[i]);
    pare_arena_close(inner->arena); /* the checkpoint itself lies in it */
}

static int name_of(const void *name, const void *tensor) {
    return strcmp(name, ((const pare_tensor *)tensor)->name);
}

const pare_tensor *pare_checkpoint_find(const pare_checkpoint *checkpoint, const char *name) {
    return bsearch(name, checkpoint->tensors, checkpoint->n_tensors, sizeof *checkpoint->tensors, name_of);
}
