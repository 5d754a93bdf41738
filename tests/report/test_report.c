/* The report of a real study (the numbers of a grid over SmolLM2-135M-Instruct, measured by PyTorch): its embedded data, its
 * sentences, and that no name in a ledger can become markup. PARE_KEEP_REPORT=FILE keeps the page for a look. */
#include <math.h>

#include "test.h"

#include "pare/json.h"
#include "pare/law.h"
#include "report_impl.h"

static char folder[300], ledger[400], output[400];

static int set_up(void **state) {
    (void)state;
    const char *made = test_folder();
    if (!made)
        return -1;
    snprintf(folder, sizeof folder, "%s", made);
    snprintf(ledger, sizeof ledger, "%s/study.db", folder);
    snprintf(output, sizeof output, "%s/report.html", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

/* ---- a ledger of measured numbers --------------------------------------------------------- */

/* gguf512, first 8 windows, dense 3.1986; random: three draws */
static const struct {
    double r, wanda, act2, random[3];
} grid[] = {
    {0.05, 3.322, 3.313, {3.51, 3.57, 3.55}},
    {0.10, 3.451, 3.449, {3.88, 3.85, 4.08}},
    {0.15, 3.623, 3.577, {4.25, 4.18, 4.65}},
    {0.20, 3.815, 3.731, {5.60, 5.39, 5.66}},
    {0.25, 3.954, 3.885, {5.26, 5.57, 6.04}},
    {0.30, 4.152, 4.189, {6.43, 7.93, 7.97}},
    {0.35, 4.423, 4.406, {7.83, 8.64, 7.73}},
    {0.40, 4.655, 4.628, {8.69, 8.48, 11.28}},
    {0.50, 5.335, 5.223, {0}},
    {0.60, 6.164, 6.137, {0}},
    {0.70, 7.215, 7.292, {0}},
    {0.80, 8.749, 8.747, {0}},
    {0.90, 12.866, 12.858, {0}},
};
enum { N_GRID = sizeof grid / sizeof grid[0], N_RUNS = 2 * N_GRID + 3 * 8, N_BROKEN = 3 };
static const double dense = 3.1986;

static pare_run_record sample(const char *method, double r, uint64_t seed, double loss) {
    static char key[65];
    static unsigned n_keys;
    snprintf(key, sizeof key, "%064x", ++n_keys);
    pare_run_record record;
    pare_run_record_init(&record);
    record.key = key;
    record.spec = "{}";
    record.model.name = "SmolLM2-135M-Instruct";
    record.model.path = "models/smollm2-135m-instruct-q4_1.gguf";
    record.model.sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
    record.model.architecture = "llama";
    record.model.bytes = 98362432;
    record.model.n_parameters = 134515008;
    record.model.n_non_embedding = 106203456;
    record.model.n_vocabulary = 49152;
    record.method = method;
    record.ratio = r;
    record.seed = seed;
    if (strcmp(method, "random") != 0) {
        record.calibration.text = "c4 sample";
        record.calibration.sha256 = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
        record.calibration.n_windows = 16;
        record.calibration.length = 512;
    }
    record.evaluation.protocol = "gguf512";
    record.evaluation.data = "wiki.test.raw";
    record.evaluation.data_sha256 = "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08";
    record.evaluation.bos = "first token of every window is replaced";
    record.evaluation.weight_type = "q4_1";
    record.evaluation.context = 512;
    record.evaluation.n_windows = 8;
    record.evaluation.tokens_in_text = 303415;
    record.evaluation.tokens_scored = 8 * 255;
    record.dense_cross_entropy = dense;
    record.cross_entropy = loss;
    record.cross_entropy_error = 0.07;
    record.perplexity = exp(loss);
    record.perplexity_error = 0.07 * exp(loss);
    record.removed.parameters = r * 79626240 / 134515008;
    record.removed.non_embedding = r * 79626240 / 106203456;
    record.removed.bytes = record.removed.parameters * 0.98;
    record.removed.macs = record.removed.parameters;
    record.dense_width = 1536;
    record.kept_width = (uint64_t)(1536 * (1 - r));
    record.seconds.open = 0.02;
    record.seconds.evaluate = 12.5;
    record.tokens_per_s = 327;
    record.peak_mib = 410;
    record.version = PARE_VERSION;
    record.kernels = "avx2";
    record.blas = "OpenBLAS 0.3.21";
    record.processor = "an x86-64 processor";
    record.n_threads = 2;
    record.started = "2026-11-24T03:40:00Z";
    record.finished = "2026-11-24T03:40:13Z";
    return record;
}

static void insert(pare_store *store, pare_run_record record) {
    pare_error error = {0};
    assert_done(pare_store_insert(store, &record, &error), error);
}

static pare_store *make_ledger(void) {
    pare_error error = {0};
    pare_store *store = pare_store_open(ledger, PARE_STORE_CREATE, &error);
    assert_done(store, error);
    for (size_t i = 0; i < N_GRID; i++) {
        insert(store, sample("wanda-sp", grid[i].r, 1, grid[i].wanda));
        insert(store, sample("act2", grid[i].r, 1, grid[i].act2));
        for (unsigned seed = 0; seed < 3; seed++)
            if (grid[i].random[seed] > 0)
                insert(store, sample("random", grid[i].r, seed, grid[i].random[seed]));
    }
    return store;
}

static void insert_failed(pare_store *store, const char *method, const char *reason) {
    pare_run_record record = sample(method, 0.95, 1, PARE_UNKNOWN);
    record.status = PARE_RUN_FAILED;
    record.reason_code = "numeric";
    record.reason = reason;
    insert(store, record);
}

/* ---- reading the page --------------------------------------------------------------------- */

static json_t *data_of(const char *html) {
    static const char open[] = "<script type=\"application/json\" id=\"data\">";
    const char *start = strstr(html, open);
    assert_non_null(start);
    start += sizeof open - 1;
    const char *end = strstr(start, "</script>");
    assert_non_null(end);
    pare_error error = {0};
    json_t *data = pare_json_parse(start, (size_t)(end - start), "the page's data", &error);
    assert_done(data, error);
    return data;
}

static json_t *group_of(const json_t *data, const char *kind, const char *form, const char *method) {
    json_t *view = json_array_get(json_object_get(data, "views"), 0);
    json_t *groups = json_object_get(json_object_get(json_object_get(json_object_get(view, "fits"), kind), form), "groups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        json_t *group = json_array_get(groups, i);
        const char *name = json_string_value(json_object_get(group, "method"));
        if ((!name && !method) || (name && method && strcmp(name, method) == 0))
            return group;
    }
    fail_msg("no group %s, %s, %s", kind, form, method ? method : "pooled");
    return NULL;
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("%s is no number", key);
    return json_number_value(value);
}

static pare_string print_page(pare_store *store, pare_report_summary *summary) {
    pare_error error = {0};
    pare_string html = {0};
    assert_done(pare_report_print(&html, summary, store, "study.db", &error), error);
    return html;
}

static void assert_near(double got, double wanted, double tolerance) {
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%.12g is not within %g of %.12g", got, tolerance, wanted);
}

/* Simple regression of y on x with a constant: the independent reference for v2. */
static void regress(double *slope, double *error, const double *x, const double *y, size_t n) {
    double mx = 0, my = 0, sxx = 0, sxy = 0, rss = 0;
    for (size_t i = 0; i < n; i++)
        mx += x[i] / (double)n, my += y[i] / (double)n;
    for (size_t i = 0; i < n; i++)
        sxx += (x[i] - mx) * (x[i] - mx), sxy += (x[i] - mx) * (y[i] - my);
    *slope = sxy / sxx;
    for (size_t i = 0; i < n; i++)
        rss += pow(y[i] - my - *slope * (x[i] - mx), 2);
    *error = sqrt(rss / (double)(n - 2) / sxx);
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_numbers(void **state) {
    (void)state;
    pare_store *store = make_ledger();
    insert_failed(store, "wanda-sp", "window 3 of 8: the cross-entropy is not finite");
    pare_report_summary summary;
    pare_string html = print_page(store, &summary);
    pare_store_close(store);
    assert_int_equal(summary.n_done, N_RUNS);
    assert_int_equal(summary.n_failed, 1);
    assert_int_equal(summary.n_broken, N_BROKEN);
    assert_int_equal(summary.n_views, 1);
    assert_int_equal(summary.bytes, html.length);

    json_t *data = data_of(html.data);
    assert_int_equal(json_array_size(json_object_get(data, "runs")), N_RUNS + 1);
    assert_true(number(data, "n_failed") == 1 && number(data, "n_broken") == N_BROKEN);

    /* v2 on wanda-sp's twelve unbroken points, against a regression written here */
    double x[N_GRID], y[N_GRID], slope, error;
    for (size_t i = 0; i < 12; i++) {
        x[i] = log1p(-grid[i].r);
        y[i] = log(grid[i].wanda / dense);
    }
    regress(&slope, &error, x, y, 12);
    json_t *group = group_of(data, "nominal", "v2", "wanda-sp"), *fit = json_object_get(group, "fit");
    json_t *first = json_array_get(json_object_get(fit, "coefficients"), 0);
    assert_int_equal((int)number(fit, "n"), 12);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "a");
    assert_near(number(first, "value"), slope, 1e-9);
    assert_near(number(first, "standard_error"), error, 1e-9);
    assert_true(slope < -0.6 && slope > -0.8); /* as the measurements say */

    /* the curve is the law: L = L0 exp(ln P0 + a ln(1-r)) */
    double constant = number(json_array_get(json_object_get(fit, "coefficients"), 1), "value");
    json_t *curve = json_array_get(json_object_get(group, "curves"), 0);
    assert_int_equal(json_array_size(json_object_get(group, "curves")), 1);
    assert_int_equal(json_array_size(json_object_get(curve, "r")), 61);
    for (size_t i = 0; i < 61; i++) {
        double r = json_number_value(json_array_get(json_object_get(curve, "r"), i));
        double l = json_number_value(json_array_get(json_object_get(curve, "l"), i));
        assert_near(l / (dense * exp(constant + slope * log1p(-r))), 1, 2e-5);
        assert_true(json_number_value(json_array_get(json_object_get(curve, "prediction_low"), i)) <
                    json_number_value(json_array_get(json_object_get(curve, "mean_low"), i)));
    }
    assert_near(number(group, "r_max"), 0.8, 1e-12);

    /* another kind of ratio, the pooled fit, and a residual's way back to its run */
    fit = json_object_get(group_of(data, "parameters", "v2", "wanda-sp"), "fit");
    for (size_t i = 0; i < 12; i++)
        x[i] = log1p(-grid[i].r * 79626240 / 134515008);
    regress(&slope, &error, x, y, 12);
    assert_near(number(json_array_get(json_object_get(fit, "coefficients"), 0), "value"), slope, 1e-9);
    assert_int_equal((int)number(json_object_get(group_of(data, "macs", "quadratic", NULL), "fit"), "n"),
                     N_RUNS - N_BROKEN - 2); /* two more draws of a broken ratio */
    json_t *residual = json_array_get(json_object_get(group, "residuals"), 3);
    json_t *run = json_array_get(json_object_get(data, "runs"), (size_t)number(residual, "run"));
    assert_string_equal(json_string_value(json_object_get(run, "method")), "wanda-sp");
    assert_near(number(residual, "relative_error"), number(residual, "fitted") / number(run, "cross_entropy") - 1, 1e-5);
    json_decref(data);
    pare_string_free(&html);
}

static void test_sentences(void **state) {
    (void)state;
    pare_store *store = make_ledger();
    insert_failed(store, "random", "out of memory");
    insert(store, sample("dense", 0, 0, 3.1986)); /* a result, but no method */
    pare_string html = print_page(store, NULL);
    pare_store_close(store);
    /* no-break spaces are as good as spaces here */
    for (char *at = html.data; (at = strstr(at, "\xc2\xa0"));) {
        *at = ' ';
        memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
    static const char *const wanted[] = {
        "<b>SmolLM2-135M-Instruct</b>, compressed by 3 methods: 51 results.",
        "3 of them are worse than a uniform guess (a loss above ln V)",
        "1 run failed. The section “Failed runs” gives the reasons.",
        "cross-entropy is <b>3.199</b> nats (perplexity 24.50)",
        "<b>gguf512</b> on wiki.test.raw (8 windows of 512 tokens, 2,040 tokens scored)",
        "<b>wanda-sp</b>: without recovery, the loss changes against the dense model’s by +7.9 % at r = 0.1 (7.5 % of the weights outside "
        "of "
        "embeddings), "
        "+29.8 % at r = 0.3 (22 %), +66.8 % at r = 0.5 (37 %), +302 % at r = 0.9 (67 %; 1 of 1 broken).",
        "<b>random</b>: without recovery, the loss changes against the dense model’s by +23.1 % at r = 0.1",
        "10 % removed: <b>act2</b> +10.5 %, <b>wanda-sp</b> +11.5 %, <b>random</b> +31.9 %.",
        "The loss stays within 10 % of the dense model’s at every ratio measured up to r = 0.1, and is above that at r = 0.15.",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        if (!strstr(html.data, wanted[i]))
            fail_msg("the page does not say: %s", wanted[i]);
    assert_null(strstr(html.data, "<b>dense</b>"));
    assert_non_null(strstr(html.data, "The methods’ curves differ by more than the scatter about them (form v2, 3 methods). Chow’s test"));
    pare_string_free(&html);
}

/* Names that try to become markup, in every text of a record. */
static void test_hostile_names(void **state) {
    (void)state;
    static const char evil[] = "</script><img src=x onerror=alert(1)><!--<script>&\"'{{data}}";
    pare_error error = {0};
    pare_store *store = pare_store_open(ledger, PARE_STORE_CREATE, &error);
    assert_done(store, error);
    for (unsigned i = 1; i < 6; i++) {
        pare_run_record record = sample(evil, 0.1 * i, 1, 3.2 + i);
        record.model.name = record.model.path = record.model.architecture = record.processor = record.calibration.text = evil;
        record.evaluation.protocol = record.evaluation.data = record.evaluation.bos = record.kernels = evil;
        insert(store, record);
    }
    pare_run_record record = sample("bytes \xff\xfe", 0.2, 1, 4);
    record.model.name = "m \xc3";
    insert(store, record);
    insert_failed(store, evil, evil);
    pare_string html = {0}, other = {0};
    assert_done(pare_report_print(&html, NULL, store, evil, &error), error);
    assert_null(strstr(html.data, "<img"));
    json_t *data = data_of(html.data);
    json_t *run = json_array_get(json_object_get(data, "runs"), 0);
    assert_string_equal(json_string_value(json_object_get(run, "model")), evil);
    assert_string_equal(json_string_value(json_object_get(data, "source")), evil);
    json_decref(data);
    pare_store_close(store);

    /* as many scripts as in a harmless report */
    unlink(ledger);
    store = make_ledger();
    other = print_page(store, NULL);
    pare_store_close(store);
    size_t n = 0, n_other = 0;
    for (const char *at = html.data; (at = strstr(at, "</script")); at++)
        n++;
    for (const char *at = other.data; (at = strstr(at, "</script")); at++)
        n_other++;
    assert_int_equal(n, n_other);
    const char *keep = getenv("PARE_KEEP_HOSTILE_REPORT");
    if (keep)
        assert_done(pare_file_write(keep, html.data, html.length, true, &error), error);
    pare_string_free(&html);
    pare_string_free(&other);
}

static void test_two_ways_of_measuring(void **state) {
    (void)state;
    pare_store *store = make_ledger();
    for (unsigned i = 1; i < 8; i++) {
        pare_run_record record = sample("wanda-sp", 0.1 * i, 1, 3.1 + 0.4 * i);
        record.evaluation.protocol = "joined2048";
        record.evaluation.context = 2048;
        record.dense_cross_entropy = 3.0938;
        insert(store, record);
    }
    pare_report_summary summary;
    pare_string html = print_page(store, &summary);
    pare_store_close(store);
    assert_int_equal(summary.n_views, 2);
    json_t *data = data_of(html.data);
    json_t *second = json_array_get(json_object_get(data, "views"), 1);
    assert_int_equal(json_array_size(json_object_get(second, "runs")), 7);
    assert_int_equal((int)number(json_object_get(group_of(data, "nominal", "v1", "wanda-sp"), "fit"), "n"), 12);
    assert_non_null(strstr(html.data, "<article data-view=\"1\">"));
    json_decref(data);
    pare_string_free(&html);
}

/* Three dense models, with and without recovery: a curve for each, and a law that needs L0 and D. */
static void test_models_and_recovery(void **state) {
    (void)state;
    static const char *const names[] = {"small", "medium", "large"};
    pare_error error = {0};
    pare_store *store = pare_store_open(ledger, PARE_STORE_CREATE, &error);
    assert_done(store, error);
    pare_random random;
    pare_random_init(&random, 5, "report test", 0);
    for (unsigned i = 0; i < 3 * 2 * 9; i++) {
        double l0 = 3.4 - 0.3 * (i % 3), r = 0.1 * (1 + i / 6), d = i / 3 % 2 ? 2.5 : 0;
        double noise = 0.02 * (pare_random_unit(&random) - 0.5);
        double l = exp(1.1 * log(l0) + 1.9 * log1p(r) + 0.3 * log1p(1 / (d + 1)) + noise);
        pare_run_record record = sample("wanda-sp", r, 1, l);
        record.model.name = names[i % 3];
        record.dense_cross_entropy = l0;
        record.recovery_tokens = d * 1e6;
        insert(store, record);
    }
    pare_string html = print_page(store, NULL);
    pare_store_close(store);
    json_t *data = data_of(html.data);
    json_t *group = group_of(data, "nominal", "v1", "wanda-sp");
    json_t *coefficients = json_object_get(json_object_get(group, "fit"), "coefficients");
    static const double truth[] = {1.1, 1.9, 0.3};
    assert_int_equal(json_array_size(coefficients), 3);
    for (size_t i = 0; i < 3; i++)
        assert_near(number(json_array_get(coefficients, i), "value"), truth[i], 0.04);
    assert_int_equal(json_array_size(json_object_get(group, "curves")), 6);
    const char *keep = getenv("PARE_KEEP_MODELS_REPORT");
    if (keep)
        assert_done(pare_file_write(keep, html.data, html.length, true, &error), error);
    json_decref(data);
    pare_string_free(&html);
}

/* Cuts at 4 and 5 of a dense 3, recovered to 3.5 and 4.5: half and a quarter of the loss are won back, a third of the sum. */
static void test_tells_what_recovery_won(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = pare_store_open(ledger, PARE_STORE_CREATE, &error);
    assert_done(store, error);
    for (unsigned i = 0; i < 4; i++) {
        pare_run_record record = sample("wanda-sp", 0.1 + 0.1 * (i / 2), 1, 4 + i / 2 - 0.5 * (i % 2));
        record.dense_cross_entropy = 3;
        if (i % 2) {
            record.recovery_tokens = 51200;
            record.recovery.method = "lora";
            record.recovery.text = "train.txt";
        }
        insert(store, record);
    }
    pare_string html = print_page(store, NULL);
    pare_store_close(store);
    assert_non_null(strstr(html.data, "<b>wanda-sp</b>, lora: <b>33\u00a0%</b> by 51,200 tokens (25 to 50, 2 cuts)."));
    assert_non_null(strstr(html.data, "+33.3\u00a0% at r")); /* without the recovered ones */
    assert_non_null(strstr(html.data, "There is no control"));
    pare_string_free(&html);

    pare_run_record control = sample("dense", 0, 0, 2.9); /* the same training takes a tenth off the dense model's loss */
    control.dense_cross_entropy = 3;
    control.recovery_tokens = 51200;
    control.recovery.method = "lora";
    control.recovery.text = "train.txt";
    store = pare_store_open(ledger, PARE_STORE_WRITE, &error);
    assert_done(store, error);
    insert(store, control);
    html = print_page(store, NULL);
    pare_store_close(store);
    assert_non_null(strstr(html.data, "<b>wanda-sp</b>, lora: <b>27\u00a0%</b> by 51,200 tokens (20 to 40, 2 cuts)."));
    assert_null(strstr(html.data, "There is no control"));
    assert_null(strstr(html.data, "<b>dense</b>")); /* a control is no method */
    pare_string_free(&html);
}

/* Few models by name, many by number, whatever view they are in. */
static void test_title(void **state) {
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d"};
    pare_error error = {0};
    for (size_t n = 1; n <= 4; n++) {
        unlink(ledger);
        pare_store *store = pare_store_open(ledger, PARE_STORE_CREATE, &error);
        assert_done(store, error);
        for (size_t i = 0; i < 3 * n; i++) {
            pare_run_record record = sample("wanda-sp", 0.1 * (double)(1 + i / n), 1, 4);
            record.model.name = names[i % n];
            record.evaluation.n_windows = i % n == 1 ? 9 : 8;
            insert(store, record);
        }
        pare_string html = print_page(store, NULL);
        pare_store_close(store);
        static const char *const wanted[] = {": a<", ": a, b<", ": a, c, b<", ": 4 models<"};
        char title[64];
        snprintf(title, sizeof title, "<title>What compression costs%s", wanted[n - 1]);
        if (!strstr(html.data, title))
            fail_msg("no %s", title);
        pare_string_free(&html);
    }
}

static void test_little_or_nothing(void **state) {
    (void)state;
    pare_error error = {0};
    pare_store *store = pare_store_open(ledger, PARE_STORE_CREATE, &error);
    assert_done(store, error);
    pare_string html = {0};
    assert_fails(pare_report_print(&html, NULL, store, "study.db", &error), error, PARE_ERROR_RANGE, "holds no run yet");
    pare_string_free(&html);

    insert_failed(store, "wanda-sp", "the disk was full");
    html = print_page(store, NULL);
    assert_non_null(strstr(html.data, "every run failed (1)"));
    pare_string_free(&html);

    insert(store, sample("wanda-sp", 0.1, 1, 3.45)); /* one result: no law, and the page says so */
    html = print_page(store, NULL);
    assert_non_null(strstr(html.data, "There are too few results to fit a curve."));
    json_decref(data_of(html.data));
    pare_string_free(&html);
    pare_store_close(store);
}

static void test_written_whole(void **state) {
    (void)state;
    pare_error error = {0};
    assert_fails(pare_report_write(NULL, ledger, output, &error), error, PARE_ERROR_IO, "No such file");
    assert_false(pare_path_exists(output));
    pare_store *store = make_ledger();
    insert_failed(store, "wanda-sp", "window 3 of 8: the cross-entropy is not finite");
    pare_store_close(store);
    assert_done(pare_file_write(output, "old", 3, true, &error), error);
    pare_report_summary summary;
    assert_done(pare_report_write(&summary, ledger, output, &error), error);
    pare_map map;
    assert_done(pare_map_open(&map, output, &error), error);
    assert_int_equal(map.size, summary.bytes);
    assert_memory_equal(map.data, "<!doctype html>", 15);
    const char *keep = getenv("PARE_KEEP_REPORT");
    if (keep)
        assert_done(pare_file_write(keep, map.data, map.size, true, &error), error);
    pare_map_close(&map);
    assert_fails(pare_report_write(NULL, ledger, folder, &error), error, PARE_ERROR_CONFLICT, "is a folder");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sentences, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hostile_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_ways_of_measuring, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_models_and_recovery, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tells_what_recovery_won, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_title, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_little_or_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_written_whole, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("report.report", tests, NULL, NULL);
}
