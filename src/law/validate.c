/* validate: how well a form predicts what it has not seen: a point left out, a model left out, larger ratios left out.
 *
 * Leaving out needs no second fit. With X = Q R and the residuals e of the full fit, leaving out the rows g moves the fitted values by
 * -Q (I - Qg'Qg)^-1 Qg'e_g; for one row i this is the textbook e_i / (1 - h_ii). */
#include <string.h>

#include "fit.h"
#include "lapack.h"

enum { MAX_CUTS = 32 };

/* Sums squares of relative and absolute errors of predicted losses. */
typedef struct {
    long double relative, absolute;
    size_t n;
} score;

static void score_add(score *s, double predicted, double l) {
    long double missed = (long double)predicted - (long double)l;
    s->relative += missed / (long double)l * (missed / (long double)l);
    s->absolute += missed * missed;
    s->n++;
}

static double score_root(long double sum, size_t n) {
    return n ? sqrt((double)(sum / (long double)n)) : PARE_NONE;
}

/* The step of Q's coordinates when the rows listed are left out; false when the others do not determine the fit. */
static bool step_without(double *step, const pare_lsq *lsq, const size_t *list, size_t n_list) {
    double left[PARE_LAW_MAX_TERMS * PARE_LAW_MAX_TERMS] = {0};
    int p = (int)lsq->p, one = 1, info;
    memset(step, 0, lsq->p * sizeof *step);
    for (size_t j = 0; j < lsq->p; j++)
        left[j + j * lsq->p] = 1;
    for (size_t i = 0; i < n_list; i++) {
        for (size_t j = 0; j < lsq->p; j++) {
            double q = lsq->q[list[i] + j * lsq->n];
            step[j] += q * lsq->residual[list[i]];
            for (size_t k = 0; k < lsq->p; k++)
                left[j + k * lsq->p] -= q * lsq->q[list[i] + k * lsq->n];
        }
    }
    dposv_("U", &p, &one, left, &p, step, &p, &info, 1);
    for (size_t j = 0; j < lsq->p && info == 0; j++)
        if (left[j + j * lsq->p] * left[j + j * lsq->p] <= 1 - PARE_LEVERAGE_LIMIT)
            return false;
    return info == 0;
}

static void leave_out_models(score *total, const pare_rows *rows, const pare_lsq *lsq) {
    for (size_t first = 0, end; first < rows->n; first = end) {
        size_t model = rows->rows[rows->by_model[first]].model_id;
        for (end = first; end < rows->n && rows->rows[rows->by_model[end]].model_id == model; end++)
            continue;
        double step[PARE_LSQ_MAX_TERMS];
        if (!step_without(step, lsq, rows->by_model + first, end - first))
            continue;
        for (size_t i = first; i < end; i++) {
            size_t at = rows->by_model[i];
            const pare_row *row = &rows->rows[at];
            double y = rows->form->response(row->l, row->l0) - lsq->residual[at];
            for (size_t j = 0; j < lsq->p; j++)
                y -= lsq->q[at + j * lsq->n] * step[j];
            score_add(total, rows->form->loss(y, row->l0), row->l);
        }
    }
}

void pare_fit_leave_out(pare_law_fit *fit, const pare_rows *rows, const pare_lsq *lsq) {
    score points = {0}, models = {0};
    for (size_t i = 0; i < rows->n; i++) {
        const pare_row *row = &rows->rows[i];
        if (lsq->leverage[i] > PARE_LEVERAGE_LIMIT)
            continue;
        double y = rows->form->response(row->l, row->l0) - lsq->residual[i] / (1 - lsq->leverage[i]);
        score_add(&points, rows->form->loss(y, row->l0), row->l);
    }
    if (rows->n_models > 1)
        leave_out_models(&models, rows, lsq);
    fit->loo_error = score_root(points.relative, points.n);
    fit->loo_error_absolute = score_root(points.absolute, points.n);
    fit->n_loo = points.n;
    fit->loo_model_error = score_root(models.relative, models.n);
}

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

static pare_law_rolling test_cut(const pare_rows *rows, const pare_lsq *lsq, const size_t *ends, size_t cut) {
    pare_law_rolling rolling = {.r_cut = rows->rows[ends[cut] - 1].r, .n_fit = ends[cut], .n_test = rows->n - ends[cut]};
    score inside = {0}, beyond = {0};
    for (size_t bin = 0, i = 0; bin <= cut; bin++) {
        score here = {0};
        for (; i < ends[bin]; i++)
            score_add(&here, pare_rows_predict(rows, lsq, &rows->rows[i]), rows->rows[i].l);
        inside.relative += here.relative;
        inside.n += here.n;
        rolling.worst_inside = fmax(rolling.worst_inside, score_root(here.relative, here.n));
    }
    for (size_t i = ends[cut]; i < rows->n; i++)
        score_add(&beyond, pare_rows_predict(rows, lsq, &rows->rows[i]), rows->rows[i].l);
    rolling.error_inside = score_root(inside.relative, inside.n);
    rolling.error_beyond = score_root(beyond.relative, beyond.n);
    return rolling;
}

/* A cut whose points determine fewer terms than all points do is passed over. */
static bool roll_cut(pare_law_fit *fit, const pare_rows *rows, const size_t *ends, size_t cut, pare_error *error) {
    pare_error reason = {0};
    pare_lsq lsq;
    pare_arena *scratch = pare_arena_open(error);
    if (!scratch)
        return false;
    bool solved = pare_rows_solve(&lsq, NULL, rows, ends[cut], scratch, &reason);
    if (solved && lsq.p == fit->law.n_terms)
        fit->rolling[fit->n_rolling++] = test_cut(rows, &lsq, ends, cut);
    pare_arena_close(scratch);
    return solved || reason.code == PARE_ERROR_NUMERIC || pare_fail(error, reason.code, "%s", reason.message);
}

bool pare_fit_roll(pare_law_fit *fit, const pare_rows *rows, pare_arena *arena, pare_error *error) {
    size_t ends[MAX_CUTS], n_cuts = find_cuts(ends, rows), n_beyond = 0;
    fit->rolling = PARE_PUSH(arena, pare_law_rolling, n_cuts, error);
    if (!fit->rolling)
        return false;
    fit->r_carried = PARE_NONE;
    double sum = 0;
    for (size_t cut = 0; cut < n_cuts; cut++) {
        size_t n_before = fit->n_rolling;
        if (!roll_cut(fit, rows, ends, cut, error))
            return false;
        if (fit->n_rolling == n_before)
            continue;
        const pare_law_rolling *last = &fit->rolling[n_before];
        if (last->worst_inside <= fit->tolerance)
            fit->r_carried = last->r_cut;
        if (last->n_test) {
            sum += last->error_beyond;
            n_beyond++;
        }
    }
    fit->rolling_error = n_beyond ? sum / (double)n_beyond : PARE_NONE;
    return true;
}
