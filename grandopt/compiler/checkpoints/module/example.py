"""What an example input says about an agent's inputs, and what only a trial can tell.

An example is one batch, but people also give one observation. A tensor's dtype is meant; that of floats in a
NumPy array or a list is often just NumPy's default, and then the network decides.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from grandopt.compiler.checkpoints import dtypes
from grandopt.compiler.checkpoints.settings import drawn
from grandopt.compiler.program import FORWARD_ERRORS, evaluate
from grandopt.errors import SignatureError
from grandopt.signature import TensorSpec

TRIED_BATCHES = (2, 3)


@dataclass(frozen=True)
class Example:
    """One input as it was given: its whole shape, its dtype, and whether that is certain."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    certain: bool


@dataclass(frozen=True)
class ExampleReading:
    """One way to understand an example: the network with the inputs it then has.

    `usual` marks the dtype of its weights.
    """

    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    batched: bool
    usual: bool


def examples(example: Any) -> tuple[Example, ...]:
    """The inputs of an example: one array or tensor, a tuple or list of them, or a mapping by name.

    Raises SignatureError for single numbers.
    """
    if isinstance(example, Mapping):
        named = [(str(key), value) for key, value in example.items()]
    elif isinstance(example, tuple | list):
        named = [(f"input_{index}", value) for index, value in enumerate(example)]
    else:
        named = [("input", example)]
    found = tuple(_example(name, value) for name, value in named)
    if found and not any(item.shape for item in found):
        raise SignatureError(
            f"{found[0].name}: the example needs a batch dimension in front, got a single number"
        )
    return found


def _example(name: str, value: Any) -> Example:
    if isinstance(value, torch.Tensor):
        shape, dtype, certain = tuple(value.shape), str(value.dtype).removeprefix("torch."), True
    else:
        array = np.asarray(value)
        shape, dtype, certain = array.shape, str(array.dtype), array.dtype.kind != "f"
    return Example(name, shape, dtype, certain)


def readings(
    module: torch.nn.Module, given: Sequence[Example], axes: Mapping[str, int]
) -> Iterator[ExampleReading]:
    """Every way to understand the example, the likeliest first.

    `axes` says where inputs of the state have the batch; an example with such inputs has a batch. Raises
    SignatureError for an axis that an example does not have, and for a dtype that no agent can take.
    """
    tensors = (*module.parameters(), *module.buffers())
    own = next((item.dtype for item in given if not item.certain), None)
    known = dtypes.choices(tensors)
    free = [] if own is None else [own, *known]
    narrow = any(item.dtype == "bfloat16" for item in given)
    observed = all(item.shape for item in given) or bool(axes)
    for batched in (True, False):
        if (batched and not observed) or (not batched and axes):
            continue
        for dtype in dict.fromkeys(free) or ("",):
            specs = tuple(_spec(item, dtype, axes.get(item.name, 0), batched=batched) for item in given)
            at_boundary = narrow or dtype == "bfloat16"
            yield ExampleReading(
                dtypes.bounded(module, tensors, inputs=at_boundary), specs, batched, dtype == known[0]
            )


def _spec(item: Example, dtype: str, axis: int, *, batched: bool) -> TensorSpec:
    if axis >= len(item.shape) and batched:
        raise SignatureError(
            f"state {item.name!r}: batch_axis {axis} is beyond its {len(item.shape)} dimension(s)"
        )
    shape = tuple(size for place, size in enumerate(item.shape) if not batched or place != axis)
    chosen = item.dtype if item.certain else dtype
    return TensorSpec(item.name, shape, dtypes.PLAIN if chosen == "bfloat16" else chosen)


def fitting(options: Sequence[ExampleReading], given: Sequence[Example]) -> ExampleReading:
    """The first reading that the network runs on; where it runs on none, one that gives the truest error.

    An example is one observation only if the network does not take it as the batch that it should be.
    """
    if len(options) == 1:
        return options[0]
    batched = [option for option in options if option.batched]
    for option in batched:
        if all(_runs(option, batch) for batch in TRIED_BATCHES):
            return option
    sizes = {item.shape[0] for item in given if len(item.shape) > 1}
    if len(sizes) == 1 and any(_runs(option, min(sizes)) for option in batched):
        return batched[0]
    for option in options:
        if not option.batched and all(_runs(option, batch) for batch in TRIED_BATCHES):
            return option
    return next((option for option in batched if option.usual), options[0])


def _runs(option: ExampleReading, batch: int) -> bool:
    """Whether a copy of the network (it may remember) gives one row per observation."""
    try:
        outputs = evaluate(copy.deepcopy(option.module), drawn(option.inputs, batch, seed=0))
    except FORWARD_ERRORS:
        return False
    return all(output.dim() > 0 and output.shape[0] == batch for output in outputs)
