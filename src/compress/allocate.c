/* allocate: other counts for other layers, as many units in all as the uniform plan keeps: by the scores of all layers in one list
 * (global), or by what cutting each layer alone was seen to cost (sensitivity). Both share out blocks of units: the plan's multiple. */
#include "allocate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "surgery.h"
#include "window_loss.h"

enum { BLOCKS_MOST = 64 };

/* ---- the least sum ---- */

/* Sums of `width` totals, reached exactly; of rows that are free. */
typedef struct {
    const double *cost; /* (n_rows, n_blocks + 1) */
    uint32_t n_blocks, even;
    size_t width;
    double *before, *now; /* (width): the least sum by the blocks in all, without and with the row at hand */
} table;

static uint32_t distance(uint32_t a, uint32_t b) {
    return a > b ? a - b : b - a;
}

/* choice (width): what this row keeps when it and those before it keep so many; of equal sums the one nearest to an even share. */
static void add_row(uint32_t *choice, table *t, uint32_t row) {
    const double *cost = t->cost + (size_t)row * (t->n_blocks + 1);
    for (size_t total = 0; total < t->width; total++) {
        double least = (double)INFINITY;
        for (uint32_t k = 1; k <= t->n_blocks && k <= total; k++) {
            double sum = t->before[total - k] + cost[k];
            if (sum < least || (sum == least && distance(k, t->even) < distance(choice[total], t->even))) {
                least = sum;
                choice[total] = k;
            }
        }
        t->now[total] = least;
    }
    double *swap = t->before;
    t->before = t->now;
    t->now = swap;
}

static bool add_rows(uint32_t *kept, table *t, const bool *fixed, uint32_t n_rows, pare_error *error) {
    uint32_t *choice = pare_allocate(n_rows * t->width, sizeof *choice, error);
    for (uint32_t i = 0; choice && i < n_rows; i++)
        if (!(fixed && fixed[i]))
            add_row(choice + i * t->width, t, i);
    bool done = choice && (isfinite(t->before[t->width - 1]) ||
                           pare_fail(error, PARE_ERROR_NUMERIC, "what the layers would lose is not a number: they cannot be weighed"));
    for (uint32_t i = n_rows, left = (uint32_t)t->width - 1; done && i-- > 0;) {
        kept[i] = fixed && fixed[i] ? t->n_blocks : choice[i * t->width + left];
        left -= fixed && fixed[i] ? 0 : kept[i];
    }
    pare_free(choice);
    return done;
}

bool allocate_least(uint32_t *kept, const double *cost, const bool *fixed, uint32_t n_rows, uint32_t n_blocks, uint64_t total,
                    pare_error *error) {
    uint64_t n_free = 0;
    for (uint32_t i = 0; i < n_rows; i++)
        n_free += !(fixed && fixed[i]);
    if (total < n_free)
        return pare_fail(error, PARE_ERROR_RANGE, "%llu blocks of units for %llu layers: each keeps at least one",
                         (unsigned long long)total, (unsigned long long)n_free);
    total = total < n_free * n_blocks ? total : n_free * n_blocks;
    table t = {.cost = cost, .n_blocks = n_blocks, .even = n_free ? (uint32_t)(total / n_free) : 0, .width = (size_t)total + 1};
    double *sums = pare_allocate(2 * t.width, sizeof *sums, error);
    if (!sums)
        return false;
    t.before = sums;
    t.now = sums + t.width;
    for (size_t i = 1; i < t.width; i++)
        t.before[i] = (double)INFINITY;
    bool done = add_rows(kept, &t, fixed, n_rows, error);
    pare_free(sums);
    return done;
}

/* ---- blocks ---- */

/* What there is to share out. A row's last block may be smaller than the others. */
typedef struct {
    uint32_t n_rows, n_units, multiple, block, n_blocks;
    uint64_t units; /* what the rows that are not fixed keep together in the uniform plan */
    bool *fixed;    /* (n_rows): rows that the plan keeps whole by --keep-layers */
    uint32_t *kept; /* (n_rows), blocks */
    pare_arena *arena;
} sharing;

static uint32_t units_in(const sharing *s, uint32_t blocks) {
    return blocks >= s->n_blocks ? s->n_units : blocks * s->block;
}

static bool check_unit(pare_unit unit, pare_error *error) {
    return unit == PARE_UNIT_FFN || unit == PARE_UNIT_GROUPS ||
           pare_fail(error, PARE_ERROR_USAGE, "%s are not shared out over layers: allocations are for FFN neurons and key-value heads",
                     pare_unit_name(unit));
}

