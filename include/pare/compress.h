/* compress: score, cut, apply.
 *
 *   score  one importance per removable unit: all that differs between methods; src/compress/method/<name>.c
 *   cut    which units survive: the same count in every layer, the best scores, a hardware-friendly multiple
 *   apply  nothing moves in memory: a pare_model or pare_checkpoint_write under the cut reads what is left
 */
#ifndef PARE_COMPRESS_H
#define PARE_COMPRESS_H

#include "pare/corpus.h"
#include "pare/cut.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- calibration ---------------------------------------------------------------------------- */

/* Moments of some activations over tokens, per layer and column, in double. */
typedef struct {
    uint32_t columns;
    double *mean, *mean_square; /* (n_layers, columns) */
} pare_moments;

/* What calibrated methods know of the dense model's activations. */
typedef struct {
    uint32_t n_layers;
    pare_moments places[PARE_TAP_PLACES]; /* ATTENTION_IN, ATTENDED, FFN_IN and FFN; the others are empty */
    double *similarity;                   /* (n_layers): mean over tokens of the cosine between what enters a layer and what leaves it */
    uint64_t tokens;
    pare_windows windows; /* the text itself, a copy: for methods that run the model on it */
} pare_calibration;

/* One streaming pass of the dense model over the windows. Non-finite activations stop it, naming the layer. activations false: no pass,
 * only the windows are kept. */
bool pare_calibrate(pare_calibration *calibration, const pare_checkpoint *checkpoint, const pare_windows *windows, bool activations,
                    const pare_context *context, pare_error *error) PARE_MUST_CHECK;
/* What became of the cache. */
typedef struct {
    bool hit;
    char remark[512]; /* something to tell the user, or "" */
} pare_cache_report;
/* pare_calibrate with activations, or what it found before for the same tensors and the same tokens, bit for bit: a file in $PARE_CACHE
 * (empty: none), else $XDG_CACHE_HOME/pare, else ~/.cache/pare, whose calibrations are kept below 1 GiB. A cache that cannot be read or
 * written is remarked upon, and no failure. The model is hashed for it: about a second a gigabyte and thread. */
