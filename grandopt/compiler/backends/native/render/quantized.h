/* Products of 8-bit codes. A row x of numbers becomes unsigned codes c with one scale s, x ≈ (c − 128)·s, or, if none
 * is below zero, x ≈ c·s with twice as many codes for them; weights are signed bytes, four consecutive inputs of one output to a 32-bit word. Sums are exact 32-bit integers on
 * every feature level, and what becomes of numbers before and after is rounded alike, so that all levels compute
 * the same bits. `vi` holds VL 32-bit integers.
 *
 * x86's dot products multiply unsigned by signed bytes: sums start at −128 · Σ weights, which `vi_start` loads, or
 * at 0 if no number is below zero. With Arm's SDOT, signed by signed, codes are stored without the 128, and less 128
 * if no number is below zero: sums start at 0, or at 128 · Σ weights. */

/* A row whose largest magnitude is below this counts as if it had it: its inverse must stay finite. */
#define LEAST_TOP 0x1p-118f

#if VL == 16 && defined(__AVX512F__)
typedef __m512i vi;
INLINE vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
INLINE vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE vf v_from_vi(vi a) { return _mm512_cvtepi32_ps(a); }
INLINE vi vi_bits(vf a) { return _mm512_castps_si512(a); }
INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
INLINE vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
INLINE int32_t vi_highest(vi a) { return _mm512_reduce_max_epi32(a); }
INLINE void v_store_codes(uint8_t *p, vf a, int zero) {
    const vi codes = _mm512_add_epi32(_mm512_cvtps_epi32(a), vi_set1(zero));
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(codes));
}
/* The same of the next four vectors; `zero` is 128 or 0. */
#define FOUR_AT_ONCE
INLINE void v_store_four(uint8_t *p, vf a, vf b, vf c, vf d, int zero) {
    const vi ab = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
    const vi cd = _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d));
    const vi bytes = zero ? _mm512_xor_si512(_mm512_packs_epi16(ab, cd), _mm512_set1_epi8(-128))
                          : _mm512_packus_epi16(ab, cd);
    /* each quarter of the register has four codes of every vector */
    const vi order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, bytes));
}
/* sums + the four products of each lane; `codes` holds the same four codes in every lane */
INLINE vi v_dot4(vi sums, vi codes, vi words) {
#ifdef __AVX512VNNI__
    ADD_DOT("vpdpbusd", sums, codes, words);
    return sums;
#else /* inputs 0 and 2, then 1 and 3, as pairs of 16 bits */
    const vi low = vi_set1(0x00ff00ff);
    const vi even = _mm512_srai_epi16(_mm512_slli_epi16(words, 8), 8), odd = _mm512_srai_epi16(words, 8);
    sums = _mm512_add_epi32(sums, _mm512_madd_epi16(vi_and(codes, low), even));
    return _mm512_add_epi32(sums, _mm512_madd_epi16(_mm512_srli_epi16(codes, 8), odd));
#endif
}

#elif VL == 8 && defined(__AVX2__)
typedef __m256i vi;
INLINE vi vi_set1(int32_t x) { return _mm256_set1_epi32(x); }
INLINE vi vi_load(const void *p) { return _mm256_loadu_si256((const vi *)p); }
INLINE vf v_from_vi(vi a) { return _mm256_cvtepi32_ps(a); }
INLINE vi vi_bits(vf a) { return _mm256_castps_si256(a); }
INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
INLINE vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
INLINE int32_t vi_highest(vi a) {
    __m128i top = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    top = _mm_max_epi32(top, _mm_shuffle_epi32(top, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(top, _mm_shuffle_epi32(top, 0xb1)));
}
INLINE void v_store_codes(uint8_t *p, vf a, int zero) {
    const vi codes = _mm256_add_epi32(_mm256_cvtps_epi32(a), vi_set1(zero));
    const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1));
    _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(halves, halves));
}
INLINE vi v_dot4(vi sums, vi codes, vi words) {
#ifdef __AVXVNNI__
    ADD_DOT("%{vex%} vpdpbusd", sums, codes, words);
    return sums;
#else
    const vi low = vi_set1(0x00ff00ff);
    const vi even = _mm256_srai_epi16(_mm256_slli_epi16(words, 8), 8), odd = _mm256_srai_epi16(words, 8);
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(vi_and(codes, low), even));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_srli_epi16(codes, 8), odd));
#endif
}

