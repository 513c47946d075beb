"""The right answers to single cases, and the groups in which cases are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from grandopt.errors import VerificationError
from grandopt.signature import Array, Contract, TensorSpec
from grandopt.verification.calls import ENGINE_FAILURES, Outputs
from grandopt.verification.inputs import Case, Kind


@dataclass(frozen=True)
class Known:
    """A case and its answers: `expected` by the original, `truth` by the reference.

    `margins` [B] says how far each row is from another decision, relative to its largest score: infinite
    where the original's decision must be met in any case. `dirty` [B] marks rows with NaN or infinity in.
    `flushed` holds, where there are denormals in, the original's answers to zeros instead (see `denormals`).
    """

    case: Case
    expected: Outputs
    truth: Outputs
    margins: Array
    dirty: Array
    flushed: Outputs | None = None

    def wanted(self, output: int) -> Array:
        """The decision to meet: the reference's, and the original's own where NaN or infinity came in."""
        dirty = self.dirty.reshape(-1, *[1] * (self.truth[output].ndim - 1))
        return np.where(dirty, self.expected[output], self.truth[output])

    def differs(self, output: int, decided: Array) -> Array:
        """The rows [B] in which `decided` is not the wanted decision."""
        wanted = self.wanted(output)
        both_nan = (decided != decided) & (wanted != wanted)
        return np.asarray(((decided != wanted) & ~both_nan).reshape(self.case.batch, -1).any(axis=1))


@dataclass(frozen=True)
class CaseGroup:
    """Cases judged together: their places in the list of cases, and the name of a population."""

    kind: Kind
    members: tuple[int, ...]
    name: str | None = None

    def gather(self, results: Sequence[Outputs], output: int) -> Array:
        """One output of all rows of the group: [rows, *shape]."""
        return np.concatenate([results[place][output] for place in self.members])


def grouped(cases: Sequence[Case], alone: int) -> tuple[CaseGroup, ...]:
    """The drawn cases first, as one group, then the last `alone` ones as one, and every other by itself."""
    split = len(cases) - alone
    drawn = tuple(place for place in range(split) if cases[place].kind == "drawn")
    others = [
        CaseGroup(cases[place].kind, (place,)) for place in range(split) if cases[place].kind != "drawn"
    ]
    singles = [CaseGroup("edge", tuple(range(split, len(cases))))] if alone else []
    return (CaseGroup("drawn", drawn), *singles, *others)


def decided_outputs(specs: Sequence[TensorSpec], contract: Contract, expected: Outputs) -> tuple[int, ...]:
    """The places of outputs that are decisions: the action of an arg max or of bits, and whole numbers."""
    return tuple(
        place
        for place, (spec, array) in enumerate(zip(specs, expected, strict=True))
        if array.dtype.kind != "f" or (spec.role == "action" and is_decision(contract))
    )


def known(
    reference: Reference,
    contract: Contract,
    case: Case,
    expected: Outputs,
    decided: Sequence[int],
    scale: float,
) -> Known:
    """Ask the reference about a case that the original has answered with `expected`.

    `scale` is the one of `relative_margins`; it is not used where the reference gives no scores.
    Raises VerificationError when the reference cannot compute it or has outputs of other shapes.
    """
    try:
        truth = reference.outputs(case.inputs)
        scores = reference.scores(case.inputs) if is_decision(contract) else None
    except ENGINE_FAILURES as error:
        line = str(error).strip().partition("\n")[0]
        raise VerificationError(
            f"the {reference.precision} reference fails on {case.name!r}: {line}"
        ) from error
    if [array.shape for array in truth] != [array.shape for array in expected]:
        raise VerificationError(
            f"the reference returns shapes {[list(array.shape) for array in truth]} on {case.name!r}, "
            f"the original {[list(array.shape) for array in expected]}; they are not the same agent"
        )
    dirty = np.zeros(case.batch, dtype=bool)
    for array in case.inputs:
        if array.dtype.kind == "f":
            dirty |= ~np.isfinite(array).reshape(case.batch, -1).all(axis=1)
    if scores is not None:
        margins = relative_margins(contract, scores, scale)
        margins = np.where(np.isnan(margins), np.inf, margins)
    else:
        # Nothing says how sure the decision is, so it counts where original and reference agree on it.
        agree = np.ones(case.batch, dtype=bool)
        for place in decided:
            agree &= (expected[place] == truth[place]).reshape(case.batch, -1).all(axis=1)
        margins = np.where(agree | dirty, np.inf, 0.0)
    return Known(case, expected, truth, margins, dirty)


class Reference(Protocol):
    """The original agent, computed as exactly as it can be.

    Called from one thread. The caller owns what is returned, and the inputs are not modified. The inputs
    are those of the signature, in calling order and of its dtypes: the reference widens them itself.
    """

    @property
    def precision(self) -> str:
        """What the outputs are computed in: "float64", or the agent's own dtype where it allows no more."""

    @property
    def reason(self) -> str | None:
        """Why the outputs or the scores are not computed in float64, in one line; None where both are."""

    @property
    def resolution(self) -> float:
        """The machine epsilon of the coarsest floating-point numbers that the original computes with."""

    def outputs(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """The agent's outputs [B, *shape]: floats as float64, integers and booleans as they are."""

    def scores(self, inputs: Sequence[Array]) -> Array | None:
        """The float64 scores [B, n] that a decision is taken from; None for an agent without one."""


def is_decision(contract: Contract) -> bool:
    """Whether the agent's action is chosen from scores (arg max or bits) rather than computed."""
    return contract.action in {"argmax", "binary"}


def decisions(contract: Contract, scores: Array) -> Array:
    """The decision that `scores` [B, n] lead to: one index per group, or one bit per score: [B, k]."""
    if contract.action == "binary":
        return np.asarray(scores > 0)
    edges = np.cumsum(contract.groups or (scores.shape[-1],))[:-1]
    return np.stack([group.argmax(axis=-1) for group in np.split(scores, edges, axis=-1)], axis=-1)


def typical_scale(scores: Array) -> float:
    """The median over rows of the largest absolute score of each of `scores` [B, n]."""
    return float(np.median(np.abs(scores).max(axis=-1)))


def relative_margins(contract: Contract, scores: Array, scale: float) -> Array:
    """Each row's margin as a fraction of its largest absolute score, which counts as at least `scale`: [B].

    The fraction is what errors are measured against: float32 resolves scores around 1000 to 1e-4, and where
    large terms cancel to small scores, the error stays that of the `scale` usual for this agent. A row that
    holds NaN or infinity has no margin, given as NaN.
    """
    finite = np.asarray(np.isfinite(scores).all(axis=-1))
    clean = np.where(finite[:, np.newaxis], scores, 0.0)
    scales = np.maximum(np.abs(clean).max(axis=-1), scale)
    margins = np.asarray(contract.margins(clean), dtype=np.float64)
    relative = np.divide(margins, scales, out=np.zeros_like(margins), where=scales > 0)
    # A row with a single score per group has no other decision to go to, whatever its scale.
    relative = np.where(np.isinf(margins), np.inf, relative)
    return np.where(finite, relative, np.nan)
