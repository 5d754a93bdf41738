/* score: log-likelihoods of continuations behind their contexts, as lm-evaluation-harness's `loglikelihood` requests. */
#ifndef PARE_SCORE_H
#define PARE_SCORE_H

#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One continuation: `n_context` tokens, then those whose log-probabilities are summed. */
typedef struct {
    const uint32_t *ids;   /* (n) */
    uint32_t n, n_context; /* 1 <= n_context < n; n - 1 tokens enter the model */
} pare_request;

typedef struct {
    double log_likelihood; /* nats: sum over t >= n_context of ln p(ids[t] | ids[0] ... ids[t - 1]) */
    bool greedy;           /* every scored token is the likeliest one in its place */
} pare_score;

/* A group of requests is done: its scores are in their places. Groups come in any order, each once, from one thread; false stops. */
typedef bool pare_score_ready(void *user, size_t group, pare_error *error);

/* Scores requests, (ends[n_groups - 1]) of them; group g has those from ends[g - 1] (0 for the first) to ends[g]. What the requests of a
 * group have in common at their beginning is computed once; groups of like length go through the model together. A request's bits depend
 * on its tokens alone, not on its group, the other groups or the number of threads. ready: may be NULL.
 * Errors: RANGE (a request longer than the model's positions, a token beyond the vocabulary), NUMERIC naming the group when a score is not
 * finite, CANCELLED. */
bool pare_score_run(pare_score *scores, const pare_model *model, const pare_request *requests, const size_t *ends, size_t n_groups,
                    pare_score_ready *ready, void *user, const pare_context *context, pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
