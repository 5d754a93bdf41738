/* plan: how many units of each row stay. Shared by all methods: ratios, rounding, forecasts. */
#include <math.h>
#include <stdio.h>

#include "low_rank.h"
#include "pare/compress.h"

static bool check_ratio(double ratio, pare_error *error) {
    return (ratio >= 0 && ratio < 1) || pare_fail(error, PARE_ERROR_USAGE, "ratio %g: it must be at least 0 and below 1", ratio);
}

/* Of one layer: every matrix keeps the directions that its share of weights is enough for. */
static uint32_t directions_at(const pare_config *config, double ratio) {
    uint32_t n = 0;
    for (int p = 0; p < PARE_PROJECTIONS; p++)
        n += low_rank_at(pare_config_linear(config, 0, (pare_projection)p), ratio);
    return n;
}

bool pare_plan_make(pare_plan *plan, pare_unit unit, const pare_config *config, double ratio, uint32_t multiple, pare_error *error) {
    pare_scores shape;
    *plan = (pare_plan){.unit = unit, .ratio = ratio, .multiple = pare_unit_aligned(unit) ? multiple : 1};
    if (!check_ratio(ratio, error) || !pare_scores_shape(&shape, unit, config, error))
        return false;
    if (unit == PARE_UNIT_SEVERAL) {
        shape.n_rows = 1;
        shape.n_units = (uint32_t)(pare_config_size(config).non_embedding / config->n_layers);
    }
    uint32_t n = shape.n_units, step = plan->multiple;
    if (step == 0 || step > n)
        return pare_fail(error, PARE_ERROR_USAGE, "multiple %u: it must lie between 1 and the %u %s", step, n, pare_unit_name(unit));
    if (unit == PARE_UNIT_SEVERAL) {
        if (multiple > config->ffn_width)
            return pare_fail(error, PARE_ERROR_USAGE, "multiple %u: it must lie between 1 and the %u FFN neurons", multiple,
                             config->ffn_width);
        step = 1; /* the multiple is of the FFN width */
    }
    uint32_t rounded = (uint32_t)floor((1 - ratio) * n / step + 0.5) * step;
    rounded = rounded < step ? step : rounded;
    plan->n_rows = shape.n_rows;
    plan->n_units = n;
    plan->n_kept = ratio == 0 || rounded > n ? n : unit == PARE_UNIT_DIRECTIONS ? directions_at(config, ratio) : rounded;
    return true;
}

bool pare_plan_protect(pare_plan *plan, const bool *layers, const pare_config *config, pare_error *error) {
    if (plan->unit != PARE_UNIT_FFN && plan->unit != PARE_UNIT_GROUPS && plan->unit != PARE_UNIT_HEADS)
        return pare_fail(error, PARE_ERROR_USAGE, "%s are not cut layer by layer: no layer can be kept whole", pare_unit_name(plan->unit));
    uint32_t *each = pare_allocate(plan->n_rows, sizeof *each, error);
    for (uint32_t i = 0; each && i < plan->n_rows; i++)
        each[i] = layers[i / (plan->n_rows / config->n_layers)] ? plan->n_units : pare_plan_kept(plan, i);
    if (!each)
        return false;
    pare_free(plan->each);
    plan->each = each;
    return true;
}

void pare_plan_free(pare_plan *plan) {
    pare_free(plan->each);
    *plan = (pare_plan){0};
}

bool pare_plan_keeps_all(const pare_plan *plan) {
    for (uint32_t i = 0; i < plan->n_rows; i++)
        if (pare_plan_kept(plan, i) < plan->n_units)
            return false;
    return true;
}

/* ---- forecasts ---- */

/* What is asked about the configuration of what is left. */
typedef void config_use(void *user, const pare_config *left);

static bool use_factors(config_use *use, void *user, const pare_plan *plan, const pare_config *config, pare_error *error) {
    pare_config factored = *config;
    pare_layer_ranks *ranks = pare_allocate(config->n_layers, sizeof *ranks, error);
    for (uint32_t i = 0; ranks && i < config->n_layers; i++)
        for (int p = 0; p < PARE_PROJECTIONS; p++)
            ranks[i].of[p] = low_rank_at(pare_config_linear(config, i, (pare_projection)p), plan->ratio);
    factored.ranks = pare_plan_keeps_all(plan) ? NULL : ranks;
    if (ranks)
        use(user, &factored);
    pare_free(ranks);
    return ranks != NULL;
}

