"""In which dtype a network takes its observations, where nobody says: that follows from its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch

from grandopt.errors import CheckpointError, SignatureError
from grandopt.signature import TensorSpec

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
NARROW = (torch.float16, torch.bfloat16)
PLAIN = "float32"

Specs = tuple[TensorSpec, ...]
ResultT = TypeVar("ResultT")


class Bfloat16Boundary(torch.nn.Module):
    """A network with float32 in and out in place of bfloat16, which NumPy has not.

    With `inputs` every floating-point input is handed on in bfloat16; outputs in it come as float32, exactly.
    """

    like: torch.Tensor

    def __init__(self, network: torch.nn.Module, *, inputs: bool) -> None:
        super().__init__()
        self.network = network
        self.inputs = inputs
        self.register_buffer("like", torch.zeros((), dtype=torch.bfloat16))
        self.training = network.training

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Tensors [B, *shape] in; what the network gives out."""
        given = [
            value.to(self.like.dtype) if self.inputs and value.is_floating_point() else value
            for value in inputs
        ]
        result = self.network(*given)
        if isinstance(result, tuple | list):
            return tuple(_plain(item) for item in result)
        return _plain(result)


def first_that_runs(
    network: torch.nn.Module,
    tensors: Iterable[torch.Tensor],
    declared: Callable[[str], Specs],
    attempt: Callable[[torch.nn.Module, Specs], ResultT],
) -> ResultT:
    """What `attempt` makes of the network and the first inputs that it runs on.

    `declared` gives the inputs with a dtype for those that declare none. Tried are float32 where the weights
    are no wider, then the dtype of most weights, then any other that `tensors` have. Raises what the first
    attempt raised (CheckpointError, SignatureError) where none succeeds, naming the other dtypes.
    """
    tensors = tuple(tensors)
    first: CheckpointError | SignatureError | None = None
    tried: list[Specs] = []
    others: list[str] = []
    for dtype in choices(tensors):
        narrow = dtype == "bfloat16"
        specs = declared(PLAIN if narrow else dtype)
        if specs in tried and not narrow:
            continue
        tried.append(specs)
        try:
            return attempt(bounded(network, tensors, inputs=narrow), specs)
        except (CheckpointError, SignatureError) as error:
            if first is None:
                first = error
            else:
                others.append(dtype)
    assert first is not None
    if not others:
        raise first
    raise type(first)(f"{first}; nor does it take {' or '.join(others)}") from first


def choices(tensors: Iterable[torch.Tensor]) -> tuple[str, ...]:
    """The dtypes that a network with such tensors may take its observations in, the likeliest first."""
    sizes: Counter[torch.dtype] = Counter()
    for tensor in tensors:
        if tensor.dtype in FLOATS:
            sizes[tensor.dtype] += tensor.numel()
    most = max(sizes, key=lambda dtype: sizes[dtype], default=torch.float32)
    wide = torch.promote_types(most, torch.float32)
    found = dict.fromkeys((wide, most, *(dtype for dtype in FLOATS if dtype in sizes)))
    return tuple(str(dtype).removeprefix("torch.") for dtype in found)


def bounded(
    network: torch.nn.Module, tensors: Iterable[torch.Tensor], *, inputs: bool = False
) -> torch.nn.Module:
    """The network itself, or, where there is bfloat16 in it, with float32 at its boundary."""
    if not any(tensor.dtype == torch.bfloat16 for tensor in tensors):
        return network
    return Bfloat16Boundary(network, inputs=inputs)


def as_in(network: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Bring the network to the dtypes in which `tensors`, its state dict, hold its weights.

    A floating-point dtype that its code chose itself, which is any but torch's default, stays if it is wider.
    """
    for key, own in network.state_dict(keep_vars=True).items():
        if key not in tensors or own.dtype not in FLOATS or tensors[key].dtype not in FLOATS:
            continue
        wanted = tensors[key].dtype
        if own.dtype != torch.get_default_dtype():
            wanted = torch.promote_types(wanted, own.dtype)
        if wanted != own.dtype:
            own.data = own.data.to(wanted)


def any_narrow(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a tensor is of a floating-point dtype that float32 holds all values of, and of no other."""
    return any(tensor.dtype in NARROW for tensor in tensors.values())


def widened(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors with those in float32 that `any_narrow` is about."""
    return {key: tensor.float() if tensor.dtype in NARROW else tensor for key, tensor in tensors.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
        return value.float()
    return value
