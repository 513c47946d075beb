"""The scalar functions that element-wise expressions are made of, and their C text.

`vector` is the text over float32 vectors of `prelude.h` (None: no vector form, the loop is scalar);
`scalar` the text over C scalars, where `{f}` is the suffix of libm's float functions. A function of kind
"compare" or "logic" gives a mask in vector text and 0 or 1 in scalar text.

`domain` says which dtypes a function's arguments may have: floating-point numbers, whole numbers, both, bits
(whole numbers and bool), bool, or any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "compare", "logic"]
Domain = Literal["float", "whole", "number", "bits", "bool", "any"]


@dataclass(frozen=True)
class ScalarFunction:
    """One scalar function: its number of arguments and its two C texts."""

    arity: int
    scalar: str
    vector: str | None = None
    kind: Kind = "number"
    domain: Domain = "number"


def _call(name: str, arity: int = 1, domain: Domain = "number") -> ScalarFunction:
    """A function of the prelude with a vector and a scalar form of the same name."""
    places = ", ".join(f"{{{i}}}" for i in range(arity))
    return ScalarFunction(arity, f"s_{name}({places})", f"v_{name}({places})", domain=domain)


def _real(scalar: str, vector: str | None = None) -> ScalarFunction:
    """A function of one floating-point number."""
    return ScalarFunction(1, scalar, vector, domain="float")


def _libm(name: str, arity: int = 1) -> ScalarFunction:
    places = ", ".join(f"s_flush{{f}}({{{i}}})" for i in range(arity))
    return ScalarFunction(arity, f"{name}{{f}}({places})", domain="float")


def _infix(sign: str) -> ScalarFunction:
    return ScalarFunction(2, f"({{0}} {sign} {{1}})", f"({{0}} {sign} {{1}})")


def _compare(name: str, sign: str) -> ScalarFunction:
    return ScalarFunction(2, f"({{0}} {sign} {{1}})", f"v_{name}({{0}}, {{1}})", "compare", "any")


def _bitwise(name: str, sign: str) -> ScalarFunction:
    return ScalarFunction(2, f"({{0}} {sign} {{1}})", f"v_{name}({{0}}, {{1}})", "logic", "bits")


SPECIAL = (
    "digamma", "erfinv", "i0", "i1", "i0e", "i1e", "erfcx", "ndtri", "log_ndtr", "bessel_j0", "bessel_j1",
    "modified_bessel_k0", "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
)  # fmt: skip
SPECIAL_OF_TWO = ("zeta", "polygamma")
OF_SPECIAL_H = frozenset({"ipow", *SPECIAL, *SPECIAL_OF_TWO})
"""Functions whose scalar text is one of `special.h`."""
SCALARS: dict[str, ScalarFunction] = {
    "add": _infix("+"),
    "sub": _infix("-"),
    "mul": _infix("*"),
    "div": _infix("/"),
    "neg": ScalarFunction(1, "(-{0})", "(-{0})"),
    "abs": _call("abs"),
    "sqrt": _real("sqrt{f}({0})", "v_sqrt({0})"),
    "rsqrt": _real("(1 / sqrt{f}({0}))", "(v_set1(1.0f) / v_sqrt({0}))"),
    "reciprocal": _real("(1 / {0})", "(v_set1(1.0f) / {0})"),
    "square": ScalarFunction(1, "({0} * {0})", "({0} * {0})"),
    "relu": _call("relu"),
    "min": _call("min", 2, "any"),
    "max": _call("max", 2, "any"),
    "exp": _real("ONE(exp, {f}, {0})", "v_exp({0})"),
    "expm1": _real("ONE(expm1, {f}, {0})", "v_expm1({0})"),
    "log": _real("ONE(log, {f}, s_flush{f}({0}))", "v_log({0})"),
    "log1p": _real("ONE(log1p, {f}, {0})", "v_log1p({0})"),
    "tanh": _real("ONE(tanh, {f}, {0})", "v_tanh({0})"),
    "sigmoid": _real("(1 / (1 + ONE(exp, {f}, -{0})))", "v_sigmoid({0})"),
    "erf": _real("ONE(erf, {f}, {0})", "v_erf({0})"),
    "gelu": _real("ONE(gelu, {f}, {0})", "v_gelu({0})"),
    "floor": _real("floor{f}({0})", "v_floor({0})"),
    "ceil": _real("ceil{f}({0})", "v_ceil({0})"),
    "round": _real("rint{f}({0})", "v_round({0})"),
    "trunc": _real("trunc{f}({0})", "v_trunc({0})"),
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
    "asinh": _libm("asinh"),
    "acosh": _libm("acosh"),
    "atanh": _libm("atanh"),
    "erfc": _libm("erfc"),
    "lgamma": _libm("lgamma"),
    "pow": _libm("pow", 2),
    "fmin": _libm("fmin", 2),
    "fmax": _libm("fmax", 2),
    "copysign": _libm("copysign", 2),
    "hypot": _libm("hypot", 2),
    "nextafter": _libm("nextafter", 2),
    "signbit": ScalarFunction(1, "(signbit({0}) != 0)", kind="compare", domain="float"),
    "ipow": ScalarFunction(2, "s_pow({0}, {1})", domain="whole"),
    "ifmod": ScalarFunction(2, "({0} % {1})", domain="whole"),
    "shl": ScalarFunction(2, "({0} << {1})", domain="whole"),
    "shr": ScalarFunction(2, "({0} >> {1})", domain="whole"),
    "bitnot": ScalarFunction(1, "(~{0})", domain="whole"),
    **{name: _real(f"s_{name}(s_flush{{f}}({{0}}))") for name in SPECIAL},
    **{name: ScalarFunction(2, f"s_{name}({{0}}, {{1}})", domain="float") for name in SPECIAL_OF_TWO},
    "fmod": _libm("fmod", 2),
    "atan2": _libm("atan2", 2),
    "remainder": _libm("s_remainder", 2),
    "floor_divide": _libm("s_floor_divide", 2),
    "imod": ScalarFunction(2, "s_mod({0}, {1})", domain="whole"),
    "ifloordiv": ScalarFunction(2, "s_floordiv({0}, {1})", domain="whole"),
    "sign": ScalarFunction(1, "(({0} > 0) - ({0} < 0))", "v_sign({0})"),
    "eq": _compare("eq", "=="),
    "ne": _compare("ne", "!="),
    "lt": _compare("lt", "<"),
    "le": _compare("le", "<="),
    "gt": _compare("gt", ">"),
    "ge": _compare("ge", ">="),
    "and": _bitwise("and", "&"),
    "or": _bitwise("or", "|"),
    "xor": _bitwise("xor", "^"),
    "not": ScalarFunction(1, "(!{0})", "v_not({0})", "logic", "bool"),
    "where": ScalarFunction(3, "CHOOSE({0}, {1}, {2})", "v_select({0}, {1}, {2})", domain="any"),
}
"""Every function by name. `min` and `max` give NaN when either side is, as ATen does; `round` is to even."""
