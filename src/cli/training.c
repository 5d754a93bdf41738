/* training: from options to a run and its result; see training.h. */
#include "training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

training_options training_defaults(void) {
    pare_tune_options d = pare_tune_defaults();
    return (training_options){.schedule = pare_schedule_name(d.schedule),
                              .order = "shuffled",
                              .length = (uint32_t)d.length,
                              .batch = (uint32_t)d.batch,
                              .warmup = NOT_GIVEN,
                              .steps = NOT_GIVEN,
                              .epochs = 1,
                              .eval_windows = 16,
                              .rate = d.rate,
                              .decay = d.decay,
                              .clip = d.clip,
                              .beta1 = d.beta1,
                              .beta2 = d.beta2};
}

training_table training_rows(training_options *g) {
    training_table table;
    const option all[] = {
        {"data", 0, OPTION_LIST, "FILE", "text to train on, or several: plain (also gzip, bzip2) or JSON rows", &g->data},
        {"tokens", 'n', OPTION_STRING, "N", "number of tokens to train on: 500000, 0.5M, 1G (default: the data once)", &g->tokens},
        {"steps", 0, OPTION_COUNT, "N", "number of optimiser steps, instead of --tokens", &g->steps},
        {"epochs", 0, OPTION_COUNT, "N", "largest number of passes over the data (1)", &g->epochs},
        {"seq", 0, OPTION_COUNT, "N", "tokens in one window (512)", &g->length},
        {"batch", 0, OPTION_COUNT, "N", "windows in one optimiser step (4)", &g->batch},
        {"micro", 0, OPTION_COUNT, "N", "windows that are computed at once (default: about 2,048 tokens)", &g->micro},
        {"lr", 0, OPTION_NUMBER, "X", "peak learning rate (2e-4; pare train: 3e-3)", &g->rate},
        {"schedule", 0, OPTION_STRING, "S", "learning rate after the warm-up: constant, linear or cosine (linear; pare train: cosine)",
         &g->schedule},
        {"warmup", 0, OPTION_COUNT, "N", "warm-up steps, in which the learning rate rises (a tenth of all steps, at most 400)", &g->warmup},
        {"weight-decay", 0, OPTION_NUMBER, "X", "weight decay of matrices (0.01; pare train: 0.1)", &g->decay},
        {"clip", 0, OPTION_NUMBER, "X", "gradient clipping: maximum norm; 0 switches it off (1)", &g->clip},
        {"beta1", 0, OPTION_NUMBER, "X", "beta1 of AdamW (0.9)", &g->beta1},
        {"beta2", 0, OPTION_NUMBER, "X", "beta2 of AdamW (0.95)", &g->beta2},
        {"order", 0, OPTION_STRING, "O", "order of the windows: shuffled (default), or given (as in the text)", &g->order},
        {"seed", 's', OPTION_SEED, "S", "seed of the order and of new weights (0)", &g->seed},
        {"held-out", 0, OPTION_NUMBER, "X", "share of the documents that is not trained on; the loss is evaluated on it", &g->held_out},
        {"eval", 0, OPTION_LIST, "FILE", "another text, or several, to evaluate the loss on", &g->eval},
        {"eval-protocol", 0, OPTION_STRING, "P", "protocol of --eval: joined2048, gguf512, … (default: joined, in windows of --seq tokens)",
         &g->eval_protocol},
        {"eval-windows", 0, OPTION_COUNT, "N", "evaluate the first N windows only (16); 0: all", &g->eval_windows},
        {"eval-every", 0, OPTION_COUNT, "N", "steps between two evaluations (default: at the start and at the end)", &g->eval_every},
        {"cache", 0, OPTION_STRING, "DIR", "folder for the tokenised data, which is then mapped: for texts larger than memory", &g->cache},
        {"checkpoint", 0, OPTION_FLAG, NULL, "gradient checkpointing: keep only the input of each layer. Less memory, a third more work",
         &g->recompute},
        {"save-every", 0, OPTION_COUNT, "N", "write the state of the training to OUT.state every N steps", &g->save_every},
        {"resume", 0, OPTION_FLAG, NULL, "continue from OUT.state; the result has the same bits as without the stop", &g->resume},
        {"type", 0, OPTION_STRING, "T",
         "number type of the output: f32, bf16, f16 (default: that of the model; bf16 for a quantised model and for pare train)", &g->type},
        {"output", 'o', OPTION_STRING, "OUT", "the Hugging Face folder to write", &g->out},
        OPTION_FORCE('f', &g->force),
        {0},
    };
    _Static_assert(sizeof all == sizeof table, "TRAINING_ROWS is the number of options here");
    memcpy(&table, all, sizeof table);
    return table;
}

