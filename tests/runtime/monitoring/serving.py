"""A made-up batcher whose figures a test sets, and a monitor on clocks of the test's own."""

from __future__ import annotations

from collections import Counter
from typing import Any

from grandopt.runtime.histogram import LatencyHistogram
from grandopt.runtime.memory.resident import Resident
from grandopt.runtime.monitoring.monitor import Monitor, MonitorSettings
from grandopt.runtime.monitoring.process import ProcessReader
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings


class Clock:
    """Gives `now` in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Service:
    """Counts what the test says was served."""

    def __init__(self, settings: BatchSettings | None = None, workers: str = "inline") -> None:
        self.settings = BatchSettings() if settings is None else settings
        self.workers = workers
        self.concurrency = 1
        self.histogram = LatencyHistogram()
        self.counts: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.rows: Counter[int] = Counter()
        self.released: Counter[str] = Counter()

    def serve(self, requests: int, *, ns: int = 20_000, rows: int = 1, busy_ns: int | None = None) -> None:
        """Answer so many requests in batches of `rows`, each within `ns`."""
        batches = requests // rows
        self.histogram.record_many([ns] * requests)
        self.counts["answered"] += requests
        self.counts["batches"] += batches
        self.counts["busy_ns"] += ns * batches if busy_ns is None else busy_ns
        self.rows[rows] += batches
        self.released["full" if rows == self.settings.limit else "idle"] += batches

    def stats(self) -> BatcherStats:
        return BatcherStats(
            latency=self.histogram.snapshot(),
            answered=self.counts["answered"],
            failed=self.counts["failed"],
            cancelled=self.counts["cancelled"],
            missed=self.counts["missed"],
            rejected=dict(self.rejected),
            depth=self.counts["depth"],
            queued_bytes=self.counts["queued_bytes"],
            batches=self.counts["batches"],
            rows=dict(self.rows),
            released=dict(self.released),
            busy_ns=self.counts["busy_ns"],
            settings=self.settings,
            workers=self.workers,
            concurrency=self.concurrency,
        )


def monitor(clock: Clock, settings: MonitorSettings | None = None, **options: Any) -> Monitor:
    """A monitor of a process that holds 100 MB and uses half a core."""
    process = ProcessReader(resident=lambda: Resident(100_000_000), cpu_s=lambda: clock.now / 2)
    return Monitor(settings or MonitorSettings(), process=process, clock=clock, wall=clock, **options)
