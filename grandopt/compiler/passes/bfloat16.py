"""Weights and arithmetic of the heavy layers in bfloat16; everything between them stays float32.

Norms, softmax and residual sums keep the range and the 24 bits of float32. The cast at each layer's border
is what that costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from grandopt.compiler.passes.raw_layers import ALL_RAW, raw_layers
from grandopt.compiler.program import FORWARD_ERRORS, Program, copied, evaluate
from grandopt.errors import UnsupportedError, first_line

NAME = "bfloat16"
NAME_INSIDE = "bfloat16_inside"
LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.LSTM, nn.GRU)
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")


class Bfloat16Layer(nn.Module):
    """A layer that computes in bfloat16 and takes and gives the dtype of its surroundings."""

    def __init__(self, layer: nn.Module, outside: torch.dtype) -> None:
        super().__init__()
        self.layer = layer.to(torch.bfloat16)
        self.outside = outside
        self.train(layer.training)

    def forward(self, *values: Any) -> Any:
        return _cast(self.layer(*_cast(values, torch.bfloat16)), self.outside)


def apply(program: Program) -> Program:
    """The program with bfloat16 layers, of the precision "bfloat16"; inputs and outputs keep their dtypes.

    `exported` and `traced` are None, to be captured anew. Raises UnsupportedError when the processor has no
    bfloat16 arithmetic (torch would emulate it, slower than float32), when there is no layer to convert, or
    when the network does not run with such layers.
    """
    _require_float32(program)
    require_bfloat16(torch.cpu.get_capabilities())
    return convert(program)


def apply_inside(program: Program) -> Program:
    """`apply`, but for the layers that read raw observations, which stay in float32."""
    _require_float32(program)
    require_bfloat16(torch.cpu.get_capabilities())
    return convert(program, inside=True)


def require_bfloat16(capabilities: Mapping[str, Any]) -> None:
    """Raise UnsupportedError unless `capabilities` (see `torch.cpu.get_capabilities`) has bfloat16."""
    if not any(capabilities.get(name) for name in INSTRUCTIONS):
        raise UnsupportedError(f"this processor has no bfloat16 arithmetic ({' or '.join(INSTRUCTIONS)})")


def convert(program: Program, *, inside: bool = False) -> Program:
    """`apply` or `apply_inside` without the question whether the processor is made for it."""
    _require_float32(program)
    module = _converted(program.module, program.example, inside=inside)
    scores = None if program.scores is None else _converted(program.scores, program.example, inside=inside)
    try:
        evaluate(module, program.example)
    except FORWARD_ERRORS as error:
        raise UnsupportedError(
            f"the network does not run with bfloat16 layers: {first_line(error)}"
        ) from error
    name = NAME_INSIDE if inside else NAME
    return program.after(name, module=module, scores=scores, precision="bfloat16", exported=None, traced=None)


def _require_float32(program: Program) -> None:
    if program.precision != "float32":
        raise UnsupportedError(f"bfloat16 layers are made from float32 ones, not from {program.precision}")


def _converted(module: nn.Module, example: Sequence[torch.Tensor], *, inside: bool) -> nn.Module:
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError("a TorchScript archive holds a graph, not layers that could be made bfloat16")
    kept = raw_layers(module, example, LAYERS) if inside else frozenset[str]()
    root = nn.ModuleDict({"network": copied(module)})
    wrapped: dict[nn.Module, Bfloat16Layer] = {}
    exact = {root.get_submodule(f"network.{name}" if name else "network") for name in kept}
    for name, layer in list(root.named_modules(remove_duplicate=False)):
        # One wrapper per layer: a layer known by two names is converted once.
        fits = type(layer) in LAYERS and layer not in exact and _dtype(layer) is torch.float32
        if layer not in wrapped and fits:
            wrapped[layer] = Bfloat16Layer(layer, torch.float32)
        if layer in wrapped:
            root.set_submodule(name, wrapped[layer])
    if not wrapped and exact:
        raise UnsupportedError(f"{ALL_RAW}: none is left for bfloat16")
    if not wrapped:
        raise UnsupportedError("the network has no float32 Linear, Conv, LSTM or GRU layer for bfloat16")
    return root["network"]


def _dtype(layer: nn.Module) -> torch.dtype:
    return next(layer.parameters()).dtype


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Cast the floating-point tensors in a tensor or (nested) tuple, such as a recurrent layer's state."""
    if isinstance(value, tuple):
        return tuple(_cast(item, dtype) for item in value)
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(dtype)
    return value
