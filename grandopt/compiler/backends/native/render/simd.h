/* Vectors of VL float32 lanes over AVX-512, AVX2 with FMA, or the compiler's generic vectors (NEON and
 * others), of which NEON's own instructions do what these leave to the compiler. VL is defined above: 16, 8 or any power of two. A count n of lanes is always a constant.
 * `vf` holds floats, `vm` a mask of the same number of lanes. Comparisons are false on NaN but v_ne. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__wasm__) && !defined(__wasm_simd128__)
#define INLINE static inline __attribute__((unused)) /* without vectors, each copy of a function is large */
#else
#define INLINE static inline __attribute__((always_inline, unused))
#endif

#if VL == 16 && defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vf;
typedef __mmask16 vm;
#define LANES_BELOW(n) ((__mmask16)((1u << (n)) - 1u))
INLINE vf v_set1(float x) { return _mm512_set1_ps(x); }
INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
INLINE vf v_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(LANES_BELOW(n), p); }
INLINE void v_store_n(float *p, vf v, int n) { _mm512_mask_storeu_ps(p, LANES_BELOW(n), v); }
INLINE vf v_fill(vf v, int n, float x) { return _mm512_mask_blend_ps(LANES_BELOW(n), _mm512_set1_ps(x), v); }
/* VL words of two bfloat16 each: the lower halves, the upper halves. */
INLINE vf v_bf16_even(const uint32_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}
INLINE vf v_bf16_odd(const uint32_t *p) {
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(-65536)));
}
INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf v_fused(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); } /* certainly one rounding */
INLINE vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
INLINE vf v_abs(vf a) { return _mm512_abs_ps(a); }
INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, 0); }
INLINE vf v_floor(vf a) { return _mm512_roundscale_ps(a, 1); }
INLINE vf v_ceil(vf a) { return _mm512_roundscale_ps(a, 2); }
INLINE vf v_trunc(vf a) { return _mm512_roundscale_ps(a, 3); }
/* The second operand is returned when either is NaN. */
INLINE vf v_max_second(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf v_min_second(vf a, vf b) { return _mm512_min_ps(a, b); }
INLINE vm v_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE vm v_ne(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ); }
INLINE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE vm v_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
INLINE vm v_and(vm a, vm b) { return a & b; }
INLINE vm v_or(vm a, vm b) { return a | b; }
INLINE vm v_xor(vm a, vm b) { return a ^ b; }
INLINE vm v_not(vm a) { return (vm)~a; }
INLINE vf v_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
INLINE void v_store_mask(uint8_t *p, vm m, int n) { /* n lanes as bytes of 0 or 1 */
    _mm_mask_storeu_epi8(p, LANES_BELOW(n), _mm_maskz_set1_epi8(m, 1));
}
INLINE vf v_scale2(vf a, vf n) { return _mm512_scalef_ps(a, n); } /* a·2ⁿ, n whole */
INLINE vf v_exponent(vf a) { return _mm512_getexp_ps(a); }        /* floor(log2 |a|) */
INLINE vf v_mantissa(vf a) { return _mm512_getmant_ps(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src); }
INLINE float v_sum(vf a) { return _mm512_reduce_add_ps(a); }
INLINE float v_highest(vf a) { return _mm512_reduce_max_ps(a); } /* NaN lanes may be passed over */

