"""What a batch costs: `per_observation · n + fixed`, measured where it will be served."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Signature

SIZES = (1, 4, 16, 64, 256)
BUDGET_S = 0.05
"""For all sizes together; larger ones are left out when it is used up."""
ROUNDS = 5
"""Calls of each size: the fastest counts, because whatever else runs here only adds."""
SINGLES = 50
"""Calls of one observation, unless one takes longer than `LONG_NS`."""
LONG_NS = 100_000
WORTH = 0.05
"""A batch is large enough when what is fixed is less than this share of its time."""
HANDLING_NS = 20_000
"""What a batch costs beside its computing, to be put together and given out: 10 to 50 µs were seen."""
MOST = 256
"""The largest limit that is suggested, in rows."""


@dataclass(frozen=True)
class BatchCost:
    """The measured line: nanoseconds for each observation, and for each batch whatever its size.

    `single_ns` is what one observation alone took. `cheapest` is the largest measured size at which a row
    costs the least, within a tenth, if larger ones were measured to cost more; None where none did.
    """

    per_observation_ns: float
    fixed_ns: float
    single_ns: float
    cheapest: int | None = None

    def of(self, rows: float) -> float:
        """The time of a batch in nanoseconds."""
        return self.per_observation_ns * rows + self.fixed_ns

    @property
    def limit(self) -> int:
        """From how many rows on larger batches gain nothing worth waiting for: a power of two.

        1 for an agent of which each observation takes long, however many there are.
        """
        if self.per_observation_ns <= 0:
            return MOST
        rows = (self.fixed_ns + HANDLING_NS) / (WORTH * self.per_observation_ns)
        return int(min(MOST, 2 ** np.ceil(np.log2(max(rows, 1.0)))))


def measure_cost(
    executor: Executor,
    observations: Sequence[Array] | None = None,
    *,
    budget_s: float = BUDGET_S,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> BatchCost:
    """Time the executor on batches of growing size on the calling thread, and fit the line.

    `observations` are one array [N, *shape] per input with N at least 256; without them, zeros. The line is
    fitted by least squares of relative errors, and neither of its numbers is negative. What the executor
    raises passes through.
    """
    rows = _rows(executor.signature) if observations is None else list(observations)
    began, times = clock(), {}
    for size in SIZES:
        batch = [np.ascontiguousarray(array[:size]) for array in rows]
        executor.run(batch)  # what a first call sets up
        best = None
        for _ in range(ROUNDS):
            start = clock()
            executor.run(batch)
            took = max(1, clock() - start)
            best = took if best is None else min(best, took)
            if clock() - began > budget_s * 1e9:
                break
        times[size] = best
        if clock() - began > budget_s * 1e9:
            break
    line = fitted({size: float(took) for size, took in times.items() if took is not None})
    return replace(line, single_ns=float(_single(executor, [array[0] for array in rows], clock)))


def fitted(times: dict[int, float]) -> BatchCost:
    """The line through times in nanoseconds by batch size; one of size 1 must be there."""
    single = times[1]
    if len(times) == 1:
        return BatchCost(single, 0.0, single)
    sizes, taken = np.array(list(times), dtype=np.float64), np.array(list(times.values()))
    matrix = np.stack([sizes / taken, 1.0 / taken], axis=1)
    (slope, fixed), *_ = np.linalg.lstsq(matrix, np.ones_like(taken), rcond=None)
    cheapest = cheapest_of(times)
    if fixed < 0:
        return BatchCost(float(np.mean(taken / sizes)), 0.0, single, cheapest)
    if slope < 0:
        return BatchCost(0.0, float(np.mean(taken)), single, cheapest)
    return BatchCost(float(slope), float(fixed), single, cheapest)


def cheapest_of(times: dict[int, float]) -> int | None:
    """See BatchCost.cheapest."""
    each = {size: took / size for size, took in times.items()}
    least = min(each.values())
    size = max(size for size, cost in each.items() if cost <= 1.1 * least)
    return None if size == max(times) else size


def _single(executor: Executor, row: Sequence[Array], clock: Callable[[], int]) -> int:
    """The time of a call with one observation, which small agents answer faster than a batch of one."""
    executor(*row)
    best = 0
    for _ in range(SINGLES):
        start = clock()
        executor(*row)
        took = max(1, clock() - start)
        best = min(best or took, took)
        if took > LONG_NS:
            break  # one is enough
    return best


def _rows(signature: Signature) -> list[Array]:
    return [np.zeros((SIZES[-1], *spec.shape), dtype=spec.dtype) for spec in signature.inputs]
