/* pare predict: what a law file says about a model of loss L0 at a ratio. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "pare/law.h"

typedef struct {
    double l0, ratio, level;
    const char *method, *tokens;
} predict_options;

static const char *title(const pare_law *law) {
    return law->method ? law->method : "pooled";
}

/* The law of the method asked for; without one the only law, or the pooled one. */
static const pare_law *choose(const pare_law *laws, size_t n, const char *method, const char *path, pare_error *error) {
    pare_string known = {0};
    const pare_law *found = NULL;
    for (size_t i = 0; i < n; i++) {
        pare_string_print(&known, "%s%s", i ? ", " : "", title(&laws[i]));
        if (method ? strcmp(title(&laws[i]), method) == 0 : n == 1 || !laws[i].method)
            found = &laws[i];
    }
    if (!found)
        pare_fail(error, PARE_ERROR_USAGE, "%s: %s%s; its laws are %s", path, method ? "no law of method " : "--method is missing",
                  method ? method : "", known.data ? known.data : "none");
    pare_string_free(&known);
    return found;
}

static bool print_prediction(const pare_law *law, const predict_options *given, const pare_law_prediction *p, const common *shared,
                             pare_error *error) {
    if (shared->json) {
        json_t *json = pare_law_prediction_json(p);
        if (json) {
            json_object_set_new(json, "form", json_string(pare_law_form_name(law->form)));
            json_object_set_new(json, "method", json_string(title(law)));
            json_object_set_new(json, "ratio_kind", json_string(pare_law_ratio_name(law->ratio)));
        }
        return print_json(json, error);
    }
    printf("%s, %s: L = %.4f at L0 = %g, r = %g (%s ratio): %.3f times the dense loss\n", title(law), pare_law_form_name(law->form), p->l,
           given->l0, given->ratio, pare_law_ratio_name(law->ratio), p->factor);
    printf("%g %% interval of the law %.4f to %.4f, of one new measurement %.4f to %.4f\n", 100 * p->level, p->mean_low, p->mean_high,
           p->prediction_low, p->prediction_high);
    if (p->warning[0])
        printf("warning: %s\n", p->warning);
    return true;
}

bool cmd_predict(int argc, char **argv, pare_error *error) {
    predict_options given = {.l0 = (double)NAN, .ratio = (double)NAN};
    const option options[] = {
        {"l0", 0, OPTION_NUMBER, "X", "cross-entropy of the dense model", &given.l0},
        {"ratio", 'r', OPTION_NUMBER, "R", "the ratio, of the kind that the law was fitted on", &given.ratio},
        {"tokens", 0, OPTION_STRING, "D", "recovery tokens: 50000, 0.5M (0)", &given.tokens},
        {"method", 'm', OPTION_STRING, "M", "which law of the file, or pooled", &given.method},
        {"level", 0, OPTION_NUMBER, "P", "of the intervals (0.95)", &given.level},
        {0},
    };
    const command_face face = {
        .name = "predict",
        .usage = "LAW --l0 X --ratio R [--method M]",
        .about = "The loss that a fitted law expects, with the interval of the law and of one new measurement. LAW is a file that\n"
                 "pare fit -o wrote. A question outside of the range that was fitted is answered with a warning.",
        .example = "  pare fit demo/demo.ledger --form v2 -o law.json\n  pare predict law.json --method wanda-sp --l0 3.1 --ratio 0.25",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    if (isnan(given.l0) || isnan(given.ratio))
        return pare_fail(error, PARE_ERROR_USAGE, "%s is missing", isnan(given.l0) ? "--l0 X" : "--ratio R");
    uint64_t tokens = 0;
    if (given.tokens && strcmp(given.tokens, "0") != 0 && !pare_count_parse(&tokens, given.tokens))
        return pare_fail(error, PARE_ERROR_USAGE, "--tokens \"%s\": a number of tokens like 0, 50000, 0.5M or 1G", given.tokens);
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return false;
    pare_law *laws = NULL;
    size_t n_laws = 0;
    const pare_law *law = NULL;
    pare_law_prediction prediction;
    bool done = pare_law_read(&laws, &n_laws, arguments[0], arena, error) &&
                (law = choose(laws, n_laws, given.method, arguments[0], error)) &&
                pare_law_predict(&prediction, law, given.l0, given.ratio, (double)tokens / 1e6, given.level, error) &&
                print_prediction(law, &given, &prediction, &shared, error);
    pare_arena_close(arena);
    return done;
}
