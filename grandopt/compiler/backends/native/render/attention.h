/* What attention needs beside its products. */

/* The lanes of two vectors by turns: those of the lower halves, those of the upper halves. */
#if VL == 16 && defined(__AVX512F__)
INLINE vf v_zip_low(vf a, vf b) {
    const __m512i places = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(a, places, b);
}
INLINE vf v_zip_high(vf a, vf b) {
    const __m512i places = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return _mm512_permutex2var_ps(a, places, b);
}
#elif VL == 8 && defined(__AVX2__)
INLINE vf v_zip_low(vf a, vf b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
INLINE vf v_zip_high(vf a, vf b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
#elif VL == 4 && defined(__aarch64__)
INLINE vf v_zip_low(vf a, vf b) { return (vf)vzip1q_f32((float32x4_t)a, (float32x4_t)b); }
INLINE vf v_zip_high(vf a, vf b) { return (vf)vzip2q_f32((float32x4_t)a, (float32x4_t)b); }
#else
INLINE vf v_zip_low(vf a, vf b) {
    vf zipped;
    for (int i = 0; i < VL / 2; ++i) zipped[2 * i] = a[i], zipped[2 * i + 1] = b[i];
    return zipped;
}
INLINE vf v_zip_high(vf a, vf b) {
    vf zipped;
    for (int i = 0; i < VL / 2; ++i) zipped[2 * i] = a[VL / 2 + i], zipped[2 * i + 1] = b[VL / 2 + i];
    return zipped;
}
#endif

/* to[column][row] = from[row][column], for at most VL of each; beyond the rows there are zeros, up to VL of them.
 * Each round of zips moves one bit of the number of a column to that of its row. */
static __attribute__((noinline, unused)) void turn_block(
    float *to, int to_step, const float *from, int from_step, int rows, int columns) {
    vf a[VL], b[VL];
#pragma GCC unroll 16
    for (int r = 0; r < VL; ++r)
        a[r] = r >= rows       ? v_set1(0.0f)
               : columns >= VL ? v_load(from + r * from_step)
                               : v_load_n(from + r * from_step, columns);
#pragma GCC unroll 16
    for (int round = 1; round < VL; round *= 2) {
#pragma GCC unroll 16
        for (int i = 0; i < VL / 2; ++i) {
            b[2 * i] = v_zip_low(a[i], a[i + VL / 2]);
            b[2 * i + 1] = v_zip_high(a[i], a[i + VL / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < VL; ++i) a[i] = b[i];
    }
#pragma GCC unroll 16
    for (int c = 0; c < VL; ++c)
        if (c < columns) v_store(to + c * to_step, a[c]);
}

/* [rows][columns] as [columns][rows, zeros up to a multiple of VL]. */
static __attribute__((unused)) void turn(
    float *to, int to_step, const float *from, int from_step, int rows, int columns) {
    for (int r = 0; r < rows; r += VL)
        for (int c = 0; c < columns; c += VL)
            turn_block(to + c * to_step + r, to_step, from + r * from_step + c, from_step, rows - r, columns - c);
}

/* Whether a number of [rows][columns] is beyond ±bound, or NaN. */
static __attribute__((unused)) int any_beyond(const float *from, int from_step, int rows, int columns, float bound) {
    vf within = v_set1(1.0f);
    const int whole = columns - columns % VL, rest = columns - whole;
    for (int r = 0; r < rows; ++r, from += from_step) {
        for (int c = 0; c < whole; c += VL)
            within = v_select(v_le(v_abs(v_load(from + c)), v_set1(bound)), within, v_set1(0.0f));
        if (rest) within = v_select(v_le(v_abs(v_load_n(from + whole, rest)), v_set1(bound)), within, v_set1(0.0f));
    }
    return v_sum(within) != VL;
}
