/* predict: a law and a question (l0, r, d) -> the loss with its intervals; and the way back, a threshold -> the critical ratio.
 *
 * The response y = x'beta has variance v = x' Cov x, Cov clustered by model where there are several; the mean lies in y +- t sqrt(v), a new
 * measurement in y +- t sqrt(v + sigma^2), t the quantile of Student's distribution; the ends are carried through the inverse of the
 * response. */
#include <stdio.h>
#include <string.h>

#include "forms.h"
#include "lsq.h"

static double variance(const pare_law *law, const double *x) {
    double sum = 0;
    for (size_t j = 0; j < law->n_terms; j++)
        for (size_t k = 0; k < law->n_terms; k++)
            sum += x[j] * law->covariance[j][k] * x[k];
    return fmax(sum, 0);
}

static bool check_level(double *level, pare_error *error) {
    if (*level == 0)
        *level = 0.95;
    if (!(*level > 0 && *level < 1))
        return pare_fail(error, PARE_ERROR_RANGE, "level %g of an interval is outside (0, 1)", *level);
    return true;
}

static bool check_question(double l0, double r, double d, pare_error *error) {
    if (!(isfinite(l0) && l0 > 0))
        return pare_fail(error, PARE_ERROR_RANGE, "l0 = %g: the loss of the dense model must be above 0", l0);
    if (!(r >= 0 && r < 1))
        return pare_fail(error, PARE_ERROR_RANGE, "ratio %g is outside [0, 1)", r);
    if (!(isfinite(d) && d >= 0))
        return pare_fail(error, PARE_ERROR_RANGE, "d = %g: million recovery tokens cannot be below 0", d);
    return true;
}

/* Inside, give or take a share of the largest. */
static bool within(double value, double low, double high, double share) {
    double slack = share * fmax(fabs(low), fabs(high));
    return value >= low - slack && value <= high + slack;
}

/* The last digits of r and D that people type, and of an L0 that another kernel measured. */
static const double typed = 1e-9, measured = 1e-3;

static bool fits_recovery(const pare_law *law) {
    const pare_form *form = pare_form_of(law->form);
    for (size_t j = 0; j < law->n_terms; j++)
        if (pare_form_term(form, law->coefficients[j].name) == form->recovery_term)
            return true;
    return false;
}

/* A D that the law says nothing about is refused rather than ignored. */
static bool check_recovery(const pare_law *law, double d, pare_error *error) {
    if (!fits_recovery(law) && !within(d, law->d_min, law->d_max, typed))
        return pare_fail(error, PARE_ERROR_RANGE,
                         "D = %g million recovery tokens: this law (form %s) has no term for D and was fitted at D = %g million alone", d,
                         pare_law_form_name(law->form), law->d_min);
    if (fits_recovery(law) && d > 2 * law->d_max)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "D = %g million recovery tokens: the law was fitted up to D = %g million, and its D term does not extrapolate: "
                         "measure at a larger D",
                         d, law->d_max);
    return true;
}

static void warn(pare_law_prediction *prediction, const char *format, ...) PARE_PRINTF(2, 3);
static void warn(pare_law_prediction *prediction, const char *format, ...) {
    size_t used = strlen(prediction->warning);
    va_list list;
    va_start(list, format);
    if (used && used + 1 < sizeof prediction->warning)
        prediction->warning[used++] = ' ';
    vsnprintf(prediction->warning + used, sizeof prediction->warning - used, format, list);
    va_end(list);
}

static void warn_of_range(pare_law_prediction *prediction, const char *name, double value, double low, double high) {
    if (low < high)
        warn(prediction, "%s = %.6g lies outside of what was fitted, %.6g to %.6g: an extrapolation.", name, value, low, high);
    else
        warn(prediction, "%s = %.6g: the law was fitted at %.6g alone, so this is an extrapolation.", name, value, low);
}

/* No form but the quadratic is exact at r = 0; near it the miss may be larger than what the cut costs. */
static void warn_of_zero(pare_law_prediction *prediction, const pare_law *law, double r, double d) {
    double missed = fabs(prediction->at_zero - 1);
    bool below = prediction->factor < 1 && d == 0 && r > 0;
    if (below)
        warn(prediction, "A loss below the dense model's is no effect of the cut.");
    if (below || (missed > 0.005 && (r < law->r_min || missed > fabs(prediction->factor - 1))))
        warn(prediction, "The form is not exact at small ratios: at r = 0 it gives %.3f times L0, where 1 is true.", prediction->at_zero);
}

bool pare_law_predict(pare_law_prediction *prediction, const pare_law *law, double l0, double r, double d, double level,
                      pare_error *error) {
    if (!check_level(&level, error) || !check_question(l0, r, d, error) || !check_recovery(law, d, error))
        return false;
    const pare_form *form = pare_form_of(law->form);
    double x[PARE_LAW_MAX_TERMS], y = pare_law_response(law, l0, r, d, x), v = variance(law, x);
    double t = pare_student_quantile(0.5 + level / 2, pare_law_interval_degrees(law));
    double mean = t * sqrt(v), single = t * sqrt(v + law->sigma * law->sigma);
    *prediction = (pare_law_prediction){
        .l = form->loss(y, l0),
        .mean_low = form->loss(y - mean, l0),
        .mean_high = form->loss(y + mean, l0),
        .prediction_low = form->loss(y - single, l0),
        .prediction_high = form->loss(y + single, l0),
        .level = level,
        .at_zero = form->loss(pare_law_response(law, l0, 0, fits_recovery(law) ? 0 : d, NULL), l0) / l0,
        .outside_r = !within(r, law->r_min, law->r_max, typed),
        .outside_l0 = !within(l0, law->l0_min, law->l0_max, measured),
        .outside_d = !within(d, law->d_min, law->d_max, typed),
    };
    prediction->factor = prediction->l / l0;
    if (!isfinite(prediction->l))
        return pare_fail(error, PARE_ERROR_NUMERIC, "the law gives no finite loss at l0 = %g, r = %g, d = %g", l0, r, d);
    if (prediction->outside_r)
        warn_of_range(prediction, "r", r, law->r_min, law->r_max);
    if (prediction->outside_l0)
        warn_of_range(prediction, "L0", l0, law->l0_min, law->l0_max);
    if (prediction->outside_d)
        warn_of_range(prediction, "D", d, law->d_min, law->d_max);
    warn_of_zero(prediction, law, r, d);
    return true;
}

