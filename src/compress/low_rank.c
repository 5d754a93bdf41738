/* low_rank: see low_rank.h.
 *
 * The truncated decomposition of w S is U_k U_k^T w S with U_k its first left singular vectors, so that the product is
 * U_k (U_k^T w): S is multiplied with and never divided by, and a covariance near singular does no harm. U_k comes from the eigenvectors of
 * the smaller of (w S)(w S)^T and (w S)^T (w S), in double: several times faster than bidiagonalising, and what it blurs, directions whose
 * singular value is below 1e-8 of the largest, gives nothing that can be measured. */
#include "low_rank.h"

#include <math.h>
#include <string.h>

#include "gram.h"
#include "pare/tensor.h"
#include "spectrum.h"

uint32_t low_rank_at(pare_linear_shape shape, double ratio) {
    double exact = (1 - ratio) * (double)shape.out * (double)shape.in / (double)(shape.out + shape.in);
    double rank = floor(exact + 1e-9); /* 1 - 0.8 is a little less than 0.2 */
    return rank < 1 ? 1 : (uint32_t)rank;
}

enum { PANEL = 256 }; /* rows in double at a time */

/* One split: w stays in its own type, in an arena of its own the rest. */
typedef struct {
    const pare_view *w;
    size_t out, in, n;   /* n: the smaller */
    double *p;           /* (out, in): w S; NULL: w itself */
    double *one, *other; /* (PANEL, in) */
    float *rows, *scratch;
    double *gram;        /* (n, n), then its eigenvectors, a row each */
    double *values;      /* (n), ascending */
    double *left, *read; /* (rank, out): U_k^T; (rank, in): U_k^T w */
} split;

static bool open_split(split *s, pare_arena *arena, const pare_view *w, uint32_t rank, pare_error *error) {
    size_t out = w->n_rows, in = w->n_columns, n = out < in ? out : in;
    *s = (split){.w = w, .out = out, .in = in, .n = n};
    return (s->one = PARE_PUSH(arena, double, PANEL *in, error)) && (s->other = PARE_PUSH(arena, double, PANEL *in, error)) &&
           (s->rows = PARE_PUSH(arena, float, PANEL *in, error)) &&
           (s->scratch = PARE_PUSH(arena, float, pare_view_scratch(w) + 1, error)) && (s->gram = PARE_PUSH(arena, double, n *n, error)) &&
           (s->values = PARE_PUSH(arena, double, n, error)) && (s->left = PARE_PUSH(arena, double, rank *out, error)) &&
           (s->read = PARE_PUSH(arena, double, rank *in, error));
}

static size_t panel_at(const split *s, size_t first) {
    return s->out - first < PANEL ? s->out - first : PANEL;
}

/* Rows of w, a panel from `first` on, into buffer. */
static const double *rows_of_w(double *buffer, const split *s, size_t first) {
    size_t n = panel_at(s, first);
    pare_view_read(s->rows, s->w, (uint32_t)first, (uint32_t)n, s->scratch);
    for (size_t i = 0; i < n * s->in; i++)
        buffer[i] = (double)s->rows[i];
    return buffer;
}

/* The same of w S. */
static const double *rows_of_p(double *buffer, const split *s, size_t first) {
    return s->p ? s->p + first * s->in : rows_of_w(buffer, s, first);
}

static void transpose(double *out, const double *a, size_t rows, size_t columns) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            out[j * rows + i] = a[i * columns + j];
}

static bool whiten(split *s, pare_arena *arena, const double *whitening, pare_error *error) {
    size_t in = s->in;
    if (!(s->p = PARE_PUSH(arena, double, s->out *in, error)))
        return false;
    for (size_t i = 0; i < s->out; i += PANEL)
        pare_gemm_nt_f64(s->p + i * in, rows_of_w(s->one, s, i), whitening, panel_at(s, i), in, in, in, in, in, 1);
    return true;
}

/* gram = p p^T or p^T p, whichever is smaller. */
static void multiply(split *s) {
    const pare_symmetric all = {s->gram, PARE_LOWER, s->n, s->n};
    for (size_t i = 0; i < s->out; i += PANEL) {
        size_t n = panel_at(s, i);
        const double *rows = rows_of_p(s->one, s, i);
        if (s->out > s->in) {
            transpose(s->other, rows, n, s->in);
            pare_syrk(&all, s->other, n, n, 1);
            continue;
        }
        for (size_t j = 0; j <= i; j += PANEL)
            pare_gemm_nt_f64(s->gram + i * s->n + j, rows, rows_of_p(s->other, s, j), n, panel_at(s, j), s->in, s->in, s->in, s->n, 1);
    }
    gram_mirror(s->gram, s->n);
}

