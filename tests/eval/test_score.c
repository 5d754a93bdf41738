/* Scores of continuations: the sums of one window's losses, to the bit, whatever shares a beginning or comes along; and a model beside the
 * dense one against sums over whole distributions in double. */
#include <math.h>

#include "pare/eval.h"
#include "pare/score.h"
#include "test.h"

enum { GROUPS = 40, MOST = 4, TOKENS = 120 };

typedef struct {
    uint32_t ids[GROUPS * MOST][TOKENS];
    pare_request requests[GROUPS * MOST];
    size_t ends[GROUPS], n;
} questions;

/* Groups of one to four requests with beginnings of all lengths in common, none and whole contexts among them. */
static questions *make_questions(uint32_t vocabulary) {
    pare_error error = {0};
    questions *q = pare_allocate(1, sizeof *q, &error);
    assert_non_null(q);
    pare_random random;
    pare_random_init(&random, 3, "questions", 0);
    for (size_t g = 0; g < GROUPS; g++) {
        size_t first = q->n, choices = 1 + pare_random_below(&random, MOST);
        uint32_t shared = pare_random_below(&random, 80);
        for (size_t c = 0; c < choices; c++, q->n++) {
            uint32_t n = shared + 2 + pare_random_below(&random, 30), n_context = shared + 1 < n ? shared + 1 : n - 1;
            for (uint32_t t = 0; t < n; t++)
                q->ids[q->n][t] = c > 0 && t < shared ? q->ids[first][t] : pare_random_below(&random, vocabulary);
            if (g % 5 == 0 && shared > 4)
                n_context -= 3; /* scored tokens among what is shared */
            q->requests[q->n] = (pare_request){q->ids[q->n], n, n_context};
        }
        q->ends[g] = q->n;
    }
    return q;
}

typedef struct {
    pare_checkpoint *checkpoint;
    pare_model *model;
} subject;

static subject open_subject(const char *path) {
    pare_error error = {0};
    subject s = {.checkpoint = pare_checkpoint_open(path, &error)};
    s.model = s.checkpoint ? pare_model_open(s.checkpoint, NULL, &error) : NULL;
    assert_done(s.model, error);
    return s;
}

static void close_subject(subject *s) {
    pare_model_close(s->model);
    pare_checkpoint_close(s->checkpoint);
}

static pare_score in_one_window(const pare_model *model, const pare_request *r) {
    pare_error error = {0};
    pare_forward *forward = pare_forward_open(model, 1, r->n, NULL, &error);
    uint32_t rows[TOKENS], targets[TOKENS];
    double nll[TOKENS];
    size_t n = 0;
    pare_score score = {.greedy = true};
    float *logits = pare_allocate(model->config.vocabulary, sizeof *logits, &error);
    assert_done(forward && pare_forward_run(forward, r->ids, 1, r->n, NULL, &error), error);
    for (uint32_t t = r->n_context; t < r->n; t++, n++) {
        rows[n] = t - 1, targets[n] = r->ids[t];
        assert_done(pare_forward_logits(logits, forward, t - 1, 1, &error), error);
        for (uint32_t j = 0; j < model->config.vocabulary; j++)
            score.greedy = score.greedy && logits[j] <= logits[r->ids[t]];
    }
    assert_done(pare_forward_nll(nll, forward, rows, targets, n, &error), error);
    for (size_t i = 0; i < n; i++)
        score.log_likelihood -= nll[i];
    pare_free(logits);
    pare_forward_close(forward);
    return score;
}

static bool count(void *user, size_t group, pare_error *error) {
    size_t *seen = user;
    (void)error;
    seen[group]++;
    return true;
}

static void the_bits_of_one_window(void **state) {
    (void)state;
    subject s = open_subject(PARE_SOURCE_DIR "/models/pare-qwen2-139k");
    questions *q = make_questions(s.model->config.vocabulary);
    pare_error error = {0};
    for (int threads = 1; threads <= 2; threads++) {
        pare_score scores[GROUPS * MOST];
        size_t seen[GROUPS] = {0};
        pare_context context = {.n_threads = threads};
        assert_done(pare_score_run(scores, s.model, q->requests, q->ends, GROUPS, count, seen, &context, &error), error);
        for (size_t g = 0; g < GROUPS; g++)
            assert_int_equal(seen[g], 1);
        for (size_t i = 0; i < q->n; i++) {
            pare_score alone = in_one_window(s.model, &q->requests[i]);
            assert_memory_equal(&alone.log_likelihood, &scores[i].log_likelihood, sizeof alone.log_likelihood);
            assert_int_equal(alone.greedy, scores[i].greedy);
        }
    }
    pare_free(q);
    close_subject(&s);
}

static bool stop(void *user, size_t group, pare_error *error) {
    (void)user;
    return pare_fail(error, PARE_ERROR_IO, "no room for group %zu", group);
}

