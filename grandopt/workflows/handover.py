"""A contestant as files, for the build processes: each of its parts in the format that can hold it."""

from __future__ import annotations

import io
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import cloudpickle
import torch

from grandopt.compiler.capture import saved
from grandopt.errors import BuildError, first_line
from grandopt.workflows.entry import Contestant

PICKLE_ERRORS = (pickle.PickleError, TypeError, AttributeError, ValueError, RuntimeError, RecursionError)

CONTESTANT = "contestant.pkl"
EXPORTED = "exported.pt2"
ARCHIVE = "archive.pt"


def hand_over(agent: Contestant, folder: Path) -> None:
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
        (folder / CONTESTANT).write_bytes(cloudpickle.dumps(replace(agent, program=program)))
    except PICKLE_ERRORS as error:
        raise BuildError(
            f"{type(agent.program.module).__name__} cannot be handed to a build process: {first_line(error)}"
        ) from error


def taken_over(folder: Path) -> Contestant:
    """The agent that lies in `folder`. Only for what `hand_over` of the same user wrote: it is unpickled."""
    agent: Contestant = pickle.loads((folder / CONTESTANT).read_bytes())
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
