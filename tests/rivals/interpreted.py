"""A `Graph` computed layer by layer with NumPy, in float64: what its layers mean, without any engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from grandopt.compiler.backends.portable.graph import FOLDED, Graph, Layer
from grandopt.signature import Array


def interpreted(graph: Graph, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs of a graph that was made for one batch size (`Graph.at`)."""
    values: dict[str, Array] = {name: array.astype(np.float64) for name, array in graph.constants.items()}
    values |= {item.name: array.astype(np.float64) for item, array in zip(graph.inputs, inputs, strict=True)}
    for layer in graph.layers:
        operands = [values[name] for name in layer.inputs]
        result = _computed(layer, operands)
        assert result.shape == layer.shape, (layer.kind, layer.settings, result.shape, layer.shape)
        values[layer.name] = result
    return tuple(values[name] for name in graph.outputs)


UNARY: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "negative": np.negative,
    "absolute": np.abs,
    "cast": lambda x: x,
}


def _computed(layer: Layer, x: list[Array]) -> Array:
    kind, settings = layer.kind, layer.settings
    if kind in UNARY:
        return UNARY[kind](x[0])
    if kind in ("add", "subtract", "multiply", "divide", "maximum", "minimum"):
        return np.asarray(getattr(np, kind)(*x))
    if kind.startswith("reduce_"):
        reduce = getattr(np, kind.removeprefix("reduce_"))
        return np.asarray(reduce(x[0], axis=tuple(settings["axes"]), keepdims=settings["keep"]))
    if kind in FOLDED:
        return np.asarray(FOLDED[kind](x, layer.shape, settings), np.float64)
    return OTHERS[kind](x, settings)


def _gelu(x: list[Array], settings: Mapping[str, Any]) -> Array:
    if settings["approximate"]:
        return x[0] / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x[0] + 0.044715 * x[0] ** 3)))
    return x[0] / 2 * (1 + np.vectorize(math.erf)(x[0] / math.sqrt(2)))


def _softmax(x: list[Array], settings: Mapping[str, Any]) -> Array:
    spread = np.exp(x[0] - x[0].max(settings["axis"], keepdims=True))
    return spread / spread.sum(settings["axis"], keepdims=True)


def _pad(x: list[Array], settings: Mapping[str, Any]) -> Array:
    widths = [*zip(settings["before"], settings["after"], strict=True)]
    return np.pad(x[0], widths, constant_values=settings["value"])


def _windows(x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Array:
    """[B, C, …] as [B, C, …out, …kernel]."""
    reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
    found = np.lib.stride_tricks.sliding_window_view(x, reach, axis=tuple(range(2, x.ndim)))
    whole = (slice(None), slice(None))
    return found[(*whole, *(slice(None, None, n) for n in stride), *(slice(None, None, n) for n in dilation))]


def _convolution(x: list[Array], settings: Mapping[str, Any]) -> Array:
    value, weight, bias = x
    padding = [(0, 0), (0, 0), *((n, n) for n in settings["padding"])]
    groups = settings["groups"]
    parts = []
    for part, kernel in zip(
        np.split(np.pad(value, padding), groups, 1), np.split(weight, groups), strict=True
    ):
        windows = _windows(part, kernel.shape[2:], settings["stride"], settings["dilation"])
        axes = len(kernel.shape) - 2
        inner = [1, *range(windows.ndim - axes, windows.ndim)]
        product = np.tensordot(windows, kernel, (inner, [1, *range(2, 2 + axes)]))
        parts.append(np.moveaxis(product, -1, 1))
    return np.concatenate(parts, 1) + bias.reshape(-1, *(1 for _ in weight.shape[2:]))


def _pool(x: list[Array], settings: Mapping[str, Any]) -> Array:
    windows = _windows(x[0], settings["kernel"], settings["stride"], [1, 1])
    return np.asarray(windows.max((-1, -2)) if settings["mode"] == "max" else windows.mean((-1, -2)))


OTHERS: Mapping[str, Callable[[list[Array], Mapping[str, Any]], Array]] = {
    "linear": lambda x, _: x[0] @ x[1].T + (x[2] if len(x) > 2 else 0),
    "matmul": lambda x, _: x[0] @ x[1],
    "softmax": _softmax,
    "gelu": _gelu,
    "elu": lambda x, settings: np.where(x[0] > 0, x[0], settings["alpha"] * np.expm1(np.minimum(x[0], 0))),
    "leaky_relu": lambda x, settings: np.where(x[0] > 0, x[0], settings["slope"] * x[0]),
    "reverse": lambda x, settings: np.flip(x[0], settings["axis"]),
    "pad": _pad,
    "convolution": _convolution,
    "pool": _pool,
}
