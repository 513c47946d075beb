"""What any reader takes at most, and the one way in which it opens a file that somebody else made.

A limit is met before the work that it bounds begins. Each is far above what an agent of the size that this
tool is for needs; a file beyond one is refused with its value and the limit, whoever made it.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

MIB = 1 << 20

CHECKPOINT_BYTES = 2048 * MIB
CONFIG_BYTES = 1 * MIB
SAMPLES_BYTES = 2048 * MIB
REPORT_BYTES = 64 * MIB
HISTORY_BYTES = 512 * MIB
TRACE_BYTES = 2048 * MIB
TRACE_REQUESTS = 100_000_000
STATISTICS_BYTES = 64 * MIB
"""The VecNormalize pickle beside an agent."""

INFLATED_BYTES = 64 * MIB
"""What may come out of any file, however small: inflated members, and tensors larger than their storage."""

INFLATION = 20
"""How many times its own size may come out of a larger file."""

MEMBERS = 20_000
"""Members of a zip archive."""

DEPTH = 100
"""Containers, JSON values or YAML nodes inside one another."""

VALUES = 2_000_000
"""Values in a pickle or in a JSON document."""

CONTAINERS = 10_000
"""Lists, dicts and objects in a pickle that torch reads in C++, where each level of them costs stack."""

CONFIG_VALUES = 100_000
"""Values in a YAML file, each alias counted as what it stands for."""

REPETITION = 8
"""How many times the bytes of a file its tensors may come to, each name of a tensor counted."""

INPUT_ELEMENTS = 1 << 22
"""Numbers in one observation; 84 x 84 x 4 pixels are 28,224."""

CHOICES = 1 << 16
"""Values of one discrete observation or action: each is a number of the network's own input or output."""

HEADER_BYTES = 16 * MIB
"""The table of contents in front of a safetensors file."""

CODE_BYTES = 16 * MIB
"""The code of a TorchScript archive, or the graph of a `.pt2`."""

NODES = 10_000
"""Calls of operators in an ONNX graph, functions and loops unrolled."""

FOLDED_BYTES = 512 * MIB
"""What is computed of the constants of an ONNX graph before its first call."""

BETWEEN_BYTES = 1024 * MIB
"""All tensors between the operators of an ONNX graph, for as many observations as the file takes."""

STEPS = 1_000
"""Steps of a recurrent operator of an ONNX graph."""

LONGEST_SHOWN = 300
"""Characters of a path in a message."""

FIRST_CALL_S = 20.0
"""How long a network of a file that is not trusted may take for its first call."""


def inflated(size: int) -> int:
    """How many bytes may come out of a file of `size` bytes."""
    return max(INFLATED_BYTES, INFLATION * size)


def opened(path: Path, largest: int) -> BinaryIO:
    """The regular file at `path`, open for reading.

    Raises OSError, whose `strerror` says why, for anything else: a missing file, a folder, a pipe, a device,
    a file of more than `largest` bytes, and a name that the system cannot look up.
    """
    try:
        # Opening a pipe without O_NONBLOCK waits for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, f"the path is none: {error}") from error
    found = os.fstat(descriptor)
    problem: OSError | None = None
    if stat.S_ISDIR(found.st_mode):
        problem = IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    elif not stat.S_ISREG(found.st_mode):
        problem = OSError(errno.EINVAL, "it is a pipe or a device, not a file")
    elif found.st_size > largest:
        problem = OSError(errno.EFBIG, _too_much(found.st_size, largest))
    if problem is not None:
        os.close(descriptor)
        raise problem
    return os.fdopen(descriptor, "rb")


def content(path: Path, largest: int) -> bytes:
    """The bytes of the regular file at `path`; raises OSError like `opened`."""
    with opened(path, largest) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # asked for more, Python would make room for it


def text(path: Path, largest: int) -> str:
    """The UTF-8 text of the regular file at `path`; raises OSError like `opened`, or UnicodeDecodeError."""
    return content(path, largest).decode("utf-8")


def document(text: str | bytes, constant: Callable[[str], Any] | None = None) -> Any:
    """The JSON document in `text`; raises ValueError when it is none, or is nested more than DEPTH deep.

    Readers and writers of such data call themselves for each level, and the interpreter bounds how often; so
    the limit is kept here, where a document comes in, and not at each of them. `constant` is called with the
    name of a number that is none (NaN, Infinity, -Infinity), which is taken where there is no such function.
    """
    too_deep = f"is nested more than {DEPTH} levels deep"
    try:
        data: Any = json.loads(text, parse_constant=constant)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level = [data]
    for _ in range(DEPTH + 1):
        holders = [item for item in level if isinstance(item, dict | list)]
        if not holders:
            return data
        level = [inner for item in holders for inner in (item.values() if isinstance(item, dict) else item)]
    raise ValueError(too_deep)


def _too_much(size: int, largest: int) -> str:
    return f"it has {size:,} bytes, and at most {largest:,} are read"


def shortened(path: Path) -> str:
    """The path as a message shows it: on one line, which it leaves room on."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(path))
    return (
        text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN // 2]}…{text[-LONGEST_SHOWN // 2 :]}"
    )
