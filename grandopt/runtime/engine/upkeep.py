"""The garbage collector beside a service: what is loaded is frozen, and idle moments are used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from grandopt.runtime.memory.collector import Collector, CollectorStats

EVERY_S = 1.0
"""How often is asked whether there is something to collect."""
QUIET_S = 0.01
"""How long nobody may have asked anything: that nothing waits is so between any two requests of a busy
service, too, and a collection of milliseconds then holds up all that come meanwhile."""
TRIES = 8
"""How many such times in a row are looked at before the next second is waited for."""


class Upkeep:
    """Keeps Python's garbage collection out of the way of requests, from `begin` to `end`.

    Once in a second, if there is something to collect, a moment is looked for in which nothing waits or is
    computed (`idle` says so) and nothing was asked for a while (`ended`, the number of requests that came to
    an end, stands still). It is expected to last as long as it has lasted already, and a collection that
    takes longer is left to the next. Where there is none, Python collects by itself, though rarely. It
    belongs to the event loop that began it.
    """

    def __init__(
        self,
        idle: Callable[[], bool],
        ended: Callable[[], int],
        *,
        every_s: float = EVERY_S,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._idle, self._ended = idle, ended
        self._every_s, self._quiet_s = every_s, quiet_s
        self.collector = Collector()
        """What collects, and is tuned."""
        self._timer: asyncio.TimerHandle | None = None
        self._loaded = False
        self._seen, self._since = -1, 0.0

    def begin(self) -> None:
        """Collect once, freeze what is there, and look for idle moments from now on."""
        self.collector.__enter__()
        self._after(self._every_s, self._look)

    def loaded(self) -> None:
        """Freeze what was loaded since as well, once nothing waits: it takes milliseconds."""
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

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _look(self) -> None:
        if self._loaded and self._idle():
            self._loaded = False
            self.collector.freeze()
        elif self.collector.due:
            self._quiet(TRIES)
            return
        self._after(self._every_s, self._look)

    def _quiet(self, tries: int) -> None:
        """Collect if nobody has asked for long enough, else look again after that time."""
        now, ended = asyncio.get_running_loop().time(), self._ended()
        if ended != self._seen:
            self._seen, self._since = ended, now
        lasted = now - self._since
        if lasted >= self._quiet_s and self._idle():
            self.collector.idle(lasted)
        elif tries:
            self._after(self._quiet_s, partial(self._quiet, tries - 1))
            return
        self._after(self._every_s, self._look)
