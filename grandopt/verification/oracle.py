"""What is known of the original before any candidate is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from grandopt.errors import VerificationError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Contract, TensorSpec
from grandopt.verification import boundary
from grandopt.verification.calls import CallError, Outputs, answers, call
from grandopt.verification.denormals import with_flushed
from grandopt.verification.episodes import Episode
from grandopt.verification.evidence import Evidence
from grandopt.verification.exercise import Exercise
from grandopt.verification.inputs import Case
from grandopt.verification.known import (
    CaseGroup,
    Known,
    Reference,
    decided_outputs,
    grouped,
    is_decision,
    known,
    typical_scale,
)
from grandopt.verification.tolerance import (
    Spreads,
    check_own,
    own_margin,
    own_spreads,
    rounded_margin,
    rounded_spreads,
)

PROBE_BATCH = 256
ALONE = 7
"""Rows of one batch that are also called one by one: a row must not depend on its neighbours."""

ADVICE = "declare the inputs' low and high, or give recorded samples"


UNKNOWN = Evidence("none", "nothing was said about the inputs")


@dataclass(frozen=True)
class Oracle:
    """The right answers, computed once per agent and shared by all its candidates.

    `known` holds the cases with their answers, `probes` inputs beside decision boundaries; `groups` says
    which cases are judged together (the first one holds the drawn cases). `floats` and `decided` are the
    places of floating-point outputs and of decisions. `spreads` is the original's own error, and
    `margin_yardstick` the largest relative margin at which its decision is not the reference's. `score_scale`
    is the usual size of scores, which margins are relative to (see `relative_margins`).

    `evidence` says what is known of the inputs, `exercise` how much of the network they set in motion. `wide`
    knows the populations that fit the evidence, one group each (see `populated`); None where there are none.
    `undeclared` are the places of outputs that may be scores, as nobody said what they are.

    For an agent with state, `episodes` are what it is stepped through, and `steps` knows every step of them,
    in order: there a case's state is the reference's own, and the groups are stretches of steps (`drift`).
    """

    contract: Contract
    specs: tuple[TensorSpec, ...]
    floats: tuple[int, ...]
    decided: tuple[int, ...]
    known: tuple[Known, ...]
    groups: tuple[CaseGroup, ...]
    spreads: Spreads
    probes: tuple[Known, ...]
    margin_yardstick: float
    reference_precision: str
    skipped: tuple[str, ...]
    score_scale: float = 0.0
    episodes: tuple[Episode, ...] = ()
    steps: Oracle | None = None
    undeclared: tuple[int, ...] = ()
    evidence: Evidence = UNKNOWN
    exercise: Exercise | None = None
    wide: Oracle | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """The calls that every candidate has to answer, in order."""
        return tuple(item.case for item in self.known)

    @classmethod
    def prepare(
        cls,
        reference: Reference,
        original: Executor,
        cases: Sequence[Case],
        contract: Contract,
        seed: int = 0,
        *,
        evidence: Evidence = UNKNOWN,
        declared: bool = True,
    ) -> Oracle:
        """Run the reference and the original on all cases, which fit the `evidence`.

        Rows of one drawn batch are added as calls of their own. A case outside the declared space on which
        the original itself raises is left out, and `skipped` says so.
        `declared` says whether somebody said what the outputs are. Raises VerificationError where there
        is nothing to compare with: no drawn case, an original that raises on ordinary inputs, is not
        deterministic, or is further than 1 % of the output's scale from the reference.
        """
        rng = np.random.default_rng(seed)
        alone = _alone(cases)
        usable, skipped = _usable(original, (*cases, *alone))
        expected = _answered(original, usable)
        specs = _specs(original, expected[0])
        decided = decided_outputs(specs, contract, expected[0])
        floats = tuple(place for place in range(len(specs)) if place not in decided)
        scale = _score_scale(reference, usable) if is_decision(contract) else 0.0
        learned = tuple(
            with_flushed(original, known(reference, contract, case, own, decided, scale))
            for case, own in zip(usable, expected, strict=True)
        )
        groups = grouped(usable, len(alone))
        probes: tuple[Known, ...] = ()
        if decided and is_decision(contract):
            probes, reason = _probes(reference, original, contract, learned, decided, scale, seed)
            skipped += (reason,) if reason else ()
        spreads = own_spreads(groups, learned, floats, expected)
        margin = own_margin((*learned, *probes), decided)
        check_own(spreads, margin, 0, specs, reference.resolution)
        if reference.precision != "float64":
            spreads = rounded_spreads(original, groups, learned, floats, rng, reference.resolution)
        if reference.reason is not None:
            skipped += (f"no full float64 reference: {reference.reason}",)
            if is_decision(contract):
                margin = max(margin, rounded_margin(reference, contract, (*learned, *probes), rng))
        return cls(
            contract, specs, floats, decided, learned, groups, spreads, probes, margin,
            reference.precision, skipped, scale,
            undeclared=() if declared else _vectors(specs, floats, contract), evidence=evidence,
        )  # fmt: skip


def _vectors(specs: Sequence[TensorSpec], floats: Sequence[int], contract: Contract) -> tuple[int, ...]:
    """The outputs that may be scores: several numbers side by side that are no state."""
    states = {tensor.output for tensor in contract.state}
    return tuple(
        place
        for place in floats
        if len(specs[place].shape) == 1 and specs[place].elements > 1 and specs[place].name not in states
    )


def _alone(cases: Sequence[Case]) -> tuple[Case, ...]:
    drawn = [case for case in cases if case.kind == "drawn"]
    if not drawn:
        raise VerificationError("there is no drawn case to compare on; make them with inputs.cases")
    batch = next((case for case in drawn if case.batch >= ALONE), max(drawn, key=lambda case: case.batch))
    return tuple(
        Case(f"row {row} of {batch.name} alone", tuple(array[row : row + 1].copy() for array in batch.inputs))
        for row in range(min(batch.batch, ALONE))
    )


def _usable(original: Executor, cases: Sequence[Case]) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    usable, skipped = [], []
    for case in cases:
        if case.kind in {"beyond", "special"}:
            try:
                call(original, case)
            except CallError as error:
                skipped.append(f"left out, because the original fails there: {error}")
                continue
        usable.append(case)
    return tuple(usable), tuple(skipped)


def _answered(original: Executor, cases: Sequence[Case]) -> list[Outputs]:
    try:
        return answers(original, cases)
    except CallError as error:
        raise VerificationError(f"the original cannot be compared with: {error}; {ADVICE}") from error


def _specs(original: Executor, outputs: Outputs) -> tuple[TensorSpec, ...]:
    declared = original.signature.outputs
    if declared and len(declared) != len(outputs):
        raise VerificationError(
            f"the original declares {len(declared)} output(s) and returns {len(outputs)}; "
            f"correct its signature"
        )
    return declared or tuple(
        TensorSpec(f"output_{place}", array.shape[1:], str(array.dtype))
        for place, array in enumerate(outputs)
    )


def _score_scale(reference: Reference, cases: Sequence[Case]) -> float:
    """The typical size of scores over the drawn rows; 0 where the reference gives none."""
    scores = [reference.scores(case.inputs) for case in cases if case.kind == "drawn"]
    given = [array for array in scores if array is not None]
    return typical_scale(np.concatenate(given)) if given else 0.0


def _probes(
    reference: Reference,
    original: Executor,
    contract: Contract,
    learned: Sequence[Known],
    decided: Sequence[int],
    scale: float,
    seed: int,
) -> tuple[tuple[Known, ...], str | None]:
    """Boundary probes between the drawn rows, or, where these all lead to one decision, the edge rows too."""
    found = boundary.Probes((), np.zeros(0))
    for kinds in ({"drawn"}, {"drawn", "edge", "beyond"}):
        chosen = [item.case.inputs for item in learned if item.case.kind in kinds]
        samples = [np.concatenate(arrays) for arrays in zip(*chosen, strict=True)]
        found = boundary.find(original.signature, contract, reference, samples, scale=scale, seed=seed)
        if len(found):
            break
    probes = []
    for start in range(0, len(found), PROBE_BATCH):
        rows = slice(start, start + PROBE_BATCH)
        case = Case(f"boundary probes {start}…", tuple(array[rows] for array in found.inputs), "edge")
        try:
            own = call(original, case)
        except CallError as error:
            raise VerificationError(f"the original cannot be compared with: {error}; {ADVICE}") from error
        probes.append(known(reference, contract, case, own, decided, scale))
    return tuple(probes), found.reason
