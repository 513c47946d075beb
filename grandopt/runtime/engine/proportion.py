"""The interval of a proportion, exact at every sample size."""

from __future__ import annotations

import math


def interval(found: int, of: int, confidence: float = 0.99) -> tuple[float, float]:
    """The interval of Clopper and Pearson ("The use of confidence or fiducial limits illustrated in the case
    of the binomial", Biometrika 26, 1934) for `found` among `of` draws.

    It holds the true proportion at least as often as `confidence` says, whatever that proportion is; for rare
    events, intervals by normal approximation do not. Without draws it is 0 to 1.
    """
    if not 0 <= found <= of:
        raise ValueError(f"{found} of {of} is no proportion")
    tail = (1 - confidence) / 2
    low = 0.0 if found == 0 else _quantile(found, of - found + 1, tail)
    high = 1.0 if found == of else _quantile(found + 1, of - found, 1 - tail)
    return low, high


def _quantile(a: float, b: float, target: float) -> float:
    """Where the incomplete beta function reaches `target`: Newton's method, kept within a bracket."""
    low, high, x = 0.0, 1.0, a / (a + b)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    for _ in range(100):
        over = _beta(x, a, b) - target
        low, high = (low, x) if over > 0 else (x, high)
        slope = math.exp(scale + (a - 1) * math.log(x) + (b - 1) * math.log1p(-x))
        better = x - over / slope if slope > 0 else low
        if not low < better < high:
            better = (low + high) / 2
        if abs(better - x) <= 1e-13 * x:
            return better
        x = better
    return x


def _beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function, which is the chance of `a` or more among a + b - 1 draws.

    By its continued fraction (NIST Digital Library of Mathematical Functions, 8.17.22), on the side where
    that converges fast.
    """
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta(1.0 - x, b, a)
    front = a * math.log(x) + b * math.log1p(-x) - math.log(a)
    front -= math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    # Lentz's method, as in Numerical Recipes 6.4.
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-13:
            break
    return math.exp(front) * value


def _away(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300
