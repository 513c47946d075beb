"""d3rlpy's encoders, rebuilt from their weights and what the settings say of their factory."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from grandopt.compiler.checkpoints.frameworks import layers
from grandopt.compiler.checkpoints.frameworks.layers import Tensors
from grandopt.errors import CheckpointError

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "swish": nn.SiLU, "none": nn.Identity}
"""By d3rlpy's names (`create_activation`), but for geglu, which halves what it gets."""

NATURE = ((8, 4), (4, 2), (3, 1))
"""Kernel and stride of the convolutions that an image gets where the settings name no others."""

DEFAULT_UNITS = 2
"""Layers of a vector's encoder where the settings name none."""


class Residual(nn.Module):
    """What a block adds to its own input (SimBa)."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[B, n] to the same shape."""
        return given + self.block(given)


def encoder(tensors: Tensors, prefix: str, factory: Any, image: bool, where: str) -> list[nn.Module]:
    """The encoder whose weights are at `prefix` and whose factory the settings describe as `factory`.

    Raises CheckpointError for a factory that is none of d3rlpy's own and for weights that do not fit it.
    """
    kind, params = _factory(factory, where)
    match kind:
        case "default" if image:
            return _pixel(tensors, prefix, {**params, "filters": None}, where)
        case "pixel":
            return _pixel(tensors, prefix, params, where)
        case "default" | "vector":
            return _vector(tensors, prefix, params, where)
        case "simba":
            return _simba(tensors, prefix, where)
    raise CheckpointError(
        f"{where}: the encoder is of the kind {kind!r:.60}, none of d3rlpy's own; export the policy with "
        f"algo.save_policy('policy.onnx')"
    )


def _factory(factory: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    kind = factory.get("type") if isinstance(factory, Mapping) else None
    params = factory.get("params") if isinstance(factory, Mapping) else None
    if not isinstance(kind, str) or not isinstance(params, Mapping):
        raise CheckpointError(f"{where}: the settings do not say of what kind the encoder is")
    return kind, params


def _vector(tensors: Tensors, prefix: str, params: Mapping[str, Any], where: str) -> list[nn.Module]:
    units = params.get("hidden_units")
    count = len(units) if isinstance(units, list) else DEFAULT_UNITS
    reader = _Sequential(tensors, f"{prefix}._layers", where)
    for number in range(count):
        reader.linear()
        reader.activation(params, last=number == count - 1)
        reader.behind(params, nn.BatchNorm1d)
    return reader.finished()


def _pixel(tensors: Tensors, prefix: str, params: Mapping[str, Any], where: str) -> list[nn.Module]:
    filters = params.get("filters")
    if filters is None:
        sizes: list[tuple[Any, ...]] = list(NATURE)
    else:
        plain = isinstance(filters, list) and all(isinstance(row, list) and len(row) == 3 for row in filters)
        if not plain:
            raise CheckpointError(f"{where}: the settings of the encoder say filters = {filters!r:.60}")
        sizes = [tuple(row[1:]) for row in filters]
    reader = _Sequential(tensors, f"{prefix}._cnn_layers", where)
    for kernel, stride in sizes:
        reader.convolution(kernel, stride)
        reader.activation(params, last=False)
        reader.behind(params, nn.BatchNorm2d)
    network = [*reader.finished(), nn.Flatten()]
    reader = _Sequential(tensors, f"{prefix}._last_layers", where)
    reader.linear()
    reader.activation(params, last=True)
    reader.behind(params, nn.BatchNorm1d)
    return [*network, *reader.finished()]


def _simba(tensors: Tensors, prefix: str, where: str) -> list[nn.Module]:
    reader = _Sequential(tensors, f"{prefix}._layers", where)
    reader.linear()
    while f"{reader.here}._layers.0.weight" in tensors:
        block = _Sequential(tensors, f"{reader.here}._layers", where)
        block.norm(nn.LayerNorm)
        block.linear()
        block.add(nn.ReLU())
        block.linear()
        reader.add(Residual(nn.Sequential(*block.finished())))
    reader.norm(nn.LayerNorm)
    return reader.finished()


class _Sequential:
    """Reads a Sequential whose tensors are at `prefix`, layer by layer."""

    def __init__(self, tensors: Tensors, prefix: str, where: str) -> None:
        self.tensors, self.prefix, self.where = tensors, prefix, where
        self.modules: list[nn.Module] = []
        self.place = 0

    @property
    def here(self) -> str:
        """What the names of the next layer's tensors begin with."""
        return f"{self.prefix}.{self.place}"

    def add(self, module: nn.Module) -> None:
        """The next layer, whose weights, if it has any, are in it."""
        self.modules.append(module)
        self.place += 1

    def linear(self) -> None:
        self.add(layers.linear(self.tensors, self.here, self.where))

    def convolution(self, kernel: Any, stride: Any) -> None:
        weight, bias = (self.tensors.get(f"{self.here}.{part}") for part in ("weight", "bias"))
        fits = weight is not None and weight.dim() == 4 and tuple(weight.shape[2:]) == (kernel, kernel)
        if weight is None or bias is None or not fits or 0 in weight.shape or bias.shape != weight.shape[:1]:
            raise CheckpointError(f"{self.where}: '{self.here}' is no convolution of {kernel!r:.20} pixels")
        if type(stride) is not int or not 0 < stride <= kernel:
            raise CheckpointError(f"{self.where}: the settings of the encoder say stride = {stride!r:.20}")
        made = nn.Conv2d(weight.shape[1], weight.shape[0], kernel, stride)
        made.load_state_dict({"weight": weight, "bias": bias})
        self.add(made)

    def activation(self, params: Mapping[str, Any], *, last: bool) -> None:
        """The activation that the settings name, if there is one here."""
        if last and params.get("exclude_last_activation"):
            return
        word = (params.get("last_activation") if last else None) or params.get("activation", "relu")
        if word not in ACTIVATIONS:
            raise CheckpointError(
                f"{self.where}: activation {word!r:.60} of the encoder is not known here; known are "
                f"{', '.join(ACTIVATIONS)}"
            )
        self.add(ACTIVATIONS[word]())

    def behind(self, params: Mapping[str, Any], norm: type[nn.BatchNorm1d | nn.BatchNorm2d]) -> None:
        """What stands behind an activation: norms where the settings say so, and dropout, which does nothing
        outside training."""
        if params.get("use_batch_norm"):
            self.norm(norm)
        if params.get("use_layer_norm"):
            self.norm(nn.LayerNorm)
        if params.get("dropout_rate") is not None:
            self.place += 1

    def norm(self, kind: type[nn.Module]) -> None:
        own = layers.below(self.tensors, self.here)
        weight = own.get("weight")
        if weight is None or weight.dim() != 1:
            raise CheckpointError(f"{self.where}: '{self.here}' is no norm")
        made = kind(weight.shape[0])
        if {key: value.shape for key, value in made.state_dict().items()} != {
            k: v.shape for k, v in own.items()
        }:
            raise CheckpointError(f"{self.where}: '{self.here}' is no {kind.__name__} of {weight.shape[0]}")
        made.load_state_dict(own)
        self.add(made)

    def finished(self) -> list[nn.Module]:
        """The layers; raises CheckpointError where the file holds more of them."""
        beyond = re.compile(rf"{re.escape(self.prefix)}\.(\d{{1,6}})\.")
        for name in self.tensors:
            match = beyond.match(name)
            if match is not None and int(match.group(1)) >= self.place:
                raise CheckpointError(
                    f"{self.where}: tensor {name!r} is of no layer that the settings speak of"
                )
        return self.modules
