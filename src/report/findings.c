/* findings: what the numbers of a view say, in sentences that are computed: where the dense model stands, what each method costs as it was
 * measured, up to which ratio loss stays within a tenth, how far each form misses what it did not see, by which power the loss grew, and
 * which method costs least at the same share of the weights (equal.c).
 *
 * Measured numbers come first, and a curve is quoted only where it does not contradict them. r is the nominal ratio here; the page's charts
 * and tables offer the others.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report_impl.h"

void report_escape(pare_string *html, const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '&': pare_string_print(html, "&amp;"); break;
        case '<': pare_string_print(html, "&lt;"); break;
        case '>': pare_string_print(html, "&gt;"); break;
        case '"': pare_string_print(html, "&quot;"); break;
        case '\'': pare_string_print(html, "&#39;"); break;
        default: pare_string_push(html, text, 1);
        }
}

void report_strong(pare_string *html, const char *text) {
    pare_string_print(html, "<b>");
    report_escape(html, text);
    pare_string_print(html, "</b>");
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

void report_count(pare_string *html, uint64_t n) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < length; i++)
        pare_string_print(html, "%s%c", i && (length - i) % 3 == 0 ? "," : "", digits[i]);
}

void report_percent(pare_string *html, double fraction) {
    double percent = 100 * fraction;
    pare_string_print(html, "%.*f\u00a0%%", fabs(percent) < 9.95 ? 1 : 0, percent);
}

void report_change(pare_string *html, double fraction) {
    double percent = 100 * fraction;
    pare_string_print(html, "%s%.*f\u00a0%%", percent < 0 ? "−" : "+", fabs(percent) < 99.95 ? 1 : 0, fabs(percent));
}

/* ---- the dense model and how it was measured ---------------------------------------------- */

static void print_dense(pare_string *html, const report_view *view) {
    const pare_run_record *first = view->first;
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (size_t i = 0; i < view->points.n; i++) {
        low = fmin(low, view->points.items[i].l0);
        high = fmax(high, view->points.items[i].l0);
    }
    if (isfinite(low) && high - low < 5e-4)
        pare_string_print(html, " The dense model’s test cross-entropy is <b>%.3f</b> nats (perplexity %.2f)", low, exp(low));
    else if (isfinite(low))
        pare_string_print(html, " The dense models’ test cross-entropies lie between <b>%.3f</b> and <b>%.3f</b> nats", low, high);
    else
        pare_string_print(html, " The dense model’s cross-entropy is not known");
    pare_string_print(html, ", by the protocol ");
    report_strong(html, first->evaluation.protocol ? first->evaluation.protocol : "(unnamed)");
    if (first->evaluation.data) {
        pare_string_print(html, " on ");
        report_escape(html, first->evaluation.data);
    }
    pare_string_print(html, " (%llu windows of %llu tokens, ", (unsigned long long)first->evaluation.n_windows,
                      (unsigned long long)first->evaluation.context);
    report_count(html, first->evaluation.tokens_scored);
    pare_string_print(html, " tokens scored).");
}

static void print_overview(pare_string *html, const report_view *view, const report_data *data) {
    pare_string_print(html, "<p>");
    for (size_t i = 0; i < view->n_models && i < 6; i++) {
        pare_string_print(html, "%s", i ? ", " : "");
        report_strong(html, view->models[i]);
    }
    if (view->n_models > 6)
        pare_string_print(html, " and %zu more", view->n_models - 6);
    pare_string_print(html, ", compressed by %zu method%s: %zu result%s.", view->n_methods, plural(view->n_methods), view->points.n,
                      plural(view->points.n));
    if (view->n_broken)
        pare_string_print(
            html,
            " %zu of them %s worse than a uniform guess (a loss above ln V). The charts show such results. The curves are fitted "
            "without them, and without every other result of the same method from the smallest such ratio on.",
            view->n_broken, view->n_broken == 1 ? "is" : "are");
    if (data->n_failed && view == data->views)
        pare_string_print(html, " %zu run%s failed. The section “Failed runs” gives the reasons.", data->n_failed, plural(data->n_failed));
    print_dense(html, view);
    pare_string_print(html, "</p>\n");
}