#else
typedef int32_t vi __attribute__((vector_size(4 * VL)));
INLINE vi vi_set1(int32_t x) { return x - (vi){0}; }
INLINE vi vi_load(const void *p) { vi v; memcpy(&v, p, sizeof v); return v; }
INLINE vf v_from_vi(vi a) { return __builtin_convertvector(a, vf); }
INLINE vi vi_bits(vf a) { return (vi)a; }
INLINE vi vi_add(vi a, vi b) { return a + b; }
INLINE vi vi_and(vi a, vi b) { return a & b; }
INLINE vi vi_max(vi a, vi b) { const vi m = a > b; return (a & m) | (b & ~m); }
INLINE int32_t vi_highest(vi a) { int32_t t = a[0]; for (int i = 1; i < VL; ++i) t = a[i] > t ? a[i] : t; return t; }
#if VL == 4 && defined(__ARM_FEATURE_DOTPROD)
#define SIGNED_CODES
#endif
#if VL == 4 && defined(__aarch64__)
INLINE void v_store_codes(uint8_t *p, vf a, int zero) {
    const int16x4_t codes = vmovn_s32(vaddq_s32(vcvtnq_s32_f32((float32x4_t)a), vdupq_n_s32(zero)));
    const int8x8_t bytes = vmovn_s16(vcombine_s16(codes, codes));
    memcpy(p, &bytes, 4);
}
#else
INLINE void v_store_codes(uint8_t *p, vf a, int zero) { /* 1.5·2²³ leaves the rounded number in the lowest bits */
    ROUNDED(a); /* a product, which must not fuse with the sum: other levels round it */
    const vi codes = (vi)(a + v_set1(0x1.8p23f)) + zero;
    for (int i = 0; i < VL; ++i) p[i] = (uint8_t)codes[i];
}
#endif
#ifdef SIGNED_CODES
INLINE vi v_dot4(vi sums, vi codes, vi words) {
    return (vi)vdotq_s32((int32x4_t)sums, (int8x16_t)codes, (int8x16_t)words);
}
#else
INLINE vi v_dot4(vi sums, vi codes, vi words) {
    sums += (codes & 255) * (words << 24 >> 24);
    sums += (codes >> 8 & 255) * (words << 16 >> 24);
    sums += (codes >> 16 & 255) * (words << 8 >> 24);
    return sums + (codes >> 24 & 255) * (words >> 24);
}
#endif
#endif

/* The code of zero as it is stored, and what the sums of VL outputs start from so that it counts as zero: in rows of
 * any numbers, and in rows of which none is below zero. */
#ifdef SIGNED_CODES
enum { CODE_OF_ZERO = 0, CODE_OF_LEAST = -128 };
INLINE vi vi_start(const int32_t *p) { (void)p; return vi_set1(0); }
INLINE vi vi_start_least(const int32_t *p) { return vi_set1(0) - vi_load(p); }
#else
enum { CODE_OF_ZERO = 128, CODE_OF_LEAST = 0 };
INLINE vi vi_start(const int32_t *p) { return vi_load(p); }
INLINE vi vi_start_least(const int32_t *p) { (void)p; return vi_set1(0); }
#endif

/* Four codes from p in every lane. */
INLINE vi vi_four(const uint8_t *p) { int32_t word; memcpy(&word, p, sizeof word); return vi_set1(word); }

/* The next `count` of at most VL numbers, each (x − offset)·factor; as they are where there are no offsets. */
INLINE vf v_scaled(const float *x, const float *offset, const float *factor, int count) {
    const vf v = count == VL ? v_load(x) : v_load_n(x, count);
    if (offset == 0) return v;
    return (v - v_load(offset)) * v_load(factor);
}

