/* select: which points take part in a fit, and why the others do not. Nothing is left out by its own result alone: where a method breaks
 * one model, all results of that method at that ratio and above go, because the models that happen to survive there would make the method
 * look better than it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fit.h"

static const struct {
    const char *name, *reason;
} uses[PARE_LAW_N_USES] = {
    [PARE_LAW_USED] = {"used", "takes part"},
    [PARE_LAW_BROKEN] = {"broken", "above the loss of a uniform guess"},
    [PARE_LAW_BEYOND] = {"beyond", "at a ratio from which on the method breaks another model"},
    [PARE_LAW_IDENTITY] = {"identity", "the dense model itself (r = 0, D = 0)"},
    [PARE_LAW_CONTROL] = {"control", "the dense model trained on (r = 0, D > 0)"},
    [PARE_LAW_RECOVERED] = {"recovered", "trained after the cut, for which the form has no term"},
    [PARE_LAW_COPY] = {"copy", "exact copies of other results, counted once"},
    [PARE_LAW_BAD_L] = {"bad_l", "l is missing, not finite or not above 0"},
    [PARE_LAW_BAD_L0] = {"bad_l0", "l0 is missing, not finite or not above 0"},
    [PARE_LAW_BAD_R] = {"bad_r", "r is outside [0, 1)"},
    [PARE_LAW_NO_R] = {"no_r", "this kind of ratio was not recorded"},
    [PARE_LAW_BAD_D] = {"bad_d", "d is negative or not finite"},
};

const char *pare_law_use_name(pare_law_use use) {
    return uses[use].name;
}

const char *pare_law_use_reason(pare_law_use use) {
    return uses[use].reason;
}

pare_law_point pare_law_point_blank(void) {
    pare_law_point point = {.model = "", .method = "", .l0 = PARE_NONE, .l = PARE_NONE, .ceiling = PARE_NONE};
    for (size_t i = 0; i < PARE_LAW_N_RATIOS; i++)
        point.ratio[i] = PARE_NONE;
    return point;
}

/* A point under judgement. */
typedef struct {
    const pare_law_point *point;
    size_t entry; /* index into points->items */
    const char *model, *method;
    double r, nominal, d, l0;
    pare_law_use use;
} item;

static bool positive(double value) {
    return isfinite(value) && value > 0;
}

static const char *named(const char *text) {
    return text ? text : "";
}

/* Numbers that cannot be used whatever the others are. */
static pare_law_use judge(const item *it) {
    if (!positive(it->point->l))
        return PARE_LAW_BAD_L;
    if (!positive(it->point->l0))
        return PARE_LAW_BAD_L0;
    if (isnan(it->r))
        return PARE_LAW_NO_R;
    if (!(it->r >= 0 && it->r < 1))
        return PARE_LAW_BAD_R;
    if (!isfinite(it->d) || it->d < 0)
        return PARE_LAW_BAD_D;
    return PARE_LAW_USED;
}

static pare_law_use judge_dense(const item *it) {
    if (it->nominal != 0)
        return PARE_LAW_USED;
    return it->d > 0 ? PARE_LAW_CONTROL : PARE_LAW_IDENTITY;
}

static item item_of(const pare_law_points *points, size_t at, const pare_law_options *options) {
    const pare_law_point *point = &points->items[at];
    double r = point->ratio[options->ratio], nominal = point->ratio[PARE_LAW_RATIO_NOMINAL];
    item it = {.point = point,
               .entry = at,
               .model = named(point->model),
               .method = named(point->method),
               .r = r + 0.0,
               .nominal = (isnan(nominal) ? r : nominal) + 0.0,
               .d = (isnan(point->d) ? 0 : point->d) + 0.0,
               .l0 = point->l0};
    it.use = judge(&it);
    if (it.use == PARE_LAW_USED && !options->include_identity)
        it.use = judge_dense(&it);
    return it;
}

