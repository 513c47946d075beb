"""Layers of Flax as torch's: kernels [in, out] beside weights [out, in], activations as JAX computes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import nn

from grandopt.errors import CheckpointError
from grandopt.signature import Array

Activation = Callable[[], nn.Module]

ACTIVATIONS: dict[str, Activation] = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "elu": nn.ELU, "celu": nn.CELU, "selu": nn.SELU, "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU, "sigmoid": nn.Sigmoid, "log_sigmoid": nn.LogSigmoid, "silu": nn.SiLU,
    "swish": nn.SiLU, "gelu": functools.partial(nn.GELU, approximate="tanh"), "mish": nn.Mish,
    "softplus": nn.Softplus, "soft_sign": nn.Softsign, "hard_tanh": nn.Hardtanh,
    "hard_sigmoid": nn.Hardsigmoid, "hard_silu": nn.Hardswish, "hard_swish": nn.Hardswish,
    "linear": nn.Identity,
}  # fmt: skip
"""By JAX's names. Its `gelu` is the approximation with tanh, its `leaky_relu` has torch's slope of 0.01."""

NORM_EPSILON = 1e-6
"""Of `flax.linen.LayerNorm`."""

COMPUTED = ("float32", "float16")
"""Dtypes that become float32 without loss (bfloat16 is read as float32); JAX trains in float64 if told so."""


def activation(name: str, where: str) -> Activation:
    """The activation of that name; raises CheckpointError for one that is not known."""
    if name not in ACTIVATIONS:
        raise CheckpointError(
            f"{where}: activation {name!r:.60} is not known here; known are {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]


def tensor(array: Array, name: str, where: str) -> torch.Tensor:
    """The array in float32; raises CheckpointError for a dtype that would lose by that."""
    if array.dtype.name not in COMPUTED:
        raise CheckpointError(
            f"{where}: {name!r:.80} is of {array.dtype.name}; only networks in float32 or half precision "
            f"are read"
        )
    return torch.from_numpy(array.astype("float32"))


def linear(parts: Mapping[str, torch.Tensor], name: str, where: str) -> nn.Linear:
    """The layer with `name.kernel` [in, out] and, where there is one, `name.bias`.

    Raises CheckpointError where they are missing or do not fit.
    """
    kernel, bias = parts.get(f"{name}.kernel"), parts.get(f"{name}.bias")
    if kernel is None or kernel.dim() != 2 or 0 in kernel.shape:
        shape = "missing" if kernel is None else f"of shape {list(kernel.shape)}"
        raise CheckpointError(f"{where}: '{name}' is no dense layer: its kernel is {shape}")
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise CheckpointError(f"{where}: '{name}' has a bias of shape {list(bias.shape)}")
    layer = nn.Linear(kernel.shape[0], kernel.shape[1], bias=bias is not None)
    layer.load_state_dict({"weight": kernel.T} if bias is None else {"weight": kernel.T, "bias": bias})
    return layer


def norm(parts: Mapping[str, torch.Tensor], name: str, where: str) -> nn.LayerNorm:
    """The normalisation with `name.scale` and `name.bias`; raises CheckpointError where it is another."""
    scale, bias = parts.get(f"{name}.scale"), parts.get(f"{name}.bias")
    if scale is None or bias is None or scale.dim() != 1 or scale.shape != bias.shape:
        raise CheckpointError(f"{where}: '{name}' is no LayerNorm with a scale and a bias of one size")
    layer = nn.LayerNorm(len(scale), eps=NORM_EPSILON)
    layer.load_state_dict({"weight": scale, "bias": bias})
    return layer


def first_outputs(layer: nn.Linear, count: int) -> nn.Linear:
    """The same layer with its first `count` outputs only."""
    kept = nn.Linear(layer.in_features, count, bias=layer.bias is not None)
    kept.load_state_dict({name: value[:count] for name, value in layer.state_dict().items()})
    return kept
