/* forms: the table of laws. A form is a response, a list of terms, and the way back from a rise of the response to a ratio. */
#ifndef PARE_LAW_FORMS_H
#define PARE_LAW_FORMS_H

#include "pare/law.h"

typedef struct {
    const char *name, *equation;
    double (*response)(double l, double l0);
    double (*loss)(double response, double l0); /* the inverse of response in l */
    size_t n_terms;
    struct {
        const char *name, *regressor;
        double (*value)(double l0, double r, double d);
    } terms[PARE_LAW_MAX_TERMS];
    size_t l0_term;       /* the exponent of L0, which counts as 1 where it is not fitted; or PARE_LAW_MAX_TERMS */
    size_t ratio_term;    /* without it the form says nothing about r */
    size_t recovery_term; /* the D term, or PARE_LAW_MAX_TERMS */
    /* The smallest r >= 0 at which the terms in r alone amount to `rise`, or NAN; beta by the order of `terms`. */
    double (*ratio_at)(const double *beta, double rise);
} pare_form;

const pare_form *pare_form_of(pare_law_form form);

/* What the response holds beside the fitted terms: ln L0 where the exponent of L0 is held at 1, else 0. */
double pare_form_offset(const pare_form *form, bool fits_l0, double l0);

/* Whether the exponent of L0 is among the law's coefficients. */
bool pare_law_fits_l0(const pare_law *law);

/* Degrees of Student's t for one coefficient (an index below n_terms), and for an interval of the law as a whole. */
double pare_law_degrees_of(const pare_law *law, size_t coefficient);
double pare_law_interval_degrees(const pare_law *law);

/* The response of `law` at a point; x (may be NULL) receives the row of regressors of the law's kept terms. */
double pare_law_response(const pare_law *law, double l0, double r, double d, double x[PARE_LAW_MAX_TERMS]);

/* The index in the form's table of the term called `name`, or PARE_LAW_MAX_TERMS. */
size_t pare_form_term(const pare_form *form, const char *name);

#endif
