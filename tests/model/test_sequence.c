/* Sequences in pieces: a token's hidden state is the same to the bit in one window, behind a cached prefix, behind a shared span and beside
 * other sequences; one token at a time it agrees to rounding. */
#include <math.h>

#include "fixtures.h"
#include "pare/sequence.h"

enum { TOKENS = 75, MORE = 40 }; /* across blocks of queries and of keys */

typedef struct {
    pare_checkpoint *checkpoint;
    pare_model *model;
    pare_context context;
    size_t width;
    uint32_t ids[2 * TOKENS];
    float *whole; /* (TOKENS, width): of ids in one window */
} subject;

static subject subject_open(const char *name, int threads) {
    pare_error error = {0};
    subject s = {.checkpoint = open_fixture(name), .context = {.n_threads = threads}};
    s.model = pare_model_open(s.checkpoint, NULL, &error);
    assert_done(s.model, error);
    s.width = s.model->config.width;
    pare_random random;
    pare_random_init(&random, 7, "sequence", 0);
    for (size_t i = 0; i < 2 * TOKENS; i++)
        s.ids[i] = pare_random_below(&random, s.model->config.vocabulary);
    pare_forward *forward = pare_forward_open(s.model, 1, TOKENS, &s.context, &error);
    assert_done(forward, error);
    const float *hidden = pare_forward_run(forward, s.ids, 1, TOKENS, NULL, &error);
    assert_done(hidden, error);
    s.whole = pare_allocate(TOKENS * s.width, sizeof *s.whole, &error);
    assert_non_null(s.whole);
    memcpy(s.whole, hidden, TOKENS * s.width * sizeof *hidden);
    pare_forward_close(forward);
    return s;
}

static void subject_close(subject *s) {
    pare_free(s->whole);
    pare_model_close(s->model);
    pare_checkpoint_close(s->checkpoint);
}

static pare_forward *open_spans(const subject *s, size_t tokens, size_t keys, size_t length) {
    pare_error error = {0};
    pare_forward *forward = pare_forward_open_spans(s->model, &(pare_span_limits){tokens, keys, length}, &s->context, &error);
    assert_done(forward, error);
    return forward;
}

static void same_rows(const subject *s, const float *hidden, size_t first, size_t n) {
    assert_memory_equal(hidden, s->whole + first * s->width, n * s->width * sizeof *hidden);
}

static const char *const names[] = {"llama3", "qwen2"};
enum { N_NAMES = 2 };

/* The same bits however a sequence is divided, at any thread count, with another sequence beside it. */
static void through_the_cache(void **state) {
    (void)state;
    static const uint32_t cuts[][3] = {{1, 74, 0}, {32, 33, 10}, {7, 64, 4}, {40, 2, 33}};
    for (int i = 0; i < N_NAMES; i++)
        for (int threads = 1; threads <= 2; threads++) {
            pare_error error = {0};
            subject s = subject_open(names[i], threads);
            pare_cache *cache = pare_cache_open(s.model, 3, TOKENS + 5, &error);
            assert_done(cache, error);
            pare_forward *forward = open_spans(&s, 2 * TOKENS, 0, TOKENS + 5);
            for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
                pare_cache_shorten(cache, 1, 0);
                pare_cache_shorten(cache, 2, 0);
                for (size_t at = 0, part = 0; at < TOKENS; at += cuts[c][part++]) {
                    pare_span spans[] = {{s.ids + TOKENS + at / 2, 3, PARE_SPAN_ALONE, 2}, {s.ids + at, cuts[c][part], PARE_SPAN_ALONE, 1}};
                    const float *hidden = pare_forward_run_spans(forward, cache, spans, 2, &error);
                    assert_done(hidden, error);
                    same_rows(&s, hidden + 3 * s.width, at, cuts[c][part]);
                }
                assert_int_equal(pare_cache_length(cache, 1), TOKENS);
            }
            pare_forward_close(forward);
            pare_cache_close(cache);
            subject_close(&s);
        }
}

