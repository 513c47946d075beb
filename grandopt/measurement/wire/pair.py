"""The request for one process of a comparison."""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.measurement.wire.arrays import Paths
from grandopt.measurement.wire.codec import Request
from grandopt.measurement.wire.loadable import Loadable


@dataclass(frozen=True)
class PairTimes:
    """`blocks` [rounds, subjects]: the faster of the two blocks of each round, per call. `tails`: the p99 of
    single calls of each subject, None unless asked for; of a subject, None where there were too few."""

    blocks: tuple[tuple[float, ...], ...]
    block_calls: int
    tails: tuple[float | None, ...] | None
    calls: int


@dataclass(frozen=True)
class ComparePair(Request[PairTimes], kind="pair"):
    """Time the copies of two artifacts side by side, in short blocks for about so many seconds."""

    subjects: tuple[Loadable, ...]
    ring: Paths
    threads: int
    seconds: float
    seed: int
    tails: bool

    def misfit(self, answer: PairTimes) -> str | None:
        count = len(self.subjects)
        if not answer.blocks or not all(
            len(row) == count and all(t > 0 for t in row) for row in answer.blocks
        ):
            return f"not every block is {count} times above 0"
        if (answer.tails is not None) != self.tails or (answer.tails and len(answer.tails) != count):
            return f"its tails are {answer.tails}"
        return None