/* Codes of `count` rows, a constant of at most ROWS_AT_ONCE: one alone waits for its largest number, and then for a
 * quotient. Each is of n numbers (x − offset)·factor, of which the largest becomes `levels` more or less than the code
 * of zero. Its scale is NaN where a number is NaN or infinite. `codes`, and `offset` and `factor` if there are any,
 * have room for n up to a multiple of VL; the latter hold zeros there. */
enum { ROWS_AT_ONCE = 4 };
INLINE void codes_of_few_rows(const float *x, int stride, const float *offset, const float *factor, int count, int n,
                              uint8_t *codes, int code_stride, float *scales, int scale_stride, int zero,
                              float levels) {
#define ROWS _Pragma("GCC unroll 4") for (int r = 0; r < count; ++r)
#define AT(i, lanes) v_scaled(x + r * stride + (i), offset ? offset + (i) : offset, factor ? factor + (i) : factor, lanes)
    const int whole = n - n % VL;
    const vi magnitude = vi_set1(0x7fffffff);
    vi tops[ROWS_AT_ONCE];
    vf inverse[ROWS_AT_ONCE];
    ROWS tops[r] = vi_set1(0);
    for (int i = 0; i < whole; i += VL) {
        ROWS tops[r] = vi_max(tops[r], vi_and(vi_bits(AT(i, VL)), magnitude));
    }
    if (whole < n) {
        ROWS tops[r] = vi_max(tops[r], vi_and(vi_bits(AT(whole, n - whole)), magnitude));
    }
    ROWS {
        /* Magnitudes are ordered as their bits are, infinity above all numbers, NaN above infinity. */
        const int32_t bits = vi_highest(tops[r]);
        float top;
        memcpy(&top, &bits, sizeof top);
        top = CHOOSE(top < LEAST_TOP, LEAST_TOP, top);
        inverse[r] = v_set1(levels / top);
        scales[r * scale_stride] = CHOOSE(bits < 0x7f800000, top * (1.0f / levels), NAN);
    }
    int i = 0;
#ifdef FOUR_AT_ONCE
    for (; count > 1 && i + 4 * VL <= whole; i += 4 * VL) { /* of a lone row it takes longer on Zen 4 */
        ROWS v_store_four(codes + r * code_stride + i, AT(i, VL) * inverse[r], AT(i + VL, VL) * inverse[r],
                          AT(i + 2 * VL, VL) * inverse[r], AT(i + 3 * VL, VL) * inverse[r], zero);
    }
#endif
    for (; i < whole; i += VL) {
        ROWS v_store_codes(codes + r * code_stride + i, AT(i, VL) * inverse[r], zero);
    }
    if (whole < n) {
        ROWS v_store_codes(codes + r * code_stride + whole, AT(whole, n - whole) * inverse[r], zero);
    }
#undef AT
#undef ROWS
}

/* Codes and scales of any number of rows. */
INLINE void codes_of_rows(const float *x, int stride, const float *offset, const float *factor, int rows, int n,
                          uint8_t *codes, int code_stride, float *scales, int scale_stride, int zero, float levels) {
    const int most = rows - rows % ROWS_AT_ONCE;
#define FROM_ROW(count) \
    codes_of_few_rows(x + row * stride, stride, offset, factor, count, n, codes + row * code_stride, code_stride, \
                      scales + row * scale_stride, scale_stride, zero, levels)
    for (int row = 0; row < most; row += ROWS_AT_ONCE) FROM_ROW(ROWS_AT_ONCE);
    for (int row = most; row < rows; ++row) FROM_ROW(1);
#undef FROM_ROW
}

INLINE void quantize_scaled_rows(const float *x, int stride, const float *offset, const float *factor, int rows, int n,
                                 uint8_t *codes, int code_stride, float *scales, int scale_stride) {
    codes_of_rows(x, stride, offset, factor, rows, n, codes, code_stride, scales, scale_stride, CODE_OF_ZERO, 127.0f);
}

