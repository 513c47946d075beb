"""What is watched: the parts of an engine that the monitor asks for their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from grandopt.runtime.cache.stats import CacheStats
from grandopt.runtime.histogram import LatencyCounts
from grandopt.runtime.monitoring.drift import DriftSettings, InputDrift
from grandopt.runtime.monitoring.margins import CloseDecisions
from grandopt.runtime.monitoring.reference import Reference
from grandopt.runtime.monitoring.tap import Tap
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.stats import BatcherStats
from grandopt.signature import Array, Contract, Signature


class DirectCounts(Protocol):
    """Calls on their callers' own threads: how long those took that were answered, and how many were not."""

    @property
    def latency(self) -> LatencyCounts: ...
    @property
    def failed(self) -> int: ...
    @property
    def missed(self) -> int: ...


@dataclass(frozen=True)
class Looks:
    """What looks closely at some of the rows that an agent serves: give `tap` to its batcher."""

    tap: Tap
    drift: InputDrift
    margins: CloseDecisions

    @classmethod
    def at(
        cls,
        signature: Signature,
        contract: Contract,
        evidence: Mapping[str, Any],
        samples: Sequence[Array] | None = None,
        settings: DriftSettings | None = None,
    ) -> Looks:
        """Compared with recorded `samples`, an array [n, *shape] per input that is no recurrent state, where
        they are given; else with what the `evidence` of the artifact's manifest says.

        Raises SamplesError for samples that do not fit.
        """
        if samples is None:
            reference = Reference.of_evidence(evidence, signature)
        else:
            reference = Reference.of_samples(signature.observed(contract), samples)
        drift = InputDrift(signature, contract, reference, settings or DriftSettings())
        return cls(Tap(), drift, CloseDecisions(signature, contract, evidence))


@dataclass(frozen=True)
class AgentSource:
    """One agent and its parts; None for a part that it has not.

    Functions are called from the monitor's thread, and must not block. `cost` gives the measured cost of a
    batch. `original` says why the original still answers, where an optimization is under way or was given up,
    else None. `tap_every` sets in how many batches the tap sees one.
    """

    name: str
    batches: Callable[[], BatcherStats] | None = None
    direct: Callable[[], DirectCounts] | None = None
    cost: Callable[[], BatchCost | None] | None = None
    original: Callable[[], str | None] | None = None
    cache: Callable[[], CacheStats] | None = None
    looks: Looks | None = None
    tap_every: Callable[[int], None] | None = None
