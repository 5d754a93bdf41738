/* choice: the items of a task as requests to one model, and what their scores come to. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "task_impl.h"

/* ---- requests ---- */

static bool say_where(const pare_items *items, const pare_item *item, uint32_t k, pare_error *error) {
    pare_error why = {0};
    char choice[32] = "";
    if (!error)
        return false;
    why = *error;
    if (item->n > 1)
        snprintf(choice, sizeof choice, ", choice %u", k);
    return pare_fail(error, why.code, "%s: document %zu%s: %.600s (task %s)", items->path, item->index + 1, choice, why.message,
                     items->task->name);
}

/* Starts in one block of tokens that grows and so moves; the addresses are put in at the end. */
static bool encode_items(pare_choice *choice, const pare_request_rule *rule, size_t *starts, const pare_context *context,
                         pare_error *error) {
    const pare_items *items = choice->items;
    size_t r = 0;
    for (size_t i = 0; i < items->n; i++) {
        const pare_item *item = &items->items[i];
        if (i % 64 == 0 && !pare_context_check(context, error))
            return false;
        for (uint32_t k = 0; k < item->n; k++, r++) {
            bool cut = false;
            starts[r] = choice->tokens.n;
            if (!pare_request_encode(&choice->tokens, &choice->requests[r].n_context, &cut, rule, item->requests[k].context,
                                     item->requests[k].continuation, error))
                return say_where(items, item, k, error);
            choice->requests[r].n = (uint32_t)(choice->tokens.n - starts[r]);
            choice->n_cut += cut;
        }
        choice->ends[i] = r;
    }
    choice->n_tokens = choice->tokens.n;
    return true;
}

bool pare_choice_open(pare_choice *choice, const pare_items *items, const pare_request_rule *rule, const pare_context *context,
                      pare_error *error) {
    *choice = (pare_choice){.items = items, .arena = pare_arena_open(error)};
    size_t n = 0;
    for (size_t i = 0; i < items->n; i++)
        n += items->items[i].n;
    if (!choice->arena)
        return false;
    size_t *starts = PARE_PUSH(choice->arena, size_t, n, error);
    choice->requests = PARE_PUSH(choice->arena, pare_request, n, error);
    choice->scores = PARE_PUSH(choice->arena, pare_score, n, error);
    choice->ends = PARE_PUSH(choice->arena, size_t, items->n, error);
    choice->done = PARE_PUSH(choice->arena, bool, items->n, error);
    bool done =
        starts && choice->requests && choice->scores && choice->ends && choice->done && encode_items(choice, rule, starts, context, error);
    for (size_t r = 0; done && r < n; r++)
        choice->requests[r].ids = choice->tokens.ids + starts[r];
    if (!done)
        pare_choice_close(choice);
    return done;
}

void pare_choice_close(pare_choice *choice) {
    pare_tokens_free(&choice->tokens);
    pare_arena_close(choice->arena);
    *choice = (pare_choice){0};
}

/* ---- outcomes ---- */

/* The largest of log-likelihoods, each divided by its length; the first of equals. */
static uint32_t largest(const pare_score *scores, uint32_t n, const double *lengths) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        best = scores[i].log_likelihood / lengths[i] > scores[best].log_likelihood / lengths[best] ? i : best;
    return best;
}

pare_item_outcome pare_choice_outcome(const pare_choice *choice, size_t i) {
    enum { CHOICES_MAX = 64 };
    double ones[CHOICES_MAX], points[CHOICES_MAX], bytes[CHOICES_MAX];
    const pare_item *item = &choice->items->items[i];
    const pare_score *scores = choice->scores + (i ? choice->ends[i - 1] : 0);
    if (item->n == 1)
        return (pare_item_outcome){.acc = scores[0].greedy};
    for (uint32_t k = 0; k < item->n; k++) {
        pare_piece text = item->requests[k].choice;
        ones[k] = 1;
        points[k] = (double)pare_code_points(text.bytes, text.length);
        bytes[k] = (double)text.length;
    }
    uint32_t chosen = largest(scores, item->n, ones);
    return (pare_item_outcome){chosen, chosen == item->gold, largest(scores, item->n, points) == item->gold,
                               largest(scores, item->n, bytes) == item->gold};
}

/* ---- means ---- */

enum { ACC, ACC_NORM, ACC_BYTES, LOG_LIKELIHOOD, CHANCE, QUANTITIES };

/* Sums of one subset. */
typedef struct {
    double sum[QUANTITIES], squares[QUANTITIES];
    size_t n;
} sums;

