/* lsq: ordinary least squares y = X beta + noise with every diagnostic a fit reports. */
#ifndef PARE_LAW_LSQ_H
#define PARE_LAW_LSQ_H

#include <math.h>

#include "pare/base.h"

#define PARE_NONE ((double)NAN) /* a number that cannot be had */
#define PARE_LSQ_MAX_TERMS 16

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

/* Standard errors that allow for correlation within clusters (the sandwich of Liang and Zeger 1986 with the factor
 * G/(G-1) (n-1)/(n-p), "CR1"). cluster[i] < n_clusters for each row; n_clusters >= 2. */
bool pare_lsq_clustered(double *standard_error, const pare_lsq *lsq, const double *x, const size_t *cluster, size_t n_clusters,
                        pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

#endif
