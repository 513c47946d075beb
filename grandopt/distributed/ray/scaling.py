"""How many replicas an application should have: by its queue, and by the time that calls take.

Ray Serve's controller asks this a few times a second, and moves to what it says after the configured delays.
"""

from __future__ import annotations

import math
from typing import Any

QUEUE, P99_S = 2.0, 0.05
"""Calls per replica that are under way or wait; and how long the slowest hundredth of calls may take."""
ROWS = 256.0
"""Observations per replica that wait in its engine."""
ROOM = 0.5
"""A replica is given back when the others would be at this share of the limits."""


class QueueAndTail:
    """The policy, called with Ray Serve's AutoscalingContext.

    `queue` calls and `rows` waiting observations per replica are aimed at; a p99 above `p99_s` asks for one
    replica more, whatever the queue is.
    """

    def __init__(self, queue: float = QUEUE, p99_s: float = P99_S, rows: float = ROWS) -> None:
        self._queue, self._p99_s, self._rows = queue, p99_s, rows

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """The number of replicas that is wanted, and nothing to be kept."""
        replicas = max(1, context.current_num_replicas)
        metrics = context.aggregated_metrics or {}
        waiting = sum((metrics.get("waiting") or {}).values())
        tail = max((metrics.get("p99_s") or {}).values(), default=0.0)
        return self.wanted(replicas, float(context.total_num_requests), waiting, tail), {}

    def wanted(self, replicas: int, calls: float, waiting: float, p99_s: float) -> int:
        """For so many replicas with so many calls and waiting observations together, and that p99."""
        needed = max(calls / self._queue, waiting / self._rows)
        if p99_s > self._p99_s:
            return max(replicas + 1, math.ceil(needed))
        if needed > replicas:
            return math.ceil(needed)
        fewer = replicas - 1
        # What a replica less would make of the tail is not known: it must be far from the limit.
        if fewer and needed <= ROOM * fewer and p99_s <= ROOM * self._p99_s:
            return max(1, math.ceil(needed / ROOM))
        return replicas


def autoscaling(most: int, *, queue: float = QUEUE, p99_s: float = P99_S) -> dict[str, Any]:
    """Ray Serve's autoscaling_config for 1 to `most` replicas."""
    return {
        "min_replicas": 1,
        "max_replicas": most,
        "upscale_delay_s": 2.0,
        "downscale_delay_s": 60.0,
        "look_back_period_s": 5.0,
        "policy": {
            "policy_function": f"{__name__}:{QueueAndTail.__name__}",
            "policy_kwargs": {"queue": queue, "p99_s": p99_s},
        },
    }
