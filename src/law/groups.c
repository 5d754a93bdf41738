/* groups: the same form for every method and for all together, and all forms for the same points. */
#include <stdlib.h>
#include <string.h>

#include "fit.h"

enum { MAX_METHODS = 256 };

static int compare_text(const void *left, const void *right) {
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

/* The different methods of the points, in alphabetical order. What was never compressed (a ledger's "dense", trained on or not) is no
 * method. */
static bool list_methods(const char *methods[MAX_METHODS], size_t *n, const pare_law_points *points, pare_law_ratio ratio,
                         pare_error *error) {
    *n = 0;
    for (size_t i = 0; i < points->n; i++) {
        double nominal = points->items[i].ratio[PARE_LAW_RATIO_NOMINAL];
        if ((isnan(nominal) ? points->items[i].ratio[ratio] : nominal) == 0)
            continue;
        const char *method = points->items[i].method ? points->items[i].method : "";
        size_t at = 0;
        while (at < *n && strcmp(methods[at], method) != 0)
            at++;
        if (at < *n)
            continue;
        if (*n == MAX_METHODS)
            return pare_fail(error, PARE_ERROR_RANGE, "the points name more than %d methods", MAX_METHODS);
        methods[(*n)++] = method;
    }
    qsort(methods, *n, sizeof *methods, compare_text);
    return true;
}

/* ---- one law or several -------------------------------------------------------------------- */

static const pare_law_group *group_of(const pare_law_groups *groups, const char *method) {
    for (size_t i = 0; i + 1 < groups->n; i++)
        if (groups->items[i].done && strcmp(groups->items[i].method, method ? method : "") == 0)
            return &groups->items[i];
    return NULL;
}

/* The pooled law of the methods that have a law of their own: the others would count on one side only. */
static bool fit_comparable(pare_law_fit *fit, const pare_law_groups *groups, pare_law_form form, const pare_law_points *points,
                           const pare_law_options *options, pare_arena *arena, pare_error *error) {
    pare_law_points some = {PARE_PUSH(arena, pare_law_point, points->n, error), 0};
    if (!some.items)
        return false;
    for (size_t i = 0; i < points->n; i++)
        if (group_of(groups, points->items[i].method))
            some.items[some.n++] = points->items[i];
    return pare_law_fit_points(fit, form, &some, NULL, options, arena, error);
}

/* G. C. Chow (1960): (RSS pooled - sum RSS apart) / extra coefficients against sum RSS apart / its degrees of freedom. */
static void test_pooling(pare_law_groups *groups, const pare_law *pooled) {
    double rss = 0, degrees = 0;
    for (size_t i = 0; i + 1 < groups->n; i++) {
        const pare_law *law = &groups->items[i].fit.law;
        if (!groups->items[i].done)
            continue;
        rss += law->sigma * law->sigma * law->degrees;
        degrees += law->degrees;
    }
    double extra = pooled->degrees - degrees, gained = pooled->sigma * pooled->sigma * pooled->degrees - rss;
    if (extra < 1 || !(rss > 0))
        return;
    groups->pooling_f = fmax(gained, 0) / extra / (rss / degrees);
    groups->pooling_p = pare_fisher_p(groups->pooling_f, extra, degrees);
}

static size_t add_lost(double *lost, size_t n, const pare_law_fit *fit, const pare_law_points *points) {
    for (size_t i = 0; i < fit->n_residuals; i++) {
        const pare_law_residual *entry = &fit->residuals[i];
        const pare_law_point *point = &points->items[entry->point];
        if (entry->use == PARE_LAW_USED && !isnan(entry->loo_model))
            lost[n++] = pare_lost_error(entry->loo_model, point->l, point->l0);
    }
    return n;
}

static bool compare_predictions(pare_law_groups *groups, const pare_law_fit *pooled, const pare_law_points *points, pare_arena *arena,
                                pare_error *error) {
    double *lost = PARE_PUSH(arena, double, points->n, error);
    size_t n = 0;
    if (!lost)
        return false;
    for (size_t i = 0; i + 1 < groups->n; i++)
        if (groups->items[i].done)
            n = add_lost(lost, n, &groups->items[i].fit, points);
    groups->apart_lost_error = pare_median(lost, n);
    groups->pooled_lost_error = pooled->lost_model_error;
    return true;
}

static bool compare_pooling(pare_law_groups *groups, pare_law_form form, const pare_law_points *points, const pare_law_options *options,
                            pare_arena *arena, pare_error *error) {
    pare_law_fit pooled;
    pare_error failure = {0};
    groups->pooling_f = groups->pooling_p = groups->pooled_lost_error = groups->apart_lost_error = PARE_NONE;
    for (size_t i = 0; i + 1 < groups->n; i++)
        groups->n_pooled += groups->items[i].done;
    if (groups->n_pooled < 2)
        return true;
    if (!fit_comparable(&pooled, groups, form, points, options, arena, &failure))
        return failure.code == PARE_ERROR_NUMERIC || pare_fail(error, failure.code, "%s", failure.message);
    if (pooled.n_models > 1)
        return compare_predictions(groups, &pooled, points, arena, error);
    test_pooling(groups, &pooled.law);
    return true;
}

bool pare_law_fit_groups(pare_law_groups *groups, pare_law_form form, const pare_law_points *points, const pare_law_options *options,
                         pare_arena *arena, pare_error *error) {
    const char *methods[MAX_METHODS];
    size_t n_methods;
    *groups = (pare_law_groups){0};
    if (!list_methods(methods, &n_methods, points, options ? options->ratio : PARE_LAW_RATIO_NOMINAL, error))
        return false;
    if (n_methods == 0)
        return pare_fail(error, PARE_ERROR_NUMERIC, "there is no point to fit: none of %zu has a ratio above 0", points->n);
    groups->n = n_methods > 1 ? n_methods + 1 : 1;
    groups->items = PARE_PUSH(arena, pare_law_group, groups->n, error);
    if (!groups->items)
        return false;
    size_t n_done = 0;
    for (size_t i = 0; i < groups->n; i++) {
        pare_law_group *group = &groups->items[i];
        group->method = i < n_methods ? pare_arena_copy(arena, methods[i], strlen(methods[i]), error) : NULL;
        if (i < n_methods && !group->method)
            return false;
        group->done = pare_law_fit_points(&group->fit, form, points, group->method, options, arena, &group->failure);
        if (!group->done && group->failure.code != PARE_ERROR_NUMERIC)
            return pare_fail(error, group->failure.code, "%s", group->failure.message);
        n_done += group->done;
    }
    if (n_done == 0)
        return pare_fail(error, PARE_ERROR_NUMERIC, "%s", groups->items[groups->n - 1].failure.message);
    return compare_pooling(groups, form, points, options, arena, error);
}

/* ---- which form ---------------------------------------------------------------------------- */

static double lost_model(const pare_law_fit *fit) {
    return fit->lost_model_error;
}

static double lost_rolling(const pare_law_fit *fit) {
    return fit->lost_rolling_error;
}

static double loo(const pare_law_fit *fit) {
    return fit->loo_error;
}

/* The first of these errors that all forms have. */
static double (*choose_rank(const pare_law_candidate *candidates))(const pare_law_fit *) {
    static double (*const ranks[])(const pare_law_fit *) = {lost_model, lost_rolling};
    for (size_t k = 0; k < sizeof ranks / sizeof ranks[0]; k++) {
        bool all = true;
        for (size_t i = 0; i < PARE_LAW_N_FORMS; i++)
            all = all && (!candidates[i].done || isfinite(ranks[k](&candidates[i].fit)));
        if (all)
            return ranks[k];
    }
    return loo;
}

static double rank(const pare_law_candidate *candidate, double (*error)(const pare_law_fit *)) {
    return candidate->done && !isnan(error(&candidate->fit)) ? error(&candidate->fit) : (double)INFINITY;
}

/* Insertion keeps the order of the forms where errors tie. */
static void sort_candidates(pare_law_candidate candidates[PARE_LAW_N_FORMS]) {
    double (*error)(const pare_law_fit *) = choose_rank(candidates);
    for (size_t i = 1; i < PARE_LAW_N_FORMS; i++) {
        pare_law_candidate next = candidates[i];
        size_t at = i;
        for (; at > 0 && rank(&next, error) < rank(&candidates[at - 1], error); at--)
            candidates[at] = candidates[at - 1];
        candidates[at] = next;
    }
}

bool pare_law_compare(pare_law_candidate candidates[PARE_LAW_N_FORMS], const pare_law_points *points, const char *method,
                      const pare_law_options *options, pare_arena *arena, pare_error *error) {
    pare_law_options alike = options ? *options : (pare_law_options){0};
    alike.without_recovery = true;
    alike.critical_d = 0;
    size_t n_done = 0;
    pare_error first = {0};
    for (size_t i = 0; i < PARE_LAW_N_FORMS; i++) {
        pare_law_candidate *next = &candidates[i];
        *next = (pare_law_candidate){.form = (pare_law_form)i};
        next->done = pare_law_fit_points(&next->fit, next->form, points, method, &alike, arena, &next->failure);
        if (!next->done && next->failure.code != PARE_ERROR_NUMERIC)
            return pare_fail(error, next->failure.code, "%s", next->failure.message);
        if (!next->done && first.code == PARE_OK)
            first = next->failure;
        n_done += next->done;
    }
    sort_candidates(candidates);
    return n_done > 0 || pare_fail(error, PARE_ERROR_NUMERIC, "%s", first.message);
}
