"""Where Python objects are allocated, on demand."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from grandopt.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Site:
    """A line of code, and what its allocations that are alive have grown by."""

    place: str
    bytes: int
    objects: int


class Trace:
    """What was allocated since the start of a `tracing` block."""

    def __init__(self) -> None:
        self._before = tracemalloc.take_snapshot()

    def growth(self, most: int = 10) -> tuple[Site, ...]:
        """The lines that have grown the most, in bytes; valid within the block.

        Raises ConfigError after the end of the block.
        """
        if not tracemalloc.is_tracing():
            raise ConfigError("allocations are no longer traced; ask within the block")
        now = tracemalloc.take_snapshot()
        ours = tracemalloc.Filter(False, tracemalloc.__file__)
        rows = now.filter_traces((ours,)).compare_to(self._before.filter_traces((ours,)), "lineno")
        grown = sorted((row for row in rows if row.size_diff > 0), key=lambda row: -row.size_diff)
        return tuple(
            Site(f"{row.traceback[0].filename}:{row.traceback[0].lineno}", row.size_diff, row.count_diff)
            for row in grown[:most]
        )


@contextmanager
def tracing(frames: int = 1) -> Iterator[Trace]:
    """Trace every allocation that Python makes within the block.

    Off by default, and for finding a leak only: code that allocates takes about three times as long, and each
    traced object costs memory. It sees Python objects and NumPy's arrays; it does not see tensors of torch,
    nor anything else that a library allocates by itself. Where allocations are traced already, they still are
    afterwards. Raises ConfigError for fewer than one frame.
    """
    if frames < 1:
        raise ConfigError(f"a trace keeps at least 1 frame, got {frames}")
    running = tracemalloc.is_tracing()
    if not running:
        _log.warning("tracing allocations: code that allocates is about 3 times slower; tensors are not seen")
        tracemalloc.start(frames)
    try:
        yield Trace()
    finally:
        if not running:
            tracemalloc.stop()
