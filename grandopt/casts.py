"""What a caller gave as an input, as an array of the dtype that the agent takes, if no value is lost.

Whole numbers (and booleans) go into any dtype of numbers that has every one of the given values, whatever the
dtypes; a float dtype has a whole number if it has it exactly. Floats go into floats and are rounded, but a
finite number does not become infinite. Floats never become whole numbers, and numbers never booleans.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandopt.errors import SignatureError, first_line

Array = NDArray[Any]
NUMBERS = "biuf"
"""Kinds of dtypes that hold numbers."""
READ_ERRORS = (TypeError, ValueError, RuntimeError, OverflowError)
"""What a value raises that cannot be made an array."""


def as_array(name: str, value: Any) -> Array:
    """`value` as an array, whatever it is; raises SignatureError, which names the input, when it is none."""
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise SignatureError(f"{name}: has masked values, which an agent cannot see; fill them first")
        return np.asarray(value.data)
    try:
        array = np.asarray(value)
    except READ_ERRORS as error:
        raise SignatureError(f"{name}: cannot be read as an array: {first_line(error)}") from error
    if array.dtype.kind not in NUMBERS:
        raise SignatureError(f"{name}: holds {array.dtype}, an agent takes numbers; convert it yourself")
    return array


def converted(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    """`array` in `dtype`, C-contiguous; raises SignatureError, with the value, where one would be lost."""
    source = array.dtype
    fits = source.kind in ("biuf" if dtype.kind == "f" else "b" if dtype.kind == "b" else "biu")
    if not fits:
        raise SignatureError(
            f"{name}: expected dtype {dtype}, got {source}, which does not convert without loss; convert it "
            f"yourself"
        )
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        result: Array = np.ascontiguousarray(array, dtype=dtype)
    lost = _lost(array, result)
    if lost is not None:
        raise SignatureError(
            f"{name}: the value {array.flat[lost]!s} of dtype {source} is none of dtype {dtype}; convert it "
            f"yourself if that is meant"
        )
    return result


def _lost(array: Array, result: Array) -> int | None:
    """The place of the first value that `result` does not have, None if it has all."""
    source, dtype = array.dtype, result.dtype
    if not array.size:
        return None
    if source.kind != "f" and dtype.kind == "f":
        return _inexact(array, result)
    if np.can_cast(source, dtype, casting="safe"):
        return None
    if source.kind == "f":
        return _first(np.isinf(result) & np.isfinite(array))
    limits = np.iinfo(dtype)
    # In whole numbers of Python, because NumPy's comparisons of signed with unsigned ones differ by version.
    if int(array.min()) >= limits.min and int(array.max()) <= limits.max:
        return None
    return next(i for i, item in enumerate(array.flat) if not limits.min <= int(item) <= limits.max)


def _inexact(array: Array, result: Array) -> int | None:
    """The same for whole numbers as floats: up to the width of the mantissa all are exact."""
    exact = 1 << (np.finfo(result.dtype).nmant + 1)
    if int(array.min()) >= -exact and int(array.max()) <= exact:
        return None
    for place, (item, number) in enumerate(zip(array.flat, result.flat, strict=True)):
        if not np.isfinite(number) or int(number) != int(item):
            return place
    return None


def _first(found: Array) -> int | None:
    places = np.flatnonzero(found)
    return int(places[0]) if places.size else None
