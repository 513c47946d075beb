"""A function of tensors as a network: which of its tensors carry the batch, and where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from grandopt.signature import TensorSpec

Function = Callable[..., Any]
DRAWS = 4
"""That what mixes rows gives each row its own result on all of them is no luck any more."""
NARROW = {torch.float32, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}


class Network(nn.Module):
    """`function` with its inputs at `places` of the flattened arguments; all others stay as they are.

    Input i comes with its batch in front; the function gets it at axis `axes[i]`, and gives it at axis
    `outputs[j]` of its tensor j. With `each` the function is mapped over the batch by torch.vmap.
    """

    def __init__(
        self, function: Function, call: Call, places: Sequence[int], axes: Sequence[int], each: bool
    ):
        super().__init__()
        self.function, self.places, self.axes, self.each = function, tuple(places), tuple(axes), each
        self.outputs: tuple[int, ...] = ()
        self.structure = call.structure
        self.fixed = [None if isinstance(leaf, Tensor) else leaf for leaf in call.leaves]
        for place, leaf in enumerate(call.leaves):
            if isinstance(leaf, Tensor) and place not in self.places:
                self.register_buffer(f"constant{place}", leaf)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self.each:
            return torch.vmap(lambda *rows: _alone(self.results(rows)), randomness="error")(*inputs)
        moved = [value.movedim(0, axis) for value, axis in zip(inputs, self.axes, strict=True)]
        results = self.results(moved)
        axes = self.outputs or (0,) * len(results)
        return _alone(tuple(value.movedim(axis, 0) for value, axis in zip(results, axes, strict=True)))

    def results(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """All tensors that the function returns, as it gives them."""
        leaves = [
            getattr(self, f"constant{place}", leaf) if leaf is None else leaf
            for place, leaf in enumerate(self.fixed)
        ]
        for place, value in zip(self.places, inputs, strict=True):
            leaves[place] = value
        args, kwargs = tree_unflatten(leaves, self.structure)
        found = tuple(leaf for leaf in _leaves(self.function(*args, **kwargs)) if isinstance(leaf, Tensor))
        if not found:
            raise TypeError("it returns no tensor")
        return found


class Call:
    """The arguments of one call, flattened."""

    def __init__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        self.leaves, self.structure = tree_flatten((tuple(args), kwargs))

    @property
    def tensors(self) -> list[int]:
        """The places of tensors among the flattened arguments."""
        return [place for place, leaf in enumerate(self.leaves) if isinstance(leaf, Tensor)]


@dataclass(frozen=True)
class Found:
    """A network that computes each row of a batch on its own, and its inputs."""

    network: Network
    specs: tuple[TensorSpec, ...]


def find(function: Function, call: Call, *, mapped: bool) -> Found | str:
    """The first way in which the call is a network, or why there is none.

    A way says which tensors are inputs and which of their axes is the batch. It is one if the network takes
    any batch, gives every output with a batch, and gives to each row what it gives to that row alone, twice
    the same. With `mapped`, torch.vmap over whole arguments is the last way.
    """
    reasons: list[str] = []
    for way in _ways(call, mapped):
        network = Network(function, call, way.places, way.axes, way.kind == "mapped").eval()
        leaves = [call.leaves[place] for place in way.places]
        if any(leaf.layout is not torch.strided for leaf in leaves):
            reasons.append("its inputs are sparse")
            continue
        shapes = [tuple(leaf.shape) for leaf in leaves]
        if way.kind == "rows":
            shapes = [(*s[:a], *s[a + 1 :]) for s, a in zip(shapes, way.axes, strict=True)]
        if any(0 in shape for shape in shapes) or any(leaf.dtype not in NARROW for leaf in leaves):
            reasons.append("its inputs are empty, or of a dtype that no agent takes")
            continue
        for bounded in (False, True):
            specs = tuple(
                _spec(f"x{number}", leaf, shape, bounded)
                for number, (leaf, shape) in enumerate(zip(leaves, shapes, strict=True))
            )
            try:
                fault = _fault(network, specs)
            except FAILURES as error:
                fault = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:90]}"
            if fault is None:
                return Found(network, specs)
            reasons.append(fault)
    return reasons[0] if reasons else "it takes no tensor"


FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
)
"""What torch raises when an operator cannot take its arguments."""


@dataclass(frozen=True)
class _Way:
    """Which arguments are inputs, and the axis that holds the batch in each.

    "rows": the sample has that axis already. "put": it is put in there. "mapped": torch.vmap adds it.
    """

    places: tuple[int, ...]
    axes: tuple[int, ...]
    kind: Literal["rows", "put", "mapped"]


def _ways(call: Call, mapped: bool) -> list[_Way]:
    tensors = tuple(call.tensors)
    if not tensors:
        return []
    first, rest = tensors[0], tensors[1:]
    shape = call.leaves[first].shape
    ways: list[_Way] = []
    for axis, others in ((0, 0), (1, 1), (0, 1)):
        if len(shape) < 2:  # one number is no observation
            continue
        same = [p for p in rest if _size(call.leaves[p], others) == shape[axis]]
        ways.append(_Way((first, *same), (axis, *(others for _ in same)), "rows"))
    ways += [_Way((first,), (axis,), "rows") for axis in (0, 1) if len(shape) > 1]
    for axis, others in ((0, 0), (1, 1), (0, 1)) if shape else ():
        axes = (axis, *(others for _ in rest))
        if all(call.leaves[p].dim() >= a for p, a in zip(tensors, axes, strict=True)):
            ways.append(_Way(tensors, axes, "put"))
    if mapped:
        floats = tuple(place for place in tensors if call.leaves[place].is_floating_point())
        ways += [
            _Way(places, (0,) * len(places), "mapped")
            for places in (tensors, floats, (first,))
            if places and all(call.leaves[place].dim() for place in places)
        ]
    return list(dict.fromkeys(ways))


def _size(leaf: Tensor, axis: int) -> int | None:
    return leaf.shape[axis] if leaf.dim() > axis else None


def _spec(name: str, leaf: Tensor, shape: Sequence[int], bounded: bool) -> TensorSpec:
    """Whole numbers lie in the sample's own range; floats are unbounded unless torch refuses that."""
    dtype = str(leaf.dtype).removeprefix("torch.")
    sizes = tuple(int(size) for size in shape)
    if dtype == "bool" or (leaf.is_floating_point() and not bounded) or leaf.numel() == 0:
        return TensorSpec(name, sizes, dtype)
    return TensorSpec(name, sizes, dtype, low=float(leaf.min()), high=float(leaf.max()))


