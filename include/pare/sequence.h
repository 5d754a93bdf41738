/* sequence: sequences of any length through a model: several at once, one behind another, or going on behind what a cache holds. */
#ifndef PARE_SEQUENCE_H
#define PARE_SEQUENCE_H

#include "pare/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Keys and values of `slots` sequences of up to `capacity` tokens each, f32. */
typedef struct pare_cache pare_cache;
/* The model must outlive the cache. MEMORY. */
pare_cache *pare_cache_open(const pare_model *model, uint32_t slots, uint32_t capacity, pare_error *error) PARE_MUST_CHECK;
void pare_cache_close(pare_cache *cache); /* NULL is fine */
/* What pare_cache_open will allocate. */
size_t pare_cache_bytes(const pare_config *config, uint32_t slots, uint32_t capacity);
/* Tokens that a slot holds; forgets those from `length` on. */
uint32_t pare_cache_length(const pare_cache *cache, uint32_t slot);
void pare_cache_shorten(pare_cache *cache, uint32_t slot, uint32_t length);

/* New tokens of one sequence. */
#define PARE_SPAN_ALONE UINT32_MAX
typedef struct {
    const uint32_t *ids; /* (n), n >= 1 */
    uint32_t n;
    uint32_t parent; /* PARE_SPAN_ALONE, or an earlier span of the same run: this one goes on where that one ends. Without a cache only */
    uint32_t slot;   /* of the cache: the tokens go behind those that it holds */
} pare_span;

/* The most that one run may ask for. */
typedef struct {
    size_t tokens; /* new ones, of all spans */
    size_t keys;   /* positions of all spans without a cache: each span's own tokens and all that come before them */
    size_t length; /* tokens of one sequence, with what comes before */
} pare_span_limits;
pare_forward *pare_forward_open_spans(const pare_model *model, const pare_span_limits *limits, const pare_context *context,
                                      pare_error *error) PARE_MUST_CHECK;
size_t pare_forward_bytes_spans(const pare_model *model, const pare_span_limits *limits, const pare_context *context);

/* Runs the spans up to the final norm. Returns the hidden states (tokens of all spans in their order, width), owned by `forward`, or NULL;
 * pare_forward_nll and pare_forward_logits go on from there. A token's bits depend on the tokens before it in its sequence, not on how they
 * were divided into runs, nor on other spans; with one exception: with a cache and one token a span (decoding) the kernels are others,
 * which read each weight once, and agree with the first to rounding. cache: NULL, or what is appended to; after an error its lengths are as
 * before. Errors: RANGE (limits, an unknown slot or parent, a token beyond the vocabulary), CANCELLED. */
const float *pare_forward_run_spans(pare_forward *forward, pare_cache *cache, const pare_span *spans, size_t n_spans,
                                    pare_error *error) PARE_MUST_CHECK;

/* The same as pare_forward_nll (model.h), and whether each target is the likeliest token: greedy[i] says that no logit is larger. */
bool pare_forward_nll_greedy(double *nll, bool *greedy, pare_forward *forward, const uint32_t *rows, const uint32_t *targets, size_t n,
                             pare_error *error) PARE_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
