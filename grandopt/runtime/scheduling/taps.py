"""Several watchers of one batcher's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grandopt.runtime.scheduling.batcher import Batcher
from grandopt.runtime.scheduling.dispatch import Tap
from grandopt.signature import Array


class Watcher:
    """One of them: it sees one in `every` batches, which may be changed at any time, from any thread."""

    def __init__(self, tap: Tap, every: int, changed: Callable[[], None]) -> None:
        self.tap, self._every, self._changed = tap, every, changed
        self.left = every

    @property
    def every(self) -> int:
        """Of how many batches it sees one."""
        return self._every

    @every.setter
    def every(self, batches: int) -> None:
        self._every = batches
        self._changed()


class Taps:
    """Shares a batcher's tap. It belongs to the batcher's loop. A watcher must not raise."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._watchers: tuple[Watcher, ...] = ()

    def add(self, tap: Tap, every: int = 1) -> Watcher:
        """Let `tap` see batches from now on."""
        watcher = Watcher(tap, every, self._share)
        self._watchers += (watcher,)
        self._share()
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Let it see none any more; twice is allowed."""
        self._watchers = tuple(each for each in self._watchers if each is not watcher)
        self._share()

    def _share(self) -> None:
        """Give the batcher its tap: a single watcher's own, so that what it does not see costs nothing."""
        batcher, watchers = self._batcher, self._watchers
        if not watchers:
            batcher.tap = None
        elif len(watchers) == 1:
            batcher.tap, batcher.tap_every = watchers[0].tap, watchers[0].every
        else:
            batcher.tap, batcher.tap_every = self._see, 1

    def _see(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        for watcher in self._watchers:
            watcher.left -= 1
            if watcher.left <= 0:
                watcher.left = watcher.every
                watcher.tap(inputs, outputs)
