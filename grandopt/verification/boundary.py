"""Inputs next to decision boundaries.

An artifact that returns only the arg max hides how far its scores are off. Where the decision changes it
cannot hide: between two samples with different decisions lies a boundary, found by bisection with the
float64 scores, and inputs at falling distances on both sides of it have falling margins. A candidate whose
scores are off by more than a margin moves the boundary past one of the two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.errors import VerificationError
from grandopt.signature import Array, Contract, Signature
from grandopt.verification.known import Reference, decisions, relative_margins

PAIRS = 32
BISECTIONS = 30
STEPS = 24
NEAREST, FURTHEST = 1e-8, 1e-3
"""Relative margins of probes: no float32 network decides below the nearest; samples cover the rest."""


@dataclass(frozen=True)
class Probes:
    """Inputs [N, *shape] beside decision boundaries, with their relative margins [N] in float64.

    `reason` says why there are none.
    """

    inputs: tuple[Array, ...]
    margins: Array
    reason: str | None = None

    def __len__(self) -> int:
        return int(self.margins.size)


def find(
    signature: Signature,
    contract: Contract,
    reference: Reference,
    samples: Sequence[Array],
    *,
    scale: float,
    seed: int = 0,
) -> Probes:
    """Probes between pairs of the rows of `samples` (one finite array [N, *shape] per input).

    Floating-point inputs are interpolated and rounded to their dtype, and the margin is that of the rounded
    input; integers and booleans keep the first row's value. Without floating-point inputs, or where all
    samples lead to the same decision, there are no probes and the reason is given. `scale` is the one of
    `relative_margins`.
    """
    floats = [np.dtype(spec.dtype).kind == "f" for spec in signature.inputs]
    if not any(floats):
        return _none(samples, "no boundary probes: the inputs are whole numbers, nothing lies between them")
    scores = reference.scores(samples)
    if scores is None:
        return _none(samples, "no boundary probes: the reference gives no scores")
    pairs = _pairs(decisions(contract, scores), np.random.default_rng(seed))
    starts = [array[pairs[:, 0]] for array in samples]
    ends = [
        array[pairs[:, 1]] if moves else start
        for array, start, moves in zip(samples, starts, floats, strict=True)
    ]
    segment = _Segment(contract, reference, starts, ends)
    if pairs.size:
        segment = segment.where(segment.decided(1.0) != segment.decided(0.0))
    if len(segment) == 0:
        return _none(samples, "no boundary probes: all samples lead to the same decision")
    return _ladder(segment, scale)


class _Segment:
    """Straight lines between pairs of inputs, on which the decision differs at the two ends."""

    def __init__(
        self, contract: Contract, reference: Reference, starts: list[Array], ends: list[Array]
    ) -> None:
        self.contract = contract
        self._reference = reference
        self._starts = starts
        self._ends = ends

    def __len__(self) -> int:
        return int(self._starts[0].shape[0])

    def where(self, differs: Array) -> _Segment:
        keep = differs.any(axis=-1)
        return _Segment(
            self.contract,
            self._reference,
            [array[keep] for array in self._starts],
            [array[keep] for array in self._ends],
        )

    def at(self, place: float | Array) -> list[Array]:
        """The inputs at `place` (0 … 1, one per line), rounded to the inputs' dtypes."""
        points = []
        for start, end in zip(self._starts, self._ends, strict=True):
            if start.dtype.kind != "f":
                points.append(start)
                continue
            along = np.broadcast_to(place, (len(self),)).reshape(-1, *[1] * (start.ndim - 1))
            first, last = start.astype(np.float64), end.astype(np.float64)
            # In this form both ends are met exactly, and no point leaves the box between them.
            points.append((first * (1.0 - along) + last * along).astype(start.dtype))
        return points

    def scores(self, place: float | Array) -> Array:
        scores = self._reference.scores(self.at(place))
        if scores is None:
            raise VerificationError("the reference gives scores for some inputs and none for others")
        return scores

    def decided(self, place: float | Array) -> Array:
        return decisions(self.contract, self.scores(place))


def _ladder(segment: _Segment, scale: float) -> Probes:
    """Bisect to the boundary nearest each line's start, then step away from it on both sides."""
    contract = segment.contract
    first = segment.decided(0.0)
    low, high = np.zeros(len(segment)), np.ones(len(segment))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        stays = (segment.decided(middle) == first).all(axis=-1)
        low, high = np.where(stays, middle, low), np.where(stays, high, middle)
    inputs: list[list[Array]] = []
    margins: list[Array] = []
    for step in range(STEPS):
        for place in (low * (1 - 0.5**step), high + (1 - high) * 0.5**step):
            margin = relative_margins(contract, segment.scores(place), scale)
            near = (margin >= NEAREST) & (margin <= FURTHEST)
            inputs.append([array[near] for array in segment.at(place)])
            margins.append(margin[near])
    joined = tuple(np.concatenate(arrays) for arrays in zip(*inputs, strict=True))
    found = Probes(joined, np.concatenate(margins))
    if len(found) == 0:
        return _none(joined, "no boundary probes: no rounded input lies close enough to a boundary")
    return found


def _pairs(decided: Array, rng: np.random.Generator) -> Array:
    """Up to `PAIRS` pairs [P, 2] of rows with different decisions, each kind of change before repeats."""
    _, kinds = np.unique(decided, axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    drawn = rng.integers(kinds.size, size=(64 * PAIRS, 2))
    drawn = drawn[kinds[drawn[:, 0]] != kinds[drawn[:, 1]]]
    change = kinds[drawn[:, 0]] * (kinds.max() + 1) + kinds[drawn[:, 1]]
    repeats = np.zeros(len(drawn), dtype=np.int64)
    for kind in np.unique(change):
        repeats[change == kind] = np.arange((change == kind).sum())
    return np.asarray(drawn[np.argsort(repeats, kind="stable")][:PAIRS])


def _none(samples: Sequence[Array], reason: str) -> Probes:
    return Probes(tuple(array[:0] for array in samples), np.zeros(0), reason)
