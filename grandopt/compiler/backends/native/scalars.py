"""The scalar functions that element-wise expressions are made of, and their C text.

`vector` is the text over float32 vectors of `prelude.h` (None: no vector form, the loop is scalar);
`scalar` the text over C scalars, where `{f}` is the suffix of libm's float functions. A function of kind
"compare" or "logic" gives a mask in vector text and 0 or 1 in scalar text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "compare", "logic"]


@dataclass(frozen=True)
class ScalarFunction:
    """One scalar function: its number of arguments and its two C texts."""

    arity: int
    scalar: str
    vector: str | None = None
    kind: Kind = "number"


def _call(name: str, arity: int = 1) -> ScalarFunction:
    """A function of the prelude with a vector and a scalar form of the same name."""
    places = ", ".join(f"{{{i}}}" for i in range(arity))
    return ScalarFunction(arity, f"s_{name}({places})", f"v_{name}({places})")


def _libm(name: str, arity: int = 1) -> ScalarFunction:
    places = ", ".join(f"{{{i}}}" for i in range(arity))
    return ScalarFunction(arity, f"{name}{{f}}({places})")


def _infix(sign: str) -> ScalarFunction:
    return ScalarFunction(2, f"({{0}} {sign} {{1}})", f"({{0}} {sign} {{1}})")


def _compare(name: str, sign: str) -> ScalarFunction:
    return ScalarFunction(2, f"({{0}} {sign} {{1}})", f"v_{name}({{0}}, {{1}})", "compare")


SCALARS: dict[str, ScalarFunction] = {
    "add": _infix("+"),
    "sub": _infix("-"),
    "mul": _infix("*"),
    "div": _infix("/"),
    "neg": ScalarFunction(1, "(-{0})", "(-{0})"),
    "abs": _call("abs"),
    "sqrt": ScalarFunction(1, "sqrt{f}({0})", "v_sqrt({0})"),
    "rsqrt": ScalarFunction(1, "(1 / sqrt{f}({0}))", "(v_set1(1.0f) / v_sqrt({0}))"),
    "reciprocal": ScalarFunction(1, "(1 / {0})", "(v_set1(1.0f) / {0})"),
    "square": ScalarFunction(1, "({0} * {0})", "({0} * {0})"),
    "relu": _call("relu"),
    "min": _call("min", 2),
    "max": _call("max", 2),
    "exp": ScalarFunction(1, "exp{f}({0})", "v_exp({0})"),
    "expm1": ScalarFunction(1, "expm1{f}({0})", "v_expm1({0})"),
    "log": ScalarFunction(1, "log{f}({0})", "v_log({0})"),
    "log1p": ScalarFunction(1, "log1p{f}({0})", "v_log1p({0})"),
    "tanh": ScalarFunction(1, "tanh{f}({0})", "v_tanh({0})"),
    "sigmoid": ScalarFunction(1, "(1 / (1 + exp{f}(-{0})))", "v_sigmoid({0})"),
    "erf": ScalarFunction(1, "erf{f}({0})", "v_erf({0})"),
    "gelu": ScalarFunction(1, "(-{0} * erfc{f}(-{0} * 0.70710678118654752440) * -0.5)", "v_gelu({0})"),
    "floor": ScalarFunction(1, "floor{f}({0})", "v_floor({0})"),
    "ceil": ScalarFunction(1, "ceil{f}({0})", "v_ceil({0})"),
    "round": ScalarFunction(1, "rint{f}({0})", "v_round({0})"),
    "trunc": ScalarFunction(1, "trunc{f}({0})", "v_trunc({0})"),
    "sin": _libm("sin"),
    "cos": _libm("cos"),
    "tan": _libm("tan"),
    "atan": _libm("atan"),
    "asin": _libm("asin"),
    "acos": _libm("acos"),
    "sinh": _libm("sinh"),
    "cosh": _libm("cosh"),
    "log2": _libm("log2"),
    "log10": _libm("log10"),
    "exp2": _libm("exp2"),
    "pow": _libm("pow", 2),
    "fmod": _libm("fmod", 2),
    "atan2": _libm("atan2", 2),
    "imod": ScalarFunction(2, "s_mod({0}, {1})"),
    "ifloordiv": ScalarFunction(2, "s_floordiv({0}, {1})"),
    "sign": ScalarFunction(1, "(({0} > 0) - ({0} < 0))", "v_sign({0})"),
    "eq": _compare("eq", "=="),
    "ne": _compare("ne", "!="),
    "lt": _compare("lt", "<"),
    "le": _compare("le", "<="),
    "gt": _compare("gt", ">"),
    "ge": _compare("ge", ">="),
    "and": ScalarFunction(2, "({0} & {1})", "v_and({0}, {1})", "logic"),
    "or": ScalarFunction(2, "({0} | {1})", "v_or({0}, {1})", "logic"),
    "xor": ScalarFunction(2, "({0} ^ {1})", "v_xor({0}, {1})", "logic"),
    "not": ScalarFunction(1, "(!{0})", "v_not({0})", "logic"),
    "where": ScalarFunction(3, "({0} ? {1} : {2})", "v_select({0}, {1}, {2})"),
}
"""Every function by name. `min` and `max` give NaN when either side is, as ATen does; `round` is to even."""
