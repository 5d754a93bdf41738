/* loss: hidden states -> summed loss and its gradient, for a block of targets at a time, so that tokens x vocabulary is never stored.
 *
 *   CE   = lse(z) - z_target                             dCE/dz = softmax(z) - onehot(target)
 *   T^2 KL(softmax(t/T) || softmax(z/T))                 d/dz   = T (softmax(z/T) - softmax(t/T))     Hinton et al. 2015
 *
 * z, t: logits of the student and of the teacher. */
#include <math.h>
#include <string.h>

#include "gradient_impl.h"

enum { CHUNK = 1024, BLOCK_LEAST = 16 };

size_t pare_batch_targets(const pare_batch *batch) {
    size_t n = 0;
    for (size_t w = 0; w < batch->windows; w++)
        for (size_t t = 1; t < batch->length; t++)
            n += !batch->learn || batch->learn[w * batch->length + t];
    return n;
}

/* ---- memory ---- */

static size_t block_targets(const pare_pass *pass) {
    size_t n = LOSS_BYTES / (sizeof(float) * pass->work.model->config.vocabulary), most = pass->work.tokens_max;
    n = n > BLOCK_LEAST ? n : BLOCK_LEAST;
    return n < most ? n : most;
}

static size_t hidden_floats(const pare_pass *pass) {
    return pass->work.tokens_max * pass->work.model->config.width;
}

size_t loss_bytes(const pare_pass *pass) {
    const pare_model *teacher = pass->distillation.teacher;
    size_t n = pass->work.tokens_max, logits = block_targets(pass) * pass->work.model->config.vocabulary;
    size_t bytes = sizeof(float) * (logits + 2 * hidden_floats(pass) + 2 * n) + 2 * block_targets(pass) * sizeof(double);
    if (teacher)
        bytes += sizeof(float) * (logits + n * teacher->config.width) +
                 pare_forward_bytes(teacher, n / pass->work.length_max, pass->work.length_max, pass->work.context);
    return bytes;
}

static bool open_teacher(pare_pass *pass, pare_error *error) {
    const pare_model *teacher = pass->distillation.teacher, *student = pass->work.model;
    loss_state *s = &pass->loss;
    if (teacher->config.vocabulary != student->config.vocabulary)
        return pare_fail(error, PARE_ERROR_SHAPE, "%s: a vocabulary of %u tokens cannot teach one of %u", teacher->checkpoint->path,
                         teacher->config.vocabulary, student->config.vocabulary);
    size_t n = pass->work.tokens_max, length = pass->work.length_max;
    return (s->teacher = PARE_PUSH(pass->arena, float, s->block * teacher->config.vocabulary, error)) &&
           (s->teacher_hidden = PARE_PUSH(pass->arena, float, n * teacher->config.width, error)) &&
           (s->teacher_pass = pare_forward_open(teacher, n / length, length, pass->work.context, error));
}

bool loss_open(pare_pass *pass, pare_error *error) {
    loss_state *s = &pass->loss;
    pare_arena *a = pass->arena;
    size_t n = pass->work.tokens_max;
    s->block = block_targets(pass);
    return (s->logits = PARE_PUSH(a, float, s->block * pass->work.model->config.vocabulary, error)) &&
           (s->hidden = PARE_PUSH(a, float, hidden_floats(pass), error)) &&
           (s->d_hidden = PARE_PUSH(a, float, hidden_floats(pass), error)) && (s->rows = PARE_PUSH(a, uint32_t, n, error)) &&
           (s->targets = PARE_PUSH(a, uint32_t, n, error)) && (s->nll = PARE_PUSH(a, double, s->block, error)) &&
           (s->divergence = PARE_PUSH(a, double, s->block, error)) && (!pass->distillation.teacher || open_teacher(pass, error));
}

void loss_close(pare_pass *pass) {
    pare_forward_close(pass->loss.teacher_pass);
}

/* ---- one row of logits ---- */

/* ln sum exp(x / T) */
static double log_sum_exp(const float *x, size_t n, float inverse_temperature) {
    float maximum = -INFINITY, scaled[CHUNK];
    double sum = 0;
    const pare_kernels *kernels = pare_kernels_best();
    if (inverse_temperature == 1.0f) {
        kernels->log_sum_exp(&maximum, &sum, x, n);
        return (double)maximum + log(sum);
    }
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        for (size_t j = 0; j < m; j++)
            scaled[j] = x[i + j] * inverse_temperature;
        kernels->log_sum_exp(&maximum, &sum, scaled, m);
    }
    return (double)maximum + log(sum);
}

/* z becomes scale * dCE/dz. Returns the loss. */
static double learn_target(float *z, size_t n, uint32_t target, float scale) {
    double lse = log_sum_exp(z, n, 1.0f), nll = lse - (double)z[target];
    pare_kernels_best()->exp_scaled(z, z, n, 1.0f, (float)lse, scale);
    z[target] -= scale;
    return nll;
}

