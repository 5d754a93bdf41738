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
    size_t ratio_term;    /* without it the form says nothing about r */
    size_t recovery_term; /* the D term, or PARE_LAW_MAX_TERMS */
    /* The smallest r >= 0 at which the terms in r alone amount to `rise`, or NAN; beta by the order of `terms`. */
    double (*ratio_at)(const double *beta, double rise);
} pare_form;

const pare_form *pare_form_of(pare_law_form form);

/* The response of `law` at a point; x (may be NULL) receives the row of regressors of the law's kept terms. */
double pare_law_response(const pare_law *law, double l0, double r, double d, double x[PARE_LAW_MAX_TERMS]);

/* The index in the form's table of the term called `name`, or PARE_LAW_MAX_TERMS. */
size_t pare_form_term(const pare_form *form, const char *name);

#endif
