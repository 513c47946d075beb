"""A server in miniature: an agent called through its real call path, with the objects that a server makes."""

from __future__ import annotations

import gc
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array


class ServedSession:
    """A long-living object of a loaded server: an instance, a dict and two lists."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.limits = {"most": float(number), "open": [number]}
        self.history = [float(number), float(number + 1)]


LEVELS = 5
BODY = json.dumps(
    {
        "instrument": "ES",
        "book": {
            side: [[4500.0 + 0.25 * sign * level, 10 + level] for level in range(1, LEVELS + 1)]
            for side, sign in (("bids", -1), ("asks", 1))
        },
    }
)
"""A request as it comes over the wire: an order book of five levels."""


class ServedRequest:
    """What is made per call: a decoded request, its context and its callback, which refer to each other.

    Nothing but the garbage collector finds that they are no longer needed.
    """

    def __init__(self, number: int, body: str, observation: Sequence[Array], session: ServedSession) -> None:
        self.number = number
        self.body = json.loads(body)
        self.observation = observation
        self.session = session
        self.context = {"request": self, "trace": [number, self]}
        self.done: list[Callable[[], int]] = [lambda: self.number]
        self.action: Any = None


class Server:
    """Answers requests one after the other, in bursts with an idle moment after each.

    `ring` holds the observations that are answered in turn, each as one array per input, without the batch.
    `sessions` is the number of long-living sessions. The last `recent` requests stay reachable, as those in
    flight or in a log do.
    """

    def __init__(self, agent: Executor, ring: Sequence[Sequence[Array]], sessions: int, recent: int) -> None:
        self._agent = agent
        self._ring = ring
        self._sessions = [ServedSession(number) for number in range(sessions)]
        self._recent: deque[ServedRequest] = deque(maxlen=recent)

    def serve(self, calls: int, burst: int, idle: Callable[[], object]) -> list[int]:
        """Answer so many requests, calling `idle` after every `burst`; the nanoseconds of each.

        They hold the making of the request, the call, and whatever collection Python begins meanwhile. Idle
        moments are not in them.
        """
        clock, recent = time.perf_counter_ns, self._recent.append
        agent, ring, sessions = self._agent, self._ring, self._sessions
        times: list[int] = []
        for number in range(calls):
            start = clock()
            request = ServedRequest(number, BODY, ring[number % len(ring)], sessions[number % len(sessions)])
            request.action = agent(*request.observation)
            recent(request)
            times.append(clock() - start)
            if (number + 1) % burst == 0:
                idle()
        return times

    def agent_ns(self, calls: int = 2000) -> list[int]:
        """Nanoseconds of calls of the agent alone."""
        clock, agent = time.perf_counter_ns, self._agent
        times = []
        for number in range(calls):
            observation = self._ring[number % len(self._ring)]
            start = clock()
            agent(*observation)
            times.append(clock() - start)
        return times

    def objects_per_request(self) -> int:
        """How many objects a request adds to what the garbage collector looks at."""
        enabled = gc.isenabled()
        gc.disable()
        before = gc.get_count()[0]
        made = [ServedRequest(number, BODY, self._ring[0], self._sessions[0]) for number in range(100)]
        after = gc.get_count()[0]
        if enabled:
            gc.enable()
        return round((after - before) / len(made))
