"""Engines that an agent could run in but that grandopt does not ship, each through its fastest Python call.

torch.compile makes nothing that could be shipped; ONNX Runtime's plain `run` is what its users call, beside
the bound memory that is shipped; ExecuTorch needs an environment of its own, and so do
those of `graph_engines`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from grandopt.compiler.capture import saved
from grandopt.config.external_engines import (
    COMMANDS,
    UNBOUND,
    WRITTEN,
    ExternalEngineName,
    install,
)
from grandopt.errors import BuildError, MeasurementError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.process.worker_process import WorkerProcess
from grandopt.measurement.subject import Subject
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.benchmark.executorch_worker import LowerProgram
from grandopt.workflows.benchmark.graph_engines import graph_engines
from grandopt.workflows.benchmark.ranking import Competitor
from grandopt.workflows.benchmark.verification import LOAD_S, verified
from grandopt.workflows.job import Run
from grandopt.workflows.selection.candidate_set import CandidateSet

TORCH_COMPILE = {
    "torch.compile/float32": "grandopt.runtime.alternatives:torch_compile",
    "torch.compile/float32/freezing": "grandopt.runtime.alternatives:torch_compile_freezing",
    "torch.compile/float32/templates": "grandopt.runtime.alternatives:torch_compile_templates",
}
UNBOUND_RUN = "grandopt.runtime.alternatives:onnxruntime_run"
EXECUTORCH = "grandopt.runtime.executors.executorch:load"
WORKER = "grandopt.workflows.benchmark.executorch_worker"


def external_engines(
    run: Run,
    candidate_set: CandidateSet,
    folder: Path,
    *,
    names: Sequence[ExternalEngineName],
    interpreters: Mapping[str, Interpreter],
    threads: int,
    batches: Sequence[int],
) -> list[Competitor]:
    """The external engines among `names`, built and verified; what cannot be has its status and reason.

    `folder` holds what is built, as long as it is measured. `interpreters` are those that have an engine.
    `batches` are the batch sizes that will be measured.
    """
    found: list[Competitor] = []
    if "torch.compile" in names:
        found += [_torch_compile(run, candidate_set, label, threads) for label in TORCH_COMPILE]
    if UNBOUND in names:
        found += _unbound(run, candidate_set, threads)
    if "executorch" in names:
        found.append(_executorch(run, candidate_set, interpreters.get("executorch"), folder, threads))
    wanted = [name for name in WRITTEN if name in names]
    return found + graph_engines(run, candidate_set, folder, wanted, interpreters, threads, batches)


def _torch_compile(run: Run, candidate_set: CandidateSet, label: str, threads: int) -> Competitor:
    external_engine = Competitor(label, "torch.compile", "float32", threads, "not measured")
    original = candidate_set.subject(candidate_set.original)
    subject = replace(original, label=external_engine.label, loader=TORCH_COMPILE[label])
    return verified(run, candidate_set, external_engine, subject)


def _unbound(run: Run, candidate_set: CandidateSet, threads: int) -> list[Competitor]:
    """ONNX Runtime's own `run` of the float32 artifact, where there is one."""
    for built in candidate_set.builds():
        label = built.candidate.label
        if label == f"{UNBOUND}/float32" and built.threads == threads and built.artifact:
            external_engine = Competitor(f"{label}/run", UNBOUND, "float32", threads, "not measured")
            subject = Subject(external_engine.label, built.artifact.path, loader=UNBOUND_RUN)
            return [verified(run, candidate_set, external_engine, subject)]
    return []


def _executorch(
    run: Run, candidate_set: CandidateSet, interpreter: Interpreter | None, folder: Path, threads: int
) -> Competitor:
    external_engine = Competitor("executorch/float32", "executorch", "float32", threads, "not measured")
    if interpreter is None:
        missing = Reason(ReasonCode.ENGINE_MISSING, install("executorch"), COMMANDS["executorch"])
        return replace(external_engine, status="unavailable", reason=missing)
    exported = candidate_set.program.exported
    if exported is None:
        words = f"not exported: {candidate_set.program.refusal('export')}"
        reason = Reason(ReasonCode.NOT_EXPORTED, words)
        return replace(external_engine, status="failed", reason=reason)
    run.tell(
        candidate_set.program.name, "rivals", f"{external_engine.label} built in {interpreter.executable}"
    )
    folder /= "executorch"
    folder.mkdir()
    file = folder / "program.pt2"
    request = LowerProgram(file, candidate_set.program.signature.to_json(), folder)
    try:
        file.write_bytes(saved.to_bytes(exported))
        with closing(WorkerProcess(threads, WORKER, interpreter)) as worker:
            note = worker.ask(request, LOAD_S).note
    except (MeasurementError, BuildError) as error:
        reason = Reason(ReasonCode.BUILD_FAILED, str(error))
        return replace(external_engine, status="failed", reason=reason)
    options = {**interpreter.versions, "batch": "dynamic" if note is None else note}
    subject = Subject(external_engine.label, folder, loader=EXECUTORCH, interpreter=interpreter)
    return verified(run, candidate_set, replace(external_engine, options=options), subject)
