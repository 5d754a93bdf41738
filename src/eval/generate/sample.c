/* sample: logits -> the next token. Temperature first, then the nucleus: the fewest tokens whose probabilities reach top_p (Holtzman et al.
 * 2020), then one draw. */
#include "sample.h"

#include <math.h>
#include <stdlib.h>

bool sampler_open(sampler *s, size_t vocabulary, const pare_generate_options *options, pare_error *error) {
    *s = (sampler){.vocabulary = vocabulary, .options = *options};
    if (!(options->temperature >= 0) || isinf(options->temperature))
        return pare_fail(error, PARE_ERROR_RANGE, "the temperature is %g; it must be a number from 0 (always the likeliest token) on",
                         options->temperature);
    if (!(options->top_p > 0 && options->top_p <= 1))
        return pare_fail(error, PARE_ERROR_RANGE, "top_p is %g; it must lie above 0 and not above 1 (every token may come)",
                         options->top_p);
    return options->temperature == 0 || (s->candidates = pare_allocate(vocabulary, sizeof *s->candidates, error)) != NULL;
}

void sampler_close(sampler *s) {
    pare_free(s->candidates);
}

static bool likeliest(uint32_t *id, const float *logits, size_t n, pare_error *error) {
    size_t best = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(logits[i]))
            return pare_fail(error, PARE_ERROR_NUMERIC, "the logit of token id %zu is not finite", i);
        if (logits[i] > logits[best])
            best = i;
    }
    *id = (uint32_t)best;
    return true;
}

/* The likelier first; of equals the lower id. */
static int by_weight(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    return x->weight != y->weight ? (x->weight < y->weight) - (x->weight > y->weight) : (x->id > y->id) - (x->id < y->id);
}

bool sampler_next(uint32_t *id, sampler *s, const float *logits, uint64_t step, pare_error *error) {
    if (!likeliest(id, logits, s->vocabulary, error))
        return false;
    if (s->options.temperature == 0)
        return true;
    double largest = (double)logits[*id], total = 0;
    for (size_t i = 0; i < s->vocabulary; i++) {
        s->candidates[i] = (candidate){exp(((double)logits[i] - largest) / s->options.temperature), (uint32_t)i};
        total += s->candidates[i].weight;
    }
    size_t n = s->vocabulary;
    if (s->options.top_p < 1) {
        double wanted = total * s->options.top_p;
        qsort(s->candidates, n, sizeof *s->candidates, by_weight);
        for (n = 0, total = 0; n < s->vocabulary && total < wanted; n++)
            total += s->candidates[n].weight;
    }
    pare_random random;
    pare_random_init(&random, s->options.seed, "generate", step);
    double drawn = pare_random_unit(&random) * total, sum = 0;
    size_t at = 0;
    while (at + 1 < n && (sum += s->candidates[at].weight) <= drawn)
        at++;
    *id = s->candidates[at].id;
    return true;
}