/* ---- the critical ratio ------------------------------------------------------------------- */

typedef struct {
    const pare_law *law;
    double l0, d, wanted, t; /* wanted: the response at the threshold */
} inversion;

/* Below 0 where a test at the level cannot tell the law's response at r from the wanted one. In z = ln(1 +- r) this is the quadratic
 * inequality of E. C. Fieller (1954). */
static double distance(const inversion *question, double r) {
    double x[PARE_LAW_MAX_TERMS], y = pare_law_response(question->law, question->l0, r, question->d, x) - question->wanted;
    return y * y - question->t * question->t * variance(question->law, x);
}

/* The end of the interval that holds `from`, towards `limit` (0 or almost 1), which counts as open. */
static double find_end(const inversion *question, double from, double limit) {
    enum { STEPS = 512 };
    double inside = from;
    for (int i = 1; i <= STEPS; i++) {
        double next = i == STEPS ? limit : from + (limit - from) * i / STEPS;
        if (distance(question, next) > 0) {
            for (int k = 0; k < 60; k++) {
                double middle = 0.5 * (inside + next);
                if (distance(question, middle) > 0)
                    next = middle;
                else
                    inside = middle;
            }
            return inside;
        }
        inside = next;
    }
    return limit > 0 ? 1 : 0;
}

/* Accepted ratios apart from the piece around the value, such as those near 1 where the slope may be 0: the interval reaches to the last.
 */
static void find_other_pieces(pare_law_critical *critical, const inversion *question, double last) {
    enum { STEPS = 512 };
    double low = critical->low, high = critical->high;
    critical->one_piece = true;
    for (int i = 0; i <= STEPS; i++) {
        double r = last * i / STEPS;
        if ((r >= low && r <= high) || distance(question, r) > 0)
            continue;
        critical->one_piece = false;
        critical->low = fmin(critical->low, i ? find_end(question, r, 0) : 0);
        critical->high = fmax(critical->high, i < STEPS ? find_end(question, r, last) : 1);
    }
}

/* The coefficients in the form's own order, 0 where dropped. */
static void spread_coefficients(double beta[PARE_LAW_MAX_TERMS], const pare_law *law) {
    memset(beta, 0, PARE_LAW_MAX_TERMS * sizeof *beta);
    for (size_t j = 0; j < law->n_terms; j++)
        beta[pare_form_term(pare_form_of(law->form), law->coefficients[j].name)] = law->coefficients[j].value;
}

static void find_value(pare_law_critical *critical, const pare_law *law, double wanted) {
    const pare_form *form = pare_form_of(law->form);
    double beta[PARE_LAW_MAX_TERMS], dense = pare_law_response(law, critical->l0, 0, critical->d, NULL);
    spread_coefficients(beta, law);
    double r = form->ratio_at(beta, wanted - dense);
    if (r >= 0 && r < 1) {
        critical->value = r;
        critical->outside = !within(r, law->r_min, law->r_max, typed);
        if (critical->outside)
            snprintf(critical->note, sizeof critical->note, "outside of the ratios fitted, %.6g to %.6g: an extrapolation", law->r_min,
                     law->r_max);
    } else {
        snprintf(critical->note, sizeof critical->note, "no ratio below 1 brings the law to %.6g times l0; at r = 0 it gives %.6g times l0",
                 critical->threshold, form->loss(dense, critical->l0) / critical->l0);
    }
}

bool pare_law_critical_find(pare_law_critical *critical, const pare_law *law, double threshold, double l0, double d, double level,
                            pare_error *error) {
    *critical = (pare_law_critical){.threshold = threshold == 0 ? 1.1 : threshold,
                                    .l0 = l0 == 0 ? law->l0_mean : l0,
                                    .d = d,
                                    .value = PARE_NONE,
                                    .low = PARE_NONE,
                                    .high = PARE_NONE};
    if (!check_level(&level, error) || !check_question(critical->l0, 0, d, error) || !check_recovery(law, d, error))
        return false;
    if (!(isfinite(critical->threshold) && critical->threshold > 0))
        return pare_fail(error, PARE_ERROR_RANGE, "threshold %g: a factor of l0 must be above 0", critical->threshold);
    critical->level = level;
    const double last = 1 - 1e-12;
    inversion question = {
        .law = law, .l0 = critical->l0, .d = d, .t = pare_student_quantile(0.5 + level / 2, pare_law_interval_degrees(law))};
    question.wanted = pare_form_of(law->form)->response(critical->threshold * critical->l0, critical->l0);
    find_value(critical, law, question.wanted);
    if (!isnan(critical->value)) {
        critical->low = find_end(&question, critical->value, 0);
        critical->high = find_end(&question, critical->value, last);
        find_other_pieces(critical, &question, last);
    }
    return true;
}
