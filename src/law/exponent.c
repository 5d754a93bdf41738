/* exponent: by which power of r the loss grows, L / L0 - 1 = A r^k, with an interval that does not take results of one model as
 * independent.
 *
 * Each model gives a slope of ln(L / L0 - 1) on ln r; with several models k is their mean and its error comes from how they differ (R.
 * Ibragimov, U. K. Mueller, "t-statistic based correlation and heterogeneity robust inference", 2010), though it is at least what the
 * scatter about the slopes gives: two models may agree by luck. With one model it is that of the slope. Only ratios from the smallest above
 * which every result lies above L0, and up to PARE_LAW_EXPONENT_R: no result is left out for its own value. */
#include <stdlib.h>
#include <string.h>

#include "fit.h"

/* Sums of a regression of y on x. */
typedef struct {
    double n, x, y, xx, xy, yy;
} sums;

static void add(sums *s, const pare_row *row) {
    double x = log(row->r), y = log(row->l / row->l0 - 1);
    s->n++;
    s->x += x;
    s->y += y;
    s->xx += x * x;
    s->xy += x * y;
    s->yy += y * y;
}

static double spread(const sums *s) {
    return s->xx - s->x * s->x / s->n;
}

static double slope(const sums *s) {
    return (s->xy - s->x * s->y / s->n) / spread(s);
}

/* Rows lie by r: the first of those that take part, and one behind the last. */
static void find_range(size_t *first, size_t *end, const pare_rows *rows) {
    *first = *end = 0;
    while (*end < rows->n && rows->rows[*end].r <= PARE_LAW_EXPONENT_R * (1 + 1e-9))
        ++*end;
    for (size_t i = 0; i < *end; i++)
        if (rows->rows[i].r <= 0 || !(rows->rows[i].l > rows->rows[i].l0))
            *first = i + 1;
    while (*first > 0 && *first < *end && rows->rows[*first].r == rows->rows[*first - 1].r)
        ++*first;
}

static double slope_variance(const sums *s) {
    double rest = s->yy - s->y * s->y / s->n - slope(s) * slope(s) * spread(s);
    return fmax(rest, 0) / (s->n - 2) / spread(s);
}

static void mean_of_slopes(pare_law_exponent *exponent, const double *slopes, size_t n, double within) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += slopes[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (slopes[i] - sum) * (slopes[i] - sum);
    exponent->value = sum;
    exponent->standard_error = sqrt(fmax(squares / (double)(n - 1) / (double)n, within / (double)n / (double)n));
    exponent->degrees = (double)(n - 1);
}

static void one_slope(pare_law_exponent *exponent, const sums *s) {
    exponent->value = slope(s);
    exponent->standard_error = sqrt(slope_variance(s));
    exponent->degrees = s->n - 2;
}

/* Models with results at three ratios or more count. */
static void find_exponent(pare_law_exponent *exponent, const pare_rows *rows, size_t first, size_t end, double *slopes) {
    sums last = {0};
    double within = 0; /* sum of the slopes' variances */
    for (size_t model = 0; model < rows->n_models; model++) {
        sums own = {0};
        for (size_t i = first; i < end; i++)
            if (rows->rows[i].model_id == model)
                add(&own, &rows->rows[i]);
        if (own.n < 3 || !(spread(&own) > 1e-3))
            continue;
        slopes[exponent->n_models++] = slope(&own);
        exponent->n += (size_t)own.n;
        within += slope_variance(&own);
        last = own;
    }
    if (exponent->n_models > 1)
        mean_of_slopes(exponent, slopes, exponent->n_models, within);
    else if (exponent->n_models == 1)
        one_slope(exponent, &last);
}

bool pare_law_exponent_find(pare_law_exponent *exponent, const pare_law_points *points, const char *method, const pare_law_options *options,
                            pare_arena *arena, pare_error *error) {
    pare_law_options alike = options ? *options : (pare_law_options){0};
    pare_law_fit judged = {0};
    pare_rows rows = {.form = pare_form_of(PARE_LAW_QUADRATIC)}; /* a form without a recovery term: results without recovery */
    *exponent = (pare_law_exponent){.value = PARE_NONE, .standard_error = PARE_NONE, .low = PARE_NONE, .high = PARE_NONE};
    if (!pare_rows_select(&rows, &judged, points, method, &alike, arena, error))
        return false;
    double *slopes = PARE_PUSH(arena, double, rows.n_models, error);
    if (!slopes)
        return false;
    size_t first, end;
    find_range(&first, &end, &rows);
    if (first >= end)
        return true;
    exponent->r_min = rows.rows[first].r;
    exponent->r_max = rows.rows[end - 1].r;
    find_exponent(exponent, &rows, first, end, slopes);
    if (isnan(exponent->value))
        return true;
    double half = pare_student_quantile(0.5 + (alike.level > 0 ? alike.level : 0.95) / 2, exponent->degrees) * exponent->standard_error;
    exponent->low = exponent->value - half;
    exponent->high = exponent->value + half;
    return true;
}
