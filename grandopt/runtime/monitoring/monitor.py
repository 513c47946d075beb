"""Looks at all parts of an engine from time to time, and keeps what they say."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grandopt.errors import ConfigError
from grandopt.runtime.memory.ticker import Ticker
from grandopt.runtime.monitoring.alerts import Alert, Alerts, Rule
from grandopt.runtime.monitoring.delivery import Delivery
from grandopt.runtime.monitoring.history import History
from grandopt.runtime.monitoring.measures import values
from grandopt.runtime.monitoring.metrics import AgentMetrics, Counters, Metrics
from grandopt.runtime.monitoring.process import ProcessReader
from grandopt.runtime.monitoring.recommendations.advice import Recommendations
from grandopt.runtime.monitoring.recommendations.recommend import recommend
from grandopt.runtime.monitoring.sources import AgentSource

if TYPE_CHECKING:  # SQLite is for those alone who keep one
    from grandopt.runtime.monitoring.archive import Archive, ArchiveStats

MOST_KEPT = 1_000_000
"""Looks in the history: of each, an agent's figures take some 200 bytes."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MonitorSettings:
    """A look every `interval_s` seconds, rates and percentiles over the last `window_s`, and `keep` looks in
    the history. Raises ConfigError for values that mean nothing."""

    interval_s: float = 1.0
    window_s: float = 10.0
    keep: int = 3600

    def __post_init__(self) -> None:
        if not 0 < self.interval_s <= self.window_s <= 3600 or self.window_s / self.interval_s > 600:
            raise ConfigError(
                f"monitoring: the window holds 1 to 600 intervals and at most an hour; got "
                f"interval_s={self.interval_s}, window_s={self.window_s}"
            )
        if not (isinstance(self.keep, int) and 1 <= self.keep <= MOST_KEPT):
            raise ConfigError(f"monitoring: keep must be 1 to {MOST_KEPT:,} looks, got {self.keep}")


@dataclass(frozen=True)
class MonitorStats:
    """The last look, how many there were and what one takes of its thread (nanoseconds of CPU, the mean), the
    alerts that stand, and what became of the archive where there is one."""

    last: Metrics | None
    looks: int
    look_ns: float
    alerts: tuple[Alert, ...]
    archive: ArchiveStats | None


class Monitor:
    """Asks sources for their `stats()`; nothing is done per request, and no part knows of it.

    Thread safety: any thread may call any method; a look is taken by one at a time. Sources are asked on the
    thread that looks. `clock` and `wall` give seconds, the first steadily, the second since 1970.
    """

    def __init__(
        self,
        settings: MonitorSettings = MonitorSettings(),
        *,
        rules: Iterable[Rule] = (),
        deliveries: Iterable[Delivery] = (),
        archive: Archive | None = None,
        process: ProcessReader | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.history = History(settings.keep)
        self._alerts = Alerts(rules)
        self._deliveries = tuple(deliveries)
        self._archive = archive
        self._process = ProcessReader() if process is None else process
        self._clock, self._wall = clock, wall
        self._turn = threading.RLock()
        self._watched: dict[str, _Watched] = {}
        self._last: Metrics | None = None
        self._looks = self._spent_ns = 0

    def watch(self, source: AgentSource) -> None:
        """Ask this agent from now on; one of the same name before it is forgotten."""
        with self._turn:
            self._watched[source.name] = _Watched(source)

    def forget(self, name: str) -> None:
        """Ask the agent of this name no more."""
        with self._turn:
            self._watched.pop(name, None)

    def look(self) -> Metrics:
        """Ask everybody, keep the figures, and deliver the alerts that fire or clear by them."""
        with self._turn:
            begun = time.thread_time_ns()
            at, wall = self._clock(), self._wall()
            agents = {name: item.look(at, self.settings) for name, item in self._watched.items()}
            metrics = Metrics(at, wall, agents, self._process.read(at))
            figures = values(metrics)
            self.history.add(wall, figures)
            news = self._alerts.judge(wall, figures, at)
            self._last = metrics
            self._looks += 1
            self._spent_ns += time.thread_time_ns() - begun
            if self._archive is not None:
                self._archive.add(wall, figures)
        for alert in news:  # not under the lock: what is called may ask the monitor
            for delivery in self._deliveries:
                self._deliver(delivery, alert)
        return metrics

    @staticmethod
    def _deliver(delivery: Delivery, alert: Alert) -> None:
        try:
            delivery.deliver(alert)
        except Exception:  # a delivery of somebody else's may raise anything; the others and the looks go on
            log.exception("%s failed on an alert (%s)", type(delivery).__name__, alert)

    def watching(self) -> Ticker:
        """A `with` block during which a thread looks every interval."""
        return Ticker(self.look, self.settings.interval_s, "grandopt-monitor")

    def stats(self) -> MonitorStats:
        """The state at the last look; takes none."""
        with self._turn:
            return MonitorStats(
                self._last,
                self._looks,
                self._spent_ns / self._looks if self._looks else 0.0,
                self._alerts.standing(),
                None if self._archive is None else self._archive.stats(),
            )

    def recommendations(self) -> Recommendations:
        """What to change, by the last look; about nothing before the first."""
        return recommend(self.stats().last)

    def close(self) -> None:
        """Write what the archive still holds, and close the deliveries. Calling it twice is allowed."""
        with self._turn:
            if self._archive is not None:
                self._archive.flush()
        for delivery in self._deliveries:
            delivery.close()


class _Watched:
    """One source, and its counters at the looks of the window."""

    def __init__(self, source: AgentSource) -> None:
        self._source = source
        self._window: deque[tuple[float, Counters]] = deque()

    def look(self, at: float, settings: MonitorSettings) -> AgentMetrics:
        source = self._source
        batcher = None if source.batches is None else source.batches()
        direct = None if source.direct is None else source.direct()
        cache = None if source.cache is None else source.cache()
        total = Counters.of(batcher, direct, cache)
        if self._window and total.since(self._window[-1][1]) is None:
            self._window.clear()  # a new batcher or cache, which counts from nothing
        last = self._window[-1][1] if self._window else Counters()
        self._look_closely(total.batches - last.batches, total.answered - last.answered)
        # The oldest look that is kept is the last one from before the window.
        while len(self._window) > 1 and at - self._window[1][0] >= settings.window_s:
            self._window.popleft()
        oldest = self._window[0] if self._window else None
        self._window.append((at, total))
        return AgentMetrics(
            agent=source.name,
            total=total,
            recent=None if oldest is None else total.since(oldest[1]),
            window_s=0.0 if oldest is None else at - oldest[0],
            depth=0 if batcher is None else batcher.depth,
            queued_bytes=0 if batcher is None else batcher.queued_bytes,
            settings=None if batcher is None else batcher.settings,
            workers=None if batcher is None else batcher.workers,
            concurrency=1 if batcher is None else batcher.concurrency,
            cost=None if source.cost is None else source.cost(),
            original=None if source.original is None else source.original(),
            cache=cache,
            drift=None if source.looks is None else source.looks.drift.report(),
            margins=None if source.looks is None else source.looks.margins.report() or None,
        )

    def _look_closely(self, batches: int, requests: int) -> None:
        """Hand tapped rows to those that look at them, and set how often batches are tapped."""
        source = self._source
        looks = source.looks
        if looks is None:
            return
        rows = looks.tap.take()
        if rows is not None:
            looks.drift.add(rows.inputs)
            looks.margins.add(rows.outputs)
        if source.tap_every is not None:
            source.tap_every(looks.tap.every(batches, requests))
