/* safetensors: 8 bytes of header length (little-endian), that many bytes of JSON, then the tensors' bytes.
 *
 * The JSON maps each name to {dtype, shape, data_offsets}; offsets count from the end of the header. The format's rules, all held
 * here: a header of at most 100 MB that starts with '{', no name twice, no holes and no overlaps, the last byte used.
 * Format: https://github.com/huggingface/safetensors
 */
#include <stdlib.h>
#include <string.h>

#include "format/format.h"

enum { LENGTH_BYTES = 8, HEADER_MAX = 100000000 };

/* Every type the format has; those that pare computes with come first. */
static const struct {
    const char *name;
    pare_dtype dtype;
    uint32_t bits;
} types[] = {
    {"F32", PARE_DTYPE_F32, 32},   {"F16", PARE_DTYPE_F16, 16},      {"BF16", PARE_DTYPE_BF16, 16},    {"F64", PARE_DTYPE_COUNT, 64},
    {"I64", PARE_DTYPE_COUNT, 64}, {"U64", PARE_DTYPE_COUNT, 64},    {"I32", PARE_DTYPE_COUNT, 32},    {"U32", PARE_DTYPE_COUNT, 32},
    {"I16", PARE_DTYPE_COUNT, 16}, {"U16", PARE_DTYPE_COUNT, 16},    {"I8", PARE_DTYPE_COUNT, 8},      {"U8", PARE_DTYPE_COUNT, 8},
    {"BOOL", PARE_DTYPE_COUNT, 8}, {"F8_E5M2", PARE_DTYPE_COUNT, 8}, {"F8_E4M3", PARE_DTYPE_COUNT, 8}, {"F8_E8M0", PARE_DTYPE_COUNT, 8},
    {"C64", PARE_DTYPE_COUNT, 64}, {"F4", PARE_DTYPE_COUNT, 4},      {"F6_E2M3", PARE_DTYPE_COUNT, 6}, {"F6_E3M2", PARE_DTYPE_COUNT, 6},
};

static uint64_t read_u64(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static bool read_shape(pare_tensor *tensor, const json_t *shape, const char *path, pare_error *error) {
    if (!json_is_array(shape))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s: \"shape\" is missing or not a list", path, tensor->name);
    size_t n = json_array_size(shape);
    if (n > PARE_TENSOR_DIMS)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: tensor %s has %zu dimensions; pare handles at most %d", path, tensor->name, n,
                         PARE_TENSOR_DIMS);
    tensor->n_dims = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s: dimension %zu is not a non-negative whole number", path,
                             tensor->name, i);
        tensor->dims[i] = (uint64_t)json_integer_value(dim);
    }
    return true;
}

/* shape x type = bytes, counted in bits because of the types below one byte. */
static bool check_bytes(const pare_tensor *tensor, uint32_t bits, const char *path, pare_error *error) {
    char text[PARE_SHAPE_TEXT];
    pare_shape_print(text, tensor->n_dims, tensor->dims);
    uint64_t wanted = bits;
    for (uint32_t i = 0; i < tensor->n_dims; i++)
        if (__builtin_mul_overflow(wanted, tensor->dims[i], &wanted))
            return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s: the shape %s overflows", path, tensor->name, text);
    if (wanted % 8 || wanted / 8 != tensor->n_bytes)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: tensor %s: the shape %s needs %llu bytes, data_offsets give %llu", path,
                         tensor->name, text, (unsigned long long)(wanted / 8), (unsigned long long)tensor->n_bytes);
    return true;
}

static bool read_tensor(pare_file_tensor *item, const json_t *entry, const pare_map *map, uint64_t data_at, const char *path,
                        pare_error *error) {
    pare_tensor *tensor = &item->tensor;
    if (!json_is_object(entry))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s: its entry is not an object", path, tensor->name);
    const char *type = NULL;
    if (!pare_json_get_string(&type, entry, "dtype", tensor->name, error))
        return false;
    size_t t = 0, n_types = sizeof types / sizeof *types;
    while (type && t < n_types && strcmp(types[t].name, type) != 0)
        t++;
    if (!type || t == n_types)
        return pare_fail(error, type ? PARE_ERROR_UNSUPPORTED : PARE_ERROR_FORMAT, "%s: tensor %s: unknown dtype \"%.40s\"", path,
                         tensor->name, type ? type : "");
    item->type = types[t].name;
    tensor->dtype = types[t].dtype;
    if (!read_shape(tensor, json_object_get(entry, "shape"), path, error))
        return false;
    const json_t *offsets = json_object_get(entry, "data_offsets"), *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s: \"data_offsets\" is not a pair of whole numbers", path, tensor->name);
    long long begin = json_integer_value(from), end = json_integer_value(to);
    if (begin < 0 || end < begin || (uint64_t)end > map->size - data_at)
        return pare_fail(error, PARE_ERROR_FORMAT,
                         "%s: tensor %s: data_offsets [%lld, %lld] lie outside the %llu bytes of data that start at byte %llu: the file is "
                         "damaged or cut short",
                         path, tensor->name, begin, end, (unsigned long long)(map->size - data_at), (unsigned long long)data_at);
    item->offset = data_at + (uint64_t)begin;
    tensor->data = map->data + item->offset;
    tensor->n_bytes = (uint64_t)(end - begin);
    return check_bytes(tensor, types[t].bits, path, error);
}

