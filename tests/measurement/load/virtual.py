"""An event loop whose time passes only where somebody waits: a second of load takes a moment, and always the
same course."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from functools import partial
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

ROUND_S = 5e-6
"""What one round of the loop takes, unless it is said."""

OBSERVATIONS = [np.full(3, place, np.float32) for place in range(256)]


class VirtualLoop(asyncio.SelectorEventLoop):
    """Waiting for a timer moves the time there at once; every round moves it by `round_s`."""

    def __init__(self, round_s: float = ROUND_S) -> None:
        self.now = 1000.0
        self.round_s = round_s
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now

    def clock(self) -> int:
        return round(self.now * 1e9)

    def work(self, seconds: float) -> None:
        """Let something take time without giving the loop a turn."""
        self.now += seconds


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing is left that could happen"
        self._loop.now += max(timeout, self._loop.round_s)
        return []  # nothing comes from outside


def virtually(main: Coroutine[Any, Any, T], round_s: float = ROUND_S) -> T:
    """Run a coroutine in virtual time, and see that it leaves no task behind."""
    with asyncio.Runner(loop_factory=partial(VirtualLoop, round_s)) as runner:

        async def whole() -> T:
            result = await main
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        return runner.run(whole())


def loop() -> VirtualLoop:
    """The loop that runs."""
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


class Server:
    """Answers one request after the other, in the order in which they come, after `seconds` each."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.free = 0.0
        self.at_once = self.most = 0

    async def infer(self, observation: Any, priority: int, deadline_ns: int) -> Any:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.free = max(self.free, loop().now) + self.seconds
        try:
            await asyncio.sleep(self.free - loop().now)
        finally:
            self.at_once -= 1
        return observation
