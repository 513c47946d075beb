"""Replicas for tests; what they cost is made up."""

from __future__ import annotations

from typing import Any

from grandopt.distributed.plan.replica import Burst, Replica
from grandopt.distributed.plan.stalls import NO_STALLS
from grandopt.runtime.scheduling.calibration import BatchCost


def inline(each_ns: float = 40_000.0, fixed_ns: float = 60_000.0, **changes: Any) -> Replica:
    """An agent that the event loop's thread answers, in turns that cost a·n + b."""
    bursts = tuple(Burst(rows, each_ns + fixed_ns, each_ns * rows + fixed_ns) for rows in (1, 4, 16, 64))
    known: dict[str, Any] = {
        "agent": "gate",
        "digest": "0" * 64,
        "engine": "native",
        "precision": "float32",
        "profile": "aggressive",
        "kind": "inline",
        "workers": 1,
        "limit": 64,
        "cost": BatchCost(200.0, 300.0, 400.0),
        "bursts": bursts,
        "stalls": NO_STALLS,
    }
    return Replica(**(known | changes))


def threads(
    workers: int = 2, limit: int = 16, each_ns: float = 100_000.0, fixed_ns: float = 200_000.0
) -> Replica:
    """An agent whose batches threads compute, whose way and slowdown are none."""
    largest = 64 * workers
    whole = (each_ns * largest + fixed_ns * (largest / limit)) / workers
    return inline(
        kind="threads",
        workers=workers,
        limit=limit,
        cost=BatchCost(each_ns, fixed_ns, each_ns + fixed_ns),
        bursts=(Burst(1, each_ns + fixed_ns, each_ns + fixed_ns), Burst(largest, each_ns, whole)),
    )
