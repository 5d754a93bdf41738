/* linear: y = x W^T + b with W in its stored type, and a low-rank adapter on top; several that read the same x at once. Weights become
 * f32 and are packed a panel at a time, shared by all threads; a task is one block of tokens by one block of rows. A factored matrix
 * W = U V is two products, x V^T and what U makes of it. */
#include <omp.h>

#include "compute.h"

/* ---- scratch ---- */

static void widen(size_t *most, size_t value) {
    *most = value > *most ? value : *most;
}

static size_t whole_panels(size_t n) {
    size_t panel = pare_kernels_best()->gemm_panel;
    return (n + panel - 1) / panel * panel;
}

/* Ranks of the factored ones among those that read the same x: q, k and v; gate and up. */
static size_t most_ranks(const pare_layer *layer) {
    size_t r[PARE_PROJECTIONS], most = 0;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        r[p] = pare_linear_rank(&layer->linears[p]);
        widen(&most, 2 * r[p]);
    }
    widen(&most, r[PARE_Q] + r[PARE_K] + r[PARE_V]);
    widen(&most, r[PARE_GATE] + r[PARE_UP]);
    return most;
}

void linear_scratch_plan(linear_scratch *scratch, const pare_model *model, size_t tokens, int n_threads) {
    const pare_config *c = &model->config;
    size_t panel = PANEL_BYTES / sizeof(float), widest = c->width, gathered = 1, rank = 0, inner = 0;
    widen(&widest, c->ffn_width);
    widen(&widest, (size_t)c->n_heads * c->head_dim);
    bool dropout = false;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        widen(&inner, most_ranks(&model->layers[i]));
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            const pare_linear *linear = &model->layers[i].linears[p];
            widen(&gathered, pare_view_scratch(&linear->weight));
            widen(&gathered, linear->inner.tensor ? pare_view_scratch(&linear->inner) : 0);
            widen(&rank, linear->adapter ? linear->adapter->rank : 0);
            dropout = dropout || (linear->adapter && linear->adapter->dropout);
        }
    }
    /* shortcuts have no more columns than that */
    widen(&gathered, widest); /* a stream goes on under a cut that it was not opened for */
    widest = whole_panels(widest);
    *scratch = (linear_scratch){.panel_floats = panel > 64 * widest ? panel : 64 * widest, /* at least 64 rows of the widest matrix */
                                .row_floats = pare_kernels_best()->gemm_panel * widest + (gathered + 15) / 16 * 16,
                                .low_floats = tokens * rank,
                                .dropped_floats = dropout ? (TOKEN_BLOCK * widest + 15) / 16 * 16 : 0,
                                .inner_floats = tokens * inner,
                                .n_threads = n_threads};
}

size_t linear_scratch_bytes(const linear_scratch *scratch) {
    return sizeof(float) * (scratch->panel_floats + (size_t)scratch->n_threads * scratch->row_floats + scratch->low_floats +
                            scratch->inner_floats + (size_t)scratch->n_threads * scratch->dropped_floats);
}

bool linear_scratch_allocate(linear_scratch *scratch, pare_arena *arena, pare_error *error) {
    return (scratch->panel = PARE_PUSH(arena, float, scratch->panel_floats, error)) &&
           (scratch->rows = PARE_PUSH(arena, float, (size_t)scratch->n_threads * scratch->row_floats, error)) &&
           (scratch->low = PARE_PUSH(arena, float, scratch->low_floats, error)) &&
           (scratch->dropped = PARE_PUSH(arena, float, (size_t)scratch->n_threads * scratch->dropped_floats, error)) &&
           (scratch->inner = PARE_PUSH(arena, float, scratch->inner_floats, error));
}

/* ---- panels ---- */

uint32_t panel_rows(const pare_view *view, size_t panel_floats) {
    size_t panel = pare_kernels_best()->gemm_panel, rows = panel_floats / view->n_columns / panel * panel;
    return rows < view->n_rows ? (uint32_t)rows : view->n_rows;
}

uint32_t panel_steps(const pare_view *view, const linear_scratch *scratch) {
    size_t rows = scratch->panel_floats / whole_panels(view->n_columns);
    return rows < view->n_rows ? (uint32_t)rows : view->n_rows;
}

/* Rows [first, first + n), at most gemm_panel of them, as f32: where they lie, or in this thread's part of the scratch. */
static const float *some_rows(const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch) {
    const float *direct = pare_view_direct(view);
    if (direct)
        return direct + (size_t)first * view->n_columns;
    float *own = scratch->rows + (size_t)omp_get_thread_num() * scratch->row_floats;
    size_t rows = pare_kernels_best()->gemm_panel * (size_t)view->n_columns;
    pare_view_read(own, view, first, n, own + rows);
    return own;
}

