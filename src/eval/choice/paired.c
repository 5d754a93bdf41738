/* paired: two models on the same items. Most items are answered alike, so that the difference of accuracies is known far better than
 * either: d_i = hit_i - hit'_i; difference = mean(d), its error = sd(d) / sqrt(n) McNemar's test, exact: of the b + c items that one model
 * alone has right, c is Binomial(b + c, 1/2) where the models are equally good. */
#include <math.h>

#include "pare/task.h"

static bool hit(const pare_choice *choice, size_t item, unsigned metric) {
    pare_item_outcome o = pare_choice_outcome(choice, item);
    return metric == PARE_METRIC_ACC_NORM ? o.acc_norm : metric == PARE_METRIC_ACC_BYTES ? o.acc_bytes : o.acc;
}

/* Two-sided: twice the smaller tail. */
static double mcnemar(double b, double c) {
    double n = b + c, least = fmin(b, c), sum = 0;
    for (double k = 0; k <= least; k++)
        sum += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2));
    return fmin(1, 2 * sum);
}

pare_paired pare_choice_paired(const pare_choice *model, const pare_choice *dense, unsigned metric) {
    pare_paired p = {.items = model->items->n};
    for (size_t i = 0; i < p.items; i++) {
        bool mine = hit(model, i, metric), theirs = hit(dense, i, metric);
        p.only_model += mine && !theirs;
        p.only_dense += theirs && !mine;
    }
    double n = (double)p.items, b = (double)p.only_model, c = (double)p.only_dense;
    p.difference = (b - c) / n;
    p.error = p.items > 1 ? sqrt((b + c - n * p.difference * p.difference) / (n - 1) / n) : (double)NAN;
    p.mcnemar = mcnemar(b, c);
    return p;
}
