/* GGUF files out: weights, logits and tokens that come back, the bytes of llama.cpp's own converter, quantised types and their fallback,
 * cuts, metadata carried over, and failures that leave nothing behind. */
#include <math.h>

#include "fixtures.h"
#include "pare/cut.h"

static char *work;

static int make_work(void **state) {
    (void)state;
    work = test_folder();
    return work ? 0 : -1;
}

static int remove_work(void **state) {
    (void)state;
    remove_all(work);
    return 0;
}

static const char *fresh(void) {
    static char path[8][512];
    static unsigned n;
    char *to = path[n % 8];
    snprintf(to, sizeof path[0], "%s/out-%u.gguf", work, n++);
    return to;
}

static size_t count_files(void) {
    size_t n = 0;
    DIR *open = opendir(work);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));)
        n += entry->d_name[0] != '.';
    closedir(open);
    return n;
}

/* Exports and opens again. result: may be NULL. */
static pare_checkpoint *exported(pare_export *result, const pare_checkpoint *source, const pare_cut *cut, pare_dtype dtype) {
    pare_error error = {0};
    pare_context context = {.n_threads = 3};
    const char *path = fresh();
    assert_done(pare_checkpoint_export(result, path, false, source, cut, dtype, &context, &error), error);
    pare_checkpoint *back = pare_checkpoint_open(path, &error);
    assert_done(back, error);
    return back;
}

/* Logits of 40 tokens, none of them beyond the smallest vocabulary. */
enum { LENGTH = 40 };
static float *logits_of(size_t *n, const pare_checkpoint *checkpoint, const pare_cut *cut) {
    pare_error error = {0};
    uint32_t ids[LENGTH];
    for (uint32_t i = 0; i < LENGTH; i++)
        ids[i] = (i * 37 + 5) % 280;
    pare_model *model = pare_model_open(checkpoint, cut, &error);
    assert_done(model, error);
    pare_forward *forward = pare_forward_open(model, 1, LENGTH, NULL, &error);
    assert_done(forward, error);
    assert_done(pare_forward_run(forward, ids, 1, LENGTH, NULL, &error), error);
    *n = (size_t)LENGTH * model->config.vocabulary;
    float *logits = pare_allocate(*n, sizeof *logits, &error);
    assert_done(logits && pare_forward_logits(logits, forward, 0, LENGTH, &error), error);
    pare_forward_close(forward);
    pare_model_close(model);
    return logits;
}

static void assert_same_logits(const pare_checkpoint *a, const pare_cut *cut, const pare_checkpoint *b, float tolerance) {
    size_t n, m;
    float *x = logits_of(&n, a, cut), *y = logits_of(&m, b, NULL);
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i] - y[i]) <= tolerance))
            fail_msg("%s: logit %zu is %.9g, and %.9g when it comes back", a->path, i, (double)x[i], (double)y[i]);
    pare_free(x);
    pare_free(y);
}

static void assert_same_weights(const pare_checkpoint *a, const pare_checkpoint *b) {
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        assert_string_equal(a->tensors[i].name, b->tensors[i].name);
        pare_view v = pare_view_all(&a->tensors[i]), w = pare_view_all(&b->tensors[i]);
        assert_int_equal(v.n_rows, w.n_rows);
        assert_int_equal(v.n_columns, w.n_columns);
        float *x = view_values(&v), *y = view_values(&w);
        assert_memory_equal(x, y, (size_t)v.n_rows * v.n_columns * sizeof *x);
        pare_free(x);
        pare_free(y);
    }
}

static const char *const sources[] = {"qwen2", "llama3", "mistral", "qwen2.gguf", "llama3.gguf", "mistral.gguf", "types.gguf"};
enum { N_SOURCES = sizeof sources / sizeof *sources };

/* ---- what comes back ---- */

/* Llama-3's factors pass through f32 in a GGUF: its logits alone may move by a rounding. */
static void f32_gives_the_same_weights_and_logits(void **state) {
    (void)state;
    for (size_t m = 0; m < N_SOURCES; m++) {
        pare_checkpoint *source = open_fixture(sources[m]), *back = exported(NULL, source, NULL, PARE_DTYPE_F32);
        assert_same_weights(source, back);
        assert_same_logits(source, NULL, back, strcmp(sources[m], "llama3") == 0 ? 1e-5f : 0);
        assert_int_equal(back->dtype, PARE_DTYPE_F32);
        assert_int_equal(back->config.max_positions, source->config.max_positions);
        assert_int_equal(back->config.tied, source->config.tied);
        assert_int_equal(back->config.bos, source->config.bos);
        assert_int_equal(back->config.eos, source->config.eos);
        pare_checkpoint_close(source);
        pare_checkpoint_close(back);
    }
}

