"""One replica: an engine process that serves one agent, and what its work takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from grandopt.distributed.plan.pace import Pace
from grandopt.runtime.scheduling.calibration import BatchCost
from grandopt.runtime.scheduling.workers.choice import Kind
from grandopt.signature import Array


@dataclass(frozen=True)
class Turn:
    """What `rows` requests keep a server busy for where more always wait, in ns, at the machine's typical
    speed.

    Where the event loop's thread computes, `first_ns` and `last_ns` are from when the turn begins until its
    first and its last answer is there; elsewhere both are `occupied_ns`.
    """

    rows: int
    occupied_ns: float
    first_ns: float
    last_ns: float


@dataclass(frozen=True)
class Replica:
    """What was measured of an artifact, served by an engine of `profile` in this process.

    `cost` is the executor's own line a·n + b, `turns` what requests take through the engine, their callers in
    the same event loop, in rising sizes from 1 on. Batches have `limit` rows at most and are computed by
    `workers` of `kind`; "inline" is the event loop's own thread, which computes in turns what has come.
    `lone_ns` is what a request takes that finds the replica idle, `pace` how fast the machine went meanwhile.
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
    turns: tuple[Turn, ...]
    lone_ns: float
    pace: Pace
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
        return self.turns[-1].rows if self.inline else self.limit

    def with_transport(self, nanoseconds: float) -> Replica:
        """The same, each request of which takes so much more of the replica's time."""
        return replace(self, transport_ns=nanoseconds)

    def with_limit(self, limit: int) -> Replica:
        """The same with another limit of its batches."""
        return replace(self, limit=limit)

    def first_ns(self) -> Array:
        """Until the first answer of a turn of n requests, [n] from n = 1 on; for "inline"."""
        return self._between([turn.first_ns for turn in self.turns]) + self.transport_ns

    def last_ns(self) -> Array:
        """The same until its last answer."""
        return self._between([turn.last_ns for turn in self.turns]) + self.transport_ns * self._sizes()

    def occupied_ns(self) -> Array:
        """How long a turn or a batch of n requests keeps its server busy, [n] from n = 1 on, to `most`."""
        return self._between([turn.occupied_ns for turn in self.turns]) + self.transport_ns * self._sizes()

    @property
    def way_ns(self) -> float:
        """What an answer takes beside its batch: handed to a worker, and back to its caller."""
        return 0.0 if self.inline else max(0.0, self.lone_ns - self.turns[0].occupied_ns)

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
        """The same at the speed that the machine went at on average."""
        return self.highest_rate * self.pace.speed

    def _sizes(self) -> Array:
        return np.arange(1, self.most + 1)

    def _between(self, values: list[float]) -> Array:
        """Of every size to `most`, between those that were measured; beyond the largest in its proportion."""
        sizes, known = [turn.rows for turn in self.turns], np.maximum.accumulate(values)
        beyond = np.maximum(1.0, self._sizes() / sizes[-1])
        return np.asarray(np.interp(self._sizes(), sizes, known) * beyond)
