/* grid: a spec and the contents of its files -> the list of runs, each with its canonical spec and key. */
#include <math.h>
#include <string.h>

#include "study_impl.h"

/* Of the canonical spec. A change of what a number means (a protocol's definition; a method has a revision of its own) needs a new version
 * here, so that old rows are not taken for new ones; where old rows stay right, a migration of the store completes their specs, as that
 * from 1 to 2 did. */
enum { SPEC_SCHEMA = 2 };

/* ---- identity ------------------------------------------------------------------------------ */

const char *pare_run_method(const pare_run *run) {
    return run->name ? run->name : run->method ? run->method->name : "dense";
}

bool study_run_calibrated(const pare_run *run) {
    return run->method && (run->method->calibrated || run->allocation == PARE_ALLOCATION_SENSITIVITY);
}

static void print_number(pare_string *out, const char *name, double value) {
    pare_string_print(out, "%s", name);
    pare_string_number(out, value);
}

static void print_targets(pare_string *out, const pare_tune_options *o) {
    pare_string_print(out, ",\"targets\":\"");
    for (int p = 0, n = 0; p < PARE_PROJECTIONS; p++)
        if (o->targets[p])
            pare_string_print(out, "%s%s", n++ ? "," : "", pare_projection_name((pare_projection)p));
    pare_string_print(out, "\"");
}

/* What a study cannot set, and a later pare may choose otherwise. */
static void print_recipe(pare_string *out, const pare_run *run, const pare_tune_options *o, uint64_t steps) {
    bool adapters = run->recovery != PARE_RECOVERY_FULL, taught = run->recovery == PARE_RECOVERY_DISTILLATION;
    pare_string_print(out, ",\"recipe\":{");
    if (adapters)
        print_number(out, "\"alpha\":", o->alpha);
    print_number(out, adapters ? ",\"beta1\":" : "\"beta1\":", o->beta1);
    print_number(out, ",\"beta2\":", o->beta2);
    print_number(out, ",\"clip\":", o->clip);
    print_number(out, ",\"decay\":", o->decay);
    print_number(out, ",\"epsilon\":", o->epsilon);
    pare_string_print(out, ",\"micro\":%zu", o->micro);
    if (adapters)
        print_targets(out, o);
    if (taught)
        print_number(out, ",\"temperature\":", o->distil_temperature);
    pare_string_print(out, ",\"warmup\":%llu", (unsigned long long)pare_tune_warmup(steps));
    if (taught)
        print_number(out, ",\"weight\":", o->distil_weight);
    pare_string_print(out, "}");
}

static void print_recovery(pare_string *out, const pare_run *run, const pare_spec *spec, const study_model *model) {
    const pare_tune_options *o = &spec->recovery.tune;
    uint64_t steps = study_recovery_steps(&spec->recovery, run->recovery_tokens);
    pare_string_print(out, ",\"recovery\":{\"batch\":%zu,\"data\":\"%s\"", o->batch, model->recovery.hex);
    if (run->recovery != PARE_RECOVERY_FULL && o->dropout > 0) /* said only where it is used: older keys stay what they are */
        print_number(out, ",\"dropout\":", o->dropout);
    pare_string_print(out, ",\"length\":%zu,\"method\":\"%s\"", o->length, pare_recovery_name(run->recovery));
    if (run->recovery != PARE_RECOVERY_FULL)
        pare_string_print(out, ",\"rank\":%u", o->rank);
    print_number(out, ",\"rate\":", o->rate);
    print_recipe(out, run, o, steps);
    pare_string_print(out, ",\"schedule\":\"%s\",\"seed\":%llu,\"steps\":%llu}", pare_schedule_name(o->schedule),
                      (unsigned long long)spec->seeds[0], (unsigned long long)steps);
}

static void print_calibration(pare_string *out, const pare_spec *spec, const study_model *model) {
    pare_string_print(out, "\"calibration\":{\"length\":%zu,\"seed\":%llu,\"text\":\"%s\",\"tokens\":\"%s\",\"windows\":%zu},",
                      spec->calibrate.length, (unsigned long long)model->calibration.seed, model->calibration.text.hex,
                      model->calibration.tokens.hex, spec->calibrate.n_windows);
}

