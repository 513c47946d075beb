"""A checkpoint's program, captured once and kept: exporting a network can take longer than all the rest."""

from __future__ import annotations

from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.capture import saved
from grandopt.compiler.capture.export import recapture
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.identity import graph_digest, module_digest
from grandopt.compiler.program import Program
from grandopt.errors import BuildError


def captured(checkpoint: Checkpoint, store: Store, seed: int = 0) -> Program:
    """The program of a checkpoint, with its identity; its export comes from the store if it is there.

    A kept export is used only while it still computes what the network does. The first capture, too, goes on
    with what was kept, so that later ones find the same builds. Raises SignatureError and CaptureError as
    `compiler.capture` does.
    """
    key = module_digest(checkpoint.module, checkpoint.inputs) if checkpoint.exported is None else None
    content = None if key is None else store.note(key)
    program = None if content is None else _recaptured(checkpoint, content, seed)
    if program is None:
        program = build.capture(checkpoint, seed)
        if key is not None and program.exported is not None:
            program = _kept(checkpoint, program, store, key, seed)
    return program.but(identity=graph_digest(program))


def _recaptured(checkpoint: Checkpoint, content: bytes, seed: int) -> Program | None:
    try:
        exported = saved.from_bytes(content)
    except BuildError:  # written by a torch that this one does not read: captured anew
        return None
    return recapture(checkpoint, exported, seed)


def _kept(checkpoint: Checkpoint, program: Program, store: Store, key: str, seed: int) -> Program:
    if program.exported is None:
        return program
    try:
        content = saved.to_bytes(program.exported)
    except BuildError:  # the engines that need a file of it will say so
        return program
    again = _recaptured(checkpoint, content, seed)
    if again is None:
        return program
    store.put_note(key, content)
    return again
