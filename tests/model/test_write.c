/* Checkpoints out: identity, byte-identical rewriting, cuts against the reference view, shards, GGUF sources, and failures that
 * leave nothing behind. That stock transformers loads the result and computes the same is tools/fixtures/model_written.py's job. */
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
    snprintf(to, sizeof path[0], "%s/out-%u", work, n++);
    return to;
}

/* Writes and opens again. */
static pare_checkpoint *written(const char *path, const pare_checkpoint *source, const pare_cut *cut, pare_dtype dtype,
                                uint64_t shard_bytes) {
    pare_error error = {0};
    pare_context context = {.n_threads = 3};
    assert_done(pare_checkpoint_write(path, source, cut, NULL, dtype, shard_bytes, NULL, &context, &error), error);
    pare_checkpoint *back = pare_checkpoint_open(path, &error);
    assert_done(back, error);
    return back;
}

static size_t count_files(const char *folder) {
    size_t n = 0;
    DIR *open = opendir(folder);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));)
        n += entry->d_name[0] != '.';
    closedir(open);
    return n;
}

static void assert_same_file(const char *a, const char *b) {
    size_t n, m;
    char *x = read_file(a, &n), *y = read_file(b, &m);
    if (n != m || memcmp(x, y, n) != 0)
        fail_msg("%s and %s differ", a, b);
    pare_free(x);
    pare_free(y);
}

static void assert_same_folder(const char *a, const char *b) {
    DIR *open = opendir(a);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));)
        if (entry->d_name[0] != '.')
            assert_same_file(inside(a, entry->d_name), inside(b, entry->d_name));
    closedir(open);
    assert_int_equal(count_files(a), count_files(b));
}

/* ---- nothing is cut ---- */

static void without_a_cut_every_tensor_is_the_same_bytes(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "llama3", "mistral"};
    for (size_t m = 0; m < 3; m++) {
        pare_checkpoint *source = open_fixture(names[m]);
        const char *path = fresh();
        pare_checkpoint *back = written(path, source, NULL, source->dtype, 0);
        assert_int_equal(source->n_tensors, back->n_tensors);
        for (size_t i = 0; i < source->n_tensors; i++) {
            assert_string_equal(source->tensors[i].name, back->tensors[i].name);
            assert_int_equal(source->tensors[i].dtype, back->tensors[i].dtype);
            assert_int_equal(source->tensors[i].n_bytes, back->tensors[i].n_bytes);
            assert_memory_equal(source->tensors[i].data, back->tensors[i].data, back->tensors[i].n_bytes);
        }
        assert_memory_equal(&source->config, &back->config, sizeof back->config);
        pare_checkpoint_close(source);
        pare_checkpoint_close(back);
    }
}

static void tokenizer_files_are_carried_over_byte_for_byte(void **state) {
    (void)state;
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"};
    pare_checkpoint *source = open_fixture("llama3");
    const char *path = fresh();
    pare_checkpoint_close(written(path, source, NULL, PARE_DTYPE_F16, 0));
    for (size_t i = 0; i < 4; i++)
        assert_same_file(inside(source->path, names[i]), inside(path, names[i]));
    assert_int_equal(count_files(path), 6); /* and config.json, model.safetensors */
    pare_checkpoint_close(source);
}

static void writing_what_was_read_changes_no_byte(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "llama3", "mistral", "qwen2.gguf", "llama3.gguf", "mistral.gguf", "types.gguf"};
    for (size_t m = 0; m < sizeof names / sizeof *names; m++) {
        pare_checkpoint *source = open_fixture(names[m]);
        const char *once = fresh(), *twice = fresh();
        pare_checkpoint *back = written(once, source, NULL, PARE_DTYPE_BF16, 70000);
        pare_checkpoint_close(written(twice, back, NULL, PARE_DTYPE_BF16, 70000));
        assert_same_folder(once, twice);
        pare_checkpoint_close(source);
        pare_checkpoint_close(back);
    }
}

static void shards_follow_the_limit_and_the_index_tells_their_size(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("mistral");
    const char *path = fresh();
    pare_checkpoint *back = written(path, source, NULL, PARE_DTYPE_F32, 80000);
    json_t *index = pare_json_read(inside(path, "model.safetensors.index.json"), &error);
    assert_done(index, error);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")), 4 * 67904);
    assert_int_equal(json_object_size(json_object_get(index, "weight_map")), 20);
    json_decref(index);
    assert_true(back->inner->n_maps >= 4);
    for (size_t i = 0; i < back->inner->n_maps; i++)
        assert_true(back->inner->maps[i].size < 80000 + 4096); /* data and a header */
    assert_true(pare_path_exists(inside(path, "model-00001-of-00004.safetensors")));
    pare_checkpoint_close(back);
    pare_checkpoint_close(source);
}

