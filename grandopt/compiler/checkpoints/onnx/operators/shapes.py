"""Operators that move numbers without changing them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from grandopt.compiler.checkpoints.onnx.call import Call, Result, axis_of, is_symbol, operator, sizes
from grandopt.compiler.checkpoints.settings import EXAMPLE_BATCH

PAD_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


@operator("Identity")
def identity(call: Call) -> Result:
    """The same."""
    return call.value(0)


@operator("Shape")
def shape(call: Call) -> Result:
    """The sizes from `start` to `end`."""
    found = list(call.tensor(0).shape)
    return sizes(found[slice(call.attributes.get("start"), call.attributes.get("end"))])


@operator("Size")
def size(call: Call) -> Result:
    """The number of elements."""
    found = sizes([math.prod(call.tensor(0).shape)])
    return type(found)(known=None if found.known is None else found.known.reshape(()))


@operator("Reshape")
def reshape(call: Call) -> Result:
    """0 keeps a size, -1 takes what is left. A batch that is built in becomes that of the operand."""
    value, wanted = call.tensor(0), call.sizes(1)
    if not call.attribute("allowzero", 0):
        for place, number in enumerate(wanted):
            if not is_symbol(number) and number == 0:
                if place >= value.dim():
                    call.refuse(f"keeps size {place} of a tensor of {value.dim()} dimension(s)")
                wanted[place] = value.shape[place]
    return value.reshape(_freed(call, list(value.shape), wanted))


def _freed(call: Call, found: list[Any], wanted: list[Any]) -> list[Any]:
    """The wanted shape with the operand's batch where the file has built its own in.

    Elements keep their order, so that the batch belongs where the sizes before it come to the same as in the
    operand: to a size that is the batch alone, else to the end of the one before or to the begin of the one
    after, whichever a network is likelier to join it with. Who frees a batch tries out whether it was.
    """
    symbols = [place for place, number in enumerate(found) if is_symbol(number)]
    if call.batch is None or len(symbols) != 1 or any(is_symbol(item) for item in wanted):
        return wanted
    outer, joined = math.prod(found[: symbols[0]]), found[symbols[0]]
    times = joined.node.hint // EXAMPLE_BATCH  # the size that is joined with the batch
    batch = joined if times == 1 else joined // times
    known = wanted.index(-1) if -1 in wanted else len(wanted)
    before = [math.prod(wanted[:place]) for place in range(known + 1)]
    alone = [at for at in range(known) if wanted[at] == call.batch and before[at] in (outer, outer * times)]
    after = [at for at in range(known) if before[at] == outer and wanted[at] % call.batch == 0]
    if alone:
        # Axes are put in in front, and taken out behind: as far from the end as before, or from the begin.
        behind = len(wanted) - len(found) + symbols[0]
        likely = (behind, symbols[0]) if len(wanted) > len(found) else (symbols[0], behind)
        place = next((at for at in likely if at in alone), alone[0])
    elif after and after[0] and len(wanted) < len(found) and wanted[after[0] - 1] % call.batch == 0:
        place = after[0] - 1
    elif after:
        place = after[0]
    else:
        return wanted
    each = wanted[place] // call.batch
    return [*wanted[:place], batch if each == 1 else each * batch, *wanted[place + 1 :]]


@operator("Flatten")
def flatten(call: Call) -> Result:
    """A matrix: the sizes before `axis`, and those from it on."""
    value = call.tensor(0)
    axis = call.attribute("axis", 1)
    axis = axis + value.dim() if axis < 0 else axis
    if axis == 1 and value.dim() > 1:
        return value.flatten(1)
    return value.reshape(math.prod(value.shape[:axis]), math.prod(value.shape[axis:]))


@operator("Squeeze")
def squeeze(call: Call) -> Result:
    """Axes of size 1 taken out; without `axes` all of them."""
    value = call.tensor(0)
    axes = call.whole("axes", 1)
    if axes is None:
        axes = [place for place, number in enumerate(value.shape) if not is_symbol(number) and number == 1]
    places = tuple(axis_of(call, axis, value.dim()) for axis in axes)
    for place in places:
        if is_symbol(value.shape[place]) or value.shape[place] != 1:
            call.refuse(f"axis {place} of {list(value.shape)} is not 1")
    return torch.squeeze(value, places) if places else value


@operator("Unsqueeze")
def unsqueeze(call: Call) -> Result:
    """Axes of size 1 put in, at their places in the result."""
    value, axes = call.tensor(0), call.whole("axes", 1) or []
    rank = value.dim() + len(axes)
    for axis in sorted(axis_of(call, axis, rank) for axis in axes):
        value = value.unsqueeze(axis)
    return value


@operator("Transpose")
def transpose(call: Call) -> Result:
    """Axes in another order; reversed without `perm`."""
    value = call.tensor(0)
    return value.permute(call.attribute("perm", list(range(value.dim()))[::-1]))


@operator("Concat")
def concat(call: Call) -> Result:
    """Side by side. What has the built-in batch of 1 and no observation in it is repeated for each row."""
    values = call.tensors()
    axis = axis_of(call, call.attribute("axis", 0), values[0].dim())
    batches = [value.shape[0] for value in values if value.dim() and is_symbol(value.shape[0])]
    if call.batch == 1 and axis and batches:
        values = [
            value if is_symbol(value.shape[0]) else value.expand(batches[0], *value.shape[1:])
            for value in values
        ]
    if len(values) == 1:
        return values[0]
    return _summed(values, axis) if call.unrolled else torch.cat(values, axis)


def _summed(values: list[torch.Tensor], axis: int) -> torch.Tensor:
    """The same as joined: each with zeros around it, added up. Torch cannot join row by row for a number of
    rows that is a symbol."""
    total, before = sum(value.shape[axis] for value in values), 0
    parts = []
    for value in values:
        after = total - before - value.shape[axis]
        parts.append(F.pad(value, (*[0, 0] * (value.dim() - 1 - axis), before, after)))
        before += value.shape[axis]
    return sum(parts[1:], parts[0])


@operator("Split")
def split(call: Call) -> Result:
    """Into pieces of given sizes, or of equal ones of which the last may be smaller."""
    value = call.tensor(0)
    axis = axis_of(call, call.attribute("axis", 0), value.dim())
    pieces = call.whole("split", 1)
    if pieces is None:
        count = call.attribute("num_outputs", len(call.node.outputs))
        length = value.shape[axis]
        if is_symbol(length) or count != len(call.node.outputs):
            call.refuse(f"splits a size of {length} into {count} outputs of {len(call.node.outputs)}")
        each = -(-length // count)
        pieces = [max(0, min(each, length - each * place)) for place in range(count)]
    return tuple(torch.split(value, pieces, axis))


@operator("Slice")
def slices(call: Call) -> Result:
    """Ranges of some axes, also backwards."""
    value = call.tensor(0)
    starts, ends = call.whole("starts", 1) or [], call.whole("ends", 2) or []
    axes = call.whole("axes", 3) or list(range(len(starts)))
    steps = call.sizes(4) if call.has(4) else [1] * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps):
        call.refuse("starts, ends, axes and steps are not of one length")
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(call, axis, value.dim())
        if step > 0:
            value = torch.ops.aten.slice.Tensor(value, axis, start, end, step)
            continue
        length = value.shape[axis]
        if is_symbol(length):
            call.refuse("turns an axis around whose size is not fixed")
        places = list(range(length))[slice(start, end if end >= -length else None, step)]
        value = value.index_select(axis, torch.tensor(places, dtype=torch.int64))
    return value


@operator("Expand")
def expand(call: Call) -> Result:
    """To a shape, by repeating what has size 1; the operand may be the larger one."""
    value, wanted = call.tensor(0), call.sizes(1)
    found = list(value.shape)
    rank = max(len(found), len(wanted))
    found = [1] * (rank - len(found)) + found
    wanted = [1] * (rank - len(wanted)) + wanted
    return value.expand([_larger(have, want) for have, want in zip(found, wanted, strict=True)])


def _larger(have: Any, want: Any) -> Any:
    return have if not is_symbol(want) and want == 1 else want


@operator("Tile")
def tile(call: Call) -> Result:
    """Repeated along every axis."""
    return call.tensor(0).repeat(call.sizes(1))


@operator("Pad")
def pad(call: Call) -> Result:
    """Numbers put around, or taken away where a pad is negative."""
    value = call.tensor(0)
    rank = value.dim()
    pads = call.whole("pads", 1) or []
    axes = [axis_of(call, axis, rank) for axis in call.sizes(3)] if call.has(3) else list(range(rank))
    if len(pads) != 2 * len(axes):
        call.refuse(f"{len(pads)} pads for {len(axes)} axes")
    around = {axis: (pads[place], pads[place + len(axes)]) for place, axis in enumerate(axes)}
    mode = call.attribute("mode", "constant")
    if mode == "constant":
        fill = call.number(2) if call.has(2) else call.attribute("value", 0.0)
        flat = [number for axis in reversed(range(rank)) for number in around.get(axis, (0, 0))]
        if value.dtype == torch.bool:
            return F.pad(value.to(torch.uint8), flat, value=float(bool(fill))) != 0
        return F.pad(value, flat, value=fill)
    if mode not in PAD_MODES:
        call.refuse(f"mode {mode!r}")
    for axis, (before, after) in around.items():
        if before or after:
            value = value.index_select(axis, _places(call, value.shape[axis], before, after, mode))
    return value


def _places(call: Call, length: Any, before: int, after: int, mode: str) -> torch.Tensor:
    """Which element stands at each place of a padded axis."""
    if is_symbol(length):
        call.refuse("pads an axis whose size is not fixed")
    places = torch.arange(-before, length + after)
    if mode == "edge":
        return places.clamp(0, length - 1)
    if mode == "wrap":
        return places % length
    period = max(1, 2 * (length - 1))
    places = places % period
    return torch.minimum(places, period - places)


@operator("Trilu")
def trilu(call: Call) -> Result:
    """The upper or lower triangle, the rest zero."""
    value = call.tensor(0)
    diagonal = int(call.number(1)) if call.has(1) else 0
    return torch.triu(value, diagonal) if call.attribute("upper", 1) else torch.tril(value, diagonal)


@operator("DepthToSpace")
def depth_to_space(call: Call) -> Result:
    """Channels to pixels."""
    value, block = call.tensor(0), call.attribute("blocksize", 1)
    n, c, h, w = value.shape
    if call.attribute("mode", "DCR") == "DCR":
        parts = value.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    else:
        parts = value.reshape(n, c // block**2, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, c // block**2, h * block, w * block)


@operator("SpaceToDepth")
def space_to_depth(call: Call) -> Result:
    """Pixels to channels."""
    value, block = call.tensor(0), call.attribute("blocksize", 1)
    n, c, h, w = value.shape
    order = (0, 3, 5, 1, 2, 4) if call.attribute("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    parts = value.reshape(n, c, h // block, block, w // block, block).permute(order)
    return parts.reshape(n, c * block**2, h // block, w // block)
