/* rotate: see rotate.h. In f32, some rows of a matrix at a time. */
#include "rotate.h"

#include <math.h>
#include <string.h>

#include "pare/tensor.h"

enum { PANEL = 256 };

bool rotation_find(rotation *r, float *rows, double *gram, uint32_t width, uint32_t kept, pare_error *error) {
    double *values = pare_allocate(width, sizeof *values, error);
    bool done = values && pare_symmetric_eigen(values, gram, width, true, error);
    for (size_t i = 0; done && i < kept; i++)
        for (size_t j = 0; j < width; j++)
            rows[i * width + j] = (float)gram[(width - 1 - i) * width + j];
    *r = (rotation){width, kept, rows};
    pare_free(values);
    return done;
}

typedef struct {
    float *rows, *scratch;
} panel;

static bool open_panel(panel *p, const pare_view *w, pare_error *error) {
    *p = (panel){pare_allocate((size_t)PANEL * w->n_columns, sizeof(float), error), NULL};
    return p->rows && (p->scratch = pare_allocate(pare_view_scratch(w) + 1, sizeof(float), error));
}

static void close_panel(panel *p) {
    pare_free(p->rows);
    pare_free(p->scratch);
}

bool rotate_reader(float *to, const pare_view *w, const float *norm, const rotation *r, pare_error *error) {
    panel p;
    bool done = open_panel(&p, w, error);
    for (uint32_t first = 0; done && first < w->n_rows; first += PANEL) {
        uint32_t n = w->n_rows - first < PANEL ? w->n_rows - first : PANEL;
        pare_view_read(p.rows, w, first, n, p.scratch);
        for (size_t i = 0; norm && i < n; i++)
            for (size_t j = 0; j < r->width; j++)
                p.rows[i * r->width + j] *= norm[j];
        pare_gemm_nt(to + (size_t)first * r->kept, p.rows, r->rows, n, r->kept, r->width, r->width, r->width, r->kept, false);
    }
    close_panel(&p);
    return done;
}

bool rotate_writer(float *to, const pare_view *w, const rotation *r, pare_error *error) {
    panel p;
    bool done = open_panel(&p, w, error);
    for (uint32_t first = 0; done && first < w->n_rows; first += PANEL) {
        uint32_t n = w->n_rows - first < PANEL ? w->n_rows - first : PANEL;
        pare_view_read(p.rows, w, first, n, p.scratch);
        pare_gemm_nn(to, r->rows + first, p.rows, r->kept, w->n_columns, n, r->width, w->n_columns, w->n_columns, first > 0);
    }
    close_panel(&p);
    return done;
}

void rotate_bias(float *to, const float *bias, const rotation *r) {
    for (size_t i = 0; i < r->kept; i++) {
        double sum = 0;
        for (size_t j = 0; j < r->width; j++)
            sum += (double)r->rows[i * r->width + j] * (double)bias[j];
        to[i] = (float)sum;
    }
}

float rotated_norm(const rotation *r) {
    return (float)sqrt((double)r->width / (double)r->kept);
}