/* Keys sorted, no blanks; every text in it is a hash or a known name, so nothing needs escaping. */
static void print_spec(pare_string *out, const pare_run *run, const pare_spec *spec, const study_model *model) {
    const pare_method *method = run->method;
    pare_string_print(out, "{");
    if (run->allocation != PARE_ALLOCATION_UNIFORM)
        pare_string_print(out, "\"allocation\":\"%s\",", pare_allocation_name(run->allocation));
    if (study_run_calibrated(run))
        print_calibration(out, spec, model);
    pare_string_print(
        out, "\"evaluation\":{\"protocol\":\"%s\",\"text\":\"%s\",\"tokens\":\"%s\",\"windows\":%zu},\"kernels\":\"%s\",\"method\":\"%s\"",
        spec->evaluate.protocol.name, model->evaluation.text.hex, model->evaluation.tokens.hex, model->evaluation.n_windows,
        pare_kernels_best()->name, method ? method->name : "dense");
    pare_string_print(out, ",\"model\":\"%s\"", model->model.hex);
    if (method)
        pare_string_print(out, ",\"multiple\":%u", run->multiple);
    print_number(out, ",\"ratio\":", run->ratio);
    if (run->recovery_tokens)
        print_recovery(out, run, spec, model);
    if (method && method->revision)
        pare_string_print(out, ",\"revision\":%u", method->revision);
    pare_string_print(out, ",\"schema\":%d", SPEC_SCHEMA);
    if (method && method->stochastic)
        pare_string_print(out, ",\"seed\":%llu", (unsigned long long)run->seed);
    pare_string_print(out, "}");
}

bool study_identify(pare_run *run, const pare_spec *spec, const study_model *model, pare_arena *arena, pare_error *error) {
    pare_string text = {0};
    print_spec(&text, run, spec, model);
    bool done = pare_string_check(&text, error) && (run->spec = pare_arena_copy(arena, text.data, text.length, error)) &&
                pare_sha256_bytes(&run->key, text.data, text.length, error);
    pare_string_free(&text);
    return done;
}

void study_sensitivity_spec(pare_string *out, const pare_run *run, const pare_spec *spec, const study_model *model) {
    const pare_method *method = run->method;
    pare_string_print(out, "{");
    print_calibration(out, spec, model);
    pare_string_print(out, "\"kernels\":\"%s\",\"method\":\"%s\",\"model\":\"%s\",\"multiple\":%u", pare_kernels_best()->name, method->name,
                      model->model.hex, run->multiple);
    pare_string_print(out, ",\"revision\":%u,\"schema\":%d,\"seed\":%llu,\"what\":\"sensitivity\"}", method->revision, SPEC_SCHEMA,
                      (unsigned long long)(method->stochastic ? run->seed : 0));
}

/* Token ids are hashed as they lie in memory, little-endian 32 bits. */
static bool hash_ids(pare_sha256 *hash, const pare_windows *windows, size_t n, pare_error *error) {
    return pare_sha256_bytes(hash, windows->ids, n * windows->length * sizeof *windows->ids, error);
}

static bool any_calibrated(const pare_spec *spec) {
    bool any = false;
    for (size_t i = 0; i < spec->n_methods; i++)
        any = any || spec->methods[i].method->calibrated || spec->methods[i].allocation == PARE_ALLOCATION_SENSITIVITY;
    return any;
}

static bool identify_recovery(study_model *model, const study_subject *subject, const pare_spec *spec, const pare_context *context,
                              pare_error *error) {
    if (!spec->recovery.n_tokens)
        return true;
    pare_context quiet = context ? *context : (pare_context){0};
    quiet.progress = NULL;
    pare_dataset *data = study_subject_data(subject, spec, &quiet, error);
    if (data)
        model->recovery = pare_dataset_facts_of(data)->sha256;
    pare_dataset_close(data);
    return data != NULL;
}

