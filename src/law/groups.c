/* groups: the same form for every method and for all together, and all forms for the same points. */
#include <stdlib.h>
#include <string.h>

#include "forms.h"
#include "lsq.h"

enum { MAX_METHODS = 256 };

static int compare_text(const void *left, const void *right) {
    const char *const *a = left, *const *b = right;
    return strcmp(*a, *b);
}

/* The different methods of the points, in alphabetical order. What was never compressed (a ledger's "dense") is no method: it is in L0. */
static bool list_methods(const char *methods[MAX_METHODS], size_t *n, const pare_law_points *points, pare_law_ratio ratio,
                         pare_error *error) {
    *n = 0;
    for (size_t i = 0; i < points->n; i++) {
        if (points->items[i].ratio[ratio] == 0 && !(points->items[i].d > 0))
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

/* G. C. Chow (1960): (RSS pooled - sum RSS apart) / extra coefficients against sum RSS apart / its degrees of freedom. */
static void test_pooling(pare_law_groups *groups) {
    groups->pooling_f = groups->pooling_p = PARE_NONE;
    if (groups->n < 3)
        return;
    const pare_law_group *pooled = &groups->items[groups->n - 1];
    double rss = 0, degrees = 0;
    for (size_t i = 0; i < groups->n; i++) {
        const pare_law *law = &groups->items[i].fit.law;
        if (!groups->items[i].done)
            return;
        if (i + 1 < groups->n) {
            rss += law->sigma * law->sigma * law->degrees;
            degrees += law->degrees;
        }
    }
    const pare_law *law = &pooled->fit.law;
    double extra = law->degrees - degrees, gained = law->sigma * law->sigma * law->degrees - rss;
    if (extra < 1 || !(rss > 0))
        return;
    groups->pooling_f = fmax(gained, 0) / extra / (rss / degrees);
    groups->pooling_p = pare_fisher_p(groups->pooling_f, extra, degrees);
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
    test_pooling(groups);
    return true;
}

static double rank(const pare_law_candidate *candidate) {
    return candidate->done && !isnan(candidate->fit.loo_error) ? candidate->fit.loo_error : (double)INFINITY;
}

bool pare_law_compare(pare_law_candidate candidates[PARE_LAW_N_FORMS], const pare_law_points *points, const char *method,
                      const pare_law_options *options, pare_arena *arena, pare_error *error) {
    size_t n_done = 0;
    pare_error first = {0};
    for (size_t i = 0; i < PARE_LAW_N_FORMS; i++) {
        pare_law_candidate next = {.form = (pare_law_form)i};
        next.done = pare_law_fit_points(&next.fit, next.form, points, method, options, arena, &next.failure);
        if (!next.done && next.failure.code != PARE_ERROR_NUMERIC)
            return pare_fail(error, next.failure.code, "%s", next.failure.message);
        if (!next.done && first.code == PARE_OK)
            first = next.failure;
        n_done += next.done;
        size_t at = i; /* insertion keeps the order of the forms where errors tie */
        for (; at > 0 && rank(&next) < rank(&candidates[at - 1]); at--)
            candidates[at] = candidates[at - 1];
        candidates[at] = next;
    }
    return n_done > 0 || pare_fail(error, PARE_ERROR_NUMERIC, "%s", first.message);
}
