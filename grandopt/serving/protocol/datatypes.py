"""The protocol's datatypes, and NumPy's."""

from __future__ import annotations

import numpy as np

from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.signature import Array

DTYPES: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Those with a dtype; BF16 has none, and BYTES are texts of any length. Raw bytes are little-endian."""

NAMES: dict[str, str] = {dtype.name: name for name, dtype in DTYPES.items()}
"""The datatype of each dtype's name."""

BYTES = "BYTES"
LENGTH = 4
"""Bytes of the little-endian length before each element of BYTES."""
MOST_ELEMENTS = 1 << 48
"""More than any tensor has, and few enough for every array of them."""


def datatype_of(dtype: str) -> str:
    """The protocol's name of a dtype of a signature, such as FP32 for float32."""
    return NAMES[dtype]


def element_count(shape: tuple[int, ...], name: str) -> int:
    """Elements of an input; raises ProtocolError for sizes that no tensor has, empty ones included."""
    count = bound = 1
    for size in shape:
        count *= size
        bound *= size or 1  # NumPy counts so, too: it takes no [0, 2**40, 2**40]
    if bound > MOST_ELEMENTS:
        raise ProtocolError(
            Code.INVALID,
            f"input {name!r:.80}: shape {list(shape)!s:.80} is larger than any tensor, which has at most "
            f"{MOST_ELEMENTS} elements",
        )
    return count


def from_raw(raw: bytes | memoryview, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    """The tensor that raw little-endian bytes are, as a view of them.

    Raises ProtocolError for a datatype without dtype, and where the bytes are not as many as the shape says.
    """
    dtype = DTYPES.get(datatype)
    if dtype is None:
        known = ", ".join(DTYPES)
        raise ProtocolError(Code.INVALID, f"input {name!r}: datatype {datatype!r:.40} is none of {known}")
    wanted = dtype.itemsize * element_count(shape, name)
    if len(raw) != wanted:
        raise ProtocolError(
            Code.INVALID,
            f"input {name!r}: {list(shape)} of {datatype} takes {wanted} bytes, got {len(raw)}",
        )
    return np.frombuffer(raw, dtype).reshape(shape)


def bytes_to_raw(elements: Array) -> bytes:
    """An array of bytes objects as the protocol sends it: each with its length before it, in row-major
    order."""
    return b"".join(len(one).to_bytes(LENGTH, "little") + one for one in elements.ravel())