static bool identify_contents(study_model *model, const study_subject *subject, const pare_spec *spec, const pare_context *context,
                              pare_error *error) {
    model->config = subject->checkpoint->config;
    pare_scores alike;
    if (!pare_scores_shape(&alike, PARE_UNIT_FFN, &model->config, error))
        return false;
    model->config.rope.factors = NULL; /* it lies in the checkpoint, which is closed again */
    model->evaluation.text = subject->text.data_sha256;
    model->evaluation.n_windows = subject->n_windows;
    if (!pare_checkpoint_hash(&model->model, subject->checkpoint, context, error) ||
        !hash_ids(&model->evaluation.tokens, &subject->text.windows, subject->n_windows, error) ||
        !identify_recovery(model, subject, spec, context, error))
        return false;
    if (!any_calibrated(spec))
        return true;
    pare_windows windows;
    bool done = study_subject_sample(&windows, &model->calibration.text, subject, spec, context, error) &&
                hash_ids(&model->calibration.tokens, &windows, windows.n, error);
    model->calibration.seed = spec->seeds[0];
    pare_windows_free(&windows);
    return done;
}

/* ---- notes --------------------------------------------------------------------------------- */

static bool add_note(pare_study *study, const char *note) {
    if (note)
        study->notes[study->n_notes++] = note;
    return note != NULL;
}

/* One per method, one per model, unit and ratio at most. */
static bool begin_notes(pare_study *study, pare_error *error) {
    const pare_spec *spec = study->spec;
    pare_arena *arena = study->inner->arena;
    study->notes = PARE_PUSH(arena, const char *, spec->n_methods + spec->n_models * (PARE_UNITS * spec->n_ratios + 1), error);
    for (size_t i = 0; study->notes && i < spec->n_methods; i++)
        if (spec->methods[i].method->warning && !add_note(study, spec->methods[i].method->warning))
            return false;
    return study->notes != NULL;
}

static bool note_windows(pare_study *study, size_t model, pare_error *error) {
    size_t asked = study->spec->evaluate.n_windows, there = study->inner->models[model].evaluation.n_windows;
    return there >= asked ||
           add_note(study, pare_arena_format(study->inner->arena, error, "%s: %zu windows were asked for, the text gives %zu",
                                             study->spec->models[model].name, asked, there));
}

/* ---- expansion ----------------------------------------------------------------------------- */

/* Multiply-accumulates of `tokens` through the run's cut; of the dense model without a method. */
static bool work_of(double *work, const pare_config *config, const pare_run *run, double tokens, pare_error *error) {
    pare_size size = pare_config_size(config);
    pare_plan plan;
    if (run->method && !(pare_plan_make(&plan, run->method->unit, config, run->ratio, run->multiple, error) &&
                         pare_plan_forecast(&size, &plan, config, error)))
        return false;
    *work = (double)size.macs * tokens;
    return true;
}

/* Of training, in forward passes over the cut model: adapters need the way back through every weight, full training their gradients as
 * well, distillation the dense model's forward pass. */
static bool recovery_work(double *work, const pare_config *config, const pare_run *run, pare_error *error) {
    double tokens = (double)run->recovery_tokens, pass;
    if (!work_of(&pass, config, run, tokens, error))
        return false;
    *work = run->recovery == PARE_RECOVERY_FULL ? 3 * pass : 2 * pass;
    if (run->recovery == PARE_RECOVERY_DISTILLATION)
        *work += (double)pare_config_size(config).macs * tokens;
    return true;
}

static bool add_run(pare_study *study, pare_run run, pare_error *error) {
    const pare_spec *spec = study->spec;
    const study_model *model = &study->inner->models[run.model];
    double scored = (double)model->evaluation.n_windows * spec->evaluate.protocol.length;
    if (!recovery_work(&run.recovery_work, &model->config, &run, error) || !work_of(&run.work, &model->config, &run, scored, error))
        return false;
    run.work += run.recovery_work;
    if (!study_identify(&run, spec, model, study->inner->arena, error))
        return false;
    study->runs[study->n_runs++] = run;
    return true;
}

/* One cut, as it is and recovered. */
static bool add_cut(pare_study *study, pare_run run, pare_error *error) {
    const pare_spec_recovery *r = &study->spec->recovery;
    if (r->without && !add_run(study, run, error))
        return false;
    for (size_t m = 0; m < r->n_methods; m++)
        for (size_t t = 0; t < r->n_tokens; t++) {
            run.recovery = r->methods[m];
            run.recovery_tokens = r->tokens[t];
            if (!add_run(study, run, error))
                return false;
        }
    return true;
}

