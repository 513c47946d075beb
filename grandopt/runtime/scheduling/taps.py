"""Several watchers of one batcher's answers."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.tap import Tap
from grandopt.signature import Array


class Watcher:
    """One of them. Its tap gives how many rows shall pass before it sees a batch again, or None.

    Then it sees about one in `every` batches, which may be changed at any time, from any thread. `over` rows
    pass before its next batch; during a call, so many rows of that batch come before the one it waited for.
    """

    def __init__(self, tap: Tap, every: int, over: int) -> None:
        self.tap, self.every, self.over = tap, every, over


class Taps:
    """Shares a batcher's tap, so that batches which nobody waits for cost nothing.

    It belongs to the batcher's loop. One that raises is told to the batcher's log, and all are taken away.
    """

    def __init__(self, batcher: Batcher) -> None:
        self._shown = batcher.shown
        self._watchers: tuple[Watcher, ...] = ()
        self._passed = self._armed = 0

    @property
    def rows(self) -> int:
        """How many rows were answered while somebody watched, those that nobody looked at among them."""
        return self._passed + (self._armed - self._shown.over if self._watchers else 0)

    def add(self, tap: Tap, every: int = 1, over: int = 0) -> Watcher:
        """Let `tap` see batches from now on, the first after `over` rows."""
        self._settle()
        watcher = Watcher(tap, every, over)
        self._watchers += (watcher,)
        self._shown.tap = self._see
        self._arm()
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Let it see none any more; twice is allowed."""
        self._settle()
        self._watchers = tuple(each for each in self._watchers if each is not watcher)
        if not self._watchers:
            self._shown.tap = None
        self._arm()

    def _see(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> int:
        self._settle()
        rows = len(inputs[0])
        self._passed += rows
        for watcher in self._watchers:
            if watcher.over < rows:
                over = watcher.tap(inputs, outputs)
                watcher.over = (watcher.every - 1) * rows if over is None else over
            else:
                watcher.over -= rows
        self._arm()
        return self._armed

    def _settle(self) -> None:
        """Count what has passed since the last look."""
        before = self.rows - self._passed
        self._passed += before
        self._armed -= before
        for watcher in self._watchers:
            watcher.over -= before

    def _arm(self) -> None:
        self._armed = min((watcher.over for watcher in self._watchers), default=0)
        self._shown.over = self._armed
