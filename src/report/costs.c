/* costs: what compression cost as it was measured, without recovery: the mean of L / L0 over models and seeds at one nominal ratio, and one
 * model's L / L0 at a share of the weights. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report_impl.h"

static int compare_costs(const void *a, const void *b) {
    double first = ((const report_cost *)a)->r, second = ((const report_cost *)b)->r;
    return (first > second) - (first < second);
}

size_t report_costs(report_cost *costs, const report_view *view, const char *method, const char *model) {
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < view->points.n; i++) {
        const pare_law_point *p = &view->points.items[i];
        double r = p->ratio[PARE_LAW_RATIO_NOMINAL];
        if (strcmp(p->method, method) == 0 && (!model || strcmp(p->model, model) == 0) && r > 0 && p->l0 > 0 && !(p->d > 0))
            costs[n++] = (report_cost){r, p->ratio[PARE_LAW_RATIO_NON_EMBEDDING], p->l / p->l0, 1, p->l > p->ceiling};
    }
    qsort(costs, n, sizeof *costs, compare_costs);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || costs[i].r - costs[kept - 1].r > 1e-9) {
            costs[kept++] = costs[i];
            continue;
        }
        costs[kept - 1].factor += costs[i].factor;
        costs[kept - 1].share += costs[i].share;
        costs[kept - 1].n++;
        costs[kept - 1].n_broken += costs[i].n_broken;
    }
    for (size_t i = 0; i < kept; i++) {
        costs[i].factor /= (double)costs[i].n;
        costs[i].share /= (double)costs[i].n;
    }
    return kept;
}

double report_factor_at(const report_cost *costs, size_t n, double share) {
    for (size_t i = 0; i < n; i++)
        if (fabs(costs[i].share - share) < 1e-9)
            return costs[i].n_broken ? PARE_UNKNOWN : costs[i].factor;
    for (size_t i = 1; i < n; i++) {
        const report_cost *a = &costs[i - 1], *b = &costs[i];
        if (!(a->share < share && share < b->share))
            continue;
        if (a->n_broken || b->n_broken)
            return PARE_UNKNOWN;
        return a->factor + (b->factor - a->factor) * (share - a->share) / (b->share - a->share);
    }
    return PARE_UNKNOWN;
}
