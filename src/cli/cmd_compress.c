/* pare compress: score, cut, and write what is left as a Hugging Face folder; --plan stops before the writing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination.h"
#include "head.h"
#include "model.h"
#include "sizes.h"
#include "targets.h"

typedef struct {
    const char *method, *calibrate, *policy, *type, *out;
    targets target;
    uint32_t windows, length;
    uint64_t seed;
    bool plan, own_format, no_cache, tie, force;
} compress_options;

/* Everything one compression holds; released by release(). */
typedef struct {
    const pare_method *method;
    pare_recommendation recommended; /* method NULL: the user chose */
    bool own_format;
    pare_dtype type;
    pare_checkpoint *checkpoint;
    pare_corpus text;
    pare_windows windows;
    pare_calibration calibration;
    pare_policy policy; /* values NULL: none was given */
    pare_scores scores;
    pare_plan plan;
    pare_cut *cut;                    /* NULL: only planned, by counts that are known before there are scores */
    json_t *kept;                     /* units, as they were chosen; NULL: only planned */
    pare_achieved factored, achieved; /* as factors, and of what is written */
    sizes sizes;
    bool padded, recalled, replace; /* recalled: the calibration comes from the cache */
    double begin, forecast_mib;
} compression;

static void release(compression *c) {
    json_decref(c->kept);
    pare_cut_close(c->cut);
    pare_scores_free(&c->scores);
    pare_plan_free(&c->plan);
    pare_policy_free(&c->policy);
    pare_calibration_free(&c->calibration);
    pare_windows_free(&c->windows);
    pare_corpus_close(&c->text);
    pare_checkpoint_close(c->checkpoint);
}

/* The stored type of the output: as asked, else the source's; a quantised source becomes bf16. */
static bool choose_type(compression *c, const compress_options *given, pare_error *error) {
    c->type = c->checkpoint->dtype;
    if (given->type) {
        if (pare_dtype_find(&c->type, given->type) && !pare_dtype_info(c->type)->quantised)
            return true;
        return pare_fail(error, PARE_ERROR_USAGE, "--type %s: pare writes f32, bf16 and f16", given->type);
    }
    if (pare_dtype_info(c->type)->quantised)
        c->type = PARE_DTYPE_BF16;
    return true;
}

/* Only where something is written: the sizes that a plan prints name the types anyway. */
static void say_type(const compression *c, const compress_options *given, const common *shared) {
    const pare_dtype_traits *source = pare_dtype_info(c->checkpoint->dtype);
    if (!given->plan && !given->type && source->quantised)
        say(shared, "note: the source is quantised (%s). The output will be bf16; --type f32 keeps every bit", source->name);
}

static bool needs_text(const compression *c, const compress_options *given) {
    return c->method->calibrated || targets_need_text(&given->target);
}

/* The forecast, before the work; kept for the result. */
static bool say_memory(compression *c, const common *shared, pare_error *error) {
    size_t bytes;
    if (!pare_compress_memory(&bytes, c->method, c->checkpoint, &c->windows, &shared->context, error))
        return false;
    c->forecast_mib = (double)bytes / 1048576.0;
    say(shared, "%s on %zu tokens of calibration needs about %s of memory", c->method->name, c->windows.n * c->windows.length,
        human_bytes((double)bytes));
    return true;
}

/* What the method needs to know of the text; activations that were looked at before are remembered. */
static bool look(compression *c, const compress_options *given, const common *shared, pare_error *error) {
    bool activations = c->method->calibrated && !c->method->text_only;
    pare_cache_report report;
    if (!activations || given->no_cache)
        return pare_calibrate(&c->calibration, c->checkpoint, &c->windows, activations, &shared->context, error);
    bool done = pare_calibrate_cached(&c->calibration, &report, c->checkpoint, &c->windows, &shared->context, error);
    if (report.remark[0])
        say(shared, "note: %s", report.remark);
    c->recalled = report.hit;
    return done;
}

static bool calibrate(compression *c, const compress_options *given, const common *shared, pare_error *error) {
    if (!needs_text(c, given))
        return true;
    if (!given->calibrate)
        return pare_fail(error, PARE_ERROR_USAGE, "%s %s needs a calibration text: --calibrate FILE is missing",
                         c->method->calibrated ? "method" : "--allocation",
                         c->method->calibrated ? c->method->name : given->target.allocation);
    const pare_tokenizer *tokenizer = pare_checkpoint_tokenizer(c->checkpoint, error);
    return tokenizer && pare_corpus_open(&c->text, given->calibrate, tokenizer, &shared->context, error) &&
           pare_windows_sample(&c->windows, &c->text, given->calibrate, tokenizer, given->windows, given->length, given->seed, error) &&
           say_memory(c, shared, error) && look(c, given, shared, error);
}

