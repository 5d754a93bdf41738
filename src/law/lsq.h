/* lsq: ordinary least squares y = X beta + noise with every diagnostic a fit reports. */
#ifndef PARE_LAW_LSQ_H
#define PARE_LAW_LSQ_H

#include <math.h>

#include "pare/base.h"

#define PARE_NONE ((double)NAN) /* a number that cannot be had */
#define PARE_LSQ_MAX_TERMS 16

/* The largest leverage at which a row, or a cluster, still counts as determined by the others. */
#define PARE_LSQ_LEVERAGE_LIMIT (1 - 1e-10)

typedef struct {
    size_t n, p;                                            /* rows; columns kept */
    size_t kept[PARE_LSQ_MAX_TERMS];                        /* their indices in the X given, ascending */
    double beta[PARE_LSQ_MAX_TERMS];                        /* of the kept columns, as all below */
    double inverse[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS]; /* (X'X)^-1; times sigma^2 it is the covariance of beta */
    double rss, tss, sigma;                                 /* sigma^2 = rss / (n - p) */
    bool centred;                                           /* the kept columns can express a constant: tss is about the mean */
    double r2, r2_adjusted, f, f_degrees, f_p;              /* f on (f_degrees, n - p) */
    double *q;                                              /* (n, p) column by column: an orthonormal basis of the kept columns */
    double *residual, *leverage;                            /* n each, in the arena */
} pare_lsq;

/* X (n, p) column by column. A column whose part that earlier columns cannot express is below `tolerance` of its length is dropped.
 * PARE_ERROR_NUMERIC: no column left, fewer than p + 1 rows, y zero everywhere, or a value that is not finite. */
bool pare_lsq_solve(pare_lsq *lsq, const double *x, const double *y, size_t n, size_t p, double tolerance, pare_arena *arena,
                    pare_error *error) PARE_MUST_CHECK;

/* The step of Q's coordinates when the rows listed are left out: their fitted values move by -Q step. False when the other rows do not
 * determine the fit. */
bool pare_lsq_step_without(double step[PARE_LSQ_MAX_TERMS], const pare_lsq *lsq, const size_t *list, size_t n_list) PARE_MUST_CHECK;

/* The covariance of beta that allows for any correlation within clusters. by_cluster lists the rows cluster after cluster, cluster[i] is
 * that of row i; n_clusters >= 2. CR3 is the jackknife over clusters, (G-1)/G sum (beta_(g) - beta)(beta_(g) - beta)' (Bell, McCaffrey
 * 2002; MacKinnon, Nielsen, Webb 2023). Where the rest does not determine the fit without some cluster, *cr3 is false and the covariance is
 * that of Liang and Zeger (1986) with the factor G/(G-1) (n-1)/(n-p), "CR1". */
void pare_lsq_clustered(double covariance[PARE_LSQ_MAX_TERMS][PARE_LSQ_MAX_TERMS], bool *cr3, const pare_lsq *lsq, const double *x,
                        const size_t *by_cluster, const size_t *cluster, size_t n_clusters);

#endif
