"""What a batcher counts."""

from __future__ import annotations

from collections import Counter

from grandopt.runtime.histogram import LatencyHistogram
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings


class BatchCounts:
    """The counts that become BatcherStats; the batcher's thread writes, any may read."""

    def __init__(self) -> None:
        self.latency = LatencyHistogram()
        self.at_once = LatencyHistogram()
        """Of the answers that were computed without a wait: each is a batch of one, and what it took."""
        self.answered = self.failed = self.cancelled = self.missed = 0
        self.batches = self.busy_ns = self.computed_ns = 0
        self.rejected: Counter[str] = Counter()
        self.rows: Counter[int] = Counter()
        self.released: Counter[str] = Counter()

    def batch(self, rows: int, reason: str) -> None:
        """A batch of so many rows was released."""
        self.batches += 1
        self.rows[1 << (rows - 1).bit_length()] += 1
        self.released[reason] += 1

    def stats(
        self, depth: int, queued_bytes: int, settings: BatchSettings, workers: str, concurrency: int
    ) -> BatcherStats:
        """All that was counted until now."""
        rows, released = self.rows.copy(), self.released.copy()
        at_once = self.at_once.snapshot()
        if at_once.total:
            rows[1] += at_once.total
            released["direct"] = at_once.total
        return BatcherStats(
            latency=self.latency.snapshot() + at_once,
            answered=self.answered + at_once.total,
            failed=self.failed,
            cancelled=self.cancelled,
            missed=self.missed,
            rejected=dict(self.rejected),
            depth=depth,
            queued_bytes=queued_bytes,
            batches=self.batches + at_once.total,
            rows=dict(rows),
            released=dict(released),
            busy_ns=self.busy_ns + at_once.sum_ns,
            computed_ns=self.computed_ns,
            settings=settings,
            workers=workers,
            concurrency=concurrency,
        )
