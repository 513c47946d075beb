"""Values as bytes and back, without pickle: what is read from a cache can never run code.

A value is written as a tree of one-byte tags, lengths and contents, little-endian. Array contents begin at a
multiple of ALIGNMENT bytes from the start, so that they are used where they lie.

    N | T | F                      None, True, False
    i length digits                int, in hexadecimal (no limit, unlike decimal text)
    f 8 bytes                      float
    s | b length bytes             str in UTF-8, bytes
    ( | [ count values…            tuple, list
    { count (key value)…           dict with keys of any of the scalar types
    a dtype shape padding bytes    NumPy array or scalar (shape "()"), C order
    t dtype shape padding bytes    torch tensor on the CPU
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from grandopt.errors import CacheError, first_line

VERSION = 1
"""First byte of every encoded value."""
ALIGNMENT = 16
"""Bytes; what memory allocators promise, and wider than any element."""
DEPTH = 32
"""Containers within containers, at most."""
SCALARS = (type(None), bool, int, float, str, bytes)
"""Types of values that nobody can change, beside NumPy's."""
LAYOUTS = 1024
"""Headers of arrays that are remembered, at most."""
_LENGTH = struct.Struct("<I")
_FLOAT = struct.Struct("<d")
_ORDERS: tuple[Literal["<", ">"], ...] = ("<", ">")
_DTYPES = {
    dtype.newbyteorder(order).str: dtype.newbyteorder(order)
    for dtype in map(np.dtype, "?bBhHiIlLqQefdFD")
    for order in _ORDERS
}
"""What arrays may hold, by `dtype.str`: looked up, because NumPy's own reading of a dtype parses Python."""


