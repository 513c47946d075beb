"""What a batcher counts."""

from __future__ import annotations

from collections import Counter

from grandopt.runtime.histogram import LatencyHistogram, together
from grandopt.runtime.scheduling.stats import BatcherStats, BatchSettings


class BatchCounts:
    """The counts that become BatcherStats; the batcher's thread writes, any may read."""

    def __init__(self) -> None:
        self.latency = LatencyHistogram()
        self.at_once = LatencyHistogram()
        """Of the answers that were computed without a wait: each is a batch of one, and what it took."""
        self.in_turn = LatencyHistogram()
        """Of those that were computed alone after a turn of the event loop: how long each was waited for."""
        self.in_turn_ns = 0
        self.answered = self.failed = self.cancelled = self.missed = 0
        self.batches = self.busy_ns = self.computed_ns = 0
        self.sizes: dict[int, tuple[int, int]] = {}
        self.rejected: Counter[str] = Counter()
        self.rows: Counter[int] = Counter()
        self.released: Counter[str] = Counter()

    @property
    def ended_requests(self) -> int:
        """How many came to an end, whichever; those that were refused when they came are not among them."""
        alone = self.at_once.total + self.in_turn.total
        return self.answered + self.failed + self.cancelled + self.missed + alone

    def batch(self, rows: int, reason: str) -> None:
        """A batch of so many rows was released."""
        self.batches += 1
        self.rows[1 << (rows - 1).bit_length()] += 1
        self.released[reason] += 1

    def ended(self, rows: int, answered: int, ns: int) -> None:
        """A batch of so many rows took so long, and answered so many requests."""
        self.busy_ns += ns
        self.computed_ns += answered * ns
        batches, before = self.sizes.get(rows, (0, 0))
        self.sizes[rows] = batches + 1, before + ns

    def stats(
        self, depth: int, queued_bytes: int, settings: BatchSettings, workers: str, concurrency: int
    ) -> BatcherStats:
        """All that was counted until now."""
        rows, released, sizes = dict(self.rows), dict(self.released), self.sizes.copy()
        at_once, in_turn = self.at_once.snapshot(), self.in_turn.snapshot()
        alone = at_once.total + in_turn.total
        if alone:
            rows[1] = rows.get(1, 0) + alone
            released["direct"] = alone
            batches, ns = sizes.get(1, (0, 0))
            sizes[1] = batches + alone, ns + at_once.sum_ns + self.in_turn_ns
        return BatcherStats(
            latency=together(self.latency.snapshot(), at_once, in_turn),
            answered=self.answered + alone,
            failed=self.failed,
            cancelled=self.cancelled,
            missed=self.missed,
            rejected=dict(self.rejected),
            depth=depth,
            queued_bytes=queued_bytes,
            batches=self.batches + alone,
            rows=rows,
            released=released,
            busy_ns=self.busy_ns + at_once.sum_ns + self.in_turn_ns,
            computed_ns=self.computed_ns + self.in_turn_ns,
            settings=settings,
            workers=workers,
            concurrency=concurrency,
            sizes=sizes,
        )
