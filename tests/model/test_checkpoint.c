/* Opening whole checkpoints: good ones, and folders and files that contradict themselves. */
#include <math.h>

#include "fixtures.h"

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

/* A fresh copy of a fixture folder, to be spoiled. */
static const char *spoil(const char *name) {
    static char path[512];
    static unsigned n;
    snprintf(path, sizeof path, "%s/%s-%u", work, name, n++);
    copy_folder(path, fixture(name));
    return path;
}

static void refuse(const char *path, pare_code code, const char *part) {
    pare_error error = {0};
    assert_fails(pare_checkpoint_open(path, &error), error, code, part);
}

/* ---- good ---- */

static void fixtures_open(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t n_tensors;
        pare_dtype dtype;
    } good[] = {{"qwen2", 26, PARE_DTYPE_BF16},      {"llama3", 21, PARE_DTYPE_F16},      {"mistral", 20, PARE_DTYPE_F32},
                {"qwen2.gguf", 26, PARE_DTYPE_BF16}, {"llama3.gguf", 21, PARE_DTYPE_F16}, {"types.gguf", 20, PARE_DTYPE_Q5_0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        pare_checkpoint *checkpoint = open_fixture(good[i].name);
        assert_int_equal(checkpoint->n_tensors, good[i].n_tensors);
        assert_int_equal(checkpoint->dtype, good[i].dtype);
        for (size_t t = 1; t < checkpoint->n_tensors; t++)
            assert_true(strcmp(checkpoint->tensors[t - 1].name, checkpoint->tensors[t].name) < 0);
        assert_ptr_equal(pare_checkpoint_find(checkpoint, checkpoint->tensors[7].name), &checkpoint->tensors[7]);
        assert_null(pare_checkpoint_find(checkpoint, "no.such.tensor"));
        if (!checkpoint->tokenizer)
            fail_msg("%s: %s", good[i].name, checkpoint->tokenizer_missing);
        assert_null(checkpoint->tokenizer_missing);
        pare_checkpoint_close(checkpoint);
    }
    pare_checkpoint_close(NULL);
}

static void tokenizers_of_both_formats_give_the_same_ids(void **state) {
    (void)state;
    static const char text[] = "a model is made smaller 1234\n by the lazy dog";
    pare_error error = {0};
    pare_checkpoint *hf = open_fixture("qwen2"), *gguf = open_fixture("qwen2.gguf");
    pare_tokens a = {0}, b = {0};
    assert_done(pare_tokenizer_encode(&a, hf->tokenizer, text, sizeof text - 1, true, &error), error);
    assert_done(pare_tokenizer_encode(&b, gguf->tokenizer, text, sizeof text - 1, true, &error), error);
    assert_true(a.n > 10);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    pare_tokens_free(&a);
    pare_tokens_free(&b);
    pare_checkpoint_close(hf);
    pare_checkpoint_close(gguf);
}

static void weights_open_without_a_tokenizer(void **state) {
    (void)state;
    pare_error error = {0};
    const char *folder = spoil("qwen2");
    unlink(inside(folder, "tokenizer.json"));
    pare_checkpoint *checkpoint = pare_checkpoint_open(folder, &error);
    assert_done(checkpoint, error);
    assert_null(checkpoint->tokenizer);
    assert_non_null(strstr(checkpoint->tokenizer_missing, "tokenizer.json is missing"));
    pare_checkpoint_close(checkpoint);
    write_file(inside(folder, "tokenizer.json"), "{\"model\":", 9);
    checkpoint = pare_checkpoint_open(folder, &error);
    assert_done(checkpoint, error);
    assert_null(checkpoint->tokenizer);
    assert_non_null(strstr(checkpoint->tokenizer_missing, "tokenizer.json"));
    pare_checkpoint_close(checkpoint);
}

/* ---- not a model, or half of one ---- */

