"""Tensors made from nothing but numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from grandopt.compiler.backends.native.form import Value
from grandopt.compiler.backends.native.operators.registry import Context, aten


def _full(context: Context, value: Any) -> Value:
    return context.build.constant(np.full(context.shape, value, context.dtype))


@aten("full.default", "full_like.default", "new_full.default")
def full(context: Context, _: Any, value: Any, *__: Any, **___: Any) -> Value:
    return _full(context, value)


@aten("zeros.default", "zeros_like.default", "new_zeros.default")
def zeros(context: Context, *_: Any, **__: Any) -> Value:
    return _full(context, 0)


@aten("ones.default", "ones_like.default", "new_ones.default")
def ones(context: Context, *_: Any, **__: Any) -> Value:
    return _full(context, 1)


@aten("scalar_tensor.default")
def scalar_tensor(context: Context, value: Any, **_: Any) -> Value:
    return _full(context, value)
