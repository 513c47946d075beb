"""Convolutions with a plain stack behind them, rebuilt from the names and shapes of their weights.

Stride and padding leave no trace in a weight: `network_args: {stride: [4, 2, 1]}` gives one number for each
convolution, and `padding` likewise where it is not 0. Against the size of the observation and the width of
the first linear layer they are checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints.activations import ACTIVATIONS
from grandopt.compiler.checkpoints.weight_files import stack
from grandopt.compiler.checkpoints.weight_files.stack import Stack
from grandopt.errors import CheckpointError

KINDS: dict[int, type[nn.Conv1d | nn.Conv2d]] = {3: nn.Conv1d, 4: nn.Conv2d}
ARGUMENTS = ("stride", "padding")
LARGEST = 64
"""Of a stride or a padding."""


@dataclass(frozen=True)
class _Convolution:
    name: str
    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def kernel(self) -> tuple[int, ...]:
        return tuple(self.weight.shape[2:])

    def word(self, stride: object, padding: object) -> str:
        kind = KINDS[self.weight.dim()].__name__
        size = self.kernel[0] if len(set(self.kernel)) == 1 else self.kernel
        return (
            f"{kind}({self.weight.shape[1]}, {self.weight.shape[0]}, {size}, stride={stride}, "
            f"padding={padding})"
        )

    def made(self, stride: int, padding: int) -> nn.Module:
        module = KINDS[self.weight.dim()](
            self.weight.shape[1],
            self.weight.shape[0],
            self.kernel,  # type: ignore[arg-type]
            stride=stride,
            padding=padding,
            bias=self.bias is not None,
        )
        for key, tensor in (("weight", self.weight), ("bias", self.bias)):
            if tensor is not None:
                setattr(module, key, nn.Parameter(tensor.clone(), requires_grad=False))
        return module


@dataclass(frozen=True)
class ConvolutionalStack:
    """Convolutions and the stack behind them; `left_out` are tensors that are none of theirs.

    `stride` and `padding` hold a number for each convolution, and are empty while nobody gave them.
    """

    convolutions: tuple[_Convolution, ...]
    head: Stack
    left_out: tuple[str, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    word: str = "cnn"

    @property
    def inputs(self) -> tuple[int, ...]:
        """The shape of one observation as far as it is known: the channels."""
        return (int(self.convolutions[0].weight.shape[1]),)

    @property
    def sides(self) -> tuple[str, ...]:
        """What else there is of its shape, in letters."""
        return ("H", "W") if len(self.convolutions[0].kernel) == 2 else ("L",)

    @property
    def state(self) -> dict[str, tuple[int, ...]]:
        """It remembers nothing."""
        return {}

    def words(self, hidden: str, output: str) -> list[str]:
        """The layers and activations, one behind the other; what is not known is in capitals."""
        words = []
        for place, layer in enumerate(self.convolutions):
            stride = self.stride[place] if self.stride else "STRIDE"
            words += [layer.word(stride, self.padding[place] if self.padding else "PADDING"), hidden]
        return [*words, "Flatten()", *self.head.words(hidden, output)]

    def built(self, hidden: str, output: str) -> nn.Module:
        """The network with these activations, in the dtypes of the weights."""
        modules: list[nn.Module] = []
        for layer, stride, padding in zip(self.convolutions, self.stride, self.padding, strict=True):
            modules += [layer.made(stride, padding), ACTIVATIONS[hidden]()]
        return nn.Sequential(*modules, nn.Flatten(), *self.head.built(hidden, output))

    def placed(
        self, arguments: Mapping[str, Any], shape: Sequence[int] | None, where: str
    ) -> ConvolutionalStack:
        """The same with the strides and paddings in `arguments`, for observations of this shape.

        Raises CheckpointError where they, or the shape, are missing or do not fit the weights.
        """
        count, channels = len(self.convolutions), self.inputs[0]
        unknown = [key for key in arguments if key not in ARGUMENTS]
        if unknown:
            raise CheckpointError(
                f"{where}: 'network_args' has {unknown[0]!r}; convolutions take stride and padding"
            )
        if "stride" not in arguments or shape is None:
            raise CheckpointError(
                f"{where}: weights do not say the strides of its {count} convolution(s), nor the size of an "
                f"observation; add to this agent in grandopt.yaml `network_args: {{stride: "
                f"[{', '.join(['S'] * count)}]}}` (and `padding` where it is not 0) and `inputs: [{{name: "
                f"obs, shape: [{channels}, {', '.join(self.sides)}]}}]`, filled in"
            )
        stride = self._numbers("stride", arguments["stride"], 1, where)
        padding = self._numbers("padding", arguments.get("padding", [0] * count), 0, where)
        width = self._flattened(shape, stride, padding, where)
        if (width,) != self.head.inputs:
            raise CheckpointError(
                f"{where}: with stride {list(stride)}, padding {list(padding)} and observations "
                f"{list(shape)} its convolutions give {width} numbers, but layer "
                f"{self.head.layers[0].name!r} takes {self.head.inputs[0]}"
            )
        return ConvolutionalStack(self.convolutions, self.head, self.left_out, stride, padding)

    def _numbers(self, name: str, given: Any, least: int, where: str) -> tuple[int, ...]:
        numbers = given if isinstance(given, list) else [given] * len(self.convolutions)
        whole = all(type(number) is int and least <= number <= LARGEST for number in numbers)
        if not whole or len(numbers) != len(self.convolutions):
            raise CheckpointError(
                f"{where}: 'network_args': {name} must be {len(self.convolutions)} whole number(s) from "
                f"{least} to {LARGEST}, got {given!r:.60}"
            )
        return tuple(numbers)

    def _flattened(
        self, shape: Sequence[int], stride: Sequence[int], padding: Sequence[int], where: str
    ) -> int:
        """How many numbers come out of the last convolution."""
        kernel = self.convolutions[0].kernel
        if len(shape) != len(kernel) + 1 or shape[0] != self.inputs[0]:
            raise CheckpointError(
                f"{where}: its first convolution takes {self.inputs[0]} channel(s) of {len(kernel)} "
                f"dimension(s), but an observation is declared as {list(shape)}"
            )
        sides = list(shape[1:])
        for layer, step, edge in zip(self.convolutions, stride, padding, strict=True):
            sides = [
                (side + 2 * edge - size) // step + 1 for side, size in zip(sides, layer.kernel, strict=True)
            ]
            if min(sides) < 1:
                raise CheckpointError(
                    f"{where}: an observation {list(shape)} is too small for the kernel "
                    f"{list(layer.kernel)} of {layer.name!r} with stride {list(stride)}"
                )
        return int(self.convolutions[-1].weight.shape[0] * torch.Size(sides).numel())


def is_convolutional(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Whether a weight among the tensors is that of a convolution."""
    return any(key.endswith("weight") and tensor.dim() in KINDS for key, tensor in tensors.items())