/* The fixtures' GGUF files were made from the folders by convert_hf_to_gguf.py. */
static void tensors_have_the_bytes_of_the_converters(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "llama3", "mistral"};
    for (size_t m = 0; m < 3; m++) {
        char gguf[32];
        snprintf(gguf, sizeof gguf, "%s.gguf", names[m]);
        pare_checkpoint *source = open_fixture(names[m]), *wanted = open_fixture(gguf);
        pare_export result;
        pare_checkpoint *back = exported(&result, source, NULL, source->dtype);
        assert_string_equal(result.architecture, m == 0 ? "qwen2" : "llama");
        assert_int_equal(result.n_tensors, wanted->n_tensors + (m == 1)); /* rope_freqs.weight */
        assert_int_equal(result.n_fallbacks, 0);
        assert_int_equal(result.bytes, back->file_bytes);
        assert_int_equal(back->n_tensors, wanted->n_tensors);
        for (size_t i = 0; i < wanted->n_tensors; i++) {
            const pare_tensor *a = &wanted->tensors[i], *b = &back->tensors[i];
            assert_int_equal(a->dtype, b->dtype);
            assert_int_equal(a->rotary_pairs, b->rotary_pairs);
            assert_int_equal(a->n_bytes, b->n_bytes);
            assert_memory_equal(a->data, b->data, a->n_bytes);
        }
        for (uint32_t i = 0; m == 1 && i < 8; i++) { /* the converter computes them in f32 */
            double theirs = pare_rope_factor(&wanted->config.rope, i, 16);
            assert_true(fabs(theirs - pare_rope_factor(&back->config.rope, i, 16)) < 1e-6 * theirs);
        }
        pare_export_free(&result);
        pare_checkpoint_close(source);
        pare_checkpoint_close(wanted);
        pare_checkpoint_close(back);
    }
}

/* Keys of the architecture and of the tokenizer that the converter writes, and ours say the same of. */
static void metadata_says_what_the_converters_does(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "llama3", "mistral"};
    for (size_t m = 0; m < 3; m++) {
        char gguf[32];
        snprintf(gguf, sizeof gguf, "%s.gguf", names[m]);
        pare_checkpoint *source = open_fixture(names[m]), *wanted = open_fixture(gguf), *back = exported(NULL, source, NULL, source->dtype);
        for (size_t i = 0; i < wanted->inner->gguf->n_values; i++) {
            const pare_gguf_value *value = &wanted->inner->gguf->values[i];
            char key[128];
            snprintf(key, sizeof key, "%.*s", (int)value->key.length, value->key.bytes);
            if (strncmp(key, "general.", 8) == 0 && strcmp(key, "general.architecture") != 0 && strcmp(key, "general.file_type") != 0)
                continue; /* names and sizes for people */
            if (m == 0 && strncmp(key, "tokenizer.ggml.token", 20) == 0)
                continue; /* the class that the converter opens qwen2's tokenizer by adds a token of its own */
            const pare_gguf_value *ours = pare_gguf_find(back->inner->gguf, key);
            if (!ours || ours->type != value->type || ours->n_bytes != value->n_bytes ||
                memcmp(ours->bytes, value->bytes, value->n_bytes) != 0)
                fail_msg("%s: %s is not what the converter says", names[m], key);
        }
        pare_checkpoint_close(source);
        pare_checkpoint_close(wanted);
        pare_checkpoint_close(back);
    }
}

static void the_tokenizer_gives_the_same_ids(void **state) {
    (void)state;
    static const char text[] = "<|begin|>a law says by how much 42\n<|end|>";
    static const char *const names[] = {"qwen2", "llama3", "mistral.gguf"};
    for (size_t m = 0; m < 3; m++) {
        pare_error error = {0};
        pare_checkpoint *source = open_fixture(names[m]), *back = exported(NULL, source, NULL, PARE_DTYPE_F16);
        assert_non_null(back->tokenizer);
        pare_tokens a = {0}, b = {0};
        assert_done(pare_tokenizer_encode(&a, source->tokenizer, text, sizeof text - 1, true, &error), error);
        assert_done(pare_tokenizer_encode(&b, back->tokenizer, text, sizeof text - 1, true, &error), error);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
        assert_int_equal(pare_tokenizer_size(back->tokenizer), source->config.vocabulary); /* a token for each row of the embedding */
        pare_piece template = {0};
        assert_true(pare_gguf_get_string(&template, back->inner->gguf, "tokenizer.chat_template", &error));
        assert_true(template.length > 20 && memcmp(template.bytes, "{% for message", 14) == 0);
        pare_tokens_free(&a);
        pare_tokens_free(&b);
        pare_checkpoint_close(source);
        pare_checkpoint_close(back);
    }
}

