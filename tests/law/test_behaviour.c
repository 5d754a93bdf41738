/* What a fit does with points it should not use, designs that say less than the form asks, and questions outside of its range. */
#include "law_test.h"

#define MAX 256
static pare_law_point items[MAX];
static pare_law_points points = {items, 0};

static void clear(void **state) {
    (void)state;
    points.n = 0;
}

static pare_law_point *add(const char *model, const char *method, double l0, double r, double d, double l) {
    pare_law_point *point = &items[points.n++];
    *point = pare_law_point_blank();
    point->model = model;
    point->method = method;
    point->l0 = l0;
    point->ratio[PARE_LAW_RATIO_NOMINAL] = r;
    point->d = d;
    point->l = l;
    return point;
}

static double noise(size_t i) {
    pare_random random;
    pare_random_init(&random, 3, "noise", i);
    return 0.02 * (pare_random_unit(&random) - 0.5);
}

/* A grid of two models and nine ratios that follows v2 up to noise. */
static void add_grid(double scale) {
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 1; i < 10; i++) {
            double l0 = m ? 3.2 : 2.4, r = (double)i / 10;
            add(m ? "big" : "small", "m", l0, r, 0, 1.02 * l0 * pow(1 - r, -0.7) * exp(scale * noise(points.n)));
        }
}

static void fit(pare_law_fit *result, pare_law_form form, const pare_law_options *options) {
    assert_done(pare_law_fit_points(result, form, &points, NULL, options, arena, &error), error);
}

static void recovers_known_coefficients(void **state) {
    clear(state);
    static const double l0[3] = {2, 3, 4}, d[3] = {0, 2, 10};
    for (size_t m = 0; m < 3; m++)
        for (size_t k = 0; k < 3; k++)
            for (size_t i = 0; i < 9; i++) {
                double r = (double)i / 10;
                add(m == 0   ? "a"
                    : m == 1 ? "b"
                             : "c",
                    "m", l0[m], r, d[k], exp(0.9 * log(l0[m]) + 2.1 * log1p(r) + 0.4 * log1p(1 / (d[k] + 1)) + 0.25));
            }
    pare_law_fit v1i;
    fit(&v1i, PARE_LAW_V1I, NULL);
    static const double wanted[4] = {0.9, 2.1, 0.4, 0.25};
    for (size_t j = 0; j < 4; j++)
        near(v1i.law.coefficients[j].value, wanted[j], 1e-11, "v1i", "coefficient", j);
    assert_true(v1i.loo_error < 1e-12 && v1i.r2 > 1 - 1e-12);
    double b = 2.1, l = 3, factor = pow(1.5, 1 / b) * pow(l, (1 - 0.9) / b) * pow(1 + 1 / 3.0, -0.4 / b) * exp(-0.25 / b);
    pare_law_critical critical; /* the inversion of laws: 1 + r = [sigma L0^(1-a) (1 + 1/(D+1))^-c e^-constant]^(1/b) */
    assert_done(pare_law_critical_find(&critical, &v1i.law, 1.5, l, 2, 0, &error), error);
    near(critical.value, factor - 1, 1e-9, "v1i", "critical ratio", 0);
    points.n = 0;
    add_grid(0);
    pare_law_fit v2;
    fit(&v2, PARE_LAW_V2, NULL);
    near(v2.law.coefficients[0].value, -0.7, 1e-12, "v2", "a", 0);
    near(exp(v2.law.coefficients[1].value), 1.02, 1e-12, "v2", "P0", 0);
    near(v2.identity_error, 0.02, 1e-9, "v2", "identity error", 0);
    near(v2.r_carried, 0.9, 0, "v2", "range carried", 0);
    points.n = 0;
    for (size_t i = 1; i < 9; i++)
        add("m", "m", 3, (double)i / 10, 0, 3 * (1 + 0.5 * (double)i / 10 + 2 * (double)(i * i) / 100));
    pare_law_fit quadratic;
    fit(&quadratic, PARE_LAW_QUADRATIC, NULL);
    near(quadratic.law.coefficients[0].value, 0.5, 1e-11, "quadratic", "a", 0);
    near(quadratic.law.coefficients[1].value, 2, 1e-11, "quadratic", "b", 0);
}

