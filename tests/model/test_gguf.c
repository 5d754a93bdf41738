/* The GGUF reader: values and weights against the gguf package and llama.cpp's converter, and files built to break it. */
#include <math.h>

#include "fixtures.h"

/* ---- real files ---- */

/* types.txt names each tensor; types.rows.f32 holds its first and last row as the gguf package de-quantises them. */
static void every_type_gives_the_gguf_packages_weights(void **state) {
    (void)state;
    pare_error error = {0};
    pare_arena *arena = pare_arena_open(&error);
    pare_map map;
    pare_gguf gguf;
    pare_tensor_list list = {0};
    assert_done(pare_map_open(&map, fixture("types.gguf"), &error), error);
    assert_done(pare_gguf_read(&gguf, &list, &map, "types.gguf", arena, &error), error);
    assert_done(pare_tensor_list_sort(&list, &error), error);
    char *names = read_file(fixture("types.txt"), NULL), *rest = names;
    size_t n_bytes, at = 0, n = 0;
    char *stored = read_file(fixture("types.rows.f32"), &n_bytes);
    unsigned seen = 0;
    for (char *line; (line = strtok_r(rest, "\n", &rest)); n++) {
        char name[64], type[16];
        unsigned rows, columns;
        assert_int_equal(sscanf(line, "%63s %15s %u %u", name, type, &rows, &columns), 4);
        const pare_file_tensor *item = pare_tensor_list_find(&list, name);
        assert_non_null(item);
        assert_string_equal(pare_dtype_info(item->tensor.dtype)->name, type);
        seen |= 1u << item->tensor.dtype;
        pare_view view = pare_view_all(&item->tensor);
        assert_int_equal(view.n_rows, rows);
        assert_int_equal(view.n_columns, columns);
        float *values = view_values(&view);
        for (unsigned last = 0; last < 2; last++, at += columns * sizeof(float)) {
            assert_true(at + columns * sizeof(float) <= n_bytes);
            const float *row = values + (last ? (size_t)(rows - 1) * columns : 0);
            for (unsigned j = 0; j < columns; j++) {
                float wanted;
                memcpy(&wanted, stored + at + j * sizeof wanted, sizeof wanted);
                if (!(fabsf(row[j] - wanted) <= 1e-6f * fabsf(wanted)))
                    fail_msg("%s (%s), column %u: %.9g, the gguf package says %.9g", name, type, j, (double)row[j], (double)wanted);
            }
        }
        pare_free(values);
    }
    assert_int_equal(at, n_bytes);
    assert_int_equal(n, list.n);
    assert_int_equal(seen, (1u << PARE_DTYPE_COUNT) - 1); /* no type was left out */
    pare_free(names);
    pare_free(stored);
    pare_tensor_list_free(&list);
    pare_map_close(&map);
    pare_arena_close(arena);
}

/* The converter wrote norms as F32, and q and k of the llama architecture in adjacent pairs; the values are the same. */
static void conversion_changes_no_weight(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "llama3", "mistral"};
    for (size_t m = 0; m < 3; m++) {
        char file[32];
        snprintf(file, sizeof file, "%s.gguf", names[m]);
        pare_checkpoint *hf = open_fixture(names[m]), *gguf = open_fixture(file);
        assert_int_equal(hf->n_tensors, gguf->n_tensors);
        assert_int_equal(hf->dtype, gguf->dtype);
        for (size_t i = 0; i < hf->n_tensors; i++) {
            const pare_tensor *a = &hf->tensors[i], *b = &gguf->tensors[i];
            assert_string_equal(a->name, b->name);
            pare_view view_a = pare_view_all(a), view_b = pare_view_all(b);
            bool rotary = strstr(a->name, "q_proj") || strstr(a->name, "k_proj");
            assert_int_equal(b->rotary_pairs, rotary && m > 0 ? gguf->config.head_dim : 0);
            float *values_a = view_values(&view_a), *values_b = view_values(&view_b);
            assert_memory_equal(values_a, values_b, pare_tensor_elements(a) * sizeof(float));
            pare_free(values_a);
            pare_free(values_b);
        }
        pare_checkpoint_close(hf);
        pare_checkpoint_close(gguf);
    }
}