def convolutional_stack(
    tensors: Mapping[str, torch.Tensor], where: str, *, ordered: bool = True
) -> ConvolutionalStack:
    """The convolutions and the stack that a state dict spells; raises CheckpointError where it is none."""
    kept, left_out = stack.without_spread(tensors)
    found = [
        _Convolution(name, weight, bias)
        for name, weight, bias in stack.weighted(kept, where)
        if weight.dim() in KINDS
    ]
    names = [layer.name for layer in found]
    if len({stack.numberless(name) for name in names}) > 1:
        raise stack.unfitting(where, names)
    found.sort(key=lambda layer: stack.natural(layer.name))
    own = {f"{name}.{part}" for name in names for part in ("weight", "bias")}
    head = stack.stack({key: value for key, value in kept.items() if key not in own}, where, ordered=ordered)
    if not _chained(found) or not _behind(head, names):
        raise stack.unfitting(where, [*names, *(layer.name for layer in head.layers)])
    return ConvolutionalStack(tuple(found), head, left_out)


def _chained(layers: Sequence[_Convolution]) -> bool:
    """Whether each convolution takes the channels that the one before it gives."""
    channels: int | None = None
    for layer in layers:
        taken, out = layer.weight.shape[1], layer.weight.shape[0]
        bias_fits = layer.bias is None or tuple(layer.bias.shape) == (out,)
        if not bias_fits or channels not in (None, taken) or layer.weight.dim() != layers[0].weight.dim():
            return False
        channels = out
    return True


def _behind(head: Stack, names: Sequence[str]) -> bool:
    """Whether the linear layers stand behind the convolutions; those of one sequence say so themselves."""
    first = head.layers[0]
    if not first.linear:
        return False
    same = stack.numberless(first.name) == stack.numberless(names[-1])
    return not same or stack.natural(names[-1]) < stack.natural(first.name)
