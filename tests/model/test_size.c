/* Parameters, bytes and multiply-accumulates against the published sizes of real models. */
#include <math.h>

#include "fixtures.h"
#include "pare/cut.h"

typedef struct {
    const char *name;
    pare_config config;
    uint64_t parameters;
    double embeddings, ffn, attention; /* per cent, embeddings counted once when tied */
} known;

#define QWEN(layers, wide, ffn, q, kv, head, tie)                                                                                          \
    {                                                                                                                                      \
        .arch = PARE_ARCH_QWEN2, .n_layers = layers, .width = wide, .ffn_width = ffn, .n_heads = q, .n_kv_heads = kv, .head_dim = head,    \
        .tied = tie, .attention_bias = true                                                                                                \
    }
#define LLAMA(layers, wide, ffn, q, kv, head, tie)                                                                                         \
    {                                                                                                                                      \
        .arch = PARE_ARCH_LLAMA, .n_layers = layers, .width = wide, .ffn_width = ffn, .n_heads = q, .n_kv_heads = kv, .head_dim = head,    \
        .tied = tie                                                                                                                        \
    }

/* Shapes from the models' public configurations; totals and shares as published for them. */
static const known models[] = {
    {"Qwen2.5-0.5B", QWEN(24, 896, 4864, 14, 2, 64, true), 494032768, 27.6, 63.5, 8.9},
    {"Qwen2.5-1.5B", QWEN(28, 1536, 8960, 12, 2, 128, true), 1543714304, 15.1, 74.9, 10.0},
    {"Qwen2.5-3B", QWEN(36, 2048, 11008, 16, 2, 128, true), 3085938688, 10.1, 78.9, 11.0},
    {"Qwen2.5-7B", QWEN(28, 3584, 18944, 28, 4, 128, false), 7615616512, 14.3, 74.9, 10.8},
    {"Qwen2.5-14B", QWEN(48, 5120, 13824, 40, 8, 128, false), 14770033664, 10.5, 69.0, 20.4},
    {"Llama-3.2-1B", LLAMA(16, 2048, 8192, 32, 8, 64, true), 1235814400, 21.3, 65.2, 13.6},
    {"Llama-3.2-3B", LLAMA(28, 3072, 8192, 24, 8, 128, true), 3212749824, 12.3, 65.8, 21.9},
    {"Llama-3-8B", LLAMA(32, 4096, 14336, 32, 8, 128, false), 8030261248, 13.1, 70.2, 16.7},
};

static uint32_t vocabulary_of(const known *model) {
    if (model->config.arch == PARE_ARCH_LLAMA)
        return 128256;
    return model->config.width >= 3584 ? 152064 : 151936;
}

static void real_models_have_their_published_sizes(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        pare_config config = models[i].config;
        config.vocabulary = vocabulary_of(&models[i]);
        pare_size size = pare_config_size(&config);
        if (size.parameters != models[i].parameters)
            fail_msg("%s: %llu parameters, published are %llu", models[i].name, (unsigned long long)size.parameters,
                     (unsigned long long)models[i].parameters);
        double ffn = 3.0 * config.n_layers * config.width * config.ffn_width;
        double total = (double)size.parameters, embeddings = total - (double)size.non_embedding;
        assert_true(fabs(100 * embeddings / total - models[i].embeddings) < 0.06);
        assert_true(fabs(100 * ffn / total - models[i].ffn) < 0.06);
        assert_true(fabs(100 * ((double)size.non_embedding - ffn) / total - models[i].attention) < 0.06);
        /* one per weight of every matrix; the embedding is looked up, the head multiplied: once each, tied or not */
        double vectors = (2.0 * config.n_layers + 1) * config.width;
        if (config.attention_bias)
            vectors += (double)config.n_layers * (config.n_heads + 2 * config.n_kv_heads) * config.head_dim;
        double macs = (double)size.non_embedding - vectors + (double)config.vocabulary * config.width;
        assert_true((double)size.macs == macs);
    }
}

static void a_cut_takes_three_weights_per_neuron_and_width(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("qwen2"); /* bf16, 2 layers, width 64, FFN 96 */
    pare_error error = {0};
    uint32_t kept[40];
    for (uint32_t i = 0; i < 40; i++)
        kept[i] = i * 2;
    pare_cut *cut = pare_cut_open(&checkpoint->config, &error);
    assert_done(pare_cut_keep_ffn(cut, 0, kept, 40, &error) && pare_cut_keep_ffn(cut, 1, kept, 40, &error), error);
    pare_size dense = pare_checkpoint_size(checkpoint, NULL), small = pare_checkpoint_size(checkpoint, cut);
    uint64_t gone = 2 * 3 * 64 * (96 - 40);
    assert_int_equal(dense.parameters, 82496);
    assert_int_equal(dense.bytes, 2 * 82496);
    assert_int_equal(dense.parameters - small.parameters, gone);
    assert_int_equal(dense.non_embedding - small.non_embedding, gone);
    assert_int_equal(dense.macs - small.macs, gone);
    assert_int_equal(dense.bytes - small.bytes, 2 * gone);
    pare_cut_close(cut);
    pare_checkpoint_close(checkpoint);
}

static void bytes_count_the_stored_types(void **state) {
    (void)state;
    pare_checkpoint *checkpoint = open_fixture("types.gguf");
    uint64_t bytes = 0;
    for (size_t i = 0; i < checkpoint->n_tensors; i++)
        bytes += checkpoint->tensors[i].n_bytes;
    assert_int_equal(pare_checkpoint_size(checkpoint, NULL).bytes, bytes);
    assert_true(bytes < checkpoint->file_bytes);
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_models_have_their_published_sizes),
        cmocka_unit_test(a_cut_takes_three_weights_per_neuron_and_width),
        cmocka_unit_test(bytes_count_the_stored_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
