/* Products of the codes of numbers that are nowhere below zero: `quantize_rectified_rows`, where zero has the code 0.
 * After nonzero.h. */

/* The codes of n that are not 0, and their places; returns how many. Zeros at place 0 follow up to
 * a multiple of 4. Both have room for n up to a multiple of 16, and 16 more. */
INLINE int nonzero_codes(const uint8_t *codes, int n, uint32_t *places, uint8_t *found_codes) {
    int count = 0;
    const __m512i zeros = no_wait();
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int i = 0; i < n; i += 16) {
        const __m512i v = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(codes + i)));
        __mmask16 found = _mm512_test_epi32_mask(v, v);
        if (n - i < 16) found &= LANES_BELOW(n - i);
        const __m512i kept = _mm512_mask_compress_epi32(zeros, found, v);
        _mm_storeu_si128((__m128i *)(found_codes + count), _mm512_cvtepi32_epi8(kept));
        _mm512_storeu_si512(places + count, _mm512_mask_compress_epi32(zeros, found, at));
        at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
        count += __builtin_popcount(found);
    }
    for (int i = 0; i < 4; ++i) places[count + i] = 0, found_codes[count + i] = 0;
    return count;
}

/* Four rows of 64 signed bytes as 64 words, in four vectors. Byte 16·l + 4·v + i of a row becomes lane 4·l + i of
 * vector v. */
INLINE void words_of_rows(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d, vi *words) {
    const vi ra = vi_load(a), rb = vi_load(b), rc = vi_load(c), rd = vi_load(d);
    const vi low1 = _mm512_unpacklo_epi8(ra, rb), low2 = _mm512_unpacklo_epi8(rc, rd);
    const vi high1 = _mm512_unpackhi_epi8(ra, rb), high2 = _mm512_unpackhi_epi8(rc, rd);
    words[0] = _mm512_unpacklo_epi16(low1, low2), words[1] = _mm512_unpackhi_epi16(low1, low2);
    words[2] = _mm512_unpacklo_epi16(high1, high2), words[3] = _mm512_unpackhi_epi16(high1, high2);
}
