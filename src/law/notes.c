/* notes: what a reader of a fit should know before believing it, in sentences. */
#include <stdio.h>
#include <string.h>

#include "fit.h"

bool pare_fit_note(pare_law_fit *fit, pare_arena *arena, pare_error *error, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (fit->n_notes == sizeof fit->notes / sizeof fit->notes[0])
        return true;
    fit->notes[fit->n_notes] = pare_arena_copy(arena, text, strlen(text), error);
    return fit->notes[fit->n_notes] ? (fit->n_notes++, true) : false;
}

static const char *plural(size_t n) {
    return n == 1 ? "" : "s";
}

/* Where the notes of one fit go, and whether memory lasted. */
typedef struct {
    pare_law_fit *fit;
    const pare_rows *rows;
    const pare_law_points *points;
    pare_arena *arena;
    pare_error *error;
    bool done;
} writer;

#define NOTE(w, ...) ((w)->done = (w)->done && pare_fit_note((w)->fit, (w)->arena, (w)->error, __VA_ARGS__))

static void about_l0(writer *w) {
    const pare_law *law = &w->fit->law;
    if (w->rows->form->l0_term == PARE_LAW_MAX_TERMS || w->rows->fits_l0)
        return;
    if (w->rows->n_models < 3)
        NOTE(w, "the exponent a of L0 is held at 1: it takes three models to fit it, there %s %zu", w->rows->n_models > 1 ? "are" : "is",
             w->rows->n_models);
    else
        NOTE(w, "the exponent a of L0 is held at 1: all models have an L0 near %.6g", law->l0_mean);
}

static void about_spread_of_l0(writer *w) {
    for (size_t i = 1; i < w->rows->n; i++) {
        const pare_row *row = &w->rows->rows[w->rows->by_model[i]], *before = &w->rows->rows[w->rows->by_model[i - 1]];
        if (row->model_id != before->model_id || row->l0 == before->l0)
            continue;
        NOTE(w, "model %s has more than one L0 (%.6g and %.6g): were its results measured in different ways?", row->model, before->l0,
             row->l0);
        return;
    }
}

/* A loss that compression improves much is rather a column taken for another. */
static void about_gains(writer *w) {
    size_t n = 0, line = 0;
    for (size_t i = 0; i < w->rows->n; i++) {
        const pare_row *row = &w->rows->rows[i];
        if (!(row->l < 0.9 * row->l0))
            continue;
        size_t at = w->points->items[w->fit->residuals[row->entry].point].line;
        line = n == 0 || (at && at < line) ? at : line;
        n++;
    }
    if (n && line)
        NOTE(w, "%zu result%s more than 10 %% below l0 (first: line %zu): is l a loss, and are l and l0 in their columns?", n,
             n > 1 ? "s lie" : " lies", line);
    else if (n)
        NOTE(w, "%zu result%s more than 10 %% below l0: is l a loss, and are l and l0 in their columns?", n, n > 1 ? "s lie" : " lies");
}

static void about_recovery(writer *w) {
    const pare_law *law = &w->fit->law;
    size_t left_out = w->fit->excluded[PARE_LAW_RECOVERED];
    if (left_out)
        NOTE(w, "%zu result%s with more recovery tokens left out: the law is about D = %.6g million", left_out, plural(left_out),
             law->d_min);
    if (law->d_min == law->d_max && law->d_min > 0)
        NOTE(w, "D is %.6g million tokens in every point: the law holds at that D alone", law->d_min);
    for (size_t i = 0; i < law->n_terms; i++) {
        if (strcmp(law->coefficients[i].name, "c") != 0)
            continue;
        NOTE(w,
             "the D term was fitted up to D = %.6g million tokens and does not extrapolate: it goes on falling until D is far above 1 "
             "million",
             law->d_max);
        if (law->coefficients[i].value < 0)
            NOTE(w,
                 "c is below 0, as if recovery raised the loss: D up to %.6g million tokens moves ln(1 + 1/(D+1)) by %.2g alone, little "
                 "beside a constant",
                 law->d_max, log(2) - log1p(1 / (law->d_max + 1)));
    }
}

static void about_broken(writer *w) {
    size_t broken = w->fit->excluded[PARE_LAW_BROKEN], beyond = w->fit->excluded[PARE_LAW_BEYOND];
    if (broken)
        NOTE(w,
             "%zu result%s above the loss of a uniform guess, ln V. Of each method everything from the smallest such ratio on is left out, "
             "%zu more: keeping only the models that survive there would flatter the method",
             broken, broken == 1 ? " is" : "s are", beyond);
}

static void about_copies(writer *w) {
    size_t copies = w->fit->excluded[PARE_LAW_COPY];
    if (copies)
        NOTE(w, "%zu exact cop%s of other results: each result counts once", copies, copies > 1 ? "ies" : "y");
}

static void about_errors(writer *w) {
    const pare_law *law = &w->fit->law;
    if (w->rows->n_models == 1)
        NOTE(w, "one model: errors and intervals are about its own noise, and say nothing of other models");
    if (law->errors == PARE_LAW_ERRORS_CR1)
        NOTE(w, "without one of the models the others do not determine the form: the clustered errors (CR1) are too small");
    if (law->errors != PARE_LAW_ERRORS_CLASSICAL && pare_law_interval_degrees(law) < 2)
        NOTE(w, "only %zu models: intervals rest on 1 degree of freedom", w->rows->n_models);
    if (isnan(w->fit->r2))
        NOTE(w, "the response does not vary: R2 and F are not defined");
    if (law->degrees < 3)
        NOTE(w, "only %g degree%s of freedom: the standard errors are unreliable", law->degrees, law->degrees > 1 ? "s" : "");
}

bool pare_fit_write_notes(pare_law_fit *fit, const pare_rows *rows, const pare_law_points *points, pare_arena *arena, pare_error *error) {
    writer w = {fit, rows, points, arena, error, true};
    about_copies(&w);
    about_gains(&w);
    about_broken(&w);
    about_l0(&w);
    about_spread_of_l0(&w);
    about_recovery(&w);
    if (fit->n_methods > 1 && fit->law.ratio == PARE_LAW_RATIO_NOMINAL)
        NOTE(&w, "%zu methods pooled on their nominal ratios, which may count different units", fit->n_methods);
    about_errors(&w);
    return w.done;
}
