/* compress: score, cut, apply.
 *
 *   score  one importance per FFN neuron per layer: all that differs between methods; src/compress/method/<name>.c
 *   cut    which neurons survive: the same count in every layer, the best scores, a hardware-friendly multiple
 *   apply  nothing moves in memory: a pare_model or pare_checkpoint_write under the cut reads what is left
 */
#ifndef PARE_COMPRESS_H
#define PARE_COMPRESS_H

#include "pare/corpus.h"
#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What calibrated methods know of the activations h = silu(gate) * up before down_proj. */
typedef struct {
    uint32_t n_layers, ffn_width;
    double *mean_square; /* (n_layers, ffn_width): mean over tokens of h_j^2 */
    uint64_t tokens;
} pare_calibration;

/* One streaming pass of the dense model over the windows. Non-finite activations stop it, naming the layer. */
bool pare_calibrate(pare_calibration *calibration, const pare_checkpoint *checkpoint, const pare_windows *windows,
                    const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_calibration_free(pare_calibration *calibration);

typedef struct {
    uint32_t n_layers, ffn_width;
    double *values; /* (n_layers, ffn_width); larger = kept first */
} pare_scores;
void pare_scores_free(pare_scores *scores);

typedef struct {
    const char *name, *summary, *source;
    bool calibrated, stochastic; /* needs activations; depends on the seed */
    const char *warning;         /* what a user must know before using it, or NULL */
    /* values come allocated and zeroed; calibration is NULL for calibration-free methods */
    bool (*score)(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error);
} pare_method;
extern const pare_method *const pare_methods[]; /* NULL at the end */
/* NULL with PARE_ERROR_USAGE, naming the methods there are. */
const pare_method *pare_method_find(const char *name, pare_error *error) PARE_MUST_CHECK;

bool pare_score(pare_scores *scores, const pare_method *method, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                uint64_t seed, const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* (1 - ratio) * ffn_width, rounded to the nearest multiple (half up), at least one multiple, at most ffn_width; ratio 0 keeps all. */
bool pare_cut_width(uint32_t *n_kept, uint32_t ffn_width, double ratio, uint32_t multiple, pare_error *error) PARE_MUST_CHECK;
/* The n_kept best of each layer; ties keep the lower index. Free with pare_cut_free. */
bool pare_cut_make(pare_cut *cut, const pare_scores *scores, uint32_t n_kept, pare_error *error) PARE_MUST_CHECK;
void pare_cut_free(pare_cut *cut);

/* Fractions removed by a cut. */
typedef struct {
    double parameters, non_embedding, bytes, macs;
    pare_size before, after;
} pare_achieved;
pare_achieved pare_cut_achieved(const pare_cut *cut, const pare_checkpoint *checkpoint);

#ifdef __cplusplus
}
#endif
#endif
