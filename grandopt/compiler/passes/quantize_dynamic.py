"""int8 weights for Linear, LSTM and GRU; activations are quantized at each call with the scale they need.

This is torch's dynamic quantization (`torch.ao.quantization.quantize_dynamic`): symmetric int8 weights per
tensor, eight-bit activations, sums in int32, everything between the layers in float32.

Integers have no NaN and no infinity: torch's kernels turn NaN into ordinary numbers, and refuse a call whose
values are infinite. Each layer therefore has a guard that keeps such rows out and answers them with NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic

from grandopt.compiler.passes.raw_layers import ALL_RAW, raw_layers
from grandopt.compiler.program import FORWARD_ERRORS, Program, copied, evaluate
from grandopt.errors import UnsupportedError, first_line

NAME = "quantize_dynamic"
NAME_INSIDE = "quantize_dynamic_inside"
LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.LSTM, nn.GRU)
QUANTIZED: tuple[type[nn.Module], ...] = (
    torch.ao.nn.quantized.dynamic.Linear,
    torch.ao.nn.quantized.dynamic.LSTM,
    torch.ao.nn.quantized.dynamic.GRU,
)


class GuardedLinear(nn.Module):
    """An int8 linear layer whose output is NaN in the rows whose input is not finite."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.train(layer.training)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        # x - x is 0 for a finite x and NaN for any other: one addition marks the rows.
        return self.layer(_finite(value)) + (value - value).sum(-1, keepdim=True)


class GuardedRecurrent(nn.Module):
    """An int8 LSTM or GRU whose outputs and states are NaN for the sequences that are not finite.

    A sequence with one such step is NaN from its start: the float32 layer's forward direction would still
    be finite before that step.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.batch_first = bool(layer.batch_first)
        self.train(layer.training)

    def forward(self, value: torch.Tensor, state: Any = None) -> Any:
        output, last = self.layer(_finite(value), state)
        if value.dim() == 2:  # one sequence without a batch dimension
            mark = (value - value).sum()
            return output + mark, _marked(last, mark)
        rest = (1, 2) if self.batch_first else (0, 2)
        mark = (value - value).sum(rest)
        over_output = mark[:, None, None] if self.batch_first else mark[None, :, None]
        return output + over_output, _marked(last, mark[None, :, None])


def _finite(value: torch.Tensor) -> torch.Tensor:
    return torch.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0)


def _marked(state: Any, mark: torch.Tensor) -> Any:
    return tuple(item + mark for item in state) if isinstance(state, tuple) else state + mark


def apply(program: Program) -> Program:
    """The program with int8 layers, of the precision "int8_dynamic".

    `scores` is quantized in the same way, so that it still holds the scores that the decision is taken
    from. `exported` and `traced` are None: torch.export does not take quantized layers, a trace does.
    Raises UnsupportedError when there is no layer to quantize or the network does not run with such layers.
    """
    return _applied(program, NAME, inside=False)


def apply_inside(program: Program) -> Program:
    """`apply`, but for the layers that read raw observations, which stay in float32."""
    return _applied(program, NAME_INSIDE, inside=True)


def _applied(program: Program, name: str, *, inside: bool) -> Program:
    if program.precision != "float32":
        raise UnsupportedError(f"int8 layers are made from float32 ones, not from {program.precision}")
    module = _quantized(program.module, program.example, inside=inside)
    scores = None if program.scores is None else _quantized(program.scores, program.example, inside=inside)
    try:
        evaluate(module, program.example)
    except FORWARD_ERRORS as error:
        raise UnsupportedError(f"the network does not run with int8 layers: {first_line(error)}") from error
    return program.after(
        name, module=module, scores=scores, precision="int8_dynamic", exported=None, traced=None
    )


def _quantized(module: nn.Module, example: Sequence[torch.Tensor], *, inside: bool) -> nn.Module:
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError("a TorchScript archive holds a graph, not layers that could be made int8")
    layers = {name for name, layer in _named(module) if type(layer) in LAYERS}
    if not layers:
        raise UnsupportedError("the network has no Linear, LSTM or GRU layer that could be made int8")
    kept = raw_layers(module, example, LAYERS) if inside else frozenset[str]()
    if layers <= kept:
        raise UnsupportedError(f"{ALL_RAW}: none is left for int8")
    if torch.backends.quantized.engine == "none":
        raise UnsupportedError("this build of torch has no int8 kernels for this processor")
    wanted: dict[type | str, Any] = {**dict.fromkeys(LAYERS, default_dynamic_qconfig), **dict.fromkeys(kept)}
    with warnings.catch_warnings():
        # torch announces that torchao, another package, will replace its quantizer and quantized tensors.
        warnings.filterwarnings("ignore", message="torch.ao.quantization", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="torch.quantize_per_tensor", category=UserWarning)
        try:
            quantized = quantize_dynamic(copied(module), wanted, dtype=torch.qint8, inplace=True)
        except FORWARD_ERRORS as error:
            raise UnsupportedError(f"torch cannot make the layers int8: {first_line(error)}") from error
    return _guarded(quantized)


def _named(module: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(module.named_modules(remove_duplicate=False))


def _guarded(module: nn.Module) -> nn.Module:
    root = nn.ModuleDict({"network": module})
    guards: dict[nn.Module, nn.Module] = {}
    for name, layer in list(root.named_modules(remove_duplicate=False)):
        # One guard per layer, also for a layer that is known by two names.
        if layer not in guards and type(layer) in QUANTIZED:
            linear = type(layer) is QUANTIZED[0]
            guards[layer] = GuardedLinear(layer) if linear else GuardedRecurrent(layer)
        if layer in guards:
            root.set_submodule(name, guards[layer])
    return root["network"].eval()  # the quantizer makes its layers in training mode