#elif VL == 8 && defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 vf;
typedef __m256 vm;
INLINE __m256i lanes_below(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vf v_set1(float x) { return _mm256_set1_ps(x); }
INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void v_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
INLINE vf v_load_n(const float *p, int n) { return _mm256_maskload_ps(p, lanes_below(n)); }
INLINE void v_store_n(float *p, vf v, int n) { _mm256_maskstore_ps(p, lanes_below(n), v); }
INLINE vf v_fill(vf v, int n, float x) {
    return _mm256_blendv_ps(_mm256_set1_ps(x), v, _mm256_castsi256_ps(lanes_below(n)));
}
INLINE vf v_bf16_even(const uint32_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *)p), 16));
}
INLINE vf v_bf16_odd(const uint32_t *p) {
    return _mm256_castsi256_ps(
        _mm256_and_si256(_mm256_loadu_si256((const __m256i *)p), _mm256_set1_epi32(-65536)));
}
INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf v_fused(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
INLINE vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vf v_floor(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
INLINE vf v_ceil(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
INLINE vf v_trunc(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }
INLINE vf v_max_second(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf v_min_second(vf a, vf b) { return _mm256_min_ps(a, b); }
INLINE vm v_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
INLINE vm v_ne(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ); }
INLINE vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
INLINE vm v_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
INLINE vm v_and(vm a, vm b) { return _mm256_and_ps(a, b); }
INLINE vm v_or(vm a, vm b) { return _mm256_or_ps(a, b); }
INLINE vm v_xor(vm a, vm b) { return _mm256_xor_ps(a, b); }
INLINE vm v_not(vm a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
INLINE vf v_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }
INLINE void v_store_mask(uint8_t *p, vm m, int n) {
    int bits = _mm256_movemask_ps(m);
    for (int i = 0; i < n; ++i) p[i] = bits >> i & 1;
}
INLINE vf v_scale2(vf a, vf n) { /* in two halves, so that 2^n itself may be out of range */
    __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1);
    __m256i bias = _mm256_set1_epi32(127), rest = _mm256_sub_epi32(whole, half);
    vf first = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vf second = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return a * first * second;
}
INLINE vf v_exponent(vf a) {
    __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x7f800000));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(bits, 23), _mm256_set1_epi32(127)));
}
INLINE vf v_mantissa(vf a) {
    __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x3f800000)));
}
INLINE float v_sum(vf a) {
    __m128 low = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    low = _mm_add_ps(low, _mm_movehl_ps(low, low));
    return _mm_cvtss_f32(_mm_add_ss(low, _mm_movehdup_ps(low)));
}
INLINE float v_highest(vf a) {
    __m128 low = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    low = _mm_max_ps(low, _mm_movehl_ps(low, low));
    return _mm_cvtss_f32(_mm_max_ss(low, _mm_movehdup_ps(low)));
}