static void add(sums *to, const pare_choice *choice, size_t i) {
    pare_item_outcome outcome = pare_choice_outcome(choice, i);
    const pare_item *item = &choice->items->items[i];
    const double values[QUANTITIES] = {outcome.acc, outcome.acc_norm, outcome.acc_bytes,
                                       choice->scores[i ? choice->ends[i - 1] : 0].log_likelihood, item->n > 1 ? 1.0 / item->n : 0};
    for (int q = 0; q < QUANTITIES; q++) {
        to->sum[q] += values[q];
        to->squares[q] += values[q] * values[q];
    }
    to->n++;
}

/* n (n - 1) times the squared standard error of a subset's mean: the sum of squares about it. */
static double about_mean(const sums *s, int q) {
    return fmax(0, s->squares[q] - s->sum[q] * s->sum[q] / (double)s->n);
}

/* The mean over all items, and its error by the variance pooled over subsets (n - k degrees of freedom). */
static pare_metric mean(const sums *subsets, size_t n_subsets, int q) {
    double sum = 0, about = 0, n = 0, k = 0;
    for (size_t i = 0; i < n_subsets; i++)
        if (subsets[i].n > 0) {
            sum += subsets[i].sum[q];
            about += about_mean(&subsets[i], q);
            n += (double)subsets[i].n;
            k++;
        }
    return (pare_metric){n > 0 ? sum / n : (double)NAN, n > k ? sqrt(about / (n - k) / n) : (double)NAN};
}

static pare_task_score summarise(const pare_task *task, const sums *subsets, size_t n_subsets) {
    const pare_metric none = {(double)NAN, (double)NAN};
    pare_task_score score = {0};
    for (size_t i = 0; i < n_subsets; i++)
        score.items += subsets[i].n;
    pare_metric target = mean(subsets, n_subsets, LOG_LIKELIHOOD);
    score.acc = task->metrics & PARE_METRIC_ACC ? mean(subsets, n_subsets, ACC) : none;
    score.acc_norm = task->metrics & PARE_METRIC_ACC_NORM ? mean(subsets, n_subsets, ACC_NORM) : none;
    score.acc_bytes = task->metrics & PARE_METRIC_ACC_BYTES ? mean(subsets, n_subsets, ACC_BYTES) : none;
    score.perplexity = task->metrics & PARE_METRIC_PERPLEXITY ? (pare_metric){exp(-target.value), exp(-target.value) * target.error} : none;
    score.chance = mean(subsets, n_subsets, CHANCE).value;
    return score;
}

static bool is_in(const task_group *group, const char *subset) {
    for (size_t i = 0; i < group->n_subsets; i++)
        if (strcmp(group->subsets[i], subset) == 0)
            return true;
    return false;
}

static bool summarise_groups(pare_choice_summary *summary, const pare_choice *choice, const sums *subsets, pare_error *error) {
    const pare_items *items = choice->items;
    const struct pare_task_inner *inner = items->task->inner;
    sums *chosen = PARE_PUSH(choice->arena, sums, items->n_subsets + 1, error);
    pare_named_score *groups = PARE_PUSH(choice->arena, pare_named_score, inner->n_groups + 1, error);
    for (size_t g = 0; chosen && groups && g < inner->n_groups; g++) {
        size_t n = 0;
        for (size_t i = 0; i < items->n_subsets; i++)
            if (is_in(&inner->groups[g], items->subsets[i]))
                chosen[n++] = subsets[i];
        if (n > 0)
            groups[summary->n_groups++] = (pare_named_score){inner->groups[g].name, summarise(items->task, chosen, n)};
    }
    summary->groups = groups;
    return chosen && groups;
}

bool pare_choice_summarise(pare_choice_summary *summary, const pare_choice *choice, pare_error *error) {
    const pare_items *items = choice->items;
    size_t n = items->n_subsets ? items->n_subsets : 1;
    sums *subsets = PARE_PUSH(choice->arena, sums, n, error);
    pare_named_score *named = PARE_PUSH(choice->arena, pare_named_score, n, error);
    if (!subsets || !named)
        return false;
    for (size_t i = 0; i < items->n; i++)
        add(&subsets[items->items[i].subset], choice, i);
    *summary = (pare_choice_summary){.all = summarise(items->task, subsets, n), .subsets = named, .n_subsets = items->n_subsets};
    for (size_t i = 0; i < items->n_subsets; i++)
        named[i] = (pare_named_score){items->subsets[i], summarise(items->task, &subsets[i], 1)};
    return summarise_groups(summary, choice, subsets, error);
}