def _fault(network: Network, specs: Sequence[TensorSpec]) -> str | None:
    """Why the network does not compute row by row, on several draws; sets its output axes on the way."""
    random = np.random.default_rng(0)
    faults = (_fault_on(network, _draw(specs, 5, random)) for _ in range(DRAWS))
    return next((fault for fault in faults if fault is not None), None)


def _fault_on(network: Network, whole: list[Tensor]) -> str | None:
    with torch.no_grad():
        if not network.each:
            network.outputs = ()
            moved = [
                [value[:count].movedim(0, axis) for value, axis in zip(whole, network.axes, strict=True)]
                for count in (3, 5)
            ]
            small, large = (network.results([value.clone() for value in values]) for values in moved)
            axes = [_batch_axis(a, b) for a, b in zip(small, large, strict=True)]
            if any(axis is None for axis in axes):
                return "an output of it has no batch"
            network.outputs = tuple(axis for axis in axes if axis is not None)
        kept = [value.clone() for value in whole]
        outputs = _leaves(network(*whole))
        if any(not torch.equal(a, b) for a, b in zip(kept, whole, strict=True)):
            return "it writes to its inputs"
        if any(output.dtype not in NARROW for output in outputs):
            return f"an output is {next(o.dtype for o in outputs if o.dtype not in NARROW)}"
        if any(output.shape[0] != 5 or 0 in output.shape for output in outputs):
            return "an output of it has no batch, or nothing in it"
        if not all(_close(a, b) for a, b in zip(outputs, _leaves(network(*kept)), strict=True)):
            return "it gives other outputs the second time"
        for row in range(5):
            alone = _leaves(network(*(value[row : row + 1].clone() for value in kept)))
            if not all(_close(a[row : row + 1], b) for a, b in zip(outputs, alone, strict=True)):
                return "it mixes the samples of a batch"
    return None


def _batch_axis(small: Tensor, large: Tensor) -> int | None:
    if small.dim() != large.dim():
        return None
    changed = [axis for axis in range(small.dim()) if small.shape[axis] != large.shape[axis]]
    if len(changed) != 1 or (small.shape[changed[0]], large.shape[changed[0]]) != (3, 5):
        return None
    return changed[0]


def _draw(specs: Sequence[TensorSpec], batch: int, random: np.random.Generator) -> list[Tensor]:
    found = []
    for spec in specs:
        shape = (batch, *spec.shape)
        if spec.dtype == "bool":
            array = random.random(shape) < 0.5
        elif spec.dtype == "float32":
            low, high = spec.bounds()
            array = np.clip(random.standard_normal(shape), low, high).astype(np.float32)
        else:
            low, high = spec.bounds()
            array = random.integers(int(low.min()), int(high.max()), shape, endpoint=True).astype(spec.dtype)
        found.append(torch.from_numpy(np.asarray(array)))
    return found


def _close(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.is_floating_point():
        return torch.equal(a, b)
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)


def _leaves(value: Any) -> list[Any]:
    return list(tree_flatten(value)[0])


def _alone(values: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    return values[0] if len(values) == 1 else values
