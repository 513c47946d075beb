"""Pooling."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from grandopt.compiler.checkpoints.onnx.call import Call, Result, operator
from grandopt.compiler.checkpoints.onnx.operators.convolution import Window, window

LARGEST = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def _over(call: Call, value: torch.Tensor) -> tuple[Window, list[tuple[int, int]]]:
    """The window, and its pads with what `ceil_mode` looks at beyond the end."""
    kernel = call.attribute("kernel_shape", [])
    over = window(call, kernel, list(value.shape[2:]))
    if not call.attribute("ceil_mode", 0) or call.attribute("auto_pad", "NOTSET").startswith("SAME"):
        return over, list(over.pads)
    pads = []
    for at, (before, after) in enumerate(over.pads):
        size, stride = value.shape[2 + at] + before + after, over.strides[at]
        span = (over.kernel[at] - 1) * over.dilations[at] + 1
        count = -(-(size - span) // stride) + 1
        if (count - 1) * stride >= value.shape[
            2 + at
        ] + before:  # the last window must begin within the input
            count -= 1
        pads.append((before, after + max(0, (count - 1) * stride + span - size)))
    return over, pads


def _flat(pads: list[tuple[int, int]]) -> list[int]:
    return [number for pair in reversed(pads) for number in pair]


@operator("MaxPool")
def max_pool(call: Call) -> Result:
    """The largest number of each window."""
    value = call.tensor(0)
    if call.wanted(1):
        call.refuse("gives the places of the largest numbers, too")
    over, pads = _over(call, value)
    lowest = float("-inf") if value.dtype.is_floating_point else torch.iinfo(value.dtype).min
    run = LARGEST[len(over.kernel)]
    even = all(
        before == after <= length // 2 for (before, after), length in zip(pads, over.kernel, strict=True)
    )
    if even and value.dtype.is_floating_point:
        return run(value, over.kernel, over.strides, [before for before, _ in pads], over.dilations)
    padded = F.pad(value, _flat(pads), value=lowest)
    if value.dtype.is_floating_point:
        return run(padded, over.kernel, over.strides, 0, over.dilations)
    return run(padded.double(), over.kernel, over.strides, 0, over.dilations).to(value.dtype)


def _sums(value: torch.Tensor, over: Window) -> torch.Tensor:
    """The sum of each window."""
    rank = len(over.kernel)
    count = 1
    for length in over.kernel:
        count *= length
    if max(over.dilations) == 1:
        return AVERAGE[rank](value, over.kernel, over.strides) * count
    for at in range(rank):
        span = (over.kernel[at] - 1) * over.dilations[at] + 1
        value = value.unfold(2 + at, span, over.strides[at])[..., :: over.dilations[at]].sum(-1)
    return value


@operator("AveragePool")
def average_pool(call: Call) -> Result:
    """The mean of each window, with the pads counted or not."""
    value = call.tensor(0)
    over, pads = _over(call, value)
    counted = bool(call.attribute("count_include_pad", 0))
    fits = all(
        before == after <= length // 2 for (before, after), length in zip(pads, over.kernel, strict=True)
    )
    if fits and max(over.dilations) == 1 and pads == list(over.pads):
        before = [pair[0] for pair in pads]
        run = AVERAGE[len(over.kernel)]
        return run(value, over.kernel, over.strides, before, False, counted)
    ones = torch.ones((1, 1, *value.shape[2:]), dtype=value.dtype)
    beyond = [(0, more - after) for (_, more), (_, after) in zip(pads, over.pads, strict=True)]
    counts = F.pad(F.pad(ones, over.flat, value=float(counted)), _flat(beyond))
    return _sums(F.pad(value, _flat(pads)), over) / _sums(counts, over)


@operator("LpPool")
def lp_pool(call: Call) -> Result:
    """The p-norm of each window."""
    value, power = call.tensor(0), call.attribute("p", 2)
    over, pads = _over(call, value)
    sums = _sums(F.pad(torch.abs(value) ** power, _flat(pads)), over)
    return sums ** (1.0 / power)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Call) -> Result:
    """One number for each channel."""
    value = call.tensor(0)
    axes = tuple(range(2, value.dim()))
    if call.node.op == "GlobalAveragePool":
        return value.mean(axes, keepdim=True)
    if call.node.op == "GlobalMaxPool":
        return torch.amax(value, axes, keepdim=True)
    power = call.attribute("p", 2)
    return (torch.abs(value) ** power).sum(axes, keepdim=True) ** (1.0 / power)
