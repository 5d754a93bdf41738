/* policy: the network of PruneNet, what it draws and what it earns; see policy.h. */
#include "policy.h"

#include <math.h>
#include <string.h>

#include "spectrum.h"

bool policy_open(pare_policy *policy, uint32_t width, uint32_t ffn_width, pare_error *error) {
    *policy = (pare_policy){.width = width, .ffn_width = ffn_width};
    if (width == 0 || ffn_width == 0 || !pare_size_multiply(&policy->n_values, ffn_width, (size_t)width + 2))
        return pare_fail(error, PARE_ERROR_RANGE, "no policy for a width of %u and an FFN width of %u", width, ffn_width);
    policy->values = pare_allocate(policy->n_values, sizeof *policy->values, error);
    return policy->values != NULL;
}

void pare_policy_free(pare_policy *policy) {
    pare_free(policy->values);
    *policy = (pare_policy){0};
}

float *policy_projection(const pare_policy *policy) {
    return policy->values;
}

float *policy_bias(const pare_policy *policy) {
    return policy->values + (size_t)policy->ffn_width * policy->width;
}

float *policy_rows(const pare_policy *policy) {
    return policy_bias(policy) + policy->ffn_width;
}

void policy_start(pare_policy *policy, uint64_t seed) {
    double bound = 1 / sqrt((double)policy->width);
    float *rows = policy_rows(policy);
    pare_random random;
    pare_random_init(&random, seed, "policy start", 0);
    for (float *at = policy->values; at < rows; at++)
        *at = (float)((2 * pare_random_unit(&random) - 1) * bound);
    for (uint32_t i = 0; i < policy->ffn_width; i++)
        rows[i] = (float)pare_random_unit(&random);
}

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

size_t policy_scratch(const pare_policy *policy) {
    return policy->ffn_width + (1 + POLICY_ROWS) * (size_t)policy->width;
}

/* Rows [first, …) of gate, POLICY_ROWS or what is left of them. */
static size_t read_rows(float *rows, const pare_view *gate, size_t first) {
    size_t n = gate->n_rows - first < POLICY_ROWS ? gate->n_rows - first : POLICY_ROWS;
    pare_view_read(rows, gate, (uint32_t)first, (uint32_t)n, NULL);
    return n;
}

/* logit = W (A^T v) + b . v */
void policy_forward(float *logits, const pare_policy *policy, const pare_view *gate, float *scratch) {
    size_t n = policy->ffn_width, width = policy->width;
    const float *v = policy_rows(policy);
    float constant = (float)dot(policy_bias(policy), v, n), *direction = scratch, *rows = scratch + width;
    pare_gemm_nn(direction, v, policy_projection(policy), 1, width, n, n, width, width, false);
    for (size_t first = 0, count; first < n; first += count) {
        count = read_rows(rows, gate, first);
        pare_gemm_nt(logits + first, rows, direction, count, 1, width, width, width, 1, false);
    }
    for (size_t i = 0; i < n; i++)
        logits[i] += constant;
}

static double open_unit(pare_random *random) {
    double u = pare_random_unit(random);
    return u > 0 ? u : 0x1p-54;
}

void policy_noise(double *noise, double *gumbel, uint32_t n, uint64_t seed, const char *purpose, uint64_t step) {
    pare_random random;
    pare_random_init(&random, seed, purpose, step);
    for (uint32_t i = 0; i < n; i++) {
        double u = open_unit(&random);
        noise[i] = log(u) - log1p(-u);
        gumbel[i] = -log(-log(open_unit(&random)));
    }
}

double policy_log_keep(double noise, float logit) {
    double x = noise + (double)logit;
    return x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x));
}

/* With g = d loss / d logit, which is -reward (1 - k) on kept neurons and 0 elsewhere:
 *   d a = W^T g (width), d A = v d a^T, d v = A d a + b sum g, d b = v sum g */
void policy_gradient(policy_slope *slope, const pare_policy *policy, const pare_view *gate, const float *logits, const double *noise,
                     const uint32_t *kept, uint32_t n_kept, double reward, float *scratch) {
    size_t n = policy->ffn_width, width = policy->width;
    const float *v = policy_rows(policy), *b = policy_bias(policy);
    float *g = scratch, *rows = scratch + n;
    double sum = 0;
    memset(g, 0, n * sizeof *g);
    for (uint32_t i = 0; i < n_kept; i++) {
        double k = exp(policy_log_keep(noise[kept[i]], logits[kept[i]]));
        g[kept[i]] = (float)(-reward * (1 - k));
        sum += (double)g[kept[i]];
    }
    for (size_t first = 0, count; first < n; first += count) {
        count = read_rows(rows, gate, first);
        pare_gemm_nn(slope->a, g + first, rows, 1, width, count, count, width, width, first > 0);
    }
    pare_gemm_nt(slope->rows, policy_projection(policy), slope->a, n, 1, width, width, width, 1, false);
    for (size_t i = 0; i < n; i++) {
        slope->bias[i] = (float)(sum * (double)v[i]);
        slope->rows[i] += (float)(sum * (double)b[i]);
    }
}

/* A first: the gradient of its rows has v as it was. */
void policy_step(pare_policy *policy, float *first_moment, float *second_moment, const policy_slope *slope, uint64_t step, double rate,
                 float *scratch) {
    const double beta1 = (double)0.9f, beta2 = (double)0.999f, t = (double)step;
    pare_adamw_step s = {.rate = (float)rate,
                         .beta1 = 0.9f,
                         .beta2 = 0.999f,
                         .eps = 1e-8f,
                         .decay = 0.01f,
                         .correction1 = (float)(1 - pow(beta1, t)),
                         .correction2 = (float)(1 - pow(beta2, t)),
                         .gradient_scale = 1};
    const pare_kernels *kernels = pare_kernels_best();
    size_t n = policy->ffn_width, width = policy->width, bias = n * width, rows = bias + n;
    const float *v = policy_rows(policy);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < width; j++)
            scratch[j] = v[i] * slope->a[j];
        kernels->adamw(policy->values + i * width, first_moment + i * width, second_moment + i * width, scratch, width, &s);
    }
    kernels->adamw(policy->values + bias, first_moment + bias, second_moment + bias, slope->bias, n, &s);
    kernels->adamw(policy->values + rows, first_moment + rows, second_moment + rows, slope->rows, n, &s);
}

typedef struct {
    const pare_view *gate;
    const uint32_t *kept;
} kept_rows;

static void read_kept(void *user, float *out, size_t first, size_t count) {
    const kept_rows *k = user;
    for (size_t i = 0; i < count; i++)
        pare_view_read(out + i * k->gate->n_columns, k->gate, k->kept[first + i], 1, NULL);
}

bool policy_reward(double *reward, const double *values, size_t n_values, const pare_view *gate, const uint32_t *kept, uint32_t n_kept,
                   pare_error *error) {
    size_t width = gate->n_columns, n_left = n_kept < width ? n_kept : width;
    kept_rows rows = {gate, kept};
    double *left = pare_allocate(n_left, sizeof *left, error);
    bool done = left && pare_singular_values_by_rows(left, read_kept, &rows, n_kept, width, error);
    if (done) {
        double ks = pare_kolmogorov_smirnov(values, n_values, left, n_left);
        *reward = ks > 0 ? 1 / ks : 99999;
    }
    pare_free(left);
    return done;
}
