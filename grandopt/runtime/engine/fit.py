"""Which served agent may take another's place."""

from __future__ import annotations

from grandopt.errors import SignatureError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import TensorSpec


def check_same(name: str, old: Executor, new: Executor) -> None:
    """Raise SignatureError unless callers of `old` can be answered by `new` without noticing.

    Inputs need the same names, dtypes and shapes, outputs the same dtypes and shapes, and the action the same
    meaning. How observations are normalised is an agent's own affair.
    """
    for side, taken, offered in (
        ("input", old.signature.inputs, new.signature.inputs),
        ("output", old.signature.outputs, new.signature.outputs),
    ):
        if len(taken) != len(offered):
            raise SignatureError(
                f"{name}: serves {len(taken)} {side}(s), the replacement has {len(offered)}; load it under "
                f"another name"
            )
        for before, after in zip(taken, offered, strict=True):
            if _form(before, side) != _form(after, side):
                raise SignatureError(
                    f"{name}: serves the {side} {_shown(before)}, the replacement has {_shown(after)}; load "
                    f"it under another name"
                )
    was, would = old.contract, new.contract
    for field in ("action", "groups", "low", "high", "state", "episode_start"):
        if getattr(was, field) != getattr(would, field):
            raise SignatureError(
                f"{name}: the contract's {field} is {getattr(was, field)!r}, the replacement's "
                f"{getattr(would, field)!r}; load it under another name"
            )


def _form(spec: TensorSpec, side: str) -> tuple[object, ...]:
    return (spec.name if side == "input" else None, spec.dtype, spec.shape)


def _shown(spec: TensorSpec) -> str:
    return f"{spec.name!r}: {spec.dtype} {list(spec.shape)}"
