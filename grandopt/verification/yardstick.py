"""The original's own float32 error: the yardstick that candidates are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from grandopt.errors import VerificationError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Contract, TensorSpec
from grandopt.verification.calls import CallError, Outputs, call
from grandopt.verification.decisions import decisions
from grandopt.verification.inputs import Case
from grandopt.verification.known import Group, Known
from grandopt.verification.reference import Reference
from grandopt.verification.tolerance import Spread, spread

LARGEST_OWN_ERROR = 1e-2
"""An original further than this from its own reference has the wrong one, or computes noise."""

ROUNDINGS = 2
"""How often the inputs are rounded where no float64 reference exists."""

Spreads = dict[tuple[int, int], Spread]
"""The original's error by group and floating-point output, both as places."""


def own_spreads(
    groups: Sequence[Group], known: Sequence[Known], floats: Sequence[int], results: Sequence[Outputs]
) -> Spreads:
    """How far `results` (one tuple of outputs per case) lie from the reference, by group and output."""
    truth = [item.truth for item in known]
    return {
        (place, output): spread(group.gather(results, output), group.gather(truth, output))
        for place, group in enumerate(groups)
        for output in floats
    }


def rounded_spreads(
    original: Executor,
    groups: Sequence[Group],
    known: Sequence[Known],
    floats: Sequence[int],
    rng: np.random.Generator,
) -> Spreads:
    """The yardstick where the reference is float32 itself, and so exactly as wrong as the original.

    Measured instead: how far the original moves when each element of its inputs is rounded the other way
    (changed by up to one unit in the last place). Float32 arithmetic makes errors of this size in every
    layer, so this is a lower estimate of the original's error, never a generous one.
    Raises VerificationError when the original fails on the rounded inputs.
    """
    widest: Spreads = {}
    for _ in range(ROUNDINGS):
        try:
            moved = [call(original, rounded(item.case, rng)) for item in known]
        except CallError as error:
            raise VerificationError(f"the original fails on rounded inputs: {error}") from error
        for place, found in own_spreads(groups, known, floats, moved).items():
            widest[place] = wider(widest.get(place, found), found)
    return widest


def rounded(case: Case, rng: np.random.Generator) -> Case:
    """The case with every floating-point element changed by a random part of its unit in the last place."""
    moved = []
    for array in case.inputs:
        if array.dtype.kind != "f":
            moved.append(array)
            continue
        ulps = rng.integers(-1, 2, size=array.shape) * np.finfo(array.dtype).eps
        moved.append((array * (1.0 + ulps.astype(array.dtype))).astype(array.dtype))
    return replace(case, inputs=tuple(moved))


def wider(first: Spread, second: Spread) -> Spread:
    """The larger error of each kind of two spreads of the same rows."""
    return replace(
        first,
        error=max(first.error, second.error),
        typical_error=max(first.typical_error, second.typical_error),
        squares=max(first.squares, second.squares),
    )


def own_margin(known: Sequence[Known], decided: Sequence[int]) -> float:
    """The largest relative margin at which the original's decision is not the reference's; 0 if none is."""
    largest = 0.0
    for item in known:
        if item.case.kind == "special":
            continue
        for output in decided:
            wrong = item.differs(output, item.expected[output])
            largest = max(largest, float(item.margins[wrong].max(initial=0.0)))
    return largest


def rounded_margin(
    reference: Reference, contract: Contract, known: Sequence[Known], rng: np.random.Generator
) -> float:
    """`own_margin` where the reference is float32 itself: decisions that rounding the inputs changes."""
    largest = 0.0
    for item in known:
        before = reference.scores(item.case.inputs)
        after = reference.scores(rounded(item.case, rng).inputs)
        if item.case.kind == "special" or before is None or after is None:
            continue
        changed = (decisions(contract, before) != decisions(contract, after)).any(axis=-1)
        largest = max(largest, float(item.margins[changed].max(initial=0.0)))
    return largest


def check_own(spreads: Spreads, margin: float, drawn: int, specs: Sequence[TensorSpec]) -> None:
    """Raise VerificationError when the original is too far from its reference to be compared with.

    `drawn` is the place of the group of drawn cases.
    """
    for (group, output), own in spreads.items():
        if group == drawn and own.error > LARGEST_OWN_ERROR * own.scale:
            raise VerificationError(
                f"output {specs[output].name!r}: the original is {own.error:.2g} away from its own reference "
                f"(scale {own.scale:.2g}, at most {LARGEST_OWN_ERROR:.0%} is accepted): it computes noise "
                f"here, or the reference is not this agent"
            )
    if margin > LARGEST_OWN_ERROR:
        raise VerificationError(
            f"the original decides otherwise than its own reference at a margin of {margin:.2g} of the "
            f"scores (at most {LARGEST_OWN_ERROR:.0%} is accepted): the reference is not this agent"
        )
