/* GGUF: metadata entries and tensor descriptions, then the tensors' bytes, all in one file. Versions 2 and 3, little-endian.
 *
 * A cursor walks the head of the file; nothing is believed before it is held against the bytes that are left, so that counts and
 * lengths cannot make it allocate or loop beyond the file's own size. Metadata values stay in the map and are read on demand.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#include <stdlib.h>
#include <string.h>

#include "format/format.h"

enum {
    ENTRY_MIN = 8 + 1 + 4 + 1,          /* key length, one letter, type, one byte of value */
    TENSOR_MIN = 8 + 1 + 4 + 8 + 4 + 8, /* name length, one letter, rank, one dimension, type, offset */
    KEY_MAX = 65535,
    NESTING_MAX = 4,
    ALIGNMENT_DEFAULT = 32,
    ALIGNMENT_MAX = 1 << 20,
    COUNT_MAX = 1 << 20,  /* of tensors, of metadata entries: memory stays bounded */
    STRINGS_MAX = 1 << 24 /* of strings in one array */
};

typedef struct {
    const pare_map *map;
    size_t at;
    const char *path;
} cursor;

/* Scalars of the types in pare_gguf_type's order; 0: not of fixed size. */
static const uint8_t type_bytes[PARE_GGUF_TYPE_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/* GGML's numbers of the tensor types. */
static const struct {
    uint32_t number;
    const char *name;
    pare_dtype dtype;
} types[] = {
    {0, "F32", PARE_DTYPE_F32},       {1, "F16", PARE_DTYPE_F16},        {2, "Q4_0", PARE_DTYPE_Q4_0},
    {3, "Q4_1", PARE_DTYPE_Q4_1},     {6, "Q5_0", PARE_DTYPE_Q5_0},      {7, "Q5_1", PARE_DTYPE_Q5_1},
    {8, "Q8_0", PARE_DTYPE_Q8_0},     {9, "Q8_1", PARE_DTYPE_COUNT},     {10, "Q2_K", PARE_DTYPE_COUNT},
    {11, "Q3_K", PARE_DTYPE_COUNT},   {12, "Q4_K", PARE_DTYPE_Q4_K},     {13, "Q5_K", PARE_DTYPE_Q5_K},
    {14, "Q6_K", PARE_DTYPE_Q6_K},    {15, "Q8_K", PARE_DTYPE_COUNT},    {16, "IQ2_XXS", PARE_DTYPE_COUNT},
    {17, "IQ2_XS", PARE_DTYPE_COUNT}, {18, "IQ3_XXS", PARE_DTYPE_COUNT}, {19, "IQ1_S", PARE_DTYPE_COUNT},
    {20, "IQ4_NL", PARE_DTYPE_COUNT}, {21, "IQ3_S", PARE_DTYPE_COUNT},   {22, "IQ2_S", PARE_DTYPE_COUNT},
    {23, "IQ4_XS", PARE_DTYPE_COUNT}, {24, "I8", PARE_DTYPE_COUNT},      {25, "I16", PARE_DTYPE_COUNT},
    {26, "I32", PARE_DTYPE_COUNT},    {27, "I64", PARE_DTYPE_COUNT},     {28, "F64", PARE_DTYPE_COUNT},
    {29, "IQ1_M", PARE_DTYPE_COUNT},  {30, "BF16", PARE_DTYPE_BF16},     {34, "TQ1_0", PARE_DTYPE_COUNT},
    {35, "TQ2_0", PARE_DTYPE_COUNT},  {39, "MXFP4", PARE_DTYPE_COUNT},
};

uint32_t pare_gguf_type_number(pare_dtype dtype) {
    size_t t = 0;
    while (types[t].dtype != dtype)
        t++;
    return types[t].number;
}

static uint64_t little_endian(const uint8_t *bytes, size_t n) {
    uint64_t value = 0;
    while (n-- > 0)
        value = value << 8 | bytes[n];
    return value;
}

static bool take(uint64_t *value, cursor *c, size_t n, const char *what, pare_error *error) {
    *value = 0;
    if (c->map->size - c->at < n)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the file is cut short: it ends at byte %zu inside %s", c->path, c->map->size, what);
    *value = little_endian(c->map->data + c->at, n);
    c->at += n;
    return true;
}

static bool take_string(pare_piece *string, cursor *c, const char *what, pare_error *error) {
    size_t at = c->at;
    uint64_t length;
    if (!take(&length, c, 8, what, error))
        return false;
    if (length > c->map->size - c->at)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: byte %zu: %s claims %llu bytes, the file has %zu left: it is damaged or cut short",
                         c->path, at, what, (unsigned long long)length, c->map->size - c->at);
    *string = (pare_piece){(const char *)c->map->data + c->at, (size_t)length};
    c->at += (size_t)length;
    return true;
}

