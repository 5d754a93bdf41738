/* forms: the table of laws; see forms.h. arXiv 2504.04342 v1 (forms v1, v1i and the "quadratic" of its abstract) and v2.
 *
 * Terms are listed so that the one to keep comes first: least squares drops a term that earlier terms can express.
 * The exponent of L0 is fitted only where three dense models or more differ enough in L0; elsewhere it is held at 1. */
#include "forms.h"

#include <math.h>
#include <string.h>

#include "lsq.h"

static double log_loss(double l, double l0) {
    (void)l0;
    return log(l);
}

static double exp_response(double y, double l0) {
    (void)l0;
    return exp(y);
}

static double log_factor(double l, double l0) {
    return log(l / l0);
}

static double exp_factor(double y, double l0) {
    return l0 * exp(y);
}

static double excess(double l, double l0) {
    return l / l0 - 1;
}

static double from_excess(double y, double l0) {
    return l0 * (1 + y);
}

static double term_l0(double l0, double r, double d) {
    (void)r, (void)d;
    return log(l0);
}

static double term_grown(double l0, double r, double d) {
    (void)l0, (void)d;
    return log1p(r);
}

static double term_kept(double l0, double r, double d) {
    (void)l0, (void)d;
    return log1p(-r);
}

static double term_recovery(double l0, double r, double d) {
    (void)l0, (void)r;
    return log1p(1 / (d + 1));
}

static double term_r(double l0, double r, double d) {
    (void)l0, (void)d;
    return r;
}

static double term_r2(double l0, double r, double d) {
    (void)l0, (void)d;
    return r * r;
}

static double term_one(double l0, double r, double d) {
    (void)l0, (void)r, (void)d;
    return 1;
}

/* b ln(1+r) = rise */
static double ratio_grown(const double *beta, double rise) {
    return expm1(rise / beta[1]);
}

/* a ln(1-r) = rise */
static double ratio_kept(const double *beta, double rise) {
    return -expm1(rise / beta[0]);
}

/* a r + b r^2 = rise, by the root formula that does not cancel */
static double ratio_quadratic(const double *beta, double rise) {
    double a = beta[0], b = beta[1];
    if (b == 0)
        return rise / a;
    double discriminant = a * a + 4 * b * rise;
    if (discriminant < 0)
        return PARE_NONE;
    double q = -0.5 * (a + copysign(sqrt(discriminant), a));
    double first = q / b, second = q == 0 ? 0 : -rise / q;
    double low = fmin(first, second), high = fmax(first, second);
    return low >= 0 ? low : high;
}

static const pare_form forms[PARE_LAW_N_FORMS] = {
    [PARE_LAW_V1] = {"v1",
                     "ln L = a ln L0 + b ln(1+r) [+ c ln(1 + 1/(D+1))]",
                     log_loss,
                     exp_response,
                     3,
                     {{"a", "ln L0", term_l0}, {"b", "ln(1+r)", term_grown}, {"c", "ln(1 + 1/(D+1))", term_recovery}},
                     0,
                     1,
                     2,
                     ratio_grown},
    [PARE_LAW_V1I] =
        {"v1i",
         "ln L = a ln L0 + b ln(1+r) [+ c ln(1 + 1/(D+1))] + constant",
         log_loss,
         exp_response,
         4,
         {{"a", "ln L0", term_l0}, {"b", "ln(1+r)", term_grown}, {"c", "ln(1 + 1/(D+1))", term_recovery}, {"constant", "1", term_one}},
         0,
         1,
         2,
         ratio_grown},
    [PARE_LAW_V2] = {"v2",
                     "ln L = ln L0 + ln P0 + a ln(1-r)",
                     log_factor,
                     exp_factor,
                     2,
                     {{"a", "ln(1-r)", term_kept}, {"ln_p0", "1", term_one}},
                     PARE_LAW_MAX_TERMS,
                     0,
                     PARE_LAW_MAX_TERMS,
                     ratio_kept},
    [PARE_LAW_QUADRATIC] = {"quadratic",
                            "L/L0 = 1 + a r + b r^2",
                            excess,
                            from_excess,
                            2,
                            {{"a", "r", term_r}, {"b", "r^2", term_r2}},
                            PARE_LAW_MAX_TERMS,
                            0,
                            PARE_LAW_MAX_TERMS,
                            ratio_quadratic},
};

const pare_form *pare_form_of(pare_law_form form) {
    return &forms[form];
}

const char *pare_law_form_name(pare_law_form form) {
    return forms[form].name;
}

