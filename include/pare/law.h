/* law: how the loss of a compressed model follows from the loss L0 of the dense model, the ratio r and the recovery tokens D.
 *
 * Points (plain doubles: a CSV, or rows the caller read from a ledger) -> fit -> law -> prediction, critical ratio.
 *
 *   form        response        terms (coefficient: regressor)                                         source
 *   v1          ln L            a: ln L0   b: ln(1+r)   [c: ln(1 + 1/(D+1))]                           arXiv 2504.04342v1
 *   v1i         ln L            the same, and constant: 1                                              v1 with an intercept
 *   v2          ln(L/L0)        a: ln(1-r)   ln_p0: 1                                                  arXiv 2504.04342v2
 *   quadratic   L/L0 - 1        a: r   b: r^2                                                          the claim of v1's abstract
 *
 * Ordinary least squares by Householder QR. D counts million recovery tokens; the D term is there when D varies. The exponent a of L0 in
 * v1 and v1i is fitted only with three models or more whose ln L0 has a standard deviation above 1e-3, and is 1 otherwise. Rows are sorted
 * before the fit, so that the result does not depend on their order, to the bit.
 *
 * Results of one model are not independent. With two models or more, p, the critical ratio and every interval use standard errors clustered
 * by model (CR3, Student's t on models - 1 degrees, one less where a is fitted). With one model they are the classical ones, and say
 * nothing of other models.
 *
 * A number that cannot be had is NAN here and null in JSON, and a note says why; a fit without a usable r term is an error.
 */
#ifndef PARE_LAW_H
#define PARE_LAW_H

#include "pare/base.h"
#include "pare/json.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- names -------------------------------------------------------------------------------- */

typedef enum { PARE_LAW_V1, PARE_LAW_V1I, PARE_LAW_V2, PARE_LAW_QUADRATIC, PARE_LAW_N_FORMS } pare_law_form;
const char *pare_law_form_name(pare_law_form form);
const char *pare_law_form_equation(pare_law_form form); /* "ln L = a ln L0 + b ln(1+r) …", for people */
bool pare_law_form_parse(pare_law_form *form, const char *name, pare_error *error) PARE_MUST_CHECK; /* unknown: PARE_ERROR_USAGE */

/* What r counts: the fraction removed of the method's own unit, or of something every method has. */
typedef enum {
    PARE_LAW_RATIO_NOMINAL,
    PARE_LAW_RATIO_NON_EMBEDDING,
    PARE_LAW_RATIO_PARAMETERS,
    PARE_LAW_RATIO_BYTES,
    PARE_LAW_RATIO_MACS,
    PARE_LAW_N_RATIOS
} pare_law_ratio;
const char *pare_law_ratio_name(pare_law_ratio ratio); /* "nominal", "non_embedding", … */
bool pare_law_ratio_parse(pare_law_ratio *ratio, const char *name, pare_error *error) PARE_MUST_CHECK;

/* ---- points ------------------------------------------------------------------------------- */

/* One measured result. Start from pare_law_point_blank(): every number missing (NAN), D = 0. The strings are the owner's. */
typedef struct {
    const char *model, *method;
    double l0, l; /* cross-entropy in nats, or any loss above 0, of the dense and of the compressed model */
    double d;     /* million recovery tokens; missing counts as 0 */
    double ratio[PARE_LAW_N_RATIOS];
    double ceiling; /* loss of a uniform guess, ln(vocabulary); 0 or NAN: unknown. Above it a model is broken */
    size_t line;    /* of the file that it was read from, for messages; 0: none */
} pare_law_point;
pare_law_point pare_law_point_blank(void);

typedef struct {
    pare_law_point *items;
    size_t n;
} pare_law_points;

/* Reads a CSV (RFC 4180: quoted fields, LF or CRLF; semicolons or tabs where the header has them instead of commas) with a header that has
 * at least model, method, l0, r, l; d, ceiling, non_embedding, parameters, bytes and macs are used where present, other columns ignored.
 * r is the nominal ratio, a fraction. An empty number is missing (d: 0). At most 64 MiB, a million rows, 1,024 columns. Messages name
 * file, line and column. */
