"""An event loop whose timers come on time, for load that leaves the processor to what is measured."""

from __future__ import annotations

import asyncio
import ctypes
import select
import selectors
from collections.abc import Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

COARSE_NS = 2_000_000
"""Timers of the usual event loop come up to this much late: `epoll_wait` takes whole milliseconds."""
FINE_NS = 150_000
"""Those of `FineLoop`: Linux lets a thread sleep 50 µs longer than it asked for, and has to wake it."""
PUNCTUAL_NS = 60_000
"""The same for a thread that may not be left to sleep longer: nine of ten come 46 µs late or less."""
_SET_SLACK, _GET_SLACK = 29, 30
"""Of `prctl`, in nanoseconds: see its manual on PR_SET_TIMERSLACK."""


class _FineSelector(selectors.EpollSelector):
    """Waits by `select`, which takes microseconds, for what `epoll` then tells.

    A look without a wait is one call of `epoll`, which takes two thirds of what it takes with `select`: under
    load the loop looks once in each round.
    """

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        return super().select(timeout)


class FineLoop(asyncio.SelectorEventLoop):
    """Waits for microseconds. It has to be made before the process has opened a thousand files."""

    def __init__(self, late_ns: int = FINE_NS) -> None:
        super().__init__(_FineSelector())
        self.late_ns = late_ns
        """How much late its timers come, at most."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `asyncio.run` does, in a `FineLoop`.

    Where the loop has to go round until it is time, that takes a core from what is measured, and threads that
    have an answer wait for the GIL meanwhile.
    """
    with _punctual() as late, asyncio.Runner(loop_factory=partial(FineLoop, late)) as runner:
        return runner.run(main)


@contextmanager
def _punctual() -> Iterator[int]:
    """Let this thread sleep no longer than it asks for, where that can be had; gives how late timers come."""
    prctl = ctypes.CDLL(None).prctl
    before = prctl(_GET_SLACK, 0, 0, 0, 0)
    done = before > 0 and prctl(_SET_SLACK, ctypes.c_ulong(1), 0, 0, 0) == 0
    try:
        yield PUNCTUAL_NS if done else FINE_NS
    finally:
        if done:
            prctl(_SET_SLACK, ctypes.c_ulong(before), 0, 0, 0)


@coroutine
def turn() -> Generator[None]:
    """Let the running loop go round once: what `asyncio.sleep(0)` does, for less."""
    yield


def late_ns() -> int:
    """How much late timers of the running event loop come, at most."""
    loop = asyncio.get_running_loop()
    return loop.late_ns if isinstance(loop, FineLoop) else COARSE_NS