static bool score(compression *c, const compress_options *given, const common *shared, pare_error *error) {
    if (!given->policy)
        return pare_score(&c->scores, c->method, c->checkpoint, c->method->calibrated ? &c->calibration : NULL, given->seed,
                          &shared->context, error);
    return pare_policy_read(&c->policy, given->policy, error) &&
           pare_policy_score(&c->scores, &c->policy, c->checkpoint, given->seed, &shared->context, error);
}

static json_t *indices_json(pare_json_doc *doc, const pare_kept *kept) {
    json_t *list = pare_json_array(doc);
    for (uint32_t i = 0; i < kept->n; i++)
        pare_json_append(doc, list, pare_json_integer(doc, kept->index ? kept->index[i] : i));
    return list;
}

static json_t *ranks_json(pare_json_doc *doc, const pare_layer_ranks *ranks) {
    json_t *json = pare_json_object(doc);
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        if (ranks->of[p])
            pare_json_set(doc, json, pare_projection_name((pare_projection)p), pare_json_integer(doc, ranks->of[p]));
    return json;
}

/* What stays, unit by unit: of each layer, or of the model. Of factored matrices the ranks. */
static json_t *kept_json(pare_json_doc *doc, const pare_cut *cut, pare_unit unit) {
    if (pare_unit_of_width(unit))
        return indices_json(doc, &cut->channels);
    if (unit == PARE_UNIT_LAYERS)
        return indices_json(doc, &cut->layers);
    json_t *layers = pare_json_array(doc);
    for (uint32_t i = 0; i < cut->source.n_layers; i++) {
        const pare_layer_cut *l = &cut->each[i];
        if (unit == PARE_UNIT_SEVERAL) {
            pare_json_append(
                doc, layers,
                pare_json_pack(doc, "{s:o, s:o}", "ffn", indices_json(doc, &l->ffn), "groups", indices_json(doc, &l->kv_heads)));
            continue;
        }
        if (unit == PARE_UNIT_DIRECTIONS) {
            pare_json_append(doc, layers, ranks_json(doc, &l->ranks));
            continue;
        }
        pare_json_append(doc, layers,
                         indices_json(doc, unit == PARE_UNIT_FFN      ? &l->ffn
                                           : unit == PARE_UNIT_GROUPS ? &l->kv_heads
                                                                      : &l->heads));
    }
    return layers;
}

/* What no stock program loads is padded, unless pare's own format was asked for; what was kept is noted before. */
static bool settle(compression *c, const compress_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    c->kept = kept_json(&doc, c->cut, c->method->unit);
    if (!pare_json_check(&doc, error))
        return false;
    c->padded = c->cut->config.shapes && !given->own_format;
    if (c->padded)
        say(shared,
            "note: layers of different widths are padded with zeros to the widest, so that other programs load them; this saves nothing "
            "(--own-format does not pad)");
    return !c->padded || pare_cut_pad(c->cut, c->checkpoint, error);
}

/* "auto" becomes a method, and says why. */
static bool choose_method(compression *c, const compress_options *given, const common *shared, pare_error *error) {
    if (strcmp(given->method, "auto") != 0)
        return true;
    pare_recommendation *r = &c->recommended;
    uint64_t tokens = given->calibrate ? (uint64_t)given->windows * given->length : 0;
    if (!targets_recommend(r, &given->target, c->checkpoint, c->type, tokens, error))
        return false;
    c->method = r->method;
    say(shared,
        "auto: %s, which lost least of %u methods when %.3g of the weights outside of embeddings were removed (%.2f nats per token, mean "
        "of %u models)",
        r->method->name, r->n_methods, r->share, r->excess, r->n_models);
    if (r->next)
        say(shared, "auto: the second best is %s (%.2f nats per token)%s", r->next->name, r->next_excess,
            given->calibrate ? "" : "; better methods need a calibration text (--calibrate FILE)");
    return true;
}

/* What a plan tells of the text: its hash, and the memory that the work would take. */
static bool plan_text(compression *c, const compress_options *given, const common *shared, pare_error *error) {
    if (!needs_text(c, given) || !given->calibrate)
        return true;
    c->windows = (pare_windows){.n = given->windows, .length = given->length};
    const pare_tokenizer *tokenizer = pare_checkpoint_tokenizer(c->checkpoint, error);
    return tokenizer && pare_corpus_open(&c->text, given->calibrate, tokenizer, &shared->context, error) && say_memory(c, shared, error);
}

