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
    if weight.dim() != 2 or (bias is not None and bias.shape != weight.shape[:1]):
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


def _index(key: str, prefix: str, where: str) -> int:
    number, _, kind = key.removeprefix(f"{prefix}.").partition(".")
    if not number.isdecimal() or kind not in ("weight", "bias"):
        raise CheckpointError(
            f"{where}: tensor {key!r} belongs to no Linear layer, which is what should stand there"
        )
    return int(number)


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
