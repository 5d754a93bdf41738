/* format: what the readers of checkpoint files hand to src/model/checkpoint.c, and what the writer takes from it.
 *
 * A reader turns the bytes of one mapped file into entries of a pare_tensor_list, every offset and size checked, and knows
 * nothing of what the tensors mean; checkpoint.c holds the list against the configuration.
 */
#ifndef PARE_MODEL_FORMAT_H
#define PARE_MODEL_FORMAT_H

#include "pare/model.h"

/* A tensor as a file tells it. type: the file's word for its number type. dtype is PARE_DTYPE_COUNT, and data and n_bytes hold
 * the raw bytes, when pare does not compute with that type: an error only where the tensor is needed. */
typedef struct {
    pare_tensor tensor;
    const char *type;
    uint64_t offset; /* of its first byte in its file, for messages */
    bool used;       /* the configuration asks for it */
} pare_file_tensor;

typedef struct {
    pare_file_tensor *items;
    size_t n, capacity;
} pare_tensor_list;

typedef struct pare_checkpoint_inner {
    pare_arena *arena;
    pare_map *maps;
    size_t n_maps;
    json_t *config_json;    /* the source's config.json; NULL for GGUF */
    struct pare_gguf *gguf; /* NULL for a folder */
    pare_tokenizer *tokenizer;
} pare_checkpoint_inner;

