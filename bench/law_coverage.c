/* law_coverage: how often "95 %" intervals of a law hold the truth, when models differ in slope and level as models do. Prints a row for
 * each number of models: the slope's and the exponent of L0's by the classical errors and by those clustered by model, and the critical
 * ratio's. Usage: law_coverage [REPETITIONS] Build: cc -O2 -Iinclude bench/law_coverage.c build/libpare_law.a build/libpare_base.a
 * -lopenblas -ljansson -lcrypto -lm -o law_coverage */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pare/law.h"

enum { MODELS_MAX = 16, RATIOS = 7 };
static pare_random chance;

static double normal(double sd) {
    double u = 1 - pare_random_unit(&chance), v = pare_random_unit(&chance);
    return sd * sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

/* ln L = ln L0 + 0.02 + u_m + (-0.7 + v_m) ln(1-r), or 1.03 ln L0 + u_m + (1.6 + v_m) ln(1+r), and noise of 2 %. */
static void simulate(pare_law_points *points, pare_law_form form, size_t n_models) {
    static char names[MODELS_MAX][8];
    points->n = 0;
    for (size_t m = 0; m < n_models; m++) {
        double l0 = exp(0.7 + 0.7 * pare_random_unit(&chance)), level = normal(0.05), slope = normal(form == PARE_LAW_V2 ? 0.1 : 0.2);
        snprintf(names[m], sizeof names[m], "m%zu", m);
        for (size_t i = 1; i <= RATIOS; i++) {
            double r = (double)i / 10, mean = form == PARE_LAW_V2 ? log(l0) + 0.02 + level + (-0.7 + slope) * log1p(-r)
                                                                  : 1.03 * log(l0) + level + (1.6 + slope) * log1p(r);
            pare_law_point *point = &points->items[points->n++];
            *point = pare_law_point_blank();
            point->model = names[m];
            point->method = "m";
            point->l0 = l0;
            point->ratio[PARE_LAW_RATIO_NOMINAL] = r;
            point->l = exp(mean + normal(0.02));
        }
    }
}

typedef struct {
    double slope_classical, slope, l0_classical, l0, critical;
} coverage;

static double holds(double value, double error, double degrees, double truth) {
    return fabs(value - truth) <= pare_student_quantile(0.975, degrees) * error;
}

static bool add(coverage *sum, pare_law_form form, size_t n_models, pare_law_points *points, pare_error *error) {
    pare_arena *arena = pare_arena_open(error);
    pare_law_fit fit;
    simulate(points, form, n_models);
    if (!arena || !pare_law_fit_points(&fit, form, points, NULL, NULL, arena, error))
        return false;
    for (size_t j = 0; j < fit.law.n_terms; j++) {
        const pare_law_coefficient *c = &fit.law.coefficients[j];
        double g = (double)n_models;
        if (form == PARE_LAW_V2 && strcmp(c->name, "a") == 0) {
            sum->slope_classical += holds(c->value, c->standard_error, fit.law.degrees, -0.7);
            sum->slope += holds(c->value, c->standard_error_clustered, g - 1, -0.7);
        } else if (form == PARE_LAW_V1 && strcmp(c->name, "a") == 0) {
            sum->l0_classical += holds(c->value, c->standard_error, fit.law.degrees, 1.03);
            sum->l0 += holds(c->value, c->standard_error_clustered, g - 2, 1.03);
        }
    }
    double truth = 1 - exp((log(1.1) - 0.02) / -0.7);
    sum->critical += fit.critical.low <= truth && truth <= fit.critical.high;
    pare_arena_close(arena);
    return true;
}

int main(int argc, char **argv) {
    static const size_t models[] = {2, 3, 4, 6, 8, 16};
    int repetitions = argc > 1 ? atoi(argv[1]) : 2000;
    pare_law_point items[MODELS_MAX * RATIOS];
    pare_law_points points = {items, 0};
    pare_error error = {0};
    pare_random_init(&chance, 1, "coverage", 0);
    printf("%d repetitions; coverage in %% of nominal 95\nmodels  slope classical  clustered  L0 classical  clustered  critical ratio\n",
           repetitions);
    for (size_t k = 0; k < sizeof models / sizeof models[0]; k++) {
        coverage v2 = {0}, v1 = {0};
        for (int i = 0; i < repetitions; i++)
            if (!add(&v2, PARE_LAW_V2, models[k], &points, &error) || !add(&v1, PARE_LAW_V1, models[k], &points, &error)) {
                fprintf(stderr, "%s\n", error.message);
                return 1;
            }
        double percent = 100.0 / repetitions; /* below three models the exponent of L0 is not fitted */
        printf("%6zu  %15.1f  %9.1f", models[k], percent * v2.slope_classical, percent * v2.slope);
        if (models[k] < 3)
            printf("  %12s  %9s", "-", "-");
        else
            printf("  %12.1f  %9.1f", percent * v1.l0_classical, percent * v1.l0);
        printf("  %14.1f\n", percent * v2.critical);
    }
    return 0;
}
