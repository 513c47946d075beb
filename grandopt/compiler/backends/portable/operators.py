"""What each operator of torch becomes in layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import Node

from grandopt.compiler.backends.portable.translator import Translate, Translator, Value, axis_of, is_number
from grandopt.errors import UnsupportedError

OPERATORS: dict[str, Translate] = {}


def operator(*names: str) -> Callable[[Translate], Translate]:
    """Enter a function for these operators of torch."""

    def enter(function: Translate) -> Translate:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return enter


def _unary(kind: str) -> Translate:
    return lambda to, node, given: to.define(kind, given[:1], to.shape(node))


for _name, _kind in (
    ("relu", "relu"),
    ("tanh", "tanh"),
    ("sigmoid", "sigmoid"),
    ("exp", "exp"),
    ("log", "log"),
    ("sqrt", "sqrt"),
    ("rsqrt", "rsqrt"),
    ("neg", "negative"),
    ("abs", "absolute"),
):
    OPERATORS[f"{_name}.default"] = _unary(_kind)


def _operand(to: Translator, value: Value) -> Value:
    return to.constant(value) if is_number(value) else value


def _binary(kind: str) -> Translate:
    def made(to: Translator, node: Node, given: list[Any]) -> Value:
        if node.kwargs.get("alpha", 1) != 1 or len(given) > 2:
            raise UnsupportedError("a factor of its own is not covered")
        return to.define(kind, [_operand(to, value) for value in given], to.shape(node))

    return made


for _name, _kind in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("div", "divide")):
    OPERATORS[f"{_name}.Tensor"] = OPERATORS[f"{_name}.Scalar"] = _binary(_kind)
OPERATORS["maximum.default"] = _binary("maximum")
OPERATORS["minimum.default"] = _binary("minimum")


@operator("rsub.Scalar")
def _reversed_subtraction(to: Translator, node: Node, given: list[Any]) -> Value:
    return to.define("subtract", [_operand(to, given[1]), given[0]], to.shape(node))


@operator("reciprocal.default")
def _reciprocal(to: Translator, node: Node, given: list[Any]) -> Value:
    return to.define("divide", [to.constant(1.0), given[0]], to.shape(node))


@operator("pow.Tensor_Scalar")
def _power(to: Translator, node: Node, given: list[Any]) -> Value:
    shape, (value, exponent) = to.shape(node), given
    if exponent == 2:
        return to.define("multiply", [value, value], shape)
    if exponent == 0.5:
        return to.define("sqrt", [value], shape)
    if exponent == -0.5:
        return to.define("rsqrt", [value], shape)
    raise UnsupportedError(f"the power {exponent} is not covered")


@operator("clamp.default", "hardtanh.default")
def _clamp(to: Translator, node: Node, given: list[Any]) -> Value:
    limits = [*given[1:], None, None][:2]
    if node.target is torch.ops.aten.hardtanh.default:
        limits = [-1.0 if limits[0] is None else limits[0], 1.0 if limits[1] is None else limits[1]]
    value = given[0]
    for kind, limit in zip(("maximum", "minimum"), limits, strict=True):
        if limit is not None and math.isfinite(limit):
            value = to.define(kind, [value, to.constant(limit)], to.shape(node))
    return value


@operator("gelu.default")
def _gelu(to: Translator, node: Node, given: list[Any]) -> Value:
    approximate = node.kwargs.get("approximate", "none") == "tanh"
    return to.define("gelu", given[:1], to.shape(node), approximate=approximate)


@operator("silu.default")
def _silu(to: Translator, node: Node, given: list[Any]) -> Value:
    shape = to.shape(node)
    return to.define("multiply", [given[0], to.define("sigmoid", given[:1], shape)], shape)


@operator("elu.default")
def _elu(to: Translator, node: Node, given: list[Any]) -> Value:
    if any(factor != 1 for factor in given[2:]):
        raise UnsupportedError("scales are not covered")
    return to.define("elu", given[:1], to.shape(node), alpha=float([*given, 1.0][1]))


@operator("softplus.default")
def _softplus(to: Translator, node: Node, given: list[Any]) -> Value:
    """relu(x) + log(1 + exp(-|x|)): no engine overflows in it."""
    if any(given[1:2]) and given[1] != 1:
        raise UnsupportedError("a factor of its own is not covered")
    shape = to.shape(node)
    small = to.define("negative", [to.define("absolute", given[:1], shape)], shape)
    spread = to.define("add", [to.define("exp", [small], shape), to.constant(1.0)], shape)
    return to.define("add", [to.define("relu", given[:1], shape), to.define("log", [spread], shape)], shape)


@operator("leaky_relu.default")
def _leaky_relu(to: Translator, node: Node, given: list[Any]) -> Value:
    return to.define("leaky_relu", given[:1], to.shape(node), slope=float([*given, 0.01][1]))


@operator("_to_copy.default", "clone.default", "alias.default", "detach.default", "lift_fresh_copy.default")
def _same(to: Translator, node: Node, given: list[Any]) -> Value:
    before, after = node.args[0].meta["val"].dtype, node.meta["val"].dtype  # type: ignore[union-attr]
    if after != torch.float32:
        raise UnsupportedError(f"{str(after).removeprefix('torch.')} is not covered")
    return given[0] if before == after else to.define("cast", given[:1], to.shape(node))


@operator("_assert_tensor_metadata.default")
def _nothing(to: Translator, node: Node, given: list[Any]) -> Value:
    return None  # what it asserts was true when the program was exported


@operator("linear.default")
def _linear(to: Translator, node: Node, given: list[Any]) -> Value:
    if isinstance(given[1], str):
        raise UnsupportedError("a weight that is no constant is not covered")
    operands = given if len(given) > 2 and given[2] is not None else given[:2]
    return to.define("linear", operands, to.shape(node))


@operator("addmm.default", "mm.default", "bmm.default")
def _product(to: Translator, node: Node, given: list[Any]) -> Value:
    bias, (left, right) = (given[0] if len(given) == 3 else None), given[-2:]
    if isinstance(right, str) or right.dim() != 2:
        product = to.define("matmul", [left, right], to.shape(node))
        return product if bias is None else to.define("add", [product, bias], to.shape(node))
    return to.define("linear", [left, right.T, *([] if bias is None else [bias])], to.shape(node))


@operator("_softmax.default", "_safe_softmax.default")
def _softmax(to: Translator, node: Node, given: list[Any]) -> Value:
    shape = to.shape(node)
    return to.define("softmax", given[:1], shape, axis=axis_of(given[1], len(shape)))


@operator("_log_softmax.default")
def _log_softmax(to: Translator, node: Node, given: list[Any]) -> Value:
    shape = to.shape(node)
    axis = axis_of(given[1], len(shape))
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    largest = to.define("reduce_max", given[:1], one, axes=[axis], keep=True)
    shifted = to.define("subtract", [given[0], largest], shape)
    total = to.define("reduce_sum", [to.define("exp", [shifted], shape)], one, axes=[axis], keep=True)
    return to.define("subtract", [shifted, to.define("log", [total], one)], shape)


@operator("mean.dim", "sum.dim_IntList", "amax.default")
def _reduction(to: Translator, node: Node, given: list[Any]) -> Value:
    rank = len(to.given_shape(node))
    axes = given[1] if len(given) > 1 and given[1] else range(rank)
    kind = {"mean": "reduce_mean", "sum": "reduce_sum"}.get(str(node.target).split(".")[1], "reduce_max")
    keep = bool([*given, False][2]) if len(given) > 2 else False
    return to.define(
        kind, given[:1], to.shape(node), axes=sorted(axis_of(axis, rank) for axis in axes), keep=keep
    )


@operator("native_layer_norm.default")
def _layer_norm(to: Translator, node: Node, given: list[Any]) -> Value:
    """Mean, variance and their use as layers: LiteRT has no whole one, nor has MNN's Python API."""
    value, size, weight, bias, epsilon = given
    shape = to.given_shape(node)
    axes = list(range(len(shape) - len(size), len(shape)))
    one = (*shape[: axes[0]], *(1 for _ in axes))
    mean = to.define("reduce_mean", [value], one, axes=axes, keep=True)
    centred = to.define("subtract", [value, mean], shape)
    square = to.define("multiply", [centred, centred], shape)
    variance = to.define("reduce_mean", [square], one, axes=axes, keep=True)
    shifted = to.define("add", [variance, to.constant(epsilon)], one)
    result = to.define("multiply", [centred, to.define("rsqrt", [shifted], one)], shape)
    for kind, operand in (("multiply", weight), ("add", bias)):
        if operand is not None:
            result = to.define(kind, [result, operand], shape)
    return [result]


