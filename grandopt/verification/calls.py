"""Calling an executor the way it will be deployed, and holding it to the contract of executors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array
from grandopt.verification.inputs import Case

Outputs = tuple[Array, ...]

ENGINE_FAILURES = (
    GrandoptError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    MemoryError,
)
"""What engines raise from a call: their own errors translated, and torch's and NumPy's where they are not."""


class CallError(Exception):
    """A call broke the contract of executors; `str()` says how, in one line. Never leaves this package."""


def call(executor: Executor, case: Case) -> Outputs:
    """One call on a copy of the case's inputs.

    Raises CallError when the engine raises, when it writes to its inputs, or when what it returns are
    not arrays with the case's batch in front.
    """
    given = tuple(array.copy() for array in case.inputs)
    try:
        results = executor.run(given)
    except ENGINE_FAILURES as error:
        line = str(error).strip().partition("\n")[0] or "no message"
        raise CallError(f"{case.name}: {type(error).__name__}: {line}") from error
    for spec, array, original in zip(executor.signature.inputs, given, case.inputs, strict=True):
        if not same(array, original):
            raise CallError(f"{case.name}: writes to its input {spec.name!r}")
    for place, result in enumerate(results):
        if not isinstance(result, np.ndarray):
            raise CallError(f"{case.name}: output {place} is a {type(result).__name__}, not an array")
        if result.ndim == 0 or result.shape[0] != case.batch:
            raise CallError(
                f"{case.name}: output {place} has shape {list(result.shape)} for a batch of {case.batch}"
            )
    return tuple(results)


def answers(executor: Executor, cases: Sequence[Case]) -> list[Outputs]:
    """The outputs of every case, in order.

    Beside `call`, checks with the first case that the same call gives the same bits twice in a row and
    again after all others, and that no later call changes what an earlier one returned. Raises
    CallError.
    """
    first = cases[0]
    held = call(executor, first)
    kept = tuple(result.copy() for result in held)
    _repeated(executor, first, kept, "the same call twice in a row gives different outputs")
    others = []
    for case in cases[1:]:
        # Copied, so that a buffer used again shows as an overwritten result here, and nowhere else.
        others.append(tuple(result.copy() for result in call(executor, case)))
        if not all(map(same, held, kept)):
            raise CallError(f"{case.name}: overwrites the outputs that an earlier call returned")
    _repeated(executor, first, kept, "the same call gives different outputs after other calls")
    return [kept, *others]


def unlike(results: Outputs, expected: Outputs) -> str | None:
    """How the number, shapes or dtypes of `results` differ from the expected ones; None if they do not."""
    if len(results) != len(expected):
        return f"returns {len(results)} outputs, the original {len(expected)}"
    for place, (result, wanted) in enumerate(zip(results, expected, strict=True)):
        if result.shape != wanted.shape or result.dtype != wanted.dtype:
            return (
                f"output {place} is {result.dtype} {list(result.shape)}, "
                f"the original's {wanted.dtype} {list(wanted.shape)}"
            )
    return None


def same(first: Array, second: Array) -> bool:
    """Whether two arrays hold the same values, NaN counting as equal to NaN."""
    return bool(np.array_equal(first, second, equal_nan=first.dtype.kind == "f"))


def _repeated(executor: Executor, case: Case, expected: Outputs, complaint: str) -> None:
    again = call(executor, case)
    if unlike(again, expected) or not all(map(same, again, expected)):
        raise CallError(f"{case.name}: {complaint}")