class _Layout(NamedTuple):
    """Where the contents of an array with a certain header lie."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int
    end: int


_LAYOUTS: dict[bytes, _Layout] = {}


def encode(value: Any) -> bytes:
    """`value` as bytes: None, bool, int, float, str, bytes, NumPy arrays and scalars, torch tensors, and
    tuples, lists and dicts of them.

    Raises CacheError, with the type and the place within the value, for anything else.
    """
    out = bytearray([VERSION])
    _write(out, value, "value", 0)
    return bytes(out)


def decode(data: bytes) -> Any:
    """The value whose bytes these are. Arrays are read-only views of `data`; tensors are copies.

    Raises CacheError when they are not the bytes of a value, or of a newer version.
    """
    if data[1:2] == b"a":
        # A single array, which is what agents answer: headers that were read before are not parsed again.
        known = _LAYOUTS.get(data[: _header(data)])
        if known is not None and known.end == len(data):
            return np.ndarray(known.shape, known.dtype, data, known.start)
    if not data or data[0] != VERSION:
        raise CacheError(
            f"cached value of format {data[0] if data else 'none'}, this grandopt reads {VERSION}"
        )
    reader = _Reader(data)
    try:
        value = reader.value(0)
    except (
        struct.error,
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        RuntimeError,
        ImportError,
    ) as error:
        raise CacheError(f"cached value is damaged: {first_line(error)}") from error
    if reader.position != len(data):
        raise CacheError(f"cached value is damaged: {len(data) - reader.position} bytes too many")
    if type(value) is np.ndarray and len(_LAYOUTS) < LAYOUTS:
        start = len(data) - value.nbytes
        _LAYOUTS[data[: _header(data)]] = _Layout(value.dtype, value.shape, start, len(data))
    return value


def _header(data: bytes) -> int:
    """Where the header of a single array ends; anything for bytes that are none."""
    if len(data) < 3 or len(data) < 4 + data[2]:
        return 0
    return 4 + data[2] + data[3 + data[2]]


def contents_of(data: bytes) -> int:
    """Where the contents of a single array or tensor begin; 0 for other values."""
    if data[1:2] not in (b"a", b"t"):
        return 0
    end = _header(data)
    return end + -end % ALIGNMENT


def _write(out: bytearray, value: Any, place: str, depth: int) -> None:
    if depth > DEPTH:
        raise CacheError(f"{place}: more than {DEPTH} containers within each other cannot be cached")
    kind = type(value)
    write = _WRITERS.get(kind)
    if write is not None:
        write(out, value)
    elif kind is tuple or kind is list:
        out += b"(" if kind is tuple else b"["
        out += _LENGTH.pack(len(value))
        for number, item in enumerate(value):
            _write(out, item, f"{place}[{number}]", depth + 1)
    elif kind is dict:
        out += b"{" + _LENGTH.pack(len(value))
        for key, item in value.items():
            if type(key) not in _WRITERS:
                raise CacheError(f"{place}: a key of type {type(key).__name__} cannot be cached")
            _write(out, key, place, depth + 1)
            _write(out, item, f"{place}[{key!r}]", depth + 1)
    elif isinstance(value, (np.ndarray, np.generic)) and kind.__module__ == "numpy":
        _write_array(out, b"a", np.asarray(value), value.dtype.str, isinstance(value, np.generic), place)
    elif kind.__module__ == "torch" and kind.__name__ == "Tensor":
        _write_tensor(out, value, place)
    else:
        raise CacheError(
            f"{place}: a {kind.__module__}.{kind.__qualname__} cannot be cached; return arrays, tensors, "
            f"scalars, bytes, or tuples, lists and dicts of them"
        )


def _write_int(out: bytearray, value: int) -> None:
    digits = f"{value:x}".encode()
    out += b"i" + _LENGTH.pack(len(digits)) + digits


def _write_text(out: bytearray, value: str) -> None:
    content = value.encode("utf-8", "surrogatepass")
    out += b"s" + _LENGTH.pack(len(content)) + content


def _write_bytes(out: bytearray, value: bytes) -> None:
    out += b"b" + _LENGTH.pack(len(value)) + value


def _write_tag(tag: bytes) -> Callable[[bytearray, Any], None]:
    def write(out: bytearray, value: Any) -> None:
        out += tag

    return write


def _write_bool(out: bytearray, value: bool) -> None:
    out += b"T" if value else b"F"


def _write_float(out: bytearray, value: float) -> None:
    out += b"f" + _FLOAT.pack(value)


_WRITERS: dict[type, Callable[[bytearray, Any], None]] = {
    type(None): _write_tag(b"N"),
    bool: _write_bool,
    int: _write_int,
    float: _write_float,
    str: _write_text,
    bytes: _write_bytes,
}


def _write_array(
    out: bytearray, tag: bytes, array: np.ndarray[Any, Any], dtype: str, scalar: bool, place: str
) -> None:
    if array.dtype.str not in _DTYPES:
        raise CacheError(f"{place}: an array of dtype {array.dtype} cannot be cached; convert it to numbers")
    shape = "()" if scalar else ",".join(map(str, array.shape))
    out += tag
    for text in (dtype.encode(), shape.encode()):
        out += bytes([len(text)]) + text
    out += bytes(-len(out) % ALIGNMENT)
    out += array.tobytes()


def _write_tensor(out: bytearray, tensor: Any, place: str) -> None:
    torch = importlib.import_module("torch")
    if tensor.device.type != "cpu" or tensor.layout != torch.strided:
        raise CacheError(
            f"{place}: a tensor on {tensor.device}, {tensor.layout}, cannot be cached; move it to the CPU"
        )
    plain = tensor.detach().contiguous()
    mark = ""
    if tensor.dtype == torch.bfloat16:  # NumPy has no such type: the same bits as whole numbers
        plain, mark = plain.view(torch.int16), "bf16"
    array = plain.numpy()
    _write_array(out, b"t", array, mark + array.dtype.str, False, place)


class _Reader:
    """Reads one value after another from bytes that may be damaged."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 1

    def value(self, depth: int) -> Any:
        """The next value."""
        if depth > DEPTH:
            raise ValueError(f"more than {DEPTH} containers within each other")
        tag = self._take(1)
        match tag:
            case b"N":
                return None
            case b"T" | b"F":
                return tag == b"T"
            case b"i":
                return int(self._take(self._length()), 16)
            case b"f":
                return _FLOAT.unpack(self._take(_FLOAT.size))[0]
            case b"s":
                return self._take(self._length()).decode("utf-8", "surrogatepass")
            case b"b":
                return self._take(self._length())
            case b"(":
                return tuple(self.value(depth + 1) for _ in range(self._length()))
            case b"[":
                return [self.value(depth + 1) for _ in range(self._length())]
            case b"{":
                return {self.value(depth + 1): self.value(depth + 1) for _ in range(self._length())}
            case b"a":
                return self._array()
            case b"t":
                return self._tensor()
        raise ValueError(f"unknown tag {tag!r} at byte {self.position - 1}")

    def _array(self) -> Any:
        dtype, shape = self._text(), self._text()
        array = self._elements(_DTYPES[dtype], shape)
        return array[()] if shape == "()" else array

    def _tensor(self) -> Any:
        torch = importlib.import_module("torch")
        name, shape = self._text(), self._text()
        tensor = torch.from_numpy(self._elements(_DTYPES[name.removeprefix("bf16")], shape).copy())
        return tensor.view(torch.bfloat16) if name.startswith("bf16") else tensor

    def _elements(self, dtype: np.dtype[Any], shape: str) -> np.ndarray[Any, Any]:
        sizes = tuple(int(size) for size in shape.split(",") if size not in ("", "()"))
        self._skip(-self.position % ALIGNMENT)
        count = 1
        for size in sizes:
            if size < 0:
                raise ValueError(f"shape {shape}")
            count *= size
        start = self.position
        self._skip(count * dtype.itemsize)
        return np.frombuffer(self._data, dtype, count, start).reshape(sizes)

    def _text(self) -> str:
        return self._take(self._take(1)[0]).decode("ascii")

    def _length(self) -> int:
        length: int = _LENGTH.unpack(self._take(_LENGTH.size))[0]
        return length

    def _take(self, count: int) -> bytes:
        start = self.position
        self._skip(count)
        return self._data[start : self.position]

    def _skip(self, count: int) -> None:
        if self.position + count > len(self._data):
            raise ValueError(f"ends at byte {len(self._data)}, {self.position + count} were announced")
        self.position += count
