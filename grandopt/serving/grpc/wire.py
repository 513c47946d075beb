"""Protocol buffers' wire format: numbers, and the fields of a message."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from grandopt.serving.protocol.errors import Code, ProtocolError
from grandopt.signature import Array

VARINT, EIGHT, BYTES, FOUR = 0, 1, 2, 5
"""The wire types that are used: how long a value is."""

LONGEST_VARINT = 10
MAX_FIELDS = 8_192
"""Of one message: what a client may make the server walk through, one at a time."""

Value = int | bytes


def malformed(why: str) -> ProtocolError:
    """The refusal of bytes that are no message."""
    return ProtocolError(Code.INVALID, f"the request is no message of the protocol: {why}")


def varint(number: int) -> bytes:
    """A number as it is sent; negative ones take ten bytes."""
    if 0 <= number < 128:
        return bytes((number,))
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where it ends. Raises ProtocolError if there is none."""
    number = shift = 0
    for end in range(at, min(at + LONGEST_VARINT, len(data))):
        byte = data[end]
        number |= (byte & 127) << shift
        if byte < 128:
            return number & 0xFFFF_FFFF_FFFF_FFFF, end + 1
        shift += 7
    raise malformed("it ends within a number" if len(data) - at < LONGEST_VARINT else "a number is too long")


def signed(number: int) -> int:
    """A number of 64 bits as the signed one that it stands for."""
    return number - (1 << 64) if number >> 63 else number


def fields(data: bytes, limit: int = MAX_FIELDS) -> Iterator[tuple[int, int, Value]]:
    """Number, wire type and value of each field in turn, at most `limit`.

    Raises ProtocolError where the bytes are no message.
    """
    at, size = 0, len(data)
    for _ in range(limit):
        if at >= size:
            return
        tag = data[at]
        if tag < 128:
            at += 1
        else:
            tag, at = read_varint(data, at)
        if tag < 8 or tag >> 32:
            raise malformed(f"field number {tag >> 3}")
        kind = tag & 7
        if kind == BYTES:
            length = data[at] if at < size else 128
            if length < 128:
                at += 1
            else:
                length, at = read_varint(data, at)
            end = at + length
        elif kind == VARINT:
            number, at = read_varint(data, at)
            yield tag >> 3, kind, number
            continue
        elif kind in (EIGHT, FOUR):
            end = at + (8 if kind == EIGHT else 4)
        else:
            raise malformed(f"wire type {kind}")
        if end > size:
            raise malformed("it ends within a field")
        yield tag >> 3, kind, data[at:end]
        at = end
    if at < size:
        raise malformed(f"more than {limit} fields")


def field(number: int, payload: bytes) -> bytes:
    """A field whose value has a length."""
    return varint(number << 3 | BYTES) + varint(len(payload)) + payload


def text(value: Value) -> str:
    """A field's value as text. Raises ProtocolError unless it is one."""
    if isinstance(value, int):
        raise malformed("a number stands where a text belongs")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise malformed("a text is not UTF-8") from error


def varints(packed: bytes) -> Array:
    """All numbers [n] of a packed field, uint64. Raises ProtocolError where the bytes are none."""
    found = np.frombuffer(packed, np.uint8)
    ends = np.flatnonzero(found < 128)
    if len(found) and (not len(ends) or ends[-1] != len(found) - 1):
        raise malformed("it ends within a number")
    starts = np.concatenate((ends[:1] * 0, ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max(initial=0))
    if longest > LONGEST_VARINT:
        raise malformed("a number is too long")
    numbers = np.zeros(len(ends), np.uint64)
    for place in range(longest):
        has = lengths > place
        numbers[has] |= (found[starts[has] + place] & 127).astype(np.uint64) << np.uint64(7 * place)
    return numbers
