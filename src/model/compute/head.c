/* head: hidden states -> negative log-probabilities or logits. The cross-entropy folds each block of logits into a running
 * log-sum-exp as soon as it is computed, so that tokens x vocabulary is never stored:
 *   nll_i = ln sum_j exp(z_ij) - z_i,target */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "compute.h"
#include "pare/sequence.h"

/* Folds logits (m, n) of vocabulary rows [first, first + n) into the running softmax of tokens [t, t + m). */
static void fold(pare_forward *f, const float *logits, size_t t, size_t m, uint32_t first, uint32_t n, const uint32_t *targets) {
    for (size_t i = 0; i < m; i++) {
        const float *row = logits + i * n;
        pare_kernels_best()->log_sum_exp(&f->maximum[t + i], &f->sum[t + i], row, n);
        if (targets[t + i] >= first && targets[t + i] < first + n)
            f->target[t + i] = row[targets[t + i] - first];
    }
}

bool pare_forward_nll(double *nll, pare_forward *f, const uint32_t *rows, const uint32_t *targets, size_t n, pare_error *error) {
    const pare_view *head = &f->work.model->head;
    size_t width = head->n_columns;
    if (n > f->work.tokens_max)
        return pare_fail(error, PARE_ERROR_RANGE, "%zu targets do not fit the buffers of this forward pass", n);
    for (size_t i = 0; i < n; i++) { /* x is free after the run: it takes the wanted rows, one after the other */
        if (rows[i] >= f->tokens || targets[i] >= head->n_rows)
            return pare_fail(error, PARE_ERROR_RANGE, "target %zu: row %u of %zu, token id %u of %u", i, rows[i], f->tokens, targets[i],
                             head->n_rows);
        memcpy(f->state.x + i * width, f->work.h + rows[i] * width, width * sizeof(float));
        f->maximum[i] = -INFINITY;
        f->sum[i] = 0;
    }
    const pare_kernels *kernels = pare_kernels_best();
    float *panel = f->work.scratch.panel;
    uint32_t step = panel_rows(head, f->work.scratch.panel_floats);
#pragma omp parallel num_threads(f->work.scratch.n_threads)
    for (uint32_t first = 0; first < head->n_rows; first += step) {
        uint32_t count = head->n_rows - first < step ? head->n_rows - first : step;
        panel_pack_rows(panel, head, first, count, &f->work.scratch);
        float *logits = f->logits + (size_t)omp_get_thread_num() * TOKEN_BLOCK * ROW_BLOCK;
#pragma omp for schedule(dynamic)
        for (size_t t = 0; t < n; t += TOKEN_BLOCK) /* one task owns its tokens: blocks of the vocabulary fold in order */
            for (uint32_t r = 0; r < count; r += ROW_BLOCK) {
                size_t m = n - t < TOKEN_BLOCK ? n - t : TOKEN_BLOCK;
                uint32_t part = count - r < ROW_BLOCK ? count - r : ROW_BLOCK;
                kernels->gemm(logits, part, f->state.x + t * width, width, panel + (size_t)r * width, m, part, width, false);
                fold(f, logits, t, m, first + r, part, targets);
            }
    }
    for (size_t i = 0; i < n; i++)
        nll[i] = (double)f->maximum[i] + log(f->sum[i]) - (double)f->target[i];
    return pare_context_check(f->work.context, error);
}

bool pare_forward_nll_greedy(double *nll, bool *greedy, pare_forward *f, const uint32_t *rows, const uint32_t *targets, size_t n,
                             pare_error *error) {
    if (!pare_forward_nll(nll, f, rows, targets, n, error))
        return false;
    for (size_t i = 0; i < n; i++)
        greedy[i] = f->target[i] >= f->maximum[i];
    return true;
}

bool pare_forward_logits(float *logits, pare_forward *f, size_t first, size_t n, pare_error *error) {
    if (first + n > f->tokens)
        return pare_fail(error, PARE_ERROR_RANGE, "rows %zu to %zu of %zu hidden states", first, first + n, f->tokens);
    pare_linear head = {.weight = f->work.model->head};
    linear_run(logits, &head, f->work.h + first * f->work.model->config.width, n, false, &f->work.scratch);
    return true;
}
