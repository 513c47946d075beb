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
