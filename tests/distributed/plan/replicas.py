"""Replicas for tests; what they cost is made up."""

from __future__ import annotations

from typing import Any

from grandopt.distributed.plan.pace import STEADY
from grandopt.distributed.plan.replica import Replica, Turn
from grandopt.runtime.scheduling.calibration import BatchCost

SIZES = (1, 4, 16, 64)


def inline(each_ns: float = 40_000.0, fixed_ns: float = 60_000.0, **changes: Any) -> Replica:
    """An agent that the event loop's thread answers, in turns that cost a·n + b."""
    turns = tuple(
        Turn(rows, each_ns * rows + fixed_ns, each_ns + fixed_ns, each_ns * rows + fixed_ns) for rows in SIZES
    )
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
        "turns": turns,
        "lone_ns": each_ns + fixed_ns,
        "pace": STEADY,
    }
    return Replica(**(known | changes))


def threads(
    workers: int = 2, limit: int = 16, each_ns: float = 100_000.0, fixed_ns: float = 200_000.0
) -> Replica:
    """An agent whose batches threads compute, whose way is none."""
    return inline(
        each_ns,
        fixed_ns,
        kind="threads",
        workers=workers,
        limit=limit,
        cost=BatchCost(each_ns, fixed_ns, each_ns + fixed_ns),
        turns=tuple(
            Turn(rows, taken, taken, taken) for rows in SIZES for taken in (each_ns * rows + fixed_ns,)
        ),
    )