static bool make_cut(compression *c, const compress_options *given, const common *shared, pare_error *error) {
    bool automatic = c->recommended.method != NULL;
    if (!targets_plan(&c->plan, &given->target, c->method, &c->checkpoint->config, c->type, automatic, error))
        return false;
    say_type(c, given, shared);
    targets_say_limits(&given->target, &c->plan, c->method, &c->checkpoint->config, shared);
    if (c->method->warning)
        say(shared, "warning: %s", c->method->warning);
    if (given->plan && targets_known(&given->target, &c->plan))
        return plan_text(c, given, shared, error);
    const pare_calibration *calibration = needs_text(c, given) ? &c->calibration : NULL;
    return calibrate(c, given, shared, error) && score(c, given, shared, error) &&
           targets_allocate(&c->plan, &given->target, c->method, &c->scores, c->checkpoint, calibration, shared, error) &&
           (c->cut = pare_method_cut(c->method, c->checkpoint, calibration, &c->scores, &c->plan, &shared->context, error)) &&
           settle(c, given, shared, error);
}

static json_t *recommended_json(pare_json_doc *doc, const compression *c) {
    const pare_recommendation *r = &c->recommended;
    if (!r->method)
        return NULL;
    return pare_json_pack(doc, "{s:f, s:f, s:i, s:i, s:s*, s:o*}", "share", r->share, "excess", r->excess, "methods", (int)r->n_methods,
                          "models", (int)r->n_models, "next", r->next ? r->next->name : NULL, "next_excess",
                          r->next ? pare_json_number(doc, r->next_excess) : NULL);
}

static json_t *calibration_json(pare_json_doc *doc, const compression *c, const compress_options *given) {
    if (!needs_text(c, given) || !given->calibrate)
        return NULL;
    return pare_json_pack(doc, "{s:s, s:s, s:i, s:i}", "text", given->calibrate, "sha256", c->text.sha256.hex, "windows", (int)c->windows.n,
                          "length", (int)c->windows.length);
}

static json_t *policy_json(pare_json_doc *doc, const compression *c, const compress_options *given) {
    if (!c->policy.values)
        return NULL;
    pare_sha256 hash = {0};
    pare_error error = {0};
    if (!pare_sha256_bytes(&hash, c->policy.values, c->policy.n_values * sizeof *c->policy.values, &error))
        pare_json_fail(doc, &error);
    return pare_json_pack(doc, "{s:s, s:s, s:f, s:i, s:I}", "file", given->policy, "sha256", hash.hex, "ratio", c->policy.ratio, "episodes",
                          (int)c->policy.episodes, "seed", (json_int_t)c->policy.seed);
}

static json_t *counts_json(pare_json_doc *doc, const compression *c) {
    json_t *counts = pare_json_array(doc);
    for (uint32_t i = 0; i < c->plan.n_rows; i++)
        pare_json_append(doc, counts, pare_json_integer(doc, pare_plan_kept(&c->plan, i)));
    return counts;
}

/* Stock programs know no factors. */
static bool multiplies_back(const compression *c) {
    return c->plan.unit == PARE_UNIT_DIRECTIONS && !pare_plan_keeps_all(&c->plan) && !c->own_format;
}

static double gone(uint64_t after, uint64_t before) {
    return before ? 1 - (double)after / (double)before : 0;
}

/* Of a plan; what goes is counted in bytes of the type that most matrices of the source have. */
static bool forecast(pare_achieved *a, const compression *c, pare_error *error) {
    const pare_dtype_traits *traits = pare_dtype_info(c->checkpoint->dtype);
    *a = (pare_achieved){.before = pare_checkpoint_size(c->checkpoint, NULL)};
    if (!pare_plan_forecast(&a->after, &c->plan, &c->checkpoint->config, error))
        return false;
    double change = ((double)a->before.parameters - (double)a->after.parameters) * traits->bytes / traits->block;
    a->after.bytes = (uint64_t)((double)a->before.bytes - change);
    a->parameters = gone(a->after.parameters, a->before.parameters);
    a->non_embedding = gone(a->after.non_embedding, a->before.non_embedding);
    a->bytes = gone(a->after.bytes, a->before.bytes);
    a->macs = gone(a->after.macs, a->before.macs);
    return true;
}