/* ---- a cut ---- */

/* Ascending, other neurons in each layer. */
static pare_cut *make_cut(const pare_config *config, uint32_t n_kept) {
    uint32_t kept[4096];
    pare_error error = {0};
    pare_cut *cut = pare_cut_open(config, &error);
    assert_done(cut, error);
    for (uint32_t layer = 0; layer < config->n_layers; layer++) {
        for (uint32_t i = 0; i < n_kept; i++)
            kept[i] = (uint32_t)((uint64_t)i * (config->ffn_width - layer) / n_kept) + layer;
        assert_done(pare_cut_keep_ffn(cut, layer, kept, n_kept, &error), error);
    }
    return cut;
}

static void cut_weights_are_the_kept_rows_and_columns(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2", "llama3", "mistral", "qwen2.gguf", "llama3.gguf", "types.gguf"};
    for (size_t m = 0; m < sizeof names / sizeof *names; m++)
        for (int type = 0; type < 2; type++) {
            pare_checkpoint *source = open_fixture(names[m]);
            pare_cut *cut = make_cut(&source->config, 32);
            bool keep = type == 0 && !pare_dtype_info(source->dtype)->quantised;
            pare_checkpoint *back = written(fresh(), source, cut, keep ? source->dtype : PARE_DTYPE_F32, 0);
            assert_int_equal(back->config.ffn_width, 32);
            for (size_t i = 0; i < back->n_tensors; i++) {
                const pare_tensor *b = &back->tensors[i], *a = pare_checkpoint_find(source, b->name);
                const char *mlp = strstr(b->name, ".mlp.");
                uint32_t layer = mlp ? (uint32_t)strtoul(b->name + strlen("model.layers."), NULL, 10) : 0;
                pare_view all_a = pare_view_all(a), all_b = pare_view_all(b);
                float *dense = view_values(&all_a), *small = view_values(&all_b);
                for (uint32_t r = 0; r < all_b.n_rows; r++)
                    for (uint32_t c = 0; c < all_b.n_columns; c++) {
                        bool down = mlp && strstr(mlp, "down_proj");
                        uint32_t from_r = mlp && !down ? cut->each[layer].ffn.index[r] : r,
                                 from_c = down ? cut->each[layer].ffn.index[c] : c;
                        if (small[(size_t)r * all_b.n_columns + c] != dense[(size_t)from_r * all_a.n_columns + from_c])
                            fail_msg("%s: %s [%u, %u] is not the source's [%u, %u]", names[m], b->name, r, c, from_r, from_c);
                    }
                assert_int_equal(all_b.n_rows * all_b.n_columns, pare_tensor_elements(b));
                pare_free(dense);
                pare_free(small);
            }
            pare_cut_close(cut);
            pare_checkpoint_close(source);
            pare_checkpoint_close(back);
        }
}

static void other_types_are_rounded_to_nearest(void **state) {
    (void)state;
    pare_checkpoint *source = open_fixture("mistral"); /* f32 */
    pare_checkpoint *half = written(fresh(), source, NULL, PARE_DTYPE_BF16, 0);
    for (size_t i = 0; i < source->n_tensors; i++) {
        pare_view a = pare_view_all(&source->tensors[i]), b = pare_view_all(&half->tensors[i]);
        float *dense = view_values(&a), *rounded = view_values(&b);
        for (size_t j = 0; j < pare_tensor_elements(a.tensor); j++)
            assert_true(fabsf(dense[j] - rounded[j]) <= fabsf(dense[j]) / 256);
        pare_free(dense);
        pare_free(rounded);
    }
    pare_checkpoint_close(source);
    pare_checkpoint_close(half);
}

