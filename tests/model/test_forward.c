/* The forward pass and the head against transformers' logits (fixtures by tools/fixtures/model_random.py), in both formats, on
 * every kernel variant and thread count, and under a cut. */
#include <math.h>

#include "fixtures.h"
#include "pare/cut.h"
#include "pare/stream.h"

enum { IDS_MAX = 64 };

static size_t read_ids(uint32_t *ids, const char *path) {
    char *text = read_file(path, NULL), *at = text;
    size_t n = 0;
    for (char *end; n < IDS_MAX; at = end) {
        unsigned long id = strtoul(at, &end, 10);
        if (end == at)
            break;
        ids[n++] = (uint32_t)id;
        while (*end == ',' || *end == ' ' || *end == '\n')
            end++;
    }
    pare_free(text);
    assert_true(n >= 8);
    return n;
}

typedef struct {
    uint32_t ids[IDS_MAX];
    size_t n;
    float *wanted; /* logits by transformers */
    size_t n_wanted;
} reference;

static reference reference_of(const char *name) {
    reference r = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/ids.txt", name);
    r.n = read_ids(r.ids, fixture(path));
    snprintf(path, sizeof path, "%s/logits.f32", name);
    r.wanted = (float *)(void *)read_file(fixture(path), &r.n_wanted);
    r.n_wanted /= sizeof(float);
    return r;
}

/* Largest difference between the checkpoint's logits and the reference. */
static double logits_gap(const char *path, const reference *r, int threads) {
    pare_error error = {0};
    pare_context context = {.n_threads = threads};
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    assert_done(checkpoint, error);
    pare_model *model = pare_model_open(checkpoint, NULL, &error);
    assert_done(model, error);
    pare_forward *forward = pare_forward_open(model, 1, r->n, &context, &error);
    assert_done(forward, error);
    assert_int_equal(r->n_wanted, r->n * model->config.vocabulary);
    assert_done(pare_forward_run(forward, r->ids, 1, r->n, NULL, &error), error);
    float *logits = pare_allocate(r->n_wanted, sizeof *logits, &error);
    assert_done(pare_forward_logits(logits, forward, 0, r->n, &error), error);
    double worst = 0;
    for (size_t i = 0; i < r->n_wanted; i++)
        worst = fmax(worst, fabs((double)logits[i] - (double)r->wanted[i]));
    pare_free(logits);
    pare_forward_close(forward);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
    return worst;
}

static void logits_as_transformers(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "mistral", "qwen2"}; /* scaled rotary, untied, GQA; biases; sliding window */
    for (int i = 0; i < 3; i++) {
        reference r = reference_of(names[i]);
        char gguf[64];
        snprintf(gguf, sizeof gguf, "%s.gguf", names[i]);
        for (int threads = 1; threads <= 3; threads++) {
            assert_true(logits_gap(fixture(names[i]), &r, threads) < 2e-5);
            assert_true(logits_gap(fixture(gguf), &r, threads) < 2e-5);
        }
        pare_free(r.wanted);
    }
}

/* nll = log-sum-exp - target, from the reference's own logits */
static void nll_as_transformers(void **state) {
    (void)state;
    reference r = reference_of("qwen2");
    pare_error error = {0};
    pare_context context = {.n_threads = 2};
    pare_checkpoint *checkpoint = pare_checkpoint_open(fixture("qwen2"), &error);
    assert_done(checkpoint, error);
    pare_model *model = pare_model_open(checkpoint, NULL, &error);
    assert_done(model, error);
    pare_forward *forward = pare_forward_open(model, 1, r.n, &context, &error);
    assert_done(forward, error);
    assert_done(pare_forward_run(forward, r.ids, 1, r.n, NULL, &error), error);
    uint32_t rows[IDS_MAX];
    double nll[IDS_MAX];
    size_t n = r.n - 1, vocabulary = model->config.vocabulary;
    for (size_t i = 0; i < n; i++)
        rows[i] = (uint32_t)(n - 1 - i); /* any order of rows */
    uint32_t targets[IDS_MAX];
    for (size_t i = 0; i < n; i++)
        targets[i] = r.ids[rows[i] + 1];
    assert_done(pare_forward_nll(nll, forward, rows, targets, n, &error), error);
    for (size_t i = 0; i < n; i++) {
        const float *z = r.wanted + rows[i] * vocabulary;
        double sum = 0;
        for (size_t j = 0; j < vocabulary; j++)
            sum += exp((double)z[j]);
        assert_true(fabs(nll[i] - (log(sum) - (double)z[targets[i]])) < 2e-5);
    }
    targets[0] = (uint32_t)vocabulary;
    assert_fails(pare_forward_nll(nll, forward, rows, targets, n, &error), error, PARE_ERROR_RANGE, "token id");
    pare_forward_close(forward);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
    pare_free(r.wanted);
}