/* Factors that are multiplied back are as large as what they came from. */
static bool account(compression *c, pare_error *error) {
    if (c->cut)
        c->factored = pare_cut_achieved(c->cut, c->checkpoint);
    else if (!forecast(&c->factored, c, error))
        return false;
    const pare_size before = c->factored.before;
    c->achieved = multiplies_back(c) ? (pare_achieved){.before = before, .after = before} : c->factored;
    return sizes_take(&c->sizes, c->checkpoint, &c->plan, c->cut, c->type, multiplies_back(c), error);
}

static json_t *fractions_json(pare_json_doc *doc, const pare_achieved *a) {
    return pare_json_pack(doc, "{s:f, s:f, s:f, s:f}", "parameters", a->parameters, "non_embedding", a->non_embedding, "bytes", a->bytes,
                          "macs", a->macs);
}

/* What the factors would save, where they are not what is written. */
static json_t *as_factors_json(pare_json_doc *doc, const compression *c) {
    return multiplies_back(c) ? fractions_json(doc, &c->factored) : NULL;
}

/* The decision, small and printable: what was cut, by what, and what that removes. */
static json_t *decision_json(pare_json_doc *doc, const compression *c, const compress_options *given, bool with_units) {
    const pare_achieved a = c->achieved;
    return pare_json_pack(
        doc, "{s:s, s:s, s:s, s:o*, s:f, s:i, s:s, s:I, s:o*, s:o*, s:s, s:i, s:o, s:o, s:o*, s:{s:I, s:I, s:I, s:I}, s:s, s:o*}",
        "version", PARE_VERSION, "model", c->checkpoint->path, "method", c->method->name, "auto", recommended_json(doc, c), "ratio",
        c->plan.ratio, "multiple", (int)given->target.multiple, "allocation",
        given->target.allocation ? given->target.allocation : "uniform", "seed", (json_int_t)given->seed, "calibration",
        calibration_json(doc, c, given), "policy", policy_json(doc, c, given), "unit", pare_unit_name(c->method->unit), "units",
        (int)c->plan.n_units, "kept", counts_json(doc, c), "achieved", fractions_json(doc, &a), "achieved_as_factors",
        as_factors_json(doc, c), "size", "parameters", (json_int_t)a.after.parameters, "non_embedding", (json_int_t)a.after.non_embedding,
        "macs", (json_int_t)a.after.macs, "bytes", (json_int_t)(a.after.parameters * pare_dtype_info(c->type)->bytes), "type",
        pare_dtype_info(c->type)->name, "kept_units", with_units && c->kept ? json_incref(c->kept) : NULL);
}

/* Where the file is another than might be thought. */
static void say_departures(const compression *c, const common *shared) {
    if (multiplies_back(c))
        say(shared,
            "warning: the factors are multiplied back into whole matrices, which saves nothing, because other programs load only whole "
            "matrices. --own-format keeps the factors; then only pare can load the output");
}

/* Of several kinds of units. */
static void print_shape(const compression *c) {
    const pare_config *source = &c->checkpoint->config, *left = c->cut ? &c->cut->config : NULL;
    const pare_shape *s = &c->plan.shape;
    uint32_t group = source->n_heads / source->n_kv_heads;
    if (!left && !s->layers) {
        printf("The numbers of FFN neurons, heads and layers are chosen during the work; the sizes below are approximate.\n");
        return;
    }
    printf("what is left: %u layers with %u FFN neurons, %u query and %u key-value heads\n", left ? left->n_layers : s->layers,
           left ? left->ffn_width : s->ffn, left ? left->n_heads : s->groups * group, left ? left->n_kv_heads : s->groups);
}

static bool print_result(const compression *c, const compress_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    if (shared->json) {
        json_t *json = decision_json(&doc, c, given, given->plan);
        pare_json_set(&doc, json, "sizes", sizes_json(&doc, &c->sizes));
        if (!given->plan)
            pare_json_set(&doc, json, "output", pare_json_string(&doc, given->out));
        if (c->forecast_mib > 0) {
            pare_json_set(&doc, json, "calibration_cached", json_boolean(c->recalled));
            pare_json_set(&doc, json, "memory_forecast_mib", pare_json_number(&doc, c->forecast_mib));
        }
        pare_json_set(&doc, json, "seconds", pare_json_number(&doc, pare_clock_s() - c->begin));
        pare_json_set(&doc, json, "max_rss_mib", pare_json_number(&doc, pare_memory_peak_mib()));
        return print_json(json, &doc, error);
    }
    const pare_achieved a = c->achieved;
    progress_end();
    targets_print_kept(&given->target, &c->plan, c->method->name, &c->checkpoint->config);
    if (c->plan.unit == PARE_UNIT_SEVERAL)
        print_shape(c);
    printf("removed: %.1f %% of parameters (%s left), %.1f %% outside of embeddings, %.1f %% of MACs per token\n", 100 * a.parameters,
           human_count(a.after.parameters), 100 * a.non_embedding, 100 * a.macs);
    if (multiplies_back(c))
        printf("as factors: %.1f %% of parameters removed, %.1f %% outside of embeddings\n", 100 * c->factored.parameters,
               100 * c->factored.non_embedding);
    sizes_print(&c->sizes, given->plan ? NULL : given->out);
    return true;
}

