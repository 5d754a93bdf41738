/* refit: see refit.h. */
#include "refit.h"

#include <math.h>
#include <string.h>

#include "rank.h"

enum { ROUNDS = 16, BLOCK = 256, TILE = 64 };

/* What is left after some rounds: inputs, their inverse gram P (upper triangle) and refitted weights w, in the first rows and columns of
 * what there was room for: `stride` apart. */
typedef struct {
    size_t per, units, out, stride;
    uint32_t *unit; /* (units): which of the problem's */
    double *p, *w;  /* (units * per, units * per), (out, units * per) */
    int threads;
} remainder_state;

static double inverse_at(const remainder_state *r, size_t i, size_t j) {
    return i <= j ? r->p[i * r->stride + j] : r->p[j * r->stride + i];
}

/* ---- prices ---- */

/* w_u (P_uu)^-1 w_u^T, summed over outputs, of the unit at `place`. block, rows: scratch of (per, per) and (out, per). */
static bool price(double *cost, const remainder_state *r, size_t place, double *block, double *rows, pare_error *error) {
    size_t per = r->per, at = place * per;
    const pare_symmetric own = {block, PARE_LOWER, per, per};
    *cost = 0;
    for (size_t i = 0; i < per; i++)
        for (size_t j = 0; j <= i; j++)
            block[i * per + j] = inverse_at(r, at + j, at + i);
    for (size_t o = 0; o < r->out; o++)
        memcpy(rows + o * per, r->w + o * r->stride + at, per * sizeof *rows);
    if (!pare_cholesky(&own, error))
        return false;
    pare_cholesky_half_solve(rows, per, r->out, &own);
    for (size_t i = 0; i < r->out * per; i++)
        *cost += rows[i] * rows[i];
    return true;
}

/* The same of all units of one input. */
static void price_inputs(double *costs, const remainder_state *r) {
    memset(costs, 0, r->units * sizeof *costs);
    for (size_t o = 0; o < r->out; o++)
        for (size_t i = 0; i < r->units; i++)
            costs[i] += r->w[o * r->stride + i] * r->w[o * r->stride + i];
    for (size_t i = 0; i < r->units; i++)
        costs[i] /= inverse_at(r, i, i);
}

/* gone (n_gone, ascending places): the cheapest. */
static bool choose(uint32_t *gone, size_t n_gone, const remainder_state *r, pare_arena *arena, pare_error *error) {
    ranked *list = PARE_PUSH(arena, ranked, r->units, error);
    double *block = PARE_PUSH(arena, double, r->per * r->per, error), *rows = PARE_PUSH(arena, double, r->out * r->per, error);
    double *costs = PARE_PUSH(arena, double, r->units, error);
    bool done = list && block && rows && costs;
    if (done && r->per == 1)
        price_inputs(costs, r);
    for (size_t i = 0; done && r->per > 1 && i < r->units; i++)
        done = price(&costs[i], r, i, block, rows, error);
    for (uint32_t i = 0; done && i < r->units; i++)
        list[i] = (ranked){-costs[i], i};
    if (done)
        rank_best(gone, (uint32_t)n_gone, list, (uint32_t)r->units);
    return done;
}

/* ---- taking units out ---- */

/* Inputs of units. */
static void expand(uint32_t *inputs, const uint32_t *units, size_t n_units, size_t per) {
    for (size_t i = 0; i < n_units * per; i++)
        inputs[i] = (uint32_t)(units[i / per] * per + i % per);
}

/* Rows and columns `kept` (n, ascending) move together in place: each element moves up or left, where none is that has still to move. */
static void pack(const pare_symmetric *a, const uint32_t *kept, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t from = a->triangle == PARE_LOWER ? 0 : i, to = a->triangle == PARE_LOWER ? i + 1 : n;
        for (size_t j = from; j < to; j++)
            a->values[i * a->stride + j] = a->values[kept[i] * a->stride + kept[j]];
    }
}

