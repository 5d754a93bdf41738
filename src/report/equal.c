/* equal: methods side by side at the same share of the weights outside of embeddings. Nominal ratios count each method's own unit, so that
 * "r = 0.2" of two methods removes different amounts; the share does not. Between two measured ratios of a model a straight line stands. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_impl.h"

enum { TOLD_MAX = 6 };

typedef struct {
    const char *method;
    double factor; /* mean over the models */
    size_t n_models, n_lowest;
    uint64_t models; /* which, a bit each; beyond 64 they share bits */
} contender;

static int compare_contenders(const void *a, const void *b) {
    const contender *x = a, *y = b;
    int order = (x->n_models < y->n_models) - (x->n_models > y->n_models);
    order = order ? order : (x->factor > y->factor) - (x->factor < y->factor);
    return order ? order : strcmp(x->method, y->method);
}

/* Methods with most models first, the least loss first among these; how many have the same models as the first. */
static size_t list_contenders(contender *list, const report_view *view, double share, report_cost *costs) {
    size_t n = 0, equal = 0;
    for (size_t i = 0; i < view->n_methods; i++) {
        contender c = {.method = view->methods[i]};
        for (size_t m = 0; m < view->n_models; m++) {
            double factor = report_factor_at(costs, report_costs(costs, view, c.method, view->models[m]), share);
            if (!isfinite(factor))
                continue;
            c.factor += factor;
            c.n_models++;
            c.models ^= 1ULL << (m % 64);
        }
        c.factor /= (double)c.n_models;
        if (c.n_models > 0)
            list[n++] = c;
    }
    qsort(list, n, sizeof *list, compare_contenders);
    for (size_t i = 0; i < n; i++)
        if (list[i].n_models == list[0].n_models && list[i].models == list[0].models)
            list[equal++] = list[i];
    return equal;
}

/* In how many models each contender is the lowest. */
static void count_lowest(contender *list, size_t n, const report_view *view, double share, report_cost *costs) {
    for (size_t m = 0; m < view->n_models; m++) {
        contender *lowest = NULL;
        double least = HUGE_VAL;
        for (size_t i = 0; i < n; i++) {
            double factor = report_factor_at(costs, report_costs(costs, view, list[i].method, view->models[m]), share);
            if (factor < least)
                least = factor, lowest = &list[i];
        }
        if (lowest)
            lowest->n_lowest++;
    }
}

static void print_contenders(pare_string *html, const contender *list, size_t n, double share) {
    pare_string_print(html, "<li>%.0f\u00a0%% removed: ", 100 * share);
    for (size_t i = 0; i < n && i < TOLD_MAX; i++) {
        pare_string_print(html, "%s", i ? ", " : "");
        report_strong(html, list[i].method);
        pare_string_print(html, " ");
        report_change(html, list[i].factor - 1);
    }
    if (n > TOLD_MAX)
        pare_string_print(html, " and %zu other methods", n - TOLD_MAX);
    if (list[0].n_models > 1)
        pare_string_print(html, " (means over %zu models. The first has the lowest loss in %zu of them)", list[0].n_models,
                          list[0].n_lowest);
    pare_string_print(html, ".</li>\n");
}

bool report_equal_print(pare_string *html, const report_view *view, report_cost *costs, pare_arena *arena, pare_error *error) {
    static const double shares[] = {0.05, 0.1, 0.2, 0.3, 0.5};
    contender *list = PARE_PUSH(arena, contender, view->n_methods, error);
    if (!list)
        return false;
    bool told = false;
    for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++) {
        size_t n = list_contenders(list, view, shares[s], costs);
        if (n < 2)
            continue;
        if (!told)
            pare_string_print(
                html,
                "<p>How much the loss rises against the dense model’s when every method removes the same share of the weights outside "
                "of embeddings, without recovery (interpolated linearly between the measured ratios):</p>\n<ul>\n");
        told = true;
        count_lowest(list, n, view, shares[s], costs);
        print_contenders(html, list, n, shares[s]);
    }
    if (told)
        pare_string_print(html, "</ul>\n");
    return true;
}
