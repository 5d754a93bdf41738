/* pare predict: what a law file says about a model of loss L0 at a ratio. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "pare/law.h"

typedef struct {
    double l0, ratio, level, threshold;
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

/* What was asked, and what the law says. */
typedef struct {
    const pare_law *law;
    double d;
    bool has_prediction, has_critical;
    pare_law_prediction prediction;
    pare_law_critical critical;
} answer;

static void print_d(double d) {
    if (d > 0)
        printf(", D = %g million tokens", d);
}

static void print_prediction(const answer *a, const predict_options *given) {
    const pare_law_prediction *p = &a->prediction;
    printf("%s, %s: L = %.4f at L0 = %g, r = %g (%s ratio)", title(a->law), pare_law_form_name(a->law->form), p->l, given->l0, given->ratio,
           pare_law_ratio_name(a->law->ratio));
    print_d(a->d);
    printf(": %.3f times the dense loss\n", p->factor);
    printf("%g %% interval of the law %.4f to %.4f, of one new measurement %.4f to %.4f, if the form is right\n", 100 * p->level,
           p->mean_low, p->mean_high, p->prediction_low, p->prediction_high);
    if (p->warning[0])
        printf("warning: %s\n", p->warning);
}

static void print_critical(const answer *a) {
    const pare_law_critical *c = &a->critical;
    printf("%s, %s: L = %g L0 at L0 = %g", title(a->law), pare_law_form_name(a->law->form), c->threshold, c->l0);
    print_d(a->d);
    if (!isfinite(c->value)) {
        printf(": %s\n", c->note);
        return;
    }
    printf(": r = %.4f (%s ratio; %g %% interval %.4f to %.4f%s, if the form is right)\n", c->value, pare_law_ratio_name(a->law->ratio),
           100 * c->level, c->low, c->high, c->one_piece ? "" : ", with gaps");
    if (c->note[0])
        printf("warning: %s\n", c->note);
}

static json_t *answer_json(pare_json_doc *doc, const answer *a) {
    json_t *json = a->has_prediction ? pare_law_prediction_json(doc, &a->prediction) : pare_json_object(doc);
    if (!json)
        return NULL;
    pare_json_set(doc, json, "form", pare_json_string(doc, pare_law_form_name(a->law->form)));
    pare_json_set(doc, json, "method", pare_json_string(doc, title(a->law)));
    pare_json_set(doc, json, "ratio_kind", pare_json_string(doc, pare_law_ratio_name(a->law->ratio)));
    pare_json_set(doc, json, "d", pare_json_number(doc, a->d));
    if (a->has_critical)
        pare_json_set(doc, json, "critical", pare_law_critical_json(doc, &a->critical));
    return json;
}

static bool print_answer(const answer *a, const predict_options *given, const common *shared, pare_error *error) {
    pare_json_doc doc = {0};
    if (shared->json)
        return print_json(answer_json(&doc, a), &doc, error);
    if (a->has_prediction)
        print_prediction(a, given);
    if (a->has_critical)
        print_critical(a);
    return true;
}

static bool find_answer(answer *a, const predict_options *given, pare_error *error) {
    a->has_prediction = !isnan(given->ratio);
    a->has_critical = !isnan(given->threshold);
    return (!a->has_prediction || pare_law_predict(&a->prediction, a->law, given->l0, given->ratio, a->d, given->level, error)) &&
           (!a->has_critical || pare_law_critical_find(&a->critical, a->law, given->threshold, given->l0, a->d, given->level, error));
}

static bool check_options(const predict_options *given, pare_error *error) {
    if (isnan(given->l0))
        return pare_fail(error, PARE_ERROR_USAGE, "--l0 X is missing: the cross-entropy of the dense model");
    if (!isnan(given->ratio) && !check_share("ratio", given->ratio, error))
        return false;
    if (isnan(given->ratio) && isnan(given->threshold))
        return pare_fail(error, PARE_ERROR_USAGE, "--ratio R is missing (or --threshold X, for the ratio at which L reaches X times L0)");
    return isnan(given->ratio) || check_share("ratio", given->ratio, error);
}

bool cmd_predict(int argc, char **argv, pare_error *error) {
    predict_options given = {.l0 = (double)NAN, .ratio = (double)NAN, .threshold = (double)NAN};
    const option options[] = {
        {"l0", 0, OPTION_NUMBER, "X", "cross-entropy of the dense model", &given.l0},
        {"ratio", 'r', OPTION_NUMBER, "R", "the ratio at which to estimate the loss; its kind is the one that the law was fitted on",
         &given.ratio},
        {"threshold", 0, OPTION_NUMBER, "X", "estimate the ratio at which L reaches X times L0, such as 1.1", &given.threshold},
        {"tokens", 0, OPTION_STRING, "D", "number of recovery tokens: 50k, 0.5M (0); the law must have been fitted with recovery tokens",
         &given.tokens},
        {"method", 'm', OPTION_STRING, "M", "which law of the file: the name of its method, or pooled", &given.method},
        {"level", 0, OPTION_NUMBER, "P", "level of the intervals (0.95)", &given.level},
        {0},
    };
    const command_face face = {
        .name = "predict",
        .usage = "LAW --l0 X --ratio R|--threshold X [--method M] [--tokens D]",
        .about =
            "Prints the loss that a fitted law expects at a ratio, with the interval of the law and that of one new measurement. With\n"
            "--threshold it prints the ratio at which the loss reaches a multiple of L0. LAW is a file that pare fit -o wrote. The\n"
            "intervals take the form of the law for granted; pare fit prints by how much the law misses a model that was left out.\n"
            "Outside of the range that was fitted, pare predict prints a warning. It refuses recovery tokens for which the law has no\n"
            "term, and more than twice those that the law was fitted on.",
        .example = "  pare fit demo/demo.ledger --form v2 -o law.json\n  pare predict law.json --method wanda-sp --l0 3.1 --ratio 0.25\n"
                   "  pare predict law.json --method wanda-sp --l0 3.1 --threshold 1.2",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
    };
    const char *arguments[ARGUMENTS_MAX];
    common shared;
    int n = options_parse(arguments, &shared, &face, argc, argv, error);
    if (n < 0)
        return n == -2;
    answer a = {0};
    if (!check_options(&given, error) || !tokens_parse(&a.d, given.tokens, error))
        return false;
    pare_arena *arena = pare_arena_open(error);
    if (!arena)
        return false;
    pare_law *laws = NULL;
    size_t n_laws = 0;
    bool done = pare_law_read(&laws, &n_laws, arguments[0], arena, error) &&
                (a.law = choose(laws, n_laws, given.method, arguments[0], error)) && find_answer(&a, &given, error) &&
                print_answer(&a, &given, &shared, error);
    pare_arena_close(arena);
    return done;
}
