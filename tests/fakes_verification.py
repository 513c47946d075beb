"""A small agent written in NumPy, in float64 and as executors that are right, or wrong in one known way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, Signature, TensorSpec

Head = Literal["values", "softmax", "argmax", "binary", "continuous"]


@dataclass(frozen=True)
class Weights:
    """A tanh network with two hidden layers of 64, float64."""

    layers: tuple[tuple[Array, Array], ...]

    @classmethod
    def seeded(cls, inputs: int = 6, outputs: int = 4, seed: int = 0) -> Weights:
        rng = np.random.default_rng(seed)
        sizes = (inputs, 64, 64, outputs)
        return cls(
            tuple(
                (
                    rng.normal(size=(rows, columns)).astype(np.float32) / np.float32(np.sqrt(rows)),
                    rng.normal(size=columns).astype(np.float32) * np.float32(0.1),
                )
                for rows, columns in itertools.pairwise(sizes)
            )
        )

    def perturbed(self, relative: float, seed: int = 1) -> Weights:
        """Every weight and bias changed by up to `relative` of its size."""
        rng = np.random.default_rng(seed)
        return self._each(lambda array: array * (1 + relative * rng.uniform(-1, 1, array.shape)))

    def rounded(self, bits: int) -> Weights:
        """Weights on a symmetric grid of `bits` bits per column, as an integer quantizer puts them."""
        top = 2 ** (bits - 1) - 1

        def grid(array: Array) -> Array:
            step = np.abs(array).max(axis=0, keepdims=True) / top
            return np.rint(array / step) * step if array.ndim == 2 else array

        return self._each(grid)

    def _each(self, change) -> Weights:  # type: ignore[no-untyped-def]
        return Weights(
            tuple(
                (change(weight).astype(np.float32), change(bias).astype(np.float32))
                for weight, bias in self.layers
            )
        )


def forward(weights: Weights, x: Array, *, reverse: bool = False) -> Array:
    """The scores [B, n] in the dtype of `x`; `reverse` sums the products in the opposite order."""
    with np.errstate(all="ignore"):
        for number, (weight, bias) in enumerate(weights.layers):
            matrix, offset = weight.astype(x.dtype), bias.astype(x.dtype)
            x = (x[:, ::-1] @ matrix[::-1] if reverse else x @ matrix) + offset
            if number < len(weights.layers) - 1:
                x = np.tanh(x)
    return x


def act(head: Head, scores: Array) -> Array:
    """What the head makes of the scores."""
    with np.errstate(all="ignore"):
        match head:
            case "softmax":
                powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
                return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
            case "argmax":
                return np.asarray(scores.argmax(axis=-1))
            case "binary":
                return (scores > 0).astype(np.int8)
            case "continuous":
                return np.clip(scores, -1.0, 1.0)
            case _:
                return scores


def agent(head: Head, inputs: int = 6, outputs: int = 4) -> tuple[Signature, Contract]:
    """Signature and contract of the agent with this head."""
    spec = TensorSpec("obs", (inputs,))
    match head:
        case "argmax":
            return Signature((spec,), (TensorSpec("action", (), "int64", role="action"),)), Contract("argmax")
        case "binary":
            output = TensorSpec("action", (outputs,), "int8", role="action")
            return Signature((spec,), (output,)), Contract("binary")
        case "continuous":
            output = TensorSpec("action", (outputs,), role="action")
            bounds = (-1.0,) * outputs
            return Signature((spec,), (output,)), Contract(
                "continuous", low=bounds, high=tuple(-bound for bound in bounds)
            )
        case "softmax":
            return Signature((spec,), (TensorSpec("policy", (outputs,), role="scores"),)), Contract()
    return Signature((spec,), (TensorSpec("value", (outputs,)),)), Contract()


class NumpyExecutor(Executor):
    """The agent in float32."""

    def __init__(self, head: Head, weights: Weights, *, reverse: bool = False) -> None:
        super().__init__(*agent(head, weights.layers[0][0].shape[0], weights.layers[-1][1].shape[0]))
        self.head: Head = head
        self.weights = weights
        self.reverse = reverse

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return (act(self.head, forward(self.weights, inputs[0], reverse=self.reverse)),)


class Swallowing(NumpyExecutor):
    """Takes NaN and infinities for 0."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return super().run([np.nan_to_num(inputs[0], nan=0.0, posinf=0.0, neginf=0.0)])


class Contagious(NumpyExecutor):
    """One row with NaN spoils its whole batch."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (result,) = super().run(inputs)
        return (np.full_like(result, np.nan) if np.isnan(inputs[0]).any() else result,)


class FirstRow(NumpyExecutor):
    """Gives every row of a batch the answer of the first."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (result,) = super().run(inputs)
        return (np.repeat(result[:1], len(result), axis=0),)


class Drifting(NumpyExecutor):
    """Keeps a hidden state: each call differs from the one before in the last bits."""

    calls = 0

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        self.calls += 1
        (result,) = super().run(inputs)
        return ((result * np.float32(1 + 2.0**-22 * self.calls)).astype(result.dtype),)


class Reusing(NumpyExecutor):
    """Returns the same buffer from every call."""

    def __init__(self, head: Head, weights: Weights) -> None:
        super().__init__(head, weights)
        self._buffers: dict[int, Array] = {}

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        (result,) = super().run(inputs)
        buffer = self._buffers.setdefault(len(result), np.empty_like(result))
        buffer[...] = result
        return (buffer,)


class Writing(NumpyExecutor):
    """Normalises its input in place."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        result = super().run(inputs)
        inputs[0][...] = 0.0
        return result


class Raising(NumpyExecutor):
    """Fails on batches, as an engine with a baked-in batch size does."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        if len(inputs[0]) > 1:
            raise RuntimeError("shape '[1, 6]' is invalid for input of size 12\nand more lines")
        return super().run(inputs)


class Widening(NumpyExecutor):
    """Returns float64."""

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return tuple(result.astype(np.float64) for result in super().run(inputs))


@dataclass(frozen=True)
class NumpyReference:
    """The agent in float64, or honestly in float32."""

    head: Head
    weights: Weights
    precision: str = "float64"
    reason: str | None = None
    resolution: float = float(np.finfo(np.float32).eps)

    def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        result = act(self.head, self._scores(inputs))
        return (result.astype(np.float64) if result.dtype.kind == "f" else result,)

    def scores(self, inputs: Sequence[Array]) -> Array | None:
        return self._scores(inputs).astype(np.float64) if self.head in {"argmax", "binary"} else None

    def _scores(self, inputs: Sequence[Array]) -> Array:
        return forward(self.weights, inputs[0].astype(self.precision))

    def in_float32(self) -> NumpyReference:
        return replace(self, precision="float32", reason="the archive holds float32 constants")