/* Hidden states of `windows` equal windows on `threads` threads. */
static float *hidden_of(const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_tap *tap, const uint32_t *ids, size_t windows,
                        size_t length, int threads) {
    pare_error error = {0};
    pare_context context = {.n_threads = threads};
    pare_model *model = pare_model_open(checkpoint, cut, &error);
    assert_done(model, error);
    pare_forward *forward = pare_forward_open(model, windows, length, &context, &error);
    assert_done(forward, error);
    const float *hidden = pare_forward_run(forward, ids, windows, length, tap, &error);
    assert_done(hidden, error);
    size_t n = windows * length * model->config.width;
    float *copy = pare_allocate(n, sizeof *copy, &error);
    assert_non_null(copy);
    memcpy(copy, hidden, n * sizeof *copy);
    pare_forward_close(forward);
    pare_model_close(model);
    return copy;
}

/* 1, 2 and 5 threads give the same bits; windows do not see one another. */
static void threads_and_windows_change_nothing(void **state) {
    (void)state;
    reference r = reference_of("llama3");
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(fixture("llama3"), &error);
    assert_done(checkpoint, error);
    size_t length = r.n / 2, n = 2 * length * checkpoint->config.width;
    float *one = hidden_of(checkpoint, NULL, NULL, r.ids, 2, length, 1);
    for (int threads = 2; threads <= 5; threads += 3) {
        float *more = hidden_of(checkpoint, NULL, NULL, r.ids, 2, length, threads);
        assert_memory_equal(one, more, n * sizeof *one);
        pare_free(more);
    }
    float *second = hidden_of(checkpoint, NULL, NULL, r.ids + length, 1, length, 1);
    for (size_t i = 0; i < n / 2; i++)
        assert_true(fabsf(second[i] - one[n / 2 + i]) < 1e-5f);
    pare_free(one), pare_free(second), pare_free(r.wanted);
    pare_checkpoint_close(checkpoint);
}

/* Zeroes what the cut removes of FFN neurons and heads, and so what those give to the residual stream. */
static void mask(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    const pare_cut *cut = user;
    const pare_kept *kept = place == PARE_TAP_FFN ? &cut->each[layer].ffn : &cut->each[layer].q_rows;
    for (size_t t = 0; t < rows; t++)
        for (size_t j = 0, k = 0; j < columns; j++)
            if (k < kept->n && (!kept->index || kept->index[k] == j))
                k++;
            else
                activations[t * columns + j] = 0;
}

/* Every other unit of the kind, other ones in every layer. */
static bool keep_half(pare_cut *cut, int kind, pare_error *error) {
    const pare_config *c = &cut->source;
    uint32_t index[256], group = c->n_heads / c->n_kv_heads;
    bool done = true;
    for (uint32_t layer = 0; done && layer < c->n_layers; layer++) {
        uint32_t n = kind == 0 ? c->ffn_width / 2 : kind == 1 ? c->n_kv_heads / 2 : c->n_kv_heads;
        for (uint32_t j = 0; j < n; j++)
            index[j] = kind == 2 ? j * group + layer % group : 2 * j + layer % 2;
        done = kind == 0   ? pare_cut_keep_ffn(cut, layer, index, n, error)
               : kind == 1 ? pare_cut_keep_groups(cut, layer, index, n, error)
                           : pare_cut_keep_heads(cut, layer, index, n, error);
    }
    return done;
}

