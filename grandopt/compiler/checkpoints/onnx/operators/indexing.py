"""Operators that read and write at places that are operands."""

from __future__ import annotations

import numpy as np
import torch

from grandopt.compiler.checkpoints.onnx.call import Call, Result, axis_of, operator

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _counted(places: torch.Tensor, length: int) -> torch.Tensor:
    """Places counted from the front."""
    places = places.to(torch.int64)
    return torch.where(places < 0, places + length, places)


@operator("Gather")
def gather(call: Call) -> Result:
    """Slices of an axis, by number."""
    value = call.tensor(0)
    axis = axis_of(call, call.attribute("axis", 0), value.dim())
    known = call.value(1).known
    if known is not None and known.dtype != object and known.size == 1:
        place = int(known.ravel()[0])
        taken = (
            value.select(axis, place) if known.ndim == 0 else value.narrow(axis, place % value.shape[axis], 1)
        )
        return (
            taken
            if known.ndim < 2
            else taken.reshape(*value.shape[:axis], *known.shape, *value.shape[axis + 1 :])
        )
    places = call.tensor(1)
    if known is not None and known.dtype != object:
        places = torch.from_numpy(np.where(known < 0, known + int(value.shape[axis]), known).astype(np.int64))
    else:
        places = _counted(places, value.shape[axis])
    shape = (*value.shape[:axis], *places.shape, *value.shape[axis + 1 :])
    return value.index_select(axis, places.reshape(-1)).reshape(shape)


@operator("GatherElements")
def gather_elements(call: Call) -> Result:
    """One element for each place."""
    value = call.tensor(0)
    axis = axis_of(call, call.attribute("axis", 0), value.dim())
    return torch.gather(value, axis, _counted(call.tensor(1), value.shape[axis]))


@operator("GatherND")
def gather_nd(call: Call) -> Result:
    """Slices by rows of numbers, after `batch_dims` axes that both operands share."""
    value, places = call.tensor(0), call.tensor(1)
    shared = call.attribute("batch_dims", 0)
    parts = places.unbind(-1)
    index = [_counted(part, value.shape[shared + at]) for at, part in enumerate(parts)]
    before = []
    for axis in range(shared):
        shape = [1] * (places.dim() - 1)
        shape[axis] = -1
        before.append(torch.arange(value.shape[axis]).reshape(shape))
    return value[tuple(before + index)]


@operator("ScatterElements", "Scatter")
def scatter_elements(call: Call) -> Result:
    """One element written at each place, or added, multiplied, compared with what is there."""
    value, updates = call.tensor(0), call.tensor(2)
    axis = axis_of(call, call.attribute("axis", 0), value.dim())
    places = _counted(call.tensor(1), value.shape[axis])
    how = call.attribute("reduction", "none")
    if how == "none":
        return value.scatter(axis, places, updates)
    if how not in REDUCTIONS:
        call.refuse(f"reduction {how!r}")
    return value.scatter_reduce(axis, places, updates, REDUCTIONS[how], include_self=True)


@operator("ScatterND")
def scatter_nd(call: Call) -> Result:
    """Slices written at rows of numbers, or added, multiplied, compared with what is there."""
    value, places, updates = call.tensor(0), call.tensor(1), call.tensor(2)
    how = call.attribute("reduction", "none")
    index = tuple(_counted(part, value.shape[at]) for at, part in enumerate(places.unbind(-1)))
    if how in ("none", "add"):
        return torch.index_put(value, index, updates, accumulate=how == "add")
    if how not in REDUCTIONS:
        call.refuse(f"reduction {how!r}")
    shape = value.shape
    strides = [1]
    for length in reversed(shape[1 : len(index)]):
        strides.insert(0, strides[0] * length)
    row = sum(
        (part * stride for part, stride in zip(index, strides, strict=True)),
        torch.zeros((), dtype=torch.int64),
    )
    rest = shape[len(index) :]
    flat = value.reshape(-1, *rest)
    row = row.reshape(-1, *[1] * len(rest)).expand(-1, *rest)
    return flat.scatter_reduce(
        0, row, updates.reshape(-1, *rest), REDUCTIONS[how], include_self=True
    ).reshape(shape)


@operator("Compress")
def compress(call: Call) -> Result:
    """The slices whose flag, which is a constant, is set."""
    value, axis = call.tensor(0), call.attributes.get("axis")
    places = torch.from_numpy(np.flatnonzero(call.known(1)))
    if axis is None:
        return value.reshape(-1).index_select(0, places)
    return value.index_select(axis_of(call, axis, value.dim()), places)
