"""Arguments of a call, of every kind that a caller might hand over, for tests with hypothesis."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from grandopt.signature import Array, Signature, TensorSpec


class Own(np.ndarray):
    """An array of a class of the caller's."""


class Broken:
    """Says that it is an array, and fails when it is asked for it."""

    def __array__(self, *_: object, **__: object) -> Array:
        raise ValueError("the camera is gone")


def _misaligned(values: Array) -> Array:
    memory = np.zeros(values.nbytes + 1, np.uint8)
    moved = memory[1:].view(values.dtype).reshape(values.shape)
    moved[...] = values
    return moved


def _read_only(values: Array) -> Array:
    values.flags.writeable = False
    return values


CHANGES: dict[str, Callable[[Array], Any]] = {
    "as it is": lambda values: values,
    "read-only": _read_only,
    "Fortran": np.asfortranarray,
    "strided": lambda values: np.repeat(values, 2, axis=-1)[..., ::2],
    "reversed": lambda values: values[..., ::-1],
    "misaligned": _misaligned,
    "swapped": lambda values: values.astype(values.dtype.newbyteorder()),
    "own class": lambda values: values.view(Own),
    "masked": lambda values: np.ma.masked_array(values, mask=True),
    "unmasked": np.ma.masked_array,
    "float64": lambda values: values.astype(np.float64),
    "float16": lambda values: values.astype(np.float16),
    "int64": lambda values: values.astype(np.int64),
    "bool": lambda values: values.astype(bool),
    "complex": lambda values: values.astype(np.complex64),
    "object": lambda values: values.astype(object),
    "text": lambda values: values.astype("U8"),
    "list": lambda values: values.tolist(),
    "tuple": lambda values: tuple(values.tolist()),
    "tensor": lambda values: torch.from_numpy(values.copy()),
    "bfloat16": lambda values: torch.from_numpy(values.copy()).to(torch.bfloat16),
    "with gradient": lambda values: torch.from_numpy(values.astype(np.float32)).requires_grad_(True),
    "sparse": lambda values: torch.from_numpy(values.copy()).to_sparse(),
    "meta": lambda values: torch.from_numpy(values.copy()).to("meta"),
    "memory": lambda values: memoryview(np.ascontiguousarray(values)),
    "more axes": lambda values: values[np.newaxis, np.newaxis],
    "fewer axes": lambda values: values.reshape(-1),
    "shorter": lambda values: values[..., :-1],
    "no elements": lambda values: values[:0],
}
"""What is made of an array of the declared dtype."""
OTHERS: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: 1.5,
    lambda: np.float32(1),
    lambda: np.array(1, np.float32),
    lambda: "state",
    lambda: b"x" * 16,
    lambda: array.array("f", [1.0] * 4),
    lambda: [[1.0, 2.0], [3.0]],
    lambda: {"unknown": 1},
    lambda: iter([1.0]),
    Broken,
)
"""Makers of what is no array."""


def one(spec: TensorSpec) -> st.SearchStrategy[Any]:
    """Something for one input: often an array that fits, with a batch of 0 to 3 or without one."""

    def made(batch: int | None, seed: int, change: str) -> Any:
        shape = spec.shape if batch is None else (batch, *spec.shape)
        drawn = np.random.default_rng(seed).integers(0, 200, shape)
        values = np.asarray(drawn / 64 if spec.dtype.startswith("float") else drawn).astype(spec.dtype)
        return CHANGES[change](values)

    batches = st.sampled_from([None, None, 1, 1, 2, 2, 3, 0])
    changes = st.one_of(st.just("as it is"), st.sampled_from(list(CHANGES)))
    arrays = st.builds(made, batches, st.integers(0, 99), changes)
    return st.one_of(arrays, arrays, arrays, st.sampled_from(OTHERS).map(lambda make: make()))


@st.composite
def calls(draw: st.DrawFn, signature: Signature) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments: too few, as many as there are inputs, too many, a mapping."""
    values = [draw(one(spec)) for spec in signature.inputs]
    form = draw(st.sampled_from(["all"] * 8 + ["mapping", "fewer", "more", "keyword", "keywords"]))
    names = [spec.name for spec in signature.inputs]
    match form:
        case "mapping":
            return (dict(zip(names, values, strict=True)),), {}
        case "fewer":
            return tuple(values[:-1]), {}
        case "more":
            return (*values, draw(one(signature.inputs[0]))), {}
        case "keyword":
            return tuple(values[:-1]), {names[-1]: values[-1]}
        case "keywords":
            return (), dict(zip(names, values, strict=True))
    return tuple(values), {}
