"""Where the time goes: operators, layers, and the engine itself, for the original and the winner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from grandopt.artifacts.artifact import Artifact
from grandopt.compiler import build
from grandopt.compiler.build import Candidate
from grandopt.compiler.checkpoints.module.memory import from_module
from grandopt.compiler.networks.null_agent import INPUTS, NullAgent
from grandopt.compiler.program import Program
from grandopt.errors import EngineError, GrandoptError, MeasurementError
from grandopt.measurement.measure import measure
from grandopt.measurement.operators import OperatorProfile, profiled
from grandopt.measurement.settings import MeasurementSettings
from grandopt.measurement.subject import Subject
from grandopt.reporting.figures import LayerTime, OperatorReport, OperatorRow
from grandopt.runtime.executors.operators import OperatorTime
from grandopt.verification.inputs import ring
from grandopt.workflows.building.built import BuiltCandidate
from grandopt.workflows.job import Run
from grandopt.workflows.memo.programs import capture_or_load
from grandopt.workflows.selection.candidate_set import CandidateSet

FUSED = (
    "fused",
    "TensorExprGroup",
    "addmm",
    "prepacked",
    "_transformer_encoder_layer_fwd",
    "_native_multi_head_attention",
    "scaled_dot_product",
    "mkldnn_",
    "onednn",
)
"""Parts of the names of operators that do the work of several."""


def operator_reports(
    run: Run, candidate_set: CandidateSet, winner: BuiltCandidate | None
) -> tuple[OperatorReport, ...]:
    """The original's profile and, where there is one, the winner's."""
    builds = [candidate_set.original, *([] if winner is None else [winner])]
    return tuple(_report(run, candidate_set, built) for built in builds)


def _report(run: Run, candidate_set: CandidateSet, built: BuiltCandidate) -> OperatorReport:
    label, threads, artifact = built.label, built.threads, candidate_set.artifact(built)
    run.tell(candidate_set.program.name, "operators", label)
    try:
        subject = candidate_set.subject(built)
        found = profiled(subject, candidate_set.observations(1), run.pool, threads=threads)
    except MeasurementError as error:
        return OperatorReport(label=label, engine=artifact.manifest.engine, reason=str(error))
    null_us, null_note = _null(run, built, threads)
    rows = _rows(found)
    return OperatorReport(
        label=label,
        engine=artifact.manifest.engine,
        call_us=found.call_us,
        operators=rows,
        layers=_layers(found.operators),
        engine_us=null_us,
        engine_share=None if null_us is None else null_us / found.call_us,
        engine_reason=null_note,
        fused=_fused(artifact, found.operators),
        reason=found.reason,
    )


def _rows(found: OperatorProfile) -> tuple[OperatorRow, ...]:
    total = sum(item.us for item in found.operators) or 1.0
    return tuple(
        OperatorRow(operator=item.name, layer=item.layer, calls=item.calls, us=item.us, share=item.us / total)
        for item in found.operators
    )


def _layers(operators: Sequence[OperatorTime]) -> tuple[LayerTime, ...]:
    """Time per layer, the slowest first; nothing where the engine does not know layers."""
    spent: defaultdict[str, float] = defaultdict(float)
    for item in operators:
        if item.layer is not None:
            spent[item.layer] += item.us
    total = sum(spent.values()) or 1.0
    ordered = sorted(spent.items(), key=lambda pair: -pair[1])
    return tuple(LayerTime(layer=layer, us=us, share=us / total) for layer, us in ordered)


def _fused(artifact: Artifact, operators: Sequence[OperatorTime]) -> tuple[str, ...]:
    """The passes that joined layers, and the operators that do the work of several."""
    passes = [f"pass {name}" for name in artifact.manifest.passes if name.startswith("fold")]
    names = dict.fromkeys(item.name for item in operators if any(part in item.name for part in FUSED))
    return (*passes, *names)


def _null(run: Run, built: BuiltCandidate, threads: int) -> tuple[float | None, str | None]:
    """Median µs of a call that does nothing, through the same engine, and in what it differs; or the reason
    why there is none."""
    try:
        with torch.random.fork_rng():
            checkpoint = from_module("null_agent", NullAgent(), torch.zeros(1, INPUTS))
        program = capture_or_load(checkpoint, run.store, run.job.seed)
        artifact, note = (
            (build.original(program, run.store), None) if built.is_original else _built(run, program, built)
        )
        inputs = ring(program.signature, seed=run.job.seed)
        settings = MeasurementSettings.quick(threads=threads, seed=run.job.seed)
        measurement = measure([Subject("null", artifact.path, trust=True)], inputs, settings, run.pool)
        return measurement.summary("null").p50_us, note
    except GrandoptError as error:
        return None, f"the null agent could not be measured: {error}"


def _built(run: Run, program: Program, built: BuiltCandidate) -> tuple[Artifact, str | None]:
    """The null agent in the entry's engine; in float32, and a note that says so, where it cannot be reduced.

    Static quantization has no samples of it, a reduction of the precision no layers.
    """
    candidate = built.candidate
    try:
        return build.build(program, candidate, run.store, threads=built.threads), None
    except EngineError as error:
        plain = Candidate("float32", candidate.options.in_float32())
        if plain == candidate:
            raise
        artifact = build.build(program, plain, run.store, threads=built.threads)
        return artifact, f"the engine's own time is that of float32, because in {candidate.precision} {error}"
