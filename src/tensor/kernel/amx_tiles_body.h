/* amx_tiles_body: f32 products on the tile unit of AMX-BF16.
 *
 * The unit multiplies bf16 and adds in f32. Each factor is split in two, high = x rounded to bf16 and low = x - high rounded:
 *
 *   a b = a_low b_high + a_high b_high + a_high b_low,   within 2^-16 |a b|
 *
 * three products at sixteen times the rate of an f32 FMA. Henry, Tang & Heinecke 2019 */

enum {
    SIDE = 16,        /* rows of a tile, and f32 columns of one */
    PANEL = 2 * SIDE, /* rows and columns of C that four tiles hold */
    STEPS = 32,       /* bf16 in a row of a tile */
    NO_LOW_PART = 0xFFFF
};

/* STEPS steps of PANEL rows of A or columns of B, in the room of their f32. Of A element (row, step) lies at [row / SIDE][row % SIDE]
 * [step]; of B element (step, column) at [column / SIDE][step / 2][column % SIDE * 2 + step % 2]. Where all of B is bf16, as weights
 * mostly are, low begins with NO_LOW_PART (a NaN, which is none of a finite number) and is not read on. */
typedef struct {
    uint16_t high[2][SIDE][STEPS], low[2][SIDE][STEPS];
} split;
_Static_assert(sizeof(split) == PANEL * STEPS * sizeof(float), "a packed matrix takes no more room than its f32");

/* gcc's tile instructions do not say that they touch memory */
#define COMPILER_BARRIER() __asm__ volatile("" ::: "memory")

/* ---- splitting ---- */

/* Sixteen bf16, each in the lower half of its word */
INLINE __m512i rounded(__m512 x) {
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
}

INLINE __m512 rest(__m512 x, __m512i high) {
    return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
}

/* Row `row` of A, STEPS steps, in two halves; gives the row's low part. */
INLINE __m512i split_halves(split *to, size_t row, __m512 x0, __m512 x1) {
    __m512i high = (__m512i)_mm512_cvtne2ps_pbh(x1, x0);
    __m512i high0 = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(high)), high1 = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(high, 1));
    _mm512_storeu_si512(to->high[row / SIDE][row % SIDE], high);
    __m512i low = (__m512i)_mm512_cvtne2ps_pbh(rest(x1, high1), rest(x0, high0));
    _mm512_storeu_si512(to->low[row / SIDE][row % SIDE], low);
    return low;
}

INLINE __m512i split_row(split *to, size_t row, const float *x) {
    return split_halves(to, row, _mm512_loadu_ps(x), _mm512_loadu_ps(x + SIDE));
}

/* A tile of A, (row, pair of steps), becomes one of B, (pair of steps, column): swaps blocks of 1, 2, 4 and 8 words. */
static inline void transpose(uint16_t tile[SIDE][STEPS]) {
    __m512i row[SIDE], lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
#pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++)
        row[i] = _mm512_loadu_si512(tile[i]);
#pragma GCC unroll 4
    for (int size = 1; size < SIDE; size *= 2) {
        __m512i bit = _mm512_set1_epi32(size), beyond = _mm512_set1_epi32(SIDE);
        __mmask16 upper = _mm512_test_epi32_mask(lane, bit);
        __m512i first = _mm512_mask_add_epi32(lane, upper, beyond, _mm512_sub_epi32(lane, bit));
        __m512i second = _mm512_mask_add_epi32(_mm512_add_epi32(lane, bit), upper, beyond, lane);
#pragma GCC unroll 16
        for (int i = 0; i < SIDE; i++)
            if (!(i & size)) {
                __m512i a = row[i], b = row[i + size];
                row[i] = _mm512_permutex2var_epi32(a, first, b);
                row[i + size] = _mm512_permutex2var_epi32(a, second, b);
            }
    }
#pragma GCC unroll 16
    for (int i = 0; i < SIDE; i++)
        _mm512_storeu_si512(tile[i], row[i]);
}