/* Masking units = removing them, on f32 rows and on quantised ones; keeping all = the dense model, to the bit. */
static void masked_is_removed(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "qwen2", "types.gguf"};
    reference r = reference_of("qwen2");
    for (int i = 0; i < 9; i++) {
        pare_error error = {0};
        pare_checkpoint *checkpoint = pare_checkpoint_open(fixture(names[i % 3]), &error);
        assert_done(checkpoint, error);
        const pare_config *c = &checkpoint->config;
        if (i / 3 == 1 && c->n_kv_heads < 2) {
            pare_checkpoint_close(checkpoint);
            continue;
        }
        pare_cut *cut = pare_cut_open(c, &error), *nothing = pare_cut_open(c, &error);
        assert_done(cut && nothing && keep_half(cut, i / 3, &error), error);
        for (size_t j = 0; j < r.n; j++)
            r.ids[j] %= c->vocabulary;
        pare_tap tap = {1u << PARE_TAP_FFN | 1u << PARE_TAP_ATTENDED, mask, cut};
        size_t n = r.n * c->width;
        float *removed = hidden_of(checkpoint, cut, NULL, r.ids, 1, r.n, 2), *masked = hidden_of(checkpoint, NULL, &tap, r.ids, 1, r.n, 2);
        float *dense = hidden_of(checkpoint, NULL, NULL, r.ids, 1, r.n, 2), *all = hidden_of(checkpoint, nothing, NULL, r.ids, 1, r.n, 2);
        double worst = 0, moved = 0;
        for (size_t j = 0; j < n; j++) {
            worst = fmax(worst, fabs((double)removed[j] - (double)masked[j]));
            moved = fmax(moved, fabs((double)removed[j] - (double)dense[j]));
        }
        assert_true(worst < 2e-5);
        assert_true(moved > 1e-3); /* the cut does something */
        assert_memory_equal(all, dense, n * sizeof *all);
        pare_free(removed), pare_free(masked), pare_free(dense), pare_free(all);
        pare_cut_close(cut), pare_cut_close(nothing);
        pare_checkpoint_close(checkpoint);
    }
    pare_free(r.wanted);
}

/* A layer that is left out = a layer whose o_proj and down_proj are zero; replaced tensors take the stored ones' places. */
static void layers_and_replacements(void **state) {
    (void)state;
    reference r = reference_of("llama3");
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(fixture("llama3"), &error);
    assert_done(checkpoint, error);
    const pare_config *c = &checkpoint->config;
    uint32_t kept[64], n_kept = 0;
    for (uint32_t i = 0; i < c->n_layers; i++)
        if (i != 1)
            kept[n_kept++] = i;
    size_t n = r.n * c->width;
    pare_cut *shorter = pare_cut_open(c, &error), *emptied = pare_cut_open(c, &error);
    assert_done(shorter && emptied && pare_cut_keep_layers(shorter, kept, n_kept, &error) &&
                    pare_cut_replace(emptied, "model.layers.1.self_attn.o_proj.weight", &error) &&
                    pare_cut_replace(emptied, "model.layers.1.mlp.down_proj.weight", &error),
                error);
    assert_fails(pare_cut_replace(emptied, "model.layers.1.mlp.down_proj.what", &error) != NULL, error, PARE_ERROR_SHAPE, "is none of");
    float *one = hidden_of(checkpoint, shorter, NULL, r.ids, 1, r.n, 2), *two = hidden_of(checkpoint, emptied, NULL, r.ids, 1, r.n, 2);
    assert_memory_equal(one, two, n * sizeof *one);
    pare_free(one), pare_free(two);
    pare_cut_close(shorter), pare_cut_close(emptied);
    pare_checkpoint_close(checkpoint);
    pare_free(r.wanted);
}

/* Layers of different shapes, and the same padded: the same outputs, and one shape. */
static void padded_layers(void **state) {
    (void)state;
    static const char *const names[] = {"llama3", "qwen2"};
    for (int m = 0; m < 2; m++) {
        reference r = reference_of(names[m]);
        pare_error error = {0};
        pare_checkpoint *checkpoint = pare_checkpoint_open(fixture(names[m]), &error);
        assert_done(checkpoint, error);
        const pare_config *c = &checkpoint->config;
        static const uint32_t some[] = {1, 2, 5, 11};
        const uint32_t last[] = {c->n_kv_heads - 1};
        uint32_t group = c->n_heads / c->n_kv_heads, heads[64], n_heads = 0;
        for (uint32_t g = 0; g < c->n_kv_heads; g++) /* one query head of each group goes, where there are several */
            for (uint32_t h = group > 1 ? 1 : 0; h < group; h++)
                heads[n_heads++] = g * group + h;
        pare_cut *cut = pare_cut_open(c, &error);
        assert_done(cut && pare_cut_keep_ffn(cut, 0, some, 4, &error) && pare_cut_keep_heads(cut, 0, heads, n_heads, &error) &&
                        pare_cut_keep_groups(cut, 1, last, 1, &error),
                    error);
        float *down = pare_cut_replace(cut, "model.layers.0.mlp.down_proj.weight", &error);
        assert_done(down, error);
        for (uint32_t i = 0; i < 4 * c->width; i++)
            down[i] = 0.01f * (float)(i % 7);
        assert_non_null(cut->config.shapes);
        size_t n = r.n * c->width;
        float *narrow = hidden_of(checkpoint, cut, NULL, r.ids, 1, r.n, 2);
        assert_done(pare_cut_pad(cut, checkpoint, &error), error);
        assert_true(!cut->config.shapes && cut->config.ffn_width == c->ffn_width);
        float *wide = hidden_of(checkpoint, cut, NULL, r.ids, 1, r.n, 2);
        for (size_t j = 0; j < n; j++)
            assert_true(fabs((double)wide[j] - (double)narrow[j]) < 2e-5);
        pare_free(narrow), pare_free(wide);
        pare_cut_close(cut);
        pare_checkpoint_close(checkpoint);
        pare_free(r.wanted);
    }
}

