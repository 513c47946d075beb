"""`Program` → `Program` with a TorchScript trace that holds for every batch and for all data.

A trace records what one call did. Two things are therefore checked before it is accepted. First its graph:
traced again with another number of equal rows it must be the same graph, else a batch size is built in.
(Running such a trace to find out is not safe: a recurrent state of the wrong batch makes oneDNN read out
of bounds.) Then its outputs, on inputs meant to take every branch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.jit._trace import TracerWarning

from grandopt.compiler.capture.agreement import disagreement
from grandopt.compiler.capture.inputs import probes
from grandopt.compiler.capture.log_suppression import quiet
from grandopt.compiler.capture.reason import is_torch, place
from grandopt.compiler.program import FORWARD_ERRORS, Program, Refusal
from grandopt.compiler.scripted.graph import steps
from grandopt.errors import first_line
from grandopt.reason import Reason, ReasonCode

STAGE = "trace"
BRANCH = "Python boolean"
"""The words in a tracer's warning by which a branch is told from a number or an array taken out."""


@dataclass(frozen=True)
class _Trace:
    """A trace, or the reason why there is none; `hints` names where it left the tensors for Python."""

    traced: torch.jit.ScriptModule | None
    reason: str = ""
    hints: tuple[str, ...] = ()
    branches: bool = False


def trace(program: Program, seed: int = 0) -> Program:
    """The program with `traced` set: its module if that is TorchScript already, else a checked trace of it.

    Where the module cannot be traced, the exported program is tried. Where that fails too, `traced` is None
    and a refusal of the stage "trace" holds the reason.
    """
    refusals = tuple(refusal for refusal in program.refusals if refusal.stage != STAGE)
    if isinstance(program.module, torch.jit.ScriptModule):
        return program.but(traced=program.module, refusals=refusals)
    attempt = _attempt(program, program.module, seed)
    if attempt.traced is None and program.exported is not None:
        second = _attempt(program, program.exported.module(), seed)
        attempt = second if second.traced is not None else attempt
    if attempt.traced is not None:
        return program.but(traced=attempt.traced, refusals=refusals)
    reason = Reason(ReasonCode.NOT_TRACED, f"{attempt.reason}; not traced")
    return program.but(traced=None, refusals=(*refusals, Refusal(STAGE, reason)))


def _attempt(program: Program, module: torch.nn.Module, seed: int) -> _Trace:
    attempt = _trace(module, tuple(_repeated(value, 2) for value in program.example))
    other = _trace(module, tuple(_repeated(value, 3) for value in program.example))
    if attempt.traced is None or other.traced is None:
        return attempt if attempt.traced is None else other
    if list(steps(attempt.traced.inlined_graph)) != list(steps(other.traced.inlined_graph)):
        return _Trace(None, f"the trace has the batch size built in{_where(attempt)}")
    found = disagreement(program.module, attempt.traced, probes(program.signature.inputs, seed + 1))
    if found is not None:
        return _Trace(None, f"the trace {found}{_cause(attempt)}")
    if attempt.hints and not _exporter_agreed(program):
        # Nothing but our draws speaks for the trace: the exporter, which would see a branch, refused.
        doubt = "the network's control flow may depend on data that no draw had"
        return _Trace(None, f"{doubt}{_where(attempt)}, and torch.export refused it as well")
    return attempt


def _exporter_agreed(program: Program) -> bool:
    """Whether torch.export took the network: this very program, or the one that its passes started from."""
    refused = any(refusal.stage == "export" for refusal in program.refusals)
    return program.exported is not None or (bool(program.passes) and not refused)


def _trace(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> _Trace:
    with quiet() as caught, torch.no_grad():
        try:
            traced = torch.jit.trace(module, tuple(inputs), check_trace=False)
        except (*FORWARD_ERRORS, torch.jit.Error) as error:
            return _Trace(None, f"torch.jit.trace failed: {first_line(error)}")
    traced.eval()  # freezing asks this flag, which programs from files have wrong; it changes no operator
    hints = [warning for warning in caught if _is_hint(warning)]
    return _Trace(
        traced,
        hints=tuple(dict.fromkeys(place(hint.filename, hint.lineno) for hint in hints)),
        branches=any(BRANCH in str(hint.message) for hint in hints),
    )


def _is_hint(warning: warnings.WarningMessage) -> bool:
    """Whether the tracer warns about the network's own code; torch's checks of shapes are harmless."""
    return issubclass(warning.category, TracerWarning) and not is_torch(warning.filename)


def _cause(found: _Trace) -> str:
    if not found.hints:
        return ""
    what = "the network's control flow depends on the data" if found.branches else "a value is built in"
    return f": {what}{_where(found)}"


def _where(found: _Trace) -> str:
    return f" ({', '.join(found.hints)})" if found.hints else ""


def _repeated(value: torch.Tensor, count: int) -> torch.Tensor:
    return value[:1].repeat(count, *(1,) * (value.dim() - 1))
