"""The build process: `python -m grandopt.workflows.building.worker`, started and spoken to by `pool`.

It stays for many builds, so that torch and the engines are imported once. What ends it (a crash of a
compiler, the kernel's out-of-memory killer, the parent's deadline) costs one candidate and not the run.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cloudpickle
import torch

from grandopt.artifacts.store import Store
from grandopt.compiler.capture import saved
from grandopt.compiler.program import PICKLE_ERRORS
from grandopt.errors import BuildError, GrandoptError, first_line
from grandopt.measurement.wire.codec import Asked
from grandopt.measurement.worker.pipe import serve
from grandopt.reason import Reason, ReasonCode
from grandopt.workflows.building.built import BuildInputs, build_and_verify
from grandopt.workflows.building.request import BuildAnswer, BuildRequest

OOM_SCORE = Path("/proc/self/oom_score_adj")


def main() -> None:
    """Build until standard input ends."""
    with contextlib.suppress(OSError):  # another system than Linux
        OOM_SCORE.write_text("1000", encoding="ascii")  # before the parent, which has the results
    warnings.simplefilter("ignore")  # nobody reads them here; what went wrong is in the answer
    serve(answer)


def answer(asked: Asked) -> BuildAnswer:
    """Build and verify one candidate; the artifact and the verdict are in the store afterwards."""
    request = asked.read(BuildRequest)
    try:
        agent = _agent(request.folder)
        store = _store(request.store, request.limit_bytes)
        built = build_and_verify(agent, agent.candidates[request.label], store, request.threads)
    except MemoryError:
        return BuildAnswer("failed", Reason(ReasonCode.OUT_OF_MEMORY, "ran out of memory while it was built"))
    except GrandoptError as error:
        return BuildAnswer("failed", Reason.of(error))
    return BuildAnswer(built.status, built.reason)


@lru_cache(maxsize=1)
def _agent(folder: Path) -> BuildInputs:
    return read_transfer(folder)


@lru_cache(maxsize=1)
def _store(root: Path, limit_bytes: int | None) -> Store:
    return Store(root, limit_bytes)


INPUTS = "inputs.pkl"
EXPORTED = "exported.pt2"
ARCHIVE = "archive.pt"


def write_transfer(agent: BuildInputs, folder: Path) -> None:
    """Write an agent into `folder`; raises BuildError with the reason when a part of it cannot be written."""
    program = agent.program
    identity = program.identity
    if program.exported is not None:
        (folder / EXPORTED).write_bytes(saved.to_bytes(program.exported))
        program = program.but(exported=None, identity=identity)
    try:
        if isinstance(program.module, torch.jit.ScriptModule):
            (folder / ARCHIVE).write_bytes(_archived(program.module))
            program = program.but(module=torch.nn.Identity(), traced=None, identity=identity)
        (folder / INPUTS).write_bytes(cloudpickle.dumps(replace(agent, program=program)))
    except PICKLE_ERRORS as error:
        raise BuildError(
            f"{type(agent.program.module).__name__} cannot be handed to a build process: {first_line(error)}"
        ) from error


def read_transfer(folder: Path) -> BuildInputs:
    """The agent in `folder`. Only for what `write_transfer` of the same user wrote: it is unpickled."""
    agent: BuildInputs = pickle.loads((folder / INPUTS).read_bytes())
    program, identity = agent.program, agent.program.identity
    if (folder / ARCHIVE).exists():
        module = torch.jit.load(  # type: ignore[no-untyped-call]  # torch leaves it without annotations
            io.BytesIO((folder / ARCHIVE).read_bytes()), map_location="cpu"
        )
        program = program.but(module=module, identity=identity)
    if (folder / EXPORTED).exists():
        exported = saved.from_bytes((folder / EXPORTED).read_bytes())
        program = program.but(exported=exported, identity=identity)
    return replace(agent, program=program)


def _archived(module: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # TorchScript is deprecated upstream and says so at every entry.
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
        torch.jit.save(module, buffer)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
