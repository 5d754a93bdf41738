/* generate: text out of a model, token by token, through a cache of keys and values. */
#ifndef PARE_GENERATE_H
#define PARE_GENERATE_H

#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint32_t tokens;           /* most tokens to generate */
    double temperature, top_p; /* temperature 0: always the likeliest token; top_p 1: every token may come (Holtzman et al. 2020) */
    uint64_t seed;
    const uint32_t *stops; /* (n_stops) tokens that end the text; they are not handed out */
    size_t n_stops;
} pare_generate_options;

/* A token has come; false stops. */
typedef bool pare_generate_token(void *user, uint32_t id, pare_error *error);

typedef struct {
    size_t prompt, generated; /* tokens */
    bool stopped;             /* by a stop token, not by the count */
    double prompt_s, generate_s;
} pare_generate_result;

/* Reads the prompt (ids, n >= 1) in one run and goes on from it. Of equal logits the lowest id comes. The same seed gives the same tokens
 * at any thread count. Errors: RANGE (an empty prompt; prompt and tokens exceed the model's positions; temperature below 0, top_p outside
 * of (0, 1]), NUMERIC (a logit is not finite), CANCELLED. */
bool pare_generate_run(pare_generate_result *result, const pare_model *model, const uint32_t *ids, size_t n,
                       const pare_generate_options *options, pare_generate_token *token, void *user, const pare_context *context,
                       pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
