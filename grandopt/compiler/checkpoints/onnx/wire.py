"""The encoding of protocol buffers, as far as ONNX needs it: fields one after the other, within limits."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from grandopt import limits
from grandopt.errors import CheckpointError
from grandopt.signature import Array

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
WIDTHS = {FIXED64: 8, FIXED32: 4}
LONGEST_VARINT = 10

MODEL_FIELDS = {
    1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES, 14: BYTES, 20: BYTES,
    25: BYTES, 26: BYTES,
}  # fmt: skip
GRAPH_FIELD = 7
"""The fields of an ONNX model, and the one that holds its graph."""

Field = tuple[int, int, int, memoryview]
"""Number, kind, the value of a varint, the bytes of any other."""


class Wire:
    """The messages of one file; `where` begins every refusal.

    Not for several threads: it counts what it has read of the file.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._count = 0

    def damaged(self, what: str) -> CheckpointError:
        """The error for a file that is none."""
        return CheckpointError(f"{self.where}: is a truncated or damaged ONNX file: {what}")

    def fields(self, data: memoryview, depth: int = 0) -> Iterator[Field]:
        """The fields of one message; raises CheckpointError where the bytes are none or beyond the limits."""
        if depth > limits.DEPTH:
            raise CheckpointError(f"{self.where}: holds messages more than {limits.DEPTH} levels deep")
        place, end = 0, len(data)
        while place < end:
            self._count += 1
            if self._count > limits.VALUES:
                raise CheckpointError(f"{self.where}: holds more than {limits.VALUES:,} values")
            tag, place = self._varint(data, place)
            number, kind = tag >> 3, tag & 7
            value, size = 0, WIDTHS.get(kind, 0)
            if kind == VARINT:
                value, place = self._varint(data, place)
            elif kind == BYTES:
                size, place = self._varint(data, place)
            elif kind not in WIDTHS:
                raise self.damaged(f"a field of kind {kind}")
            if size > end - place:
                raise self.damaged(f"a field of {size:,} bytes where {end - place:,} are left")
            yield number, kind, value, data[place : place + size]
            place += size

    def _varint(self, data: memoryview, place: int) -> tuple[int, int]:
        value = shift = 0
        for byte in data[place : place + LONGEST_VARINT]:
            place += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), place
            shift += 7
        raise self.damaged("a number without an end")

    def integers(self, field: Field) -> list[int]:
        """The signed numbers of a field that may be packed."""
        _, kind, value, data = field
        if kind == VARINT:
            return [signed(value)]
        found, place = [], 0
        while place < len(data):
            value, place = self._varint(data, place)
            found.append(signed(value))
        return found

    def floats(self, field: Field, dtype: str) -> Array:
        """The numbers of a field of floats that may be packed; `dtype` is "<f4" or "<f8"."""
        data = field[3]
        if len(data) % np.dtype(dtype).itemsize:
            raise self.damaged("a list of numbers that ends within one")
        return np.frombuffer(data, dtype)

    def text(self, field: Field) -> str:
        """The UTF-8 text of a field."""
        try:
            return bytes(field[3]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged("a name that is no text") from error

    def single(self, field: Field) -> float:
        """A float32."""
        if len(field[3]) != 4:
            raise self.damaged("a number of another size")
        return float(struct.unpack("<f", field[3])[0])


def signed(value: int) -> int:
    """The number that 64 bits stand for in two's complement."""
    return value - 2**64 if value >= 2**63 else value


def is_model(head: bytes, size: int, path: Path) -> bool:
    """Whether a file of `size` bytes that begins with `head` is an ONNX model, whole or not: ONNX has no sign
    of its own, so its fields are looked at up to the graph, or as far as `head` goes."""
    wire = Wire(str(path))
    data = memoryview(head)
    place, seen = 0, 0
    try:
        while place < len(data):
            tag, place = wire._varint(data, place)
            number, kind = tag >> 3, tag & 7
            if MODEL_FIELDS.get(number) != kind:
                return False
            if number == GRAPH_FIELD:
                return True
            length, place = wire._varint(data, place)
            place += length if kind == BYTES else 0
            if place > size:
                return False
            seen += 1
    except CheckpointError:
        return seen > 1
    return seen > 1
