"""Normalisations."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from grandopt.compiler.checkpoints.onnx.call import Call, Result, axis_of, operator


@operator("BatchNormalization")
def batch_norm(call: Call) -> Result:
    """By the statistics that are operands."""
    value = call.tensor(0)
    if call.attribute("training_mode", 0):
        call.refuse("it is in training mode; export the network for inference")
    if sum(map(bool, call.node.outputs)) > 1:
        call.refuse("gives its statistics, as in training; export the network for inference")
    scale, bias, mean, variance = (call.tensor(place) for place in range(1, 5))
    epsilon = call.attribute("epsilon", 1e-5)
    return F.batch_norm(value, mean, variance, scale, bias, training=False, eps=epsilon)


@operator("InstanceNormalization")
def instance_norm(call: Call) -> Result:
    """Each channel of each sample by its own statistics."""
    value = call.tensor(0)
    axes = tuple(range(2, value.dim()))
    normal = _normal(value, axes, call.attribute("epsilon", 1e-5))
    shape = (1, -1, *[1] * len(axes))
    return normal * call.tensor(1).reshape(shape) + call.tensor(2).reshape(shape)


def _normal(value: torch.Tensor, axes: tuple[int, ...], epsilon: float) -> torch.Tensor:
    mean = value.mean(axes, keepdim=True)
    centred = value - mean
    return centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + epsilon)


@operator("LayerNormalization")
def layer_norm(call: Call) -> Result:
    """Over all axes from `axis` on."""
    value, scale, bias = call.tensor(0), call.tensor(1), call.optional(2)
    axis = axis_of(call, call.attribute("axis", -1), value.dim())
    epsilon = call.attribute("epsilon", 1e-5)
    shape = list(value.shape[axis:])
    plain = list(scale.shape) == shape and (bias is None or list(bias.shape) == shape)
    if plain:
        result = F.layer_norm(value, shape, scale, bias, epsilon)
    else:
        result = F.layer_norm(value, shape, eps=epsilon) * scale
        result = result if bias is None else result + bias
    if not (call.wanted(1) or call.wanted(2)):
        return result
    axes = tuple(range(axis, value.dim()))
    mean = value.mean(axes, keepdim=True)
    variance = ((value - mean) * (value - mean)).mean(axes, keepdim=True)
    return result, mean, 1.0 / torch.sqrt(variance + epsilon)


@operator("RMSNormalization")
def rms_norm(call: Call) -> Result:
    """By the root of the mean square over all axes from `axis` on."""
    value = call.tensor(0)
    axis = axis_of(call, call.attribute("axis", -1), value.dim())
    axes = tuple(range(axis, value.dim()))
    square = (value * value).mean(axes, keepdim=True)
    return value / torch.sqrt(square + call.attribute("epsilon", 1e-5)) * call.tensor(1)


@operator("GroupNormalization")
def group_norm(call: Call) -> Result:
    """Groups of channels; up to opset 20 scale and bias are per group, from then on per channel."""
    value, scale, bias = (call.tensor(place) for place in range(3))
    groups = call.attribute("num_groups", 1)
    if call.opset < 21:
        each = value.shape[1] // groups
        scale, bias = (part.repeat_interleave(each) for part in (scale, bias))
    return F.group_norm(value, groups, scale, bias, call.attribute("epsilon", 1e-5))


@operator("LpNormalization")
def lp_norm(call: Call) -> Result:
    """By the sum of the absolute values, or the root of that of the squares; zero stays zero."""
    value = call.tensor(0)
    axis = axis_of(call, call.attribute("axis", -1), value.dim())
    if call.attribute("p", 2) == 1:
        norm = torch.abs(value).sum(axis, keepdim=True)
    else:
        norm = torch.sqrt((value * value).sum(axis, keepdim=True))
    return torch.where(norm == 0, torch.zeros_like(value), value / norm)


@operator("MeanVarianceNormalization")
def mean_variance_norm(call: Call) -> Result:
    """Mean 0 and deviation 1 over `axes`."""
    value = call.tensor(0)
    axes = tuple(call.attribute("axes", [0, 2, 3]))
    mean = value.mean(axes, keepdim=True)
    spread = torch.sqrt((value * value).mean(axes, keepdim=True) - mean * mean)
    return (value - mean) / (spread + 1e-9)


@operator("LRN")
def local_response_norm(call: Call) -> Result:
    """By the squares of the channels around each."""
    value = call.tensor(0)
    length = call.attribute("size", 1)
    before = (length - 1) // 2
    square = (value * value).unsqueeze(1).flatten(3) if value.dim() > 3 else (value * value).unsqueeze(1)
    around = F.pad(square, (0, 0, before, length - 1 - before))
    total = F.avg_pool2d(around, (length, 1), stride=1).squeeze(1).reshape(value.shape)
    alpha, beta, bias = (
        call.attribute("alpha", 1e-4),
        call.attribute("beta", 0.75),
        call.attribute("bias", 1.0),
    )
    return value / torch.pow(total * alpha + bias, beta)
