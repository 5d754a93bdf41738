/* Pages that are let go: those of a layer's files, all of them; and never those of weights that have no file behind them. */
#include <fcntl.h>
#include <math.h>

#include "fixtures.h"
#include "pare/cut.h"
#include "pare/trainable.h"

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

/* ---- weights in memory ---- */

static void weights_in_memory_outlive_what_reads_them_all(void **state) {
    (void)state;
    pare_error error = {0};
    pare_context context = {.n_threads = 2};
    pare_checkpoint *base = open_fixture("qwen2");
    pare_thawed thawed;
    pare_sha256 first, second;
    assert_done(pare_thaw(&thawed, base, NULL, NULL, &error), error);
    size_t bytes = thawed.n_values * sizeof *thawed.values;
    float *copy = pare_allocate(thawed.n_values, sizeof *copy, &error);
    assert_non_null(copy);
    memcpy(copy, thawed.values, bytes);
    assert_done(pare_checkpoint_check_finite(thawed.checkpoint, &context, &error), error);
    assert_memory_equal(copy, thawed.values, bytes);
    assert_done(pare_checkpoint_hash(&first, thawed.checkpoint, &context, &error), error);
    assert_memory_equal(copy, thawed.values, bytes);
    pare_fail(&error, PARE_ERROR_NUMERIC, "a loss is not finite");
    pare_checkpoint_blame(thawed.checkpoint, &context, &error);
    assert_string_equal(error.message, "a loss is not finite");
    assert_memory_equal(copy, thawed.values, bytes);
    pare_checkpoint_drop(thawed.checkpoint, "model.");
    assert_done(pare_checkpoint_hash(&second, thawed.checkpoint, &context, &error), error);
    assert_string_equal(first.hex, second.hex);
    pare_free(copy);
    pare_thawed_close(&thawed);
    pare_checkpoint_close(base);
}

/* ---- weights in files ---- */

/* Pages of this process that lie wholly in the bytes and are in memory. */
static size_t pages_of(const uint8_t *bytes, size_t n) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), first = ((size_t)bytes + page - 1) / page, end = ((size_t)bytes + n) / page, found = 0;
    int map = open("/proc/self/pagemap", O_RDONLY);
    if (map < 0)
        skip();
    for (size_t i = first; i < end; i++) {
        uint64_t entry = 0;
        assert_int_equal(pread(map, &entry, sizeof entry, (off_t)(i * sizeof entry)), sizeof entry);
        found += entry >> 63; /* present */
    }
    close(map);
    return found;
}

enum { PARTS = 2 * PARE_PROJECTIONS + 2 };

static size_t views_of(const pare_view *views[PARTS], const pare_layer *layer) {
    size_t n = 0;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        views[n++] = &layer->linears[p].weight;
        if (layer->linears[p].inner.tensor)
            views[n++] = &layer->linears[p].inner;
    }
    views[n++] = &layer->attention_shortcut.weight;
    views[n++] = &layer->ffn_shortcut.weight;
    return n;
}

/* All that layer 0 multiplies by is in memory when it has been read, and none of it when it has been left. */
static void check_leaving(const pare_model *model) {
    const pare_view *views[PARTS];
    size_t n = views_of(views, &model->layers[0]);
    assert_int_equal(n, PARTS - 1); /* one matrix is whole */
    for (size_t i = 0; i < n; i++) {
        pare_free(view_values(views[i]));
        assert_true(pages_of(views[i]->tensor->data, views[i]->tensor->n_bytes) > 0);
    }
    pare_model_leave_layer(model, 0);
    for (size_t i = 0; i < n; i++)
        if (pages_of(views[i]->tensor->data, views[i]->tensor->n_bytes) > 0)
            fail_msg("%s is still in memory", views[i]->tensor->name);
}

static void fill(float *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        values[i] = (float)sin(1.0 + (double)i);
}

/* Factors but for q_proj, and shortcuts: all large enough for the file of a cut's tensors. */
static pare_cut *factors_and_shortcuts(const pare_config *c) {
    enum { RANK = 96 };
    pare_error error = {0};
    pare_cut *cut = pare_cut_open(c, &error);
    char name[96];
    assert_done(cut, error);
    pare_cut_add_shortcuts(cut);
    for (uint32_t layer = 0; layer < c->n_layers; layer++) {
        for (int p = 1; p < PARE_PROJECTIONS; p++) {
            float *u, *v;
            pare_linear_shape s = pare_config_linear(c, layer, (pare_projection)p);
            assert_done(pare_cut_factor(cut, layer, (pare_projection)p, RANK, &u, &v, &error), error);
            fill(u, s.out * RANK);
            fill(v, s.in * RANK);
        }
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof name, "model.layers.%u.%s.shortcut.weight", layer, i ? "mlp" : "self_attn");
            float *values = pare_cut_replace(cut, name, &error);
            assert_done(values, error);
            fill(values, (size_t)c->width * c->width);
        }
    }
    return cut;
}

static void a_layer_that_is_left_leaves_no_page(void **state) {
    (void)state;
    static const char config[] =
        "{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 256, \"intermediate_size\": 256, "
        "\"num_attention_heads\": 4, \"num_key_value_heads\": 4, \"vocab_size\": 320, \"max_position_embeddings\": 64}";
    pare_error error = {0};
    pare_thawed new;
    write_file(inside(work, "config.json"), config, sizeof config - 1);
    assert_done(pare_thaw_new(&new, inside(work, "config.json"), fixture("llama3"), 1, &error), error);
    assert_done(pare_checkpoint_write(inside(work, "whole"), new.checkpoint, NULL, NULL, PARE_DTYPE_BF16, 0, NULL, NULL, &error), error);
    pare_thawed_close(&new);

    pare_checkpoint *whole = pare_checkpoint_open(inside(work, "whole"), &error);
    assert_done(whole, error);
    pare_cut *cut = factors_and_shortcuts(&whole->config);
    pare_model *model = pare_model_open(whole, cut, &error);
    assert_done(model, error);
    check_leaving(model); /* the cut's own tensors */
    float *values = view_values(&model->layers[0].attention_shortcut.weight);
    assert_true(values[0] == (float)sin(1.0));
    pare_free(values);
    pare_model_close(model);
    assert_done(pare_checkpoint_write(inside(work, "own"), whole, cut, NULL, PARE_DTYPE_F32, 0, NULL, NULL, &error), error);
    pare_cut_close(cut);
    pare_checkpoint_close(whole);

    pare_checkpoint *own = pare_checkpoint_open(inside(work, "own"), &error);
    assert_done(own, error);
    assert_done(model = pare_model_open(own, NULL, &error), error);
    check_leaving(model); /* a file's */
    pare_model_close(model);
    pare_checkpoint_close(own);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(weights_in_memory_outlive_what_reads_them_all),
                                       cmocka_unit_test(a_layer_that_is_left_leaves_no_page)};
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
