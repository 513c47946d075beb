"""Reductions, running sums, and the places of the largest numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch

from grandopt.compiler.checkpoints.onnx.call import TABLE, Call, Result, axis_of, is_symbol, operator

Reduction = Callable[[torch.Tensor, list[int], bool], torch.Tensor]


def _product(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    dtype = value.dtype
    for axis in sorted(axes, reverse=True):
        value = torch.prod(value, axis, keepdim=keep, dtype=dtype)
    return value


def _sum(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.sum(value, axes, keepdim=keep, dtype=value.dtype)


def _mean(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    if value.dtype.is_floating_point:
        return torch.mean(value, axes, keepdim=keep)
    count = 1
    for axis in axes:
        count *= value.shape[axis]
    return torch.div(_sum(value, axes, keep), count, rounding_mode="trunc")


def _extreme(function: Callable[..., torch.Tensor]) -> Reduction:
    def reduce(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
        if value.dtype == torch.bool:
            return function(value.to(torch.uint8), axes, keepdim=keep) != 0
        return function(value, axes, keepdim=keep)

    return reduce


def _log_sum_exp(value: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.logsumexp(value, axes, keepdim=keep)


REDUCTIONS: dict[str, Reduction] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceMax": _extreme(torch.amax),
    "ReduceMin": _extreme(torch.amin),
    "ReduceProd": _product,
    "ReduceL1": lambda value, axes, keep: _sum(torch.abs(value), axes, keep),
    "ReduceL2": lambda value, axes, keep: torch.sqrt(_sum(value * value, axes, keep)).to(value.dtype),
    "ReduceSumSquare": lambda value, axes, keep: _sum(value * value, axes, keep),
    "ReduceLogSum": lambda value, axes, keep: torch.log(_sum(value, axes, keep)).to(value.dtype),
    "ReduceLogSumExp": _log_sum_exp,
}


def _reduced(call: Call) -> Result:
    """Over `axes`, or over all of them without any."""
    value, op = call.tensor(0), call.node.op
    axes = call.whole("axes", 1)
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return REDUCTIONS[op](value.unsqueeze(0), [0], False)
    places = [axis_of(call, axis, value.dim()) for axis in axes] if axes else list(range(value.dim()))
    if not places:
        return REDUCTIONS[op](value.unsqueeze(0), [0], False)
    keep = bool(call.attribute("keepdims", 1))
    if op in ("ReduceMax", "ReduceMin") and any(
        not is_symbol(value.shape[place]) and value.shape[place] == 0 for place in places
    ):
        call.refuse("over an axis without elements")
    return REDUCTIONS[op](value, places, keep)


TABLE.update(dict.fromkeys(REDUCTIONS, _reduced))


@operator("ArgMax", "ArgMin")
def extreme_place(call: Call) -> Result:
    """The first place of the largest or smallest number, or with `select_last_index` the last."""
    value = call.tensor(0)
    axis = axis_of(call, call.attribute("axis", 0), value.dim())
    keep = bool(call.attribute("keepdims", 1))
    function = torch.argmax if call.node.op == "ArgMax" else torch.argmin
    if not call.attribute("select_last_index", 0):
        return function(value, axis, keepdim=keep)
    return value.shape[axis] - 1 - function(torch.flip(value, (axis,)), axis, keepdim=keep)


@operator("TopK")
def top_k(call: Call) -> Result:
    """The k largest or smallest in order, with their places; of equal ones the first comes first."""
    value = call.tensor(0)
    count = (call.whole("k", 1) or [0])[0]
    axis = axis_of(call, call.attribute("axis", -1), value.dim())
    largest = bool(call.attribute("largest", 1))
    found, places = torch.sort(value, dim=axis, descending=largest, stable=True)
    return found.narrow(axis, 0, count), places.narrow(axis, 0, count)


@operator("CumSum", "CumProd")
def running(call: Call) -> Result:
    """The sums or products of all numbers up to a place, or from it on, with or without itself."""
    value = call.tensor(0)
    axis = axis_of(call, int(call.number(1)), value.dim())
    backwards = bool(call.attribute("reverse", 0))
    value = torch.flip(value, (axis,)) if backwards else value
    if call.attribute("exclusive", 0):
        first = value.narrow(axis, 0, 1)
        first = torch.zeros_like(first) if call.node.op == "CumSum" else torch.ones_like(first)
        value = torch.cat([first, value.narrow(axis, 0, value.shape[axis] - 1)], axis)
    function = torch.cumsum if call.node.op == "CumSum" else torch.cumprod
    value = function(value, axis, dtype=value.dtype)
    return torch.flip(value, (axis,)) if backwards else value