/* A tied model gets a head of its own; by block, every layer gets shortcuts. */
static bool use_coordinates(config_use *use, void *user, const pare_plan *plan, const pare_config *config) {
    pare_config rotated = *config;
    rotated.width = plan->n_kept;
    rotated.tied = config->tied && pare_plan_keeps_all(plan);
    rotated.shortcuts = plan->unit == PARE_UNIT_BLOCK_COORDINATES && !pare_plan_keeps_all(plan);
    use(user, &rotated);
    return true;
}

/* A shape that was asked for is known before there are scores. */
static bool use_shape(config_use *use, void *user, const pare_plan *plan, const pare_config *config) {
    pare_config left = *config;
    left.ffn_width = plan->shape.ffn;
    left.n_heads = plan->shape.groups * (config->n_heads / config->n_kv_heads);
    left.n_kv_heads = plan->shape.groups;
    left.n_layers = plan->shape.layers;
    use(user, &left);
    return true;
}

static bool use_forecast(config_use *use, void *user, const pare_plan *plan, const pare_config *config, pare_error *error) {
    pare_scores even;
    if (!pare_scores_shape(&even, plan->unit, config, error))
        return false;
    if (plan->unit == PARE_UNIT_COORDINATES || plan->unit == PARE_UNIT_BLOCK_COORDINATES)
        return use_coordinates(use, user, plan, config);
    if (plan->unit == PARE_UNIT_DIRECTIONS)
        return use_factors(use, user, plan, config, error);
    if (plan->unit == PARE_UNIT_SEVERAL && plan->shape.layers)
        return use_shape(use, user, plan, config);
    even.values = pare_allocate((size_t)even.n_rows * even.n_units, sizeof(double), error);
    pare_cut *cut = even.values ? pare_cut_make(config, &even, plan, error) : NULL;
    if (cut)
        use(user, &cut->config);
    bool done = cut != NULL;
    pare_cut_close(cut);
    pare_scores_free(&even);
    return done;
}

static void use_size(void *user, const pare_config *left) {
    *(pare_size *)user = pare_config_size(left);
}

bool pare_plan_forecast(pare_size *size, const pare_plan *plan, const pare_config *config, pare_error *error) {
    return use_forecast(use_size, size, plan, config, error);
}

typedef struct {
    pare_dtype dtype;
    bool whole;
    uint64_t bytes;
} byte_question;

static void use_bytes(void *user, const pare_config *left) {
    byte_question *q = user;
    pare_config written = *left;
    written.ranks = q->whole ? NULL : left->ranks;
    q->bytes = pare_config_bytes(&written, q->dtype);
}

bool pare_plan_bytes(uint64_t *bytes, const pare_plan *plan, const pare_config *config, pare_dtype dtype, bool whole, pare_error *error) {
    byte_question q = {.dtype = dtype, .whole = whole};
    bool done = use_forecast(use_bytes, &q, plan, config, error);
    *bytes = q.bytes;
    return done;
}

/* ---- shapes ---- */

/* n of the `there` units that are called so; only multiples of `step` are possible. */
static bool legal(uint32_t n, uint32_t there, uint32_t step, const char *what, pare_error *error) {
    if (n >= 1 && n <= there && n % step == 0)
        return true;
    if (step == 1)
        return pare_fail(error, PARE_ERROR_RANGE, "%u %s: from 1 to %u are possible", n, what, there);
    return pare_fail(error, PARE_ERROR_RANGE, "%u %s: multiples of %u up to %u are possible, as many for each key-value head", n, what,
                     step, there);
}

