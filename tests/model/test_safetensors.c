/* The safetensors reader: what it takes from a good file, and that no bad one gets past it. Files are bytes in memory of exactly
 * their size, so that an address sanitizer sees a read beyond. */
#include "fixtures.h"

typedef struct {
    uint8_t *bytes;
    size_t n;
} file;

static file make_file(const char *header, size_t n_data) {
    size_t length = strlen(header);
    file f = {malloc(8 + length + n_data), 8 + length + n_data};
    assert_non_null(f.bytes);
    for (unsigned i = 0; i < 8; i++)
        f.bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(f.bytes + 8, header, length);
    for (size_t i = 0; i < n_data; i++)
        f.bytes[8 + length + i] = (uint8_t)i;
    return f;
}

static bool read_bytes(pare_tensor_list *list, const uint8_t *bytes, size_t n, pare_arena *arena, pare_error *error) {
    pare_map map = {bytes, n};
    *list = (pare_tensor_list){0};
    return pare_safetensors_read(list, &map, "x.safetensors", arena, error);
}

static const char good[] =
    "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[16,28]},"
    "\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},\"i\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]}}  ";

static void a_good_file_gives_its_tensors(void **state) {
    (void)state;
    pare_error error = {0};
    pare_arena *arena = pare_arena_open(&error);
    file f = make_file(good, 36);
    pare_tensor_list list;
    assert_done(read_bytes(&list, f.bytes, f.n, arena, &error), error);
    assert_done(pare_tensor_list_sort(&list, &error), error);
    assert_int_equal(list.n, 3);
    const pare_tensor *a = &list.items[0].tensor, *b = &list.items[1].tensor;
    assert_string_equal(a->name, "a");
    assert_int_equal(a->dtype, PARE_DTYPE_F32);
    assert_int_equal(a->n_dims, 1);
    assert_int_equal(a->dims[0], 4);
    assert_ptr_equal(a->data, f.bytes + f.n - 36);
    assert_string_equal(b->name, "b");
    assert_int_equal(b->dtype, PARE_DTYPE_BF16);
    assert_int_equal(b->dims[0], 2);
    assert_int_equal(b->dims[1], 3);
    assert_int_equal(b->n_bytes, 12);
    assert_ptr_equal(b->data, f.bytes + f.n - 20);
    assert_int_equal(list.items[2].tensor.dtype, PARE_DTYPE_COUNT); /* known to the format, not to pare */
    assert_string_equal(list.items[2].type, "I64");
    pare_tensor_list_free(&list);
    pare_arena_close(arena);
    free(f.bytes);
}

static void bad_headers_are_named(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        pare_code code;
        const char *part;
    } cases[] = {
        {"[]", 0, PARE_ERROR_FORMAT, "no '{' at byte 8"},
        {"{\"a\":", 0, PARE_ERROR_FORMAT, "not valid JSON"},
        {"{}", 0, PARE_ERROR_FORMAT, "no tensors"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, PARE_ERROR_FORMAT, "duplicate"},
        {"{\"a\":3}", 0, PARE_ERROR_FORMAT, "tensor a: its entry"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, PARE_ERROR_FORMAT, "tensor a: unknown dtype"},
        {"{\"a\":{\"dtype\":\"Q4\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, PARE_ERROR_UNSUPPORTED, "tensor a: unknown dtype \"Q4\""},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, PARE_ERROR_FORMAT, "\"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, PARE_ERROR_FORMAT, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, PARE_ERROR_FORMAT, "dimension 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, PARE_ERROR_UNSUPPORTED, "5 dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4, PARE_ERROR_SHAPE, "overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, PARE_ERROR_SHAPE, "needs 8 bytes, data_offsets give 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, PARE_ERROR_FORMAT, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, PARE_ERROR_FORMAT, "data_offsets"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, PARE_ERROR_FORMAT, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, PARE_ERROR_FORMAT, "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, PARE_ERROR_FORMAT,
         "outside the 3 bytes of data that start at byte 62"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775803,9223372036854775807]}}", 4, PARE_ERROR_FORMAT,
         "outside"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,18446744073709551616]}}", 4, PARE_ERROR_FORMAT, "JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}",
         6, PARE_ERROR_FORMAT, "tensor b starts at byte 117, an overlap: not at byte 119 where a ends"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
         12, PARE_ERROR_FORMAT, "a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 9, PARE_ERROR_FORMAT,
         "5 bytes after byte 66 belong to no tensor"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        pare_error error = {0};
        pare_arena *arena = pare_arena_open(&error);
        file f = make_file(cases[i].header, cases[i].n_data);
        pare_tensor_list list;
        assert_fails(read_bytes(&list, f.bytes, f.n, arena, &error), error, cases[i].code, cases[i].part);
        assert_non_null(strstr(error.message, "x.safetensors"));
        pare_tensor_list_free(&list);
        pare_arena_close(arena);
        free(f.bytes);
    }
}

static void oversize_headers_are_refused(void **state) {
    (void)state;
    static const uint64_t lengths[] = {200, UINT64_MAX, 1ull << 63, 100000001, 37};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        pare_error error = {0};
        pare_arena *arena = pare_arena_open(&error);
        file f = make_file("{}", 34); /* 44 bytes */
        for (unsigned b = 0; b < 8; b++)
            f.bytes[b] = (uint8_t)(lengths[i] >> (8 * b));
        pare_tensor_list list;
        assert_fails(read_bytes(&list, f.bytes, f.n, arena, &error), error, PARE_ERROR_FORMAT, "byte 0 announces");
        pare_tensor_list_free(&list);
        pare_arena_close(arena);
        free(f.bytes);
    }
}

static void every_prefix_fails(void **state) {
    (void)state;
    file f = make_file(good, 36);
    for (size_t n = 0; n < f.n; n++) {
        pare_error error = {0};
        pare_arena *arena = pare_arena_open(&error);
        uint8_t *cut = malloc(n ? n : 1);
        assert_non_null(cut);
        memcpy(cut, f.bytes, n);
        pare_tensor_list list;
        assert_false(read_bytes(&list, cut, n, arena, &error));
        assert_int_not_equal(error.code, PARE_OK);
        pare_tensor_list_free(&list);
        pare_arena_close(arena);
        free(cut);
    }
    free(f.bytes);
}

/* A flipped bit may make another valid file, but never one whose tensors reach beyond it. */
static void every_flipped_bit_is_survived(void **state) {
    (void)state;
    file f = make_file(good, 36);
    size_t survived = 0;
    for (size_t bit = 0; bit < 8 * (f.n - 36); bit++) {
        pare_error error = {0};
        pare_arena *arena = pare_arena_open(&error);
        f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        pare_tensor_list list;
        if (read_bytes(&list, f.bytes, f.n, arena, &error)) {
            survived++;
            for (size_t i = 0; i < list.n; i++) {
                const pare_tensor *t = &list.items[i].tensor;
                assert_true(t->data >= f.bytes + 8 && t->n_bytes <= (size_t)(f.bytes + f.n - t->data));
            }
        }
        pare_tensor_list_free(&list);
        pare_arena_close(arena);
        f.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(survived < 8 * f.n / 3);
    free(f.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_gives_its_tensors), cmocka_unit_test(bad_headers_are_named),
        cmocka_unit_test(oversize_headers_are_refused),  cmocka_unit_test(every_prefix_fails),
        cmocka_unit_test(every_flipped_bit_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
