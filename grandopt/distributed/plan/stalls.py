"""The times at which a machine does not run us: other programs, interrupts, the hypervisor.

They are what a high percentile is made of where an agent takes microseconds, and no cost of a batch shows
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from grandopt.signature import Array

SECONDS = 1.5
SHORTEST_NS = 20_000
"""What counts as a stall: a turn of the watching loop takes a hundredth of it."""
BUSY = 0.05
"""A machine that stalls for more than this share of the time runs something else."""
MOST = 100_000
"""Stalls that are kept."""


@dataclass(frozen=True)
class Stalls:
    """Within `seconds` of watching, a thread that only read the clock did not run from `at_ns[i]` on for
    `took_ns[i]` (int64, from the beginning of the watch, in order, apart from each other)."""

    seconds: float
    at_ns: Array
    took_ns: Array

    def __add__(self, later: Stalls) -> Stalls:
        """Two watches, one after the other."""
        return Stalls(
            self.seconds + later.seconds,
            np.concatenate([self.at_ns, later.at_ns + round(self.seconds * 1e9)]),
            np.concatenate([self.took_ns, later.took_ns]),
        )

    @property
    def share(self) -> float:
        """The share of the time that was taken."""
        return float(self.took_ns.sum()) / (self.seconds * 1e9)

    @property
    def busy(self) -> bool:
        """Whether the machine did something else while it was watched."""
        return self.share > BUSY

    @property
    def longest_us(self) -> float:
        """The longest, in µs; 0 where there was none."""
        return float(self.took_ns.max(initial=0)) / 1e3


NO_STALLS = Stalls(1.0, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
"""Of a machine that does nothing else."""


def watch(seconds: float = SECONDS, clock: Callable[[], int] = time.perf_counter_ns) -> Stalls:
    """Read the clock again and again on the calling thread, and note where it jumps.

    This is how latency testers of the Linux kernel look for interruptions (`hwlatdetect`, `oslat`).
    """
    began = last = clock()
    end = began + round(seconds * 1e9)
    at: list[int] = []
    took: list[int] = []
    while last < end:
        now = clock()
        if now - last >= SHORTEST_NS and len(at) < MOST:
            at.append(last - began)
            took.append(now - last)
        last = now
    return Stalls((last - began) / 1e9, np.array(at, dtype=np.int64), np.array(took, dtype=np.int64))


class Pauses:
    """The stalls of one server in a simulation: those that were seen, repeated, beginning at `offset_ns`.

    Moments must be asked about in rising order.
    """

    def __init__(self, stalls: Stalls, offset_ns: float) -> None:
        self._period = stalls.seconds * 1e9
        self._at = stalls.at_ns.tolist()
        self._took = stalls.took_ns.tolist()
        self._turn = -offset_ns
        self._next = 0

    def ready(self, moment: float) -> float:
        """From when on the server runs, if it is asked to at `moment`."""
        while self._at:
            begins = self._begins()
            if begins > moment:
                break
            moment = max(moment, begins + self._took[self._next])
            self._step()
        return moment

    def worked(self, moment: float, work: float) -> float:
        """When so much work is done that begins at `moment`."""
        end = moment + work
        while self._at and self._begins() < end:
            end += self._took[self._next]
            self._step()
        return end

    def _begins(self) -> float:
        return float(self._turn + self._at[self._next])

    def _step(self) -> None:
        self._next += 1
        if self._next == len(self._at):
            self._next = 0
            self._turn += self._period
