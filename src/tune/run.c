/* run: steps over a dataset, held-out evaluations between them, and the state that a stop leaves behind. */
#include <math.h>
#include <stdio.h>

#include "tune_impl.h"

typedef struct {
    pare_tune_result *result;
    pare_tuner *tuner;
    const pare_dataset *dataset;
    const pare_tune_run_options *options;
    const pare_context *context;
    pare_string identity;
    uint32_t *ids; /* (batch, length) */
    uint8_t *learn;
    size_t capacity; /* of the evaluations */
} runner;

void pare_tune_result_free(pare_tune_result *result) {
    pare_free(result->evaluations);
    pare_arena_close(result->arena);
    *result = (pare_tune_result){0};
}

double pare_tune_mean_loss(const pare_tune_result *result, uint64_t first, uint64_t n) {
    double sum = 0, counted = 0;
    for (uint64_t i = first; i < first + n && i < result->steps; i++)
        if (!isnan(result->losses[i])) {
            sum += (double)result->losses[i];
            counted++;
        }
    return counted > 0 ? sum / counted : (double)NAN;
}

static bool allocate(runner *r, pare_error *error) {
    const pare_tune_options *o = &r->tuner->options;
    pare_arena *a = r->result->arena = pare_arena_open(error);
    return a && (r->result->losses = PARE_PUSH(a, float, (size_t)o->steps, error)) &&
           (r->ids = PARE_PUSH(a, uint32_t, o->batch * o->length, error)) &&
           (r->learn = PARE_PUSH(a, uint8_t, o->batch * o->length, error));
}

static bool check_dataset(const runner *r, pare_error *error) {
    const pare_dataset_facts *facts = pare_dataset_facts_of(r->dataset);
    if (facts->length != r->tuner->options.length)
        return pare_fail(error, PARE_ERROR_SHAPE, "the data come in windows of %zu tokens, the training takes %zu", facts->length,
                         r->tuner->options.length);
    if (facts->training.windows == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "the data have %llu tokens, less than one window of %zu",
                         (unsigned long long)facts->training.tokens, facts->length);
    return true;
}

/* The windows of the step at hand: the dataset's order, epoch after epoch. */
static bool fetch(runner *r, pare_error *error) {
    const pare_tune_options *o = &r->tuner->options;
    uint64_t windows = pare_dataset_facts_of(r->dataset)->training.windows;
    for (size_t i = 0; i < o->batch; i++) {
        uint64_t index = r->tuner->step * o->batch + i;
        if (!pare_dataset_window(r->ids + i * o->length, r->learn + i * o->length, r->dataset, index / windows, index % windows, error))
            return false;
    }
    return true;
}

/* Once after a step, all texts. */
static bool evaluate(runner *r, pare_error *error) {
    pare_tune_result *result = r->result;
    if (result->n_evaluations && result->evaluations[result->n_evaluations - 1].step == r->tuner->step)
        return true;
    if (!pare_grow((void **)&result->evaluations, &r->capacity, result->n_evaluations + r->options->n_texts, sizeof *result->evaluations,
                   error))
        return false;
    for (size_t text = 0; text < r->options->n_texts; text++) {
        double loss;
        if (!r->options->evaluate(r->options->user, &loss, text, r->tuner->model, error))
            return false;
        result->evaluations[result->n_evaluations + text] = (pare_tune_evaluation){r->tuner->step, result->tokens, text, loss};
    }
    result->n_evaluations += r->options->n_texts;
    return true;
}

static bool save(runner *r, pare_error *error) {
    return !r->options->state || state_write(r->options->state, r->tuner, r->identity.data, r->options, r->result, error);
}

static void show(const runner *r, const pare_tune_step *step, double begin, uint64_t first) {
    pare_tuner *t = r->tuner;
    const pare_tune_options *o = &t->options;
    char loss[32] = "without targets";
    if (step->targets)
        snprintf(loss, sizeof loss, "loss %.4f", step->loss);
    snprintf(t->stage, sizeof t->stage, "train: %s, %.0f tokens/s", loss,
             (double)((t->step - first) * o->batch * o->length) / (pare_clock_s() - begin));
    pare_context_progress(r->context, t->stage, (double)(t->step - first), (double)(o->steps - first));
}

