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
    add("big", "m", 3.2, 0.95, 0, 12)->ceiling = 10.8;
    add("small", "m", 2.4, 0.95, 0, 10.7)->ceiling = 10.8;
    add("big", "m", 3.2, 0, 0, 3.2);
    add("big", "m", 3.2, 0, 0, 3.21);
    add("big", "m", 3.2, 0, 1, 3.1);
    add("big", "m", 3.2, 0.5, 0, nan);
    add("big", "m", 3.2, 0.5, 0, -1);
    add("big", "m", 0, 0.5, 0, 5);
    add("big", "m", 3.2, 1, 0, 5);
    add("big", "m", 3.2, -0.1, 0, 5);
    add("big", "m", 3.2, nan, 0, 5);
    add("big", "m", 3.2, 0.5, -2, 5);
    add("big", "m", 3.2, 0.5, nan, 5); /* missing d is 0 */
    add("big", "m", 3.2, 0.5, 0, 5);   /* so that this is a copy */
    pare_law_fit law;
    fit(&law, PARE_LAW_V2, NULL);
    assert_int_equal(law.law.n, 18 + 1);
    assert_int_equal(law.n_excluded, 13);
    static const size_t wanted[PARE_LAW_N_USES] = {
        [PARE_LAW_BROKEN] = 1, [PARE_LAW_BEYOND] = 1, [PARE_LAW_IDENTITY] = 2, [PARE_LAW_CONTROL] = 1, [PARE_LAW_BAD_L] = 2,
        [PARE_LAW_BAD_L0] = 1, [PARE_LAW_BAD_R] = 2,  [PARE_LAW_NO_R] = 1,     [PARE_LAW_BAD_D] = 1,   [PARE_LAW_COPY] = 1};
    assert_memory_equal(law.excluded, wanted, sizeof wanted);
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
    near(law.law.r_max, 0.45, 1e-12, "bytes", "r_max", 0);
}

static bool noted(const pare_law_fit *law, const char *part) {
    for (size_t i = 0; i < law->n_notes; i++)
        if (strstr(law->notes[i], part))
            return true;
    return false;
}

static void tells_what_it_dropped(void **state) {
    clear(state);
    for (size_t i = 1; i < 9; i++)
        add("one", "m", 3.2, (double)i / 10, 0, 3.2 * (1 + (double)i / 10) * exp(noise(i)));
    pare_law_fit law;
    fit(&law, PARE_LAW_V1I, NULL);
    assert_int_equal(law.law.n_terms, 2);
    assert_int_equal(law.n_dropped, 0);
    assert_string_equal(law.law.coefficients[0].name, "b"); /* a is 1 */
    assert_string_equal(law.law.coefficients[1].name, "constant");
    assert_string_equal(law.r2_kind, "centred");
    assert_true(noted(&law, "a of L0 is held at 1") && noted(&law, "say nothing of other models"));
    points.n = 0;
    for (size_t i = 0; i < 5; i++) /* the ratio is 0 throughout */
        add(i % 2 ? "one" : "two", "m", i % 2 ? 3 : 4, 0, (double)i, 3 + (double)i);
    for (pare_law_form form = 0; form < PARE_LAW_N_FORMS; form++)
        assert_false(pare_law_fit_points(&law, form, &points, NULL, NULL, arena, &error) || error.code != PARE_ERROR_NUMERIC);
}

/* A slope from one ratio is one through the origin, and no law in r. */
static void one_ratio_is_no_law(void **state) {
    clear(state);
    static const char *const models[] = {"one", "two", "three"};
    for (size_t i = 0; i < 6; i++)
        add(models[i % 3], "m", 3 + 0.5 * (double)(i % 3), 0.3 + 0.001 * (double)(i % 3), 0,
            (3 + 0.5 * (double)(i % 3)) * 1.3 * exp(noise(i)));
    pare_law_fit law;
    for (pare_law_form form = 0; form < PARE_LAW_N_FORMS; form++)
        assert_fails(pare_law_fit_points(&law, form, &points, NULL, NULL, arena, &error), error, PARE_ERROR_NUMERIC,
                     "all points have one ratio");
    add("one", "m", 3, 0.5, 0, 4.5);
    fit(&law, PARE_LAW_V2, NULL);
}