void panel_pack_rows(float *panel, const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch) {
    const pare_kernels *kernels = pare_kernels_best();
    uint32_t step = kernels->gemm_panel;
#pragma omp for schedule(static)
    for (uint32_t i = 0; i < n; i += step) {
        uint32_t m = n - i < step ? n - i : step;
        kernels->gemm_pack(panel + (size_t)i * view->n_columns, some_rows(view, first + i, m, scratch), m, view->n_columns);
    }
}

void panel_pack_steps(float *panel, const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch) {
    const pare_kernels *kernels = pare_kernels_best();
    uint32_t step = kernels->gemm_panel;
#pragma omp for schedule(static)
    for (uint32_t i = 0; i < n; i += step) {
        uint32_t m = n - i < step ? n - i : step;
        const float *rows = some_rows(view, first + i, m, scratch);
        for (uint32_t j = 0; j < m; j++)
            kernels->gemm_pack_step(panel, rows + (size_t)j * view->n_columns, view->n_columns, n, i + j);
    }
}

/* ---- adapters ---- */

static void add_adapter(float *y, const pare_linear *linear, const float *x, size_t n, linear_scratch *scratch) {
    const pare_adapter *adapter = linear->adapter;
    size_t out = linear->weight.n_rows, rank = adapter->rank;
    linear_low(scratch->low, linear, x, n, scratch);
#pragma omp parallel for num_threads(scratch->n_threads) schedule(dynamic)
    for (size_t t = 0; t < n; t += TOKEN_BLOCK)
        pare_gemm_nt(y + t * out, scratch->low + t * rank, adapter->b, n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK, out, rank, rank, rank,
                     out, true);
}

void linear_low(float *low, const pare_linear *linear, const float *x, size_t n, const linear_scratch *scratch) {
    const pare_adapter *adapter = linear->adapter;
    size_t in = pare_linear_inputs(linear), rank = adapter->rank;
#pragma omp parallel for num_threads(scratch->n_threads) schedule(dynamic)
    for (size_t t = 0; t < n; t += TOKEN_BLOCK) {
        size_t m = n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK;
        const float *read = x + t * in;
        if (dropout_on(adapter)) {
            float *kept = scratch->dropped + (size_t)omp_get_thread_num() * scratch->dropped_floats;
            dropout_apply(kept, in, read, in, adapter, t, m, 0, in);
            read = kept;
        }
        pare_gemm_nt(low + t * rank, read, adapter->a, m, rank, in, in, in, rank, false);
        for (size_t i = t * rank; i < (t + m) * rank; i++)
            low[i] *= adapter->scale;
    }
}

/* ---- y = x W^T ---- */

/* y (n, out) [+]= x (n, in) W^T + bias */
typedef struct {
    const pare_view *weight;
    const float *bias, *x;
    float *y;
    bool accumulate;
} product;

/* Rows [first, first + n) of one product's weight, packed. */
typedef struct {
    const product *of;
    float *packed;
    uint32_t first, n;
} part;

/* The next rows of the products, from *at and *row on: as many as fit the panel. */
static size_t next_parts(part parts[LINEAR_JOBS_MAX], const product *products, size_t n_products, size_t *at, uint32_t *row,
                         const linear_scratch *scratch) {
    size_t n = 0, used = 0;
    for (; *at < n_products; ++*at, *row = 0) {
        const pare_view *view = products[*at].weight;
        uint32_t fit = panel_rows(view, scratch->panel_floats - used), rest = view->n_rows - *row, rows = fit < rest ? fit : rest;
        if (rows == 0)
            break;
        parts[n++] = (part){.of = &products[*at], .packed = scratch->panel + used, .first = *row, .n = rows};
        used += whole_panels(rows) * view->n_columns;
        *row += rows;
        if (*row < view->n_rows)
            break;
    }
    return n;
}

/* One block of a product's y: tokens [t, t + m) by rows [r, r + n) of the part. */
static void block(const part *p, size_t t, size_t m, uint32_t r, uint32_t n) {
    const product *of = p->of;
    const pare_kernels *kernels = pare_kernels_best();
    size_t in = of->weight->n_columns, out = of->weight->n_rows;
    float *y = of->y + t * out + p->first + r;
    kernels->gemm(y, out, of->x + t * in, in, p->packed + (size_t)r * in, m, n, in, of->accumulate);
    if (of->bias)
        for (size_t i = 0; i < m; i++)
            kernels->add(y + i * out, of->bias + p->first + r, n);
}