static void bad_requests(void **state) {
    (void)state;
    subject s = open_subject(PARE_SOURCE_DIR "/models/pare-llama-40k");
    uint32_t ids[3] = {1, 2, s.model->config.vocabulary};
    pare_request fine = {ids, 2, 1}, nothing = {ids, 2, 2}, no_context = {ids, 2, 0}, beyond = {ids, 4, 1};
    uint32_t four[4] = {1, s.model->config.vocabulary, 1, 1};
    beyond.ids = four;
    pare_score score;
    size_t one = 1;
    pare_error error = {0};
    assert_fails(pare_score_run(&score, s.model, &nothing, &one, 1, NULL, NULL, NULL, &error), error, PARE_ERROR_RANGE, "2 are context");
    assert_fails(pare_score_run(&score, s.model, &no_context, &one, 1, NULL, NULL, NULL, &error), error, PARE_ERROR_RANGE, "0 are context");
    assert_fails(pare_score_run(&score, s.model, &beyond, &one, 1, NULL, NULL, NULL, &error), error, PARE_ERROR_RANGE, "token id");
    assert_fails(pare_score_run(&score, s.model, &fine, &one, 1, stop, NULL, NULL, &error), error, PARE_ERROR_IO, "group 0");
    assert_done(pare_score_run(&score, s.model, &fine, &one, 0, NULL, NULL, NULL, &error), error);
    close_subject(&s);
}

/* ---- beside the dense model ---- */

static void against_whole_distributions(void **state) {
    (void)state;
    pare_error error = {0};
    subject dense = open_subject(PARE_SOURCE_DIR "/models/pare-llama-1.31M"),
            other = open_subject(PARE_SOURCE_DIR "/models/pare-llama-139k");
    pare_protocol protocol;
    pare_eval_text text;
    pare_eval_comparison c, same;
    pare_eval_result of_dense, of_other;
    pare_context context = {.n_threads = 2};
    assert_done(pare_protocol_parse(&protocol, "gguf128", &error) &&
                    pare_eval_text_open(&text, &protocol, PARE_SOURCE_DIR "/LICENSE", dense.checkpoint->tokenizer, NULL, &error) &&
                    pare_eval_against(&c, other.model, dense.model, &text, 3, &context, &error) &&
                    pare_eval_against(&same, dense.model, dense.model, &text, 3, &context, &error) &&
                    pare_eval_run(&of_dense, dense.model, &text, 3, NULL, NULL, &error) &&
                    pare_eval_run(&of_other, other.model, &text, 3, NULL, NULL, &error),
                error);
    assert_true(fabs(same.divergence) < 1e-6 && same.agreement == 1 && same.difference == 0);
    assert_int_equal(c.tokens, 3 * 63);
    assert_true(fabs(c.dense_cross_entropy - of_dense.cross_entropy) < 1e-6);
    assert_true(fabs(c.difference - (of_other.cross_entropy - of_dense.cross_entropy)) < 1e-6);
    assert_true(c.difference_error > 0 && c.difference_error < hypot(of_other.cross_entropy_error, of_dense.cross_entropy_error));
    double sum = 0, agreed = 0;
    size_t vocabulary = dense.model->config.vocabulary, n = 0;
    float *logits = pare_allocate(2 * vocabulary, sizeof *logits, &error);
    const pare_model *models[] = {dense.model, other.model};
    for (size_t w = 0; w < 3; w++)
        for (size_t t = text.first_scored; t < 127; t++, n++) {
            double lse[2] = {0}, kl = 0;
            size_t best[2] = {0};
            for (size_t m = 0; m < 2; m++) {
                float *z = logits + m * vocabulary;
                pare_forward *forward = pare_forward_open(models[m], 1, t + 1, NULL, &error);
                assert_done(forward && pare_forward_run(forward, text.windows.ids + w * 128, 1, t + 1, NULL, &error) &&
                                pare_forward_logits(z, forward, t, 1, &error),
                            error);
                pare_forward_close(forward);
                for (size_t j = 0; j < vocabulary; j++) {
                    lse[m] += exp((double)z[j]);
                    best[m] = z[j] > z[best[m]] ? j : best[m];
                }
                lse[m] = log(lse[m]);
            }
            for (size_t j = 0; j < vocabulary; j++) {
                double p = (double)logits[j] - lse[0];
                kl += exp(p) * (p - ((double)logits[vocabulary + j] - lse[1]));
            }
            sum += kl;
            agreed += best[0] == best[1];
        }
    assert_true(fabs(c.divergence - sum / (double)n) < 1e-5 && fabs(c.agreement - agreed / (double)n) < 1e-12);
    for (size_t i = 1; i < PARE_DIVERGENCE_SHARES; i++)
        assert_true(c.divergence_at[i] >= c.divergence_at[i - 1]);
    pare_free(logits);
    pare_eval_text_close(&text);
    close_subject(&dense);
    close_subject(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_bits_of_one_window), cmocka_unit_test(bad_requests),
                                       cmocka_unit_test(against_whole_distributions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
