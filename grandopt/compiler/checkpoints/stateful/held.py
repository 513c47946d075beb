"""State that a network keeps in itself, and the proof that giving it from outside changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from grandopt.compiler.checkpoints.settings import drawn
from grandopt.compiler.program import evaluate
from grandopt.errors import CheckpointError
from grandopt.signature import DTYPES, StateTensor, TensorSpec

BATCHES = (3, 2, 1, 7)
MOST_TRIED = 64
"""Ways of placing the batch in the state that are tried."""

WIDE, NARROW = 1e-4, 2e-2
"""What counts as rounding, relative to the largest value: in float32 and wider, and in what is narrower."""

Tensors = tuple[torch.Tensor, ...]
Step = Callable[[Sequence[torch.Tensor]], Tensors]
"""A network as it came, called with one row: all tensors [*shape] in, state last, and the same out."""


@dataclass(frozen=True)
class Held:
    """A tensor that a network writes into itself: its path, its first value, and its place for the batch.

    `axis` is the dimension of the value that is the batch, None where it has none: then a stream's value has
    all of its dimensions.
    """

    path: str
    value: torch.Tensor
    axis: int | None = None

    @property
    def spec(self) -> TensorSpec:
        """The input that takes it, for one stream."""
        shape = [size for place, size in enumerate(self.value.shape) if place != self.axis]
        return TensorSpec(self.path, tuple(shape), _plain(self.value.dtype))

    @property
    def tensor(self) -> StateTensor:
        """Its part of the contract."""
        numbers = self.value.detach().double().flatten().tolist()
        first = numbers[0] if len(set(numbers)) == 1 else tuple(numbers)
        return StateTensor(self.path, f"{self.path}_next", first)

    @property
    def places(self) -> tuple[int | None, ...]:
        """Where the batch may be: in a dimension of 1, or in one of its own."""
        ones = [place for place, size in enumerate(self.value.shape) if size == 1]
        return (*ones, None)


def require_holdable(path: str, value: torch.Tensor, where: str) -> None:
    """Raise CheckpointError for a tensor that cannot be a part of an agent's state."""
    if _plain(value.dtype) not in DTYPES or value.numel() == 0 or value.layout != torch.strided:
        raise CheckpointError(
            f"{where}: forward writes {path!r}, a tensor of {_plain(value.dtype)} {list(value.shape)}, which "
            f"cannot be a state; export the network with its state as inputs and outputs"
        )


def placed(held: Sequence[Held]) -> Iterator[tuple[Held, ...]]:
    """The ways in which the batch may lie in the state, those first that have it alike in all."""
    every = itertools.islice(itertools.product(*(item.places for item in held)), MOST_TRIED)
    for places in sorted(every, key=lambda places: len(set(places))):
        yield tuple(replace(item, axis=place) for item, place in zip(held, places, strict=True))


def streams(inputs: Sequence[TensorSpec], held: Sequence[Held], batch: int) -> Tensors:
    """Seeded inputs [batch, *shape]: `inputs`, and values of the state near its first ones."""
    generator = torch.Generator().manual_seed(batch)
    state = []
    for item in held:
        one = item.value if item.axis is None else item.value.select(item.axis, 0)
        shape = (batch, *one.shape)
        if item.value.dtype == torch.bool:
            state.append(torch.rand(shape, generator=generator) > 0.5)
        elif item.value.is_floating_point():
            noise = torch.randn(shape, generator=generator, dtype=torch.float64)
            state.append((one.double() + 0.5 * noise).to(getattr(torch, item.spec.dtype)))
        else:
            state.append(one + torch.randint(0, 4, shape, generator=generator).to(one.dtype))
    return (*drawn(inputs, batch, seed=batch), *state)


def row_of(values: Sequence[torch.Tensor], row: int) -> Tensors:
    """One row of each of the tensors."""
    return tuple(value[row] for value in values)


def agrees(
    module: torch.nn.Module, original: Step, inputs: Sequence[TensorSpec], held: Sequence[Held]
) -> bool:
    """Whether every row of several batches comes out as from the original: results and next state alike."""
    return all(_agrees(module, original, streams(inputs, held, batch)) for batch in BATCHES)


def _agrees(module: torch.nn.Module, original: Step, values: Tensors) -> bool:
    batch = values[0].shape[0]
    found = evaluate(module, values)
    if any(value.dim() == 0 or value.shape[0] != batch for value in found):
        return False
    rows = [original(row_of(values, row)) for row in range(batch)]
    for place, value in enumerate(found):
        wanted = [row[place].flatten() for row in rows]
        if any(row.numel() != value[0].numel() for row in wanted):
            return False
        if not _close(value.reshape(batch, -1), torch.stack(wanted)):
            return False
    return True


def _close(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    tolerance = NARROW if wanted.dtype in (torch.float16, torch.bfloat16) else WIDE
    right = wanted.double()
    finite = right[right.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    return torch.allclose(got.double(), right, rtol=0.0, atol=tolerance * scale, equal_nan=True)


def _plain(dtype: torch.dtype) -> str:
    """The dtype in which NumPy has the numbers."""
    return str(dtype).removeprefix("torch.").replace("bfloat16", "float32")
