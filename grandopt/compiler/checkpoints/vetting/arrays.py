"""NumPy's arrays in pickles, made of their bytes by inert stand-ins of what such a pickle names.

Nothing of NumPy is called while a pickle is read: a stand-in keeps what it is given, and the array is made
from its bytes afterwards, of plain numbers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from grandopt import limits
from grandopt.errors import CheckpointError
from grandopt.signature import Array

NUMBER_KINDS = "biuf"


class DtypeStandIn:
    """A NumPy dtype by its text ("f8"); the byte order comes with the state."""

    text = ""

    def __init__(self, text: Any = "", *_: Any) -> None:
        self.text = str(text)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.text = f"{state[1]}{self.text.lstrip('<>|=')}"

    def numpy(self) -> np.dtype[Any]:
        """The dtype; raises ValueError unless it is one of plain numbers."""
        dtype = np.dtype(self.text)
        if dtype.kind not in NUMBER_KINDS:
            raise ValueError(f"dtype {self.text!r} is none of numbers")
        return dtype


class ArrayStandIn:
    """An array: made empty and given its state, or made from a buffer at once (pickle protocol 5)."""

    parts: tuple[Any, ...] = (None, None, False, None)

    def __init__(self, buffer: Any = None, dtype: Any = None, shape: Any = None, order: Any = "C") -> None:
        self.parts = (shape, dtype, order == "F", buffer)

    def __setstate__(self, state: Any) -> None:
        self.parts = tuple(state)[-4:]

    def only(self) -> Any:
        """The one object in an array of objects without dimensions; the array itself where it is none."""
        shape, dtype, _, raw = self.parts
        objects = isinstance(dtype, DtypeStandIn) and dtype.text.lstrip("|").startswith("O")
        return raw[0] if objects and shape == () and isinstance(raw, list) and len(raw) == 1 else self

    def array(self, where: str) -> Array:
        """The NumPy array; raises CheckpointError, `where` in front, unless it is made of plain numbers."""
        try:
            shape, dtype, fortran, raw = self.parts
            if isinstance(raw, str):  # bytes, in pickles of protocol 2
                raw = raw.encode("latin-1")
            if not isinstance(dtype, DtypeStandIn) or not isinstance(raw, bytes | bytearray):
                raise CheckpointError(f"{where}: an array in it is none of numbers")
            return np.frombuffer(raw, dtype.numpy()).reshape(shape, order="F" if fortran else "C")
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{where}: an array in it is damaged: {error}") from error


class ScalarStandIn(ArrayStandIn):
    """A NumPy number: dtype and bytes."""

    def __init__(self, dtype: Any = None, raw: Any = None) -> None:
        super().__init__(raw, dtype, ())


class ClassStandIn:
    """The class `ndarray`, which a pickle hands to what makes an array."""


CLASSES: dict[str, type] = {
    "numpy.dtype": DtypeStandIn,
    "numpy.ndarray": ClassStandIn,
    **{
        f"numpy.{core}.{name}": stand_in
        for core in ("core", "_core")
        for name, stand_in in (
            ("multiarray._reconstruct", ArrayStandIn),
            ("numeric._frombuffer", ArrayStandIn),
            ("multiarray.scalar", ScalarStandIn),
        )
    },
}
"""By what a pickle names."""


def fresh(module: str, name: str) -> type | None:
    """A class of its own for a global, so that nothing a pickle sets on it outlives the reading."""
    stand_in = CLASSES.get(f"{module}.{name}")
    return None if stand_in is None else type(name, (stand_in,), {})


def as_tensors(content: Any, held: int, where: str) -> Any:
    """The content of a pickle of `held` bytes with a tensor in the place of every array.

    Lists and dicts are changed, tuples made anew. Raises CheckpointError for arrays that are damaged or come
    to more than the limits. `tree.require_bounded` has seen the content.
    """
    arrays = _Arrays(held, where)
    box = [content]
    pending: list[Any] = [box]
    seen = {id(box)}
    while pending:
        container = pending.pop()
        items = container.items() if isinstance(container, dict) else enumerate(container)
        for key, value in list(items):
            made = arrays.replaced(value)
            if made is not value:
                container[key] = made
            for inner in _containers(made):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    pending.append(inner)
    return box[0]


def _containers(value: Any) -> Iterator[Any]:
    """The lists and dicts that can be changed, in a value or in the tuples that it is made of."""
    if isinstance(value, list | dict):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _containers(item)


class _Arrays:
    """Makes tensors of stand-ins, each once, within the limit on what arrays come to."""

    def __init__(self, held: int, where: str) -> None:
        self._where = where
        self._held = held
        self._left = limits.REPETITION * held + limits.INFLATED_BYTES
        self._made: dict[int, tuple[ArrayStandIn, torch.Tensor]] = {}

    def replaced(self, value: Any) -> Any:
        """The tensor for an array; a tuple with its arrays replaced; anything else as it is."""
        if isinstance(value, ArrayStandIn):
            if id(value) not in self._made:
                self._made[id(value)] = (value, self._tensor(value))
            return self._made[id(value)][1]
        if type(value) is tuple:
            items = tuple(self.replaced(item) for item in value)
            changed = any(new is not old for new, old in zip(items, value, strict=True))
            return items if changed else value
        return value

    def _tensor(self, stand_in: ArrayStandIn) -> torch.Tensor:
        array = stand_in.array(self._where)
        self._left -= array.nbytes
        if self._left < 0:
            raise CheckpointError(
                f"{self._where}: its arrays come to more bytes than are read from {self._held:,} bytes"
            )
        return tensor(array)


def tensor(array: Array) -> torch.Tensor:
    """A tensor of its own with the numbers of an array, in its dtype."""
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
