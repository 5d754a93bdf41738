/* generate: a prompt through the model in one run, then one token a run behind what the cache holds. */
#include "pare/sequence.h"
#include "sample.h"

typedef struct {
    const pare_model *model;
    pare_forward *prefill, *decode;
    pare_cache *cache;
    float *logits; /* (vocabulary) */
    sampler sampler;
} generator;

static bool check(const pare_model *model, size_t n, const pare_generate_options *options, pare_error *error) {
    size_t most = model->config.max_positions;
    if (n == 0)
        return pare_fail(error, PARE_ERROR_RANGE, "the prompt has no token, and the model no token to begin a text with");
    if (n + options->tokens > most)
        return pare_fail(error, PARE_ERROR_RANGE, "%s: %zu tokens of prompt and %u to generate, but the model knows %zu positions",
                         model->checkpoint->path, n, options->tokens, most);
    return true;
}

static bool generator_open(generator *g, const pare_model *model, size_t n, const pare_generate_options *options,
                           const pare_context *context, pare_error *error) {
    size_t all = n + options->tokens;
    *g = (generator){.model = model};
    return sampler_open(&g->sampler, model->head.n_rows, options, error) &&
           (g->logits = pare_allocate(model->head.n_rows, sizeof *g->logits, error)) &&
           (g->cache = pare_cache_open(model, 1, (uint32_t)all, error)) &&
           (g->prefill = pare_forward_open_spans(model, &(pare_span_limits){n, 0, all}, context, error)) &&
           (g->decode = pare_forward_open_spans(model, &(pare_span_limits){1, 0, all}, context, error));
}

static void generator_close(generator *g) {
    pare_forward_close(g->decode);
    pare_forward_close(g->prefill);
    pare_cache_close(g->cache);
    pare_free(g->logits);
    sampler_close(&g->sampler);
}

/* Runs the tokens and draws the one behind them. */
static bool next(uint32_t *id, generator *g, pare_forward *forward, const uint32_t *ids, size_t n, uint64_t step, pare_error *error) {
    pare_span span = {.ids = ids, .n = (uint32_t)n, .parent = PARE_SPAN_ALONE};
    return pare_forward_run_spans(forward, g->cache, &span, 1, error) && pare_forward_logits(g->logits, forward, n - 1, 1, error) &&
           sampler_next(id, &g->sampler, g->logits, step, error);
}

static bool stops(const pare_generate_options *options, uint32_t id) {
    for (size_t i = 0; i < options->n_stops; i++)
        if (options->stops[i] == id)
            return true;
    return false;
}

static bool generate(pare_generate_result *result, generator *g, const uint32_t *ids, size_t n, const pare_generate_options *options,
                     pare_generate_token *token, void *user, pare_error *error) {
    double begin = pare_clock_s();
    uint32_t id = 0;
    bool done = options->tokens == 0 || next(&id, g, g->prefill, ids, n, 0, error);
    result->prompt_s = pare_clock_s() - begin;
    while (done && result->generated < options->tokens && !(result->stopped = stops(options, id))) {
        done = token(user, id, error);
        if (done && ++result->generated < options->tokens)
            done = next(&id, g, g->decode, &(uint32_t){id}, 1, result->generated, error);
    }
    result->generate_s = pare_clock_s() - begin - result->prompt_s;
    return done;
}

bool pare_generate_run(pare_generate_result *result, const pare_model *model, const uint32_t *ids, size_t n,
                       const pare_generate_options *options, pare_generate_token *token, void *user, const pare_context *context,
                       pare_error *error) {
    *result = (pare_generate_result){.prompt = n};
    generator g;
    if (!check(model, n, options, error))
        return false;
    bool done = generator_open(&g, model, n, options, context, error) && generate(result, &g, ids, n, options, token, user, error);
    generator_close(&g);
    return done;
}
