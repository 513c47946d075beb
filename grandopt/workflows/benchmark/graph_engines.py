"""LiteRT and MNN: engines that read no program of torch; their models are written of the agent's layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from grandopt.config.engine import Precision
from grandopt.config.external_engines import COMMANDS, WRITTEN, ExternalEngineName, install
from grandopt.errors import EngineError, MeasurementError, UnsupportedError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.benchmark.graph_worker import WriteModels
from grandopt.workflows.benchmark.ranking import Competitor
from grandopt.workflows.benchmark.verification import LOAD_S, verified
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet

WORKER = "grandopt.workflows.benchmark.graph_worker"


def graph_engines(
    run: Run,
    candidate_set: CandidateSet,
    folder: Path,
    names: Sequence[ExternalEngineName],
    interpreters: Mapping[str, Interpreter],
    threads: int,
    batches: Sequence[int],
) -> list[Competitor]:
    """The engines of `names` in each precision that they have and the job wants, built and verified."""
    rows = [
        (Competitor(f"{name}/{precision}", name, precision, threads, "not measured"), precision)
        for name in names
        for precision in WRITTEN[name]
        if precision in run.job.profile.precisions
    ]
    graph: Path | Reason | None = None
    found = []
    for row, precision in rows:
        there = interpreters.get(row.engine)
        if there is None:
            missing = Reason(ReasonCode.ENGINE_MISSING, install(row.engine), COMMANDS[row.engine])
            found.append(replace(row, status="unavailable", reason=missing))
            continue
        if graph is None:
            graph = _graph(candidate_set, folder / "graph.npz")
        if isinstance(graph, Reason):
            found.append(replace(row, status="failed", reason=graph))
            continue
        found.append(_written(run, candidate_set, row, precision, there, graph, batches))
    return found


def _graph(candidate_set: CandidateSet, path: Path) -> Path | Reason:
    """The file of the agent's layers, or why there is none."""
    from grandopt.compiler.backends.portable.translate import translate  # torch, where it is needed

    exported = candidate_set.program.exported
    if exported is None:
        words = f"not exported: {candidate_set.program.refusal('export')}"
        return Reason(ReasonCode.NOT_EXPORTED, words)
    try:
        translate(exported).save(path)
    except UnsupportedError as error:
        return Reason(ReasonCode.UNSUPPORTED, f"grandopt writes no model of it: {error}")
    return path


def _written(
    run: Run,
    candidate_set: CandidateSet,
    row: Competitor,
    precision: Precision,
    interpreter: Interpreter,
    graph: Path,
    batches: Sequence[int],
) -> Competitor:
    run.tell(candidate_set.program.name, "rivals", f"{row.label} built in {interpreter.executable}")
    folder = graph.parent / row.name.replace("/", "-")
    signature = candidate_set.program.signature.to_json()
    request = WriteModels(row.engine, precision, graph, signature, (1, *batches), folder)
    try:
        with closing(WorkerProcess(row.threads, WORKER, interpreter)) as worker:
            refusal = worker.ask(request, LOAD_S).refusal
    except (MeasurementError, EngineError) as error:
        return replace(row, status="failed", reason=Reason(ReasonCode.BUILD_FAILED, str(error)))
    if refusal is not None:
        return replace(row, status="failed", reason=Reason(ReasonCode.UNSUPPORTED, refusal))
    loader = f"grandopt.runtime.executors.{row.engine}:load"
    subject = Subject(row.label, folder, loader=loader, interpreter=interpreter)
    batched = ", ".join(map(str, request.batches))
    options = {**interpreter.versions, "batch": f"models for {batched}; others row by row"}
    return _compared(run, candidate_set, replace(row, options=options), subject, precision)


def _compared(
    run: Run, candidate_set: CandidateSet, row: Competitor, subject: Subject, precision: Precision
) -> Competitor:
    """The engine after verification. One that differs in NaN alone takes part, and its row says so.

    Its kernels answer a broken input with a number. A guard against that is what a shipped artifact would
    have; here the engine is timed as its users call it, and everything else is verified with the guard.
    """
    found = verified(run, candidate_set, row, subject, precision)
    reason = found.reason
    if found.status != "refused" or reason is None or reason.code is not ReasonCode.OTHER_OUTPUTS:
        return found
    guarded = replace(subject, loader=f"{subject.loader}_keeping_nan")
    again = verified(run, candidate_set, row, guarded, precision)
    if not again.verified:
        return found
    differs = Reason(ReasonCode.OTHER_OUTPUTS, f"differs from the original in this: {reason}")
    return replace(again, subject=subject, reason=differs)
