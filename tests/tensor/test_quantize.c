/* Quantising against llama.cpp's Python package, bit for bit (fixtures by tools/fixtures/tensor_quantize.py), and what comes back from
 * the blocks. */
#include <math.h>

#include "pare/tensor.h"
#include "test.h"

static const pare_dtype types[] = {PARE_DTYPE_Q8_0, PARE_DTYPE_Q4_0, PARE_DTYPE_Q4_1};
enum { N_TYPES = 3, BLOCK = 32 };

static pare_map open_fixture(const char *end) {
    char path[1024];
    pare_map map;
    pare_error error = {0};
    snprintf(path, sizeof path, "%s/quantize.%s", PARE_FIXTURES, end);
    assert_done(pare_map_open(&map, path, &error), error);
    return map;
}

static void blocks_are_those_of_llama_cpp(void **state) {
    (void)state;
    pare_map weights = open_fixture("f32");
    size_t n = weights.size / sizeof(float);
    assert_true(n > 0 && n % BLOCK == 0);
    for (size_t t = 0; t < N_TYPES; t++) {
        const pare_dtype_traits *type = pare_dtype_info(types[t]);
        pare_map wanted = open_fixture(type->name);
        assert_int_equal(wanted.size, n / BLOCK * type->bytes);
        pare_error error = {0};
        uint8_t *blocks = pare_allocate(wanted.size, 1, &error);
        assert_non_null(blocks);
        pare_dtype_quantize(blocks, types[t], (const float *)(const void *)weights.data, n);
        for (size_t i = 0; i < wanted.size; i++)
            if (blocks[i] != wanted.data[i])
                fail_msg("%s: byte %zu of block %zu is %02x, wanted %02x", type->name, i % type->bytes, i / type->bytes, blocks[i],
                         wanted.data[i]);
        pare_free(blocks);
        pare_map_close(&wanted);
    }
    pare_map_close(&weights);
}

/* Not further from a weight than half a step, of q4_0 at its short side a whole one, and what f16 rounds of the scale. */
static void weights_come_back_within_a_step(void **state) {
    (void)state;
    float in[BLOCK], out[BLOCK];
    uint8_t block[64];
    for (size_t t = 0; t < N_TYPES; t++)
        for (int shift = 0; shift < 40; shift++) {
            for (int i = 0; i < BLOCK; i++)
                in[i] = (float)sin(i * 1.7 + shift);
            pare_dtype_quantize(block, types[t], in, BLOCK);
            pare_kernels_best()->dequantize[types[t]](out, block, BLOCK);
            float step = types[t] == PARE_DTYPE_Q8_0 ? 0.5f / 127 : types[t] == PARE_DTYPE_Q4_0 ? 1.0f / 8 : 1.0f / 15;
            for (int i = 0; i < BLOCK; i++)
                assert_true(fabsf(out[i] - in[i]) <= step * 1.01f + 1e-3f);
        }
}

/* No value of a block leads out of what a nibble or a byte can hold. */
static void the_smallest_and_the_largest_are_defined(void **state) {
    (void)state;
    static const float values[] = {1e-45f, -1e-45f, 1e-38f, 3.4e38f, -3.4e38f};
    float in[BLOCK] = {0}, out[BLOCK];
    uint8_t block[64];
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            in[3] = values[v];
            pare_dtype_quantize(block, types[t], in, BLOCK);
            pare_kernels_best()->dequantize[types[t]](out, block, BLOCK);
            assert_true(fabsf(values[v]) > 1 || out[0] == 0);
        }
}

static void six_types_can_be_written(void **state) {
    (void)state;
    int n = 0;
    for (int i = 0; i < PARE_DTYPE_COUNT; i++)
        n += pare_dtype_writable((pare_dtype)i);
    assert_int_equal(n, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_those_of_llama_cpp),
        cmocka_unit_test(weights_come_back_within_a_step),
        cmocka_unit_test(the_smallest_and_the_largest_are_defined),
        cmocka_unit_test(six_types_can_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
