"""What a batcher has done, and the settings that it goes by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from grandopt.errors import ConfigError
from grandopt.runtime.histogram import LatencyCounts


@dataclass(frozen=True)
class BatchSettings:
    """`limit` is the most rows of a batch; at most `queue_rows` rows and `queue_bytes` of inputs wait.

    A request that has waited for `ageing_s` seconds may overtake some of a higher class (see `queue`).
    Raises ConfigError for what cannot be.
    """

    limit: int = 64
    queue_rows: int = 4096
    queue_bytes: int = 64_000_000
    ageing_s: float = 0.1

    def __post_init__(self) -> None:
        for name in ("limit", "queue_rows", "queue_bytes"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number from 1 on, got {value!r}")
        if not (isinstance(self.ageing_s, int | float) and 0 < self.ageing_s < math.inf):
            raise ConfigError(f"ageing_s must be a positive number of seconds, got {self.ageing_s!r}")

    def rows(self, row_bytes: int) -> int:
        """How many rows of so many bytes may wait."""
        return min(self.queue_rows, self.queue_bytes // row_bytes)


@dataclass(frozen=True)
class BatcherStats:
    """Counts since the batcher began.

    `latency` is that of answered requests from their arrival until the answer was handed over. `answered`,
    `failed`, `cancelled` and `missed` (their deadline passed before their answer) count requests; `rejected`
    those that were refused, by reason: "rows" and "bytes" (the queue was full), "displaced" (it was full,
    and a higher class came), "deadline" (could not be met on arrival). `rows` counts batches by their size,
    rounded up to a power of two, `released` by why they were not larger: "direct" and "idle" (nothing else
    was there), "full" (the limit), "deadline" (a larger one would have been late), "retry" (a request alone,
    after its batch had failed). `depth` rows wait now. `busy_ns` is the time that workers computed,
    `computed_ns` what requests that had waited spent in the batches which answered them, each all of its own.
    `sizes` has, for each exact number of rows, how many batches ended and how long they took together.
    """

    latency: LatencyCounts
    answered: int
    failed: int
    cancelled: int
    missed: int
    rejected: dict[str, int]
    depth: int
    queued_bytes: int
    batches: int
    rows: dict[int, int]
    released: dict[str, int]
    busy_ns: int
    settings: BatchSettings
    workers: str
    concurrency: int
    computed_ns: int = 0
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
