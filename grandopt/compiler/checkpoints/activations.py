"""Activations by the names that people and settings files give them."""

from __future__ import annotations

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "elu": nn.ELU, "celu": nn.CELU, "selu": nn.SELU, "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "silu": nn.SiLU, "swish": nn.SiLU, "gelu": nn.GELU,
    "mish": nn.Mish, "softplus": nn.Softplus, "softsign": nn.Softsign, "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
}  # fmt: skip
"""Each with torch's own parameters."""