/* NAN comes last, so that the order is a total one. */
static int compare_numbers(double a, double b) {
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

static int compare_models(const void *left, const void *right) {
    const item *a = left, *b = right;
    int order = (a->use != PARE_LAW_USED) - (b->use != PARE_LAW_USED);
    order = order ? order : strcmp(a->model, b->model);
    return order ? order : compare_numbers(a->point->l0, b->point->l0);
}

/* Two programs, or two kernels of one, give a model's L0 with other last digits: one L0 per model, the middle, where they differ by less
 * than a thousandth. */
static void unify_l0(item *items, size_t n) {
    qsort(items, n, sizeof *items, compare_models);
    for (size_t first = 0, end; first < n && items[first].use == PARE_LAW_USED; first = end) {
        for (end = first; end < n && items[end].use == PARE_LAW_USED && strcmp(items[end].model, items[first].model) == 0; end++)
            continue;
        double low = items[first].point->l0, high = items[end - 1].point->l0;
        for (size_t i = first; i < end && high <= low * 1.001; i++)
            items[i].l0 = low < high ? sqrt(low) * sqrt(high) : low;
    }
}

static int compare_copies(const void *left, const void *right) {
    const item *a = left, *b = right;
    int order = (a->use != PARE_LAW_USED) - (b->use != PARE_LAW_USED);
    order = order ? order : strcmp(a->model, b->model);
    order = order ? order : strcmp(a->method, b->method);
    order = order ? order : compare_numbers(a->point->l0, b->point->l0);
    order = order ? order : compare_numbers(a->d, b->d);
    order = order ? order : compare_numbers(a->point->l, b->point->l);
    order = order ? order : compare_numbers(a->point->ceiling, b->point->ceiling);
    for (size_t i = 0; i < PARE_LAW_N_RATIOS; i++)
        order = order ? order : compare_numbers(a->point->ratio[i], b->point->ratio[i]);
    return order;
}

static int compare_copies_in_order(const void *left, const void *right) {
    const item *a = left, *b = right;
    int order = compare_copies(a, b);
    return order ? order : (a->entry > b->entry) - (a->entry < b->entry);
}

static void mark_copies(item *items, size_t n) {
    qsort(items, n, sizeof *items, compare_copies_in_order);
    for (size_t first = 0, i = 1; i < n && items[i].use == PARE_LAW_USED; i++) {
        if (compare_copies(&items[first], &items[i]) == 0)
            items[i].use = PARE_LAW_COPY;
        else
            first = i;
    }
}

/* Keeps only the points of the smallest D. */
static void mark_recovered(item *items, size_t n) {
    double least = (double)INFINITY;
    for (size_t i = 0; i < n; i++)
        if (items[i].use == PARE_LAW_USED)
            least = fmin(least, items[i].d);
    for (size_t i = 0; i < n; i++)
        if (items[i].use == PARE_LAW_USED && items[i].d > least)
            items[i].use = PARE_LAW_RECOVERED;
}

static int compare_cells(const void *left, const void *right) {
    const item *a = left, *b = right;
    int order = (a->use != PARE_LAW_USED) - (b->use != PARE_LAW_USED);
    order = order ? order : strcmp(a->method, b->method);
    order = order ? order : compare_numbers(a->d, b->d);
    return order ? order : compare_numbers(a->nominal, b->nominal);
}

static bool is_broken(const item *it) {
    return positive(it->point->ceiling) && it->point->l > it->point->ceiling;
}

/* Of each method and D, everything from the smallest ratio at which a model is broken. */
static void mark_broken(item *items, size_t n) {
    qsort(items, n, sizeof *items, compare_cells);
    for (size_t first = 0, end; first < n && items[first].use == PARE_LAW_USED; first = end) {
        double from = (double)INFINITY;
        for (end = first; end < n && items[end].use == PARE_LAW_USED && strcmp(items[end].method, items[first].method) == 0 &&
                          items[end].d == items[first].d;
             end++)
            if (is_broken(&items[end]))
                from = fmin(from, items[end].nominal);
        for (size_t i = first; i < end; i++)
            if (items[i].nominal >= from)
                items[i].use = is_broken(&items[i]) ? PARE_LAW_BROKEN : PARE_LAW_BEYOND;
    }
}

static int compare_entries(const void *left, const void *right) {
    const item *a = left, *b = right;
    return (a->entry > b->entry) - (a->entry < b->entry);
}

static void judge_all(item *items, size_t n, const pare_form *form, const pare_law_options *options) {
    mark_copies(items, n);
    if (options->without_recovery || form->recovery_term == PARE_LAW_MAX_TERMS)
        mark_recovered(items, n);
    if (!options->include_broken)
        mark_broken(items, n);
    qsort(items, n, sizeof *items, compare_entries);
}

static size_t keep_method(item *items, size_t n, const char *method) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!method || strcmp(items[i].method, method) == 0)
            items[kept++] = items[i];
    return kept;
}

static int compare_rows(const void *left, const void *right) {
    const pare_row *a = left, *b = right;
    int order = compare_numbers(a->r, b->r);
    order = order ? order : compare_numbers(a->l0, b->l0);
    order = order ? order : compare_numbers(a->d, b->d);
    order = order ? order : compare_numbers(a->l, b->l);
    order = order ? order : strcmp(a->model, b->model);
    return order ? order : strcmp(a->method, b->method);
}

