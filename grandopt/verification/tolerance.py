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

from dataclasses import dataclass

import numpy as np

from grandopt.signature import Array

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
class Bound:
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


def float32_bounds(candidate: Spread, original: Spread, drawn: Spread | None = None) -> tuple[Bound, ...]:
    """The float32 rule applied to one group of rows.

    `original` is the yardstick in the same group, `drawn` the one in the drawn group when this is another
    (see the module's text); without it the group is the drawn one and is judged by the median too.
    """
    if drawn is None:
        largest = float32_limit(original.error, original.scale)
        bounds = [Bound(candidate.error, largest, original.error)]
        if original.rows >= TYPICAL_ROWS:
            typical = float32_limit(original.typical_error, original.typical_scale)
            bounds.append(Bound(candidate.typical_error, typical, original.typical_error))
        return tuple(bounds)
    relative = drawn.error / drawn.scale if drawn.scale else 0.0
    yardstick = max(original.error, relative * original.scale)
    limit = float32_limit(yardstick, max(original.scale, drawn.scale))
    return (Bound(candidate.error, limit, yardstick),)