/* ---- how many steps ---- */

static bool count_steps(training *t, pare_error *error) {
    const training_options *g = t->given;
    pare_tune_options *o = &t->tune;
    const pare_dataset_part *part = &pare_dataset_facts_of(t->dataset)->training;
    uint64_t tokens = 0, most = part->windows * g->epochs / o->batch, per_step = o->batch * o->length;
    bool steps = g->steps != NOT_GIVEN;
    if (g->tokens && steps)
        return pare_fail(error, PARE_ERROR_USAGE, "--tokens and --steps say the same; give one of them");
    if (g->tokens && !pare_count_parse(&tokens, g->tokens))
        return pare_fail(error, PARE_ERROR_USAGE, "--tokens \"%s\": a number of tokens like 500000, 0.5M or 1G", g->tokens);
    o->steps = steps ? g->steps : g->tokens ? (tokens + per_step - 1) / per_step : most;
    if (o->steps == 0 || o->steps > most)
        return pare_fail(
            error, PARE_ERROR_RANGE,
            "the data have %s tokens in %s whole windows of %zu, enough for %s steps of %zu in %u epoch%s; %s steps were asked "
            "for%s",
            human_count(part->tokens), human_count(part->windows), o->length, human_count(most), o->batch, g->epochs,
            g->epochs == 1 ? "" : "s", o->steps ? human_count(o->steps) : "no", o->steps ? " (--epochs allows repeats)" : "");
    o->warmup = g->warmup != NOT_GIVEN ? g->warmup : pare_tune_warmup(o->steps);
    return true;
}

/* ---- opening ---- */

