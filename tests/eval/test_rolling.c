/* Whole pages as lm-evaluation-harness scores them (fixtures by tools/fixtures/rolling_reference.py): the text that it makes of a page, the
 * counts, and the sum of log-likelihoods over windows that roll. */
#include <math.h>

#include "pare/rolling.h"
#include "test.h"

static char *read_all(const char *path, size_t *n) {
    pare_error error = {0};
    pare_map map;
    assert_done(pare_map_open(&map, path, &error), error);
    char *text = pare_allocate(map.size + 1, 1, &error);
    assert_non_null(text);
    memcpy(text, map.data, map.size);
    *n = map.size;
    pare_map_close(&map);
    return text;
}

static void pages_as_people_write(void **state) {
    (void)state;
    size_t n, n_wanted;
    char *text = read_all(PARE_FIXTURES "/pages.txt", &n), *wanted = read_all(PARE_FIXTURES "/rolling.detokenised.txt", &n_wanted);
    char *second = strstr(text, " = Barley bread = "), *first = strstr(text, " = The Lighthouse"), *at = wanted;
    const struct { const char *start, *end; } pages[] = {{first, second - 1}, {second, text + n}};
    for (size_t i = 0; i < 2; i++) {
        pare_string page = {0};
        pare_string_push(&page, pages[i].start, (size_t)(pages[i].end - pages[i].start));
        pare_rolling_detokenise(&page);
        char *end = strstr(at, "\n\f\n");
        assert_non_null(end);
        assert_int_equal(page.length, end - at);
        assert_memory_equal(page.data, at, page.length);
        at = end + 3;
        pare_string_free(&page);
    }
    pare_free(text);
    pare_free(wanted);
}

static void as_the_harness(void **state) {
    (void)state;
    pare_error error = {0};
    FILE *file = fopen(PARE_FIXTURES "/rolling.txt", "r");
    unsigned long pages, words, bytes;
    double wanted;
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu %lu %lf", &pages, &words, &bytes, &wanted), 4);
    fclose(file);
    pare_checkpoint *checkpoint = pare_checkpoint_open(PARE_SOURCE_DIR "/models/pare-llama-431k", &error);
    pare_model *model = checkpoint ? pare_model_open(checkpoint, NULL, &error) : NULL;
    pare_request_rule rule;
    pare_rolling_result r;
    assert_done(model && pare_request_rule_open(&rule, checkpoint, PARE_BOS_DEFAULT, &error) &&
                    pare_rolling_run(&r, model, &rule, PARE_FIXTURES "/pages.txt", 0, NULL, &error),
                error);
    assert_int_equal(r.pages, pages);
    assert_int_equal(r.words, words);
    assert_int_equal(r.bytes, bytes);
    assert_true(r.windows > r.pages); /* a page is longer than the model's positions */
    if (!(fabs(r.log_likelihood / wanted - 1) < 1e-6))
        fail_msg("%.9f, the harness has %.9f", r.log_likelihood, wanted);
    assert_true(fabs(log(r.word_perplexity) * (double)words + r.log_likelihood) < 1e-6 * -r.log_likelihood);
    assert_true(fabs(r.bits_per_byte - log2(r.byte_perplexity)) < 1e-9);
    assert_fails(pare_rolling_run(&r, model, &rule, PARE_FIXTURES "/nothing.txt", 0, NULL, &error), error, PARE_ERROR_IO, "nothing.txt");
    pare_model_close(model);
    pare_checkpoint_close(checkpoint);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(pages_as_people_write), cmocka_unit_test(as_the_harness)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