static void pack_columns(double *w, size_t rows, size_t stride, const uint32_t *kept, size_t n) {
    for (size_t r = 0; r < rows; r++, w += stride)
        for (size_t i = 0; i < n; i++)
            w[i] = w[kept[i]];
}

/* P (k, k) -= Y Y^T and w (out, k) -= Z Y^T, y (k, g), z (out, g); by blocks, each by one thread, so that threads do not change a bit. */
static void subtract(const remainder_state *r, const double *y, const double *z, size_t k, size_t g) {
#pragma omp parallel for num_threads(r->threads) schedule(dynamic)
    for (size_t i = 0; i < k; i += BLOCK) {
        size_t height = k - i < BLOCK ? k - i : BLOCK, after = i + height;
        pare_symmetric own = {r->p + i * r->stride + i, PARE_UPPER, height, r->stride};
        pare_syrk(&own, y + i * g, g, g, -1);
        if (after < k)
            pare_gemm_nt_f64(r->p + i * r->stride + after, y + i * g, y + after * g, height, k - after, g, g, g, r->stride, -1);
        pare_gemm_nt_f64(r->w + i, z, y + i * g, r->out, height, g, g, g, r->stride, -1);
    }
}

/* gone, stay: inputs. With P_gg = L L^T: Y = P_kg L^-T and Z = w_g L^-T; P_kk - Y Y^T and w_k - Z Y^T stay. *cost += |Z|^2, what that
 * raises the damped error by. */
static bool eliminate(double *cost, remainder_state *r, const uint32_t *gone, size_t g, const uint32_t *stay, size_t k, pare_arena *arena,
                      pare_error *error) {
    double *gg = PARE_PUSH(arena, double, g *g, error), *y = PARE_PUSH(arena, double, k *g, error),
           *z = PARE_PUSH(arena, double, r->out *g, error);
    if (!gg || !y || !z)
        return false;
    for (size_t i = 0; i < g; i++)
        for (size_t j = 0; j <= i; j++)
            gg[i * g + j] = inverse_at(r, gone[j], gone[i]);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < g; j++)
            y[i * g + j] = inverse_at(r, stay[i], gone[j]);
    for (size_t o = 0; o < r->out; o++)
        for (size_t j = 0; j < g; j++)
            z[o * g + j] = r->w[o * r->stride + gone[j]];
    const pare_symmetric factor = {gg, PARE_LOWER, g, g}, left = {r->p, PARE_UPPER, k, r->stride};
    if (!pare_cholesky(&factor, error))
        return false;
    pare_cholesky_half_solve(y, g, k, &factor);
    pare_cholesky_half_solve(z, g, r->out, &factor);
    pack(&left, stay, k);
    pack_columns(r->w, r->out, r->stride, stay, k);
    subtract(r, y, z, k, g);
    for (size_t i = 0; i < r->out * g; i++)
        *cost += z[i] * z[i];
    return true;
}

static bool one_round(double *cost, remainder_state *r, size_t n_gone, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    size_t left = r->units - n_gone, per = r->per;
    uint32_t *gone = arena ? PARE_PUSH(arena, uint32_t, n_gone, error) : NULL;
    uint32_t *stay = gone ? PARE_PUSH(arena, uint32_t, left, error) : NULL;
    uint32_t *inputs = stay ? PARE_PUSH(arena, uint32_t, r->units * per, error) : NULL;
    bool done = inputs && choose(gone, n_gone, r, arena, error);
    for (size_t i = 0, j = 0, at = 0; done && i < r->units; i++)
        if (j < n_gone && gone[j] == i)
            j++;
        else
            stay[at++] = (uint32_t)i;
    if (done) {
        expand(inputs, gone, n_gone, per);
        expand(inputs + n_gone * per, stay, left, per);
        done = eliminate(cost, r, inputs, n_gone * per, inputs + n_gone * per, left * per, arena, error);
    }
    for (size_t i = 0; done && i < left; i++)
        r->unit[i] = r->unit[stay[i]];
    if (done)
        r->units = left;
    pare_arena_close(arena);
    return done;
}