/* ---- what a method costs ------------------------------------------------------------------ */

/* The cost nearest to ratio r, or NULL when none is near. */
static const report_cost *cost_at(const report_cost *costs, size_t n, double r) {
    const report_cost *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (fabs(costs[i].r - r) <= 0.05 && (!best || fabs(costs[i].r - r) < fabs(best->r - r)))
            best = &costs[i];
    return best;
}

static void print_cost(pare_string *html, const report_cost *cost, bool first) {
    report_change(html, cost->factor - 1);
    pare_string_print(html, " at r\u00a0=\u00a0%.3g", cost->r);
    if (isfinite(cost->share)) {
        pare_string_print(html, " (");
        report_percent(html, cost->share);
        pare_string_print(html, "%s", first ? " of the weights outside of embeddings" : "");
    }
    if (cost->n_broken)
        pare_string_print(html, "%s%zu of %zu broken", isfinite(cost->share) ? "; " : " (", cost->n_broken, cost->n);
    pare_string_print(html, "%s", isfinite(cost->share) || cost->n_broken ? ")" : "");
}

/* At 0.1, 0.3, 0.5 and 0.9, where they are; else at the smallest and the largest ratio. */
static void print_costs(pare_string *html, const report_cost *costs, size_t n, size_t n_models) {
    static const double usual[] = {0.1, 0.3, 0.5, 0.9};
    double wanted[4] = {n ? costs[0].r : 0, n ? costs[n - 1].r : 0, -1, -1};
    for (size_t i = 0; i < 4; i++)
        if (cost_at(costs, n, usual[i]))
            memcpy(wanted, usual, sizeof wanted);
    const report_cost *told = NULL;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const report_cost *at = cost_at(costs, n, wanted[i]);
        if (!at || at == told)
            continue;
        pare_string_print(html, "%s", told ? ", " : ": without recovery, the loss changes against the dense model’s by ");
        print_cost(html, at, !told);
        told = at;
    }
    if (told && n_models > 1)
        pare_string_print(html, ", mean over %zu models", n_models);
    pare_string_print(html, told ? "." : ": no result without recovery.");
}

/* ---- up to where loss stays within a tenth --------------------------------------------------- */

static const double threshold = 1.1;

/* The largest measured ratio up to which every one is within the threshold, and the next; 0 and infinity where there is none. */
static void find_bracket(double *within, double *beyond, const report_cost *costs, size_t n) {
    *within = 0;
    *beyond = (double)INFINITY;
    for (size_t i = 0; i < n && isinf(*beyond); i++)
        *(costs[i].factor <= threshold ? within : beyond) = costs[i].r;
}

/* The form's crossing, where it lies between the measured ratios that it must lie between. */
static void print_crossing(pare_string *html, const pare_law_fit *fit, double within, double beyond) {
    const pare_law_critical *critical = &fit->critical;
    if (!isfinite(critical->value) || isinf(beyond))
        return;
    const char *form = pare_law_form_name(fit->law.form);
    if (critical->value < within || critical->value > beyond) {
        pare_string_print(html, " The form %s puts the crossing of 10\u00a0%% at r\u00a0=\u00a0%.4f, which these results contradict.", form,
                          critical->value);
        return;
    }
    pare_string_print(html, " The form %s puts the crossing of 10\u00a0%% in between, at <b>r\u00a0=\u00a0%.3f</b>", form, critical->value);
    if (isfinite(critical->low) && isfinite(critical->high))
        pare_string_print(html, " (%.0f\u00a0%% interval %.3f to %.3f, if the form is right", 100 * critical->level, critical->low,
                          critical->high);
    pare_string_print(html, "%sat L<sub>0</sub>\u00a0=\u00a0%.3g).", isfinite(critical->low) ? "; " : " (", critical->l0);
}