static void what_is_no_model_is_told_so(void **state) {
    (void)state;
    refuse("/nonexistent/model", PARE_ERROR_IO, "/nonexistent/model");
    run_shell("mkdir", inside(work, "empty"));
    refuse(inside(work, "empty"), PARE_ERROR_FORMAT, "no config.json in this folder");
    write_file(inside(work, "text"), "hello", 5);
    refuse(inside(work, "text"), PARE_ERROR_FORMAT, "not a model: neither a GGUF file nor a folder");
    write_file(inside(work, "none"), "", 0);
    refuse(inside(work, "none"), PARE_ERROR_FORMAT, "not a model");
    refuse(fixture("qwen2/model.safetensors"), PARE_ERROR_FORMAT, "give the folder that holds this file");
    const char *folder = spoil("qwen2");
    unlink(inside(folder, "model.safetensors"));
    refuse(folder, PARE_ERROR_FORMAT, "neither model.safetensors nor model.safetensors.index.json");
    write_file(inside(folder, "pytorch_model.bin"), "x", 1);
    refuse(folder, PARE_ERROR_FORMAT, "convert it to safetensors");
    write_file(inside(folder, "config.json"), "{\"model_type\":", 14);
    refuse(folder, PARE_ERROR_FORMAT, "config.json: not valid JSON");
}

