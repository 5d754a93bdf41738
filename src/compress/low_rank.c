/* low_rank: see low_rank.h.
 *
 * The truncated decomposition of w S is U_k U_k^T w S with U_k its first left singular vectors, so that the product is
 * U_k (U_k^T w): S is multiplied with and never divided by, and a covariance near singular does no harm. U_k comes from the eigenvectors of
 * the smaller of (w S)(w S)^T and (w S)^T (w S), in double: several times faster than bidiagonalising, and what it blurs, directions whose
 * singular value is below 1e-8 of the largest, gives nothing that can be measured. */
#include "low_rank.h"

#include <math.h>
#include <string.h>

#include "spectrum.h"

uint32_t low_rank_at(pare_linear_shape shape, double ratio) {
    double exact = (1 - ratio) * (double)shape.out * (double)shape.in / (double)(shape.out + shape.in);
    double rank = floor(exact + 1e-9); /* 1 - 0.8 is a little less than 0.2 */
    return rank < 1 ? 1 : (uint32_t)rank;
}

/* Doubles of one split, in an arena of its own. */
typedef struct {
    size_t out, in, n;   /* n: the smaller */
    double *columns;     /* (in, out): w^T */
    double *p;           /* (out, in): w S, or w */
    double *gram;        /* (n, n), then its eigenvectors, a row each */
    double *values;      /* (n), ascending */
    double *left, *read; /* (rank, out): U_k^T; (rank, in): U_k^T w */
} split;

static bool open_split(split *s, pare_arena *arena, size_t out, size_t in, uint32_t rank, pare_error *error) {
    *s = (split){.out = out, .in = in, .n = out < in ? out : in};
    return (s->columns = PARE_PUSH(arena, double, in *out, error)) && (s->p = PARE_PUSH(arena, double, out *in, error)) &&
           (s->gram = PARE_PUSH(arena, double, s->n * s->n, error)) && (s->values = PARE_PUSH(arena, double, s->n, error)) &&
           (s->left = PARE_PUSH(arena, double, rank *out, error)) && (s->read = PARE_PUSH(arena, double, rank *in, error));
}

static void transpose(double *out, const double *a, size_t rows, size_t columns) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            out[j * rows + i] = a[i * columns + j];
}

/* left: the eigenvectors themselves where the Gram matrix is (w S)(w S)^T, else w S times them, brought to length one. A direction that is
 * nothing but rounding stays zero. */
static bool find_left(split *s, pare_arena *arena, uint32_t rank, pare_error *error) {
    size_t out = s->out, in = s->in, n = s->n;
    double least = 1e-15 * (double)n * fmax(s->values[n - 1], 0), *top = PARE_PUSH(arena, double, rank *n, error);
    if (!top)
        return false;
    for (size_t j = 0; j < rank; j++)
        memcpy(top + j * n, s->gram + (n - 1 - j) * n, n * sizeof *top);
    if (out <= in) {
        memcpy(s->left, top, rank * out * sizeof *top);
        return true;
    }
    pare_gemm_nt_f64(s->left, top, s->p, rank, out, in, in, in, out, 1);
    for (size_t j = 0; j < rank; j++) {
        double squares = 0, *row = s->left + j * out;
        for (size_t i = 0; i < out; i++)
            squares += row[i] * row[i];
        double scale = s->values[n - 1 - j] > least ? 1 / sqrt(squares) : 0;
        for (size_t i = 0; i < out; i++)
            row[i] *= scale;
    }
    return true;
}

/* u = left^T and v = left w, the length of each row of v shared between the two. */
static void store(float *u, float *v, const split *s, uint32_t rank) {
    for (size_t j = 0; j < rank; j++) {
        double squares = 0;
        for (size_t i = 0; i < s->in; i++)
            squares += s->read[j * s->in + i] * s->read[j * s->in + i];
        double root = sqrt(sqrt(squares));
        for (size_t i = 0; i < s->out; i++)
            u[i * rank + j] = (float)(s->left[j * s->out + i] * root);
        for (size_t i = 0; i < s->in; i++)
            v[j * s->in + i] = root > 0 ? (float)(s->read[j * s->in + i] / root) : 0.0f;
    }
}

