/* fit: the steps of a fit that more than one file takes part in. */
#ifndef PARE_LAW_FIT_H
#define PARE_LAW_FIT_H

#include "forms.h"
#include "lsq.h"

/* A point that takes part, in the order the fit uses: by r, then by everything else. */
typedef struct {
    double r, l0, d, l;
    double nominal; /* the nominal ratio where it is known, else r: what tells the cells of a grid apart */
    const char *model, *method;
    size_t model_id; /* by alphabet, < n_models */
    size_t entry;    /* index into fit->residuals */
} pare_row;

typedef struct {
    const pare_form *form;
    const pare_row *rows;
    size_t n, n_models;
    const size_t *by_model;                    /* row indices, model after model */
    size_t terms[PARE_LAW_MAX_TERMS], n_terms; /* what is offered: indices into form->terms */
    bool fits_l0;                              /* the exponent of L0 is among them */
} pare_rows;

/* select.c: judges the group's points; rows in the order of the fit, fit->residuals in the caller's order. */
bool pare_rows_select(pare_rows *rows, pare_law_fit *fit, const pare_law_points *points, const char *method,
                      const pare_law_options *options, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* What least squares fits at a row, and the loss that belongs to such a number. */
double pare_rows_response(const pare_rows *rows, const pare_row *row);
double pare_rows_loss(const pare_rows *rows, double response, const pare_row *row);

/* Ratios so near to each other that a slope between them would be noise count as one. */
bool pare_rows_one_ratio(const pare_rows *rows, size_t n);

/* A sentence for fit->notes; more than there is place for are dropped. */
bool pare_fit_note(pare_law_fit *fit, pare_arena *arena, pare_error *error, const char *format, ...) PARE_PRINTF(4, 5);

/* notes.c: what a reader of the fit should know. */
bool pare_fit_write_notes(pare_law_fit *fit, const pare_rows *rows, const pare_law_points *points, pare_arena *arena,
                          pare_error *error) PARE_MUST_CHECK;

/* Least squares over the first n rows. *x (may be NULL) receives the matrix. */
bool pare_rows_solve(pare_lsq *lsq, double **x, const pare_rows *rows, size_t n, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* Loss at a row by the coefficients of a solve. */
double pare_rows_predict(const pare_rows *rows, const pare_lsq *lsq, const pare_row *row);

/* All errors of points and models left out, and those of the mean of the other models. */
bool pare_fit_leave_out(pare_law_fit *fit, const pare_rows *rows, const pare_lsq *lsq, pare_arena *arena,
                        pare_error *error) PARE_MUST_CHECK;

/* median.c: the median of n values, which are reordered; NAN for none or where it is infinite. */
double pare_median(double *values, size_t n);
/* |predicted - l| as a share of what was lost, l - l0; infinite where nothing was lost. */
double pare_lost_error(double predicted, double l, double l0);

/* rolling, rolling_error, r_carried; after the law is filled. */
bool pare_fit_roll(pare_law_fit *fit, const pare_rows *rows, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

#endif
