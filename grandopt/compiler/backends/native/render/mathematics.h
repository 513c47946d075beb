/* Functions on vectors. Errors against the exact result, over all float32 inputs (denormals count as zero):
 * exp, expm1, log, log1p, tanh, sigmoid, erf at most 4 ulp, gelu 1e-6 relative; tests/native/test_mathematics.py
 * holds them to it. The coefficients are weighted minimax fits made for these functions, in float64 and rounded.
 * NaN gives NaN. */

/* Where either side is NaN, so is the result. */
INLINE vf v_max(vf a, vf b) { return v_select(v_ne(a, a), a, v_max_second(a, b)); }
INLINE vf v_min(vf a, vf b) { return v_select(v_ne(a, a), a, v_min_second(a, b)); }
INLINE vf v_relu(vf a) { return v_max_second(v_set1(0.0f), a); }
INLINE vf v_clamp(vf a, float low, float high) { /* numbers for limits: NaN stays */
    return v_min_second(v_set1(high), v_max_second(v_set1(low), a));
}
INLINE vf v_sign(vf a) {
    vf zero = v_set1(0.0f);
    vf sign = v_select(v_lt(zero, a), v_set1(1.0f), v_select(v_lt(a, zero), v_set1(-1.0f), zero));
    return v_select(v_ne(a, a), zero, sign);
}
INLINE vf v_neg_if(vm m, vf a) { return v_select(m, -a, a); }

/* x = n·ln 2 + r with |r| ≤ ln 2 / 2; ln 2 in two parts, so that n·high is exact. */
INLINE vf v_reduce_ln2(vf x, vf *n) {
    *n = v_round(x * v_set1(1.44269504f));
    vf r = v_fma(*n, v_set1(-0.693359375f), x);
    return v_fma(*n, v_set1(2.12194440e-4f), r);
}
/* exp(r) − 1 on the reduced range */
INLINE vf v_expm1_reduced(vf r) {
    vf q = v_set1(0.00138825143f);
    q = v_fma(q, r, v_set1(0.00836654752f));
    q = v_fma(q, r, v_set1(0.0416672006f));
    q = v_fma(q, r, v_set1(0.166665435f));
    q = v_fma(q, r, v_set1(0.49999997f));
    return v_fma(r * r, q, r);
}
INLINE vf v_exp(vf x) {
    vf n, r = v_reduce_ln2(v_clamp(x, -104.0f, 89.0f), &n);
    vf y = v_scale2(v_set1(1.0f) + v_expm1_reduced(r), n);
    ROUNDED(y);
    return y;
}
INLINE vf v_expm1(vf x) { /* 2ⁿ·p + (2ⁿ − 1), halved throughout so that 2ⁿ⁻¹ does not overflow early */
    vf n, r = v_reduce_ln2(v_clamp(x, -104.0f, 89.0f), &n);
    vf s = v_scale2(v_set1(0.5f), n);
    vf y = v_fma(s, v_expm1_reduced(r), s - v_set1(0.5f));
    return v_select(v_lt(v_set1(88.7228394f), x), v_set1(INFINITY), y + y);
}
INLINE vf v_tanh(vf x) { /* expm1(2x) / (expm1(2x) + 2); ±1 to the last bit beyond 10 */
    vf n, y = v_clamp(x, -10.0f, 10.0f);
    vf r = v_reduce_ln2(y + y, &n);
    vf s = v_scale2(v_set1(1.0f), n);
    vf e = v_fma(s, v_expm1_reduced(r), s - v_set1(1.0f));
    return e / (e + v_set1(2.0f));
}
INLINE vf v_sigmoid(vf x) { return v_set1(1.0f) / (v_set1(1.0f) + v_exp(-x)); }

/* log of a normal number: m·2ᵉ with m in [√½, √2), log m = 2·atanh(f / (2 + f)), f = m − 1. */
INLINE vf v_log_normal(vf x) {
    vf m = v_mantissa(x), e = v_exponent(x);
    vm upper = v_lt(v_set1(1.41421356f), m);
    m = v_select(upper, m * v_set1(0.5f), m);
    e = v_select(upper, e + v_set1(1.0f), e);
    vf f = m - v_set1(1.0f), s = f / (f + v_set1(2.0f)), z = s * s, half = v_set1(0.5f) * f * f;
    vf r = v_fma(v_fma(v_set1(0.29871732f), z, v_set1(0.399775416f)), z, v_set1(0.666667759f)) * z;
    vf low = v_fma(e, v_set1(-2.12194440e-4f), s * (half + r));
    return v_fma(e, v_set1(0.693359375f), f - (half - low));
}
INLINE vf v_log(vf x) {
    vf y = v_log_normal(x), zero = v_set1(0.0f), top = v_set1(INFINITY);
    y = v_select(v_lt(x, v_set1(1.17549435e-38f)), -top, y);
    y = v_select(v_lt(x, zero), v_set1(NAN), y);
    return v_select(v_lt(x, top), y, x); /* infinity and NaN stay */
}
INLINE vf v_log1p(vf x) { /* log(1 + x) with the rounding of 1 + x made good */
    vf w = v_set1(1.0f) + x, lost = x - (w - v_set1(1.0f));
    vf y = v_log(w);
    vm plain = v_and(v_lt(v_set1(-1.0f), x), v_lt(x, v_set1(INFINITY)));
    return v_select(plain, y + lost / w, y);
}