/* ---- metadata ---- */

/* Moves over `count` values of `type` that start at the cursor. */
static bool skip_values(cursor *c, uint32_t type, uint64_t count, int depth, pare_error *error) {
    size_t at = c->at, left = c->map->size - at;
    if (type >= PARE_GGUF_TYPE_COUNT)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: byte %zu: unknown metadata type %u", c->path, at, type);
    if (depth > NESTING_MAX)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: byte %zu: arrays nested deeper than %d", c->path, at, NESTING_MAX);
    size_t least = type_bytes[type] ? type_bytes[type] : type == PARE_GGUF_STRING ? 8 : 12;
    if (count > left / least)
        return pare_fail(error, PARE_ERROR_FORMAT,
                         "%s: byte %zu: %llu metadata values do not fit into the %zu bytes left: the file is damaged or cut short", c->path,
                         at, (unsigned long long)count, left);
    if (type_bytes[type]) {
        c->at += (size_t)count * least;
        return true;
    }
    for (uint64_t i = 0; i < count; i++) {
        pare_piece ignored;
        uint64_t item, n;
        if (type == PARE_GGUF_STRING ? !take_string(&ignored, c, "a metadata string", error)
                                     : !take(&item, c, 4, "an array", error) || !take(&n, c, 8, "an array", error) ||
                                           !skip_values(c, (uint32_t)item, n, depth + 1, error))
            return false;
    }
    return true;
}

static bool take_value(pare_gguf_value *value, cursor *c, pare_error *error) {
    size_t at = c->at;
    uint64_t type, item;
    if (!take_string(&value->key, c, "a metadata key", error) || !take(&type, c, 4, "a metadata entry", error))
        return false;
    if (value->key.length == 0 || value->key.length > KEY_MAX || memchr(value->key.bytes, 0, value->key.length))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: byte %zu: a metadata key of %zu bytes, or one with a zero byte", c->path, at,
                         value->key.length);
    value->type = type < PARE_GGUF_TYPE_COUNT ? (pare_gguf_type)type : PARE_GGUF_TYPE_COUNT;
    value->count = 1;
    if (type == PARE_GGUF_ARRAY) {
        if (!take(&item, c, 4, "an array", error) || !take(&value->count, c, 8, "an array", error))
            return false;
        value->item = item < PARE_GGUF_TYPE_COUNT ? (pare_gguf_type)item : PARE_GGUF_TYPE_COUNT;
        type = item;
    }
    size_t start = c->at;
    if (!skip_values(c, (uint32_t)type, value->count, value->type == PARE_GGUF_ARRAY, error))
        return false;
    value->bytes = c->map->data + start;
    value->n_bytes = c->at - start;
    return true;
}

static int compare_pieces(const pare_piece *a, const pare_piece *b) {
    int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

static int by_key(const void *a, const void *b) {
    const pare_gguf_value *x = a, *y = b;
    return compare_pieces(&x->key, &y->key);
}

static bool take_metadata(pare_gguf *gguf, cursor *c, uint64_t count, pare_arena *arena, pare_error *error) {
    gguf->values = PARE_PUSH(arena, pare_gguf_value, (size_t)count, error);
    if (!gguf->values)
        return false;
    for (gguf->n_values = 0; gguf->n_values < count; gguf->n_values++)
        if (!take_value(&gguf->values[gguf->n_values], c, error))
            return false;
    qsort(gguf->values, gguf->n_values, sizeof *gguf->values, by_key);
    for (size_t i = 1; i < gguf->n_values; i++)
        if (by_key(&gguf->values[i - 1], &gguf->values[i]) == 0)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: the metadata key %.*s appears twice", c->path, (int)gguf->values[i].key.length,
                             gguf->values[i].key.bytes);
    return true;
}

/* ---- tensors ---- */

