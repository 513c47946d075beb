"""Matrix products and attention. A product with a constant becomes a Linear op."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from grandopt.compiler.backends.native import expression as ex
from grandopt.compiler.backends.native.builder import Builder
from grandopt.compiler.backends.native.form import Linear, Value
from grandopt.compiler.backends.native.operators.reductions import vector_norm
from grandopt.compiler.backends.native.operators.registry import ConditionError, Context, aten


def add_linear(build: Builder, x: Value, weight: Value, bias: Value | None) -> Value:
    """x [..., K] · weightᵀ [N, K] + bias [N], where weight and bias are constants."""
    if x.dtype != "float32":
        raise ConditionError(f"of {x.dtype}")
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
        raise ConditionError(f"of {a.dtype} and {b.dtype}")
    rows, columns = len(a.shape) == 1, len(b.shape) == 1
    a = build.reshape(a, (1, *a.shape)) if rows else a
    b = build.reshape(b, (*b.shape, 1)) if columns else b
    if b.data is not None and len(b.shape) == 2:
        result = add_linear(build, a, build.swap(b, 0, 1), None)
    else:
        result = build.matmul(a, b)
    result = build.drop(result, -2) if rows else result
    return build.drop(result, -1) if columns else result


@aten("_trilinear.default")
def trilinear(
    context: Context,
    first: Value,
    second: Value,
    third: Value,
    expand1: Sequence[int],
    expand2: Sequence[int],
    expand3: Sequence[int],
    sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Value:
    """The sum over some axes of the product of three tensors, each with new axes of size 1."""
    build, wide = context.build, []
    for value, axes in ((first, expand1), (second, expand2), (third, expand3)):
        shape = list(value.shape)
        for axis in axes:
            shape.insert(axis, 1)
        wide.append(build.reshape(value, shape))
    # Summed as early as in ATen, where an infinity in the third then meets one sum, not many products.
    early = [axis for axis in sumdim if axis in expand3]
    late = [axis for axis in sumdim if axis not in expand3]
    pair = build.map("mul", wide[0], wide[1])
    pair = build.reduce("sum", pair, early, True) if early else pair
    whole = build.map("mul", pair, wide[2])
    whole = build.reduce("sum", whole, late, True) if late else whole
    return build.reshape(whole, context.shape)


@aten("_cdist_forward.default")
def distances(context: Context, a: Value, b: Value, p: float, mode: int | None = None) -> Value:
    """[..., P, M] and [..., R, M] → [..., P, R], the p-norms of differences."""
    build = context.build
    left = build.reshape(a, (*a.shape[:-1], 1, a.shape[-1]))
    right = build.reshape(b, (*b.shape[:-2], 1, *b.shape[-2:]))
    apart = build.map("sub", left, right)
    if p == 0:  # 1 for each that differs, NaN where one is
        differing = build.map("min", build.map("ceil", build.map("abs", apart)), 1.0)
        return build.reduce("sum", differing, [-1], False)
    return vector_norm(context, apart, p, [-1])


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
    """softmax(q·kᵀ·scale + mask)·v (Vaswani et al. 2017).

    As in ATen: what causality hides among [B, heads, S, D] cannot be seen, not even a NaN, while a mask is
    added to the scores; and a row whose mask admits nothing gives zeros.
    """
    if dropout_p or enable_gqa:
        raise ConditionError(f"with dropout_p={dropout_p}" if dropout_p else "with enable_gqa=True")
    build = context.build
    scale = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = build.map("mul", build.matmul(query, build.swap(key, -1, -2)), scale)
    if is_causal and len(query.shape) != 4:  # ATen's plain way, where the mask is added
        below = np.tri(query.shape[-2], key.shape[-2], dtype=np.bool_)
        attn_mask = build.constant(np.where(below, 0.0, -np.inf).astype(np.float32))
    elif is_causal:
        seen = build.constant(np.tri(query.shape[-2], key.shape[-2], dtype=np.float32))
        shown = ex.apply("gt", ex.arg(0, seen.dtype), ex.const(0.0, seen.dtype))
        nothing = ex.const(-math.inf, scores.dtype)
        scores = build.express(ex.apply("where", shown, ex.arg(1, scores.dtype), nothing), seen, scores)
    if attn_mask is not None:
        scores = build.map("add", scores, _additive(build, attn_mask))
    weights = build.softmax(scores, -1, False)
    if len(query.shape) != 4 or (attn_mask is not None and _may_hide_all(attn_mask)):
        hidden = build.map("eq", build.reduce("max", scores, [-1], True), -math.inf)
        weights = build.map("where", hidden, 0.0, weights, dtype=weights.dtype)
    return build.matmul(weights, value)


def _may_hide_all(mask: Value) -> bool:
    """Whether a row of the mask admits nothing, as far as that is known before the call."""
    if mask.data is None:
        return True
    admitted = mask.data if mask.dtype == "bool" else mask.data > -np.inf
    return not bool(admitted.any(axis=-1).all())


def _additive(build: Builder, mask: Value) -> Value:
    if mask.dtype != "bool":
        return mask
    if mask.data is not None:
        return build.constant(np.where(mask.data, 0.0, -np.inf).astype(np.float32))
    return build.map("where", mask, 0.0, -math.inf, dtype="float32")