/* Rows of two kernels give one model two L0 that differ in the last digits: no exponent of L0 follows from that. */
static void one_l0_per_model(void **state) {
    static const double steps[] = {6e-8, 1e-6, 1e-4};
    for (size_t k = 0; k < 3; k++) {
        clear(state);
        for (size_t i = 1; i < 9; i++)
            add("one", "m", 3.2 * (1 + steps[k] * (double)(i % 2)), (double)i / 10, 0, 3.2 * (1 + (double)i / 10) * exp(noise(i)));
        pare_law_fit law;
        fit(&law, PARE_LAW_V1I, NULL);
        for (size_t j = 0; j < law.law.n_terms; j++)
            assert_true(fabs(law.law.coefficients[j].value) < 3);
        assert_true(law.law.l0_min == law.law.l0_max);
    }
    clear(state); /* two models cannot tell an exponent from a constant; three can */
    add_grid(1);
    pare_law_fit law;
    fit(&law, PARE_LAW_V1I, NULL);
    assert_string_equal(law.law.coefficients[0].name, "b");
    for (size_t i = 1; i < 10; i++)
        add("third", "m", 2.9, (double)i / 10, 0, 2.9 * pow(1 - (double)i / 10, -0.7) * exp(noise(100 + i)));
    fit(&law, PARE_LAW_V1I, NULL);
    assert_string_equal(law.law.coefficients[0].name, "a");
    for (size_t i = 0; i < points.n; i++) /* three models whose L0 hardly differ */
        items[i].l0 = items[i].l0 > 3 ? 3 : items[i].l0 > 2.5 ? 3.001 : 3.002;
    fit(&law, PARE_LAW_V1I, NULL);
    assert_string_equal(law.law.coefficients[0].name, "b");
    items[0].l0 *= 1.2; /* really another L0 */
    fit(&law, PARE_LAW_V2, NULL);
    assert_true(noted(&law, "more than one L0"));
}

/* Random cuts of eight models at r = 0.8 leave two below ln V: those two are no sample of what the method does there. */
static void broken_models_take_their_ratio_along(void **state) {
    clear(state);
    static const char *const models[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t m = 0; m < 8; m++)
        for (size_t i = 1; i <= 9; i++) {
            double r = (double)i / 10, l = 3 * (1 + (2 + 0.5 * (double)m) * r * r) * exp(noise(points.n));
            add(models[m], "m", 3, r, 0, l)->ceiling = 6.9;
            add(models[m], "m", 3, r, 1, 0.6 * l)->ceiling = 6.9; /* recovered: breaks later, if at all */
        }
    pare_law_fit law;
    pare_law_options options = {.without_recovery = true};
    fit(&law, PARE_LAW_V1, &options);
    double first = 1;
    for (size_t i = 0; i < points.n; i++)
        if (items[i].d == 0 && items[i].l > 6.9)
            first = fmin(first, items[i].ratio[0]);
    size_t n = 0;
    for (size_t i = 0; i < law.n_residuals; i++) {
        const pare_law_residual *entry = &law.residuals[i];
        const pare_law_point *point = &items[entry->point];
        if (point->d > 0)
            continue;
        n += entry->use == PARE_LAW_USED;
        assert_int_equal(entry->use == PARE_LAW_USED, point->ratio[0] < first);
        assert_int_equal(entry->use == PARE_LAW_BROKEN, point->l > 6.9);
    }
    assert_true(first > 0.3 && first < 0.9 && n == law.law.n && n % 8 == 0 && law.excluded[PARE_LAW_BEYOND] > 0);
    assert_true(noted(&law, "above the loss of a uniform guess"));
    fit(&law, PARE_LAW_V1, NULL);
    assert_true(law.law.d_max == 1 && law.law.r_max > first); /* another D has a range of its own */
}

