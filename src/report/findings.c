/* findings: what the numbers of a view say, in sentences that are computed: where the dense model stands, what each method costs,
 * which form carries the results, up to which ratio loss stays within a tenth, whether it grew quadratically.
 *
 * r is the nominal ratio here; the page's charts and tables offer the others.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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

static void print_strong(pare_string *html, const char *text) {
    pare_string_print(html, "<b>");
    report_escape(html, text);
    pare_string_print(html, "</b>");
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

/* 1,234,567 */
static void print_count(pare_string *html, uint64_t n) {
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    for (int i = 0; i < length; i++)
        pare_string_print(html, "%s%c", i && (length - i) % 3 == 0 ? "," : "", digits[i]);
}

static void print_percent(pare_string *html, double fraction) {
    double percent = 100 * fraction;
    pare_string_print(html, "%.*f\u00a0%%", fabs(percent) < 9.95 ? 1 : 0, percent);
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
    print_strong(html, first->evaluation.protocol ? first->evaluation.protocol : "(unnamed)");
    if (first->evaluation.data) {
        pare_string_print(html, " on ");
        report_escape(html, first->evaluation.data);
    }
    pare_string_print(html, " (%llu windows of %llu tokens, ", (unsigned long long)first->evaluation.n_windows,
                      (unsigned long long)first->evaluation.context);
    print_count(html, first->evaluation.tokens_scored);
    pare_string_print(html, " tokens scored).");
}

static void print_overview(pare_string *html, const report_view *view, const report_data *data) {
    pare_string_print(html, "<p>");
    for (size_t i = 0; i < view->n_models && i < 6; i++) {
        pare_string_print(html, "%s", i ? ", " : "");
        print_strong(html, view->models[i]);
    }
    if (view->n_models > 6)
        pare_string_print(html, " and %zu more", view->n_models - 6);
    pare_string_print(html, ", compressed by %zu method%s: %zu result%s.", view->n_methods, plural(view->n_methods), view->points.n,
                      plural(view->points.n));
    if (view->n_broken)
        pare_string_print(html, " %zu of them %s worse than a uniform guess (ln V): shown, counted, and not fitted.", view->n_broken,
                          view->n_broken == 1 ? "is" : "are");
    if (data->n_failed && view == data->views)
        pare_string_print(html, " %zu run%s failed: the reasons stand below.", data->n_failed, plural(data->n_failed));
    print_dense(html, view);
    pare_string_print(html, "</p>\n");
}

/* ---- what a method costs ------------------------------------------------------------------ */

typedef struct {
    double r, factor; /* mean of l / l0 over models and seeds, without recovery */
    size_t n, n_broken;
} cost;

static int compare_costs(const void *a, const void *b) {
    double first = ((const cost *)a)->r, second = ((const cost *)b)->r;
    return (first > second) - (first < second);
}

/* One cost per nominal ratio above 0, in order; the number of them. */
static size_t costs_of(cost *costs, const report_view *view, const char *method) {
    size_t n = 0;
    for (size_t i = 0; i < view->points.n; i++) {
        const pare_law_point *point = &view->points.items[i];
        double r = point->ratio[PARE_LAW_RATIO_NOMINAL];
        if (strcmp(point->method, method) == 0 && r > 0 && point->l0 > 0 && !(point->d > 0))
            costs[n++] = (cost){r, point->l / point->l0, 1, point->l > point->ceiling};
    }
    qsort(costs, n, sizeof *costs, compare_costs);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || costs[i].r - costs[kept - 1].r > 1e-9) {
            costs[kept++] = costs[i];
            continue;
        }
        costs[kept - 1].factor += costs[i].factor;
        costs[kept - 1].n++;
        costs[kept - 1].n_broken += costs[i].n_broken;
    }
    for (size_t i = 0; i < kept; i++)
        costs[i].factor /= (double)costs[i].n;
    return kept;
}

/* The cost nearest to ratio r, or NULL when none is near. */
static const cost *cost_at(const cost *costs, size_t n, double r) {
    const cost *best = NULL;
    for (size_t i = 0; i < n; i++)
        if (fabs(costs[i].r - r) <= 0.05 && (!best || fabs(costs[i].r - r) < fabs(best->r - r)))
            best = &costs[i];
    return best;
}

