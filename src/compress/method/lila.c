/* lila: a neuron matters as much as the spectra of its layer's matrices shift when it is ablated: the criterion of LILA, which cites
 * PruneNet and ranks neurons by the KS shift of singular values, without a policy. Of the paper no more than that sentence was at hand,
 * and that it works in a basis of a non-negative factorisation; what follows is our own derivation, in the basis of the singular vectors.
 *
 * Taken by the letter the criterion says nothing. Let W (neurons, width) have squared singular values l_1 >= l_2 >= …; ablating neuron i
 * takes w_i w_i^T off the Gram matrix, and by Cauchy's interlacing l_k >= l'_k >= l_{k+1}: between any two samples at most one value moves
 * over any threshold, so that the two-sample KS statistic is 1/width for every neuron (the script of the fixture asserts it). What does
 * shift is how the energy is spread over the spectrum: F(k) = (l_1 + … + l_k) / (l_1 + … + l_width). The score is the KS distance between F
 * before and after,
 *
 *   max over k of |F_i(k) - F(k)|,
 *
 * to first order: with right singular vectors v_k and z_k = w_i . v_k (that is u_ik sigma_k), taking the share t of w_i w_i^T away moves
 * l_k by -t z_k^2 + O(t^2). At t = 1, with p = |w_i|^2 / sum l, the neuron's share of the energy, and Q(k) = (z_1^2 + ... + z_k^2) /
 * |w_i|^2, its own spread:
 *
 *   score = p / (1 - p) * max over k of |F(k) - Q(k)|
 *
 * The limit of small t is exact (the test holds it against NumPy). Whole ablation is not small where gaps between the l_k are below z_k^2,
 * which is most of a real spectrum: there the exact distance is in the median 1.4 to 2.1 times as large, and ranks neurons otherwise (rank
 * correlation 0.27 to 0.75 on layers of SmolLM2-135M). So this is the spectrum's sensitivity to a neuron, which an eigendecomposition per
 * matrix gives for all neurons; exact ablation takes one per neuron, and was not tried as a score.
 *
 * A neuron with little energy, or one that is spread over the spectrum as the whole matrix is, can go. The scores by gate_proj, up_proj
 * (rows) and down_proj (columns) are added: they are shares, and one neuron owns all three. */
#include <math.h>

#include "../spectrum.h"
#include "method.h"

/* Adds a row's score. z (width): the row in the basis, by ascending eigenvalue; share (width): F, by descending one. */
static void add_shift(double *score, const double *z, const double *share, double total, size_t width) {
    double energy = 0, part = 0, largest = 0;
    for (size_t k = 0; k < width; k++)
        energy += z[k] * z[k];
    if (!(energy > 0))
        return;
    for (size_t k = 0; k < width; k++) {
        double here = z[width - 1 - k];
        part += here * here;
        largest = fmax(largest, fabs(share[k] - part / energy));
    }
    double left = total - energy; /* of a neuron that is all there is, nothing */
    *score += left > 1e-12 * total ? energy / left * largest : 1;
}

/* share[k] = F(k + 1) of ascending eigenvalues; returns their sum. Rounding may leave small negative ones. */
static double cumulate(double *share, const double *values, size_t width) {
    double total = 0;
    for (size_t k = 0; k < width; k++)
        share[k] = total += fmax(values[width - 1 - k], 0);
    for (size_t k = 0; k < width; k++)
        share[k] = total > 0 ? share[k] / total : 0;
    return total;
}

enum { BLOCK = 64 };

bool lila_add_shifts(double *scores, const float *w, size_t n, size_t width, pare_error *error) {
    double *basis = pare_allocate(width * width, sizeof *basis, error), *values = pare_allocate(2 * width, sizeof *values, error);
    float *vectors = pare_allocate(width * width, sizeof *vectors, error), *block = pare_allocate(BLOCK * width, sizeof *block, error);
    double *z = pare_allocate(width, sizeof *z, error), *share = values ? values + width : NULL;
    bool done = basis && values && vectors && block && z && pare_gram(basis, w, n, width, error) &&
                pare_symmetric_eigen(values, basis, width, true, error);
    double total = done ? cumulate(share, values, width) : 0;
    for (size_t i = 0; done && i < width * width; i++)
        vectors[i] = (float)basis[i];
    for (size_t first = 0; done && first < n; first += BLOCK) {
        size_t count = n - first < BLOCK ? n - first : BLOCK;
        pare_gemm_nt(block, w + first * width, vectors, count, width, width, width, width, width, false);
        for (size_t i = 0; i < count; i++) {
            for (size_t k = 0; k < width; k++)
                z[k] = (double)block[i * width + k];
            add_shift(&scores[first + i], z, share, total, width);
        }
    }
    pare_free(z);
    pare_free(block);
    pare_free(vectors);
    pare_free(values);
    pare_free(basis);
    return done;
}

typedef struct {
    pare_scores *scores;
    const pare_checkpoint *checkpoint;
} subject;

static bool score_layer(void *user, uint32_t i, pare_error *error) {
    static const char *const parts[] = {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"};
    const subject *s = user;
    size_t n = s->scores->n_units, width = s->checkpoint->config.width;
    float *rows = pare_allocate(n * width, sizeof *rows, error);
    bool done = rows != NULL;
    for (int p = 0; done && p < 3; p++) /* in down_proj (width, n) a neuron is a column */
        done = (p == 2 ? spectrum_read_turned : spectrum_read)(rows, s->checkpoint, i, parts[p], error) &&
               lila_add_shifts(s->scores->values + i * n, rows, n, width, error);
    pare_free(rows);
    return done;
}

/* A layer's matrix, and its eigenvectors with the solver's workspace. */
static size_t layer_bytes(const pare_config *c) {
    return (size_t)c->ffn_width * c->width * sizeof(float) + 3 * (size_t)c->width * c->width * sizeof(double);
}

static bool score(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error) {
    (void)calibration, (void)seed;
    subject s = {scores, checkpoint};
    pare_context within = context ? *context : (pare_context){0};
    within.n_threads = spectrum_at_once(layer_bytes(&checkpoint->config), pare_context_threads(context));
    return pare_gemm_prepare(error) && spectrum_each(score_layer, &s, scores->n_rows, "spectra", 0, scores->n_rows, &within, error);
}

static size_t memory(const pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context) {
    size_t each = layer_bytes(&model->config);
    (void)method, (void)windows;
    return each * (size_t)spectrum_at_once(each, pare_context_threads(context));
}

const pare_method pare_method_lila = {
    .name = "lila",
    .summary = "keeps the FFN neurons whose removal changes the singular values of gate_proj, up_proj and down_proj most",
    .source = "the criterion of LILA, in a derivation of our own",
    .unit = PARE_UNIT_FFN,
    .score = score,
    .memory = memory,
};
