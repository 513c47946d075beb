"""One array from the bytes of an `.npy` file or member, without unpickling."""

from __future__ import annotations

import io
import math
import struct
import tokenize
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC = b"\x93NUMPY"

DAMAGED = (
    ValueError, EOFError, OSError, struct.error, LookupError, TypeError, OverflowError, MemoryError,
    SyntaxError, tokenize.TokenError,
)  # fmt: skip
"""What NumPy is seen to raise on damaged arrays."""

Array = npt.NDArray[Any]


def array(data: bytes) -> Array:
    """The array; raises one of DAMAGED, ValueError when its head claims another size or it holds objects."""
    dtype, shape, place = head(data)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - place:
        raise ValueError("the head of the array and its size disagree")
    found: Array = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return found


def head(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """The dtype and the shape, and where the numbers begin; raises one of DAMAGED."""
    stream = io.BytesIO(data)
    match np.lib.format.read_magic(stream):
        case (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        case (2, 0):
            shape, _, dtype = np.lib.format.read_array_header_2_0(stream)
        case version:
            raise ValueError(f"an array of version {version} is not read")
    return dtype, shape, stream.tell()
