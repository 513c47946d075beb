"""An event loop whose timers come on time, for load that leaves the processor to what is measured."""

from __future__ import annotations

import asyncio
import select
import selectors
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

COARSE_NS = 2_000_000
"""Timers of the usual event loop come up to this much late: `epoll_wait` takes whole milliseconds."""
FINE_NS = 150_000
"""Those of `FineLoop`: Linux lets a thread sleep 50 µs longer than it asked for, and has to wake it."""


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

    def __init__(self) -> None:
        super().__init__(_FineSelector())


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `asyncio.run` does, in a `FineLoop`.

    Where the loop has to go round until it is time, that takes a core from what is measured, and threads that
    have an answer wait for the GIL meanwhile.
    """
    with asyncio.Runner(loop_factory=FineLoop) as runner:
        return runner.run(main)


@coroutine
def turn() -> Generator[None]:
    """Let the running loop go round once: what `asyncio.sleep(0)` does, for less."""
    yield


def late_ns() -> int:
    """How much late timers of the running event loop come, at most."""
    return FINE_NS if isinstance(asyncio.get_running_loop(), FineLoop) else COARSE_NS
