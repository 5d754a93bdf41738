/* distributions: the tails of Student's t and Fisher's F through the regularised incomplete beta function.
 *
 *   I_x(a,b) = x^a y^b / (a B(a,b)) * continued fraction      (y = 1 - x; DLMF 8.17.22)
 *
 * The fraction is summed by Lentz's method (W. J. Lentz, Applied Optics 15, 1976; I. J. Thompson, A. R. Barnett, J. Comput. Phys. 64,
 * 1986). The factor before it is written with the deviances of C. Loader ("Fast and accurate computation of binomial probabilities", 2000),
 * because a difference of log-gammas loses digits with large degrees of freedom. */
#include <math.h>

#include "lsq.h"
#include "pare/law.h"

/* ln Gamma(z) minus Stirling's formula (z - 1/2) ln z - z + ln(2 pi)/2. */
static double stirling_rest(double z) {
    double sum = 0;
    for (; z < 16; z += 1) /* recurrence Gamma(z+1) = z Gamma(z) */
        sum += (z + 0.5) * log1p(1 / z) - 1;
    double w = 1 / (z * z);
    return sum + (1.0 / 12 - w * (1.0 / 360 - w * (1.0 / 1260 - w * (1.0 / 1680 - w * (1.0 / 1188 - w * (691.0 / 360360)))))) / z;
}

/* a ln(a/m) + m - a >= 0, without cancellation near a = m (then 2 a (s^3/3 + s^5/5 + …) + s (a-m), s = (a-m)/(a+m)). */
static double deviance(double a, double m) {
    double s = (a - m) / (a + m);
    if (fabs(s) > 0.1)
        return a * log(a / m) + m - a;
    double sum = s * (a - m), power = 2 * a * s, previous;
    int k = 3;
    do {
        previous = sum;
        power *= s * s;
        sum += power / k;
        k += 2;
    } while (sum != previous);
    return sum;
}

/* x^a y^b / B(a,b) */
static double beta_factor(double a, double b, double x, double y) {
    const double pi = 3.14159265358979323846;
    double exponent = stirling_rest(a + b) - stirling_rest(a) - stirling_rest(b) - deviance(a, (a + b) * x) - deviance(b, (a + b) * y);
    return sqrt(a / (2 * pi) * (b / (a + b))) * exp(exponent);
}

/* The fraction 1/(1 + d1/(1 + d2/(1 + …))); it converges fast for x < (a+1)/(a+b+2). */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double value = d;
    for (int m = 1; m < 100000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double steps[2] = {even, odd}, change = 1;
        for (int i = 0; i < 2; i++) {
            d = 1 + steps[i] * d;
            c = 1 + steps[i] / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            change = c * d;
            value *= change;
        }
        if (fabs(change - 1) < 1e-16)
            break;
    }
    return value;
}

/* I_x(a,b); y = 1 - x is passed too, since the caller knows the small one exactly. */
static double incomplete_beta(double a, double b, double x, double y) {
    if (isnan(x) || isnan(y) || isnan(a) || isnan(b))
        return PARE_NONE;
    if (x <= 0 || y <= 0)
        return x <= 0 ? 0 : 1;
    if (x < (a + 1) / (a + b + 2))
        return beta_factor(a, b, x, y) * beta_fraction(a, b, x) / a;
    return 1 - beta_factor(b, a, y, x) * beta_fraction(b, a, y) / b;
}

double pare_student_p(double t, double degrees) {
    if (isinf(t))
        return 0;
    double square = t * t;
    if (isinf(square))
        return 0;
    return incomplete_beta(degrees / 2, 0.5, degrees / (degrees + square), square / (degrees + square));
}

double pare_fisher_p(double f, double d1, double d2) {
    if (f <= 0)
        return 1;
    if (isinf(f * d1))
        return 0;
    return incomplete_beta(d2 / 2, d1 / 2, d2 / (d2 + d1 * f), d1 * f / (d2 + d1 * f));
}

/* The tail falls in t: double until it is below the wanted one, then halve the interval down to neighbouring numbers. */
double pare_student_quantile(double p, double degrees) {
    if (!(p > 0 && p < 1) || !(degrees > 0))
        return PARE_NONE;
    double tail = 2 * fmin(p, 1 - p), low = 0, high = 1;
    while (isfinite(high) && pare_student_p(high, degrees) > tail) {
        low = high;
        high *= 2;
    }
    for (double middle = 0.5 * (low + high); low < middle && middle < high; middle = 0.5 * (low + high)) {
        if (pare_student_p(middle, degrees) > tail)
            low = middle;
        else
            high = middle;
    }
    return p < 0.5 ? -high : high;
}
