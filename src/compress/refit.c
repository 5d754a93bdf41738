/* refit: see refit.h. */
#include "refit.h"

#include <math.h>
#include <string.h>

#include "rank.h"

enum { ROUNDS = 16 };

/* What is left after some rounds: inputs, their inverse gram P and refitted weights w. */
typedef struct {
    size_t per, units, out;
    uint32_t *unit; /* (units): which of the problem's */
    double *p, *w;  /* (units * per, units * per), (out, units * per) */
} remainder_state;

/* w_u (P_uu)^-1 w_u^T, summed over outputs, of the unit at `place`. block, rows: scratch of (per, per) and (out, per). */
static bool price(double *cost, const remainder_state *r, uint32_t place, double *block, double *rows, pare_error *error) {
    size_t per = r->per, n = r->units * per, at = place * per;
    *cost = 0;
    if (per == 1) {
        for (size_t o = 0; o < r->out; o++)
            *cost += r->w[o * n + at] * r->w[o * n + at];
        *cost /= r->p[at * n + at];
        return true;
    }
    for (size_t i = 0; i < per; i++)
        memcpy(block + i * per, r->p + (at + i) * n + at, per * sizeof *block);
    for (size_t o = 0; o < r->out; o++)
        memcpy(rows + o * per, r->w + o * n + at, per * sizeof *rows);
    if (!pare_cholesky(block, per, error))
        return false;
    pare_cholesky_solve(rows, block, per, r->out);
    for (size_t o = 0; o < r->out; o++)
        for (size_t i = 0; i < per; i++)
            *cost += rows[o * per + i] * r->w[o * n + at + i];
    return true;
}

/* gone (n_gone, ascending places): the cheapest. */
static bool choose(uint32_t *gone, size_t n_gone, const remainder_state *r, pare_arena *arena, pare_error *error) {
    ranked *list = PARE_PUSH(arena, ranked, r->units, error);
    double *block = PARE_PUSH(arena, double, r->per * r->per, error), *rows = PARE_PUSH(arena, double, r->out * r->per, error);
    bool done = list && block && rows;
    for (uint32_t i = 0; done && i < r->units; i++) {
        double cost = 0;
        done = price(&cost, r, i, block, rows, error);
        list[i] = (ranked){-cost, i};
    }
    if (!done)
        return false;
    rank_best(gone, (uint32_t)n_gone, list, (uint32_t)r->units);
    return true;
}

/* to (rows, n places * per) = the columns of from (rows, from_row) that belong to the places. */
static void gather(double *to, const double *from, size_t rows, size_t from_row, const uint32_t *places, size_t n, size_t per) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++)
            memcpy(to + (r * n + i) * per, from + r * from_row + places[i] * per, per * sizeof *to);
}

/* The same of a square matrix's rows and columns. */
static void gather_square(double *to, const double *from, size_t from_row, const uint32_t *rows, size_t n_rows, const uint32_t *columns,
                          size_t n_columns, size_t per) {
    for (size_t i = 0; i < n_rows; i++)
        for (size_t k = 0; k < per; k++)
            gather(to + (i * per + k) * n_columns * per, from + (rows[i] * per + k) * from_row, 1, from_row, columns, n_columns, per);
}