static void excludes_and_counts(void **state) {
    clear(state);
    add_grid(1);
    double nan = (double)NAN;
    add("big", "m", 3.2, 0.5, 0, 12)->ceiling = 10.8;
    add("big", "m", 3.2, 0.5, 0, 10.7)->ceiling = 10.8;
    add("big", "m", 3.2, 0, 0, 3.2);
    add("big", "m", 3.2, 0, 0, 3.21);
    add("big", "m", 3.2, 0.5, 0, nan);
    add("big", "m", 3.2, 0.5, 0, -1);
    add("big", "m", 0, 0.5, 0, 5);
    add("big", "m", 3.2, 1, 0, 5);
    add("big", "m", 3.2, -0.1, 0, 5);
    add("big", "m", 3.2, nan, 0, 5);
    add("big", "m", 3.2, 0.5, -2, 5);
    add("big", "m", 3.2, 0.5, nan, 5); /* missing d is 0 */
    pare_law_fit law;
    fit(&law, PARE_LAW_V2, NULL);
    assert_int_equal(law.law.n, 18 + 3);
    assert_int_equal(law.n_excluded, 9);
    assert_int_equal(law.excluded[PARE_LAW_BROKEN], 1);
    assert_int_equal(law.excluded[PARE_LAW_IDENTITY], 1);
    assert_int_equal(law.excluded[PARE_LAW_BAD_L], 2);
    assert_int_equal(law.excluded[PARE_LAW_BAD_L0], 1);
    assert_int_equal(law.excluded[PARE_LAW_BAD_R], 2);
    assert_int_equal(law.excluded[PARE_LAW_NO_R], 1);
    assert_int_equal(law.excluded[PARE_LAW_BAD_D], 1);
    assert_int_equal(law.residuals[20].use, PARE_LAW_IDENTITY);
    assert_true(isfinite(law.residuals[20].residual) && isnan(law.residuals[20].leverage)); /* the miss at r = 0 is told */
    assert_true(isfinite(law.residuals[18].fitted));
    pare_law_options options = {.include_broken = true, .include_identity = true};
    fit(&law, PARE_LAW_V2, &options);
    assert_int_equal(law.law.n, 18 + 5);
    options = (pare_law_options){.ratio = PARE_LAW_RATIO_BYTES};
    assert_fails(pare_law_fit_points(&law, PARE_LAW_V2, &points, NULL, &options, arena, &error), error, PARE_ERROR_NUMERIC,
                 "no point to fit");
    for (size_t i = 0; i < points.n; i++)
        items[i].ratio[PARE_LAW_RATIO_BYTES] = items[i].ratio[0] / 2;
    fit(&law, PARE_LAW_V2, &options);
    near(law.law.r_max, 0.5, 1e-12, "bytes", "r_max", 0);
}