static bool one_step(runner *r, pare_tune_step *step, pare_error *error) {
    const pare_tune_options *o = &r->tuner->options;
    if (!pare_context_check(r->context, error) || !fetch(r, error) || !pare_tuner_step(step, r->tuner, r->ids, r->learn, error))
        return false;
    r->result->losses[r->tuner->step - 1] = (float)step->loss;
    r->result->tokens += o->batch * o->length;
    r->result->targets += step->targets;
    return true;
}

static bool check_finished(const runner *r, pare_error *error) {
    uint64_t done = r->tuner->step, all = r->tuner->options.steps;
    return !r->options->only_finished || done == all ||
           pare_fail(error, PARE_ERROR_CONFLICT,
                     "%s: %llu of %llu steps are done, but an output of this training exists already; remove it to go on",
                     r->options->state, (unsigned long long)done, (unsigned long long)all);
}

static bool train(runner *r, pare_error *error) {
    const pare_tune_options *o = &r->tuner->options;
    const pare_tune_run_options *run = r->options;
    uint64_t first = r->tuner->begun = r->tuner->step;
    double begin = pare_clock_s(), apart = 0;                                           /* seconds spent on evaluations and states */
    bool due = first == 0 || (run->evaluate_every && first % run->evaluate_every == 0); /* a stop may have come before it */
    bool done = !due || evaluate(r, error);
    apart = pare_clock_s() - begin;
    pare_context_progress(r->context, "train", 0, (double)(o->steps - first));
    while (done && r->tuner->step < o->steps) {
        pare_tune_step step;
        if (!(done = one_step(r, &step, error)))
            break;
        show(r, &step, begin + apart, first);
        double from = pare_clock_s();
        if (run->evaluate_every && r->tuner->step % run->evaluate_every == 0)
            done = evaluate(r, error);
        if (done && run->save_every && r->tuner->step % run->save_every == 0 && r->tuner->step < o->steps)
            done = save(r, error);
        apart += pare_clock_s() - from;
    }
    r->result->seconds = pare_clock_s() - begin - apart;
    r->result->tokens_per_s = r->tuner->step > first ? (double)((r->tuner->step - first) * o->batch * o->length) / r->result->seconds : 0;
    return done && evaluate(r, error) && save(r, error); /* so that a full disk while the model is written loses nothing */
}

/* A stop and a bad step leave the last good state; the error tells so. */
static bool leave(runner *r, const pare_error *problem, pare_error *error) {
    bool stopped = problem->code == PARE_ERROR_CANCELLED, saved = (stopped || problem->code == PARE_ERROR_NUMERIC) && r->options->state;
    if (saved && !save(r, error))
        return false;
    if (saved)
        return pare_fail(error, problem->code, "%.600s after step %llu; the state is in %.200s%s", stopped ? "stopped" : problem->message,
                         (unsigned long long)r->tuner->step, r->options->state, stopped ? ", --resume goes on" : "");
    if (error)
        *error = *problem;
    return false;
}

bool pare_tune_run(pare_tune_result *result, pare_tuner *tuner, const pare_dataset *dataset, const pare_tune_run_options *options,
                   const pare_context *context, pare_error *error) {
    runner r = {.result = result, .tuner = tuner, .dataset = dataset, .options = options, .context = context};
    pare_error problem = {0};
    *result = (pare_tune_result){0};
    bool done = check_dataset(&r, error) && allocate(&r, error) &&
                (!options->state || state_identity(&r.identity, tuner, dataset, error)) &&
                (!options->resume ||
                 (state_read(options->state, tuner, r.identity.data, options, result, &r.capacity, error) && check_finished(&r, error)));
    if (done) {
        result->resumed = tuner->step;
        done = train(&r, &problem) || leave(&r, &problem, error);
    }
    result->steps = tuner->step;
    uint64_t windows = pare_dataset_facts_of(dataset)->training.windows;
    result->epochs = windows ? (result->steps * tuner->options.batch + windows - 1) / windows : 0;
    pare_string_free(&r.identity);
    return done;
}