/* Takes the places in `gone` out: P_kk - P_kg P_gg^-1 P_gk and w_k - w_g P_gg^-1 P_gk. *cost += what that raises the damped error by. */
static bool eliminate(double *cost, remainder_state *r, const uint32_t *gone, size_t n_gone, pare_arena *arena, pare_error *error) {
    size_t n = r->units * r->per, left = r->units - n_gone, g = n_gone * r->per, k = left * r->per;
    uint32_t *stay = PARE_PUSH(arena, uint32_t, left, error);
    double *gg = PARE_PUSH(arena, double, g *g, error), *kg = PARE_PUSH(arena, double, k *g, error);
    double *solved = PARE_PUSH(arena, double, k *g, error), *wg = PARE_PUSH(arena, double, r->out *g, error);
    double *p_wg = PARE_PUSH(arena, double, r->out *g, error);
    double *p = PARE_PUSH(arena, double, k *k, error), *w = PARE_PUSH(arena, double, r->out *k, error);
    if (!stay || !gg || !kg || !solved || !wg || !p_wg || !p || !w)
        return false;
    for (size_t i = 0, j = 0, at = 0; i < r->units; i++)
        if (j < n_gone && gone[j] == i)
            j++;
        else
            stay[at++] = (uint32_t)i;
    gather_square(gg, r->p, n, gone, n_gone, gone, n_gone, r->per);
    gather_square(kg, r->p, n, stay, left, gone, n_gone, r->per);
    gather_square(p, r->p, n, stay, left, stay, left, r->per);
    gather(wg, r->w, r->out, n, gone, n_gone, r->per);
    gather(w, r->w, r->out, n, stay, left, r->per);
    memcpy(solved, kg, k * g * sizeof *kg);
    if (!pare_cholesky(gg, g, error))
        return false;
    pare_cholesky_solve(solved, gg, g, k);
    pare_gemm_nt_f64(p, solved, kg, k, k, g, g, g, k, -1);
    pare_gemm_nt_f64(w, wg, solved, r->out, k, g, g, g, k, -1);
    memcpy(p_wg, wg, r->out * g * sizeof *wg);
    pare_cholesky_solve(p_wg, gg, g, r->out);
    for (size_t i = 0; i < r->out * g; i++)
        *cost += wg[i] * p_wg[i];
    memcpy(r->p, p, k * k * sizeof *p);
    memcpy(r->w, w, r->out * k * sizeof *w);
    for (size_t i = 0; i < left; i++)
        r->unit[i] = r->unit[stay[i]];
    r->units = left;
    return true;
}

static bool one_round(double *cost, remainder_state *r, size_t n_gone, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    uint32_t *gone = arena ? PARE_PUSH(arena, uint32_t, n_gone, error) : NULL;
    bool done = gone && choose(gone, n_gone, r, arena, error) && eliminate(cost, r, gone, n_gone, arena, error);
    pare_arena_close(arena);
    return done;
}

static bool begin(remainder_state *r, refit_problem *problem, size_t per, pare_error *error) {
    size_t n = problem->n, units = n / per;
    *r = (remainder_state){.per = per, .units = units, .out = problem->out, .p = problem->gram, .w = problem->cross};
    if (!pare_cholesky(r->p, n, error))
        return false;
    pare_cholesky_solve(r->w, r->p, n, r->out); /* the refitted weights before anything is gone */
    if (!pare_cholesky_inverse(r->p, n, error) || !(r->unit = pare_allocate(units, sizeof *r->unit, error)))
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

bool refit_select(uint32_t *kept, refit_problem *problem, size_t per, uint32_t n_kept, const pare_context *context, pare_error *error) {
    remainder_state r = {0};
    bool done = begin(&r, problem, per, error) && run(&r, n_kept, NULL, context, error);
    if (done)
        memcpy(kept, r.unit, n_kept * sizeof *kept);
    pare_free(r.unit);
    return done;
}

bool refit_costs(double *cost, refit_problem *problem, size_t per, uint32_t n_least, const pare_context *context, pare_error *error) {
    remainder_state r = {0};
    for (size_t i = 0; i < n_least; i++)
        cost[i] = (double)INFINITY;
    bool done = begin(&r, problem, per, error) && run(&r, n_least, cost, context, error);
    pare_free(r.unit);
    return done;
}

bool refit_solve(float *weights, const refit_problem *problem, size_t per, const uint32_t *kept, uint32_t n_kept, pare_error *error) {
    size_t k = n_kept * per;
    double *gram = pare_allocate(k * k, sizeof *gram, error), *rows = pare_allocate(problem->out * k, sizeof *rows, error);
    bool done = gram && rows;
    if (done) {
        gather_square(gram, problem->gram, problem->n, kept, n_kept, kept, n_kept, per);
        gather(rows, problem->cross, problem->out, problem->n, kept, n_kept, per);
        done = pare_cholesky(gram, k, error);
    }
    if (done) {
        pare_cholesky_solve(rows, gram, k, problem->out);
        for (size_t i = 0; i < problem->out * k; i++)
            weights[i] = (float)rows[i];
    }
    pare_free(gram);
    pare_free(rows);
    return done;
}
