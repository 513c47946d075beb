"""Element-wise functions: their values, and what their slope can be between two numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from grandopt.errors import UnsupportedError
from grandopt.signature import Array

Slopes = Callable[[Array, Array], tuple[Array, Array]]

ACCURACY = 2.0**-19
"""Relative error of the functions of float32 libraries, ours among them: theirs are at most 4 units in the
last place, that of gelu 1e-6."""


@dataclass(frozen=True)
class BoundedFunction:
    """`slopes(low, high)` is given what the argument lies between. `accuracy` is relative to the result."""

    value: Callable[[Array], Array]
    slopes: Slopes
    accuracy: float = ACCURACY


def _from_derivative(derivative: Callable[[Array], Array]) -> Slopes:
    """Of a derivative that is largest at 0 and falls to both sides."""

    def slopes(low: Array, high: Array) -> tuple[Array, Array]:
        nearest = np.clip(0.0, low, high)
        farthest = np.maximum(np.abs(low), np.abs(high))
        return derivative(farthest), derivative(nearest)

    return slopes


def _erf(x: Array) -> Array:
    result: Array = torch.special.erf(torch.from_numpy(np.ascontiguousarray(x))).numpy()
    return result


def _sigmoid(x: Array) -> Array:
    result: Array = 0.5 * (1 + np.tanh(0.5 * x))
    return result


def _elu(x: Array) -> Array:
    result: Array = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return result


def _density(x: Array) -> Array:
    result: Array = np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)
    return result


def _gelu(x: Array) -> Array:
    return x * 0.5 * (1 + _erf(x / np.sqrt(2.0)))


def _gelu_slopes(low: Array, high: Array) -> tuple[Array, Array]:
    """The second derivative is at most 0.8, the first between −0.13 and 1.13."""
    middle, half = (low + high) / 2, (high - low) / 2
    at = 0.5 * (1 + _erf(middle / np.sqrt(2.0))) + middle * _density(middle)
    return np.maximum(at - 0.8 * half - 1e-12, -0.13), np.minimum(at + 0.8 * half + 1e-12, 1.13)


def _positive(low: Array, bound: float = 0.0) -> None:
    if (low <= bound).any():
        raise UnsupportedError(f"its argument may be {low.min():.3g}, where its slope has no bound")


def _log_slopes(low: Array, high: Array) -> tuple[Array, Array]:
    _positive(low)
    return 1 / high, 1 / low


def _log1p_slopes(low: Array, high: Array) -> tuple[Array, Array]:
    _positive(low, -1.0)
    return 1 / (1 + high), 1 / (1 + low)


def _sqrt_slopes(low: Array, high: Array) -> tuple[Array, Array]:
    _positive(low)
    return 0.5 / np.sqrt(high), 0.5 / np.sqrt(low)


def _reciprocal_slopes(low: Array, high: Array) -> tuple[Array, Array]:
    crossing = (low <= 0) & (high >= 0)
    if crossing.any():
        raise UnsupportedError("its argument may be 0, where it has no bound")
    small, large = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
    return -1 / small**2, -1 / large**2


def _wave_slopes(derivative: Callable[[Array], Array]) -> Slopes:
    def slopes(low: Array, high: Array) -> tuple[Array, Array]:
        middle, half = (low + high) / 2, (high - low) / 2
        at = derivative(middle)
        return np.maximum(at - half - 1e-12, -1.0), np.minimum(at + half + 1e-12, 1.0)

    return slopes


FUNCTIONS: dict[str, BoundedFunction] = {
    "relu": BoundedFunction(
        lambda x: np.maximum(x, 0), lambda low, high: (1.0 * (low > 0), 1.0 * (high > 0)), 0.0
    ),
    "abs": BoundedFunction(
        np.abs, lambda low, high: (np.where(low < 0, -1.0, 1.0), np.where(high > 0, 1.0, -1.0)), 0.0
    ),
    "neg": BoundedFunction(np.negative, lambda low, high: (-np.ones(low.shape), -np.ones(low.shape)), 0.0),
    "square": BoundedFunction(np.square, lambda low, high: (2 * low, 2 * high)),
    "tanh": BoundedFunction(np.tanh, _from_derivative(lambda x: 1 - np.tanh(x) ** 2)),
    "sigmoid": BoundedFunction(_sigmoid, _from_derivative(lambda x: _sigmoid(x) * (1 - _sigmoid(x)))),
    "erf": BoundedFunction(_erf, _from_derivative(lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x))),
    "gelu": BoundedFunction(_gelu, _gelu_slopes),
    "exp": BoundedFunction(np.exp, lambda low, high: (np.exp(low), np.exp(high))),
    "elu": BoundedFunction(_elu, lambda low, high: (np.exp(np.minimum(low, 0)), np.exp(np.minimum(high, 0)))),
    "expm1": BoundedFunction(np.expm1, lambda low, high: (np.exp(low), np.exp(high))),
    "log": BoundedFunction(np.log, _log_slopes),
    "log1p": BoundedFunction(np.log1p, _log1p_slopes),
    "sqrt": BoundedFunction(np.sqrt, _sqrt_slopes),
    "reciprocal": BoundedFunction(lambda x: 1 / x, _reciprocal_slopes),
    "sin": BoundedFunction(np.sin, _wave_slopes(np.cos)),
    "cos": BoundedFunction(np.cos, _wave_slopes(lambda x: -np.sin(x))),
}
