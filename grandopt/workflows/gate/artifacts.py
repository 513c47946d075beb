"""Two artifacts of one agent, measured against each other now: the rows of the gate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grandopt.artifacts.artifact import Artifact, read
from grandopt.config.gate import GateFigure
from grandopt.errors import ConfigError, SignatureError
from grandopt.measurement.compare.comparison import FRESH, TIMED, Compared, Figure, Plan, Progress, compare
from grandopt.measurement.compare.sequential import bootstrap
from grandopt.measurement.instructions import Count, count_instructions
from grandopt.measurement.process.remote import RemoteExecutor
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason, ReasonCode, reason_fields
from grandopt.reporting.gate.result import (
    AgentGate,
    ComparisonEvidence,
    FigureReport,
    SideReport,
    outcome_of,
)
from grandopt.runtime.loader import check_fit, load
from grandopt.signature import Array, Signature
from grandopt.verification.episodes import with_states
from grandopt.verification.inputs import ring
from grandopt.verification.samples import load_samples
from grandopt.workflows.gate.rows import UNITS, exact, sized, skipped, unchecked

NOISY: tuple[Figure, ...] = (*TIMED, *FRESH)


@dataclass(frozen=True)
class Duel:
    """Two artifacts of one agent that take the same inputs and fit this machine."""

    name: str
    baseline: Artifact
    candidate: Artifact
    trust: tuple[bool, bool] = (False, False)

    @property
    def subjects(self) -> tuple[Subject, Subject]:
        """Both as they are measured."""
        return (
            Subject("baseline", self.baseline.path, trust=self.trust[0]),
            Subject("candidate", self.candidate.path, trust=self.trust[1]),
        )


def duel(name: str, baseline: Path, candidate: Path, trust: tuple[bool, bool] = (False, False)) -> Duel:
    """Open both sides.

    Raises ArtifactError for one that is damaged or does not fit this machine, and SignatureError when they
    are not the same agent as far as inputs, outputs and state say.
    """
    found = Duel(name, read(baseline), read(candidate), trust)
    for artifact, trusted in zip((found.baseline, found.candidate), trust, strict=True):
        check_fit(artifact, trust=trusted)
        artifact.verify()
    left, right = _interface(found.baseline), _interface(found.candidate)
    if left != right:
        raise SignatureError(
            f"{name}: the two are different agents: {baseline} takes and gives {left}, {candidate} {right}"
        )
    return found


def threads_of(duels: list[Duel], asked: int | None) -> int:
    """The threads of a call: those asked for, else those that all artifacts were shipped with.

    Raises ConfigError where these differ.
    """
    shipped = {side.manifest.threads for item in duels for side in (item.baseline, item.candidate)}
    if asked is None and len(shipped) > 1:
        raise ConfigError(
            f"the artifacts were shipped for {' and '.join(map(str, sorted(shipped)))} threads; say with how "
            f"many to compare them: --threads {min(shipped)}"
        )
    return asked or shipped.pop()


def remeasure(
    item: Duel,
    limits: Mapping[GateFigure, float],
    plan: Plan,
    *,
    samples: Path | None = None,
    instructions: bool = False,
    new_weights: bool = False,
    on_progress: Progress | None = None,
) -> AgentGate:
    """All figures of one agent; one that has a limit and could not be compared is inconclusive.

    `new_weights` says that the candidate was trained anew: the answers of the two are not compared then.

    Raises MeasurementError when one side cannot be loaded or called, SamplesError for samples that do not
    fit.
    """
    begin = time.monotonic()
    inputs = _inputs(item, samples, plan.seed)
    noisy: dict[Figure, float] = {figure: limits[figure] for figure in NOISY if figure in limits}
    measured = compare(*item.subjects, inputs, noisy, plan, on_progress=on_progress) if noisy else {}
    rows: dict[GateFigure, FigureReport] = {}
    for figure, compared in measured.items():
        rows[figure] = _noisy(figure, limits[figure], compared, plan.seed)
    first, second = (side.artifact_bytes for side in item.subjects)
    rows["size"] = sized(limits, first, second)
    if "accuracy" in limits:
        rows["accuracy"] = _accuracy(item, limits["accuracy"], inputs, plan.threads, new_weights=new_weights)
    if "instructions" in limits or instructions:
        held = "instructions" in limits
        limit = limits["instructions"] if held else limits["p50"]
        counts = [count_instructions(side, inputs, plan.loader) for side in item.subjects]
        rows["instructions"] = _counted(counts, limit, held=held)
    ordered = tuple(rows[figure] for figure in UNITS if figure in rows)
    return AgentGate(
        name=item.name,
        outcome=outcome_of(row.outcome for row in ordered if not row.advisory),
        baseline=_side(item.baseline),
        candidate=_side(item.candidate),
        threads=plan.threads,
        figures=ordered,
        seconds=time.monotonic() - begin,
    )


def _noisy(figure: Figure, limit: float, compared: Compared, seed: int) -> FigureReport:
    judgement, evidence = compared.judgement, compared.evidence
    if judgement is None or evidence is None:
        return unchecked(figure, limit, Reason(ReasonCode.NOT_MEASURED, compared.reason or "not measured"))
    undecided = ReasonCode.UNDECIDED if judgement.outcome == "inconclusive" else None
    return FigureReport(
        figure=figure,
        outcome=judgement.outcome,
        limit=limit,
        unit=UNITS[figure],
        baseline=compared.baseline,
        candidate=compared.candidate,
        change=judgement.change,
        low=judgement.low,
        high=judgement.high,
        confidence=judgement.confidence,
        bootstrap=bootstrap(evidence.change, seed),
        noise=judgement.noise,
        processes=judgement.processes,
        more=judgement.more,
        evidence=ComparisonEvidence(change=evidence.change, noise=evidence.noise),
        **({"reason_code": undecided} if judgement.reason is None else reason_fields(judgement.reason)),
    )


def _counted(counts: list[Count], limit: float, *, held: bool) -> FigureReport:
    """The row of the instructions; `held` says that they have a limit of their own."""
    first, second = counts
    if first.calls is None or second.calls is None:
        missing = unchecked if held else skipped
        words = first.reason or second.reason or "not counted"
        row = missing("instructions", limit, Reason(ReasonCode.NOT_COUNTED, words))
    else:
        row = exact("instructions", limit, first.calls, second.calls, first.note or second.note)
    return row.model_copy(update={"advisory": not held})


def _inputs(item: Duel, samples: Path | None, seed: int) -> tuple[Array, ...]:
    signature = item.baseline.manifest.parsed_signature()
    if samples is None:
        return ring(signature, seed=seed)
    executor = load(item.baseline.path, trust=item.trust[0])
    try:
        observed = Signature(signature.observed(item.baseline.manifest.parsed_contract()))
        recorded = with_states(executor, load_samples(samples, observed))
    finally:
        executor.close()
    return ring(signature, samples=recorded, seed=seed)


def _accuracy(
    item: Duel, limit: float, inputs: tuple[Array, ...], threads: int, *, new_weights: bool = False
) -> FigureReport:
    """The row of the accuracy, which means something for two builds of the same weights alone."""
    if new_weights:
        words = "--new-weights: the candidate was trained anew"
        return skipped("accuracy", limit, Reason(ReasonCode.TRAINED_ANEW, words))
    if item.baseline.manifest.digest == item.candidate.manifest.digest:
        return exact("accuracy", limit, 0.0, 0.0, "both are the same artifact")
    if _weights(item.baseline) is None or _weights(item.baseline) != _weights(item.candidate):
        return unchecked(
            "accuracy",
            limit,
            Reason(
                ReasonCode.OTHER_WEIGHTS,
                "the two do not say that they have the same weights, so that their answers cannot be "
                "compared; --new-weights if the candidate was trained anew",
                "--new-weights",
            ),
        )
    return _compared(item, limit, inputs, threads)


def _compared(item: Duel, limit: float, inputs: tuple[Array, ...], threads: int) -> FigureReport:
    """The relative L2 distance of the answers of two builds of the same weights: of the output where it is
    the largest."""
    signature = item.baseline.manifest.parsed_signature()
    rows = [array[:256] for array in inputs]
    answers = []
    for subject in item.subjects:
        executor = RemoteExecutor(subject, signature, threads=threads)
        try:
            answers.append(executor.run(rows))
        finally:
            executor.close()
    distances = [_distance(one, other) for one, other in zip(*answers, strict=True)]
    worst = max(distances, default=0.0)
    if not np.isfinite(worst):
        reason = "the two answer with NaN or infinities in different places"
        return exact("accuracy", limit, 0.0, 1.0, reason)
    return exact("accuracy", limit, 0.0, worst)


def _distance(baseline: Array, candidate: Array) -> float:
    if np.array_equal(baseline, candidate, equal_nan=baseline.dtype.kind == "f"):
        return 0.0
    one, other = baseline.astype(np.float64), candidate.astype(np.float64)
    size = float(np.linalg.norm(one))
    return float(np.linalg.norm(other - one)) / (size or 1.0)


def _weights(artifact: Artifact) -> tuple[object, ...] | None:
    """What says which weights an artifact has, None where nothing does."""
    source = artifact.manifest.source
    if source.sha256 is not None:
        return (source.sha256,)
    if source.weights == "seeded":
        return ("seeded", source.details.get("reference"), source.details.get("seed"))
    return None


def _interface(artifact: Artifact) -> str:
    manifest = artifact.manifest
    signature, contract = manifest.parsed_signature(), manifest.parsed_contract()
    sides = (
        ", ".join(f"{spec.name} {list(spec.shape)} {spec.dtype}" for spec in specs)
        for specs in (signature.inputs, signature.outputs)
    )
    state = ", ".join(tensor.input for tensor in contract.state)
    return " → ".join(sides) + (f" with state {state}" if state else "")


def _side(artifact: Artifact) -> SideReport:
    manifest = artifact.manifest
    return SideReport(
        path=str(artifact.path),
        engine=manifest.engine,
        precision=manifest.precision,
        digest=manifest.digest,
    )