typedef struct {
    const char *name;
    size_t row;
} name_of_row;

static int compare_names(const void *left, const void *right) {
    const name_of_row *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    return order ? order : (a->row > b->row) - (a->row < b->row);
}

/* Sorts and counts the different names. */
static size_t group_names(name_of_row *names, size_t n) {
    size_t n_groups = 0;
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++)
        n_groups += i == 0 || strcmp(names[i].name, names[i - 1].name) != 0;
    return n_groups;
}

/* Numbers the models, lists the rows model after model, counts the methods. */
static bool group_rows(pare_rows *rows, pare_row *items, pare_law_fit *fit, pare_arena *arena, pare_error *error) {
    name_of_row *names = PARE_PUSH(arena, name_of_row, rows->n, error);
    size_t *by_model = PARE_PUSH(arena, size_t, rows->n, error);
    if (!names || !by_model)
        return false;
    for (size_t i = 0; i < rows->n; i++)
        names[i] = (name_of_row){items[i].method, i};
    fit->n_methods = group_names(names, rows->n);
    for (size_t i = 0; i < rows->n; i++)
        names[i] = (name_of_row){items[i].model, i};
    rows->n_models = fit->n_models = group_names(names, rows->n);
    for (size_t i = 0, model = 0; i < rows->n; i++) {
        model += i > 0 && strcmp(names[i].name, names[i - 1].name) != 0;
        by_model[i] = names[i].row;
        items[names[i].row].model_id = model;
    }
    rows->by_model = by_model;
    return true;
}

static void add_residual(pare_law_fit *fit, const item *it) {
    fit->residuals[fit->n_residuals++] = (pare_law_residual){.point = it->entry,
                                                             .use = it->use,
                                                             .r = it->r,
                                                             .fitted = PARE_NONE,
                                                             .residual = PARE_NONE,
                                                             .relative_error = PARE_NONE,
                                                             .leverage = PARE_NONE,
                                                             .studentized = PARE_NONE,
                                                             .loo = PARE_NONE,
                                                             .loo_model = PARE_NONE};
    if (it->use == PARE_LAW_USED)
        return;
    fit->excluded[it->use]++;
    if (fit->first_line[it->use] == 0)
        fit->first_line[it->use] = it->point->line;
}

bool pare_rows_select(pare_rows *rows, pare_law_fit *fit, const pare_law_points *points, const char *method,
                      const pare_law_options *options, pare_arena *arena, pare_error *error) {
    item *items = PARE_PUSH(arena, item, points->n, error);
    pare_row *chosen = PARE_PUSH(arena, pare_row, points->n, error);
    fit->residuals = PARE_PUSH(arena, pare_law_residual, points->n, error);
    if (!items || !chosen || !fit->residuals)
        return false;
    for (size_t i = 0; i < points->n; i++)
        items[i] = item_of(points, i, options);
    unify_l0(items, points->n); /* over all methods: what a model's L0 is does not hang on one */
    size_t n = keep_method(items, points->n, method);
    judge_all(items, n, rows->form, options);
    for (size_t i = 0; i < n; i++) {
        const item *it = &items[i];
        add_residual(fit, it);
        if (it->use == PARE_LAW_USED)
            chosen[rows->n++] = (pare_row){.r = it->r,
                                           .l0 = it->l0,
                                           .d = it->d,
                                           .l = it->point->l,
                                           .nominal = it->nominal,
                                           .model = it->model,
                                           .method = it->method,
                                           .entry = fit->n_residuals - 1};
    }
    fit->n_excluded = fit->n_residuals - rows->n;
    qsort(chosen, rows->n, sizeof *chosen, compare_rows);
    rows->rows = chosen;
    return group_rows(rows, chosen, fit, arena, error);
}

void pare_law_tell_excluded(char *text, size_t size, const pare_law_fit *fit) {
    size_t used = 0;
    text[0] = 0;
    for (size_t use = 0; use < PARE_LAW_N_USES && used + 1 < size; use++) {
        if (!fit->excluded[use])
            continue;
        used += (size_t)snprintf(text + used, size - used, "%s%zu %s", used ? ", " : "", fit->excluded[use], uses[use].reason);
        if (fit->first_line[use] && use >= PARE_LAW_COPY && used + 1 < size) /* from here on the file is at fault */
            used += (size_t)snprintf(text + used, size - used, " (first: line %zu)", fit->first_line[use]);
    }
}
