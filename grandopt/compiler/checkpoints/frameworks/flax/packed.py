"""What `flax.serialization.to_bytes` writes: MessagePack of dicts, plain values and arrays.

Arrays are MessagePack's extension 1, whose content is MessagePack again: shape, name of the dtype, bytes.
Only what such files hold is read: no other extension, and arrays of plain numbers.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from grandopt import limits
from grandopt.errors import CheckpointError
from grandopt.signature import Array

ARRAY, SCALAR = 1, 3
"""Extensions of Flax: an array, and a NumPy number, written as an array without dimensions."""

CHUNKED = "__msgpack_chunked_array__"
"""The key of a dict that stands for an array of more than a gigabyte."""

DTYPES = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32",
    "float64", "bfloat16",
)  # fmt: skip
WIDTHS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h",
    0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
"""First byte of a number to its layout."""

CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
SHORT_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
LONG_LENGTHS = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
"""First byte of bytes, extensions and text, and of lists and dicts, to the bytes of their length."""

FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


def is_tree(head: bytes) -> bool:
    """Whether a file that begins with `head` may be one: a dict whose first key is a text."""
    if len(head) > 3 and head[0] == 0xDE:
        return 0xA1 <= head[3] <= 0xBF
    return len(head) > 1 and 0x81 <= head[0] <= 0x8F and 0xA1 <= head[1] <= 0xBF


def tree(data: bytes, where: str) -> dict[str, Any]:
    """The dicts, plain values and NumPy arrays that the bytes hold.

    Arrays of bfloat16 come as float32, which holds their values exactly. Raises CheckpointError, which
    `where` begins, for bytes that are damaged, of another extension, or beyond the limits.
    """
    reader = _Reader(data, where)
    try:
        found = reader.value(0)
    except (struct.error, UnicodeDecodeError) as error:
        raise reader.damaged(str(error)) from error
    if reader.left:
        raise reader.damaged(f"{reader.left:,} bytes are left over")
    if not isinstance(found, dict):
        raise reader.damaged(f"its top is a {type(found).__name__}, no dict")
    return found


class _Reader:
    """One file, read from front to back."""

    def __init__(self, data: bytes | memoryview, where: str) -> None:
        self._data = memoryview(data)
        self._place = 0
        self._where = where
        self._count = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._data) - self._place

    def damaged(self, what: str) -> CheckpointError:
        """The error for bytes that are none of Flax."""
        return CheckpointError(f"{self._where}: is a truncated or damaged Flax file: {what}")

    def value(self, depth: int) -> Any:
        """The value that begins here."""
        self._count += 1
        if depth > limits.DEPTH or self._count > limits.VALUES:
            raise CheckpointError(
                f"{self._where}: holds more than {limits.VALUES:,} values, or {limits.DEPTH} levels of them"
            )
        kind = self._take(1)[0]
        if kind <= 0x7F:
            return kind
        if kind >= 0xE0:
            return kind - 0x100
        if kind <= 0x8F:
            return self._dict(kind & 0x0F, depth)
        if kind <= 0x9F:
            return self._list(kind & 0x0F, depth)
        if kind <= 0xBF:
            return str(self._take(kind & 0x1F), "utf-8")
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        if kind in WIDTHS:
            return struct.unpack(WIDTHS[kind], self._take(struct.calcsize(WIDTHS[kind])))[0]
        return self._long(kind, depth)

    def _long(self, kind: int, depth: int) -> Any:
        """A value whose length stands behind its first byte."""
        if kind in FIXED_EXTENSIONS:
            return self._extension(FIXED_EXTENSIONS[kind])
        if kind in LONG_LENGTHS:
            length = int.from_bytes(self._take(LONG_LENGTHS[kind]), "big")
            return self._list(length, depth) if kind <= 0xDD else self._dict(length, depth)
        if kind not in SHORT_LENGTHS:
            raise self.damaged(f"a value begins with {kind:#x}")
        length = int.from_bytes(self._take(SHORT_LENGTHS[kind]), "big")
        if kind <= 0xC6:
            return bytes(self._take(length))
        return self._extension(length) if kind <= 0xC9 else str(self._take(length), "utf-8")

    def _take(self, length: int) -> memoryview:
        if length > self.left:
            raise self.damaged(f"{length:,} bytes are said to follow, and {self.left:,} do")
        taken = self._data[self._place : self._place + length]
        self._place += length
        return taken

    def _list(self, length: int, depth: int) -> list[Any]:
        if length > self.left:
            raise self.damaged(f"a list of {length:,} in {self.left:,} bytes")
        return [self.value(depth + 1) for _ in range(length)]

    def _dict(self, length: int, depth: int) -> dict[str, Any]:
        if length > self.left:
            raise self.damaged(f"a dict of {length:,} in {self.left:,} bytes")
        found: dict[str, Any] = {}
        for _ in range(length):
            key = self.value(depth + 1)
            if not isinstance(key, str) or key in found:
                raise self.damaged(f"a key is {key!r:.40}, where each is a text of its own")
            if key == CHUNKED:
                raise CheckpointError(
                    f"{self._where}: holds an array of more than a gigabyte, written in parts"
                )
            found[key] = self.value(depth + 1)
        return found

    def _extension(self, length: int) -> Array:
        code = int.from_bytes(self._take(1), "big", signed=True)
        content = self._take(length)
        if code not in (ARRAY, SCALAR):
            raise CheckpointError(f"{self._where}: holds extension {code}, which is no array of numbers")
        parts = _Reader(content, self._where)
        found = parts.value(limits.DEPTH - 2)  # a list of a list and plain values, and nothing deeper
        match found:
            case [list(shape), str(dtype), bytes(raw)] if not parts.left:
                return self._array(shape, dtype, raw)
        raise self.damaged("an array is not its shape, its dtype and its bytes")

    def _array(self, shape: list[Any], dtype: str, raw: bytes) -> Array:
        if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in shape):
            raise self.damaged(f"an array of shape {shape!r:.60} and dtype {dtype!r:.20}")
        kind = np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")
        if len(shape) > 32 or math.prod(shape) * kind.itemsize != len(raw):
            raise self.damaged(f"an array of shape {shape!r:.60} and dtype {dtype} in {len(raw):,} bytes")
        array = np.frombuffer(raw, kind).reshape(shape)
        if dtype == "bfloat16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(kind.newbyteorder("="), copy=True)
