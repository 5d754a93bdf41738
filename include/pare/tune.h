/* tune: training: recovery of what a cut has cost, and small models from nothing.
 *
 *   options   what is trained (adapters or every weight), by what steps
 *   tuner     a model with its trained weights, gradients and moments, and the pass that fills them: one step at a time
 *   run       steps over a dataset, with held-out evaluations and a state that survives kill -9
 *
 * The same options, data and seed give the same bits, for every number of threads, and across a stop and a resume.
 */
#ifndef PARE_TUNE_H
#define PARE_TUNE_H

#include "pare/dataset.h"
#include "pare/trainable.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { PARE_SCHEDULE_CONSTANT, PARE_SCHEDULE_LINEAR, PARE_SCHEDULE_COSINE } pare_schedule;
const char *pare_schedule_name(pare_schedule schedule);
bool pare_schedule_find(pare_schedule *schedule, const char *name, pare_error *error) PARE_MUST_CHECK;

/* Zero is no default: start from pare_tune_defaults. */
typedef struct {
    bool full;                      /* every weight; else LoRA */
    uint32_t rank;                  /* of LoRA */
    double alpha;                   /* scale = alpha / rank */
    double dropout;                 /* of what adapters read, 0 <= dropout < 1 */
    bool targets[PARE_PROJECTIONS]; /* projections that get an adapter */
    const char *adapter;            /* a PEFT folder to start from, or NULL: A by the seed, B zero */
    size_t length, batch, micro;    /* tokens of a window; windows of a step; windows of a pass (0: about 2,048 tokens) */
    uint64_t steps;
    double rate; /* the highest */
    pare_schedule schedule;
    uint64_t warmup;                           /* steps in which the rate rises from 0 */
    double beta1, beta2, epsilon, decay, clip; /* decay: matrices alone; clip: largest norm of a step's gradient, 0: any */
    double distil_weight, distil_temperature;  /* with a teacher */
    bool recompute;                            /* activation checkpointing */
    uint64_t seed;                             /* of adapters */
} pare_tune_options;
/* The authors' recovery recipe (facts on PruneNet's code): LoRA of rank 8, alpha 32, on all seven; AdamW 2e-4, betas 0.9 0.95, decay 0.01,
 * linear, clip 1. Their dropout of 0.1 is left at 0: budgets here pass over the data once, where there is nothing to unlearn. */
pare_tune_options pare_tune_defaults(void);
/* The recipe's warm-up in a run of `steps`: a tenth of them, 400 at most. */
uint64_t pare_tune_warmup(uint64_t steps);
/* Rate of step `step` (from 0): warm-up, then constant, or down to 0 after the last step by a line or half a cosine wave. */
double pare_tune_rate(const pare_tune_options *options, uint64_t step);

typedef struct pare_tuner pare_tuner;

/* Trains checkpoint under cut (may be NULL), taught by teacher (may be NULL). They must outlive it. */
pare_tuner *pare_tuner_open(const pare_tune_options *options, const pare_checkpoint *checkpoint, const pare_cut *cut,
                            const pare_checkpoint *teacher, const pare_context *context, pare_error *error) PARE_MUST_CHECK;
/* Trains a model that does not exist yet (see pare_thaw_new); options->full. */
pare_tuner *pare_tuner_open_new(const pare_tune_options *options, const char *config, const char *tokenizer, const pare_context *context,
                                pare_error *error) PARE_MUST_CHECK;
void pare_tuner_close(pare_tuner *tuner); /* NULL is fine */

/* Memory that training such a model takes beside the mapped file: bytes, as told before the work. */
typedef struct {
    size_t weights;                /* trained weights that are copies, gradients, moments */
    size_t activations;            /* with buffers */
    size_t total, total_recompute; /* as asked for; and with recompute */
} pare_tune_memory;
bool pare_tune_plan(pare_tune_memory *memory, const pare_tune_options *options, const pare_checkpoint *checkpoint, const pare_cut *cut,
                    const pare_checkpoint *teacher, const pare_context *context, pare_error *error) PARE_MUST_CHECK;

const pare_model *pare_tuner_model(const pare_tuner *tuner);       /* as trained so far: to evaluate */
size_t pare_tuner_trainable(const pare_tuner *tuner);              /* how many weights are trained */
const pare_adapters *pare_tuner_adapters(const pare_tuner *tuner); /* NULL: full */
/* The trained model (adapters merged) into an existing empty folder, as pare_checkpoint_write_in does it. */
bool pare_tuner_write_in(const char *folder, const pare_tuner *tuner, pare_dtype dtype, const char *note, const pare_context *context,
                         pare_error *error) PARE_MUST_CHECK;
/* LoRA only: the adapter in PEFT's form, into an existing empty folder. */
bool pare_tuner_write_adapter_in(const char *folder, const pare_tuner *tuner, const char *base, pare_error *error) PARE_MUST_CHECK;

typedef struct {
    double loss;          /* mean over the step's targets: what is minimised; NaN where it has none, and nothing is learnt */
    double cross_entropy; /* the same without a teacher */
    double gradient_norm; /* before clipping */
    double rate;
    size_t targets;
} pare_tune_step;
/* One step: ids, learn (options.batch, options.length). NUMERIC when loss or gradient is not finite: the weights are then as before. */
bool pare_tuner_step(pare_tune_step *result, pare_tuner *tuner, const uint32_t *ids, const uint8_t *learn,
                     pare_error *error) PARE_MUST_CHECK;

/* ---- a run ----------------------------------------------------------------------------------- */

typedef struct {
    uint64_t step; /* after so many steps */
    uint64_t tokens;
    size_t text; /* which of the held-out texts */
    double cross_entropy;
} pare_tune_evaluation;

typedef struct {
    const char *state;       /* file of the resumable state; NULL: none */
    bool resume;             /* go on from it; without one it is an error */
    bool only_finished;      /* refuse (CONFLICT) a state whose steps are not all done: what they lead to is there already */
    uint64_t save_every;     /* steps between states; 0: only when stopped */
    uint64_t evaluate_every; /* steps between evaluations; 0: at the start and at the end */
    size_t n_texts;          /* held-out texts, each with a loss of its own; 0: none */
    const char *texts;       /* what they are, for the state: a resume with others is refused. NULL: not told */
    bool (*evaluate)(void *user, double *cross_entropy, size_t text, const pare_model *model, pare_error *error); /* that loss */
    void *user;
} pare_tune_run_options;

typedef struct {
    float *losses;                           /* (steps) mean loss of each; NaN: the step had no targets */
    uint64_t steps, tokens, targets, epochs; /* done; epochs begun */
    pare_tune_evaluation *evaluations;
    size_t n_evaluations;
    double seconds, tokens_per_s; /* of this process; without evaluations */
    uint64_t resumed;             /* steps that were done before */
    pare_arena *arena;
} pare_tune_result;

/* options.steps steps over the dataset. On CANCELLED and on NUMERIC the state is saved first (the last good one). */
bool pare_tune_run(pare_tune_result *result, pare_tuner *tuner, const pare_dataset *dataset, const pare_tune_run_options *options,
                   const pare_context *context, pare_error *error) PARE_MUST_CHECK;
void pare_tune_result_free(pare_tune_result *result);
/* Mean loss of the steps [first, first + n), of those that had targets; NaN when none had. */
double pare_tune_mean_loss(const pare_tune_result *result, uint64_t first, uint64_t n);

#ifdef __cplusplus
}
#endif
#endif
