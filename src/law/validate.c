/* validate: how well a form predicts what it has not seen: a point left out, a model left out, larger ratios left out; and what the mean of
 * the other models, which needs no form, says instead.
 *
 * Leaving out needs no second fit. With X = Q R and the residuals e of the full fit, leaving out the rows g moves the fitted values by
 * -Q (I - Qg'Qg)^-1 Qg'e_g; for one row i this is the textbook e_i / (1 - h_ii).
 *
 * Two errors are kept: root mean square of predicted / l - 1, and the median of |predicted - l| / (l - l0). The second says how much of
 * what compression cost is known; l itself is mostly l0, which was given. */
#include <stdlib.h>
#include <string.h>

#include "fit.h"

enum { MAX_CUTS = 32 };

/* Sums squares of relative and absolute errors of predicted losses, and collects the errors of what was lost. */
typedef struct {
    long double relative, absolute;
    size_t n;
    double *lost;
} score;

static void score_add(score *s, double predicted, const pare_row *row) {
    long double missed = (long double)predicted - (long double)row->l;
    s->relative += missed / (long double)row->l * (missed / (long double)row->l);
    s->absolute += missed * missed;
    if (s->lost)
        s->lost[s->n] = pare_lost_error(predicted, row->l, row->l0);
    s->n++;
}

static double score_root(long double sum, size_t n) {
    return n ? sqrt((double)(sum / (long double)n)) : PARE_NONE;
}

static void leave_out_points(score *total, const pare_rows *rows, const pare_lsq *lsq) {
    for (size_t i = 0; i < rows->n; i++) {
        const pare_row *row = &rows->rows[i];
        if (lsq->leverage[i] > PARE_LSQ_LEVERAGE_LIMIT)
            continue;
        double y = pare_rows_response(rows, row) - lsq->residual[i] / (1 - lsq->leverage[i]);
        score_add(total, pare_rows_loss(rows, y, row), row);
    }
}

static void leave_out_models(score *total, pare_law_fit *fit, const pare_rows *rows, const pare_lsq *lsq) {
    for (size_t first = 0, end; first < rows->n; first = end) {
        size_t model = rows->rows[rows->by_model[first]].model_id;
        for (end = first; end < rows->n && rows->rows[rows->by_model[end]].model_id == model; end++)
            continue;
        double step[PARE_LSQ_MAX_TERMS];
        if (!pare_lsq_step_without(step, lsq, rows->by_model + first, end - first))
            continue;
        for (size_t i = first; i < end; i++) {
            size_t at = rows->by_model[i];
            const pare_row *row = &rows->rows[at];
            double y = pare_rows_response(rows, row) - lsq->residual[at];
            for (size_t j = 0; j < lsq->p; j++)
                y -= lsq->q[at + j * lsq->n] * step[j];
            double predicted = pare_rows_loss(rows, y, row);
            fit->residuals[row->entry].loo_model = predicted;
            score_add(total, predicted, row);
        }
    }
}

/* ---- the mean of the other models ---------------------------------------------------------- */

static int compare_text_and_numbers(const pare_row *a, const pare_row *b) {
    int order = strcmp(a->method, b->method);
    order = order ? order : (a->nominal > b->nominal) - (a->nominal < b->nominal);
    return order ? order : (a->d > b->d) - (a->d < b->d);
}

static int compare_cells(const void *left, const void *right) {
    const pare_row *a = *(const pare_row *const *)left, *b = *(const pare_row *const *)right;
    int order = compare_text_and_numbers(a, b);
    order = order ? order : (a->model_id > b->model_id) - (a->model_id < b->model_id);
    return order ? order : (a > b) - (a < b);
}

/* Every row of a cell (one method, ratio and D) by the mean of l / l0 over the rows of other models in it. */
static void score_cell(score *total, const pare_row *const *cell, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += cell[i]->l / cell[i]->l0;
    for (size_t first = 0, end; first < n; first = end) {
        double own = 0;
        for (end = first; end < n && cell[end]->model_id == cell[first]->model_id; end++)
            own += cell[end]->l / cell[end]->l0;
        for (size_t i = first; i < end && n > end - first; i++)
            score_add(total, cell[i]->l0 * (sum - own) / (double)(n - (end - first)), cell[i]);
    }
}

static bool score_baseline(score *total, const pare_rows *rows, pare_arena *arena, pare_error *error) {
    const pare_row **cells = PARE_PUSH(arena, const pare_row *, rows->n, error);
    if (!cells)
        return false;
    for (size_t i = 0; i < rows->n; i++)
        cells[i] = &rows->rows[i];
    qsort(cells, rows->n, sizeof *cells, compare_cells);
    for (size_t first = 0, end; first < rows->n; first = end) {
        for (end = first; end < rows->n && compare_text_and_numbers(cells[first], cells[end]) == 0; end++)
            continue;
        score_cell(total, cells + first, end - first);
    }
    return true;
}

