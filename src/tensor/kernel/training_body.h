/* training_body: the gradients and the optimiser element by element, over the operations of simd_body.h. Where a pass over memory is
 * all the work, the loop is plain: the compiler's vector code is then as fast as the memory. */

/* Per row, with r = 1 / sqrt(mean(x^2) + eps): dx += r (w dy - x r^2 mean(w dy x)), dweight += dy x r */
INLINE void rms_norm_row_backward(float *dx, float *dweight, const float *dy, const float *x, const float *weight, size_t width,
                                  float eps) {
    vf squares = v_set(0), products = v_set(0);
    size_t j = 0, whole = width / LANES * LANES;
    for (; j < whole; j += LANES) {
        vf value = v_load(x + j);
        squares = v_fma(value, value, squares);
        products = v_fma(v_load(weight + j) * v_load(dy + j), value, products);
    }
    double square = (double)v_sum(squares), product = (double)v_sum(products);
    for (; j < width; j++) {
        square += (double)x[j] * (double)x[j];
        product += (double)weight[j] * (double)dy[j] * (double)x[j];
    }
    double inverse = 1.0 / sqrt(square / (double)width + (double)eps);
    float r = (float)inverse, along = (float)(-inverse * inverse * inverse * product / (double)width);
    for (j = 0; j < whole; j += LANES) {
        vf value = v_load(x + j), d = v_load(dy + j) * v_set(r);
        v_store(dx + j, v_fma(v_load(weight + j), d, v_fma(value, v_set(along), v_load(dx + j))));
        if (dweight)
            v_store(dweight + j, v_fma(d, value, v_load(dweight + j)));
    }
    for (; j < width; j++) {
        dx[j] += weight[j] * dy[j] * r + x[j] * along;
        if (dweight)
            dweight[j] += dy[j] * r * x[j];
    }
}

static void rms_norm_backward(float *dx, float *dweight, const float *dy, const float *x, const float *weight, size_t rows, size_t width,
                              float eps) {
    for (size_t row = 0; row < rows; row++, dx += width, dy += width, x += width)
        rms_norm_row_backward(dx, dweight, dy, x, weight, width, eps);
}

/* With s = sigmoid(gate): dgate = d up s (1 + gate (1 - s)), dup = d gate s */
static void swiglu_backward(float *gate, float *up, const float *d, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf one = v_set(1.0f), g = v_load(gate + i), u = v_load(up + i), s = one / (one + v_exp(-g)), ds = v_load(d + i) * s;
        v_store(gate + i, ds * u * v_fma(g, one - s, one));
        v_store(up + i, ds * g);
    }
    for (; i < n; i++) {
        float g = gate[i], u = up[i], s = 1.0f / (1.0f + expf(-g)), ds = d[i] * s;
        gate[i] = ds * u * (1.0f + g * (1.0f - s));
        up[i] = ds * g;
    }
}

static void exp_scaled(float *out, const float *x, size_t n, float factor, float offset, float scale) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(out + i, v_exp(v_fma(v_load(x + i), v_set(factor), v_set(-offset))) * v_set(scale));
    for (; i < n; i++)
        out[i] = scale * expf(factor * x[i] - offset);
}

static void adamw(float *w, float *m, float *v, const float *g, size_t n, const pare_adamw_step *step) {
    float beta1 = step->beta1, beta2 = step->beta2, rest1 = (float)(1 - (double)beta1), rest2 = (float)(1 - (double)beta2);
    float keep = (float)(1 - (double)step->rate * (double)step->decay), size = (float)((double)step->rate / (double)step->correction1);
    float unbias = (float)(1 / sqrt((double)step->correction2)), clip = step->gradient_scale;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf gradient = v_load(g + i) * v_set(clip);
        vf first = v_fma(v_load(m + i), v_set(beta1), gradient * v_set(rest1));
        vf second = v_fma(v_load(v + i), v_set(beta2), gradient * gradient * v_set(rest2));
        vf change = first / v_fma(v_sqrt(second), v_set(unbias), v_set(step->eps));
        v_store(w + i, v_load(w + i) * v_set(keep) - v_set(size) * change);
        v_store(m + i, first);
        v_store(v + i, second);
    }
    for (; i < n; i++) {
        float gradient = g[i] * clip;
        m[i] = m[i] * beta1 + gradient * rest1;
        v[i] = v[i] * beta2 + gradient * gradient * rest2;
        w[i] = w[i] * keep - size * (m[i] / (sqrtf(v[i]) * unbias + step->eps));
    }
}

/* Sixteen sums side by side, folded at the end: squares of f32 are exact in double. */
static double sum_squares(const float *x, size_t n) {
    enum { SUMS = 16 };
    double sum[SUMS] = {0}, total = 0;
    size_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (size_t j = 0; j < SUMS; j++)
            sum[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        total += (double)x[i] * (double)x[i];
    for (size_t j = 0; j < SUMS; j++)
        total += sum[j];
    return total;
}

static void add_scaled(float *x, const float *y, float factor, size_t n) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        v_store(x + i, v_fma(v_load(y + i), v_set(factor), v_load(x + i)));
    for (; i < n; i++)
        x[i] += factor * y[i];
}

/* Four rows a pass, so that the sums are read and written a quarter as often */
static void add_rows(float *sum, const float *x, size_t rows, size_t width, size_t stride) {
    for (; rows >= 4; rows -= 4, x += 4 * stride) {
        const float *a = x, *b = a + stride, *c = b + stride, *d = c + stride;
        size_t j = 0;
        for (; j + LANES <= width; j += LANES)
            v_store(sum + j, v_load(sum + j) + ((v_load(a + j) + v_load(b + j)) + (v_load(c + j) + v_load(d + j))));
        for (; j < width; j++)
            sum[j] += (a[j] + b[j]) + (c[j] + d[j]);
    }
    for (; rows; rows--, x += stride)
        add(sum, x, width);
}