static void configurations_agree_with_hugging_faces(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "llama3", "mistral"};
    for (size_t m = 0; m < 3; m++) {
        char file[32];
        snprintf(file, sizeof file, "%s.gguf", names[m]);
        pare_checkpoint *hf = open_fixture(names[m]), *gguf = open_fixture(file);
        const pare_config *a = &hf->config, *b = &gguf->config;
        assert_int_equal(b->arch, m == 2 ? PARE_ARCH_LLAMA : a->arch); /* GGUF has no word for Mistral */
        assert_int_equal(a->n_layers, b->n_layers);
        assert_int_equal(a->width, b->width);
        assert_int_equal(a->ffn_width, b->ffn_width);
        assert_int_equal(a->n_heads, b->n_heads);
        assert_int_equal(a->n_kv_heads, b->n_kv_heads);
        assert_int_equal(a->head_dim, b->head_dim);
        assert_int_equal(a->vocabulary, b->vocabulary);
        assert_int_equal(a->max_positions, b->max_positions);
        assert_true(fabs(a->rms_eps - b->rms_eps) < 1e-12);
        assert_true(a->rope.theta == b->rope.theta);
        assert_int_equal(a->tied, b->tied);
        assert_int_equal(a->attention_bias, b->attention_bias);
        assert_int_equal(a->output_bias, b->output_bias);
        assert_int_equal(a->mlp_bias, b->mlp_bias);
        assert_int_equal(a->bos, b->bos);
        assert_int_equal(a->eos, b->eos);
        for (uint32_t i = 0; i < a->head_dim / 2; i++) { /* llama.cpp's factors against our formula */
            double ours = pare_rope_factor(&a->rope, i, a->head_dim), theirs = pare_rope_factor(&b->rope, i, b->head_dim);
            if (fabs(ours - theirs) > 1e-5 * theirs)
                fail_msg("%s: rotary factor %u: %.9g, llama.cpp has %.9g", names[m], i, ours, theirs);
        }
        pare_checkpoint_close(hf);
        pare_checkpoint_close(gguf);
    }
    pare_checkpoint *llama3 = open_fixture("llama3.gguf");
    assert_int_equal(llama3->config.rope.type, PARE_ROPE_FACTORS);
    assert_true(pare_rope_factor(&llama3->config.rope, 7, 16) > 7.9); /* the slowest turns 8 times slower: not all ones */
    pare_checkpoint_close(llama3);
}

/* ---- files built here ---- */

static void put(pare_string *file, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char byte = (char)(uint8_t)(i < 8 ? value >> (8 * i) : 0);
        pare_string_push(file, &byte, 1);
    }
}

static void put_string(pare_string *file, const char *text) {
    put(file, strlen(text), 8);
    pare_string_push(file, text, strlen(text));
}

static void put_head(pare_string *file, uint32_t version, uint64_t n_tensors, uint64_t n_values) {
    pare_string_push(file, "GGUF", 4);
    put(file, version, 4);
    put(file, n_tensors, 8);
    put(file, n_values, 8);
}

static void put_u32(pare_string *file, const char *key, uint32_t value) {
    put_string(file, key);
    put(file, PARE_GGUF_U32, 4);
    put(file, value, 4);
}

static void put_tensor(pare_string *file, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset) {
    put_string(file, name);
    put(file, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++)
        put(file, dims[i], 8);
    put(file, type, 4);
    put(file, offset, 8);
}

static void put_data(pare_string *file, size_t n) {
    while (file->length % 32)
        put(file, 0, 1);
    for (size_t i = 0; i < n; i++)
        put(file, i, 1);
}

/* Reads a copy of exactly `n` bytes. */
static bool read_copy(const char *bytes, size_t n, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    uint8_t *copy = malloc(n ? n : 1);
    assert_true(arena && copy);
    if (n)
        memcpy(copy, bytes, n);
    pare_map map = {copy, n};
    pare_gguf gguf;
    pare_tensor_list list = {0};
    bool done = pare_gguf_read(&gguf, &list, &map, "x.gguf", arena, error);
    for (size_t i = 0; done && i < list.n; i++) {
        const pare_tensor *t = &list.items[i].tensor;
        assert_true(t->data >= copy && t->n_bytes <= (size_t)(copy + n - t->data));
    }
    pare_tensor_list_free(&list);
    pare_arena_close(arena);
    free(copy);
    return done;
}