static void print_threshold(pare_string *html, const report_cost *costs, size_t n, const pare_law_fit *fit) {
    double within, beyond;
    find_bracket(&within, &beyond, costs, n);
    if (n == 0)
        return;
    if (within == 0)
        pare_string_print(
            html, " The loss is more than 10\u00a0%% above the dense model’s already at the smallest ratio measured, r\u00a0=\u00a0%.3g.",
            beyond);
    else if (isinf(beyond))
        pare_string_print(html, " The loss stays within 10\u00a0%% of the dense model’s at every ratio measured, up to r\u00a0=\u00a0%.3g.",
                          within);
    else
        pare_string_print(
            html,
            " The loss stays within 10\u00a0%% of the dense model’s at every ratio measured up to r\u00a0=\u00a0%.3g, and is above that at "
            "r\u00a0=\u00a0%.3g.",
            within, beyond);
    if (fit)
        print_crossing(html, fit, within, beyond);
}

/* ---- how far the forms miss what they did not see -------------------------------------------- */

static double by_model(const pare_law_fit *fit) {
    return fit->lost_model_error;
}

static double by_ratio(const pare_law_fit *fit) {
    return fit->lost_rolling_error;
}

static void print_errors(pare_string *html, const pare_law_candidate *candidates, double (*error)(const pare_law_fit *), const char *how) {
    size_t n = 0;
    for (size_t i = 0; i < PARE_LAW_N_FORMS; i++) {
        if (!candidates[i].done || !isfinite(error(&candidates[i].fit)))
            continue;
        pare_string_print(html, "%s%s ", n++ ? ", " : how, pare_law_form_name(candidates[i].form));
        report_percent(html, error(&candidates[i].fit));
    }
    if (n && error == by_model && isfinite(candidates[0].fit.baseline_lost_error)) {
        pare_string_print(html, ". The mean of the other models misses it by ");
        report_percent(html, candidates[0].fit.baseline_lost_error);
    }
    if (n)
        pare_string_print(html, ".");
}

/* Folded away: a line for each form would bury what was measured. */
static void print_forms(pare_string *html, const pare_law_candidate *candidates) {
    pare_string_print(html, "<details><summary>how wrong the fitted curves are</summary>");
    print_errors(html, candidates, by_model,
                 " On a model that was left out of the fit, the forms miss the lost loss, L − L<sub>0</sub>, by (median): ");
    print_errors(html, candidates, by_ratio, " Fitted on smaller ratios, the forms miss the lost loss at larger ratios by (median): ");
    pare_string_print(html, "</details>");
}

/* ---- by which power of r ---------------------------------------------------------------------- */

static void print_exponent(pare_string *html, const pare_law_exponent *k) {
    if (!isfinite(k->low) || !isfinite(k->high) || !(k->high - k->low < 4))
        return;
    pare_string_print(
        html,
        " From r\u00a0=\u00a0%.3g to %.3g the loss grew as the power <b>%.2f</b> of r (L/L<sub>0</sub>\u00a0−\u00a01; 95\u00a0%% "
        "interval %.2f to %.2f)",
        k->r_min, k->r_max, k->value, k->low, k->high);
    bool linear = k->low <= 1 && 1 <= k->high, quadratic = k->low <= 2 && 2 <= k->high;
    const char *told = quadratic && linear                  ? ". Linear and quadratic growth both agree with that"
                       : quadratic && k->high - k->low <= 1 ? ". Quadratic growth agrees with that, as far as these results tell"
                       : quadratic                          ? ". Quadratic growth agrees with that, and so do many other powers"
                       : linear                             ? ". Linear growth agrees with that, quadratic growth does not"
                       : k->low > 1 && k->high < 2          ? ": faster than linearly and slower than quadratically"
                       : k->low > 2                         ? ": faster than quadratically"
                                                            : ": slower than linearly";
    pare_string_print(html, "%s.", told);
}

/* ---- one method ------------------------------------------------------------------------------ */

static size_t count_models(const report_view *view, const char *method, report_cost *costs) {
    size_t n = 0;
    for (size_t i = 0; i < view->n_models; i++)
        n += report_costs(costs, view, method, view->models[i]) > 0;
    return n;
}