/* Keeps what leaves one layer. */
typedef struct {
    uint32_t layer;
    float *rows;
    size_t n;
} keeper;

static void keep_rows(void *user, pare_tap_place place, uint32_t layer, float *activations, size_t rows, size_t columns) {
    keeper *k = user;
    (void)place;
    if (layer == k->layer) {
        memcpy(k->rows + k->n, activations, rows * columns * sizeof *activations);
        k->n += rows * columns;
    }
}

/* All windows a layer at a time = each through all layers, to the bit; looking on changes nothing. */
static void layer_at_a_time(void **state) {
    (void)state;
    enum { WINDOWS = 5, LENGTH = 600 }; /* three windows fit a batch */
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(fixture("qwen2"), &error);
    assert_done(checkpoint, error);
    const pare_config *c = &checkpoint->config;
    size_t length = LENGTH < c->max_positions ? LENGTH : c->max_positions, n = WINDOWS * length * c->width;
    pare_windows windows = {.ids = pare_allocate(WINDOWS * length, sizeof(uint32_t), &error), .n = WINDOWS, .length = length};
    for (size_t i = 0; i < WINDOWS * length; i++)
        windows.ids[i] = (uint32_t)(i * i % c->vocabulary);
    keeper k = {c->n_layers - 1, pare_allocate(n, sizeof(float), &error), 0};
    pare_tap tap = {1u << PARE_TAP_OUT, keep_rows, &k};
    pare_free(hidden_of(checkpoint, NULL, &tap, windows.ids, WINDOWS, length, 2));
    assert_int_equal(k.n, n);
    pare_model *model = pare_model_open(checkpoint, NULL, &error);
    pare_stream *stream = model ? pare_stream_open(model, &windows, NULL, &error) : NULL;
    assert_done(stream, error);
    assert_true(pare_stream_bytes(model, &windows, NULL) > n * sizeof(float));
    assert_true(pare_stream_batch(stream) >= length);
    for (uint32_t i = 0; i < c->n_layers; i++)
        assert_done(pare_stream_layer(stream, model, i, NULL, false, &error) && pare_stream_layer(stream, model, i, NULL, true, &error),
                    error);
    assert_int_equal(pare_stream_tokens(stream) * c->width, n);
    assert_memory_equal(pare_stream_rows(stream), k.rows, n * sizeof(float));
    pare_stream_close(stream);
    pare_model_close(model);
    pare_free(k.rows), pare_free(windows.ids);
    pare_checkpoint_close(checkpoint);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    pare_error error = {0};
    pare_checkpoint *checkpoint = pare_checkpoint_open(fixture("qwen2"), &error);
    assert_done(checkpoint, error);
    pare_model *model = pare_model_open(checkpoint, NULL, &error);
    assert_done(model, error);
    assert_fails(pare_forward_open(model, 1, model->config.max_positions + 1, NULL, &error), error, PARE_ERROR_RANGE, "positions");
    pare_forward *forward = pare_forward_open(model, 1, 8, NULL, &error);
    assert_done(forward, error);
    uint32_t ids[9] = {0};
    assert_fails(pare_forward_run(forward, ids, 1, 9, NULL, &error), error, PARE_ERROR_RANGE, "do not fit");
    ids[3] = model->config.vocabulary;
    assert_fails(pare_forward_run(forward, ids, 1, 8, NULL, &error), error, PARE_ERROR_RANGE, "vocabulary");
    volatile sig_atomic_t cancel = 1;
    pare_context context = {.cancel = &cancel};
    pare_forward *stopped = pare_forward_open(model, 1, 8, &context, &error);
    assert_done(stopped, error);
    ids[3] = 0;
    assert_fails(pare_forward_run(stopped, ids, 1, 8, NULL, &error), error, PARE_ERROR_CANCELLED, "interrupted");
    pare_forward_close(stopped);
    pare_forward_close(forward);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_as_transformers),
        cmocka_unit_test(nll_as_transformers),
        cmocka_unit_test(threads_and_windows_change_nothing),
        cmocka_unit_test(masked_is_removed),
        cmocka_unit_test(layers_and_replacements),
        cmocka_unit_test(padded_layers),
        cmocka_unit_test(layer_at_a_time),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