static void refuse(pare_string *file, pare_code code, const char *part) {
    pare_error error = {0};
    assert_done(pare_string_check(file, &error), error);
    assert_fails(read_copy(file->data, file->length, &error), error, code, part);
    assert_non_null(strstr(error.message, "x.gguf"));
    pare_string_free(file);
}

/* Two F32 tensors of 8 and 4 weights; offsets and types as given. */
static pare_string two_tensors(uint32_t alignment, const uint64_t *first_dims, uint32_t n_dims, uint32_t type, uint64_t first_at,
                               uint64_t second_at, size_t n_data) {
    pare_string file = {0};
    uint64_t four = 4;
    put_head(&file, 3, 2, alignment ? 1 : 0);
    if (alignment)
        put_u32(&file, "general.alignment", alignment);
    put_tensor(&file, "first", n_dims, first_dims, type, first_at);
    put_tensor(&file, "second", 1, &four, 0, second_at);
    put_data(&file, n_data);
    return file;
}

static const uint64_t eight[5] = {8, 1, 1, 1, 1};

static void good_built_files_pass(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        pare_error error = {0};
        pare_string file = two_tensors(0, eight, 1, 0, 0, 32, 48);
        file.data[4] = (char)version;
        assert_done(read_copy(file.data, file.length, &error), error);
        pare_string_free(&file);
        file = two_tensors(8, eight, 4, 0, 16, 0, 48); /* out of order, another alignment */
        assert_done(read_copy(file.data, file.length, &error), error);
        pare_string_free(&file);
    }
}

static void bad_heads_are_named(void **state) {
    (void)state;
    pare_string file = {0};
    pare_string_push(&file, "GGML", 4);
    put(&file, 3, 20);
    refuse(&file, PARE_ERROR_FORMAT, "not a GGUF file");
    put_head(&file, 1, 0, 0);
    refuse(&file, PARE_ERROR_UNSUPPORTED, "GGUF version 1");
    put_head(&file, 4, 0, 0);
    refuse(&file, PARE_ERROR_UNSUPPORTED, "GGUF version 4");
    put_head(&file, 0x03000000, 0, 0);
    refuse(&file, PARE_ERROR_UNSUPPORTED, "big-endian");
    put_head(&file, 3, UINT64_MAX, 0);
    refuse(&file, PARE_ERROR_FORMAT, "too many for the 0 bytes left");
    put_head(&file, 3, 0, 1ull << 40);
    refuse(&file, PARE_ERROR_FORMAT, "too many");
    pare_string_push(&file, "GGUF", 4);
    refuse(&file, PARE_ERROR_FORMAT, "ends at byte 4");
}

static void bad_metadata_is_named(void **state) {
    (void)state;
    pare_string file = {0};
    put_head(&file, 3, 0, 2);
    put_u32(&file, "a.key", 1);
    put_u32(&file, "a.key", 2);
    refuse(&file, PARE_ERROR_FORMAT, "a.key appears twice");
    put_head(&file, 3, 0, 1);
    put(&file, 1ull << 62, 8);
    put_data(&file, 64);
    refuse(&file, PARE_ERROR_FORMAT, "byte 24: a metadata key claims 4611686018427387904 bytes");
    put_head(&file, 3, 0, 1);
    put_string(&file, "a.key");
    put(&file, 99, 4);
    put_data(&file, 64);
    refuse(&file, PARE_ERROR_FORMAT, "unknown metadata type 99");
    put_head(&file, 3, 0, 1);
    put_string(&file, "a.key");
    put(&file, PARE_GGUF_ARRAY, 4);
    put(&file, PARE_GGUF_U64, 4);
    put(&file, 1ull << 61, 8); /* times 8 overflows to 0 */
    put_data(&file, 64);
    refuse(&file, PARE_ERROR_FORMAT, "do not fit into");
    put_head(&file, 3, 0, 1);
    put_string(&file, "a.key");
    put(&file, PARE_GGUF_ARRAY, 4);
    for (int depth = 0; depth < 8; depth++) {
        put(&file, PARE_GGUF_ARRAY, 4);
        put(&file, 1, 8);
    }
    put_data(&file, 64);
    refuse(&file, PARE_ERROR_UNSUPPORTED, "nested deeper");
    put_head(&file, 3, 0, 1);
    put_u32(&file, "split.count", 3);
    refuse(&file, PARE_ERROR_UNSUPPORTED, "split GGUF");
}

