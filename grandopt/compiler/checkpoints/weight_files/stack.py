"""Plain stacks of linear layers, rebuilt from the names and shapes of their weights.

A state dict does not hold activations: `network: mlp:relu,tanh` says the one behind each hidden layer and,
after the comma, the one behind the last, if there is one.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.module.wrappers import plain_name
from grandopt.compiler.checkpoints.vetting.foreign import current_folder_importable
from grandopt.errors import CheckpointError

WORD = "mlp"
INPUT = "obs"
"""The name of the input where nobody gives one."""

SPREAD = re.compile(r"(^|[._])(log_?)?(std|sigma)(_?param)?$|logstd$")
"""Names of a distribution's spread, which the mean has no use for."""

SHOWN = 4


@dataclass(frozen=True)
class _Layer:
    """A linear layer (`size` inputs) or a norm, by the name that its tensors begin with."""

    name: str
    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def linear(self) -> bool:
        """Whether it is a linear layer."""
        return self.weight.dim() == 2

    def made(self) -> nn.Module:
        """The layer as a module with its weights."""
        out = self.weight.shape[0]
        module: nn.Module
        if self.linear:
            module = nn.Linear(self.weight.shape[1], out, bias=self.bias is not None)
        else:
            module = nn.LayerNorm(out, bias=self.bias is not None)
        for key, tensor in (("weight", self.weight), ("bias", self.bias)):
            if tensor is not None:
                setattr(module, key, nn.Parameter(tensor.clone(), requires_grad=False))
        return module


@dataclass(frozen=True)
class Stack:
    """The layers that a state dict spells, in order; `left_out` are its tensors that are none of theirs."""

    layers: tuple[_Layer, ...]
    left_out: tuple[str, ...]

    @property
    def inputs(self) -> int:
        """How many numbers it takes."""
        return next(layer.weight.shape[1] for layer in self.layers if layer.linear)

    def spelled(self, hidden: str = "ACTIVATION", output: str = "OUTPUT") -> str:
        """The stack in words; what only its author knows is in capitals where it is not given."""
        words = []
        for layer in self.layers:
            out = layer.weight.shape[0]
            words.append(f"Linear({layer.weight.shape[1]}, {out})" if layer.linear else f"LayerNorm({out})")
        linear = [place for place, layer in enumerate(self.layers) if layer.linear]
        for place in reversed(linear[1:]):
            words.insert(place, hidden)
        return f"Sequential({', '.join([*words, output])})"

    def built(self, hidden: str, output: str) -> nn.Sequential:
        """The network with these activations, in the dtypes of the weights."""
        modules: list[nn.Module] = []
        for place, layer in enumerate(self.layers):
            if layer.linear and any(earlier.linear for earlier in self.layers[:place]):
                modules.append(ACTIVATIONS[hidden]())
            modules.append(layer.made())
        return nn.Sequential(*modules, ACTIVATIONS[output]())


def wanted(network: str | None) -> tuple[str, str] | None:
    """The activations that `network` asks a stack with: hidden and output; None where it names code.

    Raises CheckpointError for a stack with an activation that is not known.
    """
    word, _, rest = (network or "").partition(":")
    if word != WORD:
        return None
    names = rest.split(",")
    unknown = [name for name in names if name not in ACTIVATIONS]
    if unknown or len(names) > 2:
        with current_folder_importable():
            if importlib.util.find_spec(WORD) is not None:
                return None
        what = f"{unknown[0]!r} is no activation" if unknown else "there are two activations at most"
        raise CheckpointError(
            f"network {network!r}: {what}; write {WORD}:HIDDEN or {WORD}:HIDDEN,OUTPUT with "
            f"{', '.join(ACTIVATIONS)}"
        )
    return names[0], names[1] if len(names) == 2 else "identity"


def stack(tensors: Mapping[str, torch.Tensor], where: str, *, ordered: bool = True) -> Stack:
    """The stack that the names and shapes of a state dict spell; raises CheckpointError where it is none.

    Layers whose names differ in a number alone stand in its order, others as in the file if it is `ordered`.
    """
    named = {plain_name(key): tensor for key, tensor in tensors.items()}
    left_out = tuple(key for key in named if SPREAD.search(key))
    kept = {key: tensor for key, tensor in named.items() if key not in left_out}
    layers = []
    for key, tensor in kept.items():
        name, _, part = key.rpartition(".")
        if part == "bias" and f"{name}.weight" in kept:
            continue
        if part != "weight" or tensor.dim() not in (1, 2) or not tensor.is_floating_point():
            raise CheckpointError(
                f"{where}: is no plain stack of linear layers: tensor {key!r} {list(tensor.shape)} belongs "
                f"to none; give the network as module:callable, or choose a part with `key`"
            )
        layers.append(_Layer(name, tensor, kept.get(f"{name}.bias")))
    found = _in_order(layers, ordered=ordered)
    if found is not None and _fits(found):
        return Stack(tuple(found), left_out)
    stems = list(dict.fromkeys(layer.name.partition(".")[0] for layer in layers))
    shown = ", ".join(stems[:SHOWN]) + (", …" if len(stems) > SHOWN else "")
    raise CheckpointError(
        f"{where}: its layers do not fit one behind the other, so they are no plain stack (their names begin "
        f"with {shown or 'nothing'}); choose one with `key`, or give the network as module:callable"
    )


def proposal(tensors: Mapping[str, torch.Tensor], *, ordered: bool = True) -> dict[str, object]:
    """For people: the stack that the tensors spell, and how to have it built; {} where they spell none."""
    try:
        found = stack(tensors, "", ordered=ordered)
    except CheckpointError:
        return {}
    said: dict[str, object] = {
        "spells": found.spelled(),
        "network": f"{WORD}:ACTIVATION or {WORD}:ACTIVATION,OUTPUT, such as {WORD}:relu,tanh",
    }
    return {**said, "left_out": list(found.left_out)} if found.left_out else said


def _fits(layers: Sequence[_Layer]) -> bool:
    """Whether each layer takes what the one before it gives."""
    width: int | None = None
    for layer in layers:
        bias_fits = layer.bias is None or tuple(layer.bias.shape) == (layer.weight.shape[0],)
        taken = layer.weight.shape[1] if layer.linear else layer.weight.shape[0]
        if not bias_fits or (width is not None and taken != width):
            return False
        width = layer.weight.shape[0]
    return any(layer.linear for layer in layers)


def _in_order(layers: Sequence[_Layer], *, ordered: bool) -> list[_Layer] | None:
    """The layers as they stand one behind the other; None where their names do not say that.

    Two networks in one file (actor and critic) may fit one behind the other by chance: so the linear layers
    must have one name but for a number in it, and only the last may have another.
    """
    plain = [re.sub(r"\d+", "", layer.name) for layer in layers]
    if len(set(plain)) == 1:
        return sorted(layers, key=_natural)
    linear = [name for name, layer in zip(plain, layers, strict=True) if layer.linear]
    return list(layers) if ordered and len(set(linear[:-1])) <= 1 else None


def _natural(layer: _Layer) -> list[tuple[bool, int, str]]:
    """Names in the order of the numbers in them."""
    return [
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in re.split(r"(\d+)", layer.name)
    ]