#else
#if VL == 4 && defined(__aarch64__)
#include <arm_neon.h>
#elif VL == 4 && defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif
typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vm __attribute__((vector_size(4 * VL)));
INLINE vf v_set1(float x) { return x - (vf){0}; }
INLINE vf v_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void v_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
INLINE vf v_load_n(const float *p, int n) { vf v = {0}; memcpy(&v, p, 4u * (unsigned)n); return v; }
INLINE void v_store_n(float *p, vf v, int n) { memcpy(p, &v, 4u * (unsigned)n); }
INLINE vf v_fill(vf v, int n, float x) { for (int i = n; i < VL; ++i) v[i] = x; return v; }
INLINE vf v_bf16_even(const uint32_t *p) { vm w; memcpy(&w, p, sizeof w); return (vf)(w << 16); }
INLINE vf v_bf16_odd(const uint32_t *p) { vm w; memcpy(&w, p, sizeof w); return (vf)(w & -65536); }
#if VL == 4 && defined(__aarch64__)
INLINE vf v_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE vf v_fused(vf a, vf b, vf c) { return v_fma(a, b, c); }
#else
INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; } /* one rounding or two, as the compiler likes */
INLINE vf v_fused(vf a, vf b, vf c) {
#if defined(__wasm__) /* which has no such instruction; products are exact in double, and sums nearly */
    for (int i = 0; i < VL; ++i) c[i] = (float)((double)a[i] * b[i] + c[i]);
#else
    for (int i = 0; i < VL; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
#endif
    return c;
}
#endif
#if VL == 4 && defined(__wasm_simd128__)
INLINE vf v_select(vm m, vf a, vf b) { return (vf)wasm_v128_bitselect((v128_t)a, (v128_t)b, (v128_t)m); }
INLINE vf v_abs(vf a) { return (vf)wasm_f32x4_abs((v128_t)a); }
INLINE vf v_sqrt(vf a) { return (vf)wasm_f32x4_sqrt((v128_t)a); }
INLINE vf v_round(vf a) { return (vf)wasm_f32x4_nearest((v128_t)a); }
INLINE vf v_floor(vf a) { return (vf)wasm_f32x4_floor((v128_t)a); }
INLINE vf v_ceil(vf a) { return (vf)wasm_f32x4_ceil((v128_t)a); }
INLINE vf v_trunc(vf a) { return (vf)wasm_f32x4_trunc((v128_t)a); }
INLINE vf v_max_second(vf a, vf b) { return (vf)wasm_f32x4_pmax((v128_t)b, (v128_t)a); }
INLINE vf v_min_second(vf a, vf b) { return (vf)wasm_f32x4_pmin((v128_t)b, (v128_t)a); }
INLINE vm v_whole(vf a) { return (vm)wasm_i32x4_trunc_sat_f32x4((v128_t)a); } /* NaN becomes 0 */
INLINE vf v_number(vm a) { return (vf)wasm_f32x4_convert_i32x4((v128_t)a); }
#else
INLINE vf v_select(vm m, vf a, vf b) { return (vf)(((vm)a & m) | ((vm)b & ~m)); }
INLINE vf v_abs(vf a) { return (vf)((vm)a & 0x7fffffff); }
INLINE vf v_sqrt(vf a) { for (int i = 0; i < VL; ++i) a[i] = sqrtf(a[i]); return a; }
INLINE vf v_round(vf a) { for (int i = 0; i < VL; ++i) a[i] = rintf(a[i]); return a; }
INLINE vf v_floor(vf a) { for (int i = 0; i < VL; ++i) a[i] = floorf(a[i]); return a; }
INLINE vf v_ceil(vf a) { for (int i = 0; i < VL; ++i) a[i] = ceilf(a[i]); return a; }
INLINE vf v_trunc(vf a) { for (int i = 0; i < VL; ++i) a[i] = truncf(a[i]); return a; }
INLINE vf v_max_second(vf a, vf b) { return v_select(a > b, a, b); }
INLINE vf v_min_second(vf a, vf b) { return v_select(a < b, a, b); }
INLINE vm v_whole(vf a) {
    vm n;
    for (int i = 0; i < VL; ++i) n[i] = a[i] == a[i] ? (int32_t)a[i] : 0;
    return n;
}
INLINE vf v_number(vm a) {
    vf x;
    for (int i = 0; i < VL; ++i) x[i] = (float)a[i];
    return x;
}
#endif
INLINE vm v_eq(vf a, vf b) { return a == b; }
INLINE vm v_ne(vf a, vf b) { return a != b; }
INLINE vm v_lt(vf a, vf b) { return a < b; }
INLINE vm v_le(vf a, vf b) { return a <= b; }
INLINE vm v_and(vm a, vm b) { return a & b; }
INLINE vm v_or(vm a, vm b) { return a | b; }
INLINE vm v_xor(vm a, vm b) { return a ^ b; }
INLINE vm v_not(vm a) { return ~a; }
INLINE void v_store_mask(uint8_t *p, vm m, int n) { for (int i = 0; i < n; ++i) p[i] = m[i] & 1; }
INLINE vf v_power2(vm n) { return (vf)((n + 127) << 23); }
INLINE vf v_scale2(vf a, vf n) {
    vm whole = v_whole(n), half = whole >> 1;
    return a * v_power2(half) * v_power2(whole - half);
}
INLINE vf v_exponent(vf a) {
    return v_number((((vm)a & 0x7f800000) >> 23) - 127);
}
INLINE vf v_mantissa(vf a) { return (vf)(((vm)a & 0x007fffff) | 0x3f800000); }
INLINE float v_sum(vf a) { float s = 0; for (int i = 0; i < VL; ++i) s += a[i]; return s; }
INLINE float v_highest(vf a) { float t = a[0]; for (int i = 1; i < VL; ++i) t = a[i] > t ? a[i] : t; return t; }
#endif

/* A product as it is when rounded: where it overflows, infinity also to a sum that would have fused with it. */
#if defined(__x86_64__) && (VL == 4 || (VL == 8 && defined(__AVX2__)))
#define ROUNDED(v) __asm__("" : "+x"(v))
#elif defined(__aarch64__)
#define ROUNDED(v) __asm__("" : "+w"(v))
#else
#define ROUNDED(v) (void)(v)
#endif

/* sums += dot products of a and b, by `instruction`. GCC 12 and 13 copy and spill every sum of their intrinsics for
 * these instructions, and get half of their speed. */
#if defined(__x86_64__)
#define ADD_DOT(instruction, sums, a, b) __asm__(instruction " %2, %1, %0" : "+v"(sums) : "v"(a), "v"(b))
#endif

INLINE vm v_gt(vf a, vf b) { return v_lt(b, a); }
INLINE vm v_ge(vf a, vf b) { return v_le(b, a); }