static void metadata_of_a_gguf_is_carried_over(void **state) {
    (void)state;
    pare_checkpoint *source = open_fixture("llama3.gguf"), *back = exported(NULL, source, NULL, PARE_DTYPE_Q8_0);
    const pare_gguf *old = source->inner->gguf, *new = back->inner->gguf;
    for (size_t i = 0; i < old->n_values; i++) {
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)old->values[i].key.length, old->values[i].key.bytes);
        const pare_gguf_value *value = pare_gguf_find(new, key);
        if (!value)
            fail_msg("%s is lost", key);
        if (strcmp(key, "general.file_type") == 0)
            assert_int_equal(value->bytes[0], 7);
        else
            assert_memory_equal(value->bytes, old->values[i].bytes, old->values[i].n_bytes);
    }
    pare_checkpoint_close(source);
    pare_checkpoint_close(back);
}

static void writing_what_was_exported_changes_no_byte(void **state) {
    (void)state;
    static const pare_dtype types[] = {PARE_DTYPE_BF16, PARE_DTYPE_Q8_0, PARE_DTYPE_Q4_0, PARE_DTYPE_Q4_1};
    for (size_t t = 0; t < 4; t++) {
        pare_checkpoint *source = open_fixture("types.gguf"), *once = exported(NULL, source, NULL, types[t]);
        pare_checkpoint *twice = exported(NULL, once, NULL, types[t]);
        size_t n, m;
        char *a = read_file(once->path, &n), *b = read_file(twice->path, &m);
        assert_int_equal(n, m);
        assert_memory_equal(a, b, n);
        pare_free(a);
        pare_free(b);
        pare_checkpoint_close(source);
        pare_checkpoint_close(once);
        pare_checkpoint_close(twice);
    }
}

/* ---- types ---- */

static void quantised_matrices_are_those_of_the_quantiser(void **state) {
    (void)state;
    static const pare_dtype types[] = {PARE_DTYPE_Q8_0, PARE_DTYPE_Q4_0, PARE_DTYPE_Q4_1};
    pare_checkpoint *source = open_fixture("qwen2");
    for (size_t t = 0; t < 3; t++) {
        pare_checkpoint *back = exported(NULL, source, NULL, types[t]);
        for (size_t i = 0; i < source->n_tensors; i++) {
            const pare_tensor *a = &source->tensors[i], *b = &back->tensors[i];
            assert_int_equal(b->dtype, a->n_dims == 1 ? PARE_DTYPE_F32 : types[t]);
            if (a->n_dims == 1)
                continue;
            pare_error error = {0};
            pare_view view = pare_view_all(a);
            float *values = view_values(&view);
            uint8_t *wanted = pare_allocate(b->n_bytes, 1, &error);
            pare_dtype_quantize(wanted, types[t], values, (size_t)view.n_rows * view.n_columns);
            assert_memory_equal(wanted, b->data, b->n_bytes);
            pare_free(wanted);
            pare_free(values);
        }
        pare_checkpoint_close(back);
    }
    pare_checkpoint_close(source);
}

/* Every type that pare reads, those among them that it does not write. */
static void without_a_type_every_matrix_keeps_its_bits(void **state) {
    (void)state;
    pare_checkpoint *source = open_fixture("types.gguf"), *back = exported(NULL, source, NULL, PARE_DTYPE_COUNT);
    assert_int_equal(source->n_tensors, back->n_tensors);
    for (size_t i = 0; i < source->n_tensors; i++) {
        const pare_tensor *a = &source->tensors[i], *b = &back->tensors[i];
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->n_bytes, b->n_bytes);
        assert_memory_equal(a->data, b->data, a->n_bytes);
    }
    pare_checkpoint_close(back);
    pare_checkpoint_close(source);
}

