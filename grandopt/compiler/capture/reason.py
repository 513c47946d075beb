"""Why torch's exporter refused, in one line out of its pages."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from grandopt.errors import first_line

TORCH = Path(torch.__file__).parent

_FIXED = re.compile(r"code specialized it to be a constant \((\d+)\)")
_GUARD = re.compile(r"satisfy the generated guard (.+)")
_BATCH = re.compile(r"L\[[^]]+\]\.size\(\)\[0\]")


def export_reason(error: Exception) -> str:
    """The cause of a failed `torch.export.export`, with the place in the network's code where it is known."""
    text = str(error)
    if isinstance(error, GuardOnDataDependentSymNode):
        return f"the network's control flow depends on the data{_place(error)}"
    if fixed := _FIXED.search(text):
        return f"the network's code fixes the batch size at {fixed.group(1)}"
    if guard := _GUARD.search(text):
        condition = _BATCH.sub("batch", guard.group(1))
        return (
            f"the network's control flow depends on the batch size; the graph would hold for {condition} only"
        )
    return f"{first_line(error)}{_place(error)}"


def is_torch(filename: str) -> bool:
    """Whether a source file belongs to torch, and not to the network."""
    return Path(filename).is_relative_to(TORCH)


def place(filename: str, line: int | None) -> str:
    """A place in the network's code, short enough for a message."""
    return f"{Path(filename).name}:{line}"


def _place(error: Exception) -> str:
    """The innermost `forward` of the network's own code in the traceback, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.name == "forward" and not is_torch(frame.filename)]
    return f" ({place(own[-1].filename, own[-1].lineno)})" if own else ""
