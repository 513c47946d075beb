"""What an executor says about where its time goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatorTime:
    """One operator of one layer: how often it runs in a call of the agent, and its own time in a call in µs.

    `layer` is the place in the original network ("" is the network itself), None where the engine no longer
    knows it. The time is taken under a profiler, which makes every operator a little slower.
    """

    name: str
    layer: str | None
    calls: float
    us: float
