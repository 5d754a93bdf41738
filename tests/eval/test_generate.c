/* Generation: the tokens of transformers' greedy generate (fixtures by tools/fixtures/generate_greedy.py), draws that follow the model's
 * probabilities and depend on the seed alone. */
#include <math.h>

#include "generate/sample.h"
#include "pare/json.h"
#include "pare/sequence.h"
#include "test.h"

typedef struct {
    uint32_t ids[64];
    size_t n;
} answer;

static bool note(void *user, uint32_t id, pare_error *error) {
    answer *a = user;
    (void)error;
    assert_true(a->n < 64);
    a->ids[a->n++] = id;
    return true;
}

static pare_model *open_model(pare_checkpoint **checkpoint) {
    pare_error error = {0};
    *checkpoint = pare_checkpoint_open(PARE_SOURCE_DIR "/models/pare-llama-431k", &error);
    pare_model *model = *checkpoint ? pare_model_open(*checkpoint, NULL, &error) : NULL;
    assert_done(model, error);
    return model;
}

static answer run(const pare_model *model, const char *prompt, pare_generate_options options, int threads) {
    pare_error error = {0};
    pare_tokens ids = {0};
    pare_generate_result result;
    pare_context context = {.n_threads = threads};
    answer a = {0};
    assert_done(pare_tokenizer_encode(&ids, model->checkpoint->tokenizer, prompt, strlen(prompt), PARE_ENCODE_TEMPLATE, &error) &&
                    pare_generate_run(&result, model, ids.ids, ids.n, &options, note, &a, &context, &error),
                error);
    assert_int_equal(result.generated, a.n);
    assert_int_equal(result.prompt, ids.n);
    pare_tokens_free(&ids);
    return a;
}

