"""Convolutions, and the windows that they share with pooling."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional as F

from grandopt.compiler.checkpoints.onnx.call import Call, Result, operator

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@dataclass(frozen=True)
class Window:
    """How a kernel goes over the axes after the channels: per axis, the pads before and after it."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]

    @property
    def even(self) -> bool:
        """Whether the pads before and after are equal."""
        return all(before == after for before, after in self.pads)

    @property
    def flat(self) -> list[int]:
        """The pads as torch's own padding takes them: the last axis first."""
        return [number for pair in reversed(self.pads) for number in pair]


def window(call: Call, kernel: list[int], sizes: list[int]) -> Window:
    """The window of a node over axes of these sizes; raises OperatorError where its lists do not fit."""
    rank = len(kernel)
    strides = call.attribute("strides", [1] * rank)
    dilations = call.attribute("dilations", [1] * rank)
    pads = call.attribute("pads", [0] * 2 * rank)
    if (
        not len(strides) == len(dilations) == rank == len(sizes)
        or len(pads) != 2 * rank
        or rank not in CONVOLUTIONS
    ):
        call.refuse(f"a kernel of {kernel} with {len(strides)} strides and {len(pads)} pads")
    if min(*strides, *dilations, *kernel) < 1 or min(pads) < 0:
        call.refuse("strides, dilations and kernel must be positive, and pads not negative")
    around = [(pads[at], pads[at + rank]) for at in range(rank)]
    automatic = call.attribute("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        around = []
        for size, length, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + (length - 1) * dilation + 1 - size)
            less, more = total // 2, total - total // 2
            around.append((less, more) if automatic == "SAME_UPPER" else (more, less))
    elif automatic == "VALID":
        around = [(0, 0)] * rank
    return Window(tuple(kernel), tuple(strides), tuple(dilations), tuple(around))


@operator("Conv")
def convolution(call: Call) -> Result:
    """Of one, two or three axes, also in groups."""
    value, weight, bias = call.tensor(0), call.tensor(1), call.optional(2)
    kernel = call.attribute("kernel_shape", list(weight.shape[2:]))
    over = window(call, kernel, list(value.shape[2:]))
    pads = [before for before, _ in over.pads]
    if not over.even:
        value, pads = F.pad(value, over.flat), [0] * len(kernel)
    run = CONVOLUTIONS[len(kernel)]
    return run(value, weight, bias, over.strides, pads, over.dilations, call.attribute("group", 1))


@operator("ConvTranspose")
def transposed_convolution(call: Call) -> Result:
    """Of one, two or three axes; what its pads take away is cut off where torch cannot do that itself."""
    value, weight, bias = call.tensor(0), call.tensor(1), call.optional(2)
    kernel = call.attribute("kernel_shape", list(weight.shape[2:]))
    rank = len(kernel)
    sizes = list(value.shape[2:])
    over = window(call, kernel, sizes)
    extra = call.attribute("output_padding", [0] * rank)
    full = [
        (size - 1) * stride + (length - 1) * dilation + 1 + more
        for size, stride, length, dilation, more in zip(
            sizes, over.strides, kernel, over.dilations, extra, strict=True
        )
    ]
    pads = _taken_away(call, over, full)
    run = TRANSPOSED[rank]
    arguments = (call.attribute("group", 1), over.dilations)
    if all(before == after >= 0 for before, after in pads) and all(
        more < max(stride, dilation)
        for more, stride, dilation in zip(extra, over.strides, over.dilations, strict=True)
    ):
        return run(value, weight, bias, over.strides, [before for before, _ in pads], extra, *arguments)
    whole = run(value, weight, None, over.strides, 0, 0, *arguments)
    cut = [
        number
        for at in reversed(range(rank))
        for number in (-pads[at][0], -pads[at][1] + extra[at])
    ]  # fmt: skip
    whole = F.pad(whole, cut)
    return whole if bias is None else whole + bias.reshape(1, -1, *[1] * rank)


def _taken_away(call: Call, over: Window, full: list[int]) -> list[tuple[int, int]]:
    """The pads of a transposed convolution, also where the size of the result says them."""
    wanted = call.attributes.get("output_shape")
    automatic = call.attribute("auto_pad", "NOTSET")
    if wanted is None and automatic in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * stride for size, stride in zip(call.tensor(0).shape[2:], over.strides, strict=True)]
    if wanted is None:
        return list(over.pads)
    if len(wanted) != len(full):
        call.refuse(f"output_shape {wanted} for {len(full)} axes")
    pads = []
    for size, want in zip(full, wanted, strict=True):
        total = size - want
        less, more = total // 2, total - total // 2
        pads.append((more, less) if automatic != "SAME_UPPER" else (less, more))
    return pads
