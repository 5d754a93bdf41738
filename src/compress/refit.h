/* refit: which inputs of a linear map to keep, and the map on them that gives most nearly what is wanted. */
#ifndef PARE_COMPRESS_REFIT_H
#define PARE_COMPRESS_REFIT_H

#include "pare/compress.h"

/* The problem: over tokens with inputs h (n) and wanted outputs y (out), weights W' on the kept inputs that minimise
 *   mean |y - W' h_kept|^2 + damping |W' - W_kept|^2.
 * One square holds two triangles, so that an FFN of 18,944 neurons takes 2.9 GB and not twice that: refit_gram, the lower one, and above it
 * what the selection works with. */
typedef struct {
    size_t n, out;
    double *gram;  /* (n + 1, n): from its second row on the lower triangle of mean h h^T + damping I */
    double *cross; /* (out, n) = mean y h^T + damping W */
    double *work;  /* (out, n), for the selection; cross itself where nothing is solved after it */
} refit_problem;
static inline pare_symmetric refit_gram(const refit_problem *problem) {
    return (pare_symmetric){problem->gram + problem->n, PARE_LOWER, problem->n, problem->n};
}

/* kept (n_kept units, ascending; a unit is `per` inputs that go together, n / per there are). Units go in rounds, a share of those that are
 * to go each, the cheapest first: taking unit u out raises the damped error by
 *   sum over outputs of w_u (P_uu)^-1 w_u^T,   P the inverse gram of the inputs that are left, w their refitted weights
 * (optimal brain surgeon; Hassibi & Stork 1993, on whole structures as in Kurtic et al. 2023, ZipLM). Leaves gram and cross as they were.
 */
bool refit_select(uint32_t *kept, const refit_problem *problem, size_t per, uint32_t n_kept, const pare_context *context,
                  pare_error *error) PARE_MUST_CHECK;
/* cost (units + 1): the damped error by the number of units that are left, in that order, above what it is with all of them; infinite below
 * n_least. Exact at the end of each round, a straight line between. */
bool refit_costs(double *cost, const refit_problem *problem, size_t per, uint32_t n_least, const pare_context *context,
                 pare_error *error) PARE_MUST_CHECK;
/* weights (out, n_kept * per) on the kept units. Spends the problem. */
bool refit_solve(float *weights, const refit_problem *problem, size_t per, const uint32_t *kept, uint32_t n_kept,
                 pare_error *error) PARE_MUST_CHECK;

#endif