static bool take_dims(pare_tensor *tensor, cursor *c, pare_error *error) {
    size_t at = c->at;
    uint64_t n;
    if (!take(&n, c, 4, "a tensor's description", error))
        return false;
    if (n == 0 || n > PARE_TENSOR_DIMS)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: byte %zu: tensor %s has %llu dimensions; 1 to %d are possible", c->path, at,
                         tensor->name, (unsigned long long)n, PARE_TENSOR_DIMS);
    tensor->n_dims = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) /* fastest first in the file */
        if (!take(&tensor->dims[n - 1 - i], c, 8, "a tensor's description", error))
            return false;
    return true;
}

/* offset is left relative to the data, which starts where the descriptions end. */
static bool take_tensor(pare_file_tensor *item, cursor *c, pare_arena *arena, pare_error *error) {
    pare_tensor *tensor = &item->tensor;
    size_t at = c->at;
    pare_piece name;
    uint64_t number;
    char shape[PARE_SHAPE_TEXT];
    if (!take_string(&name, c, "a tensor's name", error))
        return false;
    if (name.length == 0 || name.length > KEY_MAX || memchr(name.bytes, 0, name.length))
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: byte %zu: a tensor name of %zu bytes, or one with a zero byte", c->path, at,
                         name.length);
    if (!(tensor->name = pare_arena_copy(arena, name.bytes, name.length, error)) || !take_dims(tensor, c, error) ||
        !take(&number, c, 4, "a tensor's description", error) || !take(&item->offset, c, 8, "a tensor's description", error))
        return false;
    tensor->source = c->path;
    size_t t = 0, n_types = sizeof types / sizeof *types;
    while (t < n_types && types[t].number != number)
        t++;
    if (t == n_types || types[t].dtype == PARE_DTYPE_COUNT)
        return pare_fail(
            error, PARE_ERROR_UNSUPPORTED,
            "%s: byte %zu: tensor %s is of type %s (number %llu); pare reads F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, "
            "Q5_K and Q6_K",
            c->path, at, tensor->name, t == n_types ? "unknown" : types[t].name, (unsigned long long)number);
    item->type = types[t].name;
    tensor->dtype = types[t].dtype;
    if (!pare_shape_bytes(&tensor->n_bytes, tensor->dtype, tensor->n_dims, tensor->dims))
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: byte %zu: tensor %s of type %s: the rows of %s are no whole blocks, or it overflows",
                         c->path, at, tensor->name, item->type, pare_shape_print(shape, tensor->n_dims, tensor->dims));
    return true;
}

/* A file that ends before its last tensor does: most often a download that broke off. */
static bool check_length(const pare_file_tensor *items, size_t n, const cursor *c, uint64_t data_at, pare_error *error) {
    const pare_file_tensor *last = n ? &items[n - 1] : NULL; /* by offset */
    uint64_t room = c->map->size - data_at;
    if (!last || last->offset > INT64_MAX || last->tensor.n_bytes > INT64_MAX || last->offset + last->tensor.n_bytes <= room)
        return true;
    return pare_fail(
        error, PARE_ERROR_FORMAT,
        "%s: tensor %s: %llu bytes at offset %llu reach beyond the %llu bytes of data (at byte %llu): the file is cut short, it has "
        "%zu bytes and needs %llu. Is the download complete?",
        c->path, last->tensor.name, (unsigned long long)last->tensor.n_bytes, (unsigned long long)last->offset, (unsigned long long)room,
        (unsigned long long)data_at, c->map->size, (unsigned long long)(data_at + last->offset + last->tensor.n_bytes));
}

