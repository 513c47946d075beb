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
    """A named rewrite of programs, and why one would want it.

    Thread safety: passes are called from one thread at a time, because some set switches of torch while they
    look at a network. Ownership: the program that `apply` is given stays as it is, and the new one shares no
    weights with it; a pass owns nothing afterwards.

    Only the module, the scores and the precision change: not the signature, the contract or the example.
    What was captured of the old module, `exported` and `traced`, is None in a changed program.

    - A pass that keeps the precision computes the same up to `check.TOLERANCE`. Where it finds nothing to do,
      as on its own result, it returns the program that it was given; where it cannot look, that program with
      a refusal of its name.
    - One that reduces the precision takes float32 programs alone, so that it refuses its own result, and
      NaN in an observation stays NaN. It raises UnsupportedError, in one line with the reason, where it has
      nothing to do or cannot do it.
    """

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
        quantize_dynamic.NAME_INSIDE,
        quantize_dynamic.apply_inside,
        "the same where nothing is known of the sizes of the inputs: the first layers stay in float32",
    ),
    Pass(
        bfloat16.NAME, bfloat16.apply, "bfloat16 weights are half the bytes, and the processor computes in it"
    ),
    Pass(
        bfloat16.NAME_INSIDE,
        bfloat16.apply_inside,
        "the same where nothing is known of the inputs: the first layers stay in float32",
    ),
)

PASSES: dict[str, Pass] = {item.name: item for item in _LIST}
"""In the order in which they may be combined; those that change the precision exclude each other."""


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