bool pare_calibrate_cached(pare_calibration *calibration, pare_cache_report *report, const pare_checkpoint *checkpoint,
                           const pare_windows *windows, const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_calibration_free(pare_calibration *calibration);

/* ---- scores --------------------------------------------------------------------------------- */

/* What is removed whole; units are chosen within a row. FFN, GROUPS (a key-value head with its query heads): a row is a layer. HEADS: a
 * row is a key-value head, its units are query heads. CHANNELS, LAYERS: one row, the model. COORDINATES: of the residual stream after one
 * rotation for the whole model, which gives a tied model a separate head. BLOCK_COORDINATES: after one rotation for each norm, which adds
 * two square matrices to each layer. SEVERAL: FFN neurons, key-value heads and layers at once, counted in weights; a row of scores is a
 * layer, its FFN neurons first. DIRECTIONS: singular directions of the seven matrices of a layer; each matrix keeps as many as leave the
 * share 1 - ratio of its weights in its two factors. */
typedef enum {
    PARE_UNIT_FFN,
    PARE_UNIT_GROUPS,
    PARE_UNIT_HEADS,
    PARE_UNIT_CHANNELS,
    PARE_UNIT_COORDINATES,
    PARE_UNIT_BLOCK_COORDINATES,
    PARE_UNIT_LAYERS,
    PARE_UNIT_SEVERAL,
    PARE_UNIT_DIRECTIONS,
    PARE_UNITS
} pare_unit;
const char *pare_unit_name(pare_unit unit); /* "FFN neurons", … */
bool pare_unit_aligned(pare_unit unit);     /* kept in whole multiples */
bool pare_unit_of_width(pare_unit unit);    /* makes the residual stream narrower */
bool pare_unit_own_format(pare_unit unit);  /* what is left is no model that stock programs know */
/* "in each of 30 layers", with n rows in it; "" where there is one row. */
const char *pare_unit_place(char text[64], pare_unit unit, const pare_config *config);

typedef struct {
    pare_unit unit;
    uint32_t n_rows, n_units;
    double *values; /* (n_rows, n_units); larger = kept first */
} pare_scores;
/* Rows and units of a model (no values); UNSUPPORTED where its layers differ. */
bool pare_scores_shape(pare_scores *scores, pare_unit unit, const pare_config *config, pare_error *error) PARE_MUST_CHECK;
void pare_scores_free(pare_scores *scores);

/* Exactly so many stay; 0: not said. ffn, heads (query heads) and groups (key-value heads): of each layer. */
typedef struct {
    uint32_t ffn, heads, groups, channels, layers;
} pare_shape;

/* What is to stay: n_kept of the n_units of every row, or of row i each[i]. Of several kinds of units there is one row, and its units are
 * the weights of a layer on average. */
typedef struct {
    pare_unit unit;
    double ratio; /* share of the units that was to go; of singular directions: of each matrix's weights */
    uint32_t multiple, n_rows, n_units, n_kept;
    uint32_t *each;   /* (n_rows) or NULL; pare_plan_free releases it */
    pare_shape shape; /* several: ffn, groups and layers that were asked for; zeros: the method chooses */
} pare_plan;

typedef struct pare_method {
    const char *name, *summary, *source;
    pare_unit unit;
    bool calibrated, stochastic; /* needs a calibration text; depends on the seed */
    bool text_only;              /* needs the text, but not the dense model's activations on it */
    bool gradients;              /* walks back through the model, and keeps the gradient of every matrix that it scores */
    bool keeps_layers;           /* of several kinds of units: layers are none of them */
    const char *warning;         /* what a user must know before using it, or NULL */
    uint32_t revision;           /* of its definition: a ledger's rows of an earlier one are not taken for this one's */
    /* values come allocated and zeroed; calibration is NULL for calibration-free methods */
    bool (*score)(pare_scores *scores, const pare_checkpoint *checkpoint, const pare_calibration *calibration, uint64_t seed,
                  const pare_context *context, pare_error *error);
    /* NULL, or makes the whole cut, layer by layer on the activations of what is cut already; then there is no score. */
    pare_cut *(*build)(const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_plan *plan,
                       const pare_context *context, pare_error *error);
    /* NULL, or puts tensors into a cut that was made by these scores, to make up for what it removes. */
    bool (*compensate)(pare_cut *cut, const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_context *context,
                       pare_error *error);
    /* NULL, or what score or build allocate; for methods that do more than look at moments. windows NULL: they need none */
    size_t (*memory)(const struct pare_method *method, const pare_model *model, const pare_windows *windows, const pare_context *context);
} pare_method;
extern const pare_method *const pare_methods[]; /* NULL at the end */
/* NULL with PARE_ERROR_USAGE, naming the methods there are. */
const pare_method *pare_method_find(const char *name, pare_error *error) PARE_MUST_CHECK;

/* A method that builds its cut has no scores: values stay NULL. */
bool pare_score(pare_scores *scores, const pare_method *method, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                uint64_t seed, const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* Bytes of memory that calibrating, scoring and cutting will take at most, to be told before; of windows the counts alone matter, NULL:
 * without a text. */
bool pare_compress_memory(size_t *bytes, const pare_method *method, const pare_checkpoint *checkpoint, const pare_windows *windows,
                          const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* ---- PruneNet's policy ------------------------------------------------------------------------ */

/* A network that looks at a layer's gate_proj and says which neurons to keep: trained once, on weights alone, for models of one width and
 * FFN width, at any ratio. Sengupta et al. 2025; src/compress/policy.h */
typedef struct {
    uint32_t width, ffn_width, episodes; /* episodes: of training */
    double ratio, reward;                /* of neurons removed in training; mean over layers that this policy earned then */
    uint64_t seed;
    float *values; /* n_values: A (ffn_width, width), b (ffn_width), v (ffn_width) */
    size_t n_values;
} pare_policy;

/* Zeros: what the table's method trains with, 20 episodes at ratio 0.3 and rate 1e-3. */
typedef struct {
    double ratio, rate;
    uint32_t episodes;
    uint64_t seed;
} pare_policy_options;
bool pare_policy_train(pare_policy *policy, const pare_checkpoint *checkpoint, const pare_policy_options *options,
                       const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_policy_free(pare_policy *policy);
/* Scores of FFN neurons whose best n are a draw of n by the policy; the draws of one seed at growing ratios are nested. scores as
 * pare_score leaves them. SHAPE when the policy is for models of other widths. */
bool pare_policy_score(pare_scores *scores, const pare_policy *policy, const pare_checkpoint *checkpoint, uint64_t seed,
                       const pare_context *context, pare_error *error) PARE_MUST_CHECK;
/* A safetensors file of three tensors; its metadata say how it was trained and the SHA-256 of its numbers. Only files that pare wrote are
 * read; NaN is refused. */
bool pare_policy_read(pare_policy *policy, const char *path, pare_error *error) PARE_MUST_CHECK;
bool pare_policy_write(const pare_policy *policy, const char *path, bool replace, pare_error *error) PARE_MUST_CHECK;

/* ---- cuts ----------------------------------------------------------------------------------- */

/* (1 - ratio) of a row's units stay, rounded to the nearest multiple (half up; of FFN neurons and channels only), at least one multiple,
 * at most all; ratio 0 keeps all. USAGE when ratio or multiple is out of range. */
bool pare_plan_make(pare_plan *plan, pare_unit unit, const pare_config *config, double ratio, uint32_t multiple,
                    pare_error *error) PARE_MUST_CHECK;
/* What a plan may leave at most: parameters, those outside of embeddings alone, multiply-accumulates per token, or bytes of the weights
 * in one type. */
typedef enum { PARE_BUDGET_PARAMETERS, PARE_BUDGET_NON_EMBEDDING, PARE_BUDGET_MACS, PARE_BUDGET_BYTES } pare_budget;
typedef struct {
    pare_budget budget;
    uint64_t most;
    pare_dtype dtype; /* of PARE_BUDGET_BYTES */
} pare_limit;
/* The plan that leaves most of what does not exceed the limit. RANGE when none does, naming the smallest that there is, and the next. */
bool pare_plan_fit(pare_plan *plan, pare_unit unit, const pare_config *config, const pare_limit *limit, uint32_t multiple,
                   pare_error *error) PARE_MUST_CHECK;
/* What the limit counts of a whole model. */
uint64_t pare_limit_of(const pare_limit *limit, const pare_config *config);
/* USAGE when the method's units are others than what is said, RANGE when there are not so many or they are no legal number; both name what
 * would do. Several units: what is not said stays as it is. */
bool pare_plan_shape(pare_plan *plan, pare_unit unit, const pare_config *config, const pare_shape *shape,
                     pare_error *error) PARE_MUST_CHECK;
/* Layers (n_layers, true: protected) keep all of their units. USAGE for units that are not a layer's own: channels, layers, several,
 * directions. */
bool pare_plan_protect(pare_plan *plan, const bool *layers, const pare_config *config, pare_error *error) PARE_MUST_CHECK;
/* Other counts for other layers, as many units in all (or fewer by less than a multiple), of FFN neurons and key-value heads (USAGE for
 * others); layers that are protected already stay so. global: the best of all layers' units, each layer's scores brought to mean 0 and
 * variance 1 first (as An et al. 2024, FLAP). sensitivity: what leaves the least sum of losses of the model with one layer cut alone, to
 * 3/4, 1/2, 1/4 of its units and one block of them (calibration text, 4,096 tokens); of surgeons, which have no scores, the least sum of
 * the errors that they expect. Blocks: the plan's multiple, or n_units / 64 where that is more. */
bool pare_plan_allocate_global(pare_plan *plan, const pare_scores *scores, pare_error *error) PARE_MUST_CHECK;
/* What sensitivity goes by, whatever the ratio; layers that the plan protects are left out. Free with pare_sensitivity_free. */
typedef struct pare_sensitivity {
    uint32_t n_rows, n_blocks, block; /* block: units in one, but for the last */
    double *cost;                     /* (n_rows, n_blocks + 1): by the blocks that stay; NULL: not measured */
} pare_sensitivity;
bool pare_sensitivity_measure(pare_sensitivity *sensitivity, const pare_plan *plan, const pare_method *method, const pare_scores *scores,
                              const pare_checkpoint *checkpoint, const pare_calibration *calibration, const pare_context *context,
                              pare_error *error) PARE_MUST_CHECK;
void pare_sensitivity_free(pare_sensitivity *sensitivity);
bool pare_plan_allocate_sensitivity(pare_plan *plan, const pare_sensitivity *sensitivity, pare_error *error) PARE_MUST_CHECK;

/* How many units each layer keeps: as many in every one, or shared out as above. */
typedef enum { PARE_ALLOCATION_UNIFORM, PARE_ALLOCATION_GLOBAL, PARE_ALLOCATION_SENSITIVITY, PARE_ALLOCATIONS } pare_allocation;
const char *pare_allocation_name(pare_allocation allocation); /* "uniform", "global", "sensitivity" */
bool pare_allocation_find(pare_allocation *allocation, const char *name);
/* USAGE when the method's units cannot be shared out so. */
bool pare_allocation_check(pare_allocation allocation, const pare_method *method, pare_error *error) PARE_MUST_CHECK;
void pare_plan_free(pare_plan *plan);
static inline uint32_t pare_plan_kept(const pare_plan *plan, uint32_t row) {
    return plan->each ? plan->each[row] : plan->n_kept;
}
bool pare_plan_keeps_all(const pare_plan *plan);
/* What would be left, whichever units stay; of several kinds of units about so much, for their shape is chosen when they are scored. */
bool pare_plan_forecast(pare_size *size, const pare_plan *plan, const pare_config *config, pare_error *error) PARE_MUST_CHECK;
/* Its weights in bytes of a type. whole: singular directions multiplied back. */
bool pare_plan_bytes(uint64_t *bytes, const pare_plan *plan, const pare_config *config, pare_dtype dtype, bool whole,
                     pare_error *error) PARE_MUST_CHECK;

/* The best of each row, as many as planned; ties keep the lower index. NULL on failure. */
pare_cut *pare_cut_make(const pare_config *config, const pare_scores *scores, const pare_plan *plan, pare_error *error) PARE_MUST_CHECK;
/* USAGE when the plan asks for what the method does not do: fewer layers, of one that keeps them all. */
bool pare_method_check_plan(const pare_method *method, const pare_plan *plan, const pare_config *config, pare_error *error) PARE_MUST_CHECK;
/* The method's own: by its scores, with its compensation, or built. */
pare_cut *pare_method_cut(const pare_method *method, const pare_checkpoint *checkpoint, const pare_calibration *calibration,
                          const pare_scores *scores, const pare_plan *plan, const pare_context *context, pare_error *error) PARE_MUST_CHECK;

/* ---- which method --------------------------------------------------------------------------- */

/* The method that lost least in our own studies (docs/methods.csv, docs/methods-smollm2.csv) among those that can be used here. */
typedef struct {
    const pare_method *method, *next; /* next: the second best, or NULL */
    double share;                     /* of the weights outside of embeddings that is to go */
    double excess, next_excess;       /* nats per token above the dense model, mean over the models measured */
    uint32_t n_methods, n_models;     /* that were compared; that it was measured on */
} pare_recommendation;
/* tokens: of calibration that there will be, 0 without a text. Left out are methods that cannot remove the share from a model of this
 * config, and those whose output no stock program loads. USAGE when share is not in [0, 1); RANGE when nothing is left. */
bool pare_recommend(pare_recommendation *recommendation, const pare_config *config, double share, uint32_t multiple, uint64_t tokens,
                    pare_error *error) PARE_MUST_CHECK;
/* Weights outside of embeddings that are left when this share of them goes. */
uint64_t pare_share_left(const pare_config *config, double share);

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