/* At 0.1, 0.3, 0.5 and 0.9, where they are; else at the smallest and the largest ratio. */
static void print_costs(pare_string *html, const cost *costs, size_t n) {
    static const double usual[] = {0.1, 0.3, 0.5, 0.9};
    double wanted[4] = {n ? costs[0].r : 0, n ? costs[n - 1].r : 0, -1, -1};
    for (size_t i = 0; i < 4; i++)
        if (cost_at(costs, n, usual[i]))
            memcpy(wanted, usual, sizeof wanted);
    const cost *told = NULL;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const cost *at = cost_at(costs, n, wanted[i]);
        if (!at || at == told)
            continue;
        pare_string_print(html, "%s", told ? ", by " : " raises the loss by ");
        print_percent(html, at->factor - 1);
        pare_string_print(html, " at r\u00a0=\u00a0%.3g%s", at->r, at->n_broken == at->n ? " (broken)" : "");
        told = at;
    }
    pare_string_print(html, told ? "." : ":");
}

/* ---- which form holds ---------------------------------------------------------------------- */

/* With the indices and powers that plain text cannot show. */
static void print_equation(pare_string *html, const char *equation) {
    for (const char *at = equation; *at; at++) {
        if (at[0] == '^' && at[1] == '2') {
            pare_string_print(html, "²");
            at++;
        } else if ((at[0] == 'L' || at[0] == 'P') && at[1] == '0') {
            pare_string_print(html, "%c<sub>0</sub>", at[0]);
            at++;
        } else {
            report_escape(html, (char[2]){*at, '\0'});
        }
    }
}

static void print_forms(pare_string *html, const pare_law_candidate *candidates) {
    const pare_law_candidate *best = &candidates[0];
    pare_string_print(html, " Of the forms, ");
    print_strong(html, pare_law_form_name(best->form));
    pare_string_print(html, " (");
    print_equation(html, pare_law_form_equation(best->form));
    pare_string_print(html, ") predicts a result that was left out best: to ");
    print_percent(html, best->fit.loo_error);
    for (size_t i = 1, n = 0; i < PARE_LAW_N_FORMS; i++) {
        if (!candidates[i].done || !isfinite(candidates[i].fit.loo_error))
            continue;
        pare_string_print(html, "%s%s ", n++ ? ", " : ", against ", pare_law_form_name(candidates[i].form));
        print_percent(html, candidates[i].fit.loo_error);
    }
    pare_string_print(html, " (root mean square, %zu results).", best->fit.law.n);
}

static void print_critical(pare_string *html, const pare_law_fit *fit) {
    const pare_law_critical *critical = &fit->critical;
    if (!isfinite(critical->value)) {
        pare_string_print(html, " No critical ratio: ");
        report_escape(html, *critical->note ? critical->note : "not found");
        pare_string_print(html, ".");
        return;
    }
    pare_string_print(html, " By this form loss stays within ");
    print_percent(html, critical->threshold - 1);
    pare_string_print(html, " of the dense model’s up to <b>r\u00a0=\u00a0%.3f</b>", critical->value);
    if (isfinite(critical->low) && isfinite(critical->high))
        pare_string_print(html, " (%.0f %% interval %.3f to %.3f)", 100 * critical->level, critical->low, critical->high);
    pare_string_print(html, "%s.", critical->outside ? ", outside the ratios measured" : "");
}

/* Quadratic growth: r^2 matters, and no other form predicts clearly better. The form knows no recovery: nothing is said of results with it.
 */
static void print_quadratic(pare_string *html, const pare_law_candidate *candidates) {
    if (candidates[0].fit.law.d_min < candidates[0].fit.law.d_max)
        return;
    const pare_law_candidate *best = &candidates[0], *quadratic = NULL;
    for (size_t i = 0; i < PARE_LAW_N_FORMS; i++)
        if (candidates[i].form == PARE_LAW_QUADRATIC && candidates[i].done)
            quadratic = &candidates[i];
    const pare_law *law = quadratic ? &quadratic->fit.law : NULL;
    const pare_law_coefficient *square = NULL;
    for (size_t i = 0; law && i < law->n_terms; i++)
        if (strcmp(law->coefficients[i].name, "b") == 0)
            square = &law->coefficients[i];
    if (!square || !isfinite(square->standard_error) || !isfinite(quadratic->fit.loo_error))
        return;
    bool needed = square->value > 0 && square->p < 0.05, holds = quadratic->fit.loo_error <= 1.25 * best->fit.loo_error;
    pare_string_print(html, " %s: in L/L<sub>0</sub> = 1 + a r + b r² the square has b = %.3g ± %.2g",
                      needed && holds ? "Loss grew quadratically, as far as these results tell"
                      : needed        ? "Loss grew faster than linearly, but not as a quadratic"
                                      : "Loss did not grow quadratically",
                      square->value, square->standard_error);
    if (!holds) {
        pare_string_print(html, ", and the form errs by ");
        print_percent(html, quadratic->fit.loo_error);
        pare_string_print(html, " where the best errs by ");
        print_percent(html, best->fit.loo_error);
    }
    pare_string_print(html, ".");
}

