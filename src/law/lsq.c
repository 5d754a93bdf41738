/* lsq: least squares by Householder QR (Golub, Van Loan, Matrix Computations, 5.3), X = Q R: beta = R^-1 Q'y, hat matrix Q Q',
 * (X'X)^-1 = R^-1 R^-T. Two steps of iterative refinement in extended precision (A. Bjoerck, "Iterative refinement of linear least squares
 * solutions", BIT 7, 1967) give back the digits that an ill-conditioned X costs. */
#include "lsq.h"

#include <math.h>
#include <string.h>

#include "lapack.h"
#include "pare/law.h"

typedef struct {
    const double *x, *y; /* as given */
    int n, p;            /* columns kept */
    double *qr;          /* (n, p): reflectors and R, later Q */
    double *tau, *work;
    int n_work;
} solver;

static double column_norm(const double *column, size_t n) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (long double)column[i] * (long double)column[i];
    return (double)sqrtl(sum);
}

/* Factors the kept columns; true when all of them count, else *alias is the first (in kept) that the ones before it express. */
static bool factor(solver *s, const pare_lsq *lsq, double tolerance, size_t *alias) {
    int info;
    s->p = (int)lsq->p;
    for (size_t j = 0; j < lsq->p; j++)
        memcpy(s->qr + j * lsq->n, s->x + lsq->kept[j] * lsq->n, lsq->n * sizeof *s->qr);
    dgeqrf_(&s->n, &s->p, s->qr, &s->n, s->tau, s->work, &s->n_work, &info);
    for (size_t j = 0; j < lsq->p && j < lsq->n; j++) {
        if (fabs(s->qr[j + j * lsq->n]) <= tolerance * column_norm(s->x + lsq->kept[j] * lsq->n, lsq->n)) {
            *alias = j;
            return false;
        }
    }
    return true;
}

static void rotate(const solver *s, double *vector, bool transpose) {
    int one = 1, info;
    dormqr_("L", transpose ? "T" : "N", &s->n, &one, &s->p, s->qr, &s->n, s->tau, vector, &s->n, s->work, &s->n_work, &info, 1, 1);
}

/* What the residuals lack: gap = y - residual - X beta, and slope = -X' residual, summed in extended precision. */
static void find_gaps(const solver *s, const pare_lsq *lsq, double *gap, double *slope) {
    for (size_t i = 0; i < lsq->n; i++) {
        long double sum = (long double)s->y[i] - (long double)lsq->residual[i];
        for (size_t j = 0; j < lsq->p; j++)
            sum -= (long double)s->x[i + lsq->kept[j] * lsq->n] * (long double)lsq->beta[j];
        gap[i] = (double)sum;
    }
    for (size_t j = 0; j < lsq->p; j++) {
        long double sum = 0;
        for (size_t i = 0; i < lsq->n; i++)
            sum -= (long double)s->x[i + lsq->kept[j] * lsq->n] * (long double)lsq->residual[i];
        slope[j] = (double)sum;
    }
}

/* Solves  residual + X beta = y,  X' residual = 0  together: each step solves the same system for what is still lacking,
 *   u = R^-T slope,  v = Q' gap,  beta += R^-1 (v_1..p - u),  residual += Q (u, v_p+1..n).  The first step is plain QR. */
static void find_coefficients(const solver *s, pare_lsq *lsq, double *gap) {
    size_t n = lsq->n, p = lsq->p;
    memset(lsq->beta, 0, sizeof lsq->beta);
    for (int step = 0; step < 3; step++) {
        double u[PARE_LSQ_MAX_TERMS], v[PARE_LSQ_MAX_TERMS];
        find_gaps(s, lsq, gap, u);
        rotate(s, gap, true);
        for (size_t j = 0; j < p; j++) {
            for (size_t k = 0; k < j; k++)
                u[j] -= s->qr[k + j * n] * u[k];
            u[j] /= s->qr[j + j * n];
            v[j] = gap[j] - u[j];
            gap[j] = u[j];
        }
        for (size_t j = p; j-- > 0;) {
            for (size_t k = j + 1; k < p; k++)
                v[j] -= s->qr[j + k * n] * v[k];
            v[j] /= s->qr[j + j * n];
            lsq->beta[j] += v[j];
        }
        rotate(s, gap, false);
        for (size_t i = 0; i < n; i++)
            lsq->residual[i] += gap[i];
    }
}

/* Does the constant lie in the span of the columns? Q' 1 then has nothing below its first p entries. */
static bool spans_constant(const solver *s, size_t n, size_t p, double *vector) {
    for (size_t i = 0; i < n; i++)
        vector[i] = 1;
    rotate(s, vector, true);
    return column_norm(vector + p, n - p) <= 1e-10 * sqrt((double)n);
}

