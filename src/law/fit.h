/* fit: the steps of a fit that more than one file takes part in. */
#ifndef PARE_LAW_FIT_H
#define PARE_LAW_FIT_H

#include "forms.h"
#include "lsq.h"

/* A point that takes part, in the order the fit uses: by r, then by everything else. */
typedef struct {
    double r, l0, d, l;
    const char *model;
    size_t model_id; /* by alphabet, < n_models */
    size_t entry;    /* index into fit->residuals */
} pare_row;

typedef struct {
    const pare_form *form;
    const pare_row *rows;
    size_t n, n_models;
    const size_t *by_model;                    /* row indices, model after model */
    size_t terms[PARE_LAW_MAX_TERMS], n_terms; /* what is offered: indices into form->terms */
} pare_rows;

/* Least squares over the first n rows. *x (may be NULL) receives the matrix. */
bool pare_rows_solve(pare_lsq *lsq, double **x, const pare_rows *rows, size_t n, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* Loss at a row by the coefficients of a solve. */
double pare_rows_predict(const pare_rows *rows, const pare_lsq *lsq, const pare_row *row);

/* The largest leverage at which a point still counts as determined by the others. */
#define PARE_LEVERAGE_LIMIT (1 - 1e-10)

/* loo_error, loo_error_absolute, loo_model_error. */
void pare_fit_leave_out(pare_law_fit *fit, const pare_rows *rows, const pare_lsq *lsq);

/* rolling, rolling_error, r_carried; after the law is filled. */
bool pare_fit_roll(pare_law_fit *fit, const pare_rows *rows, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

#endif
