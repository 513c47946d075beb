"""A program of which a host takes a part."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import torch

from grandopt.compiler.capture.export import STAGE, export
from grandopt.compiler.program import Program, evaluate
from grandopt.errors import UnsupportedError
from grandopt.signature import Contract, Signature, TensorSpec


def narrowed(program: Program, outputs: Collection[str], *, starts: bool = False) -> Program:
    """The program with these outputs and its recurrent state.

    Unless it `starts` episodes, for a host that says when one begins, no episode begins: other hosts begin
    one by setting the state to 0. Raises UnsupportedError where that program cannot be exported.
    """
    contract, signature = program.contract, program.signature
    states = {state.output for state in contract.state}
    fixed = None if starts else contract.episode_start
    kept = [place for place, spec in enumerate(signature.outputs) if spec.name in {*outputs, *states}]
    taken = [place for place, spec in enumerate(signature.inputs) if spec.name != fixed]
    if len(kept) == len(signature.outputs) and len(taken) == len(signature.inputs):
        return program
    module = _Narrowed(program.module, kept, [spec.name == fixed for spec in signature.inputs])
    module.training = False  # modules of exported programs, which are so already, refuse `eval`
    given = tuple(signature.outputs[place] for place in kept)
    found = export(
        program.but(
            module=module,
            signature=Signature(tuple(signature.inputs[place] for place in taken), given),
            contract=_of_outputs(contract, given, fixed),
            example=tuple(program.example[place] for place in taken),
            exported=None,
        )
    )
    if found.exported is None:
        raise UnsupportedError(f"{program.name}: its part for the host: {found.refusal(STAGE)}")
    return found


def _of_outputs(contract: Contract, outputs: Sequence[TensorSpec], fixed: str | None) -> Contract:
    """The contract as far as it is about these outputs."""
    started = replace(contract, episode_start=None) if fixed else contract
    if any(spec.role == "action" for spec in outputs):
        return started
    return replace(started, action="none", groups=(), low=None, high=None, squashed=False)


class _Narrowed(torch.nn.Module):
    """`inner` with the outputs at `kept`; the inputs that are `fixed` are 0 for every row."""

    def __init__(self, inner: torch.nn.Module, kept: list[int], fixed: list[bool]) -> None:
        super().__init__()
        self.inner = inner
        self._kept = kept
        self._fixed = fixed

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = iter(values)
        rows = values[0].shape[0]
        inputs = [torch.zeros(rows) if fixed else next(given) for fixed in self._fixed]
        outputs = evaluate(self.inner, inputs)
        return tuple(outputs[place] for place in self._kept)
