"""Activation functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from grandopt.compiler.checkpoints.onnx.call import TABLE, Call, Result, axis_of, operator

PLAIN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Mish": F.mish,
    "HardSwish": F.hardswish, "Softsign": F.softsign,
}  # fmt: skip

for _name, _function in PLAIN.items():
    TABLE[_name] = lambda call, _function=_function: _function(call.tensor(0))  # type: ignore[misc]


@operator("Softplus")
def softplus(call: Call) -> Result:
    """log(1 + exp(x)), without a threshold above which it is x."""
    value = call.tensor(0)
    return torch.clamp(value, min=0.0) + torch.log1p(torch.exp(-torch.abs(value)))


@operator("Elu")
def elu(call: Call) -> Result:
    """alpha (exp(x) - 1) below zero."""
    return F.elu(call.tensor(0), alpha=call.attribute("alpha", 1.0))


@operator("Celu")
def celu(call: Call) -> Result:
    """alpha (exp(x / alpha) - 1) below zero."""
    return F.celu(call.tensor(0), alpha=call.attribute("alpha", 1.0))


@operator("Selu")
def selu(call: Call) -> Result:
    """A scaled Elu; the constants are attributes."""
    alpha = call.attribute("alpha", 1.67326319217681884765625)
    gamma = call.attribute("gamma", 1.05070102214813232421875)
    return gamma * F.elu(call.tensor(0), alpha=alpha)


@operator("LeakyRelu")
def leaky_relu(call: Call) -> Result:
    """alpha x below zero."""
    return F.leaky_relu(call.tensor(0), call.attribute("alpha", 0.01))


@operator("PRelu")
def prelu(call: Call) -> Result:
    """The slope below zero is an operand."""
    value, slope = call.tensor(0), call.tensor(1)
    return torch.where(value < 0, value * slope, value)


@operator("ThresholdedRelu")
def thresholded_relu(call: Call) -> Result:
    """Zero up to alpha."""
    value = call.tensor(0)
    return torch.where(value > call.attribute("alpha", 1.0), value, torch.zeros_like(value))


@operator("HardSigmoid")
def hard_sigmoid(call: Call) -> Result:
    """alpha x + beta between 0 and 1."""
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return torch.clamp(call.tensor(0) * alpha + beta, 0.0, 1.0)


@operator("Gelu")
def gelu(call: Call) -> Result:
    """Exact, or the approximation with tanh."""
    return F.gelu(call.tensor(0), approximate=call.attribute("approximate", "none"))


@operator("Swish")
def swish(call: Call) -> Result:
    """x times the sigmoid of alpha x."""
    value, alpha = call.tensor(0), call.attribute("alpha", 1.0)
    return F.silu(value) if alpha == 1.0 else value * torch.sigmoid(alpha * value)


@operator("Shrink")
def shrink(call: Call) -> Result:
    """Towards zero by `bias` outside of plus and minus `lambd`, zero within."""
    value = call.tensor(0)
    bias, limit = call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    shrunk = torch.where(value > limit, value - bias, torch.zeros_like(value))
    return torch.where(value < -limit, value + bias, shrunk).to(value.dtype)


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(call: Call) -> Result:
    """Over one axis; up to opset 12 over all axes from that one on, as one."""
    value = call.tensor(0)
    rank = value.dim()
    axis = axis_of(call, call.attribute("axis", 1 if call.opset < 13 else -1), rank)
    joined = call.opset < 13 and axis < rank - 1
    given = value.flatten(axis) if joined else value
    if call.node.op == "Softmax":
        result = torch.softmax(given, axis)
    elif call.node.op == "LogSoftmax":
        result = torch.log_softmax(given, axis)
    else:
        first = torch.argmax(given, axis, keepdim=True)
        result = torch.zeros_like(given).scatter(axis, first, 1.0)
    return result.reshape(value.shape) if joined else result


@operator("Dropout")
def dropout(call: Call) -> Result:
    """Nothing is dropped outside of training."""
    value = call.tensor(0)
    if call.has(2) and bool(call.number(2)):
        call.refuse("it is in training mode; export the network for inference")
    if call.wanted(1):
        return value, torch.ones_like(value, dtype=torch.bool)
    return value