static bool begin(sharing *s, const pare_plan *plan, pare_error *error) {
    if (!check_unit(plan->unit, error))
        return false;
    uint32_t multiple = plan->unit == PARE_UNIT_FFN ? plan->multiple : 1, n = plan->n_units;
    uint32_t block = (n / BLOCKS_MOST + multiple - 1) / multiple * multiple;
    block = block < multiple ? multiple : block;
    *s = (sharing){.n_rows = plan->n_rows, .n_units = n, .multiple = multiple, .block = block, .n_blocks = (n + block - 1) / block};
    if (!(s->arena = pare_arena_open(error)) || !(s->fixed = PARE_PUSH(s->arena, bool, s->n_rows, error)) ||
        !(s->kept = PARE_PUSH(s->arena, uint32_t, s->n_rows, error)))
        return false;
    for (uint32_t i = 0; i < s->n_rows; i++) {
        s->fixed[i] = plan->each && plan->each[i] == n;
        s->units += s->fixed[i] ? 0 : pare_plan_kept(plan, i);
    }
    return true;
}

/* What a unit more saves in a row that keeps `kept` and not all. */
static double saving(const sharing *s, const double *cost, uint32_t row, uint32_t kept) {
    uint32_t block = kept / s->block;
    const double *of_row = cost + (size_t)row * (s->n_blocks + 1);
    return (of_row[block] - of_row[block + 1]) / (units_in(s, block + 1) - block * s->block);
}

/* A multiple, or what is missing from all. */
static uint32_t next_step(const sharing *s, uint32_t kept) {
    uint32_t room = s->n_units - kept;
    return room < s->multiple ? room : s->multiple;
}

/* The row that a unit more saves most, of those that may have more and no more than `rest`; n_rows: none. */
static uint32_t neediest(const uint32_t *each, const sharing *s, const double *cost, uint64_t rest) {
    uint32_t best = s->n_rows;
    for (uint32_t i = 0; i < s->n_rows; i++) {
        uint32_t step = next_step(s, each[i]);
        if (!s->fixed[i] && step > 0 && step <= rest &&
            (best == s->n_rows || saving(s, cost, i, each[i]) > saving(s, cost, best, each[best])))
            best = i;
    }
    return best;
}

/* Blocks leave a rest: less than one, and what short last blocks lack. It is given out in multiples, so that as many units stay as in the
 * uniform plan: never more, for there may be a budget, and fewer by less than a multiple. */
static void share_rest(uint32_t *each, const sharing *s, const double *cost) {
    uint64_t rest = s->units;
    for (uint32_t i = 0; i < s->n_rows; i++)
        rest -= s->fixed[i] ? 0 : each[i];
    for (uint32_t i; (i = neediest(each, s, cost, rest)) < s->n_rows;) {
        uint32_t step = next_step(s, each[i]);
        each[i] += step;
        rest -= step;
    }
}

/* The counts of least cost (n_rows, n_blocks + 1) into the plan. */
static bool finish(sharing *s, const double *cost, pare_plan *plan, pare_error *error) {
    if (!allocate_least(s->kept, cost, s->fixed, s->n_rows, s->n_blocks, s->units / s->block, error))
        return false;
    uint32_t *each = pare_allocate(s->n_rows, sizeof *each, error);
    if (!each)
        return false;
    for (uint32_t i = 0; i < s->n_rows; i++)
        each[i] = units_in(s, s->kept[i]);
    share_rest(each, s, cost);
    pare_free(plan->each);
    plan->each = each;
    return true;
}

/* ---- global ---- */

static int descending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* A row's scores to mean 0 and variance 1, best first: layers differ in scale by orders of magnitude. They begin at 0 where the worst of
 * all layers is, so that nothing is gained by keeping less than there may be. */
static void standardise(double *sorted, const double *values, uint32_t n) {
    double mean = 0, variance = 0;
    for (uint32_t j = 0; j < n; j++)
        mean += values[j] / n;
    for (uint32_t j = 0; j < n; j++)
        variance += (values[j] - mean) * (values[j] - mean) / n;
    for (uint32_t j = 0; j < n; j++)
        sorted[j] = variance > 0 ? (values[j] - mean) / sqrt(variance) : 0;
    qsort(sorted, n, sizeof *sorted, descending);
}