static void bad_tensors_are_named(void **state) {
    (void)state;
    static const uint64_t huge[4] = {1ull << 32, 1ull << 32, 16, 1}, odd[4] = {33, 2, 1, 1}, none[4] = {8, 0, 1, 1};
    pare_string file = two_tensors(0, eight, 1, 0, 0, 16, 48);
    refuse(&file, PARE_ERROR_FORMAT, "tensor second: its offset 16 is no multiple of the alignment 32");
    file = two_tensors(16, eight, 1, 0, 0, 16, 48);
    refuse(&file, PARE_ERROR_FORMAT, "tensor second overlaps tensor first");
    file = two_tensors(0, eight, 1, 0, 0, 32, 47);
    refuse(&file, PARE_ERROR_FORMAT, "tensor second: 16 bytes at offset 32 reach beyond the 47 bytes");
    file = two_tensors(0, eight, 1, 0, 0, UINT64_MAX - 31, 48);
    refuse(&file, PARE_ERROR_FORMAT, "tensor second: 16 bytes at offset 18446744073709551584");
    file = two_tensors(24, eight, 1, 0, 0, 24, 48);
    refuse(&file, PARE_ERROR_FORMAT, "general.alignment is 24");
    file = two_tensors(0x80000000u, eight, 1, 0, 0, 32, 48);
    refuse(&file, PARE_ERROR_FORMAT, "general.alignment is 2147483648");
    file = two_tensors(0, huge, 3, 0, 0, 32, 48);
    refuse(&file, PARE_ERROR_SHAPE, "tensor first of type F32: the rows of [16, 4294967296, 4294967296]");
    file = two_tensors(0, odd, 2, 2, 0, 64, 96);
    refuse(&file, PARE_ERROR_SHAPE, "tensor first of type Q4_0: the rows of [2, 33] are no whole blocks");
    file = two_tensors(0, eight, 5, 0, 0, 32, 48);
    refuse(&file, PARE_ERROR_FORMAT, "tensor first has 5 dimensions");
    file = two_tensors(0, eight, 0, 0, 0, 32, 48);
    refuse(&file, PARE_ERROR_FORMAT, "tensor first has 0 dimensions");
    file = two_tensors(0, eight, 1, 10, 0, 32, 48);
    refuse(&file, PARE_ERROR_UNSUPPORTED, "tensor first is of type Q2_K");
    file = two_tensors(0, eight, 1, 77, 0, 32, 48);
    refuse(&file, PARE_ERROR_UNSUPPORTED, "tensor first is of type unknown (number 77)");
    pare_error error = {0};
    file = two_tensors(0, none, 2, 0, 0, 0, 48); /* an empty tensor shares no byte */
    assert_done(read_copy(file.data, file.length, &error), error);
    pare_string_free(&file);
}

static void every_prefix_fails(void **state) {
    (void)state;
    pare_string file = two_tensors(32, eight, 1, 0, 0, 32, 48);
    for (size_t n = 0; n < file.length; n++) {
        pare_error error = {0};
        assert_false(read_copy(file.data, n, &error));
        assert_int_not_equal(error.code, PARE_OK);
    }
    pare_string_free(&file);
}

static void every_flipped_bit_is_survived(void **state) {
    (void)state;
    pare_string file = two_tensors(16, eight, 1, 0, 0, 32, 48);
    for (size_t bit = 0; bit < 8 * file.length; bit++) {
        pare_error error = {0};
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << bit % 8));
        if (!read_copy(file.data, file.length, &error))
            assert_int_not_equal(error.code, PARE_OK);
        file.data[bit / 8] = (char)(file.data[bit / 8] ^ (1 << bit % 8));
    }
    pare_string_free(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_gives_the_gguf_packages_weights),
        cmocka_unit_test(conversion_changes_no_weight),
        cmocka_unit_test(configurations_agree_with_hugging_faces),
        cmocka_unit_test(good_built_files_pass),
        cmocka_unit_test(bad_heads_are_named),
        cmocka_unit_test(bad_metadata_is_named),
        cmocka_unit_test(bad_tensors_are_named),
        cmocka_unit_test(every_prefix_fails),
        cmocka_unit_test(every_flipped_bit_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