INLINE void quantize_rows(const float *x, int stride, int rows, int n, uint8_t *codes, int code_stride, float *scales,
                          int scale_stride) {
    codes_of_rows(x, stride, 0, 0, rows, n, codes, code_stride, scales, scale_stride, CODE_OF_ZERO, 127.0f);
}

/* The same for numbers of which none is below zero. */
INLINE void quantize_rectified_rows(const float *x, int stride, int rows, int n, uint8_t *codes, int code_stride,
                                    float *scales, int scale_stride) {
    codes_of_rows(x, stride, 0, 0, rows, n, codes, code_stride, scales, scale_stride, CODE_OF_LEAST, 255.0f);
}

/* A single row, whose scale is returned. */
INLINE float quantize_row(const float *x, int n, uint8_t *codes) {
    float scale;
    quantize_rows(x, 0, 1, n, codes, 0, &scale, 0);
    return scale;
}

/* sigmoid(a)·tanh(b) with one division */
INLINE vf v_sigmoid_tanh(vf a, vf b) {
    vf n, y = v_clamp(b, -10.0f, 10.0f);
    vf r = v_reduce_ln2(y + y, &n);
    vf s = v_scale2(v_set1(1.0f), n);
    vf e = v_fma(s, v_expm1_reduced(r), s - v_set1(1.0f));
    return e / ((e + v_set1(2.0f)) * (v_set1(1.0f) + v_exp(-a)));
}

#ifdef TILES_BEGIN
/* c[m][n] += a[m][4k…] · b[k][4n…] over four neighbours: a unsigned bytes, b signed ones, c in 32-bit integers */
#define TILE_BYTES(c, a, b) __asm__ volatile("tdpbusd %%tmm" #b ", %%tmm" #a ", %%tmm" #c : :)

/* 16 rows of codes from a0 (and from a1) times 16 (or 32) columns of words, over `steps` times 64 inputs. Sums begin
 * as `start` and are left in blocks of 16 × 16: a0's, then a1's, two blocks each. */
INLINE void tile_sums(int two_rows, int two_columns, const uint8_t *a0, const uint8_t *a1, int a_stride,
                      const uint32_t *words, int width, int steps, const int32_t *start, int32_t *sums) {
    TILE_LOAD(0, start, 0); /* every row the same */
    if (two_columns) TILE_LOAD(1, start + 16, 0);
    if (two_rows) TILE_LOAD(2, start, 0);
    if (two_rows && two_columns) TILE_LOAD(3, start + 16, 0);
    for (int k = 0; k < steps; ++k) {
        TILE_LOAD(6, words + k * 16 * width, width * 4);
        TILE_LOAD(4, a0 + k * 64, a_stride);
        TILE_BYTES(0, 4, 6);
        if (two_columns) {
            TILE_LOAD(7, words + k * 16 * width + 16, width * 4);
            TILE_BYTES(1, 4, 7);
        }
        if (two_rows) {
            TILE_LOAD(5, a1 + k * 64, a_stride);
            TILE_BYTES(2, 5, 6);
            if (two_columns) TILE_BYTES(3, 5, 7);
        }
    }
    TILE_STORE(0, sums, 64);
    if (two_columns) TILE_STORE(1, sums + 256, 64);
    if (two_rows) TILE_STORE(2, sums + 512, 64);
    if (two_rows && two_columns) TILE_STORE(3, sums + 768, 64);
}

/* y = sums · weight scale · row scale + bias for the first `columns` of 16 columns of 16 rows */
INLINE void tile_results(const int32_t *sums, const float *scales, int scale_stride, const float *weight_scales,
                         const float *bias, float *y, int y_stride, int columns) {
    const vf w = v_load(weight_scales), b = v_load(bias);
    for (int row = 0; row < 16; ++row) {
        const vf sum = v_from_vi(vi_load(sums + row * 16)) * w;
        v_store_n(y + row * y_stride, v_fma(sum, v_set1(scales[row * scale_stride]), b), columns);
    }
}
#endif