const char *pare_law_form_equation(pare_law_form form) {
    return forms[form].equation;
}

/* Finds `word` among the n names that name_of gives. */
static bool parse_name(size_t *at, const char *word, const char *const *names, size_t n, const char *what, pare_error *error) {
    for (*at = 0; *at < n; ++*at)
        if (strcmp(word, names[*at]) == 0)
            return true;
    pare_string list = {0};
    for (size_t i = 0; i < n; i++)
        pare_string_print(&list, "%s%s", i ? ", " : "", names[i]);
    const char *near = pare_nearest(word, names, n);
    pare_fail(error, PARE_ERROR_USAGE, "unknown %s \"%.60s\"%s%s%s There are %s", what, word, near ? "; did you mean " : "",
              near ? near : "", near ? "?" : ".", list.failed ? "others" : list.data);
    pare_string_free(&list);
    return false;
}

bool pare_law_form_parse(pare_law_form *form, const char *name, pare_error *error) {
    const char *names[PARE_LAW_N_FORMS];
    for (size_t i = 0; i < PARE_LAW_N_FORMS; i++)
        names[i] = forms[i].name;
    size_t at;
    if (!parse_name(&at, name, names, PARE_LAW_N_FORMS, "form", error))
        return false;
    *form = (pare_law_form)at;
    return true;
}

static const char *const ratio_names[PARE_LAW_N_RATIOS] = {"nominal", "non_embedding", "parameters", "bytes", "macs"};

const char *pare_law_ratio_name(pare_law_ratio ratio) {
    return ratio_names[ratio];
}

bool pare_law_ratio_parse(pare_law_ratio *ratio, const char *name, pare_error *error) {
    size_t at;
    if (!parse_name(&at, name, ratio_names, PARE_LAW_N_RATIOS, "kind of ratio", error))
        return false;
    *ratio = (pare_law_ratio)at;
    return true;
}

static const char *const errors_names[PARE_LAW_N_ERRORS] = {"classical", "CR1", "CR3"};

const char *pare_law_errors_name(pare_law_errors errors) {
    return errors_names[errors];
}

bool pare_law_errors_parse(pare_law_errors *errors, const char *name, pare_error *error) {
    size_t at;
    if (!parse_name(&at, name, errors_names, PARE_LAW_N_ERRORS, "kind of standard error", error))
        return false;
    *errors = (pare_law_errors)at;
    return true;
}

size_t pare_form_term(const pare_form *form, const char *name) {
    for (size_t i = 0; i < form->n_terms; i++)
        if (strcmp(name, form->terms[i].name) == 0)
            return i;
    return PARE_LAW_MAX_TERMS;
}

double pare_form_offset(const pare_form *form, bool fits_l0, double l0) {
    return form->l0_term < PARE_LAW_MAX_TERMS && !fits_l0 ? log(l0) : 0;
}

bool pare_law_fits_l0(const pare_law *law) {
    const pare_form *form = pare_form_of(law->form);
    for (size_t j = 0; j < law->n_terms; j++)
        if (form->l0_term < PARE_LAW_MAX_TERMS && strcmp(law->coefficients[j].name, form->terms[form->l0_term].name) == 0)
            return true;
    return false;
}

/* Errors clustered by model rest on as many independent results as there are models; the exponent of L0 takes one more, because L0 is
 * one number per model. */
double pare_law_degrees_of(const pare_law *law, size_t coefficient) {
    const pare_form *form = pare_form_of(law->form);
    if (law->errors == PARE_LAW_ERRORS_CLASSICAL)
        return law->degrees;
    return (double)law->n_models - 1 - (pare_form_term(form, law->coefficients[coefficient].name) == form->l0_term);
}

double pare_law_interval_degrees(const pare_law *law) {
    if (law->errors == PARE_LAW_ERRORS_CLASSICAL)
        return law->degrees;
    return (double)law->n_models - 1 - pare_law_fits_l0(law);
}

double pare_law_response(const pare_law *law, double l0, double r, double d, double x[PARE_LAW_MAX_TERMS]) {
    const pare_form *form = pare_form_of(law->form);
    double y = pare_form_offset(form, pare_law_fits_l0(law), l0);
    for (size_t j = 0; j < law->n_terms; j++) {
        double value = form->terms[pare_form_term(form, law->coefficients[j].name)].value(l0, r, d);
        y += law->coefficients[j].value * value;
        if (x)
            x[j] = value;
    }
    return y;
}