/* An empty checkpoint that knows its path (trailing slashes gone); and the tokenizer of the folder at its path. */
pare_checkpoint *pare_checkpoint_make(const char *path, pare_error *error) PARE_MUST_CHECK;
bool pare_checkpoint_add_tokenizer(pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;

pare_file_tensor *pare_tensor_list_push(pare_tensor_list *list, pare_error *error) PARE_MUST_CHECK;
void pare_tensor_list_free(pare_tensor_list *list);
/* For qsort: by the first byte in the file, an empty tensor before a full one. */
int pare_file_tensor_order(const void *a, const void *b);
/* By name; two of one name are an error. find needs a sorted list. */
bool pare_tensor_list_sort(pare_tensor_list *list, pare_error *error) PARE_MUST_CHECK;
pare_file_tensor *pare_tensor_list_find(const pare_tensor_list *list, const char *name);

/* "[576, 1536]" into text. */
enum { PARE_SHAPE_TEXT = 96 };
const char *pare_shape_print(char text[PARE_SHAPE_TEXT], uint32_t n_dims, const uint64_t *dims);

/* Whether a tensor of this name may be there or not, and is not read: a buffer that the configuration tells already. (checkpoint.c) */
bool pare_tensor_carries_nothing(const char *name);

/* Bytes of a tensor of this shape; false when its rows are no whole blocks or the product overflows. */
bool pare_shape_bytes(uint64_t *bytes, pare_dtype dtype, uint32_t n_dims, const uint64_t *dims) PARE_MUST_CHECK;

/* ---- safetensors ---- */

bool pare_safetensors_read(pare_tensor_list *list, const pare_map *map, const char *path, pare_arena *arena,
                           pare_error *error) PARE_MUST_CHECK;

/* ---- GGUF ---- */

typedef enum {
    PARE_GGUF_U8,
    PARE_GGUF_I8,
    PARE_GGUF_U16,
    PARE_GGUF_I16,
    PARE_GGUF_U32,
    PARE_GGUF_I32,
    PARE_GGUF_F32,
    PARE_GGUF_BOOL,
    PARE_GGUF_STRING,
    PARE_GGUF_ARRAY,
    PARE_GGUF_U64,
    PARE_GGUF_I64,
    PARE_GGUF_F64,
    PARE_GGUF_TYPE_COUNT
} pare_gguf_type;

/* A metadata entry; bytes: its value (of an array: its items) in the map. */
typedef struct {
    pare_piece key;
    pare_gguf_type type, item; /* item: of arrays */
    uint64_t count;            /* 1, or an array's length */
    const uint8_t *bytes;
    size_t n_bytes;
} pare_gguf_value;

typedef struct pare_gguf {
    const char *path;
    pare_gguf_value *values; /* sorted by key */
    size_t n_values;
} pare_gguf;

/* Metadata into *gguf (arena), tensors into list, under the names the file gives them. */
bool pare_gguf_read(pare_gguf *gguf, pare_tensor_list *list, const pare_map *map, const char *path, pare_arena *arena,
                    pare_error *error) PARE_MUST_CHECK;
const pare_gguf_value *pare_gguf_find(const pare_gguf *gguf, const char *key);
/* Typed look-ups: absent leaves *value alone and returns true; a wrong type is an error that names file and key. */
bool pare_gguf_get_u64(uint64_t *value, const pare_gguf *gguf, const char *key, pare_error *error) PARE_MUST_CHECK;
bool pare_gguf_get_double(double *value, const pare_gguf *gguf, const char *key, pare_error *error) PARE_MUST_CHECK;
bool pare_gguf_get_bool(bool *value, const pare_gguf *gguf, const char *key, pare_error *error) PARE_MUST_CHECK;
bool pare_gguf_get_string(pare_piece *value, const pare_gguf *gguf, const char *key, pare_error *error) PARE_MUST_CHECK;
/* The strings of an array; NULL with *n = 0 when the key is absent. */
bool pare_gguf_get_strings(pare_piece **strings, size_t *n, const pare_gguf *gguf, const char *key, pare_arena *arena,
                           pare_error *error) PARE_MUST_CHECK;

/* What a GGUF means: its configuration, and Hugging Face names, shapes and rotary layout for its tensors. */
bool pare_gguf_config(pare_config *config, const pare_gguf *gguf, const pare_tensor_list *list, pare_error *error) PARE_MUST_CHECK;
bool pare_gguf_rename(pare_tensor_list *list, const pare_config *config, const pare_gguf *gguf, pare_arena *arena,
                      pare_error *error) PARE_MUST_CHECK;
pare_tokenizer *pare_gguf_tokenizer(const pare_gguf *gguf, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* ---- GGUF out ---- */

uint32_t pare_gguf_type_number(pare_dtype dtype); /* GGML's */
/* The name that GGUF gives a tensor of pare_config_visit_tensors, as rename's way back; rotary: its rows are turned by rotary embedding.
 * False when there is none. */
bool pare_gguf_spell(char text[96], bool *rotary, const char *name) PARE_MUST_CHECK;

/* Metadata entries as they will lie in a file. Starts from {0}; failures are sticky, as those of pare_string are. */
typedef struct {
    pare_string bytes, keys; /* keys: one a line */
    uint64_t n;
} pare_gguf_entries;
void pare_gguf_put_u32(pare_gguf_entries *entries, const char *key, uint32_t value);
void pare_gguf_put_f32(pare_gguf_entries *entries, const char *key, double value);
void pare_gguf_put_bool(pare_gguf_entries *entries, const char *key, bool value);
void pare_gguf_put_string(pare_gguf_entries *entries, const char *key, const char *text, size_t length);
void pare_gguf_put_strings(pare_gguf_entries *entries, const char *key, const pare_piece *texts, size_t n);
void pare_gguf_put_i32s(pare_gguf_entries *entries, const char *key, const int32_t *values, size_t n);
/* A value of another file, under this key. */
void pare_gguf_put_value(pare_gguf_entries *entries, const char *key, size_t length, const pare_gguf_value *value);
bool pare_gguf_entries_have(const pare_gguf_entries *entries, const char *key, size_t length);
bool pare_gguf_entries_check(const pare_gguf_entries *entries, pare_error *error) PARE_MUST_CHECK;
void pare_gguf_entries_free(pare_gguf_entries *entries);
/* The low n bytes of a number; a length of 8 bytes and a text. */
void pare_gguf_push_number(pare_string *bytes, uint64_t value, size_t n);
void pare_gguf_push_text(pare_string *bytes, const char *text, size_t n);

/* All entries of a file: config as what a cut leaves of checkpoint's, arch as llama.cpp calls it, dtype of most matrices. */
bool pare_gguf_metadata(pare_gguf_entries *entries, const pare_checkpoint *checkpoint, const pare_config *config, const char *arch,
                        pare_dtype dtype, pare_error *error) PARE_MUST_CHECK;
/* Its tokenizer.* for a Hugging Face folder. */
bool pare_gguf_put_tokenizer(pare_gguf_entries *entries, const pare_checkpoint *checkpoint, const pare_config *config,
                             pare_error *error) PARE_MUST_CHECK;

/* ---- Hugging Face folders ---- */

/* arena: holds what the configuration points to. */
bool pare_hf_config_read(pare_config *config, const json_t *json, const char *what, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
/* A config.json for `config`, what a cut leaves of checkpoint's: the source's keys with what the cut and the number type change and
 * the other version's spelling added, or a new one for a GGUF. */
json_t *pare_hf_config_write(const pare_checkpoint *checkpoint, const pare_config *config, pare_dtype dtype,
                             pare_error *error) PARE_MUST_CHECK;
/* pare's own format (own_config.c): its part of a config.json. The architecture beneath, or NULL; what lies beyond it, into a config that
 * holds the rest; whether a config needs it; its keys. */
const char *pare_own_config_architecture(const json_t *json);
bool pare_own_config_read(pare_config *config, const json_t *json, const char *what, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
bool pare_own_config_wanted(const pare_config *config);
void pare_own_config_write(pare_json_doc *doc, json_t *json, const pare_config *config);
/* Maps the folder's weight files and lists their tensors. */
/* Lenient reading of one of the checkpoint's files: what it found is added to the checkpoint's remark. */
bool pare_checkpoint_add_odd(pare_checkpoint *checkpoint, const char *file, const pare_json_odd *odd, pare_error *error) PARE_MUST_CHECK;
bool pare_hf_weights_read(pare_tensor_list *list, pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;
/* The id of the token that tokenizer_config.json gives a name ("bos_token"); -1: none. */
int64_t pare_setting_token(const json_t *settings, const char *name, const pare_tokenizer *tokenizer);
/* Tokenizer files and generation_config.json into the folder `into`. */
bool pare_hf_extras_write(const char *into, const pare_checkpoint *checkpoint, pare_error *error) PARE_MUST_CHECK;

/* One file of a folder that is being written. */
bool pare_hf_text_write(const char *into, const char *name, const char *text, size_t n, pare_error *error) PARE_MUST_CHECK;
bool pare_hf_json_write(const char *into, const char *name, const json_t *json, const pare_json_doc *doc,
                        pare_error *error) PARE_MUST_CHECK;

/* Ranges and divisibility that everything later relies on. */
bool pare_config_check(const pare_config *config, const char *what, pare_error *error) PARE_MUST_CHECK;
/* What scaling divides rotary frequency i by: 1 for the default, the constant for linear, Llama-3's ramp, a GGUF's stored factors. */
double pare_rope_factor(const pare_rope *rope, uint32_t i, uint32_t head_dim);
/* A u64 that was read under `key` as u32. */
bool pare_config_narrow(uint32_t *narrow, uint64_t value, const char *key, const char *what, pare_error *error) PARE_MUST_CHECK;

/* ---- factored matrices on their way out (factors.c) ---- */

/* What a tensor that is written is of a matrix that is factored where it is read. */
typedef enum { PARE_FACTORS_NONE, PARE_FACTORS_PRODUCT, PARE_FACTORS_U, PARE_FACTORS_V } pare_factors_part;
typedef struct {
    pare_factors_part part;
    uint32_t layer;
    pare_projection projection;
} pare_factors;

struct pare_adapters;
/* By its name; config: of what is read. */
pare_factors pare_factors_find(const pare_config *config, const char *name);
/* Whether it must be made: a product, or a factor that takes up an adapter (NULL: there are none). */
bool pare_factors_made(const pare_factors *factors, const struct pare_adapters *adapters);
/* All of it as f32, an adapter taken up: U' = [U, scale B], V' = [V; A]; pare_free releases it. */
float *pare_factors_make(const pare_factors *factors, const pare_checkpoint *checkpoint, const pare_cut *cut,
                         const struct pare_adapters *adapters, int n_threads, pare_error *error) PARE_MUST_CHECK;
/* ranks (n_layers) of a model with adapters taken up: as they are, or grown by the adapter's; 0, a whole matrix, where that is as small.
 * False when none is left. */
bool pare_factors_grow(pare_layer_ranks *ranks, const pare_config *config, const struct pare_adapters *adapters);

/* ---- bytes (integrity.c) ---- */

/* The first of `n_blocks` blocks (weights, for types without blocks) that holds a NaN or an infinity; n_blocks when none does. */
size_t pare_bytes_first_bad(pare_dtype dtype, const uint8_t *bytes, size_t n_blocks);
/* Lets mapped pages that lie wholly in these bytes go. */
void pare_bytes_drop(const uint8_t *bytes, size_t n);
/* Whether bytes lie in one of the checkpoint's mapped files, so that they may be let go. */
bool pare_checkpoint_maps(const pare_checkpoint *checkpoint, const uint8_t *bytes);
void pare_checkpoint_drop_view(const pare_checkpoint *checkpoint, const pare_view *view);

/* ---- what is no model ---- */

/* Both fail, and say what the path may be instead. */
bool pare_refuse_missing(const char *path, pare_error *error) PARE_MUST_CHECK;
bool pare_refuse_file(const char *path, const pare_map *map, pare_error *error) PARE_MUST_CHECK;

#endif
