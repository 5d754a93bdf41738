/* trainable: checkpoints in memory, every weight f32 in one block. A thawed one copies another under a cut; a new one is drawn. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format/format.h"
#include "pare/cut.h"
#include "pare/trainable.h"

enum { ALIGN_FLOATS = 16 };

typedef struct {
    pare_arena *arena;
    pare_tensor *tensors;
    size_t n, capacity, n_values;
} layout;

/* Tensors of a configuration in visiting order, without memory yet; dims and names in the arena. */
static bool lay_out(void *user, const char *name, uint32_t n_dims, const uint64_t *dims, pare_error *error) {
    layout *l = user;
    void *grown = l->tensors;
    if (!pare_grow(&grown, &l->capacity, l->n + 1, sizeof *l->tensors, error))
        return false;
    l->tensors = grown;
    pare_tensor *t = &l->tensors[l->n++];
    *t = (pare_tensor){.dtype = PARE_DTYPE_F32, .n_dims = n_dims, .name = pare_arena_copy(l->arena, name, strlen(name), error)};
    memcpy(t->dims, dims, n_dims * sizeof *dims);
    size_t floats;
    if (!t->name || !pare_shape_bytes(&t->n_bytes, t->dtype, n_dims, dims) ||
        __builtin_add_overflow(l->n_values, t->n_bytes / sizeof(float), &floats))
        return t->name && pare_fail(error, PARE_ERROR_SHAPE, "tensor %s: its size overflows", name);
    l->n_values = (floats + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const pare_tensor *)a)->name, ((const pare_tensor *)b)->name);
}