/* z becomes scale * d((1 - weight) CE + weight T^2 KL)/dz; t is spent. Returns CE, and T^2 KL in *divergence. */
static double learn_both(double *divergence, float *z, float *t, size_t n, uint32_t target, float scale, const pare_distillation *d) {
    float temperature = (float)d->temperature, inverse = 1.0f / temperature, p[CHUNK], q[CHUNK];
    float hard = scale * (float)(1 - d->weight), soft = scale * (float)d->weight * temperature;
    const pare_kernels *kernels = pare_kernels_best();
    double lse = log_sum_exp(z, n, 1.0f), student = log_sum_exp(z, n, inverse), teacher = log_sum_exp(t, n, inverse), cross = 0;
    double nll = lse - (double)z[target];
    for (size_t i = 0; i < n; i += CHUNK) {
        size_t m = n - i < CHUNK ? n - i : CHUNK;
        kernels->exp_scaled(p, t + i, m, inverse, (float)teacher, 1.0f);
        kernels->exp_scaled(q, z + i, m, inverse, (float)student, soft);
        double sum = 0;
        for (size_t j = 0; j < m; j++)
            sum += (double)p[j] * ((double)t[i + j] - (double)z[i + j]);
        cross += sum;
        kernels->exp_scaled(z + i, z + i, m, 1.0f, (float)lse, hard);
        for (size_t j = 0; j < m; j++)
            z[i + j] += q[j] - soft * p[j];
    }
    z[target] -= hard;
    *divergence = d->temperature * d->temperature * (cross / d->temperature - teacher + student);
    return nll;
}

/* ---- a batch ---- */

static size_t list_targets(loss_state *s, const pare_batch *batch) {
    size_t n = 0;
    for (size_t w = 0; w < batch->windows; w++)
        for (size_t t = 0; t + 1 < batch->length; t++) {
            size_t at = w * batch->length + t;
            if (batch->learn && !batch->learn[at + 1])
                continue;
            s->rows[n] = (uint32_t)at;
            s->targets[n++] = batch->ids[at + 1];
        }
    return n;
}

static void gather(float *out, const float *rows, const uint32_t *index, size_t n, size_t width) {
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * width, rows + index[i] * width, width * sizeof *out);
}

static bool run_teacher(pare_pass *pass, const pare_batch *batch, size_t n, pare_error *error) {
    loss_state *s = &pass->loss;
    const float *hidden = pare_forward_run(s->teacher_pass, batch->ids, batch->windows, batch->length, NULL, error);
    if (hidden)
        gather(s->teacher_hidden, hidden, s->rows, n, pass->distillation.teacher->config.width);
    return hidden != NULL;
}

/* Targets [first, first + n): their logits become gradients. */
static void block_gradients(pare_pass *pass, size_t first, size_t n, float scale) {
    loss_state *s = &pass->loss;
    const pare_distillation *d = &pass->distillation;
    const pare_model *model = pass->work.model;
    size_t vocabulary = model->config.vocabulary;
    pare_linear head = {.weight = model->head};
    linear_run(s->logits, &head, s->hidden + first * model->config.width, n, false, &pass->work.scratch);
    if (d->teacher) {
        pare_linear teacher = {.weight = d->teacher->head};
        linear_run(s->teacher, &teacher, s->teacher_hidden + first * d->teacher->config.width, n, false, &s->teacher_pass->work.scratch);
    }
#pragma omp parallel for num_threads(pass->work.scratch.n_threads) schedule(static)
    for (size_t i = 0; i < n; i++) {
        float *z = s->logits + i * vocabulary;
        uint32_t target = s->targets[first + i];
        s->divergence[i] = 0;
        s->nll[i] = d->teacher ? learn_both(&s->divergence[i], z, s->teacher + i * vocabulary, vocabulary, target, scale, d)
                               : learn_target(z, vocabulary, target, scale);
    }
}

static bool add_up(pare_pass_loss *loss, const pare_pass *pass, const pare_batch *batch, size_t first, size_t n, pare_error *error) {
    const loss_state *s = &pass->loss;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(s->nll[i]) || !isfinite(s->divergence[i])) {
            uint32_t row = s->rows[first + i];
            return pare_fail(error, PARE_ERROR_NUMERIC, "the loss of token %zu of window %zu of the batch is not finite",
                             row % batch->length + 1, row / batch->length);
        }
        loss->cross_entropy += s->nll[i];
        loss->divergence += s->divergence[i];
    }
    return true;
}

bool loss_run(pare_pass_loss *loss, pare_pass *pass, const pare_batch *batch, const float *hidden, double scale, pare_error *error) {
    loss_state *s = &pass->loss;
    const pare_model *model = pass->work.model;
    size_t width = model->config.width, n = list_targets(s, batch);
    pare_linear head = {.weight = model->head};
    pare_linear_gradient gradient = {.weight = pass->gradients->head};
    *loss = (pare_pass_loss){.targets = n};
    gather(s->hidden, hidden, s->rows, n, width);
    if (pass->distillation.teacher && n && !run_teacher(pass, batch, n, error))
        return false;
    for (size_t first = 0; first < n; first += s->block) {
        size_t m = n - first < s->block ? n - first : s->block;
        block_gradients(pass, first, m, (float)scale);
        if (!add_up(loss, pass, batch, first, m, error) || !pare_context_check(pass->work.context, error))
            return false;
        linear_backward(s->d_hidden + first * width, &gradient, &head, s->logits, s->hidden + first * width, m, false, &pass->work.scratch,
                        NULL);
    }
    memset(pass->d_hidden, 0, batch->windows * batch->length * width * sizeof *pass->d_hidden);
    for (size_t i = 0; i < n; i++)
        memcpy(pass->d_hidden + s->rows[i] * width, s->d_hidden + i * width, width * sizeof *pass->d_hidden);
    return true;
}
