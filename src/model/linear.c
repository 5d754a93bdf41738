/* linear: y = x W^T + b with W in its stored type. Weights become f32 a panel at a time, shared by all threads; each GEMM call
 * is one block of tokens by one block of rows, cut the same for every thread count. */
#include <omp.h>

#include "model_impl.h"

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

/* One block of y: tokens [t, t + m) by rows [r, r + n) of the panel that starts at weight row `first`. */
static void block(float *y, const pare_linear *linear, const float *x, const float *panel, size_t t, size_t m, uint32_t first, uint32_t r,
                  uint32_t n, bool accumulate) {
    size_t in = linear->weight.n_columns, out = linear->weight.n_rows, at = t * out + first + r;
    pare_gemm_nt(y + at, x + t * in, panel + (size_t)r * in, m, n, in, in, in, out, accumulate);
    if (linear->bias)
        for (size_t i = 0; i < m; i++)
            pare_kernels_best()->add(y + at + i * out, linear->bias + first + r, n);
}

void linear_run(float *y, const pare_linear *linear, const float *x, size_t n, bool accumulate, linear_scratch *scratch) {
    const pare_view *weight = &linear->weight;
    uint32_t step = panel_rows(weight, scratch);
#pragma omp parallel num_threads(scratch->n_threads)
    for (uint32_t first = 0; first < weight->n_rows; first += step) {
        uint32_t rows = weight->n_rows - first < step ? weight->n_rows - first : step;
        const float *panel = panel_fill(weight, first, rows, scratch);
#pragma omp for collapse(2) schedule(dynamic)
        for (size_t t = 0; t < n; t += TOKEN_BLOCK)
            for (uint32_t r = 0; r < rows; r += ROW_BLOCK)
                block(y, linear, x, panel, t, n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK, first, r,
                      rows - r < ROW_BLOCK ? rows - r : ROW_BLOCK, accumulate);
    }
}
