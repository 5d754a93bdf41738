/* factors: matrices that are products U V, when they are written: multiplied out for programs that know no factors, or with an adapter
 * beside them, which a product takes up by growing: U' = [U, scale B], V' = [V; A]. */
#include <stdio.h>
#include <string.h>

#include "format/format.h"
#include "pare/cut.h"
#include "pare/trainable.h"

enum { ROWS = 64 }; /* of a product, in one call: whatever the number of threads */

pare_factors pare_factors_find(const pare_config *config, const char *name) {
    static const char *const ends[] = {"weight", "u.weight", "v.weight"};
    static const pare_factors_part parts[] = {PARE_FACTORS_PRODUCT, PARE_FACTORS_U, PARE_FACTORS_V};
    unsigned layer;
    if (!config->ranks || sscanf(name, "model.layers.%u.", &layer) != 1 || layer >= config->n_layers)
        return (pare_factors){.part = PARE_FACTORS_NONE};
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        for (int i = 0; i < 3; i++) {
            char full[96];
            snprintf(full, sizeof full, "model.layers.%u.%s.%s", layer, pare_projection_path((pare_projection)p), ends[i]);
            if (config->ranks[layer].of[p] && strcmp(full, name) == 0)
                return (pare_factors){parts[i], layer, (pare_projection)p};
        }
    return (pare_factors){.part = PARE_FACTORS_NONE};
}

static const pare_adapter *adapter_of(const pare_adapters *adapters, uint32_t layer, pare_projection projection) {
    const pare_adapter *item = adapters ? &adapters->items[(size_t)layer * PARE_PROJECTIONS + (size_t)projection] : NULL;
    return item && item->rank ? item : NULL;
}

bool pare_factors_grow(pare_layer_ranks *ranks, const pare_config *config, const pare_adapters *adapters) {
    bool any = false;
    for (uint32_t i = 0; i < config->n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const pare_adapter *adapter = adapter_of(adapters, i, (pare_projection)p);
            pare_linear_shape s = pare_config_linear(config, i, (pare_projection)p);
            uint64_t rank = pare_config_rank(config, i, (pare_projection)p);
            rank += rank && adapter ? adapter->rank : 0;
            bool saves = !adapter || rank * (s.out + s.in) < s.out * s.in;
            ranks[i].of[p] = saves ? (uint32_t)rank : 0;
            any = any || ranks[i].of[p];
        }
    return any;
}

bool pare_factors_made(const pare_factors *f, const pare_adapters *adapters) {
    return f->part == PARE_FACTORS_PRODUCT || (f->part != PARE_FACTORS_NONE && adapter_of(adapters, f->layer, f->projection));
}

/* ---- making ---- */

typedef struct {
    pare_linear_shape shape;
    size_t stored, rank; /* without and with the adapter */
    const pare_adapter *adapter;
    pare_view u, v;
} source;

static bool find_source(source *s, const pare_factors *f, const pare_checkpoint *checkpoint, const pare_cut *cut,
                        const pare_adapters *adapters, pare_error *error) {
    char name[96];
    const pare_config *config = pare_cut_config(cut, checkpoint);
    const char *path = pare_projection_path(f->projection);
    *s = (source){.shape = pare_config_linear(config, f->layer, f->projection),
                  .stored = pare_config_rank(config, f->layer, f->projection),
                  .adapter = adapter_of(adapters, f->layer, f->projection)};
    s->rank = s->stored + (s->adapter ? s->adapter->rank : 0);
    snprintf(name, sizeof name, "model.layers.%u.%s.u.weight", f->layer, path);
    bool found = pare_cut_find(&s->u, cut, checkpoint, name);
    snprintf(name, sizeof name, "model.layers.%u.%s.v.weight", f->layer, path);
    return (found && pare_cut_find(&s->v, cut, checkpoint, name)) ||
           pare_fail(error, PARE_ERROR_FORMAT, "%s: layer %u, %s: a factor is missing", checkpoint->path, f->layer, path);
}

/* [U, scale B] (out, rank) */
static void read_u(float *out, const source *s, float *scratch) {
    for (uint32_t i = 0; i < s->u.n_rows; i++, out += s->rank) {
        pare_view_read(out, &s->u, i, 1, scratch);
        for (size_t k = s->stored; k < s->rank; k++)
            out[k] = s->adapter->scale * s->adapter->b[(size_t)i * s->adapter->rank + k - s->stored];
    }
}

/* [V; A] (rank, in) */
static void read_v(float *out, const source *s, float *scratch) {
    pare_view_read(out, &s->v, 0, s->v.n_rows, scratch);
    if (s->adapter)
        memcpy(out + s->stored * s->shape.in, s->adapter->a, s->adapter->rank * s->shape.in * sizeof *out);
}

static void multiply(float *out, const float *u, const float *v, const source *s, int n_threads) {
    size_t rows = s->shape.out, in = s->shape.in, rank = s->rank;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic)
    for (size_t i = 0; i < rows; i += ROWS)
        pare_gemm_nn(out + i * in, u + i * rank, v, rows - i < ROWS ? rows - i : ROWS, in, rank, rank, in, in, false);
}

float *pare_factors_make(const pare_factors *f, const pare_checkpoint *checkpoint, const pare_cut *cut, const pare_adapters *adapters,
                         int n_threads, pare_error *error) {
    source s;
    if (!pare_gemm_prepare(error) || !find_source(&s, f, checkpoint, cut, adapters, error))
        return NULL;
    size_t out = s.shape.out, in = s.shape.in, n_scratch = pare_view_scratch(&s.u) + pare_view_scratch(&s.v) + 1;
    float *scratch = pare_allocate(n_scratch, sizeof *scratch, error), *made = NULL;
    float *u = f->part == PARE_FACTORS_V ? NULL : pare_allocate(out * s.rank, sizeof *u, error);
    float *v = f->part == PARE_FACTORS_U ? NULL : pare_allocate(s.rank * in, sizeof *v, error);
    bool done = scratch && (u || f->part == PARE_FACTORS_V) && (v || f->part == PARE_FACTORS_U);
    if (done && u)
        read_u(u, &s, scratch);
    if (done && v)
        read_v(v, &s, scratch);
    pare_cut_drop_rows(&s.u, 0, s.u.n_rows, cut, checkpoint); /* read, and copied */
    pare_cut_drop_rows(&s.v, 0, s.v.n_rows, cut, checkpoint);
    if (done && u && v && (made = pare_allocate(out * in, sizeof *made, error)))
        multiply(made, u, v, &s, n_threads);
    float *result = !done || (u && v) ? made : u ? u : v;
    pare_free(scratch);
    if (u != result)
        pare_free(u);
    if (v != result)
        pare_free(v);
    return result;
}
