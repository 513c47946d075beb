"""The right answers to single cases, and the groups in which cases are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.errors import VerificationError
from grandopt.signature import Array, Contract, TensorSpec
from grandopt.verification.calls import ENGINE_FAILURES, Outputs
from grandopt.verification.decisions import is_decision, relative_margins
from grandopt.verification.inputs import Case, Kind
from grandopt.verification.reference import Reference


@dataclass(frozen=True)
class Known:
    """A case and its answers: `expected` by the original, `truth` by the reference.

    `margins` [B] says how far each row is from another decision, relative to its largest score: infinite
    where the original's decision must be met in any case. `dirty` [B] marks rows with NaN or infinity in.
    """

    case: Case
    expected: Outputs
    truth: Outputs
    margins: Array
    dirty: Array

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
class Group:
    """Cases judged together: their places in the list of cases."""

    kind: Kind
    members: tuple[int, ...]

    def gather(self, results: Sequence[Outputs], output: int) -> Array:
        """One output of all rows of the group: [rows, *shape]."""
        return np.concatenate([results[place][output] for place in self.members])


def grouped(cases: Sequence[Case], alone: int) -> tuple[Group, ...]:
    """The drawn cases first, as one group, then the last `alone` ones as one, and every other by itself."""
    split = len(cases) - alone
    drawn = tuple(place for place in range(split) if cases[place].kind == "drawn")
    others = [Group(cases[place].kind, (place,)) for place in range(split) if cases[place].kind != "drawn"]
    singles = [Group("edge", tuple(range(split, len(cases))))] if alone else []
    return (Group("drawn", drawn), *singles, *others)


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
