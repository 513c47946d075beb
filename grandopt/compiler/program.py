"""`Program`: the one object that travels between compiler stages."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch

from grandopt.artifacts.manifest import Source
from grandopt.config.engine import Precision
from grandopt.reason import Reason, ReasonCode
from grandopt.signature import Contract, Signature

ModuleT = TypeVar("ModuleT")

PICKLE_ERRORS = (pickle.PickleError, TypeError, AttributeError, ValueError, RuntimeError, RecursionError)
"""What pickling a network of somebody's is seen to raise."""

FORWARD_ERRORS = (
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    torch.jit.Error,
)
"""What somebody else's `forward` raises when it cannot take its inputs; the last is an archive's `assert`."""


@dataclass(frozen=True)
class Refusal:
    """Something a stage could not do with this program: which stage, and why."""

    stage: str
    reason: Reason


@dataclass(frozen=True)
class Program:
    """An agent between two compiler stages. Stages return a new one (`but`); nothing in it is modified.

    `module` is the runnable form: an `nn.Module` (or a `ScriptModule`) in eval mode, float inputs [B, *shape]
    in calling order, a tensor or tuple of tensors out. `exported` is the same as a `torch.export` program
    with a dynamic batch, `traced` as TorchScript; None where that capture was refused (then `refusals`
    says why). `scores`, for agents whose output is a decision, computes the scores before it. `example`
    holds one valid input per declared input, batch 2. `identity` is its digest where that was taken already
    (see `identity.graph_digest`), so that it need not be taken once per candidate.
    """

    name: str
    signature: Signature
    contract: Contract
    source: Source
    module: torch.nn.Module
    example: tuple[torch.Tensor, ...]
    exported: torch.export.ExportedProgram | None = None
    traced: torch.jit.ScriptModule | None = None
    scores: torch.nn.Module | None = None
    precision: Precision = "float32"
    passes: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = field(default=())
    identity: str | None = None

    def refusal(self, stage: str) -> Reason:
        """Why the stage ("export", "trace") could not be done; says so when it was not tried."""
        reasons = [refusal.reason for refusal in self.refusals if refusal.stage == stage]
        return reasons[-1] if reasons else Reason(ReasonCode.UNKNOWN, f"the stage {stage!r} was not run")

    def but(self, **changes: Any) -> Program:
        """A copy with the given fields replaced; it has no `identity` but a given one."""
        return replace(self, **{"identity": None, **changes})

    def after(self, name: str, **changes: Any) -> Program:
        """A copy with the given fields replaced and the pass `name` recorded."""
        return self.but(passes=(*self.passes, name), **changes)


def evaluate(module: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The outputs of `module`, always as a tuple; computed without gradients, on copies of the inputs.

    The copies are there because a network may write into what it is given. Raises what the module raises
    (see FORWARD_ERRORS), and TypeError when it returns anything but a tensor or a tuple of tensors.
    """
    with torch.no_grad():
        result = module(*(value.clone() for value in inputs))
    # Programs converted from TorchScript give lists.
    outputs = tuple(result) if isinstance(result, tuple | list) else (result,)
    if not outputs or not all(isinstance(output, torch.Tensor) for output in outputs):
        held = ", ".join(type(output).__name__ for output in outputs) or "nothing"
        raise TypeError(f"the network must return a tensor or a tuple of tensors, got {held}")
    return outputs


def without_unused(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same program, in whose graph nothing is computed that no output needs; it is changed."""
    if program.graph.eliminate_dead_code():
        program.graph_module.recompile()
    return program


def copied(module: ModuleT) -> ModuleT:
    """A deep copy of a module, also of an exported program's."""
    with warnings.catch_warnings():
        # torch 2.13 copies its own description of the arguments in a way that it deprecates itself.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        return copy.deepcopy(module)
