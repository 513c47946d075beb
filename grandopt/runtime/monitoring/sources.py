"""What is watched: the parts of an engine that the monitor asks for their figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.monitoring.drift import InputDrift
from grandopt.runtime.monitoring.margins import CloseDecisions
from grandopt.runtime.monitoring.tap import Tap
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatcherStats


@dataclass(frozen=True)
class AgentSource:
    """One agent and its parts; None for a part that it has not. Functions are called from the monitor's
    thread, and must not block.

    `cost` gives the measured cost of a batch. `original` says why the original still answers, where an
    optimization is under way or was given up, else None. `tap` is what was given to the batcher, where
    `drift` or `margins` are there, and `tap_every` sets in how many batches it sees one.
    """

    name: str
    stats: Callable[[], BatcherStats]
    cost: Callable[[], BatchCost | None] | None = None
    original: Callable[[], str | None] | None = None
    cache: Callable[[], CacheStats] | None = None
    tap: Tap | None = None
    tap_every: Callable[[int], None] | None = None
    drift: InputDrift | None = None
    margins: CloseDecisions | None = None
