"""Calling an executor the way it will be deployed, and holding it to the contract of executors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandopt.errors import GrandoptError
from grandopt.runtime.executors.base import Executor
from grandopt.signature import Array, TensorSpec
from grandopt.verification.inputs import Case

Outputs = tuple[Array, ...]

GUARD = 4096
"""Bytes beside an output, at least; a multiple of every alignment."""
WIDEST = 8
"""The widest element over the narrowest one."""
PATTERN = 0xA5

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
    again after all others, that no later call changes what an earlier one returned, and before all that, for
    every size of batch, that nothing is written beside the outputs. Raises CallError.
    """
    for case in {case.batch: case for case in cases}.values():
        _keeps_to_its_outputs(executor, case)
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


def _keeps_to_its_outputs(executor: Executor, case: Case) -> None:
    """Let an engine that writes where it is told write between guards, and look at them."""
    outputs = executor.signature.outputs
    if not executor.contiguous or not outputs:
        return
    guarded = [_Guarded(spec, case.batch) for spec in outputs]
    try:
        executor.run_into([array.copy() for array in case.inputs], [item.array for item in guarded])
    except ENGINE_FAILURES:  # `call` says so
        return
    for spec, item in zip(outputs, guarded, strict=True):
        if not item.untouched:
            raise CallError(f"{case.name}: writes beyond its output {spec.name!r}")


class _Guarded:
    """An array for an output, with as much memory on both sides as a store of a wrong width can reach."""

    def __init__(self, spec: TensorSpec, batch: int) -> None:
        size = batch * int(np.prod(spec.shape, dtype=np.int64)) * np.dtype(spec.dtype).itemsize
        self._margin = GUARD + -(-WIDEST * size // GUARD) * GUARD
        self._memory = np.full(2 * self._margin + size, PATTERN, np.uint8)
        middle = self._memory[self._margin : self._margin + size]
        self.array = middle.view(spec.dtype).reshape(batch, *spec.shape)

    @property
    def untouched(self) -> bool:
        """Whether both guards are as they were."""
        return bool((self._memory[: self._margin] == PATTERN).all()) and bool(
            (self._memory[len(self._memory) - self._margin :] == PATTERN).all()
        )


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