/* What is in the pooled law is in some method's, so that both sides of their comparison are about the same results. */
static void pooled_and_apart_count_alike(void **state) {
    clear(state);
    static const char *const methods[] = {"p", "q"};
    for (size_t m = 0; m < 2; m++)
        for (size_t i = 1; i < 8; i++)
            add("one", methods[m], 3, (double)i / 10, 0, 3 * pow(1 - (double)i / 10, -0.5 - 0.2 * (double)m) * exp(noise(points.n)));
    pare_law_groups before, after;
    assert_done(pare_law_fit_groups(&before, PARE_LAW_V2, &points, NULL, arena, &error), error);
    assert_true(isfinite(before.pooling_f) && before.n_pooled == 2);
    add("one", "dense", 3, 0, 0, 3.3); /* measured otherwise than its L0 */
    add("one", "dense", 3, 0, 0.1, 2.9);
    assert_done(pare_law_fit_groups(&after, PARE_LAW_V2, &points, NULL, arena, &error), error);
    assert_int_equal(after.n, 3);
    assert_int_equal(after.items[2].fit.law.n, after.items[0].fit.law.n + after.items[1].fit.law.n);
    assert_true(before.pooling_f == after.pooling_f && before.pooling_p == after.pooling_p);
    add("one", "z", 3, 0.5, 0, 9); /* one result makes no law, and takes nothing from the others */
    assert_done(pare_law_fit_groups(&after, PARE_LAW_V2, &points, NULL, arena, &error), error);
    assert_true(after.n == 4 && !after.items[2].done && after.n_pooled == 2);
    assert_true(before.pooling_f == after.pooling_f && before.pooling_p == after.pooling_p);
    for (size_t i = 0, n = points.n; i < n; i++) { /* another model: its results are not independent, so that F's table does not hold */
        double factor = items[i].l / items[i].l0 * 1.1;
        add("two", items[i].method, 2.5, items[i].ratio[0], items[i].d, 2.5 * factor);
    }
    assert_done(pare_law_fit_groups(&after, PARE_LAW_V2, &points, NULL, arena, &error), error);
    assert_true(isnan(after.pooling_f) && isnan(after.items[0].fit.f_p));
    assert_true(after.apart_lost_error < after.pooled_lost_error); /* these methods do differ */
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

/* Models differ in slope: errors that take all results as independent are too small, and those clustered by model are not. */
static void intervals_hold_the_truth(void **state) {
    enum { ROUNDS = 400, MODELS = 5 };
    static const char *const models[MODELS] = {"a", "b", "c", "d", "e"};
    int clustered = 0, classical = 0, critical = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        clear(state);
        for (size_t m = 0; m < MODELS; m++) {
            double slope = -0.7, l0 = 2 + 0.3 * (double)m;
            for (size_t k = 0; k < 12; k++) /* a sum of twelve: nearly normal, 0.1 wide */
                slope += 5 * noise(100000 + (round * MODELS + m) * 12 + k);
            for (size_t i = 1; i < 8; i++)
                add(models[m], "m", l0, (double)i / 10, 0, 1.02 * l0 * pow(1 - (double)i / 10, slope) * exp(noise(round * 64 + m * 8 + i)));
        }
        pare_law_fit law;
        fit(&law, PARE_LAW_V2, NULL);
        const pare_law_coefficient *a = &law.law.coefficients[0];
        double truth = 1 - exp(-log(1.1 / 1.02) / 0.7);
        clustered += fabs(a->value + 0.7) <= pare_student_quantile(0.975, MODELS - 1) * a->standard_error_clustered;
        classical += fabs(a->value + 0.7) <= pare_student_quantile(0.975, law.law.degrees) * a->standard_error;
        critical += law.critical.low <= truth && truth <= law.critical.high;
    }
    assert_true(clustered >= 0.92 * ROUNDS && clustered <= 0.985 * ROUNDS);
    assert_true(critical >= 0.92 * ROUNDS && critical <= 0.985 * ROUNDS);
    assert_true(classical < 0.85 * ROUNDS);
}

