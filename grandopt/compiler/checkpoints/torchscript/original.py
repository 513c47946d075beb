"""An archive as it stands, called with one row: what every other form of it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from grandopt.compiler.checkpoints.stateful.held import Held
from grandopt.compiler.scripted.arguments import Arguments, results
from grandopt.compiler.scripted.forward import attribute, owner_of
from grandopt.signature import TensorSpec


@dataclass(frozen=True)
class Call:
    """How an archive is called: its arguments, and the inputs of one stream with their place for the batch.

    `axes` says where the archive has the batch in each input. `bfloat16` is None where no bfloat16 is in it;
    otherwise it says whether its inputs are of it, where those of the agent are of float32.
    """

    arguments: Arguments
    inputs: tuple[TensorSpec, ...]
    axes: tuple[int, ...]
    bfloat16: bool | None = None

    def own(self, value: torch.Tensor) -> torch.Tensor:
        """An input in the dtype that the archive takes."""
        return value.bfloat16() if self.bfloat16 and value.is_floating_point() else value


class Original:
    """The archive itself, its state set before a call and read afterwards.

    `batched` says whether a row has a batch of 1 in front.
    """

    def __init__(
        self, archive: torch.jit.ScriptModule, call: Call, held: Sequence[Held], *, batched: bool
    ) -> None:
        self._archive, self._call, self._held = archive, call, held
        self._batched = batched

    def __call__(self, row: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """All tensors [*shape] of one stream, state last, in; those of the result and the next state out."""
        count = len(self._call.axes)
        observed = [
            self._call.own(value.unsqueeze(axis) if self._batched else value.clone())
            for value, axis in zip(row[:count], self._call.axes, strict=True)
        ]
        for item, value in zip(self._held, row[count:], strict=True):
            whole = value if item.axis is None else value.unsqueeze(item.axis)
            owner, name = owner_of(self._archive, item.path)
            setattr(owner, name, whole.to(item.value.dtype).clone())
        with torch.no_grad():
            result = self._archive(*self._call.arguments.built(observed))
        kept = [attribute(self._archive, item.path).clone() for item in self._held]
        return (*(value for _, value in results(result)), *kept)