static void configurations_that_contradict_tensors_are_named_with_both_shapes(void **state) {
    (void)state;
    const char *folder = spoil("qwen2");
    edit_file(inside(folder, "config.json"), "\"intermediate_size\": 96", "\"intermediate_size\": 95");
    refuse(folder, PARE_ERROR_SHAPE, "model.layers.0.mlp.gate_proj.weight has shape [96, 64]; the configuration asks for [95, 64]");
    folder = spoil("qwen2");
    edit_file(inside(folder, "config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    refuse(folder, PARE_ERROR_SHAPE, "tensor model.layers.2.input_layernorm.weight of shape [64] is missing");
    folder = spoil("qwen2");
    edit_file(inside(folder, "config.json"), "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    refuse(folder, PARE_ERROR_SHAPE, "tensor model.layers.1.input_layernorm.weight of shape [64] at byte");
    folder = spoil("qwen2");
    edit_file(inside(folder, "config.json"), "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    refuse(folder, PARE_ERROR_SHAPE, "tensor lm_head.weight of shape [320, 64] is missing");
    folder = spoil("qwen2");
    edit_file(inside(folder, "config.json"), "\"qwen2\"", "\"llama\"");
    refuse(folder, PARE_ERROR_SHAPE, "self_attn.k_proj.bias of shape [32]");
    folder = spoil("qwen2");
    edit_file(inside(folder, "config.json"), "\"qwen2\"", "\"mamba\"");
    refuse(folder, PARE_ERROR_UNSUPPORTED, "model_type \"mamba\"; pare knows llama, mistral and qwen2");
    folder = spoil("llama3");
    edit_file(inside(folder, "config.json"), "\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true");
    refuse(folder, PARE_ERROR_SHAPE, "lm_head.weight differs from model.embed_tokens.weight");
}

/* ---- shards ---- */

static void broken_indices_are_named(void **state) {
    (void)state;
    static const char index[] = "model.safetensors.index.json", second[] = "model-00002-of-00003.safetensors";
    const char *folder = spoil("llama3");
    unlink(inside(folder, second));
    refuse(folder, PARE_ERROR_IO, "shard model-00002-of-00003.safetensors is missing");
    folder = spoil("llama3");
    edit_file(inside(folder, index), "\"model-00001-of-00003.safetensors\"", "\"../model-00001-of-00003.safetensors\"");
    refuse(folder, PARE_ERROR_FORMAT, "is not the name of a .safetensors file in the same folder");
    folder = spoil("llama3");
    edit_file(inside(folder, index), "\"model.norm.weight\": \"model-00003", "\"model.norm.weight\": \"model-00001");
    refuse(folder, PARE_ERROR_FORMAT, "tensor model.norm.weight lies here");
    folder = spoil("llama3");
    edit_file(inside(folder, index), "\"model.norm.weight\"", "\"model.other.weight\"");
    refuse(folder, PARE_ERROR_FORMAT, "tensor model.norm.weight is not in the weight_map");
    folder = spoil("llama3");
    edit_file(inside(folder, index), "\"weight_map\": {", "\"weight_map\": {\"ghost\": \"model-00001-of-00003.safetensors\",");
    refuse(folder, PARE_ERROR_FORMAT, "tensor ghost should lie in model-00001-of-00003.safetensors");
    folder = spoil("llama3");
    edit_file(inside(folder, index), "weight_map", "weight_mop");
    refuse(folder, PARE_ERROR_FORMAT, "\"weight_map\" is missing");
    folder = spoil("llama3");
    size_t n;
    char *bytes = read_file(inside(folder, second), &n);
    write_file(inside(folder, second), bytes, n - 1);
    pare_free(bytes);
    refuse(folder, PARE_ERROR_FORMAT, "lie outside");
}

/* Tensors that carry nothing may be in the index, in a shard, in both or in none, and so may a shard that holds nothing else. */
static void an_index_may_name_what_carries_nothing(void **state) {
    (void)state;
    static const char *const names[] = {"model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq",
                                        "model.layers.1.self_attn.rotary_emb.cos_cached", "model.layers.1.self_attn.masked_bias"};
    static const char *const shards[] = {"model-00001-of-00003.safetensors", "model-00004-of-00003.safetensors"};
    for (size_t i = 0; i < 8; i++) {
        pare_error error = {0};
        char entry[256];
        const char *folder = spoil("llama3");
        snprintf(entry, sizeof entry, "\"weight_map\": {\"%s\": \"%s\",", names[i / 2], shards[i % 2]);
        edit_file(inside(folder, "model.safetensors.index.json"), "\"weight_map\": {", entry);
        pare_checkpoint *checkpoint = pare_checkpoint_open(folder, &error);
        assert_done(checkpoint, error);
        assert_int_equal(checkpoint->n_tensors, 21);
        pare_checkpoint_close(checkpoint);
    }
}

/* ---- tensors one by one ---- */

/* model.safetensors with its header replaced by `edit` of it. */
static void edit_header(const char *folder, const char *old, const char *new, const void *more, size_t n_more) {
    size_t n;
    char *bytes = read_file(inside(folder, "model.safetensors"), &n);
    uint64_t length;
    memcpy(&length, bytes, 8);
    pare_string header = {0}, file = {0};
    char *at = strstr(bytes + 8, old);
    assert_true(at && at < bytes + 8 + length);
    pare_string_push(&header, bytes + 8, (size_t)(at - bytes - 8));
    pare_string_print(&header, "%s", new);
    at += strlen(old);
    pare_string_push(&header, at, (size_t)(bytes + 8 + length - at));
    uint64_t new_length = header.length;
    pare_string_push(&file, (const char *)&new_length, 8);
    pare_string_push(&file, header.data, header.length);
    pare_string_push(&file, bytes + 8 + length, n - 8 - length);
    pare_string_push(&file, more, n_more);
    write_file(inside(folder, "model.safetensors"), file.data, file.length);
    pare_string_free(&header);
    pare_string_free(&file);
    pare_free(bytes);
}

static void tensors_of_other_types_are_refused_where_they_are_needed(void **state) {
    (void)state;
    const char *folder = spoil("qwen2");
    edit_header(folder, "\"dtype\":\"BF16\"", "\"dtype\":\"I16\"", "", 0);
    refuse(folder, PARE_ERROR_UNSUPPORTED, "is of dtype I16; pare reads F32, F16 and BF16");
}

/* A copy of the qwen2 fixture with one more tensor of so many bytes. */
static const char *with_extra(const char *entry, unsigned n) {
    static const uint8_t more[16] = {0};
    const char *folder = spoil("qwen2");
    char text[256];
    unsigned long long from = 2 * 82496;
    snprintf(text, sizeof text, "%s,\"data_offsets\":[%llu,%llu]},\"model.norm", entry, from, from + n);
    edit_header(folder, "\"model.norm", text, more, n);
    return folder;
}

static void harmless_extras_are_let_be(void **state) {
    (void)state;
    static const struct {
        const char *entry;
        unsigned n;
        const char *problem;
    } extras[] = {
        {"\"model.layers.0.self_attn.rotary_emb.inv_freq\":{\"dtype\":\"I32\",\"shape\":[4]", 16, NULL},
        {"\"model.rotary_emb.inv_freq\":{\"dtype\":\"BF16\",\"shape\":[8]", 16, NULL},
        {"\"model.layers.1.self_attn.rotary_emb.sin_cached\":{\"dtype\":\"F32\",\"shape\":[1,4]", 16, NULL},
        {"\"model.layers.1.self_attn.masked_bias\":{\"dtype\":\"F32\",\"shape\":[]", 4, NULL},
        {"\"model.layers.1.self_attn.bias\":{\"dtype\":\"BOOL\",\"shape\":[1,1,4,4]", 16, NULL},
        {"\"model.layers.1.self_attn.bias\":{\"dtype\":\"F32\",\"shape\":[4]", 16,
         "tensor model.layers.1.self_attn.bias of shape [4] at byte"},
        {"\"model.layers.0.self_attn.surprise\":{\"dtype\":\"I32\",\"shape\":[4]", 16,
         "tensor model.layers.0.self_attn.surprise of shape [4]"},
        {"\"model.layers.0.mlp.down_proj.weight_scale\":{\"dtype\":\"F32\",\"shape\":[4]", 16, "weight_scale of shape [4]"},
        {"\"model.layers.0.mlp.down_proj.bias\":{\"dtype\":\"BF16\",\"shape\":[8]", 16, "down_proj.bias of shape [8]"},
    };
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        pare_error error = {0};
        const char *folder = with_extra(extras[i].entry, extras[i].n);
        if (extras[i].problem) {
            refuse(folder, PARE_ERROR_SHAPE, extras[i].problem);
            continue;
        }
        pare_checkpoint *checkpoint = pare_checkpoint_open(folder, &error);
        assert_done(checkpoint, error);
        assert_int_equal(checkpoint->n_tensors, 26);
        pare_checkpoint_close(checkpoint);
    }
}

/* As a model without a head is saved: "layers.0…" and no "model." before it. What is written of it has the usual names and class. */
static void names_may_lack_their_prefix(void **state) {
    (void)state;
    pare_error error = {0};
    const char *folder = spoil("qwen2");
    size_t n;
    pare_string file = {0};
    char *bytes = read_file(inside(folder, "model.safetensors"), &n);
    uint64_t length, shorter;
    memcpy(&length, bytes, 8);
    pare_string_push(&file, bytes, 8);
    for (size_t i = 8; i < n; i++) {
        if (i < 8 + length && strncmp(bytes + i, "\"model.", 7) == 0)
            pare_string_push(&file, "\"", 1), i += 6;
        else
            pare_string_push(&file, bytes + i, 1);
    }
    shorter = length - (n - file.length);
    memcpy(file.data, &shorter, 8);
    write_file(inside(folder, "model.safetensors"), file.data, file.length);
    edit_file(inside(folder, "config.json"), "Qwen2ForCausalLM", "Qwen2Model");
    pare_string_free(&file);
    pare_free(bytes);
    pare_checkpoint *checkpoint = pare_checkpoint_open(folder, &error), *usual = open_fixture("qwen2");
    assert_done(checkpoint, error);
    assert_int_equal(checkpoint->n_tensors, usual->n_tensors);
    for (size_t i = 0; i < usual->n_tensors; i++) {
        assert_string_equal(checkpoint->tensors[i].name, usual->tensors[i].name);
        assert_memory_equal(checkpoint->tensors[i].data, usual->tensors[i].data, usual->tensors[i].n_bytes);
    }
    char out[512];
    snprintf(out, sizeof out, "%s/with-prefix", work);
    assert_done(pare_checkpoint_write(out, checkpoint, NULL, NULL, PARE_DTYPE_BF16, 0, NULL, NULL, &error), error);
    char *config = read_file(inside(out, "config.json"), NULL);
    assert_non_null(strstr(config, "\"Qwen2ForCausalLM\""));
    pare_free(config);
    pare_checkpoint_close(usual);
    pare_checkpoint_close(checkpoint);
}

/* The hub's cache: links to files elsewhere, and a link to an optional file that was not fetched. */
static void a_cache_of_links_opens(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json"};
    static const char *const gone[] = {"generation_config.json", "tokenizer_config.json", "pare.json", "chat_template.jinja",
                                       "model.safetensors.index.json"};
    pare_error error = {0};
    char folder[512];
    snprintf(folder, sizeof folder, "%s/models--a--b/snapshots/0123abcd", work);
    run_shell("mkdir -p", folder);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[64];
        snprintf(from, sizeof from, "qwen2/%.32s", names[i]);
        assert_int_equal(symlink(fixture(from), inside(folder, names[i])), 0);
    }
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        assert_int_equal(symlink("../../blobs/gone", inside(folder, gone[i])), 0);
    pare_checkpoint *checkpoint = pare_checkpoint_open(folder, &error);
    assert_done(checkpoint && checkpoint->tokenizer, error);
    run_shell("mkdir", inside(work, "models--a--b/refs"));
    write_file(inside(work, "models--a--b/refs/main"), "0123abcd\n", 9);
    refuse(inside(work, "models--a--b"), PARE_ERROR_FORMAT, "its files are in ");
    write_file(inside(work, "models--a--b/refs/main"), "../x", 4);
    refuse(inside(work, "models--a--b"), PARE_ERROR_FORMAT, "no config.json in this folder");
    char out[512];
    snprintf(out, sizeof out, "%s/from-snapshot", work);
    assert_done(pare_checkpoint_write(out, checkpoint, NULL, NULL, PARE_DTYPE_BF16, 0, NULL, NULL, &error), error);
    assert_done(pare_checkpoint_export(NULL, inside(work, "from-snapshot.gguf"), false, checkpoint, NULL, PARE_DTYPE_F16, NULL, &error),
                error);
    assert_true(pare_path_exists(inside(out, "generation_config.json")) && !pare_path_exists(inside(out, "tokenizer_config.json")));
    pare_checkpoint_close(checkpoint);
    unlink(inside(folder, "model.safetensors"));
    assert_int_equal(symlink("../../blobs/gone", inside(folder, "model.safetensors")), 0);
    refuse(folder, PARE_ERROR_IO, "model.safetensors: a link to a file that is not there");
}

/* A copy of the qwen2 fixture with a head beside its tied embedding. */
static const char *with_head(const char *dtype, const void *data, size_t n) {
    const char *folder = spoil("qwen2");
    char entry[256];
    unsigned long long from = 2 * 82496;
    snprintf(entry, sizeof entry, "\"lm_head.weight\":{\"dtype\":\"%s\",\"shape\":[320,64],\"data_offsets\":[%llu,%llu]},\"model.norm",
             dtype, from, from + n);
    edit_header(folder, "\"model.norm", entry, data, n);
    return folder;
}

/* A tied head may be written out, as long as it is the embedding, in whatever type. */
static void a_tied_head_may_lie_in_the_file(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *source = open_fixture("qwen2");
    const pare_tensor *embedding = pare_checkpoint_find(source, "model.embed_tokens.weight");
    float *values = pare_allocate(320 * 64, sizeof *values, &error);
    assert_non_null(values);
    for (size_t i = 0; i < 320 * 64; i++)
        memcpy((char *)&values[i] + 2, embedding->data + 2 * i, 2);
    for (size_t i = 0; i < 2; i++) {
        const char *folder =
            i ? with_head("F32", values, 320 * 64 * sizeof *values) : with_head("BF16", embedding->data, embedding->n_bytes);
        pare_checkpoint *checkpoint = pare_checkpoint_open(folder, &error);
        assert_done(checkpoint, error);
        assert_int_equal(checkpoint->n_tensors, 26);
        assert_null(pare_checkpoint_find(checkpoint, "lm_head.weight"));
        pare_checkpoint_close(checkpoint);
    }
    values[4711] *= 1.0001f;
    refuse(with_head("F32", values, 320 * 64 * sizeof *values), PARE_ERROR_SHAPE, "lm_head.weight differs");
    pare_free(values);
    pare_checkpoint_close(source);
}

/* ---- GGUF as a whole ---- */

/* A copy of a GGUF fixture with the one occurrence of some bytes replaced by as many others. */
static const char *spoil_gguf(const char *name, const char *old, const char *new) {
    static char path[512];
    static unsigned n_files;
    size_t n, length = strlen(old);
    char *bytes = read_file(fixture(name), &n);
    assert_int_equal(length, strlen(new));
    char *at = bytes, *end = bytes + n - length;
    while (at < end && memcmp(at, old, length) != 0)
        at++;
    assert_true(at < end);
    memcpy(at, new, length);
    snprintf(path, sizeof path, "%s/%u.gguf", work, n_files++);
    write_file(path, bytes, n);
    pare_free(bytes);
    return path;
}

static void gguf_files_that_contradict_themselves_are_named(void **state) {
    (void)state;
    refuse(spoil_gguf("qwen2.gguf", "general.architecture\10\0\0\0\5", "general.architecturx\10\0\0\0\5"), PARE_ERROR_FORMAT,
           "general.architecture is missing");
    refuse(spoil_gguf("types.gguf", "llama.block_count", "llama.block_cuont"), PARE_ERROR_RANGE, "the number of layers is missing or zero");
    refuse(spoil_gguf("types.gguf", "blk.1.ffn_up.weight", "blk.1.ffn_op.weight"), PARE_ERROR_SHAPE,
           "model.layers.1.mlp.up_proj.weight of shape [64, 256] is missing");
    refuse(spoil_gguf("qwen2.gguf", "blk.1.ffn_up.weight", "blk.0.ffn_up.weight"), PARE_ERROR_FORMAT, "blk.0.ffn_up.weight appears twice");
    refuse(spoil_gguf("llama3.gguf", "rope_freqs.weight", "rope_frogs.weight"), PARE_ERROR_SHAPE, "tensor rope_frogs.weight of shape [8]");
    refuse(spoil_gguf("mistral.gguf", "linear", "yarnxx"), PARE_ERROR_UNSUPPORTED, "pare knows none, linear, and Llama-3's");
    refuse(spoil_gguf("qwen2.gguf", "qwen2.attention.layer_norm_rms_epsilon", "qwen2.attention.layer_norm_rms_epsilom"), PARE_ERROR_FORMAT,
           "layer_norm_rms_epsilon is missing");
}

static void an_unknown_gguf_architecture_names_the_known_ones(void **state) {
    (void)state;
    pare_string file = {0};
    uint8_t head[24] = {'G', 'G', 'U', 'F', 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    pare_string_push(&file, (char *)head, sizeof head);
    pare_string_push(&file, "\24\0\0\0\0\0\0\0general.architecture\10\0\0\0\5\0\0\0\0\0\0\0mamba", 45);
    write_file(inside(work, "mamba.gguf"), file.data, file.length);
    pare_string_free(&file);
    refuse(inside(work, "mamba.gguf"), PARE_ERROR_UNSUPPORTED, "architecture \"mamba\"; in GGUF pare knows llama (Mistral too) and qwen2");
}

static void attention_that_is_not_causal_is_refused(void **state) {
    (void)state;
    pare_string file = {0};
    uint8_t head[24] = {'G', 'G', 'U', 'F', 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
    pare_string_push(&file, (char *)head, sizeof head);
    pare_string_push(&file, "\24\0\0\0\0\0\0\0general.architecture\10\0\0\0\5\0\0\0\0\0\0\0llama", 45);
    pare_string_push(&file, "\26\0\0\0\0\0\0\0llama.attention.causal\7\0\0\0\0", 35);
    write_file(inside(work, "both-ways.gguf"), file.data, file.length);
    pare_string_free(&file);
    refuse(inside(work, "both-ways.gguf"), PARE_ERROR_UNSUPPORTED, "llama.attention.causal is false");
}

static void a_gguf_without_merges_has_no_tokenizer(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(spoil_gguf("qwen2.gguf", "tokenizer.ggml.merges", "tokenizer.ggml.mergez"), &error);
    assert_done(checkpoint != NULL, error);
    assert_null(checkpoint->tokenizer);
    assert_non_null(strstr(checkpoint->tokenizer_missing, "tokenizer.ggml.merges is missing"));
    pare_checkpoint_close(checkpoint);
}

/* ---- bytes ---- */

/* Every type of weights or scales, spoiled in the last block of one tensor: NaN as F16 (also a NaN as BF16), infinite as F32. */
static void non_finite_weights_are_found_wherever_they_hide(void **state) {
    (void)state;
    pare_error error = {0};
    pare_context context = {.n_threads = 2};
    pare_checkpoint *checkpoint = open_fixture("types.gguf");
    assert_done(pare_checkpoint_check_finite(checkpoint, &context, &error), error);
    size_t n;
    char *bytes = read_file(fixture("types.gguf"), &n);
    const uint8_t *start = checkpoint->inner->maps[0].data;
    unsigned seen = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++) {
        const pare_tensor *t = &checkpoint->tensors[i];
        if (seen & 1u << t->dtype)
            continue;
        seen |= 1u << t->dtype;
        const pare_dtype_traits *traits = pare_dtype_info(t->dtype);
        size_t at = (size_t)(t->data - start) + t->n_bytes - traits->bytes; /* the last block; its scale comes first but for Q6_K */
        static const uint8_t bad[4] = {0x01, 0x7c, 0x80, 0x7f};             /* F16 NaN; as F32 a NaN; BF16: bytes 2, 3 */
        size_t width = t->dtype == PARE_DTYPE_F32 ? 4 : 2;
        const uint8_t *from = t->dtype == PARE_DTYPE_BF16 ? bad + 2 : bad;
        char kept[4];
        at += t->dtype == PARE_DTYPE_Q6_K ? 208 : 0;
        memcpy(kept, bytes + at, width);
        memcpy(bytes + at, from, width);
        write_file(inside(work, "spoiled.gguf"), bytes, n);
        memcpy(bytes + at, kept, width);
        pare_checkpoint *spoiled = pare_checkpoint_open(inside(work, "spoiled.gguf"), &error);
        assert_done(spoiled, error);
        assert_fails(pare_checkpoint_check_finite(spoiled, &context, &error), error, PARE_ERROR_NUMERIC, t->name);
        char place[64];
        snprintf(place, sizeof place, "(byte %llu of the tensor)", (unsigned long long)(t->n_bytes - traits->bytes));
        assert_non_null(strstr(error.message, place));
        pare_checkpoint_close(spoiled);
    }
    assert_int_equal(seen, (1u << PARE_DTYPE_COUNT) - 1);
    pare_free(bytes);
    pare_checkpoint_close(checkpoint);
}

static pare_sha256 hash_of(const char *path, int n_threads) {
    pare_error error = {0};
    pare_sha256 hash;
    pare_context context = {.n_threads = n_threads};
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    assert_done(pare_checkpoint_hash(&hash, checkpoint, &context, &error), error);
    pare_checkpoint_close(checkpoint);
    return hash;
}

static void the_hash_is_of_weights_and_configuration_alone(void **state) {
    (void)state;
    const char *folder = spoil("qwen2");
    pare_sha256 hash = hash_of(folder, 1);
    assert_string_equal(hash.hex, hash_of(fixture("qwen2"), 3).hex); /* not of the place, not of the threads */
    edit_file(inside(folder, "config.json"), "\"use_cache\": true", "\"use_cache\": false");
    assert_string_equal(hash.hex, hash_of(folder, 1).hex);
    edit_file(inside(folder, "config.json"), "\"rms_norm_eps\": 1e-06", "\"rms_norm_eps\": 1e-05");
    assert_string_not_equal(hash.hex, hash_of(folder, 1).hex);
    folder = spoil("qwen2");
    size_t n;
    char *bytes = read_file(inside(folder, "model.safetensors"), &n);
    bytes[n - 1] ^= 1;
    write_file(inside(folder, "model.safetensors"), bytes, n);
    pare_free(bytes);
    assert_string_not_equal(hash.hex, hash_of(folder, 1).hex);
}

static void interrupted_reading_stops(void **state) {
    (void)state;
    pare_error error = {0};
    pare_sha256 hash;
    volatile sig_atomic_t cancel = 1;
    pare_context context = {.cancel = &cancel};
    pare_checkpoint *checkpoint = open_fixture("qwen2");
    assert_fails(pare_checkpoint_hash(&hash, checkpoint, &context, &error), error, PARE_ERROR_CANCELLED, "");
    assert_fails(pare_checkpoint_check_finite(checkpoint, &context, &error), error, PARE_ERROR_CANCELLED, "");
    pare_checkpoint_close(checkpoint);
}

/* The n-th allocation fails, for every n: no crash, no leak, and an open that succeeds has all its tensors. */
static void every_allocation_may_fail(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "llama3.gguf"};
    for (size_t m = 0; m < 2; m++) {
        bool done = false;
        for (size_t n = 1; !done && n < 10000; n++) {
            pare_error error = {0};
            pare_allocate_fail_at(n);
            pare_checkpoint *checkpoint = pare_checkpoint_open(fixture(names[m]), &error);
            pare_allocate_fail_at(0);
            if (!checkpoint)
                assert_int_equal(error.code, PARE_ERROR_MEMORY);
            else
                assert_int_equal(checkpoint->n_tensors, 21);
            done = checkpoint && checkpoint->tokenizer; /* running out of memory in the tokenizer leaves the weights */
            pare_checkpoint_close(checkpoint);
        }
        assert_true(done);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_open),
        cmocka_unit_test(tokenizers_of_both_formats_give_the_same_ids),
        cmocka_unit_test(weights_open_without_a_tokenizer),
        cmocka_unit_test(what_is_no_model_is_told_so),
        cmocka_unit_test(configurations_that_contradict_tensors_are_named_with_both_shapes),
        cmocka_unit_test(broken_indices_are_named),
        cmocka_unit_test(tensors_of_other_types_are_refused_where_they_are_needed),
        cmocka_unit_test(harmless_extras_are_let_be),
        cmocka_unit_test(a_tied_head_may_lie_in_the_file),
        cmocka_unit_test(an_index_may_name_what_carries_nothing),
        cmocka_unit_test(names_may_lack_their_prefix),
        cmocka_unit_test(a_cache_of_links_opens),
        cmocka_unit_test(gguf_files_that_contradict_themselves_are_named),
        cmocka_unit_test(an_unknown_gguf_architecture_names_the_known_ones),
        cmocka_unit_test(attention_that_is_not_causal_is_refused),
        cmocka_unit_test(a_gguf_without_merges_has_no_tokenizer),
        cmocka_unit_test(non_finite_weights_are_found_wherever_they_hide),
        cmocka_unit_test(the_hash_is_of_weights_and_configuration_alone),
        cmocka_unit_test(interrupted_reading_stops),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