/* Whatever ratio the test at the level does not reject lies in the interval, in one piece with the value or not. */
static void critical_interval_holds_all_that_is_accepted(void **state) {
    size_t n_values = 0, n_pieces = 0;
    for (size_t round = 0; round < 80; round++) {
        clear(state);
        static const char *const models[] = {"a", "b", "c"};
        for (size_t m = 0; m < 2 + round % 2; m++)
            for (size_t i = 1; i < 8; i++) {
                double slope = 0.4 + 20 * noise(1000 * round + m), r = (double)i / 10, l0 = 3 - 0.2 * (double)m;
                add(models[m], "m", l0, r, 0, l0 * pow(1 + r, slope) * exp(2 * noise(1000 * round + 7 * m + i)));
            }
        pare_law_fit law;
        fit(&law, (pare_law_form)(round % PARE_LAW_N_FORMS), NULL);
        const pare_law_critical *critical = &law.critical;
        assert_true(isnan(critical->value) == isnan(critical->low) && isnan(critical->low) == isnan(critical->high));
        if (isnan(critical->value))
            continue;
        n_values++;
        n_pieces += !critical->one_piece;
        assert_true(critical->low <= critical->value && critical->value <= critical->high);
        for (size_t i = 0; i < 100; i++) {
            pare_law_prediction p;
            double r = (double)i / 100;
            assert_done(pare_law_predict(&p, &law.law, critical->l0, r, 0, 0, &error), error);
            double low = fmin(p.mean_low, p.mean_high), high = fmax(p.mean_low, p.mean_high), wanted = 1.1 * critical->l0;
            if (low < wanted && wanted < high && !(critical->low <= r && r <= critical->high))
                fail_msg("round %zu: r = %g is accepted and outside of %g to %g", round, r, critical->low, critical->high);
        }
    }
    assert_true(n_values > 20 && n_pieces > 0 && n_pieces < n_values);
}

/* No answer where there is none: a D that the law knows nothing of, or far beyond what was fitted. */
static void recovery_is_not_extrapolated(void **state) {
    clear(state);
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 1; i < 9; i++) {
            double r = (double)i / 10, d = 0.05 * (double)k;
            add("m", "m", 3, r, d, 3 * pow(1 + r, 1.5) * pow(1 + 1 / (d + 1), 3) / 8 * exp(0.1 * noise(points.n)));
        }
    pare_law_fit law;
    pare_law_prediction p;
    pare_law_critical critical;
    fit(&law, PARE_LAW_V1I, NULL);
    assert_done(pare_law_predict(&p, &law.law, 3, 0.3, 0.05, 0, &error), error);
    assert_string_equal(p.warning, "");
    assert_done(pare_law_predict(&p, &law.law, 3, 0.3, 0.2, 0, &error), error);
    assert_true(p.outside_d && strstr(p.warning, "D = 0.2 lies outside"));
    assert_fails(pare_law_predict(&p, &law.law, 3, 0.3, 1, 0, &error), error, PARE_ERROR_RANGE, "fitted up to D = 0.1 million");
    assert_done(pare_law_critical_find(&critical, &law.law, 0, 3, 0.1, 0, &error), error);
    assert_true(critical.value > law.critical.value);
    assert_fails(pare_law_critical_find(&critical, &law.law, 0, 3, 1, 0, &error), error, PARE_ERROR_RANGE, "does not extrapolate");
    fit(&law, PARE_LAW_V2, NULL);
    assert_true(law.law.n == 8 && law.excluded[PARE_LAW_RECOVERED] == 16 && law.law.d_max == 0);
    assert_fails(pare_law_predict(&p, &law.law, 3, 0.3, 0.05, 0, &error), error, PARE_ERROR_RANGE, "has no term for D");
    for (size_t i = 0; i < points.n; i++)
        items[i].d = 5;
    fit(&law, PARE_LAW_V2, NULL); /* all at one D: the critical ratio is about that D */
    near(law.critical.d, 5, 0, "v2", "critical D", 0);
    assert_fails(pare_law_predict(&p, &law.law, 3, 0.3, 0, 0, &error), error, PARE_ERROR_RANGE, "fitted at D = 5 million alone");
}

