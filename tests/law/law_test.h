/* law_test: what the tests of this layer share: an arena per program, numbers held to a tolerance, points out of a fixture. */
#ifndef PARE_LAW_TEST_H
#define PARE_LAW_TEST_H

#include <math.h>

#include "test.h"

#include "pare/law.h"

static pare_arena *arena;
static pare_error error;

static int open_arena(void **state) {
    (void)state;
    arena = pare_arena_open(&error);
    return arena ? 0 : -1;
}

static int close_arena(void **state) {
    (void)state;
    pare_arena_close(arena);
    return 0;
}

/* Relative to the wanted value, with an absolute floor. */
static inline void near(double ours, double wanted, double tolerance, const char *name, const char *what, size_t at) {
    if (!(fabs(ours - wanted) <= tolerance * fmax(fabs(wanted), 1e-3)))
        fail_msg("%s: %s %zu = %.15g, wanted %.15g", name, what, at, ours, wanted);
}

static inline double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static inline const char *text(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static inline pare_law_points points_from(const json_t *list) {
    pare_law_points points = {PARE_PUSH(arena, pare_law_point, json_array_size(list), &error), json_array_size(list)};
    assert_non_null(points.items);
    for (size_t i = 0; i < points.n; i++) {
        const json_t *from = json_array_get(list, i);
        points.items[i] = pare_law_point_blank();
        points.items[i].model = text(from, "model");
        points.items[i].method = text(from, "method");
        points.items[i].l0 = number(from, "l0");
        points.items[i].l = number(from, "l");
        points.items[i].d = number(from, "d");
        points.items[i].ceiling = number(from, "ceiling");
        points.items[i].ratio[PARE_LAW_RATIO_NOMINAL] = number(from, "r");
    }
    return points;
}

#endif