/* p = w S, from w's columns. */
static bool whiten(split *s, pare_arena *arena, const double *whitening, pare_error *error) {
    double *rows = PARE_PUSH(arena, double, s->out * s->in, error);
    if (!rows)
        return false;
    memcpy(rows, s->p, s->out * s->in * sizeof *rows);
    memset(s->p, 0, s->out * s->in * sizeof *rows);
    pare_gemm_nt_f64(s->p, rows, whitening, s->out, s->in, s->in, s->in, s->in, s->in, 1);
    return true;
}

/* gram and values: eigenvectors and eigenvalues of p p^T or p^T p, whichever is smaller. */
static bool decompose(split *s, pare_arena *arena, pare_error *error) {
    const double *p = s->p;
    if (s->out > s->in) {
        double *turned = PARE_PUSH(arena, double, s->in * s->out, error);
        if (!turned)
            return false;
        transpose(turned, s->p, s->out, s->in);
        p = turned;
    }
    size_t other = s->out > s->in ? s->out : s->in;
    pare_gemm_nt_f64(s->gram, p, p, s->n, s->n, other, other, other, s->n, 1);
    return pare_symmetric_eigen(s->values, s->gram, s->n, true, error);
}

bool low_rank_split(float *u, float *v, const float *w, size_t out, size_t in, const double *whitening, uint32_t rank, pare_error *error) {
    split s;
    pare_arena *arena = pare_arena_open(error);
    bool done = arena && open_split(&s, arena, out, in, rank, error);
    if (done) {
        for (size_t i = 0; i < out * in; i++)
            s.p[i] = (double)w[i];
        transpose(s.columns, s.p, out, in);
        done = (!whitening || whiten(&s, arena, whitening, error)) && decompose(&s, arena, error) && find_left(&s, arena, rank, error);
    }
    if (done) {
        pare_gemm_nt_f64(s.read, s.left, s.columns, rank, in, out, out, out, in, 1);
        store(u, v, &s, rank);
    }
    pare_arena_close(arena);
    return done;
}

bool low_rank_place(low_rank_pair *pairs, pare_cut *cut, const pare_plan *plan, pare_error *error) {
    for (uint32_t i = 0; i < cut->config.n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++) {
            low_rank_pair *pair = &pairs[(size_t)i * PARE_PROJECTIONS + (size_t)p];
            pair->rank = low_rank_at(pare_config_linear(&cut->config, i, (pare_projection)p), plan->ratio);
            if (!pare_cut_factor(cut, i, (pare_projection)p, pair->rank, &pair->u, &pair->v, error))
                return false;
        }
    return true;
}

typedef struct {
    const low_rank_pair *pairs;
    const pare_layer *layer;
    const double *const *whitening;
} subject;

static bool fill_one(void *user, uint32_t i, pare_error *error) {
    const subject *s = user;
    const pare_view *view = &s->layer->linears[i].weight;
    size_t n = (size_t)view->n_rows * view->n_columns, n_scratch = pare_view_scratch(view);
    float *w = pare_allocate(n, sizeof *w, error), *scratch = w ? pare_allocate(n_scratch + 1, sizeof *scratch, error) : NULL;
    bool done = scratch != NULL;
    if (done) {
        pare_view_read(w, view, 0, view->n_rows, scratch);
        done = low_rank_split(s->pairs[i].u, s->pairs[i].v, w, view->n_rows, view->n_columns, s->whitening[i], s->pairs[i].rank, error);
    }
    pare_free(scratch);
    pare_free(w);
    return done;
}

bool low_rank_fill(const low_rank_pair pairs[PARE_PROJECTIONS], const pare_layer *layer, const double *const whitening[PARE_PROJECTIONS],
                   const pare_context *context, pare_error *error) {
    subject s = {pairs, layer, whitening};
    pare_context within = {.n_threads = pare_context_threads(context), .cancel = context ? context->cancel : NULL}; /* its caller tells */
    return spectrum_each(fill_one, &s, PARE_PROJECTIONS, "", 0, PARE_PROJECTIONS, &within, error);
}