/* left: the eigenvectors themselves where the Gram matrix is (w S)(w S)^T, else w S times them, brought to length one. A direction that is
 * nothing but rounding stays zero. */
static bool find_left(split *s, pare_arena *arena, uint32_t rank, pare_error *error) {
    size_t out = s->out, n = s->n;
    bool own = out <= s->in;
    double least = 1e-15 * (double)n * fmax(s->values[n - 1], 0), *top = own ? s->left : PARE_PUSH(arena, double, rank *n, error);
    for (size_t j = 0; top && j < rank; j++)
        memcpy(top + j * n, s->gram + (n - 1 - j) * n, n * sizeof *top);
    if (!top || own)
        return top != NULL;
    for (size_t i = 0; i < out; i += PANEL)
        pare_gemm_nt_f64(s->left + i, top, rows_of_p(s->one, s, i), rank, panel_at(s, i), n, n, n, out, 1);
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

static void find_read(split *s, uint32_t rank) {
    for (size_t i = 0; i < s->out; i += PANEL) {
        size_t n = panel_at(s, i);
        transpose(s->other, rows_of_w(s->one, s, i), n, s->in);
        pare_gemm_nt_f64(s->read, s->left + i, s->other, rank, s->in, n, s->out, n, s->in, 1);
    }
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

bool low_rank_split(float *u, float *v, const pare_view *w, const double *whitening, uint32_t rank, pare_error *error) {
    split s;
    pare_arena *arena = pare_arena_open(error);
    bool done = arena && open_split(&s, arena, w, rank, error) && (!whitening || whiten(&s, arena, whitening, error));
    if (done) {
        multiply(&s);
        done = pare_symmetric_eigen(s.values, s.gram, s.n, true, error) && find_left(&s, arena, rank, error);
    }
    if (done) {
        find_read(&s, rank);
        store(u, v, &s, rank);
    }
    pare_arena_close(arena);
    return done;
}

static size_t split_bytes(pare_linear_shape shape, bool whitened) {
    size_t out = (size_t)shape.out, in = (size_t)shape.in, n = out < in ? out : in;
    size_t eigen = 3 * n * n, after = n * n + n * (out + in + n);
    return sizeof(double) * ((whitened ? out * in : 0) + 2 * PANEL * in + (eigen > after ? eigen : after)) + sizeof(float) * PANEL * in;
}

static size_t largest_bytes(const pare_config *config, bool whitened) {
    size_t most = 0;
    for (int p = 0; p < PARE_PROJECTIONS; p++) {
        size_t bytes = split_bytes(pare_config_linear(config, 0, (pare_projection)p), whitened);
        most = bytes > most ? bytes : most;
    }
    return most;
}

size_t low_rank_bytes(const pare_config *config, bool whitened, int n_threads) {
    size_t each = largest_bytes(config, whitened);
    return each * (size_t)spectrum_at_once(each, n_threads);
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
    const pare_model *model;
    uint32_t layer;
    const pare_cut *cut;
    const double *const *whitening;
} subject;

static bool fill_one(void *user, uint32_t i, pare_error *error) {
    const subject *s = user;
    const pare_view *view = &s->model->layers[s->layer].linears[i].weight;
    bool done = low_rank_split(s->pairs[i].u, s->pairs[i].v, view, s->whitening[i], s->pairs[i].rank, error);
    pare_cut_drop_rows(view, 0, view->n_rows, NULL, s->model->checkpoint);
    pare_cut_let_go(s->cut);
    return done;
}

bool low_rank_fill(const low_rank_pair pairs[PARE_PROJECTIONS], const pare_model *model, uint32_t layer, const pare_cut *cut,
                   const double *const whitening[PARE_PROJECTIONS], const pare_context *context, pare_error *error) {
    subject s = {pairs, model, layer, cut, whitening};
    pare_context within = {.n_threads =
                               spectrum_at_once(largest_bytes(&model->config, whitening[0] != NULL), pare_context_threads(context)),
                           .cancel = context ? context->cancel : NULL}; /* its caller tells */
    return spectrum_each(fill_one, &s, PARE_PROJECTIONS, "", 0, PARE_PROJECTIONS, &within, error);
}