bool pare_law_points_read(pare_law_points *points, const char *path, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
/* The same from memory; `what` names the source in messages. */
bool pare_law_points_parse(pare_law_points *points, const char *bytes, size_t n, const char *what, pare_arena *arena,
                           pare_error *error) PARE_MUST_CHECK;

/* ---- law: what is saved and predicted with -------------------------------------------------- */

#define PARE_LAW_MAX_TERMS 4

typedef struct {
    const char *name; /* "a", "b", "c", "constant", "ln_p0" */
    double value;
    double standard_error;           /* classical: as if all results were independent */
    double standard_error_clustered; /* allows for correlation within a model; NAN with one model */
    double t, p;                     /* two-sided Student t by the clustered error where there is one */
} pare_law_coefficient;

/* What the covariance of a law allows for. */
typedef enum {
    PARE_LAW_ERRORS_CLASSICAL, /* independent results: all that one model can give */
    PARE_LAW_ERRORS_CR1,       /* clustered by model, Liang and Zeger 1986: where CR3 cannot be had */
    PARE_LAW_ERRORS_CR3,       /* clustered by model, the jackknife over models */
    PARE_LAW_N_ERRORS
} pare_law_errors;
const char *pare_law_errors_name(pare_law_errors errors); /* "classical", "CR1", "CR3" */
bool pare_law_errors_parse(pare_law_errors *errors, const char *name, pare_error *error) PARE_MUST_CHECK;

typedef struct {
    pare_law_form form;
    pare_law_ratio ratio;
    const char *method;     /* NULL: pooled over methods */
    const char *provenance; /* free text: what it was fitted on; never NULL */
    size_t n, n_terms;
    size_t n_models; /* 0: not known (a law file of version 1) */
    pare_law_errors errors;
    pare_law_coefficient coefficients[PARE_LAW_MAX_TERMS]; /* terms that were kept; a dropped term counts as 0, the exponent of L0 as 1 */
    double covariance[PARE_LAW_MAX_TERMS][PARE_LAW_MAX_TERMS]; /* n_terms x n_terms, of the kind `errors` */
    double sigma;                                              /* residual standard deviation of the response */
    double degrees;                                            /* n - n_terms, at least 1; of sigma */
    double r_min, r_max, l0_min, l0_max, d_min, d_max;         /* of the points fitted: where the law may be trusted */
    double l0_mean;                                            /* geometric */
} pare_law;

typedef struct {
    double l;                               /* exp of the fitted ln L: the median, not the mean, in the log forms */
    double factor;                          /* l / l0 */
    double mean_low, mean_high;             /* confidence interval of l */
    double prediction_low, prediction_high; /* where one new measurement would lie */
    double level;
    double at_zero;                        /* l / l0 of the law at r = 0, D = 0, where the truth is 1 */
    bool outside_r, outside_l0, outside_d; /* beyond what was fitted; of l0 by more than a thousandth */
    char warning[512];                     /* "" when there is nothing to warn of; sentences, each ended by a full stop */
} pare_law_prediction;

/* level 0 counts as 0.95. PARE_ERROR_RANGE: r outside [0,1), l0 <= 0, d < 0, or a d that the law cannot answer for: it has no recovery term
 * and was fitted at another d, or d is more than twice the largest fitted. */
bool pare_law_predict(pare_law_prediction *prediction, const pare_law *law, double l0, double r, double d, double level,
                      pare_error *error) PARE_MUST_CHECK;

/* The ratio at which L reaches threshold * l0. */
typedef struct {
    double threshold, l0, d; /* what was asked */
    double value;            /* the smallest such r in [0,1); NAN: none, and `note` says why */
    /* From the smallest to the largest r in [0,1) that a two-sided test at 1 - level cannot tell from `value` (Fieller's set in the log
     * forms). NAN where value is NAN. An end at 0 or 1 is open. */
    double low, high, level;
    bool one_piece; /* the test rejects no r between low and high */
    bool outside;   /* value lies outside [r_min, r_max] */
    char note[256];
} pare_law_critical;

/* threshold 0 counts as 1.1, l0 0 as l0_mean, level 0 as 0.95; d is taken as it is (0: no recovery), and refused as by pare_law_predict. */
bool pare_law_critical_find(pare_law_critical *critical, const pare_law *law, double threshold, double l0, double d, double level,
                            pare_error *error) PARE_MUST_CHECK;

/* A law file holds one or more laws (one per method, and the pooled one). */
bool pare_law_write(const char *path, const pare_law *laws, size_t n, bool replace, pare_error *error) PARE_MUST_CHECK;
bool pare_law_read(pare_law **laws, size_t *n, const char *path, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;
json_t *pare_law_to_json(pare_json_doc *doc, const pare_law *laws, size_t n); /* what the file holds */
bool pare_law_from_json(pare_law **laws, size_t *n, const json_t *json, const char *what, pare_arena *arena,
                        pare_error *error) PARE_MUST_CHECK;

/* ---- fit ---------------------------------------------------------------------------------- */

typedef struct { /* zero-initialised is valid */
    pare_law_ratio ratio;
    bool include_broken;   /* also points above their ceiling, and those left out together with them */
    bool include_identity; /* also points of the dense model: r = 0 */
    bool without_recovery; /* only the points with the smallest D; forms without a recovery term always fit these alone */
    double level;          /* of intervals; 0: 0.95 */
    double threshold;      /* of the critical ratio, as a factor of l0; 0: 1.1 */
    double critical_l0;    /* 0: the geometric mean of the l0 fitted */
    double critical_d;
    double tolerance;       /* of the range carried, relative; 0: 0.05 */
    const char *provenance; /* copied into the law; NULL: "" */
} pare_law_options;

typedef enum {
    PARE_LAW_USED,
    PARE_LAW_BROKEN,    /* l above the ceiling */
    PARE_LAW_BEYOND,    /* of a method and D that breaks another model at this ratio or a smaller one: dropping the broken models alone
                           would keep the lucky ones */
    PARE_LAW_IDENTITY,  /* r = 0, D = 0: the dense model, which is L0 and no observation */
    PARE_LAW_CONTROL,   /* r = 0, D > 0: the dense model trained on, the control of a study of recovery */
    PARE_LAW_RECOVERED, /* D above the smallest, and the form has no recovery term or was asked to leave it aside */
    PARE_LAW_COPY,      /* equal in every number to another point */
    PARE_LAW_BAD_L,     /* missing, not finite or not positive */
    PARE_LAW_BAD_L0,
    PARE_LAW_BAD_R, /* outside [0,1) */
    PARE_LAW_NO_R,  /* this kind of ratio was not recorded */
    PARE_LAW_BAD_D, /* negative or not finite */
    PARE_LAW_N_USES
} pare_law_use;
const char *pare_law_use_name(pare_law_use use);   /* "used", "broken", … */
const char *pare_law_use_reason(pare_law_use use); /* a few words for people */

/* One per point of the group, in the caller's order. Excluded points get fitted and residual too where they can be computed. */
typedef struct {
    size_t point; /* index into the points given */
    pare_law_use use;
    double r;
    double fitted;         /* l of the law */
    double residual;       /* of the response: observed - fitted */
    double relative_error; /* fitted / l - 1 */
    double leverage;       /* diagonal of the hat matrix; NAN when excluded */
    double studentized;    /* residual / (sigma of the fit without this point * sqrt(1 - leverage)); NAN when excluded */
    double loo;            /* l predicted by the fit without this point; NAN when excluded or leverage 1 */
    double loo_model;      /* l predicted by the fit without this point's model; NAN when excluded or with one model */
} pare_law_residual;

/* Fit on r <= r_cut, test beyond (v2's protocol). */
typedef struct {
    double r_cut;
    size_t n_fit, n_test;
    double error_inside; /* root mean square relative error of l on the points fitted, each predicted by the fit without it */
    double worst_inside; /* the largest such error at one ratio (one bin where there are more than 32 ratios) */
    double error_beyond; /* on the points with r > r_cut; NAN at the last cut */
    double lost_beyond;  /* median on these of |predicted - l| / (l - l0) */
} pare_law_rolling;

typedef struct {
    pare_law law;
    size_t n_excluded, excluded[PARE_LAW_N_USES]; /* by reason */
    size_t first_line[PARE_LAW_N_USES];           /* of the first point so excluded; 0: not known */
    /* "centred": 1 - RSS / sum (y - mean)^2, when the regressors can express a constant (as they also do in v1 when l0 is the same in all
     * points); "uncentred": 1 - RSS / sum y^2, otherwise. f tests all slopes against the constant alone, or against zero: as statsmodels.
     */
    const char *r2_kind;
    double r2, r2_adjusted;
    double f, f_degrees, f_p; /* on (f_degrees, law.degrees), infinite for an exact fit; f_p is NAN with several models, whose results
                                 are not independent */
    double r2_loss;           /* centred, of l itself: comparable between forms */
    /* Root mean square of (l predicted without the point) / l - 1, over the n_loo points that the others determine. */
    double loo_error;
    double loo_error_absolute; /* the same of the difference, in the unit of l */
    size_t n_loo;
    double loo_model_error; /* as loo_error, leaving out all points of a model; NAN below 2 models or when none can be left out */
    /* How far predictions miss what was lost, l - l0: medians of |predicted - l| / (l - l0), over the points in brackets. NAN: cannot be
     * had, or more than half of the points lost nothing. These, not loo_error, tell what to expect of a new model or a larger ratio. */
    double lost_point_error;                      /* without the point (n_loo) */
    double lost_model_error;                      /* without its model (n_lost_model) */
    double lost_rolling_error;                    /* at larger ratios than were fitted: mean of rolling[].lost_beyond */
    double baseline_lost_error, baseline_l_error; /* by the mean of l / l0 over the other models at the same method, ratio and D */
    size_t n_lost_model, n_baseline;
    size_t n_models, n_methods;
    double identity_error; /* l of the law at r = 0, D = 0, l0_mean, over l0_mean, - 1: how far the form misses the dense model */
    pare_law_critical critical;
    /* The largest r_cut whose fit misses at no ratio by more than the tolerance (worst_inside), in l; NAN: none. Within the data: it says
     * nothing of another model. */
    double r_carried, tolerance;
    pare_law_rolling *rolling;
    size_t n_rolling;
    double rolling_error; /* mean of error_beyond over the cuts; NAN: no cut leaves points on both sides */
    pare_law_residual *residuals;
    size_t n_residuals;
    struct {
        const char *name, *reason;
    } dropped[PARE_LAW_MAX_TERMS]; /* terms that the points cannot tell apart from earlier ones */
    size_t n_dropped;
    const char *notes[16];
    size_t n_notes;
} pare_law_fit;

/* Fits the points of `method` (NULL: all). PARE_ERROR_NUMERIC when they cannot carry the form. Everything lives in the arena. */
bool pare_law_fit_points(pare_law_fit *fit, pare_law_form form, const pare_law_points *points, const char *method,
                         const pare_law_options *options, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* "7 r is outside [0, 1) (first: line 2), 3 …" into text: the points left out; "" when there are none. */
void pare_law_tell_excluded(char *text, size_t size, const pare_law_fit *fit);

/* One fit per method in alphabetical order, then (with two methods or more) the pooled one. A group that cannot be fitted is an outcome. */
typedef struct {
    const char *method; /* NULL: pooled */
    bool done;
    pare_law_fit fit;   /* when done */
    pare_error failure; /* when not */
} pare_law_group;

typedef struct {
    pare_law_group *items;
    size_t n;
    size_t n_pooled; /* methods that the comparison of one law with a law per method is about: those that could be fitted */
    /* Chow's test: does a law per method fit better than the pooled one by more than chance? It takes results as independent, so it is NAN
     * with several models, as it is below two methods. */
    double pooling_f, pooling_p;
    /* With several models instead: the median error of what was lost (lost_model_error), of the pooled law and of a law per method. */
    double pooled_lost_error, apart_lost_error;
} pare_law_groups;

/* Fails only when nothing at all could be fitted (with the first group's reason) or on memory. */
bool pare_law_fit_groups(pare_law_groups *groups, pare_law_form form, const pare_law_points *points, const pare_law_options *options,
                         pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* All forms on the same points, which are those of the smallest D, because not every form has a term for it. The first is the one with the
 * smallest lost_model_error where there are several models, else the smallest lost_rolling_error, else the smallest loo_error; forms that
 * failed come last. */
typedef struct {
    pare_law_form form;
    bool done;
    pare_law_fit fit;
    pare_error failure;
} pare_law_candidate;
bool pare_law_compare(pare_law_candidate candidates[PARE_LAW_N_FORMS], const pare_law_points *points, const char *method,
                      const pare_law_options *options, pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* By which power of r the loss grows without recovery: k in l / l0 - 1 = A r^k, for r up to PARE_LAW_EXPONENT_R. With several models the
 * mean of their slopes and its error across models, with one the slope of its results. NAN where no model has results at three ratios. */
#define PARE_LAW_EXPONENT_R 0.5
typedef struct {
    double value, standard_error, degrees, low, high; /* interval at options->level */
    double r_min, r_max;                              /* of the results used: from the smallest ratio on above which all lie above l0 */
    size_t n, n_models;
} pare_law_exponent;
bool pare_law_exponent_find(pare_law_exponent *exponent, const pare_law_points *points, const char *method, const pare_law_options *options,
                            pare_arena *arena, pare_error *error) PARE_MUST_CHECK;

/* The fit as a JSON object: form, method, ratio_kind, n, coefficients, r2, r2_kind, r2_adjusted, f, f_p, loo_error, critical_ratio, …;
 * `points` (may be NULL) adds the table of residuals with each point's names. */
json_t *pare_law_fit_json(pare_json_doc *doc, const pare_law_fit *fit, const pare_law_points *points);
json_t *pare_law_prediction_json(pare_json_doc *doc, const pare_law_prediction *prediction);
json_t *pare_law_critical_json(pare_json_doc *doc, const pare_law_critical *critical);

/* ---- distributions ------------------------------------------------------------------------ */

double pare_student_p(double t, double degrees);        /* two-sided: P(|T| >= |t|) */
double pare_student_quantile(double p, double degrees); /* p in (0,1) */
double pare_fisher_p(double f, double d1, double d2);   /* P(F >= f) */

#ifdef __cplusplus
}
#endif
#endif
