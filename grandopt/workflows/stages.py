"""How long each step of one agent's job took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stages:
    """Seconds per step, in the order in which the steps began; a step done twice is summed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._start = clock()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block under `name`, also when it raises."""
        begin = self._clock()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] += self._clock() - begin

    def elapsed(self) -> float:
        """Seconds since the object was made."""
        return self._clock() - self._start