/* Sorted by offset, each tensor must start where the one before it ends, and the last must end with the file. */
static bool check_order(pare_file_tensor *items, size_t n, uint64_t data_at, const pare_map *map, const char *path, pare_error *error) {
    qsort(items, n, sizeof *items, pare_file_tensor_order);
    uint64_t at = data_at;
    const char *before = "the header";
    for (size_t i = 0; i < n; i++) {
        if (items[i].offset != at)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s starts at byte %llu, %s at byte %llu where %s ends", path,
                             items[i].tensor.name, (unsigned long long)items[i].offset,
                             items[i].offset < at ? "an overlap: not" : "a hole: not", (unsigned long long)at, before);
        at += items[i].tensor.n_bytes;
        before = items[i].tensor.name;
    }
    if (at != map->size)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: %llu bytes after byte %llu belong to no tensor", path,
                         (unsigned long long)(map->size - at), (unsigned long long)at);
    return true;
}

/* A file that ends before its last tensor does: most often a download that broke off. */
static bool check_length(const json_t *header, const pare_map *map, uint64_t data_at, const char *path, pare_error *error) {
    uint64_t needed = 0;
    const char *name, *last = "";
    json_t *entry;
    json_object_foreach((json_t *)(uintptr_t)header, name, entry) {
        const json_t *to = json_array_get(json_object_get(entry, "data_offsets"), 1);
        if (json_is_integer(to) && json_integer_value(to) > 0 && (uint64_t)json_integer_value(to) > needed) {
            needed = (uint64_t)json_integer_value(to);
            last = name;
        }
    }
    uint64_t room = map->size - data_at;
    return needed <= room ||
           pare_fail(
               error, PARE_ERROR_FORMAT,
               "%s: the file is cut short: it has %zu bytes and needs %llu (the data_offsets of tensor %s lie outside the %llu bytes of "
               "data that start at byte %llu). Is the download complete?",
               path, map->size, (unsigned long long)(data_at + needed), last, (unsigned long long)room, (unsigned long long)data_at);
}

static bool read_header(pare_tensor_list *list, json_t *header, const pare_map *map, uint64_t data_at, const char *path, pare_arena *arena,
                        pare_error *error) {
    if (!json_is_object(header))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the header is not an object", path);
    if (!check_length(header, map, data_at, path, error))
        return false;
    size_t first = list->n;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        pare_file_tensor *item = pare_tensor_list_push(list, error);
        if (!item || !(item->tensor.name = pare_arena_copy(arena, name, strlen(name), error)))
            return false;
        item->tensor.source = path;
        if (!read_tensor(item, entry, map, data_at, path, error))
            return false;
    }
    if (list->n == first)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: holds no tensors", path);
    return check_order(list->items + first, list->n - first, data_at, map, path, error);
}

bool pare_safetensors_read(pare_tensor_list *list, const pare_map *map, const char *path, pare_arena *arena, pare_error *error) {
    if (map->size < LENGTH_BYTES + 2)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a safetensors file: it has only %zu bytes", path, map->size);
    uint64_t length = read_u64(map->data);
    if (length > map->size - LENGTH_BYTES || length > HEADER_MAX)
        return pare_fail(error, PARE_ERROR_FORMAT,
                         "%s: not a safetensors file, or cut short: byte 0 announces a header of %llu bytes; the file has %zu bytes, and a "
                         "header at most %d",
                         path, (unsigned long long)length, map->size, HEADER_MAX);
    if (map->data[LENGTH_BYTES] != '{')
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a safetensors file: no '{' at byte %d", path, LENGTH_BYTES);
    json_t *header = pare_json_parse((const char *)map->data + LENGTH_BYTES, (size_t)length, path, error);
    bool done = header && read_header(list, header, map, LENGTH_BYTES + length, path, arena, error);
    json_decref(header);
    return done;
}
