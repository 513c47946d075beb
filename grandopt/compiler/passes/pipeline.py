"""The flat list of passes, and the one way to run them: each between two checks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from grandopt.compiler.passes import bfloat16, fold_batchnorm, quantize_dynamic, remove_identity
from grandopt.compiler.passes.check import check
from grandopt.compiler.program import Program
from grandopt.errors import ConfigError


@dataclass(frozen=True)
class Pass:
    """A named rewrite of programs, and why one would want it."""

    name: str
    apply: Callable[[Program], Program]
    reason: str


_LIST = (
    Pass(
        fold_batchnorm.NAME,
        fold_batchnorm.apply,
        "a normalisation in eval mode is free inside the layer before",
    ),
    Pass(
        remove_identity.NAME,
        remove_identity.apply,
        "calling a layer that does nothing takes time all the same",
    ),
    Pass(
        quantize_dynamic.NAME,
        quantize_dynamic.apply,
        "int8 weights are a quarter of the bytes to read per call",
    ),
    Pass(
        bfloat16.NAME, bfloat16.apply, "bfloat16 weights are half the bytes, and the processor computes in it"
    ),
)

PASSES: dict[str, Pass] = {item.name: item for item in _LIST}
"""In the order in which they may be combined; the two that change the precision exclude each other."""


def run(program: Program, names: Iterable[str]) -> Program:
    """The program after the named passes, in the given order, checked before the first and after each.

    A pass that finds nothing to do is not recorded in `passes`. Raises ConfigError for an unknown name,
    UnsupportedError when a pass cannot take the program, PassError when a check fails.
    """
    chosen = [_find(name) for name in names]
    check(program)
    for item in chosen:
        after = item.apply(program)
        if after is not program:
            check(after, before=program)
        program = after
    return program


def _find(name: str) -> Pass:
    if name in PASSES:
        return PASSES[name]
    near = difflib.get_close_matches(name, PASSES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(PASSES)}"
    raise ConfigError(f"unknown pass {name!r}; {hint}")