static bool shape_of_several(pare_plan *plan, const pare_config *c, const pare_shape *s, pare_error *error) {
    uint32_t group = c->n_heads / c->n_kv_heads;
    if (s->channels)
        return pare_fail(error, PARE_ERROR_USAGE,
                         "this method cuts FFN neurons, key-value heads and layers (--ffn, --heads, --groups, --layers)");
    if (s->heads && s->groups && s->heads != s->groups * group)
        return pare_fail(error, PARE_ERROR_RANGE, "%u query heads for %u key-value heads: this method keeps %u for each", s->heads,
                         s->groups, group);
    plan->shape = (pare_shape){.ffn = s->ffn ? s->ffn : c->ffn_width,
                               .groups = s->groups  ? s->groups
                                         : s->heads ? s->heads / group
                                                    : c->n_kv_heads,
                               .layers = s->layers ? s->layers : c->n_layers};
    if ((s->heads && s->heads % group != 0) || plan->shape.groups > c->n_kv_heads || plan->shape.groups == 0)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "%u query heads: multiples of %u up to %u are possible, which go with their key-value heads",
                         s->heads ? s->heads : s->groups * group, group, c->n_heads);
    if (!legal(plan->shape.ffn, c->ffn_width, 1, "FFN neurons", error) || !legal(plan->shape.layers, c->n_layers, 1, "layers", error))
        return false;
    pare_config left = *c;
    left.ffn_width = plan->shape.ffn;
    left.n_kv_heads = plan->shape.groups;
    left.n_heads = plan->shape.groups * group;
    left.n_layers = plan->shape.layers;
    uint64_t before = pare_config_size(c).non_embedding, after = pare_config_size(&left).non_embedding;
    plan->n_kept = after == before ? plan->n_units : (uint32_t)(after / c->n_layers);
    plan->ratio = 1 - (double)after / (double)before;
    return true;
}

bool pare_plan_shape(pare_plan *plan, pare_unit unit, const pare_config *config, const pare_shape *s, pare_error *error) {
    static const char *const flags[PARE_UNITS] = {"--ffn",      "--groups", "--heads", "--channels", "--channels",
                                                  "--channels", "--layers", NULL,      NULL};
    const uint32_t wanted[PARE_UNITS] = {s->ffn, s->groups, s->heads, s->channels, s->channels, s->channels, s->layers, 0, 0};
    if (!pare_plan_make(plan, unit, config, 0, 1, error))
        return false;
    if (unit == PARE_UNIT_SEVERAL)
        return shape_of_several(plan, config, s, error);
    if (!flags[unit])
        return pare_fail(error, PARE_ERROR_USAGE, "%s are not counted by a shape: use --ratio, --params, --bytes or --macs",
                         pare_unit_name(unit));
    bool others = s->ffn + s->heads + s->groups + s->channels + s->layers != wanted[unit];
    if (wanted[unit] == 0 || others)
        return pare_fail(error, PARE_ERROR_USAGE, "this method cuts %s alone: %s N says how many stay", pare_unit_name(unit), flags[unit]);
    uint32_t step = unit == PARE_UNIT_HEADS ? config->n_kv_heads : 1, there = unit == PARE_UNIT_HEADS ? config->n_heads : plan->n_units;
    if (!legal(wanted[unit], there, step, pare_unit_name(unit), error))
        return false;
    plan->n_kept = wanted[unit] / step;
    plan->ratio = 1 - (double)plan->n_kept / plan->n_units;
    return true;
}

/* ---- budgets ---- */

typedef struct {
    pare_unit unit;
    const pare_config *config;
    const pare_limit *limit;
    uint32_t multiple;
} question;

static uint64_t counted(const pare_limit *limit, const pare_size *size) {
    const uint64_t counts[] = {size->parameters, size->non_embedding, size->macs};
    return counts[limit->budget];
}

uint64_t pare_limit_of(const pare_limit *limit, const pare_config *config) {
    pare_size size = pare_config_size(config);
    return limit->budget == PARE_BUDGET_BYTES ? pare_config_bytes(config, limit->dtype) : counted(limit, &size);
}