/* Rows of one task: a part in equal blocks, for what a task does with its tokens alone it does again for every block. */
static uint32_t block_rows(const part *p) {
    uint32_t blocks = (p->n + ROW_BLOCK - 1) / ROW_BLOCK;
    return (uint32_t)whole_panels((p->n + blocks - 1) / blocks);
}

/* Blocks of all parts are one queue, so that threads wait for each other once and not after each matrix. Tokens change slowest: a
 * thread's next block often has the tokens of its last. */
static void run_parts(const part *parts, size_t n_parts, size_t n) {
    size_t per_token = 0, ends[LINEAR_JOBS_MAX];
    uint32_t rows[LINEAR_JOBS_MAX];
    for (size_t i = 0; i < n_parts; i++) {
        rows[i] = block_rows(&parts[i]);
        ends[i] = per_token += (parts[i].n + rows[i] - 1) / rows[i];
    }
    size_t n_tasks = per_token * ((n + TOKEN_BLOCK - 1) / TOKEN_BLOCK);
#pragma omp for schedule(dynamic)
    for (size_t task = 0; task < n_tasks; task++) {
        size_t i = 0, at = task % per_token, t = task / per_token * TOKEN_BLOCK;
        while (at >= ends[i])
            i++;
        uint32_t r = (uint32_t)(at - (i ? ends[i - 1] : 0)) * rows[i];
        block(&parts[i], t, n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK, r, parts[i].n - r < rows[i] ? parts[i].n - r : rows[i]);
    }
}

/* Few rows of x: every weight is read once, as it lies. */
static void run_few(const product *products, size_t n_products, size_t n, linear_scratch *scratch) {
    const pare_kernels *kernels = pare_kernels_best();
    uint32_t step = kernels->gemm_panel;
#pragma omp parallel num_threads(scratch->n_threads)
    for (size_t i = 0; i < n_products; i++) {
        const pare_view *view = products[i].weight;
        size_t in = view->n_columns, out = view->n_rows;
#pragma omp for schedule(static) nowait
        for (uint32_t r = 0; r < view->n_rows; r += step) {
            uint32_t m = view->n_rows - r < step ? view->n_rows - r : step;
            float *y = products[i].y + r;
            kernels->gemm_few(y, out, products[i].x, in, some_rows(view, r, m, scratch), n, m, in, products[i].accumulate);
            for (size_t t = 0; products[i].bias && t < n; t++)
                kernels->add(y + t * out, products[i].bias + r, m);
        }
    }
}

static void run_products(const product *products, size_t n_products, size_t n, linear_scratch *scratch) {
    if (scratch->decode) {
        run_few(products, n_products, n, scratch);
        return;
    }
#pragma omp parallel num_threads(scratch->n_threads)
    {
        part parts[LINEAR_JOBS_MAX];
        size_t at = 0, n_parts;
        uint32_t row = 0;
        while ((n_parts = next_parts(parts, products, n_products, &at, &row, scratch)) > 0) {
            for (size_t i = 0; i < n_parts; i++)
                panel_pack_rows(parts[i].packed, parts[i].of->weight, parts[i].first, parts[i].n, scratch);
            run_parts(parts, n_parts, n);
        }
    }
}

void linear_inner(float *inner, const pare_linear *linear, const float *x, size_t n, linear_scratch *scratch) {
    run_products(&(product){.weight = &linear->inner, .x = x, .y = inner}, 1, n, scratch);
}

void linear_run_jobs(const linear_job *jobs, size_t n_jobs, const float *x, size_t n, bool accumulate, linear_scratch *scratch) {
    product inner[LINEAR_JOBS_MAX], outer[LINEAR_JOBS_MAX] = {{0}};
    size_t n_inner = 0;
    float *at = scratch->inner;
    for (size_t i = 0; i < n_jobs; i++) {
        const pare_linear *linear = jobs[i].linear;
        outer[i] = (product){&linear->weight, linear->bias, x, jobs[i].y, accumulate};
        if (!linear->inner.tensor)
            continue;
        inner[n_inner++] = (product){.weight = &linear->inner, .x = x, .y = at};
        outer[i].x = at;
        at += n * linear->inner.n_rows;
    }
    if (n_inner)
        run_products(inner, n_inner, n, scratch);
    run_products(outer, n_jobs, n, scratch);
    for (size_t i = 0; i < n_jobs; i++)
        if (jobs[i].linear->adapter)
            add_adapter(jobs[i].y, jobs[i].linear, x, n, scratch);
}

void linear_run(float *y, const pare_linear *linear, const float *x, size_t n, bool accumulate, linear_scratch *scratch) {
    linear_run_jobs(&(linear_job){linear, y}, 1, x, n, accumulate, scratch);
}