static bool open_data(training *t, const pare_tokenizer *tokenizer, int64_t separator, pare_error *error) {
    const training_options *g = t->given;
    if (g->data.n == 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--data FILE is missing: a text to learn from");
    if (!check_share("held-out", g->held_out, error))
        return false;
    if (strcmp(g->order, "shuffled") != 0 && strcmp(g->order, "given") != 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--order \"%s\": it is shuffled or given", g->order);
    pare_dataset_options o = {.paths = g->data.items,
                              .n_paths = g->data.n,
                              .length = t->tune.length,
                              .held_out = g->held_out,
                              .seed = g->seed,
                              .separator = separator,
                              .order = g->order[0] == 'g' ? PARE_ORDER_GIVEN : PARE_ORDER_SHUFFLED,
                              .cache = g->cache};
    if (!(t->dataset = pare_dataset_open(&o, tokenizer, &t->shared->context, error)))
        return false;
    if (*pare_dataset_facts_of(t->dataset)->remark)
        say(t->shared, "%s", pare_dataset_facts_of(t->dataset)->remark);
    return true;
}

/* The held-out windows of the dataset as a text to evaluate. */
static bool open_held_out(training *t, const pare_protocol *protocol, pare_error *error) {
    const pare_dataset_facts *facts = pare_dataset_facts_of(t->dataset);
    size_t n = (size_t)facts->held_out.windows, length = facts->length;
    pare_eval_text *text = &t->texts[t->n_texts];
    pare_windows *windows = &text->windows;
    text->protocol = *protocol;
    size_t wanted = t->given->eval_windows && t->given->eval_windows < n ? t->given->eval_windows : n;
    if (n == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "%s tokens are held out, less than one window of %zu",
                         human_count(facts->held_out.tokens), length);
    *windows = (pare_windows){.ids = pare_allocate(wanted * length, sizeof *windows->ids, error), .n = wanted, .length = length};
    uint8_t *learn = windows->ids ? pare_allocate(length, 1, error) : NULL;
    bool done = learn != NULL;
    for (size_t i = 0; done && i < windows->n; i++)
        done = pare_dataset_held_out_window(windows->ids + i * length, learn, t->dataset, i, error);
    pare_free(learn);
    t->n_texts++;
    return done;
}

static bool open_evaluation(training *t, const pare_tokenizer *tokenizer, pare_error *error) {
    const training_options *g = t->given;
    char name[32];
    pare_protocol slices, protocol; /* of the data's own windows; of other texts */
    snprintf(name, sizeof name, "joined%zu", t->tune.length);
    if (!pare_protocol_parse(&slices, name, error) || !pare_protocol_parse(&protocol, g->eval_protocol ? g->eval_protocol : name, error))
        return false;
    t->eval_windows = g->eval_windows;
    if (g->eval.n >= TRAINING_TEXTS_MAX)
        return pare_fail(error, PARE_ERROR_USAGE, "--eval names %zu texts; at most %d", g->eval.n, TRAINING_TEXTS_MAX - 1);
    for (; t->n_texts < g->eval.n; t->n_texts++) {
        t->names[t->n_texts] = g->eval.items[t->n_texts];
        if (!pare_eval_text_open(&t->texts[t->n_texts], &protocol, t->names[t->n_texts], tokenizer, &t->shared->context, error))
            return false;
    }
    return g->held_out == 0 || open_held_out(t, &slices, error);
}

bool training_open(training *t, const training_options *given, const common *shared, const pare_tune_options *tune,
                   const pare_tokenizer *tokenizer, int64_t separator, pare_error *error) {
    *t = (training){.given = given, .shared = shared, .tune = *tune, .begin = pare_clock_s()};
    pare_tune_options *o = &t->tune;
    if (!given->out)
        return pare_fail(error, PARE_ERROR_USAGE, "-o OUT is missing: the folder to write");
    if (!check_folder_name(given->out, error))
        return false;
    pare_string_print(&t->state, "%s.state", given->out);
    if (!pare_string_check(&t->state, error) || !training_check_outputs(t, error))
        return false;
    if (!pare_schedule_find(&o->schedule, given->schedule, error))
        return false;
    o->length = given->length;
    o->batch = given->batch;
    o->micro = given->micro;
    o->rate = given->rate;
    o->decay = given->decay;
    o->clip = given->clip;
    o->beta1 = given->beta1;
    o->beta2 = given->beta2;
    o->seed = given->seed;
    o->recompute = given->recompute;
    if (o->length < 2 || o->batch < 1)
        return pare_fail(error, PARE_ERROR_USAGE, "--seq %zu --batch %zu: at least 2 and 1", o->length, o->batch);
    return open_data(t, tokenizer, separator, error) && count_steps(t, error) && open_evaluation(t, tokenizer, error);
}

void training_close(training *t) {
    pare_tune_result_free(&t->result);
    for (size_t i = 0; i < t->n_texts; i++)
        if (t->names[i])
            pare_eval_text_close(&t->texts[i]);
        else
            pare_windows_free(&t->texts[i].windows);
    pare_dataset_close(t->dataset);
    pare_string_free(&t->state);
    pare_string_free(&t->texts_told);
}

bool training_type(pare_dtype *type, const training *t, pare_dtype otherwise, pare_error *error) {
    *type = otherwise;
    if (!t->given->type)
        return true;
    if (pare_dtype_find(type, t->given->type) && !pare_dtype_info(*type)->quantised)
        return true;
    return pare_fail(error, PARE_ERROR_USAGE, "--type %s: pare writes f32, bf16 and f16", t->given->type);
}

/* ---- running ---- */

/* Held-out loss of the model as it is. */
static bool evaluate(void *user, double *cross_entropy, size_t text, const pare_model *model, pare_error *error) {
    const training *t = user;
    pare_eval_result result;
    if (!pare_eval_run(&result, model, &t->texts[text], t->eval_windows, NULL, &t->shared->context, error))
        return false;
    *cross_entropy = result.cross_entropy;
    return true;
}

/* Which texts are followed, and how: what a resumed training must not change. */
static bool name_texts(training *t, pare_error *error) {
    for (size_t i = 0; i < t->n_texts; i++)
        pare_string_print(&t->texts_told, "%s%s %s", i ? ", " : "", t->names[i] ? t->texts[i].data_sha256.hex : "held out",
                          t->texts[i].protocol.name);
    pare_string_print(&t->texts_told, "; %zu windows", t->eval_windows);
    return pare_string_check(&t->texts_told, error);
}

bool training_run(training *t, pare_tuner *tuner, pare_error *error) {
    if (!name_texts(t, error))
        return false;
    pare_tune_run_options run = {.state = t->state.data,
                                 .resume = t->given->resume,
                                 .only_finished = t->model.there || t->adapter.there,
                                 .save_every = t->given->save_every,
                                 .evaluate_every = t->given->eval_every,
                                 .n_texts = t->n_texts,
                                 .texts = t->n_texts ? t->texts_told.data : NULL,
                                 .evaluate = evaluate,
                                 .user = t};
    if (!run.resume && pare_path_exists(run.state))
        return pare_fail(error, PARE_ERROR_CONFLICT,
                         "%s is the state of a training that was stopped: --resume continues that training, or remove the file", run.state);
    return pare_tune_run(&t->result, tuner, t->dataset, &run, &t->shared->context, error);
}

/* ---- result ---- */

static json_t *losses_json(pare_json_doc *doc, const pare_tune_result *r) {
    json_t *list = pare_json_array(doc);
    for (uint64_t i = 0; i < r->steps; i++)
        pare_json_append(doc, list, pare_json_number(doc, (double)r->losses[i]));
    return list;
}

static json_t *evaluations_json(pare_json_doc *doc, const training *t) {
    json_t *list = pare_json_array(doc);
    for (size_t i = 0; i < t->result.n_evaluations; i++) {
        const pare_tune_evaluation *e = &t->result.evaluations[i];
        size_t there = t->texts[e->text].windows.n, windows = t->eval_windows && t->eval_windows < there ? t->eval_windows : there;
        pare_json_append(doc, list,
                         pare_json_pack(doc, "{s:I, s:I, s:f, s:s?, s:s, s:I}", "step", (json_int_t)e->step, "tokens",
                                        (json_int_t)e->tokens, "cross_entropy", e->cross_entropy, "text", t->names[e->text], "protocol",
                                        t->texts[e->text].protocol.name, "windows", (json_int_t)windows));
    }
    return list;
}

static json_t *data_json(pare_json_doc *doc, const training *t) {
    const pare_dataset_facts *f = pare_dataset_facts_of(t->dataset);
    json_t *files = pare_json_array(doc);
    for (size_t i = 0; i < t->given->data.n; i++)
        pare_json_append(doc, files, pare_json_string(doc, t->given->data.items[i]));
    return pare_json_pack(doc, "{s:o, s:I, s:I, s:I, s:I, s:s, s:f, s:s}", "files", files, "documents", (json_int_t)f->training.documents,
                          "tokens", (json_int_t)f->training.tokens, "windows", (json_int_t)f->training.windows, "bytes",
                          (json_int_t)f->bytes, "sha256", f->sha256.hex, "held_out", t->given->held_out, "order", t->given->order);
}

static json_t *settings_json(pare_json_doc *doc, const pare_tune_options *o) {
    return pare_json_pack(doc, "{s:I, s:I, s:I, s:f, s:s, s:I, s:f, s:f, s:f, s:f, s:b, s:I}", "steps", (json_int_t)o->steps, "seq",
                          (json_int_t)o->length, "batch", (json_int_t)o->batch, "lr", o->rate, "schedule", pare_schedule_name(o->schedule),
                          "warmup", (json_int_t)o->warmup, "weight_decay", o->decay, "clip", o->clip, "beta1", o->beta1, "beta2", o->beta2,
                          "checkpoint", o->recompute, "seed", (json_int_t)o->seed);
}

json_t *training_json(pare_json_doc *doc, const training *t, const pare_tuner *tuner, const json_t *more) {
    const pare_tune_result *r = &t->result;
    json_t *json = pare_json_pack(doc, "{s:s}", "version", PARE_VERSION);
    pare_json_update(doc, json, more);
    pare_json_set(doc, json, "trainable", pare_json_integer(doc, (json_int_t)pare_tuner_trainable(tuner)));
    pare_json_set(doc, json, "tokens", pare_json_integer(doc, (json_int_t)r->tokens));
    pare_json_set(doc, json, "targets", pare_json_integer(doc, (json_int_t)r->targets));
    pare_json_set(doc, json, "epochs", pare_json_integer(doc, (json_int_t)r->epochs));
    pare_json_set(doc, json, "settings", settings_json(doc, &t->tune));
    pare_json_set(doc, json, "data", data_json(doc, t));
    pare_json_set(doc, json, "evaluations", evaluations_json(doc, t));
    pare_json_set(doc, json, "losses", losses_json(doc, r));
    return json;
}

/* The first and the last loss that there is. */
static void print_losses(const pare_tune_result *r) {
    uint64_t first = 0, last = r->steps, idle = 0;
    for (uint64_t i = 0; i < r->steps; i++)
        idle += isnan(r->losses[i]) ? 1 : 0;
    while (first < r->steps && isnan(r->losses[first]))
        first++;
    while (last > first && isnan(r->losses[last - 1]))
        last--;
    if (last > first)
        printf("training loss %.4f at the first step, %.4f at the last\n", (double)r->losses[first], (double)r->losses[last - 1]);
    if (idle)
        printf("%s steps had nothing to learn: all of their windows lie inside prompts\n", human_count(idle));
}

static void print_text(const training *t, const pare_tuner *tuner) {
    const pare_tune_result *r = &t->result;
    progress_end();
    printf("trained %s weights for %s steps, %s tokens (%s targets, %llu epoch%s)\n", human_count(pare_tuner_trainable(tuner)),
           human_count(r->steps), human_count(r->tokens), human_count(r->targets), (unsigned long long)r->epochs,
           r->epochs == 1 ? "" : "s");
    print_losses(r);
    for (size_t i = 0; i < r->n_evaluations; i++) {
        const pare_tune_evaluation *e = &r->evaluations[i];
        printf("cross-entropy %.5f after %s tokens: %s of %s\n", e->cross_entropy, human_count(e->tokens), t->texts[e->text].protocol.name,
               t->names[e->text] ? t->names[e->text] : "the documents held out");
    }
    printf("%.1f s, %.1f tokens/s, %.0f MiB at the peak\n%s\n", r->seconds, r->tokens_per_s, pare_memory_peak_mib(), t->given->out);
}

bool training_finish(training *t, const pare_tuner *tuner, pare_json_doc *doc, json_t *more, pare_error *error) {
    json_t *json = t->shared->json ? training_json(doc, t, tuner, more) : NULL;
    json_decref(more);
    if (!t->shared->json) {
        print_text(t, tuner);
        return true;
    }
    pare_json_set(doc, json, "output", pare_json_string(doc, t->given->out));
    pare_json_set(doc, json, "resumed", pare_json_integer(doc, (json_int_t)t->result.resumed));
    pare_json_set(doc, json, "seconds", pare_json_number(doc, t->result.seconds));
    pare_json_set(doc, json, "tokens_per_s", pare_json_number(doc, t->result.tokens_per_s));
    pare_json_set(doc, json, "max_rss_mib", pare_json_number(doc, pare_memory_peak_mib()));
    pare_json_set(doc, json, "threads", pare_json_integer(doc, (json_int_t)t->shared->n_threads));
    return print_json(json, doc, error);
}
