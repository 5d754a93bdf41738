/* Law files: what is written reads back equal and predicts the same; whatever does not hold together is refused. */
#include "law_test.h"

static pare_law laws[2];
static json_t *good; /* what pare_law_to_json gives for them */

static void make_laws(void) {
    pare_law_points points = {PARE_PUSH(arena, pare_law_point, 24, &error), 24};
    assert_non_null(points.items);
    for (size_t i = 0; i < points.n; i++) {
        static const char *const models[3] = {"a", "b", "c"};
        points.items[i] = pare_law_point_blank();
        points.items[i].model = models[i % 3];
        points.items[i].method = "wanda-sp";
        points.items[i].l0 = 2.5 + (double)(i % 3);
        points.items[i].d = (double)(i % 4);
        points.items[i].ratio[PARE_LAW_RATIO_MACS] = 0.1 + (double)(i / 3) / 10;
        points.items[i].l = points.items[i].l0 * (1 + points.items[i].ratio[PARE_LAW_RATIO_MACS]) + 0.01 * (double)(i * i % 7);
    }
    pare_law_options options = {.ratio = PARE_LAW_RATIO_MACS, .provenance = "ledger.db, 24 runs; \xC3\xA9"};
    pare_law_fit fit;
    assert_done(pare_law_fit_points(&fit, PARE_LAW_V1I, &points, "wanda-sp", &options, arena, &error), error);
    laws[0] = fit.law;
    assert_done(pare_law_fit_points(&fit, PARE_LAW_V2, &points, NULL, &options, arena, &error), error);
    laws[1] = fit.law;
    pare_json_doc doc = {0};
    json_t *told = pare_law_fit_json(&doc, &fit, &points);
    assert_done(pare_json_check(&doc, &error), error);
    static const char *const keys[] = {"form",
                                       "n",
                                       "coefficients",
                                       "r2",
                                       "r2_kind",
                                       "r2_adjusted",
                                       "f",
                                       "f_p",
                                       "loo_error",
                                       "critical_ratio",
                                       "critical_ratio_interval",
                                       "ratio_kind",
                                       "covariance",
                                       "points",
                                       "notes",
                                       "dropped",
                                       "p0"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (!json_object_get(told, keys[i]))
            fail_msg("no \"%s\" in the JSON of a fit", keys[i]);
    assert_int_equal(json_array_size(json_object_get(told, "points")), 24);
    json_decref(told);
}

static void round_trip(void **state) {
    (void)state;
    char path[300], *folder = test_folder();
    snprintf(path, sizeof path, "%s/law.json", folder);
    assert_done(pare_law_write(path, laws, 2, false, &error), error);
    assert_fails(pare_law_write(path, laws, 2, false, &error), error, PARE_ERROR_CONFLICT, "law.json");
    assert_done(pare_law_write(path, laws, 2, true, &error), error);
    pare_law *read;
    size_t n;
    assert_done(pare_law_read(&read, &n, path, arena, &error), error);
    assert_int_equal(n, 2);
    assert_string_equal(read[0].method, "wanda-sp");
    assert_null(read[1].method);
    assert_string_equal(read[0].provenance, "ledger.db, 24 runs; \xC3\xA9");
    for (size_t i = 0; i < 2; i++) {
        pare_law_prediction before, after;
        assert_done(pare_law_predict(&before, &laws[i], 3, 0.35, 0, 0, &error), error);
        assert_done(pare_law_predict(&after, &read[i], 3, 0.35, 0, 0, &error), error);
        assert_memory_equal(&before, &after, sizeof before);
        assert_true(read[i].form == laws[i].form && read[i].ratio == PARE_LAW_RATIO_MACS && read[i].n == laws[i].n &&
                    read[i].n_models == 3 && read[i].errors == PARE_LAW_ERRORS_CR3);
        for (size_t j = 0; j < laws[i].n_terms; j++) {
            const pare_law_coefficient *a = &laws[i].coefficients[j], *b = &read[i].coefficients[j];
            assert_true(a->value == b->value && a->standard_error == b->standard_error && a->p == b->p &&
                        a->standard_error_clustered == b->standard_error_clustered);
        }
    }
    unlink(path);
    rmdir(folder);
}

/* Sets one value of the first law (or of the file, for a key of it) by its path "a.0.b" and wants a refusal. */
static void refused(const char *path, json_t *value, pare_code code, const char *part) {
    json_t *copy = json_deep_copy(good), *at = copy;
    char keys[128];
    snprintf(keys, sizeof keys, "%s", path);
    char *key = keys, *dot;
    for (; (dot = strchr(key, '.')); key = dot + 1) {
        *dot = 0;
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(key, NULL, 10)) : json_object_get(at, key);
    }
    if (json_is_array(at))
        json_array_set_new(at, (size_t)strtoul(key, NULL, 10), value ? value : json_null());
    else if (value)
        json_object_set_new(at, key, value);
    else
        json_object_del(at, key);
    pare_law *read;
    size_t n;
    bool done = pare_law_from_json(&read, &n, copy, "law.json", arena, &error);
    json_decref(copy);
    if (done || error.code != code || !strstr(error.message, part))
        fail_msg("%s: %s; wanted %s: …%s…", path, done ? "accepted" : error.message, pare_code_name(code), part);
}

