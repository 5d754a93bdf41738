/* sample: logits -> the next token; private to generate. */
#ifndef EVAL_SAMPLE_H
#define EVAL_SAMPLE_H

#include "pare/generate.h"

typedef struct {
    double weight; /* proportional to the probability */
    uint32_t id;
} candidate;

typedef struct {
    size_t vocabulary;
    pare_generate_options options;
    candidate *candidates; /* (vocabulary); NULL at temperature 0 */
} sampler;

bool sampler_open(sampler *s, size_t vocabulary, const pare_generate_options *options, pare_error *error) PARE_MUST_CHECK;
void sampler_close(sampler *s);
/* The draw depends on the options, the logits (vocabulary) and the step alone. NUMERIC when a logit is not finite. */
bool sampler_next(uint32_t *id, sampler *s, const float *logits, uint64_t step, pare_error *error) PARE_MUST_CHECK;

#endif
