"""Plain stacks of linear layers, rebuilt from the names and shapes of their weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.module.wrappers import plain_name
from grandopt.errors import CheckpointError

SPREAD = re.compile(r"(^|[._])(log_?)?(std|sigma)(_?param)?$|logstd$")
"""Names of a distribution's spread, which the mean has no use for."""

SHOWN = 4
LONGEST_NUMBER = 9
"""Digits of a layer's number."""


@dataclass(frozen=True)
class Layer:
    """A linear layer or a norm, by the name that its tensors begin with."""

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
            module = nn.LayerNorm(out)
        for key, tensor in (("weight", self.weight), ("bias", self.bias)):
            if tensor is not None:
                setattr(module, key, nn.Parameter(tensor.clone(), requires_grad=False))
        return module


@dataclass(frozen=True)
class Stack:
    """The layers that a state dict spells, in order; `left_out` are its tensors that are none of theirs.

    `active` are the places of the layers that a hidden activation stands before.
    """

    layers: tuple[Layer, ...]
    active: tuple[int, ...]
    left_out: tuple[str, ...]

    word: str = "mlp"

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of one observation."""
        return (next(int(layer.weight.shape[1]) for layer in self.layers if layer.linear),)

    @property
    def state(self) -> dict[str, tuple[int, ...]]:
        """It remembers nothing."""
        return {}

    def words(self, hidden: str, output: str) -> list[str]:
        """The layers and activations, one behind the other."""
        words = []
        for place, layer in enumerate(self.layers):
            out = layer.weight.shape[0]
            words += [hidden] if place in self.active else []
            words.append(f"Linear({layer.weight.shape[1]}, {out})" if layer.linear else f"LayerNorm({out})")
        return [*words, output]

    def built(self, hidden: str, output: str) -> nn.Sequential:
        """The network with these activations, in the dtypes of the weights."""
        modules: list[nn.Module] = []
        for place, layer in enumerate(self.layers):
            modules += [ACTIVATIONS[hidden]()] if place in self.active else []
            modules.append(layer.made())
        return nn.Sequential(*modules, ACTIVATIONS[output]())


def stack(tensors: Mapping[str, torch.Tensor], where: str, *, ordered: bool = True) -> Stack:
    """The stack that the names and shapes of a state dict spell; raises CheckpointError where it is none.

    Layers whose names differ in a number alone stand in its order, others as in the file if it is `ordered`.
    One number for each unit without a bias may be of several norms, or of a PReLU, and is refused.
    """
    kept, left_out = without_spread(tensors)
    layers = []
    for name, weight, bias in weighted(kept, where):
        if weight.dim() not in (1, 2) or (weight.dim() == 1 and bias is None):
            raise strange(where, f"{name}.weight", weight)
        layers.append(Layer(name, weight, bias))
    found = _in_order(layers, ordered=ordered)
    if found is None or not _fits(found):
        raise unfitting(where, [layer.name for layer in layers])
    return Stack(tuple(found), _active(found, where), left_out)


def without_spread(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """The tensors by their names without wrappers, and the names of those that are left out."""
    named = {plain_name(key): tensor for key, tensor in tensors.items()}
    left_out = tuple(key for key in named if SPREAD.search(key))
    return {key: tensor for key, tensor in named.items() if key not in left_out}, left_out


def weighted(
    tensors: Mapping[str, torch.Tensor], where: str = ""
) -> Iterator[tuple[str, torch.Tensor, torch.Tensor | None]]:
    """Each layer's name, weight and bias, in order; raises CheckpointError for a tensor that is neither."""
    for key, tensor in tensors.items():
        name, _, part = key.rpartition(".")
        if part == "bias" and f"{name}.weight" in tensors:
            continue
        if part != "weight" or not tensor.is_floating_point():
            raise strange(where, key, tensor)
        yield name, tensor, tensors.get(f"{name}.bias")


def strange(where: str, key: str, tensor: torch.Tensor) -> CheckpointError:
    """The error for a tensor that no layer of a plain stack has."""
    return CheckpointError(
        f"{where}: is no plain stack of layers: tensor {key!r} {list(tensor.shape)} belongs to none; give "
        f"the network as module:callable, or choose a part with `key`"
    )