static void tells_what_it_dropped(void **state) {
    clear(state);
    for (size_t i = 1; i < 9; i++)
        add("one", "m", 3.2, (double)i / 10, 0, 3.2 * (1 + (double)i / 10) * exp(noise(i)));
    pare_law_fit law;
    fit(&law, PARE_LAW_V1I, NULL);
    assert_int_equal(law.law.n_terms, 2);
    assert_int_equal(law.n_dropped, 1);
    assert_string_equal(law.dropped[0].name, "constant");
    assert_string_equal(law.r2_kind, "centred");
    assert_non_null(strstr(law.notes[0], "says nothing about another l0"));
    points.n = 0;
    for (size_t i = 0; i < 5; i++) /* one ratio alone */
        add(i % 2 ? "one" : "two", "m", i % 2 ? 3 : 4, 0.3, 0, (i % 2 ? 3 : 4) * 1.3 * exp(noise(i)));
    fit(&law, PARE_LAW_V2, NULL);
    assert_int_equal(law.law.n_terms, 1);
    assert_string_equal(law.law.coefficients[0].name, "a");
    assert_string_equal(law.dropped[0].name, "ln_p0");
    assert_true(isfinite(law.f) && isfinite(law.f_p) && isfinite(law.law.coefficients[0].standard_error));
    fit(&law, PARE_LAW_QUADRATIC, NULL);
    assert_string_equal(law.dropped[0].name, "b");
    points.n = 0;
    for (size_t i = 0; i < 5; i++) /* the ratio is 0 throughout */
        add(i % 2 ? "one" : "two", "m", i % 2 ? 3 : 4, 0, (double)i, 3 + (double)i);
    for (pare_law_form form = 0; form < PARE_LAW_N_FORMS; form++)
        assert_false(pare_law_fit_points(&law, form, &points, NULL, NULL, arena, &error) || error.code != PARE_ERROR_NUMERIC);
}

static void too_few_points(void **state) {
    clear(state);
    pare_law_fit law;
    assert_fails(pare_law_fit_points(&law, PARE_LAW_V2, &points, NULL, NULL, arena, &error), error, PARE_ERROR_NUMERIC, "no point");
    add("m", "m", 3, 0.1, 0, 3.3);
    add("m", "m", 3, 0.2, 0, 3.7);
    assert_fails(pare_law_fit_points(&law, PARE_LAW_V2, &points, NULL, NULL, arena, &error), error, PARE_ERROR_NUMERIC,
                 "form v2, pooled: 2 coefficients need at least 3 points, there are 2 (2 of 2 points usable)");
    pare_law_groups groups;
    assert_fails(pare_law_fit_groups(&groups, PARE_LAW_V2, &points, NULL, arena, &error), error, PARE_ERROR_NUMERIC, "method m");
    add("m", "other", 3, 0.3, 0, 4);
    assert_done(pare_law_fit_groups(&groups, PARE_LAW_V2, &points, NULL, arena, &error), error);
    assert_true(!groups.items[0].done && !groups.items[1].done && groups.items[2].done && isnan(groups.pooling_f));
    assert_int_equal(groups.items[2].fit.law.degrees, 1);
    for (size_t i = 0; i < groups.items[2].fit.n_notes; i++)
        if (strstr(groups.items[2].fit.notes[i], "1 degree of freedom"))
            return;
    fail_msg("no note about one degree of freedom");
}

static void critical_ratios_that_are_not_there(void **state) {
    clear(state);
    add_grid(1);
    pare_law_fit law;
    pare_law_critical critical;
    fit(&law, PARE_LAW_V2, NULL);
    assert_true(fabs(law.critical.value - 0.102) < 0.01);
    assert_true(law.critical.low < law.critical.value && law.critical.value < law.critical.high);
    assert_done(pare_law_critical_find(&critical, &law.law, 1.01, 0, 0, 0, &error), error); /* P0 is 1.02 */
    assert_true(isnan(critical.value) && strstr(critical.note, "no ratio below 1"));
    assert_done(pare_law_critical_find(&critical, &law.law, 20, 0, 0, 0, &error), error);
    assert_true(critical.outside && strstr(critical.note, "extrapolation"));
    fit(&law, PARE_LAW_V1, NULL);
    assert_done(pare_law_critical_find(&critical, &law.law, 1000, 0, 0, 0, &error), error);
    assert_true(isnan(critical.value) && isnan(critical.low));
    assert_fails(pare_law_critical_find(&critical, &law.law, -1, 0, 0, 0, &error), error, PARE_ERROR_RANGE, "threshold -1");
    assert_fails(pare_law_critical_find(&critical, &law.law, 1.1, -3, 0, 0, &error), error, PARE_ERROR_RANGE, "l0 = -3");
    assert_fails(pare_law_critical_find(&critical, &law.law, 1.1, 0, 0, 1.5, &error), error, PARE_ERROR_RANGE, "level 1.5");
}