static void cuts_that_do_not_fit_are_refused(void **state) {
    (void)state;
    pare_error error = {0};
    static const uint32_t twice[] = {3, 3}, over[] = {1, 96};
    pare_checkpoint *source = open_fixture("qwen2");
    pare_cut *cut = pare_cut_open(&source->config, &error);
    assert_fails(pare_cut_keep_ffn(cut, 1, twice, 2, &error), error, PARE_ERROR_RANGE, "layer 1: 3 at place 1");
    assert_fails(pare_cut_keep_ffn(cut, 0, over, 2, &error), error, PARE_ERROR_RANGE, "layer 0: 96 at place 1");
    assert_fails(pare_cut_keep_ffn(cut, 0, over, 0, &error), error, PARE_ERROR_RANGE, "none would be left of 96");
    assert_fails(pare_cut_keep_ffn(cut, 2, over, 1, &error), error, PARE_ERROR_RANGE, "layer 2");
    pare_cut_close(cut);
    assert_fails(pare_checkpoint_write(fresh(), source, NULL, NULL, PARE_DTYPE_Q8_0, 0, NULL, NULL, &error), error, PARE_ERROR_UNSUPPORTED,
                 "f32, f16 or bf16");
    pare_checkpoint_close(source);
}

/* Layers of different shapes go to pare's own format, and come back from it. */
static void different_layers_are_written_and_read(void **state) {
    (void)state;
    pare_error error = {0};
    static const uint32_t some[] = {1, 5, 7}, one[] = {1};
    pare_checkpoint *source = open_fixture("qwen2");
    pare_cut *cut = pare_cut_open(&source->config, &error);
    assert_done(cut && pare_cut_keep_ffn(cut, 0, some, 3, &error) && pare_cut_keep_groups(cut, 1, one, 1, &error), error);
    pare_checkpoint *back = written(fresh(), source, cut, source->dtype, 0), *again = written(fresh(), back, NULL, source->dtype, 0);
    assert_true(back->config.shapes && back->config.arch == PARE_ARCH_QWEN2);
    assert_memory_equal(back->config.shapes, cut->config.shapes, source->config.n_layers * sizeof *back->config.shapes);
    assert_int_equal(back->config.ffn_width, source->config.ffn_width);
    pare_sha256 a, b;
    assert_done(pare_checkpoint_hash(&a, back, NULL, &error) && pare_checkpoint_hash(&b, again, NULL, &error), error);
    assert_string_equal(a.hex, b.hex);
    pare_cut_close(cut);
    pare_checkpoint_close(again);
    pare_checkpoint_close(back);
    pare_checkpoint_close(source);
}

/* ---- configurations ---- */

static json_t *config_of(const char *path) {
    pare_error error = {0};
    json_t *json = pare_json_read(inside(path, "config.json"), &error);
    assert_done(json, error);
    return json;
}

static void the_sources_configuration_keeps_its_keys(void **state) {
    (void)state;
    pare_checkpoint *source = open_fixture("llama3");
    pare_cut *cut = make_cut(&source->config, 32);
    const char *path = fresh();
    pare_checkpoint_close(written(path, source, cut, PARE_DTYPE_F32, 0));
    json_t *before = config_of(source->path), *after = config_of(path);
    const char *key;
    json_t *value;
    json_object_foreach(before, key, value) {
        bool changed = strcmp(key, "intermediate_size") == 0 || strcmp(key, "torch_dtype") == 0;
        assert_int_equal(json_equal(value, json_object_get(after, key)), !changed);
    }
    assert_int_equal(json_integer_value(json_object_get(after, "intermediate_size")), 32);
    assert_string_equal(json_string_value(json_object_get(after, "torch_dtype")), "float32");
    assert_string_equal(json_string_value(json_object_get(after, "dtype")), "float32");
    json_t *rope = json_object_get(after, "rope_parameters");
    assert_string_equal(json_string_value(json_object_get(rope, "rope_type")), "llama3");
    assert_true(json_number_value(json_object_get(rope, "rope_theta")) == 500000.0);
    assert_int_equal(json_integer_value(json_object_get(rope, "original_max_position_embeddings")), 8192);
    json_decref(before);
    json_decref(after);
    pare_cut_close(cut);
    pare_checkpoint_close(source);
}

