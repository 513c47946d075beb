"""Engines that an agent could run in but that grandopt does not ship, each through its fastest Python call.

torch.compile makes nothing that could be shipped; ONNX Runtime's plain `run` is what its users call, beside
the bound memory that is shipped; ExecuTorch needs an environment of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from grandopt.compiler.capture import saved
from grandopt.config.rivals import EXECUTORCH_INSTALL, RivalName
from grandopt.errors import BuildError, GrandoptError, MeasurementError
from grandopt.measurement.interpreter import Interpreter
from grandopt.measurement.process import WorkerProcess
from grandopt.measurement.remote import RemoteExecutor
from grandopt.measurement.subject import Subject
from grandopt.verification.verify import verify
from grandopt.workflows.contender import Contender
from grandopt.workflows.contest import Contest
from grandopt.workflows.run import Run

TORCH_COMPILE = {
    "torch.compile/float32": "grandopt.runtime.alternatives:torch_compile",
    "torch.compile/float32/freezing": "grandopt.runtime.alternatives:torch_compile_freezing",
    "torch.compile/float32/templates": "grandopt.runtime.alternatives:torch_compile_templates",
}
UNBOUND = "grandopt.runtime.alternatives:onnxruntime_run"
EXECUTORCH = "grandopt.runtime.executors.executorch:load"
BUILDER = "grandopt.workflows.executorch_builder"

COMPILE_S = 300.0
"""What one compilation may take. It is not part of the agent's budget, which is that of candidates."""


def rivals(
    run: Run,
    contest: Contest,
    folder: Path,
    *,
    names: Sequence[RivalName],
    executorch: Interpreter | None,
    threads: int,
) -> list[Contender]:
    """The rivals among `names`, built and verified; what cannot be has its status and reason.

    `folder` holds what is built, as long as it is measured. `executorch` is the interpreter that has it.
    """
    found: list[Contender] = []
    if "torch.compile" in names:
        found += [_torch_compile(run, contest, label, threads) for label in TORCH_COMPILE]
    if "onnxruntime" in names:
        found += _unbound(run, contest, threads)
    if "executorch" in names:
        found.append(_executorch(run, contest, executorch, folder, threads))
    return found


def _torch_compile(run: Run, contest: Contest, label: str, threads: int) -> Contender:
    rival = Contender(label, "torch.compile", "float32", threads, "not measured")
    subject = Subject(rival.label, contest.original.path, trust=True, loader=TORCH_COMPILE[label])
    return _verified(run, contest, rival, subject)


def _unbound(run: Run, contest: Contest, threads: int) -> list[Contender]:
    """ONNX Runtime's own `run` of the float32 artifact, where there is one."""
    for entry in contest.entries():
        if entry.candidate.label == "onnxruntime/float32" and entry.threads == threads and entry.artifact:
            rival = Contender("onnxruntime/float32/run", "onnxruntime", "float32", threads, "not measured")
            subject = Subject(rival.label, entry.artifact.path, loader=UNBOUND)
            return [_verified(run, contest, rival, subject)]
    return []


def _executorch(
    run: Run, contest: Contest, interpreter: Interpreter | None, folder: Path, threads: int
) -> Contender:
    rival = Contender("executorch/float32", "executorch", "float32", threads, "not measured")
    if interpreter is None:
        return replace(rival, status="unavailable", reason=EXECUTORCH_INSTALL)
    exported = contest.program.exported
    if exported is None:
        reason = f"not exported: {contest.program.refusal('export')}"
        return replace(rival, status="failed", reason=reason)
    run.tell(contest.program.name, "rivals", f"{rival.label} built in {interpreter.executable}")
    file = folder / "program.pt2"
    job = {"program": str(file), "signature": contest.program.signature.to_json(), "folder": str(folder)}
    try:
        file.write_bytes(saved.to_bytes(exported))
        with closing(WorkerProcess(threads, BUILDER, interpreter)) as worker:
            note = worker.ask(job, COMPILE_S).get("note")
    except (MeasurementError, BuildError) as error:
        return replace(rival, status="failed", reason=str(error))
    options = {**interpreter.versions, "batch": "dynamic" if note is None else str(note)}
    subject = Subject(rival.label, folder, loader=EXECUTORCH, interpreter=interpreter)
    return _verified(run, contest, replace(rival, options=options), subject)


def _verified(run: Run, contest: Contest, rival: Contender, subject: Subject) -> Contender:
    """The rival after verification in a process like that in which it is measured."""
    run.tell(contest.program.name, "rivals", f"{rival.label} verified")
    program = contest.program
    try:
        executor = RemoteExecutor(
            subject, program.signature, program.contract, threads=rival.threads, timeout_s=COMPILE_S
        )
    except GrandoptError as error:
        return replace(rival, status="failed", reason=str(error))
    with closing(executor):
        verdict = verify(executor, contest.oracle, precision="float32", limits=run.job.profile.limits)
    if not verdict.passed:
        return replace(rival, status="refused", reason=verdict.reason, verification=verdict)
    return replace(rival, status="verified", subject=subject, verification=verdict)
