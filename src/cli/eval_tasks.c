/* eval_tasks: pare eval --tasks: tasks and documents first, then the model, then every score; items and state beside them. */
#include "eval_tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "destination.h"

/* ---- before the model ---- */

static bool open_task(task_session *s, const char *name, const task_options *given, pare_error *error) {
    pare_task *task = s->tasks[s->n] = pare_task_open(name, given->data, error);
    const pare_items_options options = {given->limit, given->fewshot};
    if (!task)
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->tasks[i]->name, task->name) == 0) {
            pare_fail(error, PARE_ERROR_USAGE, "--tasks: %s is given twice", task->name);
            pare_task_close(task);
            return false;
        }
    if (!pare_items_open(&s->items[s->n], task, given->data, &options, error)) {
        pare_task_close(task);
        return false;
    }
    s->n++;
    return true;
}

static bool open_list(task_session *s, const task_options *given, pare_error *error) {
    size_t n = 1;
    for (const char *at = given->names; *at; at++)
        n += *at == ',';
    s->tasks = PARE_PUSH(s->arena, pare_task *, n, error);
    s->items = PARE_PUSH(s->arena, pare_items, n, error);
    s->choices = PARE_PUSH(s->arena, pare_choice, n, error);
    s->summaries = PARE_PUSH(s->arena, pare_choice_summary, n, error);
    bool done = s->tasks && s->items && s->choices && s->summaries;
    for (const char *at = given->names; done && at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char *name = pare_arena_copy(s->arena, at, strcspn(at, ","), error);
        done = name && open_task(s, name, given, error);
    }
    return done;
}

static void reads_tasks(const task_session *s) {
    for (size_t i = 0; i < s->n; i++) {
        reads(s->tasks[i]->path);
        reads(s->items[i].path);
        reads(s->items[i].labels_path);
        reads(s->items[i].examples_path);
    }
}

/* Hours of scoring must not end at a folder that is not there, nor at a file that may not be replaced. The state goes at the end, so that
 * it may be no file of anything else. */
static bool check_outputs(task_session *s, const task_options *given, pare_error *error) {
    if (!given->items && !given->resume)
        return true;
    s->state = given->resume ? given->resume : pare_arena_format(s->arena, error, "%s.state", given->items);
    if (!s->state)
        return false;
    if (!*s->state)
        return pare_fail(error, PARE_ERROR_USAGE, "--resume: the file has an empty name");
    if (given->items && is_same_place(s->state, given->items))
        return pare_fail(error, PARE_ERROR_USAGE, "--items %s and --resume %s are one file; name two", given->items, s->state);
    reads_tasks(s);
    return destination_spares_inputs(s->state, error) &&
           (!given->items || destination_check(&s->replace, given->items, &destination_items, given->force, error));
}

bool tasks_open(task_session *s, const task_options *given, pare_error *error) {
    *s = (task_session){0};
    if (!given->names && (given->items || given->resume || given->data))
        return pare_fail(error, PARE_ERROR_USAGE, "--data, --items and --resume go with --tasks");
    if (!given->names)
        return true;
    if (!given->data)
        return pare_fail(error, PARE_ERROR_USAGE,
                         "--data DIR is missing: the folder that holds the tasks' documents (pare tasks says which)");
    if (!pare_path_is_folder(given->data))
        return pare_fail(error, PARE_ERROR_USAGE, "--data %s: is no folder", given->data);
    if (!pare_bos_rule_parse(&s->bos, given->bos, error) || !(s->arena = pare_arena_open(error)))
        return false;
    return open_list(s, given, error) && check_outputs(s, given, error);
}

void tasks_close(task_session *s) {
    for (size_t i = 0; i < s->n_choices; i++)
        pare_choice_close(&s->choices[i]);
    for (size_t i = 0; i < s->n; i++) {
        pare_items_close(&s->items[i]);
        pare_task_close(s->tasks[i]);
    }
    pare_arena_close(s->arena);
}

/* ---- items ---- */

