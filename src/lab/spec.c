/* spec: YAML tree -> pare_spec. Every value is checked here, so that a study that begins has nothing wrong with it that could
 * have been seen before; each message names file and line, and what would be right. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "study_impl.h"
#include "pare/yaml.h"

enum { MODELS_MAX = 256, RATIOS_MAX = 1000, SEEDS_MAX = 1000, MULTIPLE_MAX = 1 << 16, TOKENS_MAX = 1 << 26 };

/* ---- typed values -------------------------------------------------------------------------- */

/* What a spec is read with: `path` leads every message. */
typedef struct {
    const char *path;
    pare_spec *spec;
    pare_error *error;
} parser;

static bool fail_at(const parser *p, size_t line, const char *format, ...) PARE_PRINTF(3, 4);
static bool fail_at(const parser *p, size_t line, const char *format, ...) {
    char text[800];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return pare_fail(p->error, PARE_ERROR_FORMAT, "%s:%zu: %s", p->path, line, text);
}

/* "ratios", or "an item" of a list. */
static const char *name_of(const pare_yaml *node) {
    return node->key ? node->key : "an item";
}

static bool want(const parser *p, const pare_yaml *node, pare_yaml_kind kind) {
    static const char *const kinds[] = {"a single value", "a list, [a, b] or lines that begin with -", "keys with values, key: value"};
    return node->kind == kind || fail_at(p, node->line, "%s must be %s", name_of(node), kinds[kind]);
}

