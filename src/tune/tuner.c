/* tuner: a model, what is trained of it, and one step: gradients of the step's windows, a pass at a time; clip; AdamW. */
#include <math.h>
#include <string.h>

#include "tune_impl.h"

enum { PASS_TOKENS = 2048 };

pare_tune_options pare_tune_defaults(void) {
    return (pare_tune_options){.rank = 8,
                               .alpha = 32,
                               .targets = {true, true, true, true, true, true, true},
                               .length = 512,
                               .batch = 4,
                               .rate = 2e-4,
                               .schedule = PARE_SCHEDULE_LINEAR,
                               .beta1 = 0.9,
                               .beta2 = 0.95,
                               .epsilon = 1e-8,
                               .decay = 0.01,
                               .clip = 1,
                               .distil_weight = 0.5,
                               .distil_temperature = 1};
}

static bool check_options(const pare_tune_options *o, pare_error *error) {
    if (o->length < 2 || o->batch < 1)
        return pare_fail(error, PARE_ERROR_RANGE, "windows of %zu tokens, %zu a step: at least 2 and 1 are needed", o->length, o->batch);
    const struct {
        const char *name, *needed;
        double value;
        bool fits;
    } checks[] = {
        {"the learning rate", "above 0", o->rate, o->rate > 0 && isfinite(o->rate)},
        {"AdamW's first beta", "in [0, 1)", o->beta1, o->beta1 >= 0 && o->beta1 < 1},
        {"AdamW's second beta", "in [0, 1)", o->beta2, o->beta2 >= 0 && o->beta2 < 1},
        {"AdamW's epsilon", "above 0", o->epsilon, o->epsilon > 0},
        {"the weight decay", "0 or more", o->decay, o->decay >= 0 && isfinite(o->decay)},
        {"the largest norm of a gradient", "0 or more", o->clip, o->clip >= 0},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (!checks[i].fits)
            return pare_fail(error, PARE_ERROR_RANGE, "%s is %g: it must be %s", checks[i].name, checks[i].value, checks[i].needed);
    if (!(o->distil_weight >= 0 && o->distil_weight <= 1) || !(o->distil_temperature > 0) || !isfinite(o->distil_temperature))
        return pare_fail(error, PARE_ERROR_RANGE, "distillation weight %g, temperature %g: out of range", o->distil_weight,
                         o->distil_temperature);
    if (!o->full && !(o->dropout >= 0 && o->dropout < 1))
        return pare_fail(error, PARE_ERROR_RANGE, "LoRA's dropout is %g, not from 0 to below 1", o->dropout);
    if (!o->full && !(o->alpha > 0))
        return pare_fail(error, PARE_ERROR_RANGE, "LoRA's alpha is %g, not positive", o->alpha);
    return true;
}

static size_t pass_windows(const pare_tune_options *o) {
    size_t n = o->micro ? o->micro : PASS_TOKENS / o->length > 0 ? PASS_TOKENS / o->length : 1;
    return n < o->batch ? n : o->batch;
}

/* ---- memory ---- */

bool pare_tune_plan(pare_tune_memory *memory, const pare_tune_options *o, const pare_checkpoint *checkpoint, const pare_cut *cut,
                    const pare_checkpoint *teacher, const pare_context *context, pare_error *error) {
    *memory = (pare_tune_memory){0};
    pare_model *model = pare_model_open(checkpoint, cut, error);
    pare_model *dense = model && teacher ? pare_model_open(teacher, NULL, error) : NULL;
    bool done = model && (!teacher || dense);
    pare_adapters *adapters = NULL;
    if (done && !o->full) {
        done = (adapters = pare_adapters_open(&model->config, o->rank, o->alpha, o->targets, o->seed, error)) != NULL;
        if (done)
            pare_model_adapt(model, adapters);
    }
    if (done) {
        pare_distillation distillation = {dense, o->distil_weight, o->distil_temperature};
        size_t n = o->full ? (size_t)pare_config_size(&model->config).parameters : adapters->n_values, windows = pass_windows(o);
        memory->weights = 4 * n * sizeof(float);
        memory->activations = pare_pass_bytes(model, &distillation, windows, o->length, o->recompute, context);
        memory->total = memory->weights + memory->activations;
        memory->total_recompute = memory->weights + pare_pass_bytes(model, &distillation, windows, o->length, true, context);
    }
    pare_model_close(model);
    pare_model_close(dense);
    pare_adapters_close(adapters);
    return done;
}

/* ---- opening ---- */

static void on_pass(void *user, const char *stage, double done, double total) {
    const pare_tuner *t = user;
    const pare_tune_options *o = &t->options;
    double windows = (double)t->pass_first + (double)t->pass_windows * done / total, before = (double)(t->step - t->begun);
    (void)stage;
    if (t->step >= t->begun && t->step < o->steps)
        pare_context_progress(t->context, t->stage[0] ? t->stage : "train", before + windows / (double)o->batch,
                              (double)(o->steps - t->begun));
}

static pare_tuner *make(const pare_tune_options *options, const pare_context *context, pare_error *error) {
    pare_arena *arena = check_options(options, error) ? pare_arena_open(error) : NULL;
    pare_tuner *tuner = arena ? PARE_PUSH(arena, pare_tuner, 1, error) : NULL;
    if (!tuner) {
        pare_arena_close(arena);
        return NULL;
    }
    *tuner = (pare_tuner){.options = *options, .context = context, .arena = arena};
    if (context)
        tuner->pass_context = *context;
    tuner->pass_context.progress = on_pass;
    tuner->pass_context.user = tuner;
    return tuner;
}

/* What is trained becomes a model and its block of values. */
static bool open_full(pare_tuner *t, pare_error *error) {
    t->values = t->thawed.values;
    t->n_values = t->thawed.n_values;
    return (t->model = pare_model_open(t->thawed.checkpoint, NULL, error)) != NULL;
}

static bool open_adapters(pare_tuner *t, pare_error *error) {
    const pare_tune_options *o = &t->options;
    if (!(t->model = pare_model_open(t->base, t->cut, error)))
        return false;
    t->adapters = o->adapter ? pare_adapters_read(o->adapter, &t->model->config, error)
                             : pare_adapters_open(&t->model->config, o->rank, o->alpha, o->targets, o->seed, error);
    if (!t->adapters)
        return false;
    if (o->dropout > 0)
        pare_adapters_drop(t->adapters, &t->dropout);
    pare_model_adapt(t->model, t->adapters);
    t->values = t->adapters->values;
    t->n_values = t->adapters->n_values;
    if (t->n_values == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "no projection gets an adapter: nothing would be trained");
    return true;
}

static bool open_rest(pare_tuner *t, pare_error *error) {
    const pare_tune_options *o = &t->options;
    pare_arena *a = t->arena;
    if (t->teacher_checkpoint && !(t->teacher = pare_model_open(t->teacher_checkpoint, NULL, error)))
        return false;
    pare_distillation distillation = {t->teacher, o->distil_weight, o->distil_temperature};
    return (t->gradient = PARE_PUSH(a, float, t->n_values, error)) && (t->first_moment = PARE_PUSH(a, float, t->n_values, error)) &&
           (t->second_moment = PARE_PUSH(a, float, t->n_values, error)) && bind_gradients(t, error) &&
           (t->pass =
                pare_pass_open(t->model, &t->gradients, &distillation, pass_windows(o), o->length, o->recompute, &t->pass_context, error));
}

pare_tuner *pare_tuner_open(const pare_tune_options *options, const pare_checkpoint *checkpoint, const pare_cut *cut,
                            const pare_checkpoint *teacher, const pare_context *context, pare_error *error) {
    pare_tuner *t = make(options, context, error);
    if (!t)
        return NULL;
    t->base = checkpoint;
    t->cut = cut;
    t->teacher_checkpoint = teacher;
    bool done = options->full ? pare_thaw(&t->thawed, checkpoint, cut, context, error) && open_full(t, error) : open_adapters(t, error);
    if (done && open_rest(t, error))
        return t;
    pare_tuner_close(t);
    return NULL;
}

pare_tuner *pare_tuner_open_new(const pare_tune_options *options, const char *config, const char *tokenizer, const pare_context *context,
                                pare_error *error) {
    pare_tuner *t = make(options, context, error);
    if (!t)
        return NULL;
    t->options.full = true;
    if (pare_thaw_new(&t->thawed, config, tokenizer, options->seed, error) && open_full(t, error) && open_rest(t, error))
        return t;
    pare_tuner_close(t);
    return NULL;
}

void pare_tuner_close(pare_tuner *t) {
    if (!t)
        return;
    pare_pass_close(t->pass);
    pare_model_close(t->model);
    pare_model_close(t->teacher);
    pare_adapters_close(t->adapters);
    if (t->thawed.checkpoint)
        pare_thawed_close(&t->thawed);
    pare_arena_close(t->arena);
}

const pare_model *pare_tuner_model(const pare_tuner *t) {
    return t->model;
}

size_t pare_tuner_trainable(const pare_tuner *t) {
    return t->n_trainable;
}

const pare_adapters *pare_tuner_adapters(const pare_tuner *t) {
    return t->adapters;
}

bool pare_tuner_write_in(const char *folder, const pare_tuner *t, pare_dtype dtype, const char *note, const pare_context *context,
                         pare_error *error) {
    if (t->options.full)
        return pare_checkpoint_write_in(folder, t->thawed.checkpoint, NULL, NULL, dtype, 0, note, false, context, error);
    return pare_checkpoint_write_in(folder, t->base, t->cut, t->adapters, dtype, 0, note, false, context, error);
}

bool pare_tuner_write_adapter_in(const char *folder, const pare_tuner *t, const char *base, pare_error *error) {
    if (!t->adapters)
        return pare_fail(error, PARE_ERROR_USAGE, "%s: full fine-tuning has no adapter to write", folder);
    return pare_adapters_write_in(folder, t->adapters, &t->model->config, base, error);
}

/* ---- a step ---- */

/* One for every pass of a run, the same after a resume. */
static uint64_t pass_key(const pare_tuner *t, size_t first) {
    pare_random random;
    pare_random_init(&random, t->options.seed, "dropout", t->step * t->options.batch + first);
    return (uint64_t)(pare_random_unit(&random) * 9007199254740992.0);
}

/* Gradients of all windows of the step, and the sums of their losses. */
static bool accumulate(pare_pass_loss *sums, pare_tuner *t, const uint32_t *ids, const uint8_t *learn, size_t targets, pare_error *error) {
    const pare_tune_options *o = &t->options;
    size_t step = pass_windows(o);
    *sums = (pare_pass_loss){0};
    for (size_t first = 0; first < o->batch; first += step) {
        size_t n = o->batch - first < step ? o->batch - first : step, at = first * o->length;
        pare_batch batch = {ids + at, learn ? learn + at : NULL, n, o->length};
        pare_pass_loss loss;
        t->pass_first = first;
        t->pass_windows = n;
        t->dropout = (pare_dropout){(float)o->dropout, pass_key(t, first)};
        bool done = pare_pass_run(&loss, t->pass, &batch, 1.0 / (double)targets, error);
        t->dropout.rate = 0;
        if (!done)
            return false;
        sums->cross_entropy += loss.cross_entropy;
        sums->divergence += loss.divergence;
        sums->targets += loss.targets;
    }
    return true;
}

static void drop_gradients(pare_tuner *t) {
    memset(t->gradient, 0, t->n_values * sizeof *t->gradient);
}

bool pare_tuner_step(pare_tune_step *result, pare_tuner *t, const uint32_t *ids, const uint8_t *learn, pare_error *error) {
    const pare_tune_options *o = &t->options;
    pare_batch all = {ids, learn, o->batch, o->length};
    size_t targets = pare_batch_targets(&all);
    *result = (pare_tune_step){.targets = targets, .rate = pare_tune_rate(o, t->step)};
    if (targets == 0) { /* windows that lie in prompts: nothing to learn, and no loss, which 0 would be */
        result->loss = result->cross_entropy = (double)NAN;
        t->step++;
        return true;
    }
    pare_pass_loss sums;
    pare_error problem = {0};
    bool done = accumulate(&sums, t, ids, learn, targets, &problem);
    if (!done && problem.code == PARE_ERROR_NUMERIC)
        pare_fail(error, problem.code, "step %llu: %.900s", (unsigned long long)t->step + 1, problem.message);
    else if (!done && error)
        *error = problem;
    if (!done || !gradient_norm(&result->gradient_norm, t, error)) {
        drop_gradients(t);
        return false;
    }
    result->cross_entropy = sums.cross_entropy / (double)targets;
    result->loss = t->teacher ? (1 - o->distil_weight) * result->cross_entropy + o->distil_weight * sums.divergence / (double)targets
                              : result->cross_entropy;
    update(t, result->rate, result->gradient_norm);
    t->step++;
    return true;
}
