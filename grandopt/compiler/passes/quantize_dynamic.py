"""int8 weights for Linear, LSTM and GRU; activations are quantized at each call with the scale they need.

This is torch's dynamic quantization (`torch.ao.quantization.quantize_dynamic`): symmetric int8 weights per
tensor, eight-bit activations, sums in int32, everything between the layers in float32.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from grandopt.compiler.program import FORWARD_ERRORS, Program, evaluate
from grandopt.errors import UnsupportedError, first_line

NAME = "quantize_dynamic"
LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.LSTM, nn.GRU)


def apply(program: Program) -> Program:
    """The program with int8 layers, of the precision "int8_dynamic".

    `scores` is quantized in the same way, so that it still holds the scores that the decision is taken
    from. `exported` and `traced` are None: torch.export does not take quantized layers, a trace does.
    Raises UnsupportedError when there is no layer to quantize or the network does not run with such layers.
    """
    if program.precision != "float32":
        raise UnsupportedError(f"int8 layers are made from float32 ones, not from {program.precision}")
    module = _quantized(program.module)
    scores = None if program.scores is None else _quantized(program.scores)
    try:
        evaluate(module, program.example)
    except FORWARD_ERRORS as error:
        raise UnsupportedError(f"the network does not run with int8 layers: {first_line(error)}") from error
    return program.after(
        NAME, module=module, scores=scores, precision="int8_dynamic", exported=None, traced=None
    )


def _quantized(module: nn.Module) -> nn.Module:
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError("a TorchScript archive holds a graph, not layers that could be made int8")
    if not any(type(layer) in LAYERS for layer in module.modules()):
        raise UnsupportedError("the network has no Linear, LSTM or GRU layer that could be made int8")
    if torch.backends.quantized.engine == "none":
        raise UnsupportedError("this build of torch has no int8 kernels for this processor")
    with warnings.catch_warnings():
        # torch announces that torchao, another package, will replace its quantizer and quantized tensors.
        warnings.filterwarnings("ignore", message="torch.ao.quantization", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="torch.quantize_per_tensor", category=UserWarning)
        try:
            return quantize_dynamic(copy.deepcopy(module), set(LAYERS), dtype=torch.qint8, inplace=True)
        except FORWARD_ERRORS as error:
            raise UnsupportedError(f"torch cannot make the layers int8: {first_line(error)}") from error