static bool print_method(pare_string *html, const report_view *view, const char *method, cost *costs, pare_arena *arena,
                         pare_error *error) {
    size_t n = costs_of(costs, view, method);
    pare_string_print(html, "<li>");
    print_strong(html, method);
    print_costs(html, costs, n);
    pare_law_candidate candidates[PARE_LAW_N_FORMS];
    pare_law_options options = {.ratio = PARE_LAW_RATIO_NOMINAL};
    pare_error failure = {0};
    if (pare_law_compare(candidates, &view->points, method, &options, arena, &failure) && candidates[0].done &&
        isfinite(candidates[0].fit.loo_error)) {
        print_forms(html, candidates);
        print_critical(html, &candidates[0].fit);
        print_quadratic(html, candidates);
    } else if (failure.code == PARE_ERROR_MEMORY) {
        return pare_fail(error, PARE_ERROR_MEMORY, "%s", failure.message);
    } else {
        pare_string_print(html, " Too few results for a law.");
    }
    pare_string_print(html, "</li>\n");
    return true;
}

/* ---- methods side by side ------------------------------------------------------------------ */

/* The cheapest method at the ratio that most methods have, of 0.1, 0.3 and 0.5. */
static void print_cheapest(pare_string *html, const report_view *view, cost *costs) {
    static const double wanted[] = {0.3, 0.1, 0.5};
    for (size_t w = 0; w < sizeof wanted / sizeof wanted[0]; w++) {
        const char *best = NULL, *worst = NULL;
        double low = HUGE_VAL, high = -HUGE_VAL;
        for (size_t i = 0; i < view->n_methods; i++) {
            size_t n = costs_of(costs, view, view->methods[i]);
            const cost *at = cost_at(costs, n, wanted[w]);
            if (at && at->factor < low)
                low = at->factor, best = view->methods[i];
            if (at && at->factor > high)
                high = at->factor, worst = view->methods[i];
        }
        if (!best || best == worst)
            continue;
        pare_string_print(html, "<p>At r\u00a0=\u00a0%.1f ", wanted[w]);
        print_strong(html, best);
        pare_string_print(html, " costs least (loss +");
        print_percent(html, low - 1);
        pare_string_print(html, ") and ");
        print_strong(html, worst);
        pare_string_print(html, " most (+");
        print_percent(html, high - 1);
        pare_string_print(html, ").");
        return;
    }
    pare_string_print(html, "<p>");
}

static void print_pooling(pare_string *html, const report_view *view, pare_arena *arena) {
    pare_law_options options = {.ratio = PARE_LAW_RATIO_NOMINAL};
    pare_law_groups groups;
    bool recovered = false;
    for (size_t i = 0; i < view->points.n; i++)
        recovered = recovered || view->points.items[i].d > 0;
    pare_law_form form = recovered ? PARE_LAW_V1 : PARE_LAW_V2; /* v2 has no term for it */
    if (view->n_methods < 2 || !pare_law_fit_groups(&groups, form, &view->points, &options, arena, NULL) || !isfinite(groups.pooling_p))
        return;
    char p[32];
    snprintf(p, sizeof p, groups.pooling_p < 1e-4 ? "&lt; 0.0001" : "= %.4f", groups.pooling_p);
    pare_string_print(html, " One law for all methods (%s) %s one per method (Chow’s test: F = %.3g, p %s).", pare_law_form_name(form),
                      groups.pooling_p < 0.05 ? "fits worse than" : "fits as well as", groups.pooling_f, p);
}

bool report_findings_print(pare_string *html, const report_view *view, const report_data *data, pare_arena *arena, pare_error *error) {
    cost *costs = PARE_PUSH(arena, cost, view->points.n, error);
    if (!costs)
        return false;
    pare_string_print(html, "<article data-view=\"%zu\">\n", (size_t)(view - data->views));
    print_overview(html, view, data);
    pare_string_print(html, "<ul>\n");
    for (size_t i = 0; i < view->n_methods; i++)
        if (!print_method(html, view, view->methods[i], costs, arena, error))
            return false;
    pare_string_print(html, "</ul>\n");
    if (view->n_methods > 1) {
        print_cheapest(html, view, costs);
        print_pooling(html, view, arena);
        pare_string_print(html, "</p>\n");
    }
    if (!report_recovery_print(html, view, data, arena, error))
        return false;
    pare_string_print(html, "</article>\n");
    return pare_string_check(html, error);
}