/* What the spec's ratios leave of one kind of units in one model. */
typedef struct {
    bool used;
    uint32_t n_units;
    uint32_t *n_kept; /* by ratio; 0: merged into another, or nothing is removed */
} unit_plan;

static uint32_t multiple_of(const pare_spec *spec, pare_unit unit) {
    return pare_unit_aligned(unit) ? spec->multiple : 1;
}

static bool add_ratio(pare_study *study, size_t model, size_t ratio, const unit_plan plans[PARE_UNITS], pare_error *error) {
    const pare_spec *spec = study->spec;
    for (size_t m = 0; m < spec->n_methods; m++) {
        const pare_method *method = spec->methods[m].method;
        pare_run run = {.model = model,
                        .method = method,
                        .allocation = spec->methods[m].allocation,
                        .name = spec->methods[m].name,
                        .ratio = spec->ratios[ratio],
                        .n_kept = plans[method->unit].n_kept[ratio]};
        run.multiple = multiple_of(spec, method->unit);
        if (run.n_kept == 0)
            continue;
        if (!method->stochastic) {
            run.seed = study_run_calibrated(&run) ? spec->seeds[0] : 0;
            if (!add_cut(study, run, error))
                return false;
        }
        for (size_t s = 0; method->stochastic && s < spec->n_seeds; s++) {
            run.seed = spec->seeds[s];
            if (!add_cut(study, run, error))
                return false;
        }
    }
    return true;
}

/* Of the ratios from `first` on that leave the same count, the one nearest to what is removed in truth; *next: past them all. */
static bool pick_ratio(size_t *pick, size_t *next, uint32_t *n_kept, const pare_spec *spec, const pare_config *config, pare_unit unit,
                       size_t first, pare_error *error) {
    uint32_t multiple = multiple_of(spec, unit);
    pare_plan plan, other;
    *pick = first;
    if (!pare_plan_make(&plan, unit, config, spec->ratios[first], multiple, error))
        return false;
    *n_kept = plan.n_kept;
    double achieved = 1 - (double)plan.n_kept / plan.n_units;
    for (*next = first + 1; *next < spec->n_ratios; (*next)++) {
        if (!pare_plan_make(&other, unit, config, spec->ratios[*next], multiple, error))
            return false;
        if (other.n_kept != plan.n_kept)
            break;
        if (fabs(spec->ratios[*next] - achieved) < fabs(spec->ratios[*pick] - achieved))
            *pick = *next;
    }
    return true;
}

/* Notes the ratios [first, next) that are not measured: all when nothing is removed, else all but `pick`. */
static bool note_ratios(pare_study *study, size_t model, pare_unit unit, const unit_plan *plan, uint32_t n_kept, size_t first, size_t next,
                        size_t pick, pare_error *error) {
    const pare_spec *spec = study->spec;
    const char *name = spec->models[model].name, *units = pare_unit_name(unit);
    pare_arena *arena = study->inner->arena;
    bool nothing = n_kept == plan->n_units;
    for (size_t j = first; j < next; j++)
        if (nothing && !add_note(study, pare_arena_format(arena, error, "%s: ratio %g removes nothing (%u %s, multiple %u)", name,
                                                          spec->ratios[j], plan->n_units, units, multiple_of(spec, unit))))
            return false;
        else if (!nothing && j != pick &&
                 !add_note(study, pare_arena_format(arena, error, "%s: ratio %g leaves %u of %u %s, as %g does: merged into it", name,
                                                    spec->ratios[j], n_kept, plan->n_units, units, spec->ratios[pick])))
            return false;
    return true;
}

static bool plan_unit(unit_plan *plan, pare_study *study, size_t model, pare_unit unit, pare_error *error) {
    const pare_spec *spec = study->spec;
    const pare_config *config = &study->inner->models[model].config;
    pare_plan whole;
    uint32_t n_kept;
    if (!pare_plan_make(&whole, unit, config, 0, 1, error) ||
        !(plan->n_kept = PARE_PUSH(study->inner->arena, uint32_t, spec->n_ratios, error)))
        return false;
    plan->n_units = whole.n_units;
    for (size_t i = 0, pick, next; i < spec->n_ratios; i = next) {
        if (!pick_ratio(&pick, &next, &n_kept, spec, config, unit, i, error) ||
            !note_ratios(study, model, unit, plan, n_kept, i, next, pick, error))
            return false;
        if (n_kept < plan->n_units)
            plan->n_kept[pick] = n_kept;
    }
    return true;
}

