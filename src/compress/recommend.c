/* recommend: which method to take, by what we measured of all of them. */
#include <math.h>
#include <string.h>

#include "measured.h"
#include "pare/compress.h"

/* Straight lines between the measured shares, from no loss at 0; the last line goes on a little beyond the last share that was measured. */
static double excess_at(const double excess[MEASURED_SHARES], double share) {
    double x = 0, y = 0, slope = 0;
    for (int i = 0; i < MEASURED_SHARES && !isnan(excess[i]) && share > x; i++) {
        slope = (excess[i] - y) / (measured_shares[i] - x);
        x = measured_shares[i];
        y = excess[i];
    }
    return share < x + 0.1 ? y + slope * (share - x) : (double)NAN;
}

static double mean_excess(const measured_method *measured, double share) {
    double sum = 0;
    for (int i = 0; i < MEASURED_MODELS; i++)
        sum += excess_at(measured->excess[i], share);
    return sum / MEASURED_MODELS;
}

uint64_t pare_share_left(const pare_config *config, double share) {
    pare_size size = pare_config_size(config);
    return size.non_embedding - (uint64_t)(share * (double)size.non_embedding);
}

/* Does the method reach the share on this model, and remove no more than `slack` beyond it? *why: it does not, or there was no memory. */
static bool reaches(const pare_method *method, const pare_config *config, double share, double slack, uint32_t multiple, pare_error *why) {
    pare_plan plan = {0};
    if (method->unit == PARE_UNIT_SEVERAL) /* counted in these weights, and chooses its shape only when it has seen them */
        return pare_plan_make(&plan, method->unit, config, share, multiple, why);
    pare_size size, dense = pare_config_size(config);
    const pare_limit limit = {.budget = PARE_BUDGET_NON_EMBEDDING, .most = pare_share_left(config, share)};
    bool fits = pare_plan_fit(&plan, method->unit, config, &limit, multiple, why) && pare_plan_forecast(&size, &plan, config, why) &&
                (double)size.non_embedding >= (1 - share - slack) * (double)dense.non_embedding;
    pare_plan_free(&plan);
    return fits;
}

/* Methods that fit matrices anew need more tokens than a matrix has columns. At 0.3 of the weights removed they lost more than wanda-sp
 * with 0.6 times the FFN width in tokens, as much with 1.2 times, less from 2.5 times on (docs/measurements.md). */
static bool enough(const pare_method *method, const pare_config *config, uint64_t tokens) {
    return tokens > 0 && (!method->build || (double)tokens >= 1.5 * config->ffn_width);
}

static bool compare(pare_recommendation *r, const pare_config *config, double slack, uint32_t multiple, uint64_t tokens,
                    pare_error *error) {
    for (const measured_method *m = measured_methods; m->method; m++) {
        const pare_method *method = pare_method_find(m->method, NULL);
        double excess = mean_excess(m, r->share);
        pare_error why = {0};
        if (!method || isnan(excess) || (method->calibrated && !enough(method, config, tokens)) || pare_unit_own_format(method->unit) ||
            !reaches(method, config, r->share, slack, multiple, &why)) {
            if (why.code == PARE_ERROR_MEMORY)
                return pare_fail(error, why.code, "%s", why.message);
            continue;
        }
        r->n_methods++;
        if (!r->method || excess < r->excess) {
            r->next = r->method;
            r->next_excess = r->excess;
            r->method = method;
            r->excess = excess;
        } else if (!r->next || excess < r->next_excess) {
            r->next = method;
            r->next_excess = excess;
        }
    }
    return true;
}

bool pare_recommend(pare_recommendation *r, const pare_config *config, double share, uint32_t multiple, uint64_t tokens,
                    pare_error *error) {
    *r = (pare_recommendation){.share = share, .n_models = MEASURED_MODELS};
    if (!(share >= 0 && share < 1))
        return pare_fail(error, PARE_ERROR_USAGE, "ratio %g is not in [0, 1)", share);
    if (!compare(r, config, 0.02, multiple, tokens, error) ||
        (!r->method && !compare(r, config, 1, multiple, tokens, error))) /* a small model has few shapes: better more than nothing */
        return false;
    if (r->method && !r->next)
        return pare_fail(error, PARE_ERROR_RANGE,
                         "%s alone of the methods that were measured removes %.3g of this model's weights outside of embeddings: there is "
                         "nothing to compare it with; name a method (pare methods)",
                         r->method->name, share);
    return r->method ||
           pare_fail(error, PARE_ERROR_RANGE,
                     "no method %s was measured that removes %g of this model's weights outside of embeddings; name one (pare methods)",
                     tokens ? "with a calibration text" : "without a calibration text", share);
}
