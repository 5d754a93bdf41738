/* hash: known digests, and libcrypto without memory: an error, neither a crash nor a wrong digest. */
#include <openssl/crypto.h>

#include "test.h"

/* The n-th allocation of libcrypto from now fails, and all after it; 0: none. */
static size_t fail_from, n_asked;

static bool refused(void) {
    return fail_from && ++n_asked >= fail_from;
}

static void *allocate(size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    return refused() ? NULL : malloc(n);
}

static void *reallocate(void *memory, size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    return refused() ? NULL : realloc(memory, n);
}

static void release(void *memory, const char *file, int line) {
    (void)file;
    (void)line;
    free(memory);
}

static const char of_abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static void known(void **state) {
    (void)state;
    pare_error error = {0};
    pare_sha256 hash;
    assert_done(pare_sha256_bytes(&hash, "abc", 3, &error), error);
    assert_string_equal(hash.hex, of_abc);
    assert_done(pare_sha256_bytes(&hash, "", 0, &error), error);
    assert_string_equal(hash.hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* Runs before `known`: libcrypto has started, but this process has hashed nothing. */
static void without_memory(void **state) {
    (void)state;
    bool done = false;
    for (size_t n = 1; !done && n < 100; n++) {
        pare_error error = {0};
        pare_sha256 hash;
        fail_from = n;
        n_asked = 0;
        done = pare_sha256_bytes(&hash, "abc", 3, &error);
        fail_from = 0;
        if (done)
            assert_string_equal(hash.hex, of_abc);
        else
            assert_int_equal(error.code, PARE_ERROR_MEMORY);
        if (n == 1)
            assert_false(done);
    }
    assert_true(done);
}

int main(void) {
    pare_error error = {0};
    if (CRYPTO_set_mem_functions(allocate, reallocate, release) != 1 || !pare_hash_start(&error)) {
        print_message("libcrypto takes no allocator of ours: %s\n", error.message);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_memory), cmocka_unit_test(known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
