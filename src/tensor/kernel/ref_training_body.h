/* ref_training_body: the gradients and what else training wants, as their formulas say, in portable C with double accumulation.
 * The reference that the variants are tested against; included by ref_kernels.c. */
#include <math.h>
#include <string.h>

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t j = 0; j < n; j++)
        sum += (double)a[j] * (double)b[j];
    return sum;
}

/* ---- attention ---- */

static size_t attention_backward_scratch(size_t group, size_t head_dim, size_t n_tokens) {
    (void)group;
    (void)n_tokens;
    return 2 * head_dim * (sizeof(double) / sizeof(float)); /* one row of dk and one of dv in double */
}

/* P = exp(scale q.k - lse) of one query and key, and dS = P (dP - sum(dO O)), dP = dO.v */
typedef struct {
    double p, ds;
} ref_probability;

static ref_probability ref_probability_of(const float *q, const float *k, const float *v, const float *out, const float *dout, float lse,
                                          size_t head_dim, float scale) {
    double p = exp((double)scale * dot(q, k, head_dim) - (double)lse);
    return (ref_probability){p, p * (dot(dout, v, head_dim) - dot(dout, out, head_dim))};
}

/* dQ = scale dS K by rows, then dK += scale dS^T Q and dV += P^T dO by rows; P and dS again for each */
static void attention_backward(float *dq, float *dk, float *dv, const float *q, const float *k, const float *v, const float *out,
                               const float *dout, const float *lse, size_t n_tokens, size_t group, size_t head_dim, size_t q_stride,
                               size_t kv_stride, size_t lse_stride, float scale, float *scratch) {
    double *sum = (double *)(void *)scratch, *sum_v = sum + head_dim;
    for (size_t t = 0; t < n_tokens; t++)
        for (size_t h = 0; h < group; h++) {
            size_t row = t * q_stride + h * head_dim;
            memset(sum, 0, head_dim * sizeof *sum);
            for (size_t s = 0; s <= t; s++) {
                const float *key = k + s * kv_stride;
                ref_probability x =
                    ref_probability_of(q + row, key, v + s * kv_stride, out + row, dout + row, lse[h * lse_stride + t], head_dim, scale);
                for (size_t j = 0; j < head_dim; j++)
                    sum[j] += (double)scale * x.ds * (double)key[j];
            }
            for (size_t j = 0; j < head_dim; j++)
                dq[row + j] = (float)sum[j];
        }
    for (size_t s = 0; s < n_tokens; s++) {
        memset(sum, 0, 2 * head_dim * sizeof *sum);
        for (size_t t = s; t < n_tokens; t++)
            for (size_t h = 0; h < group; h++) {
                size_t row = t * q_stride + h * head_dim;
                ref_probability x = ref_probability_of(q + row, k + s * kv_stride, v + s * kv_stride, out + row, dout + row,
                                                       lse[h * lse_stride + t], head_dim, scale);
                for (size_t j = 0; j < head_dim; j++) {
                    sum[j] += (double)scale * x.ds * (double)q[row + j];
                    sum_v[j] += x.p * (double)dout[row + j];
                }
            }
        for (size_t j = 0; j < head_dim; j++) {
            dk[s * kv_stride + j] = (float)((double)dk[s * kv_stride + j] + sum[j]);
            dv[s * kv_stride + j] = (float)((double)dv[s * kv_stride + j] + sum_v[j]);
        }
    }
}

/* ---- element by element ---- */

/* With r = 1 / sqrt(mean(x^2) + eps): dx += r (w dy - x r^2 mean(w dy x)), dweight += sum over rows of dy x r */
static void rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x, const float *weight, size_t rows, size_t width,
                              float eps) {
    enum { CHUNK = 64 };
    double inverse[CHUNK];
    for (size_t first = 0; first < rows; first += CHUNK, x += CHUNK * width, dy += CHUNK * width, dx += CHUNK * width) {
        size_t n = rows - first < CHUNK ? rows - first : CHUNK;
        for (size_t r = 0; r < n; r++) {
            const float *row = x + r * width, *d = dy + r * width;
            double product = 0, scale = 1 / sqrt(dot(row, row, width) / (double)width + (double)eps);
            for (size_t j = 0; j < width; j++)
                product += (double)weight[j] * (double)d[j] * (double)row[j];
            product *= scale * scale / (double)width;
            for (size_t j = 0; j < width; j++)
                dx[r * width + j] += (float)(scale * ((double)weight[j] * (double)d[j] - (double)row[j] * product));
            inverse[r] = scale;
        }
        for (size_t j = 0; dweight && j < width; j++) {
            double sum = 0;
            for (size_t r = 0; r < n; r++)
                sum += (double)dy[r * width + j] * (double)x[r * width + j] * inverse[r];
            dweight[j] = (float)((double)dweight[j] + sum);
        }
    }
}

/* With s = sigmoid(gate): dgate = d up s (1 + gate (1 - s)), dup = d gate s */
static void swiglu_backward(float *gate, float *up, const float *d, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double g = (double)gate[i], u = (double)up[i], s = 1 / (1 + exp(-g));
        gate[i] = (float)((double)d[i] * u * s * (1 + g * (1 - s)));
        up[i] = (float)((double)d[i] * g * s);
    }
}

static void exp_scaled(float *out, const float *x, size_t n, float factor, float offset, float scale) {
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((double)scale * exp((double)factor * (double)x[i] - (double)offset));
}

static void add_scaled(float *x, const float *y, float factor, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((double)x[i] + (double)factor * (double)y[i]);
}

static void add_rows(float *sum, const float *x, size_t rows, size_t width, size_t stride) {
    for (size_t j = 0; j < width; j++) {
        double total = (double)sum[j];
        for (size_t t = 0; t < rows; t++)
            total += (double)x[t * stride + j];
        sum[j] = (float)total;
    }
}

/* ---- the optimiser ---- */

static void adamw(float *w, float *m, float *v, const float *g, size_t n, const pare_adamw_step *step) {
    double beta1 = (double)step->beta1, beta2 = (double)step->beta2;
    double rate = (double)step->rate, size = rate / (double)step->correction1, root = sqrt((double)step->correction2);
    for (size_t i = 0; i < n; i++) {
        double gradient = (double)g[i] * (double)step->gradient_scale;
        double first = beta1 * (double)m[i] + (1 - beta1) * gradient, second = beta2 * (double)v[i] + (1 - beta2) * gradient * gradient;
        w[i] = (float)((double)w[i] * (1 - rate * (double)step->decay) - size * first / (sqrt(second) / root + (double)step->eps));
        m[i] = (float)first;
        v[i] = (float)second;
    }
}

static double sum_squares(const float *x, size_t n) {
    return dot(x, x, n);
}
