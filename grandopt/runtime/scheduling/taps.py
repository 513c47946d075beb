"""Several watchers of one batcher's answers."""

from __future__ import annotations

from collections.abc import Sequence

from grandopt.runtime.scheduling.batcher import Batcher, Tap
from grandopt.signature import Array


class Watcher:
    """One of them: it sees one in `every` batches, which may be changed at any time."""

    def __init__(self, tap: Tap, every: int) -> None:
        self.tap, self.every = tap, every
        self.left = every


class Taps:
    """Shares a batcher's tap. It belongs to the batcher's loop. A watcher must not raise."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._watchers: tuple[Watcher, ...] = ()

    def add(self, tap: Tap, every: int = 1) -> Watcher:
        """Let `tap` see batches from now on."""
        watcher = Watcher(tap, every)
        self._watchers += (watcher,)
        self._batcher.tap, self._batcher.tap_every = self._see, 1
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Let it see none any more; twice is allowed."""
        self._watchers = tuple(each for each in self._watchers if each is not watcher)
        if not self._watchers:
            self._batcher.tap = None

    def _see(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        for watcher in self._watchers:
            watcher.left -= 1
            if watcher.left <= 0:
                watcher.left = watcher.every
                watcher.tap(inputs, outputs)
