"""Request streams that caches are compared on, as other projects publish them: one key per request."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zstandard

from grandopt.errors import InputError, first_line

_UNPACK: dict[str, Callable[[Path], bytes]] = {
    ".gz": lambda path: gzip.decompress(path.read_bytes()),
    ".xz": lambda path: lzma.decompress(path.read_bytes()),
    ".zst": lambda path: zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read(),
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
        data = _UNPACK.get(path.suffix, Path.read_bytes)(path)
    except (OSError, EOFError, lzma.LZMAError, zstandard.ZstdError) as error:
        raise InputError(f"{path}: cannot be read as a trace ({first_line(error)})") from error
    if not data:
        raise InputError(f"{path}: an empty file is no trace")
    if _TEXT.issuperset(data[:4096]):
        return _text(path, data)
    return _integers(path, data)


def _text(path: Path, data: bytes) -> list[int]:
    keys: list[int] = []
    for number, line in enumerate(data.splitlines(), start=1):
        words = line.split()
        try:
            if len(words) == 4:
                start = int(words[0])
                keys.extend(range(start, start + int(words[1])))
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