/* checkpoint->tensors over a block of zeros. */
static bool allocate_weights(pare_thawed *thawed, pare_error *error) {
    pare_checkpoint *c = thawed->checkpoint;
    layout l = {.arena = c->inner->arena};
    bool done = pare_config_visit_tensors(&c->config, lay_out, &l, error);
    pare_tensor *tensors = done ? PARE_PUSH(c->inner->arena, pare_tensor, l.n, error) : NULL;
    thawed->values = tensors ? PARE_PUSH(c->inner->arena, float, l.n_values, error) : NULL;
    thawed->n_values = l.n_values;
    float *at = thawed->values;
    for (size_t i = 0; at && i < l.n; i++) {
        tensors[i] = l.tensors[i];
        tensors[i].data = (const uint8_t *)at;
        tensors[i].source = c->path;
        at += (l.tensors[i].n_bytes / sizeof(float) + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
    }
    if (at)
        qsort(tensors, l.n, sizeof *tensors, by_name);
    pare_free(l.tensors);
    c->tensors = tensors;
    c->n_tensors = l.n;
    c->dtype = PARE_DTYPE_F32;
    return at != NULL;
}

/* Where a tensor of the block lies, to be written. */
static float *values_of(const pare_thawed *thawed, const pare_tensor *tensor) {
    return thawed->values + (tensor->data - (const uint8_t *)thawed->values) / (ptrdiff_t)sizeof(float);
}

/* ---- thawed ---- */

static bool copy_weights(pare_thawed *thawed, const pare_checkpoint *base, const pare_cut *cut, const pare_context *context,
                         pare_error *error) {
    pare_checkpoint *c = thawed->checkpoint;
    pare_arena *arena = pare_arena_open(error);
    bool done = arena != NULL;
    for (size_t i = 0; done && i < c->n_tensors; i++) {
        const pare_tensor *tensor = &c->tensors[i];
        pare_view view;
        if (!pare_cut_find(&view, cut, base, tensor->name)) /* a bias that the cut gave to others of its kind: zeros */
            continue;
        float *scratch = PARE_PUSH(arena, float, pare_view_scratch(&view), error);
        if (!scratch || !pare_context_check(context, error)) {
            done = false;
            break;
        }
        pare_view_read(values_of(thawed, tensor), &view, 0, view.n_rows, scratch);
        pare_checkpoint_drop_view(base, &view);
        pare_context_progress(context, "read the weights as f32", (double)(i + 1), (double)c->n_tensors);
    }
    pare_arena_close(arena);
    return done;
}

/* Shapes and ranks lie in the cut, which the copy outlives. */
static bool copy_shapes(pare_checkpoint *c, pare_error *error) {
    const pare_layer_shape *shapes = c->config.shapes;
    pare_layer_shape *copy = shapes ? PARE_PUSH(c->inner->arena, pare_layer_shape, c->config.n_layers, error) : NULL;
    if (copy)
        memcpy(copy, shapes, c->config.n_layers * sizeof *copy);
    c->config.shapes = copy;
    const pare_layer_ranks *ranks = c->config.ranks;
    pare_layer_ranks *own = ranks ? PARE_PUSH(c->inner->arena, pare_layer_ranks, c->config.n_layers, error) : NULL;
    if (own)
        memcpy(own, ranks, c->config.n_layers * sizeof *own);
    c->config.ranks = own;
    return (!shapes || copy) && (!ranks || own);
}

bool pare_thaw(pare_thawed *thawed, const pare_checkpoint *base, const pare_cut *cut, const pare_context *context, pare_error *error) {
    *thawed = (pare_thawed){0};
    pare_checkpoint *c = thawed->checkpoint = pare_checkpoint_make(base->path, error);
    if (!c)
        return false;
    c->format = base->format;
    c->config = *pare_cut_config(cut, base);
    if (!copy_shapes(c, error)) {
        pare_thawed_close(thawed);
        return false;
    }
    c->tokenizer = base->tokenizer; /* not the copy's to close */
    c->tokenizer_missing = base->tokenizer_missing;
    c->inner->config_json = json_incref(base->inner->config_json);
    c->inner->gguf = base->inner->gguf;
    if (allocate_weights(thawed, error) && copy_weights(thawed, base, cut, context, error))
        return true;
    pare_thawed_close(thawed);
    return false;
}

void pare_thawed_close(pare_thawed *thawed) {
    pare_checkpoint_close(thawed->checkpoint);
    *thawed = (pare_thawed){0};
}

/* ---- new ---- */

/* Two normal draws of Box and Muller (1958) a pair, from the counter-based generator. */
static void fill_normal(float *out, size_t n, double deviation, uint64_t seed, const char *purpose) {
    const double two_pi = 6.28318530717958647692;
    pare_random random;
    pare_random_init(&random, seed, purpose, 0);
    for (size_t i = 0; i < n; i += 2) {
        double radius = sqrt(-2 * log(1 - pare_random_unit(&random))), angle = two_pi * pare_random_unit(&random);
        out[i] = (float)(deviation * radius * cos(angle));
        if (i + 1 < n)
            out[i + 1] = (float)(deviation * radius * sin(angle));
    }
}

static bool ends_with(const char *name, const char *end) {
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

static void draw_weights(pare_thawed *thawed, uint64_t seed) {
    const pare_checkpoint *c = thawed->checkpoint;
    double deviation = 0.02, residual = deviation / sqrt(2.0 * c->config.n_layers);
    for (size_t i = 0; i < c->n_tensors; i++) {
        const pare_tensor *t = &c->tensors[i];
        float *values = values_of(thawed, t);
        size_t n = (size_t)pare_tensor_elements(t);
        bool writes = ends_with(t->name, "o_proj.weight") || ends_with(t->name, "down_proj.weight");
        if (t->n_dims == 2)
            fill_normal(values, n, writes ? residual : deviation, seed, t->name);
        else if (ends_with(t->name, ".weight")) /* a norm; biases stay zero */
            for (size_t j = 0; j < n; j++)
                values[j] = 1.0f;
    }
}

bool pare_thaw_new(pare_thawed *thawed, const char *config, const char *tokenizer, uint64_t seed, pare_error *error) {
    *thawed = (pare_thawed){0};
    pare_checkpoint *c = thawed->checkpoint = pare_checkpoint_make(tokenizer, error);
    if (!c)
        return false;
    c->format = PARE_FORMAT_HF;
    bool done = (c->inner->config_json = pare_json_read_lenient(config, NULL, error)) &&
                pare_hf_config_read(&c->config, c->inner->config_json, config, c->inner->arena, error) &&
                pare_checkpoint_add_tokenizer(c, error);
    if (done && pare_tokenizer_size(c->tokenizer) > c->config.vocabulary)
        done = pare_fail(error, PARE_ERROR_SHAPE, "%s: vocab_size is %u, but the tokenizer in %s has %zu tokens", config,
                         c->config.vocabulary, tokenizer, pare_tokenizer_size(c->tokenizer));
    if (done && allocate_weights(thawed, error)) {
        draw_weights(thawed, seed);
        return true;
    }
    pare_thawed_close(thawed);
    return false;
}