/* One token a run: other kernels, so to rounding. Two sequences at once give each the bits that it has alone. */
static void decoding(void **state) {
    (void)state;
    for (int i = 0; i < N_NAMES; i++) {
        pare_error error = {0};
        subject s = subject_open(names[i], 2);
        pare_cache *cache = pare_cache_open(s.model, 2, TOKENS, &error), *alone = pare_cache_open(s.model, 1, TOKENS, &error);
        pare_forward *forward = open_spans(&s, 2, 0, TOKENS), *single = open_spans(&s, 1, 0, TOKENS);
        assert_true(cache && alone);
        double worst = 0;
        for (size_t t = 0; t < TOKENS; t++) {
            pare_span spans[] = {{s.ids + t, 1, PARE_SPAN_ALONE, 0}, {s.ids + TOKENS + t, 1, PARE_SPAN_ALONE, 1}};
            const float *hidden = pare_forward_run_spans(forward, cache, spans, 2, &error);
            assert_done(hidden, error);
            for (size_t j = 0; j < s.width; j++)
                worst = fmax(worst, fabs((double)hidden[j] - (double)s.whole[t * s.width + j]));
            const float *again = pare_forward_run_spans(single, alone, &(pare_span){s.ids + TOKENS + t, 1, PARE_SPAN_ALONE, 0}, 1, &error);
            assert_done(again, error);
            assert_memory_equal(again, hidden + s.width, s.width * sizeof *again);
        }
        assert_true(worst < 2e-5);
        pare_forward_close(forward);
        pare_forward_close(single);
        pare_cache_close(cache);
        pare_cache_close(alone);
        subject_close(&s);
    }
}

/* A start that several share, and what follows it: each as it would be in a window of its own. */
static void behind_a_shared_span(void **state) {
    (void)state;
    for (int i = 0; i < N_NAMES; i++) {
        pare_error error = {0};
        subject s = subject_open(names[i], 2);
        uint32_t other[TOKENS];
        memcpy(other, s.ids, sizeof other);
        memcpy(other + MORE, s.ids + TOKENS, (TOKENS - MORE) * sizeof *other);
        pare_forward *forward = open_spans(&s, 200, 300, TOKENS);
        pare_span spans[] = {{s.ids + TOKENS, 5, PARE_SPAN_ALONE, 0},
                             {s.ids, MORE, PARE_SPAN_ALONE, 0},
                             {other + MORE, TOKENS - MORE, 1, 0},
                             {s.ids + MORE, 10, 1, 0},
                             {s.ids + MORE + 10, TOKENS - MORE - 10, 3, 0}};
        const float *hidden = pare_forward_run_spans(forward, NULL, spans, 5, &error);
        assert_done(hidden, error);
        same_rows(&s, hidden + 5 * s.width, 0, MORE);
        same_rows(&s, hidden + (5 + TOKENS) * s.width, MORE, TOKENS - MORE);
        float *of_other = pare_allocate((TOKENS - MORE) * s.width, sizeof *of_other, &error);
        memcpy(of_other, hidden + (5 + MORE) * s.width, (TOKENS - MORE) * s.width * sizeof *of_other);
        hidden = pare_forward_run(forward, other, 1, TOKENS, NULL, &error);
        assert_done(hidden, error);
        assert_memory_equal(of_other, hidden + MORE * s.width, (TOKENS - MORE) * s.width * sizeof *of_other);
        pare_free(of_other);
        pare_forward_close(forward);
        subject_close(&s);
    }
}

static void limits(void **state) {
    (void)state;
    pare_error error = {0};
    subject s = subject_open("llama3", 1);
    pare_forward *forward = open_spans(&s, 8, 12, 8);
    pare_cache *cache = pare_cache_open(s.model, 1, 6, &error);
    pare_span nine = {s.ids, 9, PARE_SPAN_ALONE, 0}, none = {s.ids, 0, PARE_SPAN_ALONE, 0}, child = {s.ids, 2, 0, 0};
    pare_span two[] = {{s.ids, 5, PARE_SPAN_ALONE, 0}, {s.ids, 3, 0, 0}}, slot = {s.ids, 1, PARE_SPAN_ALONE, 1};
    pare_span seven = {s.ids, 7, PARE_SPAN_ALONE, 0};
    assert_fails(pare_forward_run_spans(forward, NULL, &nine, 1, &error), error, PARE_ERROR_RANGE, "9 tokens");
    assert_fails(pare_forward_run_spans(forward, NULL, &none, 1, &error), error, PARE_ERROR_RANGE, "0 tokens");
    assert_fails(pare_forward_run_spans(forward, NULL, &child, 1, &error), error, PARE_ERROR_RANGE, "follows span 0");
    assert_fails(pare_forward_run_spans(forward, NULL, two, 2, &error), error, PARE_ERROR_RANGE, "13 keys");
    assert_fails(pare_forward_run_spans(forward, cache, &slot, 1, &error), error, PARE_ERROR_RANGE, "slot 1");
    assert_fails(pare_forward_run_spans(forward, cache, &seven, 1, &error), error, PARE_ERROR_RANGE, "7 tokens of one sequence");
    assert_int_equal(pare_cache_length(cache, 0), 0);
    pare_cache_close(cache);
    pare_forward_close(forward);
    subject_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(through_the_cache), cmocka_unit_test(decoding),
                                       cmocka_unit_test(behind_a_shared_span), cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
