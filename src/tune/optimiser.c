/* optimiser: norm and clipping of a gradient, AdamW, and the rate of a step.
 * Loshchilov & Hutter 2019 (AdamW), Pascanu et al. 2013 (clipping). */
#include <math.h>
#include <string.h>

#include "tune_impl.h"

enum { BLOCK = 1 << 16 }; /* floats a task: sums have one order whatever the number of threads */

/* ---- rate ---- */

static const char *const names[] = {"constant", "linear", "cosine"};

const char *pare_schedule_name(pare_schedule schedule) {
    return names[schedule];
}

bool pare_schedule_find(pare_schedule *schedule, const char *name, pare_error *error) {
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], name) == 0) {
            *schedule = (pare_schedule)i;
            return true;
        }
    return pare_fail(error, PARE_ERROR_USAGE, "schedule \"%s\": it is constant, linear or cosine", name);
}

uint64_t pare_tune_warmup(uint64_t steps) {
    return steps / 10 < 400 ? steps / 10 : 400;
}

double pare_tune_rate(const pare_tune_options *o, uint64_t step) {
    const double pi = 3.14159265358979323846;
    if (step < o->warmup)
        return o->rate * (double)(step + 1) / (double)(o->warmup + 1);
    if (o->schedule == PARE_SCHEDULE_CONSTANT || o->steps <= o->warmup)
        return o->rate;
    double part = (double)(step - o->warmup) / (double)(o->steps - o->warmup);
    part = part < 1 ? part : 1;
    return o->rate * (o->schedule == PARE_SCHEDULE_LINEAR ? 1 - part : 0.5 * (1 + cos(pi * part)));
}

/* ---- norm ---- */

static double segment_squares(const pare_tuner *t, const segment *s) {
    size_t n_blocks = (s->n + BLOCK - 1) / BLOCK;
    double total = 0;
    for (size_t first = 0; first < n_blocks; first += 64) {
        double parts[64];
        size_t n = n_blocks - first < 64 ? n_blocks - first : 64;
#pragma omp parallel for num_threads(pare_context_threads(t->context)) schedule(static) if (n > 1)
        for (size_t i = 0; i < n; i++) {
            size_t at = (first + i) * BLOCK, count = s->n - at < BLOCK ? s->n - at : BLOCK;
            parts[i] = pare_kernels_best()->sum_squares(t->gradient + s->at + at, count);
        }
        for (size_t i = 0; i < n; i++)
            total += parts[i];
    }
    return total;
}

bool gradient_norm(double *norm, const pare_tuner *t, pare_error *error) {
    double total = 0;
    for (size_t i = 0; i < t->n_segments; i++) {
        double squares = segment_squares(t, &t->segments[i]);
        if (!isfinite(squares))
            return pare_fail(error, PARE_ERROR_NUMERIC, "step %llu: the gradient of %s is not finite", (unsigned long long)t->step + 1,
                             t->segments[i].name);
        total += squares;
    }
    *norm = sqrt(total);
    return true;
}

/* ---- AdamW ---- */

static void update_segment(pare_tuner *t, const segment *s, const pare_adamw_step *step) {
#pragma omp parallel for num_threads(pare_context_threads(t->context)) schedule(static) if (s->n > BLOCK)
    for (size_t i = 0; i < s->n; i += BLOCK) {
        size_t n = s->n - i < BLOCK ? s->n - i : BLOCK, at = s->at + i;
        pare_kernels_best()->adamw(t->values + at, t->first_moment + at, t->second_moment + at, t->gradient + at, n, step);
        memset(t->gradient + at, 0, n * sizeof *t->gradient);
    }
}

void update(pare_tuner *t, double rate, double norm) {
    const pare_tune_options *o = &t->options;
    double n = (double)(t->step + 1);
    pare_adamw_step step = {.rate = (float)rate,
                            .beta1 = (float)o->beta1,
                            .beta2 = (float)o->beta2,
                            .eps = (float)o->epsilon,
                            .correction1 = (float)(1 - pow((double)(float)o->beta1, n)),
                            .correction2 = (float)(1 - pow((double)(float)o->beta2, n)),
                            .gradient_scale = o->clip > 0 && norm > o->clip ? (float)(o->clip / norm) : 1.0f};
    for (size_t i = 0; i < t->n_segments; i++) {
        step.decay = t->segments[i].decays ? (float)o->decay : 0;
        update_segment(t, &t->segments[i], &step);
    }
}