static void push_item(pare_string *out, const pare_choice *choice, size_t i) {
    const pare_items *items = choice->items;
    const pare_item *item = &items->items[i];
    const pare_score *scores = choice->scores + (i ? choice->ends[i - 1] : 0);
    pare_item_outcome outcome = pare_choice_outcome(choice, i);
    pare_string_print(out, "{\"task\": \"%s\", \"index\": %zu, \"gold\": %u, \"loglikelihoods\": [", items->task->name, item->index,
                      item->gold);
    for (uint32_t k = 0; k < item->n; k++) {
        pare_string_print(out, "%s", k ? ", " : "");
        pare_string_number(out, scores[k].log_likelihood);
    }
    pare_string_print(out, "], \"is_greedy\": [");
    for (uint32_t k = 0; k < item->n; k++)
        pare_string_print(out, "%s%s", k ? ", " : "", scores[k].greedy ? "true" : "false");
    pare_string_print(out, "], \"acc\": %d.0", outcome.acc);
    const char *norm = items->task->metrics & PARE_METRIC_ACC_NORM ? (outcome.acc_norm ? "1.0" : "0.0") : "null";
    const char *bytes = items->task->metrics & PARE_METRIC_ACC_BYTES ? (outcome.acc_bytes ? "1.0" : "0.0") : "null";
    pare_string_print(out, ", \"acc_norm\": %s, \"acc_bytes\": %s}\n", norm, bytes);
}

static bool write_items(const task_session *s, const char *path, pare_error *error) {
    pare_string text = {0};
    for (size_t c = 0; c < s->n; c++)
        for (size_t i = 0; i < s->items[c].n; i++)
            push_item(&text, &s->choices[c], i);
    bool done = pare_string_check(&text, error) && pare_file_write(path, text.data, text.length, s->replace, error);
    pare_string_free(&text);
    return done;
}

/* ---- scoring ---- */

/* What the scores depend on besides the tasks. */
static bool bind(char *out, size_t n, const task_session *s, const pare_model *model, const common *shared, pare_error *error) {
    pare_sha256 hash;
    if (!pare_checkpoint_hash(&hash, model->checkpoint, &shared->context, error))
        return false;
    snprintf(out, n, "model %.16s, BOS %s, kernels %s, pare %s", hash.hex, pare_bos_rule_name(s->bos), pare_kernels_best()->name,
             PARE_VERSION);
    return true;
}

static bool open_state(pare_choice_state **state, task_session *s, const pare_model *model, const common *shared, pare_error *error) {
    char binding[256];
    if (!s->state)
        return true;
    if (!bind(binding, sizeof binding, s, model, shared, error) ||
        !(*state = pare_choice_state_open(s->state, binding, s->choices, s->n, error)))
        return false;
    s->resumed = pare_choice_state_resumed(*state);
    if (s->resumed)
        say(shared, "%s: %s items are scored already", s->state, human_count(s->resumed));
    return true;
}

static bool prepare(task_session *s, const pare_model *model, const common *shared, pare_error *error) {
    if (!pare_request_rule_open(&s->rule, model->checkpoint, s->bos, error))
        return false;
    for (; s->n_choices < s->n; s->n_choices++) {
        pare_choice *choice = &s->choices[s->n_choices];
        if (!pare_choice_open(choice, &s->items[s->n_choices], &s->rule, &shared->context, error))
            return false;
        if (choice->n_cut)
            say(shared, "%s: %zu contexts are longer than the model's %u positions; their last tokens are kept", choice->items->task->name,
                choice->n_cut, s->rule.max_positions);
    }
    return true;
}

static void say_how_to_go_on(const task_options *given, pare_error *error) {
    if (error->code != PARE_ERROR_CANCELLED)
        return;
    if (given->resume || given->items)
        pare_fail(error, PARE_ERROR_CANCELLED, "interrupted; the same command goes on where it stopped");
    else
        pare_fail(error, PARE_ERROR_CANCELLED, "interrupted; with --items or --resume a run goes on where it stopped");
}

