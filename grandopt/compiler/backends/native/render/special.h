/* Functions on scalars that few agents use, computed in double: for these, accuracy comes before speed. */
#define S_PI 3.14159265358979323846

/* Whole powers; a negative exponent leaves 1, -1 or 0, as in ATen. */
INLINE int64_t s_pow(int64_t a, int64_t n) {
    int64_t y = 1;
    if (n < 0) return a == 1 ? 1 : a == -1 ? (n % 2 == 0 ? 1 : -1) : 0;
    for (; n > 0; n >>= 1, a *= a) y *= n & 1 ? a : 1;
    return y;
}
/* The logarithmic derivative of the gamma function: reflection, recurrence up to 10, then its expansion. */
INLINE double s_digamma(double x) {
    double below = 0.0;
    if (x == 0.0) return copysign(INFINITY, -x);
    if (x < 0.0) {
        if (x == floor(x)) return NAN;
        below = -S_PI / tan(S_PI * (x - floor(x))), x = 1.0 - x;
    }
    for (; x < 10.0; x += 1.0) below -= 1.0 / x;
    double z = 1.0 / (x * x);
    double p = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132)))));
    return x == INFINITY ? x : below + log(x) - 0.5 / x - p;
}
/* The inverse of erf: a start from its logarithm (Winitzki 2008), then Newton's steps. */
INLINE double s_erfinv(double y) {
    if (!(y > -1.0 && y < 1.0)) return y == 1.0 ? INFINITY : y == -1.0 ? -INFINITY : NAN;
    double l = log1p(-y * y), a = 0.147, b = 2.0 / (S_PI * a) + 0.5 * l;
    double x = copysign(sqrt(sqrt(b * b - l / a) - b), y);
    for (int i = 0; i < 4; ++i) x -= (erf(x) - y) * 0.88622692545275801 * exp(x * x);
    return x;
}
/* The modified Bessel function of order 0: its power series, beyond 20 its expansion in 1 / x. */
INLINE double s_i0(double x) {
    double a = fabs(x), term = 1.0, sum = 1.0;
    if (a <= 20.0) {
        for (int k = 1; k < 80; ++k) term *= 0.25 * a * a / ((double)k * k), sum += term;
        return a != a ? a : sum;
    }
    for (int k = 1; k < 20; ++k) term *= (2.0 * k - 1.0) * (2.0 * k - 1.0) / (8.0 * k * a), sum += term;
    return a == INFINITY ? NAN : exp(a) / sqrt(2.0 * S_PI * a) * sum; /* NaN as in ATen */
}
/* The modified Bessel function of order 1, as s_i0. */
INLINE double s_i1(double x) {
    double a = fabs(x), term = 0.5 * a, sum = term;
    if (a <= 20.0) {
        for (int k = 1; k < 80; ++k) term *= 0.25 * a * a / ((double)k * (k + 1.0)), sum += term;
        return x != x ? x : copysign(sum, x);
    }
    term = sum = 1.0;
    for (int k = 1; k < 20; ++k) term *= -(4.0 - (2.0 * k - 1.0) * (2.0 * k - 1.0)) / (8.0 * k * a), sum += term;
    return a == INFINITY ? NAN : copysign(exp(a) / sqrt(2.0 * S_PI * a) * sum, x);
}
/* Both without their growth: times exp(-|x|). */
INLINE double s_scaled(double x, double at, double sign) { /* `at` is the function's value there */
    double a = fabs(x), term = 1.0, sum = 1.0, mu = sign < 0.0 ? 4.0 : 0.0;
    if (!(a > 20.0)) return at * exp(-a);
    for (int k = 1; k < 20; ++k) term *= -(mu - (2.0 * k - 1.0) * (2.0 * k - 1.0)) / (8.0 * k * a), sum += term;
    return sum / sqrt(2.0 * S_PI * a);
}
INLINE double s_i0e(double x) { return fabs(x) == INFINITY ? 0.0 : s_scaled(x, s_i0(x), 1.0); }
INLINE double s_i1e(double x) {
    if (fabs(x) == INFINITY) return copysign(0.0, x);
    return fabs(x) > 20.0 ? copysign(s_scaled(x, 0.0, -1.0), x) : s_scaled(x, s_i1(x), -1.0);
}
/* exp(x^2) * erfc(x): directly, or for large x by its continued fraction. */
INLINE double s_erfcx(double x) {
    if (x < 10.0) return exp(x * x) * erfc(x);
    double f = x;
    for (int k = 40; k > 0; --k) f = x + 0.5 * k / f;
    return 0.56418958354775629 / f;
}
/* log of the normal distribution's mass below x. */
INLINE double s_log_ndtr(double x) {
    double z = x * 0.70710678118654752;
    return x < -1.0 ? log(0.5 * s_erfcx(-z)) - z * z : log1p(-0.5 * erfc(z));
}
/* The inverse of that mass. Near 0 by Newton's steps on its logarithm. */
INLINE double s_ndtri_low(double p) {
    double l = log(p), x = -sqrt(-2.0 * l);
    for (int i = 0; i < 60; ++i) {
        double f = s_log_ndtr(x), slope = exp(-0.5 * x * x - 0.91893853320467274 - f);
        double step = (f - l) / slope;
        x -= step;
        if (fabs(step) <= 1e-14 * fabs(x)) break;
    }
    return x;
}
INLINE double s_ndtri(double p) {
    if (p == 0.0) return -INFINITY;
    if (p == 1.0) return INFINITY;
    if (!(p > 0.0 && p < 1.0)) return NAN;
    if (p > 0.9) return -s_ndtri_low(1.0 - p);
    return p < 0.1 ? s_ndtri_low(p) : 1.41421356237309505 * s_erfinv(2.0 * p - 1.0);
}
/* The zeta function of Hurwitz: its first terms, then Euler's and Maclaurin's expansion. */
INLINE double s_zeta(double s, double q) {
    static const double bernoulli[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6};
    double a = q, sum, term, power;
    if (s == 1.0) return INFINITY;
    if (!(s > 1.0)) return NAN;
    if (q <= 0.0 && q == floor(q)) return INFINITY;
    if (q == INFINITY) return 0.0;
    if (q <= 0.0 && s != floor(s)) return NAN;
    sum = pow(q, -s);
    for (int i = 0; i < 9 || a <= 9.0; ++i) a += 1.0, sum += pow(a, -s);
    power = pow(a, -s), sum += power * (a / (s - 1.0) - 0.5), term = power * s / a;
    for (int j = 0; j < 7; ++j) {
        sum += term * bernoulli[j] / (j == 0 ? 2.0 : 1.0) / (j == 0 ? 1.0 : tgamma(2.0 * j + 3.0));
        term *= (s + 2.0 * j + 1.0) * (s + 2.0 * j + 2.0) / (a * a);
    }
    return sum;
}
/* Derivatives of the digamma function, of the first order by reflection, as ATen has them. */
INLINE double s_polygamma(double n, double x) {
    if (n == 0.0) return s_digamma(x);
    if (n == 1.0 && x < 0.5) {
        double sine = sin(S_PI * x); /* not 0 at whole numbers but 0, as in ATen */
        return S_PI * S_PI / (sine * sine) - s_zeta(2.0, 1.0 - x);
    }
    return (fmod(n, 2.0) == 0.0 ? -1.0 : 1.0) * tgamma(n + 1.0) * s_zeta(n + 1.0, x);
}
/* The Bessel functions of the first kind: their integral by the trapezoidal rule, which converges at once
 * for periodic functions; beyond 25 Hankel's expansion. */