/* Relative offsets become bytes of the map: aligned, inside the file, not overlapping. */
static bool place_tensors(pare_file_tensor *items, size_t n, cursor *c, uint64_t alignment, pare_error *error) {
    uint64_t data_at = (c->at + alignment - 1) / alignment * alignment;
    if (data_at > c->map->size)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: the file is cut short: it ends at byte %zu, and the tensors' bytes begin at %llu",
                         c->path, c->map->size, (unsigned long long)data_at);
    qsort(items, n, sizeof *items, pare_file_tensor_order);
    uint64_t end = 0;
    if (!check_length(items, n, c, data_at, error))
        return false;
    for (size_t i = 0; i < n; i++) {
        pare_tensor *tensor = &items[i].tensor;
        uint64_t offset = items[i].offset, room = c->map->size - data_at;
        if (offset % alignment)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s: its offset %llu is no multiple of the alignment %llu", c->path,
                             tensor->name, (unsigned long long)offset, (unsigned long long)alignment);
        if (offset > room || tensor->n_bytes > room - offset)
            return pare_fail(error, PARE_ERROR_FORMAT,
                             "%s: tensor %s: %llu bytes at offset %llu reach beyond the %llu bytes of data (at byte %llu)", c->path,
                             tensor->name, (unsigned long long)tensor->n_bytes, (unsigned long long)offset, (unsigned long long)room,
                             (unsigned long long)data_at);
        if (offset < end)
            return pare_fail(error, PARE_ERROR_FORMAT, "%s: tensor %s overlaps tensor %s at byte %llu", c->path, tensor->name,
                             items[i - 1].tensor.name, (unsigned long long)(data_at + offset));
        end = offset + tensor->n_bytes;
        items[i].offset = data_at + offset;
        tensor->data = c->map->data + items[i].offset;
    }
    return true;
}

static bool take_counts(uint64_t *n_tensors, uint64_t *n_values, cursor *c, pare_error *error) {
    uint64_t magic, version;
    if (!take(&magic, c, 4, "the magic", error) || !take(&version, c, 4, "the version", error))
        return false;
    if (magic != 0x46554747)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: not a GGUF file: it does not start with \"GGUF\"", c->path);
    if (version == 0x02000000 || version == 0x03000000)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: byte 4: a big-endian GGUF file; pare reads little-endian ones", c->path);
    if (version != 2 && version != 3)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED, "%s: byte 4: GGUF version %llu; pare reads versions 2 and 3", c->path,
                         (unsigned long long)version);
    if (!take(n_tensors, c, 8, "the tensor count", error) || !take(n_values, c, 8, "the metadata count", error))
        return false;
    size_t left = c->map->size - c->at;
    if (*n_tensors > left / TENSOR_MIN || *n_values > left / ENTRY_MIN || *n_tensors > COUNT_MAX || *n_values > COUNT_MAX)
        return pare_fail(error, PARE_ERROR_FORMAT,
                         "%s: bytes 8 to 23 announce %llu tensors and %llu metadata entries, too many for the %zu bytes left: the file is "
                         "damaged or cut short",
                         c->path, (unsigned long long)*n_tensors, (unsigned long long)*n_values, left);
    return true;
}

bool pare_gguf_read(pare_gguf *gguf, pare_tensor_list *list, const pare_map *map, const char *path, pare_arena *arena, pare_error *error) {
    cursor c = {map, 0, path};
    uint64_t n_tensors = 0, n_values = 0, alignment = ALIGNMENT_DEFAULT, splits = 0;
    *gguf = (pare_gguf){.path = path};
    if (!take_counts(&n_tensors, &n_values, &c, error) || !take_metadata(gguf, &c, n_values, arena, error) ||
        !pare_gguf_get_u64(&alignment, gguf, "general.alignment", error) || !pare_gguf_get_u64(&splits, gguf, "split.count", error))
        return false;
    if (alignment == 0 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
        return pare_fail(error, PARE_ERROR_FORMAT, "%s: general.alignment is %llu, not a power of two up to %d", path,
                         (unsigned long long)alignment, ALIGNMENT_MAX);
    if (splits > 1)
        return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                         "%s: one of %llu parts of a split GGUF; merge them first (llama-gguf-split --merge)", path,
                         (unsigned long long)splits);
    size_t first = list->n;
    for (uint64_t i = 0; i < n_tensors; i++) {
        pare_file_tensor *item = pare_tensor_list_push(list, error);
        if (!item || !take_tensor(item, &c, arena, error))
            return false;
    }
    return n_tensors == 0 || place_tensors(list->items + first, (size_t)n_tensors, &c, alignment, error);
}

/* ---- look-ups ---- */

const pare_gguf_value *pare_gguf_find(const pare_gguf *gguf, const char *key) {
    pare_gguf_value wanted = {.key = {key, strlen(key)}};
    return gguf->n_values ? bsearch(&wanted, gguf->values, gguf->n_values, sizeof *gguf->values, by_key) : NULL;
}

