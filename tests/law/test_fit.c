/* Fits of the four forms against statsmodels (fixtures/reference.json, made by tools/fixtures/law_reference.py). */
#include "law_test.h"

static json_t *reference;

static double cell(const json_t *object, const char *key, size_t i) {
    const json_t *value = json_array_get(json_object_get(object, key), i);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* Both absent, or both there and alike. */
static void alike(double ours, double wanted, double tolerance, const char *name, const char *what, size_t at) {
    if (isnan(wanted) && isnan(ours))
        return;
    near(ours, wanted, tolerance, name, what, at);
}

static void check_coefficients(const pare_law *law, const json_t *wanted, const char *name) {
    assert_int_equal(law->n_terms, json_array_size(json_object_get(wanted, "names")));
    for (size_t j = 0; j < law->n_terms; j++) {
        const pare_law_coefficient *c = &law->coefficients[j];
        assert_string_equal(c->name, json_string_value(json_array_get(json_object_get(wanted, "names"), j)));
        near(c->value, cell(wanted, "value", j), 1e-9, name, c->name, j);
        near(c->standard_error, cell(wanted, "standard_error", j), 1e-9, name, "standard error", j);
        near(c->t, cell(wanted, "t", j), 1e-8, name, "t", j);
        assert_true(fabs(c->p - cell(wanted, "p", j)) <= 1e-8 * cell(wanted, "p", j) + 1e-290);
        alike(c->standard_error_clustered, cell(wanted, "standard_error_clustered", j), 1e-9, name, "clustered standard error", j);
        for (size_t k = 0; k < law->n_terms; k++) {
            const json_t *row = json_array_get(json_object_get(wanted, "covariance"), j);
            double value = json_number_value(json_array_get(row, k));
            assert_true(fabs(law->covariance[j][k] - value) <= 1e-9 * sqrt(law->covariance[j][j] * law->covariance[k][k]));
        }
    }
    near(law->sigma, number(wanted, "sigma"), 1e-10, name, "sigma", 0);
    near(law->degrees, number(wanted, "degrees"), 0, name, "degrees", 0);
    near(law->l0_mean, number(wanted, "l0_mean"), 1e-12, name, "l0_mean", 0);
}

static void check_quality(const pare_law_fit *fit, const json_t *wanted, const char *name) {
    assert_string_equal(fit->r2_kind, text(wanted, "r2_kind"));
    near(fit->r2, number(wanted, "r2"), 1e-10, name, "r2", 0);
    near(fit->r2_adjusted, number(wanted, "r2_adjusted"), 1e-10, name, "r2_adjusted", 0);
    near(fit->f, number(wanted, "f"), 1e-8, name, "f", 0);
    assert_true(isnan(fit->f_p) == isnan(number(wanted, "f_p")));
    assert_false(fabs(fit->f_p - number(wanted, "f_p")) > 1e-7 * number(wanted, "f_p") + 1e-290);
    near(fit->loo_error, number(wanted, "loo_error"), 1e-9, name, "loo_error", 0);
    alike(fit->loo_model_error, number(wanted, "loo_model_error"), 1e-8, name, "loo_model_error", 0);
    alike(fit->lost_point_error, number(wanted, "lost_point_error"), 1e-8, name, "lost_point_error", 0);
    alike(fit->lost_model_error, number(wanted, "lost_model_error"), 1e-8, name, "lost_model_error", 0);
    alike(fit->lost_rolling_error, number(wanted, "lost_rolling_error"), 1e-7, name, "lost_rolling_error", 0);
    alike(fit->baseline_l_error, number(wanted, "baseline_l_error"), 1e-9, name, "baseline_l_error", 0);
    alike(fit->baseline_lost_error, number(wanted, "baseline_lost_error"), 1e-9, name, "baseline_lost_error", 0);
    alike(fit->r_carried, number(wanted, "r_carried"), 0, name, "r_carried", 0);
    const json_t *rows = json_object_get(wanted, "rolling");
    assert_int_equal(fit->n_rolling, json_array_size(rows));
    for (size_t i = 0; i < fit->n_rolling; i++) {
        const json_t *row = json_array_get(rows, i);
        assert_int_equal(fit->rolling[i].n_fit, (size_t)number(row, "n_fit"));
        near(fit->rolling[i].r_cut, number(row, "r_cut"), 0, name, "r_cut", i);
        alike(isfinite(fit->rolling[i].worst_inside) ? fit->rolling[i].error_inside : (double)NAN, number(row, "error_inside"), 1e-7, name,
              "error_inside", i);
        alike(isfinite(fit->rolling[i].worst_inside) ? fit->rolling[i].worst_inside : (double)NAN, number(row, "worst_inside"), 1e-7, name,
              "worst_inside", i);
        alike(fit->rolling[i].lost_beyond, number(row, "lost_beyond"), 1e-7, name, "lost_beyond", i);
        alike(fit->rolling[i].error_beyond, number(row, "error_beyond"), 1e-7, name, "error_beyond", i);
    }
}

static void check_residuals(const pare_law_fit *fit, const json_t *wanted, const char *name) {
    for (size_t i = 0; i < fit->n_residuals; i++) {
        const pare_law_residual *entry = &fit->residuals[i];
        assert_int_equal(entry->use, PARE_LAW_USED);
        assert_int_equal(entry->point, i);
        assert_true(fabs(entry->residual - cell(wanted, "residual", i)) < 1e-11);
        near(entry->leverage, cell(wanted, "leverage", i), 1e-9, name, "leverage", i);
        near(entry->studentized, cell(wanted, "studentized", i), 1e-8, name, "studentized", i);
    }
}

static void check_answers(const pare_law_fit *fit, const pare_law_points *points, const json_t *wanted, const char *name) {
    const json_t *critical = json_object_get(wanted, "critical"), *predict = json_object_get(wanted, "predict");
    alike(fit->critical.value, number(critical, "value"), 1e-8, name, "critical ratio", 0);
    if (!isnan(number(critical, "value"))) {
        near(fit->critical.low, number(critical, "low"), 1e-8, name, "critical low", 0);
        near(fit->critical.high, number(critical, "high"), 1e-8, name, "critical high", 0);
    }
    const pare_law_point *first = &points->items[0];
    pare_law_prediction prediction;
    assert_done(pare_law_predict(&prediction, &fit->law, first->l0, first->ratio[0], first->d, 0, &error), error);
    near(prediction.l, number(predict, "l"), 1e-10, name, "prediction", 0);
    near(prediction.mean_low, number(predict, "mean_low"), 1e-10, name, "mean low", 0);
    near(prediction.mean_high, number(predict, "mean_high"), 1e-10, name, "mean high", 0);
    near(prediction.prediction_low, number(predict, "low"), 1e-10, name, "prediction low", 0);
    near(prediction.prediction_high, number(predict, "high"), 1e-10, name, "prediction high", 0);
    assert_true(!prediction.outside_r && !prediction.outside_l0 && !prediction.outside_d);
}

static void against_statsmodels(void **state) {
    (void)state;
    size_t s, f, n_fits = 0;
    json_t *set, *wanted;
    json_array_foreach(json_object_get(reference, "sets"), s, set) {
        pare_law_points points = points_from(json_object_get(set, "points"));
        json_array_foreach(json_object_get(set, "fits"), f, wanted) {
            char name[128];
            pare_law_form form;
            pare_law_fit fit;
            snprintf(name, sizeof name, "%s, %s", text(set, "name"), text(wanted, "form"));
            assert_done(pare_law_form_parse(&form, text(wanted, "form"), &error), error);
            assert_done(pare_law_fit_points(&fit, form, &points, NULL, NULL, arena, &error), error);
            assert_int_equal(fit.law.n, (size_t)number(wanted, "n"));
            check_coefficients(&fit.law, wanted, name);
            check_quality(&fit, wanted, name);
            check_residuals(&fit, wanted, name);
            check_answers(&fit, &points, wanted, name);
            n_fits++;
        }
    }
    assert_int_equal(n_fits, 22);
}

static bool same(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

/* The same bits whatever the order of the points. */
static void order_does_not_matter(void **state) {
    (void)state;
    pare_law_points points = points_from(json_object_get(json_array_get(json_object_get(reference, "sets"), 4), "points"));
    for (size_t i = 0; i < points.n / 2; i++) /* seeds of one experiment: alike in all but l */
        points.items[i].l0 = 3;
    pare_random random;
    pare_random_init(&random, 7, "shuffle", 0);
    for (pare_law_form form = 0; form < PARE_LAW_N_FORMS; form++) {
        pare_law_fit before, after;
        assert_done(pare_law_fit_points(&before, form, &points, NULL, NULL, arena, &error), error);
        for (size_t i = points.n; i > 1; i--) {
            size_t j = pare_random_below(&random, (uint32_t)i);
            pare_law_point kept = points.items[i - 1];
            points.items[i - 1] = points.items[j];
            points.items[j] = kept;
        }
        assert_done(pare_law_fit_points(&after, form, &points, NULL, NULL, arena, &error), error);
        for (size_t j = 0; j < before.law.n_terms; j++)
            assert_true(before.law.coefficients[j].value == after.law.coefficients[j].value &&
                        before.law.coefficients[j].standard_error == after.law.coefficients[j].standard_error &&
                        before.law.coefficients[j].standard_error_clustered == after.law.coefficients[j].standard_error_clustered);
        assert_true(same(before.loo_error, after.loo_error) && same(before.loo_model_error, after.loo_model_error) &&
                    same(before.f, after.f) && same(before.critical.low, after.critical.low) &&
                    same(before.rolling_error, after.rolling_error));
    }
}

/* With one model by what is missed at larger ratios, with several by what is missed on a model left out. */
static void compare_ranks_by_what_is_not_seen(void **state) {
    (void)state;
    static const struct {
        size_t set, offset;
    } cases[] = {{0, offsetof(pare_law_fit, lost_rolling_error)}, {3, offsetof(pare_law_fit, lost_model_error)}};
    for (size_t c = 0; c < 2; c++) {
        pare_law_points points = points_from(json_object_get(json_array_get(json_object_get(reference, "sets"), cases[c].set), "points"));
        pare_law_candidate ranked[PARE_LAW_N_FORMS];
        assert_done(pare_law_compare(ranked, &points, NULL, NULL, arena, &error), error);
        double before = 0;
        for (size_t i = 0; i < PARE_LAW_N_FORMS; i++) {
            double now = *(const double *)((const char *)&ranked[i].fit + cases[c].offset);
            assert_true(ranked[i].done && isfinite(now) && before <= now);
            before = now;
        }
    }
}

static void groups_and_pooling(void **state) {
    (void)state;
    pare_law_points points = points_from(json_object_get(json_array_get(json_object_get(reference, "sets"), 2), "points"));
    pare_law_groups groups;
    assert_done(pare_law_fit_groups(&groups, PARE_LAW_V2, &points, NULL, arena, &error), error);
    assert_int_equal(groups.n, 3);
    assert_string_equal(groups.items[0].method, "random");
    assert_string_equal(groups.items[1].method, "wanda-sp");
    assert_null(groups.items[2].method);
    assert_int_equal(groups.items[2].fit.n_methods, 2);
    assert_int_equal(groups.items[0].fit.law.n + groups.items[1].fit.law.n, groups.items[2].fit.law.n);
    /* (RSS pooled - RSS apart) / 2 over RSS apart / 16, from the sums themselves */
    double rss[3];
    for (size_t i = 0; i < 3; i++)
        rss[i] = pow(groups.items[i].fit.law.sigma, 2) * groups.items[i].fit.law.degrees;
    near(groups.pooling_f, (rss[2] - rss[0] - rss[1]) / 2 / ((rss[0] + rss[1]) / 16), 1e-10, "pooling", "f", 0);
    assert_true(groups.pooling_p < 1e-6);
}

int main(void) {
    reference = pare_json_read(PARE_FIXTURES "/reference.json", &error);
    if (!reference) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_statsmodels), cmocka_unit_test(order_does_not_matter),
                                       cmocka_unit_test(compare_ranks_by_what_is_not_seen), cmocka_unit_test(groups_and_pooling)};
    int failed = cmocka_run_group_tests(tests, open_arena, close_arena);
    json_decref(reference);
    return failed;
}