static bool fail_of_memory(const pare_error *failure, pare_error *error) {
    return failure->code != PARE_ERROR_MEMORY || pare_fail(error, PARE_ERROR_MEMORY, "%s", failure->message);
}

static bool print_method(pare_string *html, const report_view *view, const char *method, report_cost *costs, pare_arena *arena,
                         pare_error *error) {
    size_t n_models = count_models(view, method, costs), n = report_costs(costs, view, method, NULL);
    pare_law_candidate candidates[PARE_LAW_N_FORMS];
    pare_law_options options = {.ratio = PARE_LAW_RATIO_NOMINAL};
    pare_law_exponent exponent;
    pare_error failure = {0};
    pare_string_print(html, "<li>");
    report_strong(html, method);
    print_costs(html, costs, n, n_models);
    bool fitted = pare_law_compare(candidates, &view->points, method, &options, arena, &failure) && candidates[0].done;
    if (!fail_of_memory(&failure, error))
        return false;
    bool without_recovery = fitted && candidates[0].fit.law.d_max == 0; /* else all results are recovered ones */
    print_threshold(html, costs, n, without_recovery ? &candidates[0].fit : NULL);
    if (!pare_law_exponent_find(&exponent, &view->points, method, &options, arena, error))
        return false;
    if (without_recovery)
        print_exponent(html, &exponent);
    if (!fitted)
        pare_string_print(html, " There are too few results to fit a curve.");
    else
        print_forms(html, candidates);
    pare_string_print(html, "</li>\n");
    return true;
}

/* ---- one law or several ------------------------------------------------------------------------ */

static bool print_pooling(pare_string *html, const report_view *view, pare_arena *arena, pare_error *error) {
    pare_law_options options = {.ratio = PARE_LAW_RATIO_NOMINAL};
    pare_law_groups groups;
    pare_error failure = {0};
    if (view->n_methods < 2 || !pare_law_fit_groups(&groups, PARE_LAW_V2, &view->points, &options, arena, &failure))
        return fail_of_memory(&failure, error);
    if (isfinite(groups.pooled_lost_error) && isfinite(groups.apart_lost_error)) {
        pare_string_print(html,
                          "<p>On a model that was left out of the fit, one law for all %zu methods (form v2) misses the lost loss by ",
                          groups.n_pooled);
        report_percent(html, groups.pooled_lost_error);
        pare_string_print(html, ", and a law for each method misses it by ");
        report_percent(html, groups.apart_lost_error);
        pare_string_print(html, " (median).</p>\n");
    } else if (isfinite(groups.pooling_p)) {
        char p[32];
        snprintf(p, sizeof p, groups.pooling_p < 1e-4 ? "&lt; 0.0001" : "= %.4f", groups.pooling_p);
        pare_string_print(
            html, "<p>%s (form v2, %zu methods). Chow’s test, which takes results as independent, gives F = %.3g, p %s.</p>\n",
            groups.pooling_p < 0.05 ? "The methods’ curves differ by more than the scatter about them"
                                    : "A difference between the methods’ curves was not shown, which does not make them equal",
            groups.n_pooled, groups.pooling_f, p);
    }
    return true;
}

bool report_findings_print(pare_string *html, const report_view *view, const report_data *data, pare_arena *arena, pare_error *error) {
    report_cost *costs = PARE_PUSH(arena, report_cost, view->points.n, error);
    if (!costs)
        return false;
    pare_string_print(html, "<article data-view=\"%zu\">\n", (size_t)(view - data->views));
    print_overview(html, view, data);
    if (view->n_methods > 1 && !report_equal_print(html, view, costs, arena, error))
        return false;
    pare_string_print(html, "<ul>\n");
    for (size_t i = 0; i < view->n_methods; i++)
        if (!print_method(html, view, view->methods[i], costs, arena, error))
            return false;
    pare_string_print(html, "</ul>\n");
    if (!print_pooling(html, view, arena, error) || !report_recovery_print(html, view, data, arena, error))
        return false;
    pare_string_print(html, "</article>\n");
    return pare_string_check(html, error);
}
