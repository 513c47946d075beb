/* What generated C needs of math.h, without a library: instructions of WebAssembly, functions of JavaScript's
 * Math, which the loader gives the module as imports, and those of `library.c`. Only what is used is imported.
 * In float32 they are those in double, rounded. */
#ifndef GRANDOPT_MATH_H
#define GRANDOPT_MATH_H

#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define signbit(x) (sizeof(x) == sizeof(float) ? __builtin_signbitf((float)(x)) : __builtin_signbit((double)(x)))
#define isinf(x) __builtin_isinf(x)
#define isnan(x) __builtin_isnan(x)

/* Instructions. */
#define sqrt(x) __builtin_sqrt(x)
#define sqrtf(x) __builtin_sqrtf(x)
#define floor(x) __builtin_floor(x)
#define floorf(x) __builtin_floorf(x)
#define ceil(x) __builtin_ceil(x)
#define ceilf(x) __builtin_ceilf(x)
#define trunc(x) __builtin_trunc(x)
#define truncf(x) __builtin_truncf(x)
#define rint(x) __builtin_nearbyint(x)
#define rintf(x) __builtin_nearbyintf(x)
#define fabs(x) __builtin_fabs(x)
#define fabsf(x) __builtin_fabsf(x)
#define copysign(x, y) __builtin_copysign(x, y)
#define copysignf(x, y) __builtin_copysignf(x, y)

/* Functions of JavaScript. */
#define OF_JS(name) __attribute__((import_module("math"), import_name(#name)))
#define OF_ONE(name) OF_JS(name) double js_##name(double x);
#define OF_TWO(name) OF_JS(name) double js_##name(double x, double y);
OF_ONE(exp)
OF_ONE(expm1)
OF_ONE(log)
OF_ONE(log1p)
OF_ONE(log2)
OF_ONE(log10)
OF_ONE(sin)
OF_ONE(cos)
OF_ONE(tan)
OF_ONE(asin)
OF_ONE(acos)
OF_ONE(atan)
OF_ONE(sinh)
OF_ONE(cosh)
OF_ONE(tanh)
OF_ONE(asinh)
OF_ONE(acosh)
OF_ONE(atanh)
OF_TWO(atan2)
OF_TWO(pow)
OF_TWO(hypot)
OF_TWO(fmod)
#define exp(x) js_exp(x)
#define expf(x) ((float)js_exp(x))
#define expm1(x) js_expm1(x)
#define expm1f(x) ((float)js_expm1(x))
#define exp2(x) js_pow(2.0, x)
#define exp2f(x) ((float)js_pow(2.0, x))
#define log(x) js_log(x)
#define logf(x) ((float)js_log(x))
#define log1p(x) js_log1p(x)
#define log1pf(x) ((float)js_log1p(x))
#define log2(x) js_log2(x)
#define log2f(x) ((float)js_log2(x))
#define log10(x) js_log10(x)
#define log10f(x) ((float)js_log10(x))
#define sin(x) js_sin(x)
#define sinf(x) ((float)js_sin(x))
#define cos(x) js_cos(x)
#define cosf(x) ((float)js_cos(x))
#define tan(x) js_tan(x)
#define tanf(x) ((float)js_tan(x))
#define asin(x) js_asin(x)
#define asinf(x) ((float)js_asin(x))
#define acos(x) js_acos(x)
#define acosf(x) ((float)js_acos(x))
#define atan(x) js_atan(x)
#define atanf(x) ((float)js_atan(x))
#define sinh(x) js_sinh(x)
#define sinhf(x) ((float)js_sinh(x))
#define cosh(x) js_cosh(x)
#define coshf(x) ((float)js_cosh(x))
#define tanh(x) js_tanh(x)
#define tanhf(x) ((float)js_tanh(x))
#define asinh(x) js_asinh(x)
#define asinhf(x) ((float)js_asinh(x))
#define acosh(x) js_acosh(x)
#define acoshf(x) ((float)js_acosh(x))
#define atanh(x) js_atanh(x)
#define atanhf(x) ((float)js_atanh(x))
#define atan2(x, y) js_atan2(x, y)
#define atan2f(x, y) ((float)js_atan2(x, y))
#define hypot(x, y) js_hypot(x, y)
#define hypotf(x, y) ((float)js_hypot(x, y))
#define fmod(x, y) js_fmod(x, y)
#define fmodf(x, y) ((float)js_fmod(x, y))

/* Functions of library.c, of C's names with a prefix, so that no compiler takes them for its own. */
double c_pow(double x, double y);
double c_fmin(double x, double y);
double c_fmax(double x, double y);
double c_erf(double x);
double c_erfc(double x);
double c_lgamma(double x);
double c_tgamma(double x);
double c_nextafter(double x, double y);
float c_nextafterf(float x, float y);
#define pow(x, y) c_pow(x, y)
#define powf(x, y) ((float)c_pow(x, y))
#define fmin(x, y) c_fmin(x, y)
#define fminf(x, y) ((float)c_fmin(x, y))
#define fmax(x, y) c_fmax(x, y)
#define fmaxf(x, y) ((float)c_fmax(x, y))
#define erf(x) c_erf(x)
#define erff(x) ((float)c_erf(x))
#define erfc(x) c_erfc(x)
#define erfcf(x) ((float)c_erfc(x))
#define lgamma(x) c_lgamma(x)
#define lgammaf(x) ((float)c_lgamma(x))
#define tgamma(x) c_tgamma(x)
#define nextafter(x, y) c_nextafter(x, y)
#define nextafterf(x, y) c_nextafterf(x, y)

#endif