static void predictions_know_their_range(void **state) {
    clear(state);
    add_grid(1);
    pare_law_fit law;
    pare_law_prediction p;
    fit(&law, PARE_LAW_V2, NULL);
    assert_done(pare_law_predict(&p, &law.law, 3.2, 0.5, 0, 0.9, &error), error);
    assert_true(p.prediction_low < p.mean_low && p.mean_low < p.l && p.l < p.mean_high && p.mean_high < p.prediction_high &&
                p.level == 0.9);
    near(p.factor, 1.02 * pow(0.5, -0.7), 0.01, "v2", "factor", 0);
    assert_done(pare_law_predict(&p, &law.law, 9, 0.95, 4, 0, &error), error);
    assert_true(p.outside_r && p.outside_l0 && p.outside_d);
    assert_string_equal(p.warning,
                        "r 0.95 is outside of what was fitted, 0.1 to 0.9; l0 9 is outside of what was fitted, 2.4 to 3.2; d 4 is "
                        "outside of what was fitted, 0 to 0");
    assert_fails(pare_law_predict(&p, &law.law, 3, 1, 0, 0, &error), error, PARE_ERROR_RANGE, "ratio 1 is outside");
    assert_fails(pare_law_predict(&p, &law.law, 3, (double)NAN, 0, 0, &error), error, PARE_ERROR_RANGE, "outside");
    assert_fails(pare_law_predict(&p, &law.law, 0, 0.5, 0, 0, &error), error, PARE_ERROR_RANGE, "l0 = 0");
    assert_fails(pare_law_predict(&p, &law.law, 3, 0.5, -1, 0, &error), error, PARE_ERROR_RANGE, "d = -1");
}

static void names(void **state) {
    (void)state;
    pare_law_form form;
    pare_law_ratio ratio;
    for (pare_law_form f = 0; f < PARE_LAW_N_FORMS; f++)
        assert_true(pare_law_form_parse(&form, pare_law_form_name(f), &error) && form == f);
    for (pare_law_ratio r = 0; r < PARE_LAW_N_RATIOS; r++)
        assert_true(pare_law_ratio_parse(&ratio, pare_law_ratio_name(r), &error) && ratio == r);
    assert_fails(pare_law_form_parse(&form, "v3", &error), error, PARE_ERROR_USAGE, "there are v1, v1i, v2, quadratic");
    assert_fails(pare_law_ratio_parse(&ratio, "mac", &error), error, PARE_ERROR_USAGE, "unknown kind of ratio \"mac\"");
}

/* Every allocation of a fit fails once; none of it crashes or passes for done. */
static void survives_failing_memory(void **state) {
    clear(state);
    add_grid(1);
    pare_law_fit law;
    for (size_t n = 1; n < 200; n++) {
        pare_arena *fresh = pare_arena_open(&error);
        assert_non_null(fresh);
        pare_allocate_fail_at(n);
        bool done = pare_law_fit_points(&law, PARE_LAW_V1, &points, NULL, NULL, fresh, &error);
        pare_allocate_fail_at(0);
        pare_arena_close(fresh);
        if (done && n > 1)
            return;
        assert_true(!done && error.code == PARE_ERROR_MEMORY);
    }
    fail_msg("the fit never came through");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recovers_known_coefficients),
        cmocka_unit_test(excludes_and_counts),
        cmocka_unit_test(tells_what_it_dropped),
        cmocka_unit_test(too_few_points),
        cmocka_unit_test(critical_ratios_that_are_not_there),
        cmocka_unit_test(predictions_know_their_range),
        cmocka_unit_test(names),
        cmocka_unit_test(survives_failing_memory),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