static void a_gguf_gets_a_configuration_of_its_own(void **state) {
    (void)state;
    static const struct {
        const char *name, *class, *rope;
    } cases[] = {{"qwen2.gguf", "Qwen2ForCausalLM", "default"},
                 {"llama3.gguf", "LlamaForCausalLM", "llama3"},
                 {"mistral.gguf", "MistralForCausalLM", "linear"},
                 {"types.gguf", "LlamaForCausalLM", "default"}};
    for (size_t m = 0; m < 4; m++) { /* mistral.gguf says llama, but 64 is no multiple of 3 heads: only Mistral's class takes that */
        pare_checkpoint *source = open_fixture(cases[m].name);
        const char *path = fresh();
        pare_checkpoint *back = written(path, source, NULL, PARE_DTYPE_F32, 0);
        json_t *json = config_of(path);
        assert_string_equal(json_string_value(json_array_get(json_object_get(json, "architectures"), 0)), cases[m].class);
        assert_string_equal(json_string_value(json_object_get(json_object_get(json, "rope_parameters"), "rope_type")), cases[m].rope);
        assert_true(json_number_value(json_object_get(json, "rms_norm_eps")) == source->config.rms_eps);
        assert_true(back->config.rms_eps == source->config.rms_eps);
        assert_true(back->config.rope.theta == source->config.rope.theta);
        assert_int_equal(back->config.sliding_window, 0);
        assert_int_equal(back->config.bos, source->config.bos);
        assert_int_equal(back->config.eos, source->config.eos);
        for (uint32_t i = 0; i < back->config.head_dim / 2; i++) {
            double ours = pare_rope_factor(&back->config.rope, i, back->config.head_dim);
            assert_true(fabs(ours - pare_rope_factor(&source->config.rope, i, back->config.head_dim)) < 1e-5 * ours);
        }
        assert_true(pare_path_exists(inside(path, "generation_config.json")));
        json_decref(json);
        pare_checkpoint_close(source);
        pare_checkpoint_close(back);
    }
}

/* A Qwen2 inside a `llama` GGUF has biases at q, k, v alone; Hugging Face's Llama wants one at o too. */
static void a_bias_that_only_hugging_face_wants_is_zero(void **state) {
    (void)state;
    pare_checkpoint *source = open_fixture("qwen2.gguf");
    source->config.arch = PARE_ARCH_LLAMA;
    pare_checkpoint *back = written(fresh(), source, NULL, PARE_DTYPE_F32, 0);
    assert_true(back->config.arch == PARE_ARCH_LLAMA && back->config.attention_bias && back->config.output_bias);
    assert_int_equal(back->n_tensors, source->n_tensors + 2);
    const pare_tensor *bias = pare_checkpoint_find(back, "model.layers.1.self_attn.o_proj.bias");
    assert_non_null(bias);
    assert_int_equal(bias->n_bytes, 4 * 64);
    for (size_t i = 0; i < bias->n_bytes; i++)
        assert_int_equal(bias->data[i], 0);
    pare_checkpoint_close(back);
    pare_error error = {0};
    source->config.arch = PARE_ARCH_MISTRAL;
    source->config.output_bias = true;
    assert_fails(pare_checkpoint_write(fresh(), source, NULL, NULL, PARE_DTYPE_F32, 0, NULL, NULL, &error), error, PARE_ERROR_UNSUPPORTED,
                 "which biases");
    pare_checkpoint_close(source);
}

static void a_tokenizer_rebuilt_from_gguf_gives_the_same_ids(void **state) {
    (void)state;
    static const char text[] = "<|begin|>a law says by how much 42\n<|end|>";
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("qwen2.gguf");
    const char *path = fresh();
    pare_checkpoint *back = written(path, source, NULL, PARE_DTYPE_BF16, 0);
    if (!back->tokenizer)
        fail_msg("%s", back->tokenizer_missing);
    pare_tokens a = {0}, b = {0};
    assert_done(pare_tokenizer_encode(&a, source->tokenizer, text, sizeof text - 1, true, &error), error);
    assert_done(pare_tokenizer_encode(&b, back->tokenizer, text, sizeof text - 1, true, &error), error);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    json_t *config = pare_json_read(inside(path, "tokenizer_config.json"), &error);
    assert_done(config, error);
    assert_string_equal(json_string_value(json_object_get(config, "bos_token")), "<|begin|>");
    assert_string_equal(json_string_value(json_object_get(config, "eos_token")), "<|end|>");
    assert_non_null(strstr(json_string_value(json_object_get(config, "chat_template")), "message['content']"));
    json_decref(config);
    pare_tokens_free(&a);
    pare_tokens_free(&b);
    pare_checkpoint_close(source);
    pare_checkpoint_close(back);
}

