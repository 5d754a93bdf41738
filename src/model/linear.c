/* linear: y = x W^T + b with W in its stored type, and a low-rank adapter on top. Weights become f32 a panel at a time, shared by all
 * threads; each GEMM call is one block of tokens by one block of rows, cut the same for every thread count. */
#include <omp.h>

#include "model_impl.h"

/* ---- scratch ---- */

static void widen(size_t *most, size_t value) {
    *most = value > *most ? value : *most;
}

void linear_scratch_plan(linear_scratch *scratch, const pare_model *model, size_t tokens, int n_threads) {
    const pare_config *c = &model->config;
    size_t panel = PANEL_BYTES / sizeof(float), widest = c->width, rows = 1, rank = 0;
    widen(&widest, c->ffn_width);
    widen(&widest, (size_t)c->n_heads * c->head_dim);
    for (uint32_t i = 0; i < c->n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const pare_linear *linear = &model->layers[i].linears[p];
            widen(&rows, pare_view_scratch(&linear->weight));
            widen(&rank, linear->adapter ? linear->adapter->rank : 0);
        }
    *scratch = (linear_scratch){.panel_floats = panel > 64 * widest ? panel : 64 * widest, /* at least 64 rows of the widest matrix */
                                .row_floats = rows,
                                .low_floats = tokens * rank,
                                .n_threads = n_threads};
}

size_t linear_scratch_bytes(const linear_scratch *scratch) {
    return sizeof(float) * (scratch->panel_floats + (size_t)scratch->n_threads * scratch->row_floats + scratch->low_floats);
}

bool linear_scratch_allocate(linear_scratch *scratch, pare_arena *arena, pare_error *error) {
    return (scratch->panel = PARE_PUSH(arena, float, scratch->panel_floats, error)) &&
           (scratch->rows = PARE_PUSH(arena, float, (size_t)scratch->n_threads * scratch->row_floats, error)) &&
           (scratch->low = PARE_PUSH(arena, float, scratch->low_floats, error));
}

/* ---- panels ---- */

uint32_t panel_rows(const pare_view *view, const linear_scratch *scratch) {
    size_t rows = scratch->panel_floats / view->n_columns;
    return rows < view->n_rows ? (uint32_t)rows : view->n_rows;
}

const float *panel_fill(const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch) {
    enum { CHUNK = 32 };
    const float *direct = pare_view_direct(view);
    if (direct)
        return direct + (size_t)first * view->n_columns;
    float *row = scratch->rows + (size_t)omp_get_thread_num() * scratch->row_floats;
#pragma omp for schedule(static)
    for (uint32_t i = 0; i < n; i += CHUNK)
        pare_view_read(scratch->panel + (size_t)i * view->n_columns, view, first + i, n - i < CHUNK ? n - i : CHUNK, row);
    return scratch->panel;
}

/* ---- y = x W^T ---- */

/* One block of y: tokens [t, t + m) by rows [r, r + n) of the panel that starts at weight row `first`. */
static void block(float *y, const pare_linear *linear, const float *x, const float *panel, size_t t, size_t m, uint32_t first, uint32_t r,
                  uint32_t n, bool accumulate) {
    size_t in = linear->weight.n_columns, out = linear->weight.n_rows, at = t * out + first + r;
    pare_gemm_nt(y + at, x + t * in, panel + (size_t)r * in, m, n, in, in, in, out, accumulate);
    if (linear->bias)
        for (size_t i = 0; i < m; i++)
            pare_kernels_best()->add(y + at + i * out, linear->bias + first + r, n);
}

static void add_adapter(float *y, const pare_linear *linear, const float *x, size_t n, linear_scratch *scratch) {
    const pare_adapter *adapter = linear->adapter;
    size_t out = linear->weight.n_rows, rank = adapter->rank, step = token_block(n);
    linear_low(scratch->low, linear, x, n, scratch);
#pragma omp parallel for num_threads(scratch->n_threads) schedule(dynamic)
    for (size_t t = 0; t < n; t += step)
        pare_gemm_nt(y + t * out, scratch->low + t * rank, adapter->b, n - t < step ? n - t : step, out, rank, rank, rank, out, true);
}

void linear_low(float *low, const pare_linear *linear, const float *x, size_t n, const linear_scratch *scratch) {
    const pare_adapter *adapter = linear->adapter;
    size_t in = linear->weight.n_columns, rank = adapter->rank, step = token_block(n);
#pragma omp parallel for num_threads(scratch->n_threads) schedule(dynamic)
    for (size_t t = 0; t < n; t += step) {
        size_t m = n - t < step ? n - t : step;
        pare_gemm_nt(low + t * rank, x + t * in, adapter->a, m, rank, in, in, in, rank, false);
        for (size_t i = t * rank; i < (t + m) * rank; i++)
            low[i] *= adapter->scale;
    }
}

void linear_run(float *y, const pare_linear *linear, const float *x, size_t n, bool accumulate, linear_scratch *scratch) {
    const pare_view *weight = &linear->weight;
    uint32_t step = panel_rows(weight, scratch);
    size_t tokens = token_block(n);
#pragma omp parallel num_threads(scratch->n_threads)
    for (uint32_t first = 0; first < weight->n_rows; first += step) {
        uint32_t rows = weight->n_rows - first < step ? weight->n_rows - first : step;
        const float *panel = panel_fill(weight, first, rows, scratch);
#pragma omp for collapse(2) schedule(dynamic)
        for (size_t t = 0; t < n; t += tokens)
            for (uint32_t r = 0; r < rows; r += ROW_BLOCK)
                block(y, linear, x, panel, t, n - t < tokens ? n - t : tokens, first, r, rows - r < ROW_BLOCK ? rows - r : ROW_BLOCK,
                      accumulate);
    }
    if (linear->adapter)
        add_adapter(y, linear, x, n, scratch);
}