@operator("_native_batch_norm_legit_no_training.default")
def _batch_norm(to: Translator, node: Node, given: list[Any]) -> Value:
    value, weight, bias, mean, variance = given[:5]
    shape = to.given_shape(node)
    factor = torch.rsqrt(variance.double() + given[6])
    factor = factor if weight is None else factor * weight
    shift = -mean * factor if bias is None else bias - mean * factor
    spread = (len(factor), *(1 for _ in shape[2:]))
    scaled = to.define("multiply", [value, factor.reshape(spread)], shape)
    return [to.define("add", [scaled, shift.reshape(spread)], shape)]


@operator("convolution.default")
def _convolution(to: Translator, node: Node, given: list[Any]) -> Value:
    value, weight, bias, stride, padding, dilation, transposed, _, groups = given
    axes = len(to.shape(node)) - 2
    if transposed or axes > 2 or isinstance(weight, str):
        raise UnsupportedError(
            "only convolutions of one and two dimensions with constant weights are covered"
        )
    numbers = {
        name: list(numbers) * (axes // len(numbers))
        for name, numbers in (("stride", stride), ("padding", padding), ("dilation", dilation))
    }
    operands = [value, weight, torch.zeros(len(weight)) if bias is None else bias]
    return to.define("convolution", operands, to.shape(node), **numbers, groups=groups)


@operator("max_pool2d_with_indices.default", "avg_pool2d.default")
def _pool(to: Translator, node: Node, given: list[Any]) -> Value:
    kernel = list(given[1]) * (2 // len(given[1]))
    stride = list(given[2]) * (2 // len(given[2])) if len(given) > 2 and given[2] else kernel
    average = node.target is torch.ops.aten.avg_pool2d.default
    if any(any(item) if isinstance(item, list) else bool(item) and item != [] for item in given[3:5]):
        raise UnsupportedError("padding and ceil mode are not covered")
    shape = to.shape(node) if average else tuple(_first_shape(to, node))
    mode = "average" if average else "max"
    pooled = to.define("pool", given[:1], shape, mode=mode, kernel=kernel, stride=stride)
    return pooled if average else [pooled]


def _first_shape(to: Translator, node: Node) -> tuple[int, ...]:
    """The shape of the first of several results."""
    first = next(user for user in node.users if user.args[1] == 0)
    return to.shape(first)