/* Version 1 knew classical errors alone. */
static void older_files_are_read(void **state) {
    (void)state;
    json_t *copy = json_deep_copy(good), *law = json_array_get(json_object_get(copy, "laws"), 0);
    json_object_set_new(copy, "version", json_integer(1));
    json_object_del(law, "errors");
    json_object_del(law, "n_models");
    pare_law *read;
    size_t n;
    assert_done(pare_law_from_json(&read, &n, copy, "law.json", arena, &error), error);
    assert_true(n == 2 && read[0].errors == PARE_LAW_ERRORS_CLASSICAL && read[0].n_models == 0);
    near(read[0].coefficients[0].p, pare_student_p(read[0].coefficients[0].t, read[0].degrees), 1e-12, "version 1", "p", 0);
    json_decref(copy);
}

static void hostile(void **state) {
    (void)state;
    const pare_code format = PARE_ERROR_FORMAT;
    refused("schema", json_string("else"), format, "not a law file");
    refused("schema", NULL, format, "not a law file");
    refused("version", json_integer(3), PARE_ERROR_UNSUPPORTED, "version 3 of the law file; this pare reads 1 to 2");
    refused("laws.0.errors", json_string("guess"), format, "unknown kind of standard error");
    refused("laws.0.n_models", json_integer(2), format, "\"n_models\" 2 does not go with");
    refused("laws.0.n_models", json_integer(25), format, "\"n_models\" 25");
    refused("version", NULL, PARE_ERROR_UNSUPPORTED, "version 0");
    refused("laws", json_array(), format, "no list of 1 to");
    refused("laws", NULL, format, "no list of 1 to");
    refused("laws.0", json_integer(3), format, "law.json: law 1: not an object");
    refused("laws.0.form", json_string("v9"), format, "law.json: law 1: unknown form \"v9\"");
    refused("laws.0.form", NULL, format, "\"form\" is absent");
    refused("laws.0.form", json_string("v2"), format, "");
    refused("laws.0.method", json_integer(1), format, "\"method\" is not a string");
    refused("laws.0.ratio_kind", json_string("x"), format, "unknown kind of ratio");
    refused("laws.0.d_unit", json_string("tokens"), PARE_ERROR_UNSUPPORTED, "D is in \"tokens\"");
    refused("laws.0.provenance", NULL, format, "\"provenance\" is absent");
    refused("laws.0.n", json_integer(-1), format, "\"n\"");
    refused("laws.0.n", json_integer(3), format, "degrees");
    refused("laws.0.degrees", json_integer(7), format, "does not follow from n = 24 and 4 terms");
    refused("laws.0.sigma", json_real(-0.1), format, "\"sigma\" is below 0");
    refused("laws.0.sigma", json_string("x"), format, "\"sigma\" is absent or not a number");
    refused("laws.0.r_range", json_pack("[f,f]", 0.5, 0.1), format, "\"r_range\" is no range");
    refused("laws.0.r_range", json_pack("[f,f]", 0.5, 1.0), format, "\"r_range\" reaches 1");
    refused("laws.0.r_range", json_pack("[f]", 0.5), format, "not a pair");
    refused("laws.0.l0_range", json_pack("[f,f]", 0.0, 9.0), format, "not above 0");
    refused("laws.0.d_range", json_pack("[f,f]", -1.0, 9.0), format, "no range");
    refused("laws.0.l0_mean", json_real(100), format, "lies outside of");
    refused("laws.0.coefficients", json_array(), format, "no list of 1 to 4 terms");
    refused("laws.0.coefficients.0.name", json_string("zeta"), format, "has no such term \"zeta\"");
    refused("laws.0.coefficients.0.name", json_string("b"), format, "has no second term \"b\"");
    refused("laws.0.coefficients.0.value", json_null(), format, "\"value\" is absent");
    refused("laws.0.covariance", json_array(), format, "not 4 x 4");
    refused("laws.0.covariance.1", json_pack("[f]", 1.0), format, "not 4 x 4");
    refused("laws.0.covariance.1.1", json_real(-1), format, "not that of anything");
    refused("laws.0.covariance.1.0", json_real(5), format, "not that of anything");
    refused("laws.0.covariance.2.2", json_string("x"), format, "\"covariance\" is absent or not a number");
}