/* Refuses members that `keys` (n of them) does not hold. where: "this spec", "evaluate", … */
static bool check_keys(const parser *p, const pare_yaml *map, const char *where, const char *const *keys, size_t n) {
    char shown[PARE_YAML_SHOW_BYTES];
    for (const pare_yaml *child = map->first; child; child = child->next) {
        bool known = false;
        pare_string all = {0};
        for (size_t i = 0; i < n; i++) {
            known = known || strcmp(child->key, keys[i]) == 0;
            pare_string_print(&all, "%s%s", i ? ", " : "", keys[i]);
        }
        const char *near = known ? NULL : pare_nearest(child->key, keys, n);
        if (!known)
            fail_at(p, child->line, "unknown key \"%s\" in %s; the keys are %s%s%s%s", pare_yaml_show(shown, child->key), where,
                    all.failed ? "" : all.data, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
        pare_string_free(&all);
        if (!known)
            return false;
    }
    return true;
}

static const pare_yaml *require(const parser *p, const pare_yaml *map, const char *where, const char *key) {
    const pare_yaml *node = pare_yaml_find(map, key);
    if (!node)
        fail_at(p, map->line, "%s lacks the key %s", where, key);
    return node;
}

/* Text that is not empty; plain ~ and nothing at all are YAML's null. */
static bool read_text(const parser *p, const pare_yaml *node, const char **text) {
    if (!want(p, node, PARE_YAML_SCALAR))
        return false;
    if (!*node->text || (node->plain && (strcmp(node->text, "~") == 0 || strcmp(node->text, "null") == 0)))
        return fail_at(p, node->line, "%s has no value", name_of(node));
    for (const char *c = node->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) /* it is shown on terminals and in reports */
            return fail_at(p, node->line, "%s holds a line break or another control character", name_of(node));
    *text = node->text;
    return true;
}

/* Decimal digits alone, so that 010 or 1_000 mean nothing by surprise. */
static bool read_whole(const parser *p, const pare_yaml *node, uint64_t least, uint64_t most, uint64_t *value) {
    char shown[PARE_YAML_SHOW_BYTES];
    if (!want(p, node, PARE_YAML_SCALAR))
        return false;
    size_t n = strlen(node->text);
    bool whole = node->plain && n > 0 && n < 20 && strspn(node->text, "0123456789") == n && (n == 1 || *node->text != '0');
    uint64_t found = whole ? strtoull(node->text, NULL, 10) : 0;
    if (!whole || found < least || found > most)
        return fail_at(p, node->line, "%s is \"%s\"; it must be a whole number from %llu to %llu", name_of(node),
                       pare_yaml_show(shown, node->text), (unsigned long long)least, (unsigned long long)most);
    *value = found;
    return true;
}

static bool read_number(const parser *p, const pare_yaml *node, double *value) {
    char shown[PARE_YAML_SHOW_BYTES], *end = NULL;
    if (!want(p, node, PARE_YAML_SCALAR))
        return false;
    /* only digits, so that strtod cannot meet inf, nan or hexadecimal */
    bool digits = node->plain && *node->text && strspn(node->text, "0123456789+-.eE") == strlen(node->text);
    *value = digits ? strtod(node->text, &end) : 0;
    if (!digits || *end || !isfinite(*value))
        return fail_at(p, node->line, "%s is \"%s\"; it must be a number", name_of(node), pare_yaml_show(shown, node->text));
    return true;
}

/* A list with 1 to `most` items. */
static bool want_items(const parser *p, const pare_yaml *node, size_t most) {
    if (!want(p, node, PARE_YAML_LIST))
        return false;
    if (node->n == 0)
        return fail_at(p, node->line, "%s is empty: the grid would be too", name_of(node));
    return node->n <= most || fail_at(p, node->line, "%s has %zu items; at most %zu", name_of(node), node->n, most);
}

/* A path as it is from here: relative ones start at the spec's folder. */
static bool read_path(const parser *p, const pare_yaml *node, const char **written, const char **path) {
    const char *text = "", *slash = strrchr(p->path, '/');
    if (!read_text(p, node, &text))
        return false;
    int folder = *text == '/' || !slash ? 0 : (int)(slash - p->path) + 1;
    if (written)
        *written = text;
    return (*path = pare_arena_format(p->spec->arena, p->error, "%.*s%s", folder, p->path, text)) != NULL;
}

/* ---- the keys ------------------------------------------------------------------------------ */

/* The last part of a path without .gguf: what a model is called unless it is told. */
static const char *default_name(const parser *p, const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (length - start > 5 && strncmp(path + length - 5, ".gguf", 5) == 0)
        length -= 5;
    return pare_arena_copy(p->spec->arena, path + start, length - start, p->error);
}

static bool read_model(const parser *p, const pare_yaml *node, pare_spec_model *model) {
    static const char *const keys[] = {"path", "name"};
    const pare_yaml *path = node, *name = NULL;
    model->line = node->line;
    if (node->kind == PARE_YAML_MAP) {
        if (!check_keys(p, node, "a model", keys, 2) || !(path = require(p, node, "a model", "path")))
            return false;
        name = pare_yaml_find(node, "name");
    }
    if (!read_path(p, path, NULL, &model->path))
        return false;
    return name ? read_text(p, name, &model->name) : (model->name = default_name(p, model->path)) != NULL;
}

static bool read_models(const parser *p, const pare_yaml *node) {
    pare_spec *spec = p->spec;
    char shown[PARE_YAML_SHOW_BYTES];
    if (!want_items(p, node, MODELS_MAX) || !(spec->models = PARE_PUSH(spec->arena, pare_spec_model, node->n, p->error)))
        return false;
    for (const pare_yaml *item = node->first; item; item = item->next) {
        pare_spec_model *model = &spec->models[spec->n_models];
        if (!read_model(p, item, model))
            return false;
        for (size_t i = 0; i < spec->n_models; i++)
            if (strcmp(model->name, spec->models[i].name) == 0)
                return fail_at(p, item->line, "two models are called \"%s\" (line %zu too); give one of them a name: {path: …, name: …}",
                               pare_yaml_show(shown, model->name), spec->models[i].line);
        spec->n_models++;
    }
    return true;
}

static bool read_evaluate(const parser *p, const pare_yaml *node) {
    static const char *const keys[] = {"text", "protocol", "windows"};
    pare_spec *spec = p->spec;
    const char *protocol;
    pare_error problem = {0};
    uint64_t windows = 0;
    const pare_yaml *text, *name, *limit;
    if (!want(p, node, PARE_YAML_MAP) || !check_keys(p, node, "evaluate", keys, 3) || !(text = require(p, node, "evaluate", "text")) ||
        !(name = require(p, node, "evaluate", "protocol")) || !read_path(p, text, &spec->evaluate.text, &spec->evaluate.path) ||
        !read_text(p, name, &protocol))
        return false;
    spec->evaluate.line = text->line;
    if (!pare_protocol_parse(&spec->evaluate.protocol, protocol, &problem))
        return fail_at(p, name->line, "%.400s", problem.message);
    limit = pare_yaml_find(node, "windows");
    if (limit && !read_whole(p, limit, 1, UINT32_MAX, &windows))
        return false;
    spec->evaluate.n_windows = (size_t)windows;
    return true;
}

static bool read_calibrate(const parser *p, const pare_yaml *node) {
    static const char *const keys[] = {"text", "windows", "length"};
    pare_spec *spec = p->spec;
    uint64_t windows = 32, length = 512;
    const pare_yaml *text, *n, *l;
    if (!node)
        return true;
    if (!want(p, node, PARE_YAML_MAP) || !check_keys(p, node, "calibrate", keys, 3) || !(text = require(p, node, "calibrate", "text")) ||
        !read_path(p, text, &spec->calibrate.text, &spec->calibrate.path))
        return false;
    n = pare_yaml_find(node, "windows");
    l = pare_yaml_find(node, "length");
    if ((n && !read_whole(p, n, 1, 1 << 16, &windows)) || (l && !read_whole(p, l, 1, 1 << 20, &length)))
        return false;
    if (windows * length > TOKENS_MAX)
        return fail_at(p, node->line, "calibrate: %llu windows of %llu tokens are too many; at most %d tokens in all",
                       (unsigned long long)windows, (unsigned long long)length, TOKENS_MAX);
    spec->calibrate.line = text->line;
    spec->calibrate.n_windows = (size_t)windows;
    spec->calibrate.length = (size_t)length;
    return true;
}

/* ---- recovery ---- */

const char *pare_recovery_name(pare_recovery recovery) {
    static const char *const names[PARE_RECOVERIES] = {"lora", "full", "distillation"};
    return names[recovery];
}

/* One item, or a list of them. */
typedef bool (*read_item)(const parser *p, const pare_yaml *item);
static bool read_one_or_more(const parser *p, const pare_yaml *node, size_t most, read_item read) {
    if (node->kind != PARE_YAML_LIST)
        return read(p, node);
    if (!want_items(p, node, most))
        return false;
    for (const pare_yaml *item = node->first; item; item = item->next)
        if (!read(p, item))
            return false;
    return true;
}

static bool read_recovery_method(const parser *p, const pare_yaml *node) {
    pare_spec_recovery *r = &p->spec->recovery;
    char shown[PARE_YAML_SHOW_BYTES];
    const char *name;
    if (!read_text(p, node, &name))
        return false;
    for (int m = 0; m < PARE_RECOVERIES; m++) {
        if (strcmp(name, pare_recovery_name((pare_recovery)m)) != 0)
            continue;
        for (size_t i = 0; i < r->n_methods; i++)
            if (r->methods[i] == (pare_recovery)m)
                return fail_at(p, node->line, "recovery method %s is listed twice", name);
        r->methods[r->n_methods++] = (pare_recovery)m;
        return true;
    }
    return fail_at(p, node->line, "unknown recovery method \"%s\"; there are lora, full and distillation", pare_yaml_show(shown, name));
}

static bool read_budget(const parser *p, const pare_yaml *node) {
    pare_spec_recovery *r = &p->spec->recovery;
    char shown[PARE_YAML_SHOW_BYTES];
    uint64_t tokens = 0;
    const char *text;
    if (!read_text(p, node, &text))
        return false;
    bool none = strcmp(text, "0") == 0;
    if (!none && !pare_count_parse(&tokens, text))
        return fail_at(p, node->line, "recovery tokens \"%s\": a number of tokens like 0, 500000, 0.5M or 100k",
                       pare_yaml_show(shown, text));
    size_t at = r->n_tokens;
    while (at > 0 && r->tokens[at - 1] >= tokens)
        at--;
    if (none ? r->without : at < r->n_tokens && r->tokens[at] == tokens)
        return fail_at(p, node->line, "recovery tokens %s is listed twice", text);
    r->without = r->without || none;
    if (none)
        return true;
    memmove(r->tokens + at + 1, r->tokens + at, (r->n_tokens - at) * sizeof *r->tokens);
    r->tokens[at] = tokens;
    r->n_tokens++;
    return true;
}

static bool read_recovery_file(const parser *p, const pare_yaml *node) {
    pare_spec_recovery *r = &p->spec->recovery;
    const char *written;
    r->lines[r->n_paths] = node->line;
    if (!read_path(p, node, &written, &r->paths[r->n_paths]))
        return false;
    r->text = r->n_paths++ == 0 ? written : pare_arena_format(p->spec->arena, p->error, "%s, %s", r->text, written);
    return r->text != NULL;
}

static bool read_recovery_settings(const parser *p, const pare_yaml *node) {
    pare_spec_recovery *r = &p->spec->recovery;
    const pare_yaml *length = pare_yaml_find(node, "seq"), *batch = pare_yaml_find(node, "batch"), *rate = pare_yaml_find(node, "lr"),
                    *schedule = pare_yaml_find(node, "schedule"), *epochs = pare_yaml_find(node, "epochs"),
                    *rank = pare_yaml_find(node, "rank"), *dropout = pare_yaml_find(node, "dropout");
    uint64_t n_length = r->tune.length, n_batch = r->tune.batch, n_epochs = 1, n_rank = r->tune.rank;
    const char *name = NULL;
    pare_error problem = {0};
    if ((length && !read_whole(p, length, 2, 1 << 20, &n_length)) || (batch && !read_whole(p, batch, 1, 1 << 16, &n_batch)) ||
        (epochs && !read_whole(p, epochs, 1, 1 << 20, &n_epochs)) || (rank && !read_whole(p, rank, 1, 1 << 12, &n_rank)) ||
        (rate && !read_number(p, rate, &r->tune.rate)) || (dropout && !read_number(p, dropout, &r->tune.dropout)) ||
        (schedule && !read_text(p, schedule, &name)))
        return false;
    if (!(r->tune.rate > 0))
        return fail_at(p, rate->line, "lr is %g; it must be above 0", r->tune.rate);
    if (!(r->tune.dropout >= 0 && r->tune.dropout < 1))
        return fail_at(p, dropout->line, "dropout is %g; it must be from 0 to below 1", r->tune.dropout);
    if (name && !pare_schedule_find(&r->tune.schedule, name, &problem))
        return fail_at(p, schedule->line, "%.400s", problem.message);
    r->tune.length = (size_t)n_length;
    r->tune.batch = (size_t)n_batch;
    r->tune.rank = (uint32_t)n_rank;
    r->epochs = (uint32_t)n_epochs;
    return true;
}

/* Two budgets of as many steps would be one run. */
static bool check_budgets(const parser *p, const pare_yaml *tokens) {
    const pare_spec_recovery *r = &p->spec->recovery;
    for (size_t i = 1; i < r->n_tokens; i++)
        if (study_recovery_steps(r, r->tokens[i]) == study_recovery_steps(r, r->tokens[i - 1]))
            return fail_at(p, tokens->line, "recovery tokens %llu and %llu are the same number of steps: one takes %zu tokens (seq, batch)",
                           (unsigned long long)r->tokens[i - 1], (unsigned long long)r->tokens[i], r->tune.batch * r->tune.length);
    return true;
}

static bool read_recovery(const parser *p, const pare_yaml *node) {
    static const char *const keys[] = {"method", "tokens", "data", "seq", "batch", "lr", "schedule", "epochs", "rank", "dropout"};
    static const char where[] = "recovery";
    pare_spec_recovery *r = &p->spec->recovery;
    const pare_yaml *method, *tokens, *data;
    r->without = !node;
    if (!node)
        return true;
    r->tune = pare_tune_defaults();
    r->line = node->line;
    return want(p, node, PARE_YAML_MAP) && check_keys(p, node, where, keys, sizeof keys / sizeof keys[0]) &&
           (method = require(p, node, where, "method")) && (tokens = require(p, node, where, "tokens")) &&
           (data = require(p, node, where, "data")) && read_one_or_more(p, method, PARE_RECOVERIES, read_recovery_method) &&
           read_one_or_more(p, tokens, PARE_RECOVERY_BUDGETS_MAX, read_budget) &&
           read_one_or_more(p, data, PARE_RECOVERY_FILES_MAX, read_recovery_file) && read_recovery_settings(p, node) &&
           check_budgets(p, tokens);
}

/* ---- methods, ratios, seeds ---- */

static const pare_method *find_method(const parser *p, const pare_yaml *node, const char *name) {
    const char *names[64], *near;
    char shown[PARE_YAML_SHOW_BYTES];
    pare_error problem = {0};
    size_t n = 0;
    const pare_method *method = pare_method_find(name, &problem);
    if (method)
        return method;
    while (pare_methods[n] && n < sizeof names / sizeof names[0])
        names[n] = pare_methods[n]->name, n++;
    pare_string all = {0};
    for (size_t i = 0; i < n; i++)
        pare_string_print(&all, "%s%s", i ? ", " : "", names[i]);
    near = pare_nearest(name, names, n);
    if (strcmp(name, "dense") == 0)
        fail_at(p, node->line, "\"dense\" need not be listed: every study measures the dense model");
    else
        fail_at(p, node->line, "unknown method \"%s\"%s%s%s The methods are %s", pare_yaml_show(shown, name), near ? "; did you mean " : "",
                near ? near : "", near ? "?" : ".", all.failed ? "" : all.data);
    pare_string_free(&all);
    return NULL;
}

/* "wanda-sp", or {name: wanda-sp, allocation: sensitivity}. */
static bool read_method(const parser *p, const pare_yaml *item, pare_spec_method *found) {
    static const char *const keys[] = {"name", "allocation"};
    const pare_yaml *name = item, *allocation = NULL;
    const char *text;
    char shown[PARE_YAML_SHOW_BYTES];
    pare_error problem = {0};
    if (item->kind == PARE_YAML_MAP) {
        if (!check_keys(p, item, "a method", keys, 2) || !(name = require(p, item, "a method", "name")))
            return false;
        allocation = pare_yaml_find(item, "allocation");
    }
    if (!read_text(p, name, &text) || !(found->method = find_method(p, name, text)))
        return false;
    found->name = found->method->name;
    if (!allocation)
        return true;
    if (!read_text(p, allocation, &text))
        return false;
    if (!pare_allocation_find(&found->allocation, text))
        return fail_at(p, allocation->line, "allocation \"%s\": uniform, global or sensitivity", pare_yaml_show(shown, text));
    if (!pare_allocation_check(found->allocation, found->method, &problem))
        return fail_at(p, allocation->line, "%.400s", problem.message);
    if (found->allocation != PARE_ALLOCATION_UNIFORM)
        found->name = pare_arena_format(p->spec->arena, p->error, "%s (%s)", found->method->name, text);
    return found->name != NULL;
}

static bool read_methods(const parser *p, const pare_yaml *node) {
    pare_spec *spec = p->spec;
    if (!want_items(p, node, 128) || !(spec->methods = PARE_PUSH(spec->arena, pare_spec_method, node->n, p->error)))
        return false;
    for (const pare_yaml *item = node->first; item; item = item->next) {
        pare_spec_method *found = &spec->methods[spec->n_methods];
        if (!read_method(p, item, found))
            return false;
        for (size_t i = 0; i < spec->n_methods; i++)
            if (strcmp(spec->methods[i].name, found->name) == 0)
                return fail_at(p, item->line, "method %s is listed twice", found->name);
        if (found->method->calibrated && !spec->calibrate.text)
            return fail_at(p, item->line, "method %s looks at activations: add calibrate: {text: FILE}", found->name);
        if (found->allocation == PARE_ALLOCATION_SENSITIVITY && !spec->calibrate.text)
            return fail_at(p, item->line, "allocation by sensitivity looks at losses: add calibrate: {text: FILE}");
        spec->n_methods++;
    }
    return true;
}

static bool add_ratio(const parser *p, size_t line, double ratio) {
    pare_spec *spec = p->spec;
    if (ratio > 1 && ratio < 100)
        return fail_at(p, line, "ratio %g: it must be at least 0 and below 1; %g %% is %g", ratio, ratio, ratio / 100);
    if (!(ratio >= 0 && ratio < 1))
        return fail_at(p, line, "ratio %g: it must be at least 0 and below 1", ratio);
    if (ratio == 0)
        return true; /* the dense model, which is measured anyway */
    size_t at = spec->n_ratios;
    while (at > 0 && spec->ratios[at - 1] >= ratio)
        at--;
    if (at < spec->n_ratios && spec->ratios[at] == ratio)
        return fail_at(p, line, "ratio %g is listed twice", ratio);
    memmove(spec->ratios + at + 1, spec->ratios + at, (spec->n_ratios - at) * sizeof *spec->ratios);
    spec->ratios[at] = ratio;
    spec->n_ratios++;
    return true;
}

/* from, from + step, … up to `to`; rounded to ten digits, so that 0.1 + 2 * 0.1 is 0.3. */
static bool read_range(const parser *p, const pare_yaml *node) {
    static const char *const keys[] = {"from", "to", "step"};
    double value[3];
    if (!check_keys(p, node, "ratios", keys, 3))
        return false;
    for (size_t i = 0; i < 3; i++) {
        const pare_yaml *member = require(p, node, "ratios", keys[i]);
        if (!member || !read_number(p, member, &value[i]))
            return false;
    }
    double from = value[0], to = value[1], step = value[2], steps = floor((to - from) / step + 1e-6);
    if (!(step > 0 && from <= to && steps < RATIOS_MAX))
        return fail_at(p, node->line, "ratios: from %g to %g by %g is no range of 1 to %d ratios", from, to, step, RATIOS_MAX);
    for (size_t i = 0; i <= (size_t)steps; i++) {
        char text[40];
        snprintf(text, sizeof text, "%.10g", from + (double)i * step);
        if (!add_ratio(p, node->line, strtod(text, NULL)))
            return false;
    }
    return true;
}

static bool read_ratios(const parser *p, const pare_yaml *node) {
    pare_spec *spec = p->spec;
    if (!(spec->ratios = PARE_PUSH(spec->arena, double, RATIOS_MAX, p->error)))
        return false;
    if (node->kind == PARE_YAML_MAP)
        return read_range(p, node);
    if (!want_items(p, node, RATIOS_MAX))
        return false;
    for (const pare_yaml *item = node->first; item; item = item->next) {
        double ratio;
        if (!read_number(p, item, &ratio) || !add_ratio(p, item->line, ratio))
            return false;
    }
    return true;
}

static bool read_seeds(const parser *p, const pare_yaml *node) {
    pare_spec *spec = p->spec;
    size_t n = node && node->kind == PARE_YAML_LIST && node->n > 0 ? node->n : 1;
    if ((node && !want_items(p, node, SEEDS_MAX)) || !(spec->seeds = PARE_PUSH(spec->arena, uint64_t, n, p->error)))
        return false;
    if (!node)
        spec->n_seeds = 1; /* seed 0 */
    for (const pare_yaml *item = node ? node->first : NULL; item; item = item->next) {
        uint64_t *seed = &spec->seeds[spec->n_seeds];
        if (!read_whole(p, item, 0, INT64_MAX, seed))
            return false;
        for (size_t i = 0; i < spec->n_seeds; i++)
            if (spec->seeds[i] == *seed)
                return fail_at(p, item->line, "seed %llu is listed twice", (unsigned long long)*seed);
        spec->n_seeds++;
    }
    return true;
}

/* "demo.yaml" keeps its runs in "demo.ledger" beside it. */
static bool read_ledger(const parser *p, const pare_yaml *node) {
    if (node)
        return read_path(p, node, NULL, &p->spec->ledger);
    size_t length = strlen(p->path);
    if (length > 5 && strcmp(p->path + length - 5, ".yaml") == 0)
        length -= 5;
    else if (length > 4 && strcmp(p->path + length - 4, ".yml") == 0)
        length -= 4;
    return (p->spec->ledger = pare_arena_format(p->spec->arena, p->error, "%.*s.ledger", (int)length, p->path)) != NULL;
}

/* Calibration before methods: they are checked against it. */
static bool read_spec(const parser *p, const pare_yaml *root) {
    static const char *const keys[] = {"models", "evaluate", "calibrate", "recovery", "methods", "ratios", "multiple", "seeds", "ledger"};
    static const char where[] = "this spec";
    const pare_yaml *models, *evaluate, *methods, *ratios, *multiple = NULL;
    uint64_t width = 32;
    if (root->kind != PARE_YAML_MAP)
        return fail_at(p, root->line, "a spec is made of keys with values, such as models: [model.gguf]");
    if (!check_keys(p, root, where, keys, sizeof keys / sizeof keys[0]) || !(models = require(p, root, where, "models")) ||
        !(evaluate = require(p, root, where, "evaluate")) || !(methods = require(p, root, where, "methods")) ||
        !(ratios = require(p, root, where, "ratios")) || !read_models(p, models) || !read_evaluate(p, evaluate) ||
        !read_calibrate(p, pare_yaml_find(root, "calibrate")) || !read_recovery(p, pare_yaml_find(root, "recovery")) ||
        !read_methods(p, methods) || !read_ratios(p, ratios))
        return false;
    multiple = pare_yaml_find(root, "multiple");
    if (multiple && !read_whole(p, multiple, 1, MULTIPLE_MAX, &width))
        return false;
    p->spec->multiple = (uint32_t)width;
    return read_seeds(p, pare_yaml_find(root, "seeds")) && read_ledger(p, pare_yaml_find(root, "ledger"));
}

/* ---- opening ------------------------------------------------------------------------------- */

pare_spec *pare_spec_parse(const char *bytes, size_t n, const char *path, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_spec *spec = arena ? PARE_PUSH(arena, pare_spec, 1, error) : NULL;
    const pare_yaml *root = NULL;
    if (spec) {
        spec->arena = arena;
        spec->path = pare_arena_copy(arena, path, strlen(path), error);
        root = spec->path ? pare_yaml_read(bytes, n, path, arena, error) : NULL;
    }
    if (root && read_spec(&(parser){path, spec, error}, root))
        return spec;
    pare_arena_close(arena);
    return NULL;
}

static bool check_there(const parser *p, size_t line, const char *path) {
    if (access(path, R_OK) == 0)
        return true;
    fail_at(p, line, "%.600s: no such file (or not readable)", path);
    if (p->error)
        p->error->code = PARE_ERROR_IO;
    return false;
}

static bool check_files(const parser *p) {
    const pare_spec *spec = p->spec;
    for (size_t i = 0; i < spec->n_models; i++)
        if (!check_there(p, spec->models[i].line, spec->models[i].path))
            return false;
    for (size_t i = 0; i < spec->recovery.n_paths; i++)
        if (!check_there(p, spec->recovery.lines[i], spec->recovery.paths[i]))
            return false;
    return check_there(p, spec->evaluate.line, spec->evaluate.path) &&
           (!spec->calibrate.path || check_there(p, spec->calibrate.line, spec->calibrate.path));
}

pare_spec *pare_spec_open(const char *path, pare_error *error) {
    pare_map map;
    if (!pare_map_open(&map, path, error))
        return NULL;
    static const char ledger[] = "SQLite format 3";
    pare_spec *spec = NULL;
    if (map.size >= sizeof ledger && memcmp(map.data, ledger, sizeof ledger) == 0)
        pare_fail(error, PARE_ERROR_FORMAT, "%s: this is a ledger; a study is described by a YAML file (the ledger is its --ledger)", path);
    else
        spec = pare_spec_parse((const char *)map.data, map.size, path, error);
    pare_map_close(&map);
    if (spec && !check_files(&(parser){path, spec, error})) {
        pare_spec_close(spec);
        return NULL;
    }
    return spec;
}

void pare_spec_close(pare_spec *spec) {
    if (spec)
        pare_arena_close(spec->arena); /* the spec itself lies in it */
}