bool tasks_run(task_session *s, const task_options *given, const pare_model *model, const common *shared, pare_error *error) {
    pare_choice_state *state = NULL;
    double begin = pare_clock_s();
    bool done = prepare(s, model, shared, error) && open_state(&state, s, model, shared, error) &&
                pare_choice_run(s->choices, s->n, model, state, &shared->context, error);
    s->seconds = pare_clock_s() - begin;
    if (!done)
        say_how_to_go_on(given, error);
    for (size_t i = 0; done && i < s->n; i++)
        done = pare_choice_summarise(&s->summaries[i], &s->choices[i], error);
    done = done && (!given->items || write_items(s, given->items, error));
    pare_choice_state_close(state, done);
    return done;
}

/* ---- results ---- */

/* Means over tasks; a task without acc_norm or acc_bytes goes in by its acc, as in papers' tables. */
typedef struct {
    pare_metric acc, acc_norm, acc_bytes, reported;
    double chance;
} task_means;

static void add_mean(pare_metric *to, pare_metric value, pare_metric otherwise, double n) {
    pare_metric taken = isnan(value.value) ? otherwise : value;
    to->value += taken.value / n;
    to->error += taken.error * taken.error / (n * n);
}

static pare_metric reported(const pare_task *task, const pare_task_score *score) {
    return task->reported == PARE_METRIC_ACC_NORM    ? score->acc_norm
           : task->reported == PARE_METRIC_ACC_BYTES ? score->acc_bytes
                                                     : score->acc;
}

static task_means means_of(const task_session *s) {
    task_means m = {0};
    double n = (double)s->n;
    for (size_t i = 0; i < s->n; i++) {
        const pare_task_score *score = &s->summaries[i].all;
        add_mean(&m.acc, score->acc, score->acc, n);
        add_mean(&m.acc_norm, score->acc_norm, score->acc, n);
        add_mean(&m.acc_bytes, score->acc_bytes, score->acc, n);
        add_mean(&m.reported, reported(s->tasks[i], score), score->acc, n);
        m.chance += score->chance / n;
    }
    pare_metric *const all[] = {&m.acc, &m.acc_norm, &m.acc_bytes, &m.reported};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        all[i]->error = sqrt(all[i]->error);
    return m;
}

static void put_metric(pare_json_doc *doc, json_t *to, const char *name, pare_metric metric) {
    char with_error[64];
    snprintf(with_error, sizeof with_error, "%s_stderr", name);
    pare_json_set(doc, to, name, pare_json_number(doc, metric.value));
    pare_json_set(doc, to, with_error, pare_json_number(doc, metric.error));
}

static json_t *score_json(pare_json_doc *doc, const pare_task *task, const pare_task_score *score) {
    json_t *json = pare_json_pack(doc, "{s:I}", "items", (json_int_t)score->items);
    put_metric(doc, json, "acc", score->acc);
    put_metric(doc, json, "acc_norm", score->acc_norm);
    put_metric(doc, json, "acc_bytes", score->acc_bytes);
    if (task->metrics & PARE_METRIC_PERPLEXITY)
        put_metric(doc, json, "perplexity", score->perplexity);
    pare_json_set(doc, json, "chance", pare_json_number(doc, score->chance));
    return json;
}

static json_t *named_json(pare_json_doc *doc, const pare_task *task, const pare_named_score *scores, size_t n) {
    json_t *json = pare_json_object(doc);
    for (size_t i = 0; i < n; i++)
        pare_json_set(doc, json, scores[i].name, score_json(doc, task, &scores[i].score));
    return json;
}

static const char *metric_name(unsigned bit) {
    return bit == PARE_METRIC_ACC_NORM ? "acc_norm" : bit == PARE_METRIC_ACC_BYTES ? "acc_bytes" : "acc";
}