/* The power of r that made the points, with an interval that holds it; ratios with a gain are no part of a power. */
static void exponent_of_growth(void **state) {
    clear(state);
    static const char *const models[] = {"a", "b", "c", "d"};
    for (size_t m = 0; m < 4; m++)
        for (size_t i = 1; i < 8; i++) {
            double r = (double)i / 10, rise = (0.5 + 0.3 * (double)m) * pow(r, 1.7 + 0.05 * ((double)m - 1.5)) * exp(5 * noise(points.n));
            add(models[m], "m", 3, r, 0, 3 * (1 + (i == 1 && m == 2 ? -0.01 : rise)));
            add(models[m], "m", 3, r, 1, 3 * (1 + 0.1 * r)); /* recovered: another matter */
        }
    pare_law_exponent k;
    assert_done(pare_law_exponent_find(&k, &points, "m", NULL, arena, &error), error);
    assert_true(k.low < 1.7 && 1.7 < k.high && k.high - k.low < 1 && fabs(k.value - 1.7) < 0.15);
    assert_true(k.n_models == 4 && k.n == 16 && k.degrees == 3 && k.r_min == 0.2 && k.r_max == 0.5);
    points.n = 14; /* one model: exactly by its own results */
    for (size_t i = 0; i < points.n; i += 2)
        items[i].l = 3 * (1 + 0.4 * pow(items[i].ratio[0], 2));
    assert_done(pare_law_exponent_find(&k, &points, "m", NULL, arena, &error), error);
    near(k.value, 2, 1e-9, "one model", "exponent", 0);
    assert_true(k.standard_error < 1e-6 && k.degrees == 3);
    points.n = 4;
    assert_done(pare_law_exponent_find(&k, &points, "m", NULL, arena, &error), error);
    assert_true(isnan(k.value) && isnan(k.low));
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
    assert_done(pare_law_predict(&p, &law.law, 9, 0.95, 0, 0, &error), error);
    assert_true(p.outside_r && p.outside_l0 && !p.outside_d);
    assert_string_equal(p.warning,
                        "r = 0.95 lies outside of what was fitted, 0.1 to 0.9: an extrapolation. L0 = 9 lies outside of what was "
                        "fitted, 2.4 to 3.2: an extrapolation.");
    assert_done(pare_law_predict(&p, &law.law, 3, 0.01, 0, 0, &error), error);
    assert_non_null(strstr(p.warning, "at r = 0 it gives 1.026 times L0, where 1 is true."));
    near(p.at_zero, exp(law.law.coefficients[1].value), 1e-12, "v2", "at zero", 0);
    assert_done(pare_law_predict(&p, &law.law, 3.2001, 0.5, 0, 0, &error), error); /* the last digits of an L0 */
    assert_string_equal(p.warning, "");
    assert_fails(pare_law_predict(&p, &law.law, 3, 0.5, 4, 0, &error), error, PARE_ERROR_RANGE, "has no term for D");
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
    assert_fails(pare_law_form_parse(&form, "v3", &error), error, PARE_ERROR_USAGE, "There are v1, v1i, v2, quadratic");
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
        cmocka_unit_test(one_ratio_is_no_law),
        cmocka_unit_test(one_l0_per_model),
        cmocka_unit_test(broken_models_take_their_ratio_along),
        cmocka_unit_test(pooled_and_apart_count_alike),
        cmocka_unit_test(too_few_points),
        cmocka_unit_test(critical_ratios_that_are_not_there),
        cmocka_unit_test(intervals_hold_the_truth),
        cmocka_unit_test(critical_interval_holds_all_that_is_accepted),
        cmocka_unit_test(recovery_is_not_extrapolated),
        cmocka_unit_test(exponent_of_growth),
        cmocka_unit_test(predictions_know_their_range),
        cmocka_unit_test(names),
        cmocka_unit_test(survives_failing_memory),
    };
    return cmocka_run_group_tests(tests, open_arena, close_arena);
}