bool pare_plan_allocate_global(pare_plan *plan, const pare_scores *scores, pare_error *error) {
    sharing s = {0};
    if (!scores->values)
        return pare_fail(error, PARE_ERROR_USAGE,
                         "this method chooses while it cuts and has no scores to rank over all layers: use sensitivity");
    double *all = pare_allocate((size_t)scores->n_rows * scores->n_units, sizeof *all, error), worst = 0, *costs = NULL;
    bool done = all && begin(&s, plan, error) && (costs = PARE_PUSH(s.arena, double, (size_t)s.n_rows *(s.n_blocks + 1), error));
    for (uint32_t i = 0; done && i < s.n_rows; i++) {
        double *sorted = all + (size_t)i * s.n_units;
        for (uint32_t j = 0; done && j < s.n_units; j++)
            done = isfinite(scores->values[(size_t)i * s.n_units + j]) ||
                   pare_fail(error, PARE_ERROR_NUMERIC, "the score of unit %u in layer %u is not a finite number", j, i);
        if (!done)
            break;
        standardise(sorted, scores->values + (size_t)i * s.n_units, s.n_units);
        worst = fmin(worst, sorted[s.n_units - 1]);
    }
    for (uint32_t i = 0; done && i < s.n_rows; i++) {
        const double *sorted = all + (size_t)i * s.n_units;
        double *cost = costs + (size_t)i * (s.n_blocks + 1);
        cost[0] = 0;
        for (uint32_t b = 0; b < s.n_blocks; b++) { /* what is kept is gained; the best come first, so that the sum picks the best of all */
            cost[b + 1] = cost[b];
            for (uint32_t j = b * s.block; j < units_in(&s, b + 1); j++)
                cost[b + 1] -= sorted[j] - worst;
        }
    }
    done = done && finish(&s, costs, plan, error);
    pare_arena_close(s.arena);
    pare_free(all);
    return done;
}

/* ---- sensitivity ---- */

/* Straight lines through the losses at all, 3/4, 1/2, 1/4 of the blocks and one. */
enum { POINTS = 5 };

static void blocks_at(uint32_t at[POINTS], const sharing *s) {
    for (uint32_t i = 0; i < POINTS; i++) {
        uint32_t b = (s->n_blocks * (POINTS - 1 - i) + (POINTS - 1) / 2) / (POINTS - 1);
        at[i] = b < 1 ? 1 : b;
    }
}

static void fill_lines(double *cost, const uint32_t at[POINTS], const double loss[POINTS], uint32_t n_blocks) {
    cost[0] = (double)INFINITY;
    for (uint32_t b = 1; b <= n_blocks; b++) {
        uint32_t i = 0;
        while (i + 2 < POINTS && at[i + 1] > b)
            i++;
        cost[b] = at[i] == at[i + 1] ? loss[i] : loss[i + 1] + (loss[i] - loss[i + 1]) * (b - at[i + 1]) / (double)(at[i] - at[i + 1]);
    }
}

/* What the loss is with one layer cut to `units` and all others whole. */
static bool try_one(double *loss, const pare_plan *plan, uint32_t row, uint32_t units, const pare_method *method, const pare_scores *scores,
                    const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_context *context,
                    pare_error *error) {
    pare_plan alone = *plan;
    alone.each = pare_allocate(plan->n_rows, sizeof *alone.each, error);
    for (uint32_t i = 0; alone.each && i < plan->n_rows; i++)
        alone.each[i] = i == row ? units : plan->n_units;
    pare_cut *cut = alone.each ? pare_method_cut(method, checkpoint, calibration, scores, &alone, context, error) : NULL;
    bool done = cut && window_loss(loss, checkpoint, cut, &calibration->windows, context, error);
    pare_cut_close(cut);
    pare_free(alone.each);
    return done;
}

static bool try_layers(double *cost, const sharing *s, const pare_plan *plan, const pare_method *method, const pare_scores *scores,
                       const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_context *context,
                       pare_error *error) {
    uint32_t at[POINTS];
    double loss[POINTS], dense;
    pare_context within = {.n_threads = pare_context_threads(context), .cancel = context ? context->cancel : NULL};
    blocks_at(at, s);
    bool done = window_loss(&dense, checkpoint, NULL, &calibration->windows, &within, error);
    for (uint32_t row = 0; done && row < s->n_rows; row++) {
        pare_context_progress(context, "measure each layer's loss (sensitivity)", row, s->n_rows);
        loss[0] = dense;
        for (uint32_t i = 1; done && i < POINTS && !s->fixed[row]; i++) {
            loss[i] = loss[i - 1];
            done = at[i] == at[i - 1] ||
                   try_one(&loss[i], plan, row, units_in(s, at[i]), method, scores, checkpoint, calibration, &within, error);
        }
        if (done)
            fill_lines(cost + (size_t)row * (s->n_blocks + 1), at, loss, s->n_blocks);
    }
    return done;
}

