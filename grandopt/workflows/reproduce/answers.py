"""Whether two builds of one agent answer alike, bit by bit."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from grandopt.reporting.reproduction import AnswersReport
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array


def same_answers(then: Executor, now: Executor, observations: Sequence[Array]) -> AnswersReport:
    """Both asked for each observation by itself, in the same order; `observations` holds arrays [N, *shape].

    NaN on both sides is no difference, on one side it is one that has no size.
    """
    count = observations[0].shape[0]
    identical, gaps, squares, scale = 0, [0.0], 0.0, 0.0
    for index in range(count):
        asked = [array[index : index + 1] for array in observations]
        old, new = then.run(asked), now.run(asked)
        identical += all(_same_bits(*pair) for pair in zip(old, new, strict=True))
        for before, after in zip(old, new, strict=True):
            truth = before.astype(np.float64)
            gap = _gap(truth, after.astype(np.float64))
            gaps.append(float(np.max(gap, initial=0.0)))
            with np.errstate(over="ignore"):  # too large a square is inf, which has no size either
                squares += float(np.square(gap).sum())
                scale += float(np.square(np.where(np.isfinite(truth), truth, 0.0)).sum())
    largest = float(np.max(gaps))
    relative = math.sqrt(squares / scale) if scale > 0 else 0.0 if squares == 0 else math.inf
    return AnswersReport(
        observations=count,
        identical=identical,
        largest=largest if math.isfinite(largest) else None,
        relative_l2=relative if math.isfinite(relative) else None,
    )


def _gap(before: Array, after: Array) -> Array:
    alike = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):  # inf beside inf is alike
        return np.where(alike, 0.0, np.abs(after - before))


def _same_bits(before: Array, after: Array) -> bool:
    return (
        before.dtype == after.dtype
        and before.shape == after.shape
        and bool(np.array_equal(_bits(before), _bits(after)))
    )


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
