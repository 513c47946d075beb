"""The garbage collector beside a service: what is loaded is frozen, and idle moments are used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from grandopt.runtime.memory.collector import Collector, CollectorStats

EVERY_S = 1.0
"""How often an idle moment is looked for."""


class Upkeep:
    """Keeps Python's garbage collection out of the way of requests, from `begin` to `end`.

    Once in a second, if nothing waits or is computed (`idle` says so), garbage is collected. It belongs to
    the event loop that began it.
    """

    def __init__(self, idle: Callable[[], bool]) -> None:
        self._idle = idle
        self.collector = Collector()
        """What collects, and is tuned."""
        self._timer: asyncio.TimerHandle | None = None
        self._loaded = False

    def begin(self) -> None:
        """Collect once, freeze what is there, and look for idle moments from now on."""
        self.collector.__enter__()
        self._wait()

    def loaded(self) -> None:
        """Freeze what was loaded since as well, in the next idle moment: it takes milliseconds."""
        self._loaded = True

    def end(self) -> None:
        """Put the collector back as it was."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.collector.__exit__(None, None, None)

    def stats(self) -> CollectorStats:
        """What was collected when."""
        return self.collector.stats()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def _look(self) -> None:
        if self._idle():
            if self._loaded:
                self._loaded = False
                self.collector.freeze()
            else:
                self.collector.idle()
        self._wait()
