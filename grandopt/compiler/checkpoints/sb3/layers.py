"""Networks from the names and shapes of their weights, as SB3 and other frameworks build them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from grandopt.errors import CheckpointError

Tensors = Mapping[str, torch.Tensor]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (
        nn.Tanh, nn.ReLU, nn.ELU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Softplus, nn.SELU,
        nn.CELU, nn.ReLU6, nn.Hardswish, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign, nn.LogSigmoid, nn.Identity,
    )
}  # fmt: skip
"""Element-wise activations without weights, which SB3 makes without arguments."""

LONGEST_INDEX = 6
"""Digits of a layer's place in its Sequential."""

NATURE_STRIDES = {0: 4, 2: 2, 4: 1}
"""Index in the Sequential to stride of the three convolutions of Mnih et al. 2015, "Human-level control"."""

NATURE_KERNELS = {0: 8, 2: 4, 4: 3}


def activation(class_name: str | None, default: type[nn.Module], where: str) -> type[nn.Module]:
    """The activation of that dotted class name, or the default; raises CheckpointError for an unknown one."""
    if class_name is None:
        return default
    module, _, name = class_name.rpartition(".")
    if not module.startswith("torch.nn.") or name not in ACTIVATIONS:
        raise CheckpointError(
            f"{where}: activation {class_name} is not known here; known are {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def linear(tensors: Tensors, name: str, where: str) -> nn.Linear:
    """The Linear layer with the weights `name.weight` [out, in] and, where there is one, `name.bias`."""
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None:
        raise CheckpointError(f"{where}: tensor '{name}.weight' is missing")
    if weight.dim() != 2 or 0 in weight.shape or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = f"{list(weight.shape)} and bias {None if bias is None else list(bias.shape)}"
        raise CheckpointError(f"{where}: '{name}' is no Linear layer: its weight is {shapes}")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} if bias is None else {"weight": weight, "bias": bias})
    return layer


def stack(
    tensors: Tensors, prefix: str, between: type[nn.Module], where: str, *, last_active: bool
) -> list[nn.Module]:
    """The Linear layers `prefix.0`, `prefix.2`, …, an activation between them and, if `last_active`, after.

    An empty list where there are none. Raises CheckpointError where other layers stand between (a user can
    give such), because what they are is not in their weights.
    """
    indices = sorted({_index(key, prefix, where) for key in tensors if key.startswith(f"{prefix}.")})
    layers: list[nn.Module] = []
    for position, index in enumerate(indices):
        if index != 2 * position:
            raise CheckpointError(
                f"{where}: the layers of '{prefix}' are numbered {', '.join(map(str, indices))}, not 0, 2, "
                f"4, …: something other than activations stands between them"
            )
        layers += [linear(tensors, f"{prefix}.{index}", where), between()]
    if layers and not last_active:
        layers.pop()
    return layers


def renormed_stack(
    tensors: Tensors, prefix: str, between: type[nn.Module], epsilon: float, where: str
) -> list[nn.Module]:
    """CrossQ's hidden layers: batch renormalisation, Linear, activation, and so on, renormalisation at the
    end; without any renormalisation, the layers of `stack`.

    Outside training it is a batch normalisation with the running statistics. Raises CheckpointError where
    something else stands between.
    """
    keys = [key for key in tensors if key.startswith(f"{prefix}.")]
    if not any(key.endswith(".ra_mean") for key in keys):
        return stack(tensors, prefix, between, where, last_active=True)
    numbers = {key.removeprefix(f"{prefix}.").partition(".")[0] for key in keys}
    if not all(_is_index(number) for number in numbers):
        raise CheckpointError(f"{where}: the layers of '{prefix}' are not numbered, as CrossQ's are")
    indices = sorted(map(int, numbers))
    count = len(indices) // 2
    if indices != sorted([*range(0, 3 * count + 1, 3), *range(1, 3 * count, 3)]):
        raise CheckpointError(
            f"{where}: the layers of '{prefix}' are numbered {', '.join(map(str, indices))}, not 0, 1, 3, "
            f"4, …, as CrossQ's are"
        )
    layers: list[nn.Module] = []
    for start in range(0, 3 * count, 3):
        layers.append(_renorm(tensors, f"{prefix}.{start}", epsilon, where))
        layers += [linear(tensors, f"{prefix}.{start + 1}", where), between()]
    return [*layers, _renorm(tensors, f"{prefix}.{3 * count}", epsilon, where)]


RENORM_NAMES = {"weight": "scale", "bias": "bias", "running_mean": "ra_mean", "running_var": "ra_var"}
"""torch's names of a batch normalisation to those of sb3-contrib's BatchRenorm."""


def _renorm(tensors: Tensors, name: str, epsilon: float, where: str) -> nn.BatchNorm1d:
    own = {torchs: tensors.get(f"{name}.{theirs}") for torchs, theirs in RENORM_NAMES.items()}
    given = {key: value for key, value in own.items() if value is not None and value.dim() == 1}
    if len(given) < len(own) or len({value.shape for value in given.values()}) > 1:
        raise CheckpointError(
            f"{where}: '{name}' is no batch renormalisation: it needs {', '.join(RENORM_NAMES.values())} of "
            f"one length"
        )
    layer = nn.BatchNorm1d(given["weight"].shape[0], eps=epsilon)
    layer.load_state_dict({**given, "num_batches_tracked": torch.zeros((), dtype=torch.int64)})
    return layer


def _index(key: str, prefix: str, where: str) -> int:
    number, _, kind = key.removeprefix(f"{prefix}.").partition(".")
    if not _is_index(number) or kind not in ("weight", "bias"):
        raise CheckpointError(
            f"{where}: tensor {key!r:.80} belongs to no Linear layer, which is what should stand there"
        )
    return int(number)


def _is_index(number: str) -> bool:
    return number.isdecimal() and len(number) <= LONGEST_INDEX


def nature_cnn(tensors: Tensors, prefix: str, image: tuple[int, ...], where: str) -> list[nn.Module]:
    """SB3's NatureCNN from `prefix.cnn` and `prefix.linear`, for images [C, H, W] of size `image`.

    Raises CheckpointError when the kernels are others or the image has another number of channels.
    """
    layers: list[nn.Module] = []
    for index, stride in NATURE_STRIDES.items():
        weight, bias = (tensors.get(f"{prefix}.cnn.{index}.{part}") for part in ("weight", "bias"))
        side = NATURE_KERNELS[index]
        if weight is None or bias is None or weight.dim() != 4 or tuple(weight.shape[2:]) != (side, side):
            raise CheckpointError(
                f"{where}: '{prefix}.cnn' is not SB3's NatureCNN; its strides are not known"
            )
        convolution = nn.Conv2d(weight.shape[1], weight.shape[0], side, stride)
        convolution.load_state_dict({"weight": weight, "bias": bias})
        layers += [convolution, nn.ReLU()]
    channels = int(tensors[f"{prefix}.cnn.0.weight"].shape[1])
    if len(image) != 3 or image[0] != channels:
        raise CheckpointError(
            f"{where}: the network takes images [{channels}, H, W], the observation space is {list(image)}"
        )
    return [*layers, nn.Flatten(), linear(tensors, f"{prefix}.linear.0", where), nn.ReLU()]
