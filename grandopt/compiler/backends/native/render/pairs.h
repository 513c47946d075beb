/* Dot products of pairs of bfloat16 numbers, two to a 32-bit word, the one of the even index in the lower half.
 *
 * Each lane adds two products to its sum in float32. How often that rounds, and in which order, is the
 * processor's: what a level gives is as exact as another's, not equal to it. `vp` holds VL words. */
#if VL == 16 && defined(__AVX512BF16__)
typedef __m512i vp;
INLINE vp vp_load(const uint32_t *p) { return _mm512_loadu_si512(p); }
INLINE vp vp_set1(uint32_t pair) { return _mm512_set1_epi32((int32_t)pair); }
INLINE vf v_dot2(vf sums, vp a, vp b) {
    ADD_DOT("vdpbf16ps", sums, a, b);
    return sums;
}
INLINE void vp_round(uint32_t *to, vf low, vf high) { /* 32 numbers */
    _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}
INLINE void vp_halves(uint16_t *to, vf x) { /* VL numbers */
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x));
}
INLINE void vp_join(uint32_t *to, vf even, vf odd) { /* VL pairs */
    const __m512i lower = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
    const __m512i upper = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
    _mm512_storeu_si512(to, _mm512_or_si512(lower, _mm512_slli_epi32(upper, 16)));
}

#elif VL == 4 && defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
typedef uint32x4_t vp;
INLINE vp vp_load(const uint32_t *p) { return vld1q_u32(p); }
INLINE vp vp_set1(uint32_t pair) { return vdupq_n_u32(pair); }
INLINE vf v_dot2(vf sums, vp a, vp b) {
    return (vf)vbfdotq_f32((float32x4_t)sums, vreinterpretq_bf16_u32(a), vreinterpretq_bf16_u32(b));
}
INLINE void vp_round(uint32_t *to, vf low, vf high) {
    const bfloat16x8_t half = vcvtq_low_bf16_f32((float32x4_t)low);
    vst1q_u32(to, vreinterpretq_u32_bf16(vcvtq_high_bf16_f32(half, (float32x4_t)high)));
}
INLINE void vp_halves(uint16_t *to, vf x) {
    vst1_u16(to, vreinterpret_u16_bf16(vcvt_bf16_f32((float32x4_t)x)));
}
INLINE void vp_join(uint32_t *to, vf even, vf odd) {
    const uint16x4_t lower = vreinterpret_u16_bf16(vcvt_bf16_f32((float32x4_t)even));
    const uint16x4_t upper = vreinterpret_u16_bf16(vcvt_bf16_f32((float32x4_t)odd));
    vst1q_u32(to, vorrq_u32(vmovl_u16(lower), vshll_n_u16(upper, 16)));
}

#else
typedef uint32_t vp __attribute__((vector_size(4 * VL)));
INLINE vp vp_load(const uint32_t *p) { vp v; memcpy(&v, p, sizeof v); return v; }
INLINE vp vp_set1(uint32_t pair) { return pair - (vp){0}; }
INLINE vf v_dot2(vf sums, vp a, vp b) {
    sums = v_fma((vf)(a & 0xffff0000u), (vf)(b & 0xffff0000u), sums);
    return v_fma((vf)(a << 16), (vf)(b << 16), sums);
}
INLINE uint16_t bf16_of(float x) { /* to nearest even; NaN stays NaN */
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x != x ? 0x7fc0u : (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
INLINE void vp_round(uint32_t *to, vf low, vf high) {
    uint16_t pairs[2 * VL];
    for (int i = 0; i < VL; ++i) pairs[i] = bf16_of(low[i]), pairs[VL + i] = bf16_of(high[i]);
    memcpy(to, pairs, sizeof pairs);
}
INLINE void vp_halves(uint16_t *to, vf x) {
    for (int i = 0; i < VL; ++i) to[i] = bf16_of(x[i]);
}
INLINE void vp_join(uint32_t *to, vf even, vf odd) {
    for (int i = 0; i < VL; ++i) to[i] = bf16_of(even[i]) | (uint32_t)bf16_of(odd[i]) << 16;
}
#endif

/* A row of n numbers as pairs, zeros beyond; `to` has room for n up to a multiple of 2·VL numbers. */
INLINE void pairs_of_row(uint32_t *to, const float *x, int n) {
    const int whole = n - n % (2 * VL), rest = n - whole;
    for (int i = 0; i < whole; i += 2 * VL) vp_round(to + i / 2, v_load(x + i), v_load(x + i + VL));
    if (rest == 0) return;
    const vf low = rest < VL ? v_load_n(x + whole, rest) : v_load(x + whole);
    const vf high = rest > VL ? v_load_n(x + whole + VL, rest - VL) : v_set1(0.0f);
    vp_round(to + whole / 2, low, high);
}

/* Numbers n of two rows as pairs, zeros beyond, up to a multiple of VL pairs. */
INLINE void pairs_of_two_rows(uint32_t *to, const float *even, const float *odd, int n) {
    const int whole = n - n % VL, rest = n - whole;
    for (int i = 0; i < whole; i += VL) vp_join(to + i, v_load(even + i), v_load(odd + i));
    if (rest) vp_join(to + whole, v_load_n(even + whole, rest), v_load_n(odd + whole, rest));
}
INLINE void pairs_of_one_row(uint32_t *to, const float *even, int n) { /* the other is zeros */
    const int whole = n - n % VL, rest = n - whole;
    for (int i = 0; i < whole; i += VL) vp_join(to + i, v_load(even + i), v_set1(0.0f));
    if (rest) vp_join(to + whole, v_load_n(even + whole, rest), v_set1(0.0f));
}

/* exp(x) for x ≤ 0, to a relative error of 2e-4: a weight that is then rounded to bfloat16 is off by 2e-3. */
INLINE vf v_exp_short(vf x) {
    vf n, r = v_reduce_ln2(v_max_second(v_set1(-104.0f), x), &n);
    vf p = v_fma(v_set1(0.1651783f), r, v_set1(0.5041345f));
    p = v_fma(p, r, v_set1(1.0001962f));
    return v_scale2(v_fma(p, r, v_set1(1.0f)), n);
}
