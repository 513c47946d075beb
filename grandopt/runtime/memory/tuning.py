"""The settings of the process's garbage collection, changed and put back."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any, Protocol

from grandopt.runtime.memory.gc_kind import GcKind, current_gc_kind

_log = logging.getLogger(__name__)


class GarbageCollector(Protocol):
    """What is used of the module `gc`."""

    callbacks: list[Any]

    def collect(self, generation: int = 2, /) -> int: ...
    def freeze(self) -> None: ...
    def unfreeze(self) -> None: ...
    def get_freeze_count(self) -> int: ...
    def get_count(self) -> tuple[int, int, int]: ...
    def get_threshold(self) -> tuple[int, int, int]: ...
    def set_threshold(self, young: int, middle: int = ..., old: int = ..., /) -> None: ...
    def isenabled(self) -> bool: ...
    def enable(self) -> None: ...
    def disable(self) -> None: ...


class GcTuning:
    """The collector of one process and who has tuned it. Thread safety: any thread may call any method.

    The first to `begin` decides; whoever begins before it has ended joins. When the last one ends, thresholds
    and the switch are as they were before the first, and nothing is frozen.
    """

    def __init__(self, collector: GarbageCollector, gc_kind: GcKind) -> None:
        self.gc = collector
        self.gc_kind = gc_kind
        self.frozen = 0
        """How many objects were left out by the last `freeze`."""
        self._lock = threading.Lock()
        self._users = 0
        self._thresholds = (0, 0, 0)
        self._enabled = True

    def begin(self, young: int) -> bool:
        """Collect, freeze what is left, and let automatic collections wait for `young` new objects.

        Returns whether this call tuned the process; False where another has done it already.
        """
        with self._lock:
            first = self._users == 0
            self._users += 1
            if first:
                self._thresholds = self.gc.get_threshold()
                self._enabled = self.gc.isenabled()
                try:
                    self._tune(young)
                except BaseException:  # Ctrl-C during the collection
                    self._users = 0
                    self._restore()
                    raise
        return first

    def retune(self, young: int) -> bool:
        """Let automatic collections wait for `young` new objects; False where the thresholds are left alone.

        Only for whoever began first.
        """
        with self._lock:
            known = self._users > 0 and self.gc_kind != "unknown"
            if known:
                self.gc.set_threshold(young, *self._thresholds[1:])
            return known

    def freeze(self) -> int:
        """Collect, and take what is left out of later collections; returns how many objects are out now."""
        self.gc.collect()
        self.gc.freeze()
        # Counted once: it takes milliseconds where much is frozen.
        self.frozen = self.gc.get_freeze_count()
        return self.frozen

    def end(self) -> None:
        """Undo one `begin`; the last one restores."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._restore()

    def _tune(self, young: int) -> None:
        # Asked only where it is told: it takes milliseconds where much is frozen.
        if _log.isEnabledFor(logging.INFO) and (before := self.gc.get_freeze_count()):
            _log.info("%d objects were frozen before; Python will thaw all together", before)
        self.freeze()
        if self.gc_kind == "unknown":
            _log.warning("the garbage collector of this Python is not known here: thresholds are left alone")
            return
        # The others stay: the second is the pace of the old generation in every kind, and the incremental
        # collector ignores the third.
        self.gc.set_threshold(young, *self._thresholds[1:])

    def _restore(self) -> None:
        self.gc.unfreeze()
        self.frozen = 0
        self.gc.set_threshold(*self._thresholds)
        if self._enabled:
            self.gc.enable()
        else:
            self.gc.disable()


PROCESS = GcTuning(gc, current_gc_kind())
"""That of this process."""
