"""How fast a machine lets a replica work, from moment to moment.

Other programs, interrupts, the hypervisor and the collector take the processor away for milliseconds, and a
shared machine goes at half its speed for seconds. Where an agent takes microseconds a high percentile is made
of that, and of what has piled up meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from grandopt.signature import Array

BUSY = 0.15
"""A machine that does less than it typically does by more than this share of the time runs something else."""
WINDOW_NS = 100e6
"""The slowest stretch that is told is of at least so long."""


@dataclass(frozen=True)
class Pace:
    """Stretches of a replica that was never idle, in order: each took `took_ns[i]`, where the same work
    typically takes `work_ns[i]` (float64 [n], n from 1 on, all above 0)."""

    took_ns: Array
    work_ns: Array

    def __add__(self, later: Pace) -> Pace:
        """Two measurements, one after the other."""
        return Pace(
            np.concatenate([self.took_ns, later.took_ns]), np.concatenate([self.work_ns, later.work_ns])
        )

    @property
    def seconds(self) -> float:
        """How long was measured."""
        return float(self.took_ns.sum()) / 1e9

    @property
    def speed(self) -> float:
        """The work done, of what is typical, on average: 1 where nothing ever came between."""
        return float(self.work_ns.sum() / self.took_ns.sum())

    @property
    def busy(self) -> bool:
        """Whether the machine did something else while it was measured."""
        return self.speed < 1.0 - BUSY

    @cached_property
    def slowest(self) -> float:
        """The speed of the slowest tenth of a second."""
        window = np.floor(np.cumsum(self.took_ns) / WINDOW_NS).astype(np.int64)
        window = np.minimum(window, max(0, int(self.took_ns.sum() // WINDOW_NS) - 1))
        took, work = (np.bincount(window, values) for values in (self.took_ns, self.work_ns))
        there = took > 0
        return float((work[there] / took[there]).min())

    @property
    def longest_us(self) -> float:
        """The longest time, in µs, by which one stretch took longer than is typical; 0 where none did."""
        return max(0.0, float((self.took_ns - self.work_ns).max())) / 1e3


STEADY = Pace(np.array([1e9]), np.array([1e9]))
"""Of a machine that always goes as fast."""


class Progress:
    """One server's work in a simulation: the stretches of `pace`, repeated, beginning at `offset_ns` of
    them."""

    def __init__(self, pace: Pace, offset_ns: float) -> None:
        self._times = [0.0, *np.cumsum(pace.took_ns).tolist()]
        self._works = [0.0, *np.cumsum(pace.work_ns).tolist()]
        self._offset = offset_ns

    def worked(self, moment: float, work: float) -> float:
        """When so much work, in ns at the typical speed, is done that begins at `moment`."""
        done = _along(moment + self._offset, self._times, self._works)
        return max(moment, _along(done + work, self._works, self._times) - self._offset)


def _along(value: float, known: list[float], wanted: list[float]) -> float:
    """Between two scales that go on for ever, each turn of them the same: where `value` of one is in the
    other."""
    turns, inside = divmod(value, known[-1])
    place = min(bisect_right(known, inside), len(known) - 1)
    low, high = known[place - 1], known[place]
    share = (inside - low) / (high - low)
    return turns * wanted[-1] + wanted[place - 1] + share * (wanted[place] - wanted[place - 1])
