/* linear: y = x W^T + b with W in its stored type, and a low-rank adapter on top; several that read the same x at once. Weights become
 * f32 a panel at a time, shared by all threads; each GEMM call is one block of tokens by one block of rows, cut the same for every
 * thread count. */
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

/* De-quantises rows [first, first + n) to `panel`; shared out among the threads of a parallel region, ends with a barrier. */
static void read_rows(float *panel, const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch) {
    enum { CHUNK = 32 };
    float *row = scratch->rows + (size_t)omp_get_thread_num() * scratch->row_floats;
#pragma omp for schedule(static)
    for (uint32_t i = 0; i < n; i += CHUNK)
        pare_view_read(panel + (size_t)i * view->n_columns, view, first + i, n - i < CHUNK ? n - i : CHUNK, row);
}

const float *panel_fill(const pare_view *view, uint32_t first, uint32_t n, linear_scratch *scratch) {
    const float *direct = pare_view_direct(view);
    if (direct)
        return direct + (size_t)first * view->n_columns;
    read_rows(scratch->panel, view, first, n, scratch);
    return scratch->panel;
}

/* ---- adapters ---- */

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

/* ---- y = x W^T ---- */

/* Rows [first, first + n) of one job's weight, as f32. */
typedef struct {
    const linear_job *job;
    const float *weights;
    uint32_t first, n;
} part;

/* The next rows of the jobs, from *job and *row on: as many as fit the panel, or all that lie in memory as f32 already. */
static size_t next_parts(part parts[LINEAR_JOBS_MAX], const linear_job *jobs, size_t n_jobs, size_t *job, uint32_t *row,
                         const linear_scratch *scratch) {
    size_t n = 0, used = 0;
    for (; *job < n_jobs; ++*job, *row = 0) {
        const pare_view *view = &jobs[*job].linear->weight;
        const float *direct = pare_view_direct(view);
        size_t rest = view->n_rows - *row, fit = (scratch->panel_floats - used) / view->n_columns, rows = direct || fit > rest ? rest : fit;
        if (rows == 0)
            break;
        parts[n++] = (part){.job = &jobs[*job], .weights = direct ? direct : scratch->panel + used, .first = *row, .n = (uint32_t)rows};
        used += direct ? 0 : rows * view->n_columns;
        *row += (uint32_t)rows;
        if (*row < view->n_rows)
            break;
    }
    return n;
}

/* One block of a job's y: tokens [t, t + m) by rows [r, r + n) of the part. */
static void block(const part *p, const float *x, size_t t, size_t m, uint32_t r, uint32_t n, bool accumulate) {
    const pare_linear *linear = p->job->linear;
    size_t in = linear->weight.n_columns, out = linear->weight.n_rows;
    float *y = p->job->y + t * out + p->first + r;
    pare_gemm_nt(y, x + t * in, p->weights + (size_t)r * in, m, n, in, in, in, out, accumulate);
    if (linear->bias)
        for (size_t i = 0; i < m; i++)
            pare_kernels_best()->add(y + i * out, linear->bias + p->first + r, n);
}

/* Blocks of all parts are one queue, so that threads wait for each other once and not after each matrix. */
static void run_parts(const part *parts, size_t n_parts, const float *x, size_t n, bool accumulate) {
    size_t tokens = token_block(n), across = (n + tokens - 1) / tokens, n_tasks = 0, ends[LINEAR_JOBS_MAX];
    for (size_t i = 0; i < n_parts; i++)
        ends[i] = n_tasks += across * row_blocks(parts[i].n, n);
#pragma omp for schedule(dynamic)
    for (size_t task = 0; task < n_tasks; task++) {
        size_t i = 0;
        while (task >= ends[i])
            i++;
        size_t at = task - (i ? ends[i - 1] : 0), t = at % across * tokens;
        uint32_t step = row_block(parts[i].n, n), r = (uint32_t)(at / across) * step;
        block(&parts[i], x, t, n - t < tokens ? n - t : tokens, r, parts[i].n - r < step ? parts[i].n - r : step, accumulate);
    }
}

void linear_run_jobs(const linear_job *jobs, size_t n_jobs, const float *x, size_t n, bool accumulate, linear_scratch *scratch) {
#pragma omp parallel num_threads(scratch->n_threads)
    {
        part parts[LINEAR_JOBS_MAX];
        size_t job = 0, n_parts;
        uint32_t row = 0;
        while ((n_parts = next_parts(parts, jobs, n_jobs, &job, &row, scratch)) > 0) {
            for (size_t i = 0; i < n_parts; i++)
                if (!pare_view_direct(&parts[i].job->linear->weight))
                    read_rows(scratch->panel + (parts[i].weights - scratch->panel), &parts[i].job->linear->weight, parts[i].first,
                              parts[i].n, scratch);
            run_parts(parts, n_parts, x, n, accumulate);
        }
    }
    for (size_t i = 0; i < n_jobs; i++)
        if (jobs[i].linear->adapter)
            add_adapter(jobs[i].y, jobs[i].linear, x, n, scratch);
}

void linear_run(float *y, const pare_linear *linear, const float *x, size_t n, bool accumulate, linear_scratch *scratch) {
    linear_run_jobs(&(linear_job){linear, y}, 1, x, n, accumulate, scratch);
}
