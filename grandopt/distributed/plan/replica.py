"""One replica: an engine process that serves one agent, and what its work takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from grandopt.distributed.plan.stalls import Stalls
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.workers.choice import Kind
from grandopt.signature import Array


@dataclass(frozen=True)
class Burst:
    """`rows` requests that came together: until the first and until the last of them was answered, in ns."""

    rows: int
    first_ns: float
    last_ns: float


@dataclass(frozen=True)
class Replica:
    """What was measured of an artifact, served by an engine of `profile` in this process.

    `cost` is the executor's own line a·n + b, `bursts` what requests take through the engine, their callers
    in the same event loop, in rising sizes from 1 on. Batches have `limit` rows at most and are computed by
    `workers` of `kind`; "inline" is the event loop's own thread, which computes in turns what has come.
    `stalls` are those of the machine.
    """

    agent: str
    digest: str
    engine: str
    precision: str
    profile: str
    kind: Kind
    workers: int
    limit: int
    cost: BatchCost
    bursts: tuple[Burst, ...]
    stalls: Stalls
    transport_ns: float = 0.0

    @property
    def cores(self) -> int:
        """What one replica keeps busy: a core for each worker, or the event loop's."""
        return self.workers

    @property
    def inline(self) -> bool:
        """Whether the event loop's thread computes."""
        return self.kind == "inline"

    @property
    def most(self) -> int:
        """The most requests that one turn or batch answers."""
        return self.bursts[-1].rows if self.inline else self.limit

    def with_transport(self, nanoseconds: float) -> Replica:
        """The same, each request of which takes so much more of the replica's time."""
        return replace(self, transport_ns=nanoseconds)

    def with_limit(self, limit: int) -> Replica:
        """The same with another limit of its batches."""
        return replace(self, limit=limit)

    def first_ns(self) -> Array:
        """Until the first answer of a turn of n requests, [n] from n = 1 on; for "inline"."""
        return np.asarray(self._between([burst.first_ns for burst in self.bursts]) + self.transport_ns)

    def occupied_ns(self) -> Array:
        """How long a turn or a batch of n requests keeps its server busy, [n] from n = 1 on, to `most`."""
        rows = np.arange(1, self.most + 1)
        if self.inline:
            return np.asarray(
                self._between([burst.last_ns for burst in self.bursts]) + self.transport_ns * rows
            )
        alone = self.cost.per_observation_ns * rows + self.cost.fixed_ns
        return np.asarray(alone * self.slowdown + self.transport_ns * rows)

    @property
    def slowdown(self) -> float:
        """How many times its own cost a batch takes when all workers are busy, and the event loop with them.

        Measured: the largest burst keeps every worker busy to its end.
        """
        largest = self.bursts[-1]
        batches = -(-largest.rows // self.limit)
        alone = self.cost.per_observation_ns * largest.rows + self.cost.fixed_ns * batches
        return max(1.0, largest.last_ns * self.workers / alone)

    @property
    def way_ns(self) -> float:
        """What an answer takes beside its batch: handed to a worker, and back to its caller."""
        if self.inline:
            return 0.0
        return max(0.0, self.bursts[0].last_ns - float(self.occupied_ns()[0]))

    @property
    def line(self) -> tuple[float, float]:
        """(per request, fixed) in ns: the line through `occupied_ns`, by relative least squares."""
        taken = self.occupied_ns()
        rows = np.arange(1, len(taken) + 1)
        if len(taken) == 1:
            return float(taken[0]), 0.0
        matrix = np.stack([rows / taken, 1.0 / taken], axis=1)
        (each, fixed), *_ = np.linalg.lstsq(matrix, np.ones_like(taken), rcond=None)
        return float(each), max(0.0, float(fixed))

    @property
    def highest_rate(self) -> float:
        """Requests a second beyond which the queue grows without end."""
        taken = self.occupied_ns()
        servers = 1 if self.inline else self.workers
        return float(np.max(np.arange(1, len(taken) + 1) / taken)) * servers * 1e9

    @property
    def sustained_rate(self) -> float:
        """The same as far as the machine's stalls leave time."""
        return self.highest_rate * (1.0 - self.stalls.share)

    def _between(self, values: list[float]) -> Array:
        """Of every size to the largest, between those that were measured."""
        sizes = [burst.rows for burst in self.bursts]
        return np.interp(np.arange(1, sizes[-1] + 1), sizes, np.maximum.accumulate(values))