bool pare_fit_leave_out(pare_law_fit *fit, const pare_rows *rows, const pare_lsq *lsq, pare_arena *arena, pare_error *error) {
    score scores[3] = {0};
    score *points = &scores[0], *models = &scores[1], *baseline = &scores[2];
    for (size_t i = 0; i < 3; i++)
        if (!(scores[i].lost = PARE_PUSH(arena, double, rows->n, error)))
            return false;
    leave_out_points(points, rows, lsq);
    if (rows->n_models > 1) {
        leave_out_models(models, fit, rows, lsq);
        if (!score_baseline(baseline, rows, arena, error))
            return false;
    }
    fit->loo_error = score_root(points->relative, points->n);
    fit->loo_error_absolute = score_root(points->absolute, points->n);
    fit->loo_model_error = score_root(models->relative, models->n);
    fit->baseline_l_error = score_root(baseline->relative, baseline->n);
    fit->n_loo = points->n;
    fit->n_lost_model = models->n;
    fit->n_baseline = baseline->n;
    fit->lost_point_error = pare_median(points->lost, points->n);
    fit->lost_model_error = pare_median(models->lost, models->n);
    fit->baseline_lost_error = pare_median(baseline->lost, baseline->n);
    return true;
}

/* ---- larger ratios left out ---------------------------------------------------------------- */

/* ends[k]: the rows with r up to the k-th cut. A cut at every ratio, or at 32 of them evenly by rank. */
static size_t find_cuts(size_t ends[MAX_CUTS], const pare_rows *rows) {
    size_t n_ratios = 0, n_cuts = 0, seen = 0;
    for (size_t i = 0; i < rows->n; i++)
        n_ratios += i + 1 == rows->n || rows->rows[i + 1].r > rows->rows[i].r;
    for (size_t i = 0; i < rows->n; i++) {
        if (i + 1 < rows->n && rows->rows[i + 1].r == rows->rows[i].r)
            continue;
        seen++;
        if (n_ratios <= MAX_CUTS || seen * MAX_CUTS / n_ratios > n_cuts)
            ends[n_cuts++] = i + 1;
    }
    return n_cuts;
}

/* A row that the others do not determine has an infinite error. */
static double left_out(const pare_rows *rows, const pare_lsq *lsq, size_t i) {
    const pare_row *row = &rows->rows[i];
    if (lsq->leverage[i] > PARE_LSQ_LEVERAGE_LIMIT)
        return (double)INFINITY;
    return pare_rows_loss(rows, pare_rows_response(rows, row) - lsq->residual[i] / (1 - lsq->leverage[i]), row);
}

static pare_law_rolling test_cut(const pare_rows *rows, const pare_lsq *lsq, const size_t *ends, size_t cut, double *lost) {
    pare_law_rolling rolling = {.r_cut = rows->rows[ends[cut] - 1].r, .n_fit = ends[cut], .n_test = rows->n - ends[cut]};
    score inside = {0}, beyond = {.lost = lost};
    for (size_t bin = 0, i = 0; bin <= cut; bin++) {
        score here = {0};
        for (; i < ends[bin]; i++)
            score_add(&here, left_out(rows, lsq, i), &rows->rows[i]);
        inside.relative += here.relative;
        inside.n += here.n;
        rolling.worst_inside = fmax(rolling.worst_inside, score_root(here.relative, here.n));
    }
    for (size_t i = ends[cut]; i < rows->n; i++)
        score_add(&beyond, pare_rows_predict(rows, lsq, &rows->rows[i]), &rows->rows[i]);
    rolling.error_inside = score_root(inside.relative, inside.n);
    rolling.error_beyond = score_root(beyond.relative, beyond.n);
    rolling.lost_beyond = pare_median(lost, beyond.n);
    return rolling;
}

/* A cut whose points have one ratio, or determine fewer terms than all points do, is passed over. */
static bool roll_cut(pare_law_fit *fit, const pare_rows *rows, const size_t *ends, size_t cut, pare_error *error) {
    if (pare_rows_one_ratio(rows, ends[cut]))
        return true;
    pare_error reason = {0};
    pare_lsq lsq;
    pare_arena *scratch = pare_arena_open(error);
    if (!scratch)
        return false;
    double *lost = PARE_PUSH(scratch, double, rows->n, &reason);
    bool solved = lost && pare_rows_solve(&lsq, NULL, rows, ends[cut], scratch, &reason);
    if (solved && lsq.p == fit->law.n_terms)
        fit->rolling[fit->n_rolling++] = test_cut(rows, &lsq, ends, cut, lost);
    pare_arena_close(scratch);
    return solved || reason.code == PARE_ERROR_NUMERIC || pare_fail(error, reason.code, "%s", reason.message);
}

/* Means over the cuts that leave points beyond. */
static void sum_up_rolling(pare_law_fit *fit) {
    double error = 0, lost = 0;
    size_t n = 0;
    for (size_t i = 0; i < fit->n_rolling; i++) {
        if (fit->rolling[i].n_test == 0)
            continue;
        error += fit->rolling[i].error_beyond;
        lost += fit->rolling[i].lost_beyond;
        n++;
    }
    fit->rolling_error = n ? error / (double)n : PARE_NONE;
    fit->lost_rolling_error = n ? lost / (double)n : PARE_NONE;
}

bool pare_fit_roll(pare_law_fit *fit, const pare_rows *rows, pare_arena *arena, pare_error *error) {
    size_t ends[MAX_CUTS], n_cuts = find_cuts(ends, rows);
    fit->rolling = PARE_PUSH(arena, pare_law_rolling, n_cuts, error);
    if (!fit->rolling)
        return false;
    fit->r_carried = PARE_NONE;
    for (size_t cut = 0; cut < n_cuts; cut++) {
        size_t n_before = fit->n_rolling;
        if (!roll_cut(fit, rows, ends, cut, error))
            return false;
        if (fit->n_rolling > n_before && fit->rolling[n_before].worst_inside <= fit->tolerance)
            fit->r_carried = fit->rolling[n_before].r_cut;
    }
    sum_up_rolling(fit);
    return true;
}