static void find_inverse(const solver *s, pare_lsq *lsq) {
    double r[PARE_LSQ_MAX_TERMS * PARE_LSQ_MAX_TERMS] = {0};
    size_t p = lsq->p;
    int info;
    for (size_t k = 0; k < p; k++)
        for (size_t j = 0; j <= k; j++)
            r[j + k * p] = s->qr[j + k * lsq->n];
    dtrtri_("U", "N", &s->p, r, &s->p, &info, 1, 1);
    for (size_t i = 0; i < p; i++)
        for (size_t j = 0; j < p; j++) {
            double sum = 0;
            for (size_t k = i > j ? i : j; k < p; k++)
                sum += r[i + k * p] * r[j + k * p];
            lsq->inverse[i][j] = sum;
        }
}

static void find_leverage(const solver *s, pare_lsq *lsq) {
    int info;
    dorgqr_(&s->n, &s->p, &s->p, s->qr, &s->n, s->tau, s->work, &s->n_work, &info);
    lsq->q = s->qr;
    for (size_t i = 0; i < lsq->n; i++) {
        double sum = 0;
        for (size_t j = 0; j < lsq->p; j++)
            sum += lsq->q[i + j * lsq->n] * lsq->q[i + j * lsq->n];
        lsq->leverage[i] = fmin(sum, 1);
    }
}

/* R2, its adjusted form and F as statsmodels defines them: about the mean where the columns express a constant, about zero otherwise.
 * One column that is itself the constant leaves no slope to test, so it counts as uncentred. */
static void find_quality(pare_lsq *lsq, const double *y) {
    double n = (double)lsq->n, p = (double)lsq->p;
    long double sum = 0, rss = 0, tss = 0, squares = 0;
    for (size_t i = 0; i < lsq->n; i++)
        sum += (long double)y[i];
    long double mean = lsq->centred ? sum / (long double)lsq->n : 0;
    for (size_t i = 0; i < lsq->n; i++) {
        tss += ((long double)y[i] - mean) * ((long double)y[i] - mean);
        squares += (long double)y[i] * (long double)y[i];
        rss += (long double)lsq->residual[i] * (long double)lsq->residual[i];
    }
    double constants = lsq->centred ? 1 : 0;
    lsq->rss = (double)rss;
    lsq->tss = (double)tss;
    lsq->sigma = sqrt(lsq->rss / (n - p));
    lsq->f_degrees = p - constants;
    lsq->r2 = lsq->r2_adjusted = lsq->f = lsq->f_p = PARE_NONE;
    if (tss <= 1e-30L * squares) /* rounding: y does not vary */
        return;
    lsq->r2 = 1 - lsq->rss / lsq->tss;
    lsq->r2_adjusted = 1 - (n - constants) / (n - p) * (1 - lsq->r2);
    lsq->f = fmax((double)(tss - rss), 0) / lsq->f_degrees / (lsq->rss / (n - p)); /* infinite when rss is 0 */
    lsq->f_p = pare_fisher_p(lsq->f, lsq->f_degrees, n - p);
}

static bool open_solver(solver *s, pare_lsq *lsq, const double *x, const double *y, size_t n, size_t p, pare_arena *arena,
                        pare_error *error) {
    *s = (solver){.x = x, .y = y, .n = (int)n, .n_work = 64 * PARE_LSQ_MAX_TERMS};
    *lsq = (pare_lsq){.n = n, .p = p};
    if (p == 0 || p > PARE_LSQ_MAX_TERMS || n > (1U << 30))
        return pare_fail(error, PARE_ERROR_RANGE, "least squares: %zu rows of %zu columns", n, p);
    for (size_t j = 0; j < p; j++)
        lsq->kept[j] = j;
    if (n == 0)
        return pare_fail(error, PARE_ERROR_NUMERIC, "there is no point to fit");
    bool finite = true, zero = true;
    for (size_t i = 0; i < n; i++) {
        finite = finite && isfinite(y[i]);
        zero = zero && y[i] == 0;
        for (size_t j = 0; j < p; j++)
            finite = finite && isfinite(x[i + j * n]);
    }
    if (!finite)
        return pare_fail(error, PARE_ERROR_NUMERIC, "a value of the fit is not finite");
    if (zero)
        return pare_fail(error, PARE_ERROR_NUMERIC, "the response is zero in all %zu points: nothing to fit", n);
    lsq->residual = PARE_PUSH(arena, double, n, error);
    lsq->leverage = PARE_PUSH(arena, double, n, error);
    s->qr = PARE_PUSH(arena, double, n *p, error);
    s->tau = PARE_PUSH(arena, double, p, error);
    s->work = PARE_PUSH(arena, double, (size_t)s->n_work, error);
    return lsq->residual && lsq->leverage && s->qr && s->tau && s->work;
}