static json_t *task_json(pare_json_doc *doc, const task_session *s, size_t i) {
    const pare_task *task = s->tasks[i];
    const pare_choice_summary *summary = &s->summaries[i];
    json_t *json = score_json(doc, task, &summary->all);
    pare_json_set(doc, json, "reported", pare_json_string(doc, metric_name(task->reported)));
    pare_json_set(doc, json, "contexts_cut", pare_json_integer(doc, (int64_t)s->choices[i].n_cut));
    pare_json_set(doc, json, "tokens", pare_json_integer(doc, (int64_t)s->choices[i].n_tokens));
    pare_json_set(doc, json, "data", pare_json_string(doc, s->items[i].path));
    pare_json_set(doc, json, "data_sha256", pare_json_string(doc, s->items[i].data_sha256.hex));
    pare_json_set(doc, json, "task_sha256", pare_json_string(doc, task->sha256.hex));
    if (summary->n_groups)
        pare_json_set(doc, json, "groups", named_json(doc, task, summary->groups, summary->n_groups));
    if (summary->n_subsets)
        pare_json_set(doc, json, "subsets", named_json(doc, task, summary->subsets, summary->n_subsets));
    return json;
}

static size_t count_items(const task_session *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += s->items[i].n;
    return n;
}

json_t *tasks_json(pare_json_doc *doc, const task_session *s, const task_options *given) {
    task_means m = means_of(s);
    json_t *tasks = pare_json_object(doc), *mean = pare_json_object(doc);
    for (size_t i = 0; i < s->n; i++)
        pare_json_set(doc, tasks, s->tasks[i]->name, task_json(doc, s, i));
    put_metric(doc, mean, "acc", m.acc);
    put_metric(doc, mean, "acc_norm", m.acc_norm);
    put_metric(doc, mean, "acc_bytes", m.acc_bytes);
    put_metric(doc, mean, "reported", m.reported);
    pare_json_set(doc, mean, "chance", pare_json_number(doc, m.chance));
    return pare_json_pack(doc, "{s:o, s:o, s:o?, s:s, s:i, s:I, s:f, s:o}", "tasks", tasks, "mean", mean, "limit",
                          given->limit ? pare_json_integer(doc, given->limit) : NULL, "bos_rule", pare_bos_rule_name(s->bos), "fewshot",
                          (int)given->fewshot, "items_resumed", (json_int_t)s->resumed, "tasks_seconds", s->seconds, "items_per_s",
                          pare_json_number(doc, (double)(count_items(s) - s->resumed) / s->seconds));
}

static void print_metric(pare_metric metric) {
    char text[32] = "-";
    if (!isnan(metric.value) && isnan(metric.error))
        snprintf(text, sizeof text, "%.4f", metric.value);
    else if (!isnan(metric.value))
        snprintf(text, sizeof text, "%.4f +/- %.4f", metric.value, metric.error);
    printf("  %-17s", text);
}

static void print_row(const char *name, const pare_task_score *score) {
    printf("%-22s %7s", name, human_count(score->items));
    print_metric(score->acc);
    print_metric(score->acc_norm);
    print_metric(score->acc_bytes);
    printf("  %.4f\n", score->chance);
}

void tasks_print(const task_session *s, const task_options *given) {
    task_means m = means_of(s);
    printf("%-22s %7s  %-17s  %-17s  %-17s  %s\n", "task", "items", "acc", "acc_norm", "acc_bytes", "chance");
    for (size_t i = 0; i < s->n; i++) {
        const pare_choice_summary *summary = &s->summaries[i];
        char name[128];
        print_row(s->tasks[i]->name, &summary->all);
        for (size_t g = 0; g < summary->n_groups; g++) {
            snprintf(name, sizeof name, "  %s", summary->groups[g].name);
            print_row(name, &summary->groups[g].score);
        }
        if (!isnan(summary->all.perplexity.value))
            printf("  perplexity of a target %.4f +/- %.4f\n", summary->all.perplexity.value, summary->all.perplexity.error);
    }
    if (s->n > 1)
        print_row("mean", &(pare_task_score){
                              .items = count_items(s), .acc = m.acc, .acc_norm = m.acc_norm, .acc_bytes = m.acc_bytes, .chance = m.chance});
    printf("%zu items in %.1f s, %.2f items/s; BOS: %s; %u examples before each document%s\n", count_items(s) - s->resumed, s->seconds,
           (double)(count_items(s) - s->resumed) / s->seconds, pare_bos_rule_name(s->bos), given->fewshot,
           given->limit ? "; --limit is in force" : "");
}