/* mistral: 3 heads of 24 make rows of 72 in o_proj, two blocks and a quarter. */
static void rows_that_are_no_whole_blocks_become_f16(void **state) {
    (void)state;
    pare_checkpoint *source = open_fixture("mistral");
    pare_export result;
    pare_checkpoint *back = exported(&result, source, NULL, PARE_DTYPE_Q4_0);
    assert_int_equal(result.n_fallbacks, 2);
    assert_string_equal(result.fallbacks.data, "blk.0.attn_output.weight\nblk.1.attn_output.weight\n");
    assert_int_equal(pare_checkpoint_find(back, "model.layers.1.self_attn.o_proj.weight")->dtype, PARE_DTYPE_F16);
    assert_int_equal(pare_checkpoint_find(back, "model.layers.1.self_attn.q_proj.weight")->dtype, PARE_DTYPE_Q4_0);
    assert_int_equal(pare_checkpoint_find(back, "model.embed_tokens.weight")->dtype, PARE_DTYPE_Q4_0);
    pare_export_free(&result);
    pare_checkpoint_close(source);
    pare_checkpoint_close(back);
}

/* ---- cuts ---- */

/* Two of qwen2's four query heads go: heads are no longer as wide as the model, and rows of q and their biases are paired. */
static void a_cut_is_exported_as_it_is_computed(void **state) {
    (void)state;
    static const uint32_t heads[] = {1, 2}, channels[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 40, 41, 42, 43, 44,
                                                          45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 63};
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("qwen2");
    pare_cut *cut = pare_cut_open(&source->config, &error);
    assert_done(cut, error);
    assert_done(pare_cut_keep_heads(cut, 0, heads, 2, &error) && pare_cut_keep_heads(cut, 1, heads, 2, &error) &&
                    pare_cut_keep_channels(cut, channels, 31, &error),
                error);
    pare_export result;
    pare_checkpoint *back = exported(&result, source, cut, PARE_DTYPE_BF16);
    assert_string_equal(result.architecture, "llama");
    assert_int_equal(back->config.n_heads, 2);
    assert_true(back->config.attention_bias && !back->config.output_bias);
    assert_int_equal(pare_checkpoint_find(back, "model.layers.0.self_attn.q_proj.bias")->rotary_pairs, 16);
    assert_same_logits(source, cut, back, 0);
    pare_export_free(&result);
    pare_checkpoint_close(back);
    pare_cut_close(cut);
    pare_checkpoint_close(source);
}

/* A bias of o_proj makes the model a Llama, with biases of q, k, v that nobody stored. */
static void a_bias_that_the_source_lacks_is_zero(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("llama3.gguf");
    pare_cut *cut = pare_cut_open(&source->config, &error);
    assert_done(cut, error);
    float *bias = pare_cut_replace(cut, "model.layers.1.self_attn.o_proj.bias", &error);
    assert_done(bias, error);
    for (int i = 0; i < 64; i++)
        bias[i] = 0.01f * (float)i;
    pare_checkpoint *back = exported(NULL, source, cut, PARE_DTYPE_F32);
    assert_true(back->config.attention_bias && back->config.output_bias);
    assert_same_logits(source, cut, back, 0);
    pare_checkpoint_close(back);
    pare_cut_close(cut);
    pare_checkpoint_close(source);
}

/* ---- failures leave nothing ---- */

static void refuse(const char *path, const pare_checkpoint *source, const pare_cut *cut, pare_dtype dtype, const pare_context *context,
                   pare_code code, const char *part) {
    pare_error error = {0};
    pare_export result = {0};
    size_t before = count_files();
    assert_fails(pare_checkpoint_export(&result, path, false, source, cut, dtype, context, &error), error, code, part);
    assert_int_equal(count_files(), before);
    assert_null(result.fallbacks.data);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    pare_error error = {0};
    static const uint32_t first[] = {0, 1, 2, 3};
    pare_checkpoint *source = open_fixture("qwen2");
    pare_cut *cut = pare_cut_open(&source->config, &error);
    assert_done(cut && pare_cut_keep_ffn(cut, 0, first, 4, &error), error);
    refuse(fresh(), source, cut, PARE_DTYPE_F32, NULL, PARE_ERROR_UNSUPPORTED, "different shapes");
    refuse(fresh(), source, NULL, PARE_DTYPE_Q4_K, NULL, PARE_ERROR_UNSUPPORTED, "q8_0, q4_0 or q4_1");
    pare_cut_close(cut);
    source->config.vocabulary = 100; /* fewer rows than tokens */
    refuse(fresh(), source, NULL, PARE_DTYPE_F32, NULL, PARE_ERROR_SHAPE, "");
    pare_checkpoint_close(source);

    char copy[512];
    snprintf(copy, sizeof copy, "%s/without-tokenizer", work);
    copy_folder(copy, fixture("qwen2"));
    assert_int_equal(unlink(inside(copy, "tokenizer.json")), 0);
    source = pare_checkpoint_open(copy, &error);
    assert_done(source, error);
    refuse(fresh(), source, NULL, PARE_DTYPE_F32, NULL, PARE_ERROR_FORMAT, "tokenizer.json is missing");
    pare_checkpoint_close(source);
}

