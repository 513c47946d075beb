"""Garbage collection that stays out of the way of calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from grandopt.errors import ConfigError
from grandopt.runtime.memory.gc_kind import GcKind
from grandopt.runtime.memory.pauses import Pauses, PauseStats
from grandopt.runtime.memory.tuning import PROCESS, GcTuning

YOUNG = 50_000
"""New objects after which Python collects by itself although no idle moment came: a bound on what garbage may
take, about 10 MB of small objects. Python's own is 700, or 2000 from 3.13 on."""
DUE = 700
"""New objects for which an idle moment is used."""
OLDER_EVERY = 10
"""Collections of a generation after which the next older one is due, as in Python's own pace."""


@dataclass(frozen=True)
class CollectorStats:
    """What was done: `tuned` is False where the collector of an outer block decides.

    `frozen` objects are left out of collections. `idle` counts the idle moments that were used, `unneeded`
    those without enough new objects, `postponed` those too short for the collection that was due.
    """

    gc_kind: GcKind
    tuned: bool
    frozen: int
    thresholds: tuple[int, int, int]
    idle: int
    unneeded: int
    postponed: int
    pauses: tuple[PauseStats, ...]


class Collector:
    """Garbage collection for serving, as a `with` block around it.

    ::

        agent = grandopt.load("artifacts/gate")
        with Collector() as collector:  # load first: what is there is frozen
            for requests in server:
                answer(requests)
                collector.idle()

    On entry everything that was loaded is collected once and frozen, so that no later collection looks at it.
    Automatic collections wait for `young` new objects instead of 700; 0 switches them off. Collections are
    made at the moments that the caller calls idle. On exit, also by an exception, thresholds, callbacks and
    the switch are as before and everything is thawed (Python thaws all at once: also what somebody else had
    frozen before).

    The settings belong to the process. A block within another, or beside it in another thread, joins the
    first one: it measures and collects, and the settings are restored when the last one ends. Thread safety:
    any thread may call `idle` and `stats`; one at a time collects. `clock` gives seconds. Raises ConfigError
    for a negative `young` or `due`.
    """

    def __init__(
        self,
        *,
        young: int = YOUNG,
        due: int = DUE,
        clock: Callable[[], float] = time.perf_counter,
        tuning: GcTuning = PROCESS,
    ) -> None:
        if young < 0 or due < 0:
            raise ConfigError(f"thresholds cannot be negative, got young={young} and due={due}")
        self._young, self._due = young, due
        self._tuning = tuning
        self._pauses = Pauses(clock)
        self._turn = threading.Lock()
        self._entered = self._tuned = False
        self._since = [0, 0]
        self._idle = self._unneeded = self._postponed = 0

    def __enter__(self) -> Collector:
        if self._entered:
            raise ConfigError("this collector is in use; make another one for an inner block")
        self._tuned = self._tuning.begin(self._young)
        self._tuning.gc.callbacks.append(self._pauses)
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = self._tuned = False
        self._tuning.gc.callbacks.remove(self._pauses)
        self._tuning.end()

    def idle(self, seconds: float | None = None) -> int | None:
        """Use an idle moment: collect the oldest generation that is due and fits into it.

        The moment lasts about `seconds`; without it, long enough for anything. A generation is expected to
        take as long as the longest of its last pauses. Returns the generation that was collected, None where
        none was. Raises ConfigError outside of the `with` block.
        """
        if not self._entered:
            raise ConfigError("this collector is not in use; call idle within its with block")
        if not self._turn.acquire(blocking=False):
            return None
        try:
            if not self.due:
                self._unneeded += 1
                return None
            wanted = self._oldest_due()
            generation = self._fitting(wanted, seconds)
            self._postponed += generation != wanted
            if generation is not None:
                self._collect(generation)
            return generation
        finally:
            self._turn.release()

    @property
    def due(self) -> bool:
        """Whether there are enough new objects for an idle moment to be used."""
        return self._tuning.gc.get_count()[0] >= max(1, self._due)

    def freeze(self) -> int:
        """Freeze also what was loaded since: takes as long as a full collection. Returns the number frozen.

        What becomes garbage later among frozen objects is found only after the end of the block.
        """
        if not self._entered:
            raise ConfigError("this collector is not in use; call freeze within its with block")
        with self._turn:
            self._since = [0, 0]
            self._pauses.idle_thread = threading.get_ident()
            try:
                return self._tuning.freeze()
            finally:
                self._pauses.idle_thread = None

    @property
    def young(self) -> int:
        """The new objects that automatic collections wait for."""
        return self._young

    def retune(self, young: int) -> None:
        """Let automatic collections wait for `young` new objects from now on; 0 switches them off.

        Nothing happens where an outer block decides, or on a Python whose collector is not known. Raises
        ConfigError for a negative number and outside of the `with` block.
        """
        if young < 0:
            raise ConfigError(f"thresholds cannot be negative, got young={young}")
        if not self._entered:
            raise ConfigError("this collector is not in use; call retune within its with block")
        if self._tuned and self._tuning.retune(young):
            self._young = young

    @property
    def held_up_s(self) -> float:
        """Seconds that collections took amid the work, not at an idle moment."""
        return self._pauses.amid_s

    def stats(self) -> CollectorStats:
        """What happened since the block was entered."""
        return CollectorStats(
            self._tuning.gc_kind,
            self._tuned,
            self._tuning.frozen,
            self._tuning.gc.get_threshold(),
            self._idle,
            self._unneeded,
            self._postponed,
            self._pauses.stats(),
        )

    def _oldest_due(self) -> int:
        if self._tuning.gc_kind in ("free-threaded", "unknown"):
            return 2  # each collection looks at the whole heap, or may do so
        if self._since[1] >= OLDER_EVERY:
            return 2
        return 1 if self._since[0] >= OLDER_EVERY else 0

    def _fitting(self, wanted: int, seconds: float | None) -> int | None:
        """The oldest generation up to `wanted` that the moment is long enough for."""
        if seconds is None:
            return wanted
        youngest = wanted if self._tuning.gc_kind in ("free-threaded", "unknown") else 0
        for generation in range(wanted, youngest - 1, -1):
            if self._pauses.expected(generation) <= seconds:
                return generation
        return None

    def _collect(self, generation: int) -> None:
        self._pauses.idle_thread = threading.get_ident()
        try:
            self._tuning.gc.collect(generation)
        finally:
            self._pauses.idle_thread = None
        self._idle += 1
        match generation:
            case 0:
                self._since[0] += 1
            case 1:
                self._since = [0, self._since[1] + 1]
            case _:
                self._since = [0, 0]
