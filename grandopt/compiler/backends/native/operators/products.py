"""Matrix products and attention. A product with a constant becomes a Linear op."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Linear, Value
from grandopt.compiler.backends.native.operators.registry import Context, aten
from grandopt.errors import UnsupportedError


def add_linear(build: Builder, x: Value, weight: Value, bias: Value | None) -> Value:
    """x [..., K] · weightᵀ [N, K] + bias [N], where weight and bias are constants."""
    if x.dtype != "float32":
        raise UnsupportedError(f"a matrix product of {x.dtype} is not covered by the native engine")
    if bias is None:
        bias = build.constant(np.zeros(weight.shape[0], np.float32))
    output = build.value((*x.shape[:-1], weight.shape[0]), x.dtype)
    build.add(Linear((x, weight, bias), (output,)))
    return output


@aten("linear.default")
def linear(context: Context, x: Value, weight: Value, bias: Value | None = None) -> Value:
    build = context.build
    if weight.data is not None and (bias is None or bias.data is not None):
        return add_linear(build, x, weight, bias)
    product = _product(context, x, build.swap(weight, 0, 1))
    return product if bias is None else build.map("add", product, bias)


@aten("addmm.default", "baddbmm.default", "addmv.default")
def addmm(context: Context, bias: Value, a: Value, b: Value, beta: Any = 1, alpha: Any = 1) -> Value:
    build = context.build
    plain = alpha == 1 and beta == 1 and bias.data is not None and len(bias.shape) == 1
    if plain and b.data is not None and len(b.shape) == 2 and bias.shape == (b.shape[1],):
        return add_linear(build, a, build.swap(b, 0, 1), bias)
    product = _product(context, a, b)
    product = product if alpha == 1 else build.map("mul", product, alpha)
    return build.map("add", product, bias if beta == 1 else build.map("mul", bias, beta))


@aten("mm.default", "matmul.default", "bmm.default", "mv.default", "dot.default")
def matmul(context: Context, a: Value, b: Value) -> Value:
    return _product(context, a, b)


def _product(context: Context, a: Value, b: Value) -> Value:
    """torch.matmul's rules for one-dimensional operands around the two-dimensional product."""
    build = context.build
    if a.dtype != "float32" or b.dtype != "float32":
        raise UnsupportedError(f"a matrix product of {a.dtype} is not covered by the native engine")
    rows, columns = len(a.shape) == 1, len(b.shape) == 1
    a = build.reshape(a, (1, *a.shape)) if rows else a
    b = build.reshape(b, (*b.shape, 1)) if columns else b
    if b.data is not None and len(b.shape) == 2:
        result = add_linear(build, a, build.swap(b, 0, 1), None)
    else:
        result = build.matmul(a, b)
    result = build.drop(result, -2) if rows else result
    return build.drop(result, -1) if columns else result


@aten("scaled_dot_product_attention.default")
def attention(
    context: Context,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """softmax(q·kᵀ·scale + mask)·v (Vaswani et al. 2017); a row whose mask admits nothing gives NaN."""
    if dropout_p or enable_gqa:
        what = "dropout" if dropout_p else "grouped queries"
        raise UnsupportedError(f"attention with {what} is not covered by the native engine")
    build = context.build
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = build.map("mul", build.matmul(query, build.swap(key, -1, -2)), scale)
    if is_causal:
        below = np.tri(query.shape[-2], key.shape[-2], dtype=np.bool_)
        attn_mask = build.constant(np.where(below, 0.0, -np.inf).astype(np.float32))
    if attn_mask is not None:
        scores = build.map("add", scores, _additive(build, attn_mask))
    return build.matmul(build.softmax(scores, -1, False), value)


def _additive(build: Builder, mask: Value) -> Value:
    if mask.dtype != "bool":
        return mask
    if mask.data is not None:
        return build.constant(np.where(mask.data, 0.0, -np.inf).astype(np.float32))
    return build.map("where", mask, 0.0, -math.inf, dtype="float32")