static bool write_out(const compression *c, const compress_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    pare_string note = {0};
    json_t *decision = decision_json(&doc, c, given, true);
    json_t *base = pare_checkpoint_made(&doc, c->checkpoint, true); /* how what was cut had been made */
    if (base)
        pare_json_set(&doc, decision, "base", base);
    pare_folder *folder = pare_json_print(&note, decision, &doc, error) ? pare_folder_open(given->out, c->replace, error) : NULL;
    bool done = folder && pare_folder_close(folder,
                                            pare_checkpoint_write_in(pare_folder_path(folder), c->checkpoint, c->cut, NULL, c->type, 0,
                                                                     note.data, multiplies_back(c), &shared->context, error),
                                            error);
    json_decref(decision);
    pare_string_free(&note);
    return done;
}

static bool compress(const char *path, const compress_options *given, const common *shared, pare_error *error) {
    compression c = {.begin = pare_clock_s(), .own_format = given->own_format};
    if (!given->method)
        return pare_fail(error, PARE_ERROR_USAGE, "--method M is missing");
    if (!targets_check(&given->target, error))
        return false;
    if (!given->plan && !given->out)
        return pare_fail(error, PARE_ERROR_USAGE, "-o OUT is missing (or --plan, which writes nothing)");
    if (!given->plan && !check_folder_name(given->out, error))
        return false;
    reads(path);
    reads(given->calibrate);
    reads(given->policy);
    if (!given->plan && !destination_check(&c.replace, given->out, &destination_model, given->force, error))
        return false;
    if (strcmp(given->method, "auto") != 0 && !(c.method = pare_method_find(given->method, error)))
        return false;
    if (c.method && c.method->unit == PARE_UNIT_BLOCK_COORDINATES && !given->own_format && !given->plan)
        return pare_fail(error, PARE_ERROR_USAGE,
                         "only pare can load what %s makes: give --own-format. The method slice-global makes a plain Llama",
                         c.method->name);
    if (given->policy && strcmp(given->method, "prunenet") != 0)
        return pare_fail(error, PARE_ERROR_USAGE, "--policy is for --method prunenet");
    bool done = (c.checkpoint = open_model(path, shared, error)) && head_settle(c.checkpoint, given->tie, shared, error) &&
                choose_type(&c, given, error) && choose_method(&c, given, shared, error) && make_cut(&c, given, shared, error) &&
                account(&c, error);
    if (c.checkpoint && pare_tokenizer_note(c.checkpoint->tokenizer))
        pare_context_note(&shared->context, "%s", pare_tokenizer_note(c.checkpoint->tokenizer));
    if (done)
        say_departures(&c, shared);
    done = done && (given->plan || write_out(&c, given, shared, error)) && print_result(&c, given, shared, error);
    if (!done && c.checkpoint)
        pare_checkpoint_blame(c.checkpoint, &shared->context, error);
    release(&c);
    return done;
}

