/* eval_against: see eval_against.h. */
#include "eval_against.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model.h"

bool against_open(against_session *s, const char *path, const common *shared, pare_error *error) {
    *s = (against_session){0};
    return !path || ((s->checkpoint = open_model(path, shared, error)) && (s->model = pare_model_open(s->checkpoint, NULL, error)));
}

void against_close(against_session *s) {
    tasks_close(&s->tasks);
    pare_model_close(s->model);
    pare_checkpoint_close(s->checkpoint);
}

/* The windows were made by the model's tokenizer: the dense model must read the same ids. */
static bool same_tokens(const against_session *s, const pare_model *model, pare_error *error) {
    const pare_tokenizer *a = pare_checkpoint_tokenizer(model->checkpoint, error), *b = pare_checkpoint_tokenizer(s->checkpoint, error);
    if (!a || !b)
        return false;
    size_t n = pare_tokenizer_size(a) < pare_tokenizer_size(b) ? pare_tokenizer_size(a) : pare_tokenizer_size(b);
    for (uint32_t id = 0; id < n; id++) {
        pare_piece x = pare_tokenizer_piece(a, id), y = pare_tokenizer_piece(b, id);
        if (x.length != y.length || memcmp(x.bytes, y.bytes, x.length) != 0)
            return pare_fail(
                error, PARE_ERROR_SHAPE,
                "--against %s: its tokenizer is another than the one of %s (token %u differs): only models of one tokenizer can be "
                "compared token by token",
                s->checkpoint->path, model->checkpoint->path, id);
    }
    return true;
}

bool against_text(against_session *s, const pare_model *model, const pare_eval_text *text, size_t windows, const common *shared,
                  pare_error *error) {
    if (!same_tokens(s, model, error))
        return false;
    if (pare_eval_against(&s->text, model, s->model, text, windows, &shared->context, error))
        return true;
    pare_checkpoint_blame(s->checkpoint, &shared->context, error);
    return false;
}

bool against_tasks(against_session *s, const task_options *given, const common *shared, pare_error *error) {
    task_options without = *given; /* what is kept on disk is the model's */
    without.items = without.resume = NULL;
    if (tasks_open(&s->tasks, &without, error) && tasks_run(&s->tasks, &without, s->model, shared, error))
        return true;
    pare_checkpoint_blame(s->checkpoint, &shared->context, error);
    return false;
}

static json_t *text_json(pare_json_doc *doc, const pare_eval_comparison *c) {
    json_t *percentiles = pare_json_object(doc);
    for (size_t i = 0; i < PARE_DIVERGENCE_SHARES; i++) {
        char name[16];
        snprintf(name, sizeof name, "%g", 100 * pare_divergence_shares[i]);
        pare_json_set(doc, percentiles, name, pare_json_number(doc, c->divergence_at[i]));
    }
    return pare_json_pack(doc, "{s:I, s:f, s:f, s:o, s:f, s:f, s:f, s:f, s:f, s:f}", "tokens", (json_int_t)c->tokens, "kl", c->divergence,
                          "kl_error", c->divergence_error, "kl_percentiles", percentiles, "top1_agreement", c->agreement,
                          "top1_agreement_error", c->agreement_error, "dense_cross_entropy", c->dense_cross_entropy, "difference",
                          c->difference, "difference_error", c->difference_error, "difference_window_error", c->difference_window_error);
}

/* The metrics that are compared, of those that a task has. */
static const struct {
    unsigned metric;
    const char *name;
} metrics[] = {{PARE_METRIC_ACC, "acc"}, {PARE_METRIC_ACC_NORM, "acc_norm"}};

static json_t *tasks_pairs(pare_json_doc *doc, const task_session *mine, const task_session *dense) {
    json_t *out = pare_json_object(doc);
    for (size_t i = 0; i < mine->n; i++) {
        json_t *task = pare_json_object(doc);
        for (size_t m = 0; m < sizeof metrics / sizeof *metrics; m++) {
            if (!(mine->tasks[i]->metrics & metrics[m].metric))
                continue;
            pare_paired p = pare_choice_paired(&mine->choices[i], &dense->choices[i], metrics[m].metric);
            pare_json_set(doc, task, metrics[m].name,
                          pare_json_pack(doc, "{s:f, s:f, s:I, s:I, s:f}", "difference", p.difference, "difference_error", p.error,
                                         "only_model", (json_int_t)p.only_model, "only_dense", (json_int_t)p.only_dense, "mcnemar_p",
                                         p.mcnemar));
        }
        pare_json_set(doc, out, mine->tasks[i]->name, task);
    }
    return out;
}

json_t *against_json(pare_json_doc *doc, const against_session *s, bool has_text, const task_session *mine) {
    json_t *out = has_text ? text_json(doc, &s->text) : pare_json_object(doc);
    pare_json_set(doc, out, "dense", pare_json_string(doc, s->checkpoint->path));
    if (mine)
        pare_json_set(doc, out, "tasks", tasks_pairs(doc, mine, &s->tasks));
    return out;
}

static void print_text(const against_session *s) {
    const pare_eval_comparison *c = &s->text;
    printf("against %s, on the same %s tokens:\n", s->checkpoint->path, human_count(c->tokens));
    printf("  loss minus the dense loss %+.6f +/- %.6f nats per token (paired; the dense model has %.6f)\n", c->difference,
           c->difference_error, c->dense_cross_entropy);
    if (isfinite(c->difference_window_error))
        printf("  standard error of the same difference over windows %.6f\n", c->difference_window_error);
    printf("  KL divergence from the dense model: mean %.6f +/- %.6f", c->divergence, c->divergence_error);
    for (size_t i = 0; i < PARE_DIVERGENCE_SHARES; i++)
        if (pare_divergence_shares[i] >= 0.5)
            printf(", %g %% %.6f", 100 * pare_divergence_shares[i], c->divergence_at[i]);
    printf("\n  the same likeliest next token: %.3f +/- %.3f %%\n", 100 * c->agreement, 100 * c->agreement_error);
}

static void print_tasks(const against_session *s, const task_session *mine) {
    printf("against %s, on the same documents (paired):\n", s->checkpoint->path);
    for (size_t i = 0; i < mine->n; i++)
        for (size_t m = 0; m < sizeof metrics / sizeof *metrics; m++) {
            if (!(mine->tasks[i]->metrics & metrics[m].metric))
                continue;
            pare_paired p = pare_choice_paired(&mine->choices[i], &s->tasks.choices[i], metrics[m].metric);
            printf("  %-16s %-8s %+.2f +/- %.2f points; right in the model alone %zu, in the dense one alone %zu of %zu; McNemar p %.3g\n",
                   mine->tasks[i]->name, metrics[m].name, 100 * p.difference, 100 * p.error, p.only_model, p.only_dense, p.items,
                   p.mcnemar);
        }
}

void against_print(const against_session *s, bool has_text, const task_session *mine) {
    if (has_text)
        print_text(s);
    if (mine)
        print_tasks(s, mine);
}