static void as_transformers(void **state) {
    (void)state;
    pare_checkpoint *checkpoint;
    pare_model *model = open_model(&checkpoint);
    FILE *file = fopen(PARE_FIXTURES "/greedy.jsonl", "r");
    assert_non_null(file);
    char line[4096];
    size_t n = 0;
    for (; fgets(line, sizeof line, file); n++) {
        pare_error error = {0};
        json_t *row = pare_json_parse(line, strlen(line), "greedy.jsonl", &error), *ids = json_object_get(row, "ids");
        answer a = run(model, json_string_value(json_object_get(row, "prompt")), (pare_generate_options){.tokens = 24, .top_p = 1}, 2);
        assert_int_equal(a.n, json_array_size(ids));
        for (size_t i = 0; i < a.n; i++)
            assert_int_equal(a.ids[i], json_integer_value(json_array_get(ids, i)));
        json_decref(row);
    }
    assert_int_equal(n, 10);
    fclose(file);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

/* The loss of a text, a token at a time through the cache, is that of one window. */
static void loss_through_the_cache(void **state) {
    (void)state;
    enum { TOKENS = 240 };
    pare_checkpoint *checkpoint;
    pare_model *model = open_model(&checkpoint);
    pare_error error = {0};
    uint32_t ids[TOKENS], rows[TOKENS];
    double nll[TOKENS], whole = 0, cached = 0;
    size_t vocabulary = model->config.vocabulary;
    pare_random random;
    pare_random_init(&random, 2, "loss", 0);
    for (uint32_t t = 0; t < TOKENS; t++)
        ids[t] = pare_random_below(&random, (uint32_t)vocabulary), rows[t] = t;
    pare_forward *window = pare_forward_open(model, 1, TOKENS, NULL, &error);
    pare_forward *one = pare_forward_open_spans(model, &(pare_span_limits){1, 0, TOKENS}, NULL, &error);
    pare_cache *cache = pare_cache_open(model, 1, TOKENS, &error);
    float *logits = pare_allocate(vocabulary, sizeof *logits, &error);
    assert_done(window && one && cache && logits && pare_forward_run(window, ids, 1, TOKENS, NULL, &error) &&
                    pare_forward_nll(nll, window, rows, ids + 1, TOKENS - 1, &error),
                error);
    for (size_t t = 0; t + 1 < TOKENS; t++) {
        pare_span span = {.ids = ids + t, .n = 1, .parent = PARE_SPAN_ALONE};
        assert_done(pare_forward_run_spans(one, cache, &span, 1, &error) && pare_forward_logits(logits, one, 0, 1, &error), error);
        double sum = 0;
        for (size_t j = 0; j < vocabulary; j++)
            sum += exp((double)logits[j]);
        cached += log(sum) - (double)logits[ids[t + 1]];
        whole += nll[t];
    }
    assert_true(fabs(cached - whole) / (TOKENS - 1) < 1e-6);
    pare_free(logits);
    pare_cache_close(cache);
    pare_forward_close(one);
    pare_forward_close(window);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

static void seeds_and_threads(void **state) {
    (void)state;
    pare_checkpoint *checkpoint;
    pare_model *model = open_model(&checkpoint);
    pare_generate_options options = {.tokens = 32, .temperature = 1, .top_p = 0.95, .seed = 5};
    answer one = run(model, "In the year", options, 1), two = run(model, "In the year", options, 2);
    assert_memory_equal(&one, &two, sizeof one);
    options.seed = 6;
    answer other = run(model, "In the year", options, 1);
    assert_memory_not_equal(one.ids, other.ids, sizeof one.ids);
    options.stops = &one.ids[3];
    options.n_stops = 1;
    options.seed = 5;
    answer stopped = run(model, "In the year", options, 1);
    size_t first = 0;
    while (one.ids[first] != one.ids[3])
        first++;
    assert_int_equal(stopped.n, first);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

/* Shares of many draws against exp(logit / T), within five standard errors; with a nucleus nothing outside of it ever comes. */
static void draws(void **state) {
    (void)state;
    enum { N = 6, DRAWS = 20000 };
    static const float logits[N] = {0.5f, 2.0f, -1.0f, 2.0f, 1.0f, 0.0f};
    static const double tops[] = {1, 0.7};
    for (size_t k = 0; k < 2; k++) {
        pare_error error = {0};
        sampler s;
        pare_generate_options options = {.temperature = 0.8, .top_p = tops[k], .seed = 11};
        assert_done(sampler_open(&s, N, &options, &error), error);
        size_t counts[N] = {0};
        double weights[N], total = 0;
        for (uint64_t i = 0; i < DRAWS; i++) {
            uint32_t id;
            assert_done(sampler_next(&id, &s, logits, i, &error), error);
            counts[id]++;
        }
        for (size_t i = 0; i < N; i++) /* the two of 2.0 have 70 % together and a bit more */
            total += weights[i] = k == 1 && logits[i] < 1.5f ? 0 : exp((double)logits[i] / 0.8);
        for (size_t i = 0; i < N; i++) {
            double p = weights[i] / total;
            assert_true(fabs((double)counts[i] / DRAWS - p) <= 5 * sqrt(p * (1 - p) / DRAWS));
        }
        sampler_close(&s);
    }
}

static void bad_input(void **state) {
    (void)state;
    pare_checkpoint *checkpoint;
    pare_model *model = open_model(&checkpoint);
    pare_error error = {0};
    pare_generate_result result;
    answer a = {0};
    uint32_t ids[2] = {1, 2}, beyond[1] = {model->config.vocabulary};
    pare_generate_options options = {.tokens = 4, .top_p = 1};
    assert_fails(pare_generate_run(&result, model, ids, 0, &options, note, &a, NULL, &error), error, PARE_ERROR_RANGE, "no token");
    assert_fails(pare_generate_run(&result, model, beyond, 1, &options, note, &a, NULL, &error), error, PARE_ERROR_RANGE, "token id");
    options.tokens = model->config.max_positions;
    assert_fails(pare_generate_run(&result, model, ids, 2, &options, note, &a, NULL, &error), error, PARE_ERROR_RANGE, "positions");
    options = (pare_generate_options){.tokens = 4, .top_p = 0};
    assert_fails(pare_generate_run(&result, model, ids, 2, &options, note, &a, NULL, &error), error, PARE_ERROR_RANGE, "top_p");
    options = (pare_generate_options){.tokens = 4, .top_p = 1, .temperature = -1};
    assert_fails(pare_generate_run(&result, model, ids, 2, &options, note, &a, NULL, &error), error, PARE_ERROR_RANGE, "temperature");
    assert_int_equal(a.n, 0);
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_transformers), cmocka_unit_test(loss_through_the_cache),
                                       cmocka_unit_test(seeds_and_threads), cmocka_unit_test(draws), cmocka_unit_test(bad_input)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
