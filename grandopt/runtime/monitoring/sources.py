"""What is watched: the parts of an engine that the monitor asks for their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.histogram import LatencyCounts
from grandopt.runtime.monitoring.drift import InputDrift
from grandopt.runtime.monitoring.margins import CloseDecisions
from grandopt.runtime.monitoring.tap import Tap


class Served(Protocol):
    """What a batcher has done since it began (`BatcherStats`): `rejected` and `released` count by reason,
    `rows` batches by size in buckets that are powers of two, `busy_ns` is the time that batches took."""

    @property
    def latency(self) -> LatencyCounts: ...
    @property
    def answered(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def missed(self) -> int: ...
    @property
    def rejected(self) -> Mapping[str, int]: ...
    @property
    def depth(self) -> int: ...
    @property
    def queued_bytes(self) -> int: ...
    @property
    def batches(self) -> int: ...
    @property
    def rows(self) -> Mapping[int, int]: ...
    @property
    def released(self) -> Mapping[str, int]: ...
    @property
    def busy_ns(self) -> int: ...


@dataclass(frozen=True)
class AgentFacts:
    """How an agent is served now; None where the engine does not know, or has no such part.

    `limit` is the most rows of a batch, `per_observation_ns` and `fixed_ns` the measured cost of a batch,
    `direct_ns` that of one direct call. `pending_original` says why the original still answers, where an
    optimization is under way or was given up.
    """

    workers: str = "inline"
    size: int = 1
    limit: int | None = None
    queue_items: int | None = None
    per_observation_ns: float | None = None
    fixed_ns: float | None = None
    direct_ns: float | None = None
    pending_original: str | None = None

    def batch_ns(self, rows: float) -> float | None:
        """What a batch of so many rows takes by the measured cost, in nanoseconds."""
        if self.per_observation_ns is None or self.fixed_ns is None:
            return None
        return self.per_observation_ns * rows + self.fixed_ns


@dataclass(frozen=True)
class AgentSource:
    """One agent and its parts. The functions are called from the monitor's thread and must not block.

    `tap` has been given to the batcher where `drift` or `margins` are there; `tap_every` sets in how many
    batches it sees one.
    """

    name: str
    stats: Callable[[], Served]
    facts: Callable[[], AgentFacts] = AgentFacts
    cache: Callable[[], CacheStats] | None = None
    tap: Tap | None = None
    tap_every: Callable[[int], None] | None = None
    drift: InputDrift | None = None
    margins: CloseDecisions | None = None
