"""Cumulative sums, products and extremes."""

from __future__ import annotations

from typing import Any

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import ScanKind, Value
from grandopt.compiler.backends.native.operators.registry import Context, aten


def _along(build: Builder, kind: ScanKind, x: Value, dim: int) -> tuple[Value, ...]:
    if not x.shape:
        whole = build.reshape(x, (1,))
        return tuple(build.reshape(value, ()) for value in build.scan(kind, whole))
    last = build.swap(x, dim, -1)
    return tuple(build.swap(value, dim, -1) for value in build.scan(kind, last))


@aten("cumsum.default", "cumprod.default")
def cumulative(context: Context, x: Value, dim: int, **_: Any) -> Value:
    kind: ScanKind = "sum" if context.operator.startswith("cumsum") else "prod"
    return _along(context.build, kind, context.build.cast(x, context.dtype), dim)[0]


@aten("cummax.default", "cummin.default")
def cumulative_extreme(context: Context, x: Value, dim: int) -> tuple[Value, ...]:
    return _along(context.build, "max" if context.operator.startswith("cummax") else "min", x, dim)


@aten("logcumsumexp.default")
def logcumsumexp(context: Context, x: Value, dim: int) -> Value:
    return _along(context.build, "logsumexp", x, dim)[0]
