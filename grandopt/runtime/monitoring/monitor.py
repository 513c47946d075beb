"""Looks at all parts of an engine from time to time, and keeps what they say."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
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

PAUSE_S = 0.001
"""Between two pieces of a look on a thread beside a service, which holds the GIL during each: what came
meanwhile is answered before the next one holds it up, too."""
PAUSES = 50
"""How many pauses are at least in an interval, where that is short."""
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
    thread that looks. `clock` and `wall` give seconds, the first steadily, the second since 1970; `rest` lets
    the thread that looks wait for seconds.
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
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self.settings = settings
        self.history = History(settings.keep)
        self._alerts = Alerts(rules)
        self._deliveries = tuple(deliveries)
        self._archive = archive
        self._archived = None if archive is None else archive.stats()
        self._process = ProcessReader() if process is None else process
        self._clock, self._wall, self._rest = clock, wall, rest
        self._pause_s = min(PAUSE_S, settings.interval_s / PAUSES)
        self._looking = threading.RLock()  # during a whole look, its pauses included
        self._hurried = 0
        self._turn = threading.RLock()  # for as long as something is read or written
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
            self._hurried += 1  # whoever looks with pauses makes no more of them
        try:
            return self._look(0.0)
        finally:
            with self._turn:
                self._hurried -= 1

    def look_in_pieces(self) -> Metrics:
        """As `look`, with pauses in which other threads go on that wait for the GIL."""
        return self._look(self._pause_s)

    def _look(self, pause_s: float) -> Metrics:
        with self._looking:
            pieces, spent_ns = self._pieces(), 0
            while True:
                begun = time.thread_time_ns()
                try:
                    next(pieces)
                except StopIteration as end:
                    seen: _Seen = end.value
                    break
                finally:
                    spent_ns += time.thread_time_ns() - begun
                if pause_s and not self._hurried:
                    self._rest(pause_s)
            metrics, figures, news = seen
            with self._turn:
                self._last = metrics
                self._looks += 1
                self._spent_ns += spent_ns
            if self._archive is not None:
                self._archive.add(metrics.wall, figures)
                self._archived = self._archive.stats()
        for alert in news:  # not under the lock: what is called may ask the monitor
            for delivery in self._deliveries:
                self._deliver(delivery, alert)
        return metrics

    def _pieces(self) -> Generator[None, None, _Seen]:
        """A look piece by piece, of which none takes long: less than 0.1 ms each where it was measured."""
        at, wall, agents = self._clock(), self._wall(), dict[str, AgentMetrics]()
        with self._turn:
            watched = dict(self._watched)
        for name, item in watched.items():
            look = item.look(self._clock, self.settings)
            while name not in agents:
                with self._turn:  # who has been forgotten is asked nothing more
                    if self._watched.get(name) is not item:
                        break
                    try:
                        next(look)
                    except StopIteration as end:
                        agents[name] = end.value
                yield
        process = self._process.read(at)
        yield
        agents = {name: agent for name, agent in agents.items() if self._watched.get(name) is watched[name]}
        metrics = Metrics(at, wall, agents, process)
        figures = values(metrics)
        yield
        self.history.add(wall, figures)
        with self._turn:
            return metrics, figures, self._alerts.judge(wall, figures, at)

    @staticmethod
    def _deliver(delivery: Delivery, alert: Alert) -> None:
        try:
            delivery.deliver(alert)
        except Exception:  # a delivery of somebody else's may raise anything; the others and the looks go on
            log.exception("%s failed on an alert (%s)", type(delivery).__name__, alert)

    def watching(self) -> Ticker:
        """A `with` block during which a thread looks every interval."""
        return Ticker(self.look_in_pieces, self.settings.interval_s, "grandopt-monitor")

    def stats(self) -> MonitorStats:
        """The state at the last look; takes none."""
        with self._turn:
            return MonitorStats(
                self._last,
                self._looks,
                self._spent_ns / self._looks if self._looks else 0.0,
                self._alerts.standing(),
                self._archived,
            )

    def recommendations(self) -> Recommendations:
        """What to change, by the last look; about nothing before the first."""
        return recommend(self.stats().last)

    def close(self) -> None:
        """Write what the archive still holds, and close the deliveries. Calling it twice is allowed."""
        with self._looking:
            if self._archive is not None:
                self._archive.flush()
                self._archived = self._archive.stats()
        for delivery in self._deliveries:
            delivery.close()


_Seen = tuple[Metrics, dict[str, dict[str, float]], tuple[Alert, ...]]
"""What a look has found: metrics, the same as named figures, and alerts that fire or clear by them."""


class _Watched:
    """One source, and its counters at the looks of the window."""

    def __init__(self, source: AgentSource) -> None:
        self._source = source
        self._window: deque[tuple[float, Counters]] = deque()

    def look(
        self, clock: Callable[[], float], settings: MonitorSettings
    ) -> Generator[None, None, AgentMetrics]:
        """The figures now, in pieces."""
        source, at = self._source, clock()
        batcher = None if source.batches is None else source.batches()
        yield
        direct = None if source.direct is None else source.direct()
        cache = None if source.cache is None else source.cache()
        yield
        total = Counters.of(batcher, direct, cache)
        yield
        if self._window and total.fell_below(self._window[-1][1]):
            self._window.clear()  # a new batcher or cache, which counts from nothing
        last = self._window[-1][1] if self._window else Counters()
        yield
        yield from self._look_closely(total.batches - last.batches, total.answered - last.answered)
        # The oldest look that is kept is the last one from before the window.
        while len(self._window) > 1 and at - self._window[1][0] >= settings.window_s:
            self._window.popleft()
        oldest = self._window[0] if self._window else None
        self._window.append((at, total))
        recent = None if oldest is None else total.since(oldest[1])
        yield
        looks = source.looks
        drift = None if looks is None else looks.drift.report()
        yield
        margins = None if looks is None else looks.margins.report() or None
        yield
        return AgentMetrics(
            agent=source.name,
            total=total,
            recent=recent,
            window_s=0.0 if oldest is None else at - oldest[0],
            depth=0 if batcher is None else batcher.depth,
            queued_bytes=0 if batcher is None else batcher.queued_bytes,
            settings=None if batcher is None else batcher.settings,
            workers=None if batcher is None else batcher.workers,
            concurrency=1 if batcher is None else batcher.concurrency,
            cost=None if source.cost is None else source.cost(),
            original=None if source.original is None else source.original(),
            cache=cache,
            drift=drift,
            margins=margins,
        )

    def _look_closely(self, batches: int, requests: int) -> Generator[None]:
        """Hand tapped rows to those that look at them, and set how often batches are tapped."""
        source = self._source
        looks = source.looks
        if looks is None:
            return
        rows = looks.tap.take()
        if rows is not None:
            yield
            looks.drift.add(rows.inputs)
            yield
            looks.margins.add(rows.outputs)
            yield
        if source.tap_every is not None:
            source.tap_every(looks.tap.every(batches, requests))