/* exp(a²)·erfc(a) for a in [0, 14.6]: t times a polynomial in t = 1 / (1 + a/2) */
INLINE vf v_erfcx(vf a) {
    vf t = v_set1(1.0f) / v_fma(a, v_set1(0.5f), v_set1(1.0f));
    vf p = v_set1(0.040962562f);
    p = v_fma(p, t, v_set1(-0.221407175f));
    p = v_fma(p, t, v_set1(0.459094197f));
    p = v_fma(p, t, v_set1(-0.403717816f));
    p = v_fma(p, t, v_set1(0.0844308883f));
    p = v_fma(p, t, v_set1(-0.030148996f));
    p = v_fma(p, t, v_set1(0.0818306059f));
    p = v_fma(p, t, v_set1(0.178316981f));
    p = v_fma(p, t, v_set1(0.246410638f));
    p = v_fma(p, t, v_set1(0.282134801f));
    p = v_fma(p, t, v_set1(0.282093316f));
    return p * t;
}
/* exp(−k·a²), the rounding of a² made good */
INLINE vf v_exp_square(vf a, float k) {
    vf high = a * a, low = v_fused(a, a, -high);
    vf y = v_exp(high * v_set1(-k));
    return v_fma(y, low * v_set1(-k), y);
}
INLINE vf v_erf(vf x) {
    vf a = v_clamp(v_abs(x), 0.0f, 4.5f), z = a * a;
    vf p = v_set1(-0.000676109572f);
    p = v_fma(p, z, v_set1(0.00511598168f));
    p = v_fma(p, z, v_set1(-0.0268354341f));
    p = v_fma(p, z, v_set1(0.112833932f));
    p = v_fma(p, z, v_set1(-0.3761262f));
    p = v_fma(p, z, v_set1(1.12837911f)) * a;
    vf tail = v_set1(1.0f) - v_exp_square(a, 1.0f) * v_erfcx(a);
    vf y = v_select(v_lt(a, v_set1(0.75f)), p, tail);
    return v_neg_if(v_lt(x, v_set1(0.0f)), y);
}
INLINE vf v_gelu(vf x) { /* x·Φ(x), Φ(−|x|) = ½·erfc(|x|/√2) */
    vf a = v_clamp(v_abs(x), 0.0f, 20.0f);
    vf below = v_set1(0.5f) * v_exp_square(a, 0.5f) * v_erfcx(a * v_set1(0.707106781f));
    return x * v_select(v_lt(x, v_set1(0.0f)), below, v_set1(1.0f) - below);
}

/* Scalars of any arithmetic type. */
#define s_max(a, b) CHOOSE(((a) >= (b)) | ((a) != (a)), a, b)
#define s_min(a, b) CHOOSE(((a) <= (b)) | ((a) != (a)), a, b)
#define s_relu(a) CHOOSE((a) < 0, 0, a)
#define s_abs(a) CHOOSE((a) <= 0, 0 - (a), a)
#define s_crosses(a, b) (((a) % (b) != 0) & (((a) % (b) < 0) != ((b) < 0)))
#define s_mod(a, b) CHOOSE(s_crosses(a, b), (a) % (b) + (b), (a) % (b))
#define s_floordiv(a, b) ((a) / (b) - s_crosses(a, b))
/* Denormals count as zero here whatever the mode: libm's functions take some of them for other numbers in it. */
INLINE float s_flushf(float x) { return CHOOSE(fabsf(x) < 0x1p-126f, copysignf(0, x), x); }
INLINE double s_flush(double x) { return CHOOSE(fabs(x) < 0x1p-1022, copysign(0, x), x); }
/* A function of one number: libm's. Under REALTIME a lane of the one above; of doubles there are none then. */
#ifdef REALTIME
#define ONE(name, f, x) (v_##name(v_set1(x))[0])
#else
#define ONE(name, f, x) name##f(x)
#define gelu(x) (-(x) * erfc(-(x) * 0.70710678118654752440) * -0.5)
#define geluf(x) (-(x) * erfcf(-(x) * 0.70710678118654752440) * -0.5)
#endif
/* Floats as whole numbers, towards zero; what does not fit, as on x86-64: the smallest number, cut to the width. */
INLINE int64_t s_to_int64(double x) {
    const int fits = (x >= -0x1p63) & (x < 0x1p63);
    return CHOOSE(fits, (int64_t)CHOOSE(fits, x, 0.0), INT64_MIN);
}
INLINE int32_t s_to_int32(double x) {
    const int fits = (x > -0x1.00000002p31) & (x < 0x1p31);
    return CHOOSE(fits, (int32_t)CHOOSE(fits, x, 0.0), INT32_MIN);
}
/* ATen's division with floor and remainder: exact, where floor(a / b) is off by one for 1.0 and 0.1. */
#define FLOORED(type, f) \
    INLINE type s_remainder##f(type a, type b) { \
        type rest = fmod##f(a, b); \
        return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest; \
    } \
    INLINE type s_floor_divide##f(type a, type b) { \
        type rest = fmod##f(a, b), quotient = (a - rest) / b, whole; \
        if (b == 0) return a / b; \
        if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1; \
        if (quotient == 0) return copysign##f(0, a / b); \
        whole = floor##f(quotient); \
        return quotient - whole > (type)0.5 ? whole + 1 : whole; \
    }
FLOORED(float, f)
FLOORED(double, )
