"""Counts what a piece of work does in operations of the interpreter, which do not depend on the machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Operations:
    """`count` operations were executed on this thread, in whatever was called within `counted`."""

    def __init__(self) -> None:
        self.count = 0

    def taken(self) -> int:
        """Those since the last call."""
        count, self.count = self.count, 0
        return count

    def trace(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.count += event == "opcode"
        return self.trace


@contextmanager
def counted() -> Iterator[Operations]:
    """Operations of what is called within the block."""
    operations, before = Operations(), sys.gettrace()
    sys.settrace(operations.trace)
    try:
        yield operations
    finally:
        sys.settrace(before)
