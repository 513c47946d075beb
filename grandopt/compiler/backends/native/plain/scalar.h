/* What simd.h is to vectors, for one lane in plain C: the functions of mathematics.h over it need no library.
 * A float is one number, a mask an int. */
INLINE vf v_fma(vf a, vf b, vf c) { return a * b + c; }
/* One rounding, of a product that `double` holds whole. */
INLINE vf v_fused(vf a, vf b, vf c) { return (float)((double)a * (double)b + (double)c); }
INLINE vf v_abs(vf a) { return a <= 0.0f ? 0.0f - a : a; }
/* Masks. */
INLINE vf v_select(vm m, vf a, vf b) { return m ? a : b; }
INLINE vm v_eq(vf a, vf b) { return a == b; }
INLINE vm v_ne(vf a, vf b) { return a != b; }
INLINE vm v_lt(vf a, vf b) { return a < b; }
INLINE vm v_le(vf a, vf b) { return a <= b; }
INLINE vm v_and(vm a, vm b) { return a & b; }
/* The second operand is returned when either is NaN. */
INLINE vf v_max_second(vf a, vf b) { return a > b ? a : b; }
INLINE vf v_min_second(vf a, vf b) { return a < b ? a : b; }
/* Beyond 2^22 (2^23) numbers are whole, or have no half left to round. */
INLINE vf v_round(vf a) {
    const float moved = (a + 12582912.0f) - 12582912.0f;
    return a > -4194304.0f && a < 4194304.0f ? moved : v_trunc(a);
}
INLINE vf v_trunc(vf a) {
    const float inside = a > -8388608.0f && a < 8388608.0f ? a : 0.0f;
    const float whole = (float)(int32_t)inside;
    return inside == a ? whole : a;
}
INLINE vf v_floor(vf a) {
    const float whole = v_trunc(a);
    return whole > a ? whole - 1.0f : whole;
}
INLINE vf v_ceil(vf a) {
    const float whole = v_trunc(a);
    return whole < a ? whole + 1.0f : whole;
}
INLINE vf v_from_bits(uint32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}
INLINE uint32_t v_bits(vf a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
/* a·2ⁿ in two halves, so that 2ⁿ itself may be out of range. */
INLINE vf v_scale2(vf a, vf n) {
    const int32_t whole = n == n ? (int32_t)n : 0;
    const int32_t half = whole / 2;
    return a * v_from_bits((uint32_t)(half + 127) << 23) * v_from_bits((uint32_t)(whole - half + 127) << 23);
}
INLINE vf v_exponent(vf a) { return (float)((int32_t)((v_bits(a) & 0x7f800000u) >> 23) - 127); }
INLINE vf v_mantissa(vf a) { return v_from_bits((v_bits(a) & 0x007fffffu) | 0x3f800000u); }
/* Newton's steps towards 1 / √a, and one that makes the root good; 1 ulp, the same bits on every processor. */
INLINE vf v_sqrt(vf a) {
    const float inside = a >= 1.17549435e-38f && a < INFINITY ? a : 1.0f;
    float y = v_from_bits(0x5f375a86u - (v_bits(inside) >> 1));
    float root;
    y = y * (1.5f - 0.5f * inside * y * y);
    y = y * (1.5f - 0.5f * inside * y * y);
    y = y * (1.5f - 0.5f * inside * y * y);
    root = inside * y;
    root = root + 0.5f * y * (inside - root * root);
    if (inside == a) return root;
    return a < 0.0f ? NAN : (a < 1.0f ? 0.0f : a);
}
/* Quarter turns are taken off in double; beyond 2^30 there is nothing left of a phase, and the answer is NaN. */
INLINE vf v_sin_turned(vf a, int32_t ahead) {
    const float inside = a > -1073741824.0f && a < 1073741824.0f ? a : 0.0f;
    const double turns = (double)inside * 0.63661977236758134;
    const int32_t whole = (int32_t)(turns < 0.0 ? turns - 0.5 : turns + 0.5);
    const float r = (float)(((double)inside - (double)whole * 1.5707963267341256) -
                            (double)whole * 6.0771005065061922e-11);
    const float z = r * r;
    const float s = r + r * z * (-1.6666655e-1f + z * (8.3321609e-3f - z * 1.9515296e-4f));
    const float c = 1.0f - 0.5f * z + z * z * (4.166664568e-2f + z * (-1.388731625e-3f + z * 2.443315711e-5f));
    const uint32_t quarter = (uint32_t)(whole + ahead);
    const float turned = (quarter & 1u) != 0u ? c : s;
    const float y = (quarter & 2u) != 0u ? -turned : turned;
    return inside == a ? y : NAN;
}
INLINE vf v_sin(vf a) { return v_sin_turned(a, 0); }
INLINE vf v_cos(vf a) { return v_sin_turned(a, 1); }
/* Numbers as whole ones, towards zero; what does not fit is the smallest. */
INLINE int32_t v_to_int32(vf a) { return a >= -2147483648.0f && a < 2147483648.0f ? (int32_t)a : INT32_MIN; }
INLINE int64_t v_to_int64(vf a) {
    return a >= -9223372036854775808.0f && a < 9223372036854775808.0f ? (int64_t)a : INT64_MIN;
}
/* The sum of n products, in four parts. */
INLINE vf v_dot(const float *x, const float *w, int32_t n) {
    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    int32_t i = 0;
    for (; i + 4 <= n; i += 4) {
        a += x[i] * w[i];
        b += x[i + 1] * w[i + 1];
        c += x[i + 2] * w[i + 2];
        d += x[i + 3] * w[i + 3];
    }
    for (; i < n; ++i) a += x[i] * w[i];
    return (a + b) + (c + d);
}
/* The same of codes and of weights of 8 bits. The codes are small enough that no sum overflows. */
INLINE int32_t v_dot_codes(const int16_t *x, const int8_t *w, int32_t n) {
    int32_t sum = 0;
    int32_t i;
    for (i = 0; i < n; ++i) sum += (int32_t)x[i] * (int32_t)w[i];
    return sum;
}
/* A number as a code between −limit and limit; NaN becomes one of them. */
INLINE int16_t v_code(vf a, vf limit) {
    const float inside = a > limit ? limit : (a > -limit ? a : -limit);
    return (int16_t)(inside < 0.0f ? inside - 0.5f : inside + 0.5f);
}
/* sum · multiplier / 2^(31 + shift), rounded, between low and limit. */
INLINE int16_t v_rescaled(int32_t sum, int32_t multiplier, int32_t shift, int32_t low, int32_t limit) {
    const int64_t half = INT64_C(1) << (30 + shift);
    const int64_t code = ((int64_t)sum * multiplier + half) >> (31 + shift);
    return (int16_t)(code < low ? low : (code > limit ? limit : code));
}
