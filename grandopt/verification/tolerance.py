"""How far a candidate may be from the float64 reference.

The rule for float32 is: error at most 4 times the original's own float32 error, plus 1e-6 of the output's
scale. Which norm and which group of rows decides what it can see:

- The error is the largest absolute one, so that a single wrong element is not averaged away.
- All drawn rows form one group: the original's largest error over many rows is a steady yardstick, that
  over a handful is luck. Edge cases (zeros, large values, denormals) are groups of their own, and do not
  enter the drawn one, so that the rounding of one huge case does not excuse errors in ordinary ones.
- Samples can themselves differ by orders of magnitude. Therefore the drawn rows are judged a second time
  by the median over rows of each row's largest error, which a few huge rows cannot move.
- A small group borrows: its yardstick is at least the drawn group's relative error at its own scale, and
  its scale at least the drawn group's, because an exact hit of the original there would be luck too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from grandopt.errors import VerificationError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, Contract, TensorSpec
from grandopt.verification.calls import CallError, Outputs, call
from grandopt.verification.inputs import Case
from grandopt.verification.known import CaseGroup, Known, Reference, decisions

FACTOR = 4.0
FLOOR = 1e-6
TYPICAL_ROWS = 32
"""With fewer rows than this the median is no steadier than the maximum and is not judged."""


@dataclass(frozen=True)
class Spread:
    """How far a group of rows lies from the reference.

    `error` and `scale` are the largest absolute error and the largest absolute value of the reference,
    `typical_error` and `typical_scale` the medians over rows of each row's largest, `squares` and
    `reference_squares` the sums of squares over all elements, `row` the row of the largest error.
    """

    rows: int
    error: float
    scale: float
    typical_error: float
    typical_scale: float
    squares: float
    reference_squares: float
    row: int

    @property
    def relative_l2(self) -> float:
        """L2 norm of the error divided by that of the reference; infinite where only the latter is 0."""
        if self.squares == 0.0:
            return 0.0
        return float(np.sqrt(self.squares / self.reference_squares)) if self.reference_squares else np.inf


def spread(values: Array, reference: Array) -> Spread:
    """Compare `values` with `reference`, both [B, *shape], over the elements where both are finite."""
    rows = reference.shape[0]
    truth = reference.astype(np.float64).reshape(rows, -1)
    given = values.astype(np.float64).reshape(rows, -1)
    finite = np.isfinite(truth) & np.isfinite(given)
    truth = np.where(finite, truth, 0.0)
    errors = np.abs(np.where(finite, given, 0.0) - truth)
    per_row, scales = errors.max(axis=1), np.abs(truth).max(axis=1)
    return Spread(
        rows=rows,
        error=float(per_row.max()),
        scale=float(scales.max()),
        typical_error=float(np.median(per_row)),
        typical_scale=float(np.median(scales)),
        squares=float(np.square(errors).sum()),
        reference_squares=float(np.square(truth).sum()),
        row=int(per_row.argmax()),
    )


def float32_limit(yardstick: float, scale: float) -> float:
    """The largest error a float32 candidate may have: 4 × the original's own, plus 1e-6 of the scale."""
    return FACTOR * yardstick + FLOOR * scale


@dataclass(frozen=True)
class ErrorBound:
    """One measured error beside its limit and the original's own error."""

    error: float
    limit: float
    yardstick: float

    @property
    def usage(self) -> float:
        """Error divided by limit: above 1 is a failure."""
        if self.error == 0.0:
            return 0.0
        return self.error / self.limit if self.limit > 0.0 else np.inf


def float32_bounds(
    candidate: Spread, original: Spread, drawn: Spread | None = None
) -> tuple[ErrorBound, ...]:
    """The float32 rule applied to one group of rows.

    `original` is the yardstick in the same group, `drawn` the one in the drawn group when this is another
    (see the module's text); without it the group is the drawn one and is judged by the median too.
    """
    if drawn is None:
        largest = float32_limit(original.error, original.scale)
        bounds = [ErrorBound(candidate.error, largest, original.error)]
        if original.rows >= TYPICAL_ROWS:
            typical = float32_limit(original.typical_error, original.typical_scale)
            bounds.append(ErrorBound(candidate.typical_error, typical, original.typical_error))
        return tuple(bounds)
    relative = drawn.error / drawn.scale if drawn.scale else 0.0
    yardstick = max(original.error, relative * original.scale)
    limit = float32_limit(yardstick, max(original.scale, drawn.scale))
    return (ErrorBound(candidate.error, limit, yardstick),)


