"""A network that takes one row alone, as one that takes any number of rows, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class OneRow(torch.nn.Module):
    """A network for a single row, which takes and gives every tensor with a batch of 1 in front.

    The last `held` inputs and outputs are its state, which the network itself has without the batch; so are
    the others unless it is `batched`.
    """

    def __init__(self, network: torch.nn.Module, held: int, *, batched: bool) -> None:
        super().__init__()
        self.network = network
        self.held = held
        self.batched = batched

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors [1, *shape] in and out."""
        observed = inputs[: len(inputs) - self.held]
        state = [value[0] for value in inputs[len(inputs) - self.held :]]
        given = observed if self.batched else [value[0] for value in observed]
        found = self.network(*given, *state)
        results = found if isinstance(found, tuple) else (found,)
        outputs, kept = results[: len(results) - self.held], results[len(results) - self.held :]
        rows = tuple(value if self.batched and _leads(value) else value.unsqueeze(0) for value in outputs)
        return (*rows, *(value.unsqueeze(0) for value in kept))


def _leads(value: torch.Tensor) -> bool:
    return value.dim() > 0 and value.shape[0] == 1


def row_by_row(step: torch.jit.ScriptModule, inputs: int, outputs: int) -> torch.jit.ScriptModule:
    """An archive that calls `step`, of so many inputs and outputs [1, *shape], with row after row."""
    holder = torch.nn.Module()
    holder.step = step
    network: Any = torch.jit.script(holder)
    names = [f"x{place}" for place in range(inputs)]
    results = [f"y{place}" for place in range(outputs)]
    network.define(_code(names, results))
    made: torch.jit.ScriptModule = network.eval()
    return made


def _code(names: Sequence[str], results: Sequence[str]) -> str:
    call = f"self.step({', '.join(names)})"
    lines = [
        f"def forward(self, {', '.join(f'{name}: Tensor' for name in names)}):",
        f"    if {names[0]}.size(0) == 1:",
        f"        return {call}{'[0]' if len(results) == 1 else ''}",
        *(f"    {name}: List[Tensor] = []" for name in results),
        f"    for row in range({names[0]}.size(0)):",
        f"        result = self.step({', '.join(f'{name}[row : row + 1]' for name in names)})",
        *(f"        {name}.append(result[{place}])" for place, name in enumerate(results)),
        f"    return {', '.join(f'torch.cat({name})' for name in results)}",
    ]
    return "\n".join([*lines, ""])