static bool fail_type(const pare_gguf *gguf, const char *key, const char *wanted, pare_error *error) {
    return pare_fail(error, PARE_ERROR_FORMAT, "%s: the metadata key %s is not %s", gguf->path, key, wanted);
}

static bool is_whole(pare_gguf_type type) {
    return type <= PARE_GGUF_I32 || type == PARE_GGUF_U64 || type == PARE_GGUF_I64;
}

/* Item i of a scalar or array of whole numbers; false when negative. */
static bool whole_at(uint64_t *value, pare_gguf_type type, const uint8_t *bytes) {
    size_t n = type_bytes[type];
    *value = little_endian(bytes, n);
    bool is_signed = type == PARE_GGUF_I8 || type == PARE_GGUF_I16 || type == PARE_GGUF_I32 || type == PARE_GGUF_I64;
    return !is_signed || (bytes[n - 1] & 0x80) == 0;
}

/* Some writers give one number per layer; all of them must agree then. */
bool pare_gguf_get_u64(uint64_t *value, const pare_gguf *gguf, const char *key, pare_error *error) {
    const pare_gguf_value *found = pare_gguf_find(gguf, key);
    if (!found)
        return true;
    pare_gguf_type type = found->type == PARE_GGUF_ARRAY ? found->item : found->type;
    if (!is_whole(type) || found->count == 0)
        return fail_type(gguf, key, "a whole number", error);
    uint64_t first = 0, next = 0;
    for (uint64_t i = 0; i < found->count; i++) {
        if (!whole_at(&next, type, found->bytes + i * type_bytes[type]))
            return fail_type(gguf, key, "a non-negative number", error);
        if (i > 0 && next != first)
            return pare_fail(error, PARE_ERROR_UNSUPPORTED,
                             "%s: the metadata key %s differs from layer to layer (%llu, %llu); pare reads uniform models", gguf->path, key,
                             (unsigned long long)first, (unsigned long long)next);
        first = next;
    }
    *value = first;
    return true;
}

bool pare_gguf_get_double(double *value, const pare_gguf *gguf, const char *key, pare_error *error) {
    const pare_gguf_value *found = pare_gguf_find(gguf, key);
    if (!found)
        return true;
    if (found->type == PARE_GGUF_F32) {
        float narrow;
        memcpy(&narrow, found->bytes, sizeof narrow);
        *value = (double)narrow;
        return true;
    }
    if (found->type == PARE_GGUF_F64) {
        memcpy(value, found->bytes, sizeof *value);
        return true;
    }
    return fail_type(gguf, key, "a number", error);
}

bool pare_gguf_get_bool(bool *value, const pare_gguf *gguf, const char *key, pare_error *error) {
    const pare_gguf_value *found = pare_gguf_find(gguf, key);
    if (!found)
        return true;
    if (found->type != PARE_GGUF_BOOL || found->bytes[0] > 1)
        return fail_type(gguf, key, "true or false", error);
    *value = found->bytes[0] != 0;
    return true;
}

bool pare_gguf_get_string(pare_piece *value, const pare_gguf *gguf, const char *key, pare_error *error) {
    const pare_gguf_value *found = pare_gguf_find(gguf, key);
    if (!found)
        return true;
    if (found->type != PARE_GGUF_STRING)
        return fail_type(gguf, key, "a string", error);
    *value = (pare_piece){(const char *)found->bytes + 8, found->n_bytes - 8};
    return true;
}

bool pare_gguf_get_strings(pare_piece **strings, size_t *n, const pare_gguf *gguf, const char *key, pare_arena *arena, pare_error *error) {
    const pare_gguf_value *found = pare_gguf_find(gguf, key);
    *strings = NULL;
    *n = 0;
    if (!found)
        return true;
    if (found->type != PARE_GGUF_ARRAY || found->item != PARE_GGUF_STRING || found->count > STRINGS_MAX)
        return fail_type(gguf, key, "an array of strings", error);
    *strings = PARE_PUSH(arena, pare_piece, (size_t)found->count, error);
    if (!*strings)
        return false;
    const uint8_t *at = found->bytes; /* lengths were checked when the file was read */
    for (uint64_t i = 0; i < found->count; i++) {
        size_t length = (size_t)little_endian(at, 8);
        (*strings)[i] = (pare_piece){(const char *)at + 8, length};
        at += 8 + length;
    }
    *n = (size_t)found->count;
    return true;
}