def unfitting(where: str, names: Sequence[str]) -> CheckpointError:
    """The error for layers that do not follow one another."""
    stems = list(dict.fromkeys(name.partition(".")[0] for name in names))
    shown = ", ".join(stems[:SHOWN]) + (", …" if len(stems) > SHOWN else "")
    return CheckpointError(
        f"{where}: its layers do not fit one behind the other, so they are no plain stack (their names begin "
        f"with {shown or 'nothing'}); choose one with `key`, or give the network as module:callable"
    )


def _fits(layers: Sequence[Layer]) -> bool:
    """Whether each layer takes what the one before it gives."""
    width: int | None = None
    for layer in layers:
        bias_fits = layer.bias is None or tuple(layer.bias.shape) == (layer.weight.shape[0],)
        taken = layer.weight.shape[1] if layer.linear else layer.weight.shape[0]
        if not bias_fits or (width is not None and taken != width):
            return False
        width = layer.weight.shape[0]
    return any(layer.linear for layer in layers)


def _in_order(layers: Sequence[Layer], *, ordered: bool) -> list[Layer] | None:
    """The layers as they stand one behind the other; None where their names do not say that.

    Two networks in one file (actor and critic) may fit one behind the other by chance: so the linear layers
    must have one name but for a number in it, and only the last may have another. A file whose order is not
    that of the numbers was sorted by its writer.
    """
    plain = [numberless(layer.name) for layer in layers]
    if len(set(plain)) == 1:
        return sorted(layers, key=lambda layer: natural(layer.name))
    linear = [name for name, layer in zip(plain, layers, strict=True) if layer.linear]
    numbers = [[natural(layer.name) for layer in layers if numberless(layer.name) == one] for one in plain]
    ordered = ordered and all(found == sorted(found) for found in numbers)
    return list(layers) if ordered and len(set(linear[:-1])) <= 1 else None


def _active(layers: Sequence[Layer], where: str) -> tuple[int, ...]:
    """The places of the layers that a hidden activation stands before, one between two linear layers.

    It stands in the gap that it leaves in the numbers of a Sequential; where these have none, as those of a
    ModuleList, and where layers are not numbered, right before the second. Raises CheckpointError where that
    leaves it open, and for norms behind one another, which a class may call anywhere.
    """
    linear = [place for place, layer in enumerate(layers) if layer.linear]
    steps = [0, *(_step(before.name, after.name) for before, after in pairwise(layers))]
    numbered = any(step > 1 for step in steps)
    found = []
    for before, after in pairwise(linear):
        places = range(before + 1, after + 1)
        gaps = [place for place in places if steps[place] > 1]
        loose = [place for place in places if steps[place] == 0]
        if len(gaps) > 1 or (gaps and loose) or (numbered and not gaps and not loose):
            raise _unplaced(where, layers[before], layers[after])
        found.append(gaps[0] if gaps else after)
    for place in range(1, len(layers)):
        twice = not layers[place].linear and not layers[place - 1].linear
        outside = not linear[0] < place <= linear[-1]
        if twice or (outside and steps[place] > 1):
            raise _unplaced(where, layers[place - 1], layers[place])
    if any(_fits_elsewhere(layers[place], layers) for place in (0, -1)):
        raise _unplaced(where, layers[0], layers[-1])
    return tuple(found)


def _fits_elsewhere(norm: Layer, layers: Sequence[Layer]) -> bool:
    """Whether a norm at an end that has a name of its own has the size of several layers."""
    linear = [layer for layer in layers if layer.linear]
    if norm.linear or numberless(norm.name) == numberless(linear[0].name):
        return False
    size = norm.weight.shape[0]
    return [linear[0].weight.shape[1], *(layer.weight.shape[0] for layer in linear)].count(size) > 1


def _step(before: str, after: str) -> int:
    """How far apart two modules of one Sequential stand; 0 for those that are of none."""
    (parent, _, first), (other, _, second) = before.rpartition("."), after.rpartition(".")
    one = parent == other and first.isdecimal() and second.isdecimal()
    return _number(second) - _number(first) if one else 0


def _unplaced(where: str, before: Layer, after: Layer) -> CheckpointError:
    return CheckpointError(
        f"{where}: names and shapes do not say where norms and activation stand between {before.name!r} and "
        f"{after.name!r}; give the network as module:callable"
    )


def numberless(name: str) -> str:
    """A layer's name without the numbers in it, which the layers of one stack share."""
    return re.sub(r"\d+", "", name)


def natural(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts names by the numbers in them."""
    return [(part.isdecimal(), _number(part), part) for part in re.split(r"(\d+)", name)]


def _number(text: str) -> int:
    """The number that a text is; 0 for any that no module has."""
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else 0
