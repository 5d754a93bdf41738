/* The models under models/: each opens, and its loss is what transformers computes (fixtures by tools/fixtures/family_reference.py). */
#include <math.h>

#include "pare/eval.h"
#include "test.h"

static void score(const char *name, unsigned tokens, double wanted) {
    pare_error error = {0};
    pare_protocol protocol;
    pare_eval_text text;
    pare_eval_result result;
    char path[512];
    snprintf(path, sizeof path, PARE_SOURCE_DIR "/models/%s", name);
    pare_checkpoint *checkpoint = pare_checkpoint_open(path, &error);
    pare_model *model = checkpoint ? pare_model_open(checkpoint, NULL, &error) : NULL;
    assert_done(model && pare_protocol_parse(&protocol, "gguf256", &error) &&
                    pare_eval_text_open(&text, &protocol, PARE_SOURCE_DIR "/LICENSE", checkpoint->tokenizer, NULL, &error) &&
                    pare_eval_run(&result, model, &text, 1, NULL, NULL, &error),
                error);
    assert_int_equal(text.windows.tokens_in_text, tokens);
    assert_int_equal(result.tokens_scored, 127);
    if (!(fabs(result.cross_entropy - wanted) < 2e-6 * wanted))
        fail_msg("%s: %.9f, transformers has %.9f", name, result.cross_entropy, wanted);
    pare_model_close(model);
    pare_eval_text_close(&text);
    pare_checkpoint_close(checkpoint);
}

static void as_transformers(void **state) {
    (void)state;
    FILE *file = fopen(PARE_FIXTURES "/family.txt", "r");
    assert_non_null(file);
    char line[256], name[64];
    unsigned tokens, n = 0;
    double wanted;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %u %lf", name, &tokens, &wanted) == 3) {
            score(name, tokens, wanted);
            n++;
        }
    fclose(file);
    assert_int_equal(n, 8);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_transformers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
