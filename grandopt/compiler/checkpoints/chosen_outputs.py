"""Agents of which some outputs are kept: the others are not computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from grandopt.compiler.checkpoints.base import Checkpoint
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH, drawn, outputs_of
from grandopt.compiler.program import evaluate, without_unused
from grandopt.errors import CheckpointError


class KeptOutputs(torch.nn.Module):
    """A network of whose outputs those at `places` are given, in that order."""

    def __init__(self, network: torch.nn.Module, places: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.places = tuple(places)
        self.training = network.training  # not by eval(), which programs from files refuse

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What the network takes; a tensor, or a tuple of tensors."""
        results: Any = self.network(*inputs)
        given = results if isinstance(results, tuple | list) else (results,)
        kept = tuple(given[place] for place in self.places)
        return kept if len(kept) > 1 else kept[0]


def with_outputs(checkpoint: Checkpoint, chosen: Sequence[str], path: Path) -> Checkpoint | None:
    """The agent with the outputs `chosen` by the names that it has for them, and with its state.

    None where `chosen` are as many names as it has outputs, and others: they are new names for them. Raises
    CheckpointError for names that are neither.
    """
    names = checkpoint.output_names or _numbered(checkpoint)
    nexts = [state.output for state in checkpoint.contract.state]
    visible = [name for name in names if name not in nexts]
    unknown = [name for name in chosen if name not in names]
    if unknown and len(chosen) in (len(names), len(visible)):
        return None
    if unknown:
        raise CheckpointError(
            f"{path}: 'outputs' names {unknown[0]!r}, which is none; the outputs are {', '.join(names)}: "
            f"name those of them that are to be kept, or give as many names as there are"
        )
    kept = [*chosen, *(name for name in nexts if name not in chosen)]
    if kept == list(names):
        return checkpoint
    places = [names.index(name) for name in kept]
    dropped = ", ".join(name for name in names if name not in kept)
    roles = checkpoint.output_roles
    made = replace(
        checkpoint,
        output_names=tuple(kept),
        output_roles=tuple(roles[place] for place in places) if roles else (),
        source=checkpoint.source.noting(dropped=f"outputs that are not kept ({dropped})"),
    )
    if checkpoint.exported is not None:
        return _exported_again(made, checkpoint.exported, places)
    if isinstance(checkpoint.module, torch.jit.ScriptModule):
        return replace(made, module=_scripted(checkpoint.module, len(checkpoint.inputs), places))
    return replace(made, module=KeptOutputs(checkpoint.module, places))


def _numbered(checkpoint: Checkpoint) -> tuple[str, ...]:
    count = len(evaluate(checkpoint.module, drawn(checkpoint.inputs, EXAMPLE_BATCH, seed=0)))
    return tuple(f"output_{place}" for place in range(count))


def _scripted(network: torch.jit.ScriptModule, inputs: int, places: Sequence[int]) -> torch.jit.ScriptModule:
    """An archive around another, which keeps the loops and branches of that."""
    holder = torch.nn.Module()
    holder.network = network
    made: Any = torch.jit.script(holder)
    names = [f"x{place}" for place in range(inputs)]
    made.define(
        f"def forward(self, {', '.join(f'{name}: Tensor' for name in names)}):\n"
        f"    result = self.network({', '.join(names)})\n"
        f"    return {', '.join(f'result[{place}]' for place in places)}\n"
    )
    archive: torch.jit.ScriptModule = made.eval()
    return archive


def _exported_again(
    checkpoint: Checkpoint, program: torch.export.ExportedProgram, places: Sequence[int]
) -> Checkpoint:
    """The checkpoint of a program that ends in the outputs at `places`."""
    from grandopt.compiler.checkpoints.exported.program import runnable
    from grandopt.compiler.checkpoints.exported.quietly import quiet

    network = KeptOutputs(program.module(check_guards=False), places)
    example = drawn(checkpoint.inputs, EXAMPLE_BATCH, seed=0)
    shapes = torch.export.ShapesCollection()
    for value in example:
        shapes[value] = {0: torch.export.Dim("batch", min=1)}
    with quiet(), torch.no_grad():
        made = without_unused(
            torch.export.export(network, example, dynamic_shapes=shapes.dynamic_shapes(network, example))
        )
    outputs_of(made.module(check_guards=False)(*example), Path(checkpoint.name))
    return replace(checkpoint, module=runnable(made), exported=made)