/* ---- the whole selection ---- */

/* The lower triangle into the upper one, by tiles that fit the cache. */
static void mirror(double *upper, const pare_symmetric *lower) {
    for (size_t i0 = 0; i0 < lower->n; i0 += TILE)
        for (size_t j0 = 0; j0 <= i0; j0 += TILE)
            for (size_t i = i0; i < i0 + TILE && i < lower->n; i++)
                for (size_t j = j0; j < j0 + TILE && j <= i; j++)
                    upper[j * lower->stride + i] = lower->values[i * lower->stride + j];
}

static bool begin(remainder_state *r, const refit_problem *problem, size_t per, const pare_context *context, pare_error *error) {
    size_t n = problem->n, units = n / per;
    const pare_symmetric gram = refit_gram(problem), inverse = {problem->gram, PARE_UPPER, n, n};
    *r = (remainder_state){.per = per,
                           .units = units,
                           .out = problem->out,
                           .stride = n,
                           .p = problem->gram,
                           .w = problem->work,
                           .threads = pare_context_threads(context)};
    mirror(inverse.values, &gram);
    if (problem->work != problem->cross)
        memcpy(problem->work, problem->cross, problem->out * n * sizeof *problem->work);
    if (!pare_cholesky(&inverse, error))
        return false;
    pare_cholesky_solve(r->w, n, r->out, &inverse); /* the refitted weights before anything is gone */
    if (!pare_cholesky_inverse(&inverse, error) || !(r->unit = pare_allocate(units, sizeof *r->unit, error)))
        return false;
    for (uint32_t i = 0; i < units; i++)
        r->unit[i] = i;
    return true;
}

/* cost: NULL, or (units + 1): by the units that are left; straight lines between rounds. */
static bool run(remainder_state *r, uint32_t n_kept, double *cost, const pare_context *context, pare_error *error) {
    size_t todo = r->units - n_kept;
    double risen = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        size_t share = todo / (ROUNDS - round), from = r->units;
        double before = risen;
        todo -= share;
        if (share && !(pare_context_check(context, error) && one_round(&risen, r, share, error)))
            return false;
        for (size_t i = 0; cost && i <= share; i++)
            cost[from - i] = before + (risen - before) * (double)i / (double)(share ? share : 1);
    }
    return true;
}

bool refit_select(uint32_t *kept, const refit_problem *problem, size_t per, uint32_t n_kept, const pare_context *context,
                  pare_error *error) {
    remainder_state r = {0};
    bool done = begin(&r, problem, per, context, error) && run(&r, n_kept, NULL, context, error);
    if (done)
        memcpy(kept, r.unit, n_kept * sizeof *kept);
    pare_free(r.unit);
    return done;
}

bool refit_costs(double *cost, const refit_problem *problem, size_t per, uint32_t n_least, const pare_context *context, pare_error *error) {
    remainder_state r = {0};
    for (size_t i = 0; i < n_least; i++)
        cost[i] = (double)INFINITY;
    bool done = begin(&r, problem, per, context, error) && run(&r, n_least, cost, context, error);
    pare_free(r.unit);
    return done;
}

bool refit_solve(float *weights, const refit_problem *problem, size_t per, const uint32_t *kept, uint32_t n_kept, pare_error *error) {
    size_t k = n_kept * per, n = problem->n;
    uint32_t *inputs = pare_allocate(k, sizeof *inputs, error);
    if (!inputs)
        return false;
    pare_symmetric gram = refit_gram(problem);
    expand(inputs, kept, n_kept, per);
    pack(&gram, inputs, k);
    pack_columns(problem->cross, problem->out, n, inputs, k);
    pare_free(inputs);
    gram.n = k;
    if (!pare_cholesky(&gram, error))
        return false;
    pare_cholesky_solve(problem->cross, n, problem->out, &gram);
    for (size_t o = 0; o < problem->out; o++)
        for (size_t i = 0; i < k; i++)
            weights[o * k + i] = (float)problem->cross[o * n + i];
    return true;
}