LARGEST_OWN_ERROR = 1e-2
"""An original further than this from its own reference has the wrong one, or computes noise."""

ROUNDED_STEPS = 16
"""Or further than so many roundings of its coarsest numbers, where these are half: layers add them up."""

ROUNDINGS = 2
"""How often the inputs are rounded where no float64 reference exists."""

Spreads = dict[tuple[int, int], Spread]
"""The original's error by group and floating-point output, both as places."""


def largest_own_error(resolution: float) -> float:
    """How far an original may be from its reference, relative to the scale of what is compared."""
    return max(LARGEST_OWN_ERROR, ROUNDED_STEPS * resolution)


def own_spreads(
    groups: Sequence[CaseGroup], known: Sequence[Known], floats: Sequence[int], results: Sequence[Outputs]
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
    groups: Sequence[CaseGroup],
    known: Sequence[Known],
    floats: Sequence[int],
    rng: np.random.Generator,
    resolution: float,
) -> Spreads:
    """The yardstick where the reference is the original itself, and so exactly as wrong.

    Measured instead: how far the original moves when each element of its inputs is rounded the other way
    (changed by up to one unit in the last place, at the `resolution` of its own arithmetic). That makes
    errors of this size in every layer, so this is a lower estimate of the original's error, never a generous
    one. Raises VerificationError when the original fails on the rounded inputs.
    """
    widest: Spreads = {}
    for _ in range(ROUNDINGS):
        try:
            moved = [call(original, rounded(item.case, rng, resolution)) for item in known]
        except CallError as error:
            raise VerificationError(f"the original fails on rounded inputs: {error}") from error
        for place, found in own_spreads(groups, known, floats, moved).items():
            widest[place] = wider(widest.get(place, found), found)
    return widest


def rounded(case: Case, rng: np.random.Generator, resolution: float = 0.0) -> Case:
    """The case with every floating-point element changed by a random part of its unit in the last place, or
    of the `resolution` where that is coarser."""
    moved = []
    for array in case.inputs:
        if array.dtype.kind != "f":
            moved.append(array)
            continue
        ulps = rng.integers(-1, 2, size=array.shape) * max(np.finfo(array.dtype).eps, resolution)
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
    """`own_margin` where the reference is the original itself: decisions that rounding the inputs changes."""
    largest = 0.0
    for item in known:
        before = reference.scores(item.case.inputs)
        after = reference.scores(rounded(item.case, rng, reference.resolution).inputs)
        if item.case.kind == "special" or before is None or after is None:
            continue
        changed = (decisions(contract, before) != decisions(contract, after)).any(axis=-1)
        largest = max(largest, float(item.margins[changed].max(initial=0.0)))
    return largest


def check_own(
    spreads: Spreads, margin: float, drawn: int, specs: Sequence[TensorSpec], resolution: float
) -> None:
    """Raise VerificationError when the original is too far from its reference to be compared with.

    `drawn` is the place of the group of drawn cases, `resolution` the reference's.
    """
    most = largest_own_error(resolution)
    for (group, output), own in spreads.items():
        if group == drawn and own.error > most * own.scale:
            raise VerificationError(
                f"output {specs[output].name!r}: the original is {own.error:.2g} away from its own reference "
                f"(scale {own.scale:.2g}, at most {most:.0%} is accepted): it computes noise "
                f"here, or the reference is not this agent"
            )
    if margin > most:
        raise VerificationError(
            f"the original decides otherwise than its own reference at a margin of {margin:.2g} of the "
            f"scores (at most {most:.0%} is accepted): the reference is not this agent"
        )
