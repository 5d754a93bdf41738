/* amx_gemm_body: products of many rows with a packed matrix, as gemm_body.h has them, on the tile unit. A panel holds what its f32 would
 * take: splits, then the steps that fill no tile, which stay f32 as the AVX-512 table packs them. */

enum { NEAR = 8 /* splits of the rows of A that stay in the first cache: 32 KiB */ };

static void gemm_pack(float *packed, const float *b, size_t n, size_t k) {
    size_t splits = k / STEPS;
    split_columns((split *)packed, b, k, n, splits);
    for (size_t s = splits * STEPS; s < k; s++)
        for (size_t lane = 0; lane < PANEL; lane++)
            packed[s * PANEL + lane] = lane < n ? b[lane * k + s] : 0;
}

static void gemm_pack_step(float *packed, const float *row, size_t n, size_t k, size_t step) {
    if (step >= k / STEPS * STEPS) {
        pare_kernels_avx512.gemm_pack_step(packed, row, n, k, step);
        return;
    }
    for (size_t j = 0; j < n; j += PANEL, packed += k * PANEL)
        split_step((split *)packed, row + j, n - j < PANEL ? n - j : PANEL, step);
}

/* The same for m rows and n columns at an edge, by way of whole tiles; rows of A from m on hold anything. */
static void edge(float *c, size_t c_row, const split *a, const split *b, size_t m, size_t n, size_t n_splits, bool accumulate) {
    float whole[PANEL * PANEL] = {0};
    for (size_t i = 0; accumulate && i < m; i++)
        memcpy(whole + i * PANEL, c + i * c_row, n * sizeof *c);
    tiles(whole, PANEL, a, b, n_splits, accumulate);
    for (size_t i = 0; i < m; i++)
        memcpy(c + i * c_row, whole + i * PANEL, n * sizeof *c);
}

static void gemm(float *c, size_t c_row, const float *a, size_t a_row, const float *packed, size_t n_rows, size_t n, size_t k,
                 bool accumulate) {
    size_t splits = k / STEPS, blocks = (splits + NEAR - 1) / NEAR, step = blocks ? (splits + blocks - 1) / blocks : 0;
    split rows[NEAR];
    _tile_loadconfig(&tile_shapes);
    for (size_t s = 0; s < splits; s += step) {
        size_t n_splits = splits - s < step ? splits - s : step;
        for (size_t r = 0; r < n_rows; r += PANEL) {
            size_t m = n_rows - r < PANEL ? n_rows - r : PANEL;
            for (size_t row = 0; row < m; row++)
                for (size_t i = 0; i < n_splits; i++)
                    split_row(&rows[i], row, a + (r + row) * a_row + (s + i) * STEPS);
            for (size_t j = 0; j < n; j += PANEL) {
                float *to = c + r * c_row + j;
                const split *columns = (const split *)(packed + j * k) + s;
                if (m == PANEL && n - j >= PANEL)
                    tiles(to, c_row, rows, columns, n_splits, accumulate || s > 0);
                else
                    edge(to, c_row, rows, columns, m, n - j < PANEL ? n - j : PANEL, n_splits, accumulate || s > 0);
            }
        }
    }
    _tile_release();
    size_t whole = splits * STEPS;
    for (size_t j = 0; whole < k && j < n; j += PANEL)
        pare_kernels_avx512.gemm(c + j, c_row, a + whole, a_row, packed + j * k + whole * PANEL, n_rows, n - j < PANEL ? n - j : PANEL,
                                 k - whole, accumulate || whole > 0);
}