bool cmd_compress(int argc, char **argv, pare_error *error) {
    compress_options given = {
        .target = {.ratio = (double)__builtin_nanf(""), .shape = TARGETS_NO_SHAPE, .multiple = 32}, .windows = 32, .length = 512};
    targets *t = &given.target;
    const option options[] = {
        {"method", 'm', OPTION_STRING, "M",
         "which units are removed, and by what score; pare methods lists all. auto: the method that lost least in our measurements",
         &given.method},
        {"ratio", 'r', OPTION_NUMBER, "R",
         "share to remove, from 0 to below 1: of the method's units (pare methods NAME says which; auto: of the weights outside of "
         "embeddings)",
         &t->ratio},
        {"params", 0, OPTION_STRING, "N", "instead of --ratio: keep at most N parameters (118M)", &t->parameters},
        {"bytes", 0, OPTION_STRING, "N", "instead of --ratio: keep at most N bytes of weights: 150M, 150MiB, 1.5G (see --as)", &t->bytes},
        {"as", 0, OPTION_STRING, "T",
         "number type in which --bytes counts: f32, f16, bf16, q8_0, q4_0 or q4_1 (default: that of the output)", &t->as},
        {"macs", 0, OPTION_STRING, "N", "instead of --ratio: keep at most N multiply-accumulates per token", &t->macs},
        {"ffn", 0, OPTION_COUNT, "N", "instead of --ratio: keep exactly N FFN neurons in each layer", &t->shape.ffn},
        {"heads", 0, OPTION_COUNT, "N", "instead of --ratio: keep N query heads in each layer, equally many for each key-value head",
         &t->shape.heads},
        {"groups", 0, OPTION_COUNT, "N", "instead of --ratio: keep N key-value heads in each layer", &t->shape.groups},
        {"channels", 0, OPTION_COUNT, "N", "instead of --ratio: keep N channels of the residual stream", &t->shape.channels},
        {"layers", 0, OPTION_COUNT, "N", "instead of --ratio: keep N layers", &t->shape.layers},
        {"allocation", 0, OPTION_STRING, "A",
         "how the cut is shared out over layers. uniform: the same count in every layer (default); global: by rank of all scores; "
         "sensitivity: by the loss that each layer's cut costs",
         &t->allocation},
        {"keep-layers", 0, OPTION_STRING, "LIST", "layers that keep all of their neurons or heads: 0-2,29", &t->keep_layers},
        {"keep-blocks", 0, OPTION_STRING, "LIST", "the same as --keep-layers", &t->keep_blocks},
        {"calibrate", 'c', OPTION_STRING, "FILE", "calibration text for methods that need one: plain (also gzip, bzip2) or JSON rows",
         &given.calibrate},
        {"policy", 0, OPTION_STRING, "FILE", "policy of pare policy train, for the method prunenet (default: a policy is trained first)",
         &given.policy},
        {"windows", 0, OPTION_COUNT, "N", "number of calibration windows (32)", &given.windows},
        {"length", 0, OPTION_COUNT, "N", "tokens in one calibration window (512)", &given.length},
        {"no-cache", 0, OPTION_FLAG, NULL, "do not read or write the cache of calibration results (PARE_CACHE, see the README)",
         &given.no_cache},
        {"multiple", 0, OPTION_COUNT, "K", "round the number of kept FFN neurons or channels to a multiple of K (32)", &t->multiple},
        {"seed", 0, OPTION_SEED, "S", "seed of random, of prunenet and of the calibration windows (0)", &given.seed},
        {"type", 0, OPTION_STRING, "T",
         "number type of the output: f32, bf16 or f16 (default: that of the source; bf16 for a quantised source)", &given.type},
        {"own-format", 0, OPTION_FLAG, NULL,
         "write pare's own format, which no other program loads: factors (svd, svd-llm), rotations for each norm (slice), layers of "
         "different widths",
         &given.own_format},
        HEAD_OPTION(&given.tie),
        {"plan", 0, OPTION_FLAG, NULL,
         "print how much would be removed and how large the output would be, and write nothing. It takes seconds, because it measures "
         "nothing",
         &given.plan},
        {"output", 'o', OPTION_STRING, "FOLDER", "the Hugging Face folder to write", &given.out},
        OPTION_FORCE('f', &given.force),
        {0},
    };
    const command_face face = {
        .name = "compress",
        .usage = "MODEL --method M --ratio R [--calibrate FILE] -o OUT",
        .about =
            "Removes whole FFN neurons, heads, residual channels or layers, and writes a smaller checkpoint that other programs load.\n"
            "By default every layer keeps the same number of units. svd and svd-llm replace each matrix by two factors instead, which\n"
            "only pare can load. OUT/pare.json records the method, seed, calibration and the units kept.\n"
            "The size of the output is printed beside the sizes of the source and of the uncut model as q8_0 and q4_0.",
        .example = "  pare compress demo/model.gguf --method wanda-sp --ratio 0.2 --calibrate demo/calibration.txt -o smaller\n"
                   "  pare compress demo/model.gguf --method random --params 118M --plan\n"
                   "  pare compress demo/model.gguf --method auto --ratio 0.2 --calibrate demo/calibration.txt -o auto",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    return n == -2 || (n >= 0 && compress(arguments[0], &given, &shared, error));
}
