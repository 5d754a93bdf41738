/* gemm_body: products of many rows with a matrix that is packed once and then shared by all of them. Goes on from attention_body.h,
 * whose tiles do the work: rows are broadcast from where they lie, the packed matrix fills the lanes.
 *
 * A sum over k is cut into blocks of steps by k alone: an element's bits depend neither on
 * how many rows or columns are computed with it nor on the thread. Blocking: Goto & van de Geijn 2008. */

enum {
    GEMM_STEPS = 768,          /* steps of a panel that stay near: 48 KiB (AVX2), 96 KiB (AVX-512) */
    GEMM_ROWS = 16 * TILE_ROWS /* rows that stay in the second cache while all panels pass */
};

/* to (8, 8) = from (8, 8)^T */
INLINE void transpose8(float *to, size_t to_row, const float *from, size_t from_row) {
    typedef float v8 __attribute__((vector_size(32)));
    v8 r[8], pairs[8], quads[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++)
        memcpy(&r[i], from + i * from_row, sizeof r[i]);
#pragma GCC unroll 4
    for (size_t i = 0; i < 8; i += 2) {
        pairs[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        pairs[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) { /* 0, 1, 4, 5 */
        quads[i] = __builtin_shufflevector(pairs[i], pairs[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        quads[i + 2] = __builtin_shufflevector(pairs[i], pairs[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    static const size_t column[4] = {0, 2, 1, 3}; /* quads hold columns 0, 2, 1, 3 in their lower halves, 4 more in the upper */
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        v8 low = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        v8 high = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
        memcpy(to + column[i] * to_row, &low, sizeof low);
        memcpy(to + (column[i] + 4) * to_row, &high, sizeof high);
    }
}

static void gemm_pack(float *packed, const float *b, size_t n, size_t k) {
    size_t s = 0;
    if (n == PANEL)
        for (; s + 8 <= k; s += 8)
            for (size_t lane = 0; lane < PANEL; lane += 8)
                transpose8(packed + s * PANEL + lane, PANEL, b + lane * k + s, k);
    for (; s < k; s++)
        for (size_t lane = 0; lane < PANEL; lane++)
            packed[s * PANEL + lane] = lane < n ? b[lane * k + s] : 0;
}

static void gemm_pack_step(float *packed, const float *row, size_t n, size_t k, size_t step) {
    for (packed += step * PANEL; n >= PANEL; n -= PANEL, row += PANEL, packed += k * PANEL)
        memcpy(packed, row, PANEL * sizeof *row);
    for (size_t lane = 0; n && lane < PANEL; lane++)
        packed[lane] = lane < n ? row[lane] : 0;
}

static void gemm_panel(float *c, size_t c_row, operand a, const float *panel, size_t n_rows, size_t n_steps, bool accumulate) {
    strip(c, c_row, a, panel, PANEL, n_rows, n_steps, 2, accumulate);
}

/* The last panel, of n < PANEL columns: by way of whole tiles. */
static void gemm_last(float *c, size_t c_row, operand a, const float *panel, size_t n_rows, size_t n, size_t n_steps, bool accumulate) {
    float whole[TILE_ROWS * PANEL];
    memset(whole, 0, sizeof whole);
    for (size_t r = 0; r < n_rows; r += TILE_ROWS, a.data += TILE_ROWS * a.by_row) {
        size_t m = n_rows - r < TILE_ROWS ? n_rows - r : TILE_ROWS;
        for (size_t i = 0; accumulate && i < m; i++)
            memcpy(whole + i * PANEL, c + (r + i) * c_row, n * sizeof *c);
        gemm_panel(whole, PANEL, a, panel, m, n_steps, accumulate);
        for (size_t i = 0; i < m; i++)
            memcpy(c + (r + i) * c_row, whole + i * PANEL, n * sizeof *c);
    }
}

static void gemm(float *c, size_t c_row, const float *a, size_t a_row, const float *packed, size_t n_rows, size_t n, size_t k,
                 bool accumulate) {
    size_t blocks = (k + GEMM_STEPS - 1) / GEMM_STEPS, step = (k + blocks - 1) / blocks;
    for (size_t r = 0; r < n_rows; r += GEMM_ROWS) {
        size_t m = n_rows - r < GEMM_ROWS ? n_rows - r : GEMM_ROWS;
        for (size_t s = 0; s < k; s += step) {
            size_t n_steps = k - s < step ? k - s : step;
            operand rows = {a + r * a_row + s, a_row, 1};
            for (size_t j = 0; j < n; j += PANEL) {
                const float *panel = packed + j * k + s * PANEL;
                if (n - j >= PANEL)
                    gemm_panel(c + r * c_row + j, c_row, rows, panel, m, n_steps, accumulate || s > 0);
                else
                    gemm_last(c + r * c_row + j, c_row, rows, panel, m, n - j, n_steps, accumulate || s > 0);
            }
        }
    }
}