INLINE double s_bessel_j(int order, double x) {
    double a = fabs(x), sum = 0.0, p = 0.0, q = 0.0, term = 1.0, mu = 4.0 * order * order;
    if (a == INFINITY) return NAN; /* as in ATen */
    if (a <= 25.0) {
        for (int k = 0; k < 96; ++k) {
            double angle = S_PI * (k + 0.5) / 96.0;
            sum += cos(order * angle - x * sin(angle));
        }
        return sum / 96.0;
    }
    for (int k = 0; k < 30; ++k) {
        double step = (mu - (2.0 * k + 1.0) * (2.0 * k + 1.0)) / (8.0 * (k + 1.0) * a);
        if (k % 2 == 0) p += k % 4 == 0 ? term : -term;
        else q += k % 4 == 1 ? term : -term;
        term *= step;
    }
    double phase = a - (0.5 * order + 0.25) * S_PI;
    sum = sqrt(2.0 / (S_PI * a)) * (cos(phase) * p - sin(phase) * q);
    return x < 0.0 && order % 2 ? -sum : sum;
}
INLINE double s_bessel_j0(double x) { return s_bessel_j(0, x); }
INLINE double s_bessel_j1(double x) { return s_bessel_j(1, x); }
/* The modified ones of the second kind, times exp(x) where `scaled`: their integral, as quick to converge. */
INLINE double s_bessel_k(int order, double x, int scaled) {
    double sum = 0.5;
    if (x == 0.0) return INFINITY;
    if (!(x > 0.0)) return NAN;
    if (x == INFINITY) return 0.0;
    for (int k = 1; k < 4000; ++k) {
        double t = k / 32.0, term = exp(-x * (cosh(t) - 1.0)) * cosh(order * t);
        sum += term;
        if (term < 1e-18 * sum) break;
    }
    return sum / 32.0 * (scaled ? 1.0 : exp(-x));
}
INLINE double s_modified_bessel_k0(double x) { return s_bessel_k(0, x, 0); }
INLINE double s_modified_bessel_k1(double x) { return s_bessel_k(1, x, 0); }
INLINE double s_scaled_modified_bessel_k0(double x) { return s_bessel_k(0, x, 1); }
INLINE double s_scaled_modified_bessel_k1(double x) { return s_bessel_k(1, x, 1); }
