/* The part of C's library that generated code needs where there is none: see include/. */
#include <stddef.h>
#include <stdint.h>

#include "math.h"
#include "string.h"

void *(memcpy)(void *to, const void *from, size_t bytes) {
    unsigned char *y = to;
    const unsigned char *x = from;
    /* In words where both lie so; volatile, or the loops would be made calls of the functions that they are. */
    if ((((uintptr_t)to | (uintptr_t)from) & 7) == 0)
        for (; bytes >= 8; bytes -= 8, x += 8, y += 8) *(volatile uint64_t *)y = *(const uint64_t *)x;
    for (; bytes > 0; --bytes) *(volatile unsigned char *)y++ = *x++;
    return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
    if ((uintptr_t)to - (uintptr_t)from >= bytes) return (memcpy)(to, from, bytes);
    while (bytes-- > 0) ((volatile unsigned char *)to)[bytes] = ((const unsigned char *)from)[bytes];
    return to;
}

void *(memset)(void *to, int value, size_t bytes) {
    while (bytes-- > 0) ((volatile unsigned char *)to)[bytes] = (unsigned char)value;
    return to;
}

/* JavaScript's is NaN where C's is 1. */
double c_pow(double x, double y) {
    if (x == 1.0 || (x == -1.0 && fabs(y) == INFINITY)) return 1.0;
    return js_pow(x, y);
}

double c_fmin(double x, double y) { return y != y || x < y ? x : x != x || y < x ? y : signbit(x) ? x : y; }
double c_fmax(double x, double y) { return y != y || x > y ? x : x != x || y > x ? y : signbit(x) ? y : x; }

#define TWO_BY_ROOT_PI 1.1283791670955126
#define LOG_ROOT_2_PI 0.91893853320467274
#define PI 3.14159265358979323846

/* erf within ±2: a series of terms of one sign. */
static double series(double x) {
    double term = x, sum = x;
    for (int n = 1; n < 48; ++n) term *= 2.0 * x * x / (2.0 * n + 1.0), sum += term;
    return TWO_BY_ROOT_PI * js_exp(-x * x) * sum;
}

/* erfc from 2 on: a continued fraction. */
static double fraction(double x) {
    double f = x;
    for (int k = 100; k > 0; --k) f = x + 0.5 * k / f;
    return 0.5 * TWO_BY_ROOT_PI * js_exp(-x * x) / f;
}

double c_erf(double x) {
    if (x != x) return x;
    if (fabs(x) < 2.0) return series(x);
    return copysign(fabs(x) < 7.0 ? 1.0 - fraction(fabs(x)) : 1.0, x);
}

double c_erfc(double x) {
    if (x != x) return x;
    if (fabs(x) < 2.0) return 1.0 - series(x);
    if (fabs(x) > 30.0) return x > 0.0 ? 0.0 : 2.0;
    return x > 0.0 ? fraction(x) : 2.0 - fraction(-x);
}

/* log |gamma|: reflection, recurrence up to 10, Stirling's series. */
double c_lgamma(double x) {
    double below = 0.0, sign = 1.0, shift = 1.0;
    if (x != x || fabs(x) == INFINITY) return fabs(x);
    if (x <= 0.0 && x == floor(x)) return INFINITY;
    if (x < 0.5) below = js_log(PI / fabs(js_sin(PI * (x - floor(x))))), sign = -1.0, x = 1.0 - x;
    for (; x < 10.0; x += 1.0) shift *= x;
    double z = 1.0 / (x * x);
    double rest = 1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260 - z * (1.0 / 1680 - z * (1.0 / 1188 - z * 691.0 / 360360))));
    return below + sign * ((x - 0.5) * js_log(x) - x + LOG_ROOT_2_PI + rest / x - js_log(shift));
}

/* Of whole numbers from 1 on, which are all that it is asked for. */
double c_tgamma(double x) {
    double product = 1.0;
    for (double k = 2.0; k < x && product < INFINITY; k += 1.0) product *= k;
    return product;
}

#define NEXT_AFTER(name, type, bits) \
    type name(type x, type y) { \
        union { type number; bits pattern; } moved = {x}; \
        if (x != x || y != y) return x + y; \
        if (x == y) return y; \
        if (x == 0) return moved.pattern = 1, y > 0 ? moved.number : -moved.number; \
        moved.pattern += (y > x) == (x > 0) ? 1 : -1; \
        return moved.number; \
    }
NEXT_AFTER(c_nextafter, double, int64_t)
NEXT_AFTER(c_nextafterf, float, int32_t)
