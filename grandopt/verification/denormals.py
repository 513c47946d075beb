"""The rule for denormals, which the native engine, the verifier and the documents follow.

Numbers too small for the normal range of their dtype (below 1.2e-38 in float32) come as leftovers of
underflow, and processors take a hundred times as long over them. Hence an engine may count them as zero, if
its executor says so (`Executor.flushes_denormals`); the native one does, inside a call. Of such an engine an
answer is right if it is the original's answer to the numbers as they are, or to zeros of their signs in their
place: the logarithm of 1e-40 is -92.1 or minus infinity. The choice is free for every element of an output,
because a copy keeps a denormal that arithmetic on it loses. No engine that says nothing has the choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array
from grandopt.verification.calls import CallError, Outputs, call, unlike
from grandopt.verification.inputs import Case
from grandopt.verification.known import Known

CLOSE = 2.0**-16
"""Relative error up to which a finite answer is that for zeros, where the other one is not finite."""


def flushed(array: Array) -> Array:
    """The array with denormals as zeros of their signs; itself where there are none."""
    if array.dtype.kind != "f":
        return array
    tiny = (np.abs(array) < np.finfo(array.dtype).tiny) & (array != 0)
    return np.where(tiny, np.copysign(array.dtype.type(0), array), array) if tiny.any() else array


def with_flushed(original: Executor, item: Known) -> Known:
    """What is known of a case, together with the original's answers to zeros in place of its denormals."""
    inputs = tuple(flushed(array) for array in item.case.inputs)
    if all(new is old for new, old in zip(inputs, item.case.inputs, strict=True)):
        return item
    try:
        zeros = call(original, Case(f"{item.case.name} as zeros", inputs, item.case.kind))
    except CallError:  # it has no answer to zeros, so that nobody's can be right
        return item
    return replace(item, flushed=zeros)


def allowed(
    candidate: Executor, known: Sequence[Known], decided: Sequence[int], results: Sequence[Outputs]
) -> list[Outputs]:
    """The results, an answer to zeros replaced by the one to denormals that is as far from the original's.

    They can then be compared as if the engine had not counted denormals as zero.
    """
    if not candidate.flushes_denormals:
        return list(results)
    return [_allowed(item, decided, result) for item, result in zip(known, results, strict=True)]


def _allowed(item: Known, decided: Sequence[int], result: Outputs) -> Outputs:
    if item.flushed is None or unlike(result, item.expected):
        return result
    outputs = []
    for place, (values, zeros) in enumerate(zip(result, item.flushed, strict=True)):
        if place in decided:
            outputs.append(np.where(values == zeros, item.wanted(place).astype(values.dtype), values))
        else:
            outputs.append(_moved(values, item.expected[place], zeros))
    return tuple(outputs)


def _moved(values: Array, expected: Array, zeros: Array) -> Array:
    """`values`, where they are nearer to `zeros`, at the same distance from `expected`."""
    given, wanted, other = (array.astype(np.float64) for array in (values, expected, zeros))
    distance = _distance(given, other)
    nearer = distance < _distance(given, wanted)
    close = (distance == 0) | (distance <= CLOSE * np.maximum(1.0, np.abs(other)))
    with np.errstate(invalid="ignore", over="ignore"):
        shift = np.where(distance > 0, given - other, 0.0)
        moved = np.where(np.isfinite(wanted), wanted + shift, wanted)
    return np.where(nearer & (np.isfinite(wanted) | close), moved, given).astype(values.dtype)


def _distance(first: Array, second: Array) -> Array:
    """How far apart: nothing for equal infinities and two NaN, infinitely for anything else not finite."""
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    finite = np.isfinite(first) & np.isfinite(second)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(same, 0.0, np.where(finite, np.abs(first - second), np.inf))
