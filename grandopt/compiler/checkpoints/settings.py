"""What the configuration of an agent must say, and may not say, about the format of its file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from grandopt import limits
from grandopt.config.schema import AgentConfig, BoundValue, InputConfig
from grandopt.errors import CheckpointError, SignatureError
from grandopt.signature import Bound, Signature, TensorSpec

EXAMPLE_BATCH = 2
"""Batch of example inputs: torch specialises on 0 and 1, so that a captured batch of 1 would stick."""

UNBOUNDED_SPAN = 1.0
"""Half-width of the draws for a float input that declares no bounds."""

INTEGER_SPAN = 2
"""Number of values drawn for an integer input that declares no bounds: 0 and 1 fit every index and flag."""


def refuse(agent: AgentConfig, path: Path, what: str, fields: Iterable[str], reason: str) -> None:
    """Raise CheckpointError when one of `fields` was set although it says nothing about this format."""
    for field in fields:
        value = getattr(agent, field)
        given = isinstance(value, Path) if field == "vecnormalize" else bool(value)
        if given:
            raise CheckpointError(f"{path}: '{field}' cannot be used with {what}, {reason}; remove it")


def configured_inputs(
    agent: AgentConfig, path: Path, names: Sequence[str] = (), dtype: str = "float32"
) -> tuple[TensorSpec, ...]:
    """The inputs that the configuration declares, of `dtype` where it declares none.

    `names` are those that the network is known to take, if they are; without configured inputs the
    CheckpointError gives the line to add, with these names in it.
    """
    if not agent.inputs:
        parts = ", ".join(f"{{name: {name}, shape: [...]}}" for name in names or ("state",))
        raise CheckpointError(
            f"{path}: the file does not say what the network takes; add to this agent in grandopt.yaml the "
            f"line `inputs: [{parts}]` with each shape filled in, without the batch dimension"
        )
    if names and len(names) != len(agent.inputs):
        raise CheckpointError(
            f"{path}: the network takes {len(names)} input(s) ({', '.join(names)}), but 'inputs' declares "
            f"{len(agent.inputs)} ({', '.join(item.name for item in agent.inputs)})"
        )
    try:
        specs = tuple(_spec(item, dtype) for item in agent.inputs)
        Signature(specs)
    except SignatureError as error:
        raise CheckpointError(f"{path}: 'inputs': {error}") from error
    require_bounded(specs, str(path))
    return specs


def _spec(item: InputConfig, dtype: str) -> TensorSpec:
    spec = TensorSpec(item.name, item.shape, item.dtype or dtype, _bound(item.low), _bound(item.high))
    for side, bound in (("low", spec.low), ("high", spec.high)):
        if isinstance(bound, tuple) and len(bound) != spec.elements:
            raise SignatureError(
                f"{item.name}: '{side}' holds {len(bound)} numbers, but shape {list(item.shape)} has "
                f"{spec.elements} elements"
            )
    return spec


def _bound(value: BoundValue) -> Bound:
    return tuple(value) if isinstance(value, list) else value


def require_bounded(specs: Sequence[TensorSpec], where: str) -> None:
    """Raise CheckpointError for an input with more elements than any observation has."""
    for spec in specs:
        if spec.elements > limits.INPUT_ELEMENTS:
            raise CheckpointError(
                f"{where}: input {spec.name!r} has {spec.elements:,} elements; at most "
                f"{limits.INPUT_ELEMENTS:,} are taken"
            )


def drawn(specs: Sequence[TensorSpec], batch: int, seed: int) -> tuple[torch.Tensor, ...]:
    """Seeded inputs [batch, *shape] on the CPU, of the declared dtypes and within the declared bounds."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(_draw(spec, batch, generator) for spec in specs)


def _draw(spec: TensorSpec, batch: int, generator: torch.Generator) -> torch.Tensor:
    dtype: torch.dtype = getattr(torch, spec.dtype)
    uniform = torch.rand((batch, *spec.shape), generator=generator, dtype=torch.float64)
    if dtype == torch.bool:
        return uniform > 0.5
    low, high = (torch.from_numpy(bound) for bound in spec.bounds())
    if dtype.is_floating_point:
        low = torch.where(low.isfinite(), low, torch.minimum(high, high.new_tensor(UNBOUNDED_SPAN)) - 2)
        high = torch.where(high.isfinite(), high, low + 2 * UNBOUNDED_SPAN)
        return (low + uniform * (high - low)).to(dtype)
    low = torch.where(low.isfinite(), low, torch.zeros_like(low))
    high = torch.where(high.isfinite(), high, low + INTEGER_SPAN - 1)
    return (low + uniform * (high - low + 1)).floor().minimum(high).to(dtype)


def described(specs: Sequence[TensorSpec], batch: int = EXAMPLE_BATCH) -> str:
    """Example inputs in words: names and shapes with a batch in front, and dtypes that are not float32."""
    return ", ".join(
        f"{spec.name} [{', '.join(map(str, (batch, *spec.shape)))}]"
        + ("" if spec.dtype == "float32" else f" of {spec.dtype}")
        for spec in specs
    )


def outputs_of(result: Any, path: Path) -> tuple[torch.Tensor, ...]:
    """The output tensors of one call, in order; raises CheckpointError for anything but tensors."""
    outputs = tuple(result) if isinstance(result, tuple | list) else (result,)
    for index, output in enumerate(outputs):
        if not isinstance(output, torch.Tensor):
            raise CheckpointError(
                f"{path}: output {index} of the network is a {type(output).__name__}; an agent must return "
                f"a tensor or a tuple of tensors, so wrap the network in a module that does"
            )
    if not outputs:
        raise CheckpointError(f"{path}: the network returns nothing")
    return outputs
