"""What a call of a candidate takes at least, so that what cannot win any more need not be built.

A call goes through its engine, which costs what the null agent's call does, and then does the agent's own
work, for which no build is faster than the machine's limit at its precision. One comes after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from grandopt.compiler.build import Candidate
from grandopt.config.engine import Precision
from grandopt.measurement.limit import KERNELS, AgentLimit
from grandopt.reason import Reason, ReasonCode
from grandopt.reporting.units import duration
from grandopt.workflows.building.built import BuiltCandidate

AgentLimits = Callable[[Precision, int], AgentLimit]
"""The machine's limit for an agent, at a precision and on so many threads."""


@dataclass(frozen=True)
class Leader:
    """The fastest candidate so far, and the median µs of its calls."""

    label: str
    us: float


@dataclass(frozen=True)
class LeastCalls:
    """The least that calls of one agent's candidates take: what is known of it.

    `through` holds the µs that a call through an engine takes whatever the agent; an engine of which that is
    unknown counts as free.
    """

    limits: AgentLimits | None = None
    through: Mapping[str, float] = field(default_factory=dict)

    def holding_for(self, builds: Iterable[BuiltCandidate], medians: Mapping[str, float]) -> LeastCalls:
        """The same without limits that something can pass, as these builds may show by their median µs."""
        if self.limits is None:
            return self
        for built in builds:
            limit = self.limits(built.candidate.precision, built.threads)
            if limit.source != KERNELS or medians[built.label] < limit.us:
                return LeastCalls(None, self.through)
        return self

    def outpaced(self, candidate: Candidate, threads: int, leader: Leader) -> Reason | None:
        """Why this candidate cannot be faster than the leader; None where it may be."""
        through = self.through.get(candidate.engine, 0.0)
        if through > leader.us:
            words = f"a call through {candidate.engine} takes at least {duration(through)} on this machine, "
            return _slower(f"{words}whatever the agent", leader)
        limit = None if self.limits is None else self.limits(candidate.precision, threads)
        if limit is None or through + limit.us <= leader.us:
            return None
        words = f"by the machine's limit a call at {candidate.precision} takes at least {duration(limit.us)}"
        engine = f" after {duration(through)} in {candidate.engine}" if through else ""
        return _slower(f"{words}{engine}", leader)


def _slower(least: str, leader: Leader) -> Reason:
    return Reason(ReasonCode.OUTPACED, f"not built: {least}, and {leader.label} takes {duration(leader.us)}")
