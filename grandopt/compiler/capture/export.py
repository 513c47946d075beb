"""`Checkpoint` → `Program`: the observed signature, and a `torch.export` program with a dynamic batch.

Everything exported is checked against the original on inputs and batch sizes it was not made with. What
cannot be exported leaves `exported` None and a `Refusal` that says why; the module itself stays usable.
"""

from __future__ import annotations

import torch
from torch._export.verifier import SpecViolationError

from grandopt.compiler.capture.agreement import disagreement
from grandopt.compiler.capture.distributions import unvalidated
from grandopt.compiler.capture.inputs import Probe, draw, probes
from grandopt.compiler.capture.log_suppression import quiet
from grandopt.compiler.capture.lstm_shapes import one_step_shows
from grandopt.compiler.capture.reason import export_reason
from grandopt.compiler.capture.signature import EXAMPLE_BATCH, observe
from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.program import FORWARD_ERRORS, Program, Refusal, without_unused
from grandopt.compiler.scripted.network import ScriptedNetwork
from grandopt.compiler.torch_faults import mend_lstm_states
from grandopt.errors import CaptureError
from grandopt.reason import Reason, ReasonCode

STAGE = "export"


def capture(checkpoint: Checkpoint, seed: int = 0) -> Program:
    """The checkpoint as a program, exported where that is possible (see `export`).

    Raises SignatureError when the network does not run on its declared inputs, or is not what an agent must
    be (see `signature.observe`).
    """
    return export(_observed(checkpoint, seed), seed, given=checkpoint.exported)


def recapture(
    checkpoint: Checkpoint, exported: torch.export.ExportedProgram, seed: int = 0
) -> Program | None:
    """The checkpoint as a program whose export is known from an earlier capture of the same network.

    It was checked thoroughly when it was made; here one probe finds out whether code that the network calls
    has changed since, and then the result is None. Raises like `capture`.
    """
    program = _observed(checkpoint, seed)
    probe = Probe("a batch of 3", draw(checkpoint.inputs, 3, seed + 1))
    found = disagreement(program.module, exported.module(), [probe])
    return program.but(exported=exported) if found is None else None


def unexported(checkpoint: Checkpoint, reason: Reason, seed: int = 0) -> Program:
    """The checkpoint as a program whose export an earlier capture of the same network found impossible.

    Raises like `capture`.
    """
    return _observed(checkpoint, seed).but(refusals=(Refusal(STAGE, reason),))


def export(program: Program, seed: int = 0, given: torch.export.ExportedProgram | None = None) -> Program:
    """The program with `exported` made anew from its module, or taken from `given`, and checked.

    Where that fails, or computes something else, `exported` is None and a refusal of the stage "export"
    holds the reason.
    """
    refusals = tuple(refusal for refusal in program.refusals if refusal.stage != STAGE)
    exported, reason = (given, None) if given is not None else _attempt(program)
    if exported is not None:
        found = disagreement(program.module, exported.module(), probes(program.signature.inputs, seed + 1))
        differs = f"the exported program {found}"
        reason = None if found is None else Reason(ReasonCode.GRAPH_DIFFERS, differs)
    if reason is None:
        return program.but(exported=exported, refusals=refusals)
    return program.but(exported=None, refusals=(*refusals, Refusal(STAGE, reason)))


def _observed(checkpoint: Checkpoint, seed: int) -> Program:
    example = draw(checkpoint.inputs, EXAMPLE_BATCH, seed)
    return Program(
        name=checkpoint.name,
        signature=observe(checkpoint, example),
        contract=checkpoint.contract,
        source=checkpoint.source,
        module=checkpoint.module,
        example=example,
        scores=checkpoint.scores,
    )


def _attempt(program: Program) -> tuple[torch.export.ExportedProgram | None, Reason | None]:
    """The exported program, or the reason why there is none. An archive's graph is followed as a module."""
    try:
        module = program.module
        if isinstance(module, torch.jit.ScriptModule):
            module = ScriptedNetwork(module)
    except CaptureError as error:
        return None, Reason.of(error)
    try:
        return _exported(module, program.example), None
    except CaptureError as error:
        return None, Reason.of(error)
    except (*FORWARD_ERRORS, SpecViolationError) as error:
        return None, export_reason(error)


def _exported(module: torch.nn.Module, example: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    mend_lstm_states()
    batch = torch.export.Dim("batch", min=1)
    shapes = torch.export.ShapesCollection()
    inputs = tuple(value.clone() for value in example)
    for value in inputs:
        shapes[value] = {0: batch}
    with quiet(), unvalidated(), one_step_shows(), torch.no_grad():
        exported = torch.export.export(module, inputs, dynamic_shapes=shapes.dynamic_shapes(module, inputs))
    return without_unused(exported)
