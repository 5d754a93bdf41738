/* Tails of Student's t and Fisher's F against mpmath (fixtures/distributions.json, made by tools/fixtures/law_distributions.py). */
#include <math.h>

#include "test.h"

#include "pare/law.h"

static json_t *fixture;

static double cell(const json_t *row, size_t i) {
    return json_number_value(json_array_get(row, i));
}

static void near(double ours, double wanted, double tolerance, const char *what, const json_t *row) {
    if (!(fabs(ours - wanted) <= tolerance * fabs(wanted)))
        fail_msg("%s(%.10g, %.10g, …) = %.17g, wanted %.17g (off by %.2g)", what, cell(row, 0), cell(row, 1), ours, wanted,
                 ours / wanted - 1);
}

static void student_tails(void **state) {
    (void)state;
    size_t i;
    json_t *row;
    assert_true(json_array_size(json_object_get(fixture, "student")) > 50);
    json_array_foreach(json_object_get(fixture, "student"), i, row)
        near(pare_student_p(cell(row, 0), cell(row, 1)), cell(row, 2), 1e-12, "student", row);
    assert_true(pare_student_p(-2, 5) == pare_student_p(2, 5));
    assert_true(pare_student_p((double)INFINITY, 5) == 0 && pare_student_p(0, 5) == 1);
    assert_true(isnan(pare_student_p((double)NAN, 5)));
}

static void fisher_tails(void **state) {
    (void)state;
    size_t i;
    json_t *row;
    assert_true(json_array_size(json_object_get(fixture, "fisher")) > 150);
    json_array_foreach(json_object_get(fixture, "fisher"), i, row)
        near(pare_fisher_p(cell(row, 0), cell(row, 1), cell(row, 2)), cell(row, 3), 1e-12, "fisher", row);
    assert_true(pare_fisher_p(0, 2, 5) == 1 && pare_fisher_p((double)INFINITY, 2, 5) == 0);
    for (double t = 0.1; t < 20; t *= 1.7) /* F on 1 degree is the square of t */
        assert_float_equal(pare_fisher_p(t * t, 1, 9), pare_student_p(t, 9), 1e-14);
}

/* With many degrees of freedom: the normal tail and the first term of its expansion in 1 / degrees. */
static void many_degrees(void **state) {
    (void)state;
    const double v = 1e6;
    for (double t = 0.5; t < 3; t += 0.5) {
        double density = exp(-t * t / 2) / sqrt(2 * 3.14159265358979323846);
        double wanted = erfc(t / sqrt(2.0)) + density * (t * t * t + t) / (2 * v);
        assert_true(fabs(pare_student_p(t, v) / wanted - 1) < 1e-9);
    }
}

static void student_quantiles(void **state) {
    (void)state;
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(fixture, "quantile"), i, row)
        near(pare_student_quantile(cell(row, 0), cell(row, 1)), cell(row, 2), 2e-12, "quantile", row);
    assert_true(fabs(pare_student_quantile(0.5, 3)) < 1e-15);
    assert_true(isnan(pare_student_quantile(0, 3)) && isnan(pare_student_quantile(1, 3)) && isnan(pare_student_quantile(0.5, 0)));
}

int main(void) {
    pare_error error;
    fixture = pare_json_read(PARE_FIXTURES "/distributions.json", &error);
    if (!fixture) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(student_tails), cmocka_unit_test(fisher_tails), cmocka_unit_test(many_degrees),
                                       cmocka_unit_test(student_quantiles)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(fixture);
    return failed;
}
