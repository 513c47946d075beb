"""Why torch's exporter refused, in one line out of its pages."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from grandopt.errors import first_line
from grandopt.reason import Reason, ReasonCode

TORCH = Path(torch.__file__).parent
NETWORKS = ("distributions", "nn")
"""The parts of torch that are code of networks; the others are what looks at it."""

LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib"))
OURS = Path(__file__).parents[2]

_FIXED = re.compile(r"code specialized it to be a constant \((\d+)\)")
_GUARD = re.compile(r"satisfy the generated guard (.+)")
_BATCH = re.compile(r"L\[[^]]+\]\.size\(\)\[0\]")


def export_reason(error: Exception) -> Reason:
    """The cause of a failed `torch.export.export`, with the place in the network's code where it is known."""
    text = str(error)
    if isinstance(error, GuardOnDataDependentSymNode):
        words = f"the network's control flow depends on the data{_place(error)}"
        return Reason(ReasonCode.DATA_DEPENDENT, words)
    if fixed := _FIXED.search(text):
        words = f"the network's code fixes the batch size at {fixed.group(1)}"
        return Reason(ReasonCode.FIXED_BATCH, words)
    if guard := _GUARD.search(text):
        condition = _BATCH.sub("batch", guard.group(1))
        words = "the network's control flow depends on the batch size; the graph would hold for"
        return Reason(ReasonCode.FIXED_BATCH, f"{words} {condition} only")
    return Reason(ReasonCode.NOT_EXPORTED, f"{first_line(error)}{_place(error)}")


def is_torch(filename: str) -> bool:
    """Whether a source file belongs to torch, and not to the network."""
    return Path(filename).is_relative_to(TORCH)


def place(filename: str, line: int | None) -> str:
    """A place in the network's code, short enough for a message."""
    return f"{Path(filename).name}:{line}"


def _place(error: Exception) -> str:
    """Where the network's code was, innermost, and whose code that is where it is a library's; or nothing."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if _is_network(Path(frame.filename))
    ]
    if not frames:
        return ""
    inner, library = frames[-1], _library(Path(frames[-1].filename))
    if library is None:
        return f" ({place(inner.filename, inner.lineno)})"
    within = f"within {library}, {place(inner.filename, inner.lineno)}"
    own = [frame for frame in frames if _library(Path(frame.filename)) is None]
    return f" ({place(own[-1].filename, own[-1].lineno)}, {within})" if own else f" ({within})"


def _is_network(file: Path) -> bool:
    """Whether a file is code that a network consists of, and not what captures it."""
    if file.is_relative_to(TORCH):
        return file.relative_to(TORCH).parts[0] in NETWORKS and file.name != "module.py"
    return file.suffix == ".py" and not file.is_relative_to(OURS) and not _is_standard(file)


def _is_standard(file: Path) -> bool:
    return file.is_relative_to(LIBRARIES[-1]) and _library_folder(file) is None


def _library_folder(file: Path) -> Path | None:
    return next((folder for folder in LIBRARIES[:-1] if file.is_relative_to(folder)), None)


def _library(file: Path) -> str | None:
    """The name of the library that a file belongs to; None for the user's own."""
    if file.is_relative_to(TORCH):
        return f"torch.{file.relative_to(TORCH).parts[0]}"
    folder = _library_folder(file)
    return None if folder is None else file.relative_to(folder).parts[0].removesuffix(".py")
