"""Request streams that caches are compared on, as other projects publish them: one key per request."""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import zstandard

from grandopt import limits
from grandopt.errors import InputError, first_line


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""


_UNPACK: dict[str, Callable[[BinaryIO], Readable]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".xz": lzma.LZMAFile,
    ".zst": lambda file: zstandard.ZstdDecompressor().stream_reader(file),
}
_TEXT = frozenset(b"0123456789-* \t\r\n")


def read_trace(path: Path) -> list[int]:
    """The keys of a trace, in the order of its requests.

    Understood are, plain or compressed (.gz, .xz, .zst): text with one decimal key a line, where blank lines
    and `*` mean nothing (LIRS); text with `start count ignored number` a line, which stands for the keys
    start … start+count-1 (ARC); and big-endian integers of 32 bits (not negative) or of 64 bits.
    Raises InputError for others.
    """
    try:
        with limits.opened(path, limits.TRACE_BYTES) as file:
            unpacked = _UNPACK.get(path.suffix, _plain)(file)
            data = unpacked.read(limits.TRACE_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise InputError(f"{limits.shortened(path)}: cannot be read as a trace ({reason})") from error
    if len(data) > limits.TRACE_BYTES:
        raise InputError(
            f"{path}: comes to more than {limits.TRACE_BYTES:,} bytes, which is the most that is read"
        )
    if not data:
        raise InputError(f"{path}: an empty file is no trace")
    if _TEXT.issuperset(data[:4096]):
        return _text(path, data)
    return _integers(path, data)


def _plain(file: BinaryIO) -> Readable:
    return file


def _text(path: Path, data: bytes) -> list[int]:
    keys: list[int] = []
    for number, line in enumerate(data.splitlines(), start=1):
        words = line.split()
        try:
            if len(words) == 4:
                start = int(words[0])
                count = int(words[1])
                if len(keys) + count > limits.TRACE_REQUESTS:
                    raise ValueError(f"more than {limits.TRACE_REQUESTS:,} requests")
                keys.extend(range(start, start + count))
            elif len(words) == 1 and words != [b"*"]:
                keys.append(int(words[0]))
            elif len(words) not in (0, 1):
                raise ValueError("neither one word nor four")
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {line[:40]!r} is no request") from error
    return keys


def _integers(path: Path, data: bytes) -> list[int]:
    """Numbers of 32 bits are identifiers, and not negative; what looks otherwise is halves of 64 bits."""
    if len(data) % 4:
        raise InputError(f"{path}: {len(data)} bytes are neither text nor integers of 32 or 64 bits")
    words = np.frombuffer(data, ">i4")
    if len(words) % 2 == 0 and (bool((words < 0).any()) or not words[0::2].any()):
        return [int(key) for key in np.frombuffer(data, ">i8")]
    return [int(key) for key in words]