static bool add_ratios(pare_study *study, size_t model, pare_error *error) {
    const pare_spec *spec = study->spec;
    unit_plan plans[PARE_UNITS] = {0};
    for (size_t m = 0; m < spec->n_methods; m++) {
        pare_unit unit = spec->methods[m].method->unit;
        unit_plan *plan = &plans[unit];
        if (!plan->used && !plan_unit(plan, study, model, unit, error))
            return false;
        plan->used = true;
    }
    for (size_t i = 0; i < spec->n_ratios; i++)
        if (!add_ratio(study, model, i, plans, error))
            return false;
    return true;
}

static bool check_model(const pare_study *study, size_t model, pare_error *error) {
    const pare_spec *spec = study->spec;
    const study_model *models = study->inner->models;
    const pare_spec_model *named = &spec->models[model];
    if (spec->multiple > models[model].config.ffn_width)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: multiple %u, but %s has %u FFN neurons per layer", spec->path, spec->multiple,
                         named->name, models[model].config.ffn_width);
    for (size_t i = 0; i < model; i++)
        if (strcmp(models[i].model.hex, models[model].model.hex) == 0)
            return pare_fail(error, PARE_ERROR_CONFLICT, "%s:%zu: %s and %s (line %zu) are the same model", spec->path, named->line,
                             named->name, spec->models[i].name, spec->models[i].line);
    return true;
}

static bool expand_model(pare_study *study, size_t i, const pare_context *context, pare_error *error) {
    study_model *model = &study->inner->models[i];
    study_subject subject;
    if (!pare_context_check(context, error) || !study_subject_open(&subject, study->spec, i, context, error))
        return false;
    bool done = identify_contents(model, &subject, study->spec, context, error);
    study_subject_close(&subject);
    return done && check_model(study, i, error) && note_windows(study, i, error) &&
           add_run(study, (pare_run){.model = i, .multiple = 1, .n_kept = model->config.ffn_width}, error) && add_ratios(study, i, error);
}

/* Room for the whole grid before anything is opened. */
static bool begin_runs(pare_study *study, pare_error *error) {
    const pare_spec *spec = study->spec;
    size_t per_ratio = 0;
    for (size_t m = 0; m < spec->n_methods; m++)
        per_ratio += spec->methods[m].method->stochastic ? spec->n_seeds : 1;
    per_ratio *= (spec->recovery.without ? 1 : 0) + spec->recovery.n_methods * spec->recovery.n_tokens;
    size_t n = spec->n_models * (1 + spec->n_ratios * per_ratio); /* each factor is bounded by the spec's limits */
    if (n > PARE_STORE_LOAD_MAX)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: the grid has %zu runs; at most %d", spec->path, n, PARE_STORE_LOAD_MAX);
    study->runs = PARE_PUSH(study->inner->arena, pare_run, n, error);
    study->inner->models = PARE_PUSH(study->inner->arena, study_model, spec->n_models, error);
    return study->runs && study->inner->models;
}

pare_study *pare_study_open(const char *path, const pare_context *context, pare_error *error) {
    pare_spec *spec = pare_spec_open(path, error);
    pare_arena *arena = spec ? pare_arena_open(error) : NULL;
    pare_study *study = arena ? PARE_PUSH(arena, pare_study, 1, error) : NULL;
    if (study)
        study->inner = PARE_PUSH(arena, struct pare_study_inner, 1, error);
    if (!study || !study->inner) {
        pare_arena_close(arena);
        pare_spec_close(spec);
        return NULL;
    }
    study->spec = study->inner->spec = spec;
    study->inner->arena = arena;
    bool done = begin_runs(study, error) && begin_notes(study, error);
    for (size_t i = 0; done && i < spec->n_models; i++)
        done = expand_model(study, i, context, error);
    if (done)
        return study;
    pare_study_close(study);
    return NULL;
}

void pare_study_close(pare_study *study) {
    if (!study)
        return;
    pare_spec_close(study->inner->spec);
    pare_arena_close(study->inner->arena); /* the study itself lies in it */
}