/* Surgeons know what every width of every layer would cost. */
static bool ask_surgeon(double *cost, const sharing *s, const pare_plan *plan, const pare_checkpoint *checkpoint,
                        const pare_calibration *calibration, const pare_context *context, pare_error *error) {
    const pare_config *c = &checkpoint->config;
    const uint32_t least[SURGERY_SITES] = {1, s->block};
    surgery_site own = plan->unit == PARE_UNIT_FFN ? SURGERY_FFN : SURGERY_ATTENTION;
    size_t units[SURGERY_SITES] = {c->n_kv_heads, c->ffn_width};
    double *costs[SURGERY_SITES] = {0};
    bool done = true;
    for (int i = 0; done && i < SURGERY_SITES; i++)
        done = (costs[i] = PARE_PUSH(s->arena, double, s->n_rows *(units[i] + 1), error)) != NULL;
    done = done && surgery_costs(costs, least, checkpoint, &calibration->windows, context, error);
    for (uint32_t row = 0; done && row < s->n_rows; row++)
        for (uint32_t b = 0; b <= s->n_blocks; b++)
            cost[(size_t)row * (s->n_blocks + 1) + b] = b == 0 ? (double)INFINITY : costs[own][row * (units[own] + 1) + units_in(s, b)];
    return done;
}

bool pare_sensitivity_measure(pare_sensitivity *sensitivity, const pare_plan *plan, const pare_method *method, const pare_scores *scores,
                              const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_context *context,
                              pare_error *error) {
    sharing s = {0};
    *sensitivity = (pare_sensitivity){0};
    bool done = begin(&s, plan, error);
    double *cost = done ? pare_allocate((size_t)s.n_rows * (s.n_blocks + 1), sizeof *cost, error) : NULL;
    done = cost && (scores->values ? try_layers(cost, &s, plan, method, scores, checkpoint, calibration, context, error)
                                   : ask_surgeon(cost, &s, plan, checkpoint, calibration, context, error));
    if (done)
        *sensitivity = (pare_sensitivity){s.n_rows, s.n_blocks, s.block, cost};
    else
        pare_free(cost);
    pare_arena_close(s.arena);
    return done;
}

void pare_sensitivity_free(pare_sensitivity *sensitivity) {
    pare_free(sensitivity->cost);
    *sensitivity = (pare_sensitivity){0};
}

bool pare_plan_allocate_sensitivity(pare_plan *plan, const pare_sensitivity *sensitivity, pare_error *error) {
    sharing s = {0};
    bool done = begin(&s, plan, error);
    if (done && (s.n_rows != sensitivity->n_rows || s.n_blocks != sensitivity->n_blocks || s.block != sensitivity->block))
        done = pare_fail(error, PARE_ERROR_SHAPE, "the sensitivity was measured of %u rows of %u blocks, the plan has %u of %u",
                         sensitivity->n_rows, sensitivity->n_blocks, s.n_rows, s.n_blocks);
    done = done && finish(&s, sensitivity->cost, plan, error);
    pare_arena_close(s.arena);
    return done;
}

/* ---- names ---- */

static const char *const names[PARE_ALLOCATIONS] = {"uniform", "global", "sensitivity"};

const char *pare_allocation_name(pare_allocation allocation) {
    return names[allocation];
}

bool pare_allocation_find(pare_allocation *allocation, const char *name) {
    for (int i = 0; i < PARE_ALLOCATIONS; i++)
        if (strcmp(name, names[i]) == 0) {
            *allocation = (pare_allocation)i;
            return true;
        }
    return false;
}

bool pare_allocation_check(pare_allocation allocation, const pare_method *method, pare_error *error) {
    if (allocation == PARE_ALLOCATION_UNIFORM)
        return true;
    if (!check_unit(method->unit, error))
        return false;
    return allocation != PARE_ALLOCATION_GLOBAL || method->score ||
           pare_fail(error, PARE_ERROR_USAGE, "method %s chooses while it cuts and has no scores to rank over all layers: use sensitivity",
                     method->name);
}
