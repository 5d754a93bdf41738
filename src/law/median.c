/* median: of errors, and the error of which medians are taken: how far a prediction misses what was lost. */
#include <stdlib.h>

#include "fit.h"

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

double pare_median(double *values, size_t n) {
    if (n == 0)
        return PARE_NONE;
    qsort(values, n, sizeof *values, compare);
    double middle = n % 2 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
    return isfinite(middle) ? middle : PARE_NONE;
}

double pare_lost_error(double predicted, double l, double l0) {
    return l > l0 ? fabs(predicted - l) / (l - l0) : (double)INFINITY;
}