static void a_note_lies_beside_the_weights(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("qwen2");
    const char *path = fresh();
    assert_done(pare_checkpoint_write(path, source, NULL, NULL, PARE_DTYPE_BF16, 0, "{\"made\": 1}\n", NULL, &error), error);
    char *note = read_file(inside(path, "pare.json"), NULL);
    assert_string_equal(note, "{\"made\": 1}\n");
    pare_free(note);
    pare_checkpoint_close(source);
}

/* ---- failures leave nothing ---- */

static void refuse_write(const char *path, const pare_checkpoint *source, pare_dtype dtype, const pare_context *context, pare_code code,
                         const char *part) {
    pare_error error = {0};
    size_t before = count_files(work);
    assert_fails(pare_checkpoint_write(path, source, NULL, NULL, dtype, 0, NULL, context, &error), error, code, part);
    assert_int_equal(count_files(work), before);
}

static void failures_leave_nothing_behind(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("qwen2");
    const char *path = fresh();
    run_shell("mkdir", path);
    write_file(inside(path, "file"), "mine", 4); /* an empty folder would be filled */
    refuse_write(path, source, PARE_DTYPE_BF16, NULL, PARE_ERROR_CONFLICT, "exists already");
    assert_int_equal(count_files(path), 1);
    volatile sig_atomic_t cancel = 1;
    refuse_write(fresh(), source, PARE_DTYPE_BF16, &(pare_context){.cancel = &cancel}, PARE_ERROR_CANCELLED, "");
    refuse_write("/nonexistent/out", source, PARE_DTYPE_BF16, NULL, PARE_ERROR_IO, "/nonexistent/out");
    pare_checkpoint_close(source);

    static const struct {
        float value;
        pare_dtype dtype;
        const char *part;
    } bad[] = {{NAN, PARE_DTYPE_F32, "is NaN or infinite"},
               {INFINITY, PARE_DTYPE_BF16, "is NaN or infinite"},
               {1e6f, PARE_DTYPE_F16, "is too large for f16"}};
    for (size_t i = 0; i < 3; i++) {
        const char *copy = fresh();
        copy_folder(copy, fixture("mistral"));
        size_t n;
        char *bytes = read_file(inside(copy, "model.safetensors"), &n);
        memcpy(bytes + n - sizeof bad[i].value, &bad[i].value, sizeof bad[i].value);
        write_file(inside(copy, "model.safetensors"), bytes, n);
        pare_free(bytes);
        source = pare_checkpoint_open(copy, &error);
        assert_done(source, error);
        refuse_write(fresh(), source, bad[i].dtype, NULL, PARE_ERROR_NUMERIC, bad[i].part);
        pare_checkpoint_close(source);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    pare_checkpoint *source = open_fixture("llama3.gguf");
    pare_cut *cut = make_cut(&source->config, 32);
    size_t before = count_files(work);
    bool done = false;
    for (size_t n = 1; !done && n < 10000; n++) {
        pare_error error = {0};
        const char *path = fresh();
        pare_allocate_fail_at(n);
        done = pare_checkpoint_write(path, source, cut, NULL, PARE_DTYPE_BF16, 40000, NULL, NULL, &error);
        pare_allocate_fail_at(0);
        if (!done) {
            assert_int_equal(error.code, PARE_ERROR_MEMORY);
            assert_int_equal(count_files(work), before);
        }
    }
    assert_true(done);
    pare_cut_close(cut);
    pare_checkpoint_close(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_cut_every_tensor_is_the_same_bytes),
        cmocka_unit_test(tokenizer_files_are_carried_over_byte_for_byte),
        cmocka_unit_test(writing_what_was_read_changes_no_byte),
        cmocka_unit_test(shards_follow_the_limit_and_the_index_tells_their_size),
        cmocka_unit_test(cut_weights_are_the_kept_rows_and_columns),
        cmocka_unit_test(other_types_are_rounded_to_nearest),
        cmocka_unit_test(cuts_that_do_not_fit_are_refused),
        cmocka_unit_test(different_layers_are_written_and_read),
        cmocka_unit_test(the_sources_configuration_keeps_its_keys),
        cmocka_unit_test(a_gguf_gets_a_configuration_of_its_own),
        cmocka_unit_test(a_bias_that_only_hugging_face_wants_is_zero),
        cmocka_unit_test(a_tokenizer_rebuilt_from_gguf_gives_the_same_ids),
        cmocka_unit_test(a_note_lies_beside_the_weights),
        cmocka_unit_test(failures_leave_nothing_behind),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
