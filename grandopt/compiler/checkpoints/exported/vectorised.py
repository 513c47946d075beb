"""Programs of a fixed batch that cannot be made dynamic: one call of them as one row of a batch of calls.

A batch of 1 is one observation; a larger one, whose rows do not come out alone, is an observation as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from grandopt.compiler.checkpoints.exported.joined_rows import with_joined_rows
from grandopt.compiler.checkpoints.exported.quietly import EXPORT_ERRORS, quiet
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH, drawn
from grandopt.compiler.program import evaluate
from grandopt.compiler.torch_faults import mend_lstm_states
from grandopt.signature import TensorSpec

TRIED = (5, 1, 2)
"""Batches that the program is held against the file's own with, the largest first."""


class OneCall(torch.nn.Module):
    """A program called with one row, which has a batch of 1 in front there if it is `single`."""

    def __init__(self, network: torch.nn.Module, *, single: bool) -> None:
        super().__init__()
        self.network = network
        self.single = single

    def forward(self, *row: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors [*shape] in and out."""
        result: Any = self.network(*(value.unsqueeze(0) if self.single else value for value in row))
        outputs = tuple(result) if isinstance(result, tuple | list) else (result,)
        if not self.single:
            return outputs
        if any(value.dim() == 0 or value.shape[0] != 1 for value in outputs):
            raise ValueError("an output has no batch of 1 in front")
        return tuple(value[0] for value in outputs)


class Calls(torch.nn.Module):
    """Any number of such calls, whose operators take all rows at once."""

    def __init__(self, call: OneCall) -> None:
        super().__init__()
        self.call = call

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Tensors [B, *shape] in; a tensor, or a tuple of tensors, out."""
        outputs: tuple[torch.Tensor, ...] = torch.func.vmap(self.call)(*inputs)
        return outputs if len(outputs) > 1 else outputs[0]


def vectorised(
    program: torch.export.ExportedProgram, inputs: Sequence[TensorSpec], batch: int
) -> tuple[torch.export.ExportedProgram, tuple[TensorSpec, ...]] | None:
    """A program for any number of observations, and what one is; None where there is none with the same rows.

    `inputs` are those of the program without its batch.
    """
    specs = tuple(
        spec if batch == 1 else replace(spec, shape=(batch, *spec.shape), low=None, high=None)
        for spec in inputs
    )
    mend_lstm_states()
    example = drawn(specs, EXAMPLE_BATCH, seed=0)
    shapes = tuple({0: torch.export.Dim("batch", min=1)} for _ in example)
    try:
        with quiet(), torch.no_grad():
            # Recurrent layers have a rule for rows beside one another only when they are taken apart.
            apart: Any = program.run_decompositions().module(check_guards=False)
            call = OneCall(with_joined_rows(apart), single=batch == 1)
            made = torch.export.export(Calls(call), example, dynamic_shapes=(shapes,))
            # Of such a program the graph still says how it was made; taken apart it says what it computes.
            made = made.run_decompositions({})
            own = OneCall(program.module(check_guards=False), single=batch == 1)
            return (made, specs) if _same_rows(made, own, specs) else None
    except EXPORT_ERRORS:
        return None


def _same_rows(made: torch.export.ExportedProgram, own: OneCall, specs: Sequence[TensorSpec]) -> bool:
    """Whether the program gives every row what a call of the file's own program gives."""
    values = drawn(specs, TRIED[0], seed=1)
    rows = [own(*(value[place] for value in values)) for place in range(TRIED[0])]
    run = made.module(check_guards=False)
    for size in TRIED:
        for place, got in enumerate(evaluate(run, [value[:size] for value in values])):
            wanted = torch.stack([row[place] for row in rows[:size]])
            if got.shape != wanted.shape or not torch.allclose(
                got, wanted, rtol=1e-5, atol=1e-6, equal_nan=True
            ):
                return False
    return True
