"""Resize and Upsample, to the nearest element of each axis."""

from __future__ import annotations

import math

import numpy as np
import torch

from grandopt import limits
from grandopt.compiler.checkpoints.onnx.call import Call, Result, axis_of, is_symbol, operator
from grandopt.signature import Array


@operator("Upsample")
def upsample(call: Call) -> Result:
    """By the scales of an operand, or up to opset 8 of an attribute."""
    if call.attribute("mode", "nearest") != "nearest":
        call.refuse(f"mode {call.attribute('mode', '')!r}; only nearest is computed here")
    value = call.tensor(0)
    scales = call.attribute("scales", []) if not call.has(1) else [float(s) for s in call.known(1).ravel()]
    for axis, scale in enumerate(scales):
        value = _resized(call, value, axis, scale, None, "asymmetric", "floor")
    return value


@operator("Resize")
def resize(call: Call) -> Result:
    """By scales or to sizes, nearest only."""
    if call.attribute("mode", "nearest") != "nearest":
        call.refuse(f"mode {call.attribute('mode', '')!r}; only nearest is computed here")
    value = call.tensor(0)
    transform = call.attribute(
        "coordinate_transformation_mode", "half_pixel" if call.opset > 10 else "asymmetric"
    )
    rounding = call.attribute("nearest_mode", "round_prefer_floor" if call.opset > 10 else "floor")
    at = 2 if call.opset > 10 else 1
    axes = [axis_of(call, axis, value.dim()) for axis in call.attribute("axes", list(range(value.dim())))]
    scales = [float(number) for number in call.known(at).ravel()] if call.has(at) else []
    wanted = call.sizes(3) if call.has(3) else []
    if wanted:
        sizes = [int(value.shape[axis]) if not is_symbol(value.shape[axis]) else None for axis in axes]
        scales = [1.0 if have is None else want / have for have, want in zip(sizes, wanted, strict=True)]
        policy = call.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            scales = [min(scales) if policy == "not_larger" else max(scales)] * len(axes)
            wanted = [
                math.floor(scale * have + 0.5) for scale, have in zip(scales, sizes, strict=True) if have
            ]
    if len(scales) != len(axes):
        call.refuse(f"{len(scales)} scales for {len(axes)} axes")
    for place, axis in enumerate(axes):
        value = _resized(
            call, value, axis, scales[place], wanted[place] if wanted else None, transform, rounding
        )
    return value


def _resized(
    call: Call,
    value: torch.Tensor,
    axis: int,
    scale: float,
    wanted: int | None,
    transform: str,
    rounding: str,
) -> torch.Tensor:
    length = value.shape[axis]
    if is_symbol(length):
        if scale != 1.0:
            call.refuse("resizes an axis whose size is not fixed")
        return value
    size = math.floor(length * scale) if wanted is None else wanted
    if size == length and scale == 1.0:
        return value
    if not 1 <= size <= limits.INPUT_ELEMENTS:
        call.refuse(f"to a size of {size:,}; at most {limits.INPUT_ELEMENTS:,} are taken")
    places = _places(call, np.arange(size), length, size, scale, transform)
    found = torch.from_numpy(_rounded(call, places, rounding).clip(0, length - 1).astype(np.int64))
    return value.index_select(axis, found)


def _places(call: Call, out: Array, length: int, size: int, scale: float, transform: str) -> Array:
    """The place in the operand that each element of the result comes from."""
    match transform:
        case "asymmetric":
            return out / scale
        case "half_pixel":
            return (out + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            centre = length / 2 * (1 - size / (length * scale))
            return centre + (out + 0.5) / scale - 0.5
        case "pytorch_half_pixel":
            return (out + 0.5) / scale - 0.5 if size > 1 else out * 0.0
        case "align_corners":
            return out * ((length - 1) / (size - 1)) if size > 1 else out * 0.0
        case "tf_half_pixel_for_nn":
            return (out + 0.5) / scale
        case _:
            return call.refuse(f"coordinate_transformation_mode {transform!r}")


def _rounded(call: Call, places: Array, rounding: str) -> Array:
    match rounding:
        case "floor":
            return np.floor(places)
        case "ceil":
            return np.ceil(places)
        case "round_prefer_floor":
            return np.ceil(places - 0.5)
        case "round_prefer_ceil":
            return np.floor(places + 0.5)
        case _:
            return call.refuse(f"nearest_mode {rounding!r}")