static bool left(uint64_t *size, pare_plan *plan, const question *q, double ratio, pare_error *error) {
    pare_size all;
    if (!pare_plan_make(plan, q->unit, q->config, ratio, q->multiple, error))
        return false;
    if (q->limit->budget == PARE_BUDGET_BYTES)
        return pare_plan_bytes(size, plan, q->config, q->limit->dtype, false, error);
    if (!pare_plan_forecast(&all, plan, q->config, error))
        return false;
    *size = counted(q->limit, &all);
    return true;
}

/* *plan: of the least ratio in [low, high) that leaves at most `most`; at `high` that is known to hold. What is left falls with the ratio.
 */
static bool bisect(pare_plan *plan, uint64_t most, const question *q, double low, double high, pare_error *error) {
    uint64_t size;
    for (int i = 0; i < 40; i++) {
        double middle = (low + high) / 2;
        if (!left(&size, plan, q, middle, error))
            return false;
        if (size <= most)
            high = middle;
        else
            low = middle;
    }
    return left(&size, plan, q, high, error);
}

/* "157286400 bytes (150 MiB)", "118000000 parameters"; short: "118000000". */
static const char *in_words(char text[64], const pare_limit *limit, uint64_t n, bool shortly) {
    static const char *const names[] = {" parameters", " parameters outside of embeddings", " multiply-accumulates per token"};
    if (limit->budget == PARE_BUDGET_BYTES && n < 1048576)
        snprintf(text, 64, "%llu bytes", (unsigned long long)n);
    else if (limit->budget == PARE_BUDGET_BYTES)
        snprintf(text, 64, "%llu bytes (%.4g MiB)", (unsigned long long)n, (double)n / 1048576);
    else
        snprintf(text, 64, "%llu%s", (unsigned long long)n, shortly ? "" : names[limit->budget]);
    return text;
}

static bool refuse(uint64_t smallest, const question *q, pare_error *error) {
    double low = 0, high = 1 - 1e-9;
    pare_plan plan;
    uint64_t size, next = 0;
    for (int i = 0; i < 40; i++) { /* the largest ratio that leaves more than the smallest */
        double middle = (low + high) / 2;
        if (!left(&size, &plan, q, middle, error))
            return false;
        if (size > smallest) {
            low = middle;
            next = size;
        } else {
            high = middle;
        }
    }
    char asked[64], least[64], second[64];
    return pare_fail(error, PARE_ERROR_RANGE, "%s cannot be reached by cutting %s alone: the smallest sizes are %s and %s",
                     in_words(asked, q->limit, q->limit->most, false), pare_unit_name(q->unit), in_words(least, q->limit, smallest, true),
                     in_words(second, q->limit, next, true));
}

/* Several units are counted in weights, so that the ratio is known; the shape is chosen when scores are. */
static bool fit_several(pare_plan *plan, const question *q, pare_error *error) {
    const pare_dtype_traits *traits = pare_dtype_info(q->limit->dtype);
    double each = q->limit->budget == PARE_BUDGET_BYTES ? (double)traits->bytes / traits->block : 1; /* of a weight that goes */
    double all = (double)pare_config_size(q->config).non_embedding, of = (double)pare_limit_of(q->limit, q->config);
    double gone = fmax(of - (double)q->limit->most, 0) / each, ratio = gone / all;
    char asked[64];
    if (ratio >= 1)
        return pare_fail(error, PARE_ERROR_RANGE, "%s cannot be reached: this method does not cut the embeddings",
                         in_words(asked, q->limit, q->limit->most, false));
    return pare_plan_make(plan, q->unit, q->config, ratio, q->multiple, error);
}

bool pare_plan_fit(pare_plan *plan, pare_unit unit, const pare_config *config, const pare_limit *limit, uint32_t multiple,
                   pare_error *error) {
    const question q = {unit, config, limit, multiple};
    const double most_of_all = 1 - 1e-9;
    uint64_t size;
    if (unit == PARE_UNIT_SEVERAL)
        return fit_several(plan, &q, error);
    if (!left(&size, plan, &q, 0, error))
        return false;
    if (size <= limit->most)
        return true; /* nothing needs to go */
    if (!left(&size, plan, &q, most_of_all, error))
        return false;
    return size > limit->most ? refuse(size, &q, error) : bisect(plan, limit->most, &q, 0, most_of_all, error);
}