/* Columns of B that lie as rows, n <= PANEL of them, b_row apart; the rest are zero. */
INLINE void split_columns(split *to, const float *b, size_t b_row, size_t n, size_t n_splits) {
    for (size_t i = 0; i < n_splits; i++, to++) {
        if (n < PANEL)
            memset(to, 0, sizeof *to);
        __m512i any = _mm512_setzero_si512();
        for (size_t column = 0; column < n; column++)
            any = _mm512_or_si512(any, split_row(to, column, b + column * b_row + i * STEPS));
        for (int half = 0; half < 2; half++) {
            transpose(to->high[half]);
            transpose(to->low[half]);
        }
        if (!_mm512_test_epi32_mask(any, any))
            to->low[0][0][0] = NO_LOW_PART;
    }
}

/* Step `step` of n <= PANEL columns of B; the rest are zero. */
INLINE void split_step(split *to, const float *row, size_t n, size_t step) {
    size_t pair = step % STEPS / 2;
    unsigned shift = step % 2 ? 16 : 0;
    __mmask32 words = step % 2 ? 0xAAAAAAAA : 0x55555555;
    to += step / STEPS;
    for (size_t half = 0; half < 2; half++) {
        size_t at = half * SIDE, left = at < n ? n - at : 0;
        __m512 x = _mm512_maskz_loadu_ps((__mmask16)(left < SIDE ? (1u << left) - 1 : 0xFFFFu), row + at);
        __m512i high = rounded(x), low = rounded(rest(x, high));
        _mm512_mask_storeu_epi16(to->high[half][pair], words, _mm512_slli_epi32(high, shift));
        _mm512_mask_storeu_epi16(to->low[half][pair], words, _mm512_slli_epi32(low, shift));
    }
}

/* Two steps of B at once, the first of them even, in n columns that fill panels of n_splits. */
INLINE void split_two_steps(split *to, const float *even, const float *odd, size_t n, size_t n_splits, size_t step) {
    __m512i interleaved = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
                                           18, 2, 17, 1, 16, 0);
    size_t pair = step % STEPS / 2;
    to += step / STEPS;
    for (size_t at = 0; at < n; at += SIDE) {
        split *panel = to + at / PANEL * n_splits;
        __m512 x0 = _mm512_loadu_ps(even + at), x1 = _mm512_loadu_ps(odd + at);
        __m512i high = _mm512_permutexvar_epi16(interleaved, (__m512i)_mm512_cvtne2ps_pbh(x1, x0));
        __m512 high1 = _mm512_castsi512_ps(_mm512_and_si512(high, _mm512_set1_epi32((int)0xFFFF0000)));
        __m512i low = (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(x1, high1), rest(x0, high));
        _mm512_storeu_si512(panel->high[at / SIDE % 2][pair], high);
        _mm512_storeu_si512(panel->low[at / SIDE % 2][pair], _mm512_permutexvar_epi16(interleaved, low));
    }
}

/* ---- products ---- */

/* Tiles 0 to 3: C; 4, 5: rows of A; 6, 7: columns of B. All are 16 rows of 64 bytes. */
static const struct {
    uint8_t palette, start, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

static inline void load_rows(const uint16_t part[2][SIDE][STEPS]) {
    _tile_loadd(4, part[0], 64);
    _tile_loadd(5, part[1], 64);
}

static inline void load_columns(const uint16_t part[2][SIDE][STEPS]) {
    _tile_loadd(6, part[0], 64);
    _tile_loadd(7, part[1], 64);
}

static inline void multiply_tiles(void) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

/* C (PANEL, PANEL) [+]= A B over n splits */
static inline void tiles(float *c, size_t c_row, const split *a, const split *b, size_t n, bool accumulate) {
    size_t bytes = c_row * sizeof *c;
    float *below = c + SIDE * c_row;
    COMPILER_BARRIER();
    if (accumulate) {
        _tile_loadd(0, c, bytes);
        _tile_loadd(1, c + SIDE, bytes);
        _tile_loadd(2, below, bytes);
        _tile_loadd(3, below + SIDE, bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t i = 0; i < n; i++) {
        load_rows(a[i].low);
        load_columns(b[i].high);
        multiply_tiles();
        load_rows(a[i].high);
        multiply_tiles();
        if (b[i].low[0][0][0] == NO_LOW_PART)
            continue;
        load_columns(b[i].low);
        multiply_tiles();
    }
    _tile_stored(0, c, bytes);
    _tile_stored(1, c + SIDE, bytes);
    _tile_stored(2, below, bytes);
    _tile_stored(3, below + SIDE, bytes);
    COMPILER_BARRIER();
}