static void failures_leave_nothing_behind(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("qwen2");
    const char *path = fresh();
    write_file(path, "mine", 4);
    refuse(path, source, NULL, PARE_DTYPE_BF16, NULL, PARE_ERROR_CONFLICT, "exists already");
    volatile sig_atomic_t cancel = 1;
    refuse(fresh(), source, NULL, PARE_DTYPE_BF16, &(pare_context){.cancel = &cancel}, PARE_ERROR_CANCELLED, "");
    refuse("/nonexistent/out.gguf", source, NULL, PARE_DTYPE_BF16, NULL, PARE_ERROR_IO, "/nonexistent/out.gguf");
    pare_checkpoint_close(source);

    static const struct {
        float value;
        pare_dtype dtype;
        const char *part;
    } bad[] = {{NAN, PARE_DTYPE_F32, "is NaN or infinite"},
               {NAN, PARE_DTYPE_Q8_0, "is NaN or infinite"},
               {INFINITY, PARE_DTYPE_Q4_0, "is NaN or infinite"},
               {1e6f, PARE_DTYPE_F16, "is too large for f16"},
               {1e9f, PARE_DTYPE_Q4_1, "is too large for q4_1"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char copy[512];
        snprintf(copy, sizeof copy, "%s/bad-%zu", work, i);
        copy_folder(copy, fixture("mistral"));
        source = pare_checkpoint_open(copy, &error);
        assert_done(source, error);
        const pare_tensor *tensor = pare_checkpoint_find(source, "model.layers.1.mlp.up_proj.weight");
        size_t n, at = (size_t)(tensor->data - source->inner->maps[0].data) + 4 * 70;
        pare_checkpoint_close(source);
        char *bytes = read_file(inside(copy, "model.safetensors"), &n);
        memcpy(bytes + at, &bad[i].value, sizeof bad[i].value);
        write_file(inside(copy, "model.safetensors"), bytes, n);
        pare_free(bytes);
        source = pare_checkpoint_open(copy, &error);
        assert_done(source, error);
        refuse(fresh(), source, NULL, bad[i].dtype, NULL, PARE_ERROR_NUMERIC, bad[i].part);
        refuse(fresh(), source, NULL, bad[i].dtype, NULL, PARE_ERROR_NUMERIC,
               "model.layers.1.mlp.up_proj.weight: the weight written at [1, ");
        pare_checkpoint_close(source);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "mistral.gguf"}; /* a tokenizer that is put together, and one that is carried */
    for (size_t m = 0; m < 2; m++) {
        pare_checkpoint *source = open_fixture(names[m]);
        size_t before = count_files();
        bool done = false;
        for (size_t n = 1; !done && n < 10000; n++) {
            pare_error error = {0};
            const char *path = fresh();
            pare_allocate_fail_at(n);
            done = pare_checkpoint_export(NULL, path, false, source, NULL, PARE_DTYPE_Q8_0, NULL, &error);
            pare_allocate_fail_at(0);
            if (!done) {
                assert_int_equal(error.code, PARE_ERROR_MEMORY);
                assert_int_equal(count_files(), before);
            }
        }
        assert_true(done);
        pare_checkpoint_close(source);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_gives_the_same_weights_and_logits),
        cmocka_unit_test(tensors_have_the_bytes_of_the_converters),
        cmocka_unit_test(metadata_says_what_the_converters_does),
        cmocka_unit_test(the_tokenizer_gives_the_same_ids),
        cmocka_unit_test(metadata_of_a_gguf_is_carried_over),
        cmocka_unit_test(writing_what_was_exported_changes_no_byte),
        cmocka_unit_test(quantised_matrices_are_those_of_the_quantiser),
        cmocka_unit_test(without_a_type_every_matrix_keeps_its_bits),
        cmocka_unit_test(rows_that_are_no_whole_blocks_become_f16),
        cmocka_unit_test(a_cut_is_exported_as_it_is_computed),
        cmocka_unit_test(a_bias_that_the_source_lacks_is_zero),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(failures_leave_nothing_behind),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
