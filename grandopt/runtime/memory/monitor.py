"""Watches the memory of a process."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from grandopt.errors import ConfigError
from grandopt.runtime.memory.census import Census, take_census
from grandopt.runtime.memory.history import History, MemoryReading
from grandopt.runtime.memory.leaks import LeakReport, find_leak
from grandopt.runtime.memory.pool import Pool
from grandopt.runtime.memory.resident import Reader, resident_reader
from grandopt.runtime.memory.ticker import Ticker

KEEP = 720
"""Readings that are kept: two hours at one every ten seconds."""
CLEARED = 0.95
"""An alert ends below this share of its limit, so that it does not come and go with every reading."""


@dataclass(frozen=True)
class MemoryLimits:
    """From where on an alert stands; None: never. All but `blocks` (Python's small objects) and `tensors`
    are bytes. `tensors` needs a monitor that takes a census. Raises ConfigError for limits below 1."""

    resident: int | None = None
    unique: int | None = None
    pools: int | None = None
    blocks: int | None = None
    tensors: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            limit = getattr(self, field.name)
            if limit is not None and limit < 1:
                raise ConfigError(f"the limit of {field.name} must be at least 1, got {limit}")


@dataclass(frozen=True)
class Alert:
    """A limit that is passed, with the last value, and the clock's time since when."""

    name: str
    limit: int
    value: int
    since: float


@dataclass(frozen=True)
class MonitorStats:
    """The last reading, the most that was resident, how many readings are kept, and the limits passed."""

    last: MemoryReading | None
    peak: int
    readings: int
    alerts: tuple[Alert, ...]


class Monitor:
    """Takes readings when it is asked to, or regularly while `watching`, and finds leaks among them.

    Thread safety: any thread may call any method. A census, which also finds the types that grow and tells
    native memory apart to the byte, is taken with every `census_every`-th reading; 0: never, since it looks
    at every object. `clock` gives seconds, `resident` what the system says of this process, `blocks` the
    number of Python's small objects. Raises ConfigError for a negative number or `keep` below 8.
    """

    def __init__(
        self,
        pools: Sequence[Pool[Any]] = (),
        limits: MemoryLimits = MemoryLimits(),
        *,
        census_every: int = 0,
        keep: int = KEEP,
        clock: Callable[[], float] = time.monotonic,
        resident: Reader | None = None,
        blocks: Callable[[], int] = sys.getallocatedblocks,
        census: Callable[[], Census] = take_census,
    ) -> None:
        if census_every < 0 or keep < 8:
            raise ConfigError(
                f"a monitor keeps at least 8 readings and takes a census every so many, 0 for never; got "
                f"keep={keep}, census_every={census_every}"
            )
        self._pools = tuple(pools)
        self._limits = limits
        self._census_every = census_every
        self._clock = clock
        self._resident = resident_reader() if resident is None else resident
        self._blocks = blocks
        self._census = census
        self._turn = threading.Lock()
        self._history = History(keep, censuses=census_every > 0)
        self._alerts: dict[str, Alert] = {}
        self._last: MemoryReading | None = None
        self._count = self._peak = 0

    def read(self) -> MemoryReading:
        """Take a reading and keep it. Raises ConfigError where the system does not let this process look."""
        with self._turn:
            every = self._census_every
            resident, blocks = self._resident(), self._blocks()
            census = self._census() if every and self._count % every == 0 else None  # last: it needs memory
            held = [pool.stats() for pool in self._pools]
            reading = MemoryReading(
                time=self._clock(),
                resident=resident,
                pools=sum(stats.leased_bytes + stats.idle_bytes for stats in held),
                blocks=blocks,
                census=census,
            )
            self._count += 1
            self._peak = max(self._peak, resident.all)
            self._last = reading
            self._history.add(reading)
            self._judge(reading)
            return reading

    def watching(self, interval: float, wait: Callable[[float], bool] | None = None) -> Ticker:
        """A `with` block during which a reading is taken every `interval` seconds; see Ticker for errors."""
        return Ticker(self.read, interval, "grandopt-memory-monitor", wait)

    def stats(self) -> MonitorStats:
        """The state at the last reading; takes none."""
        with self._turn:
            alerts = tuple(self._alerts.values())
            return MonitorStats(self._last, self._peak, len(self._history), alerts)

    def leak(self, **options: Any) -> LeakReport:
        """Whether memory leaks, by the readings that are kept; options are those of `find_leak`."""
        with self._turn:
            readings = self._history.readings()
        return find_leak(readings, **options)

    def _judge(self, reading: MemoryReading) -> None:
        values = {
            "resident": reading.resident.all,
            "unique": reading.resident.unique,
            "pools": reading.pools,
            "blocks": reading.blocks,
            "tensors": None if reading.census is None else reading.census.tensors,
        }
        for name, value in values.items():
            limit = getattr(self._limits, name)
            if limit is None or value is None:
                continue
            standing = self._alerts.get(name)
            if value > limit or (standing is not None and value >= CLEARED * limit):
                since = reading.time if standing is None else standing.since
                self._alerts[name] = Alert(name, limit, value, since)
            else:
                self._alerts.pop(name, None)