bool pare_lsq_solve(pare_lsq *lsq, const double *x, const double *y, size_t n, size_t p, double tolerance, pare_arena *arena,
                    pare_error *error) {
    solver s;
    if (!open_solver(&s, lsq, x, y, n, p, arena, error))
        return false;
    double *vector = PARE_PUSH(arena, double, n, error);
    if (!vector)
        return false;
    openblas_set_num_threads(1);
    size_t alias;
    while (lsq->p > 0 && !factor(&s, lsq, tolerance, &alias)) {
        lsq->p--;
        memmove(lsq->kept + alias, lsq->kept + alias + 1, (lsq->p - alias) * sizeof *lsq->kept);
    }
    if (lsq->p == 0)
        return pare_fail(error, PARE_ERROR_NUMERIC, "every regressor is zero");
    if (n <= lsq->p)
        return pare_fail(error, PARE_ERROR_NUMERIC, "%zu coefficient%s need%s at least %zu points, there %s %zu", lsq->p,
                         lsq->p > 1 ? "s" : "", lsq->p > 1 ? "" : "s", lsq->p + 1, n > 1 ? "are" : "is", n);
    find_coefficients(&s, lsq, vector);
    for (size_t j = 0; j < lsq->p; j++)
        if (!isfinite(lsq->beta[j]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "the numbers are too large: a coefficient is not finite");
    lsq->centred = lsq->p > 1 && spans_constant(&s, n, lsq->p, vector);
    find_inverse(&s, lsq);
    find_leverage(&s, lsq); /* turns the reflectors into Q: after all that needs them */
    find_quality(lsq, y);
    return true;
}

bool pare_lsq_step_without(double step[PARE_LSQ_MAX_TERMS], const pare_lsq *lsq, const size_t *list, size_t n_list) {
    double left[PARE_LSQ_MAX_TERMS * PARE_LSQ_MAX_TERMS] = {0};
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
        if (left[j + j * lsq->p] * left[j + j * lsq->p] <= 1 - PARE_LSQ_LEVERAGE_LIMIT)
            return false;
    return info == 0;
}

/* beta by Q's coordinates: (X'X)^-1 X'Q, which is R^-1. */
static void find_way_back(double way[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS], const pare_lsq *lsq, const double *x) {
    for (size_t j = 0; j < lsq->p; j++)
        for (size_t k = 0; k < lsq->p; k++) {
            long double sum = 0;
            for (size_t m = 0; m < lsq->p; m++) {
                long double product = 0;
                for (size_t i = 0; i < lsq->n; i++)
                    product += (long double)x[i + lsq->kept[m] * lsq->n] * (long double)lsq->q[i + k * lsq->n];
                sum += (long double)lsq->inverse[j][m] * product;
            }
            way[j][k] = (double)sum;
        }
}

/* Sum over clusters of the outer products of what leaving each out (jackknife), or its score alone, moves beta by. */
static bool sum_moves(double covariance[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS], const pare_lsq *lsq, const double *x,
                      const size_t *by_cluster, const size_t *cluster, bool jackknife) {
    double way[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS];
    find_way_back(way, lsq, x);
    memset(covariance, 0, PARE_LSQ_MAX_TERMS * sizeof *covariance);
    for (size_t first = 0, end; first < lsq->n; first = end) {
        double step[PARE_LSQ_MAX_TERMS] = {0}, move[PARE_LSQ_MAX_TERMS] = {0};
        for (end = first; end < lsq->n && cluster[by_cluster[end]] == cluster[by_cluster[first]]; end++)
            for (size_t j = 0; j < lsq->p; j++)
                step[j] += lsq->q[by_cluster[end] + j * lsq->n] * lsq->residual[by_cluster[end]];
        if (jackknife && !pare_lsq_step_without(step, lsq, by_cluster + first, end - first))
            return false;
        for (size_t j = 0; j < lsq->p; j++)
            for (size_t k = 0; k < lsq->p; k++)
                move[j] += way[j][k] * step[k];
        for (size_t j = 0; j < lsq->p; j++)
            for (size_t k = 0; k < lsq->p; k++)
                covariance[j][k] += move[j] * move[k];
    }
    return true;
}

void pare_lsq_clustered(double covariance[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS], bool *cr3, const pare_lsq *lsq, const double *x,
                        const size_t *by_cluster, const size_t *cluster, size_t n_clusters) {
    double groups = (double)n_clusters, rows = (double)lsq->n;
    *cr3 = sum_moves(covariance, lsq, x, by_cluster, cluster, true);
    double factor = *cr3 ? (groups - 1) / groups : groups / (groups - 1) * (rows - 1) / (rows - (double)lsq->p);
    if (!*cr3)
        (void)sum_moves(covariance, lsq, x, by_cluster, cluster, false);
    for (size_t j = 0; j < lsq->p; j++)
        for (size_t k = 0; k < lsq->p; k++)
            covariance[j][k] *= factor;
}
