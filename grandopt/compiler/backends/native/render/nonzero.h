/* What of a row is not zero, and where: products with a single row read the weights of these inputs alone. */

#if VL == 16 && defined(__AVX512F__)
/* Zeros, of which the compiler does not know that they are, for compressions to begin with. On Zen 4 these wait for
 * what their register held before, also where they leave nothing of it; a copy of these is there at once. */
INLINE __m512i no_wait(void) {
    __m512i zeros = _mm512_setzero_si512();
    __asm__("" : "+v"(zeros));
    return zeros;
}
#endif

/* The numbers of n that are not zero, NaN among them, and their places; returns how many. Zeros at place 0 follow up
 * to a multiple of 8. Both have room for n up to a multiple of 16, and 16 more. */
INLINE int nonzero_numbers(const float *x, int n, uint32_t *places, float *numbers) {
    int count = 0;
#if VL == 16 && defined(__AVX512F__)
    const __m512i zeros = no_wait();
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < n; i += 16) {
        const __m512 v = n - i < 16 ? _mm512_maskz_loadu_ps(LANES_BELOW(n - i), x + i) : _mm512_loadu_ps(x + i);
        const __mmask16 found = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ);
        _mm512_storeu_ps(numbers + count, _mm512_mask_compress_ps(_mm512_castsi512_ps(zeros), found, v));
        _mm512_storeu_si512(places + count, _mm512_mask_compress_epi32(zeros, found, at));
        at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
        count += __builtin_popcount(found);
    }
#else
    for (int i = 0; i < n; ++i) {
        places[count] = (uint32_t)i, numbers[count] = x[i];
        count += x[i] != 0.0f;
    }
#endif
    for (int i = 0; i < 8; ++i) places[count + i] = 0, numbers[count + i] = 0.0f;
    return count;
}
