"""What TorchScript computes without tensors: numbers, sizes, lists and words.

Sizes stay symbolic where they are: a function here must not ask a size for its number.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

Function = Callable[..., Any]


def _integer(value: Any) -> Any:
    if isinstance(value, torch.SymInt):
        return value
    return value.item() if isinstance(value, torch.Tensor) else int(value)


def _number(value: Any) -> Any:
    if isinstance(value, torch.SymInt | torch.SymFloat):
        return torch.sym_float(value)
    return float(value)


def _formatted(text: str, *values: Any) -> str:
    parts = text.split("{}")
    shown = [*(str(value) for value in values), *[""] * len(parts)]
    return "".join(part + word for part, word in zip(parts, [*shown[: len(parts) - 1], ""], strict=True))


def _sliced(items: Any, start: int | None, end: int | None, step: int = 1) -> Any:
    return items[start:end:step]


def _appended(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _replaced(items: Any, place: Any, item: Any) -> Any:
    items[place] = item
    return items


def _extended(items: list[Any], others: list[Any]) -> None:
    items.extend(others)


def _power(base: Any, exponent: Any) -> Any:
    return base**exponent


def _divided(left: Any, right: Any) -> Any:
    return left / right


def _range_length(low: int, high: int, step: int) -> int:
    return len(range(low, high, step))


NUMBERS: Mapping[str, Function] = {
    "aten::eq": operator.eq,
    "aten::ne": operator.ne,
    "aten::lt": operator.lt,
    "aten::le": operator.le,
    "aten::gt": operator.gt,
    "aten::ge": operator.ge,
    "aten::add": operator.add,
    "aten::sub": operator.sub,
    "aten::mul": operator.mul,
    "aten::div": _divided,
    "aten::floordiv": operator.floordiv,
    "aten::floor_divide": operator.floordiv,
    "aten::remainder": operator.mod,
    "aten::neg": operator.neg,
    "aten::pow": _power,
    "aten::ceil": math.ceil,
    "aten::floor": math.floor,
    "aten::sqrt": math.sqrt,
    "aten::log": math.log,
    "aten::exp": math.exp,
    "aten::abs": abs,
    "prim::abs": abs,
    "prim::min": min,
    "prim::max": max,
    "aten::__and__": operator.and_,
    "aten::__or__": operator.or_,
    "aten::__xor__": operator.xor,
    "prim::NumToTensor": lambda value: value,
}
"""By kind, what operators compute that also exist for tensors. They hold where no operand is a tensor."""

PLAIN: Mapping[str, Function] = {
    "aten::__not__": operator.not_,
    "aten::__is__": operator.is_,
    "aten::__isnot__": operator.is_not,
    "aten::__contains__": operator.contains,
    "aten::len": len,
    "aten::dim": lambda value: value.dim(),
    "aten::is_floating_point": lambda value: value.is_floating_point(),
    "aten::numel": lambda value: value.numel(),
    "aten::Int": _integer,
    "aten::IntImplicit": _integer,
    "aten::Float": _number,
    "aten::FloatImplicit": _number,
    "aten::Bool": bool,
    "aten::ScalarImplicit": lambda value: value.item() if isinstance(value, torch.Tensor) else value,
    "aten::str": str,
    "aten::format": _formatted,
    "aten::list": list,
    "aten::append": _appended,
    "aten::extend": _extended,
    "aten::_set_item": _replaced,
    "aten::keys": lambda value: list(value.keys()),
    "aten::values": lambda value: list(value.values()),
    "aten::items": lambda value: list(value.items()),
    "aten::__range_length": _range_length,
    "aten::__derive_index": lambda place, start, step: start + place * step,
    "aten::warn": lambda *_: None,
    "aten::_unwrap_optional": lambda value: value,
    "aten::tensor": lambda data, dtype, device, requires_grad: torch.tensor(data, dtype=dtype),
    "prim::unchecked_unwrap_optional": lambda value: value,
    "prim::data": lambda value: value.detach(),
    "prim::unchecked_cast": lambda value: value,
    "prim::dtype": lambda value: value.dtype,
    "prim::device": lambda value: value.device,
    "prim::layout": lambda value: value.layout,
    "prim::is_cuda": lambda value: value.is_cuda,
    "prim::requires_grad": lambda value: False,
    "prim::TupleConstruct": lambda *values: tuple(values),
    "prim::TupleIndex": lambda values, place: values[place],
    "prim::ListConstruct": lambda *values: list(values),
    "prim::DictConstruct": lambda *values: dict(zip(values[::2], values[1::2], strict=True)),
    "prim::Print": lambda *_: None,
}
"""By kind, what is computed alike whatever the operands are. Nothing is printed: that is for people."""
