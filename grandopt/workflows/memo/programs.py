"""A checkpoint's program, captured once and kept: exporting a network can take longer than all the rest."""

from __future__ import annotations

from grandopt.artifacts.store import Store
from grandopt.compiler import build
from grandopt.compiler.capture import saved
from grandopt.compiler.capture.export import STAGE, recapture, unexported
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.identity import graph_digest, module_digest
from grandopt.compiler.program import Program
from grandopt.errors import BuildError
from grandopt.workflows.memo.failed_builds import FailedBuilds


def capture_or_load(checkpoint: Checkpoint, store: Store, seed: int = 0, *, resume: bool = True) -> Program:
    """The program of a checkpoint, with its identity; its export comes from the store if it is there.

    A kept export is used only while it still computes what the network does; that a network cannot be
    exported is kept, too. The first capture goes on with what was kept, so that later ones find the same
    builds. With `resume` False it is captured anew. Raises SignatureError as `compiler.capture` does.
    """
    key = module_digest(checkpoint.module, checkpoint.inputs) if checkpoint.exported is None else None
    if key is None:
        program = build.capture(checkpoint, seed)
    else:
        program = (_kept(checkpoint, store, key, seed) if resume else None) or _new(
            checkpoint, store, key, seed
        )
    return program.but(identity=graph_digest(program))


def _kept(checkpoint: Checkpoint, store: Store, key: str, seed: int) -> Program | None:
    """The program as an earlier run captured it."""
    failed_build = FailedBuilds(store, resume=True).of(key)
    if failed_build is not None:
        return unexported(checkpoint, failed_build.told, seed)
    content = store.note(key)
    return None if content is None else _recaptured(checkpoint, content, seed)


def _recaptured(checkpoint: Checkpoint, content: bytes, seed: int) -> Program | None:
    try:
        exported = saved.from_bytes(content)
    except BuildError:  # written by a torch that this one does not read: captured anew
        return None
    return recapture(checkpoint, exported, seed)


def _new(checkpoint: Checkpoint, store: Store, key: str, seed: int) -> Program:
    """The program captured now, and kept."""
    program = build.capture(checkpoint, seed)
    if program.exported is None:
        FailedBuilds(store, resume=True).keep(key, "refused", program.refusal(STAGE))
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