static void without_its_ratio(void **state) {
    (void)state;
    json_t *copy = json_deep_copy(good), *law = json_array_get(json_object_get(copy, "laws"), 0);
    json_object_set_new(law, "coefficients", json_pack("[{s:s, s:f}]", "name", "a", "value", 1.0));
    json_object_set_new(law, "covariance", json_pack("[[f]]", 0.1));
    pare_law *read;
    size_t n;
    assert_fails(pare_law_from_json(&read, &n, copy, "law.json", arena, &error), error, PARE_ERROR_FORMAT, "says nothing about r");
    json_decref(copy);
    copy = json_pack("[i]", 3);
    assert_fails(pare_law_from_json(&read, &n, copy, "law.json", arena, &error), error, PARE_ERROR_FORMAT, "not a law file");
    json_decref(copy);
    assert_fails(pare_law_read(&read, &n, "/nowhere/law.json", arena, &error), error, PARE_ERROR_IO, "/nowhere/law.json");
}

/* Every prefix of a law file, and bytes changed in it, are read or refused. */
static void truncated_and_flipped(void **state) {
    (void)state;
    pare_string file = {0};
    assert_done(pare_json_print(&file, good, NULL, &error), error);
    size_t n_read = 0;
    for (size_t i = 0; i < 2 * file.length; i++) {
        char kept = file.data[i / 2];
        size_t length = i % 2 ? file.length : i / 2;
        if (i % 2)
            file.data[i / 2] = (char)(kept ^ (1 << (i / 2 % 7)));
        json_t *json = pare_json_parse(file.data, length, "law.json", &error);
        pare_law *read;
        size_t n;
        if (json && pare_law_from_json(&read, &n, json, "law.json", arena, &error)) {
            pare_law_prediction prediction;
            n_read++;
            (void)!pare_law_predict(&prediction, &read[0], 3, 0.2, 0, 0, &error);
        }
        json_decref(json);
        file.data[i / 2] = kept;
    }
    assert_true(n_read > 0 && n_read < file.length);
    pare_string_free(&file);
}

static int open_all(void **state) {
    if (open_arena(state))
        return -1;
    make_laws();
    pare_json_doc doc = {0};
    good = pare_law_to_json(&doc, laws, 2);
    return pare_json_check(&doc, &error) ? 0 : -1;
}

static int close_all(void **state) {
    json_decref(good);
    return close_arena(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip), cmocka_unit_test(older_files_are_read), cmocka_unit_test(hostile),
                                       cmocka_unit_test(without_its_ratio), cmocka_unit_test(truncated_and_flipped)};
    return cmocka_run_group_tests(tests, open_all, close_all);
}
