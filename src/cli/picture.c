/* picture: loss.svg, readable on light and dark ground: axes, the loss of every step, its running mean, held-out points. */
#include "picture.h"

#include <math.h>
#include <stdio.h>

enum { WIDTH = 640, HEIGHT = 320, LEFT = 56, RIGHT = 16, TOP = 28, BOTTOM = 40, POINTS = 600 };

typedef struct {
    double x_most, y_least, y_most;
} frame;

static double place_x(const frame *f, double tokens) {
    return LEFT + (WIDTH - LEFT - RIGHT) * tokens / f->x_most;
}

static double place_y(const frame *f, double loss) {
    return TOP + (HEIGHT - TOP - BOTTOM) * (f->y_most - loss) / (f->y_most - f->y_least);
}

static void widen(frame *f, double loss) {
    f->y_least = fmin(f->y_least, loss);
    f->y_most = fmax(f->y_most, loss);
}

static frame fit_frame(const pare_tune_result *r) {
    frame f = {.x_most = r->tokens ? (double)r->tokens : 1, .y_least = (double)INFINITY, .y_most = -(double)INFINITY};
    for (uint64_t i = 0; i < r->steps; i++)
        widen(&f, (double)r->losses[i]);
    for (size_t i = 0; i < r->n_evaluations; i++)
        widen(&f, r->evaluations[i].cross_entropy);
    if (!(f.y_most > f.y_least)) {
        f.y_least = isfinite(f.y_least) ? f.y_least - 0.5 : 0;
        f.y_most = f.y_least + 1;
    }
    return f;
}

/* Steps of 1, 2 or 5 times a power of ten, about `n` of them. */
static double nice_step(double range, double n) {
    double raw = range / n, power = pow(10, floor(log10(raw))), unit = raw / power;
    return power * (unit < 1.5 ? 1 : unit < 3.5 ? 2 : unit < 7.5 ? 5 : 10);
}

static void draw_axes(pare_string *s, const frame *f) {
    double step = nice_step(f->y_most - f->y_least, 5);
    for (double y = ceil(f->y_least / step) * step; y <= f->y_most; y += step)
        pare_string_print(s, "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n", LEFT,
                          place_y(f, y), WIDTH - RIGHT, LEFT - 6, place_y(f, y) + 4, y);
    const char *unit = f->x_most >= 2e6 ? "M" : f->x_most >= 2e3 ? "k" : "";
    double scale = f->x_most >= 2e6 ? 1e6 : f->x_most >= 2e3 ? 1e3 : 1;
    step = nice_step(f->x_most, 6);
    for (double x = 0; x <= f->x_most; x += step)
        pare_string_print(s, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g%s</text>\n", place_x(f, x), HEIGHT - BOTTOM + 16,
                          x / scale, x > 0 ? unit : "");
    pare_string_print(s, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">tokens</text>\n", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6);
}

/* The mean loss of `POINTS` stretches at most, each with what came `memory` stretches before. */
static void draw_curve(pare_string *s, const frame *f, const pare_tune_result *r, const char *class, double memory) {
    uint64_t stretch = (r->steps + POINTS - 1) / POINTS;
    double mean = 0, weight = 0, per_step = r->steps ? (double)r->tokens / (double)r->steps : 0;
    pare_string_print(s, "<polyline class=\"%s\" points=\"", class);
    for (uint64_t i = 0; i < r->steps; i += stretch) {
        uint64_t n = r->steps - i < stretch ? r->steps - i : stretch;
        double loss = pare_tune_mean_loss(r, i, n);
        if (isnan(loss)) /* no targets in any of its steps */
            continue;
        mean = memory * mean + loss;
        weight = memory * weight + 1;
        pare_string_print(s, "%.1f,%.1f ", place_x(f, ((double)i + (double)n / 2) * per_step), place_y(f, mean / weight));
    }
    pare_string_print(s, "\"/>\n");
}

bool picture_write(const char *folder, const pare_tune_result *r, pare_error *error) {
    pare_string s = {0};
    frame f = fit_frame(r);
    pare_string_print(
        &s,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<style>text{fill:#777}.grid{stroke:#777;stroke-opacity:.25}polyline{fill:none}.step{stroke:#5b8def;stroke-opacity:.35}"
        ".mean{stroke:#2f6fde;stroke-width:2}.held{fill:#e07a2f}</style>\n"
        "<text x=\"%d\" y=\"16\">loss (nats per token): steps, running mean%s</text>\n",
        WIDTH, HEIGHT, LEFT, r->n_evaluations ? ", held-out (dots)" : "");
    draw_axes(&s, &f);
    draw_curve(&s, &f, r, "step", 0);
    draw_curve(&s, &f, r, "mean", 0.9);
    for (size_t i = 0; i < r->n_evaluations; i++) /* of several texts the dots are not told apart: their levels do */
        pare_string_print(&s, "<circle class=\"held\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>\n", place_x(&f, (double)r->evaluations[i].tokens),
                          place_y(&f, r->evaluations[i].cross_entropy));
    pare_string_print(&s, "</svg>\n");
    char path[4096];
    bool done = pare_string_check(&s, error);
    if (done && snprintf(path, sizeof path, "%s/loss.svg", folder) >= (int)sizeof path)
        done = pare_fail(error, PARE_ERROR_IO, "%s: the name is too long", folder);
    done = done && pare_file_write(path, s.data, s.length, true, error);
    pare_string_free(&s);
    return done;
}
